"""Short-lived tokens the hub gives and takes back itself: HMAC-SHA-256 over a small JSON claim.

Used where a header cannot be set (`<video src>`, `<img src>`) and between hub and relay. A token names its `use`,
so that one for a picture opens no clip.
"""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any

from hub.errors import Forbidden
from hub.kit.canonical import canonical_json
from hub.kit.clock import Clock, utc_now


class TokenSigner:
    """Mints and checks tokens with one secret (32 bytes or more)."""

    def __init__(self, secret: bytes, clock: Clock = utc_now) -> None:
        self._secret = secret
        self._clock = clock

    def mint(self, use: str, claims: dict[str, Any], life: timedelta) -> tuple[str, datetime]:
        """A token for `use` with `claims`, and when it ends."""
        expires_at = self._clock() + life
        body = canonical_json({"use": use, "exp": int(expires_at.timestamp()), **claims})
        mac = hmac.digest(self._secret, body, hashlib.sha256)
        return f"{_text(body)}.{_text(mac)}", expires_at

    def check(self, use: str, token: str) -> dict[str, Any]:
        """The claims of a good token.

        Raises:
            Forbidden: `token.invalid` (not ours, or for another use) or `token.expired`.
        """
        body, _, mac = token.partition(".")
        try:
            raw, given = _bytes(body), _bytes(mac)
        except ValueError as error:
            raise Forbidden("token.invalid") from error
        if not hmac.compare_digest(hmac.digest(self._secret, raw, hashlib.sha256), given):
            raise Forbidden("token.invalid")
        claims: dict[str, Any] = json.loads(raw)
        if claims.get("use") != use:
            raise Forbidden("token.invalid")
        if self._clock().timestamp() >= claims["exp"]:
            raise Forbidden("token.expired")
        return claims


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
