"""Sightings as the hub keeps them, and the geometry that needs no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from models.wire.uplink import SightingSeen, TrajectoryPoint

Point = tuple[float, float]


@dataclass(frozen=True)
class Zone:
    """A named polygon in the picture, in fractions of its size."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Stored:
    """What has to be known of a sighting's row to decide on a newer message about it."""

    start_at: datetime
    camera_id: UUID
    revision: int
    picture_key: str | None


@dataclass(frozen=True)
class Sighting:
    """A sighting with the names its page shows. JSON columns are as they came over the wire."""

    id: UUID
    camera_id: UUID
    camera_name: str
    village: str
    lon: float | None
    lat: float | None
    object_class: str
    start_at: datetime
    end_at: datetime
    duration_ms: int
    best_at: datetime
    best_score: float
    best_box: dict[str, Any]
    colours: list[dict[str, Any]]
    zones: list[str]
    final: bool
    clip_id: UUID | None
    clip_status: str | None
    clock: dict[str, Any]
    picture_key: str | None
    trajectory: list[dict[str, Any]]
    detector: dict[str, Any]


def picture_key(seen: SightingSeen) -> str:
    """Where a sighting's best picture lies in bucket `pictures`: one object, replaced when a better one comes."""
    return f"sightings/{seen.camera_id}/{seen.sighting_id}.jpg"


def partition_day(at: datetime) -> date:
    """The UTC day whose partition holds a sighting that starts at `at`."""
    return at.astimezone(UTC).date()


def partition_name(day: date) -> str:
    """Table of one day's sightings."""
    return f"sightings_{day:%Y%m%d}"


def partition_span(day: date) -> tuple[str, str]:
    """Bounds of a day's partition, half-open, as timestamptz literals."""
    return f"{day.isoformat()} 00:00:00+00", f"{(day + timedelta(days=1)).isoformat()} 00:00:00+00"


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether `point` lies inside `polygon` (even-odd rule; the outline belongs to one side or the other)."""
    x, y = point
    inside = False
    before = polygon[-1]
    for corner in polygon:
        if (corner[1] > y) != (before[1] > y):
            crossing = (before[0] - corner[0]) * (y - corner[1]) / (before[1] - corner[1]) + corner[0]
            if x < crossing:
                inside = not inside
        before = corner
    return inside


def foot(point: TrajectoryPoint) -> Point:
    """Where an object stands: the middle of its box's bottom edge."""
    return point.box.x + point.box.w / 2, min(1.0, point.box.y + point.box.h)


def zones_entered(trajectory: Sequence[TrajectoryPoint], zones: Sequence[Zone]) -> list[str]:
    """Names of the zones in which the object stood at some time, in the order of `zones`."""
    feet = [foot(point) for point in trajectory]
    return [zone.name for zone in zones if len(zone.points) >= 3 and any(contains(zone.points, at) for at in feet)]
