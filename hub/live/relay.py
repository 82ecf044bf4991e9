"""The relay on aiortc: what `hub.live.model.RelayPort` asks for."""

import asyncio
from collections.abc import Callable

from hub.live.fanout import Fanout
from hub.live.model import LiveConfig
from hub.live.peer import Peer, publisher_peer, viewer_peer


class Relay:
    """Makes connections on the running event loop."""

    def __init__(self, config: LiveConfig) -> None:
        self._config = config

    def fanout(self) -> Fanout:
        """An empty fan-out, timed by the running loop."""
        return Fanout(asyncio.get_running_loop())

    async def accept_publisher(self, fanout: Fanout, offer: str, on_end: Callable[[], None]) -> tuple[Peer, str]:
        """Answers an agent; see `RelayPort`."""
        peer = publisher_peer(self._config, fanout, on_end)
        return peer, await peer.answer(offer)

    async def accept_viewer(self, fanout: Fanout, offer: str, on_end: Callable[[], None]) -> tuple[Peer, str]:
        """Answers a viewer; see `RelayPort`."""
        peer = viewer_peer(self._config, fanout, on_end)
        return peer, await peer.answer(offer)
