"""Ingest: each message of an agent is understood, checked, and kept once, or refused with an alarm and a receipt.

The bus delivers at least once and in any order. A refusal is final (`Refused` ends the message); trouble of our own
(`Unavailable`, an error of the database) lets the message come again.
"""

from datetime import datetime
from uuid import UUID

import structlog
from pydantic import ValidationError

from hub.agents import service as agents
from hub.alarms import service as alarms
from hub.cameras import service as cameras
from hub.cameras.model import Camera
from hub.clips import service as clips
from hub.clips.model import Clip, ClipStatus
from hub.context import Context
from hub.db.engine import Connection
from hub.errors import Conflict, Forbidden, Invalid
from hub.ingest.model import BROKEN, CRITICAL, MAX_MESSAGE_BYTES, Refused, Uplink, fault_of
from hub.ingest.receipts import push_receipts, receipt_of
from hub.sightings import service as sightings
from hub.sightings.model import Zone, partition_day
from hub.storage.port import Bucket
from models.keys import verify as signature_fits
from models.vocabulary import RefusalCode
from models.wire.downlink import Receipt, Receipts, ReceiptsAsk
from models.wire.seal import Seal, seal_hash, signed_bytes
from models.wire.uplink import UPLINK, ClipSealed, DeviceFound, GapSeen, Presence, SightingSeen

log = structlog.get_logger(__name__)

_JPEG_START = b"\xff\xd8\xff"


async def handle_uplink(context: Context, agent_id: UUID, type_: str, raw: bytes) -> None:
    """Takes one message of an agent (both from the subject, which the bus guards).

    Raises:
        Refused: the message is refused for good; alarm and receipt are written already.
        Unavailable: a server is away; the bus delivers it again.
    """
    try:
        await _take(context, agent_id, type_, raw)
    except Refused as refused:
        await _record_refusal(context, agent_id, refused)
        raise


async def _take(context: Context, agent_id: UUID, type_: str, raw: bytes) -> None:
    message = understand(type_, raw, context.clock())
    try:
        match message:
            case SightingSeen():
                await _sighting(context, agent_id, message)
            case ClipSealed():
                await _clip(context, agent_id, message)
            case GapSeen():
                await _gap(context, agent_id, message)
            case DeviceFound():
                await _device(context, agent_id, message)
            case Presence():
                await _presence(context, agent_id, message)
    except Invalid as error:
        if error.code != "request.not_storable":
            raise
        # A figure that fits the message but no column: it will fit no better next time.
        raise Refused(RefusalCode.MESSAGE_INVALID, f"{type_}: a value out of range") from error


def understand(type_: str, raw: bytes, now: datetime) -> Uplink:
    """The message in `raw`. Raises `Refused(ingest.message_invalid)`."""
    if len(raw) > MAX_MESSAGE_BYTES:
        raise Refused(RefusalCode.MESSAGE_INVALID, f"{type_}: {len(raw)} bytes")
    if b"\\u0000" in raw:
        # Right JSON, but PostgreSQL keeps no NUL in a text.
        raise Refused(RefusalCode.MESSAGE_INVALID, f"{type_}: NUL in a text")
    try:
        message: Uplink = UPLINK.validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(RefusalCode.MESSAGE_INVALID, f"{type_}: {where[:200]}: {first['type']}") from error
    if message.type != type_:
        raise Refused(RefusalCode.MESSAGE_INVALID, f"{message.type} sent as {type_}")
    fault = fault_of(message, now)
    if fault:
        camera_id, clip_id = _about(message)
        raise Refused(RefusalCode.MESSAGE_INVALID, f"{type_}: {fault}", camera_id=camera_id, clip_id=clip_id)
    return message


def _about(message: Uplink) -> tuple[UUID | None, UUID | None]:
    """The camera and the clip a message is about."""
    match message:
        case ClipSealed():
            return message.seal.body.camera_id, message.seal.body.clip_id
        case Presence():
            return None, None
        case _:
            return message.camera_id, None


async def _key_of(tx: Connection, agent_id: UUID) -> str:
    key = await agents.agent_key(tx, agent_id)
    if key is None:
        raise Refused(RefusalCode.WRONG_AGENT, "the agent is not enrolled or was revoked")
    return key


async def _camera_of(tx: Connection, agent_id: UUID, camera_id: UUID, clip_id: UUID | None = None) -> Camera:
    """The agent's own camera."""
    await _key_of(tx, agent_id)
    camera = await cameras.camera(tx, camera_id)
    if camera is None:
        raise Refused(RefusalCode.UNKNOWN_CAMERA, "no such camera", camera_id=camera_id, clip_id=clip_id)
    if camera.agent_id != agent_id:
        raise Refused(RefusalCode.WRONG_AGENT, "the camera is another agent's", camera_id=camera_id, clip_id=clip_id)
    return camera


async def _sighting(context: Context, agent_id: UUID, seen: SightingSeen) -> None:
    async with context.db.transaction() as tx:
        missing = await sightings.needs_partition(tx, seen.start_at)
    if missing:
        async with context.db.transaction() as tx:
            await sightings.ensure_partitions(tx, partition_day(seen.start_at), ahead=0)
    async with context.db.transaction() as tx:
        camera = await _camera_of(tx, agent_id, seen.camera_id)
        denied = await cameras.consent_refusal_at(tx, camera, "clips", seen.start_at)
        if denied:
            raise Refused(RefusalCode.CONSENT_DENIED, denied, camera_id=camera.id)
        clip_id = seen.clip_id or await clips.clip_of_sighting(tx, camera.id, seen.sighting_id, seen.start_at)
        try:
            await sightings.upsert(
                tx,
                context.store,
                seen,
                agent_id=agent_id,
                zones=[Zone(zone.name, tuple(zone.points)) for zone in camera.zones],
                clip_id=clip_id,
                now=context.clock(),
            )
        except (Invalid, Conflict) as error:
            raise Refused(RefusalCode.MESSAGE_INVALID, error.code, camera_id=camera.id) from error


def _seal_fault(seal: Seal, agent_id: UUID, key: str) -> str:
    if seal.body.agent_id != agent_id:
        return "sealed in another agent's name"
    if not signature_fits(key, bytes.fromhex(seal.signature), signed_bytes(seal.body)):
        return "the signature is not of the agent's key"
    return ""


async def _clip(context: Context, agent_id: UUID, said: ClipSealed) -> None:
    body = said.seal.body
    now = context.clock()
    async with context.db.transaction() as tx:
        camera = await _camera_of(tx, agent_id, body.camera_id, body.clip_id)
        known = await clips.find(tx, body.clip_id)
        if known is not None:
            _same_again(known.seal_hash, said.seal)
            receipts = [receipt_of(known, now)]
        else:
            receipts = await _new_clip(tx, camera, said, now)
    await push_receipts(context, agent_id, [one for one in receipts if one.status != "waiting"])


def _same_again(known_hash: str, seal: Seal) -> None:
    if known_hash != seal_hash(seal):
        refused = Refused(
            RefusalCode.MESSAGE_INVALID,
            "the clip's id is taken by another seal",
            camera_id=seal.body.camera_id,
            clip_id=seal.body.clip_id,
        )
        refused.receipt = False  # a receipt names the id only, and would speak of the clip that stands
        raise refused


async def _new_clip(tx: Connection, camera: Camera, said: ClipSealed, now: datetime) -> list[Receipt]:
    """Keeps a clip's announcement; the receipts of all clips that this one's arrival decides."""
    body = said.seal.body
    fault = _seal_fault(said.seal, camera.agent_id, await _key_of(tx, camera.agent_id))
    if fault and body.agent_id != camera.agent_id:
        raise Refused(RefusalCode.SEAL_INVALID, fault, camera_id=camera.id, clip_id=body.clip_id)
    denied = await cameras.consent_refusal_at(tx, camera, "clips", body.start_at)
    refusal = (RefusalCode.SEAL_INVALID, fault) if fault else (RefusalCode.CONSENT_DENIED, denied) if denied else None
    broken = await clips.announce(
        tx,
        said,
        refusal=(refusal[0].value, refusal[1]) if refusal else None,
        seal_ok=not fault,
        now=now,
    )
    receipts = []
    if refusal:
        await alarm(tx, refusal[0], refusal[1], now, camera.agent_id, camera.id, body.clip_id)
        receipts.append(Receipt(clip_id=body.clip_id, status="refused", code=refusal[0], at=now))
    else:
        await sightings.attach_clip(tx, camera.id, list(said.sighting_ids), body.clip_id, body.start_at, body.end_at)
    unfit = [one for one in broken if one.status != ClipStatus.REFUSED]
    return receipts + [await refuse_clip(tx, one, RefusalCode.CHAIN_BROKEN, BROKEN, now) for one in unfit]


async def refuse_clip(tx: Connection, one: Clip, code: RefusalCode, detail: str, now: datetime) -> Receipt:
    """Refuses a kept clip for good, with an alarm; its receipt."""
    await clips.refuse(tx, one.id, code.value, detail)
    await alarm(tx, code, detail, now, one.agent_id, one.camera_id, one.id)
    return Receipt(clip_id=one.id, status="refused", code=code, at=now)


async def alarm(
    tx: Connection,
    code: RefusalCode,
    detail: str,
    now: datetime,
    agent_id: UUID,
    camera_id: UUID | None,
    subject_id: UUID | None,
) -> None:
    """An alarm for a refusal; a forged or damaged clip is critical."""
    await alarms.raise_alarm(
        tx,
        code=code.value,
        severity="critical" if code in CRITICAL else "info" if code == RefusalCode.CONSENT_DENIED else "warning",
        now=now,
        agent_id=agent_id,
        camera_id=camera_id,
        subject_id=subject_id,
        detail=detail,
    )


async def _record_refusal(context: Context, agent_id: UUID, refused: Refused) -> None:
    now = context.clock()
    # One open alarm per clip, or else per camera or agent: a flood of bad messages is one thing to look at.
    subject = refused.clip_id or refused.camera_id or agent_id
    async with context.db.transaction() as tx:
        await alarm(tx, refused.refusal, refused.detail, now, agent_id, refused.camera_id, subject)
    log.warning("ingest.refused", agent_id=str(agent_id), code=refused.code, detail=refused.detail)
    if refused.receipt and refused.clip_id:
        receipt = Receipt(clip_id=refused.clip_id, status="refused", code=refused.refusal, at=now)
        await push_receipts(context, agent_id, [receipt])


async def _gap(context: Context, agent_id: UUID, seen: GapSeen) -> None:
    async with context.db.transaction() as tx:
        await _camera_of(tx, agent_id, seen.camera_id)
        await cameras.record_gap(tx, seen)


async def _device(context: Context, agent_id: UUID, found: DeviceFound) -> None:
    async with context.db.transaction() as tx:
        await _key_of(tx, agent_id)
        camera = await cameras.camera(tx, found.camera_id)
        if camera is not None and camera.agent_id != agent_id:
            raise Refused(RefusalCode.WRONG_AGENT, "the camera is another agent's", camera_id=found.camera_id)
        key = None
        if found.snapshot is not None:
            if not found.snapshot.startswith(_JPEG_START):
                raise Refused(RefusalCode.MESSAGE_INVALID, "the snapshot is no JPEG", camera_id=found.camera_id)
            key = f"snapshots/{found.camera_id}.jpg"
            await context.store.put(Bucket.PICTURES, key, found.snapshot, "image/jpeg")
        try:
            await cameras.record_device(tx, agent_id, found, key, context.clock())
        except Forbidden as error:  # two agents at once with one id
            raise Refused(RefusalCode.WRONG_AGENT, error.code, camera_id=found.camera_id) from error


async def _presence(context: Context, agent_id: UUID, presence: Presence) -> None:
    async with context.db.transaction() as tx:
        await _key_of(tx, agent_id)
        seen_at = await agents.record_presence(tx, agent_id, presence, context.clock())
        if seen_at is None:
            return  # older than what is known
        for report in presence.cameras:
            await cameras.record_report(tx, agent_id, report, seen_at)
        missed = await cameras.desired_if_behind(tx, agent_id, presence.desired_version, context.clock())
    if missed is not None:
        await agents.push_desired(context.bus, agent_id, missed)


async def answer_desired(context: Context, agent_id: UUID, raw: bytes) -> bytes:
    """`DesiredState` as JSON, for an agent that (re)connected."""
    del raw  # the request says all by its subject
    async with context.db.transaction() as tx:
        state = await cameras.desired_state(tx, agent_id, context.clock())
    return state.model_dump_json().encode()


async def answer_receipts(context: Context, agent_id: UUID, raw: bytes) -> bytes:
    """`Receipts` as JSON for the clips of a `ReceiptsAsk`: an agent learns of its own clips only, of others `unknown`.

    Raises:
        HubError: `ingest.message_invalid`.
    """
    try:
        ask = ReceiptsAsk.model_validate_json(raw)
    except ValidationError as error:
        raise Invalid(RefusalCode.MESSAGE_INVALID.value, "receipts") from error
    now = context.clock()
    async with context.db.transaction() as tx:
        known = await clips.of_agent(tx, agent_id, list(ask.clip_ids))
    receipts = [
        receipt_of(known[one], now) if one in known else Receipt(clip_id=one, status="unknown", at=now)
        for one in ask.clip_ids
    ]
    return Receipts(receipts=receipts).model_dump_json().encode()
