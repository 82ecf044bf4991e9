"""The few kinds of error the hub knows. `code` is stable and is the page's i18n key; `detail` is for developers.

Foreign errors are mapped to these once, in the adapter that meets them. `hub.web.problem` renders them as
RFC 9457 bodies.
"""

from typing import Any


class HubError(Exception):
    """Base: a refusal with a stable dotted `code` and an HTTP-independent kind."""

    status = 500

    def __init__(self, code: str, detail: str = "", **extra: Any) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.extra = extra


class Invalid(HubError):
    """What was sent cannot be understood or is out of range."""

    status = 422


class NotFound(HubError):
    """There is no such thing, or none that the asker may know of."""

    status = 404


class Conflict(HubError):
    """Right in itself, but not in the present state."""

    status = 409


class Unauthenticated(HubError):
    """Nobody is signed in, or the proof is wrong."""

    status = 401


class Forbidden(HubError):
    """Signed in, but not allowed: `code` says what is missing."""

    status = 403


class TooMany(HubError):
    """Rate limited; `extra["retry_after_s"]` says how long."""

    status = 429


class Unavailable(HubError):
    """A server or an agent that is needed does not answer now."""

    status = 503
