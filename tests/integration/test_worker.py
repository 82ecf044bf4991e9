"""The worker on real servers: it takes uplink, runs jobs, and outlives outages of PostgreSQL and NATS."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from hub import worker
from hub.context import Context
from hub.embedded.stack import running
from hub.errors import Unavailable
from hub.jobs import queue
from hub.jobs.queue import Job, defer
from tests.servers import TestServers, context_on, fresh_database, template_in, wait_until


@asynccontextmanager
async def background(work: Awaitable[None]) -> AsyncIterator["asyncio.Future[None]"]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Runs:
    """A job that remembers its arguments."""

    def __init__(self, fail_first: int = 0) -> None:
        self.seen: list[dict[str, Any]] = []
        self._fail_first = fail_first

    async def __call__(self, context: Any, **args: Any) -> None:
        self.seen.append(args)
        if len(self.seen) <= self._fail_first:
            raise Unavailable("storage.unavailable")

    def times(self, count: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return len(self.seen) >= count

        return check


async def test_a_job_runs_only_if_its_transaction_was_committed(context: Context) -> None:
    runs = Runs()

    async def deferred_and_failed() -> None:
        async with context.db.transaction() as tx:
            await defer(tx, "t.job", word="rolled back")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await deferred_and_failed()
    async with context.db.transaction() as tx:
        await defer(tx, "t.job", word="committed")
    async with background(queue.run(context.db.url, context, [Job("t.job", runs)])):
        await wait_until(runs.times(1))
    assert runs.seen == [{"word": "committed"}]


async def test_a_job_deferred_while_a_worker_waits_runs_soon(context: Context) -> None:
    runs = Runs()
    async with background(queue.run(context.db.url, context, [Job("t.job", runs)])):
        for number in range(5):
            async with context.db.transaction() as tx:
                await defer(tx, "t.job", number=number)
        await wait_until(runs.times(5), within_s=10)
    assert sorted(run["number"] for run in runs.seen) == list(range(5))


async def test_a_job_that_fails_runs_again(context: Context) -> None:
    runs = Runs(fail_first=1)
    async with background(queue.run(context.db.url, context, [Job("t.job", runs)])):
        async with context.db.transaction() as tx:
            await defer(tx, "t.job", word="x")
        await wait_until(runs.times(2), within_s=30)

        async def gone() -> bool:
            async with context.db.transaction() as tx:
                return (
                    await tx.execute(text("select count(*) from procrastinate_jobs where task_name = 't.job'"))
                ).scalar() == 0

        await wait_until(gone)
    assert runs.seen == [{"word": "x"}] * 2


async def test_jobs_of_one_lock_run_one_after_the_other(context: Context) -> None:
    inside, most = 0, 0

    async def job(context: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)  # work
        inside -= 1
        runs.seen.append({})

    runs = Runs()
    async with context.db.transaction() as tx:
        for _ in range(4):
            await defer(tx, "t.locked", lock="one")
    async with background(queue.run(context.db.url, context, [Job("t.locked", job)], concurrency=4)):
        await wait_until(runs.times(4))
    assert most == 1


async def test_the_worker_makes_partitions_and_takes_what_arrives(context: Context, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    async with background(worker.run(context, ready)):

        async def prepared() -> bool:
            async with context.db.transaction() as tx:
                made = await tx.execute(
                    text("select count(*) from pg_inherits where inhparent = 'sightings'::regclass")
                )
                return ready.exists() and bool(made.scalar_one() >= 2)

        await wait_until(prepared)
        # An agent nobody enrolled: the message is refused for good, and an alarm tells of it.
        await context.bus.inject(f"qs.up.{uuid4()}.sighting", b"{}")  # type: ignore[attr-defined]

        async def alarmed() -> bool:
            async with context.db.transaction() as tx:
                return int((await tx.execute(text("select count(*) from alarms"))).scalar_one()) >= 1

        await wait_until(alarmed)
        await wait_until(lambda: _empty(context))


async def _empty(context: Context) -> bool:
    return bool(await context.bus.waiting() == 0)  # type: ignore[attr-defined]


async def test_old_uploads_and_sessions_are_swept(context: Context) -> None:
    for job in worker.OWN_JOBS:
        await job.run(context)


async def test_the_worker_outlives_postgresql_and_nats(tmp_path: Path) -> None:
    """kill -9 of each server under a running worker: it goes on by itself once the server is back."""
    async with running(tmp_path / "data") as stack:
        servers = TestServers(stack)
        await template_in(stack)
        assert stack.supervisor is not None
        async with (
            context_on(servers, await fresh_database(servers)) as context,
            background(worker.run(context)) as task,
        ):

            async def takes() -> bool:
                """A message and a job get through."""
                name = f"t{datetime.now(UTC).timestamp()}"
                try:
                    await context.bus.inject(f"qs.up.{uuid4()}.gap", b"{}")  # type: ignore[attr-defined]
                    async with context.db.transaction() as tx:
                        job_id = await defer(tx, "ingest.verify_forgotten", timestamp=0, lock=name)
                except Exception as error:  # noqa: BLE001  still away: asked again
                    print("away:", type(error).__name__)
                    return False
                await wait_until(lambda: _empty(context), within_s=60)

                async def done() -> bool:
                    async with context.db.transaction() as tx:
                        left = await tx.execute(text("select 1 from procrastinate_jobs where id = :id"), {"id": job_id})
                        return left.first() is None

                await wait_until(done, within_s=60)
                return True

            await wait_until(takes, within_s=60)
            for name in ("postgres", "messages"):
                os.kill(stack.supervisor.pids()[name], signal.SIGKILL)
                await wait_until(lambda name=name: _restarted(stack.supervisor, name), within_s=60)  # type: ignore[misc]
                await wait_until(takes, within_s=60)
                print(f"RECOVERY worker after {name}: server back after {stack.supervisor.recovery_s(name):.2f} s")
            assert not task.done()


async def _restarted(supervisor: Any, name: str) -> bool:
    return bool(supervisor.restarts(name) >= 1)
