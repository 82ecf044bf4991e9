"""The analyst: one worker thread looks at the frames of all cameras. Implements `edge_agent.capture.port.FrameSink`.

Capture is never held up: each camera has one slot for its latest frame; a frame that finds it full replaces what is there, and
that is counted. The worker serves the cameras in turn, so that a busy one cannot starve a quiet one.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import cv2
import structlog

from edge_agent.analytics.detector import Detector
from edge_agent.analytics.port import EventOut, SightingOut
from edge_agent.analytics.watch import CameraWatch, Seen, WatchLimits
from edge_agent.capture.port import Frame
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish

log = structlog.get_logger(__name__)

TICK_S = 0.5
PACE_TOLERANCE_S = 0.015
CLOSE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class AnalystMetrics:
    """Counts since the start. A frame that was offered was passed over (too soon), dropped (replaced by a newer one before its
    turn), or looked at; of those looked at, the gate let `detected` through to the detector."""

    offered: int = 0
    passed_over: int = 0
    dropped: int = 0
    looked_at: int = 0
    detected: int = 0
    failed: int = 0
    sightings: int = 0
    events: int = 0
    look_ms_total: float = 0.0
    detect_ms_total: float = 0.0

    @property
    def gate_pass_rate(self) -> float:
        """Share of the frames looked at that reached the detector."""
        return self.detected / self.looked_at if self.looked_at else 0.0

    @property
    def detect_ms(self) -> float:
        """Mean time of a frame that reached the detector, all work included."""
        return self.detect_ms_total / self.detected if self.detected else 0.0


@dataclass
class _Counts:
    offered: int = 0
    passed_over: int = 0
    dropped: int = 0
    looked_at: int = 0
    detected: int = 0
    failed: int = 0
    sightings: int = 0
    events: int = 0
    look_ms_total: float = 0.0
    detect_ms_total: float = 0.0

    def frozen(self) -> AnalystMetrics:
        return AnalystMetrics(**vars(self))


@dataclass
class _Slot:
    """One camera as capture's threads see it. Guarded by the analyst's lock."""

    wish: AnalyticsWish
    frame: Frame | None = None
    due_s: float = 0.0
    removed: bool = False
    counts: _Counts = field(default_factory=_Counts)

    def takes(self, at_s: float) -> bool:
        """Paces frames by their own time to `max_fps` on average, and accepts a clock that was set back."""
        period = 1.0 / self.wish.max_fps
        if at_s < self.due_s - PACE_TOLERANCE_S and at_s > self.due_s - 5 * max(period, 1.0):
            return False
        behind = not -1.0 < at_s - self.due_s < period
        self.due_s = (at_s if behind else self.due_s) + period
        return True


@dataclass
class _Watching:
    """One camera as the worker sees it. The worker's own."""

    watch: CameraWatch
    last_at_s: float = 0.0
    last_looked_s: float = 0.0


class Analyst:
    """Analytics of all cameras of this agent.

    `on_sighting` and `on_event` are called from the worker thread; `clock_of` too. `monotonic` gives seconds.
    """

    def __init__(
        self,
        detector: Detector,
        on_sighting: SightingOut,
        on_event: EventOut,
        clock_of: Callable[[UUID], ClockReading],
        limits: WatchLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detector = detector
        self._on_sighting = on_sighting
        self._on_event = on_event
        self._clock_of = clock_of
        self._limits = limits or WatchLimits()
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._slots: dict[UUID, _Slot] = {}
        self._closing = False
        self._watching: dict[UUID, _Watching] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the worker thread. Once."""
        cv2.setNumThreads(1)  # the recorder and the other cameras need the cores too
        self._thread = threading.Thread(target=self._work, name="analyst", daemon=True)
        self._thread.start()

    def set_wish(self, camera_id: UUID, wish: AnalyticsWish) -> None:
        """What to look for at a camera, from now on. Frames of a camera without a wish are dropped. With `enabled` false, what is
        open there ends, with its final messages."""
        with self._changed:
            slot = self._slots.get(camera_id)
            if slot is None:
                slot = self._slots[camera_id] = _Slot(wish)
            slot.wish, slot.removed = wish, not wish.enabled
            if not wish.enabled:
                slot.frame = None
            self._changed.notify()

    def remove(self, camera_id: UUID) -> None:
        """Forgets a camera; what is open there ends, with its final messages."""
        with self._changed:
            slot = self._slots.get(camera_id)
            if slot is not None:
                slot.removed, slot.frame = True, None
                self._changed.notify()

    def offer(self, frame: Frame) -> None:
        """Takes a frame or drops it; returns at once. The image must not be changed afterwards."""
        with self._changed:
            slot = self._slots.get(frame.camera_id)
            if slot is None or slot.removed or self._closing:
                return
            slot.counts.offered += 1
            if not slot.takes(frame.at.timestamp()):
                slot.counts.passed_over += 1
                return
            if slot.frame is not None:
                slot.counts.dropped += 1
            slot.frame = frame
            self._changed.notify()

    def close(self) -> None:
        """Ends what is open, tells it, stops the worker. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def metrics(self, camera_id: UUID | None = None) -> AnalystMetrics:
        """Counts of one camera, or the sum of all."""
        with self._changed:
            if camera_id is not None:
                slot = self._slots.get(camera_id)
                return slot.counts.frozen() if slot else AnalystMetrics()
            total = _Counts()
            for slot in self._slots.values():
                for name, value in vars(slot.counts).items():
                    setattr(total, name, getattr(total, name) + value)
            return total.frozen()

    def _work(self) -> None:
        next_tick = self._monotonic() + TICK_S
        while True:
            frame, leaving, closing = self._next(max(0.0, next_tick - self._monotonic()))
            for camera_id in leaving:
                self._finish(camera_id)
            if closing:
                for camera_id in list(self._watching):
                    self._finish(camera_id)
                return
            if frame is not None:
                self._look(frame)
            if self._monotonic() >= next_tick:
                next_tick = self._monotonic() + TICK_S
                self._tick_quiet_cameras()

    def _next(self, timeout_s: float) -> tuple[Frame | None, list[UUID], bool]:
        """The next frame in turn, the cameras that were taken away, and whether this is the end."""
        with self._changed:
            if not self._something_to_do():
                self._changed.wait(timeout_s)
            leaving = [
                camera_id for camera_id, slot in self._slots.items() if slot.removed and camera_id in self._watching
            ]
            for camera_id, slot in self._slots.items():
                if slot.frame is not None:
                    frame, slot.frame = slot.frame, None
                    # Who was served goes to the end of the line.
                    self._slots[camera_id] = self._slots.pop(camera_id)
                    return frame, leaving, self._closing
            return None, leaving, self._closing

    def _something_to_do(self) -> bool:
        return self._closing or any(
            slot.frame is not None or (slot.removed and camera_id in self._watching)
            for camera_id, slot in self._slots.items()
        )

    def _look(self, frame: Frame) -> None:
        slot = self._slots[frame.camera_id]
        state = self._watching.get(frame.camera_id)
        if state is None:
            watch = CameraWatch(frame.camera_id, self._detector, self._clock_of, slot.wish, self._limits)
            state = self._watching[frame.camera_id] = _Watching(watch)
        state.watch.wish = slot.wish
        state.last_at_s, state.last_looked_s = frame.at.timestamp(), self._monotonic()
        began = time.perf_counter()
        seen = self._safely(frame.camera_id, lambda: state.watch.look(frame.image, state.last_at_s))
        took_ms = (time.perf_counter() - began) * 1000
        slot.counts.looked_at += 1
        slot.counts.look_ms_total += took_ms
        if seen is not None and seen.gate_open:
            slot.counts.detected += 1
            slot.counts.detect_ms_total += took_ms

    def _safely(self, camera_id: UUID, act: Callable[[], Seen]) -> Seen | None:
        """Does something for a camera and tells what came of it. One camera's trouble must not end analytics of all:
        it is counted, and logged when it begins."""
        counts = self._slots[camera_id].counts
        try:
            seen = act()
            for sighting in seen.sightings:
                counts.sightings += sighting.revision == 1
                self._on_sighting(sighting)
            for event in seen.events:
                counts.events += 1
                self._on_event(event)
        except Exception:  # the named boundary: a broken frame, or a receiver that failed
            if counts.failed == 0:
                log.exception("analytics.camera_failed", camera_id=str(camera_id))
            counts.failed += 1
            return None
        return seen

    def _finish(self, camera_id: UUID) -> None:
        state = self._watching.pop(camera_id)
        self._safely(camera_id, lambda: state.watch.finish(state.last_at_s))

    def _tick_quiet_cameras(self) -> None:
        now = self._monotonic()
        for camera_id, state in self._watching.items():
            silent_s = now - state.last_looked_s
            if silent_s >= TICK_S:
                self._safely(camera_id, partial(state.watch.tick, state.last_at_s + silent_s))
