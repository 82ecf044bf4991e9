"""`Prober` on `edge_agent.onvif.client`."""

from dataclasses import asdict
from typing import Any

from edge_agent.devices.port import Probed
from edge_agent.onvif import client
from edge_agent.onvif.model import DeviceDetails, SourceDetails, StreamDetails
from edge_agent.spool.devices import KnownSource
from models.wire.uplink import StreamInfo


class OnvifProber:
    """Asks devices by ONVIF. Remembers each source as last probed, to know where its snapshot is."""

    def __init__(self) -> None:
        self._sources: dict[tuple[str, str], SourceDetails] = {}

    def probe(self, address: str, username: str, password: str) -> Probed:
        """See `Prober.probe`."""
        details = client.probe(address, username, password)
        for source in details.sources:
            self._sources[(address, source.token)] = source
        return Probed(tuple(_known(details, source) for source in details.sources), details.clock)

    def snapshot(self, address: str, username: str, password: str, source: str) -> bytes | None:
        """See `Prober.snapshot`. None before the first probe."""
        known = self._sources.get((address, source))
        return None if known is None else client.snapshot(known, username, password)


def _known(details: DeviceDetails, source: SourceDetails) -> KnownSource:
    return KnownSource(
        token=source.token,
        main_url=source.main.uri,
        sub_url=None if source.sub is None else source.sub.uri,
        main=_stream(source.main),
        sub=None if source.sub is None else _stream(source.sub),
        manufacturer=details.manufacturer,
        model=details.model,
        serial=details.serial,
        firmware=details.firmware,
    )


def _stream(stream: StreamDetails) -> StreamInfo:
    return StreamInfo(
        codec=stream.codec[:64], width=stream.width, height=stream.height, fps_declared=stream.fps_declared
    )


def discover_devices(timeout_s: float, addresses: list[str]) -> list[dict[str, Any]]:
    """Devices that answered by multicast or at the given addresses, as plain values."""
    return [asdict(found) for found in client.discover(timeout_s, addresses)]
