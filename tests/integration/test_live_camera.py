"""Live from a (simulated) camera over RTSP through the agent's own capture: what Chromium would get is decodable."""

import asyncio
from functools import partial
from pathlib import Path
from uuid import UUID

import av

from deploy.simcam.config import PATTERN, CameraConfig, SiteConfig
from deploy.simcam.site import Site
from edge_agent.capture.port import CameraSource, Frame
from edge_agent.capture.service import Capture
from edge_agent.errors import AgentError
from hub.context import Context
from models.vocabulary import StreamName
from models.wire.base import ClockReading
from tests.integration.live_house import live_house
from tests.media.peers import Received, eventually


class NoFrames:
    def offer(self, frame: Frame) -> None:
        return None


def decoded(received: Received) -> int:
    """How many pictures a decoder makes of what arrived, from the first packet on."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    count = 0
    for _, units in received.frames():
        count += len(decoder.decode(av.Packet(b"".join(b"\x00\x00\x00\x01" + unit for unit in units))))
    return count + len(decoder.decode(None))


def flows(capture: Capture, camera_id: UUID, stream: StreamName) -> bool:
    try:
        capture.subscribe(camera_id, stream, lambda: None).close()
    except AgentError:
        return False
    return True


def enough(received: Received) -> bool:
    return len(received.frames()) > 40


async def test_a_cameras_stream_is_watched_from_both_of_its_profiles(context: Context, tmp_path: Path) -> None:
    async with Site(SiteConfig(cameras=(CameraConfig("gate", PATTERN),))) as site:
        capture = Capture(tmp_path, NoFrames(), lambda _: True, lambda _: ClockReading())
        try:
            async with live_house(context, capture) as house:
                camera = site.cameras[0]
                source = CameraSource(
                    house.camera_id, camera.main_url, camera.sub_url, "viewer", "simcam-password", analyse=False
                )
                await asyncio.to_thread(capture.apply, [source])
                for stream in StreamName:
                    await eventually(partial(flows, capture, house.camera_id, stream), f"{stream}", 20)
                for stream in StreamName:
                    received, pc = await house.watch(await house.open(stream.value))
                    await eventually(partial(enough, received), f"frames of {stream}")
                    assert decoded(received) >= len(received.frames()) - 2
                    await pc.close()
        finally:
            await asyncio.to_thread(capture.close)
