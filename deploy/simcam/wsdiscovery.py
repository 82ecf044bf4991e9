"""WS-Discovery (OASIS 1.0, as ONVIF Core §7.3 uses it): answers probes for video transmitters, by multicast or directly."""

import asyncio
import re
import socket
import struct
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from deploy.simcam.soap import escape

GROUP = "239.255.255.250"
PORT = 3702
MAX_PROBE_BYTES = 16 * 1024
SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
WSD = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
TYPES = frozenset({"NetworkVideoTransmitter", "Device"})


@dataclass(frozen=True)
class Announced:
    """One device as it answers a probe. `xaddr_for(ip)`: its device service as seen from that local address."""

    endpoint: str
    scopes: tuple[str, ...]
    xaddr_for: Callable[[str], str]


def probe_id(datagram: bytes) -> str | None:
    """The MessageID of a probe that asks for cameras (or for anything), else None. Never raises."""
    if len(datagram) > MAX_PROBE_BYTES:
        return None
    try:
        text = datagram.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            return None
        root = ET.fromstring(text)  # noqa: S314 - no document type, so no entities; size bounded above
    except (UnicodeDecodeError, ET.ParseError, ValueError):
        return None
    probe, message_id = root.find(f"{{{SOAP}}}Body/{{{WSD}}}Probe"), root.find(f"{{{SOAP}}}Header/{{{WSA}}}MessageID")
    if probe is None or message_id is None or not message_id.text or len(message_id.text) > 200:
        return None
    types = (probe.findtext(f"{{{WSD}}}Types") or "").split()
    if types and not TYPES & {name.rpartition(":")[2] for name in types}:
        return None
    return message_id.text.strip()


def probe_match(device: Announced, relates_to: str, local_ip: str) -> bytes:
    """The ProbeMatches message of one device."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="{SOAP}" xmlns:a="{WSA}" xmlns:d="{WSD}" '
        'xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><s:Header>'
        f"<a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID><a:RelatesTo>{escape(relates_to)}</a:RelatesTo>"
        f"<a:To>{WSA}/role/anonymous</a:To><a:Action>{WSD}/ProbeMatches</a:Action></s:Header><s:Body><d:ProbeMatches>"
        f"<d:ProbeMatch><a:EndpointReference><a:Address>{device.endpoint}</a:Address></a:EndpointReference>"
        f"<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>{escape(' '.join(device.scopes))}</d:Scopes>"
        f"<d:XAddrs>{escape(device.xaddr_for(local_ip))}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
        "</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"
    ).encode()


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, devices: Callable[[], list[Announced]]) -> None:
        self._devices = devices
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own class does not derive from it

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        relates_to = probe_id(data)
        if relates_to is None or self._transport is None:
            return
        for device in self._devices():
            self._transport.sendto(probe_match(device, relates_to, local_ip_towards(addr[0])), addr)


def local_ip_towards(peer: str) -> str:
    """The address this machine has as seen from `peer`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((peer, 9))
        name: str = sock.getsockname()[0]
        return name


async def serve(devices: Callable[[], list[Announced]], interface_ip: str) -> asyncio.DatagramTransport:
    """Joins the group on `interface_ip` and answers until the transport is closed.

    Raises:
        OSError: no multicast on that interface.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", PORT))
        member = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton(interface_ip))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(devices), sock=sock)
    except BaseException:
        sock.close()
        raise
    return transport


def endpoint_of(serial: str) -> str:
    """A stable urn:uuid of a device."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, 'onvif:' + re.sub(r'[^A-Za-z0-9-]', '-', serial))}"
