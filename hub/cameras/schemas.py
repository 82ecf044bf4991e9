"""API shapes of cameras, their consent and their zones."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from hub.kit.shapes import Answer, Ask, Position, UtcTime
from models.vocabulary import CameraState, ConsentPurpose
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish, Consent, Hours
from models.wire.uplink import MissingSpan, StreamInfo


class Zone(Ask):
    """A named polygon in the picture, in fractions of its size, at least three points."""

    name: str = Field(min_length=1, max_length=60)
    points: list[tuple[float, float]] = Field(min_length=3, max_length=40)


class CameraHealth(Answer):
    """What is observed. `state` is `offline` when the agent's last report is older than 35 s."""

    state: CameraState
    since: UtcTime | None
    detail: str
    reported_at: UtcTime | None
    last_packet_at: UtcTime | None
    last_segment_at: UtcTime | None
    oldest_recording_at: UtcTime | None
    bitrate_kbps: int
    main: StreamInfo | None
    sub: StreamInfo | None
    clock: ClockReading


class CameraView(Answer):
    """A camera, adopted or candidate. No footage in it: `has_snapshot` says a still may be asked for."""

    id: UUID
    agent_id: UUID
    agent_name: str
    name: str
    village: str
    adopted: bool
    position: Position | None
    heading_deg: float | None
    fov_deg: float
    range_m: float
    zones: list[Zone]
    manufacturer: str
    model: str
    firmware: str
    address: str
    found_at: UtcTime
    health: CameraHealth
    consent: Consent | None
    consent_applied_version: int
    analytics: AnalyticsWish
    has_snapshot: bool


class CameraAdopt(Ask):
    """POST /api/v1/cameras/{id}/adoption: put a candidate to work."""

    name: str = Field(min_length=1, max_length=120)
    village: str = Field(default="", max_length=120)
    position: Position
    heading_deg: float = Field(ge=0, lt=360)
    fov_deg: float = Field(default=70, gt=0, le=360)
    range_m: float = Field(default=40, gt=0, le=1000)
    consent: "ConsentAsk"


class CameraPatch(Ask):
    """PATCH /api/v1/cameras/{id}."""

    name: str | None = Field(default=None, min_length=1, max_length=120)
    village: str | None = Field(default=None, max_length=120)
    position: Position | None = None
    heading_deg: float | None = Field(default=None, ge=0, lt=360)
    fov_deg: float | None = Field(default=None, gt=0, le=360)
    range_m: float | None = Field(default=None, gt=0, le=1000)
    zones: list[Zone] | None = Field(default=None, max_length=20)
    analytics: AnalyticsWish | None = None


class ConsentAsk(Ask):
    """PUT /api/v1/cameras/{id}/consent: what the owner allows; becomes the next version."""

    share_clips: bool
    share_live: bool
    purposes: list[ConsentPurpose] = Field(max_length=8)
    hours: list[Hours] = Field(default_factory=list, max_length=16)
    expires_at: UtcTime | None = None


class PauseAsk(Ask):
    """POST /api/v1/cameras/{id}/pause; without `until`: until resumed (DELETE)."""

    until: UtcTime | None = None


class SnapshotView(Answer):
    """POST /api/v1/cameras/{id}/snapshot-view: a short-lived URL of the camera's still (writes a ledger row)."""

    url: str
    taken_at: UtcTime
    expires_at: UtcTime


class CameraTimeline(Answer):
    """GET /api/v1/cameras/{id}/timeline?from&to: clips as spans, and gaps with reasons. Times only, no footage."""

    camera_id: UUID
    clips: list["TimelineClip"]
    gaps: list[MissingSpan]


class TimelineClip(Answer):
    """A clip's span."""

    id: UUID
    start_at: UtcTime
    end_at: UtcTime
    status: Literal["announced", "uploaded", "verified", "refused"]
