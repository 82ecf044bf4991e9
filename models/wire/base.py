"""Shared shapes of wire messages: identifiers, times, boxes.

Every message is UTF-8 JSON, one object, unknown fields refused. Times are aware UTC
(RFC 3339). Positions inside a picture are fractions of its width and height, origin top left.
"""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SignatureHex = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
PublicKeyHex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Id = UUID


class Wire(BaseModel):
    """Base of all wire shapes: immutable, unknown fields are an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
    )


class Box(Wire):
    """A rectangle in a picture, in fractions of its size (x, y: top left)."""

    x: Fraction
    y: Fraction
    w: Fraction
    h: Fraction


class ClockReading(Wire):
    """How far a camera's own clock was from the agent's host clock.

    `offset_ms` = camera minus host; `None` when the camera never told its time. `uncertainty_ms` is
    half the round trip of the reading plus the camera's resolution (1 s for ONVIF).
    """

    offset_ms: int | None = None
    uncertainty_ms: int | None = None
