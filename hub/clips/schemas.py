"""API shapes of clips."""

from typing import Literal
from uuid import UUID

from hub.kit.shapes import Answer, UtcTime
from models.vocabulary import RefusalCode
from models.wire.seal import Seal
from models.wire.uplink import MediaInfo, MissingSpan


class SealVerdict(Answer):
    """What was checked when the hub read the stored bytes. `chain`: `waiting` while the seal before is not here."""

    hash_ok: bool
    signature_ok: bool
    chain: Literal["ok", "waiting", "broken"]
    verified_at: UtcTime | None
    agent_public_key: str
    agent_name: str


class ClipView(Answer):
    """A clip's data without its footage (permission `footage.search`: it belongs to a search)."""

    id: UUID
    camera_id: UUID
    camera_name: str
    status: Literal["announced", "uploaded", "verified", "refused"]
    refusal_code: RefusalCode | None
    refusal_detail: str
    start_at: UtcTime
    end_at: UtcTime
    size_bytes: int
    media: MediaInfo
    gaps: list[MissingSpan]
    sighting_ids: list[UUID]
    seal: Seal
    seal_hash: str
    verdict: SealVerdict


class ClipPage(Answer):
    """GET /api/v1/clips?camera_id&from&to&status&cursor&limit: newest first."""

    items: list[ClipView]
    next_cursor: str | None


class ClipSummary(Answer):
    """GET /api/v1/clips/summary: counts by status and the chain's state, for the dashboard and the demo's check."""

    announced: int
    uploaded: int
    verified: int
    refused: int
    chains_ok: bool
    chains_waiting: int
    chains_broken: int


class PlayView(Answer):
    """POST /api/v1/clips/{id}/play (writes a ledger row): a URL for `<video src>` with range requests.

    The boxes overlay: the clip's sightings with their trajectories, from `GET /api/v1/sightings/{id}`.
    """

    url: str
    expires_at: UtcTime
    clip: ClipView
