"""Agents: known by their key, seen by their presence, ended by revocation."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from hub.agents import repository
from hub.agents.model import Agent, observed_at
from hub.db.engine import Connection
from hub.errors import Conflict, NotFound, Unavailable
from hub.identity.ledgering import draft
from hub.identity.model import Principal
from hub.ledger import service as ledger
from hub.ledger.model import Action
from hub.messages.credentials import mint_user_jwt
from hub.messages.port import Bus
from models.keys import SigningKey
from models.wire.agent_http import TOKEN_LIFE_S, MessagingCredentials
from models.wire.downlink import DesiredState
from models.wire.uplink import Presence

log = structlog.get_logger(__name__)

CREDENTIALS_LIFE = timedelta(hours=1)  # a revoked agent's connection ends with them at the latest
REPLAY_WINDOW = timedelta(seconds=2 * TOKEN_LIFE_S)


async def all_agents(tx: Connection) -> list[Agent]:
    """All agents, revoked ones last."""
    return await repository.agents(tx)


async def agent(tx: Connection, agent_id: UUID) -> Agent:
    """The agent.

    Raises:
        NotFound: `agent.not_found`.
    """
    found = await repository.agent(tx, agent_id)
    if found is None:
        raise NotFound("agent.not_found")
    return found


async def find(tx: Connection, agent_id: UUID) -> Agent | None:
    """The agent, or None."""
    return await repository.agent(tx, agent_id)


async def agent_key(tx: Connection, agent_id: UUID) -> str | None:
    """Public key (hex) of an agent that is enrolled and not revoked."""
    found = await repository.agent(tx, agent_id)
    return found.public_key if found and found.revoked_at is None else None


async def change(
    tx: Connection, who: Principal, agent_id: UUID, *, name: str | None, village: str | None, now: datetime
) -> Agent:
    """Renames an agent; a ledger row.

    Raises:
        NotFound: `agent.not_found`.
    """
    old = await agent(tx, agent_id)
    new = replace(old, name=name or old.name, village=old.village if village is None else village)
    if new != old:
        await repository.rename(tx, agent_id, new.name, new.village)
        detail = {"name": new.name, "village": new.village}
        entry = draft(who, Action.AGENT_CHANGED, subject_kind="agent", subject_id=agent_id, detail=detail)
        await ledger.record(tx, entry, now)
    return new


async def revoke(tx: Connection, who: Principal, agent_id: UUID, now: datetime) -> DesiredState:
    """Ends an agent: its messages, uploads and requests are refused from now on. A ledger row.

    Answers the empty desired state to push: an agent that is connected lets go of its cameras at once.

    Raises:
        NotFound: `agent.not_found`. Conflict: `agent.revoked`.
    """
    old = await agent(tx, agent_id)
    if not await repository.revoke(tx, agent_id, now):
        raise Conflict("agent.revoked")
    version = await repository.raise_desired_version(tx, agent_id)
    entry = draft(who, Action.AGENT_REVOKED, subject_kind="agent", subject_id=agent_id, detail={"name": old.name})
    await ledger.record(tx, entry, now)
    return DesiredState(version=version, issued_at=now, cameras=[])


async def raise_desired_version(tx: Connection, agent_id: UUID, above: int = 0) -> int:
    """Something of this agent's desired state changes in this transaction; the new version, higher than `above`."""
    return await repository.raise_desired_version(tx, agent_id, above)


async def push_desired(bus: Bus, agent_id: UUID, state: DesiredState) -> None:
    """Tells the agent, after the commit. One that cannot be reached asks when it comes back, so that is no error."""
    try:
        await bus.push(agent_id, state)
    except Unavailable as error:
        log.warning("desired_not_pushed", agent_id=str(agent_id), version=state.version, code=error.code)


async def record_presence(tx: Connection, agent_id: UUID, presence: Presence, now: datetime) -> datetime | None:
    """Keeps the newest presence. Answers when it counts as observed: hand that on to `cameras.service.record_report`.

    None: it is older than what is known already (messages may come late and out of order), or the agent is revoked:
    nothing in it counts.
    """
    seen_at = observed_at(presence.at, now)
    skew_ms = int((presence.at - now).total_seconds() * 1000)
    newest = await repository.save_presence(
        tx,
        agent_id,
        {
            "presence_at": presence.at,
            "seen_at": seen_at,
            "started_at": presence.started_at,
            "version": presence.version,
            "applied_version": presence.desired_version,
            "outbox_messages": presence.outbox_messages,
            "outbox_files": presence.outbox_files,
            "disk_free_bytes": presence.disk_free_bytes,
            "clock_skew_ms": max(-(2**31), min(2**31 - 1, skew_ms)),
        },
    )
    return seen_at if newest else None


async def use_token(tx: Connection, token_id: str, agent_id: UUID, now: datetime) -> bool:
    """Notes that a signed request was used; False when it was used before."""
    return await repository.use_token(tx, token_id, agent_id, now, now - REPLAY_WINDOW)


def credentials(account_key: SigningKey, urls: list[str], agent_id: UUID, public_key: str) -> MessagingCredentials:
    """Fresh credentials for the message servers, for the holder of `public_key`."""
    jwt, expires_at = mint_user_jwt(account_key, bytes.fromhex(public_key), agent_id, CREDENTIALS_LIFE)
    return MessagingCredentials(urls=urls, user_jwt=jwt, expires_at=expires_at)
