"""Tracks hold through occlusion, crossings and wrong class names, and nothing is recognised by its looks."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.analytics.assignment import assign
from edge_agent.analytics.boxes import BoxF, Detection
from edge_agent.analytics.scenery import DOUBTS_UNTIL_SCENERY, FORGET_AFTER_MISSES, Scenery
from edge_agent.analytics.tracker import Tracker, TrackerLimits
from models.vocabulary import ObjectClass

PERSON, CAR, TRUCK, COW = ObjectClass.PERSON, ObjectClass.CAR, ObjectClass.TRUCK, ObjectClass.COW


def person(x: float, y: float = 0.4, score: float = 0.8, w: float = 0.05, h: float = 0.25) -> Detection:
    return Detection(PERSON, score, BoxF(x, y, w, h))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda rows: st.integers(1, 5).flatmap(
            lambda columns: st.lists(
                st.lists(st.floats(0, 10), min_size=columns, max_size=columns), min_size=rows, max_size=rows
            )
        )
    )
)
def test_the_assignment_is_the_cheapest_one(cost: list[list[float]]) -> None:
    rows, columns = len(cost), len(cost[0])
    pairs = assign(cost)
    assert len(pairs) == min(rows, columns)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    small, large = min(rows, columns), max(rows, columns)
    best = min(
        sum(cost[i][chosen[i]] if rows <= columns else cost[chosen[i]][i] for i in range(small))
        for chosen in itertools.permutations(range(large), small)
    )
    assert math.isclose(sum(cost[r][c] for r, c in pairs), best, abs_tol=1e-6)


def test_the_assignment_of_nothing_is_nothing() -> None:
    assert assign([]) == []
    assert assign([[]]) == []


def test_a_walker_is_one_track() -> None:
    tracker = Tracker()
    for step in range(20):
        tracker.step([person(0.1 + 0.02 * step)], step / 4)
    (track,) = tracker.tracks
    assert track.hits == 20
    assert track.moved


@pytest.mark.parametrize("speed", [0.02, 0.06, 0.1])
def test_a_fast_thing_is_one_track_although_its_boxes_hardly_overlap(speed: float) -> None:
    tracker = Tracker()
    steps = int(0.85 / speed)
    for step in range(steps):
        tracker.step([Detection(CAR, 0.8, BoxF(speed * step, 0.5, 0.12, 0.1))], step / 4)
    assert [track.hits for track in tracker.tracks] == [steps]


def test_a_short_occlusion_does_not_break_it() -> None:
    tracker = Tracker()
    for step in range(30):
        hidden = 12 <= step < 17  # 1.25 s behind a tree
        tracker.step([] if hidden else [person(0.1 + 0.02 * step)], step / 4)
        for track in tracker.tracks:
            track.confirmed = True
    (track,) = tracker.tracks
    assert track.number == 1
    assert track.hits == 25


def test_a_weak_detection_carries_a_track_on_but_begins_none() -> None:
    tracker = Tracker()
    tracker.step([person(0.5, score=0.2)], 0.0)
    assert tracker.tracks == []
    tracker.step([person(0.5)], 0.25)
    for step in range(2, 8):
        tracker.step([person(0.5 + 0.01 * step, score=0.2)], step / 4)
    (track,) = tracker.tracks
    assert track.hits == 7


def test_two_who_cross_keep_their_tracks() -> None:
    tracker = Tracker()
    for step in range(24):
        tracker.step([person(0.1 + 0.03 * step, 0.40), person(0.79 - 0.03 * step, 0.44)], step / 4)
    first, second = sorted(tracker.tracks, key=lambda t: t.number)
    assert (first.hits, second.hits) == (24, 24)
    assert first.box.cx > 0.7
    assert second.box.cx < 0.2


def test_the_class_is_what_most_of_the_score_says() -> None:
    tracker = Tracker()
    for step in range(10):
        name, score = (TRUCK, 0.5) if step in {0, 4} else (CAR, 0.8)
        tracker.step([Detection(name, score, BoxF(0.2 + 0.02 * step, 0.5, 0.2, 0.15))], step / 4)
    (track,) = tracker.tracks
    assert track.object_class is CAR


def test_a_person_never_becomes_a_cow() -> None:
    tracker = Tracker()
    tracker.step([person(0.5)], 0.0)
    tracker.step([Detection(COW, 0.9, BoxF(0.5, 0.4, 0.05, 0.25))], 0.25)
    assert {track.object_class for track in tracker.tracks} == {PERSON, COW}


def test_jitter_of_a_parked_car_is_not_movement() -> None:
    tracker = Tracker()
    for step in range(200):
        wobble = 0.006 * ((step * 7919) % 11 - 5) / 5
        tracker.step([Detection(CAR, 0.8, BoxF(0.4 + wobble, 0.5 - wobble, 0.2 + wobble, 0.15))], step / 4)
    (track,) = tracker.tracks
    assert not track.moved


def test_tracks_are_bounded() -> None:
    tracker = Tracker(TrackerLimits(max_tracks=5))
    tracker.step([person(0.09 * i, w=0.02) for i in range(10)], 0.0)
    assert len(tracker.tracks) == 5


def test_time_that_stands_still_or_goes_back_is_borne() -> None:
    tracker = Tracker()
    for at in (10.0, 10.0, 9.0, 9.25):
        tracker.step([person(0.5)], at)
    assert tracker.tracks[0].hits == 4


# --- scenery -----------------------------------------------------------------------------------------------------------


def parked(x: float = 0.4, score: float = 0.8) -> Detection:
    return Detection(CAR, score, BoxF(x, 0.5, 0.2, 0.15))


def test_a_parked_car_is_scenery_and_one_that_passes_is_not() -> None:
    scenery = Scenery()
    scenery.add(parked())
    passing = parked(0.55)
    assert scenery.remove_from([parked(0.405), passing]) == [passing]


def test_a_person_where_a_car_is_parked_is_seen() -> None:
    scenery = Scenery()
    scenery.add(parked())
    someone = Detection(PERSON, 0.8, parked().box)
    assert scenery.remove_from([someone]) == [someone]


def test_each_piece_of_scenery_hides_one_thing() -> None:
    scenery = Scenery()
    scenery.add(parked())
    assert len(scenery.remove_from([parked(0.4), parked(0.42)])) == 1


def test_what_drives_off_leaves_the_scenery_at_once() -> None:
    scenery = Scenery()
    scenery.add(parked())
    assert [len(scenery.remove_from([parked(0.4 + 0.01 * step)])) for step in (0, 2, 8, 12)] == [0, 0, 1, 1]


def test_scenery_that_is_gone_is_forgotten() -> None:
    scenery = Scenery()
    scenery.add(parked())
    for _ in range(FORGET_AFTER_MISSES):
        scenery.remove_from([])
    assert scenery.pieces == []


def test_a_bin_that_looks_a_little_like_a_person_becomes_scenery() -> None:
    scenery = Scenery()
    for _ in range(DOUBTS_UNTIL_SCENERY):
        assert scenery.remove_from([person(0.1, score=0.3)])
        scenery.doubt(person(0.1, score=0.3))
    assert scenery.remove_from([person(0.1, score=0.7)]) == []
