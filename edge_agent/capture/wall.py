"""From RTP time to wall time: the host's clock, freed of network jitter.

A packet never arrives before it was captured, so the smallest `arrival - pts` seen lately is the best estimate of the
offset between the camera's RTP clock and the host's. A minute's window lets it follow the slow drift between the two;
the camera's declared frame rate plays no part.
"""

from collections import deque
from fractions import Fraction

WINDOW_S = 60.0
BUCKET_S = 5.0


class WallClock:
    """Maps one epoch's pts to UTC seconds."""

    def __init__(self, time_base: Fraction) -> None:
        self._tick_s = float(time_base)
        self._buckets: deque[tuple[float, float]] = deque()  # (bucket start, smallest offset in it)

    def see(self, pts: int, arrived_at: float) -> None:
        """Learns from one packet's arrival (UTC seconds)."""
        offset = arrived_at - pts * self._tick_s
        if self._buckets and arrived_at - self._buckets[-1][0] < BUCKET_S:
            start, least = self._buckets[-1]
            self._buckets[-1] = (start, min(least, offset))
        else:
            self._buckets.append((arrived_at, offset))
        while arrived_at - self._buckets[0][0] > WINDOW_S:
            self._buckets.popleft()

    def at(self, pts: int) -> float:
        """When `pts` was captured, UTC seconds. Needs at least one `see`."""
        return pts * self._tick_s + min(offset for _, offset in self._buckets)
