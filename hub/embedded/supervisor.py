"""Keeps children alive: starts them in order, restarts one that dies, ends all in the opposite order."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import structlog

from hub.embedded.process import (
    ChildSpec,
    ProcessMark,
    end,
    end_leftovers,
    forget_marks,
    spawn,
    wait_ready,
    write_marks,
)
from hub.errors import Unavailable

log = structlog.get_logger(__name__)

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0  # after so long without trouble the back-off begins anew

Report = Callable[[str], None]
"""Tells a person, in one line, what happened to a child."""


@dataclass
class _Child:
    spec: ChildSpec
    process: asyncio.subprocess.Process
    mark: ProcessMark
    restarts: int = 0
    last_restart_s: float = 0.0
    keeper: asyncio.Task[None] | None = field(default=None, repr=False)


class Supervisor:
    """Owns its children while the `async with` block runs."""

    def __init__(self, marks_path: Path, report: Report = lambda line: None) -> None:
        """`marks_path`: where the running children are remembered for a successor, should we be killed."""
        self._marks_path = marks_path
        self._report = report
        self._children: dict[str, _Child] = {}

    async def __aenter__(self) -> Self:
        await end_leftovers(self._marks_path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def pids(self) -> dict[str, int]:
        """The running children by name."""
        return {name: child.process.pid for name, child in self._children.items()}

    def recovery_s(self, name: str) -> float:
        """How long the last restart of a child took, from its death to its first answer; 0 if there was none."""
        return self._children[name].last_restart_s

    def restarts(self, name: str) -> int:
        """How often a child was restarted."""
        return self._children[name].restarts

    async def start(self, spec: ChildSpec) -> None:
        """Starts a child, waits until it answers, and keeps it from then on.

        Raises:
            Unavailable: `embedded.died` or `embedded.not_ready`.
        """
        process = await spawn(spec)
        self._children[spec.name] = child = _Child(spec, process, _mark(spec, process.pid))
        self._remember()
        await wait_ready(spec, process)
        log.info("child_ready", child=spec.name, pid=process.pid)
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {spec.name}")

    async def start_all(self, *specs: ChildSpec) -> None:
        """Starts children that do not need each other at the same time; if one fails, waiting for the others ends, too."""
        starting = [asyncio.create_task(self.start(spec), name=f"start {spec.name}") for spec in specs]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def stop(self) -> None:
        """Ends every child, the last started first."""
        for child in reversed(list(self._children.values())):
            if child.keeper is not None:
                child.keeper.cancel()
                await asyncio.gather(child.keeper, return_exceptions=True)
            await end(child.spec, child.process)
            log.info("child_ended", child=child.spec.name, code=child.process.returncode)
        self._children.clear()
        forget_marks(self._marks_path)

    async def _keep(self, child: _Child) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            up_since = time.monotonic()
            code = await child.process.wait()
            died_at = time.monotonic()
            if died_at - up_since > STEADY_S:
                backoff_s = BACKOFF_FIRST_S
            log.error("child_died", child=child.spec.name, code=code, restart_in_s=round(backoff_s, 2))
            self._report(f"{child.spec.name} ended ({code}), starting it again")
            while not await self._restart(child, backoff_s):
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
            child.last_restart_s = time.monotonic() - died_at
            child.restarts += 1
            log.info("child_back", child=child.spec.name, pid=child.process.pid, after_s=round(child.last_restart_s, 2))
            self._report(f"{child.spec.name} is back after {child.last_restart_s:.1f} s")

    async def _restart(self, child: _Child, backoff_s: float) -> bool:
        # Jitter: children that fell together do not all come back at the same moment.
        await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret hangs on it
        child.process = await spawn(child.spec)
        child.mark = _mark(child.spec, child.process.pid)
        self._remember()
        try:
            await wait_ready(child.spec, child.process)
        except Unavailable as error:
            log.error("child_restart_failed", child=child.spec.name, code=error.code, detail=error.detail)
            self._report(f"{child.spec.name} does not come back ({error.code}), trying again")
            await end(child.spec, child.process)
            return False
        return True

    def _remember(self) -> None:
        write_marks(self._marks_path, [child.mark for child in self._children.values()])


def _mark(spec: ChildSpec, pid: int) -> ProcessMark:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # gone already: wait_ready says so
        started = 0.0
    return ProcessMark(spec.name, pid, started, spec.stop_timeout_s)
