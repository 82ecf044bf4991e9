"""Capture against simulated cameras: every second is on disk or explained, and nothing is encoded again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import av
import pytest

from deploy.simcam.config import PATTERN, CameraConfig, SiteConfig
from deploy.simcam.site import Site
from edge_agent.capture.index import RecordingIndex
from edge_agent.capture.port import CameraSource, FoundGap, Frame
from edge_agent.capture.reading import read_packets
from edge_agent.capture.service import Capture
from edge_agent.errors import AgentError
from models.vocabulary import CameraState, GapReason, StreamName
from models.wire.base import ClockReading
from models.wire.uplink import MissingSpan


class Frames:
    def __init__(self) -> None:
        self.seen: list[Frame] = []

    def offer(self, frame: Frame) -> None:
        self.seen.append(frame)


class Rig:
    """A site of one camera and a capture over a folder."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.camera_id: UUID = uuid4()
        self.frames = Frames()
        self.gaps: list[MissingSpan] = []
        self.gap_ids: list[UUID] = []
        self.capture = self.fresh()

    def fresh(self) -> Capture:
        return Capture(self.folder, self.frames, self.take_gap, lambda _: ClockReading())

    def take_gap(self, found: FoundGap) -> bool:
        self.gaps.append(found.span)
        self.gap_ids.append(found.id)
        return True

    def source(self, password: str = "simcam-password") -> CameraSource:
        camera = self.site.cameras[0]
        return CameraSource(self.camera_id, camera.main_url, camera.sub_url, "viewer", password)

    async def apply(self, *sources: CameraSource) -> None:
        await asyncio.to_thread(self.capture.apply, list(sources))

    def state(self) -> CameraState:
        return self.capture.report(self.camera_id).state


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.05)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Site(SiteConfig(cameras=(CameraConfig("yard", PATTERN),))) as site:
        made = Rig(site, tmp_path)
        yield made
        await asyncio.to_thread(made.capture.close)


async def recorded(rig: Rig, seconds: float) -> datetime:
    """Records until at least `seconds` are on disk; the recording's start."""
    await rig.apply(rig.source())

    def enough() -> bool:
        report = rig.capture.report(rig.camera_id)
        start, end = report.oldest_recording_at, report.last_segment_at
        return start is not None and end is not None and (end - start).total_seconds() >= seconds

    await until(enough, seconds + 20)
    start = rig.capture.report(rig.camera_id).oldest_recording_at
    assert start is not None
    return start


async def test_a_clip_is_the_cameras_own_bytes_on_a_wall_clock(rig: Rig) -> None:
    start = await recorded(rig, 6)
    path = rig.folder / "clip.mp4"
    asked = start + timedelta(seconds=2.5)
    clip = await asyncio.to_thread(rig.capture.cut, rig.camera_id, asked, start + timedelta(seconds=5), path)

    assert clip.start_at <= asked < clip.start_at + timedelta(seconds=2.1)  # widened to the key frame before
    assert abs((clip.end_at - start).total_seconds() - 5) < 0.3
    assert clip.gaps == []
    in_clip = [p.data for _, p in read_packets(path)]
    segments = sorted(rig.folder.glob("recordings/*/*/*.mp4*"))
    on_disk = [p.data for file in segments for _, p in read_packets(file)]
    first = on_disk.index(in_clip[0])
    assert in_clip == on_disk[first : first + len(in_clip)], "a clip holds what was recorded, byte for byte"
    with av.open(str(path)) as played:
        decoded = sum(1 for _ in played.decode(video=0))
    assert decoded == clip.media.frames == len(in_clip)
    assert path.read_bytes()[4:8] == b"ftyp"
    assert path.read_bytes().find(b"moov") < path.read_bytes().find(b"mdat"), "the index comes first"


async def test_what_is_not_on_disk_yet_or_never_was_is_said(rig: Rig) -> None:
    start = await recorded(rig, 2)
    now = datetime.now(UTC)
    with pytest.raises(AgentError, match=r"recording\.not_yet"):
        await asyncio.to_thread(rig.capture.cut, rig.camera_id, now, now + timedelta(seconds=5), rig.folder / "a.mp4")
    long_ago = start - timedelta(hours=1)
    with pytest.raises(AgentError, match=r"recording\.none"):
        await asyncio.to_thread(
            rig.capture.cut, rig.camera_id, long_ago, long_ago + timedelta(seconds=5), rig.folder / "b.mp4"
        )


async def test_a_dropped_connection_is_one_gap_with_a_reason_and_the_clip_crosses_it(rig: Rig) -> None:
    start = await recorded(rig, 3)
    await rig.site.fault(0, kind="drop", seconds=3)
    await until(lambda: len(rig.gaps) == 1, 30)
    gap = rig.gaps[0]
    assert gap.reason in {GapReason.CAMERA_OFFLINE, GapReason.STREAM_ERROR, GapReason.STREAM_STALLED}
    assert 1.5 < (gap.end_at - gap.start_at).total_seconds() < 15
    end = gap.end_at + timedelta(seconds=1)

    def reached() -> bool:
        last = rig.capture.report(rig.camera_id).last_segment_at
        return last is not None and last >= end

    await until(reached)
    clip = await asyncio.to_thread(rig.capture.cut, rig.camera_id, start, end, rig.folder / "c.mp4")
    assert [span.reason for span in clip.gaps] == [gap.reason]
    with av.open(str(rig.folder / "c.mp4")) as played:
        stream = played.streams.video[0]
        assert stream.time_base is not None
        times = [float(p.pts * stream.time_base) for p in played.demux(stream) if p.pts is not None]
    longest = max(b - a for a, b in pairwise(times))
    assert abs(longest - (gap.end_at - gap.start_at).total_seconds()) < 0.5, "a player's position stays a time of day"


async def test_a_wrong_password_is_told_apart_from_a_camera_that_is_away(rig: Rig) -> None:
    await rig.apply(rig.source(password="guess"))
    await until(lambda: rig.state() is CameraState.AUTH_FAILED)
    await rig.apply(rig.source())
    await until(lambda: rig.state() is CameraState.LIVE)


async def test_the_true_rate_is_measured_whatever_is_declared(rig: Rig) -> None:
    await rig.site.fault(0, kind="fps_lie", declared=5)
    await rig.apply(rig.source())
    true = float(rig.site.cameras[0].main.clip.fps)

    def measured() -> float | None:
        main = rig.capture.report(rig.camera_id).main
        return main.fps_measured if main else None

    await until(lambda: abs((measured() or 0) - true) < true * 0.15)


async def test_frames_for_analytics_come_at_the_asked_rate_with_true_times(rig: Rig) -> None:
    await rig.apply(rig.source())
    await until(lambda: len(rig.frames.seen) >= 15)
    times = [frame.at.timestamp() for frame in rig.frames.seen[-10:]]
    rate = (len(times) - 1) / (times[-1] - times[0])
    assert 3.5 < rate <= 5.6
    assert abs(time.time() - times[-1]) < 2
    assert rig.frames.seen[-1].image.ndim == 3


async def test_live_readers_begin_with_a_key_frame(rig: Rig) -> None:
    await rig.apply(rig.source())
    await until(lambda: rig.capture.report(rig.camera_id).sub is not None)
    reader = rig.capture.subscribe(rig.camera_id, StreamName.SUB, lambda: None)
    await until(lambda: (packet := reader.pop()) is not None and packet.is_keyframe, 5)
    assert reader.params.codec == "h264"
    await rig.apply()
    await until(lambda: reader.ended)
    with pytest.raises(AgentError, match=r"camera\.unknown"):
        rig.capture.subscribe(rig.camera_id, StreamName.SUB, lambda: None)


async def test_limits_let_the_oldest_go_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.capture.recorder.SEGMENT_S", 2.0)
    source = rig.source()
    small = source.limits.model_copy(update={"max_age_s": 4})
    await rig.apply(replace(source, limits=small))
    await until(lambda: len(list(rig.folder.glob("recordings/*/*/*.mp4"))) >= 2)
    first = min(rig.folder.glob("recordings/*/*/*.mp4"))
    await until(lambda: not first.exists())
    index = RecordingIndex(rig.folder / "recordings.sqlite")
    known = {row.path for row in index.oldest(rig.camera_id, 100)} | {row.path for row in index.in_state("open")}
    index.close()
    assert first.relative_to(rig.folder / "recordings").as_posix() not in known


_RECORD_UNTIL_KILLED = """
import os, sys, time
from pathlib import Path
from uuid import UUID
from edge_agent.capture.port import CameraSource
from edge_agent.capture.service import Capture
from models.wire.base import ClockReading
folder, camera, main, sub, mood = sys.argv[1:]
class Nothing:
    def offer(self, frame): pass
def on_gap(found):
    if mood == "dies":
        os.kill(os.getpid(), 9)
    return True
capture = Capture(Path(folder), Nothing(), on_gap, lambda _: ClockReading())
capture.apply([CameraSource(UUID(camera), main, sub, "viewer", "simcam-password")])
while True:
    time.sleep(1)
"""


def recording_child(rig: Rig, mood: str) -> "subprocess.Popen[bytes]":
    camera = rig.site.cameras[0]
    arguments = [str(rig.folder), str(rig.camera_id), camera.main_url, camera.sub_url, mood]
    return subprocess.Popen([sys.executable, "-c", _RECORD_UNTIL_KILLED, *arguments])


async def test_kill_9_loses_only_the_open_tail_and_the_gap_says_so(rig: Rig) -> None:
    await asyncio.to_thread(rig.capture.close)
    child = recording_child(rig, "lives")
    part: list[Path] = []

    def grown() -> bool:
        part[:] = rig.folder.glob("recordings/*/*/*.part")
        return bool(part) and part[0].stat().st_size > 0 and sum(1 for _ in read_packets(part[0])) > 60

    try:
        await until(grown)
        killed_at = time.time()
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    on_disk = sum(1 for _ in read_packets(part[0]))

    rig.capture = await asyncio.to_thread(rig.fresh)
    assert not list(rig.folder.glob("recordings/*/*/*.part"))
    report = rig.capture.report(rig.camera_id)
    assert report.last_segment_at is not None
    assert killed_at - report.last_segment_at.timestamp() < 2.5, "at most the open group of pictures is lost"
    index = RecordingIndex(rig.folder / "recordings.sqlite")
    assert [row.frames for row in index.oldest(rig.camera_id, 10)] == [on_disk]
    index.close()
    await rig.apply(rig.source())
    await until(lambda: len(rig.gaps) == 1)
    assert rig.gaps[0].reason is GapReason.AGENT_KILLED
    assert rig.gaps[0].start_at == report.last_segment_at


async def test_a_gap_is_told_although_the_agent_was_killed_while_telling_it(rig: Rig) -> None:
    await asyncio.to_thread(rig.capture.close)
    child = recording_child(rig, "dies")
    try:
        index = RecordingIndex(rig.folder / "recordings.sqlite")
        await until(lambda: bool(index.in_state("open")) and index.in_state("open")[0].frames > 0)
        await rig.site.fault(0, kind="drop", seconds=2)
        await until(lambda: child.poll() is not None, 30)
        (untold,) = index.untold(rig.camera_id)
    finally:
        child.kill()
        child.wait()

    rig.capture = await asyncio.to_thread(rig.fresh)
    await rig.apply(rig.source())
    await until(lambda: len(rig.gaps) >= 1)
    assert (rig.gaps[0].start_at.timestamp(), rig.gaps[0].reason) == (untold.start_us / 1e6, untold.reason)
    await until(lambda: index.untold(rig.camera_id) == [])
    told, ids = len(rig.gaps), list(rig.gap_ids)
    await asyncio.to_thread(rig.capture.close)
    rig.capture = await asyncio.to_thread(rig.fresh)
    await rig.apply(rig.source())
    await until(lambda: len(rig.gaps) > told)  # the restart itself
    index.close()
    assert not set(ids) & set(rig.gap_ids[told:]), "what was taken over is not told again"
    for earlier, later in pairwise(sorted(rig.gaps, key=lambda gap: gap.start_at)):
        assert earlier.end_at <= later.start_at


async def test_a_gap_that_could_not_be_kept_is_told_again_under_the_same_id(rig: Rig) -> None:
    refusing = True
    tried: list[UUID] = []

    def on_gap(found: FoundGap) -> bool:
        tried.append(found.id)
        return not refusing

    await asyncio.to_thread(rig.capture.close)
    rig.capture = Capture(rig.folder, rig.frames, on_gap, lambda _: ClockReading())
    await recorded(rig, 2)
    await rig.site.fault(0, kind="drop", seconds=2)
    await until(lambda: len(tried) >= 1, 30)
    refusing = False
    await rig.apply()
    await rig.apply(rig.source())
    await until(lambda: tried.count(tried[0]) == 2)
    index = RecordingIndex(rig.folder / "recordings.sqlite")
    await until(lambda: index.untold(rig.camera_id) == [])
    index.close()


async def test_analysis_and_limits_change_while_recording_goes_on_without_a_seam(rig: Rig) -> None:
    quiet = replace(rig.source(), analyse=False)
    await rig.apply(quiet)
    await until(lambda: rig.capture.report(rig.camera_id).last_segment_at is not None)
    assert rig.frames.seen == []
    start = rig.capture.report(rig.camera_id).oldest_recording_at
    assert start is not None
    loud = replace(quiet, analyse=True, analyse_fps=2.0, limits=quiet.limits.model_copy(update={"max_age_s": 86_400}))
    reader = rig.capture.subscribe(rig.camera_id, StreamName.MAIN, lambda: None)
    await rig.apply(loud)
    await until(lambda: len(rig.frames.seen) >= 3)
    await rig.apply(quiet)
    seen = len(rig.frames.seen)
    end = datetime.now(UTC)

    def on_disk() -> bool:
        last = rig.capture.report(rig.camera_id).last_segment_at
        return last is not None and last > end

    await until(on_disk)
    assert len(rig.frames.seen) <= seen + 1, "nothing is decoded any more"
    assert not reader.ended, "the stream was not opened again"
    clip = await asyncio.to_thread(rig.capture.cut, rig.camera_id, start, end, rig.folder / "clip.mp4")
    assert clip.gaps == rig.gaps == []
    with av.open(str(clip.path)) as played:
        stream = played.streams.video[0]
        assert stream.time_base is not None
        times = [float(p.pts * stream.time_base) for p in played.demux(stream) if p.pts is not None]
    assert max(b - a for a, b in pairwise(times)) < 0.2


async def test_cameras_that_do_not_answer_are_stopped_side_by_side(rig: Rig) -> None:
    """Each reader needs seconds to notice; five of them must not need five times as long."""
    sources = [replace(rig.source(), camera_id=uuid4(), analyse=False) for _ in range(5)]
    await rig.apply(*sources)
    await until(lambda: all(rig.capture.report(s.camera_id).state is CameraState.LIVE for s in sources))
    await rig.site.fault(0, kind="slow", bits_per_s=1000)
    began = time.monotonic()
    await rig.apply()
    assert time.monotonic() - began < 10
