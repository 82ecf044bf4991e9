"""API shapes of incidents (警情) and their links."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from hub.kit.shapes import Answer, Ask, Position, UtcTime
from models.vocabulary import IncidentCategory, ObjectClass
from models.wire.base import Box


class IncidentNew(Ask):
    """POST /api/v1/incidents. `occurred_to` may equal `occurred_from`."""

    category: IncidentCategory
    title: str = Field(min_length=1, max_length=200)
    note: str = Field(default="", max_length=4000)
    position: Position
    occurred_from: UtcTime
    occurred_to: UtcTime


class IncidentPatch(Ask):
    """PATCH /api/v1/incidents/{id}."""

    category: IncidentCategory | None = None
    title: str | None = Field(default=None, min_length=1, max_length=200)
    note: str | None = Field(default=None, max_length=4000)
    position: Position | None = None
    occurred_from: UtcTime | None = None
    occurred_to: UtcTime | None = None
    status: Literal["open", "closed"] | None = None


class IncidentView(Answer):
    """An incident with counts of its links."""

    id: UUID
    number: str
    category: IncidentCategory
    title: str
    note: str
    position: Position
    occurred_from: UtcTime
    occurred_to: UtcTime
    status: Literal["open", "closed"]
    created_by: UUID
    created_at: UtcTime
    closed_at: UtcTime | None
    confirmed_links: int
    rejected_links: int


class IncidentPage(Answer):
    """GET /api/v1/incidents?status&limit&cursor: newest first."""

    items: list[IncidentView]
    next_cursor: str | None


class Reason(Answer):
    """One reason of a score, for people: `code` is the i18n key, `params` its figures, `weight` its part of the score."""

    code: str
    params: dict[str, str | float | int]
    weight: float


class ProposedLink(Answer):
    """A clip or sighting that may belong to the incident. `decision` null: proposed."""

    target_kind: Literal["clip", "sighting"]
    target_id: UUID
    camera_id: UUID
    camera_name: str
    position: Position | None
    object_class: ObjectClass | None
    start_at: UtcTime
    end_at: UtcTime
    best_box: Box | None
    picture_url: str | None
    clip_id: UUID | None
    clip_status: str | None
    score: float = Field(description="0 … 1")
    distance_m: float | None
    reasons: list[Reason]
    decision: Literal["confirmed", "rejected"] | None


class ProposedLinks(Answer):
    """GET /api/v1/incidents/{id}/links: by score, and what was looked through.

    Permission `footage.search`, purpose needed (the incident itself counts as one), a ledger row is written.
    """

    items: list[ProposedLink]
    considered: int
    radius_m: float
    from_at: UtcTime
    to_at: UtcTime
    classes: list[ObjectClass]


class LinkDecision(Ask):
    """PUT /api/v1/incidents/{id}/links/{target_kind}/{target_id}; DELETE takes the decision back."""

    decision: Literal["confirmed", "rejected"]
