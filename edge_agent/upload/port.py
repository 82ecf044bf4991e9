"""What uploading and cutting need of others."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from models.wire.agent_http import UploadAsk, UploadComplete, UploadPlan
from models.wire.base import ClockReading
from models.wire.downlink import Receipt
from models.wire.uplink import MediaInfo, MissingSpan


class UploadApi(Protocol):
    """The hub's plans (`edge_agent.uplink.hub.HubClient`)."""

    async def plan_upload(self, ask: UploadAsk) -> UploadPlan:
        """What is still missing, or the receipt when nothing is."""

    async def complete_upload(self, clip_id: UUID, complete: UploadComplete) -> Receipt:
        """All parts are there."""


class Cut(Protocol):
    """What a cut tells of itself (`edge_agent.capture.port.CutClip`)."""

    @property
    def start_at(self) -> datetime:
        """First frame."""

    @property
    def end_at(self) -> datetime:
        """After the last frame."""

    @property
    def media(self) -> MediaInfo:
        """What is inside."""

    @property
    def gaps(self) -> list[MissingSpan]:
        """Spans without media."""


class Cutting(Protocol):
    """Cutting a span from what is on disk (`edge_agent.capture.port.Recordings`). Blocking."""

    def cut(self, camera_id: UUID, start_at: datetime, end_at: datetime, path: Path) -> Cut:
        """AgentError `recording.none`, `recording.not_yet`."""


class Permission(Protocol):
    """What consent says (the consent gate)."""

    def open_cameras(self) -> frozenset[UUID]:
        """Cameras whose consented clips may go now."""

    async def allowed_span(
        self, camera_id: UUID, start_at: datetime, end_at: datetime
    ) -> tuple[datetime, datetime] | None:
        """The longest part of the span in which clips were allowed."""


ClockOf = Callable[[UUID], ClockReading]
