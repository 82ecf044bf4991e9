"""Routes of live viewing. WHEP and WHIP carry their own bearer tokens; sessions are opened by signed-in people."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from starlette.requests import HTTPConnection

from hub.errors import Invalid, Unauthenticated, Unavailable
from hub.identity.guard import open_to, requires
from hub.identity.model import Permission, Principal
from hub.live.schemas import LeaseView, LiveAsk, LiveSession, UpstreamView
from hub.live.sdp import MAX_SDP_BYTES, checked_offer
from hub.live.service import WHEP_PATH, LiveHub
from hub.live.upstreams import WHIP_PATH

SDP = "application/sdp"

router = APIRouter(prefix="/live", tags=["live"])


def get_live(connection: HTTPConnection) -> LiveHub:
    """The app's LiveHub (`app.state.live`)."""
    live: LiveHub | None = getattr(connection.app.state, "live", None)
    if live is None:
        raise Unavailable("live.disabled")
    return live


Live = Annotated[LiveHub, Depends(get_live)]
Viewer = Annotated[Principal, Depends(requires(Permission.LIVE))]
_SDP_ANSWER = {201: {"content": {SDP: {"schema": {"type": "string"}}}, "description": "SDP answer"}}
_SDP_BODY = {"requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}}


@router.post("/sessions", status_code=201)
async def open_live_session(ask: LiveAsk, who: Viewer, live: Live) -> LiveSession:
    """Asks to watch a camera."""
    return await live.open(who, ask.camera_id, ask.stream)


@router.post("/sessions/{session_id}/lease")
async def renew_live_lease(session_id: UUID, who: Viewer, live: Live) -> LeaseView:
    """Goes on watching. 409 `live.ended` with `reason` when it is over."""
    return live.renew(who, session_id)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_live_session(session_id: UUID, who: Viewer, live: Live) -> None:
    """Stops watching."""
    live.end(who, session_id)


@router.get("/upstreams", dependencies=[Depends(requires(Permission.AGENT_VIEW))])
async def list_live_upstreams(live: Live) -> list[UpstreamView]:
    """What is relayed now."""
    return live.upstreams()


@router.post(
    "/whep/{session_id}",
    status_code=201,
    response_class=Response,
    responses=_SDP_ANSWER,  # type: ignore[arg-type]  # int keys are what FastAPI documents
    openapi_extra=_SDP_BODY,
    dependencies=[Depends(open_to(Permission.LIVE_TOKEN))],
)
async def whep_offer(session_id: UUID, request: Request, live: Live) -> Response:
    """A viewer's SDP offer → the answer (WHEP)."""
    offer = await _offer(request)
    return _answer(await live.watch(session_id, _bearer(request), offer), f"{WHEP_PATH}/{session_id}")


@router.delete("/whep/{session_id}", status_code=204, dependencies=[Depends(open_to(Permission.LIVE_TOKEN))])
async def whep_end(session_id: UUID, request: Request, live: Live) -> None:
    """Ends the viewer's session."""
    live.unwatch(session_id, _bearer(request))


@router.post(
    "/whip/{attempt_id}",
    status_code=201,
    response_class=Response,
    responses=_SDP_ANSWER,  # type: ignore[arg-type]  # as above
    openapi_extra=_SDP_BODY,
    dependencies=[Depends(open_to(Permission.LIVE_TOKEN))],
)
async def whip_offer(attempt_id: UUID, request: Request, live: Live) -> Response:
    """An agent's SDP offer → the answer (WHIP, RFC 9725)."""
    offer = await _offer(request)
    return _answer(await live.publish(attempt_id, _bearer(request), offer), f"{WHIP_PATH}/{attempt_id}")


@router.delete("/whip/{attempt_id}", status_code=204, dependencies=[Depends(open_to(Permission.LIVE_TOKEN))])
async def whip_end(attempt_id: UUID, request: Request, live: Live) -> None:
    """The agent stops sending."""
    live.unpublish(attempt_id, _bearer(request))


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("token.missing")
    return token.strip()


async def _offer(request: Request) -> str:
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != SDP:
        raise Invalid("live.sdp_invalid", f"the body must be {SDP}")
    _bearer(request)  # nobody without a token makes us read
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_SDP_BYTES:
            raise Invalid("live.sdp_invalid", "too big")
    return checked_offer(bytes(body))


def _answer(sdp: str, location: str) -> Response:
    return Response(sdp, status_code=201, media_type=SDP, headers={"Location": location})
