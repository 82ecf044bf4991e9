"""Files written so that a crash leaves the old one or the new one, never half of one."""

import os
from pathlib import Path


def write_private(path: Path, text: str, *, sync: bool = True) -> None:
    """Replaces `path` whole with `text`, mode 0600, synced to disk (unless what it tells may be lost with the power)."""
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        if sync:
            os.fsync(out.fileno())
    part.rename(path)
    if sync:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes renames and deletions inside `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
