"""One simulated camera: clock, two mounts, RTSP server, ONVIF device, and its faults."""

import asyncio
import hashlib
from fractions import Fraction

import cv2
import numpy as np

from deploy.simcam.clips import ClipError, EncodedClip
from deploy.simcam.clock import CameraClock
from deploy.simcam.config import CameraConfig, SiteConfig
from deploy.simcam.faults import (
    Black,
    Clear,
    Drop,
    Fault,
    FpsLie,
    Freeze,
    NewPassword,
    Reboot,
    SlowLink,
    WrongClock,
)
from deploy.simcam.mount import Mount
from deploy.simcam.onvif_answers import scope_uris
from deploy.simcam.onvif_device import OnvifDevice
from deploy.simcam.onvif_events import EventService
from deploy.simcam.ports import HeldPort
from deploy.simcam.prepare import PreparedCamera, still_clip
from deploy.simcam.rtsp_server import Link, RtspServer
from deploy.simcam.webserver import WebServer
from deploy.simcam.wsdiscovery import Announced, endpoint_of

REBOOT_S = 5.0  # how long it is away when told to reboot over ONVIF
REBOOT_AFTER_S = 0.2  # time for the answer to go out


class Camera:
    """Runs between `start` and `stop`. Its addresses stay the same through faults."""

    def __init__(self, index: int, config: CameraConfig, site: SiteConfig, prepared: PreparedCamera) -> None:
        self.index = index
        self.config = config
        self.username = site.username
        self.password = site.password
        self._first_password = site.password
        self.clock = CameraClock()
        self.link = Link()
        start_s = config.start_s
        self.main = Mount(prepared.main, self.clock, f"camera{index}", start_s)
        self.sub = Mount(prepared.sub, self.clock, f"camera{index}", start_s)
        base = site.base_port
        self._onvif_port = HeldPort(site.host, base + 2 * index if base else 0)
        self._rtsp_port = HeldPort(site.host, base + 2 * index + 1 if base else 0)
        mounts = {"main": self.main, "sub": self.sub}
        self._rtsp = RtspServer(mounts, lambda: (self.username, self.password), self.link)
        self.events = EventService(self.moving, self.clock.now)
        self._device = OnvifDevice(self, config.onvif_auth, config.announced_host, self.events)
        self._onvif = WebServer(self._device.handle)
        self._tasks: list[asyncio.Task[None]] = []
        self._comeback: asyncio.Task[None] | None = None
        self._ordered: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """As configured."""
        return self.config.name

    @property
    def serial(self) -> str:
        """Stable for a camera of this name and place in the site."""
        return f"SIM-{hashlib.sha256(f'{self.index}/{self.config.name}'.encode()).hexdigest()[:10].upper()}"

    @property
    def rtsp_port(self) -> int:
        """Port of both streams."""
        return self._rtsp_port.port

    @property
    def onvif_address(self) -> str:
        """host:port of the ONVIF services."""
        return f"{self._onvif_port.host}:{self._onvif_port.port}"

    @property
    def main_url(self) -> str:
        """RTSP URL of the main stream, without credentials."""
        return f"rtsp://{self._rtsp_port.host}:{self._rtsp_port.port}/main"

    @property
    def sub_url(self) -> str:
        """RTSP URL of the sub stream, without credentials."""
        return f"rtsp://{self._rtsp_port.host}:{self._rtsp_port.port}/sub"

    def url_with_login(self, stream: str = "main") -> str:
        """RTSP URL that carries the present password: for tests and players."""
        return f"rtsp://{self.username}:{self.password}@{self._rtsp_port.host}:{self._rtsp_port.port}/{stream}"

    @property
    def announced(self) -> Announced:
        """What WS-Discovery says of it; nothing while it is away, see `present`."""
        host, port = self.config.announced_host, self._onvif_port.port
        return Announced(
            endpoint_of(self.serial),
            tuple(scope_uris(self.name)),
            lambda local_ip: f"http://{host or local_ip}:{port}/onvif/device_service",
        )

    @property
    def present(self) -> bool:
        """False while it reboots."""
        return self._onvif.listening

    def moving(self) -> bool:
        """Whether something moves in the picture it sends now."""
        at_s = self.main.position_s
        return self.main.shown is self.main.clip and any(a <= at_s <= b for a, b in self.main.clip.motion)

    async def snapshot(self) -> bytes:
        """The present picture of the main stream as JPEG."""
        clip, index = self.main.shown, self.main.current_index()
        return await asyncio.to_thread(_jpeg, clip, index)

    def reboot_soon(self) -> None:
        """Reboots once the answer to the request for it is out."""
        self._ordered = asyncio.create_task(self._reboot_later(), name="ordered-reboot")

    async def _reboot_later(self) -> None:
        await asyncio.sleep(REBOOT_AFTER_S)
        await self.fault(Reboot(seconds=REBOOT_S))

    async def start(self) -> None:
        """Opens the ports and begins to film."""
        running = (self.main.run(), self.sub.run(), self.events.run())
        self._tasks = [asyncio.create_task(work, name="camera") for work in running]
        await self._up()

    async def stop(self) -> None:
        """Closes everything."""
        tasks = [task for task in (*self._tasks, self._comeback, self._ordered) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._down()
        self._rtsp_port.close()
        self._onvif_port.close()

    async def _up(self) -> None:
        if not self._rtsp.listening:
            await self._rtsp.start(self._rtsp_port.listening())

        if not self._onvif.listening:
            await self._onvif.start(self._onvif_port.listening())

    async def _down(self) -> None:
        self._device.forget()
        await self._onvif.stop()
        await self._rtsp.stop()

    async def fault(self, fault: Fault) -> None:
        """Makes it happen; returns when it has begun."""
        match fault:
            case WrongClock():
                self._set_clock(fault.offset_s, fault.drift_ppm)
            case FpsLie():
                self._declare(Fraction(fault.declared).limit_denominator(1001), fault.timestamps)
            case Freeze() | Black():
                await self._hold_pictures(black=isinstance(fault, Black))
            case NewPassword():
                self.password = fault.password
                self._rtsp.close_connections()
            case Drop():
                await self._rtsp.stop()
                self._return_after(fault.seconds)
            case Reboot():
                await self._down()
                self._restart()
                self._return_after(fault.seconds)
            case SlowLink():
                self.link.bits_per_s, self.link.delay_s = fault.bits_per_s, fault.delay_ms / 1000
            case Clear():
                await self._clear()

    async def _clear(self) -> None:
        self._set_clock(0.0, 0.0)
        self.link.bits_per_s, self.link.delay_s = None, 0.0
        self.password = self._first_password
        for mount in (self.main, self.sub):
            mount.declared_fps, mount.timestamps_lie = mount.clip.fps, False
            if mount.shown is not mount.clip:
                mount.show(None)
        self._return_after(0.0)

    def _set_clock(self, offset_s: float, drift_ppm: float) -> None:
        self.clock.go_wrong(offset_s, drift_ppm)
        for mount in (self.main, self.sub):
            mount.report_soon()

    def _declare(self, fps: Fraction, timestamps_lie: bool) -> None:
        for mount in (self.main, self.sub):
            mount.declared_fps, mount.timestamps_lie = fps, timestamps_lie

    def _restart(self) -> None:
        for mount in (self.main, self.sub):
            mount.restart()

    async def _hold_pictures(self, *, black: bool) -> None:
        for mount in (self.main, self.sub):
            shape = (mount.clip.height, mount.clip.width, 3)
            clip, index = mount.shown, mount.current_index()
            picture = np.zeros(shape, np.uint8) if black else await asyncio.to_thread(clip.picture, index)
            mount.show(await asyncio.to_thread(still_clip, picture, mount.clip))

    def _return_after(self, seconds: float) -> None:
        """Whatever is down comes up then; a later call replaces an earlier one."""
        if self._comeback is not None:
            self._comeback.cancel()
        self._comeback = asyncio.create_task(self._come_back(seconds), name="camera-comes-back")

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._up()


def _jpeg(clip: EncodedClip, index: int) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(clip.picture(index), cv2.COLOR_RGB2BGR))
    if not done:
        raise ClipError("the picture cannot be encoded as JPEG")
    return data.tobytes()
