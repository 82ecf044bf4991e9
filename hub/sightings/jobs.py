"""Sightings' work that is done by a worker."""

from hub.context import Context
from hub.jobs.queue import Job
from hub.sightings.model import partition_day
from hub.sightings.service import ensure_partitions


async def _partitions_ahead(context: Context) -> None:
    async with context.db.transaction() as tx:
        await ensure_partitions(tx, partition_day(context.clock()))


JOBS = (Job("sightings.partitions_ahead", _partitions_ahead, cron="7 * * * *"),)
