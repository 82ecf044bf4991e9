"""Cameras from candidate to retirement, their consent and what is told to the agent, through the API."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from hub.agents import service as agents
from hub.app import create_app
from hub.cameras import service
from hub.context import Context
from hub.errors import Forbidden
from hub.identity.model import Role
from hub.ingest.service import handle_uplink
from hub.kit.ids import new_id
from models.vocabulary import CameraState, GapReason
from models.wire.downlink import DesiredState, down_subject
from models.wire.uplink import CameraReport, GapSeen, MissingSpan, Presence
from tests.people import (
    ADOPTION,
    CONSENT,
    JPEG,
    MovableClock,
    Person,
    candidate,
    device,
    enrolled,
    ledger_rows,
    on_clock,
    person,
    visitor,
)


async def _desired(context: Context, agent_id: UUID) -> DesiredState:
    async with context.db.transaction() as tx:
        return await service.desired_state(tx, agent_id, context.clock())


async def _adopted(context: Context, admin: Person) -> tuple[UUID, UUID]:
    """(agent, camera) with a camera at work."""
    box = await enrolled(context, admin.who)
    camera_id = await candidate(context, box)
    answer = await admin.client.post(f"cameras/{camera_id}/adoption", json=ADOPTION)
    assert answer.status_code == 201, answer.text
    return box.id, camera_id


async def _listening(context: Context, agent_id: UUID) -> "asyncio.Queue[DesiredState]":
    """What is pushed to the agent from now on."""
    told: asyncio.Queue[DesiredState] = asyncio.Queue()
    client = context.bus._client  # type: ignore[attr-defined]  # the adapter's own connection, to listen as an agent

    async def heard(message: Any) -> None:
        told.put_nowait(DesiredState.model_validate_json(message.data))

    await client.subscribe(down_subject(agent_id, "desired"), cb=heard)
    await client.flush()
    return told


async def test_a_found_device_is_a_candidate_and_nothing_is_wanted_of_it(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        box = await enrolled(context, admin.who)
        camera_id = await candidate(context, box)
        (view,) = (await admin.client.get("cameras", params={"adopted": False})).json()
        assert (view["id"], view["adopted"], view["name"]) == (str(camera_id), False, "Simcam SC-1")
        assert (view["agent_name"], view["has_snapshot"], view["consent"]) == ("村委会", True, None)
        assert (await admin.client.get("cameras", params={"adopted": True})).json() == []
        assert (await _desired(context, box.id)).cameras == []
        assert (await admin.client.get(f"agents/{box.id}")).json()["candidate_count"] == 1


async def test_adoption_puts_a_camera_to_work_with_its_owners_consent(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        box = await enrolled(context, admin.who)
        camera_id = await candidate(context, box)
        before = (await _desired(context, box.id)).version
        answer = await admin.client.post(f"cameras/{camera_id}/adoption", json=ADOPTION)
        assert answer.status_code == 201
        view = answer.json()
        assert (view["adopted"], view["name"], view["consent"]["version"]) == (True, "村口晒场", 1)
        state = await _desired(context, box.id)
        assert state.version == before + 1
        assert [(one.camera_id, one.consent.version) for one in state.cameras] == [(camera_id, 1)]
        again = await admin.client.post(f"cameras/{camera_id}/adoption", json=ADOPTION)
        assert (again.status_code, again.json()["code"]) == (409, "camera.adopted")
    row = (await ledger_rows(context))[-1]
    assert (row["action"], row["camera_ids"]) == ("camera.adopted", [camera_id])
    assert row["detail"]["consent"]["purposes"] == ["theft_loss"]


async def test_a_device_told_again_stays_what_it_is_and_another_agent_cannot_take_it(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(context, admin)
        async with context.db.transaction() as tx:
            await service.record_device(tx, agent_id, device(camera_id, firmware="2.0"), None, context.clock())
        view = (await admin.client.get(f"cameras/{camera_id}")).json()
        assert (view["adopted"], view["name"], view["firmware"]) == (True, "村口晒场", "2.0")
        assert view["has_snapshot"] is True
        thief = await enrolled(context, admin.who, "thief")
        with pytest.raises(Forbidden, match=r"ingest\.wrong_agent"):
            async with context.db.transaction() as tx:
                await service.record_device(tx, thief.id, device(camera_id), None, context.clock())


async def test_a_connected_agent_hears_of_a_pause_at_once(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(context, admin)
        told = await _listening(context, agent_id)
        paused = await admin.client.post(f"cameras/{camera_id}/pause", json={})
        state = await asyncio.wait_for(told.get(), timeout=2)
        assert state.cameras[0].consent.paused is True
        assert paused.json()["consent"]["version"] == state.cameras[0].consent.version == 2


async def test_pause_and_resume_are_versions_of_the_consent(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    async with person(create_app(on), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(on, admin)
        url = f"cameras/{camera_id}/pause"
        until = (clock() + timedelta(hours=1)).isoformat()
        paused = (await admin.client.post(url, json={"until": until})).json()["consent"]
        assert (paused["version"], paused["paused"]) == (2, True)
        same = (await admin.client.post(url, json={"until": until})).json()["consent"]
        assert same["version"] == 2
        version = (await _desired(on, agent_id)).version
        # What the owner allows may change during a pause, and the pause goes on.
        wider = (await admin.client.put(f"cameras/{camera_id}/consent", json={**CONSENT, "share_live": False})).json()
        assert (wider["consent"]["version"], wider["consent"]["paused"]) == (3, True)
        resumed = (await admin.client.delete(url)).json()["consent"]
        assert (resumed["version"], resumed["paused"], resumed["paused_until"]) == (4, False, None)
        assert resumed["share_live"] is False
        assert (await _desired(on, agent_id)).version == version + 2
        past = await admin.client.post(url, json={"until": clock().isoformat()})
        assert (past.status_code, past.json()["code"]) == (422, "consent.until_past")
        async with context.db.transaction() as tx:
            kept = await tx.execute(text("select version from camera_consents order by version"))
            assert kept.scalars().all() == [1, 2, 3, 4]
    actions = [row["action"] for row in await ledger_rows(context)][-3:]
    assert actions == ["consent.paused", "consent.changed", "consent.resumed"]


async def test_footage_is_judged_by_the_consent_of_its_time(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    async with person(create_app(on), Role.ADMIN) as admin:
        adopted_at = clock()
        _, camera_id = await _adopted(on, admin)
        clock.move(hours=1)
        paused_at = clock()
        await admin.client.post(f"cameras/{camera_id}/pause", json={})
        clock.move(hours=1)
        await admin.client.delete(f"cameras/{camera_id}/pause")

        async def judged(at: Any) -> str:
            async with context.db.transaction() as tx:
                camera = await service.camera(tx, camera_id)
                assert camera is not None
                return await service.consent_refusal_at(tx, camera, "clips", at)

        minute = timedelta(minutes=1)
        assert await judged(adopted_at - minute) == "consent.missing"
        assert await judged(adopted_at - timedelta(seconds=5)) == ""  # clocks differ by seconds
        assert await judged(paused_at - minute) == ""
        assert await judged(paused_at + minute) == "consent.paused"
        assert await judged(clock() + minute) == ""


async def test_a_retired_camera_is_let_go_with_its_consent(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN, purpose=True) as admin:
        agent_id, camera_id = await _adopted(context, admin)
        assert (await admin.client.delete(f"cameras/{camera_id}")).status_code == 204
        assert (await _desired(context, agent_id)).cameras == []
        assert (await admin.client.get("cameras")).json() == []
        view = (await admin.client.get(f"cameras/{camera_id}")).json()
        assert (view["adopted"], view["consent"]["share_clips"], view["consent"]["share_live"]) == (False, False, False)
        for method, path, ask in (
            ("DELETE", "", None),
            ("PATCH", "", {"name": "x"}),
            ("PUT", "/consent", CONSENT),
            ("POST", "/pause", {}),
            ("POST", "/adoption", ADOPTION),
        ):
            answer = await admin.client.request(method, f"cameras/{camera_id}{path}", json=ask)
            assert answer.status_code == 409, path
        assert (await admin.client.post(f"cameras/{camera_id}/snapshot-view")).status_code == 403
        # The box still has the camera: found again, it is a candidate, whose owner is asked anew.
        async with context.db.transaction() as tx:
            await service.record_device(tx, agent_id, device(camera_id), None, context.clock())
        again = await admin.client.post(f"cameras/{camera_id}/adoption", json=ADOPTION)
        assert again.json()["consent"]["version"] == 3


async def test_a_revoked_agents_cameras_are_let_go(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        agent_id, _ = await _adopted(context, admin)
        before = await _desired(context, agent_id)
        await admin.client.delete(f"agents/{agent_id}")
        after = await _desired(context, agent_id)
        assert (after.cameras, after.version) == ([], before.version + 1)


async def test_changes_of_place_and_zones_are_told_and_recorded(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(context, admin)
        before = (await _desired(context, agent_id)).version
        zone = {"name": "晒场", "points": [[0, 0], [1, 0], [0.5, 1]]}
        ask = {"zones": [zone], "heading_deg": 359.5, "analytics": {"max_fps": 2, "classes": ["person", "cow"]}}
        view = (await admin.client.patch(f"cameras/{camera_id}", json=ask)).json()
        assert (view["zones"][0]["name"], view["heading_deg"]) == ("晒场", 359.5)
        state = await _desired(context, agent_id)
        assert (state.version, state.cameras[0].analytics.max_fps) == (before + 1, 2)
        assert (await admin.client.patch(f"cameras/{camera_id}", json=ask)).status_code == 200
        assert (await _desired(context, agent_id)).version == before + 1  # nothing changed: nothing told
        assert (await ledger_rows(context))[-1]["detail"] == {"changed": ["analytics", "heading_deg", "zones"]}


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ({"position": {"lon": 181, "lat": 0}}, "camera.position_invalid"),
        ({"position": {"lon": 0, "lat": -91}}, "camera.position_invalid"),
        ({"zones": [{"name": "z", "points": [[0, 0], [1, 0], [2, 1]]}]}, "camera.zone_invalid"),
        ({"zones": [{"name": "z", "points": [[0, 0], [1, 0], [1, 1]]}] * 2}, "camera.zone_invalid"),
        ({"zones": [{"name": "z", "points": [[0, 0], [1, 0]]}]}, "request.invalid"),
        ({"heading_deg": 360}, "request.invalid"),
        ({"range_m": 0}, "request.invalid"),
        ({"analytics": {"classes": ["face"]}}, "request.invalid"),
        ({"agent_id": "x"}, "request.invalid"),
    ],
)
async def test_odd_changes_are_refused(context: Context, ask: dict[str, Any], code: str) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        _, camera_id = await _adopted(context, admin)
        answer = await admin.client.patch(f"cameras/{camera_id}", json=ask)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_position_that_is_no_number_is_refused(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        _, camera_id = await _adopted(context, admin)
        answer = await admin.client.patch(
            f"cameras/{camera_id}",
            content=b'{"position": {"lon": NaN, "lat": 25}}',
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ({"hours": [{"days": [], "start": "08:00", "end": "18:00"}]}, "consent.hours_invalid"),
        ({"hours": [{"days": [0], "start": "08:00", "end": "18:00"}]}, "consent.hours_invalid"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "consent.expires_past"),
        ({"expires_at": "2030-01-01T00:00:00"}, "request.invalid"),
        ({"purposes": ["curiosity"]}, "request.invalid"),
    ],
)
async def test_odd_consents_are_refused(context: Context, ask: dict[str, Any], code: str) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        _, camera_id = await _adopted(context, admin)
        answer = await admin.client.put(f"cameras/{camera_id}/consent", json={**CONSENT, **ask})
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert (await admin.client.get(f"cameras/{camera_id}")).json()["consent"]["version"] == 1


async def test_an_agent_that_missed_a_push_is_told_again_by_its_next_presence(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(context, admin)
        wanted = (await _desired(context, agent_id)).version

        async def behind(applied: int) -> DesiredState | None:
            async with context.db.transaction() as tx:
                return await service.desired_if_behind(tx, agent_id, applied, context.clock())

        assert await behind(wanted) is None
        missed = await behind(wanted - 1)
        assert missed is not None
        assert (missed.version, [one.camera_id for one in missed.cameras]) == (wanted, [camera_id])
        # The hub's database was put back: the agent is ahead, and must still listen.
        ahead = await behind(wanted + 40)
        assert ahead is not None
        assert ahead.version == wanted + 41


async def test_a_presence_that_is_behind_makes_the_hub_push(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(context, admin)
        told = await _listening(context, agent_id)
        late = Presence(
            id=new_id(),
            at=context.clock(),
            started_at=context.clock(),
            version="1",
            desired_version=0,
            outbox_messages=0,
            outbox_files=0,
            disk_free_bytes=1,
            cameras=[],
        )
        await handle_uplink(context, agent_id, "presence", late.model_dump_json().encode())
        state = await asyncio.wait_for(told.get(), timeout=2)
        assert [one.camera_id for one in state.cameras] == [camera_id]


# what is observed ---------------------------------------------------------------------------------------------


def _report(camera_id: UUID, clock: MovableClock, **changes: Any) -> CameraReport:
    base: dict[str, Any] = {
        "camera_id": camera_id,
        "state": CameraState.LIVE,
        "since": clock() - timedelta(minutes=5),
        "last_packet_at": clock(),
        "bitrate_kbps": 2000,
        "consent_version": 1,
    }
    return CameraReport(**{**base, **changes})


async def test_a_report_counts_while_it_is_fresh(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    async with person(create_app(on), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(on, admin)

        async def seen() -> dict[str, Any]:
            health: dict[str, Any] = (await admin.client.get(f"cameras/{camera_id}")).json()["health"]
            return health

        assert ((await seen())["state"], (await seen())["detail"]) == ("offline", "agent.no_report")
        async with context.db.transaction() as tx:
            await service.record_report(tx, agent_id, _report(camera_id, clock), clock())
        assert (await seen())["state"] == "live"
        assert (await admin.client.get(f"cameras/{camera_id}")).json()["consent_applied_version"] == 1
        clock.move(seconds=36)
        stale = await seen()
        assert (stale["state"], stale["detail"], stale["bitrate_kbps"]) == ("offline", "agent.silent", 0)


async def test_late_and_foreign_reports_change_nothing(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    async with person(create_app(on), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(on, admin)
        stranger = await enrolled(on, admin.who, "stranger")
        now = clock()
        async with context.db.transaction() as tx:
            await service.record_report(tx, agent_id, _report(camera_id, clock, state=CameraState.LATE), now)
            await service.record_report(tx, agent_id, _report(camera_id, clock), now - timedelta(seconds=5))
            await service.record_report(tx, stranger.id, _report(camera_id, clock), now)
        assert (await admin.client.get(f"cameras/{camera_id}")).json()["health"]["state"] == "late"


async def test_the_timeline_shows_gaps_with_reasons_and_clips_as_spans(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    async with person(create_app(on), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(on, admin)
        span = MissingSpan(start_at=clock(), end_at=clock() + timedelta(minutes=1), reason=GapReason.PAUSED)
        seen = GapSeen(id=new_id(), camera_id=camera_id, gap=span)
        async with context.db.transaction() as tx:
            await service.record_gap(tx, seen)
            await service.record_gap(tx, seen)
            await tx.execute(
                text(
                    "insert into clips (id, camera_id, agent_id, status, start_at, end_at, size_bytes, sha256, seal, "
                    "seal_hash, chain_seq, chain_prev, media, object_key, announced_at) values (:id, :camera_id, :agent_id, "
                    "'verified', :start_at, :end_at, 1, 'x', '{}', 'x', 1, 'x', '{}', 'x', :start_at)"
                ),
                {
                    "id": new_id(),
                    "camera_id": camera_id,
                    "agent_id": agent_id,
                    "start_at": span.end_at,
                    "end_at": span.end_at + timedelta(seconds=20),
                },
            )
        url = f"cameras/{camera_id}/timeline"
        hour = {"from": clock().isoformat(), "to": (clock() + timedelta(hours=1)).isoformat()}
        found = (await admin.client.get(url, params=hour)).json()
        assert [gap["reason"] for gap in found["gaps"]] == ["paused"]
        assert [clip["status"] for clip in found["clips"]] == ["verified"]
        later = {"from": (clock() + timedelta(minutes=2)).isoformat(), "to": hour["to"]}
        after = (await admin.client.get(url, params=later)).json()
        assert (after["gaps"], after["clips"]) == ([], [])
        for span_asked in (
            {"from": hour["to"], "to": hour["from"]},
            {"from": hour["from"], "to": (clock() + timedelta(days=32)).isoformat()},
        ):
            odd = await admin.client.get(url, params=span_asked)
            assert (odd.status_code, odd.json()["code"]) == (422, "timeline.span_invalid")
        naive = await admin.client.get(url, params={"from": "2026-11-20T00:00:00", "to": hour["to"]})
        assert naive.json()["code"] == "request.invalid"


# stills -------------------------------------------------------------------------------------------------------


async def test_a_still_is_seen_with_a_purpose_a_ledger_row_and_for_a_short_time(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    app = create_app(on)
    async with person(app, Role.MONITOR, purpose=True) as monitor, person(app, Role.ADMIN) as admin:
        _, camera_id = await _adopted(on, admin)
        answer = await monitor.client.post(f"cameras/{camera_id}/snapshot-view")
        assert answer.status_code == 201
        url = f"http://hub.test{answer.json()['url']}"
        row = (await ledger_rows(context))[-1]
        assert (row["action"], row["camera_ids"], row["actor_name"]) == (
            "footage.snapshot_seen",
            [camera_id],
            monitor.username,
        )
        picture = await monitor.client.get(url)
        assert (picture.content, picture.headers["content-type"]) == (JPEG, "image/jpeg")
        assert "no-store" in picture.headers["cache-control"]
        async with visitor(app) as stranger:
            for thief in (stranger, admin.client):
                passed_on = await thief.get(url)
                assert (passed_on.status_code, passed_on.json()["code"]) == (403, "token.other_user")
        other = await monitor.client.get(url.replace(str(camera_id), str(uuid4())))
        assert (other.status_code, other.json()["code"]) == (403, "token.invalid")
        clock.move(minutes=2)
        over = await monitor.client.get(url)
        assert (over.status_code, over.json()["code"]) == (403, "token.expired")


async def test_no_still_of_a_paused_camera(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN, purpose=True) as admin:
        _, camera_id = await _adopted(context, admin)
        await admin.client.post(f"cameras/{camera_id}/pause", json={})
        answer = await admin.client.post(f"cameras/{camera_id}/snapshot-view")
        assert (answer.status_code, answer.json()["code"]) == (403, "consent.paused")
    assert "footage.snapshot_seen" not in [row["action"] for row in await ledger_rows(context)]


async def test_a_camera_without_a_still_says_so(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN, purpose=True) as admin:
        box = await enrolled(context, admin.who)
        camera_id = await candidate(context, box, snapshot=False)
        answer = await admin.client.post(f"cameras/{camera_id}/snapshot-view")
        assert (answer.status_code, answer.json()["code"]) == (404, "camera.no_snapshot")
        unknown = await admin.client.post(f"cameras/{uuid4()}/snapshot-view")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "camera.not_found")


async def test_versions_rise_one_by_one_under_concurrent_changes(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        agent_id, camera_id = await _adopted(context, admin)
        before = (await _desired(context, agent_id)).version
        asks = [{**CONSENT, "share_live": bool(n % 2)} for n in range(6)]
        answers = await asyncio.gather(*(admin.client.put(f"cameras/{camera_id}/consent", json=ask) for ask in asks))
        assert sorted(answer.json()["consent"]["version"] for answer in answers) == [2, 3, 4, 5, 6, 7]
        state = await _desired(context, agent_id)
        assert (state.version, state.cameras[0].consent.version) == (before + 6, 7)
        async with context.db.transaction() as tx:
            agent = await agents.agent(tx, agent_id)
        assert agent.camera_count == 1
