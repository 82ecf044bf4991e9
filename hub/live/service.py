"""Live viewing: who watches which stream until when, and what flows for it.

All state lives on the event loop and changes between awaits only. One sweep, twice a second, ends what has no lease, closes
upstreams nobody watches, and starts again those that were lost. Several hubs: sessions and their media are of the one that
opened them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from hub.context import Context
from hub.errors import Conflict, Forbidden, HubError, NotFound, TooMany, Unavailable
from hub.identity.model import Principal
from hub.kit.ids import new_id
from hub.live import metrics
from hub.live.model import Gate, LiveConfig, RelayPort, Upstream, UpstreamState, ViewSession
from hub.live.schemas import LeaseView, LiveSession, UpstreamView
from hub.live.upstreams import WHIP_USE, Attempts, close_quietly, seconds_between
from models.vocabulary import StreamName

log = structlog.get_logger("hub.live")

WHEP_USE = "live.whep"
WHEP_PATH = "/api/v1/live/whep"
SWEEP_S = 0.5
CONSENT_EVERY_S = 1.0
_REMEMBERED = 500
_UNWRITTEN = 1000


class LiveHub:
    """Sessions of viewers, upstreams of cameras, and the tokens that join them."""

    def __init__(self, context: Context, relay: RelayPort, gate: Gate, config: LiveConfig | None = None) -> None:
        self._context = context
        self._relay = relay
        self._gate = gate
        self.config = config or LiveConfig()
        self._sessions: dict[UUID, ViewSession] = {}
        self._upstreams: dict[tuple[UUID, StreamName], Upstream] = {}
        self._starting: dict[tuple[UUID, StreamName], asyncio.Task[None]] = {}
        self._ended: deque[tuple[UUID, str]] = deque(maxlen=_REMEMBERED)
        self._flows: dict[Upstream, metrics.Flow] = {}
        self._unwritten: deque[tuple[ViewSession, int, str]] = deque(maxlen=_UNWRITTEN)
        self._background: set[asyncio.Task[None]] = set()
        self._attempts = Attempts(context, self.config, self._spawn)
        self._sweeper: asyncio.Task[None] | None = None
        self._consent_at: datetime | None = None

    # life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to sweep. Call once, on the loop that serves requests."""
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="live-sweeper")

    async def close(self) -> None:
        """Ends every session and upstream; idempotent."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
            self._sweeper = None
        for session in list(self._sessions.values()):
            self._end(session, "hub_stopped")
        for upstream in list(self._upstreams.values()):
            self._close_upstream(upstream)
        if self._background:
            await asyncio.wait(set(self._background), timeout=10)

    # viewers ------------------------------------------------------------------------------------------------

    async def open(self, who: Principal, camera_id: UUID, stream: StreamName) -> LiveSession:
        """Lets somebody watch: consent, limits, upstream, ledger row, token — in this order.

        Raises:
            NotFound: `camera.unknown`. Forbidden: `consent.*`. TooMany: `live.too_many`.
            Unavailable: `live.agent_offline`, `live.no_stream`.
        """
        camera = await self._gate.admit(who, camera_id)
        upstream = self._room_for(who, camera.id, camera.agent_id, stream)
        session = ViewSession(new_id(), who, camera.id, stream, upstream, self._lease_end())
        self._sessions[session.id] = session
        upstream.sessions.add(session.id)
        upstream.empty_since = None
        try:
            await self._ensure_started(upstream)
            await self._gate.watched(session)
        except BaseException:  # whatever it was, cancellation too: the place is given back and the error goes on
            self._forget(session)
            raise
        if session.id not in self._sessions:  # ended meanwhile, by a pause
            raise Forbidden(self._why_ended(session.id) or "live.ended")
        metrics.SESSIONS_OPENED.inc()
        life = timedelta(seconds=self.config.token_life_s)
        token, _ = self._context.signer.mint(WHEP_USE, {"sid": str(session.id)}, life)
        return LiveSession(
            id=session.id,
            camera_id=camera.id,
            stream=stream,
            whep_url=f"{WHEP_PATH}/{session.id}",
            token=token,
            ice_servers=self._attempts.ice_servers(session.id, life),
            lease_s=round(self.config.lease_s),
            expires_at=session.expires_at,
        )

    def renew(self, who: Principal, session_id: UUID) -> LeaseView:
        """Prolongs the lease and tells what the relay sees.

        Raises:
            Conflict: `live.ended` with `reason` (a stable code). NotFound: `live.unknown`.
        """
        session = self._session(session_id, who)
        session.expires_at = self._lease_end()
        upstream = session.upstream
        return LeaseView(
            expires_at=session.expires_at,
            upstream=upstream.state.value,
            packets=upstream.fanout.packets,
            last_packet_at=upstream.last_packet_at,
        )

    def end(self, who: Principal, session_id: UUID) -> None:
        """The viewer has seen enough. One that is over already stays so."""
        session = self._sessions.get(session_id)
        if session is not None and session.who.user_id == who.user_id:
            self._end(session, "closed")

    async def watch(self, session_id: UUID, token: str, offer: str) -> str:
        """WHEP: the answer to a viewer's checked offer. A second offer replaces the first connection.

        Raises:
            Forbidden: `token.*`. Conflict: `live.ended`. NotFound: `live.unknown`. Invalid: `live.sdp_invalid`, `live.no_h264`.
        """
        self._check(WHEP_USE, token, session_id)
        session = self._session(session_id)
        old, session.peer = session.peer, None
        if old is not None:
            self._spawn(close_quietly(old, old.close()), "live-viewer-close")
        peer, answer = await self._relay.accept_viewer(
            session.upstream.fanout, offer, lambda: self._viewer_gone(session_id)
        )
        if self._sessions.get(session_id) is not session:
            await peer.close()
            raise Conflict("live.ended", reason=self._why_ended(session_id))
        session.peer, session.answered_at = peer, self._context.clock()
        return answer

    def unwatch(self, session_id: UUID, token: str) -> None:
        """WHEP DELETE: ends the session."""
        self._check(WHEP_USE, token, session_id)
        session = self._sessions.get(session_id)
        if session is not None:
            self._end(session, "closed")

    # agents -------------------------------------------------------------------------------------------------

    async def publish(self, attempt_id: UUID, token: str, offer: str) -> str:
        """WHIP: the answer to an agent's checked offer.

        Raises:
            Forbidden: `token.*`. NotFound: `live.unknown` (no such attempt, or given up). Invalid: `live.sdp_invalid`.
        """
        self._check(WHIP_USE, token, attempt_id)
        upstream = self._by_attempt(attempt_id)
        if upstream is None:
            raise NotFound("live.unknown")
        old, upstream.peer = upstream.peer, None
        if old is not None:
            self._spawn(close_quietly(old, old.close()), "live-publisher-close")
        peer, answer = await self._relay.accept_publisher(
            upstream.fanout, offer, lambda: self._publisher_gone(attempt_id)
        )
        if self._by_attempt(attempt_id) is not upstream:
            await peer.close()
            raise NotFound("live.unknown")
        upstream.peer, upstream.attempt_at = peer, self._context.clock()
        upstream.state, upstream.retry_at = UpstreamState.STARTING, None
        return answer

    def unpublish(self, attempt_id: UUID, token: str) -> None:
        """WHIP DELETE: the agent stops of its own accord. It is asked at once whether it means it."""
        self._check(WHIP_USE, token, attempt_id)
        upstream = self._by_attempt(attempt_id)
        if upstream is not None:
            self._drop_publisher(upstream)
            self._attempts.lost(upstream, "agent_stopped")
            upstream.retry_at = self._context.clock()

    def stop_camera(self, camera_id: UUID, reason: str) -> None:
        """Ends the camera's live at once: pause, consent, retirement. `reason`: the stable code that viewers are told."""
        for session in [s for s in self._sessions.values() if s.camera_id == camera_id]:
            self._end(session, reason)
        for upstream in [u for u in self._upstreams.values() if u.camera_id == camera_id]:
            self._close_upstream(upstream)

    def upstreams(self) -> list[UpstreamView]:
        """What is relayed now."""
        return [
            UpstreamView(
                camera_id=upstream.camera_id,
                stream=upstream.stream,
                state=upstream.state.value,
                viewers=len(upstream.sessions),
                packets=upstream.fanout.packets,
                bytes=upstream.fanout.bytes,
                started_at=upstream.started_at,
                last_packet_at=upstream.last_packet_at,
            )
            for upstream in self._upstreams.values()
        ]

    # inside -------------------------------------------------------------------------------------------------

    def _room_for(self, who: Principal, camera_id: UUID, agent_id: UUID, stream: StreamName) -> Upstream:
        mine = sum(session.who.user_id == who.user_id for session in self._sessions.values())
        if len(self._sessions) >= self.config.max_sessions or mine >= self.config.max_sessions_per_user:
            raise TooMany("live.too_many", retry_after_s=round(self.config.lease_s))
        upstream = self._upstreams.get((camera_id, stream))
        if upstream is None:
            if len(self._upstreams) >= self.config.max_upstreams:
                raise TooMany("live.too_many", retry_after_s=round(self.config.lease_s))
            upstream = Upstream(camera_id, stream, agent_id, self._relay.fanout(), self._context.clock())
            self._upstreams[camera_id, stream] = upstream
        return upstream

    async def _ensure_started(self, upstream: Upstream) -> None:
        """One LiveStart however many viewers come at once; each is told its outcome."""
        key = (upstream.camera_id, upstream.stream)
        task = self._starting.get(key)
        if task is None:
            if upstream.attempt_id is not None and upstream.state is not UpstreamState.LOST:
                return
            task = asyncio.create_task(self._attempts.start(upstream), name="live-start")
            self._starting[key] = task
            task.add_done_callback(lambda done: self._started(upstream, done))
        await asyncio.shield(task)

    def _started(self, upstream: Upstream, task: asyncio.Task[None]) -> None:
        self._starting.pop((upstream.camera_id, upstream.stream), None)
        if not task.cancelled() and task.exception() is not None:
            self._attempts.lost(upstream, "start_failed")

    def _session(self, session_id: UUID, who: Principal | None = None) -> ViewSession:
        session = self._sessions.get(session_id)
        if session is None:
            reason = self._why_ended(session_id)
            if reason:
                raise Conflict("live.ended", reason=reason)
            raise NotFound("live.unknown")
        if who is not None and session.who.user_id != who.user_id:
            raise NotFound("live.unknown")
        return session

    def _check(self, use: str, token: str, wanted: UUID) -> None:
        if self._context.signer.check(use, token).get("sid") != str(wanted):
            raise Forbidden("token.invalid")

    def _by_attempt(self, attempt_id: UUID) -> Upstream | None:
        return next((u for u in self._upstreams.values() if u.attempt_id == attempt_id), None)

    def _lease_end(self) -> datetime:
        return self._context.clock() + timedelta(seconds=self.config.lease_s)

    def _why_ended(self, session_id: UUID) -> str:
        return next((reason for ended, reason in self._ended if ended == session_id), "")

    def _viewer_gone(self, session_id: UUID) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            self._end(session, "disconnected")

    def _publisher_gone(self, attempt_id: UUID) -> None:
        upstream = self._by_attempt(attempt_id)
        if upstream is not None:
            self._drop_publisher(upstream)
            self._attempts.lost(upstream, "disconnected")

    def _drop_publisher(self, upstream: Upstream) -> None:
        peer, upstream.peer = upstream.peer, None
        if peer is not None:
            self._spawn(close_quietly(peer, peer.close()), "live-publisher-close")

    def _forget(self, session: ViewSession) -> bool:
        """Takes a session out of every list. False: it was out already."""
        if self._sessions.pop(session.id, None) is None:
            return False
        session.upstream.sessions.discard(session.id)
        if not session.upstream.sessions:
            session.upstream.empty_since = self._context.clock()
        peer, session.peer = session.peer, None
        if peer is not None:
            self._spawn(close_quietly(peer, peer.close()), "live-viewer-close")
        return True

    def _end(self, session: ViewSession, reason: str) -> None:
        if not self._forget(session):
            return
        self._ended.append((session.id, reason))
        metrics.ended(reason)
        seconds = seconds_between(session.watching_since, self._context.clock())
        self._spawn(self._write_end(session, seconds, reason), "live-ledger")

    async def _write_end(self, session: ViewSession, seconds: int, reason: str) -> None:
        try:
            await self._gate.ended(session, seconds, reason)
        except Unavailable as error:  # written by a later sweep
            log.warning("live.ledger_waits", session_id=str(session.id), code=error.code)
            self._unwritten.append((session, seconds, reason))

    def _close_upstream(self, upstream: Upstream) -> None:
        if self._upstreams.get((upstream.camera_id, upstream.stream)) is upstream:
            del self._upstreams[upstream.camera_id, upstream.stream]
        self._attempts.stop(upstream)
        upstream.fanout.close()
        self._flows.pop(upstream, metrics.Flow()).count(upstream)
        self._drop_publisher(upstream)

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run(), name=name)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("live.background_failed", task=task.get_name(), exc_info=task.exception())

    # the sweep ----------------------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except Exception:  # boundary of the owner task: live goes on, whatever one sweep met
                log.exception("live.sweep_failed")

    async def sweep(self) -> None:
        """Once round: leases, consent, upstreams, figures."""
        now = self._context.clock()
        for session in list(self._sessions.values()):
            self._sweep_session(session, now)
        await self._sweep_consent(now)
        for upstream in list(self._upstreams.values()):
            self._sweep_upstream(upstream, now)
        metrics.show(len(self._sessions), self._upstreams.values())
        for _ in range(len(self._unwritten)):
            await self._write_end(*self._unwritten.popleft())

    def _sweep_session(self, session: ViewSession, now: datetime) -> None:
        if session.expires_at <= now:
            self._end(session, "lease")
        elif session.peer is not None and session.peer.connected:
            session.watching_since = session.watching_since or now
        elif session.answered_at is not None and seconds_between(session.answered_at, now) >= self.config.connect_s:
            self._end(session, "not_connected")

    async def _sweep_consent(self, now: datetime) -> None:
        watched = {session.camera_id for session in self._sessions.values()}
        if not watched or (self._consent_at and (now - self._consent_at).total_seconds() < CONSENT_EVERY_S):
            return
        self._consent_at = now
        try:
            refused = await self._gate.refusals(watched)
        except Unavailable as error:  # the agent still enforces; a session without lease still ends
            log.warning("live.consent_unknown", code=error.code)
            return
        for camera_id, reason in refused.items():
            self.stop_camera(camera_id, reason)

    def _sweep_upstream(self, upstream: Upstream, now: datetime) -> None:
        self._observe(upstream, now)
        self._flows.setdefault(upstream, metrics.Flow()).count(upstream)
        config = self.config
        if not upstream.sessions:
            if (now - (upstream.empty_since or now)).total_seconds() >= config.linger_s:
                self._close_upstream(upstream)
        elif upstream.state is UpstreamState.LOST:
            if upstream.retry_at is not None and upstream.retry_at <= now:
                upstream.retry_at = None
                self._spawn(self._retry(upstream), "live-retry")
        elif seconds_between(upstream.renewed_at, now) >= config.whip_life_s / 3:
            self._attempts.renew(upstream)

    def _observe(self, upstream: Upstream, now: datetime) -> None:
        """State from what is seen, not from what was announced."""
        packets = upstream.fanout.packets
        new, upstream.seen_packets = packets - upstream.seen_packets, packets
        if new:
            upstream.last_packet_at, upstream.failures = now, 0
            if upstream.state is not UpstreamState.LOST:
                upstream.state = UpstreamState.LIVE
            return
        if upstream.state is UpstreamState.LOST or upstream.attempt_at is None:
            return
        began = max(upstream.last_packet_at or upstream.attempt_at, upstream.attempt_at)
        quiet_s = (now - began).total_seconds()
        limit_s = self.config.lost_s if upstream.state is not UpstreamState.STARTING else self.config.connect_s
        if quiet_s >= limit_s:
            self._attempts.stop(upstream)
            self._drop_publisher(upstream)
            self._attempts.lost(upstream, "no_packets")
        elif upstream.state is UpstreamState.LIVE and quiet_s >= self.config.stalled_s:
            upstream.state = UpstreamState.STALLED

    async def _retry(self, upstream: Upstream) -> None:
        try:
            await self._ensure_started(upstream)
        except Forbidden as error:
            self.stop_camera(upstream.camera_id, error.code)
        except HubError:
            return  # `lost` has set the next time already
