"""The uplink against the real hub and NATS: nothing is lost when the line goes, credentials are renewed, nonsense is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from edge_agent.consent.gate import ConsentGate
from edge_agent.kit.clock import utc_now
from edge_agent.kit.ids import new_id
from edge_agent.spool import outbox, sightings, wishes
from edge_agent.spool.store import Spool
from edge_agent.uplink.hub import HubClient
from edge_agent.uplink.nats import NatsLink
from edge_agent.uplink.port import Heard, Link
from edge_agent.uplink.service import Uplink, UplinkHandlers
from hub.context import Context
from hub.errors import Unavailable
from hub.messages.credentials import mint_user_jwt
from models.wire.agent_http import MessagingCredentials
from models.wire.downlink import Command, CommandReply, DesiredState, LiveStop, Receipt, down_subject
from models.wire.uplink import Presence
from tests.edge_house import House, house_on
from tests.edge_samples import consent, desired, sighting
from tests.seeding import Twin, seed_agent, seed_camera
from tests.servers import TestServers, wait_until


@dataclass
class Edge:
    """The messaging half of an agent."""

    house: House
    twin: Twin
    camera_id: UUID
    spool: Spool
    gate: ConsentGate
    states: list[DesiredState] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    renewed: list[MessagingCredentials] = field(default_factory=list)

    def credentials(self, life: timedelta = timedelta(hours=1), claim: timedelta | None = None) -> MessagingCredentials:
        """Credentials good for `life` that claim to be good for `claim`."""
        jwt, _ = mint_user_jwt(self.house.context.account_key, self.twin.key.public_raw, self.twin.agent_id, life)
        urls = self.house.context.nats_public_urls
        return MessagingCredentials(urls=urls, user_jwt=jwt, expires_at=utc_now() + (claim or life))

    async def _presence(self) -> Presence:
        totals = await self.spool.run(outbox.totals)
        return Presence(
            id=new_id(),
            at=utc_now(),
            started_at=utc_now(),
            version="0",
            desired_version=self.states[-1].version if self.states else 0,
            outbox_messages=totals.count,
            outbox_files=0,
            disk_free_bytes=1,
            cameras=[],
        )

    async def _desired(self, state: DesiredState) -> None:
        self.states.append(state)

    async def _receipts(self, receipts: list[Receipt]) -> None:
        return None

    async def _command(self, command: Command) -> CommandReply:
        self.commands.append(command)
        return CommandReply(ok=True)

    async def _keep(self, credentials: MessagingCredentials) -> None:
        self.renewed.append(credentials)

    @asynccontextmanager
    async def uplink(self, credentials: MessagingCredentials | None = None) -> AsyncIterator[Uplink]:
        """The uplink at work."""
        hub = HubClient(self.house.hub_url, self.twin.key, self.twin.agent_id)

        async def connect(credentials: MessagingCredentials, hear: Heard) -> Link:
            return await NatsLink.connect(credentials, self.twin.key, self.twin.agent_id, hear)

        handlers = UplinkHandlers(
            take_desired=self._desired,
            take_receipts=self._receipts,
            command=self._command,
            presence=self._presence,
            keep_credentials=self._keep,
            connected=lambda: None,
        )
        uplink = Uplink(self.spool, self.gate, hub, connect, credentials or self.credentials(), handlers)
        running = asyncio.create_task(uplink.run())
        try:
            yield uplink
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await hub.close()

    async def empty(self) -> bool:
        return (await self.spool.run(outbox.totals)).count == 0

    async def sightings_there(self) -> int:
        return len(await self.house.rows("select id from sightings"))

    async def see(self, count: int) -> None:
        now = utc_now()
        for _ in range(count):
            seen = sighting(new_id(), camera_id=self.camera_id, start_at=now, end_at=now, best_at=now, final=True)
            await self.spool.run(sightings.put, seen)


@pytest.fixture
async def edge(servers: TestServers, context: Context, tmp_path: Path) -> AsyncIterator[Edge]:
    async with house_on(servers, context) as house:
        twin = await seed_agent(house.context)
        camera_id = await seed_camera(house.context, twin)
        spool = Spool(tmp_path / "edge")
        await spool.run(wishes.take_desired, desired(1, (camera_id, consent())))
        gate = ConsentGate(spool)
        await gate.load()
        yield Edge(house, twin, camera_id, spool, gate)
        spool.close()


def connected(uplink: Uplink) -> "asyncio.Future[None]":
    async def holds() -> bool:
        return uplink.connected

    return asyncio.ensure_future(wait_until(holds))


async def test_what_waits_arrives_once_although_the_line_goes_again_and_again(edge: Edge) -> None:
    async with edge.uplink() as uplink:
        for round_ in range(1, 4):
            await connected(uplink)
            edge.house.nats.cut_after(3000)  # in the middle of this round's messages
            await edge.see(20)
            uplink.wake()

            async def cut() -> bool:
                return edge.house.nats.is_cut

            await wait_until(cut)
            edge.house.nats.mend()
            await wait_until(edge.empty)

            async def all_there(wanted: int = 20 * round_) -> bool:
                return await edge.sightings_there() == wanted

            await wait_until(all_there)
    assert edge.house.nats.cuts == 3


async def test_on_connection_the_desired_state_is_asked_and_presence_told(edge: Edge) -> None:
    async with edge.uplink():

        async def known() -> bool:
            (row,) = await edge.house.rows("select applied_version, desired_version, seen_at from agents")
            return row["seen_at"] is not None and row["applied_version"] == row["desired_version"]

        await wait_until(known)
    assert edge.states[0].cameras[0].camera_id == edge.camera_id


async def test_credentials_near_their_end_are_renewed_before_connecting(edge: Edge) -> None:
    async with edge.uplink(edge.credentials(timedelta(seconds=30))) as uplink:
        await connected(uplink)
    assert len(edge.renewed) == 1
    assert edge.renewed[0].expires_at > utc_now() + timedelta(minutes=2)


async def test_credentials_the_server_refuses_are_replaced(edge: Edge) -> None:
    """A clock that was wrong, or a new account key: the file says an hour, the server says no."""
    async with edge.uplink(edge.credentials(timedelta(seconds=-5), claim=timedelta(hours=1))) as uplink:
        await connected(uplink)
    assert len(edge.renewed) == 1


async def test_a_revoked_agent_keeps_what_it_has_and_says_why(edge: Edge) -> None:
    await edge.see(3)
    answer = await edge.house.admin.delete(f"/agents/{edge.twin.agent_id}")
    assert answer.is_success
    async with edge.uplink(edge.credentials(timedelta(seconds=1))) as uplink:

        async def told() -> bool:
            return uplink.state == "agent.unknown"

        await wait_until(told)
    assert (await edge.spool.run(outbox.totals)).count == 3


async def test_nonsense_from_the_hubs_side_is_refused_and_the_uplink_goes_on(edge: Edge) -> None:
    async with edge.uplink() as uplink:
        await connected(uplink)
        bus = edge.house.context.bus
        raw = bus._client  # type: ignore[attr-defined]
        for kind in ("desired", "receipts"):
            await raw.publish(down_subject(edge.twin.agent_id, kind), b'{"type":"desired","version":-1}')
        reply = await raw.request(down_subject(edge.twin.agent_id, "command"), b"reboot", timeout=5)
        assert CommandReply.model_validate_json(reply.data).code == "command.invalid"

        async def counted() -> bool:
            return uplink.refused.by_kind == {"desired": 1, "receipts": 1, "command": 1}

        await wait_until(counted)
        good = await bus.command(edge.twin.agent_id, LiveStop(session_id=new_id()))
        assert good.ok


async def test_no_answer_comes_from_an_agent_that_is_away(edge: Edge) -> None:
    with pytest.raises(Unavailable):
        await edge.house.context.bus.command(edge.twin.agent_id, LiveStop(session_id=new_id()), timeout_s=1)


async def test_while_a_camera_is_paused_nothing_of_it_is_published(edge: Edge) -> None:
    await edge.spool.run(wishes.pause, edge.camera_id)
    await edge.gate.load()
    await edge.see(5)
    async with edge.uplink() as uplink:
        await connected(uplink)
        other = await seed_camera(edge.house.context, edge.twin, "other")
        await edge.spool.run(wishes.take_desired, desired(2, (edge.camera_id, consent()), (other, consent())))
        await edge.gate.load()
        now = utc_now()
        passing = sighting(new_id(), camera_id=other, start_at=now, end_at=now, best_at=now, final=True)
        await edge.spool.run(sightings.put, passing)

        async def only_the_other() -> bool:
            return await edge.sightings_there() == 1

        await wait_until(only_the_other)
        assert (await edge.spool.run(outbox.totals)).count == 5
        await edge.spool.run(wishes.resume, edge.camera_id)
        await edge.gate.load()
        await wait_until(edge.empty)
