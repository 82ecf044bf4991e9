"""Sightings on their way out: revisions merged, begun ones finished after a kill, all of them within a bound of bytes.

What gives way, in this order, and always counted in `losses`: an unsent older revision of a sighting (its successor says
more; not a loss), then pictures of the oldest sightings, then the oldest sightings.
"""

import sqlite3
from uuid import UUID

from edge_agent.kit.clock import to_us, utc_now
from edge_agent.kit.ids import new_id
from edge_agent.spool import clips, outbox
from edge_agent.spool.store import count_loss
from models.wire.uplink import SightingSeen

MAX_BYTES = 512 * 1024 * 1024
LOST_PICTURE = "outbox_full.picture"
LOST_SIGHTING = "outbox_full.sighting"


def put(db: sqlite3.Connection, seen: SightingSeen, max_bytes: int = MAX_BYTES) -> None:
    """Queues a sighting's revision and remembers it as begun until it is final; opens its clip's row.

    One transaction, so that after a kill both the sighting and its event can be finished.
    """
    merged = _take_unsent(db, seen)
    raw = merged.model_dump_json().encode()
    outbox.insert(db, merged.id, merged.camera_id, merged.type, merged.sighting_id, raw, merged.picture is not None)
    if seen.final:
        db.execute("delete from open_sightings where sighting_id = ?", (str(seen.sighting_id),))
    else:
        plain = seen.model_copy(update={"picture": None}).model_dump_json()
        db.execute("insert or replace into open_sightings values (?, ?)", (str(seen.sighting_id), plain))
    if seen.clip_id is not None:
        clips.note_sighting(db, seen.clip_id, seen.camera_id, seen.start_at, seen.end_at, seen.sighting_id)
    _make_room(db, max_bytes)


def cut_short(db: sqlite3.Connection, sighting_id: UUID) -> None:
    """Consent ended under a sighting: what was told of it becomes final as it stood; nothing more is told."""
    row = db.execute("select body from open_sightings where sighting_id = ?", (str(sighting_id),)).fetchone()
    if row is not None:
        _finish(db, row["body"])


def finish_open(db: sqlite3.Connection) -> int:
    """After a restart: sightings begun by the last run are said to be over where they were last seen. How many."""
    rows = db.execute("select body from open_sightings").fetchall()
    for row in rows:
        _finish(db, row["body"])
    return len(rows)


def _finish(db: sqlite3.Connection, body: str) -> None:
    seen = SightingSeen.model_validate_json(body)
    put(db, seen.model_copy(update={"id": new_id(), "revision": seen.revision + 1, "final": True}))


def _take_unsent(db: sqlite3.Connection, seen: SightingSeen) -> SightingSeen:
    """Removes unsent older revisions; a picture only they carry moves into the new one."""
    rows = db.execute(
        "delete from outbox where subject_id = ? and type = 'sighting' returning body", (str(seen.sighting_id),)
    ).fetchall()
    for row in rows:
        older = SightingSeen.model_validate_json(row["body"])
        if seen.picture is None and older.picture is not None:
            seen = seen.model_copy(update={"picture": older.picture})
    return seen


def _make_room(db: sqlite3.Connection, max_bytes: int) -> None:
    now_us = to_us(utc_now())
    while outbox.totals(db).size_bytes > max_bytes:
        if _strip_oldest_picture(db):
            count_loss(db, LOST_PICTURE, now_us)
            continue
        gone = db.execute(
            "delete from outbox where seq = (select min(seq) from outbox where type = 'sighting') returning seq"
        ).fetchone()
        if gone is None:
            return
        count_loss(db, LOST_SIGHTING, now_us)


def _strip_oldest_picture(db: sqlite3.Connection) -> bool:
    row = db.execute("select seq, body from outbox where has_picture order by seq limit 1").fetchone()
    if row is None:
        return False
    raw = SightingSeen.model_validate_json(row["body"]).model_copy(update={"picture": None}).model_dump_json().encode()
    db.execute("update outbox set body = ?, size_bytes = ?, has_picture = 0 where seq = ?", (raw, len(raw), row["seq"]))
    return True
