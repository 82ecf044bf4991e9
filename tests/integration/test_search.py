"""Search over the API: filters, words, pages, counts, pictures, and the ledger row of each look."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from hub.cameras.model import CameraZone
from hub.context import Context
from hub.kit.shapes import Position
from models.vocabulary import Colour, ColourPart, ObjectClass
from models.wire.uplink import ColourShare
from tests.seeding import HOME, Village, client_on, seed_agent, seed_camera, seed_village, signed_in


def span(context: Context, days: float = 2) -> dict[str, str]:
    now = context.clock()
    return {"from_at": (now - timedelta(days=days)).isoformat(), "to_at": (now + timedelta(hours=1)).isoformat()}


async def found(client: httpx.AsyncClient, context: Context, **filters: Any) -> list[str]:
    """Classes of what is found, newest first."""
    answer = await client.get("/search/sightings", params=span(context) | filters)
    assert answer.status_code == 200, answer.text
    return [item["object_class"] for item in answer.json()["items"]]


async def refusal(client: httpx.AsyncClient, path: str, **params: Any) -> tuple[int, str]:
    answer = await client.get(path, params=params)
    return answer.status_code, answer.json()["code"]


def painted(colour: Colour) -> list[ColourShare]:
    return [ColourShare(part=ColourPart.BODY, colour=colour, share=0.7)]


async def busy_village(context: Context) -> Village:
    """A white car, a red truck and a person at the first camera; a black cow at the second; newest last."""
    village = await seed_village(context, 2)
    first, second = village.cameras
    now = context.clock()
    for minutes, camera, what, kw in (
        (40, first, ObjectClass.CAR, {"colours": painted(Colour.WHITE)}),
        (30, first, ObjectClass.TRUCK, {"colours": painted(Colour.RED), "best_score": 0.5}),
        (20, first, ObjectClass.PERSON, {"colours": []}),
        (10, second, ObjectClass.COW, {"colours": painted(Colour.BLACK)}),
    ):
        start = now - timedelta(minutes=minutes)
        end = start + timedelta(seconds=minutes)
        await village.twin.see(context, camera, what, start_at=start, end_at=end, **kw)
    return village


async def test_filters_narrow_and_combine(context: Context) -> None:
    village = await busy_village(context)
    async with signed_in(context, "investigator") as client:
        assert await found(client, context) == ["cow", "person", "truck", "car"]
        assert await found(client, context, classes=["car", "truck"]) == ["truck", "car"]
        assert await found(client, context, colours="white") == ["car"]
        assert await found(client, context, colours=["white", "red"]) == ["truck", "car"]
        assert await found(client, context, camera_ids=str(village.cameras[1])) == ["cow"]
        assert await found(client, context, min_score=0.6) == ["cow", "person", "car"]
        assert await found(client, context, min_duration_ms=25_000) == ["truck", "car"]
        assert await found(client, context, classes="car", colours="red") == []
        west, east, south, north = HOME.lon - 0.001, HOME.lon + 0.001, HOME.lat + 0.0005, HOME.lat + 0.002
        around_second = f"{west},{south};{east},{south};{east},{north};{west},{north}"
        assert await found(client, context, area=around_second) == ["cow"]


async def test_the_span_is_half_open(context: Context) -> None:
    village = await seed_village(context, 1)
    start = context.clock() - timedelta(hours=1)
    await village.twin.see(context, village.cameras[0], start_at=start)
    async with signed_in(context, "investigator") as client:
        at, later = start.isoformat(), (start + timedelta(seconds=1)).isoformat()
        earlier = (start - timedelta(seconds=1)).isoformat()
        assert await found(client, context, from_at=at, to_at=later) == ["person"]
        assert await found(client, context, from_at=earlier, to_at=at) == []


async def test_zones_are_searched_by_name(context: Context) -> None:
    twin = await seed_agent(context)
    yard = CameraZone("晒场", [(0, 0), (1, 0), (1, 1), (0, 1)])
    camera = await seed_camera(context, twin, zones=[yard], now=context.clock() - timedelta(days=1))
    await twin.see(context, camera)
    async with signed_in(context, "investigator") as client:
        assert await found(client, context, zone="晒场") == ["person"]
        assert await found(client, context, zone="别处") == []


async def test_words_in_two_languages_become_filters(context: Context) -> None:
    await busy_village(context)
    async with signed_in(context, "investigator") as client:
        for q, classes in {
            "白色轿车": ["car"],
            "red truck": ["truck"],
            "牛": ["cow"],
            "人": ["person"],
            "纳姑村的红色货车": ["truck"],
            "晒场": ["cow"],
            "村口 vehicle": ["truck", "car"],
            "村口牛": [],
        }.items():
            assert await found(client, context, q=q) == classes, q
        answer = (await client.get("/search/sightings", params=span(context) | {"q": "晒场 黑牛 frobnicate"})).json()
        assert answer["understood"] == {"晒场": "place:晒场", "黑": "colour:black", "牛": "class:cow"}
        assert answer["ignored"] == ["frobnicate"]
        assert [item["object_class"] for item in answer["items"]] == ["cow"]


async def test_words_narrow_what_was_chosen_by_hand(context: Context) -> None:
    await busy_village(context)
    async with signed_in(context, "investigator") as client:
        assert await found(client, context, q="汽车", classes="truck") == ["truck"]
        assert await found(client, context, q="牛", classes="truck") == []


@pytest.mark.parametrize(
    "q", ["'; drop table sightings; --", "%", "_", "\\", "' or 1=1 --", "\x00", "${jndi:ldap://x}"]
)
async def test_words_are_never_sql(context: Context, q: str) -> None:
    await busy_village(context)
    async with signed_in(context, "investigator") as client:
        assert len(await found(client, context, q=q)) == 4  # not understood, so ignored
        assert await found(client, context, zone="x' or true --") == []
        assert len(await found(client, context)) == 4


async def test_pages_follow_each_other_without_gap_or_repeat(context: Context) -> None:
    village = await seed_village(context, 1)
    start = context.clock() - timedelta(hours=30)
    for number in range(23):
        # Two of each start at the same instant, and they span a midnight.
        at = start + timedelta(hours=number // 2 * 2)
        await village.twin.see(context, village.cameras[0], start_at=at, picture=None)
    seen: list[tuple[str, str]] = []
    asked = span(context, 2) | {"limit": "5"}
    async with signed_in(context, "investigator") as client:
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            params = asked | ({"cursor": cursor} if cursor else {})
            answer = (await client.get("/search/sightings", params=params)).json()
            seen += [(item["start_at"], item["id"]) for item in answer["items"]]
            cursor, pages = answer["next_cursor"], pages + 1
    assert pages == 5
    assert len(seen) == 23
    assert seen == sorted(set(seen), reverse=True)


async def test_cursors_are_ours_and_of_this_question(context: Context) -> None:
    await busy_village(context)
    params = span(context) | {"limit": 1}
    async with signed_in(context, "investigator") as client:
        cursor = (await client.get("/search/sightings", params=params)).json()["next_cursor"]
        body, mac = cursor.split(".")
        for bad in ("x", "..", body, f"{body}.{mac[:-2]}AA", f"{body[:-4]}AAAA.{mac}", "é" * 20, "a" * 1900):
            assert await refusal(client, "/search/sightings", **params, cursor=bad) == (422, "page.cursor_invalid"), bad
        other = params | {"classes": "car", "cursor": cursor}
        assert await refusal(client, "/search/sightings", **other) == (422, "page.cursor_invalid")
        incidents = await refusal(client, "/incidents", cursor=cursor)
        assert incidents == (422, "page.cursor_invalid")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"from_at": "2026-11-20T00:00:00Z", "to_at": "2026-11-20T00:00:00Z"}, "search.span_invalid"),
        ({"from_at": "2026-11-20T00:00:00Z", "to_at": "2026-11-19T00:00:00Z"}, "search.span_invalid"),
        ({"from_at": "0001-01-01T00:00:00Z", "to_at": "9999-12-31T00:00:00Z"}, "search.span_invalid"),
        ({"from_at": "2026-11-20T00:00:00", "to_at": "2026-11-21T00:00:00"}, "request.invalid"),
        ({"from_at": "yesterday", "to_at": "now"}, "request.invalid"),
        ({"area": "104.9,25;105,25"}, "search.area_invalid"),
        ({"area": "104.9,25;104.9,25;104.9,25"}, "search.area_invalid"),
        ({"area": "1,2,3;4,5;6,7"}, "search.area_invalid"),
        ({"area": "nan,25;105,25;105,26"}, "search.area_invalid"),
        ({"area": "1e400,25;105,25;105,26"}, "search.area_invalid"),
        ({"area": "'),('"}, "search.area_invalid"),
        ({"area": "181,25;105,25;105,26"}, "search.area_invalid"),
        ({"classes": "face"}, "request.invalid"),
        ({"colours": "octarine"}, "request.invalid"),
        ({"min_score": "2"}, "request.invalid"),
        ({"min_duration_ms": "99999999999999999999"}, "request.invalid"),
        ({"limit": "1000"}, "request.invalid"),
        ({"camera_ids": "x"}, "request.invalid"),
        ({"q": "a" * 300}, "request.invalid"),
        ({"zone": "a\x00b"}, "request.invalid"),
    ],
)
async def test_impossible_questions_are_refused(context: Context, params: dict[str, str], code: str) -> None:
    async with signed_in(context, "investigator") as client:
        for path in ("/search/sightings", "/search/histogram"):
            if "limit" in params and path.endswith("histogram"):
                continue
            assert await refusal(client, path, **(span(context) | params)) == (422, code)


async def test_counts_by_hour_class_and_camera(context: Context) -> None:
    village = await busy_village(context)
    await village.twin.see(context, village.cameras[0], ObjectClass.CAR, start_at=context.clock() - timedelta(days=1))
    async with signed_in(context, "investigator") as client:
        counts = (await client.get("/search/histogram", params=span(context))).json()
        assert counts["total"] == 5
        assert counts["by_class"] == {"car": 2, "truck": 1, "person": 1, "cow": 1}
        assert counts["by_camera"] == {str(village.cameras[0]): 4, str(village.cameras[1]): 1}
        assert sum(hour["count"] for hour in counts["hours"]) == 5
        assert all(datetime.fromisoformat(hour["hour"]).minute == 0 for hour in counts["hours"])
        cars = (await client.get("/search/histogram", params=span(context) | {"q": "轿车"})).json()
        assert cars["total"] == 2


async def test_candidates_are_not_searched(context: Context) -> None:
    village = await busy_village(context)
    async with context.db.transaction() as tx:
        await tx.execute(text("update cameras set adopted_at = null where id = :id"), {"id": village.cameras[0]})
    async with signed_in(context, "investigator") as client:
        assert await found(client, context) == ["cow"]


async def test_every_search_is_a_row_in_the_ledger(context: Context) -> None:
    village = await busy_village(context)
    async with signed_in(context, "investigator") as client:
        await found(client, context, q="白色轿车", min_score=0.25)
        await client.get("/search/histogram", params=span(context))
    async with context.db.transaction() as tx:
        kept = (await tx.execute(text("select * from ledger where action = 'footage.searched' order by seq"))).all()
    assert [row.detail["what"] for row in kept] == ["sightings", "histogram"]
    first = kept[0]
    assert first.actor_name == "investigator"
    assert first.purpose_kind == "incident"
    assert first.camera_ids == [village.cameras[0]]
    assert first.detail["q"] == "白色轿车"
    assert first.detail["classes"] == ["car"]
    assert first.detail["colours"] == ["white"]
    assert first.detail["count"] == 1
    assert set(kept[1].camera_ids) == set(village.cameras)


async def test_without_a_right_or_a_purpose_nothing_is_found(context: Context) -> None:
    await busy_village(context)
    async with client_on(context) as nobody:
        assert await refusal(nobody, "/search/sightings", **span(context)) == (401, "session.missing")
    async with signed_in(context, "resident") as resident:
        assert await refusal(resident, "/search/sightings", **span(context)) == (403, "permission.missing")
    async with signed_in(context, "investigator", purpose=None) as client:
        assert await refusal(client, "/search/sightings", **span(context)) == (403, "purpose.missing")


async def test_a_hit_opens_its_picture_and_its_path(context: Context) -> None:
    village = await seed_village(context, 1)
    seen = await village.twin.see(context, village.cameras[0])
    async with signed_in(context, "investigator") as client:
        hit = (await client.get("/search/sightings", params=span(context))).json()["items"][0]
        assert hit["camera_name"] == "村口"
        assert hit["position"] == {"lon": HOME.lon, "lat": HOME.lat}
        picture = await client.get(hit["picture_url"].removeprefix("/api/v1"))
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content == seen.picture
        detail = (await client.get(f"/sightings/{hit['id']}", params={"start_at": hit["start_at"]})).json()
        assert [point["t_ms"] for point in detail["trajectory"]] == [0, 1000]
        assert detail["detector"]["name"] == "seeded"
        wrong = await refusal(client, f"/sightings/{hit['id']}", start_at="2026-01-01T00:00:00Z")
        assert wrong == (404, "sighting.not_found")


async def test_a_pictures_token_is_for_one_picture_and_one_person(context: Context) -> None:
    village = await seed_village(context, 1)
    first, second = [await village.twin.see(context, village.cameras[0]) for _ in range(2)]
    async with signed_in(context, "investigator") as client, signed_in(context, "supervisor") as other:
        hits = (await client.get("/search/sightings", params=span(context))).json()["items"]
        tokens = {hit["id"]: hit["picture_url"].split("token=")[1] for hit in hits}
        mine, theirs = str(first.sighting_id), str(second.sighting_id)
        path = f"/media/pictures/{mine}"
        assert (await client.get(path, params={"token": tokens[mine]})).status_code == 200
        assert await refusal(client, path, token=tokens[theirs]) == (403, "token.invalid")
        assert await refusal(client, path, token="nonsense") == (403, "token.invalid")
        assert await refusal(other, path, token=tokens[mine]) == (403, "token.other_user")
    async with client_on(context) as nobody:
        assert await refusal(nobody, path, token=tokens[mine]) == (403, "token.other_user")


async def test_cameras_without_a_place_are_found_but_not_by_area(context: Context) -> None:
    twin = await seed_agent(context)
    camera = await seed_camera(
        context, twin, position=Position(lon=104.9, lat=25.09), now=context.clock() - timedelta(days=1)
    )
    await twin.see(context, camera)
    async with context.db.transaction() as tx:
        await tx.execute(text("update cameras set lon = null, lat = null"))
    async with signed_in(context, "investigator") as client:
        assert await found(client, context) == ["person"]
        assert await found(client, context, area="100,20;110,20;110,30;100,30") == []
