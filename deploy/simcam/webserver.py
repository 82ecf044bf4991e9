"""A small HTTP/1.1 server on asyncio, for the cameras' ONVIF services and the site's control; strict and bounded."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 256 * 1024
MAX_CONNECTIONS = 64
IDLE_S = 75.0
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")


@dataclass(frozen=True)
class WebRequest:
    """A request; header names in lower case. `address`: host:port the client connected to."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    address: str

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class WebResponse:
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False

    def encode(self) -> bytes:
        """As bytes."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", f"Content-Length: {len(self.body)}"]
        lines += [f"Content-Type: {self.content_type}", f"Connection: {'close' if self.close else 'keep-alive'}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


Handler = Callable[[WebRequest], Awaitable[WebResponse]]


class _Refused(Exception):
    """What came is not a request we take."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class WebServer:
    """Listens while started; one handler for all paths."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def listening(self) -> bool:
        """Whether the port is open."""
        return self._server is not None

    async def start(self, sock: socket.socket) -> None:
        """Accepts connections on a bound socket."""
        self._server = await asyncio.start_server(self._accept, sock=sock, limit=MAX_HEAD_BYTES)

    async def stop(self) -> None:
        """Closes the port, breaks connections and ends long polls."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._serving.values():
            writer.transport.abort()
        if self._serving:
            await asyncio.wait(list(self._serving), timeout=2.0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._serving) >= MAX_CONNECTIONS:
            writer.write(WebResponse(503, close=True).encode())
            writer.close()
            return
        self._serving[task] = writer
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            del self._serving[task]
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("sockname")[:2]
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    request = await _read_request(reader, f"{host}:{port}")
            except _Refused as error:
                writer.write(WebResponse(error.status, close=True).encode())
                await writer.drain()
                return
            if request is None:
                return
            response = await self._handler(request)
            writer.write(response.encode())
            await writer.drain()
            if response.close or request.headers.get("connection", "").lower() == "close":
                return


async def _read_request(reader: asyncio.StreamReader, address: str) -> WebRequest | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise _Refused(431) from error
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise _Refused(400) from error
        return None
    method, target, headers = parse_head(head[:-4])
    return WebRequest(method, target, headers, await _read_body(reader, headers), address)


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers of a request head without its final empty line.

    Raises:
        _Refused: not HTTP/1.x, or a header that is none.
    """
    text = head.decode("latin-1")
    lines = text.split("\r\n")
    parts = lines[0].split(" ")
    if (
        len(parts) != 3
        or not _TOKEN.fullmatch(parts[0])
        or parts[2] not in {"HTTP/1.0", "HTTP/1.1"}
        or len(lines) > 100
    ):
        raise _Refused(400)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not _TOKEN.fullmatch(name) or re.search(r"[\x00-\x08\x0a-\x1f]", value):
            raise _Refused(400)
        if key in headers and key in {"content-length", "authorization", "host", "transfer-encoding"}:
            raise _Refused(400)
        headers[key] = value.strip()
    return parts[0], parts[1], headers


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise _Refused(501)
    given = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise _Refused(400)
    if int(given) > MAX_BODY_BYTES:
        raise _Refused(413)
    return await reader.readexactly(int(given))
