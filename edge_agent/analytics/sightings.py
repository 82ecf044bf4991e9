"""Turns tracks into sightings: first message at confirmation, updates while it grows, a final one at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from edge_agent.analytics.boxes import Detection, Image
from edge_agent.analytics.colour import ColourVotes, Light
from edge_agent.analytics.picture import BestPicture
from edge_agent.analytics.tracker import Track
from edge_agent.analytics.trajectory import Trajectory, wire_box
from edge_agent.kit.ids import new_id
from models.wire.base import ClockReading
from models.wire.uplink import DetectorName, SightingSeen

UPDATE_EVERY_S = 2.0
SLOWEST_UPDATE_S = 15.0
COLOUR_EVERY_S = 0.7


def utc(at_s: float) -> datetime:
    """Seconds since the epoch → aware UTC."""
    return datetime.fromtimestamp(at_s, UTC)


@dataclass
class Sighting:
    """What is collected about one track, and what of it has been said."""

    camera_id: UUID
    detector: DetectorName
    start_s: float
    best: BestPicture
    make_id: Callable[[], UUID] = new_id
    sighting_id: UUID = field(init=False)
    clip_id: UUID | None = None
    revision: int = 0
    end_s: float = field(init=False)
    said_at_s: float = field(init=False)
    trajectory: Trajectory = field(default_factory=Trajectory)
    colours: ColourVotes = field(default_factory=ColourVotes)
    _coloured_at_s: float = -1e9

    def __post_init__(self) -> None:
        self.sighting_id = self.make_id()
        self.end_s = self.said_at_s = self.start_s

    def note(self, image: Image, light: Light, detection: Detection, at_s: float) -> None:
        """A hit at `at_s` in that BGR picture. The picture must not change afterwards."""
        self.end_s = max(self.end_s, at_s)
        self.trajectory.add(round((at_s - self.start_s) * 1000), detection.box)
        better = self.best.beaten_by(detection)
        if better:
            self.best = BestPicture.of(image, detection, at_s)
        if better or at_s - self._coloured_at_s >= COLOUR_EVERY_S:
            self._coloured_at_s = at_s
            self.colours.add(image, light, detection.box, detection.object_class, detection.score)

    def update_due(self, at_s: float) -> bool:
        """It has grown enough for another message: every 2 s at first, more seldom when it lasts."""
        pause = min(max(UPDATE_EVERY_S, (self.end_s - self.start_s) / 5), SLOWEST_UPDATE_S)
        return self.end_s > self.said_at_s and at_s - self.said_at_s >= pause

    def message(self, track: Track, clock: ClockReading, at_s: float, *, final: bool) -> SightingSeen:
        """The next revision. It carries the picture when there is a new one, and always at the end, so that one lost
        or late message does not cost the picture."""
        self.revision += 1
        self.said_at_s = at_s
        picture = self.best.encoded() if final or not self.best.sent else None
        self.best.sent = True
        return SightingSeen(
            id=self.make_id(),
            sighting_id=self.sighting_id,
            revision=self.revision,
            final=final,
            camera_id=self.camera_id,
            object_class=track.object_class,
            start_at=utc(self.start_s),
            end_at=utc(self.end_s),
            best_at=utc(self.best.at_s),
            best_score=round(min(1.0, self.best.score), 4),
            best_box=wire_box(self.best.box),
            trajectory=self.trajectory.wire(),
            colours=self.colours.dominant(track.object_class),
            detector=self.detector,
            clock=clock,
            clip_id=self.clip_id,
            picture=picture,
        )
