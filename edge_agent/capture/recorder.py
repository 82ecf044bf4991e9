"""Recording by remux: 30-second files cut on key frames, each second either on disk or explained.

One writer thread per camera takes packets from a bounded queue, so a slow disk never stops the network reader; what
then has to be dropped is dropped by whole groups of pictures and becomes a gap with the reason `slow_storage`.
"""

import errno
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import structlog

from edge_agent.capture.broadcast import Broadcast
from edge_agent.capture.index import Gap, RecordingIndex, Segment
from edge_agent.capture.muxing import FRAGMENTED, Mp4Writer
from edge_agent.capture.nal import codec_string
from edge_agent.capture.port import EncodedPacket
from models.vocabulary import GapReason
from models.wire.base import ClockReading
from models.wire.downlink import RecordingLimits

log = structlog.get_logger(__name__)

SEGMENT_S = 30.0
QUEUE_PACKETS = 1500
SMALLEST_GAP_US = 500_000
RESERVE_BYTES = 256 * 1024 * 1024
START_SETTLES_US = 10_000_000  # a run's first times are corrected while the wall clock estimate settles

TellGap = Callable[[UUID, Gap], bool]
"""Camera and gap. Returns once it is kept elsewhere, or false when that failed: then it is told again later."""


class Recorder:
    """Records one camera's main stream."""

    def __init__(
        self,
        camera_id: UUID,
        root: Path,
        index: RecordingIndex,
        broadcast: Broadcast,
        limits: RecordingLimits,
        reason_now: Callable[[], GapReason | None],
        clock_of: Callable[[UUID], ClockReading],
        tell_gap: TellGap,
    ) -> None:
        self.camera_id = camera_id
        self.limits = limits
        self.trouble: GapReason | None = None  # disk_full or slow_storage, while it lasts
        self._root = root
        self._index = index
        self._reason_now = reason_now
        self._clock_of = clock_of
        self._tell_gap = tell_gap
        self._wake = threading.Event()
        self._subscription = broadcast.subscribe(self._wake.set, QUEUE_PACKETS, from_cache=False)
        self._dropped_before = 0
        self._open: _OpenSegment | None = None
        self._end_reason = GapReason.AGENT_STOPPED
        self._thread = threading.Thread(target=self._run, name=f"record-{camera_id}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, reason: GapReason, timeout_s: float = 5.0) -> None:
        """Writes what is queued, closes the file; from here on `reason` is why footage is missing."""
        self._end_reason = reason
        self._subscription.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._tell_waiting()  # what a kill left between the index and whoever is told
        while True:
            packet = self._subscription.pop()
            if packet is not None:
                self._take(packet)
            elif self._subscription.ended:
                self._close(self._end_reason)
                self._missing_from_now(self._end_reason)
                return
            else:
                self._idle()

    def _idle(self) -> None:
        if not self._wake.wait(timeout=1.0):
            reason = self._reason_now()
            if reason is not None:
                self._close(reason)
                self._missing_from_now(reason)
        self._wake.clear()

    def _missing_from_now(self, reason: GapReason) -> None:
        """The reason why nothing is recorded has changed: what was missing until now keeps the old one."""
        mark = self._index.mark(self.camera_id)
        if mark is None or mark[1] is reason:
            return
        (last_end_us, before), now_us = mark, int(time.time() * 1e6)
        if now_us - last_end_us >= SMALLEST_GAP_US:
            self._index.add_gap(self.camera_id, Gap(last_end_us, now_us, before), then=reason)
            self._tell_waiting()
        else:
            self._index.move_mark(self.camera_id, last_end_us, reason)

    def _tell_waiting(self) -> None:
        """At least once: a gap stays untold in the index until it is kept elsewhere."""
        for gap in self._index.untold(self.camera_id):
            if not self._tell_gap(self.camera_id, gap):
                return
            self._index.mark_told(self.camera_id, gap.start_us)

    def _take(self, packet: EncodedPacket) -> None:
        dropped = self._subscription.dropped - self._dropped_before
        self._dropped_before = self._subscription.dropped
        if self._open is not None and packet.epoch != self._open.epoch:
            self._close(self._reason_now() or GapReason.STREAM_ERROR)
        elif self._open is not None and dropped:
            self._close(GapReason.SLOW_STORAGE)
        try:
            self._write(packet)
        except OSError as error:
            # A full disk is an OSError of libav; whatever the disk's trouble, what was written is kept.
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            self._fail(GapReason.DISK_FULL if full else GapReason.SLOW_STORAGE, error)

    def _write(self, packet: EncodedPacket) -> None:
        if self._open is None:
            if not packet.is_keyframe or not self._room():
                return
            self._open = self._begin(packet, joins=None)
        elif packet.is_keyframe:
            self._open.reaches(packet)
            self._grow(self._open)
            if self._open.media_us(packet) >= SEGMENT_S * 1e6:
                before = self._open
                self._close(GapReason.STREAM_ERROR)
                self._open = self._begin(packet, joins=before)
                self._purge()
                self._tell_waiting()
        self._open.write(packet)

    def _fail(self, reason: GapReason, error: OSError) -> None:
        if self.trouble is not reason:
            log.error("recording_failed", camera=str(self.camera_id), reason=reason.value, error=str(error))
        self.trouble = reason
        self._close(reason)
        self._missing_from_now(reason)

    def _begin(self, packet: EncodedPacket, joins: "_OpenSegment | None") -> "_OpenSegment":
        mark = self._index.mark(self.camera_id)
        floor_us = mark[0] if mark else 0  # never before the end of what is already there
        start_us = joins.end_us if joins else max(int(packet.host_at * 1e6), floor_us)
        run = joins.run if joins else self._index.next_run(self.camera_id)
        params = self._subscription.params_of(packet.epoch)
        day = datetime.fromtimestamp(start_us / 1e6, UTC).strftime("%Y%m%d")
        relative = f"{self.camera_id}/{day}/{start_us}.mp4.part"
        path = self._root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = Mp4Writer(path, params, packet.data, FRAGMENTED)
        row = Segment(
            0, self.camera_id, run, "open", start_us, start_us, 0, 0, 0, codec_string(params.extradata, params.codec),
            writer.width, writer.height, self._clock_of(self.camera_id), relative,
        )  # fmt: skip
        self.trouble = None
        row_id = self._index.open_segment(row)
        opened = _OpenSegment(row_id, run, packet, start_us, path, writer, None if joins else floor_us)
        if joins is None and mark is not None:
            opened.unexplained = mark
        return opened

    def _grow(self, now: "_OpenSegment") -> None:
        self._index.grow(now.id, now.start_us, now.end_us, now.written_us, now.writer.frames, now.writer.bytes)
        if now.unexplained is None:
            return
        # The run's start has settled: what is missing before it can be told.
        (last_end_us, reason), now.unexplained = now.unexplained, None
        if now.start_us - last_end_us >= SMALLEST_GAP_US:
            self._index.add_gap(self.camera_id, Gap(last_end_us, now.start_us, reason))
            self._tell_waiting()

    def _close(self, reason: GapReason) -> None:
        now, self._open = self._open, None
        if now is None:
            return
        now.ends()
        final = now.path.with_suffix("")
        try:
            now.writer.close()
        except OSError as error:
            log.error("segment_close_failed", camera=str(self.camera_id), error=str(error))
        now.path.rename(final)
        self._grow(now)
        self._index.finish(now.id, str(final.relative_to(self._root)), reason)

    def _purge(self) -> None:
        """Keeps the camera within its limits, the oldest going first."""
        oldest_us, newest_us, size = self._index.extent(self.camera_id)
        if oldest_us is None or newest_us is None:
            return
        for segment in self._index.oldest(self.camera_id, 20):
            too_old = newest_us - segment.end_us > self.limits.max_age_s * 1_000_000
            if not too_old and size <= self.limits.max_bytes:
                return
            delete_segment(self._index, self._root, segment)
            size -= segment.size_bytes

    def _room(self) -> bool:
        """Whether the disk has room for another file, made by giving up the oldest of all if need be."""
        self._root.mkdir(parents=True, exist_ok=True)
        while shutil.disk_usage(self._root).free < RESERVE_BYTES:
            oldest = self._index.oldest(None, 1)
            if not oldest:
                self._fail(GapReason.DISK_FULL, OSError(errno.ENOSPC, "no room for recordings"))
                return False
            log.warning("recording_purged_for_room", camera=str(oldest[0].camera_id), start_us=oldest[0].start_us)
            delete_segment(self._index, self._root, oldest[0])
        return True


class _OpenSegment:
    """The file being written and its times."""

    def __init__(
        self,
        id_: int,
        run: int,
        first: EncodedPacket,
        start_us: int,
        path: Path,
        writer: Mp4Writer,
        floor_us: int | None,  # set for the first of a run: its start may still move, not before this
    ) -> None:
        self.unexplained: tuple[int, GapReason] | None = None
        self.id, self.run, self.epoch = id_, run, first.epoch
        self.start_us, self.end_us = start_us, start_us
        self.written_us = 0
        self.path, self.writer = path, writer
        self._first_pts = first.pts
        self._last = first
        self._frame_us = 0
        self._tick_us = float(writer.time_base * 1_000_000)
        self._floor_us = floor_us

    def media_us(self, packet: EncodedPacket) -> int:
        """How far a packet is from the first, by RTP time."""
        return round((packet.pts - self._first_pts) * self._tick_us)

    def write(self, packet: EncodedPacket) -> None:
        """Adds a packet."""
        if packet.pts > self._last.pts:
            self._frame_us = round((packet.pts - self._last.pts) * self._tick_us)
        dts = packet.pts if packet.dts is None else packet.dts
        self.writer.write(
            packet.data, packet.pts - self._first_pts, dts - self._first_pts, is_keyframe=packet.is_keyframe
        )
        self._last = packet

    def reaches(self, packet: EncodedPacket) -> None:
        """Everything before this key frame is on disk now."""
        self._settle(packet)
        self.written_us = self.media_us(packet)
        self.end_us = max(int(packet.host_at * 1e6), self.end_us + 1)

    def ends(self) -> None:
        """The last packet was the last: it lasts as long as the one before."""
        self._settle(self._last)
        self.written_us = max(self.written_us, self.media_us(self._last) + self._frame_us)
        self.end_us = max(self.end_us, int(self._last.host_at * 1e6) + self._frame_us)

    def _settle(self, packet: EncodedPacket) -> None:
        # A server that sends its cached GOP at once makes the first packets look younger than they are.
        if self._floor_us is not None and self.media_us(packet) < START_SETTLES_US:
            better = int(packet.host_at * 1e6) - self.media_us(packet)
            self.start_us = max(min(self.start_us, better), self._floor_us)


def delete_segment(index: RecordingIndex, root: Path, segment: Segment) -> None:
    """Two phases, so that a crash between them leaves a row that says what is to be done."""
    index.mark_deleting(segment.id)
    (root / segment.path).unlink(missing_ok=True)
    index.forget(segment.id)
