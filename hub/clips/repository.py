"""SQL of the table `clips`."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from hub.clips.model import ChainLink, Clip
from hub.db.engine import Connection
from hub.kit.cursors import Place
from models.wire.seal import seal_hash
from models.wire.uplink import ClipSealed

_SELECT = (
    "select cl.*, c.name as camera_name, a.name as agent_name, a.public_key as agent_public_key"
    " from clips cl join cameras c on c.id = cl.camera_id join agents a on a.id = cl.agent_id"
)


def _clip(row: Any) -> Clip:
    return Clip(**{name: getattr(row, name) for name in Clip.__dataclass_fields__})


async def lock_chain(tx: Connection, camera_id: UUID) -> None:
    """Held to the end of the transaction: seals of one camera are judged one after the other."""
    await tx.execute(text("select pg_advisory_xact_lock(hashtextextended(:id, 2))"), {"id": str(camera_id)})


async def clip(tx: Connection, clip_id: UUID, *, lock: bool = False) -> Clip | None:
    """A clip by its id; `lock`: the row is held to the end of the transaction."""
    tail = " for update of cl" if lock else ""
    row = (await tx.execute(text(f"{_SELECT} where cl.id = :id{tail}"), {"id": clip_id})).one_or_none()
    return _clip(row) if row else None


async def insert(
    tx: Connection,
    said: ClipSealed,
    *,
    key: str,
    chain_ok: bool | None,
    refusal: tuple[str, str] | None,
    now: datetime,
) -> None:
    """A clip's row as announced, or as refused at once (`refusal`: code and detail)."""
    body = said.seal.body
    await tx.execute(
        text(
            "insert into clips (id, camera_id, agent_id, status, refusal_code, refusal_detail, start_at, end_at,"
            " size_bytes, sha256, seal, seal_hash, chain_seq, chain_prev, chain_ok, media, gaps, sighting_ids,"
            " object_key, announced_at) values (:id, :camera_id, :agent_id, :status, :code, :detail, :start_at,"
            " :end_at, :size_bytes, :sha256, cast(:seal as jsonb), :seal_hash, :seq, :prev, :chain_ok,"
            " cast(:media as jsonb), cast(:gaps as jsonb), cast(:sighting_ids as uuid[]), :key, :now)"
        ),
        {
            "id": body.clip_id,
            "camera_id": body.camera_id,
            "agent_id": body.agent_id,
            "status": "refused" if refusal else "announced",
            "code": refusal[0] if refusal else None,
            "detail": refusal[1] if refusal else "",
            "start_at": body.start_at,
            "end_at": body.end_at,
            "size_bytes": body.size_bytes,
            "sha256": body.sha256,
            "seal": said.seal.model_dump_json(),
            "seal_hash": seal_hash(said.seal),
            "seq": body.seq,
            "prev": body.prev,
            "chain_ok": chain_ok,
            "media": said.media.model_dump_json(),
            "gaps": json.dumps([gap.model_dump(mode="json") for gap in said.gaps]),
            "sighting_ids": said.sighting_ids,
            "key": key,
            "now": now,
        },
    )


async def links(tx: Connection, camera_id: UUID, seq: int) -> list[ChainLink]:
    """Seals of a camera with the number `seq`, first come first. A seal with a wrong signature is none."""
    rows = await tx.execute(
        text(
            "select id, chain_seq, seal_hash, announced_at from clips where camera_id = :camera and chain_seq = :seq"
            " and refusal_code is distinct from 'ingest.seal_invalid' order by announced_at, id"
        ),
        {"camera": camera_id, "seq": seq},
    )
    return [ChainLink(row.id, row.chain_seq, row.seal_hash, row.announced_at) for row in rows]


async def waiting(tx: Connection, camera_id: UUID, seq: int) -> list[Clip]:
    """Clips with the number `seq` whose place in the chain is not settled."""
    rows = await tx.execute(
        text(
            f"{_SELECT} where cl.camera_id = :camera and cl.chain_seq = :seq and cl.chain_ok is null for update of cl"
        ),
        {"camera": camera_id, "seq": seq},
    )
    return [_clip(row) for row in rows]


async def set_chain(tx: Connection, clip_id: UUID, chain_ok: bool) -> None:
    """A settled place in the chain."""
    await tx.execute(text("update clips set chain_ok = :ok where id = :id"), {"id": clip_id, "ok": chain_ok})


async def set_upload(tx: Connection, clip_id: UUID, upload_id: str) -> None:
    """The multi-part upload that is under way."""
    await tx.execute(text("update clips set upload_id = :upload where id = :id"), {"id": clip_id, "upload": upload_id})


async def set_uploaded(tx: Connection, clip_id: UUID) -> None:
    """The object is there; nobody has looked at it yet."""
    await tx.execute(
        text("update clips set status = 'uploaded', upload_id = null where id = :id and status = 'announced'"),
        {"id": clip_id},
    )


async def set_verified(tx: Connection, clip_id: UUID, now: datetime) -> None:
    """The stored bytes are the sealed ones."""
    await tx.execute(
        text("update clips set status = 'verified', verified_at = :now, upload_id = null where id = :id"),
        {"id": clip_id, "now": now},
    )


async def set_refused(tx: Connection, clip_id: UUID, code: str, detail: str) -> None:
    """Refused for good, with the reason."""
    await tx.execute(
        text(
            "update clips set status = 'refused', refusal_code = :code, refusal_detail = :detail, verified_at = null,"
            " upload_id = null where id = :id"
        ),
        {"id": clip_id, "code": code, "detail": detail},
    )


async def clip_of_sighting(tx: Connection, camera_id: UUID, sighting_id: UUID, near: datetime) -> UUID | None:
    """The clip of this camera that names the sighting, among those that start within a day of `near`."""
    row = (
        await tx.execute(
            text(
                "select id from clips where camera_id = :camera and :sighting = any(sighting_ids)"
                " and start_at between cast(:near as timestamptz) - interval '1 day'"
                " and cast(:near as timestamptz) + interval '1 day' order by start_at limit 1"
            ),
            {"camera": camera_id, "sighting": sighting_id, "near": near},
        )
    ).one_or_none()
    return row.id if row else None


async def statuses(tx: Connection, agent_id: UUID, clip_ids: list[UUID]) -> list[Clip]:
    """Those of the clips that are of this agent."""
    rows = await tx.execute(
        text(f"{_SELECT} where cl.agent_id = :agent and cl.id = any(cast(:ids as uuid[]))"),
        {"agent": agent_id, "ids": clip_ids},
    )
    return [_clip(row) for row in rows]


async def unjudged(tx: Connection, before: datetime, limit: int) -> list[UUID]:
    """Uploaded clips without a verdict that were announced before `before`, oldest first."""
    rows = await tx.execute(
        text(
            "select id from clips where status = 'uploaded' and announced_at < :before order by announced_at limit :n"
        ),
        {"before": before, "n": limit},
    )
    return [row.id for row in rows]


async def page(
    tx: Connection,
    *,
    camera_id: UUID | None,
    from_at: datetime | None,
    to_at: datetime | None,
    status: str | None,
    after: Place | None,
    limit: int,
) -> list[Clip]:
    """Clips newest first; spans half-open."""
    where = ["c.adopted_at is not null"]
    values: dict[str, Any] = {"limit": limit}
    for condition, name, value in (
        ("cl.camera_id = :camera", "camera", camera_id),
        ("cl.end_at > :from_at", "from_at", from_at),
        ("cl.start_at < :to_at", "to_at", to_at),
        ("cl.status = :status", "status", status),
    ):
        if value is not None:
            where.append(condition)
            values[name] = value
    if after is not None:
        where.append("(cl.start_at, cl.id) < (:after_at, :after_id)")
        values |= {"after_at": after.at, "after_id": after.id}
    rows = await tx.execute(
        text(f"{_SELECT} where {' and '.join(where)} order by cl.start_at desc, cl.id desc limit :limit"), values
    )
    return [_clip(row) for row in rows]


async def counts(tx: Connection) -> dict[str, int]:
    """Clips by status, and of those not refused how many wait in their chain or break it."""
    row = (
        await tx.execute(
            text(
                "select count(*) filter (where status = 'announced') as announced,"
                " count(*) filter (where status = 'uploaded') as uploaded,"
                " count(*) filter (where status = 'verified') as verified,"
                " count(*) filter (where status = 'refused') as refused,"
                " count(*) filter (where chain_ok is null and refusal_code is distinct from 'ingest.seal_invalid')"
                "   as waiting,"
                " count(*) filter (where chain_ok is false) as broken from clips"
            )
        )
    ).one()
    return dict(row._mapping)
