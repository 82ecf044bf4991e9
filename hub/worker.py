"""The worker: takes what agents send, answers what they ask, and runs deferred and periodic jobs.

Any number may run. None of its parts ends for good because a server is away: each is started again with growing pauses,
and one line tells when it went down and one when it is back.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError

import hub.ingest.jobs
from hub.context import Context
from hub.errors import Unavailable
from hub.identity.service import drop_ended_sessions
from hub.ingest import service as ingest
from hub.jobs import queue
from hub.jobs.queue import Job
from hub.messages.port import RequestHandler
from hub.observability import PART_UP
from hub.sightings.service import ensure_partitions
from hub.storage.port import Bucket

log = structlog.get_logger(__name__)

RESTART_FIRST_S = 0.5
RESTART_MAX_S = 20.0
STEADY_S = 30.0
UPLOAD_LIFE = timedelta(days=7)
UPLINK_AT_ONCE = 4

# What a server that is away looks like from inside a part; anything else is a fault of ours and ends the worker, loudly.
_OUTAGE = (Unavailable, SQLAlchemyError, psycopg.Error, OSError, TimeoutError)


async def _partitions(context: Context) -> None:
    async with context.db.transaction() as tx:
        await ensure_partitions(tx, context.clock().date())


async def _sessions(context: Context) -> None:
    async with context.db.transaction() as tx:
        await drop_ended_sessions(tx, context.clock())


async def _stale_uploads(context: Context) -> None:
    """Drops uploads that nobody went on with: their parts take room and belong to no object."""
    for bucket in Bucket:
        for key, upload_id in await context.store.open_uploads(bucket, UPLOAD_LIFE):
            await context.store.abort_upload(bucket, key, upload_id)
            log.info("stale_upload_dropped", bucket=bucket.value, key=key)


OWN_JOBS = (
    Job("hub.partitions_ahead", _partitions, cron="7 * * * *"),
    Job("hub.ended_sessions", _sessions, cron="*/15 * * * *"),
    Job("hub.stale_uploads", _stale_uploads, cron="23 3 * * *"),
)
JOBS = (*OWN_JOBS, *hub.ingest.jobs.JOBS)


async def run(context: Context, ready_file: Path | None = None) -> None:
    """Runs until cancelled. `ready_file` is touched once all parts have been started."""

    async def take(agent_id: UUID, type_: str, raw: bytes) -> None:
        await ingest.handle_uplink(context, agent_id, type_, raw)

    handlers: dict[str, RequestHandler] = {
        "desired": partial(ingest.answer_desired, context),
        "receipts": partial(ingest.answer_receipts, context),
    }
    async with asyncio.TaskGroup() as group:
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            # At once, not only at the hour: a hub that was away for days has no partition for today.
            "partitions": partial(_partitions, context),
            "uplink": partial(context.bus.consume_uplink, take, UPLINK_AT_ONCE),
            "requests": partial(context.bus.serve_requests, handlers),
            "jobs": partial(queue.run, context.db.url, context, JOBS),
        }
        for name, part in parts.items():
            group.create_task(keep(name, part), name=f"worker {name}")
        log.info("worker_started", jobs=[job.name for job in JOBS])
        if ready_file is not None:
            await asyncio.to_thread(ready_file.touch)


async def keep(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """Runs `part` until it ends by itself; starts it again when a server it needs is away."""
    pause_s = RESTART_FIRST_S
    down = False
    while True:
        began = time.monotonic()
        running = asyncio.ensure_future(part())
        try:
            if down:
                # It has to hold for a moment before it counts as back.
                await asyncio.wait({running}, timeout=2 * RESTART_FIRST_S)
                if not running.done():
                    down = False
                    PART_UP.labels(name).set(1)
                    log.info("worker_part_back", part=name)
            else:
                PART_UP.labels(name).set(1)
            await running
            return
        except _OUTAGE as error:
            if not down:
                down = True
                PART_UP.labels(name).set(0)
                log.warning("worker_part_down", part=name, error=f"{type(error).__name__}: {error}")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        if time.monotonic() - began > STEADY_S:
            pause_s = RESTART_FIRST_S
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret hangs on it
        pause_s = min(pause_s * 2, RESTART_MAX_S)
