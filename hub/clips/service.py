"""Clips: what is known of them, their chains, and the right to play one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hub.clips import repository
from hub.clips.model import FINAL, ChainLink, Clip, ClipStatus, judge_chain, object_key
from hub.db.engine import Connection
from hub.errors import Conflict, NotFound
from hub.identity.ledgering import draft
from hub.identity.model import Principal
from hub.kit.cursors import Place
from hub.kit.tokens import TokenSigner
from hub.ledger import service as ledger
from hub.ledger.model import Action
from models.wire.uplink import ClipSealed

PLAY_LIFE = timedelta(minutes=10)
PLAY_USE = "clip"


async def clip(tx: Connection, clip_id: UUID, *, lock: bool = False) -> Clip:
    """A clip. Raises `NotFound("clip.not_found")`."""
    found = await repository.clip(tx, clip_id, lock=lock)
    if found is None:
        raise NotFound("clip.not_found")
    return found


async def find(tx: Connection, clip_id: UUID) -> Clip | None:
    """A clip, or None."""
    return await repository.clip(tx, clip_id)


async def announce(
    tx: Connection, said: ClipSealed, *, refusal: tuple[str, str] | None, seal_ok: bool, now: datetime
) -> list[Clip]:
    """Keeps an announced clip and settles its place in the chain, and with it that of the seals after it.

    `refusal`: code and detail when it is refused at once. `seal_ok` false: its seal takes no part in the chain.
    Answers the clips (this one among them) whose chain turned out broken.
    """
    body = said.seal.body
    await repository.lock_chain(tx, body.camera_id)
    await repository.insert(
        tx,
        said,
        key=object_key(body.camera_id, body.clip_id, body.start_at),
        chain_ok=None,
        refusal=refusal,
        now=now,
    )
    if not seal_ok:
        return []
    this = await clip(tx, body.clip_id)
    after = await repository.waiting(tx, body.camera_id, body.seq + 1)
    return [one for one in [this, *after] if await _settle(tx, one) is False]


async def _settle(tx: Connection, one: Clip) -> bool | None:
    same = await repository.links(tx, one.camera_id, one.chain_seq)
    before = await repository.links(tx, one.camera_id, one.chain_seq - 1)
    ok = judge_chain(one.id, one.chain_seq, one.chain_prev, before, _earlier(same, one.id))
    if ok is not None:
        await repository.set_chain(tx, one.id, ok)
    return ok


def _earlier(same: list[ChainLink], clip_id: UUID) -> list[ChainLink]:
    """Of the seals with one number, those that came before this clip's."""
    ids = [link.clip_id for link in same]
    return same[: ids.index(clip_id)] if clip_id in ids else same


async def refuse(tx: Connection, clip_id: UUID, code: str, detail: str) -> None:
    """Refuses a clip for good."""
    await repository.set_refused(tx, clip_id, code, detail)


async def verify(tx: Connection, clip_id: UUID, now: datetime) -> None:
    """The stored bytes were read and are the sealed ones."""
    await repository.set_verified(tx, clip_id, now)


async def begin_upload(tx: Connection, clip_id: UUID, upload_id: str) -> None:
    """Notes the multi-part upload that is under way."""
    await repository.set_upload(tx, clip_id, upload_id)


async def uploaded(tx: Connection, clip_id: UUID) -> None:
    """Notes that the object is there."""
    await repository.set_uploaded(tx, clip_id)


async def of_agent(tx: Connection, agent_id: UUID, clip_ids: list[UUID]) -> dict[UUID, Clip]:
    """Those of the clips that this agent announced, by id."""
    return {one.id: one for one in await repository.statuses(tx, agent_id, clip_ids)}


async def unjudged(tx: Connection, before: datetime, limit: int = 100) -> list[UUID]:
    """Clips that were announced before `before`, are uploaded, and have no verdict: their job died."""
    return await repository.unjudged(tx, before, limit)


async def clip_of_sighting(tx: Connection, camera_id: UUID, sighting_id: UUID, near: datetime) -> UUID | None:
    """The clip that names a sighting of its camera, if it came before the sighting did."""
    return await repository.clip_of_sighting(tx, camera_id, sighting_id, near)


@dataclass(frozen=True)
class ClipFilter:
    """Which clips are listed; None: any. The span is half-open."""

    camera_id: UUID | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None
    status: ClipStatus | None = None


async def page(
    tx: Connection, who: Principal, wanted: ClipFilter, after: Place | None, limit: int, now: datetime
) -> tuple[list[Clip], Place | None]:
    """Clips newest first, the place where the next page begins, and a row in the ledger for the look."""
    rows = await repository.page(
        tx,
        camera_id=wanted.camera_id,
        from_at=wanted.from_at,
        to_at=wanted.to_at,
        status=wanted.status.value if wanted.status else None,
        after=after,
        limit=limit + 1,
    )
    items = rows[:limit]
    cameras = tuple(sorted({one.camera_id for one in items}))
    await ledger.record(
        tx, draft(who, Action.SEARCHED, camera_ids=cameras, detail={"what": "clips", "count": len(items)}), now
    )
    return items, Place(items[-1].start_at, items[-1].id) if len(rows) > limit else None


async def look(tx: Connection, who: Principal, clip_id: UUID, now: datetime) -> Clip:
    """One clip's data, with a row in the ledger."""
    found = await clip(tx, clip_id)
    await ledger.record(
        tx,
        draft(
            who,
            Action.SEARCHED,
            camera_ids=(found.camera_id,),
            subject_kind="clip",
            subject_id=clip_id,
            detail={"what": "clip"},
        ),
        now,
    )
    return found


async def counts(tx: Connection) -> dict[str, int]:
    """Clips by status (`announced` …), and `waiting` and `broken` places in the chains."""
    return await repository.counts(tx)


@dataclass(frozen=True)
class Ticket:
    """The right to play one clip for a while."""

    clip: Clip
    url: str
    expires_at: datetime


async def play(tx: Connection, signer: TokenSigner, who: Principal, clip_id: UUID, now: datetime) -> Ticket:
    """A URL for ten minutes, for this person, under the ledger row written here.

    Raises:
        NotFound: `clip.not_found`.
        Conflict: `clip.not_verified`: only what was verified plays.
    """
    found = await clip(tx, clip_id)
    if found.status != ClipStatus.VERIFIED:
        raise Conflict("clip.not_verified", f"status is {found.status}")
    seq = await ledger.record(
        tx,
        draft(
            who,
            Action.CLIP_PLAYED,
            camera_ids=(found.camera_id,),
            subject_kind="clip",
            subject_id=clip_id,
            detail={"start_at": found.start_at.isoformat(), "end_at": found.end_at.isoformat()},
        ),
        now,
    )
    claims = {"id": str(clip_id), "user": str(who.user_id), "seq": seq}
    token, expires_at = signer.mint(PLAY_USE, claims, PLAY_LIFE)
    return Ticket(found, f"/api/v1/media/clips/{clip_id}?token={token}", expires_at)


def is_final(one: Clip) -> bool:
    """Whether the hub has said its last word on the clip."""
    return one.status in FINAL
