"""The uplink: one session after the other, each with its outbox pump, questions, presence and renewal.

Back-off with jitter between sessions; credentials are renewed over HTTP before they end. Nothing is kept in memory only: what
was not acknowledged when a session ends is in the spool and goes out in the next.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog

from edge_agent.errors import AgentError, HubRefused
from edge_agent.kit.backoff import Backoff
from edge_agent.kit.clock import Clock, to_us, utc_now
from edge_agent.spool import clips, outbox
from edge_agent.spool.outbox import Waiting
from edge_agent.spool.store import Spool, count_loss
from edge_agent.uplink.downlink import Refused, read_command, read_pushed
from edge_agent.uplink.port import Heard, Link
from models.wire.agent_http import MessagingCredentials
from models.wire.downlink import Command, CommandReply, DesiredState, Receipt, ReceiptsAsk
from models.wire.uplink import Presence

PRESENCE_EVERY_S = 10.0
LOOK_EVERY_S = 1.0
ASK_EVERY_S = 60.0
REVOKED_WAIT_S = 60.0
RENEW_BEFORE = timedelta(minutes=2)
PUBLISH_AT_ONCE = 64

log = structlog.get_logger()


class CredentialSource(Protocol):
    """Where fresh messaging credentials come from (`HubClient`)."""

    async def credentials(self) -> MessagingCredentials:
        """New ones. HubRefused when the hub knows us no more."""


class Openness(Protocol):
    """What may leave now (the consent gate)."""

    def open_cameras(self) -> frozenset[UUID]:
        """Adopted cameras whose consented messages may go."""

    def closed_cameras(self) -> frozenset[UUID]:
        """Cameras of which nothing may go, not even that they exist."""


Connect = Callable[[MessagingCredentials, Heard], Awaitable[Link]]


@dataclass(frozen=True)
class UplinkHandlers:
    """What the rest of the agent does with what the hub says, and what it says of itself."""

    take_desired: Callable[[DesiredState], Awaitable[None]]
    take_receipts: Callable[[list[Receipt]], Awaitable[None]]
    command: Callable[[Command], Awaitable[CommandReply]]
    presence: Callable[[], Awaitable[Presence]]
    keep_credentials: Callable[[MessagingCredentials], Awaitable[None]]
    connected: Callable[[], None]


class Uplink:
    """Run it as one task. `wake` may be called from any thread when something was queued."""

    def __init__(
        self,
        spool: Spool,
        gate: Openness,
        hub: CredentialSource,
        connect: Connect,
        credentials: MessagingCredentials,
        handlers: UplinkHandlers,
        clock: Clock = utc_now,
    ) -> None:
        self._spool = spool
        self._gate = gate
        self._hub = hub
        self._connect = connect
        self._credentials = credentials
        self._handlers = handlers
        self._clock = clock
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._trust = True  # the credentials at hand have not been refused
        self.refused = Refused()
        self.state = "uplink.starting"

    @property
    def connected(self) -> bool:
        """Whether messages can go now."""
        return self.state == "uplink.connected"

    def wake(self) -> None:
        """Something was queued. Any thread."""
        self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Sessions until cancelled."""
        backoff = Backoff(first=0.5, most=30.0)
        while True:
            try:
                await self._session(backoff)
                wait_s = 0.0 if self.connected else backoff.next_s()
                self._say("uplink.renewing" if self.connected else "uplink.lost")
            except HubRefused as error:
                # The hub knows us no more (revoked) or is ill: keep everything, ask rarely.
                wait_s = REVOKED_WAIT_S if error.status in (401, 403, 404) else backoff.next_s()
                self._say(error.code)
            except AgentError as error:
                self._trust = self._trust and error.code != "uplink.refused"
                wait_s = backoff.next_s()
                self._say(error.code)
            await asyncio.sleep(wait_s)

    def _say(self, state: str) -> None:
        """One line when it goes down, one when it is back."""
        if state != self.state:
            log.info("uplink.state", state=state, before=self.state)
            self.state = state

    async def _session(self, backoff: Backoff) -> None:
        """One connection until it ends (state `lost`) or its credentials near their end (state stays `connected`)."""
        credentials = await self._fresh()
        link = await self._connect(credentials, self._heard)
        self._say("uplink.connected")
        backoff.reset()
        self._handlers.connected()
        work = [
            asyncio.create_task(part(link), name=f"uplink.{part.__name__}")
            for part in (self._pump, self._ask, self._presence)
        ]
        ended = asyncio.create_task(link.ended.wait(), name="uplink.ended")
        try:
            life_s = max(1.0, (credentials.expires_at - RENEW_BEFORE - self._clock()).total_seconds())
            await asyncio.wait([*work, ended], timeout=life_s, return_when=asyncio.FIRST_COMPLETED)
            if link.ended.is_set():
                self._say("uplink.lost")
        finally:
            for task in (*work, ended):
                task.cancel()
            results = await asyncio.gather(*work, ended, return_exceptions=True)
            await link.close()
        for result in results:
            if isinstance(result, AgentError):
                self._say("uplink.lost")
            elif isinstance(result, Exception):
                raise result

    async def _fresh(self) -> MessagingCredentials:
        if not self._trust or self._credentials.expires_at - RENEW_BEFORE <= self._clock():
            self._credentials = await self._hub.credentials()
            self._trust = True
            await self._handlers.keep_credentials(self._credentials)
            log.info("uplink.credentials_renewed", expires_at=self._credentials.expires_at.isoformat())
        return self._credentials

    async def _pump(self, link: Link) -> None:
        """The outbox to the stream: cameras side by side, each camera's messages in order."""
        backoff = Backoff(first=0.2, most=10.0)
        while True:
            self._woken.clear()
            batch = await self._spool.run(
                outbox.next_batch, self._gate.open_cameras(), self._gate.closed_cameras(), PUBLISH_AT_ONCE
            )
            if not batch:
                await self._rest(LOOK_EVERY_S)
                continue
            lanes: dict[UUID, list[Waiting]] = defaultdict(list)
            for message in batch:
                lanes[message.camera_id].append(message)
            well = await asyncio.gather(*(self._publish(link, lane) for lane in lanes.values()))
            if all(well):
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s())

    async def _publish(self, link: Link, lane: list[Waiting]) -> bool:
        done: list[str] = []
        try:
            for message in lane:
                if message.camera_id in self._gate.closed_cameras():
                    return True  # paused meanwhile: the rest waits
                try:
                    await link.publish(message.type, message.body, message.id)
                except AgentError as error:
                    if error.code != "uplink.too_large":
                        await self._spool.run(outbox.failed, [message.id])
                        return False
                    await self._spool.run(count_loss, f"too_large.{message.type}", to_us(self._clock()))
                done.append(message.id)
            return True
        finally:
            if done:
                await self._spool.run(clips.delivered, done)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _ask(self, link: Link) -> None:
        """What may have been missed: at once, then every minute (state comes from asking, not from having heard)."""
        backoff = Backoff(first=0.5, most=10.0)
        while True:
            try:
                await self._heard("desired", await link.ask("desired", b""))
                await self._ask_receipts(link)
            except AgentError:
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            await asyncio.sleep(ASK_EVERY_S)

    async def _ask_receipts(self, link: Link) -> None:
        owed = await self._spool.run(clips.unsettled)
        if owed:
            ask = ReceiptsAsk(clip_ids=[clip_id for clip_id, _ in owed])
            await self._heard("receipts", await link.ask("receipts", ask.model_dump_json().encode()))

    async def _presence(self, link: Link) -> None:
        """Every 10 s, and within a second of a change."""
        said: object = None
        said_at = 0.0
        while True:
            presence = await self._handlers.presence()
            gist = _gist(presence)
            now = self._loop.time()
            if gist != said or now - said_at >= PRESENCE_EVERY_S:
                await link.tell(presence.type, presence.model_dump_json().encode())
                said, said_at = gist, now
            await asyncio.sleep(LOOK_EVERY_S)

    async def _heard(self, kind: str, raw: bytes) -> bytes | None:
        if kind == "command":
            command = read_command(raw, self.refused)
            if command is None:
                return CommandReply(ok=False, code="command.invalid").model_dump_json().encode()
            return (await self._handlers.command(command)).model_dump_json().encode()
        message = read_pushed(raw, kind, self.refused)
        if isinstance(message, DesiredState):
            await self._handlers.take_desired(message)
        elif message is not None:
            await self._handlers.take_receipts(message.receipts)
        return None


def _gist(presence: Presence) -> object:
    """What counts as a change: states and versions, not counters that always move."""
    cameras = [(one.camera_id, one.state, one.detail, one.consent_version) for one in presence.cameras]
    return presence.desired_version, presence.outbox_files, cameras
