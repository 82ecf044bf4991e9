"""RTSP 1.0 requests and interleaved frames out of a byte stream (RFC 2326 §6, §10.12); no input or output here.

Strict on purpose: what a client sends is hostile until proven a request.
"""

import re
from dataclasses import dataclass, field

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 64
MAX_BODY_BYTES = 64 * 1024
METHODS = frozenset({"OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_URL = re.compile(r"\*|rtsp://[\x21-\x7e]{1,2000}")
_SINGLE = frozenset({"cseq", "session", "authorization", "content-length", "transport"})


class BadRequest(Exception):
    """The stream cannot be followed any further; `status` is what to answer before closing."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class InterleavedFrame:
    """A binary frame from the client: its RTCP reports."""

    channel: int
    data: bytes


class RtspParser:
    """Feed bytes, take messages. After `BadRequest` the parser is of no further use."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Request | InterleavedFrame]:
        """All messages complete by now.

        Raises:
            BadRequest: 400, 413, 414 or 505, when what came is not RTSP or too large.
        """
        self._buffer += data
        out: list[Request | InterleavedFrame] = []
        while (message := self._next()) is not None:
            out.append(message)
        return out

    def _next(self) -> Request | InterleavedFrame | None:
        while self._buffer[:2] == b"\r\n":  # empty lines between messages are ignored (RFC 2326 §4.1)
            del self._buffer[:2]
        if not self._buffer:
            return None
        return self._frame() if self._buffer[0] == 0x24 else self._request()

    def _frame(self) -> InterleavedFrame | None:
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < 4 + size:
            return None
        frame = InterleavedFrame(self._buffer[1], bytes(self._buffer[4 : 4 + size]))
        del self._buffer[: 4 + size]
        return frame

    def _request(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadRequest(413, "head too large")
            return None
        if end > MAX_HEAD_BYTES:
            raise BadRequest(413, "head too large")
        method, url, headers = _parse_head(bytes(self._buffer[:end]))
        size = _body_size(headers)
        total = end + 4 + size
        if len(self._buffer) < total:
            return None
        body = bytes(self._buffer[end + 4 : total])
        del self._buffer[:total]
        return Request(method, url, headers, body)


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(400, "head is not text") from error
    lines = text.split("\r\n")
    if any(ord(char) < 0x20 and char != "\t" for line in lines for char in line) or "\x7f" in text:
        raise BadRequest(400, "control character in head")
    if len(lines) - 1 > MAX_HEADERS:
        raise BadRequest(413, "too many headers")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]):
        raise BadRequest(400, "not a request line")
    if not parts[2].startswith("RTSP/"):
        raise BadRequest(400, "not RTSP")
    if parts[2] != "RTSP/1.0":
        raise BadRequest(505, "RTSP version not supported")
    if not _URL.fullmatch(parts[1]):
        raise BadRequest(414 if len(parts[1]) > 2000 else 400, "not an RTSP URL")
    return parts[0], parts[1], _parse_headers(lines[1:])


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not _TOKEN.fullmatch(name):  # folded lines (they begin with a space) are refused here too
            raise BadRequest(400, "not a header")
        if key in headers and key in _SINGLE:
            raise BadRequest(400, f"{key} given twice")
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return headers


def _body_size(headers: dict[str, str]) -> int:
    given = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise BadRequest(400, "content-length is not a number")
    if int(given) > MAX_BODY_BYTES:
        raise BadRequest(413, "body too large")
    return int(given)
