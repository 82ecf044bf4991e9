"""An alarm: something that needs a person's eye, open until acknowledged."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True)
class Alarm:
    """A row. `code` is stable and the page's i18n key."""

    id: UUID
    at: datetime
    code: str
    severity: Severity
    agent_id: UUID | None
    camera_id: UUID | None
    subject_id: UUID | None
    detail: str
    acknowledged_by: UUID | None = None
    acknowledged_at: datetime | None = None
