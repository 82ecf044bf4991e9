"""NATS JWTs: the form nats-server reads, and that an agent's says no more than it should.

The server's own verdict is in tests/contract/test_bus.py.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import nkeys

from hub.messages.credentials import agent_inbox, mint_account_jwt, mint_hub_jwt, mint_operator_jwt, mint_user_jwt
from models.keys import NKEY_ACCOUNT, NKEY_OPERATOR, SigningKey, verify

AGENT = UUID("01890000-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def opened(jwt: str, key: SigningKey) -> dict[str, Any]:
    """The claims, after the signature was found to be of `key`."""
    head, body, signature = jwt.split(".")

    def raw(part: str) -> bytes:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    assert json.loads(raw(head)) == {"typ": "JWT", "alg": "ed25519-nkey"}
    assert verify(key.public_hex, raw(signature), f"{head}.{body}".encode())
    claims: dict[str, Any] = json.loads(raw(body))
    return claims


def test_an_agent_may_use_its_own_subjects_only_and_until_then_only() -> None:
    account, agent = SigningKey.generate(), SigningKey.generate()
    jwt, expires_at = mint_user_jwt(account, agent.public_raw, AGENT, timedelta(hours=1), clock=lambda: NOW)
    claims = opened(jwt, account)
    assert expires_at == NOW + timedelta(hours=1)
    assert claims["exp"] == int(expires_at.timestamp())
    assert claims["sub"] == agent.nkey_public()
    assert claims["iss"] == account.nkey_public(NKEY_ACCOUNT)
    rights = claims["nats"]
    assert rights["pub"] == {"allow": [f"qs.up.{AGENT}.>", f"qs.req.{AGENT}.>"]}
    assert rights["sub"] == {"allow": [f"qs.down.{AGENT}.>", f"{agent_inbox(AGENT)}.>"]}
    assert rights["resp"]["max"] == 1


def test_the_chain_of_keys_is_named_as_nats_names_them() -> None:
    operator, account = SigningKey.generate(), SigningKey.generate()
    root = opened(mint_operator_jwt(operator), operator)
    assert root["iss"] == root["sub"] == operator.nkey_public(NKEY_OPERATOR)
    claims = opened(mint_account_jwt(operator, account, disk_bytes=1000), operator)
    assert claims["sub"] == account.nkey_public(NKEY_ACCOUNT)
    assert claims["nats"]["limits"]["disk_storage"] == 1000


def test_the_hub_may_do_everything_in_its_account() -> None:
    account, user = SigningKey.generate(), SigningKey.generate()
    assert opened(mint_hub_jwt(account, user.public_raw), account)["nats"]["sub"] == {"allow": [">"]}


def test_keys_agree_with_the_nkeys_library() -> None:
    key = SigningKey.generate()
    theirs = nkeys.from_seed(bytearray(key.nkey_seed()))
    assert theirs.public_key.decode() == key.nkey_public()
    assert theirs.sign(b"nonce") == key.sign(b"nonce")
