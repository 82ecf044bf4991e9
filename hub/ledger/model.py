"""Ledger words: what is recorded, and how a row is hashed."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from hub.kit.canonical import canonical_json


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


GENESIS = "0" * 64  # what the first entry names as the hash before it


@dataclass(frozen=True)
class Entry:
    """A row in its place in the chain."""

    seq: int
    at: datetime
    actor_id: UUID | None
    actor_name: str
    actor_role: str
    action: str
    purpose_kind: str | None
    purpose_incident_id: UUID | None
    purpose_note: str
    camera_ids: list[UUID]
    subject_kind: str | None
    subject_id: UUID | None
    detail: dict[str, Any]
    prev_hash: str
    entry_hash: str


@dataclass(frozen=True)
class Verdict:
    """What a walk of the chain found. `broken_at_seq`: the first row that is not as it was written."""

    ok: bool
    entries: int
    head_hash: str
    broken_at_seq: int | None = None
    reason: str = ""


def by_system(action: Action, **kw: Any) -> Draft:
    """A draft of what the hub did by itself."""
    return Draft(action=action, actor_id=None, actor_name="system", actor_role="system", **kw)


def entry_hash(entry: Entry) -> str:
    """SHA-256 over the canonical JSON of everything in the row but the hash itself; times are integer microseconds."""
    body = {
        "v": 1,
        "seq": entry.seq,
        "at_us": microseconds(entry.at),
        "actor_id": _text(entry.actor_id),
        "actor_name": entry.actor_name,
        "actor_role": entry.actor_role,
        "action": entry.action,
        "purpose_kind": entry.purpose_kind,
        "purpose_incident_id": _text(entry.purpose_incident_id),
        "purpose_note": entry.purpose_note,
        "camera_ids": [str(camera_id) for camera_id in entry.camera_ids],
        "subject_kind": entry.subject_kind,
        "subject_id": _text(entry.subject_id),
        "detail": entry.detail,
        "prev_hash": entry.prev_hash,
    }
    return hashlib.sha256(canonical_json(body)).hexdigest()


def storable(value: Any) -> Any:
    """`value` as JSON that comes back from the database exactly as it went in.

    Numbers with a fraction become text (jsonb keeps a decimal, JSON readers make a binary float of it), ids and times
    their usual text; U+0000, which jsonb cannot hold, becomes U+FFFD.

    Raises:
        TypeError: for what has no plain form.
    """
    match value:
        case None | bool():
            return value
        case StrEnum():
            return value.value
        case str():
            return value.replace("\x00", "\ufffd")
        case int():
            return value
        case float():
            return repr(value)
        case UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case dict():
            return {storable(str(key)): storable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [storable(item) for item in value]
    raise TypeError(f"not storable in the ledger: {type(value).__name__}")


def microseconds(at: datetime) -> int:
    """Integer microseconds since 1970."""
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
