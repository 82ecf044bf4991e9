"""SQL of agents, enrolment codes and signed requests."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from hub.agents.model import Agent, EnrolmentCode
from hub.db.engine import Connection

_CODE = "id, label, village, created_at, expires_at, used_at, agent_id"
_AGENT = (
    "id, name, village, public_key, hostname, version, enrolled_at, revoked_at, desired_version, seen_at, started_at, "
    "applied_version, outbox_messages, outbox_files, disk_free_bytes, clock_skew_ms, presence_at"
)
# Counts of cameras, which belong to the feature above: figures for a list, read and never written here.
_COUNTS = (
    "(select count(*) from cameras c where c.agent_id = agents.id and c.adopted_at is not null and c.retired_at is null)"
    " as camera_count, (select count(*) from cameras c where c.agent_id = agents.id and c.adopted_at is null "
    "and c.retired_at is null) as candidate_count"
)


# codes --------------------------------------------------------------------------------------------------------


async def add_code(tx: Connection, code: EnrolmentCode, code_hash: bytes, created_by: UUID) -> None:
    """Adds a code by its hash."""
    await tx.execute(
        text(
            "insert into enrolment_codes (id, code_hash, label, village, created_by, created_at, expires_at) "
            "values (:id, :code_hash, :label, :village, :created_by, :created_at, :expires_at)"
        ),
        {**asdict(code), "code_hash": code_hash, "created_by": created_by},
    )


async def codes(tx: Connection, limit: int) -> list[EnrolmentCode]:
    """The newest codes."""
    found = await tx.execute(
        text(f"select {_CODE} from enrolment_codes order by created_at desc, id desc limit :limit"), {"limit": limit}
    )
    return [EnrolmentCode(**row) for row in found.mappings()]


async def take_code(tx: Connection, code_hash: bytes, agent_id: UUID, now: datetime) -> EnrolmentCode | None:
    """Uses a code up, if it is unused and not over. Of two at once the second waits here, and then finds it used."""
    taken = await tx.execute(
        text(
            "update enrolment_codes set used_at = :now, agent_id = :agent_id "
            f"where code_hash = :code_hash and used_at is null and expires_at > :now returning {_CODE}"
        ),
        {"code_hash": code_hash, "agent_id": agent_id, "now": now},
    )
    row = taken.mappings().one_or_none()
    return EnrolmentCode(**row) if row else None


async def code_by_hash(tx: Connection, code_hash: bytes) -> EnrolmentCode | None:
    """The code, whatever became of it."""
    found = await tx.execute(
        text(f"select {_CODE} from enrolment_codes where code_hash = :code_hash"), {"code_hash": code_hash}
    )
    row = found.mappings().one_or_none()
    return EnrolmentCode(**row) if row else None


async def refused_attempts(tx: Connection, address: str, since: datetime) -> tuple[int, datetime | None]:
    """How many enrolments from `address` were refused after `since`, and when the oldest was."""
    found = await tx.execute(
        text(
            "select count(*) as count, min(at) as oldest_at from enrolment_attempts where address = :address and at > :since"
        ),
        {"address": address, "since": since},
    )
    row = found.mappings().one()
    return row["count"], row["oldest_at"]


async def add_refused_attempt(tx: Connection, address: str, now: datetime, forget_before: datetime) -> None:
    """Counts a refused enrolment; forgets old ones."""
    await tx.execute(
        text("insert into enrolment_attempts (address, at) values (:address, :now)"), {"address": address, "now": now}
    )
    await tx.execute(text("delete from enrolment_attempts where at < :before"), {"before": forget_before})


# agents -------------------------------------------------------------------------------------------------------


async def add_agent(tx: Connection, agent: Agent) -> bool:
    """Adds an agent; False when its key is known already."""
    added = await tx.execute(
        text(
            "insert into agents (id, name, village, public_key, hostname, version, enrolled_at) "
            "values (:id, :name, :village, :public_key, :hostname, :version, :enrolled_at) "
            "on conflict (public_key) do nothing"
        ),
        asdict(agent),
    )
    return added.rowcount == 1


async def agents(tx: Connection) -> list[Agent]:
    """All agents, revoked ones last."""
    found = await tx.execute(text(f"select {_AGENT}, {_COUNTS} from agents order by revoked_at is not null, name, id"))
    return [Agent(**row) for row in found.mappings()]


async def agent(tx: Connection, agent_id: UUID) -> Agent | None:
    """The agent of that id."""
    found = await tx.execute(text(f"select {_AGENT}, {_COUNTS} from agents where id = :id"), {"id": agent_id})
    row = found.mappings().one_or_none()
    return Agent(**row) if row else None


async def rename(tx: Connection, agent_id: UUID, name: str, village: str) -> None:
    """Writes what people may change."""
    await tx.execute(
        text("update agents set name = :name, village = :village where id = :id"),
        {"id": agent_id, "name": name, "village": village},
    )


async def revoke(tx: Connection, agent_id: UUID, now: datetime) -> bool:
    """Revokes; False when it was revoked already."""
    changed = await tx.execute(
        text("update agents set revoked_at = :now where id = :id and revoked_at is null"), {"id": agent_id, "now": now}
    )
    return changed.rowcount == 1


async def raise_desired_version(tx: Connection, agent_id: UUID, above: int = 0) -> int:
    """The next version of the desired state. The row stays locked, so that states are read in the order of versions."""
    raised = await tx.execute(
        text(
            "update agents set desired_version = greatest(desired_version, :above) + 1 where id = :id "
            "returning desired_version"
        ),
        {"id": agent_id, "above": above},
    )
    return int(raised.scalar_one())


async def save_presence(tx: Connection, agent_id: UUID, values: dict[str, Any]) -> bool:
    """Writes a presence unless a newer one is there."""
    changed = await tx.execute(
        text(
            "update agents set presence_at = :presence_at, seen_at = greatest(seen_at, :seen_at), "
            "started_at = :started_at, version = :version, applied_version = :applied_version, "
            "outbox_messages = :outbox_messages, outbox_files = :outbox_files, disk_free_bytes = :disk_free_bytes, "
            "clock_skew_ms = :clock_skew_ms "
            "where id = :id and revoked_at is null and (presence_at is null or presence_at < :presence_at)"
        ),
        {"id": agent_id, **values},
    )
    return changed.rowcount == 1


async def use_token(tx: Connection, token_id: str, agent_id: UUID, now: datetime, forget_before: datetime) -> bool:
    """Notes a signed request's id; False when it was used before. Old ids are forgotten on the way."""
    await tx.execute(text("delete from agent_requests where at < :before"), {"before": forget_before})
    added = await tx.execute(
        text(
            "insert into agent_requests (token_id, agent_id, at) values (:token_id, :agent_id, :now) "
            "on conflict (token_id) do nothing"
        ),
        {"token_id": token_id, "agent_id": agent_id, "now": now},
    )
    return added.rowcount == 1
