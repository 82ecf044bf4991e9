"""The agent's publisher against a real relay over HTTP: what ends it, and how fast nothing leaves any more."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_agent.capture.port import EncodedPacket
from edge_agent.live.publisher import LivePublisher
from hub.live.model import LiveConfig, PeerHandle
from hub.live.relay import Relay
from hub.live.sdp import checked_offer
from models.vocabulary import StreamName
from models.wire.downlink import LiveStart
from tests.media.clips import encoded_clip, nal_units
from tests.media.peers import Received, accept, eventually, viewer_offer
from tests.media.source import ClipSource

CAMERA = uuid4()


class WhipHub:
    """A relay behind one WHIP resource that notes what is asked of it."""

    def __init__(self) -> None:
        self.relay = Relay(LiveConfig())
        self.fanout = self.relay.fanout()
        self.peers: list[PeerHandle] = []
        self.tokens: list[str] = []
        self.deleted: list[str] = []
        self.answers: list[int] = []  # statuses to answer first
        self.url = ""

    async def whip(self, request: Request) -> Response:
        self.tokens.append(request.headers["Authorization"])
        if self.answers:
            return Response(status_code=self.answers.pop(0))
        offer = checked_offer(await request.body())
        peer, answer = await self.relay.accept_publisher(self.fanout, offer, lambda: None)
        self.peers.append(peer)
        return Response(answer, 201, {"Location": "/whip/resource"}, media_type="application/sdp")

    async def delete(self, request: Request) -> Response:
        self.deleted.append(request.headers["Authorization"])
        return Response(status_code=204)


@pytest_asyncio.fixture(loop_scope="session")
async def hub() -> AsyncIterator[WhipHub]:
    made = WhipHub()
    app = Starlette(
        routes=[
            Route("/whip", made.whip, methods=["POST"]),
            Route("/whip/resource", made.delete, methods=["DELETE"]),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}/whip"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield made
    for peer in made.peers:
        await peer.close()
    server.should_exit = True
    await serving


@pytest.fixture
def source() -> Iterator[ClipSource]:
    params, clip = encoded_clip()
    with ClipSource(params, clip) as running:
        yield running


class House:
    """A publisher whose owner can change their mind."""

    def __init__(self, source: ClipSource, hub: WhipHub) -> None:
        self.refusal = ""
        self.hub = hub
        self.publisher = LivePublisher(source, lambda _: self.refusal, ice_hosts=("127.0.0.1",))

    def wish(self, **changes: Any) -> LiveStart:
        wanted = LiveStart(
            session_id=uuid4(),
            camera_id=CAMERA,
            stream=StreamName.SUB,
            whip_url=self.hub.url,
            token="let-me-in",
            expires_at=datetime.now(UTC) + timedelta(minutes=2),
        )
        return wanted.model_copy(update=changes)

    async def flow(self, **changes: Any) -> UUID:
        wanted = self.wish(**changes)
        reply = await self.publisher.start(wanted)
        assert reply.ok, reply.code
        before = self.hub.fanout.packets
        await eventually(lambda: self.hub.fanout.packets > before + 10, "packets reach the hub")
        return wanted.session_id


@pytest_asyncio.fixture(loop_scope="session")
async def house(source: ClipSource, hub: WhipHub) -> AsyncIterator[House]:
    made = House(source, hub)
    yield made
    await made.publisher.close()


async def nothing_comes(hub: WhipHub) -> bool:
    """Whether no packet arrives during half a second: there were 25 frames a second."""
    before = hub.fanout.packets
    await asyncio.sleep(0.5)
    return hub.fanout.packets == before


async def test_it_starts_at_the_key_frame_of_the_cached_gop(house: House, source: ClipSource) -> None:
    await eventually(lambda: 10 < len(source.sent) % 25 < 20, "the middle of a GOP")
    received = Received()
    async with AsyncExitStack() as stack:
        pc, offer = await viewer_offer(received)
        stack.push_async_callback(pc.close)
        peer, answer = await house.hub.relay.accept_viewer(house.hub.fanout, offer, lambda: None)
        stack.push_async_callback(peer.close)
        await accept(pc, answer)
        began = len(source.sent)
        await house.flow()
        await eventually(lambda: len(received.frames()) > 40, "frames")
    first = received.frames()[0][1]
    cached = [nal_units(unit.data) for unit in source.sent[: began + 10] if unit.is_keyframe]
    assert any(first[-len(units) :] == units for units in cached)
    assert house.hub.tokens == ["Bearer let-me-in"]


async def test_stop_camera_silences_it_within_a_second_and_says_goodbye(house: House, source: ClipSource) -> None:
    await house.flow()
    began = time.monotonic()
    await house.publisher.stop_camera(CAMERA, "consent.paused")
    assert time.monotonic() - began < 1.0
    assert await nothing_comes(house.hub)
    assert source.subscriptions[0].closed
    assert house.hub.deleted == ["Bearer let-me-in"]
    assert not house.publisher.active


async def test_a_consent_that_ends_by_itself_ends_the_stream(house: House) -> None:
    await house.flow()
    house.refusal = "consent.out_of_hours"
    await eventually(lambda: not house.publisher.active, "the session ends", within_s=3)
    assert await nothing_comes(house.hub)


async def test_without_consent_nothing_begins(house: House, source: ClipSource) -> None:
    house.refusal = "consent.paused"
    reply = await house.publisher.start(house.wish())
    assert (reply.ok, reply.code) == (False, "consent.paused")
    assert not source.subscriptions
    assert not house.hub.tokens


async def test_a_hub_that_does_not_renew_is_not_served_for_ever(house: House) -> None:
    await house.flow(expires_at=datetime.now(UTC) + timedelta(seconds=2))
    await eventually(lambda: not house.publisher.active, "its time is out", within_s=4)
    assert await nothing_comes(house.hub)


async def test_a_renewal_prolongs_the_running_session(house: House) -> None:
    wanted = house.wish(expires_at=datetime.now(UTC) + timedelta(seconds=2))
    assert (await house.publisher.start(wanted)).ok
    later = wanted.model_copy(update={"expires_at": datetime.now(UTC) + timedelta(minutes=1)})
    assert (await house.publisher.start(later)).ok
    past = wanted.expires_at + timedelta(seconds=1)
    await eventually(lambda: datetime.now(UTC) > past, "the first term is over")
    assert house.publisher.active == [wanted.session_id]
    assert len(house.hub.tokens) == 1
    assert not await nothing_comes(house.hub)


async def test_a_new_session_for_the_same_stream_takes_the_place_of_the_old(house: House, source: ClipSource) -> None:
    await house.flow()
    second = await house.flow()
    assert house.publisher.active == [second]
    assert source.subscriptions[0].closed


async def test_a_hub_in_trouble_is_asked_again(house: House) -> None:
    house.hub.answers = [503, 502]
    await house.flow()
    assert len(house.hub.tokens) == 3


async def test_a_refusal_of_the_hub_is_final(house: House, source: ClipSource) -> None:
    house.hub.answers = [403]
    assert (await house.publisher.start(house.wish())).ok
    await eventually(lambda: not house.publisher.active, "it gives up")
    assert len(house.hub.tokens) == 1
    assert source.subscriptions[0].closed


async def test_the_end_of_the_camera_ends_the_session(house: House, source: ClipSource) -> None:
    await house.flow()
    source.subscriptions[0].ended = True
    source.subscriptions[0].close()
    await eventually(lambda: not house.publisher.active, "it ends")


async def test_the_end_of_the_connection_ends_the_session(house: House) -> None:
    await house.flow()
    await house.hub.peers[0].close()
    await eventually(lambda: not house.publisher.active, "it ends", within_s=3)


async def test_a_wish_after_the_end_begins_nothing(house: House, source: ClipSource) -> None:
    await house.publisher.close()
    reply = await house.publisher.start(house.wish())
    assert (reply.ok, reply.code) == (False, "agent.stopping")
    assert not house.publisher.active
    assert not source.subscriptions


async def test_a_session_whose_way_to_the_hub_was_closed_ends_without_an_error(
    hub: WhipHub, source: ClipSource
) -> None:
    lost: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: lost.append(context))
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            publisher = LivePublisher(source, lambda _: "", ice_hosts=("127.0.0.1",), client=client)
        house = House(source, hub)
        assert (await publisher.start(house.wish())).ok
        await eventually(lambda: not publisher.active, "it ends")
        assert source.subscriptions[0].closed
        gc.collect()  # a task's error that nobody took is told when the task goes
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    assert not lost


async def test_an_offline_camera_and_a_codec_nobody_can_show_are_said_at_once(house: House, source: ClipSource) -> None:
    source._params = replace(source._params, codec="hevc")
    assert (await house.publisher.start(house.wish())).code == "live.codec_unsupported"
    assert source.subscriptions[0].closed
    source.online = False
    assert (await house.publisher.start(house.wish())).code == "camera.offline"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "live.expired"),
        ({"whip_url": "file:///etc/passwd"}, "live.url_invalid"),
    ],
)
async def test_impossible_wishes_are_refused(house: House, changes: dict[str, Any], code: str) -> None:
    assert (await house.publisher.start(house.wish(**changes))).code == code


async def test_a_reconnected_camera_goes_on_in_the_same_stream(house: House, source: ClipSource) -> None:
    received = Received()
    async with AsyncExitStack() as stack:
        pc, offer = await viewer_offer(received)
        stack.push_async_callback(pc.close)
        peer, answer = await house.hub.relay.accept_viewer(house.hub.fanout, offer, lambda: None)
        stack.push_async_callback(peer.close)
        await accept(pc, answer)
        await house.flow()
        subscription = source.subscriptions[0]
        _, clip = encoded_clip()
        for number, unit in enumerate(clip):
            subscription.append(_epoch_two(unit, number))
        await eventually(lambda: len(received.frames()) > 100, "frames of both epochs")
    times = [timestamp for timestamp, _ in received.frames()]
    assert all(0 < (b - a) & 0xFFFFFFFF < 0x80000000 for a, b in pairwise(times))


def _epoch_two(unit: EncodedPacket, number: int) -> EncodedPacket:
    return replace(unit, epoch=2, pts=number)
