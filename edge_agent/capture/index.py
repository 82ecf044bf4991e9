"""The index of recordings: which file covers which span, and why spans are missing. SQLite, one file per agent.

A row is written before its file and removed after it, so no file is ever unknown. Times are integer microseconds
since 1970, UTC, host clock.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from models.vocabulary import GapReason
from models.wire.base import ClockReading

_SCHEMA = """
create table if not exists segments (
    id integer primary key,
    camera_id text not null,
    run integer not null,            -- segments of one run join without a seam
    state text not null check (state in ('open', 'done', 'deleting')),
    start_us integer not null,
    end_us integer not null,         -- of an open one: up to here its bytes are on disk
    media_us integer not null,       -- length by RTP time; the host's is end_us - start_us
    frames integer not null,
    bytes integer not null,
    codec text not null,
    width integer not null,
    height integer not null,
    clock_offset_ms integer,         -- camera minus host
    clock_uncertainty_ms integer,
    path text not null               -- below the recordings folder
);
create index if not exists segments_span on segments (camera_id, start_us);
create table if not exists gaps (
    camera_id text not null,
    start_us integer not null,
    end_us integer not null,
    reason text not null,
    told integer not null default 1, -- whether whoever passes gaps on has kept it; 0 until then
    primary key (camera_id, start_us)
);
create table if not exists marks (
    camera_id text primary key,
    last_end_us integer not null,
    reason text not null             -- why media would be missing after last_end_us
);
"""


@dataclass(frozen=True)
class Segment:
    """One recording file."""

    id: int
    camera_id: UUID
    run: int
    state: str
    start_us: int
    end_us: int
    media_us: int
    frames: int
    size_bytes: int
    codec: str
    width: int
    height: int
    clock: ClockReading
    path: str


@dataclass(frozen=True)
class Gap:
    """A span without media."""

    start_us: int
    end_us: int
    reason: GapReason


_COLUMNS = (
    "id, camera_id, run, state, start_us, end_us, media_us, frames, bytes, codec, width, height,"
    " clock_offset_ms, clock_uncertainty_ms, path"
)


def _segment(row: tuple[object, ...]) -> Segment:
    (id_, camera, run, state, start, end, media, frames, size, codec, width, height, offset, uncertainty, path) = row
    return Segment(
        int(str(id_)), UUID(str(camera)), int(str(run)), str(state), int(str(start)), int(str(end)), int(str(media)),
        int(str(frames)), int(str(size)), str(codec), int(str(width)), int(str(height)),
        ClockReading(
            offset_ms=None if offset is None else int(str(offset)),
            uncertainty_ms=None if uncertainty is None else int(str(uncertainty)),
        ),
        str(path),
    )  # fmt: skip


class RecordingIndex:
    """All statements are short; one lock serialises the threads of the cameras."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")  # a lost tail is found again from the files
        self._db.executescript(_SCHEMA)
        columns = {str(row[1]) for row in self._db.execute("pragma table_info (gaps)")}
        if "told" not in columns:  # a file of the time when gaps were passed on at once
            self._db.execute("alter table gaps add column told integer not null default 1")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _tx(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def open_segment(self, row: Segment) -> int:
        """Adds an open segment (its `id` is ignored); the new id."""
        with self._tx() as db:
            cursor = db.execute(
                f"insert into segments ({_COLUMNS}) values (null, ?, ?, 'open', ?, ?, 0, 0, 0, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    str(row.camera_id), row.run, row.start_us, row.end_us, row.codec, row.width, row.height,
                    row.clock.offset_ms, row.clock.uncertainty_ms, row.path,
                ),
            )  # fmt: skip
            return int(cursor.lastrowid or 0)

    def grow(self, id_: int, start_us: int, end_us: int, media_us: int, frames: int, size_bytes: int) -> None:
        """Tells how far an open segment is on disk."""
        with self._tx() as db:
            db.execute(
                "update segments set start_us = ?, end_us = ?, media_us = ?, frames = ?, bytes = ? where id = ?",
                (start_us, end_us, media_us, frames, size_bytes, id_),
            )

    def finish(self, id_: int, path: str, reason: GapReason) -> None:
        """Closes a segment; `reason` stands until media comes again."""
        with self._tx() as db:
            db.execute("update segments set state = 'done', path = ? where id = ?", (path, id_))
            db.execute(
                "insert into marks select camera_id, end_us, ? from segments where id = ?"
                " on conflict (camera_id) do update set last_end_us = excluded.last_end_us, reason = excluded.reason",
                (reason.value, id_),
            )

    def forget(self, id_: int) -> None:
        """Removes a row whose file is gone."""
        with self._tx() as db:
            db.execute("delete from segments where id = ?", (id_,))

    def mark_deleting(self, id_: int) -> None:
        """First phase of a delete: the file goes next, then the row."""
        with self._tx() as db:
            db.execute("update segments set state = 'deleting' where id = ?", (id_,))

    def move_mark(self, camera_id: UUID, at_us: int, reason: GapReason) -> None:
        """Everything before `at_us` is recorded or explained; from there on `reason` is why media is missing."""
        with self._tx() as db:
            db.execute(
                "update marks set last_end_us = ?, reason = ? where camera_id = ?",
                (at_us, reason.value, str(camera_id)),
            )

    def mark(self, camera_id: UUID) -> tuple[int, GapReason] | None:
        """The end of the newest media and the reason after it."""
        with self._lock:
            row = self._db.execute(
                "select last_end_us, reason from marks where camera_id = ?", (str(camera_id),)
            ).fetchone()
        return None if row is None else (int(row[0]), GapReason(row[1]))

    def add_gap(self, camera_id: UUID, gap: Gap, then: GapReason | None = None) -> None:
        """Records a gap that is still to be told. What an earlier gap explains already is left out of it.

        `then`: in the same step, everything before the gap's end is explained, and from there on this is the reason.
        """
        camera = str(camera_id)
        with self._tx() as db:
            (known_us,) = db.execute(
                "select max(end_us) from gaps where camera_id = ? and start_us >= ?", (camera, gap.start_us)
            ).fetchone()
            start_us = gap.start_us if known_us is None else max(gap.start_us, int(known_us))
            if start_us < gap.end_us:
                db.execute(
                    "insert into gaps (camera_id, start_us, end_us, reason, told) values (?, ?, ?, ?, 0)",
                    (camera, start_us, gap.end_us, gap.reason.value),
                )
            if then is not None:
                db.execute(
                    "update marks set last_end_us = ?, reason = ? where camera_id = ?",
                    (gap.end_us, then.value, camera),
                )

    def untold(self, camera_id: UUID) -> list[Gap]:
        """Gaps that nobody has taken over yet, in order."""
        with self._lock:
            rows = self._db.execute(
                "select start_us, end_us, reason from gaps where camera_id = ? and told = 0 order by start_us",
                (str(camera_id),),
            ).fetchall()
        return [Gap(int(a), int(b), GapReason(c)) for a, b, c in rows]

    def mark_told(self, camera_id: UUID, start_us: int) -> None:
        """The gap that begins there has been taken over."""
        with self._tx() as db:
            db.execute("update gaps set told = 1 where camera_id = ? and start_us = ?", (str(camera_id), start_us))

    def gaps(self, camera_id: UUID, start_us: int, end_us: int) -> list[Gap]:
        """Gaps that overlap [`start_us`, `end_us`)."""
        with self._lock:
            rows = self._db.execute(
                "select start_us, end_us, reason from gaps where camera_id = ? and start_us < ? and end_us > ?"
                " order by start_us",
                (str(camera_id), end_us, start_us),
            ).fetchall()
        return [Gap(int(a), int(b), GapReason(c)) for a, b, c in rows]

    def covering(self, camera_id: UUID, start_us: int, end_us: int) -> list[Segment]:
        """Segments (done and open) that overlap the span, in order."""
        return self._select(
            "camera_id = ? and state != 'deleting' and start_us < ? and end_us > ? order by start_us",
            (str(camera_id), end_us, start_us),
        )

    def in_state(self, state: str) -> list[Segment]:
        """Every segment in a state (`open` and `deleting` ones are leftovers at start)."""
        return self._select("state = ? order by id", (state,))

    def oldest(self, camera_id: UUID | None, limit: int) -> list[Segment]:
        """The oldest finished segments of one camera, or of all."""
        if camera_id is None:
            return self._select("state = 'done' order by start_us limit ?", (limit,))
        return self._select("camera_id = ? and state = 'done' order by start_us limit ?", (str(camera_id), limit))

    def _select(self, where: str, values: tuple[object, ...]) -> list[Segment]:
        with self._lock:
            rows = self._db.execute(f"select {_COLUMNS} from segments where {where}", values).fetchall()  # noqa: S608
        return [_segment(row) for row in rows]

    def extent(self, camera_id: UUID) -> tuple[int | None, int | None, int]:
        """Oldest start, newest end on disk, bytes in all."""
        with self._lock:
            row = self._db.execute(
                "select min(start_us), max(end_us), coalesce(sum(bytes), 0) from segments"
                " where camera_id = ? and state != 'deleting'",
                (str(camera_id),),
            ).fetchone()
        return row[0], row[1], int(row[2])

    def next_run(self, camera_id: UUID) -> int:
        """A number for a new run, above all before it."""
        with self._lock:
            row = self._db.execute(
                "select coalesce(max(run), 0) + 1 from segments where camera_id = ?", (str(camera_id),)
            ).fetchone()
        return int(row[0])
