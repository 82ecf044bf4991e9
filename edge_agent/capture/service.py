"""Capture: the cameras that are wanted, each with its pullers, recorder and frame tap.

`apply` is told the whole wish each time and changes only what differs. What is read from outside (`report`,
`subscribe`, `cut`) may be called from any thread.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import structlog

from edge_agent.capture.broadcast import Broadcast
from edge_agent.capture.cut import cut_clip
from edge_agent.capture.frames import FrameTap
from edge_agent.capture.index import Gap, RecordingIndex
from edge_agent.capture.port import CameraSource, CutClip, FoundGap, FrameSink, OnGap, PacketSubscription
from edge_agent.capture.puller import StreamPuller
from edge_agent.capture.reading import scan
from edge_agent.capture.recorder import Recorder, delete_segment
from edge_agent.errors import AgentError
from models.vocabulary import CameraState, GapReason, StreamName
from models.wire.base import ClockReading
from models.wire.uplink import CameraReport, MissingSpan, StreamInfo

log = structlog.get_logger(__name__)

HORIZON_WAIT_S = 45.0  # how long a span may stay "not yet" on disk before what is there is taken


@dataclass(frozen=True)
class _Tools:
    """What every camera's parts share."""

    root: Path
    index: RecordingIndex
    sink: FrameSink
    on_gap: OnGap
    clock_of: Callable[[UUID], ClockReading]


class Capture:
    """Owns all capture threads. Implements `PacketSource` and `Recordings` of `edge_agent.capture.port`."""

    def __init__(
        self, data_dir: Path, frame_sink: FrameSink, on_gap: OnGap, clock_of: Callable[[UUID], ClockReading]
    ) -> None:
        self._root = data_dir / "recordings"
        self._root.mkdir(parents=True, exist_ok=True)
        self._index = RecordingIndex(data_dir / "recordings.sqlite")
        self._clock_of = clock_of
        self._tools = _Tools(self._root, self._index, frame_sink, on_gap, clock_of)
        self._applying = threading.Lock()  # one wish after the other; held while cameras are stopped
        self._lock = threading.Lock()  # of `_cameras`, for a moment only: others ask while a wish is applied
        self._cameras: dict[UUID, _Camera] = {}
        _recover(self._index, self._root)

    def apply(self, sources: list[CameraSource]) -> None:
        """Makes what runs equal to what is wanted. Blocks up to a few seconds while cameras are stopped.

        Another wish for analysis or other limits change a running camera; only another way to its streams restarts it.
        """
        wanted = {source.camera_id: source for source in sources}
        with self._applying:
            with self._lock:
                kept = {
                    id_: camera
                    for id_, camera in self._cameras.items()
                    if id_ in wanted and camera.continues_as(wanted[id_])
                }
                stale = [camera for id_, camera in self._cameras.items() if id_ not in kept]
                self._cameras = dict(kept)
            _stop_all(stale, lambda id_: GapReason.CAMERA_OFFLINE if id_ in wanted else GapReason.CONSENT)
            for id_, camera in kept.items():
                camera.change(wanted[id_])
            for id_ in wanted.keys() - kept.keys():
                made = _Camera(wanted[id_], self._tools)
                with self._lock:
                    self._cameras[id_] = made
        log.info("capture_applied", cameras=len(wanted), stopped=len(stale))

    def close(self) -> None:
        """Stops everything; recordings end cleanly."""
        with self._applying:
            with self._lock:
                cameras, self._cameras = list(self._cameras.values()), {}
            _stop_all(cameras, lambda _: GapReason.AGENT_STOPPED)
            self._index.close()

    def subscribe(
        self, camera_id: UUID, stream: StreamName, notify: Callable[[], None], max_packets: int = 512
    ) -> PacketSubscription:
        """Packets of a running camera, from the cached GOP on. See `PacketSource.subscribe`."""
        camera = self._camera(camera_id)
        broadcast = camera.main if stream is StreamName.MAIN else camera.sub
        broadcast.params()
        return broadcast.subscribe(notify, max_packets)

    def cut(self, camera_id: UUID, start_at: datetime, end_at: datetime, path: Path) -> CutClip:
        """Remuxes a span to a file. See `Recordings.cut`."""
        start_us, end_us = _us(start_at), _us(end_at)
        self._check_horizon(camera_id, end_us)
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in (1, 2):
            segments = self._index.covering(camera_id, start_us, end_us)
            try:
                return cut_clip(
                    segments, self._index.gaps(camera_id, start_us, end_us), self._root, start_us, end_us, path
                )
            except FileNotFoundError:
                if attempt == 2:  # once: a segment may be renamed between the look-up and the reading
                    raise
        raise AgentError("recording.none")

    def _check_horizon(self, camera_id: UUID, end_us: int) -> None:
        """`recording.not_yet` while the camera records and the span's end is not flushed yet."""
        _, newest_us, _ = self._index.extent(camera_id)
        reached = newest_us is not None and newest_us >= end_us
        waited_s = time.time() - end_us / 1e6
        with self._lock:
            running = camera_id in self._cameras
        if not reached and running and waited_s < HORIZON_WAIT_S:
            raise AgentError("recording.not_yet")

    def report(self, camera_id: UUID) -> CameraReport:
        """What is observed of a camera now (`disabled` when it is not wanted)."""
        with self._lock:
            camera = self._cameras.get(camera_id)
        oldest_us, newest_us, _ = self._index.extent(camera_id)
        if camera is None:
            return CameraReport(
                camera_id=camera_id,
                state=CameraState.DISABLED,
                since=datetime.now(UTC),
                last_segment_at=_at(newest_us),
                oldest_recording_at=_at(oldest_us),
            )
        return camera.report(_at(oldest_us), _at(newest_us), self._clock_of(camera_id))

    def extent_bytes(self, camera_id: UUID) -> int:
        """Bytes of recordings of a camera."""
        return self._index.extent(camera_id)[2]

    def _camera(self, camera_id: UUID) -> "_Camera":
        with self._lock:
            camera = self._cameras.get(camera_id)
        if camera is None:
            raise AgentError("camera.unknown", str(camera_id))
        return camera


class _Camera:
    """The threads of one camera."""

    def __init__(self, source: CameraSource, tools: _Tools) -> None:
        self.source = source
        self._sink = tools.sink
        name = str(source.camera_id)
        self.main = Broadcast()
        self.sub = Broadcast() if source.sub_url else self.main
        self._pullers = [StreamPuller(f"{name}/main", source.main_url, source.username, source.password, self.main)]
        if source.sub_url:
            self._pullers.append(
                StreamPuller(f"{name}/sub", source.sub_url, source.username, source.password, self.sub)
            )
        self._recorder = self._recording(tools) if source.record else None
        self._tap: FrameTap | None = None
        if self._recorder is not None:
            self._recorder.start()
        self._start_tap()
        for puller in self._pullers:
            puller.start()

    def _start_tap(self) -> None:
        if self.source.analyse:
            self._tap = FrameTap(self.source.camera_id, self.sub, self._sink, self.source.analyse_fps)
            self._tap.start()

    def continues_as(self, source: CameraSource) -> bool:
        """Whether `change` is enough: streams, credentials and recording stay as they are."""
        now = self.source
        return source == replace(now, analyse=source.analyse, analyse_fps=source.analyse_fps, limits=source.limits)

    def change(self, source: CameraSource) -> None:
        """Takes over analysis and limits without touching streams or recording."""
        before, self.source = self.source, source
        if self._recorder is not None:
            self._recorder.limits = source.limits
        if (before.analyse, before.analyse_fps) != (source.analyse, source.analyse_fps):
            tap, self._tap = self._tap, None
            if tap is not None:
                tap.stop()
            self._start_tap()

    def _recording(self, tools: _Tools) -> Recorder:
        def tell_gap(camera_id: UUID, gap: Gap) -> bool:
            span = MissingSpan(start_at=_us_at(gap.start_us), end_at=_us_at(gap.end_us), reason=gap.reason)
            return tools.on_gap(FoundGap(uuid5(camera_id, f"gap {gap.start_us}"), camera_id, span))

        def reason_now() -> GapReason | None:
            return self._pullers[0].status.reason

        return Recorder(
            self.source.camera_id,
            tools.root,
            tools.index,
            self.main,
            self.source.limits,
            reason_now,
            tools.clock_of,
            tell_gap,
        )

    def ask_stop(self) -> None:
        """Tells the pullers to end without waiting."""
        for puller in self._pullers:
            puller.stop()

    def stop(self, reason: GapReason) -> None:
        """Ends all threads; `reason` explains the footage that will be missing."""
        self.ask_stop()
        if self._recorder is not None:
            self._recorder.stop(reason)
        if self._tap is not None:
            self._tap.stop()
        self.main.close()
        self.sub.close()
        for puller in self._pullers:
            puller.join(6.0)

    def report(self, oldest_at: datetime | None, newest_at: datetime | None, clock: ClockReading) -> CameraReport:
        """The camera as its main stream shows it."""
        now = time.time()
        main = self._pullers[0].status
        trouble = self._recorder.trouble if self._recorder else None
        reason = main.reason or trouble
        fps, kbps = main.rates()
        return CameraReport(
            camera_id=self.source.camera_id,
            state=main.state(now),
            since=datetime.fromtimestamp(main.since, UTC),
            detail=reason.value if reason else "",
            last_packet_at=None if main.last_packet_at is None else datetime.fromtimestamp(main.last_packet_at, UTC),
            last_segment_at=newest_at,
            oldest_recording_at=oldest_at,
            bitrate_kbps=kbps,
            main=_info(self.main, self._pullers[0], fps),
            sub=_info(self.sub, self._pullers[-1], self._pullers[-1].status.rates()[0])
            if self.source.sub_url
            else None,
            clock=clock,
        )


def _stop_all(cameras: list[_Camera], reason_of: Callable[[UUID], GapReason]) -> None:
    """Side by side: a reader that waits for a silent camera takes seconds to notice."""
    for camera in cameras:
        camera.ask_stop()
    for camera in cameras:
        camera.stop(reason_of(camera.source.camera_id))


def _info(broadcast: Broadcast, puller: StreamPuller, fps: float | None) -> StreamInfo | None:
    try:
        params = broadcast.params()
    except AgentError:
        return None
    declared = puller.status.declared_fps
    return StreamInfo(
        codec=params.codec,
        width=params.width,
        height=params.height,
        fps_declared=None if declared is None else round(declared, 3),
        fps_measured=None if fps is None else round(fps, 2),
    )


def _recover(index: RecordingIndex, root: Path) -> None:
    """After a crash: finishes deletes, and turns the segments that were being written into finished ones."""
    for segment in index.in_state("deleting"):
        delete_segment(index, root, segment)
    for segment in index.in_state("open"):
        path = root / segment.path
        final = path.with_suffix("") if path.suffix == ".part" else path
        path = path if path.exists() else final
        found = scan(path) if path.exists() else None
        if found is None or found.frames == 0:
            path.unlink(missing_ok=True)
            index.forget(segment.id)
            mark = index.mark(segment.camera_id)
            if mark is not None:
                index.move_mark(segment.camera_id, mark[0], GapReason.AGENT_KILLED)
            continue
        if path != final:
            path.rename(final)
        # The row may be behind (its last update was lost) or ahead (the tail was): the file decides.
        end_us = max(segment.start_us + found.media_us, segment.start_us + 1)
        index.grow(segment.id, segment.start_us, end_us, found.media_us, found.frames, found.size_bytes)
        index.finish(segment.id, str(final.relative_to(root)), GapReason.AGENT_KILLED)
        log.warning("segment_recovered", camera=str(segment.camera_id), frames=found.frames)


def _us(at: datetime) -> int:
    return int(at.timestamp() * 1e6)


def _us_at(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)


def _at(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _us_at(microseconds)
