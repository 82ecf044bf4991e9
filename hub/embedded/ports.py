"""Loopback ports: chosen once, remembered in the data folder, chosen anew only when somebody else sits on them."""

import json
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from hub.errors import Unavailable

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether `port` can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no owner
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(taken: set[int]) -> int:
    # Below the range kernels hand to outgoing connections (Linux: from 32768), and at random: a remembered port is then
    # still free when its server comes back a moment later.
    for _ in range(1000):
        port = 15000 + secrets.randbelow(17000)
        if port not in taken and is_free(port):
            return port
    raise Unavailable("embedded.no_free_port")


def remembered(path: Path) -> dict[str, int]:
    """The ports chosen last; none on a new folder."""
    if not path.exists():
        return {}
    found: dict[str, int] = json.loads(path.read_text())
    return found


def choose(path: Path, names: Iterable[str]) -> dict[str, int]:
    """A free port for each name, the remembered one where it still is free; written back to `path`."""
    before = remembered(path)
    chosen = {name: before[name] for name in names if name in before and is_free(before[name])}
    for name in names:
        if name not in chosen:
            chosen[name] = _free_port(set(chosen.values()))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(chosen, indent=1, sort_keys=True))
    part.replace(path)
    return chosen
