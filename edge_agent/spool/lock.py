"""One agent per data folder: a lock the kernel drops with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import AgentError

LOCK_FILE = "agent.pid"


@contextmanager
def sole_owner(data_dir: Path) -> Iterator[None]:
    """Holds the folder; the file tells the holder's process id.

    Raises:
        AgentError: `agent.already_running` with the holder's id.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AgentError("agent.already_running", f"process {running_pid(data_dir)}") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def running_pid(data_dir: Path) -> int | None:
    """Process id of the agent that holds the folder, or None."""
    try:
        with (data_dir / LOCK_FILE).open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except (FileNotFoundError, ValueError):
        return None
    return None
