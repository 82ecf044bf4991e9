"""Clips as the hub keeps them, the rule of the chain, and HTTP byte ranges (RFC 9110 §14)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from models.vocabulary import RefusalCode
from models.wire.seal import GENESIS


class ClipStatus(StrEnum):
    """A clip's way: announced by message, uploaded, and then verified or refused for good."""

    ANNOUNCED = "announced"
    UPLOADED = "uploaded"
    VERIFIED = "verified"
    REFUSED = "refused"


FINAL = frozenset({ClipStatus.VERIFIED, ClipStatus.REFUSED})


@dataclass(frozen=True)
class Clip:
    """A row of `clips` with its camera's and agent's names. JSON columns are as they came over the wire."""

    id: UUID
    camera_id: UUID
    camera_name: str
    agent_id: UUID
    agent_name: str
    agent_public_key: str
    status: str
    refusal_code: str | None
    refusal_detail: str
    start_at: datetime
    end_at: datetime
    size_bytes: int
    sha256: str
    seal: dict[str, Any]
    seal_hash: str
    chain_seq: int
    chain_prev: str
    chain_ok: bool | None
    media: dict[str, Any]
    gaps: list[dict[str, Any]]
    sighting_ids: list[UUID]
    object_key: str
    upload_id: str | None
    announced_at: datetime
    verified_at: datetime | None


def object_key(camera_id: UUID, clip_id: UUID, start_at: datetime) -> str:
    """Where a clip lies in bucket `clips`."""
    return f"{camera_id}/{start_at:%Y-%m-%d}/{clip_id}.mp4"


@dataclass(frozen=True)
class ChainLink:
    """What the chain needs of a seal that the hub holds."""

    clip_id: UUID
    seq: int
    seal_hash: str
    announced_at: datetime


def judge_chain(
    clip_id: UUID, seq: int, prev: str, before: Sequence[ChainLink], beside: Sequence[ChainLink]
) -> bool | None:
    """Whether a seal stands in its camera's chain: True, False (broken), None (the seal before is not here yet).

    `before`: seals held with the number `seq - 1`; `beside`: seals with the same number. Of two seals with one number the
    one that came first stands.
    """
    if any(link.clip_id != clip_id for link in beside):
        return False
    if seq == 1:
        return prev == GENESIS
    if not before:
        return None
    return any(link.seal_hash == prev for link in before)


def chain_word(chain_ok: bool | None) -> str:
    """`chain_ok` as the API says it."""
    return "waiting" if chain_ok is None else "ok" if chain_ok else "broken"


# What of a verdict each refusal leaves standing: (hash_ok, signature_ok).
_FAILED_HASH = frozenset({RefusalCode.OBJECT_MISSING, RefusalCode.SIZE_MISMATCH, RefusalCode.HASH_MISMATCH})


def verdict_of(status: str, refusal_code: str | None) -> tuple[bool, bool]:
    """(hash_ok, signature_ok) of a clip. The hash counts once the hub has read the stored bytes itself."""
    signature_ok = refusal_code != RefusalCode.SEAL_INVALID
    hash_ok = status == ClipStatus.VERIFIED or (
        status == ClipStatus.REFUSED and refusal_code == RefusalCode.CHAIN_BROKEN
    )
    return hash_ok and refusal_code not in _FAILED_HASH, signature_ok


@dataclass(frozen=True)
class ByteRange:
    """Bytes [`start`, `end`) of `size`."""

    start: int
    end: int
    size: int

    @property
    def content_range(self) -> str:
        """Value of the header `Content-Range`."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


class RangeUnsatisfiable(ValueError):
    """416: a well-formed range that names no byte of the object."""


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The one range asked for, or None for the whole.

    As RFC 9110 §14.2 allows, anything but one well-formed byte range (several ranges, another unit, nonsense) is ignored.

    Raises:
        RangeUnsatisfiable: the range lies behind the end, or is an empty suffix.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        length = int(last)
        if length == 0:
            raise RangeUnsatisfiable
        return ByteRange(max(0, size - length), size, size)
    start = int(first)
    end = min(size, int(last) + 1) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeUnsatisfiable
    return ByteRange(start, end, size)
