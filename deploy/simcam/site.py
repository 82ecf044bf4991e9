"""A village of simulated cameras in one process."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Self

from deploy.simcam import control, wsdiscovery
from deploy.simcam.camera import Camera
from deploy.simcam.clips import EncodedClip
from deploy.simcam.config import SiteConfig
from deploy.simcam.faults import FAULTS, Fault
from deploy.simcam.ports import HeldPort
from deploy.simcam.prepare import PreparedCamera, prepare
from deploy.simcam.webserver import WebServer


class Site:
    """`async with Site(SiteConfig(...)) as site:` — prepares the clips, starts the cameras, stops them at the end.

    Raises (on entering):
        deploy.simcam.prepare.SourceError: a camera's source cannot be had.
        OSError: a port is taken.
    """

    def __init__(self, config: SiteConfig, progress: Callable[[str], None] = lambda _: None) -> None:
        self.config = config
        self.cameras: list[Camera] = []
        self._progress = progress
        self._control_port: HeldPort | None = None
        self._control = WebServer(control.handler(self))
        self._discovery: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _start(self) -> None:
        prepared: dict[object, PreparedCamera] = {}
        for index, config in enumerate(self.config.cameras):
            shape = (config.source, config.main, config.sub, config.max_source_s)
            if shape not in prepared:
                prepared[shape] = await asyncio.to_thread(prepare, config, self.config.cache, self._progress)
            self.cameras.append(Camera(index, config, self.config, prepared[shape]))
        for camera in self.cameras:
            await camera.start()
        if self.config.discovery:
            self._discovery = await wsdiscovery.serve(self._announced, self.config.host)
        if self.config.control_port is not None:
            self._control_port = HeldPort("127.0.0.1", self.config.control_port)
            await self._control.start(self._control_port.listening())

    def _announced(self) -> list[wsdiscovery.Announced]:
        return [camera.announced for camera in self.cameras if camera.present]

    async def _stop(self) -> None:
        if self._discovery is not None:
            self._discovery.close()
        await self._control.stop()
        if self._control_port is not None:
            self._control_port.close()
        for camera in self.cameras:
            await camera.stop()
        self.cameras = []

    async def fault(self, index: int, fault: Fault | None = None, /, **named: Any) -> None:
        """`await site.fault(0, Drop(seconds=3))` or `await site.fault(0, kind="drop", seconds=3)`.

        Raises:
            IndexError: no such camera.
            pydantic.ValidationError: not a fault.
        """
        if index < 0:
            raise IndexError(index)
        await self.cameras[index].fault(fault or FAULTS.validate_python(named))

    def state(self) -> dict[str, Any]:
        """What the state file says: the process, the control's address and the cameras; never the password."""
        address = f"http://127.0.0.1:{self._control_port.port}" if self._control_port else None
        cameras = [self.camera_state(index) for index in range(len(self.cameras))]
        return {"pid": os.getpid(), "control": address, "username": self.config.username, "cameras": cameras}

    def camera_state(self, index: int) -> dict[str, Any]:
        """One camera as the state file and the control tell it."""
        camera = self.cameras[index]
        return {
            "name": camera.name,
            "onvif": camera.onvif_address,
            "rtsp": camera.main_url,
            "rtsp_sub": camera.sub_url,
            "main": _stream_state(camera.main.clip),
            "sub": _stream_state(camera.sub.clip),
            "clients": {"main": camera.main.clients, "sub": camera.sub.clients},
            "clock_offset_s": round(camera.clock.offset_s, 3),
            **camera.config.place,
        }


def _stream_state(clip: EncodedClip) -> dict[str, Any]:
    return {"width": clip.width, "height": clip.height, "fps": round(float(clip.fps), 3)}
