"""SQL of cameras, their consents and their gaps."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text

from hub.cameras.model import Camera, CameraZone, ConsentSpan, Device
from hub.db.engine import Connection
from hub.kit.shapes import Position
from models.vocabulary import GapReason
from models.wire.downlink import AnalyticsWish, Consent
from models.wire.uplink import CameraReport, MissingSpan

_COLUMNS = (
    "id, agent_id, name, village, lon, lat, heading_deg, fov_deg, range_m, zones, device, analytics, consent, found_at, "
    "adopted_at, retired_at, snapshot_key, snapshot_at, report, reported_at"
)


def _camera(row: RowMapping) -> Camera:
    placed = row["lon"] is not None and row["lat"] is not None
    return Camera(
        id=row["id"],
        agent_id=row["agent_id"],
        name=row["name"],
        village=row["village"],
        position=Position(lon=row["lon"], lat=row["lat"]) if placed else None,
        heading_deg=row["heading_deg"],
        fov_deg=row["fov_deg"],
        range_m=row["range_m"],
        zones=[CameraZone(zone["name"], [(x, y) for x, y in zone["points"]]) for zone in row["zones"]],
        device=Device(**row["device"]),
        analytics=AnalyticsWish.model_validate(row["analytics"]),
        consent=Consent.model_validate(row["consent"]) if row["consent"] else None,
        found_at=row["found_at"],
        adopted_at=row["adopted_at"],
        retired_at=row["retired_at"],
        snapshot_key=row["snapshot_key"],
        snapshot_at=row["snapshot_at"],
        report=CameraReport.model_validate(row["report"]) if row["report"] else None,
        reported_at=row["reported_at"],
    )


async def camera(tx: Connection, camera_id: UUID, *, lock: bool = False) -> Camera | None:
    """The camera of that id; `lock`: for a change."""
    found = await tx.execute(
        text(f"select {_COLUMNS} from cameras where id = :id{' for update' if lock else ''}"), {"id": camera_id}
    )
    row = found.mappings().one_or_none()
    return _camera(row) if row else None


async def cameras_by_ids(tx: Connection, ids: Sequence[UUID]) -> list[Camera]:
    """Those of these ids that exist, retired ones too."""
    found = await tx.execute(
        text(f"select {_COLUMNS} from cameras where id = any(cast(:ids as uuid[]))"), {"ids": list(ids)}
    )
    return [_camera(row) for row in found.mappings()]


async def cameras(tx: Connection, *, adopted: bool | None, agent_id: UUID | None = None) -> list[Camera]:
    """Cameras that are not retired, by village and name."""
    found = await tx.execute(
        text(
            f"select {_COLUMNS} from cameras where retired_at is null "
            "and (cast(:adopted as boolean) is null or (adopted_at is not null) = :adopted) "
            "and (cast(:agent_id as uuid) is null or agent_id = :agent_id) order by village, name, id"
        ),
        {"adopted": adopted, "agent_id": agent_id},
    )
    return [_camera(row) for row in found.mappings()]


async def save_device(
    tx: Connection,
    camera_id: UUID,
    agent_id: UUID,
    name: str,
    device: dict[str, Any],
    snapshot_key: str | None,
    now: datetime,
) -> bool:
    """Adds a candidate or renews what is known of the device; a retired one is a candidate again.

    False: the camera is another agent's.
    """
    saved = await tx.execute(
        text(
            "insert into cameras (id, agent_id, name, device, snapshot_key, snapshot_at, found_at) values (:id, :agent_id, "
            ":name, cast(:device as jsonb), :snapshot_key, case when cast(:snapshot_key as text) is null then null "
            "else cast(:now as timestamptz) end, :now) "
            "on conflict (id) do update set device = excluded.device, "
            "snapshot_key = coalesce(excluded.snapshot_key, cameras.snapshot_key), "
            "snapshot_at = coalesce(excluded.snapshot_at, cameras.snapshot_at), "
            "adopted_at = case when cameras.retired_at is null then cameras.adopted_at end, retired_at = null "
            "where cameras.agent_id = excluded.agent_id"
        ),
        {
            "id": camera_id,
            "agent_id": agent_id,
            "name": name,
            "device": json.dumps(device),
            "snapshot_key": snapshot_key,
            "now": now,
        },
    )
    return saved.rowcount == 1


async def save_report(tx: Connection, agent_id: UUID, report: CameraReport, at: datetime) -> None:
    """Keeps a report of the agent's own camera unless a newer one is there."""
    await tx.execute(
        text(
            "update cameras set report = cast(:report as jsonb), reported_at = :at where id = :id and agent_id = :agent_id "
            "and (reported_at is null or reported_at <= :at)"
        ),
        {"id": report.camera_id, "agent_id": agent_id, "report": report.model_dump_json(), "at": at},
    )


async def save(tx: Connection, camera: Camera) -> None:
    """Writes what people decide about a camera (not its device, not its report)."""
    await tx.execute(
        text(
            "update cameras set name = :name, village = :village, lon = :lon, lat = :lat, heading_deg = :heading_deg, "
            "fov_deg = :fov_deg, range_m = :range_m, zones = cast(:zones as jsonb), "
            "analytics = cast(:analytics as jsonb), consent = cast(:consent as jsonb), adopted_at = :adopted_at, "
            "retired_at = :retired_at where id = :id"
        ),
        {
            "id": camera.id,
            "name": camera.name,
            "village": camera.village,
            "lon": camera.position.lon if camera.position else None,
            "lat": camera.position.lat if camera.position else None,
            "heading_deg": camera.heading_deg,
            "fov_deg": camera.fov_deg,
            "range_m": camera.range_m,
            "zones": json.dumps([{"name": zone.name, "points": zone.points} for zone in camera.zones]),
            "analytics": camera.analytics.model_dump_json(),
            "consent": camera.consent.model_dump_json() if camera.consent else "{}",
            "adopted_at": camera.adopted_at,
            "retired_at": camera.retired_at,
        },
    )


async def add_consent(tx: Connection, camera_id: UUID, consent: Consent, set_by: UUID, now: datetime) -> None:
    """Keeps a version of a consent for good."""
    await tx.execute(
        text(
            "insert into camera_consents (camera_id, version, consent, set_by, set_at) "
            "values (:camera_id, :version, cast(:consent as jsonb), :set_by, :now)"
        ),
        {
            "camera_id": camera_id,
            "version": consent.version,
            "consent": consent.model_dump_json(),
            "set_by": set_by,
            "now": now,
        },
    )


async def consent_version(tx: Connection, camera_id: UUID) -> int:
    """The newest version ever given; 0: none."""
    found = await tx.execute(
        text("select coalesce(max(version), 0) from camera_consents where camera_id = :id"), {"id": camera_id}
    )
    return int(found.scalar_one())


async def consent_spans(tx: Connection, camera_id: UUID) -> list[ConsentSpan]:
    """Every version with the span it was in force, oldest first."""
    found = await tx.execute(
        text(
            "select consent, set_at, lead(set_at) over (order by version) as to_at from camera_consents "
            "where camera_id = :id order by version"
        ),
        {"id": camera_id},
    )
    return [
        ConsentSpan(Consent.model_validate(row["consent"]), row["set_at"], row["to_at"]) for row in found.mappings()
    ]


async def add_gap(tx: Connection, gap_id: UUID, camera_id: UUID, gap: MissingSpan) -> None:
    """Keeps a gap once."""
    await tx.execute(
        text(
            "insert into camera_gaps (id, camera_id, start_at, end_at, reason) "
            "values (:id, :camera_id, :start_at, :end_at, :reason) on conflict (id) do nothing"
        ),
        {
            "id": gap_id,
            "camera_id": camera_id,
            "start_at": gap.start_at,
            "end_at": gap.end_at,
            "reason": gap.reason.value,
        },
    )


async def gaps(tx: Connection, camera_id: UUID, from_at: datetime, to_at: datetime, limit: int) -> list[MissingSpan]:
    """Gaps that touch [`from_at`, `to_at`), by time."""
    found = await tx.execute(
        text(
            "select start_at, end_at, reason from camera_gaps where camera_id = :camera_id and start_at < :to_at "
            "and end_at > :from_at order by start_at limit :limit"
        ),
        {"camera_id": camera_id, "from_at": from_at, "to_at": to_at, "limit": limit},
    )
    return [
        MissingSpan(start_at=row["start_at"], end_at=row["end_at"], reason=GapReason(row["reason"]))
        for row in found.mappings()
    ]


async def clip_spans(
    tx: Connection, camera_id: UUID, from_at: datetime, to_at: datetime, limit: int
) -> list[RowMapping]:
    """id, start_at, end_at, status of clips that touch the span, by time.

    Reads the clips' table, which lies above this feature: four columns for the timeline, no footage.
    """
    found = await tx.execute(
        text(
            "select id, start_at, end_at, status from clips where camera_id = :camera_id and start_at < :to_at "
            "and end_at > :from_at order by start_at limit :limit"
        ),
        {"camera_id": camera_id, "from_at": from_at, "to_at": to_at, "limit": limit},
    )
    return list(found.mappings())
