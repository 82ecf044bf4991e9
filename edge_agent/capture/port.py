"""What the rest of the agent sees of capture: packets to relay, frames to look at, spans to cut.

Nothing here imports PyAV or OpenCV; `edge_agent.capture.service` implements it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from models.vocabulary import StreamName
from models.wire.downlink import RecordingLimits
from models.wire.uplink import CameraReport, MediaInfo, MissingSpan


@dataclass(frozen=True)
class CameraSource:
    """How to reach one camera's streams. URLs without credentials; `sub_url` None: main serves both."""

    camera_id: UUID
    main_url: str
    sub_url: str | None
    username: str
    password: str = field(repr=False)
    record: bool = True
    analyse: bool = True
    analyse_fps: float = 5.0  # frames per second handed to the frame sink, at most
    limits: RecordingLimits = field(default_factory=RecordingLimits)


@dataclass(frozen=True)
class StreamParams:
    """What a receiver must know before the first packet. `extradata`: Annex B parameter sets (SPS, PPS)."""

    codec: str  # "h264" or "hevc"
    extradata: bytes
    time_base: Fraction
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One access unit as the camera sent it, Annex B. `pts` in `StreamParams.time_base`, rising within one `epoch`;
    a new epoch (reconnect) may restart pts and params. `host_at`: when it was captured by the host's clock (arrival,
    freed of network jitter), UTC seconds."""

    data: bytes
    pts: int
    is_keyframe: bool
    host_at: float
    epoch: int
    dts: int | None = None  # None: same as pts (no B-frames)


class PacketSubscription(Protocol):
    """A bounded queue of one stream's packets. It begins with the cached GOP, so with a key frame; when its reader
    is too slow it drops up to the next key frame and counts."""

    dropped: int

    @property
    def params(self) -> StreamParams:
        """Parameters of the present epoch."""

    def pop(self) -> EncodedPacket | None:
        """The next packet, or None when there is none now. Any thread."""

    @property
    def ended(self) -> bool:
        """The camera was removed or closed: no packet will come."""

    def close(self) -> None:
        """Ends it; idempotent."""


class PacketSource(Protocol):
    """Where live takes its packets."""

    def subscribe(
        self, camera_id: UUID, stream: StreamName, notify: Callable[[], None], max_packets: int = 512
    ) -> PacketSubscription:
        """Packets of a running camera. `notify` is called from capture's thread after each append: return at once.

        Raises:
            edge_agent.errors.AgentError: `camera.unknown`, `camera.offline`.
        """


@dataclass(frozen=True)
class FoundGap:
    """A span of a camera's recording without media. Its `id` follows from camera and start: told again, it is the same."""

    id: UUID
    camera_id: UUID
    span: MissingSpan


OnGap = Callable[[FoundGap], bool]
"""Called from capture's threads. Returns true once the gap is kept; false: it could not be, tell it again later."""


@dataclass(frozen=True)
class Frame:
    """A decoded picture of the sub-stream: BGR, uint8, H×W×3; `at` is its host time (aware UTC)."""

    camera_id: UUID
    image: npt.NDArray[np.uint8]
    at: datetime


class FrameSink(Protocol):
    """Where decoded frames go. Called from capture's threads; must not block (drop instead) nor raise."""

    def offer(self, frame: Frame) -> None:
        """Takes a frame or drops it."""


@dataclass(frozen=True)
class CutClip:
    """A cut file. Its span is widened to key frames: `start_at` ≤ asked start."""

    path: Path
    start_at: datetime
    end_at: datetime
    media: MediaInfo
    gaps: list[MissingSpan]


class Recordings(Protocol):
    """Cutting spans from what is on disk."""

    def cut(self, camera_id: UUID, start_at: datetime, end_at: datetime, path: Path) -> CutClip:
        """Remuxes the span to an MP4 with its index in front, at `path` (written as `.part`, renamed at the end). Blocking.

        Raises:
            edge_agent.errors.AgentError: `recording.none` (nothing recorded in the span), `recording.not_yet` (the span
                is not on disk yet, try again).
        """

    def report(self, camera_id: UUID) -> CameraReport:
        """What is observed of the camera now."""
