"""What agents send is kept once, in any order, or refused with an alarm and a receipt."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import nats
import pytest
from nats.js import JetStreamContext
from sqlalchemy import text

from hub.cameras.changes import Wish
from hub.cameras.model import CameraZone
from hub.context import Context
from hub.errors import Conflict, Invalid, NotFound
from hub.ingest import uploads
from hub.ingest.model import Refused
from hub.ingest.service import answer_desired, answer_receipts, handle_uplink
from hub.ingest.verification import verify_clip, verify_forgotten
from hub.kit.ids import new_id
from hub.messages.credentials import mint_user_jwt
from hub.sightings.model import partition_day
from hub.sightings.service import ensure_partitions
from hub.storage.port import Bucket
from models.vocabulary import CameraState, GapReason, ObjectClass, RefusalCode
from models.wire.agent_http import PART_BYTES, PartDone, UploadAsk, UploadComplete
from models.wire.base import Box
from models.wire.downlink import DesiredState, Receipts, ReceiptsAsk
from models.wire.seal import GENESIS
from models.wire.uplink import CameraReport, GapSeen, MissingSpan, Presence, TrajectoryPoint, up_subject
from tests.seeding import FULL_CONSENT, Twin, jpeg, seed_agent, seed_camera, seed_village

DATA = b"a clip's bytes" * 1000


async def rows(context: Context, sql: str, **values: Any) -> list[dict[str, Any]]:
    async with context.db.transaction() as tx:
        return [dict(row._mapping) for row in await tx.execute(text(sql), values)]


async def alarms(context: Context) -> list[tuple[str, str]]:
    return [
        (row["code"], row["severity"]) for row in await rows(context, "select code, severity from alarms order by at")
    ]


async def clip_row(context: Context, clip_id: UUID) -> dict[str, Any]:
    return (await rows(context, "select * from clips where id = :id", id=clip_id))[0]


async def receipt(context: Context, twin: Twin, clip_id: UUID) -> tuple[str, str | None]:
    raw = await answer_receipts(context, twin.agent_id, ReceiptsAsk(clip_ids=[clip_id]).model_dump_json().encode())
    only = Receipts.model_validate_json(raw).receipts[0]
    return only.status, only.code


# sightings ----------------------------------------------------------------------------------------------------


async def test_a_sighting_is_kept_once_however_often_it_comes(context: Context) -> None:
    village = await seed_village(context, 1)
    seen = await village.twin.see(context, village.cameras[0])
    await village.twin.send(context, seen)
    kept = await rows(context, "select * from sightings")
    assert [row["id"] for row in kept] == [seen.sighting_id]
    assert kept[0]["duration_ms"] == 8000
    assert kept[0]["colour_names"] == ["white"]
    assert await context.store.get(Bucket.PICTURES, kept[0]["picture_key"]) == seen.picture


async def test_the_highest_revision_stands_in_any_order(context: Context) -> None:
    village = await seed_village(context, 1)
    camera, start = village.cameras[0], context.clock() - timedelta(minutes=3)
    known = new_id()

    def revision(number: int, **kw: Any) -> Any:
        end = start + timedelta(seconds=number)
        return village.twin.sighting(
            camera, sighting_id=known, revision=number, start_at=start, end_at=end, trajectory=[], **kw
        )

    first, second, third = revision(1), revision(2, picture=None), revision(3, picture=None, final=True)
    for message in (second, third, first, second):
        await village.twin.send(context, message)
    kept = (await rows(context, "select revision, end_at, picture_key from sightings"))[0]
    assert kept["revision"] == 3
    assert kept["end_at"] == third.end_at
    # The picture came with the oldest revision, and last: it is the only one there is.
    assert await context.store.get(Bucket.PICTURES, kept["picture_key"]) == first.picture


async def test_revisions_at_once_leave_one_row(context: Context) -> None:
    village = await seed_village(context, 1)
    camera, start, known = village.cameras[0], context.clock() - timedelta(minutes=3), new_id()
    messages = [
        village.twin.sighting(camera, sighting_id=known, revision=number, start_at=start) for number in range(1, 9)
    ]
    await asyncio.gather(*(village.twin.send(context, message) for message in messages))
    assert await rows(context, "select revision from sightings") == [{"revision": 8}]


async def test_a_revision_may_move_the_start_over_midnight(context: Context) -> None:
    village = await seed_village(context, 1)
    midnight = context.clock().replace(hour=0, minute=0, second=0, microsecond=0)
    known, camera = new_id(), village.cameras[0]
    after, before = midnight + timedelta(seconds=1), midnight - timedelta(seconds=1)
    if after + timedelta(seconds=20) > context.clock():
        after, before = after - timedelta(days=1), before - timedelta(days=1)
    await village.twin.see(context, camera, sighting_id=known, start_at=after)
    await village.twin.see(context, camera, sighting_id=known, start_at=before, revision=2)
    assert await rows(context, "select start_at from sightings") == [{"start_at": before}]


async def test_partitions_are_made_on_demand_and_by_many_at_once(context: Context) -> None:
    village = await seed_village(context, 1, days_ago=50)
    start = context.clock() - timedelta(days=40)

    async def ahead() -> None:
        async with context.db.transaction() as tx:
            await ensure_partitions(tx, partition_day(start), ahead=3)

    seen = [village.twin.see(context, village.cameras[0], start_at=start + timedelta(days=day)) for day in range(4)]
    await asyncio.gather(ahead(), *seen, ahead())
    assert len(await rows(context, "select id from sightings")) == 4
    names = await rows(
        context, "select inhrelid::regclass::text as n from pg_inherits where inhparent = 'sightings'::regclass"
    )
    assert len(names) >= 4
    plan = await rows(context, "select indisvalid from pg_index i where i.indrelid = 'sightings'::regclass")
    assert all(row["indisvalid"] for row in plan)


async def test_zones_are_entered_where_the_object_stands(context: Context) -> None:
    twin = await seed_agent(context)
    left = CameraZone("左", [(0, 0.5), (0.5, 0.5), (0.5, 1), (0, 1)])
    right = CameraZone("右", [(0.5, 0.5), (1, 0.5), (1, 1), (0.5, 1)])
    camera = await seed_camera(context, twin, zones=[left, right], now=context.clock() - timedelta(days=1))
    # The box covers both zones; its foot is in the left one, and passes from there to above both.
    path = [
        TrajectoryPoint(t_ms=0, box=Box(x=0.1, y=0.2, w=0.6, h=0.6)),
        TrajectoryPoint(t_ms=500, box=Box(x=0.6, y=0.1, w=0.2, h=0.2)),
    ]
    await twin.see(context, camera, trajectory=path)
    assert await rows(context, "select zones from sightings") == [{"zones": ["左"]}]


async def test_a_sighting_and_its_clip_find_each_other_in_either_order(context: Context) -> None:
    village = await seed_village(context, 1)
    twin, camera = village.twin, village.cameras[0]
    start = context.clock() - timedelta(minutes=5)
    early = await twin.see(context, camera, start_at=start)
    late = twin.sighting(camera, start_at=start + timedelta(seconds=2))
    clip = twin.clip(camera, DATA, start, [early.sighting_id, late.sighting_id])
    await twin.send(context, clip)
    await twin.send(context, late)
    kept = await rows(context, "select clip_id from sightings")
    assert kept == [{"clip_id": clip.seal.body.clip_id}] * 2


async def test_a_clip_cannot_take_another_cameras_sighting(context: Context) -> None:
    village = await seed_village(context, 2)
    seen = await village.twin.see(context, village.cameras[1])
    await village.twin.send(context, village.twin.clip(village.cameras[0], DATA, seen.start_at, [seen.sighting_id]))
    assert await rows(context, "select clip_id from sightings") == [{"clip_id": None}]


# refusals -----------------------------------------------------------------------------------------------------


async def refused(context: Context, twin: Twin, message: Any) -> str:
    with pytest.raises(Refused) as caught:
        await twin.send(context, message)
    return caught.value.code


async def test_an_unknown_camera_and_another_agents_camera_are_refused(context: Context) -> None:
    village = await seed_village(context, 1)
    stranger = await seed_agent(context, "陌生人")
    start = context.clock() - timedelta(minutes=1)
    assert (
        await refused(context, village.twin, village.twin.sighting(new_id(), start_at=start)) == "ingest.unknown_camera"
    )
    theirs = stranger.sighting(village.cameras[0], start_at=start)
    assert await refused(context, stranger, theirs) == "ingest.wrong_agent"
    gap = GapSeen(
        id=new_id(),
        camera_id=village.cameras[0],
        gap=MissingSpan(start_at=start, end_at=start, reason=GapReason.PAUSED),
    )
    assert await refused(context, stranger, gap) == "ingest.wrong_agent"
    assert await rows(context, "select id from sightings") == []
    assert await alarms(context) == [("ingest.unknown_camera", "warning"), ("ingest.wrong_agent", "critical")]


async def test_a_revoked_agent_is_refused(context: Context) -> None:
    village = await seed_village(context, 1)
    async with context.db.transaction() as tx:
        await tx.execute(text("update agents set revoked_at = now()"))
    seen = village.twin.sighting(village.cameras[0], start_at=context.clock() - timedelta(minutes=1))
    assert await refused(context, village.twin, seen) == "ingest.wrong_agent"


@pytest.mark.parametrize("kind", ["candidate", "not_shared"])
async def test_without_consent_nothing_is_kept(context: Context, kind: str) -> None:
    twin = await seed_agent(context)
    none_shared = Wish(share_clips=False, share_live=True, purposes=[], hours=[], expires_at=None)
    since = context.clock() - timedelta(days=1)
    camera = await seed_camera(context, twin, consent=None if kind == "candidate" else none_shared, now=since)
    start = context.clock() - timedelta(minutes=1)
    assert await refused(context, twin, twin.sighting(camera, start_at=start)) == "ingest.consent_denied"
    clip = twin.clip(camera, DATA, start)
    await twin.send(context, clip)
    assert await rows(context, "select id from sightings") == []
    assert await receipt(context, twin, clip.seal.body.clip_id) == ("refused", "ingest.consent_denied")
    assert (await twin.upload(context, clip, DATA)).status == "refused"


async def test_consent_is_judged_by_when_it_was_seen_not_by_when_it_arrives(context: Context) -> None:
    twin = await seed_agent(context)
    camera = await seed_camera(context, twin, consent=FULL_CONSENT, now=context.clock() - timedelta(hours=1))
    await twin.see(context, camera, start_at=context.clock() - timedelta(minutes=30))
    before_consent = twin.sighting(camera, start_at=context.clock() - timedelta(hours=2))
    assert await refused(context, twin, before_consent) == "ingest.consent_denied"


def sample(twin: Twin, camera: UUID, context: Context, **kw: Any) -> dict[str, Any]:
    seen = twin.sighting(camera, start_at=context.clock() - timedelta(minutes=1))
    found: dict[str, Any] = json.loads(seen.model_dump_json())
    return found | kw


HOSTILE: dict[str, Any] = {
    "empty": b"",
    "not json": b"\x00\xff\xfe",
    "a list": b"[]",
    "deep": b'{"type":"sighting","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "too big": b'{"type":"sighting","x":"' + b"a" * 2_000_000 + b'"}',
    "NUL": b'{"type":"device","manufacturer":"\\u0000"}',
    "lone surrogate": b'{"type":"device","manufacturer":"\\ud800"}',
    "NaN": b'{"type":"sighting","best_score":NaN}',
    "no type": b"{}",
    "other type": b'{"type":"order"}',
    "type sent elsewhere": b'{"type":"presence"}',
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_bytes_are_refused_once_and_for_all(context: Context, name: str) -> None:
    twin = await seed_agent(context)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await handle_uplink(context, twin.agent_id, "sighting", HOSTILE[name])
        assert caught.value.code == "ingest.message_invalid"
    assert await alarms(context) == [("ingest.message_invalid", "warning")]


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "score over one": {"best_score": 1.5},
    "box outside": {"best_box": {"x": 0.9, "y": 0.1, "w": 0.9, "h": 0.1}},
    "negative box": {"best_box": {"x": -0.1, "y": 0.1, "w": 0.1, "h": 0.1}},
    "box in the path": {"trajectory": [{"t_ms": 0, "box": {"x": 0.9, "y": 0.9, "w": 0.9, "h": 0.9}}]},
    "long path": {"trajectory": [{"t_ms": 0, "box": {"x": 0, "y": 0, "w": 1, "h": 1}}] * 500},
    "path outlasts": {"trajectory": [{"t_ms": 999_999_999_999, "box": {"x": 0, "y": 0, "w": 1, "h": 1}}]},
    "ends before": {"end_at": "2020-01-01T00:00:00Z"},
    "far future": {
        "start_at": "2999-01-01T00:00:00Z",
        "best_at": "2999-01-01T00:00:00Z",
        "end_at": "2999-01-01T00:00:01Z",
    },
    "naive time": {"start_at": "2026-11-20T00:00:00"},
    "long ago": {
        "start_at": "1970-01-01T00:00:00Z",
        "best_at": "1970-01-01T00:00:00Z",
        "end_at": "1970-01-01T00:00:01Z",
    },
    "revision zero": {"revision": 0},
    "revision out of range": {"revision": 2**40},
    "no class": {"object_class": "face"},
    "unknown field": {"identity": "somebody"},
    "picture not base64": {"picture": "§§§"},
    "picture no JPEG": {"picture": "PHN2Zz4="},
    "best outside": {"best_at": "2026-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("name", BAD_FIELDS)
async def test_impossible_sightings_are_refused(context: Context, name: str) -> None:
    village = await seed_village(context, 1)
    raw = json.dumps(sample(village.twin, village.cameras[0], context, **BAD_FIELDS[name])).encode()
    with pytest.raises(Refused) as caught:
        await handle_uplink(context, village.twin.agent_id, "sighting", raw)
    assert caught.value.code == "ingest.message_invalid"
    assert await rows(context, "select id from sightings") == []


async def test_a_sightings_id_cannot_be_taken_over_by_another_camera(context: Context) -> None:
    village = await seed_village(context, 2)
    seen = await village.twin.see(context, village.cameras[0])
    thief = village.twin.sighting(village.cameras[1], sighting_id=seen.sighting_id, start_at=seen.start_at, revision=9)
    assert await refused(context, village.twin, thief) == "ingest.message_invalid"
    assert await rows(context, "select camera_id, revision from sightings") == [
        {"camera_id": village.cameras[0], "revision": 1}
    ]


# clips --------------------------------------------------------------------------------------------------------


async def test_a_clip_is_verified_by_its_stored_bytes(context: Context) -> None:
    village = await seed_village(context, 1)
    clip = await village.twin.deliver(context, village.cameras[0], DATA)
    row = await clip_row(context, clip.seal.body.clip_id)
    assert (row["status"], row["chain_ok"], row["upload_id"]) == ("verified", True, None)
    assert await context.store.get(Bucket.CLIPS, row["object_key"]) == DATA
    assert await receipt(context, village.twin, row["id"]) == ("verified", None)
    assert await alarms(context) == []


async def test_one_flipped_byte_is_refused_and_alarmed(context: Context) -> None:
    village = await seed_village(context, 1)
    clip = village.twin.clip(village.cameras[0], DATA, context.clock() - timedelta(minutes=1))
    await village.twin.send(context, clip)
    flipped = bytes([DATA[0] ^ 1]) + DATA[1:]
    assert (await village.twin.upload(context, clip, flipped)).status == "waiting"
    clip_id = clip.seal.body.clip_id
    assert (await verify_clip(context, clip_id)).code == RefusalCode.HASH_MISMATCH
    assert await receipt(context, village.twin, clip_id) == ("refused", "ingest.hash_mismatch")
    assert await alarms(context) == [("ingest.hash_mismatch", "critical")]
    # A verdict stands: judging again changes nothing and raises nothing.
    assert (await verify_clip(context, clip_id)).status == "refused"
    assert len(await alarms(context)) == 1


async def test_a_stored_clip_of_another_size_or_none_is_refused(context: Context) -> None:
    village = await seed_village(context, 1)
    twin, camera = village.twin, village.cameras[0]
    for stored, code in ((DATA[:-1], RefusalCode.SIZE_MISMATCH), (None, RefusalCode.OBJECT_MISSING)):
        clip = twin.clip(camera, DATA, context.clock() - timedelta(minutes=1))
        await twin.send(context, clip)
        await twin.upload(context, clip, DATA)
        row = await clip_row(context, clip.seal.body.clip_id)
        if stored is None:
            await context.store.delete(Bucket.CLIPS, row["object_key"])
        else:
            await context.store.put(Bucket.CLIPS, row["object_key"], stored, "video/mp4")
        assert (await verify_clip(context, row["id"])).code == code


async def test_a_seal_in_another_name_or_by_another_key_is_refused(context: Context) -> None:
    village = await seed_village(context, 1)
    stranger = await seed_agent(context, "陌生人")
    camera, start = village.cameras[0], context.clock() - timedelta(minutes=1)
    forged = village.twin.clip(camera, DATA, start, agent_id=stranger.agent_id)
    assert await refused(context, village.twin, forged) == "ingest.seal_invalid"
    by_stranger = Twin(village.twin.agent_id, stranger.key).clip(camera, DATA, start)
    await village.twin.send(context, by_stranger)
    clip_id = by_stranger.seal.body.clip_id
    assert await receipt(context, village.twin, clip_id) == ("refused", "ingest.seal_invalid")
    assert [code for code, _ in await alarms(context)] == ["ingest.seal_invalid"] * 2
    # It took no place in the chain: the true first clip still stands.
    village.twin.chains.clear()
    true = await village.twin.deliver(context, camera, DATA)
    assert (await clip_row(context, true.seal.body.clip_id))["chain_ok"] is True


async def test_the_same_announcement_again_changes_nothing(context: Context) -> None:
    village = await seed_village(context, 1)
    clip = await village.twin.deliver(context, village.cameras[0], DATA)
    await village.twin.send(context, clip)
    assert (await clip_row(context, clip.seal.body.clip_id))["status"] == "verified"
    assert await alarms(context) == []


async def test_a_clips_id_cannot_be_given_other_content(context: Context) -> None:
    village = await seed_village(context, 1)
    first = await village.twin.deliver(context, village.cameras[0], DATA)
    clip_id = first.seal.body.clip_id
    other = village.twin.clip(village.cameras[0], b"other", context.clock() - timedelta(minutes=1), clip_id=clip_id)
    assert await refused(context, village.twin, other) == "ingest.message_invalid"
    assert await receipt(context, village.twin, clip_id) == ("verified", None)


# chain --------------------------------------------------------------------------------------------------------


async def test_a_seal_waits_for_the_one_before_and_is_judged_when_it_comes(context: Context) -> None:
    village = await seed_village(context, 1)
    twin, camera, start = village.twin, village.cameras[0], context.clock() - timedelta(minutes=1)
    clips = [twin.clip(camera, DATA, start) for _ in range(3)]
    for clip in (clips[2], clips[1]):
        await twin.send(context, clip)
    # The third found the second only later, the second still has no first.
    states = [(await clip_row(context, clip.seal.body.clip_id))["chain_ok"] for clip in clips[1:]]
    assert states == [None, True]
    await twin.send(context, clips[0])
    states = [(await clip_row(context, clip.seal.body.clip_id))["chain_ok"] for clip in clips]
    assert states == [True, True, True]


async def test_a_broken_chain_is_refused_also_when_it_shows_late(context: Context) -> None:
    village = await seed_village(context, 1)
    twin, camera, start = village.twin, village.cameras[0], context.clock() - timedelta(minutes=1)
    first = twin.clip(camera, DATA, start)
    second = twin.clip(camera, DATA, start, prev="a" * 64)
    await twin.send(context, second)
    assert (await twin.upload(context, second, DATA)).status == "waiting"
    second_id = second.seal.body.clip_id
    assert (await verify_clip(context, second_id)).status == "verified"
    await twin.send(context, first)
    assert await receipt(context, twin, second_id) == ("refused", "ingest.chain_broken")
    assert await alarms(context) == [("ingest.chain_broken", "critical")]


async def test_of_two_seals_with_one_number_the_second_is_refused(context: Context) -> None:
    village = await seed_village(context, 1)
    twin, camera = village.twin, village.cameras[0]
    first = await twin.deliver(context, camera, DATA)
    fork = twin.clip(camera, b"fork", context.clock() - timedelta(minutes=1), seq=1, prev=GENESIS)
    await twin.send(context, fork)
    assert await receipt(context, twin, fork.seal.body.clip_id) == ("refused", "ingest.chain_broken")
    assert await receipt(context, twin, first.seal.body.clip_id) == ("verified", None)


# uploads ------------------------------------------------------------------------------------------------------


async def test_an_upload_resumes_with_the_parts_that_arrived(context: Context) -> None:
    village = await seed_village(context, 1)
    twin = village.twin
    data = bytes(range(256)) * (PART_BYTES // 256) + b"the rest"
    clip = twin.clip(village.cameras[0], data, context.clock() - timedelta(minutes=1))
    await twin.send(context, clip)
    body = clip.seal.body
    ask = UploadAsk(clip_id=body.clip_id, size_bytes=len(data), sha256=body.sha256)
    plan = await uploads.plan_upload(context, twin.agent_id, ask)
    assert [(part.offset, part.size_bytes) for part in plan.parts] == [(0, PART_BYTES), (PART_BYTES, 8)]
    async with httpx.AsyncClient(trust_env=False) as http:
        (await http.put(plan.parts[1].url, content=b"the rest")).raise_for_status()
    again = await uploads.plan_upload(context, twin.agent_id, ask)
    assert again.upload_id == plan.upload_id
    assert [bool(part.url) for part in again.parts] == [True, False]
    assert (await twin.upload(context, clip, data)).status == "waiting"
    assert (await verify_clip(context, body.clip_id)).status == "verified"
    done = await uploads.plan_upload(context, twin.agent_id, ask)
    assert done.receipt is not None
    assert done.receipt.status == "verified"


async def test_completion_defers_verification_in_its_transaction_and_may_be_repeated(context: Context) -> None:
    village = await seed_village(context, 1)
    twin = village.twin
    clip = twin.clip(village.cameras[0], DATA, context.clock() - timedelta(minutes=1))
    await twin.send(context, clip)
    clip_id = clip.seal.body.clip_id
    await twin.upload(context, clip, DATA)
    jobs = await rows(context, "select task_name, args from procrastinate_jobs")
    assert jobs == [{"task_name": "ingest.verify_clip", "args": {"clip_id": str(clip_id)}}]
    again = UploadComplete(upload_id="whatever", parts=[PartDone(number=1, etag="x")])
    assert (await uploads.complete_upload(context, twin.agent_id, clip_id, again)).status == "waiting"
    assert len(await rows(context, "select id from procrastinate_jobs")) == 1


async def test_a_completion_lost_after_the_join_is_made_good(context: Context) -> None:
    """The hub dies between joining the parts and its commit: the agent completes again."""
    village = await seed_village(context, 1)
    twin = village.twin
    clip = twin.clip(village.cameras[0], DATA, context.clock() - timedelta(minutes=1))
    await twin.send(context, clip)
    clip_id = clip.seal.body.clip_id
    ask = UploadAsk(clip_id=clip_id, size_bytes=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
    upload_id = (await uploads.plan_upload(context, twin.agent_id, ask)).upload_id
    await twin.upload(context, clip, DATA)
    async with context.db.transaction() as tx:
        await tx.execute(text("update clips set status = 'announced', upload_id = :u"), {"u": upload_id})
    done = UploadComplete(upload_id=upload_id, parts=[PartDone(number=1, etag="whatever it was")])
    assert (await uploads.complete_upload(context, twin.agent_id, clip_id, done)).status == "waiting"
    assert (await verify_clip(context, clip_id)).status == "verified"


async def test_uploads_of_others_or_with_another_hash_are_refused(context: Context) -> None:
    village = await seed_village(context, 1)
    stranger = await seed_agent(context, "陌生人")
    clip = village.twin.clip(village.cameras[0], DATA, context.clock() - timedelta(minutes=1))
    ask = UploadAsk(clip_id=clip.seal.body.clip_id, size_bytes=len(DATA), sha256="0" * 64)
    with pytest.raises(NotFound):
        await uploads.plan_upload(context, village.twin.agent_id, ask)  # not announced yet
    await village.twin.send(context, clip)
    with pytest.raises(NotFound):
        await uploads.plan_upload(context, stranger.agent_id, ask)
    with pytest.raises(Conflict):
        await uploads.plan_upload(context, village.twin.agent_id, ask)
    true_ask = ask.model_copy(update={"sha256": clip.seal.body.sha256})
    plan = await uploads.plan_upload(context, village.twin.agent_id, true_ask)
    for upload_id, number, kind in (("other", 1, Conflict), (plan.upload_id, 2, Invalid)):
        done = UploadComplete(upload_id=upload_id, parts=[PartDone(number=number, etag="x")])
        with pytest.raises(kind):
            await uploads.complete_upload(context, village.twin.agent_id, ask.clip_id, done)


async def test_a_clip_whose_job_died_is_judged_later(context: Context) -> None:
    village = await seed_village(context, 1)
    clip = village.twin.clip(village.cameras[0], DATA, context.clock() - timedelta(minutes=1))
    await village.twin.send(context, clip)
    await village.twin.upload(context, clip, DATA)
    assert await verify_forgotten(context) == 0
    async with context.db.transaction() as tx:
        await tx.execute(text("update clips set announced_at = announced_at - interval '1 hour'"))
    assert await verify_forgotten(context) == 1
    assert (await clip_row(context, clip.seal.body.clip_id))["status"] == "verified"


# the rest -----------------------------------------------------------------------------------------------------


async def test_gaps_devices_and_presence_are_kept(context: Context) -> None:
    village = await seed_village(context, 1)
    now = context.clock()
    camera = village.cameras[0]
    span = MissingSpan(start_at=now - timedelta(minutes=2), end_at=now, reason=GapReason.CAMERA_OFFLINE)
    gap = GapSeen(id=new_id(), camera_id=camera, gap=span)
    for _ in range(2):
        await village.twin.send(context, gap)
    assert await rows(context, "select reason from camera_gaps") == [{"reason": "camera_offline"}]
    presence = Presence(
        id=new_id(),
        at=now,
        started_at=now,
        version="0.1.0",
        desired_version=1,
        outbox_messages=3,
        outbox_files=1,
        disk_free_bytes=10**12,
        cameras=[CameraReport(camera_id=camera, state=CameraState.LIVE, since=now)],
    )
    await village.twin.send(context, presence)
    assert await rows(context, "select outbox_messages from agents") == [{"outbox_messages": 3}]
    state = (await rows(context, "select report ->> 'state' as state from cameras"))[0]
    assert state == {"state": "live"}


async def test_an_agent_learns_what_is_desired_and_of_its_own_clips_only(context: Context) -> None:
    village = await seed_village(context, 2)
    stranger = await seed_agent(context, "陌生人")
    state = DesiredState.model_validate_json(await answer_desired(context, village.twin.agent_id, b""))
    assert {camera.camera_id for camera in state.cameras} == set(village.cameras)
    clip = await village.twin.deliver(context, village.cameras[0], DATA)
    clip_id = clip.seal.body.clip_id
    assert await receipt(context, village.twin, clip_id) == ("verified", None)
    assert await receipt(context, stranger, clip_id) == ("unknown", None)
    for raw in (b"", b"[]", b'{"clip_ids":"x"}'):
        with pytest.raises(Invalid):
            await answer_receipts(context, village.twin.agent_id, raw)


async def test_classes_all_fit_the_table(context: Context) -> None:
    village = await seed_village(context, 1)
    for one in ObjectClass:
        await village.twin.see(context, village.cameras[0], one, picture=None)
    assert len(await rows(context, "select id from sightings")) == len(ObjectClass)


@asynccontextmanager
async def agents_connection(context: Context, twin: Twin) -> AsyncIterator[JetStreamContext]:
    """NATS as the agent reaches it: by its own key and the credentials the hub mints."""
    user_jwt, _ = mint_user_jwt(context.account_key, twin.key.public_raw, twin.agent_id, timedelta(minutes=5))
    client = await nats.connect(
        servers=context.nats_public_urls,
        user_jwt_cb=user_jwt.encode,
        signature_cb=lambda nonce: base64.b64encode(twin.key.sign(nonce.encode())),
        inbox_prefix=f"_INBOX_{twin.agent_id}".encode(),
    )
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def test_messages_come_through_the_bus_and_a_poisonous_one_does_not_come_back(context: Context) -> None:
    village = await seed_village(context, 1)
    taken: asyncio.Queue[str] = asyncio.Queue()

    async def take(agent_id: UUID, type_: str, raw: bytes) -> None:
        try:
            await handle_uplink(context, agent_id, type_, raw)
        finally:
            taken.put_nowait(type_)

    start = context.clock() - timedelta(minutes=1)
    seen = village.twin.sighting(village.cameras[0], picture=jpeg("red"), start_at=start)
    async with agents_connection(context, village.twin) as stream:
        await stream.publish(up_subject(village.twin.agent_id, "gap"), b"nonsense")
        consuming = asyncio.create_task(context.bus.consume_uplink(take))
        try:
            async with asyncio.timeout(20):
                assert await taken.get() == "gap"
                await stream.publish(up_subject(village.twin.agent_id, "sighting"), seen.model_dump_json().encode())
                assert await taken.get() == "sighting"
        finally:
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
    assert taken.empty()
    assert len(await rows(context, "select id from sightings")) == 1
    assert await alarms(context) == [("ingest.message_invalid", "warning")]
