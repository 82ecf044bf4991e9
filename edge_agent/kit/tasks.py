"""Short tasks started from callbacks: kept alive until done, their failures logged, ended together."""

import asyncio
from collections.abc import Coroutine

import structlog

log = structlog.get_logger()


class Crew:
    """A set of running tasks of one owner."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Runs `work` in the background."""
        task = asyncio.get_running_loop().create_task(work, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Ends all that still runs, except the caller's own task."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", task=self._name, kind=type(error).__name__, detail=str(error)[:300])
