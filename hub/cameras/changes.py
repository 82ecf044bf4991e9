"""What people decide about a camera: adoption, place, zones, consent, pause. Each raises the agent's desired version
and writes a ledger row in the same transaction; each answers the state to push after the commit.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.agents import service as agents
from hub.cameras import repository
from hub.cameras.model import Camera, CameraZone
from hub.cameras.service import desired_state
from hub.db.engine import Connection
from hub.errors import Conflict, Invalid, NotFound
from hub.identity.ledgering import draft
from hub.identity.model import Principal
from hub.kit.shapes import Position
from hub.ledger import service as ledger
from hub.ledger.model import Action
from models.vocabulary import ConsentPurpose
from models.wire.downlink import AnalyticsWish, Consent, DesiredState, Hours

CAMERAS_PER_AGENT = 256  # what a desired state holds (models.wire.downlink.DesiredState)


@dataclass(frozen=True)
class Changed:
    """The camera after the change, and what its agent should be told."""

    camera: Camera
    desired: DesiredState


@dataclass(frozen=True)
class Wish:
    """What an owner allows, before it has its version."""

    share_clips: bool
    share_live: bool
    purposes: list[ConsentPurpose]
    hours: list[Hours]
    expires_at: datetime | None


async def adopt(
    tx: Connection,
    who: Principal,
    camera_id: UUID,
    *,
    name: str,
    village: str,
    position: Position,
    heading_deg: float,
    fov_deg: float,
    range_m: float,
    wish: Wish,
    now: datetime,
) -> Changed:
    """Puts a candidate to work, with its owner's consent.

    Raises:
        NotFound: `camera.not_found`. Conflict: `camera.adopted`, `agent.revoked`, `agent.too_many_cameras`.
        Invalid: `camera.position_invalid`, `consent.hours_invalid`, `consent.expires_past`.
    """
    camera = await _locked(tx, camera_id)
    if camera.adopted_at is not None:
        raise Conflict("camera.adopted")
    agent = await agents.agent(tx, camera.agent_id)
    if agent.revoked_at is not None:
        raise Conflict("agent.revoked")
    if agent.camera_count >= CAMERAS_PER_AGENT:
        raise Conflict("agent.too_many_cameras")
    _check_position(position)
    camera = replace(
        camera,
        name=name,
        village=village,
        position=position,
        heading_deg=heading_deg,
        fov_deg=fov_deg,
        range_m=range_m,
        adopted_at=now,
        consent=await _next_consent(tx, who, camera_id, wish, now),
    )
    return await _done(tx, who, Action.CAMERA_ADOPTED, camera, {"name": name, "consent": _plain(camera)}, now)


async def change(
    tx: Connection,
    who: Principal,
    camera_id: UUID,
    *,
    name: str | None,
    village: str | None,
    position: Position | None,
    heading_deg: float | None,
    fov_deg: float | None,
    range_m: float | None,
    zones: list[CameraZone] | None,
    analytics: AnalyticsWish | None,
    now: datetime,
) -> Changed:
    """Changes what is given; None leaves as it is.

    Raises:
        NotFound: `camera.not_found`. Conflict: `camera.not_adopted`. Invalid: `camera.position_invalid`, `camera.zone_invalid`.
    """
    old = await _adopted(tx, camera_id)
    if position is not None:
        _check_position(position)
    if zones is not None:
        _check_zones(zones)
    given: dict[str, Any] = {
        "name": name,
        "village": village,
        "position": position,
        "heading_deg": heading_deg,
        "fov_deg": fov_deg,
        "range_m": range_m,
        "zones": zones,
        "analytics": analytics,
    }
    changes = {key: value for key, value in given.items() if value is not None and value != getattr(old, key)}
    if not changes:
        return Changed(old, await desired_state(tx, old.agent_id, now))
    return await _done(tx, who, Action.CAMERA_CHANGED, replace(old, **changes), {"changed": sorted(changes)}, now)


async def retire(tx: Connection, who: Principal, camera_id: UUID, now: datetime) -> Changed:
    """Takes a camera out of service and its consent back; what it has recorded stays. A candidate is only dropped.

    Raises:
        NotFound: `camera.not_found`. Conflict: `camera.retired`.
    """
    old = await _locked(tx, camera_id)
    if old.retired_at is not None:
        raise Conflict("camera.retired")
    consent = old.consent
    if old.adopted:
        nothing = Wish(share_clips=False, share_live=False, purposes=[], hours=[], expires_at=now)
        consent = await _next_consent(tx, who, camera_id, nothing, now)
    camera = replace(old, retired_at=now, consent=consent)
    return await _done(tx, who, Action.CAMERA_RETIRED, camera, {"name": old.name}, now)


async def set_consent(tx: Connection, who: Principal, camera_id: UUID, wish: Wish, now: datetime) -> Changed:
    """What the owner allows from now on: the next version. A pause that holds goes on holding.

    Raises:
        NotFound: `camera.not_found`. Conflict: `camera.not_adopted`. Invalid: `consent.hours_invalid`, `consent.expires_past`.
    """
    old = await _adopted(tx, camera_id)
    paused = {"paused": True, "paused_until": old.consent.paused_until} if old.consent and old.consent.paused else {}
    consent = await _next_consent(tx, who, camera_id, wish, now, **paused)
    camera = replace(old, consent=consent)
    return await _done(tx, who, Action.CONSENT_CHANGED, camera, {"consent": _plain(camera)}, now)


async def pause(tx: Connection, who: Principal, camera_id: UUID, until: datetime | None, now: datetime) -> Changed:
    """Nothing leaves the camera any more, until `until` or until resumed.

    Raises:
        NotFound: `camera.not_found`. Conflict: `camera.not_adopted`. Invalid: `consent.until_past`.
    """
    if until is not None and until <= now:
        raise Invalid("consent.until_past")
    return await _pausing(tx, who, camera_id, Action.PAUSED, {"paused": True, "paused_until": until}, now)


async def resume(tx: Connection, who: Principal, camera_id: UUID, now: datetime) -> Changed:
    """Ends a pause; none there is no error.

    Raises:
        NotFound: `camera.not_found`. Conflict: `camera.not_adopted`.
    """
    return await _pausing(tx, who, camera_id, Action.RESUMED, {"paused": False, "paused_until": None}, now)


async def _pausing(
    tx: Connection, who: Principal, camera_id: UUID, action: Action, change: dict[str, Any], now: datetime
) -> Changed:
    old = await _adopted(tx, camera_id)
    assert old.consent is not None, "an adopted camera has a consent"
    if all(getattr(old.consent, key) == value for key, value in change.items()):
        return Changed(old, await desired_state(tx, old.agent_id, now))
    version = await repository.consent_version(tx, camera_id) + 1
    consent = old.consent.model_copy(update={**change, "version": version})
    await repository.add_consent(tx, camera_id, consent, who.user_id, now)
    detail = {"version": version, "until": change["paused_until"]}
    return await _done(tx, who, action, replace(old, consent=consent), detail, now)


async def _next_consent(
    tx: Connection, who: Principal, camera_id: UUID, wish: Wish, now: datetime, **paused: Any
) -> Consent:
    for window in wish.hours:
        if not window.days or any(day not in range(1, 8) for day in window.days):
            raise Invalid("consent.hours_invalid", "days are 1 (Monday) … 7, at least one")
    if wish.expires_at is not None and wish.expires_at < now:
        raise Invalid("consent.expires_past")
    consent = Consent(
        version=await repository.consent_version(tx, camera_id) + 1,
        share_clips=wish.share_clips,
        share_live=wish.share_live,
        purposes=list(dict.fromkeys(wish.purposes)),
        hours=wish.hours,
        expires_at=wish.expires_at,
        **paused,
    )
    await repository.add_consent(tx, camera_id, consent, who.user_id, now)
    return consent


async def _done(
    tx: Connection, who: Principal, action: Action, camera: Camera, detail: dict[str, Any], now: datetime
) -> Changed:
    await repository.save(tx, camera)
    await agents.raise_desired_version(tx, camera.agent_id)
    desired = await desired_state(tx, camera.agent_id, now)
    entry = draft(who, action, camera_ids=(camera.id,), subject_kind="camera", subject_id=camera.id, detail=detail)
    await ledger.record(tx, entry, now)
    return Changed(camera, desired)


async def _locked(tx: Connection, camera_id: UUID) -> Camera:
    camera = await repository.camera(tx, camera_id, lock=True)
    if camera is None:
        raise NotFound("camera.not_found")
    return camera


async def _adopted(tx: Connection, camera_id: UUID) -> Camera:
    camera = await _locked(tx, camera_id)
    if not camera.adopted:
        raise Conflict("camera.not_adopted")
    return camera


def _plain(camera: Camera) -> dict[str, Any]:
    return camera.consent.model_dump(mode="json") if camera.consent else {}


def _check_position(position: Position) -> None:
    if not (-180 <= position.lon <= 180 and -90 <= position.lat <= 90):
        raise Invalid("camera.position_invalid", "WGS-84 degrees: lon ±180, lat ±90")


def _check_zones(zones: list[CameraZone]) -> None:
    if len({zone.name for zone in zones}) != len(zones):
        raise Invalid("camera.zone_invalid", "two zones of one name")
    if not all(0 <= x <= 1 and 0 <= y <= 1 for zone in zones for x, y in zone.points):
        raise Invalid("camera.zone_invalid", "points are fractions of the picture, 0 … 1")
