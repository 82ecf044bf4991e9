"""qianshao-edge: enrol this box, enter its cameras, run the agent, look at it, pause a camera."""

import asyncio
import json
import os
import platform
import re
import signal
import sqlite3
import sys
from datetime import datetime, timedelta
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import typer

from edge_agent.errors import AgentError, HubRefused
from edge_agent.kit.clock import utc_now
from edge_agent.observability import configure_logging
from edge_agent.reporting import STATUS_FILE, read_held
from edge_agent.sentences import SENTENCES, in_words
from edge_agent.settings import Settings
from edge_agent.spool import devices, wishes
from edge_agent.spool.lock import running_pid, sole_owner
from edge_agent.spool.store import Spool
from edge_agent.uplink.hub import HubClient
from edge_agent.uplink.identity import Identity, load_identity, load_key, save_identity, tidy_hub_url

ONVIF_PORT = 80
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:]+\])(?::(?P<port>\d{1,5}))?")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="平安黔哨 edge agent: the box beside your cameras.",
)
device_app = typer.Typer(no_args_is_help=True, help="The cameras this box may open. Their passwords stay here.")
app.add_typer(device_app, name="device")

Data = Annotated[
    Path | None, typer.Option("--data", help="Data folder [env: QIANSHAO_EDGE_DATA_DIR]", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value, for programs.")]


def main() -> None:
    """Entry point."""
    try:
        app()
    except AgentError as error:
        _fail(error)


def _fail(error: AgentError) -> NoReturn:
    sentence = SENTENCES.get(error.code, error.detail or "That did not work.")
    print(f"{sentence} [{error.code}]", file=sys.stderr)
    raise SystemExit(2 if isinstance(error, HubRefused) else 1)


def _settings(data: Path | None) -> Settings:
    return Settings() if data is None else Settings(data_dir=data)


def _spool(data: Path | None) -> Spool:
    return Spool(_settings(data).data_dir)


@app.command()
def enroll(
    hub: Annotated[str, typer.Option("--hub", help="The hub's address, e.g. https://hub.example.org")],
    code: Annotated[str, typer.Option("--code", help="The enrolment code, good once and for ten minutes.")],
    data: Data = None,
) -> None:
    """Make this box known to a hub. Makes the box's key, which never leaves it."""
    configure_logging("console")
    data_dir = _settings(data).data_dir
    if load_identity(data_dir) is not None:
        raise AgentError("enrolment.already")
    identity = asyncio.run(_enrol(tidy_hub_url(hub), code.strip(), data_dir))
    save_identity(data_dir, identity)
    print(f"Enrolled at {identity.hub_url} as “{identity.name}” (agent {identity.agent_id}).")
    print("Next: qianshao-edge device add HOST:PORT --username NAME, then qianshao-edge run")


async def _enrol(hub_url: str, code: str, data_dir: Path) -> Identity:
    async with HubClient(hub_url, load_key(data_dir)) as client:
        reply = await client.enrol(code, platform.node()[:200], package_version("qianshao"))
    return Identity(
        hub_url=hub_url,
        agent_id=reply.agent_id,
        name=reply.name,
        hub_public_key=reply.hub_public_key,
        messaging=reply.messaging,
    )


@device_app.command("add")
def device_add(
    address: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the camera's ONVIF service.")],
    username: Annotated[str, typer.Option("--username", help="User name at the camera.")] = "admin",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
    ] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Ask the camera once, now.")] = True,
    data: Data = None,
) -> None:
    """Enter a camera, or change its credentials. A running agent takes it up within a second."""
    place = tidy_address(address)
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _asked_password()
    spool = _spool(data)
    try:
        new = spool.call(devices.add, place, username, password)
    finally:
        spool.close()
    print(f"{'Added' if new else 'Changed'} {place}.")
    if check:
        _try_device(place, username, password)


def _asked_password() -> str:
    """Asked at the terminal, not shown. `device.no_password` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise AgentError("device.no_password")
    return str(typer.prompt("Password at the camera", hide_input=True, default="", show_default=False))


def _try_device(place: str, username: str, password: str) -> None:
    """Asks the camera once, so that a typing error shows here and not in a log. It stays entered whatever it answers."""
    from edge_agent.devices.adapter import OnvifProber

    try:
        probed = OnvifProber().probe(place, username, password)
    except AgentError as error:
        print(f"It was tried: {in_words(error.code)}", file=sys.stderr)
        if error.code == "onvif.auth_failed":
            raise SystemExit(1) from error
        return
    for source in probed.sources:
        name = " ".join(part for part in (source.manufacturer, source.model) if part) or "a camera"
        print(f"It answers: {name}, {source.main.width}×{source.main.height} {source.main.codec}.")
    print("Next: qianshao-edge run (if it does not run yet), then adopt the camera on the hub's page, under Cameras.")


@device_app.command("list")
def device_list(data: Data = None, as_json: AsJson = False) -> None:
    """The cameras entered here (never their passwords)."""
    spool = _spool(data)
    try:
        rows = [
            {"address": one.address, "username": one.username, "cameras": _ids(spool, one.address)}
            for one in spool.call(devices.all_devices)
        ]
    finally:
        spool.close()
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        cameras = row["cameras"]
        print(f"{row['address']}  {row['username']}  {', '.join(cameras) if cameras else 'not reached yet'}")
    if not rows:
        print("None yet. Add one: qianshao-edge device add HOST:PORT --username NAME")


def _ids(spool: Spool, address: str) -> list[str]:
    return [str(camera) for camera in spool.call(devices.camera_ids, address).values()]


@device_app.command("remove")
def device_remove(
    address: Annotated[str, typer.Argument(help="As `device list` shows it.")], data: Data = None
) -> None:
    """Forget a camera and its password; a running agent stops recording it."""
    spool = _spool(data)
    try:
        if not spool.call(devices.remove, tidy_address(address)):
            raise AgentError("device.unknown")
    finally:
        spool.close()
    print(f"Removed {tidy_address(address)}.")


def tidy_address(text: str) -> str:
    """HOST:PORT of what a person wrote (also a service URL); port 80 when none is given. `device.address_invalid` otherwise."""
    bare = re.sub(r"^https?://", "", text.strip()).split("/", 1)[0]
    match = _ADDRESS.fullmatch(bare)
    port = int(match["port"] or ONVIF_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise AgentError("device.address_invalid")
    return f"{match['host']}:{port}"


@app.command()
def discover(
    addresses: Annotated[list[str] | None, typer.Argument(help="Also ask these directly (HOST:PORT).")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to listen for answers.")] = 4.0,
    as_json: AsJson = False,
) -> None:
    """Look for ONVIF cameras on this network."""
    from edge_agent.devices.adapter import discover_devices

    asked = [tidy_address(one) for one in addresses or []]
    found = discover_devices(timeout_s, asked)
    if as_json:
        print(json.dumps(found))
        return
    for one in found:
        print("  ".join(str(value) for value in one.values() if value))
    for address in [one for one in asked if one not in {device["address"] for device in found}]:
        print(f"{address} does not answer as an ONVIF camera. {SENTENCES['onvif.bad_answer']}")
    if found:
        print("Next: qianshao-edge device add HOST:PORT --username NAME")
    elif not asked:
        print(
            "No camera answered in this network. Is it on, in the same network, and ONVIF switched on in its settings?"
        )
        print("One in another network can be asked by its address: qianshao-edge discover HOST:PORT")


@app.command()
def run(data: Data = None) -> None:
    """Run the agent until Ctrl-C or SIGTERM."""
    settings = _settings(data)
    configure_logging(settings.log_format)
    identity = load_identity(settings.data_dir)
    if identity is None:
        raise AgentError("enrolment.missing")
    with sole_owner(settings.data_dir):
        _announce(settings, identity)
        asyncio.run(_run(settings, identity))
    end_now()


def end_now() -> NoReturn:
    """Ends the process without unwinding threads: all is closed and on disk, and one inside native code (a detector that
    loads, a camera that does not answer) would abort the interpreter's own end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _announce(settings: Settings, identity: Identity) -> None:
    print(f"Agent “{identity.name}” ({identity.agent_id})", file=sys.stderr)
    print(f"  hub        {identity.hub_url}", file=sys.stderr)
    print(f"  data       {settings.data_dir.resolve()}", file=sys.stderr)
    print(f"  detector   {settings.detector} on {settings.detector_runtime}", file=sys.stderr)
    limit = f"{settings.upload_bytes_per_s} bytes/s" if settings.upload_bytes_per_s else "none"
    print(f"  upload     {settings.upload_concurrency} at once, limit {limit}", file=sys.stderr)


async def _run(settings: Settings, identity: Identity) -> None:
    # Here, not above: PyAV, OpenVINO, aiortc and zeep take seconds to load, which `pause` and `status` should not.
    from edge_agent.app import Agent
    from edge_agent.devices.adapter import OnvifProber
    from edge_agent.live.publisher import LivePublisher

    agent = Agent(settings, identity, load_key(settings.data_dir), OnvifProber(), LivePublisher)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()


@app.command()
def status(data: Data = None, as_json: AsJson = False) -> None:
    """What the agent is doing, and what waits for the hub."""
    seen = _status(_settings(data).data_dir)
    if as_json:
        print(json.dumps(seen))
        return
    print(f"agent     {seen['agent'] or 'not enrolled'}  {'running' if seen['running'] else 'not running'}")
    print(f"hub       {seen['hub'] or '-'}  {in_words(seen['uplink'])}")
    print(f"analytics {in_words(seen['analytics'])}")
    if seen["analyst"]:
        print("          " + _analyst_line(seen["analyst"]))
    print(f"outbox    {seen['outbox_messages']} messages, {seen['clip_bytes']} bytes of clips")
    print("clips     " + (", ".join(f"{count} {state}" for state, count in seen["clips"].items()) or "none"))
    for reason, count in seen["losses"].items():
        print(f"given up  {count} × {reason}")
    for address, code in seen["devices"].items():
        print(f"device    {address}  {in_words(code) if code else 'answers'}")
    for camera in seen["cameras"]:
        print(f"camera    {camera['camera_id']}  {camera['name']}  {camera['state']}  {in_words(camera['detail'])}")
    print(_next_step(seen))


def _next_step(seen: dict[str, Any]) -> str:
    """What a newcomer does next; empty when all is set up."""
    if seen["agent"] is None:
        return SENTENCES["enrolment.missing"]
    if not seen["running"]:
        return "Start it: qianshao-edge run"
    if not seen["devices"]:
        return "No camera is entered yet: qianshao-edge device add HOST:PORT --username NAME"
    return "" if seen["cameras"] else "No camera is adopted yet: open the hub's page, Cameras, and adopt it."


def _analyst_line(seen: dict[str, Any]) -> str:
    """Analytics' counters since the agent's start, in one line."""
    return (
        f"{seen['looked_at']} frames looked at, {seen['detected']} by the detector ({seen['detect_ms']:.0f} ms each),"
        f" {seen['dropped']} dropped, {seen['sightings']} sightings, {seen['events']} events"
    )


def _status(data_dir: Path) -> dict[str, Any]:
    identity = load_identity(data_dir)
    pid = running_pid(data_dir)
    live: dict[str, Any] = _read_status(data_dir) if pid is not None else {}
    reports = {one["camera_id"]: one for one in live.get("presence", {}).get("cameras", [])}
    spool = Spool(data_dir)
    try:
        held = spool.call(read_held)
        desired = spool.call(wishes.desired)
        paused = {str(one.camera_id) for one in spool.call(wishes.pauses)}
    finally:
        spool.close()
    names = {} if desired is None else {str(one.camera_id): one.name for one in desired.cameras}
    return {
        "running": pid is not None,
        "pid": pid,
        "agent": None if identity is None else identity.name,
        "agent_id": None if identity is None else str(identity.agent_id),
        "hub": None if identity is None else identity.hub_url,
        "uplink": live.get("uplink", "not running"),
        "analytics": live.get("analytics", "not running"),
        "analyst": live.get("analyst"),
        "devices": live.get("devices", {}),
        "desired_version": 0 if desired is None else desired.version,
        "outbox_messages": held.outbox.count,
        "outbox_bytes": held.outbox.size_bytes,
        "clips": held.clips,
        "clip_bytes": held.clip_bytes,
        "losses": held.losses,
        "cameras": [
            {
                "camera_id": camera,
                "name": name,
                "state": reports.get(camera, {}).get("state", "unknown"),
                "detail": reports.get(camera, {}).get("detail", ""),
                "paused_here": camera in paused,
            }
            for camera, name in names.items()
        ],
    }


def _read_status(data_dir: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads((data_dir / STATUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read


@app.command()
def pause(
    camera: Annotated[str, typer.Argument(help="Camera id, or its name at the hub, or HOST:PORT of its device.")],
    minutes: Annotated[float | None, typer.Option("--minutes", help="Resume by itself after so long.")] = None,
    data: Data = None,
) -> None:
    """Stop sharing a camera, at once and whatever the hub wants. Recording at home goes on."""
    until: datetime | None = None if minutes is None else utc_now() + timedelta(minutes=minutes)
    spool = _spool(data)
    try:
        for camera_id in _cameras(spool, camera):
            spool.call(wishes.pause, camera_id, until)
            print(f"Paused {camera_id}{'' if until is None else f' until {until:%H:%M:%S} UTC'}.")
    finally:
        spool.close()


@app.command()
def resume(
    camera: Annotated[str, typer.Argument(help="Camera id, or its name at the hub, or HOST:PORT of its device.")],
    data: Data = None,
) -> None:
    """End a pause that was set at this box. (A pause set at the hub is ended there.)"""
    spool = _spool(data)
    try:
        for camera_id in _cameras(spool, camera):
            ended = spool.call(wishes.resume, camera_id)
            print(f"{'Resumed' if ended else 'Was not paused here:'} {camera_id}")
    finally:
        spool.close()


def _cameras(spool: Spool, text: str) -> list[UUID]:
    """Cameras meant by an id, a name or a device's address. `camera.unknown` when none is."""
    known = spool.call(_known_cameras)
    meant = [camera_id for camera_id, words in known.items() if text in words]
    if not meant:
        raise AgentError("camera.unknown")
    return meant


def _known_cameras(db: sqlite3.Connection) -> dict[UUID, set[str]]:
    known: dict[UUID, set[str]] = {}
    for device in devices.all_devices(db):
        for camera_id in devices.camera_ids(db, device.address).values():
            known.setdefault(camera_id, {str(camera_id)}).add(device.address)
    desired = wishes.desired(db)
    for camera in desired.cameras if desired is not None else []:
        known.setdefault(camera.camera_id, {str(camera.camera_id)}).add(camera.name)
    return known
