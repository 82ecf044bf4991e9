"""Capture's small parts: NAL units, the wall clock, the bounded broadcast, the index."""

import sqlite3
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.broadcast import Broadcast
from edge_agent.capture.index import Gap, RecordingIndex, Segment
from edge_agent.capture.nal import codec_string, nal_units, parameter_sets
from edge_agent.capture.port import EncodedPacket, StreamParams
from edge_agent.capture.wall import WallClock
from edge_agent.errors import AgentError
from models.vocabulary import GapReason
from models.wire.base import ClockReading

SPS = bytes.fromhex("6742801696540601bd35")
PPS = bytes.fromhex("68ce3520")
PARAMS = StreamParams("h264", b"", Fraction(1, 90000), 640, 360)


def packet(pts: int, *, key: bool = False, epoch: int = 1) -> EncodedPacket:
    return EncodedPacket(data=b"\x00\x00\x01\x65x", pts=pts, is_keyframe=key, host_at=pts / 90000, epoch=epoch)


def test_parameter_sets_are_taken_before_the_first_slice_only() -> None:
    data = b"\x00\x00\x00\x01" + SPS + b"\x00\x00\x01" + PPS + b"\x00\x00\x01\x65abc" + b"\x00\x00\x01\x68late"
    assert list(nal_units(parameter_sets(data, "h264"))) == [SPS, PPS]
    assert codec_string(parameter_sets(data, "h264"), "h264") == "avc1.428016"


@given(st.binary(max_size=400))
def test_any_bytes_are_read_as_nal_units_without_harm(data: bytes) -> None:
    for codec in ("h264", "hevc"):
        sets = parameter_sets(data, codec)
        assert len(sets) <= 2 * len(data) + 8
        assert codec_string(data, codec)[:4] in {"avc1", "hvc1"}


def test_wall_time_ignores_late_arrivals_and_follows_drift() -> None:
    clock = WallClock(Fraction(1, 90000))
    for second in range(30):
        clock.see(second * 90000, 1000.0 + second + (0.4 if second % 3 else 0.0))  # two of three come late
    assert clock.at(29 * 90000) == pytest.approx(1029.0)
    for second in range(30, 200):
        clock.see(second * 90000, 1000.0 + second * 1.001)  # the camera's clock is 0.1 % slow
    assert clock.at(199 * 90000) == pytest.approx(1199.199, abs=0.08)


def test_a_late_reader_begins_with_the_key_frame() -> None:
    cast = Broadcast()
    cast.start_epoch(PARAMS)
    for pts in (0, 1, 2):
        cast.publish(packet(pts, key=pts == 0))
    reader = cast.subscribe(lambda: None, 10)
    cast.publish(packet(3))
    assert [p.pts for p in iter(reader.pop, None)] == [0, 1, 2, 3]


def test_a_slow_reader_loses_whole_groups_and_is_told_how_many() -> None:
    cast = Broadcast()
    cast.start_epoch(PARAMS)
    reader = cast.subscribe(lambda: None, 4)
    for pts in range(12):
        cast.publish(packet(pts, key=pts % 6 == 0))
    assert [p.pts for p in iter(reader.pop, None)] == [0, 1, 2, 3]
    cast.publish(packet(12, key=True))
    cast.publish(packet(13))
    assert [p.pts for p in iter(reader.pop, None)] == [12, 13]
    assert reader.dropped == 8


def test_closing_the_broadcast_wakes_and_ends_its_readers() -> None:
    cast = Broadcast()
    woken: list[int] = []
    reader = cast.subscribe(lambda: woken.append(1), 4)
    cast.close()
    assert reader.ended
    assert woken
    with pytest.raises(AgentError, match=r"camera\.offline"):
        cast.subscribe(lambda: None, 4)


def test_the_index_finds_spans_and_gaps_and_forgets_nothing_on_reopening(tmp_path: Path) -> None:
    camera = uuid4()
    index = RecordingIndex(tmp_path / "r.sqlite")
    row = Segment(
        0, camera, 1, "open", 1_000_000, 1_000_000, 0, 0, 0, "avc1", 640, 360, ClockReading(offset_ms=5), "a.part"
    )
    id_ = index.open_segment(row)
    index.grow(id_, 1_000_000, 4_000_000, 3_000_000, 75, 1000)
    index.finish(id_, "a", GapReason.AUTH_FAILED)
    index.add_gap(camera, Gap(4_000_000, 9_000_000, GapReason.AUTH_FAILED))
    index.add_gap(camera, Gap(4_000_000, 9_000_000, GapReason.AUTH_FAILED))
    index.close()
    again = RecordingIndex(tmp_path / "r.sqlite")
    assert [s.path for s in again.covering(camera, 3_999_999, 5_000_000)] == ["a"]
    assert again.covering(camera, 4_000_000, 5_000_000) == []  # half-open
    assert again.gaps(camera, 0, 10_000_000) == [Gap(4_000_000, 9_000_000, GapReason.AUTH_FAILED)]
    assert again.mark(camera) == (4_000_000, GapReason.AUTH_FAILED)
    again.close()


def test_a_gap_stays_untold_until_it_is_taken_over_and_explains_no_second_twice(tmp_path: Path) -> None:
    camera = uuid4()
    index = RecordingIndex(tmp_path / "r.sqlite")
    index.add_gap(camera, Gap(4_000_000, 9_000_000, GapReason.AUTH_FAILED))
    index.add_gap(camera, Gap(4_000_000, 12_000_000, GapReason.AGENT_KILLED))  # a crash made it begin there again
    rest = Gap(9_000_000, 12_000_000, GapReason.AGENT_KILLED)
    assert index.untold(camera) == [Gap(4_000_000, 9_000_000, GapReason.AUTH_FAILED), rest]
    index.mark_told(camera, 4_000_000)
    index.close()
    again = RecordingIndex(tmp_path / "r.sqlite")
    assert again.untold(camera) == [rest]
    again.close()


def test_gaps_of_an_index_from_before_are_taken_as_told(tmp_path: Path) -> None:
    camera = uuid4()
    with sqlite3.connect(tmp_path / "r.sqlite") as db:
        db.execute(
            "create table gaps (camera_id text not null, start_us integer not null, end_us integer not null,"
            " reason text not null, primary key (camera_id, start_us))"
        )
        db.execute("insert into gaps values (?, 1, 2, 'paused')", (str(camera),))
    db.close()
    index = RecordingIndex(tmp_path / "r.sqlite")
    assert index.untold(camera) == []
    assert index.gaps(camera, 0, 10) == [Gap(1, 2, GapReason.PAUSED)]
    index.close()
