"""One upstream's packets to any number of viewers."""

from hub.live.leg import Clockwork, LegCounters, Timer, ViewerLeg
from hub.live.rtp import PacketStore

GATHER_S = 0.004  # packets of one frame that come within this are sent to each viewer in one go
MAX_PAYLOAD_BYTES = 1300  # what fits an SRTP packet of 1356 bytes


class Fanout:
    """Takes packets in the order they arrive, keeps the newest, and moves every viewer on."""

    def __init__(self, clock: Clockwork, store: PacketStore | None = None) -> None:
        self.store = store or PacketStore()
        self.legs: set[ViewerLeg] = set()
        self.packets = 0
        self.bytes = 0
        self.refused = 0
        self.last_packet_at: float | None = None  # monotonic seconds
        self.gone = LegCounters()  # what legs that left had been sent
        self._clock = clock
        self._timer: Timer | None = None

    def begin_epoch(self) -> None:
        """A new sender comes: viewers wait for its first key frame."""
        self.store.begin_epoch()
        for leg in self.legs:
            leg.wait_for_key_frame()

    def take(self, sequence: int, timestamp: int, marker: bool, payload: bytes) -> None:
        """A packet from the upstream."""
        if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
            self.refused += 1
            return
        before = self.store.newest
        packet = self.store.add(sequence, timestamp, marker, payload)
        if packet is None:
            return
        self.packets += 1
        self.bytes += len(payload)
        self.last_packet_at = self._clock.time()
        if packet.index <= before:
            for leg in self.legs:
                leg.late(packet)
        elif marker:
            self._move_on()
        elif self._timer is None:
            self._timer = self._clock.call_later(GATHER_S, self._move_on)

    def attach(self, leg: ViewerLeg) -> None:
        """A viewer is ready: it gets the cached GOP at once."""
        self.legs.add(leg)
        leg.advance()

    def detach(self, leg: ViewerLeg) -> None:
        """A viewer is gone; idempotent."""
        leg.close()
        if leg in self.legs:
            self.legs.remove(leg)
            self.gone.add(leg.counters)

    def sent(self) -> LegCounters:
        """What all viewers together were sent since the beginning."""
        total = LegCounters()
        for counters in (self.gone, *(leg.counters for leg in self.legs)):
            total.add(counters)
        return total

    def close(self) -> None:
        """Lets go of all viewers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for leg in list(self.legs):
            self.detach(leg)

    def _move_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for leg in self.legs:
            leg.advance()
