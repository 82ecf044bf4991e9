"""What tests of and with simulated cameras share: a site on a session's cache, and a reader of its streams."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

from deploy.simcam.clips import Picture
from deploy.simcam.config import CameraConfig, SiteConfig

PASSWORD = "simcam-password"


def pattern_site(cache: Path, count: int = 1, **settings: object) -> SiteConfig:
    """`count` cameras that show the test picture."""
    cameras = tuple(CameraConfig(f"测试{index}") for index in range(count))
    return SiteConfig(**{"cameras": cameras, "cache_dir": cache, "password": PASSWORD, **settings})  # type: ignore[arg-type]


@dataclass
class Read:
    """What a reader got: presentation times in seconds, arrival times, pictures (when asked for)."""

    pts_s: list[float]
    arrived_s: list[float]
    keys: list[bool]
    pictures: list[Picture]
    ticks: list[int]
    sender_reports: list[tuple[int, int]]
    start_realtime_us: int | None


def read_stream(url: str, packets: int, *, decode: bool = False, timeout_s: float = 10.0) -> Read:
    """The first `packets` packets of a stream, by PyAV over TCP. Blocking."""
    read = Read([], [], [], [], [], [], None)
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=timeout_s) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.pts is not None and packet.time_base is not None:
                read.pts_s.append(float(packet.pts * packet.time_base))
                read.ticks.append(packet.pts)
            read.arrived_s.append(time.monotonic())
            read.keys.append(packet.is_keyframe)
            if decode:
                read.pictures += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]  # type: ignore[misc]
            if len(read.arrived_s) >= packets:
                break
        read.start_realtime_us = getattr(container, "start_time_realtime", None)
    return read


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Polls until `condition` holds.

    Raises:
        TimeoutError: it did not within `within_s`.
    """
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)
