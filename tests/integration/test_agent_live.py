"""The owner pauses a camera while somebody watches: the whole way from camera to viewer, with the real agent and hub."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.simcam.config import CameraConfig, SiteConfig
from deploy.simcam.site import Site
from edge_agent.spool import wishes
from edge_agent.spool.store import Spool
from hub.context import Context
from hub.identity.model import Role
from tests.edge_agent_cli import PASSWORD, adopted, agent_process, cli, enrolled
from tests.edge_house import House, house_on
from tests.media.peers import Received, accept, eventually, viewer_offer
from tests.servers import TestServers, wait_until

STOPS_WITHIN_S = 2.0
QUIET_S = 3.0
TRIES = 2


@dataclass
class Watched:
    """A running village of one camera, and somebody at the wall."""

    house: House
    viewer: httpx.AsyncClient
    data: Path
    log: Path
    camera_id: str

    async def ask(self) -> httpx.Response:
        """Asks for a live picture."""
        return await self.viewer.post("/live/sessions", json={"camera_id": self.camera_id, "stream": "sub"})

    async def watch(self) -> tuple[dict[str, Any], Received, Any]:
        """Opens a session and waits until pictures come."""
        answer = await self.ask()
        assert answer.status_code == 201, answer.text
        session: dict[str, Any] = answer.json()
        received = Received()
        pc, offer = await viewer_offer(received)
        headers = {"Authorization": f"Bearer {session['token']}", "Content-Type": "application/sdp"}
        answered = await self.viewer.post(self.house.hub_url + session["whep_url"], content=offer, headers=headers)
        assert answered.status_code == 201, answered.text
        await accept(pc, answered.text)
        await eventually(lambda: len(received.frames()) > 20, "live pictures")
        return session, received, pc

    async def state(self, wanted: str, within_s: float) -> None:
        """Waits until the hub has heard from the agent that the camera is in this state."""

        async def holds() -> bool:
            answer = await self.house.admin.get(f"/cameras/{self.camera_id}")
            return bool(answer.json()["health"]["state"] == wanted)

        await wait_until(holds, within_s=within_s)

    async def told(self) -> tuple[int, int]:
        """What has left the house so far: sightings the hub knows, bytes on the line to the store."""
        rows = await self.house.rows("select count(*) as count from sightings")
        return rows[0]["count"], self.house.s3.sent_up

    async def at_hub(self) -> float:
        """Pauses at the hub's page; when it was asked (UTC seconds)."""
        asked = time.time()
        (await self.house.admin.post(f"/cameras/{self.camera_id}/pause", json={})).raise_for_status()
        return asked

    async def resume_at_hub(self) -> None:
        (await self.house.admin.delete(f"/cameras/{self.camera_id}/pause")).raise_for_status()

    async def at_box(self) -> float:
        """Pauses at the box; from when the pause holds (UTC seconds)."""
        await cli("pause", "gate", "--data", str(self.data))
        spool = Spool(self.data)
        try:
            (pause,) = spool.call(wishes.pauses)
        finally:
            spool.close()
        return pause.since.timestamp()

    async def resume_at_box(self) -> None:
        await cli("resume", "gate", "--data", str(self.data))


@pytest.fixture
async def watched(servers: TestServers, context: Context, tmp_path: Path) -> AsyncIterator[Watched]:
    data = tmp_path / "edge"
    site = Site(SiteConfig((CameraConfig("gate"),), password=PASSWORD))
    async with site, house_on(servers, context) as house, house.person(Role.MONITOR) as viewer:
        await enrolled(house, site, data)
        async with agent_process(data, tmp_path / "agent.log", every_s=1.0):
            running = Watched(house, viewer, data, tmp_path / "agent.log", await adopted(house))
            await running.state("live", within_s=30)
            yield running


class Arrivals:
    """When the last packet came, seen every few milliseconds."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._count = len(received.packets)
        self.last_at = time.time()
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            if len(self._received.packets) != self._count:
                self._count, self.last_at = len(self._received.packets), time.time()
            await asyncio.sleep(0.005)

    async def silence(self) -> float:
        """Waits until nothing has come for some seconds; when the last packet came."""
        await eventually(lambda: time.time() - self.last_at >= QUIET_S, "no packet any more", 15)
        self._task.cancel()
        return self.last_at


def sending_ended(log: Path) -> float:
    """When the agent had ended its newest live session, connection closed and hub told (UTC seconds)."""
    said = [json.loads(line) for line in log.read_text().splitlines() if '"live.ended"' in line]
    return datetime.fromisoformat(said[-1]["timestamp"]).timestamp()


def clips_known(data: Path) -> int:
    spool = Spool(data)
    try:
        return int(spool.call(lambda db: db.execute("select count(*) from clips").fetchone()[0]))
    finally:
        spool.close()


async def life_goes_on(data: Path) -> None:
    """Waits for two more events at the camera."""
    before = clips_known(data)

    async def more() -> bool:
        return clips_known(data) >= before + 2

    await wait_until(more, within_s=20)


async def paused_and_resumed(watched: Watched, how: str) -> float:
    """One pause and one resume while somebody watches; how long after the pause the last packet came and the agent
    had ended its sending, in seconds."""
    session, received, pc = await watched.watch()
    arrivals = Arrivals(received)
    began = await (watched.at_hub() if how == "hub" else watched.at_box())
    await watched.state("paused", within_s=5)
    last_at = await arrivals.silence()
    took_s = max(last_at, await asyncio.to_thread(sending_ended, watched.log)) - began

    after = await watched.told()
    refused = await watched.ask()
    assert (refused.status_code, refused.json()["code"]) == (403, "consent.paused")
    lease = await watched.viewer.post(f"/live/sessions/{session['id']}/lease")
    assert (lease.status_code, lease.json()["reason"]) == (409, "consent.paused")
    await life_goes_on(watched.data)
    assert await watched.told() == after, "nothing leaves the house while paused"
    status = json.loads(await cli("status", "--json", "--data", str(watched.data)))
    assert status["cameras"][0]["state"] == "paused"
    assert status["cameras"][0]["paused_here"] is (how == "box")
    await pc.close()

    await (watched.resume_at_hub() if how == "hub" else watched.resume_at_box())
    await watched.state("live", within_s=10)

    async def goes_on() -> bool:
        return (await watched.told())[0] > after[0]

    await wait_until(goes_on, within_s=20)
    return took_s


async def ended_by_viewer(watched: Watched) -> None:
    """Live works again."""
    session, _, pc = await watched.watch()
    (await watched.viewer.delete(f"/live/sessions/{session['id']}")).raise_for_status()
    await pc.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["hub", "box"])
async def test_a_pause_stops_live_and_upload_within_two_seconds_and_a_resume_starts_both_again(
    watched: Watched, how: str, record_property: Callable[[str, object], None]
) -> None:
    took_s = [await paused_and_resumed(watched, how) for _ in range(TRIES)]
    record_property(f"pause_at_{how}_s", [round(one, 2) for one in took_s])
    print(f"paused at the {how}: nothing flows after", ", ".join(f"{one:.2f} s" for one in took_s))
    assert max(took_s) < STOPS_WITHIN_S
    await ended_by_viewer(watched)
