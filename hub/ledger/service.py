"""The ledger: every look and every change, in one chain of hashes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from hub.db.engine import Connection
from hub.ledger import repository
from hub.ledger.model import GENESIS, Draft, Entry, Verdict, entry_hash, storable


async def record(tx: Connection, draft: Draft, now: datetime) -> int:
    """Writes `draft` as the next entry, in the transaction of the act it tells of; its sequence number.

    Writers queue from here to their commit, so call it late in a transaction.
    """
    seq, prev = await repository.lock_head(tx)
    entry = Entry(
        seq=seq + 1,
        at=now,
        actor_id=draft.actor_id,
        actor_name=storable(draft.actor_name),
        actor_role=draft.actor_role,
        action=draft.action.value,
        purpose_kind=draft.purpose_kind,
        purpose_incident_id=draft.purpose_incident_id,
        purpose_note=storable(draft.purpose_note),
        camera_ids=list(draft.camera_ids),
        subject_kind=draft.subject_kind,
        subject_id=draft.subject_id,
        detail=storable(draft.detail),
        prev_hash=prev,
        entry_hash="",
    )
    await repository.add(tx, replace(entry, entry_hash=entry_hash(entry)))
    return entry.seq


async def verify(tx: Connection) -> Verdict:
    """Walks the chain from the first entry to the head.

    Finds a row that was changed, removed, added or moved, and rows cut off at the end (by the head). One who can rewrite
    the whole table and the head can forge a new chain: against that only a copy of a head hash kept elsewhere helps.
    """
    # The head first: entries written while we walk come after it and are walked, too.
    head_seq, head_hash = await repository.head(tx)
    count, prev, at_head = 0, GENESIS, GENESIS
    async for entry in repository.walk(tx):
        reason = _fault(entry, count + 1, prev)
        if reason:
            return Verdict(False, count, prev, count + 1, reason)
        count, prev = count + 1, entry.entry_hash
        if count == head_seq:
            at_head = prev
    if count < head_seq:
        return Verdict(False, count, prev, count + 1, "missing")
    if at_head != head_hash:
        return Verdict(False, count, prev, head_seq or 1, "head_differs")
    return Verdict(True, count, prev)


def _fault(entry: Entry, expected_seq: int, prev: str) -> str:
    if entry.seq != expected_seq:
        return "missing"
    if entry.prev_hash != prev:
        return "chain_differs"
    if entry.entry_hash != entry_hash(entry):
        return "content_differs"
    return ""


async def page(
    tx: Connection,
    *,
    camera_id: UUID | None = None,
    actor_id: UUID | None = None,
    action: str | None = None,
    before_seq: int | None = None,
    limit: int = 50,
) -> tuple[list[Entry], int | None]:
    """Entries that fit, newest first, and where the next page begins (None: no more)."""
    found = await repository.page(
        tx, camera_id=camera_id, actor_id=actor_id, action=action, before_seq=before_seq, limit=limit + 1
    )
    return found[:limit], found[limit - 1].seq if len(found) > limit else None


async def camera_names(tx: Connection, entries: Sequence[Entry]) -> dict[UUID, str]:
    """Today's names of the cameras the entries tell of, as far as they are there."""
    wanted = {camera_id for entry in entries for camera_id in entry.camera_ids}
    return await repository.camera_names(tx, wanted) if wanted else {}
