"""An RTSP 1.0 server (RFC 2326) for one camera: TCP interleaved only, digest authentication, many clients per mount."""

import asyncio
import base64
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from deploy.simcam.clips import EncodedClip
from deploy.simcam.digest import DigestGate
from deploy.simcam.mount import Mount, SentFrame, Subscription
from deploy.simcam.rtp import PAYLOAD_TYPE, interleaved
from deploy.simcam.rtsp_parser import METHODS, BadRequest, Request, RtspParser

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    505: "RTSP Version Not Supported",
}
SESSION_TIMEOUT_S = 60
UNREAD_S = 30  # a client that does not take its bytes for so long is gone
MAX_CONNECTIONS = 64
MAX_REFUSED_LOGINS = 10
TRACK = "trackID=0"


@dataclass
class Link:
    """What the network between camera and clients is like now."""

    bits_per_s: float | None = None
    delay_s: float = 0.0


@dataclass(frozen=True)
class Response:
    """An answer before it is written."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self, cseq: str) -> bytes:
        """As bytes."""
        lines = [f"RTSP/1.0 {self.status} {REASONS[self.status]}", f"CSeq: {cseq}", "Server: qianshao-simcam"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class RtspServer:
    """Listens while started. `credentials` is asked at each request, so a changed password counts at once."""

    def __init__(self, mounts: dict[str, Mount], credentials: Callable[[], tuple[str, str]], link: Link) -> None:
        self.mounts = mounts
        self.link = link
        self.credentials = credentials
        self.gate = DigestGate("simcam", qop=False)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def listening(self) -> bool:
        """Whether the port is open."""
        return self._server is not None

    async def start(self, sock: socket.socket) -> None:
        """Accepts connections on a bound socket."""
        self._server = await asyncio.start_server(self._accept, sock=sock)

    async def stop(self) -> None:
        """Closes the port and every connection at once."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.close_connections()
        if self._serving:
            await asyncio.wait(self._serving, timeout=2.0)

    def close_connections(self) -> None:
        """Breaks every connection, as a lost network would."""
        for connection in list(self._connections):
            connection.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.write(Response(453).encode("0"))
            writer.close()
            return
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await connection.serve()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._connections.discard(connection)
            self._serving.discard(task)
            connection.close()


class _Connection:
    """One client. It has at most one session."""

    def __init__(self, server: RtspServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._session = ""
        self._mount: Mount | None = None
        self._channel = 0
        self._sender: asyncio.Task[None] | None = None
        self._refused = 0
        writer.transport.set_write_buffer_limits(high=256 * 1024)

    def abort(self) -> None:
        """Ends without a goodbye."""
        self._stop_sending()
        self._writer.transport.abort()

    def close(self) -> None:
        """Ends after what is written."""
        self._stop_sending()
        self._writer.close()

    async def serve(self) -> None:
        """Answers requests until the client goes, is silent for too long or sends what is not RTSP."""
        parser = RtspParser()
        while True:
            async with asyncio.timeout(SESSION_TIMEOUT_S * 1.5):
                data = await self._reader.read(16 * 1024)
            if not data:
                return
            try:
                messages = parser.feed(data)
            except BadRequest as error:
                self._writer.write(Response(error.status, {"Connection": "close"}).encode("0"))
                return
            for message in messages:
                if isinstance(message, Request) and not self._reply(message):
                    return
            await self._drain()

    def _reply(self, request: Request) -> bool:
        response = self._answer(request)
        cseq = request.headers.get("cseq", "0")
        self._writer.write(response.encode(cseq if cseq.isdecimal() and len(cseq) < 12 else "0"))
        if response.status == 200 and request.method == "PLAY":
            self._start_sending()  # after the answer is in the buffer, so that it comes first
        self._refused += response.status == 401
        return self._refused <= MAX_REFUSED_LOGINS and request.method != "TEARDOWN"

    def _answer(self, request: Request) -> Response:
        if not request.headers.get("cseq", "").isdecimal():
            return Response(400)
        if request.method not in METHODS:
            return Response(501)
        if request.method == "OPTIONS":
            return Response(200, {"Public": ", ".join(sorted(METHODS - {"SET_PARAMETER"}))})
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.method in {"DESCRIBE", "SETUP"}:
            mount = self._find(request.url)
            if mount is None:
                return Response(404)
            return self._describe(request, mount) if request.method == "DESCRIBE" else self._setup(request, mount)
        return self._in_session(request)

    def _refusal(self, request: Request) -> Response | None:
        user, password = self._server.credentials()
        given = request.headers.get("authorization", "")
        why = self._server.gate.refusal(given, request.method, request.url, user, password)
        if not why:
            return None
        return Response(401, {"WWW-Authenticate": self._server.gate.challenge(stale=why == "stale" and bool(given))})

    def _find(self, url: str) -> Mount | None:
        path = urlsplit(url).path.strip("/")
        return self._server.mounts.get(path.removesuffix(TRACK).rstrip("/"))

    def _describe(self, request: Request, mount: Mount) -> Response:
        body = session_description(mount.shown, float(mount.declared_fps), self._writer.get_extra_info("sockname")[0])
        base = request.url if request.url.endswith("/") else request.url + "/"
        return Response(200, {"Content-Type": "application/sdp", "Content-Base": base}, body)

    def _setup(self, request: Request, mount: Mount) -> Response:
        if self._sender is not None:
            return Response(455)
        channels = interleaved_channels(request.headers.get("transport", ""))
        if channels is None:
            return Response(461)
        self._mount, self._channel = mount, channels[0]
        self._session = self._session or secrets.token_hex(8)
        transport = f'RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]};mode="PLAY"'
        return Response(200, {"Transport": transport, "Session": f"{self._session};timeout={SESSION_TIMEOUT_S}"})

    def _in_session(self, request: Request) -> Response:
        named = request.headers.get("session", "").split(";")[0].strip()
        if request.method == "GET_PARAMETER" and not named:
            return Response(200)
        if self._mount is None or named != self._session:
            return Response(454)
        headers = {"Session": self._session}
        if request.method == "PLAY":
            return Response(200, headers | {"Range": "npt=now-"})
        if request.method in {"PAUSE", "TEARDOWN"}:
            self._stop_sending()
            if request.method == "TEARDOWN":
                self._mount, self._session = None, ""
            return Response(200, headers)
        return Response(200, headers) if request.method == "GET_PARAMETER" else Response(501)

    def _start_sending(self) -> None:
        if self._sender is None and self._mount is not None:
            subscription = self._mount.subscribe()
            self._sender = asyncio.create_task(self._send(self._mount, subscription), name="rtsp-sender")

    def _stop_sending(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None

    async def _send(self, mount: Mount, subscription: Subscription) -> None:
        try:
            while True:
                await subscription.wake.wait()
                subscription.wake.clear()
                while subscription.queue:
                    await self._send_frame(subscription.queue.popleft())
        except (ConnectionError, TimeoutError):
            self._writer.transport.abort()
        finally:
            mount.unsubscribe(subscription)

    async def _send_frame(self, frame: SentFrame) -> None:
        link = self._server.link
        if link.delay_s > 0:
            await asyncio.sleep(max(0.0, frame.at_s + link.delay_s - asyncio.get_running_loop().time()))
        packets = [interleaved(self._channel + 1, frame.report)] if frame.report else []
        packets += [interleaved(self._channel, packet) for packet in frame.packets]
        for piece in packets if link.bits_per_s else [b"".join(packets)]:
            self._writer.write(piece)
            await self._drain()
            if link.bits_per_s:
                await asyncio.sleep(len(piece) * 8 / link.bits_per_s)

    async def _drain(self) -> None:
        async with asyncio.timeout(UNREAD_S):
            await self._writer.drain()


def interleaved_channels(transport: str) -> tuple[int, int] | None:
    """RTP and RTCP channel of the first acceptable alternative of a `Transport` header, or None (→ 461)."""
    for alternative in transport.split(","):
        parts = [part.strip() for part in alternative.split(";")]
        if parts[0].upper() != "RTP/AVP/TCP" or any(
            part.lower().startswith("mode") and "play" not in part.lower() for part in parts
        ):
            continue
        given = next((part[len("interleaved=") :] for part in parts if part.lower().startswith("interleaved=")), "0-1")
        numbers = given.split("-")
        if len(numbers) <= 2 and all(number.isdecimal() and len(number) <= 3 for number in numbers):
            rtp = int(numbers[0])
            rtcp = int(numbers[1]) if len(numbers) == 2 else rtp + 1
            if rtp + 1 == rtcp <= 255:
                return rtp, rtcp
    return None


def session_description(clip: EncodedClip, declared_fps: float, address: str) -> bytes:
    """The SDP of a mount (RFC 4566; H.264 parameters after RFC 6184 §8.2.1)."""
    sets = ",".join(base64.b64encode(nal).decode() for nal in (clip.sps, clip.pps))
    lines: Iterable[str] = (
        "v=0",
        f"o=- 1 1 IN IP4 {address}",
        "s=simcam",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/90000",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={clip.sps[1:4].hex().upper()};sprop-parameter-sets={sets}",
        f"a=framerate:{declared_fps:g}",
        f"a=control:{TRACK}",
    )
    return "\r\n".join(lines).encode() + b"\r\n"
