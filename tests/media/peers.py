"""Real aiortc peers for tests: a publisher that sends given access units, a viewer that keeps what arrives."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.codecs.h264 import h264_depayload
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RtpPacket

from edge_agent.capture.port import EncodedPacket
from hub.live.peer import HostConnection
from tests.media.clips import TIME_BASE, nal_units


async def eventually(condition: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    """Polls until `condition` holds; fails with `what` after the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.01)


def h264_only(pc: RTCPeerConnection) -> None:
    """H.264 alone, without RTX."""
    codecs = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType == "video/H264"]
    for transceiver in pc.getTransceivers():
        transceiver.setCodecPreferences(codecs)


class LossyConnection(HostConnection):
    """Loopback on which chosen SRTP datagrams never arrive. `lose` is asked with the RTP sequence number."""

    def __init__(self, lose: Callable[[int], bool]) -> None:
        super().__init__(["127.0.0.1"])
        self._lose = lose

    def data_received(self, data: bytes, component: int) -> None:
        is_rtp = 127 < data[0] < 192 and not 192 <= data[1] <= 208
        if not (is_rtp and self._lose(int.from_bytes(data[2:4], "big"))):
            super().data_received(data, component)


def on_loopback(pc: RTCPeerConnection, lose: Callable[[int], bool] | None = None) -> None:
    """Gathers on 127.0.0.1 (aioice leaves it out)."""
    ice = pc.getTransceivers()[0].receiver.transport.transport
    connection = LossyConnection(lose) if lose else HostConnection(["127.0.0.1"])
    ice.iceGatherer._connection = connection
    ice._connection, ice._recv, ice._send = connection, connection.recv, connection.send


class AccessUnitTrack(MediaStreamTrack):
    """Gives access units to aiortc's own sender, which packetises without encoding."""

    kind = "video"

    def __init__(self, units: Sequence[EncodedPacket], fps: float = 25.0, *, loop: bool = True) -> None:
        super().__init__()
        self.sent: list[EncodedPacket] = []
        self._units = self._endless(units) if loop else iter(units)
        self._step_s = 1 / fps
        self._next_at = 0.0
        self._pts = 0

    @staticmethod
    def _endless(units: Sequence[EncodedPacket]) -> Iterator[EncodedPacket]:
        while True:
            yield from units

    async def recv(self) -> Any:
        unit = next(self._units, None)
        if unit is None:
            await asyncio.Event().wait()
            raise MediaStreamError
        now = time.monotonic()
        self._next_at = max(self._next_at + self._step_s, now - 0.2) if self._next_at else now
        await asyncio.sleep(max(0.0, self._next_at - now))
        self.sent.append(unit)
        packet = av.Packet(unit.data)
        packet.pts, packet.time_base = self._pts, TIME_BASE
        self._pts += int(90_000 * self._step_s)
        return packet


@dataclass
class Received:
    """What a viewer got, in order of arrival."""

    packets: list[RtpPacket] = field(default_factory=list)
    first_at: float | None = None

    def frames(self) -> list[tuple[int, list[bytes]]]:
        """(timestamp, NAL units) of each complete frame, sorted by sequence number; duplicates left out."""
        if not self.packets:
            return []
        first = self.packets[0].sequence_number
        ordered = {((p.sequence_number - first + 0x8000) & 0xFFFF) - 0x8000: p for p in self.packets}
        frames: list[tuple[int, list[bytes]]] = []
        data, last = b"", min(ordered) - 1
        whole = True
        for place in sorted(ordered):
            packet = ordered[place]
            whole = whole and place == last + 1
            last = place
            data += h264_depayload(packet.payload)
            if packet.marker:
                if whole:
                    frames.append((packet.timestamp, nal_units(data)))
                data, whole = b"", True
        return frames


class KeepingReceiver(RTCRtpReceiver):
    """Keeps RTP packets instead of decoding, and asks for those that are missing."""

    def __init__(self, transport: Any, received: Received) -> None:
        super().__init__("video", transport)
        self._received = received
        self._nack = NackGenerator()

    async def receive(self, parameters: Any) -> None:
        self.transport._register_rtp_receiver(self, parameters)

    async def stop(self) -> None:
        self.transport._unregister_rtp_receiver(self)

    def _handle_disconnect(self) -> None:
        return None

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        if self._nack.add(packet):
            await self._send_rtcp_nack(packet.ssrc, sorted(self._nack.missing))
        if self._received.first_at is None:
            self._received.first_at = time.monotonic()
        self._received.packets.append(packet)


async def viewer_offer(received: Received, lose: Callable[[int], bool] | None = None) -> tuple[RTCPeerConnection, str]:
    """A receiving peer and its offer."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = pc.addTransceiver("video", direction="recvonly")
    h264_only(pc)
    on_loopback(pc, lose)
    receiver = KeepingReceiver(transceiver.receiver.transport, received)
    receiver._set_rtcp_ssrc(transceiver.sender._ssrc)
    transceiver._RTCRtpTransceiver__receiver = receiver  # type: ignore[attr-defined]
    await pc.setLocalDescription(await pc.createOffer())
    return pc, pc.localDescription.sdp


async def publisher_offer(track: MediaStreamTrack) -> tuple[RTCPeerConnection, str]:
    """A sending peer (aiortc's own packet path) and its offer."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver(track, direction="sendonly")
    h264_only(pc)
    on_loopback(pc)
    await pc.setLocalDescription(await pc.createOffer())
    return pc, pc.localDescription.sdp


async def accept(pc: RTCPeerConnection, answer: str) -> None:
    """Takes the answer."""
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
