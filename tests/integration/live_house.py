"""A whole live path for tests: the real app on a socket, a signed-in monitor, an agent that answers commands over real NATS."""

import asyncio
import base64
import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import nats
import uvicorn
from nats.aio.msg import Msg
from sqlalchemy import text

from edge_agent.capture.port import PacketSource
from edge_agent.live.publisher import LivePublisher
from hub.app import create_app
from hub.context import Context
from hub.identity.accounts import create_account
from hub.identity.model import Role
from hub.kit.ids import new_id
from hub.live.gate import DatabaseGate
from hub.live.model import LiveConfig
from hub.live.relay import Relay
from hub.live.service import LiveHub
from hub.messages.credentials import mint_user_jwt
from models.keys import SigningKey
from models.wire.downlink import COMMAND, CommandReply, Consent, LiveStart, down_subject
from tests.media.peers import Received, accept, viewer_offer

PASSWORD = "a long enough password 1"  # of an account in a database that is dropped after the test
ALL_DAY = Consent(version=1, share_clips=True, share_live=True, purposes=[])


@dataclass
class LiveHouse:
    """Everything of one test."""

    context: Context
    live: LiveHub
    http: httpx.AsyncClient
    publisher: LivePublisher
    agent_id: UUID
    camera_id: UUID
    refusals: dict[UUID, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    starts: list[LiveStart] = field(default_factory=list)

    async def ask(self, stream: str = "sub") -> httpx.Response:
        return await self.http.post("/live/sessions", json={"camera_id": str(self.camera_id), "stream": stream})

    async def open(self, stream: str = "sub") -> dict[str, Any]:
        response = await self.ask(stream)
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def whep(self, session: dict[str, Any], offer: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {session['token']}", "Content-Type": "application/sdp"}
        return await self.http.post(self.url(session["whep_url"]), content=offer, headers=headers)

    async def watch(self, session: dict[str, Any]) -> tuple[Received, Any]:
        received = Received()
        pc, offer = await viewer_offer(received)
        response = await self.whep(session, offer)
        assert response.status_code == 201, response.text
        await accept(pc, response.text)
        return received, pc

    def url(self, path: str) -> str:
        return self.context.public_url + path

    async def set_consent(self, consent: Consent) -> None:
        async with self.context.db.transaction() as tx:
            await tx.execute(
                text("update cameras set consent = cast(:consent as jsonb) where id = :id"),
                {"consent": consent.model_dump_json(), "id": self.camera_id},
            )

    async def ledger(self, action: str) -> list[dict[str, Any]]:
        async with self.context.db.transaction() as tx:
            rows = await tx.execute(
                text("select * from ledger where action = :action order by seq"), {"action": action}
            )
            return [dict(row) for row in rows.mappings()]


@asynccontextmanager
async def live_house(
    context: Context, packets: PacketSource, config: LiveConfig | None = None, *, lease_s: int = 20
) -> AsyncIterator[LiveHouse]:
    """The app, the account, the agent and one adopted camera whose owner shares it."""
    listening = socket.create_server(("127.0.0.1", 0))
    context = dataclasses.replace(context, public_url=f"http://127.0.0.1:{listening.getsockname()[1]}")
    config = config or LiveConfig(lease_s=lease_s)
    live = LiveHub(context, Relay(config), DatabaseGate(context), config)
    agent_id, camera_id, agent_key = new_id(), new_id(), SigningKey.generate()
    await _rows(context, agent_id, camera_id, agent_key)
    refusals: dict[UUID, str] = {}
    publisher = LivePublisher(packets, lambda camera: refusals.get(camera, ""), ice_hosts=("127.0.0.1",))
    server = uvicorn.Server(
        uvicorn.Config(create_app(context, live=live), log_config=None, timeout_graceful_shutdown=2)
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    async with httpx.AsyncClient(base_url=f"{context.public_url}/api/v1", timeout=15, trust_env=False) as http:
        house = LiveHouse(context, live, http, publisher, agent_id, camera_id, refusals)
        client = await _agent(context, agent_key, house)
        await _sign_in(http)
        try:
            yield house
        finally:
            await publisher.close()
            await client.close()
            server.should_exit = True
            await serving


async def _agent(context: Context, key: SigningKey, house: LiveHouse) -> Any:
    """Answers commands as `edge_agent.app` does."""

    async def hear(message: Msg) -> None:
        command = COMMAND.validate_json(message.data)
        house.commands.append(command.command)
        if isinstance(command, LiveStart):
            house.starts.append(command)
            reply = await house.publisher.start(command)
        else:
            await house.publisher.stop(command.session_id)
            reply = CommandReply(ok=True)
        await message.respond(reply.model_dump_json().encode())

    jwt, _ = mint_user_jwt(context.account_key, key.public_raw, house.agent_id, timedelta(hours=1))
    client = await nats.connect(
        servers=context.nats_public_urls,
        user_jwt_cb=jwt.encode,
        signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
        inbox_prefix=f"_INBOX_{house.agent_id}".encode(),
        allow_reconnect=False,
    )
    await client.subscribe(down_subject(house.agent_id, "command"), cb=hear)
    await client.flush()
    return client


async def _rows(context: Context, agent_id: UUID, camera_id: UUID, key: SigningKey) -> None:
    now = context.clock()
    async with context.db.transaction() as tx:
        await create_account(
            tx, username="jiankong", display_name="监控", role=Role.MONITOR, now=now, by=None, password=PASSWORD
        )
        await tx.execute(
            text(
                "insert into agents (id, name, public_key, hostname, version, enrolled_at) "
                "values (:id, 'box', :key, 'box', '1', :now)"
            ),
            {"id": agent_id, "key": key.public_hex, "now": now},
        )
        await tx.execute(
            text(
                "insert into cameras (id, agent_id, adopted_at, name, device, consent, found_at) "
                "values (:id, :agent, :now, 'gate', cast('{}' as jsonb), cast(:consent as jsonb), :now)"
            ),
            {"id": camera_id, "agent": agent_id, "now": now, "consent": ALL_DAY.model_dump_json()},
        )


async def _sign_in(http: httpx.AsyncClient) -> None:
    response = await http.post("/session", json={"username": "jiankong", "password": PASSWORD})
    assert response.status_code in {200, 201}, response.text
    http.headers["X-CSRF-Token"] = response.json()["csrf_token"]
    response = await http.put("/session/purpose", json={"kind": "duty", "note": "night watch"})
    assert response.status_code == 200, response.text
