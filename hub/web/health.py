"""Whether the hub and what it stands on answer, and its metrics."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hub.context import Context, get_context
from hub.errors import HubError
from hub.identity.guard import open_to
from hub.identity.model import Permission
from hub.kit.shapes import Answer

router = APIRouter(tags=["health"], dependencies=[Depends(open_to(Permission.PUBLIC))])

_PATIENCE_S = 3.0

PartState = Literal["ok", "down"]


class HealthParts(Answer):
    """The servers the hub stands on."""

    database: PartState
    storage: PartState
    messages: PartState


class Health(Answer):
    """GET /api/v1/health: 200 when all parts answer, 503 with the same body when one does not."""

    status: PartState
    parts: HealthParts


@router.get("/health", responses={503: {"model": Health, "description": "A part is down"}})
async def show_health(context: Annotated[Context, Depends(get_context)], response: Response) -> Health:
    """Asks each part, with three seconds' patience."""
    database, storage, messages = await asyncio.gather(
        _state(_ping_database(context)), _state(context.store.ping()), _state(context.bus.ping())
    )
    parts = HealthParts(database=database, storage=storage, messages=messages)
    well = database == storage == messages == "ok"
    response.status_code = 200 if well else 503
    return Health(status="ok" if well else "down", parts=parts)


@router.get("/metrics", response_class=Response, include_in_schema=False)
async def show_metrics() -> Response:
    """Prometheus' text form. Counts only: no name, no picture, no place."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _ping_database(context: Context) -> None:
    async with context.db.transaction():
        return


async def _state(ping: Awaitable[None]) -> PartState:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await ping
    except (HubError, TimeoutError):
        return "down"
    return "ok"
