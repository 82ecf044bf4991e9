"""Routes of the ledger."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from hub.context import Context, get_context
from hub.identity.guard import requires
from hub.identity.model import Permission, Principal
from hub.ledger import service
from hub.ledger.model import Action, Entry
from hub.ledger.schemas import LedgerEntryView, LedgerPage, LedgerVerdict

router = APIRouter(tags=["ledger"])
Hub = Annotated[Context, Depends(get_context)]
Reader = Annotated[Principal, Depends(requires(Permission.LEDGER_VIEW))]


@router.get("/ledger")
async def list_ledger(
    _who: Reader,
    context: Hub,
    camera_id: UUID | None = None,
    actor_id: UUID | None = None,
    action: Action | None = None,
    before_seq: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> LedgerPage:
    """Entries, newest first."""
    async with context.db.transaction() as tx:
        items, next_before = await service.page(
            tx, camera_id=camera_id, actor_id=actor_id, action=action, before_seq=before_seq, limit=limit
        )
        names = await service.camera_names(tx, items)
    return LedgerPage(items=[_view(item, names) for item in items], next_before_seq=next_before)


def _view(entry: Entry, names: dict[UUID, str]) -> LedgerEntryView:
    named = [names.get(camera_id, "") for camera_id in entry.camera_ids]
    return LedgerEntryView.model_validate(asdict(entry) | {"camera_names": named})


@router.get("/ledger/verification")
async def verify_ledger(_who: Reader, context: Hub) -> LedgerVerdict:
    """Walks the whole chain now."""
    async with context.db.transaction() as tx:
        return LedgerVerdict.model_validate(await service.verify(tx))
