"""`qianshao-hub check`: do the servers answer, and does the store hold what the rows say, no less and no more?"""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from hub.context import Context
from hub.db.inventory import Wanted, clip_objects, picture_objects
from hub.errors import HubError
from hub.storage.port import Bucket

PATIENCE_S = 5.0
SHOWN = 10


@dataclass(frozen=True)
class BucketReport:
    """One bucket against its rows. `missing`: a row without its object; `orphans`: an object without a row."""

    rows: int
    objects: int
    missing: int
    orphans: int
    examples: list[str]


@dataclass(frozen=True)
class Report:
    """The whole answer; `ok` only if everything holds."""

    ok: bool
    servers: dict[str, str]
    buckets: dict[str, BucketReport]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


async def _answers(asked: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asked
    except (HubError, SQLAlchemyError, OSError, TimeoutError) as error:
        return f"down: {type(error).__name__}"
    return "ok"


async def _ask_database(context: Context) -> None:
    async with context.db.transaction():
        return


async def check(context: Context) -> Report:
    """Asks every server; then compares rows and objects, if both can be read."""
    servers = {
        "database": await _answers(_ask_database(context)),
        "storage": await _answers(context.store.ping()),
        "messages": await _answers(context.bus.ping()),
    }
    buckets: dict[str, BucketReport] = {}
    if servers["database"] == servers["storage"] == "ok":
        # Objects first: what is stored after that has no row yet in neither list; rows first would call it an orphan.
        stored = {bucket: {found.key for found in await context.store.list(bucket)} for bucket in Bucket}
        async with context.db.transaction() as tx:
            wanted = {Bucket.CLIPS: await clip_objects(tx), Bucket.PICTURES: await picture_objects(tx)}
        present = {bucket: await _with_late(context, bucket, stored[bucket], wanted[bucket]) for bucket in Bucket}
        buckets = {bucket.value: compare(wanted[bucket], present[bucket]) for bucket in Bucket}
    sound = all(report.missing == report.orphans == 0 for report in buckets.values())
    return Report(sound and all(state == "ok" for state in servers.values()), servers, buckets)


async def _with_late(context: Context, bucket: Bucket, stored: set[str], wanted: Wanted) -> set[str]:
    """`stored`, and those that came while we looked."""
    late = {key for key in wanted.needed - stored if await context.store.stat(bucket, key) is not None}
    return stored | late


def compare(wanted: Wanted, stored: set[str]) -> BucketReport:
    """Rows against objects of one bucket."""
    missing = sorted(wanted.needed - stored)
    orphans = sorted(stored - wanted.allowed)
    examples = [f"missing {key}" for key in missing[:SHOWN]] + [f"orphan {key}" for key in orphans[:SHOWN]]
    return BucketReport(len(wanted.allowed), len(stored), len(missing), len(orphans), examples)
