"""API shapes of agents and enrolment codes. What agents themselves say is in `models.wire.agent_http`."""

from uuid import UUID

from pydantic import Field

from hub.kit.shapes import Answer, Ask, UtcTime


class CodeNew(Ask):
    """POST /api/v1/enrolment-codes."""

    label: str = Field(min_length=1, max_length=120, description="becomes the agent's name")
    village: str = Field(default="", max_length=120)


class CodeCreated(Answer):
    """The code, shown this once; `qr_svg` holds `enrol_text`, which a box can read from a camera picture."""

    id: UUID
    code: str
    label: str
    expires_at: UtcTime
    enrol_text: str
    command: str
    qr_svg: str


class CodeView(Answer):
    """A code's fate; the code itself is not kept."""

    id: UUID
    label: str
    village: str
    created_at: UtcTime
    expires_at: UtcTime
    used_at: UtcTime | None
    agent_id: UUID | None


class AgentView(Answer):
    """An edge agent as last seen. `online`: presence within 35 s."""

    id: UUID
    name: str
    village: str
    hostname: str
    version: str
    enrolled_at: UtcTime
    revoked_at: UtcTime | None
    online: bool
    seen_at: UtcTime | None
    started_at: UtcTime | None
    desired_version: int
    applied_version: int
    outbox_messages: int
    outbox_files: int
    disk_free_bytes: int | None
    clock_skew_ms: int | None
    camera_count: int
    candidate_count: int


class AgentPatch(Ask):
    """PATCH /api/v1/agents/{id}."""

    name: str | None = Field(default=None, min_length=1, max_length=120)
    village: str | None = Field(default=None, max_length=120)
