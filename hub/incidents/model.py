"""Incidents (警情) as the hub keeps them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from models.vocabulary import IncidentCategory

SITE_ZONE = ZoneInfo("Asia/Shanghai")
LONGEST = timedelta(days=31)

TargetKind = Literal["clip", "sighting"]
DecisionWord = Literal["confirmed", "rejected"]


@dataclass(frozen=True)
class Facts:
    """What is told of an incident. The span may be a moment."""

    category: IncidentCategory
    title: str
    note: str
    lon: float
    lat: float
    occurred_from: datetime
    occurred_to: datetime


@dataclass(frozen=True)
class Incident:
    """A row of `incidents`, with counts of its decided links."""

    id: UUID
    number: str
    category: str
    title: str
    note: str
    lon: float
    lat: float
    occurred_from: datetime
    occurred_to: datetime
    status: str
    created_by: UUID
    created_at: datetime
    closed_at: datetime | None
    confirmed_links: int
    rejected_links: int


@dataclass(frozen=True)
class Decision:
    """A row of `incident_links`."""

    target_kind: TargetKind
    target_id: UUID
    target_start_at: datetime
    decision: DecisionWord
    score: float
    reasons: list[dict[str, Any]]


def number_prefix(at: datetime) -> str:
    """`JQ-20261122-`: by the day at the site."""
    return f"JQ-{at.astimezone(SITE_ZONE):%Y%m%d}-"
