"""API shapes of the ledger."""

from typing import Any
from uuid import UUID

from pydantic import Field

from hub.kit.shapes import Answer, UtcTime


class LedgerEntryView(Answer):
    """One row: who did what, to which cameras, why. Names of cameras are no part of the row: they may change."""

    seq: int
    at: UtcTime
    actor_id: UUID | None
    actor_name: str
    actor_role: str
    action: str
    purpose_kind: str | None
    purpose_incident_id: UUID | None
    purpose_note: str
    camera_ids: list[UUID]
    camera_names: list[str] = Field(description="as `camera_ids`, the names of today; empty where there is none")
    subject_kind: str | None
    subject_id: UUID | None
    detail: dict[str, Any]
    entry_hash: str


class LedgerPage(Answer):
    """GET /api/v1/ledger?camera_id&actor_id&action&before_seq&limit: newest first."""

    items: list[LedgerEntryView]
    next_before_seq: int | None


class LedgerVerdict(Answer):
    """GET /api/v1/ledger/verification: the chain walked now."""

    ok: bool
    entries: int
    head_hash: str
    broken_at_seq: int | None = None
    reason: str = ""
