"""The crown test: record, cut the network, kill the agent, restart; everything arrives exactly once and the chain verifies.
One flipped byte is refused and alarmed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.simcam.config import CameraConfig, SiteConfig
from deploy.simcam.site import Site
from edge_agent.spool import clips, outbox
from edge_agent.spool.store import Spool
from hub.context import Context
from models.keys import verify
from models.wire.seal import GENESIS, Seal, seal_hash, signed_bytes
from tests.edge_agent_cli import PASSWORD, adopted, agent_process, enrolled
from tests.edge_house import House, house_on
from tests.servers import TestServers, wait_until


def some_clips(house: House, camera_id: str, count: int, status: str) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        found = await house.clips(camera_id)
        return len([one for one in found if one["status"] == status]) >= count

    return there


def check_chain(rows: list[dict[str, Any]], public_key: str) -> None:
    """Every link from the first, each signed by the agent and naming the one before."""
    prev = GENESIS
    for wanted, row in enumerate(rows, 1):
        seal = Seal.model_validate(row["seal"])
        assert (seal.body.seq, seal.body.prev) == (wanted, prev)
        assert verify(public_key, bytes.fromhex(seal.signature), signed_bytes(seal.body))
        assert row["chain_ok"] is True
        prev = seal_hash(seal)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    config = SiteConfig((CameraConfig("gate"),), password=PASSWORD)
    async with Site(config) as running:
        yield running


@pytest.mark.timeout(300)
async def test_cut_the_network_kill_the_agent_restart_and_all_arrives_exactly_once(
    servers: TestServers, context: Context, site: Site, tmp_path: Path
) -> None:
    data, log = tmp_path / "edge", tmp_path / "agent.log"
    slow = {"QIANSHAO_EDGE_UPLOAD_BYTES_PER_S": "60000", "QIANSHAO_EDGE_UPLOAD_CONCURRENCY": "1"}
    async with house_on(servers, context) as house:
        await enrolled(house, site, data)
        async with agent_process(data, log, settings=slow) as child:
            camera_id = await adopted(house)
            await wait_until(some_clips(house, camera_id, 1, "verified"), within_s=60)
            house.s3.cut_after(20_000)

            async def cut() -> bool:
                return house.s3.is_cut

            await wait_until(cut, within_s=40)  # in the middle of a clip's bytes
            house.cut()
            spool = Spool(data)

            async def piled_up() -> bool:
                found = spool.call(clips.counts)
                return found.get("sealed", 0) + found.get("announced", 0) >= 3

            await wait_until(piled_up, within_s=60)
            child.kill()
            await child.wait()
        known = {row["clip_id"] for row in spool.call(_all_clips)}
        spool.close()
        house.mend()
        async with agent_process(data, log, every_s=600):

            async def all_there() -> bool:
                rows = await house.clips(camera_id)
                return len(rows) >= len(known) and all(row["status"] == "verified" for row in rows)

            await wait_until(all_there, within_s=90)
            rows = await house.clips(camera_id)
            agent = (await house.rows("select public_key from agents"))[0]
            check_chain(rows, agent["public_key"])
            assert {str(row["id"]) for row in rows} >= known
            await wait_until(settled(data), within_s=30)
        await everything_once(house, camera_id, data)


def _all_clips(db: Any) -> list[Any]:
    return list(db.execute("select clip_id from clips where status <> 'void'"))


def settled(data: Path) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        spool = Spool(data)
        try:
            return spool.call(outbox.totals).count == 0 and spool.call(clips.bytes_kept) == 0
        finally:
            spool.close()

    return holds


async def everything_once(house: House, camera_id: str, data: Path) -> None:
    """No sighting twice, none left open, each of a clip that is there; no file left at the edge."""
    seen = await house.rows("select id, final, clip_id from sightings")
    assert len({row["id"] for row in seen}) == len(seen)
    assert all(row["final"] for row in seen)
    there = {row["id"] for row in await house.clips(camera_id)}
    assert {row["clip_id"] for row in seen} <= there
    assert list((data / "clips").iterdir()) == []
    assert await house.rows("select code from alarms") == []


@pytest.mark.timeout(300)
async def test_one_flipped_byte_is_refused_and_alarmed_and_the_file_is_kept(
    servers: TestServers, context: Context, site: Site, tmp_path: Path
) -> None:
    data, log = tmp_path / "edge", tmp_path / "agent.log"
    async with house_on(servers, context) as house:
        await enrolled(house, site, data)
        async with agent_process(data, log):
            camera_id = await adopted(house)
            house.s3.cut()

            async def sealed() -> bool:
                return len(await house.clips(camera_id)) >= 1

            await wait_until(sealed, within_s=60)
        first = (await house.clips(camera_id))[0]
        path = data / "clips" / f"{first['id']}.mp4"
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        house.mend()
        async with agent_process(data, log, every_s=600):

            async def judged() -> bool:
                return bool((await house.clips(camera_id))[0]["status"] == "refused")

            await wait_until(judged, within_s=60)

            async def told() -> bool:
                spool = Spool(data)
                try:
                    return spool.call(clips.counts).get("refused", 0) == 1
                finally:
                    spool.close()

            await wait_until(told, within_s=30)
        refused = (await house.clips(camera_id))[0]
        assert refused["refusal_code"] == "ingest.hash_mismatch"
        alarms = await house.rows("select code, camera_id from alarms")
        assert [(row["code"], str(row["camera_id"])) for row in alarms] == [("ingest.hash_mismatch", camera_id)]
        assert path.exists(), "kept for the resident and an examiner"
