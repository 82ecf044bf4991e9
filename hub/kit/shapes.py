"""Bases of API shapes."""

from pydantic import BaseModel, ConfigDict

from models.wire.base import UtcTime

__all__ = ["Answer", "Ask", "Position", "UtcTime"]


class Ask(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Answer(BaseModel):
    """What the hub answers."""

    model_config = ConfigDict(from_attributes=True)


class Position(BaseModel):
    """WGS-84, degrees."""

    lon: float
    lat: float
