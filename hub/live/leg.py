"""One viewer's way out: where it is in the upstream's packets, and how those become packets of its own stream."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from hub.live.rtp import CLOCK_HZ, HEADER, PacketStore, StoredPacket

BURST_PACKETS = 16  # sent at once; a browser's socket buffer holds a few dozen
PACE_S = 0.004  # between bursts: 38 Mbit/s at most
LAG_PACKETS = 512  # a viewer that flows may be this far behind
CACHE_STEP = 90  # RTP ticks between cached frames: 1 ms, so they are decoded at once and none is waited for
RESYNC_S = 1.0  # a viewer that lost the picture gets the key frame again, at most this often
NACK_REACH = 1000  # SRTP's window is 1024 packets
NACK_PER_S = 1000
NACK_PER_FEEDBACK = 128


class Timer(Protocol):
    """What `loop.call_later` answers."""

    def cancel(self) -> None:
        """Does not call."""


class Clockwork(Protocol):
    """The event loop, as far as a leg needs it."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Calls once, later."""


Send = Callable[[list[bytes]], int]
"""Plain RTP packets → how many were taken. Fewer than given: the socket is full."""


@dataclass(slots=True)
class _Segment:
    """A stretch in which the viewer's numbers follow the upstream's at a fixed distance."""

    first_index: int
    first_sequence: int  # extended
    time_offset: int
    cached: dict[int, int]  # upstream timestamp → ours, for frames that came from the cache
    end_index: int | None = None


@dataclass
class LegCounters:
    """What one viewer was sent."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    retransmitted: int = 0
    resyncs: int = 0

    def add(self, other: "LegCounters") -> None:
        """Adds another's."""
        self.packets += other.packets
        self.bytes += other.bytes
        self.dropped += other.dropped
        self.retransmitted += other.retransmitted
        self.resyncs += other.resyncs


@dataclass(eq=False)
class ViewerLeg:
    """Rewrites SSRC, sequence, timestamp and payload type, paces bursts, drops to the next key frame when behind."""

    store: PacketStore
    send: Send
    clock: Clockwork
    payload_type: int
    ssrc: int
    counters: LegCounters = field(default_factory=LegCounters)
    closed: bool = False
    _segments: deque[_Segment] = field(default_factory=lambda: deque(maxlen=4))
    _cursor: int = 0
    _waiting: bool = True
    _not_before: int = 0
    _caught_up: bool = False
    _next_sequence: int = field(default_factory=lambda: random.randrange(1, 1 << 14))  # noqa: S311  not a secret; low, for SRTP
    _timer: Timer | None = None
    _last_time: int = field(default_factory=lambda: random.getrandbits(31))
    _last_at: float | None = None
    _spliced_at: float = -RESYNC_S
    _nack_budget: float = NACK_PER_S
    _nack_at: float = 0.0

    def close(self) -> None:
        """Nothing is sent any more."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wait_for_key_frame(self) -> None:
        """Sends nothing until the next GOP begins: the upstream started anew."""
        self._waiting = True
        self._not_before = self.store.newest + 1

    def advance(self) -> None:
        """There are new packets: sends what may be sent now."""
        if self._timer is None:
            self._flush()

    def late(self, packet: StoredPacket) -> None:
        """A packet came out of order (lost and sent again): passes it on if the viewer is past its place."""
        segment = self._segments[-1] if self._segments else None
        if not self._waiting and segment is not None and segment.first_index <= packet.index < self._cursor:
            self._transmit([self._rewrite(packet, segment)])

    def nack(self, sequences: list[int]) -> None:
        """The viewer lost these (16 bit sequence numbers): sends again what is kept."""
        now = self.clock.time()
        self._nack_budget = min(NACK_PER_S, self._nack_budget + (now - self._nack_at) * NACK_PER_S)
        self._nack_at = now
        again: list[bytes] = []
        for sequence in sequences[:NACK_PER_FEEDBACK]:
            found = self._find(sequence)
            if found is not None and self._nack_budget >= 1:
                self._nack_budget -= 1
                again.append(self._rewrite(*found))
        self.counters.retransmitted += self._transmit(again)

    def picture_lost(self) -> None:
        """The viewer cannot decode (PLI, FIR): it gets the cached key frame and all since again."""
        if self.clock.time() - self._spliced_at < RESYNC_S or self.store.gop_start is None or self._waiting:
            return
        self.counters.resyncs += 1
        self._splice(self.store.gop_start)
        self.advance()

    def position(self) -> tuple[int, int, int]:
        """For a sender report: the RTP timestamp of now, packets and payload bytes sent so far."""
        if self._last_at is None:
            return self._last_time & 0xFFFFFFFF, 0, 0
        ticks = int((self.clock.time() - self._last_at) * CLOCK_HZ)
        return (self._last_time + ticks) & 0xFFFFFFFF, self.counters.packets, self.counters.bytes

    @property
    def flowing(self) -> bool:
        """Whether the viewer has been sent a key frame and what follows."""
        return not self._waiting

    def _flush(self) -> None:
        self._timer = None
        if self.closed or not self._ready():
            return
        batch: list[bytes] = []
        places: list[int] = []
        segment, cursor, newest = self._segments[-1], self._cursor, self.store.newest
        while cursor <= newest and len(batch) < BURST_PACKETS:
            packet = self.store.get(cursor)
            if packet is not None:
                batch.append(self._rewrite(packet, segment))
                places.append(cursor)
            cursor += 1
        taken = self._transmit(batch)
        if taken < len(batch):  # numbers that were not sent are given again
            cursor = places[taken]
            self._next_sequence = segment.first_sequence + cursor - segment.first_index
        self._cursor = cursor
        if self._cursor <= newest:
            self._timer = self.clock.call_later(PACE_S, self._flush)
        else:
            self._caught_up = True

    def _ready(self) -> bool:
        """Puts the cursor where sending goes on; False while there is no key frame to go on from."""
        start = self.store.gop_start
        if not self._waiting:
            limit = LAG_PACKETS if self._caught_up else self.store.capacity * 3 // 4
            lag = self.store.newest - self._cursor
            if lag <= limit:
                return True
            self.counters.dropped += lag
            self._waiting = True
            self._not_before = self._cursor + 1  # any GOP that began since will do
        if start is None or start < self._not_before:
            return False
        self._splice(start)
        return True

    def _splice(self, start: int) -> None:
        """Goes on at `start` with numbers that follow on what was sent; frames already there are squeezed together."""
        times = self.store.frame_times(start)
        now = self.clock.time()
        gap = CACHE_STEP if self._last_at is None else max(CACHE_STEP, int((now - self._last_at) * CLOCK_HZ))
        base = self._last_time + gap
        cached = {time: base + place * CACHE_STEP for place, time in enumerate(times)}
        newest_time = times[-1]
        if self._segments:
            self._segments[-1].end_index = self._cursor
        self._segments.append(_Segment(start, self._next_sequence, cached[newest_time] - newest_time, cached))
        self._cursor, self._waiting, self._caught_up, self._spliced_at = start, False, False, now

    def _rewrite(self, packet: StoredPacket, segment: _Segment) -> bytes:
        time = segment.cached.get(packet.timestamp)
        if time is None:
            time = packet.timestamp + segment.time_offset
        sequence = segment.first_sequence + packet.index - segment.first_index
        if sequence >= self._next_sequence:
            self._next_sequence = sequence + 1
            self._last_time = time
            self._last_at = self.clock.time()
        second = (0x80 if packet.marker else 0) | self.payload_type
        return HEADER.pack(0x80, second, sequence & 0xFFFF, time & 0xFFFFFFFF, self.ssrc) + packet.payload

    def _find(self, sequence: int) -> tuple[StoredPacket, _Segment] | None:
        newest = self._next_sequence - 1
        extended = newest - ((newest - sequence) & 0xFFFF)
        if newest - extended > NACK_REACH:
            return None
        for segment in reversed(self._segments):
            if segment.first_sequence <= extended:
                index = segment.first_index + extended - segment.first_sequence
                if segment.end_index is not None and index >= segment.end_index:
                    return None
                packet = self.store.get(index)
                return None if packet is None else (packet, segment)
        return None

    def _transmit(self, batch: list[bytes]) -> int:
        if self.closed or not batch:
            return 0
        taken = self.send(batch)
        self.counters.packets += taken
        self.counters.bytes += sum(map(len, batch[:taken])) - taken * HEADER.size
        return taken
