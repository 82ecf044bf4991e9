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


async def places(tx: Connection) -> dict[UUID, str]:
    """Name and village of each adopted camera."""
    rows = await tx.execute(
        text("select id, name || chr(10) || village as place from cameras where adopted_at is not null")
    )
    return {row.id: row.place for row in rows}


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
    ):
        if value is not None:
            where.append(condition)
            values[name] = value
    return " and ".join(where), values


def _list(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else [getattr(value, "value", value) for value in values]


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
    """Figures over all that matches, in one pass over the rows."""
    where, values = _where(wanted)
    rows = await tx.execute(
        text(
            "select hour, object_class, camera_id, count(*) as n from (select date_trunc('hour', s.start_at, 'UTC')"
            f" as hour, s.object_class, s.camera_id {_FROM} where {where}) as matching"
            " group by grouping sets ((hour), (object_class), (camera_id)) order by hour"
        ),
        values,
    )
    by_hour: dict[datetime, int] = {}
    by_class: dict[str, int] = {}
    by_camera: dict[UUID, int] = {}
    for row in rows:
        if row.hour is not None:
            by_hour[row.hour] = row.n
        elif row.object_class is not None:
            by_class[row.object_class] = row.n
        else:
            by_camera[row.camera_id] = row.n
    return Counts(by_hour, by_class, by_camera)
