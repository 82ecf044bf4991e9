"""A `PacketSource` over a made clip: paced by a thread of its own as a camera's puller is, with a cached GOP."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from edge_agent.capture.port import EncodedPacket, PacketSubscription, StreamParams
from edge_agent.errors import AgentError
from models.vocabulary import StreamName


class ClipSubscription:
    """See `edge_agent.capture.port.PacketSubscription`."""

    def __init__(self, params: StreamParams, cached: Sequence[EncodedPacket], notify: Callable[[], None]) -> None:
        self.dropped = 0
        self.params = params
        self.ended = False
        self.closed = False
        self._notify = notify
        self._queue: deque[EncodedPacket] = deque(cached)

    def pop(self) -> EncodedPacket | None:
        return self._queue.popleft() if self._queue else None

    def close(self) -> None:
        self.closed = True

    def append(self, packet: EncodedPacket) -> None:
        self._queue.append(packet)
        self._notify()


class ClipSource:
    """Endless: the clip again and again, pts rising. `with ClipSource(...) as source`."""

    def __init__(self, params: StreamParams, clip: Sequence[EncodedPacket], fps: float = 25.0) -> None:
        self.sent: list[EncodedPacket] = []
        self.online = True
        self.subscriptions: list[ClipSubscription] = []
        self._params = params
        self._clip = clip
        self._step_s = 1 / fps
        self._gop: list[EncodedPacket] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clip-source")

    def __enter__(self) -> "ClipSource":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def subscribe(
        self, camera_id: UUID, stream: StreamName, notify: Callable[[], None], max_packets: int = 512
    ) -> PacketSubscription:
        if not self.online:
            raise AgentError("camera.offline")
        with self._lock:
            made = ClipSubscription(self._params, self._gop, notify)
            self.subscriptions.append(made)
            return made

    def _run(self) -> None:
        number, next_at = 0, time.monotonic()
        while not self._stop.wait(max(0.0, next_at - time.monotonic())):
            next_at += self._step_s
            unit = replace(
                self._clip[number % len(self._clip)], pts=int(number * 90_000 * self._step_s), host_at=time.time()
            )
            number += 1
            with self._lock:
                self._gop = [unit] if unit.is_keyframe else [*self._gop, unit]
                self.sent.append(unit)
                for subscription in self.subscriptions:
                    if not subscription.closed:
                        subscription.append(unit)
