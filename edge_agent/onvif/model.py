"""What is learnt of ONVIF devices."""

from dataclasses import dataclass
from datetime import datetime

from models.wire.base import ClockReading


@dataclass(frozen=True)
class FoundDevice:
    """A device that answered. `address`: host:port it can be reached at; `endpoint` only from multicast."""

    address: str
    endpoint: str = ""
    name: str = ""
    hardware: str = ""


@dataclass(frozen=True)
class StreamDetails:
    """One profile. `codec`: h264 or hevc; `uri`: RTSP at the reachable address, without credentials."""

    token: str
    codec: str
    width: int
    height: int
    fps_declared: float | None
    uri: str


@dataclass(frozen=True)
class SourceDetails:
    """One video source: its largest stream and, where it has another, its smallest."""

    token: str
    main: StreamDetails
    sub: StreamDetails | None
    snapshot_uri: str | None


@dataclass(frozen=True)
class DeviceDetails:
    """What a device tells once the login is right. `login`: the way of proving the password that it took."""

    address: str
    manufacturer: str
    model: str
    serial: str
    firmware: str
    sources: tuple[SourceDetails, ...]
    clock: ClockReading
    login: str


@dataclass(frozen=True)
class MotionSeen:
    """Motion began or ended, as the camera tells. `at` by the camera's clock; `initial`: the state when subscribing."""

    at: datetime
    is_motion: bool
    initial: bool
    topic: str
    source: str
