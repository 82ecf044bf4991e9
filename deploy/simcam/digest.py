"""HTTP digest authentication, MD5 (RFC 2617, RFC 7616), for RTSP and HTTP alike."""

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

_PAIR = re.compile(r'([a-zA-Z0-9_-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*(?:,|$)')
MAX_HEADER_CHARS = 4096
MAX_NONCES = 1000


def parse_digest(header: str) -> dict[str, str] | None:
    """The parameters of an `Authorization: Digest …` value, or None when it is not one."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest" or len(header) > MAX_HEADER_CHARS:
        return None
    out: dict[str, str] = {}
    at = 0
    rest = rest.strip()
    while at < len(rest):
        match = _PAIR.match(rest, at)
        if match is None or match[1].lower() in out:
            return None
        value = match[2] if match[2] is not None else match[3]
        out[match[1].lower()] = re.sub(r"\\(.)", r"\1", value)
        at = match.end()
        while at < len(rest) and rest[at] in " \t":
            at += 1
    return out


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # the cameras' protocol; not our choice


class DigestGate:
    """Issues nonces and checks answers. `qop`: offer and accept `qop=auth` with a rising `nc`."""

    def __init__(
        self, realm: str, *, qop: bool, nonce_life_s: float = 600.0, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._realm = realm
        self._qop = qop
        self._life_s = nonce_life_s
        self._steady_s = steady_s
        self._nonces: OrderedDict[str, tuple[float, set[str]]] = OrderedDict()

    def challenge(self, *, stale: bool = False) -> str:
        """A fresh `WWW-Authenticate` value."""
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = (self._steady_s(), set())
        while len(self._nonces) > MAX_NONCES:
            self._nonces.popitem(last=False)
        parts = [f'Digest realm="{self._realm}"', f'nonce="{nonce}"', 'algorithm="MD5"']
        if self._qop:
            parts.append('qop="auth"')
        if stale:
            parts.append("stale=TRUE")
        return ", ".join(parts)

    def refusal(self, header: str, method: str, uri: str, username: str, password: str) -> str:
        """Empty when `header` proves the password for this request; else "missing", "stale" or "wrong"."""
        given = parse_digest(header)
        if given is None:
            return "missing"
        issued = self._nonces.get(given.get("nonce", ""))
        if issued is None or self._steady_s() - issued[0] > self._life_s:
            return "stale"
        if given.get("username") != username or given.get("realm") != self._realm or given.get("uri") != uri:
            return "wrong"
        if given.get("algorithm", "MD5").upper() != "MD5":
            return "wrong"
        if not hmac.compare_digest(
            self._expected(given, method, password).encode(), given.get("response", "").encode()
        ):
            return "wrong"
        return self._replay(given, issued[1])

    def _expected(self, given: dict[str, str], method: str, password: str) -> str:
        secret = _md5(f"{given['username']}:{self._realm}:{password}")
        act = _md5(f"{method}:{given['uri']}")
        if given.get("qop") == "auth":
            middle = f"{given['nonce']}:{given.get('nc', '')}:{given.get('cnonce', '')}:auth"
            return _md5(f"{secret}:{middle}:{act}")
        return _md5(f"{secret}:{given['nonce']}:{act}")

    @staticmethod
    def _replay(given: dict[str, str], seen: set[str]) -> str:
        if given.get("qop") != "auth":
            return ""
        count = f"{given.get('nc', '')}/{given.get('cnonce', '')}"
        if count in seen:
            return "stale"
        seen.add(count)
        return ""
