"""The bytes of one clip to the object store: the parts its plan still misses, by presigned PUT, streamed from disk."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from edge_agent.errors import AgentError
from edge_agent.kit.threads import OwnThread
from models.wire.agent_http import PartDone, UploadPart, UploadPlan

CHUNK_BYTES = 256 * 1024
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class Pace:
    """A shared limit of bytes per second (0: none), so that uploads leave room for the household."""

    def __init__(self, bytes_per_s: int) -> None:
        self._rate = bytes_per_s
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Waits until `size` more bytes may be sent."""
        if not self._rate:
            return
        now = asyncio.get_running_loop().time()
        start = max(self._free_at, now)
        self._free_at = start + size / self._rate
        await asyncio.sleep(start - now)


class Transfer:
    """Sends parts. One reading thread, one connection pool."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._reader = OwnThread("upload-reader")
        self._http = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, follow_redirects=False)
        self.sent_bytes = 0

    async def close(self) -> None:
        """Ends connections and thread."""
        await self._http.aclose()
        self._reader.close()

    async def send(self, path: Path, plan: UploadPlan) -> list[PartDone]:
        """Sends what is missing; ETags of all parts.

        Raises:
            AgentError: `upload.refused` (the plan is stale: ask again), `upload.interrupted` (the network), `upload.file_short`.
        """
        check_plan(plan, (await self._reader.run(path.stat)).st_size)
        done = []
        for part in plan.parts:
            etag = part.etag or await self._put(path, part)
            done.append(PartDone(number=part.number, etag=etag))
        return done

    async def _put(self, path: Path, part: UploadPart) -> str:
        headers = {"content-length": str(part.size_bytes)}
        try:
            reply = await self._http.put(part.url, content=self._bytes(path, part), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AgentError("upload.interrupted", type(error).__name__) from error
        if reply.status_code >= 500:
            raise AgentError("upload.interrupted", f"status {reply.status_code}")
        if not reply.is_success:
            raise AgentError("upload.refused", f"status {reply.status_code}")
        etag = reply.headers.get("etag", "").strip('"')
        if not etag:
            raise AgentError("upload.refused", "no etag")
        return str(etag)

    async def _bytes(self, path: Path, part: UploadPart) -> AsyncIterator[bytes]:
        at, end = part.offset, part.offset + part.size_bytes
        while at < end:
            chunk = await self._reader.run(_read, path, at, min(CHUNK_BYTES, end - at))
            if not chunk:
                raise AgentError("upload.file_short", path.name)
            await self._pace.take(len(chunk))
            yield chunk
            at += len(chunk)
            self.sent_bytes += len(chunk)


def check_plan(plan: UploadPlan, size_bytes: int) -> None:
    """A plan must cover the file exactly, without holes or overlaps, by plain http(s) URLs. AgentError `upload.plan_invalid`."""
    at = 0
    for number, part in enumerate(plan.parts, 1):
        if part.number != number or part.offset != at:
            raise AgentError("upload.plan_invalid", "parts out of order")
        if not part.etag and not part.url.startswith(("http://", "https://")):
            raise AgentError("upload.plan_invalid", "no address")
        at += part.size_bytes
    if at != size_bytes or not plan.upload_id:
        raise AgentError("upload.plan_invalid", "not the whole file")


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
