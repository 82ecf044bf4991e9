"""A look at a camera's one still picture, and at when it has footage (times only)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hub.cameras import repository
from hub.cameras.model import Camera
from hub.db.engine import Connection
from hub.errors import Forbidden, Invalid, NotFound
from hub.identity.ledgering import draft
from hub.identity.model import Principal
from hub.kit.tokens import TokenSigner
from hub.ledger import service as ledger
from hub.ledger.model import Action
from models.consent import refusal
from models.wire.uplink import MissingSpan

SNAPSHOT_USE = "snapshot"
SNAPSHOT_LIFE = timedelta(minutes=2)
TIMELINE_MAX = timedelta(days=31)
_ROWS = 5000


@dataclass(frozen=True)
class SnapshotRight:
    """A right to fetch one still picture until `expires_at`."""

    token: str
    taken_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class ClipSpan:
    """When a clip is."""

    id: UUID
    start_at: datetime
    end_at: datetime
    status: str


@dataclass(frozen=True)
class Timeline:
    """Clips and gaps of a span, by time."""

    clips: list[ClipSpan]
    gaps: list[MissingSpan]


async def open_snapshot(
    tx: Connection, who: Principal, camera_id: UUID, signer: TokenSigner, now: datetime
) -> SnapshotRight:
    """A right to the camera's still; a ledger row. Of a camera at work only while its owner has neither paused it nor
    let the consent run out.

    Raises:
        NotFound: `camera.not_found`, `camera.no_snapshot`. Forbidden: `consent.paused`, `consent.expired`.
    """
    camera = await repository.camera(tx, camera_id)
    if camera is None:
        raise NotFound("camera.not_found")
    if camera.snapshot_key is None or camera.snapshot_at is None:
        raise NotFound("camera.no_snapshot")
    denied = _denied(camera, now)
    if denied:
        raise Forbidden(denied)
    entry = draft(
        who,
        Action.SNAPSHOT_SEEN,
        camera_ids=(camera.id,),
        subject_kind="camera",
        subject_id=camera.id,
        detail={"taken_at": camera.snapshot_at},
    )
    seq = await ledger.record(tx, entry, now)
    claims = {"camera": str(camera.id), "user": str(who.user_id), "ledger": seq}
    token, expires_at = signer.mint(SNAPSHOT_USE, claims, SNAPSHOT_LIFE)
    return SnapshotRight(token, camera.snapshot_at, expires_at)


def _denied(camera: Camera, now: datetime) -> str:
    """A candidate's still may be seen: it is what adoption is decided by. A retired camera's may not."""
    if camera.retired_at is not None:
        return "consent.expired"
    if camera.adopted_at is None:
        return ""
    # Hours and kinds of sharing are about what leaves the house; this picture was given when the camera was found.
    code = refusal(camera.consent, "live", now)
    return code if code in {"consent.missing", "consent.paused", "consent.expired"} else ""


async def snapshot_key(tx: Connection, camera_id: UUID, token: str, user_id: UUID | None, signer: TokenSigner) -> str:
    """The object of the still that `token` opens for the person it was made for, in that person's session.

    Raises:
        Forbidden: `token.invalid` (also: for another camera), `token.expired`, `token.other_user`.
        NotFound: `camera.no_snapshot`.
    """
    claims = signer.check(SNAPSHOT_USE, token)
    if claims.get("camera") != str(camera_id):
        raise Forbidden("token.invalid")
    if user_id is None or claims.get("user") != str(user_id):
        raise Forbidden("token.other_user")
    camera = await repository.camera(tx, camera_id)
    if camera is None or camera.snapshot_key is None:
        raise NotFound("camera.no_snapshot")
    return camera.snapshot_key


async def timeline(tx: Connection, camera_id: UUID, from_at: datetime, to_at: datetime) -> Timeline:
    """When there are clips and when footage is missing, within [`from_at`, `to_at`), 31 days at most.

    Raises:
        NotFound: `camera.not_found`. Invalid: `timeline.span_invalid`.
    """
    if not from_at < to_at <= from_at + TIMELINE_MAX:
        raise Invalid("timeline.span_invalid", "from < to, 31 days at most")
    if await repository.camera(tx, camera_id) is None:
        raise NotFound("camera.not_found")
    clips = await repository.clip_spans(tx, camera_id, from_at, to_at, _ROWS)
    gaps = await repository.gaps(tx, camera_id, from_at, to_at, _ROWS)
    return Timeline([ClipSpan(**clip) for clip in clips], gaps)
