"""The analyst on real pictures with the real detector: what it finds, and that it never holds up capture."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache, partial
from uuid import UUID

import cv2
import numpy as np
import pytest

from edge_agent.analytics.boxes import Detection, Image
from edge_agent.analytics.detector import Detector, ModelDetector, open_detector
from edge_agent.analytics.port import EventClosed
from edge_agent.analytics.service import Analyst
from edge_agent.analytics.watch import CameraWatch
from edge_agent.capture.port import Frame
from models.vocabulary import Colour, ObjectClass
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish
from models.wire.uplink import DetectorName, SightingSeen
from tests.detector_material import Shot, asset, footage, shots, weights_of

T0 = 1_800_000_000.0
FPS = 4.0
FIRST, SECOND = UUID(int=1), UUID(int=2)


@cache
def real_detector() -> ModelDetector:
    manifest, path = weights_of("yolo11n")
    return open_detector(manifest, path)


def no_clock(_camera_id: UUID) -> ClockReading:
    return ClockReading()


def until(condition: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        pause.wait(0.002)


def frame(camera_id: UUID, image: Image, at_s: float) -> Frame:
    return Frame(camera_id, image, datetime.fromtimestamp(T0 + at_s, UTC))


class Desk:
    """An analyst and what it told."""

    def __init__(self, detector: Detector | None = None) -> None:
        self.said: list[SightingSeen] = []
        self.events: list[EventClosed] = []
        self.analyst = Analyst(detector or real_detector(), self.said.append, self.events.append, no_clock)

    def __enter__(self) -> "Desk":
        self.analyst.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.analyst.close()

    def play(self, camera_id: UUID, material: Iterator[Shot]) -> None:
        """Offers each frame when the one before has been looked at: the material is not paced by a camera."""
        for shot in material:
            done = self._done(camera_id)
            self.analyst.offer(frame(camera_id, shot.image, shot.at_s))
            until(partial(self._more_done, camera_id, done), "a frame looked at")

    def _done(self, camera_id: UUID) -> int:
        now = self.analyst.metrics(camera_id)
        return now.looked_at + now.passed_over

    def _more_done(self, camera_id: UUID, than: int) -> bool:
        return self._done(camera_id) > than

    def finals(self) -> list[SightingSeen]:
        return [s for s in self.said if s.final]


def rendered(seconds: float = 14.0) -> Iterator[Shot]:
    """An empty street; a person cut out of an asset picture walks through from left to right between 3 s and 11 s."""
    bus = asset("bus.jpg")
    person = cv2.resize(bus[390:915, 215:350], (44, 170), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(2)
    street = np.full((360, 640, 3), (150, 152, 150), np.uint8)
    street[:140] = (175, 165, 150)
    street[250:] = (110, 112, 112)
    for index in range(int(seconds * FPS)):
        at_s = index / FPS
        image = np.clip(street.astype(np.int16) + rng.normal(0, 2, street.shape), 0, 255).astype(np.uint8)
        if 3.0 <= at_s <= 11.0:
            x = int(20 + (at_s - 3.0) / 8.0 * 560)
            image[130:300, x : x + 44] = person
        yield Shot(image, at_s)


def test_a_rendered_walker_becomes_one_person_and_one_event() -> None:
    desk = Desk()
    with desk:
        desk.analyst.set_wish(FIRST, AnalyticsWish(max_fps=FPS))
        desk.play(FIRST, rendered())
    (walker,) = desk.finals()
    assert walker.object_class is ObjectClass.PERSON
    span = (walker.start_at.timestamp() - T0, walker.end_at.timestamp() - T0)
    assert span[0] == pytest.approx(3.0, abs=1.1)
    assert span[1] == pytest.approx(11.0, abs=1.1)
    assert walker.trajectory[0].box.x < 0.3
    assert walker.trajectory[-1].box.x > 0.6
    (event,) = desk.events
    assert event.sighting_ids == (walker.sighting_id,)
    metrics = desk.analyst.metrics(FIRST)
    assert metrics.gate_pass_rate < 1.0
    assert metrics.failed == 0
    assert metrics.detect_ms > 0


def test_the_parking_lot_shows_two_cars_and_three_people_on_foot_or_bicycle() -> None:
    path = footage("parking_person_bicycle_car_intel.mp4")
    if path is None:
        pytest.skip("no footage: set QIANSHAO_FOOTAGE")
    desk = Desk()
    with desk:
        desk.analyst.set_wish(FIRST, AnalyticsWish(max_fps=FPS))
        desk.play(FIRST, shots(path, FPS))
    finals = desk.finals()
    assert Counter(s.object_class for s in finals) == {
        ObjectClass.CAR: 2,
        ObjectClass.PERSON: 3,
        ObjectClass.BICYCLE: 2,
    }
    white_car = min((s for s in finals if s.object_class is ObjectClass.CAR), key=lambda s: s.start_at)
    assert white_car.colours[0].colour is Colour.WHITE
    assert len(desk.events) == 3
    named = {sighting_id for event in desk.events for sighting_id in event.sighting_ids}
    assert named == {s.sighting_id for s in finals}
    assert desk.analyst.metrics(FIRST).gate_pass_rate < 0.8


def test_a_dark_yard_shows_one_person_and_no_colours() -> None:
    path = footage("night_yard_person_1080p.mp4")
    if path is None:
        pytest.skip("no footage: set QIANSHAO_FOOTAGE")
    desk = Desk()
    with desk:
        desk.analyst.set_wish(FIRST, AnalyticsWish(max_fps=FPS))
        desk.play(FIRST, shots(path, FPS, seconds=10))
    (someone,) = desk.finals()
    assert someone.object_class is ObjectClass.PERSON
    assert someone.colours == []


def test_cars_from_above_raise_no_false_alarm() -> None:
    """The model does not know cars from straight above (it misses them); it must at least not invent people there."""
    path = footage("topdown_car_intel.mp4")
    if path is None:
        pytest.skip("no footage: set QIANSHAO_FOOTAGE")
    watch = CameraWatch(FIRST, real_detector(), no_clock, AnalyticsWish(max_fps=FPS))
    said = [s for shot in shots(path, FPS) for s in watch.look(shot.image, T0 + shot.at_s).sightings]
    assert not [s for s in said if s.object_class is not ObjectClass.CAR]


# --- the worker ---------------------------------------------------------------------------------------------------------


class Slow:
    """A detector that waits until it is let go, and notes whose pictures it saw (by their top left pixel)."""

    name = DetectorName(name="slow", sha256="cd" * 32)

    def __init__(self) -> None:
        self.go = threading.Event()
        self.seen: list[int] = []

    def detect(self, image: Image) -> list[Detection]:
        self.seen.append(int(image[0, 0, 0]))
        assert self.go.wait(20)
        return []


def marked(mark: int) -> Image:
    return np.full((90, 160, 3), mark, np.uint8)


def test_capture_is_never_held_up_and_the_latest_frame_counts() -> None:
    slow = Slow()
    desk = Desk(slow)
    with desk:
        desk.analyst.set_wish(FIRST, AnalyticsWish(max_fps=10))
        desk.analyst.offer(frame(FIRST, marked(1), 0.0))
        until(lambda: bool(slow.seen), "the first frame reaches the detector")
        began = time.perf_counter()
        for index in range(2, 202):
            desk.analyst.offer(frame(FIRST, marked(index), index / 10))
        assert time.perf_counter() - began < 0.5  # the detector hangs all this time
        slow.go.set()
        until(lambda: desk.analyst.metrics(FIRST).looked_at == 2, "the latest frame is looked at")
    assert slow.seen == [1, 201]
    metrics = desk.analyst.metrics(FIRST)
    assert (metrics.offered, metrics.dropped, metrics.looked_at) == (201, 199, 2)


def test_a_busy_camera_does_not_starve_a_quiet_one() -> None:
    slow = Slow()
    desk = Desk(slow)
    with desk:
        for camera_id in (FIRST, SECOND):
            desk.analyst.set_wish(camera_id, AnalyticsWish(max_fps=30))
        desk.analyst.offer(frame(FIRST, marked(1), 0.0))
        until(lambda: bool(slow.seen), "the worker is busy with the first")
        desk.analyst.offer(frame(FIRST, marked(1), 0.1))
        desk.analyst.offer(frame(SECOND, marked(2), 0.1))
        slow.go.set()
        until(lambda: desk.analyst.metrics().looked_at == 3, "all three are looked at")
    assert slow.seen == [1, 2, 1]


def test_frames_are_paced_by_their_own_time() -> None:
    slow = Slow()
    slow.go.set()
    desk = Desk(slow)
    with desk:
        desk.analyst.set_wish(FIRST, AnalyticsWish(max_fps=4))
        desk.play(FIRST, (Shot(marked(index % 200), index / 25) for index in range(100)))
    metrics = desk.analyst.metrics(FIRST)
    assert metrics.offered == 100
    assert 15 <= metrics.looked_at <= 17  # 4 s at 4 fps
    assert metrics.looked_at + metrics.passed_over == 100


def test_a_clock_that_was_set_back_does_not_stop_analytics() -> None:
    slow = Slow()
    slow.go.set()
    desk = Desk(slow)
    with desk:
        desk.analyst.set_wish(FIRST, AnalyticsWish(max_fps=4))
        desk.play(FIRST, (Shot(marked(9), at) for at in (0.0, 0.25, -3600.0, -3599.75)))
    assert desk.analyst.metrics(FIRST).looked_at == 4


def test_removing_or_switching_off_a_camera_ends_what_is_open_there() -> None:
    for end in ("remove", "disable", "close"):
        desk = Desk()
        with desk:
            desk.analyst.set_wish(FIRST, AnalyticsWish(max_fps=FPS))
            desk.play(FIRST, rendered(6.0))
            until(lambda desk=desk: bool(desk.said), "the walker is confirmed")  # type: ignore[misc]
            assert not desk.finals()
            if end == "remove":
                desk.analyst.remove(FIRST)
            elif end == "disable":
                desk.analyst.set_wish(FIRST, AnalyticsWish(enabled=False))
            if end != "close":
                until(lambda desk=desk: bool(desk.events), "the event is closed")  # type: ignore[misc]
                desk.analyst.offer(frame(FIRST, marked(1), 100.0))
                assert desk.analyst.metrics(FIRST).offered == 24
        assert [s.final for s in desk.said][-1]
        assert len(desk.events) == 1


def test_a_camera_without_a_wish_is_not_looked_at() -> None:
    desk = Desk()
    with desk:
        desk.analyst.offer(frame(FIRST, marked(1), 0.0))
    assert desk.analyst.metrics().offered == 0


def test_trouble_with_one_camera_does_not_end_the_others() -> None:
    told: list[SightingSeen] = []

    def full_disk(sighting: SightingSeen) -> None:
        if sighting.camera_id == FIRST:
            raise OSError("disk full")
        told.append(sighting)

    analyst = Analyst(real_detector(), full_disk, lambda _: None, no_clock)
    desk = Desk()
    desk.analyst = analyst
    with desk:
        for camera_id in (FIRST, SECOND):
            analyst.set_wish(camera_id, AnalyticsWish(max_fps=FPS))
            desk.play(camera_id, rendered(6.0))
        until(lambda: bool(told), "the second camera's sighting")
    assert analyst.metrics(FIRST).failed >= 1
    assert analyst.metrics(SECOND).failed == 0


def test_closing_twice_or_before_the_start_is_no_trouble() -> None:
    analyst = Analyst(real_detector(), lambda _: None, lambda _: None, no_clock)
    analyst.close()
    desk = Desk()
    with desk:
        desk.analyst.close()
