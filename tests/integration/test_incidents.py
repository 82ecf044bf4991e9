"""Incidents: numbers, changes, and links that are proposed with reasons and decided by people."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from hub.context import Context
from hub.kit.ids import new_id
from models.vocabulary import IncidentCategory, ObjectClass
from tests.seeding import HOME, Village, seed_village, signed_in


def wish(at: datetime, **kw: Any) -> dict[str, Any]:
    return {
        "category": "theft_home",
        "title": "纳姑村入室盗窃",
        "position": {"lon": HOME.lon, "lat": HOME.lat},
        "occurred_from": at.isoformat(),
        "occurred_to": at.isoformat(),
    } | kw


async def create(client: httpx.AsyncClient, at: datetime, **kw: Any) -> dict[str, Any]:
    answer = await client.post("/incidents", json=wish(at, **kw))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def links(client: httpx.AsyncClient, incident: dict[str, Any]) -> dict[str, Any]:
    answer = await client.get(f"/incidents/{incident['id']}/links")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refusal(client: httpx.AsyncClient, method: str, path: str, **kw: Any) -> tuple[int, str]:
    answer = await client.request(method, path, **kw)
    return answer.status_code, answer.json()["code"]


async def test_numbers_count_up_within_the_day(context: Context) -> None:
    async with signed_in(context, "monitor", purpose=None) as client:
        at = context.clock()
        made = await asyncio.gather(*(create(client, at) for _ in range(5)))
    numbers = sorted(one["number"] for one in made)
    prefix = numbers[0][:-4]
    assert numbers == [f"{prefix}{number:04d}" for number in range(1, 6)]
    assert prefix.startswith("JQ-20")


async def test_an_incident_is_changed_closed_and_opened_again(context: Context) -> None:
    async with signed_in(context, "investigator", purpose=None) as client:
        made = await create(client, context.clock())
        path = f"/incidents/{made['id']}"
        changed = (await client.patch(path, json={"title": "盗窃", "status": "closed"})).json()
        assert (changed["title"], changed["status"]) == ("盗窃", "closed")
        assert changed["closed_at"]
        assert changed["category"] == "theft_home"
        again = (await client.patch(path, json={"status": "open"})).json()
        assert (again["status"], again["closed_at"]) == ("open", None)
        assert (await client.get(path)).json() == again
    async with context.db.transaction() as tx:
        rows = (
            await tx.execute(text("select action, detail from ledger where subject_kind = 'incident' order by seq"))
        ).all()
    assert [row.action for row in rows] == ["incident.created", "incident.changed", "incident.changed"]
    assert rows[1].detail["changed"] == ["title", "status:closed"]


async def test_the_list_pages_and_filters(context: Context) -> None:
    async with signed_in(context, "investigator", purpose=None) as client:
        made = [await create(client, context.clock()) for _ in range(3)]
        await client.patch(f"/incidents/{made[0]['id']}", json={"status": "closed"})
        first = (await client.get("/incidents", params={"limit": 2})).json()
        rest = (await client.get("/incidents", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        ids = [one["id"] for one in first["items"] + rest["items"]]
        assert ids == [one["id"] for one in reversed(made)]
        opened = (await client.get("/incidents", params={"status": "open"})).json()["items"]
        assert len(opened) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"occurred_to": "2020-01-01T00:00:00Z"},
        {"occurred_to": "2999-01-01T00:00:00Z"},
        {"position": {"lon": 500, "lat": 0}},
        {"position": {"lon": 0, "lat": 89.99}},
        {"title": "   "},
        {"title": "a\x00b"},
        {"category": "gossip"},
        {"number": "JQ-1"},
    ],
)
async def test_impossible_incidents_are_refused(context: Context, change: dict[str, Any]) -> None:
    async with signed_in(context, "investigator", purpose=None) as client:
        answer = await client.post("/incidents", json=wish(context.clock(), **change))
        assert answer.status_code == 422, answer.text
        listed = (await client.get("/incidents")).json()
    assert listed["items"] == []


async def scene(context: Context) -> tuple[Village, datetime]:
    """At the place: a person with a verified clip and an unclipped bird; far away in time: a car at the other camera."""
    village = await seed_village(context, 2)
    at = context.clock() - timedelta(hours=2)
    near, other = village.cameras
    person = village.twin.sighting(near, ObjectClass.PERSON, start_at=at)
    dog = village.twin.sighting(near, ObjectClass.DOG, start_at=at + timedelta(seconds=1), best_score=0.5)
    for seen in (person, dog):
        await village.twin.send(context, seen)
    await village.twin.deliver(context, near, b"clip", sightings=[person, dog])
    await village.twin.see(context, near, ObjectClass.BIRD, start_at=at + timedelta(minutes=10))
    await village.twin.see(context, other, ObjectClass.CAR, start_at=at - timedelta(minutes=100))
    await village.twin.see(context, other, ObjectClass.CAR, start_at=at - timedelta(hours=9))
    return village, at


async def test_links_are_proposed_best_first_with_reasons_one_per_event(context: Context) -> None:
    _, at = await scene(context)
    async with signed_in(context, "investigator") as client:
        found = await links(client, await create(client, at))
    assert [(item["target_kind"], item["object_class"]) for item in found["items"]] == [
        ("clip", "person"),
        ("sighting", "bird"),
        ("sighting", "car"),
    ]
    best = found["items"][0]
    assert best["clip_status"] == "verified"
    assert best["picture_url"].startswith("/api/v1/media/pictures/")
    assert best["distance_m"] == 0
    codes = {reason["code"]: reason for reason in best["reasons"]}
    assert {"link.distance", "link.during", "link.class", "link.in_view"} <= codes.keys()
    assert abs(sum(reason["weight"] for reason in best["reasons"]) - best["score"]) < 0.001
    late = found["items"][2]
    assert {reason["code"] for reason in late["reasons"]} >= {"link.before", "link.distance"}
    scores = [item["score"] for item in found["items"]]
    assert scores == sorted(scores, reverse=True)
    assert found["considered"] == 5  # four sightings within the window, and a clip
    assert found["radius_m"] == 1500
    assert "person" in found["classes"]


async def test_what_is_far_away_is_not_proposed(context: Context) -> None:
    _, at = await scene(context)
    async with signed_in(context, "investigator") as client:
        far = await create(client, at, position={"lon": HOME.lon + 0.1, "lat": HOME.lat})
        assert (await links(client, far))["items"] == []


async def test_a_picture_of_a_link_opens(context: Context) -> None:
    _, at = await scene(context)
    async with signed_in(context, "investigator") as client:
        found = await links(client, await create(client, at))
        picture = await client.get(found["items"][0]["picture_url"].removeprefix("/api/v1"))
    assert picture.status_code == 200
    assert picture.content.startswith(b"\xff\xd8")


async def test_links_are_confirmed_rejected_and_taken_back(context: Context) -> None:
    village, at = await scene(context)
    async with signed_in(context, "investigator") as client:
        made = await create(client, at)
        clip, bird, _ = (await links(client, made))["items"]

        def path(item: dict[str, Any]) -> str:
            return f"/incidents/{made['id']}/links/{item['target_kind']}/{item['target_id']}"

        for item, decision in ((clip, "rejected"), (clip, "confirmed"), (bird, "rejected")):
            assert (await client.put(path(item), json={"decision": decision})).status_code == 204
        decided = [item["decision"] for item in (await links(client, made))["items"]]
        assert decided == ["confirmed", "rejected", None]
        shown = (await client.get(f"/incidents/{made['id']}")).json()
        assert (shown["confirmed_links"], shown["rejected_links"]) == (1, 1)
        for _ in range(2):
            assert (await client.delete(path(bird))).status_code == 204
        decided = [item["decision"] for item in (await links(client, made))["items"]]
        assert decided == ["confirmed", None, None]
    async with context.db.transaction() as tx:
        kept = (await tx.execute(text("select * from incident_links"))).one()
        ledger = (
            await tx.execute(text("select * from ledger where action = 'incident.link_decided' order by seq"))
        ).all()
    assert kept.score == pytest.approx(clip["score"], abs=1e-4)
    assert {reason["code"] for reason in kept.reasons} == {reason["code"] for reason in clip["reasons"]}
    assert [row.detail["decision"] for row in ledger] == ["rejected", "confirmed", "rejected", "undone"]
    assert ledger[0].camera_ids == [village.cameras[0]]


async def test_a_confirmed_link_stays_when_the_incident_is_moved_away(context: Context) -> None:
    _, at = await scene(context)
    async with signed_in(context, "investigator") as client:
        made = await create(client, at)
        for item in (await links(client, made))["items"][:2]:
            target = f"/incidents/{made['id']}/links/{item['target_kind']}/{item['target_id']}"
            assert (await client.put(target, json={"decision": "confirmed"})).status_code == 204
        moved = {"position": {"lon": HOME.lon + 0.5, "lat": HOME.lat}}
        assert (await client.patch(f"/incidents/{made['id']}", json=moved)).status_code == 200
        found = (await links(client, made))["items"]
    assert [(item["target_kind"], item["object_class"], item["decision"]) for item in found] == [
        ("clip", "person", "confirmed"),
        ("sighting", "bird", "confirmed"),
    ]


async def test_a_sighting_from_elsewhere_is_linked_by_its_start(context: Context) -> None:
    village, at = await scene(context)
    early = await village.twin.see(context, village.cameras[1], ObjectClass.TRUCK, start_at=at - timedelta(days=3))
    async with signed_in(context, "investigator") as client:
        made = await create(client, at)
        target = f"/incidents/{made['id']}/links/sighting/{early.sighting_id}"
        body = {"decision": "confirmed"}
        assert await refusal(client, "PUT", target, json=body) == (404, "link.target_not_found")
        answer = await client.put(target, json=body, params={"start_at": early.start_at.isoformat()})
        assert answer.status_code == 204
        found = [item["object_class"] for item in (await links(client, made))["items"] if item["decision"]]
        assert found == ["truck"]


async def test_decisions_about_nothing_or_in_closed_incidents_are_refused(context: Context) -> None:
    _, at = await scene(context)
    async with signed_in(context, "investigator") as client:
        made = await create(client, at)
        body = {"decision": "confirmed"}
        for kind in ("clip", "sighting"):
            nothing = f"/incidents/{made['id']}/links/{kind}/{new_id()}"
            assert await refusal(client, "PUT", nothing, json=body) == (404, "link.target_not_found")
        nowhere = f"/incidents/{new_id()}/links/clip/{new_id()}"
        assert await refusal(client, "PUT", nowhere, json=body) == (404, "incident.not_found")
        person = f"/incidents/{made['id']}/links/person/{new_id()}"
        assert (await client.put(person, json=body)).status_code == 422
        clip = (await links(client, made))["items"][0]
        await client.patch(f"/incidents/{made['id']}", json={"status": "closed"})
        target = f"/incidents/{made['id']}/links/clip/{clip['target_id']}"
        assert await refusal(client, "PUT", target, json=body) == (409, "incident.closed")
        assert await refusal(client, "DELETE", target) == (409, "incident.closed")


async def test_looking_at_links_needs_a_right_and_a_purpose_and_is_in_the_ledger(context: Context) -> None:
    village, at = await scene(context)
    async with signed_in(context, "monitor") as monitor:
        made = await create(monitor, at)
        path = f"/incidents/{made['id']}/links"
        assert await refusal(monitor, "GET", path) == (403, "permission.missing")
    async with signed_in(context, "investigator", purpose=None) as client:
        assert await refusal(client, "GET", path) == (403, "purpose.missing")
        await client.put("/session/purpose", json={"kind": "incident", "incident_id": made["id"]})
        await links(client, made)
    async with context.db.transaction() as tx:
        row = (await tx.execute(text("select * from ledger where action = 'footage.links_proposed'"))).one()
    assert str(row.purpose_incident_id) == made["id"]
    assert str(row.subject_id) == made["id"]
    assert set(row.camera_ids) == set(village.cameras)


async def test_every_category_ranks(context: Context) -> None:
    _, at = await scene(context)
    async with signed_in(context, "investigator") as client:
        for category in IncidentCategory:
            made = await create(client, at, category=category.value)
            assert (await links(client, made))["items"], category
