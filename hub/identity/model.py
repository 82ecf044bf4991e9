"""Roles, permissions and the principal: who is asking, and what their role may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a person is here."""

    RESIDENT = "resident"
    MONITOR = "monitor"
    INVESTIGATOR = "investigator"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a route asks for. Every route declares exactly one (or `PUBLIC`, `MEDIA_TOKEN`, `AGENT`, `LIVE_TOKEN`)."""

    PUBLIC = "public"  # before sign-in: health, login, enrolment
    MEDIA_TOKEN = "media_token"  # a short-lived token minted together with a ledger row
    LIVE_TOKEN = "live_token"  # likewise, for WHEP and WHIP
    AGENT = "agent"  # an agent's signed request
    SIGNED_IN = "signed_in"  # one's own session
    MAP_VIEW = "map.view"  # where cameras are and how they do; no footage
    SEARCH = "footage.search"
    PLAY = "footage.play"
    LIVE = "footage.live"
    SNAPSHOT = "footage.snapshot"
    INCIDENT_VIEW = "incident.view"
    INCIDENT_EDIT = "incident.edit"
    CAMERA_EDIT = "camera.edit"
    CONSENT_EDIT = "consent.edit"
    AGENT_VIEW = "agent.view"
    AGENT_EDIT = "agent.edit"
    ALARM_VIEW = "alarm.view"
    ALARM_ACK = "alarm.acknowledge"
    LEDGER_VIEW = "ledger.view"
    USER_EDIT = "user.edit"


# Permissions that open footage: their routes need a purpose and write a ledger row.
FOOTAGE = frozenset({Permission.SEARCH, Permission.PLAY, Permission.LIVE, Permission.SNAPSHOT})

_STAFF = frozenset(
    {
        Permission.SIGNED_IN,
        Permission.MAP_VIEW,
        Permission.INCIDENT_VIEW,
        Permission.AGENT_VIEW,
        Permission.ALARM_VIEW,
    }
)
_DESK = _STAFF | {Permission.INCIDENT_EDIT, Permission.ALARM_ACK}

GRANTED: dict[Role, frozenset[Permission]] = {
    Role.RESIDENT: frozenset({Permission.SIGNED_IN}),
    Role.MONITOR: _DESK | {Permission.LIVE, Permission.SNAPSHOT},
    Role.INVESTIGATOR: _DESK | FOOTAGE,
    Role.SUPERVISOR: _DESK | FOOTAGE | {Permission.LEDGER_VIEW},
    Role.AUDITOR: frozenset({Permission.SIGNED_IN, Permission.LEDGER_VIEW, Permission.ALARM_VIEW}),
    Role.ADMIN: _STAFF
    | {
        Permission.CAMERA_EDIT,
        Permission.CONSENT_EDIT,
        Permission.AGENT_EDIT,
        Permission.ALARM_ACK,
        Permission.USER_EDIT,
        Permission.SNAPSHOT,  # adopting a camera needs a look at its one still picture
    },
}


class PurposeKind(StrEnum):
    """Why somebody looks."""

    INCIDENT = "incident"
    DUTY = "duty"
    TEST = "test"


# What each purpose opens. Stored footage needs an incident; being on duty is reason enough for what a camera shows now.
# A test is for commissioning; it stands as such in every row of the ledger.
OPENS: dict[PurposeKind, frozenset[Permission]] = {
    PurposeKind.INCIDENT: FOOTAGE,
    PurposeKind.DUTY: frozenset({Permission.LIVE, Permission.SNAPSHOT}),
    PurposeKind.TEST: FOOTAGE,
}
TESTERS = frozenset({Role.SUPERVISOR, Role.ADMIN})


@dataclass(frozen=True)
class Purpose:
    """The purpose one is working in. `incident_id` is set for, and only for, `INCIDENT`."""

    kind: PurposeKind
    incident_id: UUID | None
    note: str
    set_at: datetime


def may_set(role: Role, kind: PurposeKind) -> bool:
    """Whether a role may look for this kind of purpose."""
    return kind is not PurposeKind.TEST or role in TESTERS


@dataclass(frozen=True)
class Principal:
    """A signed-in person with the purpose of the session."""

    user_id: UUID
    username: str
    display_name: str
    role: Role
    csrf_token: str
    purpose: Purpose | None
    locale: str = "zh-CN"

    def may(self, permission: Permission) -> bool:
        """Whether the role grants `permission`."""
        return permission in GRANTED[self.role]

    def purposes(self) -> list[PurposeKind]:
        """The purposes that the role may set."""
        return [kind for kind in PurposeKind if may_set(self.role, kind)]

    def refusal(self, permission: Permission) -> str:
        """Why this may not be done now: "" or `permission.missing`, `purpose.missing|not_allowed|incident_needed`."""
        if not self.may(permission):
            return "permission.missing"
        if permission not in FOOTAGE:
            return ""
        if self.purpose is None:
            return "purpose.missing"
        if not may_set(self.role, self.purpose.kind):  # the role was changed since
            return "purpose.not_allowed"
        if permission not in OPENS[self.purpose.kind]:
            return "purpose.incident_needed"
        return ""


@dataclass(frozen=True)
class User:
    """An account."""

    id: UUID
    username: str
    display_name: str
    role: Role
    password_hash: str
    locale: str
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True)
class Session:
    """A signed-in session. `token_hash` is the SHA-256 of the cookie; `expires_at` the earlier of idle and absolute end."""

    token_hash: bytes
    csrf_token: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    user: User
    purpose: Purpose | None
    incident_number: str | None = None
    incident_title: str | None = None

    def principal(self) -> Principal:
        """Who this is, as guards and ledger want it."""
        user = self.user
        return Principal(
            user.id, user.username, user.display_name, user.role, self.csrf_token, self.purpose, user.locale
        )
