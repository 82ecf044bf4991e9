"""`qianshao-edge run` as people start it: the default detector finds people; without weights the box still records and relays."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.simcam.config import PATTERN, RENDERED, CameraConfig, SiteConfig
from deploy.simcam.site import Site
from hub.context import Context
from hub.identity.model import Role
from tests.detector_material import footage, weights_dir
from tests.edge_agent_cli import PASSWORD, adopted, cli, enrolled, real_agent
from tests.edge_house import House, house_on
from tests.servers import TestServers, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
async def house(servers: TestServers, context: Context) -> AsyncIterator[House]:
    async with house_on(servers, context) as running:
        yield running


async def test_people_before_the_camera_become_sightings_and_a_verified_clip_that_names_them(
    house: House, tmp_path: Path
) -> None:
    street = CameraConfig("street", footage("street_four_people_720p.mp4") or RENDERED, max_source_s=30.0)
    folder = weights_dir()
    settings = {"QIANSHAO_WEIGHTS": str(folder)} if folder else {}
    data, log = tmp_path / "edge", tmp_path / "agent.log"
    async with Site(SiteConfig((street,), password=PASSWORD)) as site:
        await enrolled(house, site, data)
        async with real_agent(data, log, settings | {"QIANSHAO_EDGE_METRICS_PORT": "0"}):
            camera_id = await adopted(house)
            try:
                found = await people_in_a_verified_clip(house, camera_id)
                status = json.loads(await cli("status", "--json", "--data", str(data)))
                assert status["analyst"]["detected"] > 0
                assert f'qianshao_edge_analytics_sightings{{camera_id="{camera_id}"}}' in await metrics_of(log)
            except AssertionError as error:
                error.add_note(log.read_text()[-3000:])
                raise
    clip, seen = found[0]["clip_id"], {str(row["id"]) for row in found}
    (row,) = [one for one in await house.clips(camera_id) if one["id"] == clip]
    assert row["chain_ok"] is True
    assert seen <= {str(one) for one in row["sighting_ids"]}, "the clip names its sightings"
    for one in found:
        assert one["picture_key"] is not None
        assert one["best_score"] > 0.3
        # Not more: of a camera just adopted, the detector may see something before the first key frame is recorded.
        assert row["start_at"] < one["end_at"] <= row["end_at"]
        assert one["start_at"] < row["end_at"]
    assert await house.rows("select code from alarms") == []


async def metrics_of(log: Path) -> str:
    """What the agent serves to Prometheus."""
    lines = (await asyncio.to_thread(log.read_text)).splitlines()
    (serving,) = [json.loads(line) for line in lines if '"metrics.serving"' in line]
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"http://127.0.0.1:{serving['port']}/metrics")).text


async def people_in_a_verified_clip(house: House, camera_id: str) -> list[dict[str, Any]]:
    """Waits until the hub has verified a clip of people; the final sightings of people of that clip."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await house.rows(
            "select s.* from sightings s join clips c on c.id = s.clip_id"
            " where c.camera_id = cast(:camera as uuid) and c.status = 'verified' and s.object_class = 'person'"
            " and c.id = (select s2.clip_id from sightings s2 join clips c2 on c2.id = s2.clip_id"
            "   where c2.status = 'verified' and s2.object_class = 'person' order by c2.chain_seq limit 1)",
            camera=camera_id,
        )
        return bool(found) and all(one["final"] for one in found)

    await wait_until(there, within_s=150)
    return found


async def test_without_weights_the_box_records_and_relays_and_says_that_detection_is_off(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    nothing = {
        "QIANSHAO_WEIGHTS": str(tmp_path / "empty"),
        "QIANSHAO_WEIGHTS_CACHE": str(tmp_path / "cache"),
        "QIANSHAO_EDGE_WEIGHTS_DOWNLOAD": "false",
    }
    data = tmp_path / "edge"
    async with Site(SiteConfig((CameraConfig("gate", PATTERN),), password=PASSWORD)) as site:
        await enrolled(house, site, data)
        async with real_agent(data, tmp_path / "agent.log", nothing):
            camera_id = await adopted(house)
            health: dict[str, Any] = {}

            async def recording() -> bool:
                health.update((await house.admin.get(f"/cameras/{camera_id}")).json()["health"])
                return health["state"] == "live" and health["last_segment_at"] is not None

            await wait_until(recording, within_s=40)
            assert health["detail"] == "detector.no_weights"
            status = json.loads(await cli("status", "--json", "--data", str(data)))
            assert (status["running"], status["analytics"]) == (True, "detector.no_weights")
            assert "Detection is off" in await cli("status", "--data", str(data)), "in words too"
            async with house.person(Role.MONITOR) as viewer:
                answer = await viewer.post("/live/sessions", json={"camera_id": camera_id, "stream": "sub"})
                assert answer.status_code == 201, answer.text
                session = answer.json()["id"]

                async def flowing() -> bool:
                    lease = await viewer.post(f"/live/sessions/{session}/lease")
                    return bool(lease.json()["packets"] > 20)

                await wait_until(flowing, within_s=20)
            recordings = await asyncio.to_thread(lambda: list(data.glob("recordings/*/*/*")))
            assert recordings
