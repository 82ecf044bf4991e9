"""Search: what was asked, understood, found, and written into the ledger."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.clips import service as clips
from hub.db.engine import Connection
from hub.errors import Invalid
from hub.identity.ledgering import draft
from hub.identity.model import Principal
from hub.kit.cursors import Place
from hub.ledger import service as ledger
from hub.ledger.model import Action
from hub.search import repository
from hub.search.model import MAX_SPAN, Counts, Wanted
from hub.search.words import Reading, fold, understand
from hub.sightings import service as sightings
from hub.sightings.model import Sighting


@dataclass(frozen=True)
class Found:
    """A page of sightings under its ledger row."""

    items: list[Sighting]
    following: Place | None
    reading: Reading
    ledger_seq: int


async def _read(tx: Connection, wanted: Wanted, q: str) -> tuple[Wanted, Reading]:
    if wanted.to_at <= wanted.from_at or wanted.to_at - wanted.from_at > MAX_SPAN:
        raise Invalid("search.span_invalid", f"a span ends after it begins and has at most {MAX_SPAN.days} days")
    if wanted.area is not None and len(set(wanted.area)) < 3:
        raise Invalid("search.area_invalid", "a polygon has three corners or more")
    if not q.strip():
        return wanted, Reading()
    places = await repository.places(tx)
    reading = understand(q, dict.fromkeys(places.values()))
    cameras = _named(places, reading.places)
    for word in reading.places:
        reading.understood[word] = f"place:{word}"
    return wanted.narrowed(reading.classes, reading.colours, cameras), reading


def _named(places: dict[UUID, str], words: list[str]) -> set[UUID] | None:
    """Cameras whose name and village hold every one of the words; None: no word was about a place."""
    if not words:
        return None
    return {camera for camera, place in places.items() if all(word in fold(place) for word in words)}


async def find(
    tx: Connection, who: Principal, wanted: Wanted, q: str, after: Place | None, limit: int, now: datetime
) -> Found:
    """A page of matching sightings, newest first; the ledger learns who looked for what, and whose cameras were shown.

    Raises:
        Invalid: `search.span_invalid`, `search.area_invalid`.
    """
    wanted, reading = await _read(tx, wanted, q)
    rows = await repository.page(tx, wanted, after, limit + 1)
    items = rows[:limit]
    detail = _told(wanted, q) | {"what": "sightings", "count": len(items), "first_page": after is None}
    seq = await _record(tx, who, {one.camera_id for one in items}, detail, now)
    following = Place(items[-1].start_at, items[-1].id) if len(rows) > limit else None
    return Found(items, following, reading, seq)


async def count(tx: Connection, who: Principal, wanted: Wanted, q: str, now: datetime) -> Counts:
    """Figures over all that matches, with a ledger row. Raises as `find`."""
    wanted, _ = await _read(tx, wanted, q)
    counts = await repository.counts(tx, wanted)
    detail = _told(wanted, q) | {"what": "histogram", "count": counts.total}
    await _record(tx, who, set(counts.by_camera), detail, now)
    return counts


async def look(
    tx: Connection, who: Principal, sighting_id: UUID, start_at: datetime, now: datetime
) -> tuple[Sighting, int]:
    """One sighting with its path, and its ledger row. Raises `NotFound("sighting.not_found")`."""
    found = await sightings.sighting(tx, sighting_id, start_at)
    seq = await ledger.record(
        tx,
        draft(
            who,
            Action.SEARCHED,
            camera_ids=(found.camera_id,),
            subject_kind="sighting",
            subject_id=sighting_id,
            detail={"what": "sighting", "start_at": start_at.isoformat()},
        ),
        now,
    )
    return found, seq


async def look_at_clip(tx: Connection, who: Principal, clip_id: UUID, now: datetime) -> tuple[list[Sighting], int]:
    """All sightings of one clip with their paths, under one ledger row. Raises `NotFound("clip.not_found")`."""
    clip = await clips.clip(tx, clip_id)
    found = await sightings.of_clip(tx, clip.camera_id, clip.sighting_ids, clip.start_at, clip.end_at)
    seq = await ledger.record(
        tx,
        draft(
            who,
            Action.SEARCHED,
            camera_ids=(clip.camera_id,),
            subject_kind="clip",
            subject_id=clip_id,
            detail={"what": "clip_sightings", "clip_id": clip_id, "count": len(found)},
        ),
        now,
    )
    return found, seq


async def _record(tx: Connection, who: Principal, shown: set[UUID], detail: dict[str, Any], now: datetime) -> int:
    return await ledger.record(tx, draft(who, Action.SEARCHED, camera_ids=tuple(sorted(shown)), detail=detail), now)


def _told(wanted: Wanted, q: str) -> dict[str, Any]:
    """The filters as the ledger keeps them (text and whole numbers: their bytes are hashed)."""
    told: dict[str, Any] = {"from_at": wanted.from_at.isoformat(), "to_at": wanted.to_at.isoformat()}
    if q:
        told["q"] = q
    for name in ("camera_ids", "classes", "colours"):
        values = getattr(wanted, name)
        if values:
            told[name] = [str(value) for value in values]
    if wanted.area is not None:
        told["area"] = [f"{lon:.6f},{lat:.6f}" for lon, lat in wanted.area]
    for name in ("zone", "min_duration_ms", "min_score"):
        value = getattr(wanted, name)
        if value is not None:
            told[name] = value if isinstance(value, int) else str(value)
    return told
