"""Pictures, footage and weights for tests and benches of analytics.

Footage: the folder that `QIANSHAO_FOOTAGE` names, else `shared/footage` beside the repository. Weights: the folder that
`QIANSHAO_WEIGHTS` names, else `shared/weights` beside the repository, else fetched by pip as the manifest says.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from edge_agent.analytics.boxes import Image
from edge_agent.analytics.weights import resolve_weights
from models.detectors.registry import Manifest, Registry

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"


def _folder(variable: str, name: str) -> Path | None:
    folder = Path(os.environ.get(variable) or ROOT.parent / "shared" / name)
    return folder if folder.is_dir() else None


def weights_dir() -> Path | None:
    """A folder with weights, if there is one."""
    return _folder("QIANSHAO_WEIGHTS", "weights")


def footage_dir() -> Path | None:
    """A folder with footage, if there is one."""
    return _folder("QIANSHAO_FOOTAGE", "footage")


def footage(name: str) -> Path | None:
    """One file of the footage, if it is there."""
    folder = footage_dir()
    return folder / name if folder and (folder / name).is_file() else None


def weights_of(name: str) -> tuple[Manifest, Path]:
    """A model's manifest and weights, fetched where needed."""
    manifest = Registry().manifest(name)
    return manifest, resolve_weights(manifest, weights_dir(), CACHE / "weights")


def asset(name: str) -> Image:
    """A picture that the ultralytics package ships (`bus.jpg`, `zidane.jpg`); its wheel is fetched when it is not installed."""
    spec = importlib.util.find_spec("ultralytics")
    if spec and spec.origin:
        path = Path(spec.origin).parent / "assets" / name
    else:
        target = CACHE / "ultralytics-assets"
        path = target / "ultralytics" / "assets" / name
        if not path.is_file():
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                str(target),
                "ultralytics",
            ]
            subprocess.run(command, check=True, timeout=300)
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True)
class Shot:
    """A decoded frame and its time in the file, in seconds."""

    image: Image
    at_s: float


def shots(path: Path, fps: float, width: int = 640, seconds: float | None = None) -> Iterator[Shot]:
    """Frames of a file at about `fps`, scaled down to `width` as a camera's sub-stream would be."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        due = 0.0
        for index, frame in enumerate(container.decode(stream)):
            rate = float(stream.average_rate or 25)
            at_s = float(frame.time) if frame.time is not None else index / rate
            if seconds is not None and at_s > seconds:
                return
            if at_s + 1e-6 < due:
                continue
            due = max(due + 1 / fps, at_s - 1 / fps)
            height = round(frame.height * min(1.0, width / frame.width) / 2) * 2
            small = frame.reformat(width=min(width, frame.width), height=height, format="bgr24")
            yield Shot(np.ascontiguousarray(small.to_ndarray()), at_s)
