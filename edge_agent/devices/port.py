"""What the inventory needs of ONVIF: plain facts about one device. `adapter` makes them of `edge_agent.onvif.client`."""

from dataclasses import dataclass
from typing import Protocol

from edge_agent.spool.devices import KnownSource
from models.wire.base import ClockReading


@dataclass(frozen=True)
class Probed:
    """What a device told of itself just now."""

    sources: tuple[KnownSource, ...]
    clock: ClockReading


class Prober(Protocol):
    """Asks devices. Blocking; AgentError with a stable code when it cannot."""

    def probe(self, address: str, username: str, password: str) -> Probed:
        """Video sources with their streams, and the clock."""

    def snapshot(self, address: str, username: str, password: str, source: str) -> bytes | None:
        """A JPEG of the source, or None where the device has none."""
