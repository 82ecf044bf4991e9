"""A whole hub as people start it: `qianshao-hub up` in a process of its own, for tests and other harnesses.

async with hub_up(folder) as hub:       # ready; ended by SIGTERM, nothing left
    hub.url, hub.admin, hub.children
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hub.embedded.ports import remembered
from hub.embedded.stack import Servers
from hub.settings import Secrets
from tests.servers import wait_until

UP_WITHIN_S = 90.0


@dataclass
class HubProcess:
    """A running `up`."""

    process: asyncio.subprocess.Process
    folder: Path
    ready: dict[str, Any]
    output: Path

    @property
    def url(self) -> str:
        """Where it serves."""
        return str(self.ready["url"])

    @property
    def children(self) -> dict[str, int]:
        """Pids by name as they were when it became ready."""
        return dict(self.ready["children"])

    @property
    def admin(self) -> dict[str, str]:
        """Name and password of the first account (first start only)."""
        return dict(self.ready["admin"])

    def servers(self) -> Servers:
        """The embedded servers behind it."""
        return Servers(self.folder, remembered(self.folder / "ports.json"), Secrets.load(self.folder))

    def child(self, name: str) -> int | None:
        """The pid of a child as it is now; None while it is down."""
        marks = json.loads((self.folder / "children.json").read_text())
        pids = [int(mark["pid"]) for mark in marks if mark["name"] == name]
        return pids[0] if pids and psutil.pid_exists(pids[0]) else None

    async def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 60.0) -> int:
        """Signals `up` and waits for its end; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), within_s)


def alive(pids: Sequence[int]) -> list[int]:
    """Those that still run; a dead one nobody has collected yet does not count."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


async def start_hub(
    folder: Path, *, env: dict[str, str] | None = None, prefix: Sequence[str] = (), ready_file: Path | None = None
) -> HubProcess:
    """Starts `up` on `folder` and waits until it is ready."""
    ready_file = ready_file or folder.with_name(folder.name + ".ready.json")
    output = folder.with_name(folder.name + ".up.log")
    command = [*prefix, sys.executable, "-m", "hub.cli", "up", "--port", "0", "--data", str(folder)]
    with output.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--ready-file",
            str(ready_file),
            env={**os.environ, **(env or {})},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    async def settled() -> bool:
        return ready_file.exists() or process.returncode is not None

    await wait_until(settled, within_s=UP_WITHIN_S)
    assert process.returncode is None, output.read_text()
    return HubProcess(process, folder, json.loads(ready_file.read_text()), output)


@asynccontextmanager
async def hub_up(folder: Path, *, env: dict[str, str] | None = None) -> AsyncIterator[HubProcess]:
    """A hub while the block runs."""
    hub = await start_hub(folder, env=env)
    try:
        yield hub
    finally:
        await hub.end()
