"""API shapes of alarms."""

from typing import Literal
from uuid import UUID

from hub.kit.shapes import Answer, UtcTime


class AlarmView(Answer):
    """Something that needs a person's eye. `code` is the i18n key."""

    id: UUID
    at: UtcTime
    code: str
    severity: Literal["info", "warning", "critical"]
    agent_id: UUID | None
    camera_id: UUID | None
    subject_id: UUID | None
    detail: str
    acknowledged_by: UUID | None
    acknowledged_at: UtcTime | None


class AlarmPage(Answer):
    """GET /api/v1/alarms?open_only&limit: newest first."""

    items: list[AlarmView]
    open_count: int
