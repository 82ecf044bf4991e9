"""API shapes of search.

`GET /api/v1/search/sightings` takes the fields of `SearchAsk` as query parameters (lists repeat; `area` is
"lon,lat;lon,lat;…"), plus `cursor` and `limit` (1 … 100, default 40): newest first, keyset pages.
`GET /api/v1/search/histogram` takes the same filters and answers counts by hour. Both write a ledger row and
need a purpose (403 `purpose.missing` without one).
"""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from hub.kit.shapes import Answer, Ask, Position, UtcTime
from models.vocabulary import Colour, ObjectClass
from models.wire.base import Box, ClockReading
from models.wire.uplink import ColourShare, DetectorName, TrajectoryPoint


class SearchAsk(Ask):
    """What is looked for. Empty lists mean any."""

    from_at: UtcTime
    to_at: UtcTime
    camera_ids: list[UUID] = Field(default_factory=list, max_length=500)
    classes: list[ObjectClass] = Field(default_factory=list)
    colours: list[Colour] = Field(default_factory=list)
    area: list[tuple[float, float]] = Field(default_factory=list, max_length=200, description="polygon, lon/lat")
    zone: str | None = Field(default=None, max_length=60)
    min_duration_ms: int | None = Field(default=None, ge=0)
    min_score: float | None = Field(default=None, ge=0, le=1)
    q: str = Field(default="", max_length=200, description="words: classes, colours, camera and village names")


class SightingHit(Answer):
    """One sighting in a result. `picture_url` is short-lived and belongs to this search's ledger row."""

    id: UUID
    camera_id: UUID
    camera_name: str
    village: str
    position: Position | None
    object_class: ObjectClass
    start_at: UtcTime
    end_at: UtcTime
    duration_ms: int
    best_at: UtcTime
    best_score: float
    best_box: Box
    colours: list[ColourShare]
    zones: list[str]
    final: bool
    clip_id: UUID | None
    clip_status: str | None
    clock: ClockReading
    picture_url: str | None


class SearchPage(Answer):
    """A page of hits. `understood` tells what of `q` became which filter, `ignored` what did not."""

    items: list[SightingHit]
    next_cursor: str | None
    took_ms: float
    understood: dict[str, str]
    ignored: list[str]


class HourCount(Answer):
    """Sightings that start within the hour that begins at `hour`."""

    hour: datetime
    count: int


class Histogram(Answer):
    """Counts by hour (hours without any are left out) and in all; by class and by camera for the filters' figures."""

    hours: list[HourCount]
    total: int
    by_class: dict[str, int]
    by_camera: dict[str, int]


class SightingDetail(SightingHit):
    """GET /api/v1/sightings/{id}?start_at=… with the path; GET /api/v1/clips/{id}/sightings: all of a clip."""

    trajectory: list[TrajectoryPoint]
    detector: DetectorName
