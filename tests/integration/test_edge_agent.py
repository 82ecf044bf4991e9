"""The agent as its owner meets it: the command line, and a running process with a camera."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.simcam.config import CameraConfig, SiteConfig
from deploy.simcam.site import Site
from hub.context import Context
from tests.edge_agent_cli import PASSWORD, adopted, agent_process, cli, enrolled, run_cli
from tests.edge_house import House, house_on
from tests.servers import TestServers, wait_until


@pytest.fixture
async def house(servers: TestServers, context: Context) -> AsyncIterator[House]:
    async with house_on(servers, context) as running:
        yield running


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site(SiteConfig((CameraConfig("gate"),), password=PASSWORD)) as running:
        yield running


async def test_a_code_enrols_one_box_once_and_every_refusal_is_a_sentence_with_its_code(
    house: House, tmp_path: Path
) -> None:
    code, data = await house.code(), tmp_path / "edge"
    said = await cli("enroll", "--hub", house.hub_url, "--code", code, "--data", str(data))
    assert "box" in said
    for name in ("agent.key", "identity.json"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    again = await run_cli("enroll", "--hub", house.hub_url, "--code", code, "--data", str(data))
    assert "[enrolment.already]" in again.err
    used = await run_cli("enroll", "--hub", house.hub_url, "--code", code, "--data", str(tmp_path / "b"))
    assert "already been used" in used.err
    assert "[enrolment.code_used]" in used.err
    wrong = await run_cli("enroll", "--hub", house.hub_url, "--code", "AAAA-AAAA-AAAA", "--data", str(tmp_path / "c"))
    assert "[enrolment.code_invalid]" in wrong.err
    malformed = await run_cli("enroll", "--hub", house.hub_url, "--code", "no", "--data", str(tmp_path / "c"))
    assert "[enrolment.code_malformed]" in malformed.err
    stranger = await run_cli(
        "enroll", "--hub", f"http://{house.s3.address}", "--code", code, "--data", str(tmp_path / "c")
    )
    assert "not a hub" in stranger.err
    away = await run_cli("enroll", "--hub", "127.0.0.1:9", "--code", code, "--data", str(tmp_path / "d"))
    assert "[hub.unreachable]" in away.err
    odd = await run_cli("enroll", "--hub", "ftp://x y", "--code", code, "--data", str(tmp_path / "e"))
    assert "[enrolment.hub_url_invalid]" in odd.err
    for refused in (again, used, wrong, malformed, stranger, away, odd):
        assert refused.code != 0
        assert "Traceback" not in refused.err


async def test_a_camera_is_tried_when_it_is_entered_and_the_answer_says_what_to_do(site: Site, tmp_path: Path) -> None:
    address = site.cameras[0].onvif_address
    add = ("device", "add", address, "--username", "viewer", "--password-stdin", "--data", str(tmp_path / "edge"))
    wrong = await run_cli(*add, stdin="guess\n")
    assert wrong.code == 1
    assert "refuses this user name or password" in wrong.err
    right = await run_cli(*add, stdin=f"{PASSWORD}\n")
    assert (right.code, right.err) == (0, "")
    assert "It answers" in right.out
    assert PASSWORD not in right.out
    away = await run_cli("device", "add", "127.0.0.1:9", *add[3:], stdin="x\n")
    assert away.code == 0, "it is entered and asked again later"
    assert "[onvif.unreachable]" in away.err
    found = await cli("discover", address, "127.0.0.1:9", "--timeout", "0.2")
    assert address in found
    assert "127.0.0.1:9 does not answer" in found
    told = await cli("status", "--data", str(tmp_path / "edge"))
    assert "qianshao-edge enroll" in told


async def test_devices_are_entered_listed_and_removed_without_ever_showing_the_password(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "edge"))
    added = await cli(
        "device", "add", "http://cam.local:8000/onvif", "--no-check", "--password-stdin", *data, stdin="hunter2\n"
    )
    listed = await cli("device", "list", "--json", *data)
    assert json.loads(listed) == [{"address": "cam.local:8000", "username": "admin", "cameras": []}]
    assert "hunter2" not in added + listed
    assert "Removed" in await cli("device", "remove", "cam.local:8000", *data)
    bad = await run_cli("device", "add", "cam.local:99999", "--password-stdin", *data, stdin="x\n")
    assert bad.code != 0
    assert "[device." in bad.err


async def test_run_before_enrolment_says_what_to_do(tmp_path: Path) -> None:
    told = await run_cli("run", "--data", str(tmp_path / "edge"))
    assert "[enrolment.missing]" in told.err
    assert "qianshao-edge enroll" in told.err


@dataclass
class Running:
    house: House
    site: Site
    data: Path
    camera_id: str

    async def camera(self) -> dict[str, Any]:
        answer = await self.house.admin.get(f"/cameras/{self.camera_id}")
        answer.raise_for_status()
        shown: dict[str, Any] = answer.json()
        return shown

    async def state(self, wanted: str, within_s: float = 30) -> None:
        async def holds() -> bool:
            return bool((await self.camera())["health"]["state"] == wanted)

        await wait_until(holds, within_s=within_s)

    async def clips_there(self) -> int:
        return len(await self.house.clips(self.camera_id))


@pytest.mark.timeout(240)
async def test_a_day_in_the_life_of_an_agent(house: House, site: Site, tmp_path: Path) -> None:
    """Adopted, recording; paused at the box: nothing leaves; resumed: it goes on and the pause is a gap with its reason; the
    camera's password is changed: the hub shows it; the new one is entered: live again."""
    data = tmp_path / "edge"
    await enrolled(house, site, data)
    settings = {"QIANSHAO_EDGE_METRICS_PORT": "0"}
    async with agent_process(data, tmp_path / "agent.log", every_s=1.5, settings=settings):
        running = Running(house, site, data, await adopted(house))
        await running.state("live")

        async def some() -> bool:
            return await running.clips_there() >= 1

        await wait_until(some, within_s=40)
        await _pause_and_resume(running)
        second = await run_cli("run", "--data", str(data))
        assert "[agent.already_running]" in second.err
        await _password_changed(running)
        await _metrics_tell(tmp_path / "agent.log")


async def _pause_and_resume(running: Running) -> None:
    data, camera = ("--data", str(running.data)), running.camera_id
    assert "Paused" in await cli("pause", "gate", *data)
    await running.state("paused", within_s=5)
    before = await running.clips_there(), running.house.s3.sent_up
    status = json.loads(await cli("status", "--json", *data))
    assert status["running"]
    assert status["cameras"][0]["paused_here"]

    async def much_happened() -> bool:
        seen = json.loads(await cli("status", "--json", *data))
        return bool(sum(seen["clips"].values()) >= sum(status["clips"].values()) + 2)

    await wait_until(much_happened, within_s=30)
    assert (await running.clips_there(), running.house.s3.sent_up) == before, "nothing left the house"
    assert "Resumed" in await cli("resume", camera, *data)
    await running.state("live")

    async def more() -> bool:
        return await running.clips_there() > before[0]

    await wait_until(more, within_s=40)
    gaps = await running.house.rows("select reason, start_at, end_at from camera_gaps where reason = 'paused'")
    assert len(gaps) == 1
    for clip in await running.house.clips(camera):
        slack = timedelta(milliseconds=500)
        assert clip["end_at"] <= gaps[0]["start_at"] + slack or clip["start_at"] >= gaps[0]["end_at"]


async def _password_changed(running: Running) -> None:
    await running.site.fault(0, kind="password", password="another-password")
    await running.state("auth_failed", within_s=60)
    address = running.site.cameras[0].onvif_address
    await cli(
        *("device", "add", address, "--username", "viewer", "--password-stdin", "--data", str(running.data)),
        stdin="another-password\n",
    )
    await running.state("live", within_s=60)


async def _metrics_tell(log: Path) -> None:
    text = await asyncio.to_thread(log.read_text)
    (serving,) = [json.loads(line) for line in text.splitlines() if '"metrics.serving"' in line]
    async with httpx.AsyncClient(trust_env=False) as http:
        metrics = (await http.get(f"http://127.0.0.1:{serving['port']}/metrics")).text
    assert "qianshao_edge_uplink_connected 1.0" in metrics
    assert 'qianshao_edge_clips{status="verified"}' in metrics
    assert PASSWORD not in text, "no credential reaches a log"
    assert "another-password" not in text
