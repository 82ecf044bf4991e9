"""Simulated cameras serve streams that real players read, for ever and at the right pace, and go wrong on command."""

import asyncio
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import pytest_asyncio

from deploy.simcam import pattern, scene
from deploy.simcam.config import RENDERED, CameraConfig, SiteConfig
from deploy.simcam.faults import Drop
from deploy.simcam.prepare import SourceError, prepare
from deploy.simcam.process import SiteFailed, start_site
from deploy.simcam.site import Site
from tests.simcams import PASSWORD, pattern_site, read_stream, until

ROUND_S = pattern.MOVING_S + pattern.QUIET_S


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simcam-cache")


@pytest_asyncio.fixture(loop_scope="session")
async def site(cache: Path) -> AsyncIterator[Site]:
    async with Site(pattern_site(cache, control_port=0)) as running:
        yield running


async def test_timestamps_rise_by_one_frame_over_the_clips_seam_at_the_true_pace(site: Site) -> None:
    frames = int(25 * (ROUND_S + 1.5))
    read = await asyncio.to_thread(read_stream, site.cameras[0].url_with_login(), frames, decode=True)
    assert read.keys[0]
    assert {round(b - a, 6) for a, b in itertools.pairwise(read.pts_s)} == {0.04}
    numbers = [pattern.number_of(picture) for picture in read.pictures]
    assert all(b == (a + 1) % int(25 * ROUND_S) for a, b in itertools.pairwise(numbers))
    assert (read.arrived_s[-1] - read.arrived_s[50]) == pytest.approx((frames - 51) / 25, rel=0.1, abs=0.3)


async def test_many_clients_read_both_streams_at_once(site: Site) -> None:
    camera = site.cameras[0]
    urls = [camera.url_with_login("main"), camera.url_with_login("sub")] * 3
    reads = await asyncio.gather(*(asyncio.to_thread(read_stream, url, 30) for url in urls))
    assert all(read.keys[0] for read in reads)
    assert {round(b - a, 4) for a, b in itertools.pairwise(reads[1].pts_s)} == {round(1 / 12, 4)}
    await until(lambda: camera.main.clients == 0 and camera.sub.clients == 0)


async def test_ffprobe_sees_what_the_camera_declares(site: Site) -> None:
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("ffprobe is not installed")
    command = [
        ffprobe,
        "-v",
        "error",
        "-rtsp_transport",
        "tcp",
        "-of",
        "json",
        "-show_streams",
        site.cameras[0].url_with_login(),
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=30, check=True)
    (stream,) = json.loads(done.stdout)["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"], stream["has_b_frames"]) == ("h264", 640, 360, 0)
    assert stream["avg_frame_rate"] == "25/1"


async def _ask(camera_url: str, request: bytes) -> bytes:
    host, port = re.fullmatch(r"rtsp://([^:]+):(\d+)/\w+", camera_url).groups()  # type: ignore[union-attr]
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read(4096)
    writer.close()
    return answer


async def test_options_is_open_and_everything_else_needs_the_password(site: Site) -> None:
    url = site.cameras[0].main_url
    public = await _ask(url, f"OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
    assert public.startswith(b"RTSP/1.0 200")
    for method in ("DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "TEARDOWN"):
        refused = await _ask(url, f"{method} {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        assert refused.startswith(b"RTSP/1.0 401"), method
        assert b"WWW-Authenticate: Digest" in refused


async def test_wrong_password_wrong_mount_and_udp_are_refused(site: Site) -> None:
    camera = site.cameras[0]
    right = camera.url_with_login()
    with pytest.raises(av.error.HTTPUnauthorizedError):
        await asyncio.to_thread(read_stream, right.replace(PASSWORD, "guess"), 1)
    with pytest.raises(av.error.HTTPNotFoundError):
        await asyncio.to_thread(read_stream, right.replace("/main", "/other"), 1)

    def by_udp() -> None:
        av.open(right, options={"rtsp_transport": "udp"}, timeout=5)

    with pytest.raises(av.error.FFmpegError, match=r"(?i)protocol|461|client error"):
        await asyncio.to_thread(by_udp)


async def test_hostile_bytes_end_one_connection_and_no_other(site: Site) -> None:
    samples = Path(__file__).parents[1] / "fixtures" / "rtsp"
    reading = asyncio.create_task(asyncio.to_thread(read_stream, site.cameras[0].url_with_login(), 60))
    for sample in sorted(samples.glob("*.bin")):
        answer = await _ask(site.cameras[0].main_url, sample.read_bytes())
        assert re.match(rb"RTSP/1.0 (400|413|505) ", answer), sample.name
    assert len((await reading).arrived_s) == 60


HOSTILE_HTTP = [
    b"POST /onvif/device_service HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /onvif/device_service HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
    b"POST /onvif/device_service HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /onvif/device_service HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    b"POST /onvif/device_service HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    b"POST /onvif/device_service HTTP/9.9\r\n\r\n",
    b"POST  /onvif/device_service  HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
]


@pytest.mark.parametrize("request_", HOSTILE_HTTP, ids=range(len(HOSTILE_HTTP)))
async def test_hostile_http_gets_an_error_and_the_device_lives(site: Site, request_: bytes) -> None:
    answer = await _ask(f"rtsp://{site.cameras[0].onvif_address}/x", request_)
    assert re.match(rb"HTTP/1.1 (400|413|431|501) ", answer)


async def test_hostile_soap_gets_a_fault(site: Site) -> None:
    samples = Path(__file__).parents[1] / "fixtures" / "soap"
    url = f"http://{site.cameras[0].onvif_address}/onvif/device_service"
    async with httpx.AsyncClient(trust_env=False) as client:
        for name in ("entity_bomb.xml", "outside_entity.xml", "truncated.xml", "empty_body.xml", "page.html"):
            answer = await client.post(url, content=(samples / name).read_bytes())
            assert (answer.status_code, "ter:WellFormed" in answer.text) == (400, True), name
        unknown = await client.post(url, content=(samples / "other_answer.xml").read_bytes())
        assert "ter:NotAuthorized" in unknown.text


async def test_a_client_that_does_not_read_is_bounded_and_hurts_no_other(site: Site) -> None:
    camera = site.cameras[0]
    lazy = camera.main.subscribe()
    reads = await asyncio.to_thread(read_stream, camera.url_with_login(), 150)
    assert len(reads.arrived_s) == 150
    assert len(lazy.queue) <= 100
    assert lazy.dropped > 0
    camera.main.unsubscribe(lazy)


async def test_sender_reports_tell_the_cameras_wrong_clock(site: Site) -> None:
    await site.fault(0, kind="clock", offset_s=-86_400)
    read = await asyncio.to_thread(read_stream, site.cameras[0].url_with_login(), 30)
    assert read.start_realtime_us is not None
    assert read.start_realtime_us / 1e6 == pytest.approx(time.time() - 86_400, abs=5)


async def test_a_lie_about_fps_is_declared_and_the_pace_stays_true(site: Site) -> None:
    await site.fault(0, kind="fps_lie", declared=50, timestamps=True)
    read = await asyncio.to_thread(read_stream, site.cameras[0].url_with_login(), 100)
    assert {round(b - a, 6) for a, b in itertools.pairwise(read.pts_s)} == {0.02}
    assert (read.arrived_s[-1] - read.arrived_s[40]) == pytest.approx(59 / 25, rel=0.15)


async def test_a_drop_breaks_connections_and_refuses_until_it_ends(site: Site) -> None:
    url = site.cameras[0].url_with_login()
    reading = asyncio.create_task(asyncio.to_thread(read_stream, url, 500))
    await until(lambda: site.cameras[0].main.clients == 1)
    await site.fault(0, Drop(seconds=0.6))
    assert len((await reading).arrived_s) < 500
    with pytest.raises(OSError, match=r"."):
        await _ask(site.cameras[0].main_url, b"")
    await until(lambda: _open(site))
    assert (await asyncio.to_thread(read_stream, url, 5)).keys[0]


def _open(site: Site) -> bool:
    host, port = site.cameras[0].main_url.removeprefix("rtsp://").split("/")[0].split(":")
    import socket

    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0


async def test_a_frozen_camera_sends_the_same_picture_on_and_recovers(site: Site) -> None:
    url = site.cameras[0].url_with_login()
    await site.fault(0, kind="freeze")
    frozen = await asyncio.to_thread(read_stream, url, 50, decode=True)
    assert len({pattern.number_of(picture) for picture in frozen.pictures}) == 1
    assert {round(b - a, 6) for a, b in itertools.pairwise(frozen.pts_s)} == {0.04}
    await site.fault(0, kind="clear")
    moving = await asyncio.to_thread(read_stream, url, 50, decode=True)
    assert len({pattern.number_of(picture) for picture in moving.pictures}) > 40


async def test_freezing_does_not_disturb_a_client_that_is_reading(site: Site) -> None:
    reading = asyncio.create_task(asyncio.to_thread(read_stream, site.cameras[0].url_with_login(), 100, decode=True))
    await until(lambda: site.cameras[0].main.clients == 1)
    await site.fault(0, kind="freeze")
    read = await reading
    assert {round(b - a, 6) for a, b in itertools.pairwise(read.pts_s)} == {0.04}
    assert len(read.pictures) >= 98


async def test_a_black_camera_sends_black(site: Site) -> None:
    await site.fault(0, kind="black")
    read = await asyncio.to_thread(read_stream, site.cameras[0].url_with_login("sub"), 20, decode=True)
    assert max(float(np.mean(picture)) for picture in read.pictures) < 5


async def test_a_changed_password_ends_sessions_and_refuses_the_old(site: Site) -> None:
    old = site.cameras[0].url_with_login()
    reading = asyncio.create_task(asyncio.to_thread(read_stream, old, 500))
    await until(lambda: site.cameras[0].main.clients == 1)
    await site.fault(0, kind="password", password="neu-2")
    assert len((await reading).arrived_s) < 500
    with pytest.raises(av.error.HTTPUnauthorizedError):
        await asyncio.to_thread(read_stream, old, 1)
    assert (await asyncio.to_thread(read_stream, site.cameras[0].url_with_login(), 5)).keys[0]


async def test_a_reboot_takes_everything_away_for_a_while(site: Site) -> None:
    camera = site.cameras[0]
    await site.fault(0, kind="reboot", seconds=0.6)
    for address in (camera.onvif_address, camera.main_url.removeprefix("rtsp://").split("/")[0]):
        host, port = address.split(":")
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection(host, int(port))
    await until(lambda: camera.present and _open(site))
    assert (await asyncio.to_thread(read_stream, camera.url_with_login(), 5)).keys[0]


async def test_a_slow_link_delays_and_limits(site: Site) -> None:
    camera = site.cameras[0]
    await site.fault(0, kind="slow", bits_per_s=8000)
    begun = time.monotonic()
    read = await asyncio.to_thread(read_stream, camera.url_with_login(), 40, timeout_s=30.0)
    assert read.pts_s[-1] < 2.0
    assert time.monotonic() - begun > 3.5  # 1.6 s of film are about 40 kbit


async def test_faults_are_commanded_over_http(site: Site) -> None:
    control = site.state()["control"]
    async with httpx.AsyncClient(trust_env=False, base_url=control) as client:
        assert (await client.get("/")).json()["cameras"][0]["name"] == "测试0"
        done = await client.post("/cameras/0/faults", json={"kind": "clock", "offset_s": 90})
        assert done.json()["clock_offset_s"] == pytest.approx(90)
        assert (await client.post("/cameras/9/faults", json={"kind": "clear"})).status_code == 404
        assert (await client.post("/cameras/0/faults", json={"kind": "explode"})).status_code == 422
        assert (await client.post("/cameras/0/faults", content=b"{")).status_code == 422
        assert (await client.get("/elsewhere")).status_code == 404
        assert PASSWORD not in (await client.get("/")).text


async def test_a_second_start_takes_the_clip_from_the_cache(cache: Path, site: Site) -> None:
    said: list[str] = []
    prepare(CameraConfig("again"), cache, said.append)
    assert said == []
    prepare(CameraConfig("shorter", sub=site.cameras[0].config.main), cache, said.append)
    assert len(said) == 1


async def test_any_video_file_becomes_a_camera(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "夜.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number in range(45):
            picture = np.full((1080, 1920, 3), number * 5, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    prepared = await asyncio.to_thread(prepare, CameraConfig("夜", source=path), cache)
    assert (prepared.main.width, prepared.main.height, prepared.main.fps) == (1280, 720, Fraction(25))
    assert (prepared.sub.width, prepared.sub.height, prepared.sub.fps) == (640, 360, Fraction(12))
    assert prepared.main.duration_s == pytest.approx(1.5, abs=0.1)


def test_a_source_that_cannot_be_had_says_so(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for source in (tmp_path / "missing.mp4", tmp_path / "text.mp4", "nothing"):
        with pytest.raises(SourceError):
            prepare(CameraConfig("x", source=source), cache)
    with pytest.raises(SiteFailed, match=r"no such video file"):
        start_site(SiteConfig((CameraConfig("x", source=tmp_path / "missing.mp4"),), cache_dir=cache))


def test_the_rendered_scene_has_people_a_bus_and_quiet_spells(cache: Path) -> None:
    try:
        prepared = prepare(CameraConfig("rendered", source=RENDERED), cache)
    except SourceError as error:
        pytest.skip(str(error))
    assert prepared.main.duration_s == 60
    assert len(prepared.main.motion) == 3
    quiet = prepared.main.picture(12)
    busy = prepared.main.picture(12 * 11)
    assert float(np.abs(quiet.astype(int) - busy).mean()) > 15


def test_without_pictures_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(scene.PicturesMissing, match=r"pip install --no-deps ultralytics.*--footage DIR"):
        scene.fetch(tmp_path / "pictures")


def test_a_site_of_its_own_process_ends_with_its_starter(cache: Path) -> None:
    with start_site(pattern_site(cache, 2)) as running:
        assert len(running.cameras) == 2
        assert read_stream(running.url_with_login(1, "sub"), 3).keys[0]
        running.fault(1, "password", password="other")
        with pytest.raises(av.error.HTTPUnauthorizedError):
            read_stream(running.url_with_login(1, "sub"), 1)
        pid = running.pid
    assert not Path(f"/proc/{pid}").exists()


def test_the_command_line_serves_a_village_and_ends_on_sigterm(cache: Path, tmp_path: Path) -> None:
    state, secret = tmp_path / "state.json", tmp_path / "password"
    secret.write_text("öffne dich\n", "utf-8")
    command = [sys.executable, "-m", "deploy.simcam", "--pattern", "--cameras", "7", "--cache", str(cache)]
    command += ["--state", str(state), "--password-file", str(secret)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not state.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        told = json.loads(state.read_text("utf-8"))
        assert told["pid"] == process.pid
        assert [camera["name"] for camera in told["cameras"]][0::6] == ["停车坝", "停车坝 2"]
        assert set(told["cameras"][0]["place"]) == {"name_en", "lon", "lat", "heading_deg", "fov_deg", "range_m"}
        assert "öffne" not in state.read_text("utf-8")
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "ready: 7 cameras" in output
