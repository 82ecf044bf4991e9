"""A camera's own idea of the time, which may be wrong by an offset and drift away."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

PPM = 1e-6


class CameraClock:
    """Host time plus `offset_s`, plus a drift in parts per million since the last change."""

    def __init__(self, host_s: Callable[[], float] = time.time, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._host_s = host_s
        self._steady_s = steady_s
        self._offset_s = 0.0
        self._drift_ppm = 0.0
        self._since_s = steady_s()

    @property
    def offset_s(self) -> float:
        """Camera time minus host time, now."""
        return self._offset_s + (self._steady_s() - self._since_s) * self._drift_ppm * PPM

    def unix_s(self) -> float:
        """Seconds since 1970 by the camera's clock."""
        return self._host_s() + self.offset_s

    def now(self) -> datetime:
        """The camera's time, aware UTC."""
        return datetime.fromtimestamp(self.unix_s(), UTC)

    def go_wrong(self, offset_s: float, drift_ppm: float = 0.0) -> None:
        """From now on `offset_s` ahead of the host, and drifting."""
        self._offset_s, self._drift_ppm, self._since_s = offset_s, drift_ppm, self._steady_s()

    def set(self, at: datetime) -> None:
        """Someone sets the clock; its drift stays."""
        self._offset_s, self._since_s = at.timestamp() - self._host_s(), self._steady_s()
