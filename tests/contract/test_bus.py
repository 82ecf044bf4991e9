"""What the hub's bus must do, on a real NATS server with agents that hold real JWTs."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import nats
import nats.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg

from hub.errors import Invalid, Unavailable
from hub.messages.credentials import agent_inbox, mint_user_jwt
from hub.messages.nats import NatsBus
from models.keys import SigningKey
from models.wire.downlink import CommandReply, DesiredState, LiveStop, Receipts
from tests.servers import TestServers, bus_of, wait_until

LIFE = timedelta(minutes=5)


class Agent:
    """An agent's connection, and the permission errors the server told it."""

    def __init__(self, agent_id: UUID, client: Client, errors: list[str]) -> None:
        self.id = agent_id
        self.client = client
        self.errors = errors

    async def publish(self, type_: str, body: bytes, message_id: str | None = None) -> None:
        headers = {"Nats-Msg-Id": message_id} if message_id else None
        await self.client.jetstream().publish(f"qs.up.{self.id}.{type_}", body, headers=headers, timeout=5)


@asynccontextmanager
async def connected(
    servers: TestServers, agent_id: UUID | None = None, *, life: timedelta = LIFE, key: SigningKey | None = None
) -> AsyncIterator[Agent]:
    agent_id = agent_id or uuid4()
    key = key or SigningKey.generate()
    jwt, _ = mint_user_jwt(servers.stack.secrets.account_key, key.public_raw, agent_id, life)
    errors: list[str] = []

    async def error(trouble: Exception) -> None:
        errors.append(str(trouble))

    client = await nats.connect(
        servers.nats_urls,
        user_jwt_cb=jwt.encode,
        signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
        inbox_prefix=agent_inbox(agent_id).encode(),
        allow_reconnect=False,
        connect_timeout=5,
        error_cb=error,
    )
    try:
        yield Agent(agent_id, client, errors)
    finally:
        await client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def bus(servers: TestServers) -> AsyncIterator[NatsBus]:
    made = await bus_of(servers)
    yield made
    await made.close()


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Taken:
    """A handler that remembers, and does what it is told."""

    def __init__(self, then: Callable[[int], None] = lambda count: None) -> None:
        self.seen: list[tuple[UUID, str, bytes]] = []
        self._then = then

    async def __call__(self, agent_id: UUID, type_: str, raw: bytes) -> None:
        self.seen.append((agent_id, type_, raw))
        self._then(len(self.seen))

    def holds(self, count: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return len(self.seen) >= count

        return check


def _emptied(bus: NatsBus) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await bus.waiting() == 0

    return check


async def test_a_message_arrives_with_its_agent_and_type_from_the_subject(bus: NatsBus, servers: TestServers) -> None:
    taken = Taken()
    async with connected(servers) as agent, running(bus.consume_uplink(taken)):
        await agent.publish("sighting", b"body")
        await wait_until(taken.holds(1))
        assert taken.seen == [(agent.id, "sighting", b"body")]
        await wait_until(_emptied(bus))


async def test_messages_wait_while_no_worker_runs(bus: NatsBus, servers: TestServers) -> None:
    taken = Taken()
    async with connected(servers) as agent:
        for number in range(20):
            await agent.publish("gap", str(number).encode())
        assert await bus.waiting() == 20
        async with running(bus.consume_uplink(taken)):
            await wait_until(taken.holds(20))
            await wait_until(_emptied(bus))
    assert sorted(int(raw) for _, _, raw in taken.seen) == list(range(20))


async def test_a_message_sent_twice_under_one_id_is_kept_once(bus: NatsBus, servers: TestServers) -> None:
    async with connected(servers) as agent:
        for _ in range(3):
            await agent.publish("clip", b"same", message_id="one-id")
        assert await bus.waiting() == 1


async def test_a_failing_handler_gets_the_message_again(bus: NatsBus, servers: TestServers) -> None:
    def fail_twice(count: int) -> None:
        if count == 1:
            raise RuntimeError("trouble of our own")
        if count == 2:
            raise Unavailable("storage.unavailable")

    taken = Taken(fail_twice)
    async with connected(servers) as agent, running(bus.consume_uplink(taken)):
        await agent.publish("sighting", b"x")
        await wait_until(taken.holds(3))
        await wait_until(_emptied(bus))
    assert len(taken.seen) == 3


async def test_a_refused_message_ends_and_the_next_goes_on(bus: NatsBus, servers: TestServers) -> None:
    def refuse_first(count: int) -> None:
        if count == 1:
            raise Invalid("ingest.message_invalid")

    taken = Taken(refuse_first)
    async with connected(servers) as agent, running(bus.consume_uplink(taken, concurrency=1)):
        await agent.publish("sighting", b"bad")
        await agent.publish("sighting", b"good")
        await wait_until(taken.holds(2))
        await wait_until(_emptied(bus))
    assert [raw for _, _, raw in taken.seen] == [b"bad", b"good"]


async def test_two_workers_share_the_messages(bus: NatsBus, servers: TestServers) -> None:
    other = await NatsBus.connect(servers.nats_urls, servers.stack.secrets.account_key)
    one, two = Taken(), Taken()

    async def slow(handler: Taken) -> None:
        async def take(agent_id: UUID, type_: str, raw: bytes) -> None:
            await asyncio.sleep(0.01)  # work
            await handler(agent_id, type_, raw)

        await (bus if handler is one else other).consume_uplink(take, concurrency=1)

    async with connected(servers) as agent, running(slow(one)), running(slow(two)):
        for number in range(60):
            await agent.publish("gap", str(number).encode())
        await wait_until(_emptied(bus))
    await other.close()
    assert len(one.seen) > 5
    assert len(two.seen) > 5
    assert len({raw for _, _, raw in one.seen + two.seen}) == len(one.seen) + len(two.seen) == 60


@pytest.mark.parametrize("subject", ["qs.up.not-an-id.sighting", "qs.up.sighting", f"qs.up.{uuid4()}.a.b"])
async def test_a_subject_of_another_form_is_dropped(bus: NatsBus, subject: str) -> None:
    taken = Taken()
    async with running(bus.consume_uplink(taken)):
        await bus.inject(subject, b"x")
        await wait_until(_emptied(bus))
    assert taken.seen == []


async def test_a_push_reaches_its_agent_alone(bus: NatsBus, servers: TestServers) -> None:
    async with connected(servers) as agent, connected(servers) as other:
        mine, others = await _listen(agent), await _listen(other)
        message = DesiredState(version=7, issued_at=datetime.now(UTC), cameras=[])
        await bus.push(agent.id, message)
        await bus.push(agent.id, Receipts(receipts=[]))
        await wait_until(lambda: _has(mine, 2))
        assert mine[0].subject == f"qs.down.{agent.id}.desired"
        assert DesiredState.model_validate_json(mine[0].data) == message
        assert mine[1].subject.endswith(".receipts")
        assert others == []


async def _listen(agent: Agent) -> list[Msg]:
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    await agent.client.subscribe(f"qs.down.{agent.id}.*", cb=hear)
    await agent.client.flush()
    return heard


async def _has(messages: list[Msg], count: int) -> bool:
    return len(messages) >= count


async def test_a_push_to_nobody_is_no_error(bus: NatsBus) -> None:
    await bus.push(uuid4(), Receipts(receipts=[]))


async def test_a_command_is_answered(bus: NatsBus, servers: TestServers) -> None:
    async with connected(servers) as agent:

        async def answer(message: Msg) -> None:
            reply = CommandReply(ok=False, code="consent.paused")
            await message.respond(reply.model_dump_json().encode())

        await agent.client.subscribe(f"qs.down.{agent.id}.command", cb=answer)
        await agent.client.flush()
        assert await bus.command(agent.id, LiveStop(session_id=uuid4())) == CommandReply(
            ok=False, code="consent.paused"
        )


async def test_an_absent_agent_is_unreachable_at_once(bus: NatsBus) -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable) as error:
        await bus.command(uuid4(), LiveStop(session_id=uuid4()), timeout_s=5)
    assert error.value.code == "agent.unreachable"
    assert asyncio.get_running_loop().time() - began < 2


@pytest.mark.parametrize("answer", [None, b"", b"{", b'{"ok": "maybe"}', b'{"ok": true, "more": 1}', b"\xff\xfe"])
async def test_an_agent_that_answers_nonsense_or_nothing_is_unreachable(
    bus: NatsBus, servers: TestServers, answer: bytes | None
) -> None:
    async with connected(servers) as agent:

        async def reply(message: Msg) -> None:
            if answer is not None:
                await message.respond(answer)

        await agent.client.subscribe(f"qs.down.{agent.id}.command", cb=reply)
        await agent.client.flush()
        with pytest.raises(Unavailable) as error:
            await bus.command(agent.id, LiveStop(session_id=uuid4()), timeout_s=0.5)
        assert error.value.code == "agent.unreachable"


async def test_requests_of_agents_are_answered_by_name(bus: NatsBus, servers: TestServers) -> None:
    async def desired(agent_id: UUID, raw: bytes) -> bytes:
        return f"{agent_id} {raw.decode()}".encode()

    async def broken(agent_id: UUID, raw: bytes) -> bytes:
        raise RuntimeError("trouble of our own")

    async with connected(servers) as agent, running(bus.serve_requests({"desired": desired, "broken": broken})):

        async def answered() -> bool:
            try:
                answer = await agent.client.request(f"qs.req.{agent.id}.desired", b"hello", timeout=0.5)
            except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
                return False
            return answer.data == f"{agent.id} hello".encode()

        await wait_until(answered)
        for name in ("broken", "unknown"):
            with pytest.raises(nats.errors.TimeoutError):
                await agent.client.request(f"qs.req.{agent.id}.{name}", b"", timeout=0.3)
        assert await answered()  # the failures before it harmed nobody


async def _refused(agent: Agent, subject: str) -> bool:
    return any("permissions violation" in error.lower() and subject.lower() in error.lower() for error in agent.errors)


async def test_an_agent_cannot_publish_outside_its_subjects(bus: NatsBus, servers: TestServers) -> None:
    other = uuid4()
    async with connected(servers) as agent, connected(servers, other) as victim:
        heard = await _listen(victim)
        for subject in (
            f"qs.up.{other}.sighting",
            f"qs.req.{other}.desired",
            f"qs.down.{other}.command",
            f"qs.down.{agent.id}.command",
            "qs.up.>",
            "$JS.API.STREAM.DELETE.UPLINK",
            "$JS.API.STREAM.PURGE.UPLINK",
            "$JS.API.CONSUMER.MSG.NEXT.UPLINK.ingest",
            f"_INBOX_{other}.x",
            "anything",
        ):
            await agent.client.publish(subject, b"forged")
            await agent.client.flush()
            await wait_until(lambda subject=subject: _refused(agent, subject))  # type: ignore[misc]
        assert heard == []
        assert await bus.waiting() == 0
        await agent.publish("sighting", b"its own")  # it is still connected
        assert await bus.waiting() == 1


async def test_an_agent_cannot_listen_outside_its_subjects(bus: NatsBus, servers: TestServers) -> None:
    other = uuid4()
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    async with connected(servers) as agent:
        for subject in (
            ">",
            "qs.>",
            "qs.down.>",
            f"qs.down.{other}.>",
            f"qs.up.{agent.id}.>",
            f"qs.up.{other}.>",
            "qs.req.>",
            f"_INBOX_{other}.>",
            "_INBOX_hub.>",
            "$JS.>",
        ):
            await agent.client.subscribe(subject, cb=hear)
            await agent.client.flush()
            await wait_until(lambda subject=subject: _refused(agent, subject))  # type: ignore[misc]
        await bus.push(other, Receipts(receipts=[]))
        async with connected(servers, other) as victim:
            await victim.publish("sighting", b"private")
        await bus.ping()
        assert heard == []


async def test_a_jwt_is_worth_nothing_with_another_key(servers: TestServers) -> None:
    stolen, _ = mint_user_jwt(servers.stack.secrets.account_key, SigningKey.generate().public_raw, uuid4(), LIFE)
    thief = SigningKey.generate()
    assert await _turned_away(servers, stolen, thief)


async def test_a_jwt_of_another_account_key_is_turned_away(servers: TestServers) -> None:
    key = SigningKey.generate()
    forged, _ = mint_user_jwt(SigningKey.generate(), key.public_raw, uuid4(), LIFE)
    assert await _turned_away(servers, forged, key)


async def test_an_expired_jwt_is_turned_away(servers: TestServers) -> None:
    key = SigningKey.generate()
    old, _ = mint_user_jwt(servers.stack.secrets.account_key, key.public_raw, uuid4(), timedelta(seconds=-5))
    assert await _turned_away(servers, old, key)


async def test_a_changed_jwt_is_turned_away(servers: TestServers) -> None:
    key = SigningKey.generate()
    jwt, _ = mint_user_jwt(servers.stack.secrets.account_key, key.public_raw, uuid4(), LIFE)
    head, body, signature = jwt.split(".")
    claims = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).replace(b"qs.up.", b"qs.xx.")
    changed = f"{head}.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{signature}"
    assert await _turned_away(servers, changed, key)


async def test_nobody_connects_without_a_jwt(servers: TestServers) -> None:
    with pytest.raises((nats.errors.Error, nats.errors.NoServersError)):
        await nats.connect(servers.nats_urls, allow_reconnect=False, connect_timeout=3, error_cb=_silent)


async def _silent(_: Exception) -> None:
    return


async def _turned_away(servers: TestServers, jwt: str, key: SigningKey) -> bool:
    try:
        client = await nats.connect(
            servers.nats_urls,
            user_jwt_cb=jwt.encode,
            signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
            allow_reconnect=False,
            connect_timeout=3,
            error_cb=_silent,
        )
    except (nats.errors.Error, OSError):
        return True
    await client.close()
    return False


async def test_a_connection_ends_with_its_jwt(servers: TestServers) -> None:
    async with connected(servers, life=timedelta(seconds=2)) as agent:

        async def over() -> bool:
            return agent.client.is_closed

        await wait_until(over, within_s=10)


async def test_a_message_above_one_mebibyte_is_not_taken(servers: TestServers) -> None:
    async with connected(servers) as agent:
        with pytest.raises(nats.errors.MaxPayloadError):
            await agent.publish("sighting", bytes(1024 * 1024 + 1))


async def test_a_bus_without_a_server_is_unavailable(servers: TestServers) -> None:
    with pytest.raises(Unavailable) as error:
        await NatsBus.connect(["nats://127.0.0.1:9"], servers.stack.secrets.account_key)
    assert error.value.code == "messages.unavailable"
