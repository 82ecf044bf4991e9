"""A hub (API and worker, in this process) on real servers, with lines to it that can be cut, and what people do at its page."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from sqlalchemy import text

from hub import worker
from hub.app import create_app
from hub.context import Context
from hub.identity.model import Role
from hub.live.gate import DatabaseGate
from hub.live.model import LiveConfig
from hub.live.relay import Relay
from hub.live.service import LiveHub
from hub.storage.minio import MinioStore
from tests.netcut import Line
from tests.seeding import PASSWORD, seed_user, signed_in
from tests.servers import TestServers

CONSENT = {"share_clips": True, "share_live": True, "purposes": ["emergency"], "hours": [], "expires_at": None}


@dataclass
class House:
    """The hub as agents and people see it. `http`, `s3`, `nats`: the lines agents reach it by."""

    context: Context
    admin: httpx.AsyncClient
    http: Line
    s3: Line
    nats: Line

    @property
    def hub_url(self) -> str:
        """Where agents reach the hub."""
        return f"http://{self.http.address}"

    def cut(self) -> None:
        """The agent's network goes away."""
        for line in (self.http, self.s3, self.nats):
            line.cut()

    def mend(self) -> None:
        """It is back."""
        for line in (self.http, self.s3, self.nats):
            line.mend()

    async def code(self) -> str:
        """A fresh enrolment code."""
        answer = await self.admin.post("/enrolment-codes", json={"label": "box"})
        answer.raise_for_status()
        return str(answer.json()["code"])

    async def candidates(self) -> list[dict[str, Any]]:
        """Cameras waiting to be adopted."""
        answer = await self.admin.get("/cameras", params={"adopted": "false"})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    async def adopt(self, camera_id: str, **consent: Any) -> None:
        """Puts a candidate to work, everything shared but for what is given."""
        body = {
            "name": "gate",
            "position": {"lon": 104.9, "lat": 25.1},
            "heading_deg": 0,
            "consent": CONSENT | consent,
        }
        answer = await self.admin.post(f"/cameras/{camera_id}/adoption", json=body)
        assert answer.is_success, answer.text

    @asynccontextmanager
    async def person(self, role: Role) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody at the hub's page, over the network: in the process that relays live pictures."""
        user = await seed_user(self.context, role)
        async with httpx.AsyncClient(base_url=f"{self.hub_url}/api/v1", timeout=15, trust_env=False) as http:
            answer = await http.post("/session", json={"username": user.username, "password": PASSWORD})
            http.headers["X-CSRF-Token"] = answer.raise_for_status().json()["csrf_token"]
            (await http.put("/session/purpose", json={"kind": "duty", "note": "watch"})).raise_for_status()
            yield http

    async def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """What the hub's database holds."""
        async with self.context.db.transaction() as tx:
            return [dict(row) for row in (await tx.execute(text(sql), values)).mappings()]

    async def clips(self, camera_id: UUID | str) -> list[dict[str, Any]]:
        """Clips of a camera by their number in the chain."""
        return await self.rows(
            "select * from clips where camera_id = cast(:camera as uuid) order by chain_seq", camera=str(camera_id)
        )


@asynccontextmanager
async def house_on(servers: TestServers, context: Context) -> AsyncIterator[House]:
    """Runs hub and worker over `context` until the end of the block."""
    listening = socket.create_server(("127.0.0.1", 0))
    here = f"127.0.0.1:{listening.getsockname()[1]}"
    async with Line(here) as http, Line(servers.s3_endpoint) as s3, Line(servers.nats_urls[0]) as nats:
        assert isinstance(context.store, MinioStore)
        secret = servers.stack.secrets
        store = MinioStore(
            servers.s3_endpoint,
            secret.s3_access_key,
            secret.s3_secret_key,
            bucket_prefix=context.store._prefix,
            public_endpoint=f"http://{s3.address}",
        )
        context = dataclasses.replace(
            context, store=store, nats_public_urls=[f"nats://{nats.address}"], public_url=f"http://{http.address}"
        )
        config = LiveConfig()
        live = LiveHub(context, Relay(config), DatabaseGate(context), config)
        server = uvicorn.Server(
            uvicorn.Config(create_app(context, live=live), log_config=None, timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        working = asyncio.create_task(worker.run(context))
        try:
            async with signed_in(context, "admin") as admin:
                yield House(context, admin, http, s3, nats)
        finally:
            server.should_exit = True
            working.cancel()
            await asyncio.gather(serving, working, return_exceptions=True)
            await store.close()
