"""WS-Security UsernameToken (OASIS profile 1.1) as ONVIF devices check it: digest or text, freshness, no replay."""

import base64
import hashlib
import hmac
from collections import OrderedDict
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

MAX_AGE_S = 60.0
MAX_NONCES = 2000
DIGEST_TYPE = "#PasswordDigest"


class TokenGate:
    """Checks tokens against the camera's own clock; `text_only` for devices that know no digest."""

    def __init__(self, *, text_only: bool = False) -> None:
        self._text_only = text_only
        self._seen: OrderedDict[str, None] = OrderedDict()

    def refusal(self, header: Element | None, username: str, password: str, now: datetime) -> str:
        """Empty when the header proves the password; else "missing", "stale", "replayed" or "wrong"."""
        token = None if header is None else header.find(".//{*}UsernameToken")
        if token is None:
            return "missing"
        given = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in token}
        shown = token.find("{*}Password")
        if shown is None or given.get("Username") != username:
            return "wrong"
        if not shown.get("Type", "").endswith(DIGEST_TYPE):
            right = self._text_only and hmac.compare_digest(given["Password"].encode(), password.encode())
            return "" if right else "wrong"
        return "wrong" if self._text_only else self._digest_refusal(given, password, now)

    def _digest_refusal(self, given: dict[str, str], password: str, now: datetime) -> str:
        try:
            nonce = base64.b64decode(given["Nonce"], validate=True)
            created = datetime.fromisoformat(given["Created"])
        except (KeyError, ValueError):
            return "wrong"
        proof = hashlib.sha1(nonce + given["Created"].encode() + password.encode(), usedforsecurity=False).digest()
        if not hmac.compare_digest(base64.b64encode(proof), given["Password"].encode()):
            return "wrong"
        created = created if created.tzinfo else created.replace(tzinfo=UTC)
        if abs((now - created).total_seconds()) > MAX_AGE_S:
            return "stale"
        if given["Nonce"] in self._seen:
            return "replayed"
        self._seen[given["Nonce"]] = None
        while len(self._seen) > MAX_NONCES:
            self._seen.popitem(last=False)
        return ""
