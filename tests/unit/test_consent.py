"""The consent rule: what a resident allows, to the microsecond, by the wall clock of the village."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.consent import in_hours, refusal
from models.vocabulary import ConsentPurpose
from models.wire.downlink import Consent, Hours

SHANGHAI = ZoneInfo("Asia/Shanghai")
FRIDAY = datetime(2026, 11, 20, tzinfo=SHANGHAI)  # a Friday, 00:00 in the village
TICK = timedelta(microseconds=1)


def consent(**changes: Any) -> Consent:
    """Everything allowed at any time, but for `changes`."""
    base: dict[str, Any] = {
        "version": 1,
        "share_clips": True,
        "share_live": True,
        "purposes": [ConsentPurpose.THEFT_LOSS],
    }
    return Consent(**{**base, **changes})


def window(days: list[int], start: str, end: str) -> Hours:
    return Hours(days=days, start=time.fromisoformat(start), end=time.fromisoformat(end))


def at(day: int, clock: str) -> datetime:
    """`day` days after Friday midnight, at a wall-clock time of the village."""
    return datetime.combine((FRIDAY + timedelta(days=day)).date(), time.fromisoformat(clock), SHANGHAI)


def test_nothing_is_allowed_without_a_consent() -> None:
    assert refusal(None, "clips", FRIDAY) == "consent.missing"
    assert refusal(None, "live", FRIDAY) == "consent.missing"


def test_a_full_consent_allows_both() -> None:
    assert refusal(consent(), "clips", FRIDAY) == ""
    assert refusal(consent(), "live", FRIDAY) == ""


def test_clips_and_live_are_allowed_apart() -> None:
    assert refusal(consent(share_clips=False), "clips", FRIDAY) == "consent.clips_not_shared"
    assert refusal(consent(share_clips=False), "live", FRIDAY) == ""
    assert refusal(consent(share_live=False), "live", FRIDAY) == "consent.live_not_shared"
    assert refusal(consent(share_live=False), "clips", FRIDAY) == ""


def test_a_pause_without_end_holds_until_resumed() -> None:
    assert refusal(consent(paused=True), "clips", FRIDAY + timedelta(days=3650)) == "consent.paused"


def test_a_pause_until_noon_is_over_at_noon_exactly() -> None:
    noon = at(0, "12:00")
    paused = consent(paused=True, paused_until=noon)
    assert refusal(paused, "live", noon - TICK) == "consent.paused"
    assert refusal(paused, "live", noon) == ""


def test_an_end_of_a_pause_means_nothing_without_a_pause() -> None:
    assert refusal(consent(paused=False, paused_until=at(1, "12:00")), "live", FRIDAY) == ""


def test_an_expired_consent_allows_nothing_from_its_end_on() -> None:
    end = at(2, "00:00")
    assert refusal(consent(expires_at=end), "clips", end - TICK) == ""
    assert refusal(consent(expires_at=end), "clips", end) == "consent.expired"


def test_the_first_reason_is_named() -> None:
    nothing = consent(share_clips=False, paused=True, expires_at=FRIDAY, hours=[window([], "00:00", "00:00")])
    assert refusal(nothing, "clips", FRIDAY) == "consent.paused"
    assert refusal(nothing.model_copy(update={"paused": False}), "clips", FRIDAY) == "consent.expired"
    in_time = nothing.model_copy(update={"paused": False, "expires_at": None})
    assert refusal(in_time, "clips", FRIDAY) == "consent.out_of_hours"
    assert refusal(in_time.model_copy(update={"hours": []}), "clips", FRIDAY) == "consent.clips_not_shared"


@pytest.mark.parametrize(
    ("day", "clock", "open_"),
    [
        (0, "07:59:59.999999", False),
        (0, "08:00", True),
        (0, "17:59:59.999999", True),
        (0, "18:00", False),
        (1, "12:00", False),  # Saturday
    ],
)
def test_a_day_window_is_half_open(day: int, clock: str, open_: bool) -> None:
    hours = [window([1, 2, 3, 4, 5], "08:00", "18:00")]
    assert in_hours(hours, at(day, clock)) is open_


@pytest.mark.parametrize(
    ("day", "clock", "open_"),
    [
        (0, "05:59", False),  # Friday's early hours belong to Thursday's window, which is not given
        (0, "21:59:59.999999", False),
        (0, "22:00", True),
        (0, "23:59:59.999999", True),
        (1, "00:00", True),  # Saturday's early hours belong to Friday's window
        (1, "05:59:59.999999", True),
        (1, "06:00", False),
        (1, "22:00", False),  # no window begins on Saturday
        (2, "03:00", False),
    ],
)
def test_a_window_across_midnight_belongs_to_the_day_it_begins_on(day: int, clock: str, open_: bool) -> None:
    assert in_hours([window([5], "22:00", "06:00")], at(day, clock)) is open_


def test_sunday_night_reaches_into_monday() -> None:
    assert in_hours([window([7], "20:00", "04:00")], at(3, "03:59")) is True
    assert in_hours([window([7], "20:00", "04:00")], at(3, "04:00")) is False


def test_equal_ends_are_a_whole_day_from_that_time() -> None:
    hours = [window([5], "09:00", "09:00")]
    assert in_hours(hours, at(0, "08:59")) is False
    assert in_hours(hours, at(0, "09:00")) is True
    assert in_hours(hours, at(1, "08:59")) is True
    assert in_hours(hours, at(1, "09:00")) is False


def test_one_of_several_windows_is_enough() -> None:
    hours = [window([5], "01:00", "02:00"), window([5], "03:00", "04:00")]
    assert [in_hours(hours, at(0, clock)) for clock in ("01:30", "02:30", "03:30")] == [True, False, True]


def test_a_window_without_days_or_with_days_that_are_none_opens_nothing() -> None:
    assert in_hours([window([], "00:00", "00:00")], FRIDAY) is False
    assert in_hours([window([0, 8, -3], "00:00", "00:00")], FRIDAY) is False


def test_hours_are_the_villages_whatever_zone_the_moment_is_told_in() -> None:
    hours = [window([5], "08:00", "09:00")]
    moment = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)  # 08:30 in Shanghai
    assert in_hours(hours, moment) is True
    assert in_hours(hours, moment.astimezone(ZoneInfo("America/New_York"))) is True
    assert in_hours(hours, moment, ZoneInfo("Europe/Berlin")) is False


def test_an_offset_written_to_a_window_is_read_as_wall_clock() -> None:
    hours = [Hours.model_validate({"days": [5], "start": "08:00:00Z", "end": "09:00:00+02:00"})]
    assert in_hours(hours, at(0, "08:30")) is True


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        refusal(consent(), "clips", FRIDAY.replace(tzinfo=None))


@given(
    start=st.times().map(lambda t: t.replace(microsecond=0)),
    end=st.times().map(lambda t: t.replace(microsecond=0)),
    minutes=st.integers(min_value=0, max_value=7 * 1440 - 1),
)
def test_a_window_on_every_day_covers_the_wall_clock_and_nothing_else(start: time, end: time, minutes: int) -> None:
    moment = FRIDAY + timedelta(minutes=minutes)
    now = moment.time()
    expected = start <= now < end if start < end else now >= start or now < end
    assert in_hours([Hours(days=[1, 2, 3, 4, 5, 6, 7], start=start, end=end)], moment) is expected


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_pause_refuses_whatever_else_is_allowed(moment: datetime) -> None:
    assert refusal(consent(paused=True), "clips", moment) == "consent.paused"
    assert refusal(consent(paused=True), "live", moment) == "consent.paused"
