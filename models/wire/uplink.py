"""Messages from agent to hub.

Published to JetStream on `up_subject(agent_id, type)` with the header `Nats-Msg-Id` = the message's `id`. At
least once; replays of the same `id` or an older `revision` change nothing.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from models.vocabulary import CameraState, Colour, ColourPart, GapReason, ObjectClass
from models.wire.base import Box, ClockReading, Fraction, Id, Sha256Hex, UtcTime, Wire
from models.wire.seal import Seal

PICTURE_MAX_BYTES = 256 * 1024


class TrajectoryPoint(Wire):
    """Where the object's box was, `t_ms` after the sighting's start."""

    t_ms: int = Field(ge=0)
    box: Box


class ColourShare(Wire):
    """A dominant colour of one part, with the share of that part's pixels it covers."""

    part: ColourPart
    colour: Colour
    share: Fraction


class DetectorName(Wire):
    """Which model saw it: manifest name and the weights' SHA-256."""

    name: str = Field(max_length=64)
    sha256: Sha256Hex


class SightingSeen(Wire):
    """One tracked object's appearance at one camera.

    Sent once confirmed (`final` false) and again as it grows and ends; the highest `revision` counts.
    `picture` is a JPEG of the whole sub-stream picture at `best_at` (base64 in JSON); `best_box` is where.
    """

    type: Literal["sighting"] = "sighting"
    id: Id
    sighting_id: Id
    revision: int = Field(ge=1)
    final: bool
    camera_id: Id
    object_class: ObjectClass
    start_at: UtcTime
    end_at: UtcTime
    best_at: UtcTime
    best_score: Fraction
    best_box: Box
    trajectory: list[TrajectoryPoint] = Field(max_length=400)
    colours: list[ColourShare] = Field(max_length=6)
    detector: DetectorName
    clock: ClockReading
    clip_id: Id | None = None
    picture: bytes | None = Field(default=None, max_length=PICTURE_MAX_BYTES)


class MediaInfo(Wire):
    """What is inside a clip: codec as RFC 6381, size in pixels, measured frames per second."""

    codec: str = Field(max_length=64)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    frames: int = Field(gt=0)
    fps_measured: float = Field(ge=0)


class MissingSpan(Wire):
    """A span without media and why."""

    start_at: UtcTime
    end_at: UtcTime
    reason: GapReason


class ClipSealed(Wire):
    """A clip exists at the edge, is sealed, and waits to be uploaded."""

    type: Literal["clip"] = "clip"
    id: Id
    seal: Seal
    media: MediaInfo
    gaps: list[MissingSpan] = Field(default_factory=list, max_length=100)
    sighting_ids: list[Id] = Field(default_factory=list, max_length=200)


class GapSeen(Wire):
    """A span of a camera's recording without media, once it has ended."""

    type: Literal["gap"] = "gap"
    id: Id
    camera_id: Id
    gap: MissingSpan


class StreamInfo(Wire):
    """One stream as the camera describes it (`fps_declared`) and as it is (`fps_measured`)."""

    codec: str = Field(max_length=64)
    width: int = Field(ge=0)
    height: int = Field(ge=0)
    fps_declared: float | None = None
    fps_measured: float | None = None


class DeviceFound(Wire):
    """A camera the agent can open, offered to the hub as a candidate.

    `camera_id` is made at the edge, once per device and video source. Credentials stay at the edge.
    """

    type: Literal["device"] = "device"
    id: Id
    camera_id: Id
    manufacturer: str = Field(max_length=200)
    model: str = Field(max_length=200)
    serial: str = Field(max_length=200)
    firmware: str = Field(max_length=200)
    address: str = Field(max_length=200, description="host:port of the ONVIF service")
    source: str = Field(max_length=200, description="ONVIF video source token")
    main: StreamInfo
    sub: StreamInfo | None = None
    snapshot: bytes | None = Field(default=None, max_length=PICTURE_MAX_BYTES)


class CameraReport(Wire):
    """What the agent observes of one camera now."""

    camera_id: Id
    state: CameraState
    since: UtcTime
    detail: str = Field(default="", max_length=300, description="stable code of the trouble, empty when well")
    last_packet_at: UtcTime | None = None
    last_segment_at: UtcTime | None = None
    oldest_recording_at: UtcTime | None = None
    bitrate_kbps: int = 0
    main: StreamInfo | None = None
    sub: StreamInfo | None = None
    clock: ClockReading = ClockReading()
    consent_version: int = 0


class Presence(Wire):
    """Sent every 10 s (and at once on a change); it is not kept: only the newest counts."""

    type: Literal["presence"] = "presence"
    id: Id
    at: UtcTime
    started_at: UtcTime
    version: str = Field(max_length=64)
    desired_version: int = Field(ge=0, description="version of the desired state that is applied; 0: none yet")
    outbox_messages: int = Field(ge=0)
    outbox_files: int = Field(ge=0)
    disk_free_bytes: int = Field(ge=0)
    cameras: list[CameraReport] = Field(max_length=256)


UplinkMessage = Annotated[SightingSeen | ClipSealed | GapSeen | DeviceFound | Presence, Field(discriminator="type")]
UPLINK: TypeAdapter[UplinkMessage] = TypeAdapter(UplinkMessage)


def up_subject(agent_id: Id, type_: str) -> str:
    """Subject an agent publishes a message of `type_` on."""
    return f"qs.up.{agent_id}.{type_}"
