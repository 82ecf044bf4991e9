"""Getting an agent to send, and to stop: one upstream over any number of attempts."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from hub.context import Context
from hub.errors import Conflict, Forbidden, HubError, Unavailable
from hub.kit.ids import new_id
from hub.live import metrics, turn
from hub.live.model import LiveConfig, Upstream, UpstreamState
from models.wire.downlink import Command, CommandReply, IceServer, LiveStart, LiveStop

log = structlog.get_logger("hub.live")

WHIP_USE = "live.whip"
WHIP_PATH = "/api/v1/live/whip"
# An agent that answers with one of these will not change its mind by being asked again.
_FINAL_PREFIX = "consent."


class Attempts:
    """Sends LiveStart and LiveStop. It owns no list: `hub.live.service` does."""

    def __init__(self, context: Context, config: LiveConfig, spawn: Callable[[Awaitable[None], str], None]) -> None:
        """`spawn`: runs a named background task that is awaited at the end."""
        self._context = context
        self._config = config
        self._spawn = spawn

    async def start(self, upstream: Upstream) -> None:
        """Asks the agent to send, under a new attempt id.

        Raises:
            Unavailable: `live.agent_offline`, `live.no_stream`; Forbidden: `consent.*`, the agent's own refusal.
        """
        now = self._context.clock()
        upstream.attempt_id, upstream.attempt_at, upstream.renewed_at = new_id(), now, now
        upstream.state, upstream.retry_at = UpstreamState.STARTING, None
        try:
            reply = await self._command(upstream, self._start_message(upstream))
        except Unavailable as error:
            metrics.UPSTREAM_ATTEMPTS.labels("unreachable").inc()
            raise Unavailable("live.agent_offline", error.code) from error
        if reply.ok:
            metrics.UPSTREAM_ATTEMPTS.labels("ok").inc()
            return
        metrics.UPSTREAM_ATTEMPTS.labels("refused").inc()
        if reply.code.startswith(_FINAL_PREFIX):
            raise Forbidden(reply.code)
        raise Unavailable("live.no_stream", reply.code)

    def renew(self, upstream: Upstream) -> None:
        """Tells the agent, in the background, that somebody still watches."""
        upstream.renewed_at = self._context.clock()
        self._spawn(self._tell(upstream, self._start_message(upstream)), "live-renew")

    def stop(self, upstream: Upstream) -> None:
        """Tells the agent, in the background, to stop; one that does not hear it stops by itself when its time is out."""
        if upstream.attempt_id is not None:
            self._spawn(self._tell(upstream, LiveStop(session_id=upstream.attempt_id)), "live-stop")
            upstream.attempt_id = None

    def lost(self, upstream: Upstream, reason: str) -> None:
        """The stream is gone: it is asked for again after a while that grows."""
        steps = self._config.backoff_s
        wait_s = steps[min(upstream.failures, len(steps) - 1)]
        upstream.failures += 1
        upstream.state = UpstreamState.LOST
        upstream.retry_at = self._context.clock() + timedelta(seconds=wait_s)
        log.info("live.upstream_lost", camera_id=str(upstream.camera_id), reason=reason, retry_in_s=wait_s)

    def _start_message(self, upstream: Upstream) -> LiveStart:
        if upstream.attempt_id is None:
            raise Conflict("live.ended")
        life = timedelta(seconds=self._config.whip_life_s)
        token, expires_at = self._context.signer.mint(WHIP_USE, {"sid": str(upstream.attempt_id)}, life)
        return LiveStart(
            session_id=upstream.attempt_id,
            camera_id=upstream.camera_id,
            stream=upstream.stream,
            whip_url=f"{self._context.public_url}{WHIP_PATH}/{upstream.attempt_id}",
            token=token,
            expires_at=expires_at,
            ice_servers=self.ice_servers(upstream.attempt_id, life),
        )

    def ice_servers(self, session_id: UUID, life: timedelta) -> list[IceServer]:
        """What one end is told to reach the other by: TURN with a user that is good for `life`."""
        config = self._config
        return turn.with_credentials(
            config.ice_servers, config.turn_secret, str(session_id), self._context.clock(), life
        )

    async def _command(self, upstream: Upstream, command: Command) -> CommandReply:
        return await self._context.bus.command(upstream.agent_id, command, self._config.command_s)

    async def _tell(self, upstream: Upstream, command: Command) -> None:
        try:
            await self._command(upstream, command)
        except HubError as error:
            log.info("live.agent_not_told", command=command.command, code=error.code)


async def close_quietly(upstream_or_session_peer: object, closing: Awaitable[None]) -> None:
    """Waits for a peer to close, at most 5 s: a vanished one must not hold anything up."""
    try:
        await asyncio.wait_for(closing, 5)
    except TimeoutError:
        log.warning("live.peer_close_slow", peer=type(upstream_or_session_peer).__name__)


def seconds_between(since: datetime | None, until: datetime) -> int:
    """Whole seconds, 0 when there is no beginning."""
    return 0 if since is None else max(0, int((until - since).total_seconds()))
