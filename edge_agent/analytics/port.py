"""What analytics gives the rest of the agent. `edge_agent.analytics.service.Analyst` implements `FrameSink`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from models.wire.uplink import SightingSeen


@dataclass(frozen=True)
class EventClosed:
    """A span at one camera in which things were sighted, now over: what a clip is cut for.

    Sightings that overlap (or follow within the quiet time) are one event; `clip_id` was made when it opened and is already
    named by its sightings. Span without pre- and post-roll. Long events are closed at `max_event_s` and continued.
    """

    clip_id: UUID
    camera_id: UUID
    start_at: datetime
    end_at: datetime
    sighting_ids: tuple[UUID, ...]


SightingOut = Callable[[SightingSeen], None]
EventOut = Callable[[EventClosed], None]
"""Both are called from the analyst's worker thread and return quickly."""
