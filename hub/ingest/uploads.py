"""Uploads of sealed clips: the agent PUTs parts straight to the object store, by URLs the hub signs."""

from datetime import timedelta
from uuid import UUID

from hub.clips import service as clips
from hub.clips.model import Clip, ClipStatus
from hub.context import Context
from hub.db.engine import Connection
from hub.errors import Conflict, Invalid, NotFound
from hub.ingest.model import VERIFY_JOB
from hub.ingest.receipts import receipt_of
from hub.jobs.queue import defer
from hub.storage.port import Bucket, Part
from models.wire.agent_http import PART_BYTES, UploadAsk, UploadComplete, UploadPart, UploadPlan
from models.wire.downlink import Receipt

URL_LIFE = timedelta(hours=1)
MAX_PARTS = 10_000


def part_sizes(size_bytes: int) -> list[int]:
    """Sizes of the parts of an object, in order; all but the last are `PART_BYTES`."""
    full, rest = divmod(size_bytes, PART_BYTES)
    return [PART_BYTES] * full + ([rest] if rest else [])


async def _own_clip(tx: Connection, agent_id: UUID, clip_id: UUID) -> Clip:
    clip = await clips.find(tx, clip_id)
    if clip is None or clip.agent_id != agent_id:
        raise NotFound("upload.clip_not_found", "announce the clip first; its message may still be on its way")
    return await clips.clip(tx, clip_id, lock=True)


async def plan_upload(context: Context, agent_id: UUID, ask: UploadAsk) -> UploadPlan:
    """Begins an upload, or resumes it: parts that are there have an ETag, the others a URL good for an hour.

    Raises:
        NotFound: `upload.clip_not_found`: not announced yet (try again), or another agent's.
        Conflict: `upload.not_as_sealed`: size or hash differ from the seal.
        Invalid: `upload.too_big`.
    """
    expires_at = context.clock() + URL_LIFE
    async with context.db.transaction() as tx:
        clip = await _own_clip(tx, agent_id, ask.clip_id)
        if clip.status != ClipStatus.ANNOUNCED:
            return UploadPlan(expires_at=expires_at, receipt=receipt_of(clip, context.clock()))
        if (ask.size_bytes, ask.sha256) != (clip.size_bytes, clip.sha256):
            raise Conflict("upload.not_as_sealed")
        if clip.size_bytes > MAX_PARTS * PART_BYTES:
            raise Invalid("upload.too_big", f"at most {MAX_PARTS * PART_BYTES} bytes")
        upload_id, arrived = await _begun(context, tx, clip)
    parts = []
    for number, size in enumerate(part_sizes(clip.size_bytes), start=1):
        there = arrived.get(number)
        offset = (number - 1) * PART_BYTES
        if there and there.size_bytes == size:
            parts.append(UploadPart(number=number, offset=offset, size_bytes=size, etag=there.etag))
            continue
        url = await context.store.presign_part(Bucket.CLIPS, clip.object_key, upload_id, number, URL_LIFE)
        parts.append(UploadPart(number=number, offset=offset, size_bytes=size, url=url))
    return UploadPlan(upload_id=upload_id, parts=parts, expires_at=expires_at)


async def _begun(context: Context, tx: Connection, clip: Clip) -> tuple[str, dict[int, Part]]:
    """The upload under way with the parts that arrived, or a new one. The clip's row is locked meanwhile."""
    if clip.upload_id:
        try:
            parts = await context.store.uploaded_parts(Bucket.CLIPS, clip.object_key, clip.upload_id)
        except NotFound:
            pass  # aborted or swept by the store: begin again
        else:
            return clip.upload_id, {part.number: part for part in parts}
    upload_id = await context.store.begin_upload(Bucket.CLIPS, clip.object_key, "video/mp4")
    await clips.begin_upload(tx, clip.id, upload_id)
    return upload_id, {}


async def complete_upload(context: Context, agent_id: UUID, clip_id: UUID, done: UploadComplete) -> Receipt:
    """Joins the parts, notes the clip as uploaded and defers its verification, in one transaction.

    Repeating it is harmless: the second time the upload is over and the object is there.

    Raises:
        NotFound: `upload.clip_not_found`.
        Conflict: `upload.other_upload`: ask for a new plan.
        Invalid: `upload.parts_missing`, `storage.refused`.
    """
    async with context.db.transaction() as tx:
        clip = await _own_clip(tx, agent_id, clip_id)
        if clip.status != ClipStatus.ANNOUNCED:
            return receipt_of(clip, context.clock())
        if not clip.upload_id or clip.upload_id != done.upload_id:
            raise Conflict("upload.other_upload")
        wanted = len(part_sizes(clip.size_bytes))
        if sorted(part.number for part in done.parts) != list(range(1, wanted + 1)):
            raise Invalid("upload.parts_missing", f"parts 1 to {wanted} are needed")
        await _join(context, clip, done)
        await clips.uploaded(tx, clip_id)
        await defer(tx, VERIFY_JOB, clip_id=str(clip_id))
    return Receipt(clip_id=clip_id, status="waiting", at=context.clock())


async def _join(context: Context, clip: Clip, done: UploadComplete) -> None:
    parts = [Part(part.number, part.etag) for part in sorted(done.parts, key=lambda part: part.number)]
    try:
        await context.store.complete_upload(Bucket.CLIPS, clip.object_key, done.upload_id, parts)
    except NotFound:
        # Joined already, and the hub died before its commit.
        if await context.store.stat(Bucket.CLIPS, clip.object_key) is None:
            raise Conflict("upload.other_upload") from None
