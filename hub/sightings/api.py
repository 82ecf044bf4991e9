"""HTTP of sightings' pictures."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from hub.context import Context, get_context
from hub.errors import Forbidden, NotFound
from hub.identity.guard import SESSION_COOKIE, open_to
from hub.identity.model import Permission
from hub.identity.service import principal_of
from hub.sightings import service
from hub.storage.port import Bucket

router = APIRouter(tags=["sightings"])


@router.get(
    "/media/pictures/{sighting_id}",
    dependencies=[Depends(open_to(Permission.MEDIA_TOKEN))],
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The sighting's best picture"}},
)
async def sighting_picture(
    sighting_id: UUID,
    token: Annotated[str, Query(max_length=2000)],
    request: Request,
    context: Annotated[Context, Depends(get_context)],
) -> Response:
    """A sighting's picture, for the person whose search minted the token, in that person's session."""
    claims = context.signer.check(service.PICTURE_USE, token)
    if claims.get("id") != str(sighting_id):
        raise Forbidden("token.invalid")
    async with context.db.transaction() as tx:
        who = await principal_of(tx, request.cookies.get(SESSION_COOKIE, ""), context.clock())
        if who is None or str(who.user_id) != claims["user"]:
            raise Forbidden("token.other_user")
        found = await service.sighting(tx, sighting_id, datetime.fromisoformat(claims["at"]))
    if found.picture_key is None:
        raise NotFound("sighting.no_picture")
    data = await context.store.get(Bucket.PICTURES, found.picture_key)
    headers = {"Cache-Control": "private, max-age=600", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type="image/jpeg", headers=headers)
