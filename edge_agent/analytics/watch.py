"""Everything analytics does for one camera, frame by frame: gate, detector, scenery, tracker, sightings, events.

Owned by the analyst's worker thread. Has no clock of its own: time comes with the frames, or with `tick` when none come.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from edge_agent.analytics.boxes import Detection, Image
from edge_agent.analytics.colour import Light
from edge_agent.analytics.detector import Detector
from edge_agent.analytics.events import EventKeeper, EventLimits
from edge_agent.analytics.motion import MotionGate, MotionLimits, MotionView
from edge_agent.analytics.picture import BestPicture
from edge_agent.analytics.port import EventClosed
from edge_agent.analytics.scenery import Scenery
from edge_agent.analytics.sightings import Sighting, utc
from edge_agent.analytics.tracker import Track, Tracker, TrackerLimits
from models.vocabulary import ObjectClass
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish
from models.wire.uplink import SightingSeen


@dataclass(frozen=True)
class WatchLimits:
    """When a track counts. Times in seconds.

    confirm_hits: hits needed within about `confirm_within_s`. foreground_share: share of the box that must move in a frame
    for it to count as newly come. still_person_hits: a person who only stands there counts after so many hits. absorb: a still
    thing becomes scenery, persons and animals later than vehicles.
    """

    confirm_hits: int = 3
    confirm_within_s: float = 1.2
    foreground_share: float = 0.12
    still_person_hits: int = 12
    still_person_score: float = 0.55
    absorb_unconfirmed_s: float = 4.0
    absorb_vehicle_s: float = 20.0
    absorb_living_s: float = 90.0
    motion: MotionLimits = field(default_factory=MotionLimits)
    tracker: TrackerLimits = field(default_factory=TrackerLimits)
    events: EventLimits = field(default_factory=EventLimits)


@dataclass
class Seen:
    """What came of a frame or a tick, in the order in which it is to be told."""

    sightings: list[SightingSeen] = field(default_factory=list)
    events: list[EventClosed] = field(default_factory=list)
    gate_open: bool = False
    detections: list[Detection] = field(default_factory=list)


class CameraWatch:
    """One camera's state."""

    def __init__(
        self,
        camera_id: UUID,
        detector: Detector,
        clock_of: Callable[[UUID], ClockReading],
        wish: AnalyticsWish | None = None,
        limits: WatchLimits | None = None,
    ) -> None:
        self.wish = wish or AnalyticsWish()
        self._camera_id = camera_id
        self._detector = detector
        self._clock_of = clock_of
        self._limits = limits or WatchLimits()
        self._gate = MotionGate(self._limits.motion)
        self._tracker = Tracker(self._limits.tracker)
        self._scenery = Scenery()
        self._events = EventKeeper(camera_id, self._limits.events)
        self._sightings: dict[int, Sighting] = {}

    @property
    def tracks(self) -> list[Track]:
        """What is being followed, confirmed or not (for drawing)."""
        return self._tracker.tracks

    def look(self, image: Image, at_s: float) -> Seen:
        """Takes the next BGR frame; `at_s`: its time, seconds since the epoch. The image must not be changed afterwards."""
        seen = Seen()
        view = self._gate.look(image, at_s, tracking=bool(self._tracker.tracks))
        seen.gate_open = view.open
        if view.open:
            seen.detections = self._wanted(self._detector.detect(image))
            self._follow(image, at_s, view, seen)
        self._close_ended(self._tracker.expire(at_s), at_s, seen)
        self._tick_events(at_s, seen)
        return seen

    def tick(self, at_s: float) -> Seen:
        """Time passes without frames: what is lost ends."""
        seen = Seen()
        self._close_ended(self._tracker.expire(at_s), at_s, seen)
        self._tick_events(at_s, seen)
        return seen

    def finish(self, at_s: float) -> Seen:
        """Ends everything that is open."""
        seen = Seen()
        self._close_ended(list(self._tracker.tracks), at_s, seen)
        self._tracker.tracks = []
        seen.events.extend(self._events.flush())
        return seen

    def _wanted(self, detections: list[Detection]) -> list[Detection]:
        wanted = frozenset(self.wish.classes) or frozenset(ObjectClass)
        return [d for d in detections if d.object_class in wanted]

    def _follow(self, image: Image, at_s: float, view: MotionView, seen: Seen) -> None:
        light = Light.of(image)
        not_scenery = self._scenery.remove_from(seen.detections)
        step = self._tracker.step(not_scenery, at_s, self.wish.min_score)
        taken = {id(detection) for _, detection in step.seen}
        for detection in not_scenery:
            if id(detection) not in taken and view.share_in(detection.box) < 0.02:
                self._scenery.doubt(detection)
        for track, detection in step.seen:
            if view.share_in(detection.box) >= self._limits.foreground_share:
                track.foreground_hits += 1
            sighting = self._sightings.get(track.number)
            if sighting is None:
                best = BestPicture.of(image, detection, at_s)
                sighting = Sighting(self._camera_id, self._detector.name, at_s, best)
                self._sightings[track.number] = sighting
            sighting.note(image, light, detection, at_s)
            self._tell(track, sighting, at_s, seen)
            self._absorb(track, detection, at_s, seen)
        self._close_ended(step.ended, at_s, seen)

    def _tell(self, track: Track, sighting: Sighting, at_s: float, seen: Seen) -> None:
        if track.confirmed:
            self._events.seen(utc(at_s))
            if sighting.update_due(at_s):
                seen.sightings.append(sighting.message(track, self._clock_of(self._camera_id), at_s, final=False))
        elif self._convincing(track, at_s):
            track.confirmed = True
            sighting.clip_id = self._events.join(sighting.sighting_id, utc(sighting.start_s), utc(at_s))
            seen.sightings.append(sighting.message(track, self._clock_of(self._camera_id), at_s, final=False))

    def _convincing(self, track: Track, at_s: float) -> bool:
        """Seen several times in short order, and either it moved, or it came (the background knew nothing of it)."""
        limits = self._limits
        window = max(limits.confirm_within_s, (limits.confirm_hits + 0.5) / self.wish.max_fps)
        if track.hits_within(window, at_s) < limits.confirm_hits:
            return False
        if track.moved or track.foreground_hits >= 2:
            return True
        sure = sum(score for _, score in track.recent) / len(track.recent) >= limits.still_person_score
        return track.kind == "person" and track.hits >= limits.still_person_hits and sure

    def _absorb(self, track: Track, detection: Detection, at_s: float, seen: Seen) -> None:
        limits = self._limits
        still_s = at_s - track.moved_at
        if not track.confirmed:
            patience = limits.absorb_unconfirmed_s
        elif track.kind in {"vehicle", "two_wheeler"}:
            patience = limits.absorb_vehicle_s
        else:
            patience = limits.absorb_living_s
        if still_s >= patience:
            self._scenery.add(detection)
            self._tracker.drop(track)
            self._close_ended([track], at_s, seen)

    def _close_ended(self, ended: list[Track], at_s: float, seen: Seen) -> None:
        for track in ended:
            sighting = self._sightings.pop(track.number, None)
            if sighting is not None and track.confirmed:
                seen.sightings.append(sighting.message(track, self._clock_of(self._camera_id), at_s, final=True))

    def _tick_events(self, at_s: float, seen: Seen) -> None:
        active = [self._sightings[t.number].sighting_id for t in self._tracker.tracks if t.confirmed]
        seen.events.extend(self._events.tick(utc(at_s), active))
