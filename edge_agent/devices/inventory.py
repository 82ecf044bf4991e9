"""The devices entered at this box: asked at start, when entered and every some minutes; offered to the hub as candidates.

What a probe told is kept, so that recording starts without waiting for ONVIF. Each device has a thread of its own:
one that hangs holds up no other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from edge_agent.capture.port import CameraSource
from edge_agent.devices.port import Probed, Prober
from edge_agent.errors import AgentError
from edge_agent.kit.backoff import Retries
from edge_agent.kit.ids import new_id
from edge_agent.kit.threads import OwnThread
from edge_agent.spool import devices, outbox
from edge_agent.spool.devices import Device, KnownSource
from edge_agent.spool.store import Spool
from models.wire.base import ClockReading
from models.wire.downlink import DesiredState
from models.wire.uplink import PICTURE_MAX_BYTES, DeviceFound

LOOK_EVERY_S = 0.5

log = structlog.get_logger()


@dataclass
class _Watched:
    """One device as the inventory sees it."""

    device: Device
    cameras: dict[str, UUID]
    thread: OwnThread
    code: str = "device.not_asked"  # "" when the last probe went well
    next_at: float = 0.0
    asking: "asyncio.Task[None] | None" = None
    clock: ClockReading = field(default_factory=ClockReading)


class Inventory:
    """Run it as one task. Read from any thread; changed in the event loop only."""

    def __init__(
        self,
        spool: Spool,
        prober: Prober,
        may_picture: Callable[[UUID], bool],
        on_change: Callable[[], None],
        every_s: float,
    ) -> None:
        self._spool = spool
        self._prober = prober
        self._may_picture = may_picture
        self._on_change = on_change
        self._every_s = every_s
        self._watched: dict[str, _Watched] = {}
        self._clocks: dict[UUID, ClockReading] = {}
        self._retries: Retries[str] = Retries(first=2.0, most=60.0)

    async def load(self) -> None:
        """Reads the devices entered so far; call it again when another process may have changed them."""
        entered = await self._spool.run(devices.all_devices)
        addresses = {device.address for device in entered}
        changed = False
        for address in [one for one in self._watched if one not in addresses]:
            gone = self._watched.pop(address)
            gone.thread.close(0.0)
            changed = True
        for device in entered:
            changed |= await self._load_one(device)
        if changed:
            self._on_change()

    async def _load_one(self, device: Device) -> bool:
        watched = self._watched.get(device.address)
        if watched is None:
            cameras = await self._spool.run(devices.camera_ids, device.address)
            self._watched[device.address] = _Watched(device, cameras, OwnThread(f"onvif {device.address}", 8))
            return True
        if (watched.device.username, watched.device.password) == (device.username, device.password):
            return False
        watched.device, watched.next_at = device, 0.0
        self._retries.settled(device.address)
        return True

    async def run(self) -> None:
        """Asks devices when they are due, until cancelled."""
        try:
            while True:
                now = asyncio.get_running_loop().time()
                for watched in list(self._watched.values()):
                    address = watched.device.address
                    idle = watched.asking is None or watched.asking.done()
                    if idle and watched.next_at <= now and self._retries.due(address):
                        watched.asking = asyncio.create_task(self._ask(watched), name=f"device {address}")
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            asking = [one.asking for one in self._watched.values() if one.asking is not None]
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, watched: _Watched) -> None:
        device = watched.device
        try:
            probed = await watched.thread.run(self._prober.probe, device.address, device.username, device.password)
        except AgentError as error:
            self._retries.later(device.address)
            self._note(watched, error.code)
            return
        self._retries.settled(device.address)
        watched.next_at = asyncio.get_running_loop().time() + self._every_s
        await self._take(watched, probed)
        for source in probed.sources:
            await self._offer(watched, source)

    def _note(self, watched: _Watched, code: str) -> None:
        """One line when it goes down, one when it is back."""
        if code != watched.code:
            log.info("device.state", address=watched.device.address, code=code or "well")
            watched.code = code

    async def _take(self, watched: _Watched, probed: Probed) -> None:
        self._note(watched, "")
        cameras = await self._spool.run(devices.remember, watched.device.address, probed.sources)
        changed = cameras != watched.cameras or probed.sources != watched.device.known
        watched.cameras, watched.clock = cameras, probed.clock
        watched.device = Device(
            watched.device.address, watched.device.username, watched.device.password, probed.sources
        )
        self._clocks.update(dict.fromkeys(cameras.values(), probed.clock))
        if changed:
            self._on_change()

    async def _offer(self, watched: _Watched, source: KnownSource) -> None:
        """Tells the hub of a source, with a picture where consent (or being a candidate) allows one."""
        device, camera_id = watched.device, watched.cameras[source.token]
        picture = None
        if self._may_picture(camera_id):
            try:
                picture = await watched.thread.run(
                    self._prober.snapshot, device.address, device.username, device.password, source.token
                )
            except AgentError as error:
                log.info("device.no_snapshot", address=device.address, code=error.code)
        if picture is not None and len(picture) > PICTURE_MAX_BYTES:
            picture = None
        found = DeviceFound(
            id=new_id(),
            camera_id=camera_id,
            manufacturer=source.manufacturer[:200],
            model=source.model[:200],
            serial=source.serial[:200],
            firmware=source.firmware[:200],
            address=device.address[:200],
            source=source.token[:200],
            main=source.main,
            sub=source.sub,
            snapshot=picture,
        )
        await self._spool.run(outbox.put, found)

    def clock_of(self, camera_id: UUID) -> ClockReading:
        """The camera's clock as last read. Any thread."""
        return self._clocks.get(camera_id, ClockReading())

    def states(self) -> dict[str, str]:
        """Code of each device's last probe; "" when it went well."""
        return {address: one.code for address, one in self._watched.items()}

    def trouble_of(self, camera_id: UUID) -> str:
        """Why ONVIF does not answer for this camera, `device.unknown` when no device here has it, "" when well."""
        for one in self._watched.values():
            if camera_id in one.cameras.values():
                return one.code
        return "device.unknown"

    def sources(self, desired: DesiredState | None, analyse: bool) -> list[CameraSource]:
        """The wanted cameras that a device here has, with how to reach them."""
        wanted = {} if desired is None else {camera.camera_id: camera for camera in desired.cameras}
        found = []
        for one in self._watched.values():
            for source in one.device.known:
                wish = wanted.get(one.cameras[source.token]) if source.token in one.cameras else None
                if wish is None:
                    continue
                found.append(
                    CameraSource(
                        camera_id=wish.camera_id,
                        main_url=source.main_url,
                        sub_url=source.sub_url,
                        username=one.device.username,
                        password=one.device.password,
                        analyse=analyse and wish.analytics.enabled,
                        analyse_fps=wish.analytics.max_fps,
                        limits=wish.recording,
                    )
                )
        return found
