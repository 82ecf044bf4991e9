"""Clips over the API: list, verdict, play, and bytes by range; only verified ones play, and each play is in the ledger."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from hub.context import Context
from hub.ingest.verification import verify_clip
from hub.kit.ids import new_id
from hub.storage.port import Bucket
from tests.seeding import Village, client_on, seed_village, signed_in

DATA = bytes(range(256)) * 5000  # 1.28 MB: more than one chunk


async def play(client: httpx.AsyncClient, clip_id: Any) -> str:
    answer = await client.post(f"/clips/{clip_id}/play")
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["url"]
    return url.removeprefix("/api/v1")


async def refusal(client: httpx.AsyncClient, method: str, path: str, **kw: Any) -> tuple[int, str]:
    answer = await client.request(method, path, **kw)
    return answer.status_code, answer.json()["code"]


async def verified(context: Context, village: Village, data: bytes = DATA) -> str:
    clip = await village.twin.deliver(context, village.cameras[0], data)
    return str(clip.seal.body.clip_id)


async def test_a_clip_shows_its_seal_and_verdict(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    async with signed_in(context, "investigator") as client:
        clip = (await client.get(f"/clips/{clip_id}")).json()
    assert clip["status"] == "verified"
    assert clip["camera_name"] == "村口"
    assert clip["verdict"] == {
        "hash_ok": True,
        "signature_ok": True,
        "chain": "ok",
        "verified_at": clip["verdict"]["verified_at"],
        "agent_public_key": village.twin.key.public_hex,
        "agent_name": "青山村委会",
    }
    assert clip["seal"]["body"]["clip_id"] == clip_id
    assert clip["media"]["frames"] == 300


async def test_a_refused_clip_says_why_and_does_not_play(context: Context) -> None:
    village = await seed_village(context, 1)
    message = village.twin.clip(village.cameras[0], DATA, context.clock() - timedelta(minutes=1))
    await village.twin.send(context, message)
    clip_id = message.seal.body.clip_id
    async with signed_in(context, "investigator") as client:
        assert await refusal(client, "POST", f"/clips/{clip_id}/play") == (409, "clip.not_verified")
        await village.twin.upload(context, message, DATA[:-1] + b"x")
        assert await refusal(client, "POST", f"/clips/{clip_id}/play") == (409, "clip.not_verified")
        await verify_clip(context, clip_id)
        clip = (await client.get(f"/clips/{clip_id}")).json()
        assert (clip["status"], clip["refusal_code"]) == ("refused", "ingest.hash_mismatch")
        assert clip["verdict"]["hash_ok"] is False
        assert clip["verdict"]["signature_ok"] is True
        assert await refusal(client, "POST", f"/clips/{clip_id}/play") == (409, "clip.not_verified")


async def test_a_clip_refused_later_stops_playing(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    async with signed_in(context, "investigator") as client:
        path = await play(client, clip_id)
        async with context.db.transaction() as tx:
            await tx.execute(text("update clips set status = 'refused', refusal_code = 'ingest.chain_broken'"))
        assert await refusal(client, "GET", path) == (409, "clip.not_verified")


async def test_the_list_is_newest_first_and_filtered(context: Context) -> None:
    village = await seed_village(context, 2)
    now, ids = context.clock(), []
    for number in range(5):
        clip = await village.twin.deliver(
            context, village.cameras[number % 2], b"x" * (number + 1), start_at=now - timedelta(hours=number + 1)
        )
        ids.append(str(clip.seal.body.clip_id))
    waiting = village.twin.clip(village.cameras[0], DATA, now - timedelta(hours=9))
    await village.twin.send(context, waiting)
    async with signed_in(context, "investigator") as client:

        async def listed(**params: Any) -> list[str]:
            return [item["id"] for item in (await client.get("/clips", params=params)).json()["items"]]

        assert await listed(status="verified") == ids
        assert await listed(camera_id=str(village.cameras[1])) == [ids[1], ids[3]]
        assert await listed(status="announced") == [str(waiting.seal.body.clip_id)]
        since = (now - timedelta(hours=3, minutes=30)).isoformat()
        until = (now - timedelta(hours=1, minutes=30)).isoformat()
        assert await listed(**{"from": since, "to": until}) == [ids[1], ids[2]]
        first = (await client.get("/clips", params={"limit": 4})).json()
        rest = (await client.get("/clips", params={"limit": 4, "cursor": first["next_cursor"]})).json()
        assert [item["id"] for item in first["items"] + rest["items"]] == [*ids, str(waiting.seal.body.clip_id)]
        assert rest["next_cursor"] is None
        assert await refusal(client, "GET", "/clips", params={"limit": 3, "cursor": first["next_cursor"] + "x"}) == (
            422,
            "page.cursor_invalid",
        )


async def test_the_summary_counts_states_and_chains(context: Context) -> None:
    village = await seed_village(context, 1)
    await verified(context, village)
    start = context.clock() - timedelta(minutes=1)
    missing = village.twin.clip(village.cameras[0], DATA, start)
    after = village.twin.clip(village.cameras[0], DATA, start)
    await village.twin.send(context, after)
    async with signed_in(context, "monitor", purpose=None) as client:
        one = (await client.get("/clips/summary")).json()
        assert one == {
            "announced": 1,
            "uploaded": 0,
            "verified": 1,
            "refused": 0,
            "chains_ok": False,
            "chains_waiting": 1,
            "chains_broken": 0,
        }
        await village.twin.send(context, missing)
        two = (await client.get("/clips/summary")).json()
        assert (two["chains_ok"], two["chains_waiting"]) == (True, 0)


async def test_a_play_is_in_the_ledger_before_a_byte_is_seen(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    async with signed_in(context, "investigator") as client:
        await play(client, clip_id)
    async with context.db.transaction() as tx:
        row = (await tx.execute(text("select * from ledger where action = 'footage.clip_played'"))).one()
    assert str(row.subject_id) == clip_id
    assert row.camera_ids == [village.cameras[0]]
    assert row.actor_name == "investigator"
    assert row.purpose_note == "seeded"


async def test_a_clips_sightings_come_with_their_paths_under_one_ledger_row(context: Context) -> None:
    village = await seed_village(context, 2)
    twin, (camera, other) = village.twin, village.cameras
    begin = context.clock() - timedelta(hours=2)
    seen = [
        await twin.see(context, camera, start_at=begin + timedelta(seconds=later), end_at=begin + timedelta(minutes=21))
        for later in (0, 20 * 60, 3)  # the first stands there for twenty minutes before the clip begins
    ]
    foreign = await twin.see(context, other, start_at=begin + timedelta(minutes=20))
    clip = await twin.deliver(
        context, camera, DATA, start_at=begin + timedelta(minutes=20), sightings=[*seen[:2], foreign]
    )
    path = f"/clips/{clip.seal.body.clip_id}/sightings"
    async with signed_in(context, "investigator") as client:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        assert [one["id"] for one in answer.json()] == [str(one.sighting_id) for one in seen[:2]]
        assert [point["t_ms"] for point in answer.json()[0]["trajectory"]] == [0, 1000]
        picture = await client.get(answer.json()[0]["picture_url"].removeprefix("/api/v1"))
        assert picture.content == seen[0].picture
        assert await refusal(client, "GET", f"/clips/{new_id()}/sightings") == (404, "clip.not_found")
    async with context.db.transaction() as tx:
        row = (await tx.execute(text("select * from ledger where action = 'footage.searched'"))).one()
    assert (row.subject_kind, row.subject_id, row.camera_ids) == ("clip", clip.seal.body.clip_id, [camera])
    assert row.detail == {"what": "clip_sightings", "clip_id": str(clip.seal.body.clip_id), "count": 2}
    async with signed_in(context, "monitor") as monitor:
        assert await refusal(monitor, "GET", path) == (403, "permission.missing")


async def test_who_may_not_play(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    async with signed_in(context, "monitor") as monitor:
        assert await refusal(monitor, "POST", f"/clips/{clip_id}/play") == (403, "permission.missing")
    async with signed_in(context, "investigator", purpose=None) as client:
        assert await refusal(client, "POST", f"/clips/{clip_id}/play") == (403, "purpose.missing")
        no_csrf = {"X-CSRF-Token": "x"}
        assert await refusal(client, "POST", f"/clips/{clip_id}/play", headers=no_csrf) == (403, "csrf.invalid")
    async with signed_in(context, "investigator") as client:
        assert await refusal(client, "POST", f"/clips/{new_id()}/play") == (404, "clip.not_found")


async def test_a_url_is_for_its_person_its_clip_and_its_time(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id, other_id = await verified(context, village), await verified(context, village, b"other")
    async with signed_in(context, "investigator") as client, signed_in(context, "supervisor") as other:
        path = await play(client, clip_id)
        token = path.split("token=")[1]
        assert await refusal(other, "GET", path) == (403, "token.other_user")
        elsewhere = f"/media/clips/{other_id}"
        assert await refusal(client, "GET", elsewhere, params={"token": token}) == (403, "token.invalid")
        flipped = ("B" if token[0] == "A" else "A") + token[1:]
        same = f"/media/clips/{clip_id}"
        assert await refusal(client, "GET", same, params={"token": flipped}) == (403, "token.invalid")
        picture, _ = context.signer.mint("picture", {"id": clip_id, "user": "x"}, timedelta(minutes=1))
        assert await refusal(client, "GET", same, params={"token": picture}) == (403, "token.invalid")
        old, _ = context.signer.mint("clip", {"id": clip_id, "user": "x"}, timedelta(minutes=-1))
        assert await refusal(client, "GET", same, params={"token": old}) == (403, "token.expired")
        await client.delete("/session")
        assert (await refusal(client, "GET", path))[1] == "token.other_user"
    async with client_on(context) as nobody:
        assert (await refusal(nobody, "GET", path))[1] == "token.other_user"


async def test_bytes_come_whole_or_by_range(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    size = len(DATA)
    async with signed_in(context, "investigator") as client:
        path = await play(client, clip_id)
        whole = await client.get(path)
        assert (whole.status_code, whole.content) == (200, DATA)
        assert whole.headers["accept-ranges"] == "bytes"
        assert whole.headers["content-type"] == "video/mp4"
        assert whole.headers["cache-control"] == "private, no-store"
        etag = whole.headers["etag"]
        for header, begin, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=1000-1999", 1000, 2000),
            ("bytes=1000000-", 1_000_000, size),
            ("bytes=-10", size - 10, size),
            (f"bytes=5-{size * 2}", 5, size),
        ):
            part = await client.get(path, headers={"Range": header})
            assert (part.status_code, part.content) == (206, DATA[begin:end])
            assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
            assert part.headers["content-length"] == str(end - begin)
        fresh = await client.get(path, headers={"Range": "bytes=0-9", "If-Range": etag})
        assert fresh.status_code == 206
        stale = await client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
        assert (stale.status_code, len(stale.content)) == (200, size)
        assert (await client.get(path, headers={"If-None-Match": etag})).status_code == 304


async def test_head_answers_as_get_would_without_a_body(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    async with signed_in(context, "investigator") as client:
        path = await play(client, clip_id)
        head = await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(DATA))
        part = await client.head(path, headers={"Range": "bytes=0-9"})
        assert (part.status_code, part.headers["content-length"]) == (206, "10")


@pytest.mark.parametrize("header", ["bytes=1280000-", "bytes=99999999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_416(context: Context, header: str) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    async with signed_in(context, "investigator") as client:
        answer = await client.get(await play(client, clip_id), headers={"Range": header})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    "header", ["bytes=5-1", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=" + "9" * 500, "-", "\\"]
)
async def test_a_nonsense_range_answers_the_whole(context: Context, header: str) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village, b"small")
    async with signed_in(context, "investigator") as client:
        answer = await client.get(await play(client, clip_id), headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, b"small")


async def test_a_verified_clip_whose_object_is_gone_says_so(context: Context) -> None:
    village = await seed_village(context, 1)
    clip_id = await verified(context, village)
    async with context.db.transaction() as tx:
        key = (await tx.execute(text("select object_key from clips"))).scalar_one()
    async with signed_in(context, "investigator") as client:
        path = await play(client, clip_id)
        await context.store.delete(Bucket.CLIPS, key)
        assert await refusal(client, "GET", path) == (404, "storage.object_missing")
