"""The relay with real peers on loopback: what comes out is what went in, byte for byte, and nothing is decoded or encoded."""

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import av
import pytest

from hub.live.fanout import Fanout
from hub.live.model import LiveConfig
from hub.live.peer import Peer
from hub.live.relay import Relay
from hub.live.rtp import begins_key_frame
from tests.media.clips import encoded_clip, nal_units
from tests.media.peers import (
    AccessUnitTrack,
    Received,
    accept,
    eventually,
    publisher_offer,
    viewer_offer,
)


class House:
    """A relay with peers that are closed at the end."""

    def __init__(self, stack: AsyncExitStack, config: LiveConfig) -> None:
        self.relay = Relay(config)
        self.fanout: Fanout = self.relay.fanout()
        self.ended: list[str] = []
        self._stack = stack

    async def publish(
        self, track: AccessUnitTrack, lose: Callable[[int], bool] | None = None
    ) -> Callable[[], Awaitable[None]]:
        pc, offer = await publisher_offer(track)
        peer, answer = await self.relay.accept_publisher(self.fanout, offer, lambda: self.ended.append("publisher"))
        self._stack.push_async_callback(peer.close)
        self._stack.push_async_callback(pc.close)
        if lose is not None:
            lose_on_the_way(peer, lose)
        await accept(pc, answer)
        return pc.close

    async def watch(self, lose: Callable[[int], bool] | None = None) -> Received:
        received = Received()
        pc, offer = await viewer_offer(received, lose)
        peer, answer = await self.relay.accept_viewer(self.fanout, offer, lambda: self.ended.append("viewer"))
        self._stack.push_async_callback(peer.close)
        self._stack.push_async_callback(pc.close)
        await accept(pc, answer)
        return received


@asynccontextmanager
async def house(config: LiveConfig | None = None) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(stack, config or LiveConfig())


def lose_on_the_way(peer: Peer, lose: Callable[[int], bool]) -> None:
    """Makes the relay's end of a connection lossy."""
    connection = peer.transceiver.receiver.transport.transport._connection
    arrives = connection.data_received

    def data_received(data: bytes, component: int) -> None:
        is_rtp = 127 < data[0] < 192 and not 192 <= data[1] <= 208
        if not (is_rtp and lose(int.from_bytes(data[2:4], "big"))):
            arrives(data, component)

    setattr(connection, "data_received", data_received)  # noqa: B010  mypy knows methods cannot be assigned


def units_sent(track: AccessUnitTrack) -> list[list[bytes]]:
    return [nal_units(unit.data) for unit in track.sent]


@pytest.mark.parametrize("segmentation", [True, False])
async def test_two_viewers_get_every_nal_unit_byte_for_byte(segmentation: bool) -> None:
    _, clip = encoded_clip(width=640, height=480, kbps=2000, noise=60)
    async with house(LiveConfig(segmentation=segmentation)) as live:
        track = AccessUnitTrack(clip)
        one, two = await live.watch(), await live.watch()
        await live.publish(track)
        await eventually(lambda: len(one.frames()) > 60 and len(two.frames()) > 60, "60 frames at both viewers")
        sent = units_sent(track)
        for got in (one, two):
            frames = [units for _, units in got.frames()]
            assert frames[:60] == sent[:60]
        assert one.packets[0].ssrc != two.packets[0].ssrc


async def test_nothing_is_decoded_or_encoded_and_no_thread_is_started() -> None:
    _, clip = encoded_clip()
    gc.collect()
    coders_before = sum(isinstance(thing, av.CodecContext) for thing in gc.get_objects())
    async with house() as live:
        received = await live.watch()
        await live.publish(AccessUnitTrack(clip))
        await eventually(lambda: len(received.packets) > 50, "packets")
        assert not [thread.name for thread in threading.enumerate() if "decoder" in thread.name]
        coders = sum(isinstance(thing, av.CodecContext) for thing in gc.get_objects())
        assert coders <= coders_before


async def test_a_late_viewer_begins_with_the_cached_key_frame_squeezed_in_time() -> None:
    _, clip = encoded_clip(frames=100, gop=50)
    async with house() as live:
        track = AccessUnitTrack(clip)
        await live.publish(track)
        await eventually(lambda: 30 <= len(track.sent) % 50 <= 40, "the middle of a GOP", within_s=15)
        asked_at = time.monotonic()
        received = await live.watch()
        await eventually(lambda: len(received.frames()) > 45, "cached frames and live ones")
        assert begins_key_frame(received.packets[0].payload)
        assert received.first_at is not None
        assert received.first_at - asked_at < 1.0  # the next key frame would be further away
        times = [timestamp for timestamp, _ in received.frames()]
        steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(times)]
        assert steps[:20] == [90] * 20  # cached: a millisecond apart, decoded at once
        assert steps[-3:] == [3600] * 3  # live: as the camera paced them


class Losing:
    """Loses every seventh packet, once; never the first, whose absence nobody can notice from a number."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self._first: int | None = None

    def __call__(self, sequence: int) -> bool:
        if self._first is None:
            self._first = sequence
        if sequence % 7 or sequence in self.lost or sequence == self._first:
            return False
        self.lost.add(sequence)
        return True


async def test_packets_lost_on_the_way_to_a_viewer_are_sent_again_to_it_alone() -> None:
    _, clip = encoded_clip(width=640, height=480, kbps=2000, noise=60)
    lossy = Losing()
    async with house() as live:
        track = AccessUnitTrack(clip)
        received, other = await live.watch(lossy), await live.watch()
        await live.publish(track)
        await eventually(
            lambda: len(received.frames()) > 40 and len(lossy.lost) > 10, "whole frames in spite of losses"
        )
        assert [units for _, units in received.frames()][:40] == units_sent(track)[:40]
        sequences = [packet.sequence_number for packet in other.packets]
        assert len(sequences) == len(set(sequences))


async def test_packets_lost_on_the_way_to_the_hub_are_asked_for_and_passed_on() -> None:
    _, clip = encoded_clip(width=640, height=480, kbps=2000, noise=60)
    lossy = Losing()
    async with house() as live:
        track = AccessUnitTrack(clip)
        received = await live.watch()
        await live.publish(track, lossy)
        await eventually(
            lambda: len(received.frames()) > 40 and len(lossy.lost) > 10, "whole frames in spite of losses"
        )
        assert [units for _, units in received.frames()][:40] == units_sent(track)[:40]


async def test_a_new_publisher_goes_on_in_the_same_viewer_stream() -> None:
    _, clip = encoded_clip()
    async with house() as live:
        received = await live.watch()
        close_first = await live.publish(AccessUnitTrack(clip))
        await eventually(lambda: len(received.frames()) > 10, "the first publisher's frames")
        await close_first()
        await eventually(lambda: "publisher" in live.ended, "the end of the first is noticed")
        before = len(received.packets)
        await live.publish(AccessUnitTrack(clip))
        await eventually(lambda: len(received.packets) > before + 20, "the second publisher's frames")
        sequences = [packet.sequence_number for packet in received.packets]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(sequences))
        assert len({packet.ssrc for packet in received.packets}) == 1
        assert begins_key_frame(received.packets[before].payload)


async def test_a_viewer_that_closes_is_noticed_at_once() -> None:
    _, clip = encoded_clip()
    async with house() as live:
        await live.publish(AccessUnitTrack(clip))
        received = Received()
        pc, offer = await viewer_offer(received)
        peer, answer = await live.relay.accept_viewer(live.fanout, offer, lambda: live.ended.append("viewer"))
        await accept(pc, answer)
        await eventually(lambda: len(received.packets) > 5, "packets")
        await pc.close()
        await eventually(lambda: "viewer" in live.ended, "the end", within_s=2)
        await asyncio.wait_for(peer.close(), 2)
        await eventually(lambda: not live.fanout.legs, "the leg is let go", within_s=2)
