"""The seal of a clip: what was stored, by whom, when, and after which other clip.

The signature is Ed25519 (RFC 8032) over `SEAL_DOMAIN + canonical(body)`. A chain per camera: `seq` counts
from 1, `prev` is the `seal_hash` of the seal before (64 zeros for the first).
"""

import hashlib
import json
from datetime import datetime
from typing import Literal

from pydantic import Field

from models.wire.base import ClockReading, Id, Sha256Hex, SignatureHex, UtcTime, Wire

SEAL_DOMAIN = b"qianshao-seal-v1\n"
GENESIS = "0" * 64


class SealBody(Wire):
    """What is signed. Times are the agent's host clock; `clock` tells the camera's difference."""

    v: Literal[1] = 1
    clip_id: Id
    camera_id: Id
    agent_id: Id
    sha256: Sha256Hex
    size_bytes: int = Field(gt=0)
    start_at: UtcTime
    end_at: UtcTime
    clock: ClockReading
    seq: int = Field(ge=1)
    prev: Sha256Hex


class Seal(Wire):
    """A body and the agent's signature over it."""

    body: SealBody
    signature: SignatureHex


def _microseconds(at: datetime) -> int:
    """Integer microseconds since 1970 (a float would lose the last digits)."""
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


def canonical(body: SealBody) -> bytes:
    """The one byte string a body is signed as: sorted keys, no spaces, times as integer microseconds."""
    plain = {
        "agent_id": str(body.agent_id),
        "camera_id": str(body.camera_id),
        "clip_id": str(body.clip_id),
        "clock": {"offset_ms": body.clock.offset_ms, "uncertainty_ms": body.clock.uncertainty_ms},
        "end_us": _microseconds(body.end_at),
        "prev": body.prev,
        "seq": body.seq,
        "sha256": body.sha256,
        "size_bytes": body.size_bytes,
        "start_us": _microseconds(body.start_at),
        "v": body.v,
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def signed_bytes(body: SealBody) -> bytes:
    """The bytes under the signature."""
    return SEAL_DOMAIN + canonical(body)


def seal_hash(seal: Seal) -> str:
    """SHA-256 (hex) of body and signature: what the next seal names as `prev`."""
    return hashlib.sha256(signed_bytes(seal.body) + bytes.fromhex(seal.signature)).hexdigest()
