"""SQL of the table `sightings` and its partitions."""

import json
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from hub.db.engine import Connection
from hub.sightings.model import Sighting, Stored, partition_name, partition_span
from models.wire.uplink import SightingSeen

_DDL_LOCK = 0x51530001  # advisory lock: one maker of partitions at a time
_NEAR = timedelta(days=1)  # revisions of one sighting may move its start by less than this
_SLACK = timedelta(minutes=5)  # a late revision may move a start past the end its clip was cut at


async def missing_partitions(tx: Connection, days: list[date]) -> list[date]:
    """Those of `days` that have no partition yet.

    Read from the catalogue's tables: `to_regclass` may answer from a cache that does not know yet what another
    session has just committed.
    """
    rows = await tx.execute(
        text(
            "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
            " where i.inhparent = cast('sightings' as regclass) and c.relname = any(cast(:names as text[]))"
        ),
        {"names": [partition_name(day) for day in days]},
    )
    there = {row.relname for row in rows}
    return [day for day in days if partition_name(day) not in there]


async def lock_partitions(tx: Connection) -> None:
    """Held to the end of the transaction by whoever makes partitions."""
    await tx.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _DDL_LOCK})


async def make_partition(tx: Connection, day: date) -> None:
    """Makes one day's partition.

    Made apart and then attached: that locks the parent only against other changes of its shape, not against
    searches (`create table … partition of` would stop them all).
    """
    name, (begin, end) = partition_name(day), partition_span(day)
    await tx.execute(text(f"create table {name} (like sightings including all)"))
    await tx.execute(text(f"alter table sightings attach partition {name} for values from ('{begin}') to ('{end}')"))


async def lock_sighting(tx: Connection, sighting_id: UUID) -> None:
    """Lets revisions of one sighting pass one after the other."""
    await tx.execute(text("select pg_advisory_xact_lock(hashtextextended(:id, 1))"), {"id": str(sighting_id)})


async def stored(tx: Connection, sighting_id: UUID, near: datetime) -> Stored | None:
    """The row of a sighting that starts within a day of `near`."""
    row = (
        await tx.execute(
            text(
                "select start_at, camera_id, revision, picture_key from sightings"
                " where id = :id and start_at between :since and :until"
            ),
            {"id": sighting_id, "since": near - _NEAR, "until": near + _NEAR},
        )
    ).one_or_none()
    return Stored(row.start_at, row.camera_id, row.revision, row.picture_key) if row else None


_COLUMNS = (
    "id, camera_id, agent_id, revision, final, object_class, start_at, end_at, best_at, best_score, best_box,"
    " trajectory, colours, colour_names, zones, detector, clock, clip_id, picture_key, received_at"
)
_INSERT = text(
    f"insert into sightings ({_COLUMNS}) values (:id, :camera_id, :agent_id, :revision, :final, :object_class,"
    " :start_at, :end_at, :best_at, :best_score, cast(:best_box as jsonb), cast(:trajectory as jsonb),"
    " cast(:colours as jsonb), :colour_names, :zones, cast(:detector as jsonb), cast(:clock as jsonb), :clip_id,"
    " :picture_key, :received_at)"
)
_UPDATE = text(
    "update sightings set revision = :revision, final = :final, object_class = :object_class, start_at = :start_at,"
    " end_at = :end_at, best_at = :best_at, best_score = :best_score, best_box = cast(:best_box as jsonb),"
    " trajectory = cast(:trajectory as jsonb), colours = cast(:colours as jsonb), colour_names = :colour_names,"
    " zones = :zones, detector = cast(:detector as jsonb), clock = cast(:clock as jsonb),"
    " clip_id = coalesce(:clip_id, clip_id), picture_key = coalesce(:picture_key, picture_key)"
    " where id = :id and start_at = :stored_start_at"
)


def _row(
    seen: SightingSeen, agent_id: UUID, zones: list[str], clip_id: UUID | None, picture: str | None, now: datetime
) -> dict[str, Any]:
    return {
        "id": seen.sighting_id,
        "camera_id": seen.camera_id,
        "agent_id": agent_id,
        "revision": seen.revision,
        "final": seen.final,
        "object_class": seen.object_class.value,
        "start_at": seen.start_at,
        "end_at": seen.end_at,
        "best_at": seen.best_at,
        "best_score": seen.best_score,
        "best_box": seen.best_box.model_dump_json(),
        "trajectory": json.dumps([point.model_dump(mode="json") for point in seen.trajectory]),
        "colours": json.dumps([colour.model_dump(mode="json") for colour in seen.colours]),
        "colour_names": sorted({share.colour.value for share in seen.colours}),
        "zones": zones,
        "detector": seen.detector.model_dump_json(),
        "clock": seen.clock.model_dump_json(),
        "clip_id": clip_id,
        "picture_key": picture,
        "received_at": now,
    }


async def insert(
    tx: Connection,
    seen: SightingSeen,
    *,
    agent_id: UUID,
    zones: list[str],
    clip_id: UUID | None,
    picture: str | None,
    now: datetime,
) -> None:
    """A sighting's first row."""
    await tx.execute(_INSERT, _row(seen, agent_id, zones, clip_id, picture, now))


async def update(
    tx: Connection,
    seen: SightingSeen,
    stored_start_at: datetime,
    *,
    agent_id: UUID,
    zones: list[str],
    clip_id: UUID | None,
    picture: str | None,
    now: datetime,
) -> None:
    """A later revision in place of an earlier; a clip or picture that is known already stays."""
    row = _row(seen, agent_id, zones, clip_id, picture, now)
    await tx.execute(_UPDATE, row | {"stored_start_at": stored_start_at})


async def set_picture(tx: Connection, sighting_id: UUID, start_at: datetime, key: str) -> None:
    """A picture for a row that has none."""
    await tx.execute(
        text("update sightings set picture_key = :key where id = :id and start_at = :at and picture_key is null"),
        {"id": sighting_id, "at": start_at, "key": key},
    )


async def attach_clip(
    tx: Connection, camera_id: UUID, sighting_ids: list[UUID], clip_id: UUID, since: datetime, until: datetime
) -> None:
    """Names the clip in those of the camera's sightings that overlap it and name none yet."""
    await tx.execute(
        text(
            "update sightings set clip_id = :clip where camera_id = :camera and id = any(:ids) and clip_id is null"
            " and start_at between :earliest and :until and end_at >= :since"
        ),
        {
            "clip": clip_id,
            "camera": camera_id,
            "ids": sighting_ids,
            "earliest": since - _NEAR,
            "since": since,
            "until": until,
        },
    )


_SHOWN = (
    "select s.*, c.name as camera_name, c.village, c.lon, c.lat, cl.status as clip_status"
    " from sightings s join cameras c on c.id = s.camera_id and c.adopted_at is not null"
    " left join clips cl on cl.id = s.clip_id and cl.camera_id = s.camera_id"
)  # of adopted cameras only, with the names its page shows


async def one(tx: Connection, sighting_id: UUID, start_at: datetime) -> Sighting | None:
    """A sighting of an adopted camera, with the names its page shows."""
    row = (
        await tx.execute(
            text(f"{_SHOWN} where s.id = :id and s.start_at = :at"),
            {"id": sighting_id, "at": start_at},
        )
    ).one_or_none()
    return sighting_of(row) if row else None


async def of_clip(
    tx: Connection, camera_id: UUID, sighting_ids: list[UUID], since: datetime, until: datetime
) -> list[Sighting]:
    """Those of the sightings that are of this camera and start up to a day before, or in, the span, in that order.

    The span only keeps other days' partitions out. The camera is asked for, too: a clip's list is its agent's word,
    and must not open another camera's sightings.
    """
    rows = await tx.execute(
        text(
            f"{_SHOWN} where s.camera_id = :camera and s.id = any(cast(:ids as uuid[]))"
            " and s.start_at between :since and :until order by s.start_at, s.id"
        ),
        {"camera": camera_id, "ids": sighting_ids, "since": since - _NEAR, "until": until + _SLACK},
    )
    return [sighting_of(row) for row in rows]


def sighting_of(row: Any) -> Sighting:
    """A row that carries every field of `Sighting` by its name."""
    return Sighting(**{name: getattr(row, name) for name in Sighting.__dataclass_fields__})
