"""`python -m tests.bench.detector`: what analytics costs, one JSON object as its last line.

Times of a forward pass with everything around it (letterbox, decode) per runtime, and for each footage file (or a rendered
still where there is none) the gate's pass rate and the CPU share of one camera at `FPS`.
"""

import importlib.util
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np

from edge_agent.analytics.boxes import Image
from edge_agent.analytics.detector import Detector, RuntimeName, open_detector
from edge_agent.analytics.motion import MotionGate
from edge_agent.analytics.watch import CameraWatch
from edge_agent.errors import AgentError
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish
from tests.detector_material import asset, footage_dir, shots, weights_of

FPS = 4.0
SECONDS = 20.0
ROUNDS = 25
RUNTIMES: list[tuple[str, RuntimeName]] = [
    ("yolo11n", "openvino"),
    ("yolo11n", "onnxruntime"),
    ("yolov8n", "ultralytics"),
    ("yolo26n", "ultralytics"),
    ("yolox_nano", "openvino"),
]


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def runtime_ms(name: str, runtime: RuntimeName, image: Image) -> dict[str, float] | None:
    """Wall and CPU milliseconds per frame, one thread; None where the runtime or the weights are not to be had."""
    if importlib.util.find_spec(runtime) is None:
        return None
    try:
        manifest, path = weights_of(name)
        detector = open_detector(manifest, path, runtime, threads=1)
    except AgentError as error:
        _note(str(error))
        return None
    for _ in range(3):
        detector.detect(image)
    walls, cpu_began = [], time.process_time()
    for _ in range(ROUNDS):
        began = time.perf_counter()
        detector.detect(image)
        walls.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - cpu_began) * 1000 / ROUNDS
    return {
        "p50_ms": round(statistics.median(walls), 1),
        "p95_ms": round(sorted(walls)[int(0.95 * ROUNDS)], 1),
        "cpu_ms": round(cpu_ms, 1),
    }


def camera_cost(path: Path, detector: Detector) -> dict[str, Any]:
    """One camera at `FPS` over the first `SECONDS`: only analytics' own CPU, not the decoder's."""
    watch = CameraWatch(UUID(int=1), detector, lambda _: ClockReading(), AnalyticsWish(max_fps=FPS))
    gate = MotionGate()
    material = list(shots(path, FPS, seconds=SECONDS))
    began = time.process_time()
    for shot in material:
        gate.look(shot.image, shot.at_s)
    gate_ms = (time.process_time() - began) * 1000 / len(material)
    began, opened = time.process_time(), 0
    for shot in material:
        opened += watch.look(shot.image, 1_800_000_000.0 + shot.at_s).gate_open
    per_frame_ms = (time.process_time() - began) * 1000 / len(material)
    return {
        "frames": len(material),
        "gate_pass_rate": round(opened / len(material), 3),
        "gate_ms": round(gate_ms, 2),
        "ms_per_frame": round(per_frame_ms, 1),
        "cpu_percent_of_core": round(per_frame_ms * FPS / 10, 1),
    }


def main() -> None:
    """Measures and prints."""
    cv2.setNumThreads(1)
    image = asset("bus.jpg")
    street = np.asarray(cv2.resize(image, (640, 360)), dtype=np.uint8)
    result: dict[str, Any] = {
        "bench": "detector",
        "fps": FPS,
        "input": "384x640",
        "cores": os.cpu_count(),
        "runtimes": {},
    }
    for name, runtime in RUNTIMES:
        _note(f"{name} on {runtime}")
        result["runtimes"][f"{name}/{runtime}"] = runtime_ms(name, runtime, street)
    manifest, path = weights_of("yolo11n")
    detector = open_detector(manifest, path)
    folder = footage_dir()
    files = sorted(p for p in folder.iterdir() if p.suffix in {".mp4", ".avi"}) if folder else []
    result["cameras"] = {}
    for file in files:
        _note(file.name)
        result["cameras"][file.stem] = camera_cost(file, detector)
    costs = [c["cpu_percent_of_core"] for c in result["cameras"].values()]
    result["cpu_percent_of_core_per_camera_median"] = round(statistics.median(costs), 1) if costs else None
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
