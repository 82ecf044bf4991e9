"""Uploads: announced clips of cameras whose consent is open, a few at a time, until the hub has verified each.

The spool owns a file until a receipt says `verified`. A refused clip is kept and reported. Any break (network, expired URL,
kill) is met the same way: ask the hub for the plan again and send what is missing.
"""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog

from edge_agent.errors import AgentError, HubRefused
from edge_agent.kit.backoff import Retries
from edge_agent.kit.clock import Clock, utc_now
from edge_agent.kit.files import sync_folder
from edge_agent.kit.threads import OwnThread
from edge_agent.spool import clips
from edge_agent.spool.clips import Sealed
from edge_agent.spool.store import Spool
from edge_agent.upload.port import Permission, UploadApi
from edge_agent.upload.transfer import Transfer
from models.wire.agent_http import UploadAsk, UploadComplete
from models.wire.downlink import Receipt

LOOK_EVERY_S = 0.5
VERDICT_WAIT = timedelta(minutes=2)  # then the plan is asked again: it tells what is missing, or the receipt
ANNOUNCE_AGAIN_AFTER = timedelta(seconds=20)
SETTLED_KEPT = timedelta(days=7)

log = structlog.get_logger()


class Uploader:
    """Run it as one task."""

    def __init__(
        self,
        spool: Spool,
        gate: Permission,
        api: UploadApi,
        transfer: Transfer,
        concurrency: int,
        clock: Clock = utc_now,
    ) -> None:
        self._spool = spool
        self._gate = gate
        self._api = api
        self._transfer = transfer
        self._concurrency = concurrency
        self._clock = clock
        self.running: dict[UUID, tuple[UUID, asyncio.Task[None]]] = {}  # clip → its camera, its upload
        self._retries: Retries[UUID] = Retries(first=0.5, most=60.0)
        self._files = OwnThread("upload-files")
        self.verified = 0
        self.refused = 0

    async def run(self) -> None:
        """Uploads until cancelled; ends its uploads with it."""
        try:
            while True:
                self._stop_refused()
                await self._start_due()
                await self._remind()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            tasks = [task for _, task in self.running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Ends connections and threads."""
        await self._transfer.close()
        self._files.close()

    def stop_camera(self, camera_id: UUID) -> None:
        """Ends uploads of a camera at once. Their clips wait, parts already sent stay."""
        for owner, task in self.running.values():
            if owner == camera_id:
                task.cancel()

    def retry_now(self) -> None:
        """The network is back: no need to sit out a wait."""
        self._retries.soon()

    def _stop_refused(self) -> None:
        allowed = self._gate.open_cameras()
        for camera_id, _ in list(self.running.values()):
            if camera_id not in allowed:
                self.stop_camera(camera_id)

    async def _start_due(self) -> None:
        if len(self.running) >= self._concurrency:
            return
        waiting = await self._spool.run(clips.to_upload, self._gate.open_cameras(), 200)
        due = [one for one in waiting if one.clip_id not in self.running and self._retries.due(one.clip_id)]
        for clip in due[: self._concurrency - len(self.running)]:
            task = asyncio.create_task(self._upload(clip), name=f"upload.{clip.clip_id}")
            self.running[clip.clip_id] = (clip.camera_id, task)
            task.add_done_callback(partial(self._done, clip.clip_id))

    def _done(self, clip_id: UUID, task: "asyncio.Task[None]") -> None:
        self.running.pop(clip_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._retries.later(clip_id)
            log.error("upload.failed", clip_id=str(clip_id), kind=type(error).__name__, detail=str(error)[:300])

    async def _upload(self, clip: Sealed) -> None:
        try:
            receipt = await self._bring(clip)
        except AgentError as error:
            self._retries.later(clip.clip_id)
            log.info("upload.put_off", clip_id=str(clip.clip_id), code=error.code, detail=error.detail)
            if isinstance(error, HubRefused) and error.status == 404:
                await self._say_again(clip.clip_id)
            return
        self._retries.settled(clip.clip_id)
        if receipt.status == "waiting":
            await self._spool.run(clips.uploaded, clip.clip_id)
        else:
            await self.take_receipts([receipt])

    async def _bring(self, clip: Sealed) -> Receipt:
        """Plan, missing parts, completion: the receipt so far."""
        ask = UploadAsk(clip_id=clip.clip_id, size_bytes=clip.size_bytes, sha256=clip.sha256)
        plan = await self._api.plan_upload(ask)
        if plan.receipt is not None:
            return plan.receipt
        parts = await self._transfer.send(self._spool.clips_dir / clip.file, plan)
        return await self._api.complete_upload(clip.clip_id, UploadComplete(upload_id=plan.upload_id, parts=parts))

    async def take_receipts(self, receipts: list[Receipt]) -> None:
        """The hub's word on some clips, pushed or asked for. Replays change nothing."""
        for receipt in receipts:
            if receipt.status == "unknown":
                await self._say_again(receipt.clip_id)
                continue
            settled = await self._spool.run(clips.take_receipt, receipt)
            if settled.status == "verified":
                self.verified += 1
                log.info("clip.verified", clip_id=str(receipt.clip_id))
            elif settled.status == "refused":
                self.refused += 1
                log.warning("clip.refused", clip_id=str(receipt.clip_id), code=str(receipt.code))
            if settled.file is not None:
                await self._delete(settled.file)

    async def _delete(self, file: str) -> None:
        await self._files.run(_remove, self._spool.clips_dir / file)
        await self._spool.run(clips.file_deleted, file)

    async def _say_again(self, clip_id: UUID) -> None:
        """The hub does not know a clip: perhaps its announcement is still on the way, else it is said anew."""
        since = dict(await self._spool.run(clips.unsettled)).get(clip_id)
        if since is not None and self._clock() - since > ANNOUNCE_AGAIN_AFTER:
            await self._spool.run(clips.announce_again, clip_id)

    async def _remind(self) -> None:
        """An upload without a verdict for long is planned again, which tells what is missing."""
        for clip_id in await self._spool.run(clips.awaiting_verdict, self._clock() - VERDICT_WAIT):
            await self._spool.run(clips.upload_again, clip_id)


async def tidy_folder(spool: Spool, now: datetime) -> int:
    """At start, before anything is cut: removes files that are not needed. How many.

    Files of verified clips (killed between receipt and deletion), and files nobody answers for (killed between cutting and
    sealing: they are cut again).
    """
    kept = await spool.run(clips.files_kept)
    gone = 0
    for path in list(spool.clips_dir.iterdir()):
        if kept.get(path.name, "verified") == "verified":
            _remove(path)
            await spool.run(clips.file_deleted, path.name)
            gone += 1
    await spool.run(clips.forget_settled, now - SETTLED_KEPT)
    return gone


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_folder(path.parent)
