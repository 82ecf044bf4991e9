"""API shapes of live viewing.

Viewer: POST /api/v1/live/sessions → `LiveSession`; then WHEP (draft-ietf-wish-whep): POST the SDP offer (`application/sdp`)
to `whep_url` with `Authorization: Bearer token` → 201, the answer as body, `Location` for DELETE. While the tile is
shown, POST /api/v1/live/sessions/{id}/lease every `lease_s` / 2. Errors: `live.agent_offline`, `consent.*`, `live.no_stream`,
`live.too_many`.
Agent: WHIP (RFC 9725) POST to the `whip_url` of its `LiveStart` command.
"""

from uuid import UUID

from hub.kit.shapes import Answer, Ask, UtcTime
from models.vocabulary import StreamName
from models.wire.downlink import IceServer


class LiveAsk(Ask):
    """Ask to watch a camera. `sub` for tiles, `main` for one big picture."""

    camera_id: UUID
    stream: StreamName = StreamName.SUB


class LiveSession(Answer):
    """A viewer's right to one stream until the lease ends."""

    id: UUID
    camera_id: UUID
    stream: StreamName
    whep_url: str
    token: str
    ice_servers: list[IceServer]
    lease_s: int
    expires_at: UtcTime


class LeaseView(Answer):
    """The renewed lease; `relay` tells what the relay sees of the upstream."""

    expires_at: UtcTime
    upstream: str
    packets: int
    last_packet_at: UtcTime | None


class UpstreamView(Answer):
    """GET /api/v1/live/upstreams: what is relayed now."""

    camera_id: UUID
    stream: StreamName
    state: str
    viewers: int
    packets: int
    bytes: int
    started_at: UtcTime
    last_packet_at: UtcTime | None
