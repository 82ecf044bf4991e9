"""Which agent a signed request is of. The route declares `open_to(Permission.AGENT)` and depends on `agent_of`."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from hub.agents import service
from hub.context import Context, get_context
from hub.errors import Unauthenticated
from models.wire.agent_http import AUTH_SCHEME, check_request_token, token_agent


async def agent_of(request: Request, context: Annotated[Context, Depends(get_context)]) -> UUID:
    """The agent whose key signed this very request (method, path, body), now, and for the first time.

    Raises:
        Unauthenticated: `agent.token_missing`, `agent.unknown` (or revoked), `agent.token_malformed`,
            `agent.token_signature`, `agent.token_expired`, `agent.token_other_request`, `agent.token_replayed`.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    claimed = token_agent(token.strip()) if scheme == AUTH_SCHEME else None
    if claimed is None:
        raise Unauthenticated("agent.token_missing")
    now = context.clock()
    body = await request.body()
    async with context.db.transaction() as tx:
        key = await service.agent_key(tx, claimed)
        if key is None:
            raise Unauthenticated("agent.unknown")
        checked = check_request_token(token.strip(), key, request.method, request.url.path, body, now.timestamp())
        if isinstance(checked, str):
            raise Unauthenticated(f"agent.token_{checked}")
        if not await service.use_token(tx, checked.token_id, claimed, now):
            raise Unauthenticated("agent.token_replayed")
    return claimed
