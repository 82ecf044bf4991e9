"""The spool keeps what is not yet proven to be at the hub, within bounds, and counts what gives way."""

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from edge_agent.errors import AgentError
from edge_agent.spool import clips, devices, outbox, sightings, wishes
from edge_agent.spool.devices import KnownSource
from edge_agent.spool.store import FILE_NAME, Spool, losses
from models.keys import SigningKey
from models.wire.downlink import Receipt
from models.wire.uplink import SightingSeen, StreamInfo
from tests.edge_samples import AGENT, AT, CAMERA, OTHER_CAMERA, consent, cut_file, desired, sighting

KEY = SigningKey.generate()
CLIP = UUID(int=50)
SIGHTING = UUID(int=60)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "data")
    yield opened
    opened.close()


def queued(spool: Spool) -> list[SightingSeen]:
    batch = spool.call(outbox.next_batch, {CAMERA}, set())
    return [SightingSeen.model_validate_json(one.body) for one in batch if one.type == "sighting"]


def seal(spool: Spool, clip: UUID, camera: UUID = CAMERA) -> None:
    spool.call(clips.plan, clip, camera, AT, AT, [])
    assert spool.call(clips.seal, KEY, AGENT, clip, cut_file(f"{clip}.mp4")) is not None


def test_the_files_are_for_their_owner_only(spool: Spool, tmp_path: Path) -> None:
    """Camera passwords are in there."""
    for path in (tmp_path / "data").glob(f"{FILE_NAME}*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_spool_of_a_newer_agent_is_left_alone(tmp_path: Path) -> None:
    Spool(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(AgentError, match=r"spool\.newer"):
        Spool(tmp_path)


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(AgentError, match=r"spool\.unreadable"):
        Spool(tmp_path)


def test_a_failed_act_leaves_nothing_behind(spool: Spool) -> None:
    def half(db: sqlite3.Connection) -> None:
        devices.add(db, "a:80", "u", "p")
        raise ValueError

    with pytest.raises(ValueError):
        spool.call(half)
    assert spool.call(devices.all_devices) == []


def test_a_write_by_another_process_is_noticed_once(spool: Spool, tmp_path: Path) -> None:
    import asyncio

    async def look() -> list[bool]:
        first = await spool.changed_elsewhere()
        other = Spool(tmp_path / "data")
        other.call(wishes.pause, CAMERA)
        other.close()
        return [first, await spool.changed_elsewhere(), await spool.changed_elsewhere()]

    assert asyncio.run(look()) == [False, True, False]


def test_an_unsent_revision_gives_way_to_its_successor_which_inherits_the_picture(spool: Spool) -> None:
    spool.call(sightings.put, sighting(SIGHTING, 1, picture=b"jpeg"))
    spool.call(sightings.put, sighting(SIGHTING, 2))
    (only,) = queued(spool)
    assert (only.revision, only.picture) == (2, b"jpeg")
    assert spool.call(losses) == {}


def test_when_too_much_waits_pictures_go_first_then_the_oldest_sightings_and_both_are_counted(spool: Spool) -> None:
    for number in range(10):
        seen = sighting(UUID(int=number), picture=b"j" * 2000, final=True)
        spool.call(sightings.put, seen, max_bytes=12_000)
    waiting = queued(spool)
    assert waiting[0].picture is None
    assert waiting[-1].picture is not None, "the newest keep theirs"
    for number in range(10, 60):
        spool.call(sightings.put, sighting(UUID(int=number), final=True), max_bytes=12_000)
    assert spool.call(outbox.totals).size_bytes <= 12_000
    given_up = spool.call(losses)
    assert given_up[sightings.LOST_PICTURE] == 10
    assert given_up[sightings.LOST_SIGHTING] == 60 - len(queued(spool))


def test_clip_announcements_never_give_way(spool: Spool) -> None:
    seal(spool, CLIP)
    for number in range(30):
        spool.call(sightings.put, sighting(UUID(int=number), final=True), max_bytes=3000)
    kinds = [one.type for one in spool.call(outbox.next_batch, {CAMERA}, set())]
    assert kinds.count("clip") == 1


def test_messages_of_a_held_camera_wait_and_those_of_others_pass(spool: Spool) -> None:
    spool.call(sightings.put, sighting(SIGHTING))
    spool.call(sightings.put, sighting(UUID(int=61), camera_id=OTHER_CAMERA))
    (batch,) = spool.call(outbox.next_batch, {OTHER_CAMERA}, {CAMERA})
    assert batch.camera_id == OTHER_CAMERA
    assert spool.call(outbox.totals).count == 2


def test_after_a_restart_a_sighting_that_had_begun_is_said_to_be_over_once(spool: Spool) -> None:
    spool.call(sightings.put, sighting(SIGHTING, 3))
    assert spool.call(sightings.finish_open) == 1
    assert spool.call(sightings.finish_open) == 0
    (only,) = queued(spool)
    assert (only.final, only.revision) == (True, 4)


def test_after_a_restart_an_open_event_is_planned_with_the_span_of_its_sightings(spool: Spool) -> None:
    spool.call(sightings.put, sighting(SIGHTING, clip_id=CLIP))
    assert spool.call(clips.planned) == []
    spool.call(clips.close_open_events)
    (plan,) = spool.call(clips.planned)
    assert (plan.clip_id, plan.start_at) == (CLIP, AT)


def test_a_late_sighting_does_not_reopen_a_planned_clip(spool: Spool) -> None:
    spool.call(clips.plan, CLIP, CAMERA, AT, AT, [])
    spool.call(sightings.put, sighting(SIGHTING, clip_id=CLIP))
    assert spool.call(clips.counts) == {"planned": 1}


def test_a_file_may_go_only_after_verified(spool: Spool) -> None:
    seal(spool, CLIP)
    for status in ("waiting", "unknown", "refused"):
        settled = spool.call(clips.take_receipt, Receipt(clip_id=CLIP, status=status, at=AT))
        assert settled.file is None, status
    settled = spool.call(clips.take_receipt, Receipt(clip_id=CLIP, status="verified", at=AT))
    assert settled.file == f"{CLIP}.mp4"
    again = spool.call(clips.take_receipt, Receipt(clip_id=CLIP, status="verified", at=AT))
    assert again.file is None, "a replayed receipt changes nothing"


def test_a_receipt_for_a_clip_that_was_never_sealed_changes_nothing(spool: Spool) -> None:
    spool.call(clips.plan, CLIP, CAMERA, AT, AT, [])
    settled = spool.call(clips.take_receipt, Receipt(clip_id=CLIP, status="verified", at=AT))
    assert settled.file is None
    assert spool.call(clips.counts) == {"planned": 1}


def test_a_clip_the_hub_does_not_know_is_announced_anew_but_not_twice(spool: Spool) -> None:
    seal(spool, CLIP)
    first = spool.call(outbox.next_batch, {CAMERA}, set())[0].id
    spool.call(clips.delivered, [first])
    assert spool.call(clips.announce_again, CLIP)
    assert not spool.call(clips.announce_again, CLIP)
    (again,) = spool.call(outbox.next_batch, {CAMERA}, set())
    assert again.id != first, "a new id, or the stream would take it for a replay"


def test_a_plan_that_cannot_be_cut_ends_with_a_counted_reason(spool: Spool) -> None:
    spool.call(clips.plan, CLIP, CAMERA, AT, AT, [])
    spool.call(clips.give_up, CLIP, "recording.none")
    spool.call(clips.give_up, CLIP, "recording.none")
    assert spool.call(losses) == {"clip.recording.none": 1}


def test_an_older_desired_state_is_ignored(spool: Spool) -> None:
    assert spool.call(wishes.take_desired, desired(5, (CAMERA, consent())))
    assert not spool.call(wishes.take_desired, desired(4))
    assert not spool.call(wishes.take_desired, desired(5))
    kept = spool.call(wishes.desired)
    assert kept is not None
    assert len(kept.cameras) == 1


def test_a_source_keeps_its_camera_id_for_ever(spool: Spool) -> None:
    known = (
        KnownSource(
            token="v0", main_url="rtsp://x/1", sub_url=None, main=StreamInfo(codec="h264", width=1, height=1), sub=None
        ),
    )
    spool.call(devices.add, "a:80", "u", "p")
    first = spool.call(devices.remember, "a:80", known)
    assert spool.call(devices.remove, "a:80")
    spool.call(devices.add, "a:80", "u", "q")
    assert spool.call(devices.remember, "a:80", known) == first


def test_a_password_is_not_in_what_a_device_prints(spool: Spool) -> None:
    spool.call(devices.add, "a:80", "u", "hunter2")
    assert "hunter2" not in repr(spool.call(devices.all_devices))
