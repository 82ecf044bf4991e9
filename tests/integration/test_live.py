"""Live viewing end to end: real app, database, NATS and WebRTC; the camera alone is a made clip."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from hub.context import Context
from hub.live.model import LiveConfig
from models.wire.downlink import Consent
from tests.integration.live_house import LiveHouse, live_house
from tests.media.clips import encoded_clip, nal_units
from tests.media.peers import Received, eventually, viewer_offer
from tests.media.source import ClipSource

QUICK = LiveConfig(lease_s=3, linger_s=0.5, stalled_s=1.0, lost_s=2.5, backoff_s=(0.2, 0.5))


@pytest.fixture
def source() -> Iterator[ClipSource]:
    params, clip = encoded_clip()
    with ClipSource(params, clip) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def house(context: Context, source: ClipSource) -> AsyncIterator[LiveHouse]:
    async with live_house(context, source, QUICK) as made:
        yield made


async def until(condition: Callable[[], Awaitable[bool]], what: str, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.05)


async def keep_lease(house: LiveHouse, session_id: str) -> None:
    while True:
        await house.http.post(f"/live/sessions/{session_id}/lease")
        await asyncio.sleep(1)


async def test_a_picture_flows_from_the_house_to_the_viewer_as_the_camera_made_it(
    house: LiveHouse, source: ClipSource
) -> None:
    session = await house.open()
    received, pc = await house.watch(session)
    await eventually(lambda: len(received.frames()) > 30, "frames")
    await pc.close()
    known = [nal_units(unit.data) for unit in source.sent]
    frames = [units for _, units in received.frames()]
    at = known.index(frames[0])
    # Parameter sets may be added before a key frame; all else is equal, frame by frame.
    for sent, got in zip(known[at:], frames, strict=False):
        assert got[-len(sent) :] == sent


async def test_watching_is_in_the_ledger_with_its_seconds(house: LiveHouse) -> None:
    session = await house.open()
    rows = await house.ledger("footage.live_watched")
    assert [str(camera) for camera in rows[0]["camera_ids"]] == [str(house.camera_id)]
    assert rows[0]["purpose_kind"] == "duty"
    received, pc = await house.watch(session)
    await eventually(lambda: len(received.packets) > 40, "a second of packets")
    assert (await house.http.delete(f"/live/sessions/{session['id']}")).status_code == 204
    await until(lambda: _has(house, "footage.live_ended"), "the row of the end")
    ended = (await house.ledger("footage.live_ended"))[0]
    assert ended["detail"]["reason"] == "closed"
    assert ended["detail"]["seconds"] >= 0
    assert ended["subject_id"] == rows[0]["subject_id"]
    await pc.close()


async def _has(house: LiveHouse, action: str) -> bool:
    return bool(await house.ledger(action))


async def test_one_upstream_serves_all_viewers_and_ends_after_the_last(house: LiveHouse, source: ClipSource) -> None:
    sessions = await asyncio.gather(*(house.open() for _ in range(3)))
    watching = await asyncio.gather(*(house.watch(session) for session in sessions))
    await eventually(lambda: all(len(received.packets) > 10 for received, _ in watching), "packets for all three")
    assert house.commands.count("live_start") == 1
    assert len(source.subscriptions) == 1
    assert house.live.upstreams()[0].viewers == 3
    for session in sessions:
        await house.http.delete(f"/live/sessions/{session['id']}")
    await eventually(lambda: not house.live.upstreams(), "the upstream is closed")
    await eventually(lambda: source.subscriptions[0].closed, "the camera's packets are let go")
    assert house.commands[-1] == "live_stop"
    for _, pc in watching:
        await pc.close()


async def test_a_session_without_lease_ends(house: LiveHouse) -> None:
    session = await house.open()
    _, pc = await house.watch(session)
    await eventually(lambda: not house.live._sessions, "the lease runs out")
    response = await house.http.post(f"/live/sessions/{session['id']}/lease")
    assert (response.status_code, response.json()["code"], response.json()["reason"]) == (409, "live.ended", "lease")
    await pc.close()


async def test_a_viewer_that_goes_ends_its_session_before_the_lease(house: LiveHouse) -> None:
    session = await house.open()
    received, pc = await house.watch(session)
    await eventually(lambda: bool(received.packets), "packets")
    await house.http.post(f"/live/sessions/{session['id']}/lease")
    await pc.close()
    await eventually(lambda: not house.live._sessions, "the end is noticed", within_s=1.5)


async def test_the_lease_tells_what_the_relay_sees(house: LiveHouse) -> None:
    session = await house.open()
    await eventually(lambda: house.live.upstreams()[0].state == "live", "the upstream flows")
    view = (await house.http.post(f"/live/sessions/{session['id']}/lease")).json()
    assert view["upstream"] == "live"
    assert view["packets"] > 0
    assert view["last_packet_at"] is not None


async def test_a_withdrawn_consent_ends_live_within_two_seconds(house: LiveHouse, source: ClipSource) -> None:
    session = await house.open()
    received, pc = await house.watch(session)
    await eventually(lambda: len(received.packets) > 10, "packets")
    await house.set_consent(Consent(version=2, share_clips=True, share_live=False, purposes=[]))
    await eventually(lambda: not house.live._sessions, "the session is ended", within_s=2)
    response = await house.http.post(f"/live/sessions/{session['id']}/lease")
    assert response.json()["reason"] == "consent.live_not_shared"
    await eventually(lambda: source.subscriptions[0].closed, "the house sends no more", within_s=2)
    refused = await house.ask()
    assert (refused.status_code, refused.json()["code"]) == (403, "consent.live_not_shared")
    await until(lambda: _has(house, "access.denied"), "the denial is in the ledger")
    await pc.close()


async def test_the_agents_own_refusal_is_obeyed(house: LiveHouse) -> None:
    house.refusals[house.camera_id] = "consent.paused"
    refused = await house.ask()
    assert (refused.status_code, refused.json()["code"]) == (403, "consent.paused")
    assert not house.live._sessions


async def test_a_pause_at_the_box_ends_the_session_with_its_reason(house: LiveHouse) -> None:
    session = await house.open()
    received, pc = await house.watch(session)
    await eventually(lambda: len(received.packets) > 10, "packets")
    house.refusals[house.camera_id] = "consent.paused"
    began = time.monotonic()
    await house.publisher.stop_camera(house.camera_id, "consent.paused")
    assert time.monotonic() - began < 1.0
    await eventually(lambda: not house.live._sessions, "the viewer is told", within_s=3)
    response = await house.http.post(f"/live/sessions/{session['id']}/lease")
    assert response.json()["reason"] == "consent.paused"
    await pc.close()


async def test_a_lost_upstream_is_started_again_while_somebody_watches(house: LiveHouse) -> None:
    session = await house.open()
    received, pc = await house.watch(session)
    keeping = asyncio.create_task(keep_lease(house, session["id"]))
    try:
        await eventually(lambda: len(received.packets) > 10, "packets")
        before = len(received.packets)
        (running,) = house.publisher.active
        await house.publisher.stop(running, "a test")
        await eventually(lambda: len(received.packets) > before + 30, "the same viewer gets packets again")
        assert house.commands.count("live_start") >= 2
    finally:
        keeping.cancel()
        await pc.close()


async def test_an_offline_camera_and_an_absent_agent_say_so(house: LiveHouse, source: ClipSource) -> None:
    source.online = False
    response = await house.ask()
    assert (response.status_code, response.json()["code"], response.json()["detail"]) == (
        503,
        "live.no_stream",
        "camera.offline",
    )


async def test_an_unknown_camera_is_not_found(house: LiveHouse) -> None:
    house.camera_id = house.agent_id
    response = await house.ask()
    assert (response.status_code, response.json()["code"]) == (404, "camera.unknown")


async def test_nobody_watches_more_than_the_limit(context: Context, source: ClipSource) -> None:
    config = dataclasses.replace(QUICK, max_sessions_per_user=2)
    async with live_house(context, source, config) as house:
        await house.open()
        await house.open("main")
        response = await house.ask()
        assert (response.status_code, response.json()["code"]) == (429, "live.too_many")


async def test_tokens_open_only_what_they_were_made_for(house: LiveHouse) -> None:
    one, two = await house.open(), await house.open()
    pc, offer = await viewer_offer(Received())
    crossed = await house.whep({**two, "whep_url": one["whep_url"]}, offer)
    assert (crossed.status_code, crossed.json()["code"]) == (403, "token.invalid")
    bare = await house.http.post(house.url(one["whep_url"]), content=offer, headers={"Content-Type": "application/sdp"})
    assert (bare.status_code, bare.json()["code"]) == (401, "token.missing")
    as_agent = {**one, "whep_url": one["whep_url"].replace("whep", "whip")}
    assert (await house.whep(as_agent, offer)).json()["code"] == "token.invalid"
    await pc.close()


async def test_whep_delete_ends_the_session(house: LiveHouse) -> None:
    session = await house.open()
    headers = {"Authorization": f"Bearer {session['token']}"}
    assert (await house.http.delete(house.url(session["whep_url"]), headers=headers)).status_code == 204
    await eventually(lambda: not house.live._sessions, "it is over", within_s=1)


async def test_what_is_no_offer_is_refused_with_a_problem(house: LiveHouse) -> None:
    session = await house.open()
    pc, good = await viewer_offer(Received())
    await pc.close()
    for body, code in (
        ("", "live.sdp_invalid"),
        ("v=0\r\n" + "a=x\r\n" * 20_000, "live.sdp_invalid"),
        (good.replace("a=ice-pwd:", "a=ice-pwd:\x00"), "live.sdp_invalid"),
        (good.replace("a=fingerprint:", "a=finger:"), "live.sdp_invalid"),
        (good.replace("H264", "VP9"), "live.no_h264"),
    ):
        response = await house.whep(session, body)
        assert (response.status_code, response.json()["code"]) == (422, code)
    headers = {"Authorization": f"Bearer {session['token']}", "Content-Type": "application/json"}
    response = await house.http.post(house.url(session["whep_url"]), content=good, headers=headers)
    assert response.json()["code"] == "live.sdp_invalid"
    received, pc = await house.watch(session)  # none of it has harmed the session
    await eventually(lambda: bool(received.packets), "packets")
    await pc.close()


async def test_live_shows_in_the_metrics(house: LiveHouse) -> None:
    session = await house.open()
    received, pc = await house.watch(session)
    await eventually(lambda: len(received.packets) > 20, "packets")
    await house.live.sweep()
    assert REGISTRY.get_sample_value("qianshao_live_sessions_now") == 1
    assert REGISTRY.get_sample_value("qianshao_live_upstreams", {"state": "live"}) == 1
    assert (REGISTRY.get_sample_value("qianshao_live_packets_received_total") or 0) > 20
    assert (REGISTRY.get_sample_value("qianshao_live_packets_sent_total") or 0) > 20
    await pc.close()
