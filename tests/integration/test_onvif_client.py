"""The ONVIF client against simulated devices of every kind, and against servers that are no devices at all."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import onvif
import pytest

from deploy.simcam.config import CameraConfig, OnvifAuth
from deploy.simcam.ports import HeldPort
from deploy.simcam.process import SiteProcess, start_site
from deploy.simcam.webserver import WebRequest, WebResponse, WebServer
from edge_agent.errors import AgentError
from edge_agent.onvif import client
from edge_agent.onvif.model import MotionSeen, SourceDetails, StreamDetails
from edge_agent.onvif.motion import MotionEvents
from edge_agent.onvif.services import Caller, Login
from edge_agent.onvif.transport import DeviceHttp
from models.wire.uplink import PICTURE_MAX_BYTES
from tests.simcams import PASSWORD, pattern_site, read_stream

SOAP = Path(__file__).parents[1] / "fixtures" / "soap"
ELSEWHERE = "192.0.2.7"  # TEST-NET-1: nobody is there


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onvif-cache")


@pytest.fixture(scope="module")
def site(cache: Path) -> Iterator[SiteProcess]:
    """One camera of each way of logging in, all calling themselves by an address nobody can reach."""
    cameras = tuple(CameraConfig(auth.value, onvif_auth=auth, announced_host=ELSEWHERE) for auth in OnvifAuth)
    with start_site(replace(pattern_site(cache), cameras=cameras)) as running:
        yield running


@pytest.fixture(autouse=True)
def clear(site: SiteProcess) -> Iterator[None]:
    yield
    for index in range(len(site.cameras)):
        site.fault(index, "clear")


def _address(site: SiteProcess, auth: OnvifAuth = OnvifAuth.ANY) -> str:
    address: str = site.cameras[list(OnvifAuth).index(auth)]["onvif"]
    return address


@pytest.mark.parametrize("auth", list(OnvifAuth))
def test_each_way_of_logging_in_is_found(site: SiteProcess, auth: OnvifAuth) -> None:
    details = client.probe(_address(site, auth), "viewer", PASSWORD)
    assert (details.manufacturer, details.model, details.firmware) == ("Qianshao", "SimCam", "1.0")
    assert details.serial.startswith("SIM-")
    (source,) = details.sources
    assert details.login == ("ws_digest" if auth is OnvifAuth.ANY else auth.value)
    assert (source.main.codec, source.main.width, source.main.height, source.main.fps_declared) == (
        "h264",
        640,
        360,
        25.0,
    )


@pytest.mark.parametrize("auth", list(OnvifAuth))
def test_a_wrong_password_is_told_as_such(site: SiteProcess, auth: OnvifAuth) -> None:
    with pytest.raises(AgentError) as refused:
        client.probe(_address(site, auth), "viewer", "guess")
    assert refused.value.code == "onvif.auth_failed"
    assert "guess" not in str(refused.value)


def test_addresses_nobody_can_reach_are_rewritten_and_the_streams_play(site: SiteProcess) -> None:
    (source,) = client.probe(_address(site), "viewer", PASSWORD).sources
    assert source.main.uri == site.cameras[0]["rtsp"]
    assert source.sub is not None
    assert source.sub.uri == site.cameras[0]["rtsp_sub"]
    url = source.sub.uri.replace("rtsp://", f"rtsp://viewer:{PASSWORD}@")
    assert read_stream(url, 3).keys[0]


@pytest.mark.parametrize("offset_s", [0, -315_360_00, 7200, -3])
def test_a_wrong_clock_is_measured_and_does_not_lock_us_out(site: SiteProcess, offset_s: int) -> None:
    site.fault(0, "clock", offset_s=offset_s)
    reading = client.read_clock(_address(site))
    assert reading.offset_ms is not None
    assert reading.uncertainty_ms is not None
    assert abs(reading.offset_ms - offset_s * 1000) <= reading.uncertainty_ms
    assert 1000 <= reading.uncertainty_ms < 3000
    details = client.probe(_address(site, OnvifAuth.ANY), "viewer", PASSWORD)
    assert details.clock.offset_ms == pytest.approx(offset_s * 1000, abs=2000)
    assert details.login == "ws_digest"


def test_a_declared_rate_is_passed_on_as_declared(site: SiteProcess) -> None:
    site.fault(0, "fps_lie", declared=50)
    (source,) = client.probe(_address(site), "viewer", PASSWORD).sources
    assert source.main.fps_declared == 50.0


def test_a_snapshot_is_a_picture(site: SiteProcess) -> None:
    (source,) = client.probe(_address(site), "viewer", PASSWORD).sources
    jpeg = client.snapshot(source, "viewer", PASSWORD)
    assert jpeg is not None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (360, 640, 3)
    with pytest.raises(AgentError) as refused:
        client.snapshot(source, "viewer", "guess")
    assert refused.value.code == "onvif.auth_failed"
    assert client.snapshot(replace(source, snapshot_uri=None), "viewer", PASSWORD) is None


def test_given_addresses_are_asked_and_only_devices_are_listed(site: SiteProcess) -> None:
    held = HeldPort("127.0.0.1", 0)
    asked = [camera["onvif"] for camera in site.cameras]
    found = client.discover(0.1, [*asked, f"127.0.0.1:{held.port}"])
    held.close()
    assert {device.address for device in found} >= set(asked)
    assert f"127.0.0.1:{held.port}" not in {device.address for device in found}
    with pytest.raises(AgentError):
        client.discover(0.1, ["not an address"])


def test_a_rebooting_device_is_unreachable(site: SiteProcess) -> None:
    site.fault(0, "reboot", seconds=60)
    with pytest.raises(AgentError) as refused:
        client.probe(_address(site), "viewer", PASSWORD)
    assert refused.value.code == "onvif.unreachable"


def test_proxies_are_neither_used_nor_lost(site: SiteProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert client.probe(_address(site), "viewer", PASSWORD).sources
    assert (os.environ["http_proxy"], os.environ["https_proxy"]) == ("http://127.0.0.1:1",) * 2


def test_motion_goes_on_after_a_reboot_and_over_renewals(site: SiteProcess) -> None:
    stop = threading.Event()
    troubles: list[str] = []
    seen: list[MotionSeen] = []
    begun = time.monotonic()
    giving_up = threading.Timer(90, stop.set)
    giving_up.start()
    for motion in MotionEvents(_address(site), "viewer", PASSWORD, stop, troubles.append, life_s=4):
        seen.append(motion)
        if len(seen) == 2:
            site.fault(0, "reboot", seconds=0.5)
        if len(seen) >= 5 and time.monotonic() - begun > 8:
            stop.set()
    giving_up.cancel()
    assert [one.initial for one in seen].count(True) == 2
    assert troubles[0] == ""
    assert troubles[1] in {"onvif.unreachable", "onvif.bad_answer"}
    assert troubles[2:] == [""]  # eight seconds and more on leases of four: renewed, not lost
    changes = [one.is_motion for one in seen if not one.initial]
    assert True in changes
    assert False in changes


@contextmanager
def _served(handler: Callable[[WebRequest], Awaitable[WebResponse]]) -> Iterator[str]:
    """An HTTP server in a thread of its own; yields host:port."""
    held = HeldPort("127.0.0.1", 0)
    loop = asyncio.new_event_loop()
    server = WebServer(handler)
    loop.run_until_complete(server.start(held.listening()))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{held.port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
        held.close()


def _always(
    body: bytes, status: int = 200, content_type: str = "application/soap+xml"
) -> Callable[[WebRequest], Awaitable[WebResponse]]:
    async def handle(_: WebRequest) -> WebResponse:
        return WebResponse(status, body, content_type)

    return handle


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        ("truncated.xml", "onvif.bad_answer"),
        ("entity_bomb.xml", "onvif.bad_answer"),
        ("outside_entity.xml", "onvif.bad_answer"),
        ("page.html", "onvif.bad_answer"),
        ("page_401.html", "onvif.auth_failed"),
        ("not_authorized_fault.xml", "onvif.auth_failed"),
        ("wrong_types.xml", "onvif.clock_unreadable"),
        ("no_utc_time.xml", "onvif.clock_unreadable"),
        ("other_answer.xml", "onvif.clock_unreadable"),
        ("empty_body.xml", "onvif.clock_unreadable"),
    ],
)
def test_a_hostile_answer_has_its_code(sample: str, code: str) -> None:
    with _served(_always((SOAP / sample).read_bytes())) as address:
        begun = time.monotonic()
        with pytest.raises(AgentError) as refused:
            client.read_clock(address)
        assert refused.value.code in {code, "onvif.bad_answer"}
        with pytest.raises(AgentError) as refused:
            client.probe(address, "viewer", PASSWORD)
        assert refused.value.code in {"onvif.bad_answer", "onvif.auth_failed"}
        assert time.monotonic() - begun < 20


def test_ten_megabytes_are_not_read() -> None:
    served = _served(_always(b"<a>" + b" " * 10_000_000 + b"</a>"))
    with served as address, pytest.raises(AgentError) as refused:
        client.read_clock(address)
    assert refused.value.code == "onvif.bad_answer"
    assert "larger" in refused.value.detail


def test_a_device_without_video_has_no_profile() -> None:
    answers = {
        b"GetProfiles": b'<t:GetProfilesResponse xmlns:t="http://www.onvif.org/ver10/media/wsdl"/>',
        b"GetCapabilities": (
            b'<d:GetCapabilitiesResponse xmlns:d="http://www.onvif.org/ver10/device/wsdl" '
            b'xmlns:tt="http://www.onvif.org/ver10/schema"><d:Capabilities><tt:Media><tt:XAddr>http://192.0.2.1/media'
            b"</tt:XAddr></tt:Media></d:Capabilities></d:GetCapabilitiesResponse>"
        ),
        b"GetDeviceInformation": b'<d:GetDeviceInformationResponse xmlns:d="http://www.onvif.org/ver10/device/wsdl"/>',
    }

    async def handle(request: WebRequest) -> WebResponse:
        inner = next((body for name, body in answers.items() if name in request.body), b"<x/>")
        soap = (
            b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
            + inner
            + b"</s:Body></s:Envelope>"
        )
        return WebResponse(200, soap, "application/soap+xml")

    with _served(handle) as address, pytest.raises(AgentError) as refused:
        client.probe(address, "viewer", PASSWORD)
    assert refused.value.code == "onvif.no_profile", refused.value.detail


def test_a_server_that_never_answers_is_given_up() -> None:
    async def handle(_: WebRequest) -> WebResponse:
        await asyncio.sleep(30)
        return WebResponse(200)

    begun = time.monotonic()
    with _served(handle) as address, pytest.raises(AgentError) as refused:
        client.read_clock(address)
    assert refused.value.code == "onvif.unreachable"
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_an_answer_that_drips_is_given_up(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(head)
                while not stop.wait(0.1):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        begun = time.monotonic()
        with DeviceHttp(read_s=1.0, total_s=0.5) as http, pytest.raises(AgentError) as refused:
            http.fetch("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/")
        took_s = time.monotonic() - begun
        stop.set()
        thread.join(5)
    assert took_s < 3
    assert refused.value.code == "onvif.unreachable"


def test_the_usual_library_talks_to_the_camera(site: SiteProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """onvif-zeep's own camera class, as others use it: our device is understood by a client that is not ours."""
    monkeypatch.setenv("http_proxy", "")  # the class removes it from the environment; monkeypatch brings it back
    monkeypatch.setenv("https_proxy", "")
    host, port = _address(site, OnvifAuth.WS_DIGEST).split(":")
    wsdl = Path(onvif.__file__).parent.parent / "wsdl"
    camera = onvif.ONVIFCamera("127.0.0.1", port, "viewer", PASSWORD, wsdl_dir=str(wsdl))
    assert camera.devicemgmt.GetHostname().Name.startswith("sim-")
    assert {scope.ScopeItem for scope in camera.devicemgmt.GetScopes()} >= {"onvif://www.onvif.org/hardware/SimCam"}
    services = camera.devicemgmt.GetServices({"IncludeCapability": False})
    assert [service.Namespace.rsplit("/", 2)[1] for service in services] == ["device", "media", "events"]
    media = f"http://{host}:{port}/onvif/media_service"
    caller = Caller(Login("viewer", PASSWORD), timedelta())
    (source,) = caller.call("media", media, "GetVideoSources")
    assert (source.token, source.Framerate) == ("vs0", 25.0)
    assert [one.Name for one in caller.call("media", media, "GetVideoEncoderConfigurations")] == ["main", "sub"]
    with pytest.raises(AgentError) as refused:
        caller.call("media", media, "GetStreamUri", StreamSetup=client.STREAM_SETUP, ProfileToken="none")
    assert "NoProfile" in refused.value.detail


def test_the_clock_is_set_and_the_device_rebooted_by_onvif(site: SiteProcess) -> None:
    address = _address(site)
    device, caller = f"http://{address}/onvif/device_service", Caller(Login("viewer", PASSWORD), timedelta())
    date = {"Year": 2020, "Month": 2, "Day": 29}
    at = {"Time": {"Hour": 1, "Minute": 2, "Second": 3}, "Date": date}
    caller.call(
        "devicemgmt", device, "SetSystemDateAndTime", DateTimeType="Manual", DaylightSavings=False, UTCDateTime=at
    )
    offset_ms = client.read_clock(address).offset_ms
    assert offset_ms is not None
    told = datetime.now(UTC) + timedelta(milliseconds=offset_ms)
    assert abs((told - datetime(2020, 2, 29, 1, 2, 3, tzinfo=UTC)).total_seconds()) < 5
    details = client.probe(address, "viewer", PASSWORD)
    caller = Caller(Login("viewer", PASSWORD), timedelta(milliseconds=details.clock.offset_ms or 0))
    assert caller.call("devicemgmt", device, "SystemReboot") == "Rebooting"
    deadline = time.monotonic() + 5
    while client.discover(0, [address]) and time.monotonic() < deadline:
        pass
    assert not [found for found in client.discover(0, [address]) if found.address == address]


STREAM = StreamDetails("p", "h264", 640, 360, 25.0, "rtsp://127.0.0.1/main")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"<html>no picture</html>", 200, "onvif.bad_answer"),
        (b"\xff\xd8\xff" + b"x" * 5_000_000, 200, "onvif.bad_answer"),
    ],
)
def test_a_snapshot_that_is_none_is_refused(body: bytes, status: int, code: str) -> None:
    with _served(_always(body, status, "image/jpeg")) as address:
        source = SourceDetails("vs0", STREAM, None, f"http://{address}/snapshot")
        with pytest.raises(AgentError) as refused:
            client.snapshot(source, "viewer", PASSWORD)
    assert refused.value.code == code


def test_a_large_snapshot_is_made_smaller() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (720, 1280, 3)).astype(np.uint8)
    done, jpeg = cv2.imencode(".jpg", noise)
    assert done
    assert jpeg.size > PICTURE_MAX_BYTES
    with _served(_always(jpeg.tobytes(), 200, "image/jpeg")) as address:
        smaller = client.snapshot(SourceDetails("vs0", STREAM, None, f"http://{address}/snapshot"), "viewer", PASSWORD)
    assert smaller is not None
    assert len(smaller) <= PICTURE_MAX_BYTES


def test_a_missing_snapshot_is_none() -> None:
    with _served(_always(b"", 404)) as address:
        assert (
            client.snapshot(SourceDetails("vs0", STREAM, None, f"http://{address}/snapshot"), "viewer", PASSWORD)
            is None
        )


MULTICAST = """
import json, sys
from pathlib import Path
from deploy.simcam.config import CameraConfig, SiteConfig
from deploy.simcam.process import start_site
from edge_agent.onvif import client
if __name__ == "__main__":
    cameras = (CameraConfig("村口"), CameraConfig("学校", announced_host="192.0.2.7"))
    with start_site(SiteConfig(cameras, host="10.77.0.1", discovery=True, cache_dir=Path(sys.argv[1]))) as site:
        found = client.discover(3.0, [])
        print(json.dumps([[camera["onvif"] for camera in site.cameras], [[d.address, d.name, d.endpoint] for d in found]]))
"""


def _may_unshare() -> str:
    """Why there can be no network namespace of our own; "" when there can."""
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("ip"):
        return "needs Linux with unshare and ip"
    return (
        ""
        if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode == 0
        else "needs root"
    )


def test_multicast_discovery_finds_the_cameras_of_a_network(cache: Path, tmp_path: Path) -> None:
    """On loopback WS-Discovery finds nobody (the library skips it), so this runs in a network namespace of its own."""
    why = _may_unshare()
    if why:
        pytest.skip(why)
    script = tmp_path / "multicast.py"
    script.write_text(MULTICAST, "utf-8")
    network = "ip link set lo up && ip link set lo multicast on && ip addr add 10.77.0.1/24 dev lo"
    network += " && ip route add 224.0.0.0/4 dev lo"
    command = ["unshare", "-n", "sh", "-c", f'{network} && exec "{sys.executable}" "{script}" "{cache}"']
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, cwd=root, env=environment)
    assert done.returncode == 0, done.stderr
    cameras, found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(address for address, _, _ in found) == sorted(cameras)
    assert {name for _, name, _ in found} == {"村口", "学校"}
    assert all(endpoint.startswith("urn:uuid:") for _, _, endpoint in found)
