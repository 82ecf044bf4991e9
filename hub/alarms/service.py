"""Alarms: raised once per thing, seen, acknowledged."""

from datetime import datetime
from uuid import UUID

import structlog

from hub.alarms import repository
from hub.alarms.model import Alarm, Severity
from hub.db.engine import Connection
from hub.kit.ids import new_id
from hub.ledger import service as ledger
from hub.ledger.model import Action, by_system

log = structlog.get_logger(__name__)


async def raise_alarm(
    tx: Connection,
    *,
    code: str,
    severity: Severity,
    now: datetime,
    agent_id: UUID | None = None,
    camera_id: UUID | None = None,
    subject_id: UUID | None = None,
    detail: str = "",
) -> UUID:
    """Raises an alarm and writes a ledger row; the one that is open already for this code and thing is only named.

    So a message that comes again raises nothing new, until a person has acknowledged.
    """
    alarm = Alarm(
        new_id(), now, code, severity, agent_id, camera_id, subject_id, detail.replace("\x00", "\ufffd")[:2000]
    )
    if not await repository.add_unless_open(tx, alarm):
        # None only if it was acknowledged this very moment: then that was this alarm, too.
        return await repository.open_alarm(tx, alarm) or alarm.id
    log.warning("alarm_raised", code=code, severity=severity, alarm_id=str(alarm.id), camera_id=str(camera_id or ""))
    await ledger.record(
        tx,
        by_system(
            Action.ALARM_RAISED,
            camera_ids=(camera_id,) if camera_id else (),
            subject_kind="alarm",
            subject_id=alarm.id,
            detail={"code": code, "severity": severity, "about": subject_id, "agent_id": agent_id},
        ),
        now,
    )
    return alarm.id


async def page(tx: Connection, *, open_only: bool, limit: int) -> tuple[list[Alarm], int]:
    """Newest first, and how many are open in all."""
    return await repository.page(tx, open_only=open_only, limit=limit), await repository.open_count(tx)


async def acknowledge(tx: Connection, alarm_id: UUID, user_id: UUID, now: datetime) -> tuple[Alarm | None, bool]:
    """(the alarm or None, whether this call acknowledged it). The first to acknowledge is kept."""
    changed = await repository.acknowledge(tx, alarm_id, user_id, now)
    return await repository.alarm(tx, alarm_id), changed
