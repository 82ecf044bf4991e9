"""Follows detections from frame to frame by where they are and how they move, and by nothing else.

In the manner of ByteTrack (Zhang et al., 2022: strong detections first, then weak ones for what is already followed), with the
enlarged boxes of C-BIoU (Yang et al., 2023), because at a few frames per second a cyclist's boxes do not overlap. There is no
appearance embedding: nobody is recognised again, neither later nor at another camera, and that is meant.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from edge_agent.analytics.assignment import assign
from edge_agent.analytics.boxes import BoxF, Detection, kind_of
from models.vocabulary import ObjectClass

_NO_MATCH = 10.0


@dataclass(frozen=True)
class TrackerLimits:
    """Scores 0…1; times in seconds; `margin`: by which share of its size a box is enlarged for matching."""

    strong_score: float = 0.4
    margin: float = 0.3
    far_margin: float = 0.7
    min_overlap: float = 0.1
    lost_after_s: float = 2.0
    tentative_lost_after_s: float = 1.0
    max_tracks: int = 64


class Motion:
    """Constant velocity of a box's centre and size: four independent Kalman filters of two states each.

    Units: fractions of the picture, seconds.
    """

    _ACCELERATION = np.array([0.25, 0.25, 0.08, 0.08])  # plausible change of speed per second, one sigma
    _MEASURE = np.array([0.012, 0.012, 0.02, 0.02])

    def __init__(self, box: BoxF) -> None:
        self._value = np.array([box.cx, box.cy, box.w, box.h])
        self._speed = np.zeros(4)
        self._p00 = self._MEASURE**2
        self._p01 = np.zeros(4)
        self._p11 = np.array([0.3, 0.2, 0.1, 0.1]) ** 2

    def predict(self, elapsed_s: float) -> None:
        """Carries the state on."""
        q = self._ACCELERATION**2
        self._value = self._value + self._speed * elapsed_s
        self._p00 = self._p00 + 2 * elapsed_s * self._p01 + elapsed_s**2 * self._p11 + q * elapsed_s**4 / 4
        self._p01 = self._p01 + elapsed_s * self._p11 + q * elapsed_s**3 / 2
        self._p11 = self._p11 + q * elapsed_s**2

    def correct(self, box: BoxF) -> None:
        """Takes in a measurement."""
        error = np.array([box.cx, box.cy, box.w, box.h]) - self._value
        total = self._p00 + self._MEASURE**2
        gain, speed_gain = self._p00 / total, self._p01 / total
        self._value = self._value + gain * error
        self._speed = self._speed + speed_gain * error
        self._p11 = self._p11 - speed_gain * self._p01
        self._p01 = (1 - gain) * self._p01
        self._p00 = (1 - gain) * self._p00

    def coast(self) -> None:
        """Nothing was seen: sizes stop changing, speed fades a little, so that a hidden thing does not fly off."""
        self._speed = self._speed * np.array([0.9, 0.9, 0.0, 0.0])

    @property
    def box(self) -> BoxF:
        """Where the thing should be now."""
        cx, cy, w, h = (float(v) for v in self._value)
        w, h = max(w, 0.003), max(h, 0.003)
        return BoxF(cx - w / 2, cy - h / 2, w, h)


@dataclass
class Track:
    """One thing being followed. Times in seconds."""

    number: int
    kind: str
    motion: Motion
    box: BoxF
    first_at: float
    last_at: float
    anchor: BoxF
    moved_at: float
    hits: int = 1
    misses: int = 0
    moved: bool = False
    confirmed: bool = False
    foreground_hits: int = 0
    votes: dict[ObjectClass, float] = field(default_factory=dict)
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=40))  # (time, score)

    @property
    def object_class(self) -> ObjectClass:
        """What most of the score says it is."""
        return max(self.votes, key=lambda name: self.votes[name])

    def take(self, detection: Detection, at_s: float) -> None:
        """Adds a hit."""
        self.motion.correct(detection.box)
        self.box, self.last_at = detection.box, at_s
        self.hits, self.misses = self.hits + 1, 0
        self._note(detection, at_s)

    def _note(self, detection: Detection, at_s: float) -> None:
        # A distant thing is often misnamed; what it is called when large and clear counts for more.
        weight = detection.score * (0.02 + detection.box.area) ** 0.5
        self.votes[detection.object_class] = self.votes.get(detection.object_class, 0.0) + weight
        self.recent.append((at_s, detection.score))
        away = max(
            abs(detection.box.cx - self.anchor.cx) / max(self.anchor.w, 0.02),
            abs(detection.box.cy + detection.box.h / 2 - self.anchor.cy - self.anchor.h / 2) / max(self.anchor.h, 0.02),
        )
        if away > 0.35 and detection.box.iou(self.anchor) < 0.75:
            self.anchor, self.moved_at, self.moved = detection.box, at_s, True

    @classmethod
    def begin(cls, number: int, detection: Detection, at_s: float) -> "Track":
        """A track of one hit."""
        box = detection.box
        track = cls(number, kind_of(detection.object_class), Motion(box), box, at_s, at_s, box, at_s)
        track._note(detection, at_s)
        return track

    def hits_within(self, seconds: float, now_s: float) -> int:
        """Hits in the last `seconds`."""
        return sum(at >= now_s - seconds for at, _ in self.recent)


@dataclass(frozen=True)
class Step:
    """What one frame did: tracks with a hit in it (and that hit), tracks that ended."""

    seen: list[tuple[Track, Detection]]
    ended: list[Track]


class Tracker:
    """The tracks of one camera."""

    def __init__(self, limits: TrackerLimits | None = None) -> None:
        self._limits = limits or TrackerLimits()
        self._numbers = count(1)
        self._last_at: float | None = None
        self.tracks: list[Track] = []

    def step(self, detections: list[Detection], at_s: float, strong_score: float | None = None) -> Step:
        """Takes the detections of a frame at time `at_s` (rising). `strong_score`: from which score a track may begin."""
        strong_from = self._limits.strong_score if strong_score is None else strong_score
        self._predict(at_s)
        strong = [d for d in detections if d.score >= strong_from]
        weak = [d for d in detections if d.score < strong_from]
        seen: list[tuple[Track, Detection]] = []
        free = list(self.tracks)
        for group, margin in (
            (strong, self._limits.margin),
            (strong, self._limits.far_margin),
            (weak, self._limits.margin),
        ):
            for track, detection in self._match(free, group, margin):
                track.take(detection, at_s)
                seen.append((track, detection))
                free.remove(track)
                group.remove(detection)
        for detection in strong[: max(0, self._limits.max_tracks - len(self.tracks))]:
            track = Track.begin(next(self._numbers), detection, at_s)
            self.tracks.append(track)
            seen.append((track, detection))
        for track in free:
            track.misses += 1
            track.motion.coast()
        return Step(seen, self.expire(at_s))

    def expire(self, at_s: float) -> list[Track]:
        """Ends what was not seen for too long."""
        gone = [t for t in self.tracks if at_s - t.last_at > self._patience(t)]
        self.tracks = [t for t in self.tracks if t not in gone]
        return gone

    def drop(self, track: Track) -> None:
        """Stops following it."""
        self.tracks = [t for t in self.tracks if t is not track]

    def _patience(self, track: Track) -> float:
        return self._limits.lost_after_s if track.confirmed else self._limits.tentative_lost_after_s

    def _predict(self, at_s: float) -> None:
        elapsed = 0.0 if self._last_at is None else min(max(at_s - self._last_at, 0.0), 2.0)
        self._last_at = at_s
        for track in self.tracks:
            track.motion.predict(elapsed)

    def _match(self, tracks: list[Track], detections: list[Detection], margin: float) -> list[tuple[Track, Detection]]:
        if not tracks or not detections:
            return []
        cost = [[self._cost(track, detection, margin) for detection in detections] for track in tracks]
        return [(tracks[r], detections[c]) for r, c in assign(cost) if cost[r][c] < _NO_MATCH]

    def _cost(self, track: Track, detection: Detection, margin: float) -> float:
        if track.kind != kind_of(detection.object_class):
            return _NO_MATCH
        expected = track.motion.box
        overlap = expected.grown(margin).iou(detection.box.grown(margin))
        size_ratio = min(expected.area, detection.box.area) / max(expected.area, detection.box.area)
        if overlap < self._limits.min_overlap or size_ratio < 0.2:
            return _NO_MATCH
        # A settled track goes before a fresh one, a good detection before a poor one, when places are equal.
        return 1.0 - overlap - 0.05 * min(track.hits, 4) / 4 - 0.05 * detection.score
