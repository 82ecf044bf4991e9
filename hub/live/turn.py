"""Short-lived TURN credentials, so that no viewer and no agent ever holds a lasting one.

draft-uberti-behave-turn-rest-00, as coturn's `use-auth-secret` and eturnal read it: the user name says when it ends, the password
is base64(HMAC-SHA1(shared secret, user name)). SHA-1 is the draft's choice; HMAC does not hang on its collisions.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta

from models.wire.downlink import IceServer

SCHEMES = ("turn:", "turns:")


def needs_credentials(server: IceServer) -> bool:
    """Whether it is a TURN server named without a user."""
    return server.username is None and any(url.startswith(SCHEMES) for url in server.urls)


def credentials(secret: str, name: str, expires_at: datetime) -> tuple[str, str]:
    """User name and password for `name` until `expires_at` (whole seconds)."""
    username = f"{int(expires_at.timestamp())}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def with_credentials(
    servers: Iterable[IceServer], secret: str, name: str, now: datetime, life: timedelta
) -> list[IceServer]:
    """`servers`, each TURN server without a user given one of its own for `life`. Without a secret they stay as they are."""
    if not secret:
        return list(servers)
    username, credential = credentials(secret, name, now + life)
    return [
        IceServer(urls=server.urls, username=username, credential=credential) if needs_credentials(server) else server
        for server in servers
    ]
