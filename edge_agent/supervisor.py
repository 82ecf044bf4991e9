"""Long-lived tasks of the agent in one TaskGroup: named, restarted with back-off when they fail, ended together."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from edge_agent.kit.backoff import Backoff

WELL_AFTER_S = 60.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Worker:
    """A task that should run as long as the agent does. When `run` fails or returns it is started again."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass
class Supervisor:
    """Runs workers until told to stop."""

    restarts: dict[str, int] = field(default_factory=dict)

    async def run(self, workers: list[Worker], stop: asyncio.Event) -> None:
        """Until `stop` is set; then all workers are cancelled and awaited."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep(worker), name=worker.name) for worker in workers]
            await stop.wait()
            for task in tasks:
                task.cancel()

    async def _keep(self, worker: Worker) -> None:
        backoff = Backoff(first=0.5, most=30.0)
        while True:
            began = time.monotonic()
            try:
                await worker.run()
                log.warning("worker.returned", worker=worker.name)
            except Exception:  # boundary of the worker: whatever it met is logged, counted and it is begun again
                log.exception("worker.failed", worker=worker.name)
            self.restarts[worker.name] = self.restarts.get(worker.name, 0) + 1
            if time.monotonic() - began > WELL_AFTER_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())
