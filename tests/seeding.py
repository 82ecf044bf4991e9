"""A hub with something in it, for tests and benches: accounts, an agent with a key, adopted cameras, sightings, sealed clips.

Everything goes the way it goes in earnest: enrolment, device messages, adoption, uplink messages, presigned uploads,
verification. Only the agent's network is left out: its messages are handed to `handle_uplink`.

    village = await seed_village(context, cameras=2)                 # an agent with adopted cameras, and staff
    seen = await village.twin.see(context, village.cameras[0], ObjectClass.CAR)
    clip = await village.twin.deliver(context, village.cameras[0], b"…bytes…", sightings=[seen])
    async with signed_in(context, "investigator") as client: ...     # httpx client on the app, purpose set
"""

import hashlib
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from PIL import Image

from hub.agents import enrolment
from hub.app import create_app
from hub.cameras import changes
from hub.cameras.model import CameraZone
from hub.context import Context
from hub.errors import Conflict
from hub.identity import accounts
from hub.identity.model import Principal, Role, User
from hub.ingest import uploads
from hub.ingest.service import handle_uplink
from hub.ingest.verification import verify_clip
from hub.kit.ids import new_id
from hub.kit.shapes import Position
from models.keys import SigningKey
from models.vocabulary import Colour, ColourPart, ConsentPurpose, ObjectClass
from models.wire.agent_http import EnrolAsk, PartDone, UploadAsk, UploadComplete, enrol_bytes
from models.wire.base import Box, ClockReading
from models.wire.downlink import Receipt
from models.wire.seal import GENESIS, Seal, SealBody, seal_hash, signed_bytes
from models.wire.uplink import (
    ClipSealed,
    ColourShare,
    DetectorName,
    DeviceFound,
    MediaInfo,
    SightingSeen,
    StreamInfo,
    TrajectoryPoint,
)
from tests.people import open_incident

HOME = Position(lon=104.9, lat=25.09)
PASSWORD = "a long enough password"
DETECTOR = DetectorName(name="seeded", sha256="0" * 64)
FULL_CONSENT = changes.Wish(share_clips=True, share_live=True, purposes=list(ConsentPurpose), hours=[], expires_at=None)


def jpeg(colour: str = "grey", size: tuple[int, int] = (64, 36)) -> bytes:
    """A small real picture."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


# people -------------------------------------------------------------------------------------------------------


def _principal(user: User) -> Principal:
    return Principal(user.id, user.username, user.display_name, user.role, "", None)


async def seed_user(context: Context, role: Role, *, username: str | None = None, now: datetime | None = None) -> User:
    """An account of this role with the password `PASSWORD`; the one that is there already."""
    name = username or role.value
    at = now or context.clock()
    try:
        async with context.db.transaction() as tx:
            user, _ = await accounts.create_account(
                tx, username=name, display_name=name, role=role, now=at, by=None, password=PASSWORD
            )
    except Conflict:
        async with context.db.transaction() as tx:
            return next(one for one in await accounts.all_accounts(tx) if one.username == name)
    return user


@asynccontextmanager
async def client_on(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the app, below /api/v1, not signed in."""
    transport = httpx.ASGITransport(create_app(context))
    async with httpx.AsyncClient(transport=transport, base_url=f"{context.public_url}/api/v1") as client:
        yield client


_OWN = {Role.INVESTIGATOR: "incident", Role.SUPERVISOR: "test", Role.ADMIN: "test"}


@asynccontextmanager
async def signed_in(
    context: Context, role: str | Role, *, purpose: str | None = "own", username: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client signed in as somebody of this role, with CSRF header, and a purpose unless `purpose` is None.

    `own`: an incident for an investigator, a test for who may set one, duty for others.
    """
    user = await seed_user(context, Role(role), username=username)
    async with client_on(context) as client:
        answer = await client.post("/session", json={"username": user.username, "password": PASSWORD})
        answer.raise_for_status()
        client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        if purpose:
            wish: dict[str, str] = {
                "kind": _OWN.get(user.role, "duty") if purpose == "own" else purpose,
                "note": "seeded",
            }
            if wish["kind"] == "incident":
                async with context.db.transaction() as tx:
                    wish["incident_id"] = str(await open_incident(tx, user.id))
            (await client.put("/session/purpose", json=wish)).raise_for_status()
        yield client


# the edge -----------------------------------------------------------------------------------------------------


@dataclass
class Twin:
    """What an enrolled agent is to the hub: its id, its key, and the chain of seals of each camera."""

    agent_id: UUID
    key: SigningKey
    chains: dict[UUID, tuple[int, str]] = field(default_factory=dict)

    def sighting(self, camera_id: UUID, object_class: ObjectClass = ObjectClass.PERSON, **kw: Any) -> SightingSeen:
        """A sighting message. `kw` override its fields; `start_at` is best given."""
        start = kw.pop("start_at")
        end = kw.pop("end_at", start + timedelta(seconds=8))
        box = Box(x=0.4, y=0.4, w=0.2, h=0.4)
        fields: dict[str, Any] = {
            "id": new_id(),
            "sighting_id": new_id(),
            "revision": 1,
            "final": True,
            "camera_id": camera_id,
            "object_class": object_class,
            "start_at": start,
            "end_at": end,
            "best_at": start,
            "best_score": 0.8,
            "best_box": box,
            "trajectory": [TrajectoryPoint(t_ms=0, box=box), TrajectoryPoint(t_ms=1000, box=box)],
            "colours": [ColourShare(part=ColourPart.BODY, colour=Colour.WHITE, share=0.6)],
            "detector": DETECTOR,
            "clock": ClockReading(offset_ms=12, uncertainty_ms=500),
            "picture": jpeg(),
        }
        return SightingSeen(**(fields | kw))

    def seal(self, camera_id: UUID, data: bytes, start_at: datetime, **kw: Any) -> Seal:
        """The next seal in the camera's chain. `kw` override fields of its body (before it is signed)."""
        seq, prev = self.chains.get(camera_id, (0, GENESIS))
        fields: dict[str, Any] = {
            "clip_id": new_id(),
            "camera_id": camera_id,
            "agent_id": self.agent_id,
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
            "start_at": start_at,
            "end_at": start_at + timedelta(seconds=12),
            "clock": ClockReading(offset_ms=12, uncertainty_ms=500),
            "seq": seq + 1,
            "prev": prev,
        }
        body = SealBody(**(fields | kw))
        seal = Seal(body=body, signature=self.key.sign(signed_bytes(body)).hex())
        self.chains[camera_id] = (body.seq, seal_hash(seal))
        return seal

    def clip(
        self, camera_id: UUID, data: bytes, start_at: datetime, sighting_ids: Sequence[UUID] = (), **kw: Any
    ) -> ClipSealed:
        """The message that announces a sealed clip."""
        return ClipSealed(
            id=new_id(),
            seal=self.seal(camera_id, data, start_at, **kw),
            media=MediaInfo(codec="avc1.42001f", width=1280, height=720, frames=300, fps_measured=25.0),
            sighting_ids=list(sighting_ids),
        )

    async def send(self, context: Context, message: Any) -> None:
        """Hands a message to the hub as the bus would."""
        await handle_uplink(context, self.agent_id, message.type, message.model_dump_json().encode())

    async def see(
        self, context: Context, camera_id: UUID, object_class: ObjectClass = ObjectClass.PERSON, **kw: Any
    ) -> SightingSeen:
        """Sends a sighting."""
        kw.setdefault("start_at", context.clock() - timedelta(minutes=5))
        seen = self.sighting(camera_id, object_class, **kw)
        await self.send(context, seen)
        return seen

    async def upload(self, context: Context, clip: ClipSealed, data: bytes) -> Receipt:
        """Uploads the parts that are missing, and completes."""
        body = clip.seal.body
        ask = UploadAsk(clip_id=body.clip_id, size_bytes=body.size_bytes, sha256=body.sha256)
        plan = await uploads.plan_upload(context, self.agent_id, ask)
        if plan.receipt is not None:
            return plan.receipt
        done = []
        async with httpx.AsyncClient(trust_env=False) as http:
            for part in plan.parts:
                etag = part.etag
                if not etag:
                    answer = await http.put(part.url, content=data[part.offset : part.offset + part.size_bytes])
                    answer.raise_for_status()
                    etag = answer.headers["etag"].strip('"')
                done.append(PartDone(number=part.number, etag=etag))
        complete = UploadComplete(upload_id=plan.upload_id, parts=done)
        return await uploads.complete_upload(context, self.agent_id, body.clip_id, complete)

    async def deliver(
        self,
        context: Context,
        camera_id: UUID,
        data: bytes,
        *,
        start_at: datetime | None = None,
        sightings: Sequence[SightingSeen] = (),
    ) -> ClipSealed:
        """A clip all the way: announced, uploaded, verified."""
        begin = start_at or (sightings[0].start_at if sightings else context.clock() - timedelta(minutes=5))
        clip = self.clip(camera_id, data, begin, [seen.sighting_id for seen in sightings])
        await self.send(context, clip)
        await self.upload(context, clip, data)
        await verify_clip(context, clip.seal.body.clip_id)
        return clip


async def seed_agent(context: Context, name: str = "青山村委会", *, now: datetime | None = None) -> Twin:
    """An enrolled agent."""
    at = now or context.clock()
    admin = _principal(await seed_user(context, Role.ADMIN, now=at))
    key = SigningKey.generate()
    async with context.db.transaction() as tx:
        code, _ = await enrolment.create_code(tx, admin, label=name, village="青山镇", now=at)
        proof = key.sign(enrol_bytes(code, key.public_hex)).hex()
        ask = EnrolAsk(code=code, public_key=key.public_hex, proof=proof, hostname="box", version="0.1.0")
        agent = await enrolment.enrol(tx, ask, "127.0.0.1", at)
    return Twin(agent.id, key)


async def seed_camera(
    context: Context,
    twin: Twin,
    name: str = "村口",
    *,
    village: str = "纳姑村",
    position: Position = HOME,
    heading_deg: float = 0,
    consent: changes.Wish | None = FULL_CONSENT,
    zones: Sequence[CameraZone] = (),
    now: datetime | None = None,
) -> UUID:
    """A camera found by the agent; adopted under `consent` (None: left a candidate). `now`: when it was adopted."""
    at = now or context.clock()
    admin = _principal(await seed_user(context, Role.ADMIN, now=at))
    camera_id = new_id()
    stream = StreamInfo(codec="h264", width=1280, height=720, fps_declared=25, fps_measured=25)
    device = DeviceFound(
        id=new_id(),
        camera_id=camera_id,
        manufacturer="Seeded",
        model="S1",
        serial=str(camera_id),
        firmware="1",
        address="127.0.0.1:1",
        source="source0",
        main=stream,
    )
    await twin.send(context, device)
    if consent is None:
        return camera_id
    async with context.db.transaction() as tx:
        await changes.adopt(
            tx,
            admin,
            camera_id,
            name=name,
            village=village,
            position=position,
            heading_deg=heading_deg,
            fov_deg=70,
            range_m=60,
            wish=consent,
            now=at,
        )
        if zones:
            await changes.change(
                tx,
                admin,
                camera_id,
                name=None,
                village=None,
                position=None,
                heading_deg=None,
                fov_deg=None,
                range_m=None,
                zones=list(zones),
                analytics=None,
                now=at,
            )
    return camera_id


@dataclass(frozen=True)
class Village:
    """An agent with adopted cameras, about 110 m apart to the north."""

    twin: Twin
    cameras: list[UUID]


NAMES = ("村口", "晒场", "小学路口", "牛场")


async def seed_village(context: Context, cameras: int = 2, *, days_ago: float = 30) -> Village:
    """An agent with `cameras` adopted cameras whose consent is in force since `days_ago` days."""
    since = context.clock() - timedelta(days=days_ago)
    twin = await seed_agent(context, now=since)
    ids = [
        await seed_camera(
            context,
            twin,
            NAMES[number % len(NAMES)],
            position=Position(lon=HOME.lon, lat=HOME.lat + 0.001 * number),
            now=since,
        )
        for number in range(cameras)
    ]
    return Village(twin, ids)
