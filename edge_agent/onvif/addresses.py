"""Addresses of devices, and what a device says of its own address, which is not to be believed (lesson 8).

A camera behind a router or with a stale setting names hosts nobody can reach, and a hostile one could name a host we must
not talk to. So only path, query and, where they differ on purpose, ports are taken; the host is always the one that answered.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from edge_agent.errors import AgentError

DEFAULT_PORT = 80
DEVICE_PATH = "/onvif/device_service"
MAX_URI_CHARS = 1000
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554}


@dataclass(frozen=True)
class Address:
    """Where a device was reached."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`host`, `host:port` or `[v6]:port`.

        Raises:
            AgentError: onvif.bad_address.
        """
        host, colon, port = text.strip().rpartition(":")
        if not colon or (text.strip().startswith("[") and text.strip().endswith("]")):
            host, port = text.strip(), str(DEFAULT_PORT)
        if not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
            raise AgentError("onvif.bad_address", "give host or host:port")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def device_service(self) -> str:
        """The entry point, at the fixed path of ONVIF Core §5.1.1."""
        return f"http://{self}{DEVICE_PATH}"


@dataclass(frozen=True)
class Reachable:
    """Turns the device's own URIs into ones we use. `announced`: what it calls its device service, if it told."""

    address: Address
    announced: tuple[str, int] | None = None

    def service(self, xaddr: str) -> str:
        """An XAddr at the reachable host; the port as reached unless the device names another for this service.

        Raises:
            AgentError: onvif.bad_answer, when it is no http URI.
        """
        parts = _split(xaddr, {"http", "https"})
        port = parts[1]
        if self.announced is None or self.announced[1] == port:
            port = self.address.port
        return urlunsplit(("http", f"{self.address.host}:{port}", parts[2] or "/", parts[3], ""))

    def stream(self, uri: str) -> str:
        """A stream URI at the reachable host, without credentials, the port as told.

        Raises:
            AgentError: onvif.bad_answer, when it is no RTSP URI.
        """
        _, port, path, query = _split(uri, {"rtsp"})
        return urlunsplit(("rtsp", f"{self.address.host}:{port}", path or "/", query, ""))


def announced_of(xaddr: str) -> tuple[str, int] | None:
    """Host and port of an XAddr, or None when it is none."""
    try:
        host, port, _, _ = _split(xaddr, {"http", "https"})
    except AgentError:
        return None
    return host, port


def _split(uri: str, schemes: set[str]) -> tuple[str, int, str, str]:
    if len(uri) > MAX_URI_CHARS or not re.fullmatch(r"[\x21-\x7e]+", uri):
        raise AgentError("onvif.bad_answer", "a URI with strange characters")
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise AgentError("onvif.bad_answer", "not a URI") from error
    if parts.scheme.lower() not in schemes or not parts.hostname:
        raise AgentError("onvif.bad_answer", f"not a URI of {' or '.join(sorted(schemes))}")
    return parts.hostname, port or _DEFAULT_PORTS[parts.scheme.lower()], parts.path, parts.query
