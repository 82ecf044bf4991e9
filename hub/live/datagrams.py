"""Sending many UDP datagrams with few system calls: Linux generic segmentation (`UDP_SEGMENT`, udp(7)).

One `sendmsg` carries a run of datagrams of one size (the last may be shorter). Where the kernel or the network does not
do that, each datagram is sent alone.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator

UDP_SEGMENT = 103  # <linux/udp.h>
MAX_SEGMENTS = 64
MAX_RUN_BYTES = 60_000
_UNSUPPORTED = frozenset({errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})


class DatagramSender:
    """Sends from an existing UDP socket, without blocking."""

    def __init__(self, fileno: int, address: tuple[str, int], *, segmentation: bool = True) -> None:
        """`fileno` is duplicated: the socket stays its owner's."""
        self._socket = socket.socket(fileno=os.dup(fileno))
        self._socket.setblocking(False)
        self._address = address
        self._segmentation = segmentation

    def send(self, datagrams: list[bytes]) -> int:
        """Sends in order; answers how many went. Fewer than given: the socket's buffer is full, or the socket is closed."""
        sent = 0
        for run in self._runs(datagrams):
            if not self._send_run(run):
                break
            sent += len(run)
        return sent

    def close(self) -> None:
        """Closes the duplicate; idempotent."""
        self._socket.close()

    def _runs(self, datagrams: list[bytes]) -> Iterator[list[bytes]]:
        run: list[bytes] = []
        size = total = 0
        for datagram in datagrams:
            length = len(datagram)
            fits = len(run) < MAX_SEGMENTS and total + length <= MAX_RUN_BYTES
            if run and self._segmentation and fits and length <= size and len(run[-1]) == size:
                run.append(datagram)
                total += length
                continue
            if run:
                yield run
            run, size, total = [datagram], length, length
        if run:
            yield run

    def _send_run(self, run: list[bytes]) -> bool:
        try:
            if len(run) == 1:
                self._socket.sendto(run[0], self._address)
            else:
                control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", len(run[0])))]
                self._socket.sendmsg(run, control, 0, self._address)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # an ICMP answer to an earlier datagram: UDP loses, NACK repairs
        except OSError as error:
            if error.errno == errno.EBADF:
                return False
            if len(run) > 1 and error.errno in _UNSUPPORTED:
                self._segmentation = False
                return all(self._send_run([datagram]) for datagram in run)
            return True  # unreachable and the like: counts as lost on the way
        return True
