"""One stream's packets to any number of readers: a GOP cache, and a bounded queue per reader.

The writer never waits. A reader that falls behind loses whole groups of pictures, never the middle of one, and the
loss is counted.
"""

import threading
from collections import deque
from collections.abc import Callable

from edge_agent.capture.port import EncodedPacket, StreamParams
from edge_agent.errors import AgentError

GOP_MAX_PACKETS = 600
GOP_MAX_BYTES = 16 * 1024 * 1024
_KEPT_EPOCHS = 4


class Subscription:
    """A reader's queue. Implements `edge_agent.capture.port.PacketSubscription`."""

    def __init__(self, owner: "Broadcast", notify: Callable[[], None], max_packets: int) -> None:
        self.dropped = 0
        self.ended = False
        self._owner = owner
        self._notify = notify
        self._max = max_packets
        self._queue: deque[EncodedPacket] = deque()
        self._skipping = True  # until a key frame

    @property
    def params(self) -> StreamParams:
        """Parameters of the present epoch."""
        return self._owner.params()

    def params_of(self, epoch: int) -> StreamParams:
        """Parameters of the epoch a packet names."""
        return self._owner.params(epoch)

    def pop(self) -> EncodedPacket | None:
        """The next packet, or None when there is none now."""
        try:
            return self._queue.popleft()
        except IndexError:
            return None

    def close(self) -> None:
        """Ends it; idempotent."""
        self._owner.remove(self)
        self.finish()

    def finish(self) -> None:
        """No packet will come any more: the reader is woken to see it."""
        self.ended = True
        self._notify()

    def append(self, packet: EncodedPacket) -> None:
        """Called by the broadcast, in capture's thread."""
        if self._skipping and not packet.is_keyframe:
            self.dropped += 1
            return
        if len(self._queue) >= self._max:
            self.dropped += 1
            self._skipping = True
            return
        self._skipping = False
        self._queue.append(packet)
        self._notify()


class Broadcast:
    """The packets of one stream, epoch after epoch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[int, StreamParams] = {}
        self._epoch = 0
        self._gop: list[EncodedPacket] = []
        self._gop_bytes = 0
        self._readers: list[Subscription] = []
        self._closed = False

    def start_epoch(self, params: StreamParams) -> int:
        """A new run of packets (connect, reconnect, new parameter sets); its number."""
        with self._lock:
            self._epoch += 1
            self._epochs[self._epoch] = params
            self._epochs.pop(self._epoch - _KEPT_EPOCHS, None)
            self._gop, self._gop_bytes = [], 0
            return self._epoch

    def params(self, epoch: int | None = None) -> StreamParams:
        """Parameters of an epoch, the present one by default. `AgentError("camera.offline")` before the first."""
        try:
            return self._epochs[self._epoch if epoch is None else epoch]
        except KeyError as error:
            raise AgentError("camera.offline", "no packet has come yet") from error

    def publish(self, packet: EncodedPacket) -> None:
        """Appends one packet; returns at once."""
        with self._lock:
            if packet.is_keyframe:
                self._gop, self._gop_bytes = [], 0
            if packet.is_keyframe or self._gop:
                self._keep(packet)
            for reader in self._readers:
                reader.append(packet)

    def _keep(self, packet: EncodedPacket) -> None:
        self._gop.append(packet)
        self._gop_bytes += len(packet.data)
        if len(self._gop) > GOP_MAX_PACKETS or self._gop_bytes > GOP_MAX_BYTES:
            self._gop, self._gop_bytes = [], 0  # a camera without key frames: nothing useful to cache

    def subscribe(self, notify: Callable[[], None], max_packets: int, *, from_cache: bool = True) -> Subscription:
        """A new reader, which begins with the cached GOP when `from_cache`."""
        reader = Subscription(self, notify, max_packets)
        with self._lock:
            if self._closed:
                raise AgentError("camera.offline", "the camera was removed")
            if from_cache:
                for packet in self._gop:
                    reader.append(packet)
            self._readers.append(reader)
        return reader

    def remove(self, reader: Subscription) -> None:
        """Forgets a reader."""
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)

    def close(self) -> None:
        """Ends every reader."""
        with self._lock:
            self._closed = True
            readers, self._readers = self._readers, []
        for reader in readers:
            reader.finish()
