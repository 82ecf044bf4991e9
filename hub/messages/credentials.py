"""NATS JWTs (operator, account, user) made here, so that an agent's Ed25519 key is its NATS identity.

Format: nats-io/jwt v2 with `ed25519-nkey`; see "Decentralized JWT Authentication/Authorization" of docs.nats.io. The server
checks the chain operator → account → user; the private halves of agents never come here.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hub.kit.canonical import canonical_json
from hub.kit.clock import Clock, utc_now
from models.keys import NKEY_ACCOUNT, NKEY_OPERATOR, NKEY_USER, SigningKey, nkey_public

MAX_PAYLOAD_BYTES = 1024 * 1024
REPLY_WINDOW_S = 30
_UNLIMITED = -1


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(claims: dict[str, Any], key: SigningKey) -> str:
    # `jti` is the hash of the claims before it is there, as nats-io/jwt makes it.
    digest = hashlib.sha512(canonical_json({**claims, "jti": ""})).digest()[:32]
    claims = {**claims, "jti": base64.b32encode(digest).rstrip(b"=").decode()}
    head = _part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed = f"{head}.{_part(canonical_json(claims))}"
    return f"{signed}.{_part(key.sign(signed.encode()))}"


def mint_operator_jwt(operator_key: SigningKey, name: str = "qianshao", clock: Clock = utc_now) -> str:
    """The operator's own word: the root the server trusts."""
    public = operator_key.nkey_public(NKEY_OPERATOR)
    claims = {"iat": int(clock().timestamp()), "iss": public, "sub": public, "name": name}
    return _signed({**claims, "nats": {"type": "operator", "version": 2}}, operator_key)


def mint_account_jwt(
    operator_key: SigningKey,
    account_key: SigningKey,
    *,
    disk_bytes: int,
    memory_bytes: int = 64 * 1024 * 1024,
    name: str = "hub",
    clock: Clock = utc_now,
) -> str:
    """The one account, with JetStream storage up to `disk_bytes`."""
    limits = {
        "subs": _UNLIMITED,
        "data": _UNLIMITED,
        "payload": MAX_PAYLOAD_BYTES,
        "imports": 0,
        "exports": 0,
        "wildcards": True,
        "conn": _UNLIMITED,
        "leaf": 0,
        "mem_storage": memory_bytes,
        "disk_storage": disk_bytes,
        "streams": 8,
        "consumer": 32,
        "max_ack_pending": _UNLIMITED,
        "mem_max_stream_bytes": 0,
        "disk_max_stream_bytes": 0,
        "max_bytes_required": False,
    }
    claims = {
        "iat": int(clock().timestamp()),
        "iss": operator_key.nkey_public(NKEY_OPERATOR),
        "sub": account_key.nkey_public(NKEY_ACCOUNT),
        "name": name,
    }
    return _signed({**claims, "nats": {"limits": limits, "type": "account", "version": 2}}, operator_key)


def _mint_user(
    account_key: SigningKey,
    user_public_raw: bytes,
    name: str,
    permissions: dict[str, Any],
    issued_at: datetime,
    expires_at: datetime | None,
) -> str:
    claims: dict[str, Any] = {
        "iat": int(issued_at.timestamp()),
        "iss": account_key.nkey_public(NKEY_ACCOUNT),
        "sub": nkey_public(user_public_raw, NKEY_USER),
        "name": name,
        "nats": {
            **permissions,
            "subs": _UNLIMITED,
            "data": _UNLIMITED,
            "payload": MAX_PAYLOAD_BYTES,
            "type": "user",
            "version": 2,
        },
    }
    if expires_at is not None:
        claims["exp"] = int(expires_at.timestamp())
    return _signed(claims, account_key)


def mint_user_jwt(
    account_key: SigningKey, user_public_raw: bytes, agent_id: UUID, life: timedelta, clock: Clock = utc_now
) -> tuple[str, datetime]:
    """An agent's JWT for its own key, and when it ends.

    It may publish on its uplink and request subjects, listen on its downlink and on its inbox (`_INBOX_<agent id>.>`, the prefix
    it connects with), and answer once to what it was asked. Acknowledgements of JetStream come to that inbox.
    """
    issued_at = clock()
    expires_at = issued_at + life
    permissions = {
        "pub": {"allow": [f"qs.up.{agent_id}.>", f"qs.req.{agent_id}.>"]},
        "sub": {"allow": [f"qs.down.{agent_id}.>", f"{agent_inbox(agent_id)}.>"]},
        "resp": {"max": 1, "ttl": REPLY_WINDOW_S * 1_000_000_000},
    }
    return _mint_user(account_key, user_public_raw, f"agent {agent_id}", permissions, issued_at, expires_at), expires_at


def agent_inbox(agent_id: UUID) -> str:
    """The inbox prefix an agent must connect with."""
    return f"_INBOX_{agent_id}"


def mint_hub_jwt(account_key: SigningKey, user_public_raw: bytes, clock: Clock = utc_now) -> str:
    """The hub's own JWT, with all rights of the account.

    It does not expire: its key lives in the memory of one process, and whoever could steal it could as well take the account key.
    """
    everything: Sequence[str] = [">"]
    permissions = {"pub": {"allow": everything}, "sub": {"allow": everything}}
    return _mint_user(account_key, user_public_raw, "hub", permissions, clock(), None)
