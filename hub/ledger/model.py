"""Ledger words: what is recorded, and how a row is hashed."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID


class Action(StrEnum):
    """What was done. One row each, written in the transaction of the act."""

    SIGNED_IN = "session.signed_in"
    SIGN_IN_REFUSED = "session.refused"
    PURPOSE_SET = "purpose.set"
    DENIED = "access.denied"
    SEARCHED = "footage.searched"
    CLIP_PLAYED = "footage.clip_played"
    LIVE_WATCHED = "footage.live_watched"
    LIVE_ENDED = "footage.live_ended"
    SNAPSHOT_SEEN = "footage.snapshot_seen"
    LINKS_PROPOSED = "footage.links_proposed"
    LINK_DECIDED = "incident.link_decided"
    INCIDENT_CREATED = "incident.created"
    INCIDENT_CHANGED = "incident.changed"
    CAMERA_ADOPTED = "camera.adopted"
    CAMERA_CHANGED = "camera.changed"
    CAMERA_RETIRED = "camera.retired"
    CONSENT_CHANGED = "consent.changed"
    PAUSED = "consent.paused"
    RESUMED = "consent.resumed"
    CODE_CREATED = "agent.code_created"
    AGENT_ENROLLED = "agent.enrolled"
    AGENT_CHANGED = "agent.changed"
    AGENT_REVOKED = "agent.revoked"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    ALARM_RAISED = "alarm.raised"
    ALARM_ACKNOWLEDGED = "alarm.acknowledged"


@dataclass(frozen=True)
class Draft:
    """An entry before it has its place in the chain. `actor_id` None: the system itself."""

    action: Action
    actor_id: UUID | None
    actor_name: str
    actor_role: str
    purpose_kind: str | None = None
    purpose_incident_id: UUID | None = None
    purpose_note: str = ""
    camera_ids: tuple[UUID, ...] = ()
    subject_kind: str | None = None
    subject_id: UUID | None = None
    detail: dict[str, Any] = field(default_factory=dict)
