"""H.264 access units (Annex B) into RTP payloads (RFC 6184), without touching a bit of them.

Fragments are of one size, the last excepted: the hub can then pass a frame on with one system call per viewer.
"""

from collections.abc import Iterator

PAYLOAD_BYTES = 1200
_STAP_A, _FU_A = 24, 28
_SPS = 7
_AGGREGATED = frozenset({6, 7, 8, 9})  # SEI, SPS, PPS, delimiter: small, and sent with what follows


def nal_units(annex_b: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream (H.264 Annex B), without start codes."""
    at = annex_b.find(b"\x00\x00\x01")
    while at != -1:
        begin = at + 3
        at = annex_b.find(b"\x00\x00\x01", begin)
        unit = annex_b[begin:] if at == -1 else annex_b[begin:at]
        unit = unit.rstrip(b"\x00")  # the longer start code and trailing zeros belong to the stream, not to the unit
        if unit:
            yield unit


def with_parameter_sets(units: list[bytes], extradata: bytes) -> list[bytes]:
    """A key frame's units, led by SPS and PPS if the camera left them out (it sent them in its SDP only)."""
    if any(unit[0] & 0x1F == _SPS for unit in units):
        return units
    return [*nal_units(extradata), *units]


def rtp_payloads(units: list[bytes], limit: int = PAYLOAD_BYTES) -> list[bytes]:
    """The payloads of one access unit, none longer than `limit`; the last one carries the marker."""
    payloads: list[bytes] = []
    small: list[bytes] = []
    for unit in units:
        if unit[0] & 0x1F in _AGGREGATED and _aggregate_size([*small, unit]) <= limit:
            small.append(unit)
            continue
        payloads += _aggregate(small)
        small = []
        payloads += [unit] if len(unit) <= limit else _fragments(unit, limit)
    return payloads + _aggregate(small)


def _aggregate_size(units: list[bytes]) -> int:
    return 1 + sum(2 + len(unit) for unit in units)


def _aggregate(units: list[bytes]) -> list[bytes]:
    if len(units) < 2:
        return units
    importance = max(unit[0] & 0x60 for unit in units)
    parts = [len(unit).to_bytes(2, "big") + unit for unit in units]
    return [bytes([importance | _STAP_A]) + b"".join(parts)]


def _fragments(unit: bytes, limit: int) -> list[bytes]:
    indicator = (unit[0] & 0xE0) | _FU_A
    kind = unit[0] & 0x1F
    step = limit - 2
    fragments: list[bytes] = []
    for at in range(1, len(unit), step):
        start = 0x80 if at == 1 else 0
        end = 0x40 if at + step >= len(unit) else 0
        fragments.append(bytes([indicator, start | end | kind]) + unit[at : at + step])
    return fragments
