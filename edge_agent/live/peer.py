"""aiortc, bent to sending packets that are already encoded: no track, no encoder, a history for what gets lost.

The agent's only module that knows aiortc's insides (1.14 to 1.16).
"""

import asyncio
import contextlib
import ipaddress
import random
import struct
import time
from collections.abc import Sequence
from typing import Any

import ifaddr
import pylibsrtp
from aioice.candidate import Candidate
from aioice.ice import Connection
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import connection_kwargs
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import (
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)

from models.wire.downlink import IceServer

HISTORY_PACKETS = 1000  # within SRTP's window of 1024
RTCP_EVERY_S = 1.0
CLOCK_HZ = 90_000
_HEADER = struct.Struct("!BBHLL")
_NTP_EPOCH_S = 2_208_988_800
_ANSWER_ERRORS = (ValueError, AssertionError, KeyError, IndexError, TypeError, AttributeError, RuntimeError)


class HostConnection(Connection):
    """ICE on given host addresses; `auto` is every IPv4 address of this host, loopback included (aioice drops that)."""

    def __init__(self, hosts: Sequence[str], **options: Any) -> None:
        super().__init__(ice_controlling=True, **options)
        self._hosts = _addresses(hosts)

    async def get_component_candidates(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109  aioice names it so
        """Gathers on our addresses instead of `addresses`."""
        found: list[Candidate] = await super().get_component_candidates(component, self._hosts, timeout)
        return found


def _addresses(hosts: Sequence[str]) -> list[str]:
    found: list[str] = []
    for host in hosts:
        if host == "auto":
            found.append("127.0.0.1")
            found += [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if isinstance(ip.ip, str)]
        else:
            found.append(str(ipaddress.ip_address(host)))
    return list(dict.fromkeys(found))


class PacketSender(RTCRtpSender):
    """Sends RTP payloads it is given, and again what the hub reports lost."""

    def __init__(self, transport: RTCDtlsTransport) -> None:
        super().__init__("video", transport)
        self.ready = asyncio.Event()
        self.halted = False
        self.packets = 0
        self.retransmitted = 0
        self.heard_at = time.monotonic()  # the hub's newest report
        self._octets = 0
        self._payload_type = 0
        self._sequence = random.randrange(1, 1 << 14)  # noqa: S311  not a secret; low, for SRTP
        self._time_base = random.getrandbits(31)
        self._newest_time = (0, 0.0)
        self._history: dict[int, bytes] = {}
        self._rtcp: asyncio.Task[None] | None = None

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """The connection stands."""
        if self._rtcp is None:
            self._payload_type = parameters.codecs[0].payloadType or 0
            self.transport._register_rtp_sender(self, parameters)
            self._rtcp = asyncio.create_task(self._report(), name="live-publisher-rtcp")
            self.heard_at = time.monotonic()
            self.ready.set()

    async def stop(self) -> None:
        """Ends it; idempotent."""
        self.halted = True
        self.transport._unregister_rtp_sender(self)
        if self._rtcp is not None:
            self._rtcp.cancel()
            await asyncio.wait([self._rtcp])
            await self._send(bytes(RtcpByePacket(sources=[self._ssrc])))

    async def send_payload(self, payload: bytes, timestamp: int, *, marker: bool) -> None:
        """Sends one payload; `timestamp` in 90 kHz from any origin. Nothing leaves once it is halted."""
        if self.halted:
            return
        sequence = self._sequence & 0xFFFF
        self._sequence += 1
        shown = (self._time_base + timestamp) & 0xFFFFFFFF
        second = (0x80 if marker else 0) | self._payload_type
        packet = _HEADER.pack(0x80, second, sequence, shown, self._ssrc) + payload
        self._history[sequence] = packet
        self._history.pop((sequence - HISTORY_PACKETS) & 0xFFFF, None)
        self.packets += 1
        self._octets += len(payload)
        self._newest_time = (shown, time.monotonic())
        await self._send(packet)

    async def _send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError, pylibsrtp.Error):  # its end is told by the connection's state
            await self.transport._send_rtp(data)

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRrPacket):
            self.heard_at = time.monotonic()
        elif isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK and not self.halted:
            for sequence in packet.lost[:256]:
                again = self._history.get(sequence)
                if again is not None:
                    self.retransmitted += 1
                    await self._send(again)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(RTCP_EVERY_S)
            if not self.packets:
                continue
            shown, at = self._newest_time
            timestamp = (shown + int((time.monotonic() - at) * CLOCK_HZ)) & 0xFFFFFFFF
            seconds = time.time() + _NTP_EPOCH_S
            ntp = int(seconds) << 32 | int((seconds % 1) * (1 << 32))
            info = RtcpSenderInfo(ntp, timestamp, self.packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF)
            await self._send(bytes(RtcpSrPacket(ssrc=self._ssrc, sender_info=info)))


class PublishingPeer:
    """One connection to the hub's WHIP."""

    def __init__(self, hosts: Sequence[str], ice_servers: Sequence[IceServer]) -> None:
        servers = [RTCIceServer(urls=list(s.urls), username=s.username, credential=s.credential) for s in ice_servers]
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        transceiver = self.connection.addTransceiver("video", direction="sendonly")
        codecs = [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType == "video/H264"]
        transceiver.setCodecPreferences(
            sorted(codecs, key=lambda codec: codec.parameters.get("profile-level-id") != "42e01f")
        )
        self.sender = PacketSender(transceiver.sender.transport)
        if not hasattr(transceiver, "_RTCRtpTransceiver__sender"):
            raise RuntimeError("this aiortc is not one that edge_agent.live.peer knows")
        setattr(transceiver, "_RTCRtpTransceiver__sender", self.sender)  # noqa: B010  aiortc has no way to hand one in
        ice = transceiver.receiver.transport.transport
        connection = HostConnection(hosts, **connection_kwargs(servers))
        ice.iceGatherer._connection = connection
        ice._connection, ice._recv, ice._send = connection, connection.recv, connection.send
        self.ended = asyncio.Event()
        self.connection.on("connectionstatechange", self._state_changed)

    async def offer(self) -> str:
        """The SDP offer, with all candidates."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Takes the hub's answer.

        Raises:
            ValueError: it is none.
        """
        try:
            await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except _ANSWER_ERRORS as error:  # aiortc's parser asserts and looks up; it has no error of its own
            raise ValueError(f"not an answer: {error}") from error

    async def close(self) -> None:
        """Ends it; idempotent."""
        self.sender.halted = True
        await self.connection.close()

    def _state_changed(self) -> None:
        if self.connection.connectionState in {"closed", "failed"}:
            self.ended.set()
