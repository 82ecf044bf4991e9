"""People, agents and cameras for tests of the API: made through the hub's own services, asked through its app."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import text

from hub.agents import enrolment
from hub.cameras import service as cameras
from hub.context import Context
from hub.db.engine import Connection
from hub.identity import passwords
from hub.identity import repository as identity_rows
from hub.identity.accounts import create_account
from hub.identity.guard import CSRF_HEADER, SESSION_COOKIE
from hub.identity.model import Permission, Principal, PurposeKind, Role
from hub.identity.service import principal_of, set_purpose, token_hash
from hub.kit.ids import new_id
from hub.kit.tokens import TokenSigner
from hub.storage.port import Bucket
from models.keys import SigningKey
from models.wire.agent_http import EnrolAsk, enrol_bytes, make_request_token
from models.wire.uplink import DeviceFound, StreamInfo

# The same algorithm and code with the cheapest parameters: tests make hundreds of accounts.
passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

JPEG = b"\xff\xd8\xff\xe0" + b"\x00" * 32 + b"\xff\xd9"


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime | None = None) -> None:
        self.now = start or datetime(2026, 11, 20, 4, 0, tzinfo=UTC)  # noon in the village, a Friday

    def __call__(self) -> datetime:
        return self.now

    def move(self, **kw: float) -> None:
        """Forward by a timedelta of `kw`."""
        self.now += timedelta(**kw)


def on_clock(context: Context, clock: MovableClock) -> Context:
    """The same context, living by `clock`."""
    return replace(context, clock=clock, signer=TokenSigner(b"s" * 32, clock))


@asynccontextmanager
async def visitor(app: FastAPI, address: str = "10.0.0.9") -> AsyncIterator[httpx.AsyncClient]:
    """A browser that nobody has signed in with."""
    transport = httpx.ASGITransport(app=app, client=(address, 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test/api/v1/") as client:
        yield client


@dataclass
class Person:
    """A signed-in browser, and who it is."""

    client: httpx.AsyncClient
    cookie: str
    username: str
    password: str
    who: Principal


@asynccontextmanager
async def person(
    app: FastAPI, role: Role, *, purpose: bool = False, incident_id: UUID | None = None
) -> AsyncIterator[Person]:
    """A fresh account of `role`, signed in; with `purpose`, on duty, or working on an incident where the role may search."""
    context: Context = app.state.context
    username, cookie, csrf = f"{role.value}-{secrets.token_hex(3)}", secrets.token_urlsafe(16), secrets.token_hex(8)
    now = context.clock()
    async with context.db.transaction() as tx:
        user, password = await create_account(tx, username=username, display_name=username, role=role, now=now, by=None)
        await identity_rows.add_session(
            tx,
            token_hash=token_hash(cookie),
            user_id=user.id,
            csrf_token=csrf,
            now=now,
            expires_at=now + timedelta(hours=12),
        )
        who = await principal_of(tx, cookie, now)
        assert who is not None
        if purpose and incident_id is None and who.may(Permission.SEARCH):
            incident_id = await open_incident(tx, user.id)
        if purpose or incident_id:
            kind = PurposeKind.INCIDENT if incident_id else PurposeKind.DUTY
            await set_purpose(tx, who, cookie, kind=kind, incident_id=incident_id, note="watch", now=now)
            who = await principal_of(tx, cookie, now)
            assert who is not None
    async with visitor(app) as client:
        client.cookies.set(SESSION_COOKIE, cookie)
        client.headers[CSRF_HEADER] = csrf
        yield Person(client, cookie, username, password, who)


async def open_incident(tx: Connection, by: UUID, status: str = "open") -> UUID:
    """An incident somebody reported."""
    incident_id = new_id()
    await tx.execute(
        text(
            "insert into incidents (id, number, category, title, lon, lat, occurred_from, occurred_to, status, "
            "created_by, created_at) values (:id, :number, 'theft_home', '晒场失窃', 104.9, 25.1, now(), now(), :status, "
            ":user_id, now())"
        ),
        {"id": incident_id, "number": f"JQ-{incident_id.hex[-10:]}", "status": status, "user_id": by},
    )
    return incident_id


@dataclass
class Box:
    """An enrolled agent: its id and its key."""

    id: UUID
    key: SigningKey

    def authorization(self, method: str, path: str, body: bytes, now: datetime) -> dict[str, str]:
        """Headers of one signed request."""
        token = make_request_token(self.key, self.id, method, path, body, now.timestamp())
        return {"Authorization": f"QianshaoAgent {token}"}


def enrol_ask(code: str, key: SigningKey | None = None) -> EnrolAsk:
    """What a machine sends to enrol."""
    key = key or SigningKey.generate()
    proof = key.sign(enrol_bytes(code, key.public_hex)).hex()
    return EnrolAsk(code=code, public_key=key.public_hex, proof=proof, hostname="box", version="0.1.0")


async def enrolled(context: Context, by: Principal, name: str = "村委会") -> Box:
    """An agent enrolled with a code of `by`."""
    key = SigningKey.generate()
    now = context.clock()
    async with context.db.transaction() as tx:
        code, _ = await enrolment.create_code(tx, by, label=name, village="纳姑村", now=now)
        agent = await enrolment.enrol(tx, enrol_ask(code, key), "10.0.0.1", now)
    return Box(agent.id, key)


def device(camera_id: UUID, **changes: Any) -> DeviceFound:
    """What an agent says of a camera it found."""
    base: dict[str, Any] = {
        "id": new_id(),
        "camera_id": camera_id,
        "manufacturer": "Simcam",
        "model": "SC-1",
        "serial": "0001",
        "firmware": "1.0",
        "address": "192.168.1.20:80",
        "source": "src0",
        "main": StreamInfo(codec="avc1.64001f", width=1280, height=720, fps_declared=25.0),
    }
    return DeviceFound(**{**base, **changes})


async def candidate(context: Context, box: Box, *, snapshot: bool = True) -> UUID:
    """A camera the box offers, with its still in the store."""
    camera_id = new_id()
    key = f"snapshots/{camera_id}.jpg" if snapshot else None
    if key:
        await context.store.put(Bucket.PICTURES, key, JPEG, "image/jpeg")
    async with context.db.transaction() as tx:
        await cameras.record_device(tx, box.id, device(camera_id), key, context.clock())
    return camera_id


CONSENT: dict[str, Any] = {"share_clips": True, "share_live": True, "purposes": ["theft_loss"]}
ADOPTION: dict[str, Any] = {
    "name": "村口晒场",
    "village": "纳姑村",
    "position": {"lon": 104.9, "lat": 25.1},
    "heading_deg": 90,
    "consent": CONSENT,
}


async def ledger_rows(context: Context) -> list[dict[str, Any]]:
    """The ledger's rows, oldest first, as dictionaries."""
    from hub.ledger.repository import walk

    async with context.db.transaction() as tx:
        return [vars(entry) async for entry in walk(tx)]
