"""The NATS adapter of `Link`: connects as the agent's own key, without reconnecting by itself.

The key is the identity: the server's nonce is signed with it, and the hub's short-lived user JWT names its public half. Back-off
and renewal of the JWT belong to `service`, so the library's own reconnecting is off.
"""

import asyncio
import base64
from uuid import UUID

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from edge_agent.errors import AgentError
from edge_agent.kit.tasks import Crew
from edge_agent.uplink.port import Heard
from models.keys import SigningKey
from models.wire.agent_http import MessagingCredentials
from models.wire.downlink import down_subject, request_subject
from models.wire.uplink import up_subject

CONNECT_TIMEOUT_S = 5
PING_EVERY_S = 10  # with two unanswered pings a silent break is noticed within 30 s
ACK_TIMEOUT_S = 10.0

log = structlog.get_logger()


class NatsLink:
    """See `Link`. Made by `connect`."""

    def __init__(self, client: Client, agent_id: UUID, hear: Heard, ended: asyncio.Event) -> None:
        self._client = client
        self._stream = client.jetstream(timeout=ACK_TIMEOUT_S)
        self._agent_id = agent_id
        self._hear = hear
        self._crew = Crew("downlink")
        self.ended = ended

    @classmethod
    async def connect(
        cls, credentials: MessagingCredentials, key: SigningKey, agent_id: UUID, hear: Heard
    ) -> "NatsLink":
        """Connects and listens on the agent's own subjects. `uplink.unavailable` or `uplink.refused` when it cannot."""
        ended = asyncio.Event()

        async def closed() -> None:
            ended.set()

        async def error(trouble: Exception) -> None:
            log.warning("uplink.trouble", kind=type(trouble).__name__, detail=str(trouble)[:200])

        client = Client()
        try:
            await client.connect(
                credentials.urls,
                name=f"qianshao-edge {agent_id}",
                user_jwt_cb=credentials.user_jwt.encode,
                signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
                inbox_prefix=f"_INBOX_{agent_id}",
                allow_reconnect=False,
                connect_timeout=CONNECT_TIMEOUT_S,
                ping_interval=PING_EVERY_S,
                max_outstanding_pings=2,
                closed_cb=closed,
                error_cb=error,
            )
            link = cls(client, agent_id, hear, ended)
            await client.subscribe(down_subject(agent_id, "*"), cb=link._heard)
            await client.flush(timeout=CONNECT_TIMEOUT_S)
        except (TimeoutError, NatsError, OSError, ValueError) as trouble:
            await client.close()
            raise AgentError(_code(trouble), type(trouble).__name__) from trouble
        return link

    async def publish(self, type_: str, body: bytes, message_id: str) -> None:
        """See `Link.publish`."""
        try:
            await self._stream.publish(up_subject(self._agent_id, type_), body, headers={"Nats-Msg-Id": message_id})
        except MaxPayloadError as error:
            raise AgentError("uplink.too_large", f"{len(body)} bytes") from error
        except (TimeoutError, NatsError, OSError) as error:
            raise AgentError("uplink.unavailable", type(error).__name__) from error

    async def tell(self, type_: str, body: bytes) -> None:
        """See `Link.tell`."""
        try:
            await self._client.publish(up_subject(self._agent_id, type_), body)
        except (NatsError, OSError) as error:
            raise AgentError("uplink.unavailable", type(error).__name__) from error

    async def ask(self, name: str, body: bytes, timeout_s: float = 5.0) -> bytes:
        """See `Link.ask`."""
        try:
            reply = await self._client.request(request_subject(self._agent_id, name), body, timeout=timeout_s)
        except (TimeoutError, NatsError, OSError) as error:
            raise AgentError("uplink.unavailable", type(error).__name__) from error
        return reply.data

    async def close(self) -> None:
        """See `Link.close`."""
        self._crew.cancel()
        if not self._client.is_closed:
            await self._client.close()
        self.ended.set()

    async def _heard(self, message: Msg) -> None:
        # A command may take seconds (opening WHIP): it must not hold up the receipts behind it.
        self._crew.start(self._answer(message))

    async def _answer(self, message: Msg) -> None:
        answer = await self._hear(message.subject.rsplit(".", 1)[-1], message.data)
        if answer is not None and message.reply:
            try:
                await message.respond(answer)
            except (NatsError, OSError) as error:
                log.info("uplink.answer_lost", kind=type(error).__name__)


def _code(trouble: Exception) -> str:
    """While connecting, the library hands the server's refusal on as words only."""
    words = str(trouble).lower()
    return "uplink.refused" if "authorization" in words or "authentication" in words else "uplink.unavailable"
