"""Messages that wait for the hub: kept until JetStream has acknowledged them, in the order they were made per camera.

What gives way when they are too many is decided in `sightings`; clips, gaps and devices never do: they are few and small.
"""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from edge_agent.kit.clock import to_us, utc_now
from models.wire.uplink import ClipSealed, DeviceFound, GapSeen


@dataclass(frozen=True)
class Waiting:
    """One message as it will be published."""

    seq: int
    id: str
    camera_id: UUID
    type: str
    body: bytes
    attempts: int


@dataclass(frozen=True)
class Totals:
    """How much waits."""

    count: int
    size_bytes: int


def put(db: sqlite3.Connection, message: ClipSealed | GapSeen | DeviceFound) -> None:
    """Queues a message. A device found again replaces its unsent predecessor."""
    if isinstance(message, DeviceFound):
        db.execute("delete from outbox where type = 'device' and camera_id = ?", (str(message.camera_id),))
    camera_id = message.seal.body.camera_id if isinstance(message, ClipSealed) else message.camera_id
    subject = message.seal.body.clip_id if isinstance(message, ClipSealed) else None
    insert(db, message.id, camera_id, message.type, subject, message.model_dump_json().encode())


def next_batch(
    db: sqlite3.Connection, open_: Collection[UUID], closed: Collection[UUID], limit: int = 64
) -> list[Waiting]:
    """The oldest messages of `open_` cameras, and devices found at cameras that are not `closed`, in order."""
    ours, shut = ",".join("?" * len(open_)), ",".join("?" * len(closed))
    rows = db.execute(
        f"select * from outbox where camera_id in ({ours})"  # noqa: S608 - question marks only
        f" or (type = 'device' and camera_id not in ({shut})) order by seq limit ?",
        (*(str(camera) for camera in open_), *(str(camera) for camera in closed), limit),
    )
    return [
        Waiting(row["seq"], row["id"], UUID(row["camera_id"]), row["type"], row["body"], row["attempts"])
        for row in rows
    ]


def remove(db: sqlite3.Connection, ids: Collection[str]) -> list[tuple[str, UUID | None]]:
    """JetStream has these messages: they go. Type and subject of each that was still there."""
    gone = []
    for id_ in ids:
        row = db.execute("delete from outbox where id = ? returning type, subject_id", (id_,)).fetchone()
        if row is not None:
            gone.append((row["type"], None if row["subject_id"] is None else UUID(row["subject_id"])))
    return gone


def failed(db: sqlite3.Connection, ids: Collection[str]) -> None:
    """They were tried and not acknowledged."""
    db.executemany("update outbox set attempts = attempts + 1 where id = ?", [(id_,) for id_ in ids])


def totals(db: sqlite3.Connection) -> Totals:
    """How much waits."""
    row = db.execute("select outbox_count, outbox_bytes from totals").fetchone()
    return Totals(row["outbox_count"], row["outbox_bytes"])


def insert(
    db: sqlite3.Connection,
    id_: UUID,
    camera_id: UUID,
    type_: str,
    subject_id: UUID | None,
    body: bytes,
    has_picture: bool = False,
) -> None:
    """One row; a message whose id is already queued changes nothing."""
    db.execute(
        "insert or ignore into outbox (id, camera_id, type, subject_id, body, size_bytes, has_picture, made_us)"
        " values (:id, :camera_id, :type, :subject_id, :body, :size_bytes, :has_picture, :made_us)",
        {
            "id": str(id_),
            "camera_id": str(camera_id),
            "type": type_,
            "subject_id": None if subject_id is None else str(subject_id),
            "body": body,
            "size_bytes": len(body),
            "has_picture": has_picture,
            "made_us": to_us(utc_now()),
        },
    )
