"""What an agent says to the hub over HTTP: enrolment, credentials, uploads.

Except enrolment, each request carries `Authorization: QianshaoAgent <token>`: `make_request_token` /
`check_request_token`, a compact JWS (RFC 7515, EdDSA) over method, path and the body's hash, good for 60 s.
"""

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import Field

from models.keys import SigningKey, verify
from models.wire.base import Id, PublicKeyHex, Sha256Hex, SignatureHex, UtcTime, Wire
from models.wire.downlink import Receipt

AUTH_SCHEME = "QianshaoAgent"
TOKEN_LIFE_S = 60
ENROL_DOMAIN = b"qianshao-enrol-v1\n"
PART_BYTES = 8 * 1024 * 1024


class EnrolAsk(Wire):
    """POST /api/v1/enrolments. `proof` signs `ENROL_DOMAIN + code + public_key`: the sender holds the key."""

    code: str = Field(min_length=6, max_length=32)
    public_key: PublicKeyHex
    proof: SignatureHex
    hostname: str = Field(max_length=200)
    version: str = Field(max_length=64)


def enrol_bytes(code: str, public_key: str) -> bytes:
    """What `EnrolAsk.proof` is over."""
    return ENROL_DOMAIN + code.encode() + b"\n" + public_key.encode()


class MessagingCredentials(Wire):
    """Where and as whom to connect to NATS; the nonce is signed with the agent's own key."""

    urls: list[str]
    user_jwt: str
    expires_at: UtcTime


class EnrolReply(Wire):
    """Answer to enrolment (201)."""

    agent_id: Id
    name: str
    hub_public_key: PublicKeyHex
    messaging: MessagingCredentials


class UploadAsk(Wire):
    """POST /api/v1/agent/uploads: begin or resume the upload of a sealed clip."""

    clip_id: Id
    size_bytes: int = Field(gt=0, le=5 * 1024**4)
    sha256: Sha256Hex


class UploadPart(Wire):
    """One part: PUT bytes [`offset`, `offset + size_bytes`) to `url`; `etag` set: already there."""

    number: int = Field(ge=1, le=10_000)
    offset: int = Field(ge=0)
    size_bytes: int = Field(gt=0)
    url: str = ""
    etag: str = ""


class UploadPlan(Wire):
    """Answer to `UploadAsk`: what is still to be sent, or the receipt when nothing is."""

    upload_id: str = ""
    parts: list[UploadPart] = Field(default_factory=list)
    expires_at: UtcTime
    receipt: Receipt | None = None


class PartDone(Wire):
    """ETag the object store answered for a part."""

    number: int = Field(ge=1, le=10_000)
    etag: str = Field(max_length=200)


class UploadComplete(Wire):
    """POST /api/v1/agent/uploads/{clip_id}/complete → `Receipt` (`waiting` until verified)."""

    upload_id: str = Field(max_length=400)
    parts: list[PartDone] = Field(min_length=1, max_length=10_000)


@dataclass(frozen=True)
class RequestToken:
    """A checked token: who signed it, when, and its single-use id."""

    agent_id: UUID
    issued_at: float
    token_id: str


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def make_request_token(
    key: SigningKey, agent_id: UUID, method: str, path: str, body: bytes, now: float | None = None
) -> str:
    """A token for one request. `path` without query, `body` exactly as sent."""
    claims = {
        "sub": str(agent_id),
        "iat": int(time.time() if now is None else now),
        "jti": uuid4().hex,
        "htm": method.upper(),
        "htu": path,
        "bh": hashlib.sha256(body).hexdigest(),
    }
    head = _b64(json.dumps({"alg": "EdDSA", "typ": "JWT"}).encode())
    signed = f"{head}.{_b64(json.dumps(claims).encode())}"
    return f"{signed}.{_b64(key.sign(signed.encode()))}"


def token_agent(token: str) -> UUID | None:
    """The agent a token *claims* to be of (unchecked: to look its key up), or None if it is no token."""
    try:
        claims: Any = json.loads(_unb64(token.split(".")[1]))
        return UUID(claims["sub"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def check_request_token(
    token: str, public_hex: str, method: str, path: str, body: bytes, now: float | None = None
) -> RequestToken | Literal["malformed", "signature", "expired", "other_request"]:
    """The token's content if it is good for exactly this request, else why not."""
    parts = token.split(".")
    if len(parts) != 3:
        return "malformed"
    try:
        head: Any = json.loads(_unb64(parts[0]))
        claims: Any = json.loads(_unb64(parts[1]))
        signature = _unb64(parts[2])
        if head["alg"] != "EdDSA":
            return "malformed"
        issued, jti, agent = float(claims["iat"]), str(claims["jti"]), UUID(claims["sub"])
        bound = (claims["htm"], claims["htu"], claims["bh"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "malformed"
    if not verify(public_hex, signature, f"{parts[0]}.{parts[1]}".encode()):
        return "signature"
    current = time.time() if now is None else now
    if abs(current - issued) > TOKEN_LIFE_S:
        return "expired"
    if bound != (method.upper(), path, hashlib.sha256(body).hexdigest()):
        return "other_request"
    return RequestToken(agent, issued, jti)
