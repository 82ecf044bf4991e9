"""How a route says who may call it. Every route carries exactly one guard; a test walks all routes.

    @router.get("/x", dependencies=[...])                       # not like this
    async def x(who: Annotated[Principal, Depends(requires(Permission.SEARCH))], ...)   # like this
    router.add_api_route(..., dependencies=[Depends(open_to(Permission.PUBLIC))])       # no principal

Footage permissions (`hub.identity.model.FOOTAGE`) also need a purpose in the session that opens them. Unsafe methods need the
session's CSRF token in `X-CSRF-Token`. The guard denies with a ledger row where footage was asked for.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from hub.context import Context, get_context
from hub.errors import Forbidden, Unauthenticated
from hub.identity.model import FOOTAGE, Permission, Principal
from hub.identity.service import principal_of, record_denial

SESSION_COOKIE = "qs_session"
CSRF_HEADER = "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

PERMISSION_ATTRIBUTE = "__qianshao_permission__"

WITHOUT_SESSION = frozenset({Permission.PUBLIC, Permission.MEDIA_TOKEN, Permission.LIVE_TOKEN, Permission.AGENT})


def requires(permission: Permission) -> Callable[..., Awaitable[Principal]]:
    """A dependency that lets in a signed-in person whose role grants `permission`, and answers who it is.

    Raises (through the problem handler): 401 `session.missing`, 403 `csrf.invalid`, 403 `permission.missing`,
    403 `purpose.missing`, 403 `purpose.incident_needed`, 403 `purpose.not_allowed`.
    """

    async def guard(request: Request, context: Annotated[Context, Depends(get_context)]) -> Principal:
        cookie = request.cookies.get(SESSION_COOKIE, "")
        async with context.db.transaction() as tx:
            who = await principal_of(tx, cookie, context.clock())
        if who is None:
            raise Unauthenticated("session.missing")
        if request.method not in _SAFE and not hmac.compare_digest(
            request.headers.get(CSRF_HEADER, "").encode(), who.csrf_token.encode()
        ):
            raise Forbidden("csrf.invalid")
        code = who.refusal(permission)
        if code:
            if permission in FOOTAGE:
                async with context.db.transaction() as tx:
                    await record_denial(tx, who, permission, code, request.url.path, context.clock())
            raise Forbidden(code)
        return who

    setattr(guard, PERMISSION_ATTRIBUTE, permission)
    return guard


def open_to(permission: Permission) -> Callable[[], Awaitable[None]]:
    """Declares a route without a session: `PUBLIC`, or one whose handler checks a token or an agent's signature itself."""
    if permission not in WITHOUT_SESSION:
        raise ValueError(f"{permission} needs a session: use requires()")

    async def declared() -> None:
        return None

    setattr(declared, PERMISSION_ATTRIBUTE, permission)
    return declared
