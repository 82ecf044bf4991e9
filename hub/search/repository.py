"""SQL of search. The one place where sightings meet their cameras and clips, so that the planner sees all of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from hub.db.engine import Connection
from hub.kit.cursors import Place
from hub.search.model import Counts, Wanted
from hub.sightings.model import Sighting
from hub.sightings.repository import sighting_of

_FROM = "from sightings s join cameras c on c.id = s.camera_id and c.adopted_at is not null"


async def place_names(tx: Connection) -> list[str]:
    """Names of adopted cameras and of their villages."""
    rows = await tx.execute(
        text("select name from cameras where adopted_at is not null union select village from cameras")
    )
    return [row.name for row in rows if row.name]


def _like(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _polygon(area: tuple[tuple[float, float], ...]) -> str:
    """PostgreSQL's literal of a polygon."""
    return "(" + ",".join(f"({lon!r},{lat!r})" for lon, lat in area) + ")"


def _where(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """The condition on `s` and `c`, and its values. Only names written here enter the SQL."""
    where = ["s.start_at >= :from_at", "s.start_at < :to_at"]
    values: dict[str, Any] = {"from_at": wanted.from_at, "to_at": wanted.to_at}
    for condition, name, value in (
        ("s.camera_id = any(cast(:cameras as uuid[]))", "cameras", _list(wanted.camera_ids)),
        ("s.object_class = any(cast(:classes as text[]))", "classes", _list(wanted.classes)),
        ("s.colour_names && cast(:colours as text[])", "colours", _list(wanted.colours)),
        ("cast(:area as polygon) @> point(c.lon, c.lat)", "area", _polygon(wanted.area) if wanted.area else None),
        (":zone = any(s.zones)", "zone", wanted.zone),
        ("s.duration_ms >= :min_duration", "min_duration", wanted.min_duration_ms),
        ("s.best_score >= :min_score", "min_score", wanted.min_score),
        ("(c.name || ' ' || c.village) ilike all(cast(:places as text[]))", "places", _likes(wanted.places)),
    ):
        if value is not None:
            where.append(condition)
            values[name] = value
    return " and ".join(where), values


def _list(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else [getattr(value, "value", value) for value in values]


def _likes(places: tuple[str, ...]) -> list[str] | None:
    return [_like(word) for word in places] or None


async def page(tx: Connection, wanted: Wanted, after: Place | None, limit: int) -> list[Sighting]:
    """Matching sightings, newest first, after `after`."""
    where, values = _where(wanted)
    if after is not None:
        # The plain bound besides the row comparison lets the planner leave whole days out.
        where += " and s.start_at <= :after_at and (s.start_at, s.id) < (:after_at, :after_id)"
        values |= {"after_at": after.at, "after_id": after.id}
    rows = await tx.execute(
        text(
            "select s.id, s.camera_id, c.name as camera_name, c.village, c.lon, c.lat, s.object_class, s.start_at,"
            " s.end_at, s.duration_ms, s.best_at, s.best_score, s.best_box, s.colours, s.zones, s.final, s.clip_id,"
            " (select cl.status from clips cl where cl.id = s.clip_id and cl.camera_id = s.camera_id) as clip_status,"
            " s.clock, s.picture_key, cast('[]' as jsonb) as trajectory, cast('{}' as jsonb) as detector"
            f" {_FROM} where {where} order by s.start_at desc, s.id desc limit :limit"
        ),
        values | {"limit": limit},
    )
    return [sighting_of(row) for row in rows]


async def counts(tx: Connection, wanted: Wanted) -> Counts:
    """Figures over all that matches, in one pass."""
    where, values = _where(wanted)
    rows = await tx.execute(
        text(
            "select date_trunc('hour', s.start_at, 'UTC') as hour, s.object_class, s.camera_id, count(*) as n"
            f" {_FROM} where {where} group by 1, 2, 3 order by 1"
        ),
        values,
    )
    by_hour: dict[datetime, int] = {}
    by_class: dict[str, int] = {}
    by_camera: dict[UUID, int] = {}
    for row in rows:
        by_hour[row.hour] = by_hour.get(row.hour, 0) + row.n
        by_class[row.object_class] = by_class.get(row.object_class, 0) + row.n
        by_camera[row.camera_id] = by_camera.get(row.camera_id, 0) + row.n
    return Counts(by_hour, by_class, by_camera)
