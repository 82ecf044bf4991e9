"""SQL of the ledger. Rows are only ever added (a trigger refuses the rest)."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import text

from hub.db.engine import Connection
from hub.ledger.model import Entry

_LOCK = 0x51_53_4C_44  # "QSLD": one writer at a time, from here to its commit

_COLUMNS = (
    "seq, at, actor_id, actor_name, actor_role, action, purpose_kind, purpose_incident_id, purpose_note, "
    "camera_ids, subject_kind, subject_id, detail, prev_hash, entry_hash"
)


async def lock_head(tx: Connection) -> tuple[int, str]:
    """Waits for this transaction's turn; (sequence number, hash) of the newest entry."""
    # Two statements: the second takes its snapshot after the wait, and so sees what the one before wrote.
    await tx.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    return await head(tx)


async def head(tx: Connection) -> tuple[int, str]:
    """(sequence number, hash) of the newest entry; (0, zeros) when there is none."""
    row = (await tx.execute(text("select seq, entry_hash from ledger_head"))).one()
    return row.seq, row.entry_hash


async def add(tx: Connection, entry: Entry) -> None:
    """Adds the entry and moves the head."""
    values = {**asdict(entry), "detail": json.dumps(entry.detail)}
    await tx.execute(
        text(
            f"insert into ledger ({_COLUMNS}) values (:seq, :at, :actor_id, :actor_name, :actor_role, :action, "
            ":purpose_kind, :purpose_incident_id, :purpose_note, cast(:camera_ids as uuid[]), :subject_kind, :subject_id, "
            "cast(:detail as jsonb), :prev_hash, :entry_hash)"
        ),
        values,
    )
    await tx.execute(text("update ledger_head set seq = :seq, entry_hash = :entry_hash"), values)


async def walk(tx: Connection) -> AsyncIterator[Entry]:
    """Every entry from the first, through a server-side cursor: memory stays flat."""
    result = await tx.stream(text(f"select {_COLUMNS} from ledger order by seq"))
    async for row in result.mappings():
        yield Entry(**row)


async def page(
    tx: Connection,
    *,
    camera_id: UUID | None,
    actor_id: UUID | None,
    action: str | None,
    before_seq: int | None,
    limit: int,
) -> list[Entry]:
    """Entries that fit, newest first."""
    found = await tx.execute(
        text(
            f"select {_COLUMNS} from ledger "
            "where (cast(:camera_id as uuid) is null or camera_ids @> array[cast(:camera_id as uuid)]) "
            "and (cast(:actor_id as uuid) is null or actor_id = :actor_id) "
            "and (cast(:action as text) is null or action = :action) "
            "and (cast(:before_seq as bigint) is null or seq < :before_seq) "
            "order by seq desc limit :limit"
        ),
        {"camera_id": camera_id, "actor_id": actor_id, "action": action, "before_seq": before_seq, "limit": limit},
    )
    return [Entry(**row) for row in found.mappings()]


async def camera_names(tx: Connection, camera_ids: set[UUID]) -> dict[UUID, str]:
    """Today's names of those of the cameras that are there.

    Reads a table of `cameras`, a feature above this one: who reads the ledger need not have a right to the cameras.
    """
    rows = await tx.execute(
        text("select id, name from cameras where id = any(cast(:ids as uuid[]))"), {"ids": list(camera_ids)}
    )
    return {row.id: row.name for row in rows}
