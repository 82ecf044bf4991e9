"""Agents and the codes they enrol with."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

ONLINE_WITHIN = timedelta(seconds=35)  # presence comes every 10 s: three may be lost
CODE_LIFE = timedelta(minutes=10)
CODE_LENGTH = 8
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # no 0 O 1 I L: read aloud over a telephone; 39.6 bits

# A presence older than this when it arrives has waited in a queue (hub down, link cut): it says how things were.
BACKLOG_AFTER = timedelta(seconds=60)


@dataclass(frozen=True)
class EnrolmentCode:
    """A code's fate; only its hash is kept."""

    id: UUID
    label: str
    village: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    agent_id: UUID | None = None


@dataclass(frozen=True)
class Agent:
    """An enrolled agent with its newest presence."""

    id: UUID
    name: str
    village: str
    public_key: str
    hostname: str
    version: str
    enrolled_at: datetime
    revoked_at: datetime | None = None
    desired_version: int = 1
    seen_at: datetime | None = None
    started_at: datetime | None = None
    applied_version: int = 0
    outbox_messages: int = 0
    outbox_files: int = 0
    disk_free_bytes: int | None = None
    clock_skew_ms: int | None = None
    presence_at: datetime | None = None
    camera_count: int = 0
    candidate_count: int = 0

    def online(self, now: datetime) -> bool:
        """Whether it was heard of just now."""
        return self.revoked_at is None and self.seen_at is not None and now - self.seen_at <= ONLINE_WITHIN


def observed_at(said_at: datetime, now: datetime) -> datetime:
    """When something an agent said at `said_at` (its clock) counts as observed, if it arrives now.

    Now, unless it is so old that it must have waited in a queue: what waited says nothing about the present. (An agent whose
    clock is slow by more than `BACKLOG_AFTER` therefore shows as offline, with its clock difference beside it.)
    """
    return said_at if now - said_at > BACKLOG_AFTER else now


def plain_code(typed: str) -> str:
    """A code as it was meant: people type it in lower case, in groups, with spaces."""
    return "".join(sign for sign in typed.upper() if sign.isalnum())
