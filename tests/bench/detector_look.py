"""Draws what analytics sees on every footage file, to be looked at: `python -m tests.bench.detector_look [NAME…]`.

Contact sheets go to `.work/look/NAME.jpg` (grey: detection, yellow: track not confirmed, green: confirmed), and one JSON
line per file to stdout: frames, gate pass rate, sightings by class with their spans and colours.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np

from edge_agent.analytics.boxes import BoxF, Image
from edge_agent.analytics.detector import open_detector
from edge_agent.analytics.watch import CameraWatch, Seen
from models.wire.base import ClockReading
from models.wire.downlink import AnalyticsWish
from models.wire.uplink import SightingSeen
from tests.detector_material import ROOT, footage_dir, shots, weights_of

CAMERA = UUID(int=1)
START_S = 1_800_000_000.0
GREY, YELLOW, GREEN = (160, 160, 160), (0, 220, 255), (80, 255, 80)


def _draw(image: Image, box: BoxF, colour: tuple[int, int, int], text: str, thick: int) -> None:
    x1, y1, x2, y2 = box.pixels(image.shape[1], image.shape[0])
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thick)
    cv2.putText(image, text, (x1, max(10, y1 - 3)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)


def _drawn(image: Image, watch: CameraWatch, seen: Seen, at_s: float) -> Image:
    picture = image.copy()
    for detection in seen.detections:
        _draw(picture, detection.box, GREY, f"{detection.object_class.value} {detection.score:.2f}", 1)
    for track in watch.tracks:
        if track.misses == 0:
            colour = GREEN if track.confirmed else YELLOW
            _draw(
                picture, track.box, colour, f"#{track.number} {track.object_class.value}", 2 if track.confirmed else 1
            )
    cv2.putText(picture, f"{at_s:.1f}s {'open' if seen.gate_open else 'closed'}", (6, 14), 0, 0.45, (255, 255, 255), 1)
    return picture


def _sheet(pictures: list[Image], columns: int = 3) -> Image:
    height, width = pictures[0].shape[:2]
    blank = np.zeros((height, width, 3), np.uint8)
    padded = pictures + [blank] * (-len(pictures) % columns)
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    return np.asarray(np.vstack(rows), dtype=np.uint8)


def _summary(finals: list[SightingSeen]) -> list[dict[str, Any]]:
    return [
        {
            "class": s.object_class.value,
            "span_s": [round(s.start_at.timestamp() - START_S, 1), round(s.end_at.timestamp() - START_S, 1)],
            "score": round(s.best_score, 2),
            "best_box": [s.best_box.x, s.best_box.y, s.best_box.w, s.best_box.h],
            "points": len(s.trajectory),
            "revisions": s.revision,
            "picture_kb": round(len(s.picture or b"") / 1024),
            "colours": [f"{c.part.value}:{c.colour.value}:{c.share:.2f}" for c in s.colours],
        }
        for s in finals
    ]


def look(path: Path, fps: float, pictures: int = 12, out: Path = ROOT / ".work" / "look") -> dict[str, Any]:
    """Runs one file through a `CameraWatch` and writes its contact sheet."""
    manifest, weights = weights_of("yolo11n")
    watch = CameraWatch(CAMERA, open_detector(manifest, weights), lambda _: ClockReading(), AnalyticsWish(max_fps=fps))
    said: list[SightingSeen] = []
    frames, opened, events, drawn = 0, 0, 0, []
    began = time.process_time()
    for shot in shots(path, fps):
        seen = watch.look(shot.image, START_S + shot.at_s)
        frames, opened, events = frames + 1, opened + seen.gate_open, events + len(seen.events)
        said.extend(seen.sightings)
        drawn.append((len(seen.detections) + 3 * len(watch.tracks), _drawn(shot.image, watch, seen, shot.at_s)))
    cpu_s = time.process_time() - began
    end = watch.finish(START_S + shot.at_s)
    said.extend(end.sightings)
    events += len(end.events)
    finals = [s for s in said if s.final]
    # One picture from each stretch of the file: the fullest.
    stretches = np.array_split(np.arange(len(drawn)), min(pictures, len(drawn)))
    chosen = [drawn[max(stretch, key=lambda i: drawn[i][0])][1] for stretch in stretches]
    out.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out / f"{path.stem}.jpg"), _sheet(chosen), [cv2.IMWRITE_JPEG_QUALITY, 80])
    for index, sighting in enumerate(finals):
        if sighting.picture:
            (out / f"{path.stem}-{index:02d}-{sighting.object_class.value}.jpg").write_bytes(sighting.picture)
    return {
        "file": path.name,
        "frames": frames,
        "gate_pass_rate": round(opened / frames, 3),
        "cpu_ms_per_frame": round(cpu_s / frames * 1000, 1),
        "messages": len(said),
        "events": events,
        "by_class": dict(Counter(s.object_class.value for s in finals)),
        "sightings": _summary(finals),
    }


def main() -> None:
    """All files of the footage, or those whose names begin with an argument."""
    folder = footage_dir()
    if folder is None:
        raise SystemExit("no footage: set QIANSHAO_FOOTAGE")
    for path in sorted(p for p in folder.iterdir() if p.suffix in {".mp4", ".avi"}):
        if len(sys.argv) == 1 or path.name.startswith(tuple(sys.argv[1:])):
            print(json.dumps(look(path, fps=4.0)), flush=True)


if __name__ == "__main__":
    main()
