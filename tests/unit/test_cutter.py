"""From a plan to a sealed clip: nothing outside consent, nothing given up without a reason, nothing cut into a full spool."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from edge_agent.consent.gate import ConsentGate
from edge_agent.errors import AgentError
from edge_agent.kit.clock import utc_now
from edge_agent.spool import clips, wishes
from edge_agent.spool.store import Spool, losses
from edge_agent.upload.cutter import POST_ROLL, PRE_ROLL, Cutter
from models.keys import SigningKey
from models.wire.base import ClockReading
from models.wire.uplink import MediaInfo, MissingSpan
from tests.edge_samples import AGENT, CAMERA, MEDIA, consent, desired

CLIP = UUID(int=70)
KEY = SigningKey.generate()
GOP = timedelta(seconds=2)


@dataclass(frozen=True)
class Written:
    """What a cut tells of itself."""

    start_at: datetime
    end_at: datetime
    media: MediaInfo = MEDIA
    gaps: list[MissingSpan] = field(default_factory=list)


@dataclass
class Tape:
    """A recording of small files whose key frames lie two seconds apart; `codes` are raised first, one per call."""

    codes: list[str] = field(default_factory=list)
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)

    def cut(self, camera_id: UUID, start_at: datetime, end_at: datetime, path: Path) -> Written:
        if self.codes:
            raise AgentError(self.codes.pop(0))
        self.asked.append((start_at, end_at))
        path.write_bytes(b"clip of %d bytes" % len(self.asked))
        seconds = start_at.timestamp() - start_at.timestamp() % GOP.total_seconds()
        return Written(datetime.fromtimestamp(seconds, start_at.tzinfo), end_at)


@dataclass
class Bench:
    """A cutter with its spool."""

    spool: Spool
    gate: ConsentGate
    tape: Tape

    @asynccontextmanager
    async def cutting(self, max_bytes: int = 10**9) -> AsyncIterator[Cutter]:
        cutter = Cutter(self.spool, self.gate, self.tape, lambda _: ClockReading(offset_ms=7), KEY, AGENT, max_bytes)
        running = asyncio.create_task(cutter.run())
        try:
            yield cutter
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            cutter.close()

    async def plan(self, start_at: datetime, clip: UUID = CLIP) -> None:
        await self.spool.run(clips.plan, clip, CAMERA, start_at, start_at + timedelta(seconds=4), [])

    async def until(self, **counts: int) -> None:
        deadline = asyncio.get_running_loop().time() + 10
        while await self.spool.run(clips.counts) != counts:
            assert asyncio.get_running_loop().time() < deadline, await self.spool.run(clips.counts)
            await asyncio.sleep(0.02)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    spool = Spool(tmp_path)
    await spool.run(wishes.take_desired, desired(1, (CAMERA, consent())))
    gate = ConsentGate(spool)
    await gate.load()
    yield Bench(spool, gate, Tape())
    spool.close()


async def test_a_clip_has_its_roll_and_its_seal_is_over_the_bytes_on_disk(bench: Bench) -> None:
    start = utc_now() - timedelta(seconds=10)
    async with bench.cutting() as cutter:
        await bench.plan(start)
        cutter.wake()
        await bench.until(sealed=1)
    assert bench.tape.asked == [(start - PRE_ROLL, start + timedelta(seconds=4) + POST_ROLL)]
    (file,) = (await bench.spool.run(clips.files_kept)).keys()
    raw = await asyncio.to_thread((bench.spool.clips_dir / file).read_bytes)
    sealed = await bench.spool.run(lambda db: db.execute("select sha256, size_bytes from clips").fetchone())
    assert (sealed["sha256"], sealed["size_bytes"]) == (hashlib.sha256(raw).hexdigest(), len(raw))


async def test_a_cut_is_moved_inwards_until_its_key_frame_lies_after_the_pause(bench: Bench) -> None:
    """A cut is widened to the key frame before: that frame would still be of the paused time."""
    now = utc_now()
    await bench.spool.run(wishes.note_refusal, CAMERA, "consent.paused", now - timedelta(seconds=60))
    resumed = now - timedelta(seconds=10)
    await bench.spool.run(wishes.note_refusal, CAMERA, "", resumed)
    async with bench.cutting():
        await bench.plan(resumed + timedelta(seconds=1))
        await bench.until(sealed=1)
    announcement = await bench.spool.run(lambda db: db.execute("select announcement from clips").fetchone()[0])
    assert datetime.fromisoformat(_start(announcement)) >= resumed


def _start(announcement: str) -> str:

    start: str = json.loads(announcement)["seal"]["body"]["start_at"]
    return start


async def test_a_span_wholly_refused_is_not_cut_at_all(bench: Bench) -> None:
    await bench.spool.run(wishes.note_refusal, CAMERA, "consent.paused", utc_now() - timedelta(seconds=60))
    async with bench.cutting():
        await bench.plan(utc_now() - timedelta(seconds=10))
        await bench.until(void=1)
    assert bench.tape.asked == []
    assert list(bench.spool.clips_dir.iterdir()) == []
    assert await bench.spool.run(losses) == {"clip.consent.no_span": 1}


async def test_a_span_not_on_disk_yet_is_tried_again(bench: Bench) -> None:
    bench.tape.codes = ["recording.not_yet", "recording.not_yet"]
    async with bench.cutting():
        await bench.plan(utc_now())
        await bench.until(sealed=1)


async def test_a_span_that_was_never_recorded_ends_with_its_reason_counted(bench: Bench) -> None:
    bench.tape.codes = ["recording.none"]
    async with bench.cutting():
        await bench.plan(utc_now())
        await bench.until(void=1)
    assert await bench.spool.run(losses) == {"clip.recording.none": 1}


async def test_a_full_spool_makes_plans_wait_and_says_so(bench: Bench) -> None:
    """Lesson 2: what does not fit is not dropped; it stays in the recording until there is room."""
    async with bench.cutting(max_bytes=10) as cutter:
        await bench.plan(utc_now())
        await bench.until(sealed=1)
        await bench.plan(utc_now(), UUID(int=71))
        while not cutter.full:
            await asyncio.sleep(0.02)
        await bench.until(sealed=1, planned=1)
        await bench.spool.run(
            lambda db: db.execute("update clips set file = null, status = 'verified' where status = 'sealed'")
        )
        await bench.until(verified=1, sealed=1)
