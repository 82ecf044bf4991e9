"""Run as a program: plays an agent's bookkeeping again and again, killed (SIGKILL) one step later each time, and after each kill
opens the spool again as a restarted agent would. Prints one JSON list of what was found.

A step is an SQL statement, an fsync or a rename: the kill comes just before it. Children are forked, so that the imports are
paid for once.
"""

import hashlib
import json
import os
import signal
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from edge_agent.kit.ids import new_id
from edge_agent.spool import clips, outbox, sightings
from edge_agent.spool.clips import CutFile
from edge_agent.spool.store import Spool
from edge_agent.upload.cutter import hash_and_sync
from models.keys import SigningKey
from models.wire.base import ClockReading
from models.wire.downlink import Receipt
from models.wire.seal import GENESIS, Seal, seal_hash
from models.wire.uplink import ClipSealed, MediaInfo, SightingSeen

AT = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
AGENT = UUID(int=1)
CAMERA = UUID(int=2)
KEY = SigningKey.generate()
MEDIA = MediaInfo(codec="avc1.42e01f", width=640, height=360, frames=10, fps_measured=10)
EVENTS = [UUID(int=100 + n) for n in range(2)]


class Killer:
    """Counts steps and ends the process before the chosen one."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(at: int) -> None:
    """Every statement, fsync and rename of this process is a step from now on."""
    killer = Killer(at)
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*args, **kwargs)
        db.set_trace_callback(killer.step)
        return db

    sqlite3.connect = traced  # type: ignore[assignment]
    fsync, rename = os.fsync, Path.rename

    def stepping_fsync(fd: int) -> None:
        killer.step()
        fsync(fd)

    def stepping_rename(self: Path, target: str | Path) -> Path:
        killer.step()
        return rename(self, target)

    os.fsync = stepping_fsync  # type: ignore[assignment]
    Path.rename = stepping_rename  # type: ignore[method-assign,assignment]


def sighting(event: UUID, revision: int, final: bool) -> SightingSeen:
    return SightingSeen.model_validate(
        {
            "id": new_id(),
            "sighting_id": UUID(int=event.int + 1000),
            "revision": revision,
            "final": final,
            "camera_id": CAMERA,
            "object_class": "person",
            "start_at": AT,
            "end_at": AT + timedelta(seconds=revision),
            "best_at": AT,
            "best_score": 0.9,
            "best_box": {"x": 0, "y": 0, "w": 1, "h": 1},
            "trajectory": [],
            "colours": [],
            "detector": {"name": "t", "sha256": "0" * 64},
            "clock": {},
            "clip_id": event,
            "picture": b"jpeg" if revision == 1 else None,
        }
    )


def cut(spool: Spool, clip_id: UUID) -> CutFile:
    """A cut as capture makes it: written beside, renamed, then hashed and synced by the cutter's own function."""
    path = spool.clips_dir / f"{clip_id}.mp4"
    part = path.with_suffix(".part")
    part.write_bytes(clip_id.bytes * 64)
    part.rename(path)
    sha256, size = hash_and_sync(path)
    return CutFile(path.name, sha256, size, AT, AT + timedelta(seconds=5), MEDIA, (), ClockReading())


def play(folder: Path, done: "os.PathLike[str]") -> None:
    """Two events, as an agent would: sighting, event, cut, seal, announcement acknowledged, receipt. Resumable."""
    spool = Spool(folder)
    spool.call(clips.close_open_events)
    spool.call(sightings.finish_open)
    for event in EVENTS:
        if not spool.call(_known, event):
            spool.call(sightings.put, sighting(event, 1, False))
            spool.call(sightings.put, sighting(event, 2, True))
            spool.call(clips.plan, event, CAMERA, AT, AT + timedelta(seconds=5), [UUID(int=event.int + 1000)])
        for plan in spool.call(clips.planned):
            spool.call(clips.seal, KEY, AGENT, plan.clip_id, cut(spool, plan.clip_id))
    with Path(done).open("a") as hub:  # what JetStream has acknowledged: survives, may hold replays
        while batch := spool.call(outbox.next_batch, {CAMERA}, set(), 1):
            hub.write(json.dumps({"id": batch[0].id, "type": batch[0].type, "body": batch[0].body.decode()}) + "\n")
            hub.flush()
            spool.call(clips.delivered, [batch[0].id])
    for event in EVENTS:
        spool.call(clips.uploaded, event)
        spool.call(clips.take_receipt, Receipt(clip_id=event, status="verified", at=AT))
    spool.close()


def _known(db: sqlite3.Connection, event: UUID) -> bool:
    return db.execute("select 1 from clips where clip_id = ?", (str(event),)).fetchone() is not None


def examine(folder: Path, done: Path) -> dict[str, Any]:
    """What a finished run left behind, and whether everything arrived exactly once (by id, as JetStream counts)."""
    by_id = {}
    for line in done.read_text().splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue  # the kill came while the "network" wrote
        by_id[message["id"]] = message
    sealed = [ClipSealed.model_validate_json(m["body"]).seal for m in by_id.values() if m["type"] == "clip"]
    final = {
        json.loads(m["body"])["sighting_id"]
        for m in by_id.values()
        if m["type"] == "sighting" and json.loads(m["body"])["final"]
    }
    spool = Spool(folder)
    result = {
        "clips": sorted(str(seal.body.clip_id) for seal in sealed),
        "final_sightings": len(final),
        "chain": chain_is_whole(sealed),
        "hashes": all(seal.body.sha256 == hashlib.sha256(seal.body.clip_id.bytes * 64).hexdigest() for seal in sealed),
        "states": spool.call(clips.counts),
        "left": spool.call(outbox.totals).count,
        "head": spool.call(clips.chain_head, CAMERA)[0],
    }
    spool.close()
    return result


def chain_is_whole(seals: list[Seal]) -> bool:
    prev, wanted = GENESIS, 1
    for seal in sorted(seals, key=lambda one: one.body.seq):
        if seal.body.seq != wanted or seal.body.prev != prev:
            return False
        prev, wanted = seal_hash(seal), wanted + 1
    return True


def in_child(work: Any) -> bool:
    """Runs `work` in a forked process; whether it came to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the forked child's outermost frame
            print(repr(error), file=sys.stderr)
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"child failed: {status}")
    return os.WIFEXITED(status)


def main(root: Path, stride: int) -> None:
    found = []
    at, survived = 1, False
    while not survived:
        folder, done, report = root / f"k{at}", root / f"k{at}.hub", root / f"k{at}.json"

        def killed(at: int = at, folder: Path = folder, done: Path = done) -> None:
            arm(at)
            play(folder, done)

        def resumed(folder: Path = folder, done: Path = done, report: Path = report) -> None:
            play(folder, done)
            report.write_text(json.dumps(examine(folder, done)))

        survived = in_child(killed)
        in_child(resumed)
        found.append({"killed_before_step": at, **json.loads(report.read_text())})
        at += stride
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
