"""The hub's word on clips: made from their rows, pushed to their agents."""

from datetime import datetime
from uuid import UUID

import structlog

from hub.clips.model import Clip, ClipStatus
from hub.context import Context
from hub.errors import Unavailable
from models.vocabulary import RefusalCode
from models.wire.downlink import Receipt, Receipts

log = structlog.get_logger(__name__)


def receipt_of(clip: Clip, now: datetime) -> Receipt:
    """The receipt of a clip as it stands: `waiting` until it is verified or refused."""
    if clip.status == ClipStatus.VERIFIED:
        return Receipt(clip_id=clip.id, status="verified", at=clip.verified_at or now)
    if clip.status == ClipStatus.REFUSED:
        code = RefusalCode(clip.refusal_code) if clip.refusal_code else None
        return Receipt(clip_id=clip.id, status="refused", code=code, at=now)
    return Receipt(clip_id=clip.id, status="waiting", at=now)


async def push_receipts(context: Context, agent_id: UUID, receipts: list[Receipt]) -> None:
    """Sends receipts, after the transaction that made them true. One that does not get through is asked for later."""
    if not receipts:
        return
    try:
        await context.bus.push(agent_id, Receipts(receipts=receipts))
    except Unavailable:
        log.info("ingest.receipts_not_pushed", agent_id=str(agent_id), count=len(receipts))
