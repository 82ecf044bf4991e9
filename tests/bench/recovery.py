"""`make bench NAME=recovery`: kill -9 of each part while the village works; what came back, and how long it took.

The agent is started again by us two seconds later, as systemd would; everything else by the hub's own supervisor.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from deploy.demo.client import HubClient
from deploy.demo.processes import DemoError, Processes
from deploy.demo.village import (
    BIN,
    Setting,
    accounts,
    adopt,
    default_footage,
    default_weights,
    start_agent,
    start_cameras,
    start_hub,
)

WITHIN_S = 120.0
PARTS = ("postgres", "objects", "messages", "serve", "worker", "agent")


class Village:
    """A running village that one may hurt."""

    def __init__(self, folder: Path) -> None:
        self.children = Processes(folder / "logs")
        self.setting = Setting(folder, default_footage(), default_weights(), 2, 0)
        cameras = start_cameras(self.children, self.setting)
        self.url = start_hub(self.children, self.setting)
        self.known = accounts(self.children, self.setting, self.url)
        with HubClient(self.url) as hub:
            hub.sign_in("demo-admin", self.known["demo-admin"])
            start_agent(self.children, self.setting, hub, self.url, cameras)
            adopt(self.children, hub, cameras)
        self.hub = HubClient(self.url).sign_in("wang", self.known["wang"])
        self.hub.purpose("recovery bench")

    def pid_of(self, part: str) -> int:
        if part == "agent":
            return self.children.pid("agent")
        ready = json.loads((self.setting.data / "hub-ready.json").read_text("utf-8"))
        return int(ready["children"][part])

    def newest_sighting(self) -> datetime | None:
        now = datetime.now(UTC)
        span = {"from_at": (now - timedelta(hours=1)).isoformat(), "to_at": (now + timedelta(hours=1)).isoformat()}
        items = self.hub.ask("GET", "/search/sightings", limit=1, **span)["items"]
        return datetime.fromisoformat(items[0]["start_at"]) if items else None

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.hub.ask("GET", "/clips/summary")
        return found

    def healthy(self) -> bool:
        answer = httpx.get(f"{self.url}/api/v1/health", timeout=5.0, trust_env=False)
        return answer.status_code == 200 and answer.json()["status"] == "ok"


def seconds_until(condition: Callable[[], bool]) -> float | None:
    """How long a condition took; None: not within the time. Errors of a hub that is away count as no."""
    began = time.monotonic()
    while time.monotonic() - began < WITHIN_S:
        try:
            if condition():
                return round(time.monotonic() - began, 2)
        except (DemoError, httpx.HTTPError):
            pass
        time.sleep(0.1)
    return None


def hurt(village: Village, part: str) -> dict[str, Any]:
    """Kills a part and watches the village come back."""
    before = village.summary()["verified"]
    os.kill(village.pid_of(part), signal.SIGKILL)
    killed_at = datetime.now(UTC)
    if part == "agent":
        village.children.forget("agent")
        time.sleep(2.0)
        village.children.start(
            "agent", [str(BIN / "qianshao-edge"), "run", "--data", str(village.setting.data / "agent")]
        )
    time.sleep(0.3)

    def seen() -> bool:
        newest = village.newest_sighting()
        return newest is not None and newest > killed_at

    def more_clips() -> bool:
        now = village.summary()
        return bool(now["verified"] > before and now["chains_broken"] == 0)

    return {
        "healthy_after_s": seconds_until(village.healthy),
        "new_sighting_searchable_after_s": seconds_until(seen),
        "new_clip_verified_after_s": seconds_until(more_clips),
    }


def main() -> int:
    """Prints one JSON object last."""
    with tempfile.TemporaryDirectory(prefix="qianshao-recovery-") as name:
        village = Village(Path(name))
        try:
            if seconds_until(lambda: village.summary()["verified"] >= 2) is None:
                print("the village did not begin to work", file=sys.stderr)
                return 1
            result: dict[str, Any] = {}
            for part in PARTS:
                result[part] = hurt(village, part)
                print(f"{part}: {result[part]}", flush=True)

            def settled() -> bool:
                now = village.summary()
                return bool(now["announced"] == now["uploaded"] == now["chains_waiting"] == 0)

            result["settled_after_s"] = seconds_until(settled)
            result["clips"] = village.summary()
            result["ledger"] = village.hub.ask("GET", "/ledger/verification")["ok"]
        finally:
            village.children.stop()
        result["processes_left"] = len(village.children.left())
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
