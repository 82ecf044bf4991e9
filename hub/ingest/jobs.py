"""Ingest's work that is done later by a worker."""

from uuid import UUID

from hub.context import Context
from hub.ingest.model import VERIFY_JOB
from hub.ingest.verification import verify_clip, verify_forgotten
from hub.jobs.queue import Job


async def _verify(context: Context, clip_id: str) -> None:
    await verify_clip(context, UUID(clip_id))


async def _verify_forgotten(context: Context) -> None:
    await verify_forgotten(context)


JOBS = (
    Job(VERIFY_JOB, _verify),
    Job("ingest.verify_forgotten", _verify_forgotten, cron="*/5 * * * *"),
)
