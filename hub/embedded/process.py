"""One child process: how it is described, started, recognised later, and ended."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from hub.errors import Unavailable

log = structlog.get_logger(__name__)

LAUNCHER = Path(__file__).with_name("launch.py")
LOG_MAX_BYTES = 10 * 1024 * 1024

Probe = Callable[[], Awaitable[bool]]
"""Whether the child answers now. Says False (never raises) while it does not."""


@dataclass(frozen=True)
class Owner:
    """The user a child runs as. `search`: it keeps the right to walk folders that are closed to that user."""

    uid: int
    gid: int
    search: bool = False

    @classmethod
    def ourselves(cls) -> "Owner":
        """The user this process runs as."""
        return cls(os.geteuid(), os.getegid())


@dataclass(frozen=True)
class ChildSpec:
    """What to start and how to know it is up. `log_path` None: it writes to our own stdout and stderr."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    probe: Probe
    env: Mapping[str, str] = field(default_factory=dict)
    log_path: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM  # what the kernel sends it when we are killed
    stop_timeout_s: float = 15.0
    ready_timeout_s: float = 60.0
    owner: Owner = field(default_factory=Owner.ourselves)
    ready_file: Path | None = None  # made by the child when it is up; an old one is removed before it starts


@dataclass(frozen=True)
class ProcessMark:
    """A process as it can be recognised after our death: the pid alone may by then be another's."""

    name: str
    pid: int
    started: float  # seconds since 1970, by the kernel
    patience_s: float  # how long it may take to end

    def process(self) -> psutil.Process | None:
        """The process, if it still is this one."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def launch_argv(argv: tuple[str, ...], death_signal: signal.Signals, owner: Owner) -> tuple[str, ...]:
    """The command that starts `argv` through the launcher."""
    words = (os.getpid(), int(death_signal), owner.uid, owner.gid, int(owner.search))
    return (sys.executable, "-I", str(LAUNCHER), *map(str, words), "--", *argv)


async def spawn(spec: ChildSpec) -> asyncio.subprocess.Process:
    """Starts the child in a session of its own: a Ctrl-C at the terminal reaches the supervisor alone."""
    argv = launch_argv(spec.argv, spec.death_signal, spec.owner)
    if spec.ready_file is not None:
        spec.ready_file.unlink(missing_ok=True)
    env = {**os.environ, **spec.env}
    if spec.log_path is None:
        return await asyncio.create_subprocess_exec(
            *argv, cwd=spec.cwd, env=env, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
    if spec.log_path.exists() and spec.log_path.stat().st_size > LOG_MAX_BYTES:
        spec.log_path.replace(spec.log_path.with_suffix(".log.1"))
    with spec.log_path.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=spec.cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def log_tail(spec: ChildSpec, lines: int = 15) -> str:
    """The last lines the child wrote, for an error message."""
    if spec.log_path is None or not spec.log_path.exists():
        return ""
    return "\n".join(spec.log_path.read_text(errors="replace").splitlines()[-lines:])


async def wait_ready(spec: ChildSpec, process: asyncio.subprocess.Process) -> None:
    """Waits until the probe says yes.

    Raises:
        Unavailable: `embedded.died` (it ended) or `embedded.not_ready` (time is over); with the log's last lines.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + spec.ready_timeout_s
    while True:
        if process.returncode is not None:
            raise Unavailable("embedded.died", f"{spec.name} ended with {process.returncode}\n{log_tail(spec)}")
        if await spec.probe():
            return
        if loop.time() > deadline:
            raise Unavailable("embedded.not_ready", f"{spec.name} after {spec.ready_timeout_s:.0f} s\n{log_tail(spec)}")
        await asyncio.sleep(0.05)


async def end(spec: ChildSpec, process: asyncio.subprocess.Process) -> None:
    """Ends the child: its own signal first, SIGKILL when it takes longer than it may."""
    if process.returncode is not None:
        return
    process.send_signal(spec.stop_signal)
    try:
        await asyncio.wait_for(process.wait(), spec.stop_timeout_s)
    except TimeoutError:
        log.info("child_killed", child=spec.name, pid=process.pid, after_s=spec.stop_timeout_s)
        process.kill()
        await process.wait()


def write_marks(path: Path, marks: list[ProcessMark]) -> None:
    """Remembers the children that run now."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps([mark.__dict__ for mark in marks]))
    part.replace(path)


def forget_marks(path: Path) -> None:
    """Nothing runs any more."""
    path.unlink(missing_ok=True)


def read_marks(path: Path) -> list[ProcessMark]:
    """The children a predecessor remembered; none if it ended in order."""
    if not path.exists():
        return []
    return [ProcessMark(**mark) for mark in json.loads(path.read_text())]


async def end_leftovers(path: Path) -> list[str]:
    """Ends what a killed predecessor left running on this folder; the names of those that still were.

    They have been told by the kernel already (parent-death signal); here we wait for them, and kill what will not go.
    Two servers on the same files would destroy them.
    """
    left = [(mark, process) for mark in read_marks(path) if (process := mark.process()) is not None]
    for mark, process in left:
        log.warning("leftover_ending", child=mark.name, pid=mark.pid)
        process.terminate()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for mark, process in left:
        while mark.process() is not None:
            if loop.time() > begun + mark.patience_s:
                process.kill()
            await asyncio.sleep(0.05)
    forget_marks(path)
    return [mark.name for mark, _ in left]
