"""The motion gate opens for what moves, and not for light, rain or what merely stands there."""

import numpy as np
import numpy.typing as npt
import pytest

from edge_agent.analytics.boxes import BoxF, Image
from edge_agent.analytics.motion import MotionGate, MotionLimits, MotionView

FPS = 4.0
NOISE = np.random.default_rng(99).standard_normal((360, 640)).astype(np.float32)


def scene(seed: int = 1) -> npt.NDArray[np.float32]:
    """A still, textured yard, 640×360."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 150, (18, 32)).astype(np.float32)
    return np.kron(coarse, np.ones((20, 20), np.float32))


def picture(base: npt.NDArray[np.float32], noise: float = 2.0, seed: int = 0, gain: float = 1.0) -> Image:
    rng = np.random.default_rng(seed)
    field = np.roll(NOISE, tuple(int(v) for v in rng.integers(0, 300, 2)), axis=(0, 1))  # cheaper than fresh noise
    grey = np.clip(base * gain + noise * field, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))


def with_walker(
    base: npt.NDArray[np.float32], x: int, y: int = 150, w: int = 30, h: int = 90
) -> npt.NDArray[np.float32]:
    changed = base.copy()
    changed[y : y + h, max(0, x) : max(0, x + w)] = 20
    return changed


class Feed:
    """A gate fed at 4 fps."""

    def __init__(self) -> None:
        self.gate = MotionGate(MotionLimits(idle_look_s=1e9))
        self.index = 0

    def show(self, image: Image, tracking: bool = False) -> MotionView:
        self.index += 1
        return self.gate.look(image, self.index / FPS, tracking)

    def settle(self, base: npt.NDArray[np.float32], seconds: float = 10.0, noise: float = 2.0) -> list[MotionView]:
        return [self.show(picture(base, noise, seed=self.index)) for _ in range(int(seconds * FPS))]


def test_a_still_scene_closes_the_gate() -> None:
    views = Feed().settle(scene(), 20)
    assert views[0].open  # at first everything is looked at
    assert not any(view.open for view in views[10:])


def test_a_walker_opens_it_within_two_frames_and_it_stays_open_for_the_hold_time() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    walk = [feed.show(picture(with_walker(base, 100 + 12 * step), seed=step)) for step in range(8)]
    assert any(view.open for view in walk[:2])
    assert all(view.open for view in walk[2:])
    after = feed.settle(base, 10)
    assert all(view.open for view in after[: int(2.5 * FPS)])
    assert not after[-1].open


def test_a_distant_walker_opens_it_too() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    walk = [feed.show(picture(with_walker(base, 300 + 6 * step, y=60, w=12, h=32), seed=step)) for step in range(8)]
    assert any(view.open for view in walk[:4])


def test_it_tells_where_something_moves() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    view = feed.show(picture(with_walker(base, 320)))
    assert view.share_in(BoxF(320 / 640, 150 / 360, 30 / 640, 90 / 360)) > 0.7
    assert view.share_in(BoxF(0.05, 0.1, 0.1, 0.2)) < 0.02


def test_it_stays_open_while_something_is_tracked() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    assert feed.show(picture(base), tracking=True).open
    assert not feed.show(picture(base)).open


@pytest.mark.parametrize("gain", [0.55, 0.75, 1.35])
def test_a_sudden_change_of_light_does_not_open_it_for_long(gain: float) -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    views = [feed.show(picture(base, seed=step, gain=gain)) for step in range(40)]
    assert sum(view.open for view in views) <= 4 * FPS
    assert not views[-1].open


def test_a_slow_change_of_light_does_not_open_it() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    views = [feed.show(picture(base, seed=step, gain=1.0 - 0.4 * step / 240)) for step in range(240)]
    assert sum(view.open for view in views) <= 0.1 * len(views)


def test_rain_does_not_keep_it_open() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    rng = np.random.default_rng(7)
    opened = []
    for step in range(160):
        wet = base.copy()
        for _ in range(60):  # bright streaks, one pixel wide
            x, y = int(rng.integers(0, 639)), int(rng.integers(0, 330))
            wet[y : y + int(rng.integers(8, 25)), x] = 235
        opened.append(feed.show(picture(wet, noise=5.0, seed=step)).open)
    assert sum(opened[20:]) <= 0.1 * len(opened[20:])


def test_noise_of_a_dark_night_does_not_keep_it_open() -> None:
    views = Feed().settle(scene() * 0.15, 30, noise=14.0)
    assert sum(view.open for view in views[20:]) <= 0.05 * len(views)


def test_what_was_put_down_and_stays_does_not_keep_it_open() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    box = with_walker(base, 200, w=80, h=60)
    views = [feed.show(picture(box, seed=step)) for step in range(60)]
    assert views[0].open
    assert not any(view.open for view in views[int(5 * FPS) :])


def test_it_looks_round_now_and_then_even_when_nothing_moves() -> None:
    gate = MotionGate(MotionLimits(idle_look_s=10.0))
    opened = [gate.look(picture(scene(), seed=i), i / FPS).open for i in range(int(45 * FPS))]
    assert 3 <= sum(opened[20:]) <= 5


def test_a_clock_set_back_or_another_picture_size_begins_anew() -> None:
    feed, base = Feed(), scene()
    feed.settle(base)
    assert feed.gate.look(picture(base), -3600.0).open
    assert feed.gate.look(np.zeros((480, 640, 3), np.uint8), -3599.0).open


def test_in_the_dark_a_walker_of_little_contrast_opens_it() -> None:
    feed, base = Feed(), scene() * 0.15
    feed.settle(base, noise=1.0)
    walk = []
    for step in range(8):
        dark = base.copy()
        dark[150:240, 100 + 12 * step : 130 + 12 * step] = 26.0
        walk.append(feed.show(picture(dark, noise=1.0, seed=step)).open)
    assert any(walk[:3])
