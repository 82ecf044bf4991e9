"""Cameras as the hub keeps them: what was found, what is wanted, what is observed."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from hub.kit.shapes import Position
from models.consent import refusal
from models.vocabulary import CameraState
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish, Consent
from models.wire.uplink import CameraReport, StreamInfo

REPORT_GOOD_FOR = timedelta(seconds=35)  # reports come every 10 s: three may be lost

# What an agent sends may begin a little before the consent it was made under was set here: clocks differ, and a
# change needs up to 2 s to reach the box.
CONSENT_SLACK = timedelta(seconds=10)


@dataclass(frozen=True)
class CameraZone:
    """A named polygon in the picture, in fractions of its size."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Device:
    """What the agent found out about the device."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    address: str = ""
    source: str = ""
    main: dict[str, Any] = field(default_factory=dict)
    sub: dict[str, Any] | None = None


@dataclass(frozen=True)
class Camera:
    """A row. `consent` None: none was ever given. `report` is the newest word of the agent, of `reported_at`."""

    id: UUID
    agent_id: UUID
    name: str
    village: str
    position: Position | None
    heading_deg: float | None
    fov_deg: float
    range_m: float
    zones: list[CameraZone]
    device: Device
    analytics: AnalyticsWish
    consent: Consent | None
    found_at: datetime
    adopted_at: datetime | None = None
    retired_at: datetime | None = None
    snapshot_key: str | None = None
    snapshot_at: datetime | None = None
    report: CameraReport | None = None
    reported_at: datetime | None = None

    @property
    def adopted(self) -> bool:
        """Whether it is at work: neither a candidate nor retired."""
        return self.adopted_at is not None and self.retired_at is None


@dataclass(frozen=True)
class Health:
    """What is observed now. `detail` is a stable code of the trouble, empty when well."""

    state: CameraState
    since: datetime | None
    detail: str
    reported_at: datetime | None
    last_packet_at: datetime | None
    last_segment_at: datetime | None
    oldest_recording_at: datetime | None
    bitrate_kbps: int
    main: StreamInfo | None
    sub: StreamInfo | None
    clock: ClockReading


def health(camera: Camera, now: datetime) -> Health:
    """The camera's health. A report that is no longer fresh says `offline` (`agent.silent`), whatever it said."""
    report = camera.report
    if report is None or camera.reported_at is None:
        return Health(
            CameraState.OFFLINE, None, "agent.no_report", None, None, None, None, 0, None, None, ClockReading()
        )
    fresh = now - camera.reported_at <= REPORT_GOOD_FOR
    return Health(
        state=report.state if fresh else CameraState.OFFLINE,
        since=report.since if fresh else camera.reported_at,
        detail=report.detail if fresh else "agent.silent",
        reported_at=camera.reported_at,
        last_packet_at=report.last_packet_at,
        last_segment_at=report.last_segment_at,
        oldest_recording_at=report.oldest_recording_at,
        bitrate_kbps=report.bitrate_kbps if fresh else 0,
        main=report.main,
        sub=report.sub,
        clock=report.clock,
    )


@dataclass(frozen=True)
class ConsentSpan:
    """One version of a consent and when it was in force: [`from_at`, `to_at`), `to_at` None: still."""

    consent: Consent
    from_at: datetime
    to_at: datetime | None


def refusal_within(spans: list[ConsentSpan], what: Literal["clips", "live"], at: datetime) -> str:
    """Why no consent that was in force around `at` (± `CONSENT_SLACK`) allows `what`; "" when one does."""
    near = [
        span
        for span in spans
        if span.from_at <= at + CONSENT_SLACK and (span.to_at is None or span.to_at > at - CONSENT_SLACK)
    ]
    refusals = [refusal(span.consent, what, at) for span in near]
    if "" in refusals:
        return ""
    return refusals[-1] if refusals else "consent.missing"
