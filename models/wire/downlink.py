"""Messages from hub to agent, and the requests an agent makes over NATS.

Core NATS (not JetStream). Pushed on `down_subject(agent_id, type)`; an agent that (re)connects asks for what it may have
missed on `request_subject(agent_id, name)` with the name `desired` (empty body → `DesiredState`) or `receipts`
(`ReceiptsAsk` → `Receipts`). Commands are NATS requests on `down_subject(agent_id, "command")`, answered
with `CommandReply`.
"""

from datetime import time
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from models.vocabulary import ConsentPurpose, ObjectClass, RefusalCode, StreamName
from models.wire.base import Id, UtcTime, Wire


class Hours(Wire):
    """A daily window in local time of the site (`Asia/Shanghai`); `end` ≤ `start` crosses midnight."""

    days: list[int] = Field(description="ISO weekdays 1 (Monday) … 7", max_length=7)
    start: time
    end: time


class Consent(Wire):
    """What the owner of a camera allows. The agent refuses everything else, whoever asks."""

    version: int = Field(ge=1)
    share_clips: bool
    share_live: bool
    purposes: list[ConsentPurpose] = Field(max_length=8)
    hours: list[Hours] = Field(default_factory=list, max_length=16, description="empty: at any hour")
    paused: bool = False
    paused_until: UtcTime | None = None
    expires_at: UtcTime | None = None


class RecordingLimits(Wire):
    """Bounds of the edge recording of one camera; the oldest goes first."""

    max_bytes: int = Field(default=8 * 1024**3, gt=0)
    max_age_s: int = Field(default=30 * 86400, gt=0)


class AnalyticsWish(Wire):
    """What to look for, and at most how often."""

    enabled: bool = True
    max_fps: float = Field(default=4.0, gt=0, le=30)
    classes: list[ObjectClass] = Field(default_factory=list, max_length=32, description="empty: all")
    min_score: float = Field(default=0.4, ge=0, le=1)


class DesiredCamera(Wire):
    """One adopted camera and what is wanted of it."""

    camera_id: Id
    name: str = Field(max_length=120)
    consent: Consent
    recording: RecordingLimits = RecordingLimits()
    analytics: AnalyticsWish = AnalyticsWish()


class DesiredState(Wire):
    """All an agent should do. `version` rises; a lower one is ignored."""

    type: Literal["desired"] = "desired"
    version: int = Field(ge=1)
    issued_at: UtcTime
    cameras: list[DesiredCamera] = Field(max_length=256)


class Receipt(Wire):
    """The hub's word on one clip: `verified` (the file may go) or `refused` (with a code; it is kept)."""

    clip_id: Id
    status: Literal["verified", "refused", "waiting", "unknown"]
    code: RefusalCode | None = None
    at: UtcTime


class Receipts(Wire):
    """Receipts for some clips."""

    type: Literal["receipts"] = "receipts"
    receipts: list[Receipt] = Field(max_length=500)


class ReceiptsAsk(Wire):
    """Which clips the agent still holds and wonders about."""

    clip_ids: list[Id] = Field(max_length=500)


class IceServer(Wire):
    """A STUN or TURN server (W3C RTCIceServer)."""

    urls: list[str] = Field(max_length=8)
    username: str | None = None
    credential: str | None = None


class LiveStart(Wire):
    """Send this camera's stream to the relay by WHIP (RFC 9725), with `token` as bearer."""

    command: Literal["live_start"] = "live_start"
    session_id: Id
    camera_id: Id
    stream: StreamName
    whip_url: str = Field(max_length=500)
    token: str = Field(max_length=4000)
    expires_at: UtcTime
    ice_servers: list[IceServer] = Field(default_factory=list, max_length=8)


class LiveStop(Wire):
    """Nobody watches any more."""

    command: Literal["live_stop"] = "live_stop"
    session_id: Id


Command = Annotated[LiveStart | LiveStop, Field(discriminator="command")]
COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


class CommandReply(Wire):
    """`ok`, or the stable code of why not (`consent.live_not_shared`, `consent.paused`, `camera.offline` …)."""

    ok: bool
    code: str = Field(default="", max_length=100)
    detail: str = Field(default="", max_length=500)


Pushed = Annotated[DesiredState | Receipts, Field(discriminator="type")]
PUSHED: TypeAdapter[Pushed] = TypeAdapter(Pushed)


def down_subject(agent_id: Id, type_: str) -> str:
    """Subject the hub reaches an agent on (`desired`, `receipts`, `command`)."""
    return f"qs.down.{agent_id}.{type_}"


def request_subject(agent_id: Id, name: str) -> str:
    """Subject an agent asks the hub on (`desired`, `receipts`)."""
    return f"qs.req.{agent_id}.{name}"
