"""One RTSP session: opens it, reads packets, reconnects with patience.

One puller per stream, in a thread of its own, whatever the number of readers: a camera's session budget is small and a
reconnect storm makes it worse.
"""

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import quote, urlsplit, urlunsplit

import av
import av.error
import av.logging
import structlog
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from edge_agent.capture.broadcast import Broadcast
from edge_agent.capture.nal import parameter_sets
from edge_agent.capture.port import EncodedPacket, StreamParams
from edge_agent.capture.wall import WallClock
from models.vocabulary import CameraState, GapReason

log = structlog.get_logger(__name__)

av.logging.set_level(av.logging.PANIC)  # libav prints URLs, and with them passwords

LATE_AFTER_S = 3.0
OPEN_TIMEOUT_S = 8.0
READ_TIMEOUT_S = 5.0
CLOCK_STEP_S = 0.5
PTS_STEP_S = 10.0
_BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_AUTH_BACKOFF_S = (15.0, 60.0, 120.0, 300.0)  # wrong passwords lock cameras
_STATES = {GapReason.AUTH_FAILED: CameraState.AUTH_FAILED}
_OPTIONS = {
    "rtsp_transport": "tcp",
    "analyzeduration": "500000",
    "probesize": "500000",
    "fpsprobesize": "0",
    "fflags": "nobuffer",
}


@dataclass
class StreamStatus:
    """What is observed of a stream. Written by the puller's thread only; read by any."""

    reason: GapReason | None = None  # why no packet comes, once that is known
    since: float = field(default_factory=time.time)
    last_packet_at: float | None = None
    packets: int = 0
    reconnects: int = 0
    declared_fps: float | None = None
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=300))

    def saw(self, at: float, size_bytes: int) -> None:
        """Counts a packet."""
        self.last_packet_at = at
        self.packets += 1
        self._recent.append((at, size_bytes))

    def set_reason(self, reason: GapReason | None) -> bool:
        """Notes a change; whether it was one."""
        if reason is self.reason:
            return False
        self.reason, self.since = reason, time.time()
        if reason is not None:
            self._recent.clear()
        return True

    def state(self, now: float) -> CameraState:
        """The state, from what was seen, never from what was announced."""
        if self.reason is not None:
            return _STATES.get(self.reason, CameraState.OFFLINE)
        if self.last_packet_at is None:
            return CameraState.OFFLINE  # the first connection is being made
        return CameraState.LIVE if now - self.last_packet_at <= LATE_AFTER_S else CameraState.LATE

    def rates(self) -> tuple[float | None, int]:
        """Frames per second and kbit/s over the last packets (up to 300)."""
        recent = list(self._recent)
        if len(recent) < 10 or recent[-1][0] - recent[0][0] < 1.0:
            return None, 0
        span = recent[-1][0] - recent[0][0]
        return (len(recent) - 1) / span, int(sum(size for _, size in recent[1:]) * 8 / span / 1000)


class StreamPuller:
    """Reads one stream for as long as it is wanted."""

    def __init__(self, name: str, url: str, username: str, password: str, broadcast: Broadcast) -> None:
        self.status = StreamStatus()
        self._name = name
        self._url = _with_credentials(url, username, password)
        self._broadcast = broadcast
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pull-{name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; `join` waits."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread (a blocked read ends after its own time-out)."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        tries = 0
        while not self._stop.is_set():
            before = self.status.last_packet_at
            reason = self._session()
            if self._stop.is_set():
                return
            tries = 0 if self.status.last_packet_at != before else tries + 1
            if self.status.set_reason(reason):
                log.warning("stream_down", stream=self._name, reason=reason.value)
            self.status.reconnects += 1
            table = _AUTH_BACKOFF_S if reason is GapReason.AUTH_FAILED else _BACKOFF_S
            # Jitter: after a power cut a village's cameras must not all be called in the same second.
            self._stop.wait(table[min(tries, len(table) - 1)] * random.uniform(0.5, 1.5))  # noqa: S311

    def _session(self) -> GapReason:
        """One connection, until it fails; why it did."""
        try:
            container = av.open(self._url, options=_OPTIONS, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        except av.error.HTTPUnauthorizedError:
            return GapReason.AUTH_FAILED
        except (av.error.InvalidDataError, av.error.HTTPNotFoundError):
            return GapReason.STREAM_ERROR
        except (av.error.FFmpegError, OSError):
            return GapReason.CAMERA_OFFLINE
        with container:
            try:
                return self._read(container)
            except (av.error.TimeoutError, av.error.ExitError):
                return GapReason.STREAM_STALLED
            except av.error.InvalidDataError:
                return GapReason.STREAM_ERROR
            except (av.error.FFmpegError, OSError):
                return GapReason.CAMERA_OFFLINE

    def _read(self, container: InputContainer) -> GapReason:
        if not container.streams.video:
            return GapReason.STREAM_ERROR
        stream = container.streams.video[0]
        if stream.codec_context.name not in {"h264", "hevc"}:
            return GapReason.STREAM_ERROR
        rate = stream.guessed_rate or stream.average_rate
        self.status.declared_fps = float(rate) if rate else None
        run = _Run(stream, self._broadcast)
        for packet in container.demux(stream):
            if self._stop.is_set():
                break
            now = time.time()
            if run.take(packet, now):
                self.status.saw(now, packet.size)
                if self.status.set_reason(None) or self.status.packets == 1:
                    log.info("stream_up", stream=self._name)
        return GapReason.CAMERA_OFFLINE


class _Run:
    """One connection's packets: waits for the first key frame, makes epochs, maps times."""

    def __init__(self, stream: VideoStream, broadcast: Broadcast) -> None:
        self._codec = stream.codec_context.name
        self._sdp_sets = bytes(stream.codec_context.extradata or b"")
        self._size = (stream.codec_context.width, stream.codec_context.height)
        self._time_base = stream.time_base or Fraction(1, 90000)
        self._broadcast = broadcast
        self._epoch = 0
        self._sets = b""
        self._wall = WallClock(self._time_base)
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._host_delta = time.time() - time.monotonic()

    def take(self, packet: "Packet[VideoStream]", now: float) -> bool:
        """Publishes a packet if it can be; whether it was."""
        if packet.size == 0 or packet.pts is None:
            return False
        data = bytes(packet)
        if self._needs_epoch(packet, data, now):
            if not packet.is_keyframe:
                return False  # nothing can be shown before a key frame
            self._begin(data)
        self._wall.see(packet.pts, now)
        self._last_pts = packet.pts
        self._broadcast.publish(
            EncodedPacket(
                data=data,
                pts=packet.pts,
                dts=packet.dts,
                is_keyframe=packet.is_keyframe,
                host_at=self._wall.at(packet.pts),
                epoch=self._epoch,
            )
        )
        return True

    def _needs_epoch(self, packet: "Packet[VideoStream]", data: bytes, now: float) -> bool:
        if self._epoch == 0 or self._last_pts is None:
            return True
        delta = now - time.monotonic()
        if abs(delta - self._host_delta) > CLOCK_STEP_S:  # somebody set the host's clock
            self._epoch = 0
            return True
        if abs(int(packet.pts or 0) - self._last_pts) * self._time_base > PTS_STEP_S:
            self._epoch = 0
            return True
        sets = parameter_sets(data, self._codec) if packet.is_keyframe else b""
        return bool(sets) and sets != self._sets

    def _begin(self, data: bytes) -> None:
        self._sets = parameter_sets(data, self._codec) or self._sdp_sets
        self._host_delta = time.time() - time.monotonic()
        self._wall = WallClock(self._time_base)
        width, height = self._size
        self._epoch = self._broadcast.start_epoch(StreamParams(self._codec, self._sets, self._time_base, width, height))


def _with_credentials(url: str, username: str, password: str) -> str:
    if not username:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(username, safe='')}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))
