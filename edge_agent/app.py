"""The running agent: builds every part, joins them, and ends them in order.

Frames flow capture → analyst; sightings and events flow analyst → consent gate → spool; from the spool the uplink, the cutter and
the uploader each take what is theirs. Nothing flows past the gate or around the spool.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from importlib.metadata import version as package_version
from typing import Protocol
from uuid import UUID

import structlog

from edge_agent.analytics.detector import Detector, load_detector
from edge_agent.analytics.port import EventClosed
from edge_agent.analytics.service import Analyst
from edge_agent.capture.port import FoundGap, Frame, PacketSource
from edge_agent.capture.service import Capture
from edge_agent.consent.gate import ConsentGate
from edge_agent.devices.inventory import Inventory
from edge_agent.devices.port import Prober
from edge_agent.errors import AgentError
from edge_agent.kit.clock import utc_now
from edge_agent.kit.tasks import Crew
from edge_agent.kit.threads import OwnThread
from edge_agent.observability import serve_metrics
from edge_agent.reporting import Reporter
from edge_agent.settings import Settings
from edge_agent.spool import clips, outbox, sightings, wishes
from edge_agent.spool.store import Spool
from edge_agent.supervisor import Supervisor, Worker
from edge_agent.uplink.hub import HubClient
from edge_agent.uplink.identity import Identity, save_identity
from edge_agent.uplink.nats import NatsLink
from edge_agent.uplink.port import Heard, Link
from edge_agent.uplink.service import Uplink, UplinkHandlers
from edge_agent.upload.cutter import Cutter
from edge_agent.upload.service import Uploader, tidy_folder
from edge_agent.upload.transfer import Pace, Transfer
from models.keys import SigningKey
from models.wire.agent_http import MessagingCredentials
from models.wire.downlink import Command, CommandReply, DesiredState, LiveStart
from models.wire.uplink import GapSeen, SightingSeen

SETTLE_EVERY_S = 0.5
STATUS_EVERY_S = 2.0
DETECTOR_RETRY_S = 600.0
CLOSE_WITHIN_S = 4.0

log = structlog.get_logger()


class Live(Protocol):
    """What the agent needs of the live publisher."""

    async def start(self, command: LiveStart) -> CommandReply:
        """Begins sending a stream."""

    async def stop(self, session_id: UUID) -> None:
        """Ends one session."""

    async def stop_camera(self, camera_id: UUID, reason: str) -> None:
        """Ends all sessions of a camera."""

    async def close(self) -> None:
        """Ends everything."""


MakeLive = Callable[[PacketSource, Callable[[UUID], str]], Live]


class Agent:
    """One agent in one process. Build it inside the event loop, `run` it once."""

    def __init__(
        self, settings: Settings, identity: Identity, key: SigningKey, prober: Prober, make_live: MakeLive
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._key = key
        self._stop = asyncio.Event()
        self._dirty = asyncio.Event()
        self._crew = Crew("agent")
        self._blocking = OwnThread("agent-blocking")
        self._analyst: Analyst | None = None
        self._analysed: set[UUID] = set()
        self.spool = Spool(settings.data_dir)
        self._gate = ConsentGate(self.spool)
        self._inventory = Inventory(self.spool, prober, self._may_picture, self._dirty.set, settings.device_every_s)
        self._capture = Capture(settings.data_dir, self, self._on_gap, self._inventory.clock_of)
        self._live = make_live(self._capture, lambda camera_id: self._gate.refuse(camera_id, "live"))
        self._hub = HubClient(identity.hub_url, key, identity.agent_id)
        self._build_outgoing()
        self._supervisor = Supervisor()
        self._gate.on_change(self._consent_changed)

    def _build_outgoing(self) -> None:
        settings, identity = self._settings, self._identity
        self.cutter = Cutter(
            self.spool,
            self._gate,
            self._capture,
            self._inventory.clock_of,
            self._key,
            identity.agent_id,
            settings.spool_max_bytes,
        )
        transfer = Transfer(Pace(settings.upload_bytes_per_s))
        self._uploader = Uploader(self.spool, self._gate, self._hub, transfer, settings.upload_concurrency)
        self.reporter = Reporter(
            self.spool,
            self._gate,
            self._inventory,
            self._capture,
            self.cutter,
            package_version("qianshao"),
            settings.data_dir,
        )
        handlers = UplinkHandlers(
            take_desired=self._take_desired,
            take_receipts=self._uploader.take_receipts,
            command=self._command,
            presence=self.reporter.presence,
            keep_credentials=self._keep_credentials,
            connected=self._uploader.retry_now,
        )
        self._uplink = Uplink(self.spool, self._gate, self._hub, self._connect, identity.messaging, handlers)
        self.reporter.uplink = self._uplink

    def stop(self) -> None:
        """Asks `run` to end. From the event loop (a signal handler)."""
        self._stop.set()

    async def run(self, more: tuple[Worker, ...] = ()) -> None:
        """Works until `stop`; then ends everything within five seconds. `more`: further workers of the caller."""
        self.reporter.restarts = lambda: dict(self._supervisor.restarts)
        stop_metrics = self._serve_metrics()
        try:
            await self._recover()
            workers = [
                Worker("consent", self._settle),
                Worker("devices", self._inventory.run),
                Worker("cameras", self._apply_when_dirty),
                Worker("analytics", self._analytics),
                Worker("cutter", self.cutter.run),
                Worker("uploader", self._uploader.run),
                Worker("uplink", self._uplink.run),
                Worker("status", self._write_status),
                *more,
            ]
            await self._supervisor.run(workers, self._stop)
        finally:
            stop_metrics()
            await self._close()

    async def _recover(self) -> None:
        """What the last run left half done, settled before anything new begins."""
        begun = await self.spool.run(sightings.finish_open)
        events = await self.spool.run(clips.close_open_events)
        files = await tidy_folder(self.spool, utc_now())
        await self._gate.load()
        await self._inventory.load()
        self._dirty.set()
        log.info("agent.recovered", sightings=begun, events=events, files_removed=files)

    async def _close(self) -> None:
        log.info("agent.stopping")
        self._crew.cancel()
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._live.close()
                if self._analyst is not None:
                    await self._blocking.run(self._analyst.close)
                await self._blocking.run(self._capture.close)
                await self._uploader.close()
                await self._hub.close()
        except TimeoutError:
            # What is on disk is whole at any moment; the next start says so by its gaps.
            log.warning("agent.stop_slow")
        self.cutter.close()
        self._blocking.close(0.2)
        self.spool.close()
        log.info("agent.stopped")

    # What flows from capture and analytics (their threads) ------------------------------------------------

    def offer(self, frame: Frame) -> None:
        """Frames to the analyst, once there is one (`FrameSink`)."""
        if self._analyst is not None:
            self._analyst.offer(frame)

    def on_sighting(self, seen: SightingSeen) -> None:
        """A sighting's revision, through the gate, to the outbox."""
        code = self._gate.refuse_sighting(seen.camera_id, seen.start_at, seen.end_at)
        if code:
            self.spool.post(sightings.cut_short, seen.sighting_id)
            return
        self.spool.post(sightings.put, seen).add_done_callback(lambda _: self._uplink.wake())

    def on_event(self, event: EventClosed) -> None:
        """An event is over: its clip is planned before anything else."""
        planned = self.spool.post(
            clips.plan, event.clip_id, event.camera_id, event.start_at, event.end_at, event.sighting_ids
        )
        planned.add_done_callback(lambda _: self.cutter.wake())

    def _on_gap(self, found: FoundGap) -> bool:
        """A gap, to the outbox; whether it is there. Called by recorders, who tell it again if not."""
        try:
            self.spool.call(outbox.put, GapSeen(id=found.id, camera_id=found.camera_id, gap=found.span))
        except (sqlite3.Error, RuntimeError) as error:  # a full disk, or the spool is closed already
            log.warning("gap.waits", camera_id=str(found.camera_id), kind=type(error).__name__)
            return False
        self._uplink.wake()
        return True

    # What the hub and the resident want -------------------------------------------------------------------

    async def _take_desired(self, state: DesiredState) -> None:
        if await self.spool.run(wishes.take_desired, state):
            log.info("desired.applied", version=state.version, cameras=len(state.cameras))
            await self._gate.load()
            self._dirty.set()

    async def _command(self, command: Command) -> CommandReply:
        if isinstance(command, LiveStart):
            code = self._gate.refuse(command.camera_id, "live")
            return CommandReply(ok=False, code=code) if code else await self._live.start(command)
        await self._live.stop(command.session_id)
        return CommandReply(ok=True)

    def _may_picture(self, camera_id: UUID) -> bool:
        """A snapshot may go of a consenting camera, or of a candidate (so that people know which one it is)."""
        if camera_id in self._gate.closed_cameras():
            return False
        return self._gate.consent_version(camera_id) == 0 or self._gate.refuse(camera_id, "clips") == ""

    def _consent_changed(self, camera_id: UUID) -> None:
        if camera_id not in self._gate.open_cameras():
            self._uploader.stop_camera(camera_id)
        code = self._gate.refuse(camera_id, "live")
        if code:
            self._crew.start(self._live.stop_camera(camera_id, code))
        self._wish(camera_id)
        self._uplink.wake()

    async def _settle(self) -> None:
        """Twice a second: pauses and devices written by the command line, and consents whose time has come."""
        while True:
            if await self.spool.changed_elsewhere():
                await self._gate.load()
                await self._inventory.load()
            else:
                await self._gate.settle()
            await asyncio.sleep(SETTLE_EVERY_S)

    # Cameras ----------------------------------------------------------------------------------------------

    async def _apply_when_dirty(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            sources = self._inventory.sources(self._gate.desired, self._analyst is not None)
            await self._blocking.run(self._capture.apply, sources)
            wanted = {source.camera_id for source in sources}
            for camera_id in self._analysed - wanted:
                if self._analyst is not None:
                    self._analyst.remove(camera_id)
            self._analysed = wanted
            for camera_id in wanted:
                self._wish(camera_id)

    def _wish(self, camera_id: UUID) -> None:
        """Tells the analyst what to look for; nothing while consent does not let sightings be told."""
        desired = self._gate.desired
        wish = next((one.analytics for one in desired.cameras if one.camera_id == camera_id), None) if desired else None
        if self._analyst is None or wish is None or camera_id not in self._analysed:
            return
        allowed = self._gate.refuse(camera_id, "clips") == ""
        self._analyst.set_wish(camera_id, wish.model_copy(update={"enabled": wish.enabled and allowed}))

    async def _analytics(self) -> None:
        """Loads the detector (which may take minutes, or fail: then the agent records and relays without it)."""
        thread = OwnThread("detector-loader")
        try:
            detector = await self._detector(thread)
        finally:
            thread.close(0.0)
        self._analyst = Analyst(detector, self.on_sighting, self.on_event, self._inventory.clock_of)
        self._analyst.start()
        self.reporter.analyst_metrics = self._analyst.metrics
        self.reporter.analytics_code = ""
        self._dirty.set()
        log.info("analytics.ready", detector=detector.name.name)
        await asyncio.Event().wait()

    async def _detector(self, thread: OwnThread) -> Detector:
        settings = self._settings
        while True:
            try:
                return await thread.run(
                    load_detector,
                    settings.detector,
                    settings.weights_dir,
                    settings.detector_runtime,
                    settings.detector_threads,
                    download=settings.weights_download,
                )
            except AgentError as error:
                self.reporter.analytics_code = error.code
                log.warning("analytics.unavailable", code=error.code, detail=error.detail)
            await asyncio.sleep(DETECTOR_RETRY_S)

    # The rest ---------------------------------------------------------------------------------------------

    async def _connect(self, credentials: MessagingCredentials, hear: Heard) -> Link:
        return await NatsLink.connect(credentials, self._key, self._identity.agent_id, hear)

    async def _keep_credentials(self, credentials: MessagingCredentials) -> None:
        self._identity = self._identity.model_copy(update={"messaging": credentials})
        await self._blocking.run(save_identity, self._settings.data_dir, self._identity)

    async def _write_status(self) -> None:
        while True:
            await self.reporter.write_status()
            await asyncio.sleep(STATUS_EVERY_S)

    def _serve_metrics(self) -> Callable[[], None]:
        if self._settings.metrics_port is None:
            return lambda: None
        port, stop = serve_metrics(self._settings.metrics_port, self.reporter.samples)
        log.info("metrics.serving", port=port)
        return stop
