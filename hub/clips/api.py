"""HTTP of clips: list, detail, play, and the bytes of a clip by range."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from hub.clips import service
from hub.clips.model import ByteRange, Clip, ClipStatus, RangeUnsatisfiable, chain_word, parse_range, verdict_of
from hub.clips.schemas import ClipPage, ClipSummary, ClipView, PlayView, SealVerdict
from hub.context import Context, get_context
from hub.errors import Conflict, Forbidden, Invalid
from hub.identity.guard import SESSION_COOKIE, open_to, requires
from hub.identity.model import Permission, Principal
from hub.identity.service import principal_of
from hub.kit.cursors import make_cursor, question, read_cursor
from hub.kit.shapes import UtcTime
from hub.storage.port import Bucket

router = APIRouter(tags=["clips"])

Ctx = Annotated[Context, Depends(get_context)]
Searcher = Annotated[Principal, Depends(requires(Permission.SEARCH))]


def clip_view(clip: Clip) -> ClipView:
    """A clip as the API shows it."""
    hash_ok, signature_ok = verdict_of(clip.status, clip.refusal_code)
    verdict = SealVerdict.model_validate(
        {
            "hash_ok": hash_ok,
            "signature_ok": signature_ok,
            "chain": chain_word(clip.chain_ok),
            "verified_at": clip.verified_at,
            "agent_public_key": clip.agent_public_key,
            "agent_name": clip.agent_name,
        }
    )
    fields = {name: getattr(clip, name) for name in ClipView.model_fields if name != "verdict"}
    return ClipView.model_validate(fields | {"verdict": verdict})


@router.get("/clips")
async def list_clips(
    who: Searcher,
    context: Ctx,
    camera_id: UUID | None = None,
    from_at: Annotated[UtcTime | None, Query(alias="from")] = None,
    to_at: Annotated[UtcTime | None, Query(alias="to")] = None,
    status: ClipStatus | None = None,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 40,
) -> ClipPage:
    """Clips newest first. Writes a ledger row."""
    if from_at and to_at and to_at <= from_at:
        raise Invalid("search.span_invalid")
    of = question(
        kind="clips", camera=str(camera_id), since=str(from_at), until=str(to_at), status=status.value if status else ""
    )
    after = read_cursor(context.signer, of, cursor)
    wanted = service.ClipFilter(camera_id, from_at, to_at, status)
    async with context.db.transaction() as tx:
        items, following = await service.page(tx, who, wanted, after, limit, context.clock())
    return ClipPage(
        items=[clip_view(clip) for clip in items],
        next_cursor=make_cursor(context.signer, of, following) if following else None,
    )


@router.get("/clips/summary")
async def clip_summary(_who: Annotated[Principal, Depends(requires(Permission.MAP_VIEW))], context: Ctx) -> ClipSummary:
    """Counts by status and the state of the chains; no footage."""
    async with context.db.transaction() as tx:
        counts = await service.counts(tx)
    return ClipSummary(
        announced=counts["announced"],
        uploaded=counts["uploaded"],
        verified=counts["verified"],
        refused=counts["refused"],
        chains_ok=counts["broken"] == 0 and counts["waiting"] == 0,
        chains_waiting=counts["waiting"],
        chains_broken=counts["broken"],
    )


@router.get("/clips/{clip_id}")
async def show_clip(clip_id: UUID, who: Searcher, context: Ctx) -> ClipView:
    """A clip's data and the verdict on its seal. Writes a ledger row."""
    async with context.db.transaction() as tx:
        return clip_view(await service.look(tx, who, clip_id, context.clock()))


@router.post("/clips/{clip_id}/play")
async def play_clip(
    clip_id: UUID, who: Annotated[Principal, Depends(requires(Permission.PLAY))], context: Ctx
) -> PlayView:
    """A short-lived URL of the clip's bytes. Writes a ledger row. 409 `clip.not_verified`."""
    async with context.db.transaction() as tx:
        ticket = await service.play(tx, context.signer, who, clip_id, context.clock())
    return PlayView(url=ticket.url, expires_at=ticket.expires_at, clip=clip_view(ticket.clip))


async def _check_ticket(request: Request, context: Context, clip_id: UUID, token: str) -> Clip:
    """The clip a token opens. The token is bound to its person: the request must come in that person's session."""
    claims = context.signer.check(service.PLAY_USE, token)
    if claims.get("id") != str(clip_id):
        raise Forbidden("token.invalid")
    async with context.db.transaction() as tx:
        who = await principal_of(tx, request.cookies.get(SESSION_COOKIE, ""), context.clock())
        if who is None or str(who.user_id) != claims["user"]:
            raise Forbidden("token.other_user")
        clip = await service.clip(tx, clip_id)
    if clip.status != ClipStatus.VERIFIED:
        raise Conflict("clip.not_verified")
    return clip


def _asked_range(request: Request, clip: Clip, etag: str) -> ByteRange | None:
    """The range to answer with; `If-Range` with another tag (or a date, which we never give) asks for the whole."""
    if_range = request.headers.get("if-range")
    if if_range is not None and if_range != etag:
        return None
    return parse_range(request.headers.get("range"), clip.size_bytes)


@router.head("/media/clips/{clip_id}", include_in_schema=False, dependencies=[Depends(open_to(Permission.MEDIA_TOKEN))])
@router.get(
    "/media/clips/{clip_id}",
    dependencies=[Depends(open_to(Permission.MEDIA_TOKEN))],
    response_class=StreamingResponse,
    responses={
        200: {"content": {"video/mp4": {}}, "description": "The whole clip"},
        206: {"content": {"video/mp4": {}}, "description": "One range of it"},
        416: {"description": "The range names no byte of it"},
    },
)
async def clip_bytes(
    clip_id: UUID, token: Annotated[str, Query(max_length=2000)], request: Request, context: Ctx
) -> Response:
    """The clip's bytes, whole or one range (RFC 9110 §14), straight from the object store."""
    clip = await _check_ticket(request, context, clip_id, token)
    etag = f'"{clip.sha256}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, no-store",
        "Content-Disposition": f'inline; filename="{clip.id}.mp4"',
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    try:
        asked = _asked_range(request, clip, etag)
    except RangeUnsatisfiable:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{clip.size_bytes}"})
    span = asked or ByteRange(0, clip.size_bytes, clip.size_bytes)
    headers["Content-Length"] = str(span.end - span.start)
    if asked:
        headers["Content-Range"] = asked.content_range
    status = 206 if asked else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="video/mp4")
    chunks = await context.store.read(Bucket.CLIPS, clip.object_key, span.start, span.end - span.start)
    return StreamingResponse(chunks, status_code=status, headers=headers, media_type="video/mp4")
