"""Reading recorded segments back, also the one being written and one cut off by a crash."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer

from edge_agent.capture.nal import parameter_sets
from edge_agent.capture.port import StreamParams


@dataclass(frozen=True, slots=True)
class RecordedPacket:
    """One access unit (Annex B); times in seconds from the file's start."""

    data: bytes
    pts_s: float
    dts_s: float
    is_keyframe: bool


def read_packets(path: Path) -> Iterator[tuple[StreamParams, RecordedPacket]]:
    """The packets of a recording, in file order, up to the end or to where a crash cut it off."""
    try:
        container = av.open(str(path))
    except (av.error.InvalidDataError, av.error.EOFError):
        return  # nothing but the beginning of a header
    with container:
        yield from _packets(container)


def _packets(container: InputContainer) -> Iterator[tuple[StreamParams, RecordedPacket]]:
    stream = container.streams.video[0]
    codec = stream.codec_context.name
    to_annex_b = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
    time_base = stream.time_base or Fraction(1, 90000)
    params: StreamParams | None = None
    try:
        for raw in container.demux(stream):
            if raw.size == 0 or raw.is_corrupt or raw.pts is None:
                continue
            for packet in to_annex_b.filter(raw):
                data = bytes(packet)
                if params is None:
                    sets = parameter_sets(data, codec)
                    params = StreamParams(codec, sets, time_base, stream.width, stream.height)
                pts = packet.pts if packet.pts is not None else raw.pts
                dts = packet.dts if packet.dts is not None else pts
                yield params, RecordedPacket(data, float(pts * time_base), float(dts * time_base), packet.is_keyframe)
    except av.error.InvalidDataError:
        return  # the torn tail of a file that a crash cut off


@dataclass(frozen=True)
class Scan:
    """What is readable of a file."""

    frames: int
    media_us: int
    size_bytes: int


def scan(path: Path) -> Scan:
    """Counts what is readable: frames, length by media time (with the last frame's), payload bytes."""
    frames = size = 0
    first = last = step = 0.0
    for _, packet in read_packets(path):
        if frames == 0:
            first = last = packet.pts_s
        if packet.pts_s > last:
            step, last = packet.pts_s - last, packet.pts_s
        frames += 1
        size += len(packet.data)
    return Scan(frames, round((last - first + step) * 1e6) if frames else 0, size)
