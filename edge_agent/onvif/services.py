"""Calling ONVIF services with the WSDLs and service table of onvif-zeep, and proving the password the way the device takes it.

onvif-zeep's own camera class is not used: its constructor opens a pull point on the device and removes the proxies from
the process's environment, and its token is signed with a naive clock. Its WSDLs and its table of bindings are.
"""

import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zeep
import zeep.exceptions
from zeep.wsa import WsAddressingPlugin
from zeep.wsdl import Document
from zeep.wsse.username import UsernameToken

from edge_agent.errors import AgentError
from edge_agent.onvif.transport import READ_S, TOTAL_S, DeviceHttp, Refused, SoapTransport

EVENTS = "http://www.onvif.org/ver10/events/wsdl"
SUBSCRIPTION_BINDING = f"{{{EVENTS}}}SubscriptionManagerBinding"
WS_DIGEST = "ws_digest"
WS_TEXT = "ws_text"
HTTP_DIGEST = "http_digest"
_SETTINGS = zeep.Settings(
    strict=False, xml_huge_tree=False, forbid_dtd=True, forbid_entities=True, forbid_external=True
)
_reading = threading.Lock()


def _service_table() -> tuple[Path, dict[str, dict[str, str]]]:
    """onvif-zeep's WSDL folder and bindings. Importing it configures the root logger; that is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    import onvif
    from onvif.definition import SERVICES

    root.handlers[:] = handlers
    root.setLevel(level)
    return Path(onvif.__file__).parent.parent / "wsdl", SERVICES


@functools.cache
def _document(file: str) -> Document:
    folder, _ = _service_table()
    return Document(str(folder / file), zeep.Transport(), settings=_SETTINGS)


def _binding(service: str) -> tuple[Document, str]:
    """The read WSDL of a service (once per process: it takes half a second) and the name of its binding."""
    with _reading:
        entry = _service_table()[1][service]
        return _document(entry["wsdl"]), f"{{{entry['ns']}}}{entry['binding']}"


@dataclass(frozen=True)
class Login:
    """User and password. `mode` is how they are shown; "" for calls that need none."""

    username: str
    password: str = field(repr=False)
    mode: str = WS_DIGEST


class _DeviceTimeToken(UsernameToken):  # type: ignore[misc]  # zeep ships no types
    """A token dated by the device's clock: a camera that lives in 2016 takes it, too (lesson 7)."""

    def __init__(self, login: Login, offset: timedelta) -> None:
        super().__init__(login.username, login.password, use_digest=login.mode == WS_DIGEST, zulu_timestamp=True)
        self._offset = offset

    def apply(self, envelope: Any, headers: Any) -> Any:
        """Called by zeep for each request."""
        self.created = datetime.now(UTC) + self._offset
        return super().apply(envelope, headers)


class Caller:
    """Calls of one device. Not for several threads at once."""

    def __init__(self, login: Login | None, offset: timedelta, read_s: float = READ_S) -> None:
        self._login = login
        self._offset = offset
        self._read_s = read_s

    @property
    def mode(self) -> str:
        """How the password was last shown."""
        return self._login.mode if self._login else ""

    def call(self, service: str, url: str, operation: str, /, **arguments: Any) -> Any:
        """One operation; zeep's value of its answer.

        Raises:
            AgentError: onvif.unreachable, onvif.auth_failed, onvif.bad_answer.
        """
        document, binding = _binding(service)
        return self._climb(lambda login: self._once(login, document, binding, url, operation, arguments, raw=False))

    def call_raw(self, service: str, url: str, operation: str, binding: str = "", /, **arguments: Any) -> bytes:
        """One operation; the answer's XML, for what zeep drops (topics)."""
        document, own = _binding(service)
        name = binding or own
        answer = self._climb(lambda login: self._once(login, document, name, url, operation, arguments, raw=True))
        content: bytes = answer.content
        return content

    def _climb(self, act: Callable[[Login | None], Any]) -> Any:
        """The ladder of lesson 9. The clear-text token comes last when the device itself offers HTTP digest."""
        tried: list[str] = []
        login, offered = self._login, False
        while True:
            try:
                result = act(login)
            except Refused as refused:
                if login is None:
                    raise AgentError("onvif.auth_failed", "refused without a login") from refused
                tried.append(login.mode)
                offered |= refused.digest_offered
                order = (WS_DIGEST, HTTP_DIGEST, WS_TEXT) if offered else (WS_DIGEST, WS_TEXT, HTTP_DIGEST)
                following = next((mode for mode in order if mode not in tried), None)
                if following is None:
                    raise AgentError("onvif.auth_failed", "refused in every way") from refused
                login = Login(login.username, login.password, following)
            else:
                self._login = login
                return result

    def _once(
        self,
        login: Login | None,
        document: Document,
        binding: str,
        url: str,
        operation: str,
        arguments: dict[str, Any],
        *,
        raw: bool,
    ) -> Any:
        in_header = login is not None and login.mode != HTTP_DIGEST
        pair = (login.username, login.password) if login is not None and login.mode == HTTP_DIGEST else None
        with DeviceHttp(pair, self._read_s, TOTAL_S + self._read_s - READ_S) as http:
            token = _DeviceTimeToken(login, self._offset) if in_header and login is not None else None
            plugins = [WsAddressingPlugin()] if document is _document("events.wsdl") else []
            client = zeep.Client(
                document, wsse=token, transport=SoapTransport(http), settings=_SETTINGS, plugins=plugins
            )
            try:
                with client.settings(raw_response=raw):
                    answer = client.create_service(binding, url)[operation](**arguments)
            except (zeep.exceptions.Error, ValueError, TypeError, AttributeError, LookupError) as error:
                # zeep raises any of these on XML that is well-formed and wrong
                raise AgentError("onvif.bad_answer", f"{operation}: {type(error).__name__}") from error
            return answer
