"""The job queue on procrastinate: how a feature names its jobs, defers one, and how a worker runs them.

    JOBS = (Job("ingest.verify_clip", verify_clip),)              # hub/<feature>/jobs.py; run(context, **args)
    await defer(tx, "ingest.verify_clip", clip_id=str(clip_id))   # committed, or not, with everything else

A job runs at least once. What it raises is a reason to run it again, with growing pauses, up to `tries`.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from procrastinate import App, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ConnectorException
from sqlalchemy import text

from hub.db.engine import Connection
from hub.errors import Unavailable

log = structlog.get_logger(__name__)

QUEUE = "hub"
STALLED_AFTER_S = 60.0
STOP_TIMEOUT_S = 5.0

_DEFER = text("""
    select procrastinate_defer_jobs_v1(array[
        row(:queue, :task, 0, :lock, null, cast(:args as jsonb), null)::procrastinate_job_to_defer_v1
    ])
""")


@dataclass(frozen=True)
class Job:
    """A kind of work. `cron` (five fields, UTC): also by itself, without arguments, once however many workers there are."""

    name: str
    run: Callable[..., Awaitable[Any]]
    cron: str | None = None
    tries: int = 20


async def defer(tx: Connection, task_name: str, *, lock: str | None = None, **args: Any) -> int:
    """Defers a job within the caller's transaction; its id. `args` must be JSON. Jobs of one `lock` run one after the other."""
    found = await tx.execute(_DEFER, {"queue": QUEUE, "task": task_name, "lock": lock, "args": json.dumps(args)})
    job_id: int = found.scalar_one()[0]
    return job_id


def build(url: str, context: Any, jobs: Sequence[Job]) -> App:
    """A procrastinate app that runs `jobs`, each with `context` first, on the database at `url`."""
    app = App(
        connector=PsycopgConnector(
            conninfo=url.replace("postgresql+psycopg://", "postgresql://"), min_size=1, max_size=4
        )
    )
    for job in jobs:
        _add(app, context, job)
    _add(app, app, Job("jobs.retry_stalled", _retry_stalled, cron="* * * * *"))
    return app


def _add(app: App, context: Any, job: Job) -> None:
    # Pauses of 2, 4, 8 … seconds: an outage of minutes is waited out, a hopeless job ends as failed after days.
    retry = RetryStrategy(max_attempts=job.tries, exponential_wait=2)

    if job.cron is None:

        async def run(**args: Any) -> None:
            await job.run(context, **args)

        app.task(name=job.name, queue=QUEUE, retry=retry)(run)
        return

    async def run_at(timestamp: int) -> None:  # when it was due; nobody asks
        await job.run(context)

    task = app.task(name=job.name, queue=QUEUE, queueing_lock=job.name)(run_at)
    app.periodic(cron=job.cron)(task)


async def _retry_stalled(app: App) -> None:
    """Frees jobs whose worker was killed in the middle."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_S):
        log.warning("job_stalled", job_id=job.id, task=job.task_name)
        await app.job_manager.retry_job(job)


async def run(url: str, context: Any, jobs: Sequence[Job], concurrency: int = 2) -> None:
    """Runs jobs until cancelled.

    Raises:
        Unavailable: `jobs.unavailable`, when the database goes away: start it again then.
    """
    try:
        await _run(build(url, context, jobs), concurrency)
    except ConnectorException as error:
        raise Unavailable("jobs.unavailable", str(error)) from error


async def _run(app: App, concurrency: int) -> None:
    async with app.open_async():
        await app.run_worker_async(
            queues=[QUEUE],
            concurrency=concurrency,
            wait=True,
            delete_jobs="successful",
            install_signal_handlers=False,
            shutdown_graceful_timeout=STOP_TIMEOUT_S,
            update_heartbeat_interval=10.0,
            stalled_worker_timeout=STALLED_AFTER_S,
        )
    # procrastinate stops without an error when its listener or heartbeat loses the database.
    raise Unavailable("jobs.worker_stopped")
