"""Routes of cameras."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime

from hub.agents import service as agents
from hub.cameras import changes, looks, service
from hub.cameras.model import Camera, CameraZone, health
from hub.cameras.schemas import (
    CameraAdopt,
    CameraHealth,
    CameraPatch,
    CameraTimeline,
    CameraView,
    ConsentAsk,
    PauseAsk,
    SnapshotView,
    TimelineClip,
    Zone,
)
from hub.context import Context, get_context
from hub.db.engine import Connection
from hub.errors import NotFound
from hub.identity.guard import SESSION_COOKIE, open_to, requires
from hub.identity.model import Permission, Principal
from hub.identity.service import principal_of
from hub.storage.port import Bucket

router = APIRouter(tags=["cameras"])
Hub = Annotated[Context, Depends(get_context)]
Viewer = Annotated[Principal, Depends(requires(Permission.MAP_VIEW))]
Editor = Annotated[Principal, Depends(requires(Permission.CAMERA_EDIT))]
ConsentEditor = Annotated[Principal, Depends(requires(Permission.CONSENT_EDIT))]


def _view(camera: Camera, agent_name: str, now: datetime) -> CameraView:
    return CameraView(
        id=camera.id,
        agent_id=camera.agent_id,
        agent_name=agent_name,
        name=camera.name,
        village=camera.village,
        adopted=camera.adopted,
        position=camera.position,
        heading_deg=camera.heading_deg,
        fov_deg=camera.fov_deg,
        range_m=camera.range_m,
        zones=[Zone(name=zone.name, points=zone.points) for zone in camera.zones],
        manufacturer=camera.device.manufacturer,
        model=camera.device.model,
        firmware=camera.device.firmware,
        address=camera.device.address,
        found_at=camera.found_at,
        health=CameraHealth.model_validate(health(camera, now)),
        consent=camera.consent,
        consent_applied_version=camera.report.consent_version if camera.report else 0,
        analytics=camera.analytics,
        has_snapshot=camera.snapshot_key is not None,
    )


async def _one(tx: Connection, camera: Camera, context: Context) -> CameraView:
    return _view(camera, (await agents.agent(tx, camera.agent_id)).name, context.clock())


async def _tell(context: Context, changed: changes.Changed) -> None:
    """After the commit: the agent hears of it now if it is connected."""
    await agents.push_desired(context.bus, changed.camera.agent_id, changed.desired)


@router.get("/cameras")
async def list_cameras(_who: Viewer, context: Hub, adopted: bool | None = None) -> list[CameraView]:
    """Cameras at work and candidates (or one of both), by village and name."""
    async with context.db.transaction() as tx:
        names = {agent.id: agent.name for agent in await agents.all_agents(tx)}
        found = await service.all_cameras(tx, adopted=adopted)
    now = context.clock()
    return [_view(camera, names.get(camera.agent_id, ""), now) for camera in found]


@router.get("/cameras/{camera_id}")
async def show_camera(camera_id: UUID, _who: Viewer, context: Hub) -> CameraView:
    """One camera, also a retired one."""
    async with context.db.transaction() as tx:
        camera = await service.camera(tx, camera_id)
        if camera is None:
            raise NotFound("camera.not_found")
        return await _one(tx, camera, context)


@router.post("/cameras/{camera_id}/adoption", status_code=201)
async def adopt_camera(camera_id: UUID, ask: CameraAdopt, who: Editor, context: Hub) -> CameraView:
    """Puts a candidate to work with its owner's consent."""
    async with context.db.transaction() as tx:
        changed = await changes.adopt(
            tx,
            who,
            camera_id,
            name=ask.name,
            village=ask.village,
            position=ask.position,
            heading_deg=ask.heading_deg,
            fov_deg=ask.fov_deg,
            range_m=ask.range_m,
            wish=_wish(ask.consent),
            now=context.clock(),
        )
        view = await _one(tx, changed.camera, context)
    await _tell(context, changed)
    return view


@router.patch("/cameras/{camera_id}")
async def change_camera(camera_id: UUID, ask: CameraPatch, who: Editor, context: Hub) -> CameraView:
    """Changes name, place, view, zones or analytics."""
    zones = None if ask.zones is None else [CameraZone(zone.name, list(zone.points)) for zone in ask.zones]
    async with context.db.transaction() as tx:
        changed = await changes.change(
            tx,
            who,
            camera_id,
            name=ask.name,
            village=ask.village,
            position=ask.position,
            heading_deg=ask.heading_deg,
            fov_deg=ask.fov_deg,
            range_m=ask.range_m,
            zones=zones,
            analytics=ask.analytics,
            now=context.clock(),
        )
        view = await _one(tx, changed.camera, context)
    await _tell(context, changed)
    return view


@router.delete("/cameras/{camera_id}", status_code=204)
async def retire_camera(camera_id: UUID, who: Editor, context: Hub) -> None:
    """Takes a camera out of service; what it has recorded stays."""
    async with context.db.transaction() as tx:
        changed = await changes.retire(tx, who, camera_id, context.clock())
    await _tell(context, changed)


@router.put("/cameras/{camera_id}/consent")
async def set_camera_consent(camera_id: UUID, ask: ConsentAsk, who: ConsentEditor, context: Hub) -> CameraView:
    """What the owner allows from now on."""
    async with context.db.transaction() as tx:
        changed = await changes.set_consent(tx, who, camera_id, _wish(ask), context.clock())
        view = await _one(tx, changed.camera, context)
    await _tell(context, changed)
    return view


@router.post("/cameras/{camera_id}/pause")
async def pause_camera(camera_id: UUID, ask: PauseAsk, who: ConsentEditor, context: Hub) -> CameraView:
    """Nothing leaves the camera, from now on."""
    async with context.db.transaction() as tx:
        changed = await changes.pause(tx, who, camera_id, ask.until, context.clock())
        view = await _one(tx, changed.camera, context)
    await _tell(context, changed)
    return view


@router.delete("/cameras/{camera_id}/pause")
async def resume_camera(camera_id: UUID, who: ConsentEditor, context: Hub) -> CameraView:
    """Ends the pause."""
    async with context.db.transaction() as tx:
        changed = await changes.resume(tx, who, camera_id, context.clock())
        view = await _one(tx, changed.camera, context)
    await _tell(context, changed)
    return view


def _wish(ask: ConsentAsk) -> changes.Wish:
    return changes.Wish(
        share_clips=ask.share_clips,
        share_live=ask.share_live,
        purposes=ask.purposes,
        hours=ask.hours,
        expires_at=ask.expires_at,
    )


@router.post("/cameras/{camera_id}/snapshot-view", status_code=201)
async def open_camera_snapshot(
    camera_id: UUID, who: Annotated[Principal, Depends(requires(Permission.SNAPSHOT))], context: Hub
) -> SnapshotView:
    """A short-lived URL of the camera's still; a ledger row."""
    async with context.db.transaction() as tx:
        right = await looks.open_snapshot(tx, who, camera_id, context.signer, context.clock())
    return SnapshotView(
        url=f"/api/v1/media/snapshots/{camera_id}?token={right.token}",
        taken_at=right.taken_at,
        expires_at=right.expires_at,
    )


@router.get(
    "/media/snapshots/{camera_id}",
    tags=["media"],
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The still"}},
    dependencies=[Depends(open_to(Permission.MEDIA_TOKEN))],
)
async def read_camera_snapshot(
    camera_id: UUID, request: Request, context: Hub, token: Annotated[str, Query(max_length=2000)]
) -> Response:
    """The still, for the person who asked for it by `open_camera_snapshot`."""
    async with context.db.transaction() as tx:
        who = await principal_of(tx, request.cookies.get(SESSION_COOKIE, ""), context.clock())
        key = await looks.snapshot_key(tx, camera_id, token, who.user_id if who else None, context.signer)
    data = await context.store.get(Bucket.PICTURES, key)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


@router.get("/cameras/{camera_id}/timeline")
async def show_camera_timeline(
    camera_id: UUID,
    _who: Viewer,
    context: Hub,
    from_at: Annotated[AwareDatetime, Query(alias="from")],
    to_at: Annotated[AwareDatetime, Query(alias="to")],
) -> CameraTimeline:
    """When there are clips, and when footage is missing and why. Times only."""
    async with context.db.transaction() as tx:
        found = await looks.timeline(tx, camera_id, from_at, to_at)
    return CameraTimeline(
        camera_id=camera_id, clips=[TimelineClip.model_validate(clip) for clip in found.clips], gaps=found.gaps
    )
