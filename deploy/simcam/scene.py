"""A moving village without footage: pictures that ship with `ultralytics`, panned over a drawn background.

The pictures stay whole (people, a bus), only moved and scaled, so that a detector trained on photographs finds what is in
them. Quiet spells between the passages let motion gates close and tracks end.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from deploy.simcam.clips import Picture

SIZE = (1280, 720)
FPS = Fraction(12)
ROUND_S = 60
NAMES = ("bus.jpg", "zidane.jpg")
PICTURES_FOLDER = "ultralytics-pictures"
FEATHER_PX = 24
INSTALL_S = 300


class PicturesMissing(Exception):
    """The two photographs are nowhere to be had."""


@dataclass(frozen=True)
class Passage:
    """Part of a picture that crosses the view. `part`: x0, y0, x1, y1 in fractions of the picture; `path` in pixels of
    the view: where the part's top left corner begins and ends."""

    picture: str
    start_s: float
    end_s: float
    part: tuple[float, float, float, float]
    height_px: int
    path: tuple[tuple[int, int], tuple[int, int]]


PASSAGES = (
    Passage("bus.jpg", 4, 18, (0.0, 0.18, 1.0, 0.92), 560, ((-520, 130), (1240, 150))),
    Passage("zidane.jpg", 24, 36, (0.0, 0.0, 1.0, 1.0), 430, ((1290, 200), (-770, 220))),
    Passage("bus.jpg", 42, 54, (0.03, 0.34, 0.34, 0.88), 520, ((1290, 170), (-220, 170))),
)


def load_pictures(cache: Path, progress: Callable[[str], None] = lambda _: None) -> dict[str, Picture]:
    """The photographs as RGB, from an installed `ultralytics`, else from one fetched into `cache` without its dependencies.

    Raises:
        PicturesMissing: neither worked; the message says what to do.
    """
    folder = _assets_of_installed() or _assets_in(cache / PICTURES_FOLDER)
    if folder is None:
        progress("fetching the ultralytics package for its two photographs (without torch)")
        folder = fetch(cache / PICTURES_FOLDER)
    out = {}
    for name in NAMES:
        read = cv2.imread(str(folder / name))
        if read is None:
            raise PicturesMissing(f"{folder / name} is not a readable picture")
        out[name] = np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)
    return out


def _assets_of_installed() -> Path | None:
    spec = importlib.util.find_spec("ultralytics")  # finds the package without importing it (and torch)
    if spec is None or not spec.submodule_search_locations:
        return None
    return _assets_in(Path(next(iter(spec.submodule_search_locations))).parent)


def _assets_in(target: Path) -> Path | None:
    folder = target / "ultralytics" / "assets"
    return folder if all((folder / name).is_file() for name in NAMES) else None


def fetch(target: Path) -> Path:
    """Brings the package without its dependencies into `target`; its assets' folder.

    Raises:
        PicturesMissing: it is not to be had from here.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), "ultralytics"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        trouble = done.stderr.strip()[-300:]
    except (OSError, subprocess.TimeoutExpired) as error:
        trouble = str(error)
    folder = _assets_in(target)
    if folder is None:
        raise PicturesMissing(
            "the rendered scene needs the pictures of the ultralytics package, which is not installed and could not be "
            f"fetched ({trouble}). Install it (pip install --no-deps ultralytics), or give footage: --footage DIR"
        )
    return folder


def pictures(photographs: dict[str, Picture]) -> Iterator[Picture]:
    """One round of ROUND_S seconds at FPS, RGB, 1280×720."""
    ground = village_background()
    cut = {passage: _part(photographs[passage.picture], passage) for passage in PASSAGES}
    for number in range(int(ROUND_S * FPS)):
        at_s = float(number / FPS)
        view = ground.copy()
        for passage, (part, weight) in cut.items():
            if passage.start_s <= at_s < passage.end_s:
                done = (at_s - passage.start_s) / (passage.end_s - passage.start_s)
                (x0, y0), (x1, y1) = passage.path
                _paste(view, part, weight, round(x0 + (x1 - x0) * done), round(y0 + (y1 - y0) * done))
        yield view


def _part(photograph: Picture, passage: Passage) -> tuple[Picture, npt.NDArray[np.float32]]:
    height, width = photograph.shape[:2]
    x0, y0, x1, y1 = passage.part
    part = photograph[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)]
    scale = passage.height_px / part.shape[0]
    size = (int(part.shape[1] * scale), passage.height_px)
    small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows = np.minimum(np.arange(size[1]), np.arange(size[1])[::-1]) / FEATHER_PX
    columns = np.minimum(np.arange(size[0]), np.arange(size[0])[::-1]) / FEATHER_PX
    weight = np.clip(np.minimum(rows[:, None], columns[None, :]), 0, 1).astype(np.float32)[:, :, None]
    return small, weight


def _paste(view: Picture, part: Picture, weight: npt.NDArray[np.float32], x: int, y: int) -> None:
    left, top = max(0, x), max(0, y)
    right, bottom = min(view.shape[1], x + part.shape[1]), min(view.shape[0], y + part.shape[0])
    if right <= left or bottom <= top:
        return
    inside = np.s_[top - y : bottom - y, left - x : right - x]
    target = view[top:bottom, left:right]
    target[:] = (part[inside] * weight[inside] + target * (1 - weight[inside])).astype(np.uint8)


def village_background() -> Picture:
    """Hills, a few houses, terraces and a road, in RGB."""
    width, height = SIZE
    view = np.zeros((height, width, 3), np.uint8)
    for row in range(height // 2):
        shade = row / (height / 2)
        view[row] = (150 + 60 * shade, 185 + 35 * shade, 215 + 15 * shade)
    view[height // 2 :] = (122, 142, 92)
    for centre, reach, tall, colour in (
        (200, 330, 190, (88, 118, 96)),
        (640, 420, 240, (78, 108, 92)),
        (1080, 360, 210, (92, 122, 98)),
    ):
        hill = np.array(
            [
                [centre - reach, 370],
                [centre - reach // 3, 370 - tall],
                [centre + reach // 4, 380 - tall],
                [centre + reach, 370],
            ]
        )
        cv2.fillPoly(view, [hill.astype(np.int32)], colour)
    for x, y, wide in ((90, 300, 150), (300, 280, 120), (900, 290, 160), (1120, 305, 110)):
        cv2.rectangle(view, (x, y), (x + wide, y + 90), (205, 196, 180), -1)
        roof = np.array([[x - 12, y], [x + wide // 2, y - 42], [x + wide + 12, y]], np.int32)
        cv2.fillPoly(view, [roof], (92, 84, 80))
        cv2.rectangle(view, (x + wide // 2 - 12, y + 45), (x + wide // 2 + 12, y + 90), (110, 82, 58), -1)
    for row in range(420, 540, 24):
        cv2.line(view, (0, row), (width, row + 10), (104, 126, 78), 3)
    cv2.rectangle(view, (0, 560), (width, height), (128, 124, 118), -1)
    for x in range(0, width, 120):
        cv2.rectangle(view, (x, 636), (x + 60, 644), (214, 210, 198), -1)
    return np.asarray(cv2.GaussianBlur(view, (3, 3), 0), np.uint8)
