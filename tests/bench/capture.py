"""`make bench NAME=capture`: what recording by remux costs, and how long a clip takes to cut; one JSON object as its last line.

The cameras (1080p25, simulated, in a process of their own) send one drawn film (`received_mbit_s`). The recorder runs in a
process of its own as well, without analytics: its CPU time and memory are all that is counted.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import av
import numpy as np
import psutil

from deploy.simcam.config import CameraConfig, SiteConfig, StreamSpec
from deploy.simcam.process import SiteProcess, start_site
from edge_agent.capture.port import CameraSource, FoundGap, Frame
from edge_agent.capture.service import Capture
from models.vocabulary import CameraState
from models.wire.base import ClockReading

COUNTS = (1, 8)
SIZE = (1920, 1080)
FPS = 25
KBPS = 4000
FILM_S = 8
SETTLE_S = 6.0
MEASURE_S = 30.0
CUT_S = 20.0
CUTS = 7
# Figures of others on a machine like this: shared notes of the project, % of one core and MiB.
PEERS = {
    "pyav_segments": {"1": {"cpu_percent": 1.37, "rss_mib": 44}, "8": {"cpu_percent": 9.1}},
    "ffmpeg_copy_segment": {"1": {"cpu_percent": 1.43, "rss_mib": 63}},
}


class NoFrames:
    """Nobody looks."""

    def offer(self, frame: Frame) -> None:
        """Not called: `analyse` is off."""


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def draw_film(path: Path) -> None:
    """Grain that drifts: as hard to compress as a street."""
    width, height = SIZE
    grain = np.random.default_rng(1).integers(60, 200, (height // 8 + 64, width // 8 + 64), np.uint8)
    ground = np.kron(grain, np.ones((8, 8), np.uint8))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(FILM_S * FPS):
            grey = ground[number : number + height, 2 * number % 400 : 2 * number % 400 + width]
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[:, :, None], 3, axis=2), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def site_of(film: Path, count: int, cache: Path) -> SiteProcess:
    """So many cameras that all show the film."""
    main = StreamSpec(*SIZE, Fraction(FPS), KBPS)
    cameras = tuple(CameraConfig(f"bench {number}", film, main=main) for number in range(count))
    return start_site(SiteConfig(cameras, cache_dir=cache))


def until(condition: Callable[[], bool], within_s: float) -> None:
    """Polls until it holds."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the cameras do not come")
        time.sleep(0.1)


def record(folder: Path, login: dict[str, str], urls: list[str]) -> dict[str, Any]:
    """Records all `urls` and measures this process."""
    found: list[FoundGap] = []

    def on_gap(gap: FoundGap) -> bool:
        found.append(gap)
        return True

    capture = Capture(folder, NoFrames(), on_gap, lambda _: ClockReading())
    sources = [CameraSource(uuid4(), url, None, login["username"], login["password"], analyse=False) for url in urls]
    capture.apply(sources)
    try:
        until(lambda: all(capture.report(one.camera_id).state is CameraState.LIVE for one in sources), 40)
        time.sleep(SETTLE_S)
        me = psutil.Process()
        cpu_began, began, io_began = time.process_time(), time.monotonic(), me.io_counters().write_bytes
        time.sleep(MEASURE_S)
        cpu_s, wall_s = time.process_time() - cpu_began, time.monotonic() - began
        memory = me.memory_full_info()
        written = me.io_counters().write_bytes - io_began
        reports = [capture.report(one.camera_id) for one in sources]
        return {
            "cameras": len(urls),
            "cpu_percent": round(cpu_s / wall_s * 100, 2),
            "cpu_percent_per_camera": round(cpu_s / wall_s * 100 / len(urls), 2),
            "rss_mib": round(memory.rss / 2**20, 1),
            "uss_mib": round(memory.uss / 2**20, 1),
            "written_mbit_s": round(written * 8 / wall_s / 1e6, 2),
            "received_mbit_s": round(sum(one.bitrate_kbps for one in reports) / 1000, 2),
            "fps_measured": [one.main.fps_measured for one in reports if one.main],
            "gaps": len(found),
            "cut": cut_times(capture, sources[0].camera_id, folder),
        }
    finally:
        capture.close()


def cut_times(capture: Capture, camera_id: UUID, folder: Path) -> dict[str, float]:
    """Milliseconds to cut 20 s, while recording goes on. `first_ms` has its imports and caches to warm."""
    report = capture.report(camera_id)
    if report.last_segment_at is None:
        raise TimeoutError("nothing was recorded")
    end = report.last_segment_at
    took_ms, size = [], 0
    for number in range(CUTS):
        began = time.perf_counter()
        clip = capture.cut(camera_id, end - timedelta(seconds=CUT_S), end, folder / f"cut-{number}.mp4")
        took_ms.append((time.perf_counter() - began) * 1000)
        size = clip.path.stat().st_size
    return {
        "seconds": CUT_S,
        "clip_mib": round(size / 2**20, 2),
        "first_ms": round(took_ms[0], 1),
        "p50_ms": round(statistics.median(took_ms), 1),
        "max_ms": round(max(took_ms), 1),
    }


def measured(count: int, site: SiteProcess, folder: Path) -> dict[str, Any]:
    """One run in a fresh process."""
    urls = [camera["rtsp"] for camera in site.cameras[:count]]
    asked = {"username": site.config.username, "password": site.config.password, "urls": urls, "folder": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.capture", "record"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Runs the bench; with `record`, one run of it, told on standard input what to record."""
    if sys.argv[1:] == ["record"]:
        asked = json.load(sys.stdin)
        print(json.dumps(record(Path(asked["folder"]), asked, asked["urls"])))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _note("drawing and encoding the film …")
        draw_film(folder / "film.mp4")
        result: dict[str, Any] = {"bench": "capture", "size": f"{SIZE[0]}x{SIZE[1]}", "fps": FPS, "recording": {}}
        with site_of(folder / "film.mp4", max(COUNTS), folder / "cache") as site:
            for count in COUNTS:
                _note(f"recording {count} …")
                result["recording"][str(count)] = measured(count, site, folder / f"run-{count}")
        result["peers"] = PEERS
    print(json.dumps(result))


if __name__ == "__main__":
    main()
