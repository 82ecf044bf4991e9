"""How requests reach a device: bounded in time and bytes, no proxies, no redirects; answers checked before anyone reads them."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx
from lxml import etree
from zeep.transports import Transport

from edge_agent.errors import AgentError

CONNECT_S = 3.0
READ_S = 5.0
TOTAL_S = 10.0
MAX_ANSWER_BYTES = 1024 * 1024
MAX_DEPTH = 60
SOAP = "http://www.w3.org/2003/05/soap-envelope"
_NOT_AUTHORISED = frozenset({"NotAuthorized", "FailedAuthentication", "InvalidSecurity", "InvalidSecurityToken"})
_HTML = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head)", re.IGNORECASE)
_UNAUTHORISED = re.compile(rb"\b401\b|unauthori[sz]ed|not\s+authori[sz]ed", re.IGNORECASE)


class Refused(Exception):
    """The device wants another proof of the password. `digest_offered`: it asks for HTTP digest."""

    def __init__(self, *, digest_offered: bool) -> None:
        super().__init__("refused")
        self.digest_offered = digest_offered


@dataclass(frozen=True)
class Answer:
    """What zeep needs of a response."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    encoding: str | None = "utf-8"

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


class _Hurried(httpcore.NetworkStream):
    """A connection whose every wait ends with the exchange's deadline: a device that drips bytes cannot hold us."""

    def __init__(self, stream: httpcore.NetworkStream, left_s: Callable[[], float]) -> None:
        self._stream = stream
        self._left_s = left_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left_s = self._left_s()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the exchange took too long")
        return self._stream.read(max_bytes, min(left_s, timeout or left_s))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Opens connections that keep the deadline."""

    def __init__(self, left_s: Callable[[], float]) -> None:
        self._left_s = left_s

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Hurried(super().connect_tcp(*args, **kwargs), self._left_s)


class _Transport(httpx.HTTPTransport):
    """httpx has no total time limit and no way to hand in a backend, so its pool is replaced."""

    def __init__(self, left_s: Callable[[], float]) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore.ConnectionPool(network_backend=_Backend(left_s), max_connections=2)


class DeviceHttp:
    """HTTP to one device, with or without HTTP digest. Use it as a context manager."""

    def __init__(self, login: tuple[str, str] | None = None, read_s: float = READ_S, total_s: float = TOTAL_S) -> None:
        auth = httpx.DigestAuth(*login) if login else None
        timeout = httpx.Timeout(read_s, connect=CONNECT_S)
        # trust_env=False: cameras are on our own network, a proxy set for the outside must not see their passwords.
        headers = {"Accept-Encoding": "identity"}
        self._total_s = total_s
        self._deadline = 0.0
        transport = _Transport(lambda: self._deadline - time.monotonic())
        self._client = httpx.Client(auth=auth, timeout=timeout, trust_env=False, headers=headers, transport=transport)

    def __enter__(self) -> "DeviceHttp":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def fetch(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """One exchange.

        Raises:
            AgentError: onvif.unreachable (no connection, no answer in time), onvif.bad_answer (too large, encoded).
        """
        self._deadline = time.monotonic() + self._total_s
        with _mapped(), self._client.stream(method, url, content=content, headers=dict(headers or {})) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise AgentError("onvif.bad_answer", "compressed without being asked")
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if len(body) > max_bytes:
                    raise AgentError("onvif.bad_answer", f"answer larger than {max_bytes} bytes")
            return Answer(response.status_code, dict(response.headers), bytes(body))


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except (httpx.DecodingError, httpx.RemoteProtocolError, httpx.InvalidURL) as error:
        raise AgentError("onvif.bad_answer", "not HTTP") from error
    except httpx.HTTPError as error:
        raise AgentError("onvif.unreachable", type(error).__name__) from error


class SoapTransport(Transport):  # type: ignore[misc]  # zeep ships no types
    """zeep's transport over `DeviceHttp`."""

    def __init__(self, http: DeviceHttp) -> None:
        super().__init__()
        self._http = http

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> Answer:
        """Sends a SOAP request.

        Raises:
            Refused: 401 in any form.
            AgentError: onvif.unreachable, onvif.bad_answer.
        """
        answer = self._http.fetch("POST", address, message, headers)
        check_soap(answer)
        return answer

    def load(self, url: str) -> bytes:
        """Reads a schema from disk; nothing is ever fetched because a device's answer named it."""
        if url.startswith(("http:", "https:")):
            raise AgentError("onvif.bad_answer", "an answer that points to a schema elsewhere")
        loaded: bytes = super().load(url)
        return loaded


def check_soap(answer: Answer) -> None:
    """Lets only well-formed XML without a document type through; an HTML page is understood (lesson 9).

    Raises:
        Refused: status 401, an HTML page that says so, or a fault that does.
        AgentError: onvif.bad_answer.
    """
    offered = answer.headers.get("www-authenticate", "").strip().lower().startswith("digest")
    if answer.status_code == 401:
        raise Refused(digest_offered=offered)
    if _HTML.match(answer.content[:512]):
        if _UNAUTHORISED.search(answer.content[:8192]):
            raise Refused(digest_offered=offered)
        raise AgentError("onvif.bad_answer", f"an HTML page, status {answer.status_code}")
    fault = parse_xml(answer.content).find(f"{{{SOAP}}}Body/{{{SOAP}}}Fault")
    if fault is not None:
        raise _of_fault(fault, digest_offered=offered)


def _of_fault(fault: Any, *, digest_offered: bool) -> Exception:
    codes = [(value.text or "").rpartition(":")[2].strip() for value in fault.iter(f"{{{SOAP}}}Value")]
    told = " ".join(fault.itertext()).lower()
    if not _NOT_AUTHORISED.isdisjoint(codes) or _UNAUTHORISED.search(told.encode()):
        return Refused(digest_offered=digest_offered)
    return AgentError("onvif.bad_answer", f"fault {' '.join(codes)}"[:200])


def parse_xml(content: bytes) -> Any:
    """The root element. Document types are refused, so there is nothing to expand; depth is bounded.

    Raises:
        AgentError: onvif.bad_answer.
    """
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, recover=False)
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise AgentError("onvif.bad_answer", "not well-formed XML") from error
    if root.getroottree().docinfo.doctype:
        raise AgentError("onvif.bad_answer", "a document type")
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            raise AgentError("onvif.bad_answer", "nested too deep")
    return root
