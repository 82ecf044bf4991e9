"""Health and consent of a camera over time: rules that need no server."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from hub.cameras.model import CONSENT_SLACK, Camera, ConsentSpan, Device, health, refusal_within
from models.vocabulary import CameraState
from models.wire.downlink import AnalyticsWish, Consent
from models.wire.uplink import CameraReport

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
FULL = Consent(version=1, share_clips=True, share_live=True, purposes=[])
PAUSED = FULL.model_copy(update={"version": 2, "paused": True})


def camera(**changes: Any) -> Camera:
    base: dict[str, Any] = {
        "id": uuid4(),
        "agent_id": uuid4(),
        "name": "村口",
        "village": "",
        "position": None,
        "heading_deg": None,
        "fov_deg": 70,
        "range_m": 40,
        "zones": [],
        "device": Device(),
        "analytics": AnalyticsWish(),
        "consent": FULL,
        "found_at": NOW,
    }
    return Camera(**{**base, **changes})


def reported(state: CameraState, **changes: Any) -> Camera:
    report = CameraReport(camera_id=uuid4(), state=state, since=NOW - timedelta(hours=1), bitrate_kbps=900)
    return camera(report=report, reported_at=NOW, **changes)


def test_a_camera_nobody_reported_on_is_offline() -> None:
    seen = health(camera(), NOW)
    assert (seen.state, seen.detail, seen.since) == (CameraState.OFFLINE, "agent.no_report", None)


def test_a_fresh_report_is_believed_and_a_stale_one_is_not() -> None:
    live = reported(CameraState.LIVE)
    assert health(live, NOW + timedelta(seconds=35)).state is CameraState.LIVE
    stale = health(live, NOW + timedelta(seconds=36))
    assert (stale.state, stale.detail, stale.since, stale.bitrate_kbps) == (CameraState.OFFLINE, "agent.silent", NOW, 0)


def test_a_stale_report_of_a_pause_is_no_pause() -> None:
    assert health(reported(CameraState.PAUSED), NOW + timedelta(hours=1)).state is CameraState.OFFLINE


def test_adopted_means_at_work() -> None:
    assert not camera().adopted
    assert camera(adopted_at=NOW).adopted
    assert not camera(adopted_at=NOW, retired_at=NOW).adopted


HOUR = timedelta(hours=1)
SPANS = [ConsentSpan(FULL, NOW, NOW + HOUR), ConsentSpan(PAUSED, NOW + HOUR, None)]
TICK = timedelta(microseconds=1)


def test_footage_is_judged_by_the_consent_in_force_when_it_was_made() -> None:
    assert refusal_within(SPANS, "clips", NOW + HOUR / 2) == ""
    assert refusal_within(SPANS, "clips", NOW + 2 * HOUR) == "consent.paused"
    assert refusal_within([], "clips", NOW) == "consent.missing"


def test_clocks_and_delivery_may_differ_by_the_slack_and_no_more() -> None:
    assert refusal_within(SPANS, "clips", NOW - CONSENT_SLACK) == ""
    assert refusal_within(SPANS, "clips", NOW - CONSENT_SLACK - TICK) == "consent.missing"
    assert refusal_within(SPANS, "clips", NOW + HOUR + CONSENT_SLACK - TICK) == ""
    assert refusal_within(SPANS, "clips", NOW + HOUR + CONSENT_SLACK) == "consent.paused"
