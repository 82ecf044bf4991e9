"""Uploads against the real hub and object store: resumed, never doubled, deleted only when verified."""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from edge_agent.consent.gate import ConsentGate
from edge_agent.kit.clock import utc_now
from edge_agent.kit.ids import new_id
from edge_agent.spool import clips, wishes
from edge_agent.spool.clips import CutFile
from edge_agent.spool.store import Spool
from edge_agent.uplink.hub import HubClient
from edge_agent.upload.service import Uploader, tidy_folder
from edge_agent.upload.transfer import Pace, Transfer
from hub.clips import service as hub_clips
from hub.context import Context
from hub.ingest.receipts import receipt_of
from hub.ingest.service import handle_uplink
from models.wire.agent_http import PART_BYTES
from models.wire.base import ClockReading
from models.wire.uplink import ClipSealed
from tests.edge_house import House, house_on
from tests.edge_samples import MEDIA, consent, desired
from tests.seeding import Twin, seed_agent, seed_camera
from tests.servers import TestServers, wait_until

SIZE = 2 * PART_BYTES + 12_345


@dataclass
class Edge:
    """The sending half of an agent, without network for messages: announcements are handed to the hub directly."""

    house: House
    twin: Twin
    camera_id: UUID
    spool: Spool
    gate: ConsentGate

    async def seal(self, data: bytes) -> UUID:
        """A clip of `data`, sealed and announced."""
        clip_id = new_id()
        path = self.spool.clips_dir / f"{clip_id}.mp4"
        await asyncio.to_thread(path.write_bytes, data)
        end = utc_now()
        start = end - timedelta(seconds=5)
        await self.spool.run(clips.plan, clip_id, self.camera_id, start, end, [])
        cut = CutFile(path.name, hashlib.sha256(data).hexdigest(), len(data), start, end, MEDIA, (), ClockReading())
        seal = await self.spool.run(clips.seal, self.twin.key, self.twin.agent_id, clip_id, cut)
        assert seal is not None
        message = ClipSealed(id=new_id(), seal=seal, media=MEDIA)
        await handle_uplink(self.house.context, self.twin.agent_id, "clip", message.model_dump_json().encode())
        await self.spool.run(_announced)
        return clip_id

    @asynccontextmanager
    async def uploading(self, bytes_per_s: int = 0) -> AsyncIterator[Uploader]:
        """The uploader at work."""
        hub = HubClient(self.house.hub_url, self.twin.key, self.twin.agent_id)
        uploader = Uploader(self.spool, self.gate, hub, Transfer(Pace(bytes_per_s)), 2)
        running = asyncio.create_task(uploader.run())
        try:
            yield uploader
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await uploader.close()
            await hub.close()

    async def status(self) -> dict[str, int]:
        return await self.spool.run(clips.counts)

    async def receipts(self, uploader: Uploader) -> None:
        """Asks for receipts, as the uplink does after a reconnection."""
        rows = [UUID(str(row["id"])) for row in await self.house.clips(self.camera_id)]
        async with self.house.context.db.transaction() as tx:
            found = [await hub_clips.clip(tx, one) for one in rows]
        await uploader.take_receipts([receipt_of(one, utc_now()) for one in found])


def _announced(db: sqlite3.Connection) -> None:
    db.execute("update clips set status = 'announced' where status = 'sealed'")
    db.execute("delete from outbox where type = 'clip'")


@pytest.fixture
async def edge(servers: TestServers, context: Context, tmp_path: Path) -> AsyncIterator[Edge]:
    async with house_on(servers, context) as house:
        twin = await seed_agent(house.context)
        camera_id = await seed_camera(house.context, twin)
        spool = Spool(tmp_path / "edge")
        await spool.run(wishes.take_desired, desired(1, (camera_id, consent())))
        gate = ConsentGate(spool)
        await gate.load()
        yield Edge(house, twin, camera_id, spool, gate)
        spool.close()


async def test_a_clip_of_three_parts_cut_off_in_the_second_goes_on_where_it_was(edge: Edge) -> None:
    """Proves: after the break only what was missing is sent, and the object is byte for byte what was sealed."""
    data = os.urandom(SIZE)
    clip_id = await edge.seal(data)
    line = edge.house.s3
    line.cut_after(PART_BYTES + PART_BYTES // 2)
    async with edge.uploading() as uploader:

        async def cut() -> bool:
            return line.is_cut

        await wait_until(cut)
        before = line.sent_up
        line.mend()

        async def verified() -> bool:
            await edge.receipts(uploader)
            return (await edge.status()) == {"verified": 1}

        await wait_until(verified, within_s=40)
        assert line.sent_up - before < SIZE - PART_BYTES + 200_000, "the first part was not sent again"
        (row,) = await edge.house.clips(edge.camera_id)
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert not (edge.spool.clips_dir / f"{clip_id}.mp4").exists()


async def test_a_file_stays_until_the_receipt_even_when_all_bytes_are_there(edge: Edge) -> None:
    clip_id = await edge.seal(b"x" * 1000)
    async with edge.uploading():

        async def uploaded() -> bool:
            return (await edge.status()).get("uploaded", 0) == 1

        await wait_until(uploaded)
        assert (edge.spool.clips_dir / f"{clip_id}.mp4").exists()


async def test_a_pause_stops_a_running_upload_at_once_and_the_clip_waits(edge: Edge) -> None:
    await edge.seal(os.urandom(SIZE))
    async with edge.uploading(bytes_per_s=2_000_000) as uploader:

        async def flowing() -> bool:
            return edge.house.s3.sent_up > 1_000_000

        await wait_until(flowing)
        await edge.spool.run(wishes.pause, edge.camera_id)
        await edge.gate.load()
        uploader.stop_camera(edge.camera_id)

        async def silent() -> bool:
            return not uploader.running

        await wait_until(silent, within_s=2)
        before = edge.house.s3.sent_up
        await edge.spool.run(wishes.resume, edge.camera_id)
        assert await edge.status() == {"announced": 1}
        await edge.gate.load()

        async def flowing_again() -> bool:
            return edge.house.s3.sent_up > before

        await wait_until(flowing_again)


async def test_many_clips_arrive_in_one_whole_chain(edge: Edge) -> None:
    for number in range(12):
        await edge.seal(b"%d" % number * 500)
    async with edge.uploading() as uploader:

        async def all_verified() -> bool:
            await edge.receipts(uploader)
            return (await edge.status()) == {"verified": 12}

        await wait_until(all_verified, within_s=40)
    rows = await edge.house.clips(edge.camera_id)
    assert [row["chain_seq"] for row in rows] == list(range(1, 13))
    assert all(row["chain_ok"] for row in rows)


async def test_after_a_kill_between_receipt_and_deletion_the_file_goes_at_the_next_start(edge: Edge) -> None:
    clip_id = await edge.seal(b"x" * 1000)
    stray = edge.spool.clips_dir / f"{new_id()}.mp4"
    stray.write_bytes(b"cut, never sealed")
    kept = edge.spool.clips_dir / f"{clip_id}.mp4"
    assert await tidy_folder(edge.spool, utc_now()) == 1
    assert kept.exists()
    assert not stray.exists()
