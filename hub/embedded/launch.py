"""Starts one server: drops root, asks the kernel to end it with its parent, then becomes it.

Run as a script with the standard library alone (`python -I launch.py PARENT_PID SIGNAL UID GID SEARCH -- ARGV…`), not as
a `preexec_fn`: code between fork and exec of a process with threads may deadlock. The order matters: the kernel forgets the
parent-death signal when the user changes, so it is asked for last.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _become(uid: int, gid: int, search: bool) -> None:
    """Changes the user. `search` keeps the one right to walk folders closed to others (a checkout under /root)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if search:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if search:
        bit = 1 << CAP_DAC_READ_SEARCH
        data = (_CapData * 2)(_CapData(bit, bit, bit), _CapData(0, 0, 0))
        if libc.capset(ctypes.byref(_CapHeader(_CAPABILITY_VERSION_3, 0)), data) != 0:
            raise OSError(ctypes.get_errno(), "capset")
        if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_CAP_AMBIENT)")


def main() -> None:
    """Becomes the server named after `--`."""
    parent, stop_signal, uid, gid, search = (int(word) for word in sys.argv[1:6])
    argv = sys.argv[7:]
    if uid != os.geteuid():
        _become(uid, gid, bool(search))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606  the caller's own list, no shell


if __name__ == "__main__":
    main()
