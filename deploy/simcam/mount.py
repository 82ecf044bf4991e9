"""One stream of one camera: paces a clip by the clock, for ever, and hands its RTP packets to every client."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from deploy.simcam.clips import AccessUnit, EncodedClip
from deploy.simcam.clock import CameraClock
from deploy.simcam.rtp import CLOCK_HZ, RtpStream

REPORT_EVERY_S = 2.0
MAX_LATE_S = 1.0
MAX_QUEUED_FRAMES = 100


@dataclass(frozen=True, slots=True)
class SentFrame:
    """The packets of one picture, and a sender report when one is due."""

    packets: tuple[bytes, ...]
    report: bytes | None
    is_key: bool
    at_s: float  # steady clock


@dataclass(eq=False)
class Subscription:
    """A client's bounded queue. It begins with a key frame; when full, it drops up to the next key frame."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    queue: deque[SentFrame] = field(default_factory=deque)
    dropped: int = 0
    _waits_for_key: bool = True

    def offer(self, frame: SentFrame) -> None:
        """Takes or drops a frame; never blocks."""
        if self._waits_for_key and not frame.is_key:
            return
        if len(self.queue) >= MAX_QUEUED_FRAMES:
            self.dropped += 1
            self._waits_for_key = True
            return
        self._waits_for_key = False
        self.queue.append(frame)
        self.wake.set()


class Mount:
    """Frame k is due at start + k/fps; its RTP timestamp rises by the same step over the clip's seam and over faults.

    `declared_fps` is what SDP and ONVIF say; with `timestamps_lie` the RTP timestamps step by it too.
    """

    def __init__(self, clip: EncodedClip, clock: CameraClock, cname: str, start_s: float = 0.0) -> None:
        self.clip = clip
        self.clock = clock
        self.declared_fps = clip.fps
        self.timestamps_lie = False
        self._cname = cname
        self._shown = clip
        self._cursor = clip.key_at_or_before(int(Fraction(start_s) * clip.fps) % len(clip.units))
        self._clients: set[Subscription] = set()
        self._ticks = Fraction(0)
        self._next_report_s = 0.0
        self._rtp = RtpStream(secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))

    @property
    def clients(self) -> int:
        """How many are served now."""
        return len(self._clients)

    @property
    def position_s(self) -> float:
        """Where in the clip the camera is."""
        return float(self._cursor / self.clip.fps)

    def subscribe(self) -> Subscription:
        """A new client; its first frame will be a key frame, with a report before it."""
        subscription = Subscription()
        self._clients.add(subscription)
        self._next_report_s = 0.0
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends it; idempotent."""
        self._clients.discard(subscription)

    def restart(self) -> None:
        """A reboot: new source, new sequence and timestamps."""
        self._rtp = RtpStream(secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))
        self._ticks = Fraction(0)

    def report_soon(self) -> None:
        """The next frame carries a sender report: the camera's clock has changed."""
        self._next_report_s = 0.0

    def current_index(self) -> int:
        """Index in the present clip of the last frame sent."""
        return (self._cursor - 1) % len(self._shown.units)

    @property
    def shown(self) -> EncodedClip:
        """What is sent now: the clip, or a still one under a fault."""
        return self._shown

    def show(self, clip: EncodedClip | None) -> None:
        """Sends `clip` from its first frame on; None: the camera's own clip again, from a key frame."""
        self._shown = clip or self.clip
        self._cursor = 0 if clip else self.clip.key_at_or_before(secrets.randbelow(len(self.clip.units)))

    async def run(self, steady_s: Callable[[], float] = time.monotonic) -> None:
        """Sends until cancelled."""
        due_s = steady_s()
        while True:
            step_s = float(1 / self._shown.fps)
            due_s += step_s
            late_s = steady_s() - due_s
            if late_s > MAX_LATE_S:
                due_s += self._skip(late_s)
            elif late_s < 0:
                await asyncio.sleep(-late_s)
            else:
                await asyncio.sleep(0)
            self._send(due_s, steady_s())

    def _skip(self, late_s: float) -> float:
        """The process was held up: go on at a key frame, the timestamps where they must be. Returns seconds skipped."""
        frames = int(Fraction(late_s) * self._shown.fps)
        self._ticks += frames * self._tick_step
        self._cursor = self._shown.key_at_or_before((self._cursor + frames) % len(self._shown.units))
        return float(frames / self._shown.fps)

    @property
    def _tick_step(self) -> Fraction:
        return CLOCK_HZ / (self.declared_fps if self.timestamps_lie else self._shown.fps)

    def _send(self, due_s: float, now_s: float) -> None:
        unit = self._shown.units[self._cursor]
        self._cursor = (self._cursor + 1) % len(self._shown.units)
        ticks = int(self._ticks)
        self._ticks += self._tick_step
        if not self._clients:
            return
        report = None
        if now_s >= self._next_report_s and (unit.is_key or self._next_report_s):
            report = self._rtp.sender_report(ticks, self.clock.unix_s() - (now_s - due_s), self._cname)
            self._next_report_s = now_s + REPORT_EVERY_S
        frame = SentFrame(tuple(self._rtp.packets(self._nals(unit), ticks)), report, unit.is_key, now_s)
        for client in self._clients:
            client.offer(frame)

    def _nals(self, unit: AccessUnit) -> tuple[bytes, ...]:
        return (self._shown.sps, self._shown.pps, *unit.nals) if unit.is_key else unit.nals
