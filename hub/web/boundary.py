"""The outermost layer of every request: request id, security headers, size limit, and the last catch for errors.

Pure ASGI, so that streamed media pass through untouched.
"""

import re
import secrets
import time

import structlog
from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.web.problem import problem

log = structlog.get_logger(__name__)

# Nothing from outside. Element Plus and Leaflet set inline styles (positions, sizes), hence 'unsafe-inline' for
# styles only; video and thumbnails may be blobs; WebRTC is no fetch and needs no entry.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(self)",
}

MAX_BODY_BYTES = 4 * 1024 * 1024  # the largest body is a list of 10,000 uploaded parts, about 1 MiB; files go to S3

REQUEST_SECONDS = Histogram(
    "qianshao_http_seconds", "Time to the first byte of an answer", ("method", "handler", "status")
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Boundary:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, hsts: bool = False) -> None:
        """`hsts`: the hub is reached by HTTPS, browsers may remember that."""
        self._app = app
        self._headers = dict(SECURITY_HEADERS)
        if hsts:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        started = False
        began = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _count(scope, message["status"], time.perf_counter() - began)
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                limited = _limited(scope, receive)
                if limited is None:
                    await problem(413, "request.too_large", request_id=request_id)(scope, receive, send_with_headers)
                    return
                await self._app(scope, limited, send_with_headers)
            except Exception:  # the named boundary: whatever is left becomes one log line and a 500
                log.exception("request_failed", method=scope["method"], path=scope["path"])
                if started:
                    raise  # half an answer is out: the server must cut the connection, not end it as if whole
                await problem(500, "internal", request_id=request_id)(scope, receive, send_with_headers)


def _count(scope: Scope, status: int, seconds: float) -> None:
    # By handler, never by path: a path holds ids, and there would be a series for each.
    endpoint = getattr(scope.get("endpoint"), "__name__", "none")
    REQUEST_SECONDS.labels(scope["method"] if scope["method"] in _METHODS else "other", endpoint, str(status)).observe(
        seconds
    )


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


def _limited(scope: Scope, receive: Receive) -> Receive | None:
    """`receive` that counts; None when the announced length is already too large."""
    announced = Headers(scope=scope).get("content-length", "0")
    if not announced.isdigit() or int(announced) > MAX_BODY_BYTES:
        return None
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > MAX_BODY_BYTES:
                raise HTTPException(413)  # the one kind FastAPI lets pass while it reads a body
        return message

    return counted
