"""Routes of alarms."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from hub.alarms import service
from hub.alarms.schemas import AlarmPage, AlarmView
from hub.context import Context, get_context
from hub.errors import NotFound
from hub.identity.guard import requires
from hub.identity.ledgering import draft
from hub.identity.model import Permission, Principal
from hub.ledger import service as ledger
from hub.ledger.model import Action

router = APIRouter(tags=["alarms"])
Hub = Annotated[Context, Depends(get_context)]


@router.get("/alarms")
async def list_alarms(
    _who: Annotated[Principal, Depends(requires(Permission.ALARM_VIEW))],
    context: Hub,
    open_only: bool = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AlarmPage:
    """Alarms, newest first."""
    async with context.db.transaction() as tx:
        items, open_count = await service.page(tx, open_only=open_only, limit=limit)
    return AlarmPage(items=[AlarmView.model_validate(item) for item in items], open_count=open_count)


@router.post("/alarms/{alarm_id}/acknowledgement")
async def acknowledge_alarm(
    alarm_id: UUID, who: Annotated[Principal, Depends(requires(Permission.ALARM_ACK))], context: Hub
) -> AlarmView:
    """Takes note of an alarm. Doing it again changes nothing."""
    async with context.db.transaction() as tx:
        alarm, changed = await service.acknowledge(tx, alarm_id, who.user_id, context.clock())
        if alarm is None:
            raise NotFound("alarm.not_found")
        if changed:
            entry = draft(
                who,
                Action.ALARM_ACKNOWLEDGED,
                camera_ids=(alarm.camera_id,) if alarm.camera_id else (),
                subject_kind="alarm",
                subject_id=alarm.id,
                detail={"code": alarm.code},
            )
            await ledger.record(tx, entry, context.clock())
    return AlarmView.model_validate(alarm)
