"""Writing packets into MP4 without touching them (ISO/IEC 14496-12, -15)."""

import io
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from edge_agent.capture.port import StreamParams

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
INDEX_FIRST = {"movflags": "faststart"}


class Mp4Writer:
    """One video track. `write` takes rising decode times in `time_base`; equal or falling ones are nudged by a tick."""

    def __init__(self, path: Path, params: StreamParams, key_frame: bytes, options: dict[str, str]) -> None:
        # libav builds the sample description from a demuxed stream, not from bare parameter sets: let it demux one.
        self._template = av.open(io.BytesIO(params.extradata + key_frame), format=params.codec)
        self._container: OutputContainer = av.open(str(path), "w", format="mp4", options=options)
        self._stream: VideoStream = self._container.add_stream_from_template(self._template.streams.video[0])
        self._stream.time_base = params.time_base
        self.time_base = params.time_base
        self._last_dts = -1
        self.width = self._template.streams.video[0].width
        self.height = self._template.streams.video[0].height
        self.frames = 0
        self.bytes = 0

    def write(self, data: bytes, pts: int, dts: int, *, is_keyframe: bool) -> None:
        """Adds one access unit (Annex B; the muxer turns it into length-prefixed form)."""
        dts = max(dts, self._last_dts + 1)
        self._last_dts = dts
        packet = Packet(data)
        packet.stream = self._stream
        packet.time_base = self.time_base
        packet.pts, packet.dts = max(pts, dts), dts
        packet.is_keyframe = is_keyframe
        self._container.mux(packet)
        self.frames += 1
        self.bytes += len(data)

    def close(self) -> None:
        """Finishes the file."""
        self._container.close()
        self._template.close()


def ticks(seconds: float, time_base: Fraction) -> int:
    """Seconds as a whole number of ticks."""
    return round(seconds / time_base)
