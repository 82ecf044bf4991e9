"""NAL units in Annex B byte streams (ITU-T H.264 Annex B, H.265 Annex B): only what remuxing needs to know."""

from collections.abc import Iterator

START = b"\x00\x00\x00\x01"
_H264_SETS = frozenset({7, 8})  # SPS, PPS
_HEVC_SETS = frozenset({32, 33, 34})  # VPS, SPS, PPS
_H264_SLICES = frozenset(range(1, 6))
_HEVC_SLICES = frozenset(range(22))


def nal_units(data: bytes) -> Iterator[bytes]:
    """The NAL units of an Annex B stream, without start codes. Bytes before the first start code are skipped."""
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        begin = at + 3
        at = data.find(b"\x00\x00\x01", begin)
        unit = data[begin:] if at < 0 else data[begin:at]
        unit = unit.rstrip(b"\x00") if at >= 0 else unit
        if unit:
            yield unit


def nal_type(unit: bytes, codec: str) -> int:
    """The unit's type number in its codec's own numbering."""
    return (unit[0] >> 1) & 0x3F if codec == "hevc" else unit[0] & 0x1F


def parameter_sets(data: bytes, codec: str) -> bytes:
    """The parameter sets in front of the first slice, as Annex B; empty when there are none."""
    wanted, slices = (_HEVC_SETS, _HEVC_SLICES) if codec == "hevc" else (_H264_SETS, _H264_SLICES)
    sets: list[bytes] = []
    for unit in nal_units(data):
        kind = nal_type(unit, codec)
        if kind in slices:
            break
        if kind in wanted:
            sets.append(unit)
    return b"".join(START + unit for unit in sets)


def codec_string(extradata: bytes, codec: str) -> str:
    """The codec as RFC 6381 names it: `avc1.PPCCLL` from the SPS; `hvc1` for H.265."""
    if codec == "hevc":
        return "hvc1"
    for unit in nal_units(extradata):
        if nal_type(unit, codec) == 7 and len(unit) >= 4:
            return f"avc1.{unit[1:4].hex().upper()}"
    return "avc1"
