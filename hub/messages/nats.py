"""The hub's bus on NATS: JetStream for the uplink, plain requests and pushes for the rest.

The only module of the hub that knows the `nats` client. The client gives up for good on any error the server writes to
it (an expired login, say); so the connection is owned by a task that makes a new one, and what listens starts again on it.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import UUID

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from hub.errors import HubError, Unavailable
from hub.messages.credentials import MAX_PAYLOAD_BYTES, mint_hub_jwt
from hub.messages.port import RequestHandler, UplinkHandler
from hub.observability import AGENT_REQUESTS, UPLINK_MESSAGES, UPLINK_SECONDS
from models.keys import SigningKey
from models.wire.downlink import Command, CommandReply, Pushed, down_subject

log = structlog.get_logger(__name__)

STREAM = "UPLINK"
DURABLE = "ingest"
QUEUE = "hub"
DEDUPE_WINDOW_S = 600
STREAM_MAX_BYTES = 8 * 1024**3
ACK_WAIT_S = 30.0
CONNECT_TIMEOUT_S = 5
OPEN_TIMEOUT_S = 8.0
FETCH_TIMEOUT_S = 5.0
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 60.0
_REQUESTS_AT_ONCE = 32
_KNOWN = frozenset({"sighting", "clip", "gap", "device", "presence"})
_TROUBLE = (nats.errors.Error, OSError, TimeoutError)


class NatsBus:
    """A `Bus`. `await NatsBus.connect(urls, account_key)`."""

    def __init__(self, urls: list[str], account_key: SigningKey, replicas: int) -> None:
        self._urls = urls
        self._account_key = account_key
        self._replicas = replicas
        self._client = Client()
        self._closing = False
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, urls: list[str], account_key: SigningKey, *, replicas: int = 1) -> "NatsBus":
        """A connected bus, its stream and consumer made.

        Raises:
            Unavailable: `messages.unavailable`.
        """
        bus = cls(urls, account_key, replicas)
        with _mapped():
            await bus._open()
            await bus._ensure_stream()
        bus._owner = asyncio.create_task(bus._own(), name="nats connection")
        return bus

    async def _open(self) -> None:
        key = SigningKey.generate()  # a user of this process alone

        def sign(nonce: str) -> bytes:
            return base64.b64encode(key.sign(nonce.encode()))

        async def lost() -> None:
            if self._connected.is_set() and not self._closing:
                self._connected.clear()
                log.warning("messages_down")

        async def back() -> None:
            self._connected.set()
            log.info("messages_up")

        async def closed() -> None:
            self._connected.clear()
            gone.set()

        async def error(error: Exception) -> None:
            log.debug("messages_error", error=str(error))

        gone = asyncio.Event()
        client = Client()
        # Told to reconnect for ever, the client also connects for ever: the first time has an end.
        connecting = client.connect(
            servers=self._urls,
            name="qianshao-hub",
            user_jwt_cb=lambda: mint_hub_jwt(self._account_key, key.public_raw).encode(),
            signature_cb=sign,
            inbox_prefix=b"_INBOX_hub",
            connect_timeout=CONNECT_TIMEOUT_S,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=20,
            max_outstanding_pings=2,
            disconnected_cb=lost,
            reconnected_cb=back,
            closed_cb=closed,
            error_cb=error,
        )
        try:
            await asyncio.wait_for(connecting, OPEN_TIMEOUT_S)
        except BaseException:  # cancelled or failed: its tasks must not stay behind; the error goes on
            await client.close()
            raise
        self._client, self._lost = client, gone
        self._connected.set()

    async def _own(self) -> None:
        """Makes a new connection whenever the client has given its own up."""
        while True:
            await self._lost.wait()
            log.warning("messages_down", closed=True)
            while True:
                try:
                    await self._open()
                    break
                except _TROUBLE:
                    await asyncio.sleep(RETRY_FIRST_S)
            log.info("messages_up")

    async def _ensure_stream(self) -> None:
        stream = self._client.jetstream()
        config = StreamConfig(
            name=STREAM,
            subjects=["qs.up.>"],
            # A message goes when it has been ingested, not before: agents let go of theirs once it is acknowledged here.
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=STREAM_MAX_BYTES,
            max_msg_size=MAX_PAYLOAD_BYTES,
            duplicate_window=DEDUPE_WINDOW_S,
            num_replicas=self._replicas,
        )
        try:
            await stream.stream_info(STREAM)
            await stream.update_stream(config)
        except nats.js.errors.NotFoundError:
            await stream.add_stream(config)
        consumer = ConsumerConfig(
            durable_name=DURABLE,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_deliver=-1,
            max_ack_pending=1000,
        )
        await stream.add_consumer(STREAM, consumer)

    async def push(self, agent_id: UUID, message: Pushed) -> None:
        """See `Bus`."""
        with _mapped():
            await self._client.publish(down_subject(agent_id, message.type), message.model_dump_json().encode())

    async def command(self, agent_id: UUID, command: Command, timeout_s: float = 5.0) -> CommandReply:
        """See `Bus`."""
        subject, body = down_subject(agent_id, "command"), command.model_dump_json().encode()
        try:
            with _mapped():
                answer = await self._client.request(subject, body, timeout=timeout_s)
        except Unavailable as error:
            if isinstance(error.__cause__, nats.errors.NoRespondersError | TimeoutError):
                raise Unavailable("agent.unreachable") from error
            raise
        try:
            return CommandReply.model_validate_json(answer.data)
        except ValueError as error:
            raise Unavailable("agent.unreachable", "its answer cannot be understood") from error

    async def consume_uplink(self, handler: UplinkHandler, concurrency: int = 4) -> None:
        """See `Bus`."""
        await self._keep_up(lambda: self._consume(handler, concurrency))

    async def serve_requests(self, handlers: dict[str, RequestHandler]) -> None:
        """See `Bus`."""
        await self._keep_up(lambda: self._serve(handlers))

    async def _keep_up(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._connected.wait()
            try:
                await work()
            except _TROUBLE as error:
                log.debug("messages_interrupted", error=str(error))
            await asyncio.sleep(RETRY_FIRST_S)

    async def _consume(self, handler: UplinkHandler, concurrency: int) -> None:
        client = self._client
        subscription = await client.jetstream().pull_subscribe_bind(DURABLE, STREAM)
        slots = asyncio.Semaphore(concurrency)
        async with asyncio.TaskGroup() as group:
            while client is self._client and not client.is_closed:
                await slots.acquire()
                message = await self._next(subscription)
                if message is None:
                    slots.release()
                    continue
                task = group.create_task(_handle(message, handler), name="uplink message")
                task.add_done_callback(lambda _: slots.release())

    async def _next(self, subscription: JetStreamContext.PullSubscription) -> Msg | None:
        await self._connected.wait()
        try:
            return (await subscription.fetch(1, timeout=FETCH_TIMEOUT_S))[0]
        except TimeoutError:
            return None
        except _TROUBLE as error:
            log.debug("messages_interrupted", error=str(error))
            await asyncio.sleep(RETRY_FIRST_S)
            return None

    async def _serve(self, handlers: dict[str, RequestHandler]) -> None:
        client, lost = self._client, self._lost
        slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        arrived: asyncio.Queue[Msg] = asyncio.Queue(_REQUESTS_AT_ONCE)
        await client.subscribe(
            "qs.req.*.*", queue=QUEUE, cb=arrived.put
        )  # a full queue: the client holds the rest back
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(lost.wait(), name="nats lost")
            while not ending.done():
                await slots.acquire()
                next_one = asyncio.ensure_future(arrived.get())
                try:
                    await asyncio.wait({next_one, ending}, return_when=asyncio.FIRST_COMPLETED)
                    if not next_one.done():
                        return
                    task = group.create_task(_answer(next_one.result(), handlers), name="agent request")
                    task.add_done_callback(lambda _: slots.release())
                finally:
                    next_one.cancel()

    async def waiting(self) -> int:
        """How many uplink messages are stored and not yet taken for good."""
        with _mapped():
            return int((await self._client.jetstream().stream_info(STREAM)).state.messages)

    async def inject(self, subject: str, body: bytes) -> None:
        """Stores a message on a subject of the uplink as the hub itself (to take a message again, and for tests)."""
        with _mapped():
            await self._client.jetstream().publish(subject, body)

    async def purge(self) -> None:
        """Empties the uplink stream (for tests and for starting over)."""
        with _mapped():
            await self._client.jetstream().purge_stream(STREAM)

    async def ping(self) -> None:
        """See `Bus`."""
        with _mapped():
            if not self._client.is_connected:
                raise Unavailable("messages.unavailable", "not connected")
            await self._client.flush(timeout=2)

    async def close(self) -> None:
        """See `Bus`."""
        self._closing = True
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        with contextlib.suppress(*_TROUBLE):
            if self._client.is_connected:
                await asyncio.wait_for(self._client.drain(), 5)
            await self._client.close()


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise Unavailable("messages.unavailable", str(error) or type(error).__name__) from error


def _addressed(subject: str) -> tuple[UUID, str] | None:
    """Agent and type (or request name) of `qs.up.<agent>.<type>` or `qs.req.<agent>.<name>`; None: not of that form."""
    words = subject.split(".")
    if len(words) != 4:
        return None
    try:
        return UUID(words[2]), words[3]
    except ValueError:
        return None


@contextlib.asynccontextmanager
async def _still_working(message: Msg) -> AsyncIterator[None]:
    async def tell() -> None:
        while True:
            await asyncio.sleep(ACK_WAIT_S / 3)
            await message.in_progress()

    telling = asyncio.create_task(tell(), name="uplink in progress")
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _handle(message: Msg, handler: UplinkHandler) -> None:
    address = _addressed(message.subject)
    try:
        if address is None:
            log.warning("uplink_subject_refused", subject=message.subject)
            await message.term()
            return
        outcome = await _taken(message, handler, *address)
        UPLINK_MESSAGES.labels(_label(address[1]), outcome).inc()
        if outcome == "taken":
            await message.ack()
        elif outcome == "refused":
            await message.term()
        else:
            await message.nak(delay=_pause_s(message))
    except _TROUBLE as error:  # the acknowledgement did not reach the server: it delivers again
        log.debug("uplink_unacknowledged", error=str(error))


async def _taken(message: Msg, handler: UplinkHandler, agent_id: UUID, type_: str) -> str:
    """What the handler made of a message: `taken`, `refused` (for good) or `again`."""
    try:
        with UPLINK_SECONDS.labels(_label(type_)).time():
            async with _still_working(message):
                await handler(agent_id, type_, message.data)
    except HubError as error:
        if isinstance(error, Unavailable):
            log.info("uplink_again", agent_id=str(agent_id), type=type_, error=error.code)
            return "again"
        log.warning("uplink_refused", agent_id=str(agent_id), type=type_, code=error.code)
        return "refused"
    # The boundary of one message: whatever went wrong inside, it is delivered again and the others go on.
    except Exception as error:  # noqa: BLE001
        log.warning("uplink_again", agent_id=str(agent_id), type=type_, error=f"{type(error).__name__}: {error}"[:500])
        return "again"
    return "taken"


def _pause_s(message: Msg) -> float:
    tries = message.metadata.num_delivered or 1
    return float(min(RETRY_FIRST_S * 2 ** min(tries - 1, 10), RETRY_MAX_S))


def _label(word: str) -> str:
    """The last word of a subject as a label: an agent chooses it, so only known ones become one."""
    return word if word in _KNOWN else "other"


async def _answer(message: Msg, handlers: dict[str, RequestHandler]) -> None:
    address = _addressed(message.subject)
    handler = handlers.get(address[1]) if address is not None else None
    if address is None or handler is None or not message.reply:
        log.warning("request_refused", subject=message.subject)
        return
    try:
        await message.respond(await handler(address[0], message.data))
        outcome = "answered"
    # The boundary of one request: the agent hears nothing, and asks again.
    except Exception as error:  # noqa: BLE001
        log.warning(
            "request_failed", agent_id=str(address[0]), name=address[1], error=f"{type(error).__name__}: {error}"[:500]
        )
        outcome = "failed"
    AGENT_REQUESTS.labels(address[1], outcome).inc()
