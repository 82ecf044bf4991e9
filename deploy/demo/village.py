"""Setting the village up, each step through the door a person or a box would use."""

import json
import os
import secrets
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.demo.client import HubClient
from deploy.demo.processes import DemoError, Processes

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CAMERA_USER = "viewer"
STAFF = {
    "zhang": ("张警官（侦查）", "investigator"),
    "li": ("李值班（监看）", "monitor"),
    "wang": ("王所长（主管）", "supervisor"),
    "chen": ("陈审计（审计）", "auditor"),
}


@dataclass(frozen=True)
class Setting:
    """Where the demo keeps things and what it films."""

    data: Path
    footage: Path | None
    weights: Path | None
    cameras: int
    port: int

    @property
    def accounts_file(self) -> Path:
        """Accounts with their generated passwords, mode 0600."""
        return self.data / "accounts.json"


def step(text: str, began: float) -> None:
    """One line of progress with its duration."""
    print(f"  {text} ({time.monotonic() - began:.1f} s)", flush=True)


def start_hub(children: Processes, setting: Setting) -> str:
    """`qianshao-hub up`; the hub's URL."""
    ready = setting.data / "hub-ready.json"
    ready.unlink(missing_ok=True)
    os.environ["QIANSHAO_BASEMAP_PATH"] = str(ROOT / "deploy" / "demo" / "village.geojson")
    os.environ["QIANSHAO_HTTP_PORT"] = str(setting.port)
    command = [str(BIN / "qianshao-hub"), "up", "--data", str(setting.data / "hub"), "--ready-file", str(ready)]
    children.start("hub", command)
    children.wait_for("the hub", ready.exists, 120)
    url: str = json.loads(ready.read_text("utf-8"))["url"]
    return url


def start_cameras(children: Processes, setting: Setting) -> list[dict[str, Any]]:
    """The simulated site; its cameras as the state file lists them."""
    state, password = setting.data / "simcam.json", setting.data / "simcam.password"
    if not password.exists():
        write_private(password, secrets.token_urlsafe(12))
    state.unlink(missing_ok=True)
    source = ["--footage", str(setting.footage)] if setting.footage else ["--rendered"]
    command = [
        sys.executable, "-m", "deploy.simcam", "--site", "village", "--cameras", str(setting.cameras), *source,
        "--base-port", str(_base_port(setting)), "--username", CAMERA_USER, "--password-file", str(password),
        "--cache", str(ROOT / ".cache" / "simcam"), "--state", str(state),
    ]  # fmt: skip
    children.start("simcam", command)
    children.wait_for("the simulated cameras (films are prepared once)", state.exists, 420)
    cameras: list[dict[str, Any]] = json.loads(state.read_text("utf-8"))["cameras"]
    return cameras


def _base_port(setting: Setting) -> int:
    """The same ports at each start, so that the agent finds its devices again; free ones at the first."""
    kept, count = setting.data / "simcam.port", 2 * setting.cameras
    if kept.exists():
        port = int(kept.read_text())
        if not _free(port, count):
            raise DemoError(
                f"ports {port} to {port + count - 1} are taken; free them, or begin anew: rm -r {setting.data}"
            )
        return port
    for _ in range(200):
        port = 20_000 + secrets.randbelow(10_000)  # below the range the system hands out by itself
        if _free(port, count):
            kept.write_text(str(port))
            return port
    raise DemoError(f"no {count} free ports in a row between 20000 and 30000")


def _free(first: int, count: int) -> bool:
    """Whether a run of ports can be bound on loopback."""
    for port in range(first, first + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def accounts(children: Processes, setting: Setting, url: str) -> dict[str, str]:
    """One account per role, with generated passwords; made once, kept beside the data."""
    if setting.accounts_file.exists():
        kept: dict[str, str] = json.loads(setting.accounts_file.read_text("utf-8"))
        return kept
    made = json.loads(
        children.run(
            "user-add",
            [
                str(BIN / "qianshao-hub"), "user", "add", "demo-admin", "--display-name", "演示管理员", "--role", "admin",
                "--data", str(setting.data / "hub"),
            ],
        )
    )  # fmt: skip
    found = {"demo-admin": str(made["password"])}
    with HubClient(url) as hub:
        hub.sign_in("demo-admin", found["demo-admin"])
        for name, (display_name, role) in STAFF.items():
            body = {"username": name, "display_name": display_name, "role": role}
            found[name] = str(hub.ask("POST", "/users", body)["password"])
    write_private(setting.accounts_file, json.dumps(found, indent=1))
    return found


def start_agent(children: Processes, setting: Setting, hub: HubClient, url: str, cameras: list[dict[str, Any]]) -> None:
    """Enrols the agent with a fresh code (once), gives it the devices' credentials, runs it."""
    data = setting.data / "agent"
    edge = [str(BIN / "qianshao-edge")]
    if setting.weights:
        os.environ["QIANSHAO_WEIGHTS"] = str(setting.weights)
    password = (setting.data / "simcam.password").read_text().strip()
    if not (data / "identity.json").exists():
        code = hub.ask("POST", "/enrolment-codes", {"label": "云上村 1 号盒", "village": "云上村"})["code"]
        children.run("agent-enroll", [*edge, "enroll", "--hub", url, "--code", code, "--data", str(data)])
        for camera in cameras:
            add = [*edge, "device", "add", camera["onvif"], "--username", CAMERA_USER, "--password-stdin"]
            children.run("agent-device-add", [*add, "--data", str(data)], stdin=password + "\n")
    children.start("agent", [*edge, "run", "--data", str(data)])


def adopt(children: Processes, hub: HubClient, cameras: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Waits for the candidates, gives each its name, place and consent, waits until all are live."""
    wanted = {camera["onvif"]: camera for camera in cameras}

    def found() -> list[dict[str, Any]]:
        return [c for c in hub.ask("GET", "/cameras") if c["address"] in wanted]

    children.wait_for("the agent to offer its cameras", lambda: len(found()) == len(wanted), 60)
    consent = {
        "share_clips": True,
        "share_live": True,
        "purposes": ["emergency", "theft_loss", "traffic", "alarms"],
    }
    for camera in found():
        if camera["adopted"]:
            continue
        source = wanted[camera["address"]]
        place = source["place"]
        hub.ask(
            "POST",
            f"/cameras/{camera['id']}/adoption",
            {
                "name": source["name"],
                "village": "云上村",
                "position": {"lon": place["lon"], "lat": place["lat"]},
                "heading_deg": place["heading_deg"],
                "fov_deg": place["fov_deg"],
                "range_m": place["range_m"],
                "consent": consent,
            },
        )

    def live() -> bool:
        return all(c["adopted"] and c["health"]["state"] == "live" for c in found())

    children.wait_for("all cameras to be live", live, 90)
    return found()


def write_private(path: Path, text: str) -> None:
    """A file only its owner reads."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


def default_footage() -> Path | None:
    """`FOOTAGE`, else the sibling folder shared/footage; None: the scene is rendered."""
    named = os.environ.get("FOOTAGE")
    folder = Path(named) if named else ROOT.parent / "shared" / "footage"
    if named and not folder.is_dir():
        raise DemoError(f"FOOTAGE={named}: there is no such folder")
    return folder if folder.is_dir() else None


def default_weights() -> Path | None:
    """`QIANSHAO_WEIGHTS`, else the sibling folder shared/weights; None: the prepared cache or a download."""
    named = os.environ.get("QIANSHAO_WEIGHTS")
    folder = Path(named) if named else ROOT.parent / "shared" / "weights"
    return folder if folder.is_dir() else None
