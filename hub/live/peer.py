"""aiortc, bent to forwarding: ICE on addresses of our choice, a receiver that decodes nothing, a sender that encodes nothing.

This is the hub's only module that knows aiortc's insides (1.14 to 1.16). What it replaces: the ICE connection, the
receiver of a WHIP peer (aiortc's own decodes in a thread, with an unbounded queue) and the sender of a WHEP
peer (aiortc's own packetises per viewer and sends packet by packet).
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import ifaddr
import pylibsrtp
from aioice.candidate import Candidate
from aioice.ice import Connection
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import connection_kwargs
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
)

from hub.errors import Invalid
from hub.kit.clock import utc_now
from hub.live.datagrams import DatagramSender
from hub.live.fanout import Fanout
from hub.live.leg import ViewerLeg
from hub.live.losses import LossList
from hub.live.model import LiveConfig
from hub.live.rtp import CLOCK_HZ, RtpView, read_rtp
from hub.live.turn import with_credentials
from models.wire.downlink import IceServer

RTCP_EVERY_S = 1.0
NACK_EVERY_S = 0.05
_NTP_EPOCH_S = 2_208_988_800  # 1900 to 1970
_WAITING_DATAGRAMS = 2048
# How aiortc fails on SDP that it cannot use: asserts and look-ups in its parser, no error type of its own.
_SDP_ERRORS = (
    ValueError,
    AssertionError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,  # a StopIteration inside a coroutine
    OperationError,
    InvalidStateError,
    InvalidAccessError,
)


def host_addresses(wanted: Sequence[str]) -> list[str]:
    """The addresses to gather on; `auto` stands for loopback and every IPv4 address of this host."""
    found: list[str] = []
    for entry in wanted:
        if entry == "auto":
            found.append("127.0.0.1")
            found += [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if isinstance(ip.ip, str)]
        else:
            found.append(str(ipaddress.ip_address(entry)))
    return list(dict.fromkeys(found))


class HostConnection(Connection):
    """ICE on given host addresses (aioice itself drops loopback).

    Remote candidates with `.local` names are left out (a browser that hides its address is learned as
    peer-reflexive; no mDNS socket is opened), and what waits to be read is bounded.
    """

    def __init__(self, hosts: list[str], **options: Any) -> None:
        super().__init__(ice_controlling=False, **options)
        self.take_rtp: Callable[[bytes], None] | None = None  # takes SRTP datagrams out of the queue's way
        self._hosts = hosts
        self._real_candidates = 0

    async def get_component_candidates(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109  aioice names it so
        """Gathers on our addresses instead of `addresses`."""
        found: list[Candidate] = await super().get_component_candidates(component, self._hosts, timeout)
        return found

    async def add_remote_candidate(self, remote_candidate: Candidate | None) -> None:
        """Takes UDP candidates with an address; the end counts only if there was one, else checks would never begin."""
        if remote_candidate is None:
            if self._real_candidates:
                await super().add_remote_candidate(None)
            return
        if remote_candidate.transport.lower() != "udp" or not _is_address(remote_candidate.host):
            return
        self._real_candidates += 1
        await super().add_remote_candidate(remote_candidate)

    def data_received(self, data: bytes, component: int) -> None:
        """Queues a datagram unless too many wait (nobody reads before the handshake, and anybody may send)."""
        take = self.take_rtp if self._queue.empty() else None  # what waits comes first
        if take is not None and len(data) > 1 and 127 < data[0] < 192 and not 192 <= data[1] <= 208:
            take(data)
        elif self._queue.qsize() < _WAITING_DATAGRAMS:
            super().data_received(data, component)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class ForwardingReceiver(RTCRtpReceiver):
    """Hands RTP packets to a fan-out; keeps receiver reports and NACKs to the sender going. No decoder, no thread."""

    def __init__(self, transport: RTCDtlsTransport, fanout: Fanout, rtcp_ssrc: int) -> None:
        super().__init__("video", transport)
        self.losses = LossList()
        self._fanout = fanout
        self._own_ssrc = rtcp_ssrc
        self._media_ssrc: int | None = None
        self._payload_types: frozenset[int] = frozenset()
        self._statistics = StreamStatistics(CLOCK_HZ)
        self._last_report = (0, 0.0)  # middle of the sender's NTP time, and when it came
        self._rtcp: asyncio.Task[None] | None = None

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """The connection stands: packets may come."""
        if self._rtcp is None:
            self._payload_types = frozenset(codec.payloadType or 0 for codec in parameters.codecs)
            self.transport._register_rtp_receiver(self, parameters)
            connection = self.transport.transport._connection
            if isinstance(connection, HostConnection):
                connection.take_rtp = self._take_srtp
            self._rtcp = asyncio.create_task(self._report(), name="live-upstream-rtcp")

    async def stop(self) -> None:
        """Ends it; idempotent."""
        self.transport._unregister_rtp_receiver(self)
        if self._rtcp is not None:
            self._rtcp.cancel()
            await asyncio.wait([self._rtcp])

    def _handle_disconnect(self) -> None:
        return None

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        """The few that were queued before `receive`."""
        payload_type, marker = packet.payload_type, bool(packet.marker)
        self._take(RtpView(payload_type, marker, packet.sequence_number, packet.timestamp, packet.ssrc, packet.payload))

    def _take_srtp(self, data: bytes) -> None:
        """A datagram straight from the socket: no queue, no task switch."""
        try:
            packet = read_rtp(self.transport._rx_srtp.unprotect(data))
        except (pylibsrtp.Error, ValueError):
            return  # forged, replayed or too long; the sender's statistics show real losses
        if packet is not None:
            self._take(packet)

    def _take(self, packet: RtpView) -> None:
        if packet.payload_type not in self._payload_types:
            return
        if packet.ssrc != self._media_ssrc:
            self._media_ssrc = packet.ssrc
            self._statistics = StreamStatistics(CLOCK_HZ)
            self.losses = LossList()
            self._fanout.begin_epoch()
        self._statistics.add(packet)  # type: ignore[arg-type]  # reads sequence number and timestamp only
        if packet.payload:
            self.losses.arrived(packet.sequence_number)
            self._fanout.take(packet.sequence_number, packet.timestamp, packet.marker, packet.payload)

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket):
            self._last_report = ((packet.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF, time.monotonic())

    async def _report(self) -> None:
        report_at = time.monotonic() + RTCP_EVERY_S
        while True:
            await asyncio.sleep(NACK_EVERY_S)
            now = time.monotonic()
            if self._media_ssrc is None:
                continue
            lost = self.losses.due(now)
            if lost:
                nack = RtcpRtpfbPacket(RTCP_RTPFB_NACK, self._own_ssrc, self._media_ssrc, lost)
                await _send_rtcp(self.transport, nack)
            if now >= report_at:
                report_at = now + RTCP_EVERY_S
                await _send_rtcp(self.transport, self._receiver_report(self._media_ssrc, now))

    def _receiver_report(self, media_ssrc: int, now: float) -> RtcpRrPacket:
        last, came_at = self._last_report
        info = RtcpReceiverInfo(
            ssrc=media_ssrc,
            fraction_lost=self._statistics.fraction_lost,
            packets_lost=self._statistics.packets_lost,
            highest_sequence=self._statistics.max_seq or 0,
            jitter=self._statistics.jitter,
            lsr=last,
            dlsr=int(min(now - came_at, 65535) * 65536) if last else 0,
        )
        return RtcpRrPacket(ssrc=self._own_ssrc, reports=[info])


class ForwardingSender(RTCRtpSender):
    """A viewer's stream: no track, no encoder; its packets come from a `ViewerLeg`."""

    def __init__(self, transport: RTCDtlsTransport, fanout: Fanout, *, segmentation: bool) -> None:
        super().__init__("video", transport)
        self.leg: ViewerLeg | None = None
        self.loss_fraction = 0.0
        self._fanout = fanout
        self._segmentation = segmentation
        self._datagrams: DatagramSender | None = None
        self._rtcp: asyncio.Task[None] | None = None

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """The connection stands: joins the fan-out."""
        if self.leg is not None:
            return
        self.transport._register_rtp_sender(self, parameters)
        self._datagrams = self._direct_path()
        payload_type = parameters.codecs[0].payloadType
        if payload_type is None:
            raise RuntimeError("negotiated codecs have a payload type")
        self.leg = ViewerLeg(
            self._fanout.store, self._protect_and_send, asyncio.get_running_loop(), payload_type, self._ssrc
        )
        self._rtcp = asyncio.create_task(self._report(), name="live-viewer-rtcp")
        self._fanout.attach(self.leg)

    async def stop(self) -> None:
        """Leaves the fan-out; idempotent."""
        self.transport._unregister_rtp_sender(self)
        if self.leg is not None:
            self._fanout.detach(self.leg)
        if self._rtcp is not None:
            self._rtcp.cancel()
            await asyncio.wait([self._rtcp])
            self._rtcp = None
            await _send_rtcp(self.transport, RtcpByePacket(sources=[self._ssrc]))
        if self._datagrams is not None:
            self._datagrams.close()
            self._datagrams = None

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if self.leg is None:
            return
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            self.leg.nack(packet.lost)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            self.leg.picture_lost()
        elif isinstance(packet, (RtcpRrPacket, RtcpSrPacket)):
            for report in packet.reports:
                if report.ssrc == self._ssrc:
                    self.loss_fraction = report.fraction_lost / 256

    def _direct_path(self) -> DatagramSender | None:
        """The nominated UDP socket itself, or None where packets go through a TURN server."""
        pair = self.transport.transport._connection._nominated.get(1)
        if pair is None or pair.local_candidate.type == "relay":
            return None
        plain: socket.socket | None = pair.protocol.transport.get_extra_info("socket")
        if plain is None:
            return None
        return DatagramSender(plain.fileno(), pair.remote_addr, segmentation=self._segmentation)

    def _protect_and_send(self, packets: list[bytes]) -> int:
        session = self.transport._tx_srtp
        try:
            sealed = [session.protect(packet) for packet in packets]
        except pylibsrtp.Error:
            return len(packets)  # out of SRTP's window: it is lost for good
        if self._datagrams is not None:
            return self._datagrams.send(sealed)
        pair = self.transport.transport._connection._nominated.get(1)
        if pair is not None:
            for datagram in sealed:
                pair.protocol.transport.sendto(datagram, pair.remote_addr)
        return len(packets)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(RTCP_EVERY_S)
            if self.leg is None or not self.leg.flowing:
                continue
            timestamp, packets, octets = self.leg.position()
            info = RtcpSenderInfo(_ntp_now(), timestamp, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
            await _send_rtcp(self.transport, RtcpSrPacket(ssrc=self._ssrc, sender_info=info))


def _ntp_now() -> int:
    seconds = time.time() + _NTP_EPOCH_S
    return int(seconds) << 32 | int((seconds % 1) * (1 << 32))


async def _send_rtcp(transport: RTCDtlsTransport, packet: AnyRtcpPacket) -> None:
    try:
        await transport._send_rtp(bytes(packet))
    except ConnectionError:
        return  # the connection has just ended; its owner is told by its state


class Peer:
    """A connection to one agent or one viewer. `on_end` is called once, when it is closed or lost."""

    def __init__(self, config: LiveConfig, direction: str, on_end: Callable[[], None]) -> None:
        life = timedelta(seconds=config.token_life_s)
        own = with_credentials(config.relay_ice_servers, config.turn_secret, "relay", utc_now(), life)
        servers = _ice_servers(own)
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self.transceiver = self.connection.addTransceiver("video", direction=direction)
        self.transceiver.setCodecPreferences(_h264())
        self._on_end: Callable[[], None] | None = on_end
        self._use_hosts(host_addresses(config.ice_hosts), servers)
        self.connection.on("connectionstatechange", self._state_changed)

    @property
    def connected(self) -> bool:
        """Whether media can flow now."""
        return bool(self.connection.connectionState == "connected")

    async def answer(self, offer: str) -> str:
        """The SDP answer to a checked offer, with all candidates.

        Raises:
            Invalid: `live.sdp_invalid`, `live.no_h264`. The peer is closed then.
        """
        try:
            await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await self.connection.setLocalDescription(await self.connection.createAnswer())
        except OperationError as error:
            await self.close()
            raise Invalid("live.no_h264", "no H.264 with packetization-mode=1 and a baseline profile") from error
        except _SDP_ERRORS as error:
            await self.close()
            raise Invalid("live.sdp_invalid", str(error)[:200]) from error
        return str(self.connection.localDescription.sdp)

    async def close(self) -> None:
        """Ends it without telling `on_end`; idempotent."""
        self._on_end = None
        await self.connection.close()

    def _state_changed(self) -> None:
        if self.connection.connectionState in {"closed", "failed"} and self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end()

    def _use_hosts(self, hosts: list[str], servers: list[RTCIceServer]) -> None:
        ice = self.transceiver.receiver.transport.transport
        connection = HostConnection(hosts, **connection_kwargs(servers))
        ice.iceGatherer._connection = connection
        ice._connection = connection
        ice._recv = connection.recv
        ice._send = connection.send


def publisher_peer(config: LiveConfig, fanout: Fanout, on_end: Callable[[], None]) -> Peer:
    """The hub's end of an agent's WHIP."""
    peer = Peer(config, "recvonly", on_end)
    receiver = ForwardingReceiver(peer.transceiver.receiver.transport, fanout, peer.transceiver.sender._ssrc)
    _replace(peer.transceiver, "receiver", receiver)
    return peer


def viewer_peer(config: LiveConfig, fanout: Fanout, on_end: Callable[[], None]) -> Peer:
    """The hub's end of a viewer's WHEP."""
    peer = Peer(config, "sendonly", on_end)
    sender = ForwardingSender(peer.transceiver.sender.transport, fanout, segmentation=config.segmentation)
    _replace(peer.transceiver, "sender", sender)
    return peer


def _replace(transceiver: RTCRtpTransceiver, part: str, new: RTCRtpReceiver | RTCRtpSender) -> None:
    """aiortc has no way to hand a receiver or sender in; both are read through one private name each."""
    name = f"_RTCRtpTransceiver__{part}"
    if not hasattr(transceiver, name):
        raise RuntimeError("this aiortc is not one that hub.live.peer knows")
    setattr(transceiver, name, new)


def _h264() -> list[Any]:
    """H.264, packetization-mode 1, constrained baseline first; no RTX: what is lost is sent again as it was."""
    found = [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType == "video/H264"]
    return sorted(found, key=lambda codec: codec.parameters.get("profile-level-id") != "42e01f")


def _ice_servers(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    return [RTCIceServer(urls=list(s.urls), username=s.username, credential=s.credential) for s in servers]
