"""Time as the agent keeps it: aware UTC in code, integer microseconds since 1970 in the spool."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    """Now, aware, UTC."""
    return datetime.now(UTC)


def to_us(at: datetime) -> int:
    """Integer microseconds since 1970: exact, where a float would lose the last digits."""
    return (at - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The aware UTC time of `to_us`."""
    return _EPOCH + timedelta(microseconds=us)
