"""Builds `LiveHub` from plain values: for `hub.cli`, which alone knows settings."""

from collections.abc import Sequence

from hub.context import Context
from hub.live.gate import DatabaseGate
from hub.live.model import LiveConfig
from hub.live.relay import Relay
from hub.live.service import LiveHub
from models.wire.downlink import IceServer


def live_hub(
    context: Context,
    *,
    ice_hosts: Sequence[str] = (),
    ice_servers: Sequence[IceServer] = (),
    lease_s: float = 20,
) -> LiveHub:
    """A LiveHub on aiortc and the database; `create_app` starts and closes it.

    `ice_hosts`: addresses of this host that viewers and agents reach (`auto`: all; none: loopback only).
    """
    config = LiveConfig(
        ice_hosts=tuple(ice_hosts) or ("127.0.0.1",), ice_servers=tuple(ice_servers), lease_s=round(lease_s)
    )
    return LiveHub(context, Relay(config), DatabaseGate(context), config)
