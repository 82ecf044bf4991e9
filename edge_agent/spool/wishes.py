"""What is wanted of this box: the hub's desired state, the resident's own pauses, and when consent said no.

Kept on disk, so that the gate stands before the network does.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from edge_agent.kit.clock import from_us, to_us, utc_now
from edge_agent.kit.ids import new_id
from edge_agent.spool import outbox
from models.vocabulary import GapReason
from models.wire.downlink import DesiredState
from models.wire.uplink import GapSeen, MissingSpan


@dataclass(frozen=True)
class Pause:
    """A pause set at the box. `until` None: until resumed there."""

    camera_id: UUID
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Refusal:
    """A span in which consent did not allow clips of a camera. `end_at` None: still so."""

    camera_id: UUID
    code: str
    start_at: datetime
    end_at: datetime | None


def take_desired(db: sqlite3.Connection, state: DesiredState) -> bool:
    """Stores a desired state if it is newer than the one held. Whether it was."""
    row = db.execute("select version from desired").fetchone()
    if row is not None and row["version"] >= state.version:
        return False
    db.execute(
        "insert or replace into desired values (1, ?, ?, ?)",
        (state.version, state.model_dump_json(), to_us(utc_now())),
    )
    return True


def desired(db: sqlite3.Connection) -> DesiredState | None:
    """The newest desired state, or None before the first."""
    row = db.execute("select body from desired").fetchone()
    return None if row is None else DesiredState.model_validate_json(row["body"])


def pause(db: sqlite3.Connection, camera_id: UUID, until: datetime | None = None) -> None:
    """The resident pauses a camera at the box. A pause that already holds keeps its beginning."""
    db.execute(
        "insert into pauses values (:camera_id, :since_us, :until_us)"
        " on conflict (camera_id) do update set until_us = :until_us",
        {
            "camera_id": str(camera_id),
            "since_us": to_us(utc_now()),
            "until_us": None if until is None else to_us(until),
        },
    )


def resume(db: sqlite3.Connection, camera_id: UUID) -> bool:
    """Ends a pause set at the box. Whether there was one."""
    return db.execute("delete from pauses where camera_id = ?", (str(camera_id),)).rowcount > 0


def pauses(db: sqlite3.Connection) -> list[Pause]:
    """Pauses set at the box, those that have run out too."""
    return [
        Pause(
            UUID(row["camera_id"]),
            from_us(row["since_us"]),
            None if row["until_us"] is None else from_us(row["until_us"]),
        )
        for row in db.execute("select * from pauses")
    ]


def note_refusal(db: sqlite3.Connection, camera_id: UUID, code: str, at: datetime) -> None:
    """From `at` on, clips of the camera are refused for `code` ("": allowed). Said again, it changes nothing.

    The end of a refusal queues a gap with its reason, so that the timeline shows why there is nothing to fetch.
    """
    row = db.execute(
        "select id, code, start_us from refusals where camera_id = ? and end_us is null", (str(camera_id),)
    ).fetchone()
    if row is not None and row["code"] == code:
        return
    at_us = to_us(at)
    if row is not None:
        end_us = max(at_us, row["start_us"])
        db.execute("update refusals set end_us = ? where id = ?", (end_us, row["id"]))
        if end_us > row["start_us"]:
            span = MissingSpan(start_at=from_us(row["start_us"]), end_at=from_us(end_us), reason=_reason(row["code"]))
            outbox.put(db, GapSeen(id=new_id(), camera_id=camera_id, gap=span))
    if code:
        db.execute("insert into refusals values (?, ?, ?, ?, null)", (str(new_id()), str(camera_id), code, at_us))


def refusals(db: sqlite3.Connection, camera_id: UUID, start_at: datetime, end_at: datetime) -> list[Refusal]:
    """Refusals of the camera that touch [`start_at`, `end_at`), by time."""
    rows = db.execute(
        "select * from refusals where camera_id = ? and start_us < ? and (end_us is null or end_us > ?) order by start_us",
        (str(camera_id), to_us(end_at), to_us(start_at)),
    )
    return [_refusal(row) for row in rows]


def open_refusals(db: sqlite3.Connection) -> list[Refusal]:
    """Refusals in force when the agent last looked."""
    return [_refusal(row) for row in db.execute("select * from refusals where end_us is null")]


def forget_refusals(db: sqlite3.Connection, before: datetime) -> None:
    """Refusals that ended long ago bound no cut any more."""
    db.execute("delete from refusals where end_us < ?", (to_us(before),))


def _reason(code: str) -> GapReason:
    return GapReason.PAUSED if code == "consent.paused" else GapReason.CONSENT


def _refusal(row: sqlite3.Row) -> Refusal:
    end_us = row["end_us"]
    return Refusal(
        UUID(row["camera_id"]), row["code"], from_us(row["start_us"]), None if end_us is None else from_us(end_us)
    )
