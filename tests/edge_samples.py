"""Small valid pieces for tests of the agent."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from edge_agent.kit.ids import new_id
from edge_agent.spool.clips import CutFile
from models.vocabulary import ConsentPurpose
from models.wire.base import ClockReading
from models.wire.downlink import Consent, DesiredCamera, DesiredState
from models.wire.uplink import MediaInfo, SightingSeen

AT = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
CAMERA = UUID(int=2)
OTHER_CAMERA = UUID(int=3)
AGENT = UUID(int=1)
MEDIA = MediaInfo(codec="avc1.42e01f", width=640, height=360, frames=10, fps_measured=10)


def consent(**changed: Any) -> Consent:
    """Everything allowed, but for what is changed."""
    plain: dict[str, Any] = {
        "version": 1,
        "share_clips": True,
        "share_live": True,
        "purposes": [ConsentPurpose.EMERGENCY],
    }
    return Consent.model_validate(plain | changed)


def desired(version: int, *cameras: tuple[UUID, Consent]) -> DesiredState:
    """A desired state of these cameras."""
    return DesiredState(
        version=version,
        issued_at=AT,
        cameras=[DesiredCamera(camera_id=id_, name=f"camera {id_.int}", consent=wish) for id_, wish in cameras],
    )


def sighting(sighting_id: UUID, revision: int = 1, **changed: Any) -> SightingSeen:
    """A revision of a sighting of two seconds at `CAMERA`."""
    plain: dict[str, Any] = {
        "id": new_id(),
        "sighting_id": sighting_id,
        "revision": revision,
        "final": False,
        "camera_id": CAMERA,
        "object_class": "person",
        "start_at": AT,
        "end_at": AT + timedelta(seconds=2),
        "best_at": AT,
        "best_score": 0.9,
        "best_box": {"x": 0, "y": 0, "w": 1, "h": 1},
        "trajectory": [],
        "colours": [],
        "detector": {"name": "t", "sha256": "0" * 64},
        "clock": {},
    }
    return SightingSeen.model_validate(plain | changed)


def cut_file(name: str = "x.mp4", sha256: str = "ab" * 32, size_bytes: int = 10) -> CutFile:
    """What the cutter tells of a file."""
    return CutFile(name, sha256, size_bytes, AT, AT + timedelta(seconds=5), MEDIA, (), ClockReading())
