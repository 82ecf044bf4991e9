"""Finding devices: WS-Discovery by multicast, and by asking given addresses."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit

from wsdiscovery import QName
from wsdiscovery.discovery import ThreadedWSDiscovery

from edge_agent.errors import AgentError
from edge_agent.onvif.addresses import Address
from edge_agent.onvif.model import FoundDevice

VIDEO = QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")
MAX_DEVICES = 1000
ASK_AT_ONCE = 8
_SCOPE = "onvif://www.onvif.org/"


class _Listening(ThreadedWSDiscovery):  # type: ignore[misc]  # WSDiscovery ships no types
    """Remembers who really sent each match: what a match says of addresses is only its word."""

    def __init__(self) -> None:
        super().__init__()
        self.matches: dict[tuple[str, str], FoundDevice] = {}

    def _handle_probematches(self, env: Any, addr: tuple[str, int]) -> None:
        for match in env.getProbeResolveMatches():
            if not any(str(kind.getLocalname()) == VIDEO.getLocalname() for kind in match.getTypes() or ()):
                continue
            scopes = [str(scope.getValue()) for scope in match.getScopes() or ()]
            for xaddr in match.getXAddrs() or ():
                device = found_by_match(addr[0], str(match.getEPR()), [str(xaddr)], scopes)
                if device is not None and len(self.matches) < MAX_DEVICES:
                    self.matches.setdefault((device.endpoint, device.address), device)
                    break


def found_by_match(sender: str, endpoint: str, xaddrs: list[str], scopes: list[str]) -> FoundDevice | None:
    """A device from its own words: port from its first http XAddr, host always the sender's."""
    for xaddr in xaddrs:
        try:
            parts = urlsplit(xaddr)
            port = parts.port or 80
            address = Address.parse(f"{sender}:{port}")
        except (ValueError, AgentError):
            continue
        if parts.scheme == "http":
            return FoundDevice(str(address), endpoint[:200], _scope(scopes, "name"), _scope(scopes, "hardware"))
    return None


def _scope(scopes: list[str], kind: str) -> str:
    prefix = f"{_SCOPE}{kind}/"
    return next((unquote(scope[len(prefix) :])[:200] for scope in scopes if scope.startswith(prefix)), "")


def discover_multicast(timeout_s: float) -> list[FoundDevice]:
    """Who answers a probe for video transmitters on any interface but loopback."""
    listening = _Listening()
    try:
        listening.start()
        listening.searchServices(types=[VIDEO], timeout=timeout_s)
    except OSError:
        return []  # no network to ask on is no device found
    finally:
        listening.stop()
    return list(listening.matches.values())


def reachable_by_address(addresses: list[Address], answers: Callable[[Address], bool]) -> list[FoundDevice]:
    """Those of `addresses` that answer, some asked at once."""
    with ThreadPoolExecutor(ASK_AT_ONCE, thread_name_prefix="onvif-discover") as pool:
        return [
            FoundDevice(str(address))
            for address, there in zip(addresses, pool.map(answers, addresses), strict=True)
            if there
        ]
