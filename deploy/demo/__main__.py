"""`python -m deploy.demo`: starts the village and says where to look; `--check` proves from outside that it works, and ends."""

import argparse
import contextlib
import json
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from deploy.demo.check import check
from deploy.demo.client import HubClient
from deploy.demo.processes import DemoError, Processes
from deploy.demo.village import (
    ROOT,
    Setting,
    accounts,
    adopt,
    default_footage,
    default_weights,
    start_agent,
    start_cameras,
    start_hub,
    step,
)


def main() -> int:
    """Parses the arguments and runs the demo."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="work for a while, prove it from outside, print JSON, end")
    parser.add_argument("--work", type=float, default=75.0, metavar="SECONDS", help="how long --check lets it work")
    parser.add_argument("--cameras", type=int, default=4, help="how many simulated cameras (default 4)")
    parser.add_argument("--port", type=int, default=None, help="the page's port (default 8420; a free one for --check)")
    parser.add_argument(
        "--data", type=Path, default=None, help="data folder (default .demo/village, kept between runs)"
    )
    given = parser.parse_args()
    data = given.data or ROOT / ".demo" / ("check" if given.check else "village")
    if given.check and given.data is None:
        shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's background job ignores SIGINT otherwise
        signal.signal(number, _interrupt)
    children = Processes(data / "logs")
    try:
        port = given.port if given.port is not None else (0 if given.check else 8420)
        setting = Setting(data.resolve(), default_footage(), default_weights(), given.cameras, port)
        return _run(children, setting, given)
    except DemoError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        children.stop()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(children: Processes, setting: Setting, given: argparse.Namespace) -> int:
    url, known, cameras = _set_up(children, setting)
    if given.check:
        result = check(url, known, cameras, given.work, setting.data / "logs" / "page.png")
        children.stop()
        result["processes_left"] = len(children.left())
        print(json.dumps(result, ensure_ascii=False), flush=True)
        return 0 if _holds(result, given.cameras) else 1
    _welcome(url, known, setting)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    print("\nending …", flush=True)
    children.stop()
    left = children.left()
    print("nothing is left running" if not left else f"still running: {left}", flush=True)
    return 0 if not left else 1


def _set_up(children: Processes, setting: Setting) -> tuple[str, dict[str, str], list[dict[str, Any]]]:
    print("平安黔哨 Hub demo", flush=True)
    began = time.monotonic()
    films = f"footage from {setting.footage}" if setting.footage else "a rendered scene (no footage at hand)"
    cameras = start_cameras(children, setting)
    step(f"{len(cameras)} simulated ONVIF cameras: {films}", began)
    began = time.monotonic()
    url = start_hub(children, setting)
    step("PostgreSQL, S3, NATS, hub and worker answer", began)
    began = time.monotonic()
    known = accounts(children, setting, url)
    with HubClient(url) as hub:
        hub.sign_in("demo-admin", known["demo-admin"])
        start_agent(children, setting, hub, url, cameras)
        step("agent enrolled and running", began)
        began = time.monotonic()
        adopted = adopt(children, hub, cameras)
        step(f"{len(adopted)} cameras adopted and live", began)
    return url, known, adopted


def _welcome(url: str, known: dict[str, str], setting: Setting) -> None:
    print(f"\nThe page: {url}   (people and vehicles become searchable within a minute)\n")
    for name, password in known.items():
        print(f"  {name:<12} {password}")
    print(f"\nAccounts are kept in {setting.accounts_file}. Ctrl-C ends everything.", flush=True)


def _holds(result: dict[str, Any], cameras: int) -> bool:
    """The conditions the demo promises."""
    vehicles = {"car", "bus", "truck", "motorcycle", "bicycle"}
    conditions = {
        "cameras": result["cameras"] == cameras,
        "classes": "person" in result["classes"] and bool(vehicles & set(result["classes"])),
        "clips": result["clips"] >= 4 and result["clips_verified"] == result["clips"],
        "seal_chain_ok": result["seal_chain_ok"] is True,
        "search": result["search_p95_ms"] is not None and result["appear_to_searchable_p50_s"] is not None,
        "player": result["clip_played_s"] > 0.5 and result["seal_shown"] == "verified",
        "live": result["live_frames_decoded"] > 50 and result["live_first_frame_ms"] is not None,
        "links": result["proposed_links"] > 0,
        "processes_left": result["processes_left"] == 0,
    }
    for name, held in conditions.items():
        if not held:
            print(f"does not hold: {name}", file=sys.stderr, flush=True)
    return all(conditions.values())


if __name__ == "__main__":
    sys.exit(main())
