"""HTTP of agents' uploads. The sender proves itself by a signed request (`hub.agents.guard`)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from hub.agents.guard import agent_of
from hub.context import Context, get_context
from hub.identity.guard import open_to
from hub.identity.model import Permission
from hub.ingest import uploads
from models.wire.agent_http import UploadAsk, UploadComplete, UploadPlan
from models.wire.downlink import Receipt

router = APIRouter(tags=["agent"], dependencies=[Depends(open_to(Permission.AGENT))])

Ctx = Annotated[Context, Depends(get_context)]
Agent = Annotated[UUID, Depends(agent_of)]


@router.post("/agent/uploads")
async def plan_upload(ask: UploadAsk, agent_id: Agent, context: Ctx) -> UploadPlan:
    """Begins or resumes the upload of a sealed clip. 404 `upload.clip_not_found`: announce it first, or wait."""
    return await uploads.plan_upload(context, agent_id, ask)


@router.post("/agent/uploads/{clip_id}/complete")
async def complete_upload(clip_id: UUID, done: UploadComplete, agent_id: Agent, context: Ctx) -> Receipt:
    """All parts are there: `waiting` until the hub has read and judged them."""
    return await uploads.complete_upload(context, agent_id, clip_id, done)
