"""Viewers in a process: they connect as any WebRTC client, then only count. Part of `tests.bench.live`."""

import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket

from tests.media.peers import h264_only, on_loopback

REPORT_S = 1.0


@dataclass
class Count:
    """What arrived since the last report."""

    packets: int = 0
    first_at: float | None = None
    since: float = field(default_factory=time.monotonic)
    ssrc: int = 0
    highest: int | None = None
    missing: int = 0

    def took(self, data: bytes) -> None:
        if self.first_at is None:
            self.first_at = time.monotonic()
            self.ssrc = int.from_bytes(data[8:12], "big")
        self.packets += 1
        sequence = int.from_bytes(data[2:4], "big")
        if self.highest is not None:
            step = ((sequence - self.highest + 0x8000) & 0xFFFF) - 0x8000
            if step <= 0:
                self.missing -= 1
                return
            self.missing += step - 1
        self.highest = sequence

    def reset(self) -> tuple[float, int]:
        now = time.monotonic()
        rate, missing = self.packets / (now - self.since), self.missing
        self.packets, self.since, self.missing = 0, now, 0
        return rate, missing


class ReportingReceiver(RTCRtpReceiver):
    """Sends receiver reports; decodes nothing."""

    def __init__(self, transport: Any, count: Count) -> None:
        super().__init__("video", transport)
        self._count = count
        self._task: asyncio.Task[None] | None = None

    async def receive(self, parameters: Any) -> None:
        self._task = asyncio.create_task(self._report())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _handle_disconnect(self) -> None:
        return None

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            info = RtcpReceiverInfo(self._count.ssrc, 0, 0, self._count.highest or 0, 0, 0, 0)
            await self._send_rtcp(RtcpRrPacket(ssrc=1, reports=[info]))


async def watch(client: httpx.AsyncClient, url: str) -> tuple[RTCPeerConnection, Count, float]:
    """Connects one viewer; answers when its first packet has come, with the ms that took."""
    pc, count = RTCPeerConnection(RTCConfiguration(iceServers=[])), Count()
    transceiver = pc.addTransceiver("video", direction="recvonly")
    h264_only(pc)
    on_loopback(pc)
    transceiver._RTCRtpTransceiver__receiver = ReportingReceiver(  # type: ignore[attr-defined]
        transceiver.receiver.transport, count
    )
    await pc.setLocalDescription(await pc.createOffer())
    drop_rtp(pc, count)
    began = time.monotonic()
    response = await client.post(f"{url}/whep", content=pc.localDescription.sdp)
    assert response.status_code == 201, response.text
    await pc.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
    while count.first_at is None:
        await asyncio.sleep(0.005)
        assert time.monotonic() - began < 15, "no packet came"
    return pc, count, (count.first_at - began) * 1000


def drop_rtp(pc: RTCPeerConnection, count: Count) -> None:
    """RTP datagrams are counted and dropped before anybody looks into them."""
    for protocol in pc.getTransceivers()[0].receiver.transport.transport._connection._protocols:
        goes_on = protocol.datagram_received

        def received(data: bytes, address: Any, goes_on: Any = goes_on) -> None:
            if 127 < data[0] < 192 and not 192 <= data[1] <= 208:
                count.took(data)
            else:
                goes_on(data, address)

        setattr(protocol, "datagram_received", received)  # noqa: B010  mypy knows methods cannot be assigned


async def main() -> None:
    """Watches with as many as asked; each line on the input makes one report."""
    url, viewers = sys.argv[1], int(sys.argv[2])
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        watching = [await watch(client, url) for _ in range(viewers)]
    print(json.dumps({"first_packet_ms": [ms for _, _, ms in watching]}), flush=True)

    def report() -> None:
        if not sys.stdin.readline():
            loop.remove_reader(sys.stdin.fileno())
            return
        rates, missing = zip(*(count.reset() for _, count, _ in watching), strict=True)
        print(json.dumps({"packets_per_s": rates, "missing": missing}), flush=True)

    loop.add_reader(sys.stdin.fileno(), report)
    await ended.wait()
    for pc, _, _ in watching:
        await pc.close()


if __name__ == "__main__":
    asyncio.run(main())
