"""From a planned clip to a sealed one: cut, hash, sync, then take the camera's next link of the chain.

All before the seal is repeatable: a kill leaves at most a file without a row, which the next start removes.
When the spool is full nothing new is cut: the span stays in the recording, the plan waits, and presence says `spool.full`.
"""

import asyncio
import hashlib
import os
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog

from edge_agent.errors import AgentError
from edge_agent.kit.backoff import Retries
from edge_agent.kit.clock import Clock, utc_now
from edge_agent.kit.files import sync_folder
from edge_agent.kit.threads import OwnThread
from edge_agent.spool import clips
from edge_agent.spool.clips import CutFile, Plan
from edge_agent.spool.store import Spool
from edge_agent.upload.port import ClockOf, Cut, Cutting, Permission
from models.keys import SigningKey

PRE_ROLL = timedelta(seconds=3)
POST_ROLL = timedelta(seconds=3)
END_SLACK = timedelta(milliseconds=500)  # a cut ends with a whole frame
STEP = timedelta(seconds=1)
NOT_YET_WAIT_S = 1.0
GIVE_UP_AFTER = timedelta(hours=1)  # a span that is still not on disk then never will be

log = structlog.get_logger()


class Cutter:
    """Run it as one task; `wake` it when an event has been planned (any thread)."""

    def __init__(
        self,
        spool: Spool,
        gate: Permission,
        recordings: Cutting,
        clock_of: ClockOf,
        key: SigningKey,
        agent_id: UUID,
        max_bytes: int,
        clock: Clock = utc_now,
    ) -> None:
        self._spool = spool
        self._gate = gate
        self._recordings = recordings
        self._clock_of = clock_of
        self._key = key
        self._agent_id = agent_id
        self._max_bytes = max_bytes
        self._clock = clock
        self._thread = OwnThread("cutter")
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._retries: Retries[UUID] = Retries(first=NOT_YET_WAIT_S, most=60.0)
        self.full = False
        self.sealed = 0

    def wake(self) -> None:
        """A clip was planned. Any thread."""
        self._loop.call_soon_threadsafe(self._woken.set)

    def close(self) -> None:
        """Ends its thread."""
        self._thread.close()

    async def run(self) -> None:
        """Cuts and seals until cancelled."""
        while True:
            self._woken.clear()
            await self._room()
            waiting = [] if self.full else await self._spool.run(clips.planned)
            due = [plan for plan in waiting if self._retries.due(plan.clip_id)]
            for plan in due:
                await self._one(plan)
            if not due:
                await self._rest(NOT_YET_WAIT_S)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _room(self) -> None:
        full = await self._spool.run(clips.bytes_kept) >= self._max_bytes
        if full != self.full:
            self.full = full
            log.warning("spool.full" if full else "spool.room_again", max_bytes=self._max_bytes)

    async def _one(self, plan: Plan) -> None:
        try:
            await self._cut_and_seal(plan)
        except AgentError as error:
            await self._put_off(plan, error)
        else:
            self._retries.settled(plan.clip_id)

    async def _put_off(self, plan: Plan, error: AgentError) -> None:
        hopeless = error.code in ("recording.none", "consent.no_span")
        if hopeless or self._clock() - plan.end_at > GIVE_UP_AFTER:
            log.warning("clip.void", clip_id=str(plan.clip_id), camera_id=str(plan.camera_id), code=error.code)
            await self._spool.run(clips.give_up, plan.clip_id, error.code)
            self._retries.settled(plan.clip_id)
            return
        self._retries.later(plan.clip_id)
        if error.code != "recording.not_yet":
            log.warning("clip.cut_failed", clip_id=str(plan.clip_id), code=error.code, detail=error.detail)

    async def _cut_and_seal(self, plan: Plan) -> None:
        span = await self._gate.allowed_span(plan.camera_id, plan.start_at - PRE_ROLL, plan.end_at + POST_ROLL)
        if span is None:
            raise AgentError("consent.no_span")
        path = self._spool.clips_dir / f"{plan.clip_id}.mp4"
        bounded = (span[0] > plan.start_at - PRE_ROLL, span[1] < plan.end_at + POST_ROLL)
        cut_file = await self._thread.run(self._cut, plan.camera_id, span, bounded, path)
        seal = await self._spool.run(clips.seal, self._key, self._agent_id, plan.clip_id, cut_file)
        if seal is not None:
            self.sealed += 1
            log.info(
                "clip.sealed",
                clip_id=str(plan.clip_id),
                camera_id=str(plan.camera_id),
                seq=seal.body.seq,
                size_bytes=cut_file.size_bytes,
            )

    def _cut(self, camera_id: UUID, span: tuple[datetime, datetime], bounded: tuple[bool, bool], path: Path) -> CutFile:
        cut = self._cut_within(camera_id, span, bounded, path)
        sha256, size = hash_and_sync(path)
        return CutFile(
            path.name, sha256, size, cut.start_at, cut.end_at, cut.media, tuple(cut.gaps), self._clock_of(camera_id)
        )

    def _cut_within(
        self, camera_id: UUID, span: tuple[datetime, datetime], bounded: tuple[bool, bool], path: Path
    ) -> Cut:
        """A cut is widened to key frames; where consent bounds the span, it is moved inwards until it lies within."""
        start, end = span
        while start < end:
            cut = self._recordings.cut(camera_id, start, end, path)
            early = bounded[0] and cut.start_at < span[0]
            late = bounded[1] and cut.end_at > span[1] + END_SLACK
            if not early and not late:
                return cut
            start += STEP if early else timedelta()
            end -= STEP if late else timedelta()
        path.unlink(missing_ok=True)
        raise AgentError("consent.no_span", "no key frame within the allowed span")


def hash_and_sync(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size of a file, which is on disk for good when this returns."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        size = file.tell()
        os.fsync(file.fileno())
    sync_folder(path.parent)
    return digest.hexdigest(), size
