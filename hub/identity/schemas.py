"""API shapes of sign-in, session, purpose and accounts."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from hub.identity.model import Permission, PurposeKind, Role
from hub.kit.shapes import Answer, Ask, UtcTime


class LoginAsk(Ask):
    """POST /api/v1/session. 401 `login.failed`; 429 `login.too_many` with `retry_after_s`."""

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class UserView(Answer):
    """An account."""

    id: UUID
    username: str
    display_name: str
    role: Role
    locale: str
    created_at: UtcTime
    disabled_at: UtcTime | None = None


class PurposeAsk(Ask):
    """PUT /api/v1/session/purpose. `incident` needs `incident_id` (open); `duty` and `test` need a note.

    `duty` opens live pictures and stills; search, clips and links need `incident`, or `test`, which only those may set whose
    `SessionView.purposes` has it (403 `purpose.not_allowed`).
    """

    kind: PurposeKind
    incident_id: UUID | None = None
    note: str = Field(default="", max_length=300)


class PurposeView(Answer):
    """The purpose in force; `incident_number` and `incident_title` for display."""

    kind: PurposeKind
    incident_id: UUID | None = None
    incident_number: str | None = None
    incident_title: str | None = None
    note: str = ""
    set_at: UtcTime


class SessionView(Answer):
    """GET /api/v1/session (also the answer to login). Send `csrf_token` as `X-CSRF-Token` with every non-GET."""

    user: UserView
    permissions: list[Permission]
    purposes: list[PurposeKind]
    purpose: PurposeView | None
    csrf_token: str
    expires_at: UtcTime


class UserNew(Ask):
    """POST /api/v1/users. The password is generated and answered once."""

    username: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,62}$")
    display_name: str = Field(min_length=1, max_length=120)
    role: Role
    locale: Literal["zh-CN", "en"] = "zh-CN"


class UserCreated(Answer):
    """The new account and its first password, shown this once."""

    user: UserView
    password: str


class UserPatch(Ask):
    """PATCH /api/v1/users/{id}."""

    display_name: str | None = Field(default=None, min_length=1, max_length=120)
    role: Role | None = None
    locale: Literal["zh-CN", "en"] | None = None
    disabled: bool | None = None


class OwnPatch(Ask):
    """PATCH /api/v1/session/user: one's own language and password."""

    locale: Literal["zh-CN", "en"] | None = None
    password: str | None = Field(default=None, min_length=12, max_length=256)
    current_password: str | None = None
