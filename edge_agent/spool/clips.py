"""Clips from the first sighting of an event to the hub's receipt, and the chain of seals of each camera.

States are in `schema`. Every step is one transaction and safe to repeat, so that a kill between two of them neither skips nor
doubles anything.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from edge_agent.kit.clock import from_us, to_us, utc_now
from edge_agent.kit.ids import new_id
from edge_agent.spool import outbox
from edge_agent.spool.store import count_loss
from models.keys import SigningKey
from models.wire.base import ClockReading
from models.wire.downlink import Receipt
from models.wire.seal import GENESIS, Seal, SealBody, seal_hash, signed_bytes
from models.wire.uplink import ClipSealed, MediaInfo, MissingSpan

MAX_SIGHTINGS = 200  # as many as a ClipSealed may name


@dataclass(frozen=True)
class Plan:
    """A span to be cut (the event; roll is added by the cutter)."""

    clip_id: UUID
    camera_id: UUID
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True)
class CutFile:
    """A cut, hashed and synced file inside the clips folder, ready to be sealed."""

    file: str
    sha256: str
    size_bytes: int
    start_at: datetime
    end_at: datetime
    media: MediaInfo
    gaps: tuple[MissingSpan, ...]
    clock: ClockReading


@dataclass(frozen=True)
class Sealed:
    """A sealed clip whose file is still here."""

    clip_id: UUID
    camera_id: UUID
    status: str
    file: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Settled:
    """What a receipt changed: `verified`, `refused` or nothing; and the file that may now be deleted."""

    status: str
    file: str | None


def note_sighting(
    db: sqlite3.Connection, clip_id: UUID, camera_id: UUID, start_at: datetime, end_at: datetime, sighting_id: UUID
) -> None:
    """A sighting names this clip: its event is open and reaches at least so far."""
    row = db.execute("select status, sighting_ids from clips where clip_id = ?", (str(clip_id),)).fetchone()
    if row is not None and row["status"] != "open":
        return
    ids = [] if row is None else json.loads(row["sighting_ids"])
    if str(sighting_id) not in ids:
        ids.append(str(sighting_id))
    db.execute(
        "insert into clips (clip_id, camera_id, status, start_us, end_us, sighting_ids, changed_us)"
        " values (:clip_id, :camera_id, 'open', :start_us, :end_us, :ids, :now_us)"
        " on conflict (clip_id) do update set start_us = min(start_us, :start_us), end_us = max(end_us, :end_us),"
        " sighting_ids = :ids, changed_us = :now_us",
        {
            "clip_id": str(clip_id),
            "camera_id": str(camera_id),
            "start_us": to_us(start_at),
            "end_us": to_us(end_at),
            "ids": json.dumps(ids),
            "now_us": to_us(utc_now()),
        },
    )


def plan(
    db: sqlite3.Connection,
    clip_id: UUID,
    camera_id: UUID,
    start_at: datetime,
    end_at: datetime,
    sighting_ids: Sequence[UUID],
) -> None:
    """An event is over: its clip is to be cut. Said again, it changes nothing."""
    db.execute(
        "insert into clips (clip_id, camera_id, status, start_us, end_us, sighting_ids, changed_us)"
        " values (:clip_id, :camera_id, 'planned', :start_us, :end_us, :ids, :now_us)"
        " on conflict (clip_id) do update set status = 'planned', start_us = :start_us, end_us = :end_us,"
        " sighting_ids = :ids, changed_us = :now_us where status = 'open'",
        {
            "clip_id": str(clip_id),
            "camera_id": str(camera_id),
            "start_us": to_us(start_at),
            "end_us": to_us(end_at),
            "ids": json.dumps([str(one) for one in sighting_ids[:MAX_SIGHTINGS]]),
            "now_us": to_us(utc_now()),
        },
    )


def close_open_events(db: sqlite3.Connection) -> int:
    """After a restart: events that the last run left open end where they were last seen. How many."""
    return db.execute(
        "update clips set status = 'planned', changed_us = ? where status = 'open'", (to_us(utc_now()),)
    ).rowcount


def planned(db: sqlite3.Connection) -> list[Plan]:
    """Clips to be cut, oldest event first."""
    rows = db.execute("select * from clips where status = 'planned' order by start_us")
    return [
        Plan(UUID(row["clip_id"]), UUID(row["camera_id"]), from_us(row["start_us"]), from_us(row["end_us"]))
        for row in rows
    ]


def seal(db: sqlite3.Connection, key: SigningKey, agent_id: UUID, clip_id: UUID, cut: CutFile) -> Seal | None:
    """Takes the camera's next link, signs, stores the clip as sealed and queues its announcement: one transaction.

    None when the clip is not waiting for a seal (it already has one): nothing changes then.
    """
    row = db.execute(
        "select camera_id, sighting_ids from clips where clip_id = ? and status = 'planned'", (str(clip_id),)
    ).fetchone()
    if row is None:
        return None
    camera_id = UUID(row["camera_id"])
    seq, head = chain_head(db, camera_id)
    body = SealBody(
        clip_id=clip_id,
        camera_id=camera_id,
        agent_id=agent_id,
        sha256=cut.sha256,
        size_bytes=cut.size_bytes,
        start_at=cut.start_at,
        end_at=cut.end_at,
        clock=cut.clock,
        seq=seq + 1,
        prev=head,
    )
    signed = Seal(body=body, signature=key.sign(signed_bytes(body)).hex())
    message = ClipSealed(
        id=new_id(),
        seal=signed,
        media=cut.media,
        gaps=list(cut.gaps)[:100],
        sighting_ids=json.loads(row["sighting_ids"]),
    )
    _store_sealed(db, cut, message)
    return signed


def _store_sealed(db: sqlite3.Connection, cut: CutFile, message: ClipSealed) -> None:
    body = message.seal.body
    db.execute(
        "insert into chain values (:camera_id, :seq, :head)"
        " on conflict (camera_id) do update set seq = :seq, head = :head",
        {"camera_id": str(body.camera_id), "seq": body.seq, "head": seal_hash(message.seal)},
    )
    db.execute(
        "update clips set status = 'sealed', file = :file, sha256 = :sha256, size_bytes = :size_bytes,"
        " chain_seq = :seq, announcement = :announcement, changed_us = :now_us where clip_id = :clip_id",
        {
            "clip_id": str(body.clip_id),
            "file": cut.file,
            "sha256": cut.sha256,
            "size_bytes": cut.size_bytes,
            "seq": body.seq,
            "announcement": message.model_dump_json(),
            "now_us": to_us(utc_now()),
        },
    )
    outbox.put(db, message)


def chain_head(db: sqlite3.Connection, camera_id: UUID) -> tuple[int, str]:
    """Number and hash of the camera's newest seal; (0, GENESIS) before the first."""
    row = db.execute("select seq, head from chain where camera_id = ?", (str(camera_id),)).fetchone()
    return (0, GENESIS) if row is None else (row["seq"], row["head"])


def give_up(db: sqlite3.Connection, clip_id: UUID, code: str) -> None:
    """There is nothing to cut, or nothing may be cut: the plan ends with its reason, counted."""
    now_us = to_us(utc_now())
    changed = db.execute(
        "update clips set status = 'void', code = ?, changed_us = ? where clip_id = ? and status in ('open', 'planned')",
        (code, now_us, str(clip_id)),
    ).rowcount
    if changed:
        count_loss(db, f"clip.{code}", now_us)


def delivered(db: sqlite3.Connection, ids: Collection[str]) -> None:
    """JetStream has these messages: they go, and a clip whose announcement went is `announced`, in one transaction."""
    for type_, subject in outbox.remove(db, ids):
        if type_ == "clip" and subject is not None:
            _move(db, subject, "announced", ("sealed",))


def announce_again(db: sqlite3.Connection, clip_id: UUID) -> bool:
    """The hub does not know this clip: the announcement is queued anew unless one already waits."""
    row = db.execute(
        "select announcement from clips where clip_id = ? and status in ('announced', 'uploaded')"
        " and not exists (select 1 from outbox where subject_id = ?)",
        (str(clip_id), str(clip_id)),
    ).fetchone()
    if row is None:
        return False
    outbox.put(db, ClipSealed.model_validate_json(row["announcement"]).model_copy(update={"id": new_id()}))
    return _move(db, clip_id, "sealed", ("announced", "uploaded"))


def to_upload(db: sqlite3.Connection, open_: Collection[UUID], limit: int) -> list[Sealed]:
    """Announced clips of `open_` cameras, in the order of their events (and so of their chains)."""
    marks = ",".join("?" * len(open_))
    rows = db.execute(
        f"select * from clips where status = 'announced' and camera_id in ({marks})"  # noqa: S608 - question marks only
        " order by start_us, chain_seq limit ?",
        (*(str(camera) for camera in open_), limit),
    )
    return [_sealed(row) for row in rows]


def uploaded(db: sqlite3.Connection, clip_id: UUID) -> None:
    """All its bytes are at the store; the hub's verdict is awaited."""
    _move(db, clip_id, "uploaded", ("announced",))


def upload_again(db: sqlite3.Connection, clip_id: UUID) -> None:
    """The verdict does not come: ask for the upload's plan again, which tells what is missing."""
    _move(db, clip_id, "announced", ("uploaded",))


def take_receipt(db: sqlite3.Connection, receipt: Receipt) -> Settled:
    """The hub's word on a clip. Said again, it changes nothing.

    `verified` ends our care for it: its file may go. `refused` keeps the file for the resident and an examiner.
    """
    row = db.execute(
        "select status, file from clips where clip_id = ? and announcement is not null", (str(receipt.clip_id),)
    ).fetchone()
    if row is None or row["status"] == "verified" or receipt.status not in ("verified", "refused"):
        return Settled("", None)
    if receipt.status == "refused" and row["status"] == "refused":
        return Settled("", None)
    code = "" if receipt.code is None else str(receipt.code)
    _move(db, receipt.clip_id, receipt.status, (row["status"],), code)
    db.execute("delete from outbox where subject_id = ? and type = 'clip'", (str(receipt.clip_id),))
    return Settled(receipt.status, row["file"] if receipt.status == "verified" else None)


def file_deleted(db: sqlite3.Connection, file: str) -> None:
    """A verified clip's file is gone from disk."""
    db.execute("update clips set file = null where file = ? and status = 'verified'", (file,))


def unsettled(db: sqlite3.Connection, limit: int = 500) -> list[tuple[UUID, datetime]]:
    """Clips the hub owes a word on, and since when."""
    rows = db.execute(
        "select clip_id, changed_us from clips where status in ('announced', 'uploaded') order by changed_us limit ?",
        (limit,),
    )
    return [(UUID(row["clip_id"]), from_us(row["changed_us"])) for row in rows]


def awaiting_verdict(db: sqlite3.Connection, before: datetime) -> list[UUID]:
    """Clips uploaded before that time and still without a verdict."""
    rows = db.execute(
        "select clip_id from clips where status = 'uploaded' and changed_us < ? limit 100", (to_us(before),)
    )
    return [UUID(row["clip_id"]) for row in rows]


def files_kept(db: sqlite3.Connection) -> dict[str, str]:
    """Files the spool answers for, with their clip's status."""
    rows = db.execute("select file, status from clips where file is not null")
    return {row["file"]: row["status"] for row in rows}


def bytes_kept(db: sqlite3.Connection) -> int:
    """Size of all files kept."""
    (total,) = db.execute("select coalesce(sum(size_bytes), 0) from clips where file is not null").fetchone()
    return int(total)


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """How many clips are in each state."""
    return {row["status"]: row["n"] for row in db.execute("select status, count(*) as n from clips group by status")}


def forget_settled(db: sqlite3.Connection, before: datetime) -> int:
    """Rows of clips long verified (file gone) or void are removed. How many."""
    return db.execute(
        "delete from clips where changed_us < ? and ((status = 'verified' and file is null) or status = 'void')",
        (to_us(before),),
    ).rowcount


def _move(db: sqlite3.Connection, clip_id: UUID, status: str, from_: tuple[str, ...], code: str = "") -> bool:
    marks = ",".join("?" * len(from_))
    moved = db.execute(
        f"update clips set status = ?, code = ?, changed_us = ? where clip_id = ? and status in ({marks})",  # noqa: S608
        (status, code, to_us(utc_now()), str(clip_id), *from_),
    ).rowcount
    return moved > 0


def _sealed(row: sqlite3.Row) -> Sealed:
    return Sealed(
        UUID(row["clip_id"]), UUID(row["camera_id"]), row["status"], row["file"], row["sha256"], row["size_bytes"]
    )
