"""The spool: one SQLite file, one owner thread, each call one durable transaction.

The functions of `outbox`, `clips`, `devices` and `wishes` take the connection first; hand them to `run`, `call` or `post`.
WAL with `synchronous=FULL`: a call that returned survives power loss. Other processes (`qianshao-edge pause`,
`status`) open the same file; `changed_elsewhere` tells that one of them wrote.
"""

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import structlog

from edge_agent.errors import AgentError
from edge_agent.kit.threads import OwnThread
from edge_agent.spool.schema import migrate

P = ParamSpec("P")
T = TypeVar("T")
Act = Callable[Concatenate[sqlite3.Connection, P], T]

FILE_NAME = "spool.sqlite3"
CLIPS_FOLDER = "clips"

log = structlog.get_logger()


class Spool:
    """The open spool of a data folder (made at first use, mode 0700; the file 0600)."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clips_dir = data_dir / CLIPS_FOLDER
        self.clips_dir.mkdir(exist_ok=True, mode=0o700)
        self._path = data_dir / FILE_NAME
        self._thread = OwnThread("spool")
        self._data_version = 0
        try:
            self._db = self._thread.submit(_open, self._path).result()
        except BaseException:
            self._thread.close()
            raise

    async def run(self, act: Act[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One transaction, awaited."""
        return await self._thread.run(self._transaction, lambda: act(self._db, *args, **kwargs))

    def call(self, act: Act[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One transaction, waited for. Not from the event loop."""
        return self.post(act, *args, **kwargs).result()

    def post(self, act: Act[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """One transaction, queued in order behind those before it. Any thread; blocks only when the queue is full."""
        future = self._thread.submit(self._transaction, lambda: act(self._db, *args, **kwargs))
        future.add_done_callback(_report_failure)
        return future

    async def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last time this was asked."""
        return await self._thread.run(self._newer)

    def close(self) -> None:
        """Finishes what is queued and closes; idempotent."""
        try:
            self._thread.submit(self._db.close)
        except RuntimeError:
            return
        self._thread.close()

    def _transaction(self, act: Callable[[], T]) -> T:
        self._db.execute("begin immediate")
        try:
            result = act()
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()
        return result

    def _newer(self) -> bool:
        (version,) = self._db.execute("pragma data_version").fetchone()
        changed = self._data_version not in (0, version)
        self._data_version = version
        return changed


def _report_failure(future: "Future[T]") -> None:
    """Whoever posts does not wait: trouble (a full disk, above all) must still be seen."""
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("spool.write_failed", kind=type(error).__name__, detail=str(error)[:200])


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        # Made by us first, so that neither it nor its WAL (which takes its mode) is ever readable by others.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        db.row_factory = sqlite3.Row
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.execute("pragma foreign_keys = on")
        migrate(db)
    except sqlite3.DatabaseError as error:
        raise AgentError("spool.unreadable", str(error)) from error
    return db


def count_loss(db: sqlite3.Connection, reason: str, now_us: int, count: int = 1) -> None:
    """Counts something given up. The sums are in presence (`detail`), in `status` and in the metrics."""
    db.execute(
        "insert into losses values (:reason, :count, :now_us)"
        " on conflict (reason) do update set count = count + :count, last_us = :now_us",
        {"reason": reason, "count": count, "now_us": now_us},
    )


def losses(db: sqlite3.Connection) -> dict[str, int]:
    """What was given up so far, by reason."""
    return {row["reason"]: row["count"] for row in db.execute("select reason, count from losses order by reason")}
