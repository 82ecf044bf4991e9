"""What a consent allows at a moment. One pure rule, used by the agent (which enforces it) and by the hub (which asks first)."""

from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from models.wire.downlink import Consent, Hours

SITE_ZONE = ZoneInfo("Asia/Shanghai")

What = Literal["clips", "live"]


def refusal(consent: Consent | None, what: What, at: datetime, zone: ZoneInfo = SITE_ZONE) -> str:
    """Why `consent` does not allow `what` at the aware time `at`; "" when it does.

    In this order: `consent.missing`, `consent.paused`, `consent.expired`, `consent.out_of_hours`,
    `consent.clips_not_shared` or `consent.live_not_shared`. All spans are half-open: a pause until 12:00 is over at 12:00.
    """
    if at.tzinfo is None:
        raise ValueError("an aware time is needed")
    if consent is None:
        return "consent.missing"
    if is_paused(consent, at):
        return "consent.paused"
    if consent.expires_at is not None and at >= consent.expires_at:
        return "consent.expired"
    if not in_hours(consent.hours, at, zone):
        return "consent.out_of_hours"
    if what == "clips" and not consent.share_clips:
        return "consent.clips_not_shared"
    if what == "live" and not consent.share_live:
        return "consent.live_not_shared"
    return ""


def is_paused(consent: Consent, at: datetime) -> bool:
    """Whether the owner's pause holds at `at`."""
    return consent.paused and (consent.paused_until is None or at < consent.paused_until)


def in_hours(hours: list[Hours], at: datetime, zone: ZoneInfo = SITE_ZONE) -> bool:
    """Whether `at` lies in one of the daily windows, by the wall clock of `zone`; no windows: always.

    A window belongs to the weekday it begins on: Friday 22:00 to 06:00 also covers Saturday's early hours, and no
    other. One with `end` equal to `start` is a whole day long.
    """
    if not hours:
        return True
    local = at.astimezone(zone)
    return any(_covers(window, local) for window in hours)


def _covers(window: Hours, local: datetime) -> bool:
    today, yesterday = local.isoweekday(), (local - timedelta(days=1)).isoweekday()
    # Windows are wall-clock times of the site; an offset that a client wrote to them has no meaning here.
    now, start, end = local.time(), _plain(window.start), _plain(window.end)
    if start < end:
        return today in window.days and start <= now < end
    return (today in window.days and now >= start) or (yesterday in window.days and now < end)


def _plain(clock: time) -> time:
    return clock.replace(tzinfo=None)
