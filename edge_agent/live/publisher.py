"""Sends a camera's packets to the hub while somebody watches, the owner agrees, and the hub keeps asking.

One session per camera and stream. It ends with LiveStop, with a refusal of the consent (looked at before the first packet,
every second, and at once by `stop_camera`), when its time is out and the hub has not renewed it, or with the connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import httpx
import structlog

from edge_agent.capture.port import PacketSource, PacketSubscription
from edge_agent.errors import AgentError
from edge_agent.live.session import LiveSession
from models.wire.downlink import CommandReply, LiveStart

log = structlog.get_logger("edge.live")

MAX_SESSIONS = 32
HTTP_TIMEOUT_S = 10.0

ConsentCheck = Callable[[UUID], str]
"""Camera → "" if live is allowed now, else the stable code of why not."""


class LivePublisher:
    """All live sessions of this agent. Its methods are called on one event loop."""

    def __init__(
        self,
        packets: PacketSource,
        consent_check: ConsentCheck,
        *,
        ice_hosts: Sequence[str] = ("auto",),
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """`ice_hosts`: own addresses to offer, or `auto`. `client`: how the hub is reached over HTTP (made if none)."""
        self._packets = packets
        self._consent_check = consent_check
        self._ice_hosts = tuple(ice_hosts)
        self._client = client or httpx.AsyncClient(timeout=HTTP_TIMEOUT_S, trust_env=False)
        self._owns_client = client is None
        self._sessions: dict[UUID, LiveSession] = {}
        self._closed = False

    @property
    def active(self) -> list[UUID]:
        """Sessions that run now."""
        return list(self._sessions)

    async def start(self, wanted: LiveStart) -> CommandReply:
        """Begins to send, or, for a session that runs, prolongs it. Never raises."""
        code = self._refusal(wanted)
        if code:
            return CommandReply(ok=False, code=code)
        running = self._sessions.get(wanted.session_id)
        if running is not None:
            running.renew(wanted.expires_at)
            return CommandReply(ok=True)
        for other in list(self._sessions.values()):
            if (other.wanted.camera_id, other.wanted.stream) == (wanted.camera_id, wanted.stream):
                await self.stop(other.wanted.session_id)
        if self._closed:  # while the other one ended, or before: the hub asks again until it hears that the agent went
            return CommandReply(ok=False, code="agent.stopping")
        if len(self._sessions) >= MAX_SESSIONS:
            return CommandReply(ok=False, code="live.too_many")
        try:
            self._begin(wanted)
        except AgentError as error:
            return CommandReply(ok=False, code=error.code, detail=error.detail[:500])
        return CommandReply(ok=True)

    async def stop(self, session_id: UUID, reason: str = "stopped") -> None:
        """Ends a session: when this returns no packet of it leaves any more. Unknown ones are no error."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            await session.stop(reason)

    async def stop_camera(self, camera_id: UUID, reason: str) -> None:
        """Ends all live of a camera at once (pause, consent, removal)."""
        mine = [s.wanted.session_id for s in self._sessions.values() if s.wanted.camera_id == camera_id]
        await asyncio.gather(*(self.stop(session_id, reason) for session_id in mine))

    async def close(self) -> None:
        """Ends everything, and begins nothing any more."""
        self._closed = True
        await asyncio.gather(*(self.stop(session_id, "agent_stopped") for session_id in list(self._sessions)))
        if self._owns_client:
            await self._client.aclose()

    def _refusal(self, wanted: LiveStart) -> str:
        if wanted.expires_at <= datetime.now(UTC):
            return "live.expired"
        if not wanted.whip_url.startswith(("http://", "https://")):
            return "live.url_invalid"
        return self._consent_check(wanted.camera_id)

    def _begin(self, wanted: LiveStart) -> None:
        wake = asyncio.Event()
        loop = asyncio.get_running_loop()

        def notify() -> None:
            with suppress(RuntimeError):  # the loop is closed: the agent is ending
                loop.call_soon_threadsafe(wake.set)

        subscription: PacketSubscription = self._packets.subscribe(wanted.camera_id, wanted.stream, notify)
        codec = subscription.params.codec
        if codec != "h264":
            subscription.close()
            raise AgentError("live.codec_unsupported", codec)
        session = LiveSession(wanted, subscription, wake, self._consent_check, self._client, self._ice_hosts)
        self._sessions[wanted.session_id] = session
        session.begin(lambda: self._forget(session))

    def _forget(self, session: LiveSession) -> None:
        if self._sessions.get(session.wanted.session_id) is session:
            del self._sessions[session.wanted.session_id]
