"""SQL of the tables `incidents` and `incident_links`, and of the footage that may belong to an incident."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from hub.db.engine import Connection
from hub.incidents.model import Decision, Facts, Incident
from hub.incidents.ranking import Event, Place, Seen, View
from hub.kit.cursors import Place as PagePlace
from models.vocabulary import ObjectClass

MAX_CANDIDATES = 5_000

_SELECT = (
    "select i.*, (select count(*) from incident_links l where l.incident_id = i.id and l.decision = 'confirmed')"
    " as confirmed_links, (select count(*) from incident_links l where l.incident_id = i.id"
    " and l.decision = 'rejected') as rejected_links from incidents i"
)


def _incident(row: Any) -> Incident:
    return Incident(**{name: getattr(row, name) for name in Incident.__dataclass_fields__})


async def lock_numbers(tx: Connection, prefix: str) -> None:
    """Held to the end of the transaction: numbers of a day are given one after the other."""
    await tx.execute(text("select pg_advisory_xact_lock(hashtextextended(:prefix, 3))"), {"prefix": prefix})


async def last_number(tx: Connection, prefix: str) -> int:
    """The highest running number given with this prefix, 0 for none."""
    row = (
        await tx.execute(
            text(
                "select coalesce(max(cast(substr(number, length(:prefix) + 1) as int)), 0) as last from incidents"
                " where starts_with(number, :prefix)"
            ),
            {"prefix": prefix},
        )
    ).one()
    return int(row.last)


def _values(facts: Facts) -> dict[str, Any]:
    return {
        "category": facts.category.value,
        "title": facts.title,
        "note": facts.note,
        "lon": facts.lon,
        "lat": facts.lat,
        "from_at": facts.occurred_from,
        "to_at": facts.occurred_to,
    }


async def insert(tx: Connection, incident_id: UUID, number: str, facts: Facts, created_by: UUID, now: datetime) -> None:
    """A new incident."""
    await tx.execute(
        text(
            "insert into incidents (id, number, category, title, note, lon, lat, occurred_from, occurred_to,"
            " created_by, created_at) values (:id, :number, :category, :title, :note, :lon, :lat, :from_at, :to_at,"
            " :by, :now)"
        ),
        _values(facts) | {"id": incident_id, "number": number, "by": created_by, "now": now},
    )


async def update(tx: Connection, incident_id: UUID, facts: Facts, status: str, closed_at: datetime | None) -> None:
    """New facts and state."""
    await tx.execute(
        text(
            "update incidents set category = :category, title = :title, note = :note, lon = :lon, lat = :lat,"
            " occurred_from = :from_at, occurred_to = :to_at, status = :status, closed_at = :closed_at where id = :id"
        ),
        _values(facts) | {"id": incident_id, "status": status, "closed_at": closed_at},
    )


async def one(tx: Connection, incident_id: UUID, *, lock: bool = False) -> Incident | None:
    """An incident; `lock`: the row is held to the end of the transaction."""
    tail = " for update of i" if lock else ""
    row = (await tx.execute(text(f"{_SELECT} where i.id = :id{tail}"), {"id": incident_id})).one_or_none()
    return _incident(row) if row else None


async def page(tx: Connection, status: str | None, after: PagePlace | None, limit: int) -> list[Incident]:
    """Incidents, newest first."""
    where, values = ["true"], {"limit": limit}
    extra: dict[str, Any] = {}
    if status:
        where.append("i.status = :status")
        extra["status"] = status
    if after:
        where.append("(i.created_at, i.id) < (:after_at, :after_id)")
        extra |= {"after_at": after.at, "after_id": after.id}
    rows = await tx.execute(
        text(f"{_SELECT} where {' and '.join(where)} order by i.created_at desc, i.id desc limit :limit"),
        values | extra,
    )
    return [_incident(row) for row in rows]


# links --------------------------------------------------------------------------------------------------------


async def decisions(tx: Connection, incident_id: UUID) -> list[Decision]:
    """What was decided so far."""
    rows = await tx.execute(
        text(
            "select target_kind, target_id, target_start_at, decision, score, reasons from incident_links"
            " where incident_id = :id"
        ),
        {"id": incident_id},
    )
    return [Decision(**row._mapping) for row in rows]


async def decide(tx: Connection, incident_id: UUID, decision: Decision, by: UUID, now: datetime) -> None:
    """Keeps a decision; one taken before is replaced."""
    await tx.execute(
        text(
            "insert into incident_links (incident_id, target_kind, target_id, target_start_at, decision, score, reasons,"
            " decided_by, decided_at) values (:incident, :kind, :target, :start_at, :decision, :score,"
            " cast(:reasons as jsonb), :by, :now) on conflict (incident_id, target_kind, target_id) do update set"
            " decision = excluded.decision, score = excluded.score, reasons = excluded.reasons,"
            " decided_by = excluded.decided_by, decided_at = excluded.decided_at"
        ),
        {
            "incident": incident_id,
            "kind": decision.target_kind,
            "target": decision.target_id,
            "start_at": decision.target_start_at,
            "decision": decision.decision,
            "score": decision.score,
            "reasons": json.dumps(decision.reasons),
            "by": by,
            "now": now,
        },
    )


async def undo(tx: Connection, incident_id: UUID, kind: str, target_id: UUID) -> str | None:
    """Takes a decision back; what it was, None if there was none."""
    row = (
        await tx.execute(
            text(
                "delete from incident_links where incident_id = :incident and target_kind = :kind"
                " and target_id = :target returning decision"
            ),
            {"incident": incident_id, "kind": kind, "target": target_id},
        )
    ).one_or_none()
    return row.decision if row else None


# footage nearby -----------------------------------------------------------------------------------------------

# A rough box in degrees first (an index or a scan of few rows), the exact distance in hub.incidents.ranking.
_NEARBY = " c.adopted_at is not null and c.lon between :west and :east and c.lat between :south and :north"
_CAMERA = "c.id as camera_id, c.name as camera_name, c.lon, c.lat, c.heading_deg, c.fov_deg, c.range_m"


def _view(row: Any) -> View | None:
    if row.lon is None or row.lat is None:
        return None
    return View(Place(row.lon, row.lat), row.heading_deg, row.fov_deg, row.range_m)


def _seen(row: Any) -> Seen:
    return Seen(
        id=row.id,
        camera_id=row.camera_id,
        camera_name=row.camera_name,
        object_class=ObjectClass(row.object_class),
        start_at=row.start_at,
        end_at=row.end_at,
        best_score=row.best_score,
        best_box=row.best_box,
        picture_key=row.picture_key,
        clip_id=row.clip_id,
        view=_view(row),
    )


def _event(row: Any) -> Event:
    return Event(row.id, row.camera_id, row.camera_name, row.status, row.start_at, row.end_at, _view(row))


_SEEN = (
    f"select s.id, s.object_class, s.start_at, s.end_at, s.best_score, s.best_box, s.picture_key, s.clip_id, {_CAMERA}"
)
_EVENT = f"select cl.id, cl.status, cl.start_at, cl.end_at, {_CAMERA}"


async def sightings_near(
    tx: Connection, box: tuple[float, float, float, float], from_at: datetime, to_at: datetime
) -> list[Seen]:
    """Sightings by cameras in `box` (west, south, east, north) within the span, the surest first, at most 5000."""
    west, south, east, north = box
    rows = await tx.execute(
        text(
            f"{_SEEN} from sightings s join cameras c on c.id = s.camera_id where {_NEARBY}"
            " and s.start_at >= :from_at and s.start_at < :to_at order by s.best_score desc limit :limit"
        ),
        {
            "west": west,
            "south": south,
            "east": east,
            "north": north,
            "from_at": from_at,
            "to_at": to_at,
            "limit": MAX_CANDIDATES,
        },
    )
    return [_seen(row) for row in rows]


async def clips_near(
    tx: Connection, box: tuple[float, float, float, float], from_at: datetime, to_at: datetime
) -> list[Event]:
    """Clips, not refused ones, by cameras in `box` within the span, at most 5000."""
    west, south, east, north = box
    rows = await tx.execute(
        text(
            f"{_EVENT} from clips cl join cameras c on c.id = cl.camera_id where {_NEARBY} and cl.status <> 'refused'"
            " and cl.end_at > :from_at and cl.start_at < :to_at order by cl.start_at limit :limit"
        ),
        {
            "west": west,
            "south": south,
            "east": east,
            "north": north,
            "from_at": from_at,
            "to_at": to_at,
            "limit": MAX_CANDIDATES,
        },
    )
    return [_event(row) for row in rows]


async def sightings_by_id(tx: Connection, targets: Sequence[tuple[UUID, datetime]]) -> list[Seen]:
    """Sightings by id and start."""
    rows = await tx.execute(
        text(
            f"{_SEEN} from sightings s join cameras c on c.id = s.camera_id and c.adopted_at is not null"
            " where s.id = any(cast(:ids as uuid[])) and s.start_at = any(cast(:starts as timestamptz[]))"
        ),
        {"ids": [target for target, _ in targets], "starts": [start for _, start in targets]},
    )
    return [_seen(row) for row in rows]


async def sighting_start(tx: Connection, sighting_id: UUID, since: datetime, until: datetime) -> datetime | None:
    """When a sighting starts, if that is within the span."""
    row = (
        await tx.execute(
            text("select start_at from sightings where id = :id and start_at between :since and :until limit 1"),
            {"id": sighting_id, "since": since, "until": until},
        )
    ).one_or_none()
    return row.start_at if row else None


async def sightings_of_clips(
    tx: Connection, clip_ids: Sequence[UUID], from_at: datetime, to_at: datetime
) -> list[Seen]:
    """Sightings that name one of the clips and start within the span."""
    rows = await tx.execute(
        text(
            f"{_SEEN} from sightings s join cameras c on c.id = s.camera_id and c.adopted_at is not null"
            " where s.clip_id = any(cast(:ids as uuid[])) and s.start_at >= :from_at and s.start_at < :to_at"
        ),
        {"ids": list(clip_ids), "from_at": from_at, "to_at": to_at},
    )
    return [_seen(row) for row in rows]


async def clips_by_id(tx: Connection, clip_ids: Sequence[UUID]) -> list[Event]:
    """Clips by id."""
    rows = await tx.execute(
        text(
            f"{_EVENT} from clips cl join cameras c on c.id = cl.camera_id and c.adopted_at is not null"
            " where cl.id = any(cast(:ids as uuid[]))"
        ),
        {"ids": list(clip_ids)},
    )
    return [_event(row) for row in rows]
