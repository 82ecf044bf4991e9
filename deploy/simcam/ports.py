"""Ports that stay ours while nothing listens on them, so that a camera that was away comes back at the same address."""

import socket


class HeldPort:
    """A TCP port bound with SO_REUSEPORT and not listening: connecting to it is refused until `listen` is called."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._hold = self._bound(port)
        self.port: int = self._hold.getsockname()[1]

    def _bound(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        try:
            sock.bind((self.host, port))
        except OSError:
            sock.close()
            raise
        return sock

    def listening(self) -> socket.socket:
        """A second socket on the port, for a server to listen on and to close."""
        return self._bound(self.port)

    def close(self) -> None:
        """Gives the port back."""
        self._hold.close()
