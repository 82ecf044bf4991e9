"""The outermost layer, around apps that misbehave."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from hub.web.boundary import CONTENT_SECURITY_POLICY, Boundary

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/x", "headers": []}


async def answered(app: Any, **scope: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await Boundary(app)({**SCOPE, **scope}, receive, send)
    return sent


async def test_an_error_after_half_an_answer_cuts_the_connection() -> None:
    # Swallowed, it would look like a whole clip.
    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise OSError("the store went away")

    with pytest.raises(OSError, match="went away"):
        await answered(half)


async def test_streams_pass_through_piece_by_piece() -> None:
    async def pieces(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    sent = await answered(pieces)
    assert [message.get("body") for message in sent[1:]] == [b"x", b"x", b"x", b""]


async def test_a_header_that_a_route_sets_itself_stands() -> None:
    async def own(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"private")]})
        await send({"type": "http.response.body", "body": b""})

    sent = await answered(own, path="/api/v1/media/x")
    headers = dict(sent[0]["headers"])
    assert headers[b"cache-control"] == b"private"
    assert headers[b"content-security-policy"] == CONTENT_SECURITY_POLICY.encode()


@pytest.mark.parametrize("length", [b"-1", b"x", b"1e9", b"99999999999", "٣".encode()])
async def test_an_odd_announced_length_is_refused_before_anything_is_read(length: bytes) -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("not reached")

    sent = await answered(never, headers=[(b"content-length", length)])
    assert sent[0]["status"] == 413


async def test_other_than_http_passes_untouched() -> None:
    seen: list[str] = []

    async def lifespan(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    await answered(lifespan, type="lifespan")
    assert seen == ["lifespan"]
