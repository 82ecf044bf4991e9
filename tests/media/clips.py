"""H.264 made at test start: a small moving picture with a known GOP, as a camera would send it (Annex B access units)."""

from fractions import Fraction
from functools import lru_cache

import av
import numpy as np

from edge_agent.capture.port import EncodedPacket, StreamParams

TIME_BASE = Fraction(1, 90_000)


@lru_cache(maxsize=8)
def encoded_clip(
    width: int = 320,
    height: int = 240,
    fps: int = 25,
    frames: int = 50,
    gop: int = 25,
    kbps: int = 400,
    noise: int = 0,
) -> tuple[StreamParams, tuple[EncodedPacket, ...]]:
    """`frames` access units with a key frame every `gop`; pts in 90 kHz from 0. `noise` (0…255) makes it hard to compress."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps, 1)
    encoder.bit_rate = kbps * 1000
    encoder.gop_size = gop
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:vbv-maxrate={kbps}:vbv-bufsize={kbps}",
    }
    random = np.random.default_rng(7)
    packets: list[EncodedPacket] = []
    for number in range(frames):
        picture = np.full((height, width, 3), 40, np.uint8)
        left = (number * 7) % (width - 60)
        picture[60:120, left : left + 60] = (200, 120 + number % 100, 30)
        if noise:
            picture = np.clip(picture + random.integers(0, noise, picture.shape), 0, 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        packets += [_access_unit(packet, fps) for packet in encoder.encode(frame)]
    packets += [_access_unit(packet, fps) for packet in encoder.encode(None)]
    params = StreamParams("h264", bytes(encoder.extradata or b""), TIME_BASE, width, height)
    return params, tuple(packets)


def _access_unit(packet: "av.Packet[av.VideoStream]", fps: int) -> EncodedPacket:
    assert packet.pts is not None
    return EncodedPacket(bytes(packet), packet.pts * 90_000 // fps, packet.is_keyframe, 0.0, 1)


def nal_units(annex_b: bytes) -> list[bytes]:
    """The NAL units of an access unit, without start codes."""
    units = annex_b.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [unit for unit in units if unit]
