"""What the hub accepts from agents, and what it says when it refuses."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hub.errors import HubError
from models.vocabulary import RefusalCode
from models.wire.base import Box
from models.wire.uplink import ClipSealed, DeviceFound, GapSeen, Presence, SightingSeen

VERIFY_JOB = "ingest.verify_clip"
BROKEN = "the seal before it is another one"
MAX_MESSAGE_BYTES = 1024 * 1024
OLDEST = timedelta(days=400)
FUTURE_SLACK = timedelta(hours=1)  # an agent's clock may be wrong; its skew is measured and shown
LONGEST_SIGHTING = timedelta(hours=24)
LONGEST_CLIP = timedelta(hours=6)
_BOX_SLACK = 0.01
_TIME_SLACK = timedelta(seconds=1)  # rounding is no reason to lose a sighting

Uplink = SightingSeen | ClipSealed | GapSeen | DeviceFound | Presence

CRITICAL = frozenset(
    {RefusalCode.WRONG_AGENT, RefusalCode.HASH_MISMATCH, RefusalCode.SEAL_INVALID, RefusalCode.CHAIN_BROKEN}
)


class Refused(HubError):
    """A message the hub will never take: recorded with an alarm, and a receipt where it was about a clip."""

    status = 422

    def __init__(
        self, code: RefusalCode, detail: str, *, camera_id: UUID | None = None, clip_id: UUID | None = None
    ) -> None:
        super().__init__(code.value, detail)
        self.refusal = code
        self.camera_id = camera_id
        self.clip_id = clip_id
        self.receipt = clip_id is not None


@dataclass(frozen=True)
class Verdict:
    """What reading the stored bytes of a clip showed: `code` None means they are the sealed ones."""

    code: RefusalCode | None
    detail: str = ""


def fault_of(message: Uplink, now: datetime) -> str:
    """What is wrong with a message that has the right shape: impossible times or boxes. Empty: nothing."""
    if isinstance(message, SightingSeen):
        return _span_fault(message.start_at, message.end_at, now, LONGEST_SIGHTING) or _sighting_fault(message)
    if isinstance(message, ClipSealed):
        body = message.seal.body
        return _span_fault(body.start_at, body.end_at, now, LONGEST_CLIP)
    if isinstance(message, GapSeen):
        return _span_fault(message.gap.start_at, message.gap.end_at, now, OLDEST)
    return ""


def _span_fault(start_at: datetime, end_at: datetime, now: datetime, longest: timedelta) -> str:
    if end_at < start_at:
        return "ends before it starts"
    if end_at - start_at > longest:
        return "too long"
    if end_at > now + FUTURE_SLACK:
        return "lies in the future"
    if start_at < now - OLDEST:
        return "too old"
    return ""


def _sighting_fault(seen: SightingSeen) -> str:
    if not seen.start_at - _TIME_SLACK <= seen.best_at <= seen.end_at + _TIME_SLACK:
        return "best_at outside the sighting"
    for box in _boxes(seen):
        if box.x + box.w > 1 + _BOX_SLACK or box.y + box.h > 1 + _BOX_SLACK:
            return "a box leaves the picture"
    longest_ms = (seen.end_at - seen.start_at + _TIME_SLACK) // timedelta(milliseconds=1)
    if any(point.t_ms > longest_ms for point in seen.trajectory):
        return "the trajectory outlasts the sighting"
    return ""


def _boxes(seen: SightingSeen) -> Iterator[Box]:
    yield seen.best_box
    for point in seen.trajectory:
        yield point.box
