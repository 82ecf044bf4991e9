"""RTP packets of H.264 (RFC 3550, RFC 6184) and RTCP sender reports."""

import struct
from collections.abc import Iterable, Iterator

PAYLOAD_TYPE = 96
CLOCK_HZ = 90_000
MAX_PAYLOAD_BYTES = 1400
NTP_EPOCH_OFFSET_S = 2_208_988_800  # 1900 → 1970
_FU_A = 28


def payloads_of(nals: Iterable[bytes], max_bytes: int = MAX_PAYLOAD_BYTES) -> Iterator[bytes]:
    """Each NAL as a single-NAL payload, or as FU-A fragments when it is larger than `max_bytes` (RFC 6184 §5.6, §5.8)."""
    for nal in nals:
        if len(nal) <= max_bytes:
            yield nal
        else:
            yield from _fragments(nal, max_bytes)


def _fragments(nal: bytes, max_bytes: int) -> Iterator[bytes]:
    indicator = (nal[0] & 0xE0) | _FU_A
    nal_type = nal[0] & 0x1F
    step = max_bytes - 2
    for at in range(1, len(nal), step):
        start = 0x80 if at == 1 else 0
        end = 0x40 if at + step >= len(nal) else 0
        yield bytes((indicator, start | end | nal_type)) + nal[at : at + step]


class RtpStream:
    """Sequence numbers, counters and reports of one source (SSRC)."""

    def __init__(self, ssrc: int, first_sequence: int, first_timestamp: int) -> None:
        self.ssrc = ssrc
        self._sequence = first_sequence & 0xFFFF
        self._first_timestamp = first_timestamp
        self._packets = 0
        self._octets = 0

    def timestamp(self, ticks: int) -> int:
        """The 32-bit RTP timestamp `ticks` (1/90000 s) after the start."""
        return (self._first_timestamp + ticks) & 0xFFFFFFFF

    def packets(self, nals: Iterable[bytes], ticks: int) -> list[bytes]:
        """The packets of one access unit; the marker bit is on the last."""
        stamp = self.timestamp(ticks)
        payloads = list(payloads_of(nals))
        out = []
        for index, payload in enumerate(payloads):
            marker = 0x80 if index == len(payloads) - 1 else 0
            head = struct.pack(">BBHII", 0x80, marker | PAYLOAD_TYPE, self._sequence, stamp, self.ssrc)
            out.append(head + payload)
            self._sequence = (self._sequence + 1) & 0xFFFF
            self._packets += 1
            self._octets += len(payload)
        return out

    def sender_report(self, ticks: int, unix_s: float, cname: str) -> bytes:
        """A compound SR + SDES that ties `ticks` to the camera's wall clock (RFC 3550 §6.4.1)."""
        ntp = int((unix_s + NTP_EPOCH_OFFSET_S) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF
        report = struct.pack(
            ">BBHIQIII",
            0x80,
            200,
            6,
            self.ssrc,
            ntp,
            self.timestamp(ticks),
            self._packets & 0xFFFFFFFF,
            self._octets & 0xFFFFFFFF,
        )
        name = cname.encode()[:255]
        items = bytes((1, len(name))) + name + b"\x00"
        items += b"\x00" * (-len(items) % 4)
        return report + struct.pack(">BBHI", 0x81, 202, 1 + len(items) // 4, self.ssrc) + items


def interleaved(channel: int, packet: bytes) -> bytes:
    """A packet framed for the RTSP connection (RFC 2326 §10.12)."""
    return struct.pack(">cBH", b"$", channel, len(packet)) + packet
