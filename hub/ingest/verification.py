"""Verification of an uploaded clip: the hub reads the stored bytes itself and compares them with the seal."""

import hashlib
from datetime import timedelta
from uuid import UUID

import structlog

from hub.agents import service as agents
from hub.clips import service as clips
from hub.clips.model import Clip
from hub.context import Context
from hub.errors import NotFound
from hub.ingest.model import BROKEN, Verdict
from hub.ingest.receipts import push_receipts, receipt_of
from hub.ingest.service import refuse_clip
from hub.storage.port import Bucket
from models.keys import verify as signature_fits
from models.vocabulary import RefusalCode
from models.wire.downlink import Receipt
from models.wire.seal import Seal, signed_bytes

log = structlog.get_logger(__name__)

FORGOTTEN_AFTER = timedelta(minutes=2)


async def verify_clip(context: Context, clip_id: UUID) -> Receipt:
    """Judges an uploaded clip and tells its agent. Safe to repeat: a clip with a verdict keeps it.

    The bytes are read outside of any transaction; the verdict is written under the row's lock.

    Raises:
        NotFound: `clip.not_found`.
        Unavailable: the store does not answer; the job is to be run again.
    """
    async with context.db.transaction() as tx:
        clip = await clips.clip(tx, clip_id)
        key = await agents.agent_key(tx, clip.agent_id)
    if clips.is_final(clip):
        receipt = receipt_of(clip, context.clock())
    else:
        verdict = await _judge(context, clip, key)
        receipt = await _settle(context, clip, verdict)
    await push_receipts(context, clip.agent_id, [receipt])
    return receipt


async def _judge(context: Context, clip: Clip, key: str | None) -> Verdict:
    seal = Seal.model_validate(clip.seal)
    if key is None or not signature_fits(key, bytes.fromhex(seal.signature), signed_bytes(seal.body)):
        return Verdict(RefusalCode.SEAL_INVALID, "the signature is not of the agent's key")
    stat = await context.store.stat(Bucket.CLIPS, clip.object_key)
    if stat is None:
        return Verdict(RefusalCode.OBJECT_MISSING, "the store has no such object")
    if stat.size_bytes != seal.body.size_bytes:
        return Verdict(RefusalCode.SIZE_MISMATCH, f"sealed {seal.body.size_bytes} bytes, stored {stat.size_bytes}")
    try:
        digest = await _digest(context, clip.object_key)
    except NotFound:
        return Verdict(RefusalCode.OBJECT_MISSING, "the object went away while it was read")
    if digest != seal.body.sha256:
        return Verdict(RefusalCode.HASH_MISMATCH, f"sealed {seal.body.sha256}, stored {digest}")
    return Verdict(None)


async def _digest(context: Context, key: str) -> str:
    digest = hashlib.sha256()
    async for chunk in await context.store.read(Bucket.CLIPS, key):
        digest.update(chunk)
    return digest.hexdigest()


async def _settle(context: Context, clip: Clip, verdict: Verdict) -> Receipt:
    now = context.clock()
    async with context.db.transaction() as tx:
        current = await clips.clip(tx, clip.id, lock=True)
        if clips.is_final(current):
            return receipt_of(current, now)
        if verdict.code is None and current.chain_ok is False:
            verdict = Verdict(RefusalCode.CHAIN_BROKEN, BROKEN)
        if verdict.code is not None:
            log.warning("clip.refused", clip_id=str(clip.id), code=verdict.code.value)
            return await refuse_clip(tx, current, verdict.code, verdict.detail, now)
        await clips.verify(tx, clip.id, now)
    log.info("clip.verified", clip_id=str(clip.id), size_bytes=clip.size_bytes)
    return Receipt(clip_id=clip.id, status="verified", at=now)


async def verify_forgotten(context: Context) -> int:
    """Judges clips whose job died with its worker; how many. Run it now and then."""
    async with context.db.transaction() as tx:
        forgotten = await clips.unjudged(tx, context.clock() - FORGOTTEN_AFTER)
    for clip_id in forgotten:
        await verify_clip(context, clip_id)
    return len(forgotten)
