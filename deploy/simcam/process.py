"""A site in a process of its own, for synchronous tests, other harnesses and the demo.

The child runs an event loop with a `Site`, tells its state over a pipe when it is ready, and ends when the pipe closes,
so it cannot outlive whoever started it.
"""

import asyncio
import json
import multiprocessing
import signal
import urllib.request
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

from deploy.simcam.config import SiteConfig
from deploy.simcam.prepare import SourceError
from deploy.simcam.site import Site

READY_S = 300.0
STOP_S = 10.0


class SiteFailed(Exception):
    """The site did not start; the message says why."""


@dataclass
class SiteProcess:
    """A running site. `state` is what the state file of the command line holds; stop it with `stop` or `with`."""

    state: dict[str, Any]
    config: SiteConfig
    _process: BaseProcess
    _pipe: Connection

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def cameras(self) -> list[dict[str, Any]]:
        """Name, addresses, stream sizes and rates of each camera."""
        cameras: list[dict[str, Any]] = self.state["cameras"]
        return cameras

    def url_with_login(self, index: int, stream: str = "main") -> str:
        """The stream's RTSP URL with the first password in it."""
        address = self.cameras[index]["rtsp"].removeprefix("rtsp://").removesuffix("/main")
        return f"rtsp://{self.config.username}:{self.config.password}@{address}/{stream}"

    def fault(self, index: int, kind: str, **settings: object) -> dict[str, Any]:
        """As `Site.fault`; returns the camera's state after it.

        Raises:
            urllib.error.HTTPError: no such camera or fault.
        """
        url = f"{self.state['control']}/cameras/{index}/faults"
        body = json.dumps({"kind": kind, **settings}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own child
        with _opener.open(request, timeout=30) as answer:
            state: dict[str, Any] = json.load(answer)
            return state

    def stop(self) -> None:
        """Ends the child; idempotent."""
        self._pipe.close()
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: never through a proxy


def start_site(config: SiteConfig, ready_s: float = READY_S) -> SiteProcess:
    """Starts a site with a control server and waits until it is ready. Blocking.

    Raises:
        SiteFailed: it could not start, or was not ready within `ready_s`.
    """
    config = replace(config, control_port=config.control_port or 0)
    spawn = multiprocessing.get_context("spawn")  # a fork would take threads' locks with it
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_run_child, args=(config, theirs), name="simcam-site", daemon=True)
    process.start()
    theirs.close()
    try:
        said = ours.recv() if ours.poll(ready_s) else {"error": f"not ready within {ready_s:.0f} s"}
    except EOFError:
        said = {"error": "its process ended"}
    if "error" in said:
        process.kill()
        process.join()
        raise SiteFailed(said["error"])
    return SiteProcess(said, config, process, ours)


def _run_child(config: SiteConfig, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's to handle; the pipe's end reaches us
    try:
        asyncio.run(_serve(config, pipe))
    except (SourceError, OSError) as error:
        pipe.send({"error": str(error)})


async def _serve(config: SiteConfig, pipe: Connection) -> None:
    ended = asyncio.Event()
    async with Site(config) as site:
        pipe.send(site.state())
        asyncio.get_running_loop().add_reader(pipe.fileno(), ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(pipe.fileno())
