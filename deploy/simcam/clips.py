"""Encoded clips in memory: access units of H.264 with their parameter sets, and pictures back out of them."""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

NAL_IDR = 5
NAL_SEI = 6
NAL_SPS = 7
NAL_PPS = 8
NAL_AUD = 9
START_CODE = b"\x00\x00\x00\x01"

Picture = npt.NDArray[np.uint8]  # RGB, H×W×3


class ClipError(Exception):
    """A file that is not a prepared clip."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture: its NAL units without start codes, parameter sets or SEI."""

    nals: tuple[bytes, ...]
    is_key: bool


@dataclass(frozen=True)
class EncodedClip:
    """A constant-rate H.264 stream without B-frames. `motion`: spans in seconds from the start in which something moves."""

    sps: bytes
    pps: bytes
    width: int
    height: int
    fps: Fraction
    units: tuple[AccessUnit, ...]
    motion: tuple[tuple[float, float], ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of one round."""
        return float(len(self.units) / self.fps)

    @property
    def keys(self) -> list[int]:
        """Indexes of key frames, rising."""
        return [index for index, unit in enumerate(self.units) if unit.is_key]

    def key_at_or_before(self, index: int) -> int:
        """The key frame that `index` depends on."""
        keys = self.keys
        return keys[max(0, bisect_right(keys, index) - 1)]

    def picture(self, index: int) -> Picture:
        """The decoded picture at `index`."""
        decoder = av.CodecContext.create("h264", "r")
        shown: Picture | None = None
        for unit in self.units[self.key_at_or_before(index) : index + 1]:
            for frame in decoder.decode(av.Packet(self.annex_b(unit))):
                shown = _rgb(frame)
        for frame in decoder.decode(None):
            shown = _rgb(frame)
        if shown is None:
            raise ClipError(f"no picture at {index}")
        return shown

    def annex_b(self, unit: AccessUnit) -> bytes:
        """The unit as a byte stream, parameter sets before a key frame."""
        head = (self.sps, self.pps) if unit.is_key else ()
        return b"".join(START_CODE + nal for nal in (*head, *unit.nals))


def _rgb(frame: av.VideoFrame) -> Picture:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def load_clip(path: Path, motion: tuple[tuple[float, float], ...] = ()) -> EncodedClip:
    """Reads a prepared MP4 whole (a minute at 2 Mbit/s is 15 MB).

    Raises:
        ClipError: no H.264 in `avcC` form, or no key frame first.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        sps, pps, length_size = parse_avcc(context.extradata or b"")
        fps = stream.average_rate or Fraction(25)
        units = tuple(_unit(bytes(packet), length_size) for packet in container.demux(stream) if packet.size)
        if not units or not units[0].is_key:
            raise ClipError(f"{path.name} does not begin with a key frame")
        return EncodedClip(sps, pps, context.width, context.height, Fraction(fps), units, motion)


def parse_avcc(extradata: bytes) -> tuple[bytes, bytes, int]:
    """First SPS, first PPS and the NAL length size of an `avcC` record (ISO/IEC 14496-15 §5.3.3.1).

    Raises:
        ClipError: cut off or of another version.
    """
    try:
        if extradata[0] != 1 or extradata[5] & 0x1F < 1:
            raise ClipError("not an avcC record")
        sps_size = struct.unpack_from(">H", extradata, 6)[0]
        sps = extradata[8 : 8 + sps_size]
        at = 8 + sps_size
        pps_size = struct.unpack_from(">H", extradata, at + 1)[0]
        pps = extradata[at + 3 : at + 3 + pps_size]
    except (IndexError, struct.error) as error:
        raise ClipError("avcC record cut off") from error
    if not sps or not pps or len(pps) != pps_size:
        raise ClipError("avcC record without parameter sets")
    return sps, pps, (extradata[4] & 0x03) + 1


def _unit(sample: bytes, length_size: int) -> AccessUnit:
    kept = tuple(
        nal for nal in split_nals(sample, length_size) if nal[0] & 0x1F not in {NAL_SEI, NAL_SPS, NAL_PPS, NAL_AUD}
    )
    return AccessUnit(kept, any(nal[0] & 0x1F == NAL_IDR for nal in kept))


def split_nals(sample: bytes, length_size: int) -> Iterator[bytes]:
    """NAL units of a length-prefixed sample.

    Raises:
        ClipError: a length that runs past the sample's end.
    """
    at = 0
    while at < len(sample):
        size = int.from_bytes(sample[at : at + length_size], "big")
        at += length_size
        nal = sample[at : at + size]
        if not nal or len(nal) != size:
            raise ClipError("sample cut off")
        yield nal
        at += size
