"""Cameras: looked up, reported on, and told to their agents as desired state."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

from hub.agents import service as agents
from hub.cameras import repository
from hub.cameras.model import Camera, refusal_within
from hub.db.engine import Connection
from hub.errors import Forbidden
from models.consent import refusal
from models.vocabulary import RefusalCode
from models.wire.downlink import Consent, DesiredCamera, DesiredState
from models.wire.uplink import CameraReport, DeviceFound, GapSeen

What = Literal["clips", "live"]


async def camera(tx: Connection, camera_id: UUID) -> Camera | None:
    """The camera of that id, also a candidate or a retired one."""
    return await repository.camera(tx, camera_id)


async def cameras_by_ids(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Camera]:
    """Those of `ids` that exist, retired ones too: what they have seen remains."""
    wanted = list(dict.fromkeys(ids))
    return {found.id: found for found in await repository.cameras_by_ids(tx, wanted)} if wanted else {}


async def all_adopted(tx: Connection) -> list[Camera]:
    """Cameras at work, by village and name."""
    return await repository.cameras(tx, adopted=True)


async def all_cameras(tx: Connection, *, adopted: bool | None = None) -> list[Camera]:
    """Cameras at work and candidates (or one of both), by village and name; no retired ones."""
    return await repository.cameras(tx, adopted=adopted)


async def record_device(
    tx: Connection, agent_id: UUID, found: DeviceFound, picture_key: str | None, now: datetime
) -> None:
    """A camera an agent can open: a new candidate, or news of a known one. `picture_key`: its still in bucket `pictures`.

    Raises:
        Forbidden: `ingest.wrong_agent`: the camera is another agent's.
    """
    device = found.model_dump(mode="json", exclude={"type", "id", "camera_id", "snapshot"})
    name = " ".join(part for part in (found.manufacturer, found.model) if part) or found.address
    if not await repository.save_device(tx, found.camera_id, agent_id, name[:120], device, picture_key, now):
        raise Forbidden(RefusalCode.WRONG_AGENT.value)


async def record_report(tx: Connection, agent_id: UUID, report: CameraReport, now: datetime) -> None:
    """Keeps the newest report; one of a camera that is not this agent's is dropped.

    `now`: when it counts as observed, as `agents.service.record_presence` answers.
    """
    await repository.save_report(tx, agent_id, report, now)


async def record_gap(tx: Connection, seen: GapSeen) -> None:
    """Keeps a gap once, however often it is told. The camera must exist."""
    await repository.add_gap(tx, seen.id, seen.camera_id, seen.gap)


async def desired_state(tx: Connection, agent_id: UUID, now: datetime) -> DesiredState:
    """All the agent should do now. A revoked or unknown agent: nothing."""
    agent = await agents.find(tx, agent_id)
    if agent is None or agent.revoked_at is not None:
        return DesiredState(version=agent.desired_version if agent else 1, issued_at=now, cameras=[])
    wanted = [
        DesiredCamera(camera_id=one.id, name=one.name, consent=one.consent, analytics=one.analytics)
        for one in await repository.cameras(tx, adopted=True, agent_id=agent_id)
        if one.consent is not None
    ]
    return DesiredState(version=agent.desired_version, issued_at=now, cameras=wanted)


async def desired_if_behind(tx: Connection, agent_id: UUID, applied_version: int, now: datetime) -> DesiredState | None:
    """What to tell an agent that says it works by another version than is wanted; None when it is up to date.

    So a push that got lost is made good by the next presence. An agent that is *ahead* (the hub's database was put back
    to an older state) would ignore us for ever: the version is raised above its own.
    """
    agent = await agents.find(tx, agent_id)
    if agent is None or applied_version == agent.desired_version:
        return None
    if applied_version > agent.desired_version:
        await agents.raise_desired_version(tx, agent_id, above=applied_version)
    return await desired_state(tx, agent_id, now)


def consent_allows(consent: Consent | None, what: What, at: datetime) -> str:
    """ "" or why not: `models.consent.refusal`."""
    return refusal(consent, what, at)


async def consent_refusal_at(tx: Connection, camera: Camera, what: What, at: datetime) -> str:
    """Whether the consent that was in force at `at` allowed `what`: "" or why not. For footage that comes late."""
    return refusal_within(await repository.consent_spans(tx, camera.id), what, at)
