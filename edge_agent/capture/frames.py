"""Decoding the sub-stream for analytics: the only place where pictures are made, and only as many as are asked for."""

import threading
from datetime import UTC, datetime
from uuid import UUID

import av
import av.error
import numpy as np
import structlog
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from edge_agent.capture.broadcast import Broadcast
from edge_agent.capture.port import EncodedPacket, Frame, FrameSink

log = structlog.get_logger(__name__)

QUEUE_PACKETS = 250


class FrameTap:
    """Decodes one stream in a thread of its own and offers frames at a bounded rate.

    A slow decoder loses whole groups of pictures (the subscription sees to that), never blocks the reader.
    """

    def __init__(self, camera_id: UUID, broadcast: Broadcast, sink: FrameSink, max_fps: float) -> None:
        self.decode_errors = 0
        self.frames_offered = 0
        self._camera_id = camera_id
        self._sink = sink
        self._spacing_s = 1.0 / max_fps
        self._next_at = 0.0
        self._wake = threading.Event()
        self._subscription = broadcast.subscribe(self._wake.set, QUEUE_PACKETS)
        self._decoder: VideoCodecContext | None = None
        self._epoch = 0
        self._host_at: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, name=f"decode-{camera_id}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Ends it."""
        self._subscription.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._subscription.ended:
            packet = self._subscription.pop()
            if packet is None:
                self._wake.wait(timeout=1.0)
                self._wake.clear()
                continue
            try:
                self._decode(packet)
            except av.error.FFmpegError:
                self.decode_errors += 1  # a damaged picture: the next key frame mends it

    def _decode(self, packet: EncodedPacket) -> None:
        if self._decoder is None or packet.epoch != self._epoch:
            self._open(packet.epoch)
        if self._decoder is None:
            return
        raw = Packet(packet.data)
        raw.pts = packet.pts
        self._host_at[packet.pts] = packet.host_at
        for frame in self._decoder.decode(raw):
            self._offer(frame)

    def _open(self, epoch: int) -> None:
        params = self._subscription.params_of(epoch)
        decoder = CodecContext.create(params.codec, "r")
        if not isinstance(decoder, VideoCodecContext):
            raise TypeError(f"{params.codec} is no video codec")
        decoder.extradata = params.extradata
        decoder.thread_count = 1
        self._decoder, self._epoch, self._next_at = decoder, epoch, 0.0
        self._host_at.clear()

    def _offer(self, frame: VideoFrame) -> None:
        at = self._host_at.pop(frame.pts, None) if frame.pts is not None else None
        if len(self._host_at) > 64:
            self._host_at.clear()
        if at is None or at < self._next_at:
            return
        self._next_at = max(self._next_at + self._spacing_s, at)
        image = np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)
        self._sink.offer(Frame(self._camera_id, image, datetime.fromtimestamp(at, UTC)))
        self.frames_offered += 1
