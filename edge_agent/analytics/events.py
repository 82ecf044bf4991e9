"""Groups the sightings of one camera into events: the spans that clips are cut for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from edge_agent.analytics.port import EventClosed
from edge_agent.kit.ids import new_id


@dataclass(frozen=True)
class EventLimits:
    """Seconds; `max_sightings` keeps a clip's message within its limit."""

    quiet_s: float = 6.0
    max_event_s: float = 60.0
    max_sightings: int = 150


@dataclass
class _Open:
    clip_id: UUID
    start_at: datetime
    end_at: datetime
    sightings: dict[UUID, None] = field(default_factory=dict)  # in order of joining


class EventKeeper:
    """The open event of one camera, if there is one. Times come with the calls and rise."""

    def __init__(
        self, camera_id: UUID, limits: EventLimits | None = None, make_id: Callable[[], UUID] = new_id
    ) -> None:
        self._camera_id = camera_id
        self._limits = limits or EventLimits()
        self._make_id = make_id
        self._open: _Open | None = None

    def join(self, sighting_id: UUID, start_at: datetime, seen_at: datetime) -> UUID:
        """A sighting was confirmed: it belongs to the open event, or opens one. Returns the clip's id."""
        if self._open is None:
            self._open = _Open(self._make_id(), start_at, seen_at)
        self._open.start_at = min(self._open.start_at, start_at)
        self._open.end_at = max(self._open.end_at, seen_at)
        self._open.sightings[sighting_id] = None
        return self._open.clip_id

    def seen(self, at: datetime) -> None:
        """One of its sightings was seen."""
        if self._open is not None:
            self._open.end_at = max(self._open.end_at, at)

    def tick(self, now: datetime, active: list[UUID]) -> list[EventClosed]:
        """Closes the event when it has become quiet or long. `active`: confirmed sightings that go on. A long event with such
        is continued by a new one that begins where it ends."""
        current = self._open
        if current is None:
            return []
        if not active and now - current.end_at >= timedelta(seconds=self._limits.quiet_s):
            return self.flush()
        full = len(current.sightings) >= self._limits.max_sightings
        if full or current.end_at - current.start_at >= timedelta(seconds=self._limits.max_event_s):
            closed = self.flush()
            if active:
                self._open = _Open(self._make_id(), current.end_at, current.end_at, dict.fromkeys(active))
            return closed
        return []

    def flush(self) -> list[EventClosed]:
        """Closes what is open. A continuation in which nothing was seen any more is no event."""
        current, self._open = self._open, None
        if current is None or current.end_at <= current.start_at:
            return []
        return [
            EventClosed(current.clip_id, self._camera_id, current.start_at, current.end_at, tuple(current.sightings))
        ]
