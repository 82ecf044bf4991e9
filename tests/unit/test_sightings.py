"""Sightings: confirmed by time and movement, told in revisions, with the best picture, a short path and an event."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.analytics.boxes import BoxF, Detection, Image
from edge_agent.analytics.events import EventKeeper, EventLimits
from edge_agent.analytics.picture import PICTURE_TARGET_BYTES, BestPicture, jpeg, worth
from edge_agent.analytics.port import EventClosed
from edge_agent.analytics.trajectory import MAX_POINTS, Trajectory, wire_box
from edge_agent.analytics.watch import CameraWatch, WatchLimits
from models.vocabulary import ObjectClass
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish
from models.wire.uplink import PICTURE_MAX_BYTES, UPLINK, DetectorName, SightingSeen

CAMERA = UUID(int=7)
T0 = 1_800_000_000.0
BASE = datetime.fromtimestamp(T0, UTC)
FPS = 4.0


class Scripted:
    """A detector that reads the scene from the picture: coloured rectangles are things. Real pixels drive gate and tracker."""

    name = DetectorName(name="scripted", sha256="ab" * 32)

    def __init__(self) -> None:
        self.calls = 0
        self.things: list[Detection] = []

    def detect(self, image: Image) -> list[Detection]:
        self.calls += 1
        return list(self.things)


class Yard:
    """A yard with a camera: things are drawn into the picture and handed to the scripted detector."""

    def __init__(self, wish: AnalyticsWish | None = None, limits: WatchLimits | None = None) -> None:
        self.detector = Scripted()
        clock = ClockReading(offset_ms=250, uncertainty_ms=1010)
        self.watch = CameraWatch(CAMERA, self.detector, lambda _: clock, wish, limits)
        self.at = T0
        self.said: list[SightingSeen] = []
        self.events: list[EventClosed] = []
        rng = np.random.default_rng(5)
        self.ground = np.kron(rng.integers(90, 150, (18, 32, 3)), np.ones((20, 20, 1))).astype(np.uint8)

    def show(self, *things: Detection) -> None:
        image = self.ground.copy()
        for thing in things:
            x1, y1, x2, y2 = thing.box.pixels(640, 360)
            image[y1:y2, x1:x2] = (30, 30, 190)
        self.detector.things = list(things)
        seen = self.watch.look(image, self.at)
        self.said += seen.sightings
        self.events += seen.events
        self.at += 1 / FPS

    def quiet(self, seconds: float) -> None:
        for _ in range(int(seconds * FPS)):
            self.show()

    def finish(self) -> None:
        seen = self.watch.finish(self.at)
        self.said += seen.sightings
        self.events += seen.events


def walker(step: int, score: float = 0.8, speed: float = 0.02) -> Detection:
    return Detection(ObjectClass.PERSON, score, BoxF(0.1 + speed * step, 0.4, 0.06, 0.3))


def parked(x: float = 0.6) -> Detection:
    return Detection(ObjectClass.CAR, 0.9, BoxF(x, 0.5, 0.2, 0.15))


def test_a_walker_is_told_at_confirmation_while_it_grows_and_at_the_end() -> None:
    yard = Yard()
    yard.quiet(5)
    appeared = yard.at
    for step in range(30):
        yard.show(walker(step))
    yard.quiet(12)
    assert len({s.sighting_id for s in yard.said}) == 1
    assert [s.revision for s in yard.said] == list(range(1, len(yard.said) + 1))
    assert [s.final for s in yard.said] == [False] * (len(yard.said) - 1) + [True]
    assert 4 <= len(yard.said) <= 6  # 7.5 s: at confirmation, about every 2 s, at the end
    assert {s.start_at for s in yard.said} == {datetime.fromtimestamp(appeared, UTC)}
    first, last = yard.said[0], yard.said[-1]
    assert (first.end_at - first.start_at).total_seconds() <= 1.2
    assert last.end_at == datetime.fromtimestamp(appeared + 29 / FPS, UTC)
    assert last.clock == ClockReading(offset_ms=250, uncertainty_ms=1010)
    assert last.detector.name == "scripted"
    assert len({s.id for s in yard.said}) == len(yard.said)
    (event,) = yard.events
    assert event.sighting_ids == (last.sighting_id,)
    assert event.clip_id == last.clip_id
    assert (event.start_at, event.end_at) == (last.start_at, last.end_at)


def test_messages_are_valid_on_the_wire() -> None:
    yard = Yard()
    yard.quiet(5)
    for step in range(20):
        yard.show(walker(step))
    yard.finish()
    for said in yard.said:
        assert UPLINK.validate_json(said.model_dump_json()) == said


def test_the_first_and_the_last_message_carry_a_picture_of_the_thing() -> None:
    yard = Yard()
    yard.quiet(5)
    for step in range(30):
        yard.show(walker(step))
    yard.finish()
    assert yard.said[0].picture
    final = yard.said[-1]
    assert final.picture
    assert len(final.picture) <= PICTURE_TARGET_BYTES
    picture = cv2.imdecode(np.frombuffer(final.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    box = final.best_box
    middle = picture[int((box.y + box.h / 2) * picture.shape[0]), int((box.x + box.w / 2) * picture.shape[1])]
    assert middle[2] > 150 > middle[0]  # the red thing is where the box says
    assert final.colours[0].colour.value == "red"


def test_a_glimpse_is_no_sighting() -> None:
    yard = Yard()
    yard.quiet(5)
    for step in range(2):
        yard.show(walker(step))
    yard.quiet(5)
    yard.finish()
    assert yard.said == []
    assert yard.events == []


def test_flicker_here_and_there_is_no_sighting() -> None:
    yard = Yard()
    yard.quiet(5)
    for step in range(60):
        if step % 4 == 0:
            x = ((step * 7919) % 80) / 100
            yard.show(Detection(ObjectClass.BIRD, 0.6, BoxF(x, 0.1 + x / 2, 0.03, 0.03)))
        else:
            yard.show()
    yard.finish()
    assert yard.said == []


def test_a_car_parked_from_the_start_is_never_a_sighting_until_it_drives_off() -> None:
    yard = Yard()
    for _ in range(80):
        yard.show(parked())
    for step in range(20):  # somebody walks past: the gate opens, the car is looked at again and again
        yard.show(parked(), walker(step))
    for _ in range(40):
        yard.show(parked())
    assert {s.object_class for s in yard.said} == {ObjectClass.PERSON}
    for step in range(20):
        yard.show(parked(0.6 - 0.02 * step))
    yard.finish()
    assert {s.object_class for s in yard.said} == {ObjectClass.PERSON, ObjectClass.CAR}
    assert len({s.sighting_id for s in yard.said}) == 2


def test_a_car_that_comes_and_parks_is_one_sighting_that_ends() -> None:
    yard = Yard()
    yard.quiet(5)
    for step in range(20):
        yard.show(parked(0.02 * step))
    for _ in range(int(40 * FPS)):
        yard.show(parked(0.38))
    finals = [s for s in yard.said if s.final]
    assert [s.object_class for s in finals] == [ObjectClass.CAR]
    assert 15 <= (finals[0].end_at - finals[0].start_at).total_seconds() <= 30
    assert len(yard.events) == 1
    calls = yard.detector.calls
    for _ in range(int(20 * FPS)):
        yard.show(parked(0.38))
    assert yard.detector.calls - calls <= 12  # absorbed: the gate is closed again


def test_a_person_who_stands_waiting_is_one_sighting() -> None:
    yard = Yard()
    yard.quiet(5)
    for step in range(12):
        yard.show(walker(step))
    for _ in range(int(30 * FPS)):
        yard.show(walker(12))
    for step in range(12, 24):
        yard.show(walker(step))
    yard.finish()
    assert len({s.sighting_id for s in yard.said}) == 1
    assert (yard.said[-1].end_at - yard.said[-1].start_at).total_seconds() >= 34


def test_updates_grow_rarer_when_a_sighting_lasts() -> None:
    yard = Yard()
    for step in range(int(60 * FPS)):
        yard.show(Detection(ObjectClass.COW, 0.8, BoxF(0.2 + 0.25 * (1 + np.sin(step / 12)), 0.4, 0.15, 0.2)))
    yard.finish()
    assert len({s.sighting_id for s in yard.said}) == 1
    assert len(yard.said) <= 16


def test_only_the_classes_and_scores_that_are_wished_for() -> None:
    yard = Yard(AnalyticsWish(max_fps=FPS, classes=[ObjectClass.CAR], min_score=0.7))
    yard.quiet(5)
    for step in range(20):
        yard.show(walker(step), Detection(ObjectClass.CAR, 0.6, BoxF(0.9 - 0.03 * step, 0.7, 0.1, 0.1)))
    yard.finish()
    assert yard.said == []


def test_things_end_when_frames_stop() -> None:
    yard = Yard()
    yard.quiet(5)
    for step in range(10):
        yard.show(walker(step))
    seen = yard.watch.tick(yard.at + 3.0)
    assert [s.final for s in seen.sightings] == [True]
    assert yard.watch.tick(yard.at + 10.0).events


def test_a_closed_gate_spares_the_detector() -> None:
    yard = Yard()
    yard.quiet(25)
    assert yard.detector.calls <= 8


# --- path ---------------------------------------------------------------------------------------------------------------


def test_a_straight_path_needs_two_points() -> None:
    path = Trajectory()
    for i in range(20):
        path.add(i * 250, BoxF(0.02 * i, 0.4, 0.1, 0.2))
    assert [t for t, _ in path.points] == [0, 4750]


def test_a_turn_is_kept() -> None:
    path = Trajectory()
    for i in range(20):
        path.add(i * 250, BoxF(0.02 * i, 0.4 if i < 10 else 0.4 + 0.02 * (i - 9), 0.1, 0.2))
    assert 3 <= len(path.points) <= 5
    assert any(abs(t - 2250) <= 500 for t, _ in path.points[1:-1])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=900))
def test_any_path_is_bounded_rises_in_time_and_keeps_its_ends(places: list[tuple[float, float]]) -> None:
    path = Trajectory()
    for i, (x, y) in enumerate(places):
        path.add(i * 100, BoxF(x, y, 0.1, 0.1))
    times = [t for t, _ in path.points]
    assert len(times) <= MAX_POINTS
    assert times == sorted(set(times))
    assert (times[0], times[-1]) == (0, (len(places) - 1) * 100)
    assert len(path.wire()) == len(times)


@given(*(st.floats(-2, 3, allow_nan=False) for _ in range(4)))
def test_any_box_fits_the_wire(x: float, y: float, w: float, h: float) -> None:
    box = wire_box(BoxF(x, y, w, h))
    assert box.x + box.w <= 1 + 1e-9
    assert box.y + box.h <= 1 + 1e-9


# --- picture ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(360, 640), (1080, 1920), (2160, 3840)])
def test_even_noise_fits_into_the_limit(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    packed = jpeg(noise)
    assert len(packed) <= PICTURE_TARGET_BYTES < PICTURE_MAX_BYTES
    assert cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR) is not None


def test_large_and_whole_beats_sure_but_cut_off() -> None:
    whole = Detection(ObjectClass.CAR, 0.7, BoxF(0.3, 0.3, 0.3, 0.3))
    cut = Detection(ObjectClass.CAR, 0.9, BoxF(0.0, 0.3, 0.3, 0.3))
    small = Detection(ObjectClass.CAR, 0.9, BoxF(0.3, 0.3, 0.05, 0.05))
    assert worth(whole) > worth(cut) > worth(small)
    best = BestPicture.of(np.zeros((10, 10, 3), np.uint8), small, 0.0)
    assert best.beaten_by(whole)
    assert not BestPicture.of(np.zeros((10, 10, 3), np.uint8), whole, 0.0).beaten_by(cut)


# --- events -------------------------------------------------------------------------------------------------------------


def at(seconds: float) -> datetime:
    return BASE + timedelta(seconds=seconds)


def test_sightings_that_overlap_or_follow_soon_are_one_event() -> None:
    keeper = EventKeeper(CAMERA, EventLimits(quiet_s=5))
    first, second = uuid4(), uuid4()
    clip = keeper.join(first, at(0), at(1))
    keeper.seen(at(4))
    assert keeper.tick(at(8), []) == []
    assert keeper.join(second, at(7), at(8)) == clip
    keeper.seen(at(10))
    assert keeper.tick(at(14.9), []) == []
    (closed,) = keeper.tick(at(15), [])
    assert closed == EventClosed(clip, CAMERA, at(0), at(10), (first, second))
    assert keeper.tick(at(30), []) == []


def test_a_long_event_is_closed_and_continued_without_a_hole() -> None:
    keeper = EventKeeper(CAMERA, EventLimits(quiet_s=5, max_event_s=60))
    stays = uuid4()
    keeper.join(stays, at(0), at(1))
    closed: list[EventClosed] = []
    for second in range(1, 151):
        keeper.seen(at(second))
        closed += keeper.tick(at(second), [stays])
    closed += keeper.tick(at(160), [])
    assert [(c.start_at, c.end_at) for c in closed] == [(at(0), at(60)), (at(60), at(120)), (at(120), at(150))]
    assert len({c.clip_id for c in closed}) == 3
    assert all(c.sighting_ids == (stays,) for c in closed)


def test_a_crowd_is_split_before_a_message_grows_too_large() -> None:
    keeper = EventKeeper(CAMERA, EventLimits(max_sightings=10))
    closed: list[EventClosed] = []
    for i in range(25):
        keeper.join(uuid4(), at(i / 10), at(i / 10 + 1))
        closed += keeper.tick(at(i / 10 + 1), [])
    closed += keeper.flush()
    assert [len(c.sighting_ids) for c in closed] == [10, 10, 5]


def test_an_event_with_nothing_in_it_is_not_told() -> None:
    keeper = EventKeeper(CAMERA, EventLimits(max_event_s=60))
    assert keeper.flush() == []
    stays = uuid4()
    keeper.join(stays, at(0), at(60))
    assert len(keeper.tick(at(60), [stays])) == 1
    assert keeper.flush() == []  # the continuation, which nothing came of
