"""Words of live viewing: limits, sessions, upstreams; and the ports the service works through."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from hub.identity.model import Principal
from hub.live.fanout import Fanout
from models.vocabulary import StreamName
from models.wire.downlink import IceServer


@dataclass(frozen=True)
class LiveConfig:
    """Addresses and limits. Times in seconds."""

    ice_hosts: tuple[str, ...] = (
        "127.0.0.1",
    )  # addresses viewers and agents reach the hub on; "auto": all of this host
    ice_servers: tuple[IceServer, ...] = ()  # told to viewers and agents
    relay_ice_servers: tuple[IceServer, ...] = ()  # used by the hub itself (seldom: it is reachable)
    turn_secret: str = field(default="", repr=False)  # signs users for TURN servers that are named without one
    segmentation: bool = True  # UDP generic segmentation offload
    lease_s: float = 20
    linger_s: float = 5.0  # an upstream outlives its last viewer by this
    connect_s: float = 15.0  # from SDP answer to media, for viewers; from LiveStart to first packet, for agents
    stalled_s: float = 3.0
    lost_s: float = 8.0
    whip_life_s: int = 120  # an agent stops by itself this long after the hub was last heard; renewed at a third
    command_s: float = 5.0
    token_life_s: int = 12 * 3600  # the session ends long before: with its lease
    max_sessions: int = 200
    max_sessions_per_user: int = 16
    max_upstreams: int = 64
    backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class UpstreamState(StrEnum):
    """What the relay sees of a camera's stream."""

    STARTING = "starting"  # asked for; no packet yet
    LIVE = "live"
    STALLED = "stalled"  # connected, but no packet for a while
    LOST = "lost"  # gone; asked for again with back-off while somebody watches


@dataclass(frozen=True)
class LiveCamera:
    """What live must know of a camera."""

    id: UUID
    agent_id: UUID


class PeerHandle(Protocol):
    """One WebRTC connection."""

    @property
    def connected(self) -> bool:
        """Whether media can flow now."""

    async def close(self) -> None:
        """Ends it; idempotent."""


class RelayPort(Protocol):
    """What makes connections."""

    def fanout(self) -> Fanout:
        """An empty fan-out."""

    async def accept_publisher(self, fanout: Fanout, offer: str, on_end: Callable[[], None]) -> tuple[PeerHandle, str]:
        """Answers an agent's WHIP offer; its packets go to `fanout`."""

    async def accept_viewer(self, fanout: Fanout, offer: str, on_end: Callable[[], None]) -> tuple[PeerHandle, str]:
        """Answers a viewer's WHEP offer; it gets what `fanout` has."""


class Gate(Protocol):
    """Consent and ledger. All raise `hub.errors.Unavailable` while the database is away."""

    async def admit(self, who: Principal, camera_id: UUID) -> LiveCamera:
        """The camera, if it may be watched now.

        Raises:
            hub.errors.NotFound: `camera.unknown`; hub.errors.Forbidden: `consent.*` (with a ledger row of the denial).
        """

    async def refusals(self, camera_ids: set[UUID]) -> dict[UUID, str]:
        """Which of these may not be watched any more, and why."""

    async def watched(self, session: "ViewSession") -> None:
        """Writes that watching begins; consent is looked at once more in the same transaction."""

    async def ended(self, session: "ViewSession", seconds: int, reason: str) -> None:
        """Writes that watching ended."""


@dataclass(eq=False)
class ViewSession:
    """One viewer's right to one stream."""

    id: UUID
    who: Principal
    camera_id: UUID
    stream: StreamName
    upstream: "Upstream"
    expires_at: datetime
    peer: PeerHandle | None = None
    answered_at: datetime | None = None
    watching_since: datetime | None = None


@dataclass(eq=False)
class Upstream:
    """One camera stream on its way through the relay, however many watch it, over any number of attempts."""

    camera_id: UUID
    stream: StreamName
    agent_id: UUID
    fanout: Fanout
    started_at: datetime
    state: UpstreamState = UpstreamState.STARTING
    attempt_id: UUID | None = None
    attempt_at: datetime | None = None
    renewed_at: datetime | None = None
    retry_at: datetime | None = None
    failures: int = 0
    peer: PeerHandle | None = None
    last_packet_at: datetime | None = None
    seen_packets: int = 0
    empty_since: datetime | None = None
    sessions: set[UUID] = field(default_factory=set)
