"""One live session: WHIP, then packets until something ends it."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urljoin
from uuid import UUID

import httpx
import structlog

from edge_agent.capture.port import EncodedPacket, PacketSubscription
from edge_agent.live.packetise import nal_units, rtp_payloads, with_parameter_sets
from edge_agent.live.peer import CLOCK_HZ, PublishingPeer
from models.wire.downlink import LiveStart

log = structlog.get_logger("edge.live")

CHECK_S = 1.0
CONNECT_S = 15.0
SILENCE_S = 10.0  # no report of the hub for this long: it is gone
GOODBYE_S = 1.0
BACKLOG_STEP = 90  # RTP ticks between packets that were waiting: 1 ms, shown at once
BURST_PACKETS = 16
PACE_S = 0.004
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
MAX_ANSWER_BYTES = 64 * 1024


class _Ended(Exception):
    """The session is over; the argument says why (a stable word)."""


class LiveSession:
    """Owns its subscription, its connection and its task."""

    def __init__(
        self,
        wanted: LiveStart,
        subscription: PacketSubscription,
        wake: asyncio.Event,
        consent_check: Callable[[UUID], str],
        client: httpx.AsyncClient,
        ice_hosts: Sequence[str],
    ) -> None:
        self.wanted = wanted
        self._expires_at = wanted.expires_at
        self._subscription = subscription
        self._wake = wake
        self._consent_check = consent_check
        self._client = client
        self._ice_hosts = ice_hosts
        self._peer: PublishingPeer | None = None
        self._resource: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._times = _Times()

    def begin(self, on_end: Callable[[], None]) -> None:
        """Starts the task; `on_end` is called when it has ended, however that came."""
        self._task = asyncio.create_task(self._run(), name=f"live-{self.wanted.session_id}")
        self._task.add_done_callback(lambda _: on_end())

    def renew(self, expires_at: datetime) -> None:
        """The hub still wants it."""
        self._expires_at = max(self._expires_at, expires_at)

    async def stop(self, reason: str) -> None:
        """Nothing leaves after the first line of this; then the connection is closed and the hub told, within a second each."""
        if self._peer is not None:
            self._peer.sender.halted = True
        if self._task is not None and not self._task.done():
            self._task.cancel(reason)
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        reason = "stopped"
        try:
            peer = await self._connect()
            log.info("live.started", camera_id=str(self.wanted.camera_id), stream=self.wanted.stream.value)
            await self._pump(peer)
        except _Ended as ended:
            reason = str(ended)
        except asyncio.CancelledError as cancelled:
            reason = str(cancelled) or reason  # this task is only cancelled by `stop`, and ends here
        finally:
            self._subscription.close()
            await self._goodbye()
            sent = self._peer.sender.packets if self._peer else 0
            log.info("live.ended", camera_id=str(self.wanted.camera_id), reason=reason, packets=sent)

    # connecting ---------------------------------------------------------------------------------------------

    async def _connect(self) -> PublishingPeer:
        """WHIP with back-off until it stands or there is no use in it."""
        for attempt in range(1_000_000):
            self._check()
            peer = self._peer = PublishingPeer(self._ice_hosts, self.wanted.ice_servers)
            if await self._whip(peer):
                return peer
            await peer.close()
            wait_s = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
            await asyncio.sleep(wait_s * random.uniform(0.7, 1.3))  # noqa: S311  spreads agents, no secret
        raise _Ended("live.not_connected")

    async def _whip(self, peer: PublishingPeer) -> bool:
        """POSTs the offer and waits for media to flow. False: try again."""
        if self._client.is_closed:
            raise _Ended("agent_stopped")
        try:
            response = await self._client.post(
                self.wanted.whip_url,
                content=await peer.offer(),
                headers={"Content-Type": "application/sdp", "Authorization": f"Bearer {self.wanted.token}"},
            )
        except httpx.HTTPError as error:
            log.info("live.whip_unreachable", error=type(error).__name__)
            return False
        if 400 <= response.status_code < 500 and response.status_code not in {408, 429}:
            raise _Ended("live.refused_by_hub")
        if response.status_code != 201 or len(response.content) > MAX_ANSWER_BYTES:
            log.info("live.whip_failed", status=response.status_code)
            return False
        self._resource = urljoin(self.wanted.whip_url, response.headers.get("Location", ""))
        try:
            await peer.accept(response.text)
            await asyncio.wait_for(peer.sender.ready.wait(), CONNECT_S)
        except (ValueError, TimeoutError) as error:
            log.info("live.not_connected", error=type(error).__name__)
            return False
        return True

    async def _goodbye(self) -> None:
        """Closes the connection and tells the hub; each at most a second, for the owner's pause must not wait."""
        if self._peer is None:
            return
        self._peer.sender.halted = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._peer.close(), GOODBYE_S)
        if self._resource is not None and not self._client.is_closed:
            with suppress(httpx.HTTPError, TimeoutError):
                headers = {"Authorization": f"Bearer {self.wanted.token}"}
                await asyncio.wait_for(self._client.delete(self._resource, headers=headers), GOODBYE_S)

    # sending ------------------------------------------------------------------------------------------------

    async def _pump(self, peer: PublishingPeer) -> None:
        checked_at = time.monotonic()
        while True:
            packet = self._subscription.pop()
            if packet is not None:
                await self._send(peer, packet)
            elif self._subscription.ended:
                raise _Ended("camera.offline")
            else:
                self._times.backlog_is_over()
                self._wake.clear()
                await self._wait()
            if peer.ended.is_set():
                raise _Ended("live.disconnected")
            if time.monotonic() - checked_at >= CHECK_S:
                checked_at = time.monotonic()
                self._check()
                if checked_at - peer.sender.heard_at > SILENCE_S:
                    raise _Ended("live.hub_silent")

    async def _wait(self) -> None:
        """Until there may be packets, or it is time to look round."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_S / 4):
                await self._wake.wait()

    def _check(self) -> None:
        code = self._consent_check(self.wanted.camera_id)
        if code:
            raise _Ended(code)
        if datetime.now(UTC) >= self._expires_at:
            raise _Ended("live.expired")

    async def _send(self, peer: PublishingPeer, packet: EncodedPacket) -> None:
        params = self._subscription.params
        units = list(nal_units(packet.data))
        if packet.is_keyframe:
            units = with_parameter_sets(units, params.extradata)
        payloads = rtp_payloads(units)
        ticks = int(packet.pts * params.time_base * CLOCK_HZ)
        timestamp = self._times.map(ticks, packet.epoch, time.monotonic())
        last = len(payloads) - 1
        for place, payload in enumerate(payloads):
            await peer.sender.send_payload(payload, timestamp, marker=place == last)
            if peer.sender.packets % BURST_PACKETS == 0:
                await asyncio.sleep(PACE_S)


class _Times:
    """The camera's timestamps, made one rising line: what waited in the cache is squeezed, a new epoch goes on by the clock."""

    def __init__(self) -> None:
        self._backlog = True
        self._epoch: int | None = None
        self._shown = 0
        self._shown_at = 0.0
        self._offset = 0

    def backlog_is_over(self) -> None:
        """All that waited has been sent."""
        self._backlog = False

    def map(self, ticks: int, epoch: int, now: float) -> int:
        """Our timestamp for the camera's."""
        if self._epoch is None:
            shown = 0
        elif self._backlog:
            shown = self._shown + BACKLOG_STEP
        elif epoch != self._epoch:
            shown = self._shown + max(BACKLOG_STEP, int((now - self._shown_at) * CLOCK_HZ))
        else:
            shown = ticks + self._offset
        self._epoch, self._offset = epoch, shown - ticks
        self._shown, self._shown_at = shown, now
        return shown
