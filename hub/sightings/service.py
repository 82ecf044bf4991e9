"""Sightings: keep the newest revision of each, once; partitions by day; tokens for their pictures."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from hub.db.engine import Connection
from hub.errors import Conflict, Invalid, NotFound
from hub.kit.tokens import TokenSigner
from hub.sightings import repository
from hub.sightings.model import Sighting, Zone, partition_day, picture_key, zones_entered
from hub.storage.port import Bucket, ObjectStore
from models.wire.uplink import SightingSeen

DAYS_AHEAD = 3
PICTURE_LIFE = timedelta(minutes=10)
PICTURE_USE = "picture"
_JPEG_START = b"\xff\xd8\xff"


async def ensure_partitions(tx: Connection, day: date, ahead: int = DAYS_AHEAD) -> int:
    """Makes the partitions of `day` and the `ahead` days after it where they are missing; how many were made.

    Call it in a transaction of its own, before rows are touched: then two makers never wait for each other.
    """
    days = [day + timedelta(days=step) for step in range(ahead + 1)]
    if not await repository.missing_partitions(tx, days):
        return 0
    await repository.lock_partitions(tx)
    missing = await repository.missing_partitions(tx, days)
    for one in missing:
        await repository.make_partition(tx, one)
    return len(missing)


async def needs_partition(tx: Connection, start_at: datetime) -> bool:
    """Whether a sighting that starts then has no partition to go to."""
    return bool(await repository.missing_partitions(tx, [partition_day(start_at)]))


@dataclass(frozen=True)
class Arrival:
    """What became of a sighting message: `new` row, `newer` revision, or `known` already (nothing changed)."""

    outcome: str


async def upsert(
    tx: Connection,
    store: ObjectStore,
    seen: SightingSeen,
    *,
    agent_id: UUID,
    zones: list[Zone],
    clip_id: UUID | None,
    now: datetime,
) -> Arrival:
    """Keeps the highest revision of a sighting, whatever order they come in.

    The picture is stored before the row is committed: a crash between leaves an object without a row (which the next
    delivery uses), never a row without its object.

    Raises:
        Invalid: `sighting.picture_not_jpeg`.
        Conflict: `sighting.other_camera`, the id belongs to another camera's sighting.
    """
    if seen.picture is not None and not seen.picture.startswith(_JPEG_START):
        raise Invalid("sighting.picture_not_jpeg")
    await repository.lock_sighting(tx, seen.sighting_id)
    known = await repository.stored(tx, seen.sighting_id, seen.start_at)
    if known is not None and known.camera_id != seen.camera_id:
        raise Conflict("sighting.other_camera")
    stale = known is not None and known.revision >= seen.revision
    picture = None
    if seen.picture is not None and not (stale and known is not None and known.picture_key):
        picture = picture_key(seen)
        await store.put(Bucket.PICTURES, picture, seen.picture, "image/jpeg")
    if known is None:
        entered = zones_entered(seen.trajectory, zones)
        await repository.insert(tx, seen, agent_id=agent_id, zones=entered, clip_id=clip_id, picture=picture, now=now)
        return Arrival("new")
    if stale:
        if picture:
            await repository.set_picture(tx, seen.sighting_id, known.start_at, picture)
        return Arrival("known")
    await repository.update(
        tx,
        seen,
        known.start_at,
        agent_id=agent_id,
        zones=zones_entered(seen.trajectory, zones),
        clip_id=clip_id,
        picture=picture,
        now=now,
    )
    return Arrival("newer")


async def attach_clip(
    tx: Connection, camera_id: UUID, sighting_ids: list[UUID], clip_id: UUID, since: datetime, until: datetime
) -> None:
    """Names a clip in the sightings it shows, as far as they are here already and of the same camera."""
    if sighting_ids:
        await repository.attach_clip(tx, camera_id, sighting_ids, clip_id, since, until)


async def sighting(tx: Connection, sighting_id: UUID, start_at: datetime) -> Sighting:
    """One sighting of an adopted camera. Raises `NotFound("sighting.not_found")`."""
    found = await repository.one(tx, sighting_id, start_at)
    if found is None:
        raise NotFound("sighting.not_found")
    return found


async def of_clip(
    tx: Connection, camera_id: UUID, sighting_ids: list[UUID], start_at: datetime, end_at: datetime
) -> list[Sighting]:
    """The sightings a clip names, as far as they came and are of its camera. `start_at`, `end_at`: the clip's span."""
    if not sighting_ids:
        return []
    return await repository.of_clip(tx, camera_id, sighting_ids, start_at, end_at)


def picture_url(
    signer: TokenSigner, sighting_id: UUID, start_at: datetime, key: str | None, user_id: UUID, ledger_seq: int
) -> str | None:
    """A short-lived URL of a sighting's picture, for one person, under the ledger row `ledger_seq`."""
    if key is None:
        return None
    claims: dict[str, Any] = {
        "id": str(sighting_id),
        "at": start_at.isoformat(),
        "user": str(user_id),
        "seq": ledger_seq,
    }
    token, _ = signer.mint(PICTURE_USE, claims, PICTURE_LIFE)
    return f"/api/v1/media/pictures/{sighting_id}?token={token}"
