"""Routes of enrolment codes, enrolment and agents."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from hub.agents import enrolment, service
from hub.agents.guard import agent_of
from hub.agents.model import Agent
from hub.agents.schemas import AgentPatch, AgentView, CodeCreated, CodeNew, CodeView
from hub.context import Context, get_context
from hub.errors import HubError, TooMany, Unavailable
from hub.identity.guard import open_to, requires
from hub.identity.model import Permission, Principal
from models.wire.agent_http import EnrolAsk, EnrolReply, MessagingCredentials

router = APIRouter()
Hub = Annotated[Context, Depends(get_context)]
Viewer = Annotated[Principal, Depends(requires(Permission.AGENT_VIEW))]
Editor = Annotated[Principal, Depends(requires(Permission.AGENT_EDIT))]


def _view(agent: Agent, context: Context) -> AgentView:
    return AgentView.model_validate({**vars(agent), "online": agent.online(context.clock())})


@router.get("/enrolment-codes", tags=["agents"])
async def list_enrolment_codes(_who: Editor, context: Hub) -> list[CodeView]:
    """What became of the newest codes."""
    async with context.db.transaction() as tx:
        return [CodeView.model_validate(code) for code in await enrolment.recent_codes(tx)]


@router.post("/enrolment-codes", tags=["agents"], status_code=201)
async def create_enrolment_code(ask: CodeNew, who: Editor, context: Hub) -> CodeCreated:
    """A code for one machine, good for ten minutes, told this once."""
    async with context.db.transaction() as tx:
        code, kept = await enrolment.create_code(tx, who, label=ask.label, village=ask.village, now=context.clock())
    words = enrolment.enrol_text(context.public_url, code)
    return CodeCreated(
        id=kept.id,
        code=code,
        label=kept.label,
        expires_at=kept.expires_at,
        enrol_text=words,
        command=enrolment.enrol_command(context.public_url, code),
        qr_svg=enrolment.qr_svg(words),
    )


@router.post("/enrolments", tags=["agent side"], status_code=201, dependencies=[Depends(open_to(Permission.PUBLIC))])
async def enrol_agent(ask: EnrolAsk, request: Request, context: Hub) -> EnrolReply:
    """An agent makes its key known."""
    address = request.client.host if request.client else "unknown"
    now = context.clock()
    async with context.db.transaction() as tx:
        await enrolment.check_attempts(tx, address, now)
    try:
        async with context.db.transaction() as tx:
            agent = await enrolment.enrol(tx, ask, address, now)
    except (TooMany, Unavailable):
        raise
    except HubError:
        # Counted in a transaction of its own: that of the refused attempt is rolled back.
        async with context.db.transaction() as tx:
            await enrolment.count_refusal(tx, address, now)
        raise
    return EnrolReply(
        agent_id=agent.id,
        name=agent.name,
        hub_public_key=context.hub_key.public_hex,
        messaging=_credentials(agent, context),
    )


@router.post("/agent/credentials", tags=["agent side"], dependencies=[Depends(open_to(Permission.AGENT))])
async def issue_credentials(agent_id: Annotated[UUID, Depends(agent_of)], context: Hub) -> MessagingCredentials:
    """Fresh credentials for the message servers."""
    async with context.db.transaction() as tx:
        agent = await service.agent(tx, agent_id)
    return _credentials(agent, context)


def _credentials(agent: Agent, context: Context) -> MessagingCredentials:
    return service.credentials(context.account_key, context.nats_public_urls, agent.id, agent.public_key)


@router.get("/agents", tags=["agents"])
async def list_agents(_who: Viewer, context: Hub) -> list[AgentView]:
    """All agents as last seen."""
    async with context.db.transaction() as tx:
        return [_view(agent, context) for agent in await service.all_agents(tx)]


@router.get("/agents/{agent_id}", tags=["agents"])
async def show_agent(agent_id: UUID, _who: Viewer, context: Hub) -> AgentView:
    """One agent as last seen."""
    async with context.db.transaction() as tx:
        return _view(await service.agent(tx, agent_id), context)


@router.patch("/agents/{agent_id}", tags=["agents"])
async def change_agent(agent_id: UUID, ask: AgentPatch, who: Editor, context: Hub) -> AgentView:
    """Renames an agent."""
    async with context.db.transaction() as tx:
        agent = await service.change(tx, who, agent_id, name=ask.name, village=ask.village, now=context.clock())
    return _view(agent, context)


@router.delete("/agents/{agent_id}", tags=["agents"], status_code=204)
async def revoke_agent(agent_id: UUID, who: Editor, context: Hub) -> None:
    """Ends an agent for good; its footage stays."""
    async with context.db.transaction() as tx:
        state = await service.revoke(tx, who, agent_id, context.clock())
    await service.push_desired(context.bus, agent_id, state)
