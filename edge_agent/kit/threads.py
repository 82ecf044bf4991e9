"""A thread of one's own for blocking work (SQLite, zeep, hashing), so that it never sits in the default executor."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = Callable[[], None]


class OwnThread:
    """Runs calls one after the other on one named daemon thread.

    A daemon, so that a camera that never answers cannot hold up the agent's end. `max_waiting` bounds the queue: `submit`
    then blocks its caller (back-pressure) instead of eating memory.
    """

    def __init__(self, name: str, max_waiting: int = 1024) -> None:
        self._jobs: queue.Queue[_Job | None] = queue.Queue(max_waiting)
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queues a call; its future. Raises RuntimeError after `close`."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
                _settle(future, error)
            else:
                future.set_result(result)

        with self._lock:
            if self._closed:
                raise RuntimeError("thread is closed")
        self._jobs.put(job)
        return future

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a call and waits for it without blocking the event loop."""
        return await asyncio.wrap_future(self.submit(call, *args, **kwargs))

    def close(self, timeout_s: float = 3.0) -> None:
        """Lets queued calls finish, for `timeout_s` at most; idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _settle(future: "Future[T]", error: BaseException) -> None:
    try:
        future.set_exception(error)
    except InvalidStateError:  # cancelled in the same instant
        return
