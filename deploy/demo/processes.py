"""The demo's processes: started in order, ended in reverse, and counted from outside at the end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

MARK = "QIANSHAO_DEMO_RUN"


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


class Processes:
    """Children of one run. Each carries a mark in its environment, so that leftovers are found wherever they went."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._mark = uuid4().hex
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        log_dir.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: list[str], *, stdin: str | None = None) -> subprocess.Popen[bytes]:
        """Starts a child in a session of its own (Ctrl-C goes to us alone); its output goes to a log file."""
        log = self.log_path(name).open("ab")
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self.environment(),
            start_new_session=True,
        )
        log.close()
        if stdin is not None and child.stdin is not None:
            child.stdin.write(stdin.encode())
            child.stdin.close()
        self._running.append((name, child))
        return child

    def run(self, name: str, command: list[str], *, stdin: str | None = None) -> str:
        """Runs a command to its end; what it printed.

        Raises:
            DemoError: it failed.
        """
        done = subprocess.run(
            command, input=stdin, env=self.environment(), capture_output=True, text=True, check=False, timeout=120
        )
        with self.log_path(name).open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            raise DemoError(f"{name} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    def environment(self) -> dict[str, str]:
        """What children inherit: no proxy stands between loopback servers."""
        return {**os.environ, MARK: self._mark, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}

    def pid(self, name: str) -> int:
        """A running child's pid."""
        return next(child.pid for known, child in self._running if known == name)

    def forget(self, name: str) -> None:
        """A child that was ended on purpose."""
        for entry in [one for one in self._running if one[0] == name]:
            entry[1].wait()
            self._running.remove(entry)

    def log_path(self, name: str) -> Path:
        """Where a child's output goes."""
        return self._log_dir / f"{name}.log"

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float) -> None:
        """Waits for a condition; a child that ends meanwhile is told with the end of its log.

        Raises:
            DemoError: it did not come true, or a child died.
        """
        end = time.monotonic() + seconds
        while not ready():
            for name, child in self._running:
                if child.poll() not in {None, 0}:
                    raise DemoError(f"{name} ended with {child.returncode}:\n{self.tail(name)}")
            if time.monotonic() > end:
                raise DemoError(f"{what}: not within {seconds:.0f} s. Logs: {self._log_dir}")
            time.sleep(0.2)

    def tail(self, name: str, characters: int = 2000) -> str:
        """The end of a child's log."""
        return self.log_path(name).read_text("utf-8", "replace")[-characters:]

    def stop(self) -> None:
        """Ends the children, the last first; one that does not listen is killed."""
        for _, child in reversed(self._running):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._running.clear()

    def left(self, patience_s: float = 5.0) -> list[int]:
        """Pids that still carry this run's mark, ourselves not counted."""
        end = time.monotonic() + patience_s
        while (found := self._marked()) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    def _marked(self) -> list[int]:
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
            except OSError:
                continue  # it ended while we looked, or is not ours to look at
            if wanted in environment and state != "Z":
                found.append(int(folder.name))
        return found
