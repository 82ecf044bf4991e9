"""SQL of alarms."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from hub.alarms.model import Alarm
from hub.db.engine import Connection

_COLUMNS = "id, at, code, severity, agent_id, camera_id, subject_id, detail, acknowledged_by, acknowledged_at"


async def add_unless_open(tx: Connection, alarm: Alarm) -> bool:
    """Adds an alarm unless one of the same code and thing is open (a unique index decides, also between workers)."""
    added = await tx.execute(
        text(
            "insert into alarms (id, at, code, severity, agent_id, camera_id, subject_id, detail) "
            "values (:id, :at, :code, :severity, :agent_id, :camera_id, :subject_id, :detail) on conflict do nothing"
        ),
        asdict(alarm),
    )
    return added.rowcount == 1


async def open_alarm(tx: Connection, alarm: Alarm) -> UUID | None:
    """The open alarm of the same code and thing."""
    found = await tx.execute(
        text(
            "select id from alarms where acknowledged_at is null and code = :code "
            "and subject_id is not distinct from cast(:subject_id as uuid) "
            "and agent_id is not distinct from cast(:agent_id as uuid) "
            "and camera_id is not distinct from cast(:camera_id as uuid)"
        ),
        asdict(alarm),
    )
    alarm_id: UUID | None = found.scalar_one_or_none()
    return alarm_id


async def acknowledge(tx: Connection, alarm_id: UUID, user_id: UUID, now: datetime) -> bool:
    """Acknowledges an open alarm; False when there is none open of that id."""
    changed = await tx.execute(
        text(
            "update alarms set acknowledged_by = :user_id, acknowledged_at = :now "
            "where id = :id and acknowledged_at is null"
        ),
        {"id": alarm_id, "user_id": user_id, "now": now},
    )
    return changed.rowcount == 1


async def alarm(tx: Connection, alarm_id: UUID) -> Alarm | None:
    """The alarm of that id."""
    found = await tx.execute(text(f"select {_COLUMNS} from alarms where id = :id"), {"id": alarm_id})
    row = found.mappings().one_or_none()
    return Alarm(**row) if row else None


async def page(tx: Connection, *, open_only: bool, limit: int) -> list[Alarm]:
    """Newest first."""
    found = await tx.execute(
        text(
            f"select {_COLUMNS} from alarms where not :open_only or acknowledged_at is null "
            "order by at desc, id desc limit :limit"
        ),
        {"open_only": open_only, "limit": limit},
    )
    return [Alarm(**row) for row in found.mappings()]


async def open_count(tx: Connection) -> int:
    """How many are open."""
    return int((await tx.execute(text("select count(*) from alarms where acknowledged_at is null"))).scalar_one())
