"""The few things of RTP (RFC 3550) and H.264 over RTP (RFC 6184) that forwarding needs. No payload is ever taken apart
or put together: of each packet only the first bytes are read, to know where a key frame begins."""

import struct
from dataclasses import dataclass

CLOCK_HZ = 90_000
HEADER = struct.Struct("!BBHLL")
_NAL_IDR, _NAL_SPS, _STAP_A, _FU_A = 5, 7, 24, 28
_KEY_NALS = frozenset({_NAL_IDR, _NAL_SPS})


@dataclass(slots=True, frozen=True)
class RtpView:
    """What forwarding reads of a packet (field names as aiortc's own, whose statistics read them)."""

    payload_type: int
    marker: bool
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


def read_rtp(data: bytes) -> RtpView | None:
    """A decrypted RTP packet (RFC 3550 §5.1) without its extension and padding; None: it is none."""
    if len(data) < HEADER.size:
        return None
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    begin, end = HEADER.size + 4 * (first & 0x0F), len(data)
    if first >> 6 != 2:
        return None
    if first & 0x10:
        if begin + 4 > end:
            return None
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
    if first & 0x20:
        end -= data[-1] or end  # a padding of 0 cannot be: it counts itself
    if begin > end:
        return None
    return RtpView(second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, data[begin:end])


def begins_key_frame(payload: bytes) -> bool:
    """Whether an H.264 RTP payload holds the beginning of an SPS or of an IDR slice (RFC 6184 §5.4)."""
    if len(payload) < 2:
        return False
    kind = payload[0] & 0x1F
    if kind == _FU_A:
        return bool(payload[1] & 0x80) and (payload[1] & 0x1F) in _KEY_NALS
    if kind == _STAP_A:
        return _aggregate_has_key(payload)
    return kind in _KEY_NALS


def _aggregate_has_key(payload: bytes) -> bool:
    at = 1
    while at + 2 < len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        if (payload[at + 2] & 0x1F) in _KEY_NALS:
            return True
        at += 2 + size
    return False


@dataclass(slots=True, frozen=True)
class StoredPacket:
    """One packet of an upstream. `index`: its sequence number, extended so that it never wraps."""

    index: int
    timestamp: int
    marker: bool
    payload: bytes


class PacketStore:
    """The newest packets of one upstream, once for all viewers: GOP cache, queue and retransmission history in one.

    Bounded by `capacity` packets and, for what a newcomer is sent, by `max_gop_bytes`. A viewer's queue is only a
    position in here, so that a slow viewer costs nothing.
    """

    def __init__(self, capacity: int = 4096, max_gop_bytes: int = 6 * 1024 * 1024) -> None:
        self.capacity = capacity
        self.newest = -1
        self.gop_start: int | None = None
        self.gop_overflows = 0
        self._max_gop_bytes = max_gop_bytes
        self._slots: list[StoredPacket | None] = [None] * capacity
        self._epoch_start = 0
        self._highest: int | None = None  # sequence number (16 bit) of `newest`
        self._gop_timestamp: int | None = None
        self._gop_bytes = 0

    def begin_epoch(self) -> None:
        """The upstream starts anew (other SSRC, sequence and timestamps): nothing of before fits what follows."""
        self._epoch_start = self.newest + self.capacity
        self._highest = None
        self.gop_start = None
        self._gop_timestamp = None

    def add(self, sequence: int, timestamp: int, marker: bool, payload: bytes) -> StoredPacket | None:
        """Stores a packet, in any order. None: a duplicate, or too old to be of use."""
        index = self._index(sequence)
        if index is None or self.get(index) is not None:
            return None
        packet = StoredPacket(index, timestamp, marker, payload)
        self._slots[index % self.capacity] = packet
        if index > self.newest:
            self.newest = index
            self._highest = sequence
        self._mark_gop(packet)
        return packet

    def get(self, index: int) -> StoredPacket | None:
        """The packet at `index`, if it has arrived and is still kept."""
        packet = self._slots[index % self.capacity]
        return packet if packet is not None and packet.index == index else None

    def frame_times(self, start: int) -> list[int]:
        """The distinct timestamps from `start` to the newest packet, in order: one per frame."""
        times: dict[int, None] = {}
        for index in range(start, self.newest + 1):
            packet = self.get(index)
            if packet is not None:
                times[packet.timestamp] = None
        return list(times)

    def _index(self, sequence: int) -> int | None:
        if self._highest is None:
            return self._epoch_start
        step = ((sequence - self._highest + 0x8000) & 0xFFFF) - 0x8000
        if step > self.capacity:  # no loss is that long: the sender began again
            self.begin_epoch()
            return self._epoch_start
        index = self.newest + step
        if index < self._epoch_start or step <= -self.capacity:
            return None
        return index

    def _mark_gop(self, packet: StoredPacket) -> None:
        if begins_key_frame(packet.payload):
            if packet.timestamp == self._gop_timestamp:
                if self.gop_start is not None:
                    self.gop_start = min(self.gop_start, packet.index)
            elif self.gop_start is None or packet.index > self.gop_start:
                self.gop_start, self._gop_timestamp, self._gop_bytes = packet.index, packet.timestamp, 0
        if self.gop_start is None:
            return
        self._gop_bytes += len(packet.payload)
        if self._gop_bytes > self._max_gop_bytes or self.newest - self.gop_start > self.capacity // 2:
            self.gop_start = None  # newcomers wait for the next key frame
            self.gop_overflows += 1
