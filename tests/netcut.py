"""A TCP line one can cut: stands between the agent and a server, on loopback."""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 64 * 1024


class Line:
    """Forwards connections to `target` ("host:port" or a URL) until cut. `async with Line(target) as line: line.address`."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target if "://" in target else f"//{target}")
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_at: int | None = None
        self.is_cut = False
        self.sent_up = 0
        self.cuts = 0

    @property
    def address(self) -> str:
        """host:port to connect to."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._server is not None
        self._server.close()

    def cut(self) -> None:
        """All connections end, new ones end at once."""
        if not self.is_cut:
            self.cuts += 1
        self.is_cut = True
        self._cut_at = None
        for writer in list(self._writers):
            if writer.transport is not None:
                writer.transport.abort()

    def cut_after(self, more_bytes: int) -> None:
        """Cuts by itself once so many more bytes have gone towards the server."""
        self._cut_at = self.sent_up + more_bytes

    def mend(self) -> None:
        """Connections pass again."""
        self.is_cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        up = asyncio.create_task(self._pipe(reader, far_writer, up=True))
        down = asyncio.create_task(self._pipe(far_reader, writer, up=False))
        for task in (up, down):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                if up:
                    self.sent_up += len(chunk)
                    if self._cut_at is not None and self.sent_up >= self._cut_at:
                        self.cut()
                        return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            if writer.can_write_eof() and not writer.transport.is_closing():
                writer.close()
