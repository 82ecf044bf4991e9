"""TURN credentials: the form coturn reads, a user of one's own for each end, and nothing lasting."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from hub.live.model import LiveConfig
from hub.live.turn import credentials, with_credentials
from hub.settings import Settings
from models.wire.downlink import IceServer

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
TURN = IceServer(urls=["turn:t.test:3478?transport=udp", "turns:t.test:5349?transport=tcp"])


def test_the_user_says_when_it_ends_and_the_password_is_its_signature() -> None:
    username, password = credentials("north", "0190-a", NOW)
    assert username == f"{int(NOW.timestamp())}:0190-a"
    assert base64.b64decode(password) == hmac.new(b"north", username.encode(), hashlib.sha1).digest()


def test_a_known_answer() -> None:
    """printf '1792742400:bob' | openssl dgst -sha1 -hmac north -binary | base64"""
    at = datetime.fromtimestamp(1792742400, UTC)
    assert credentials("north", "bob", at) == ("1792742400:bob", "lf7jlXwOiNJhGFpFviPo7u60OyM=")


def test_only_turn_servers_without_a_user_get_one() -> None:
    stun = IceServer(urls=["stun:s.test:3478"])
    fixed = IceServer(urls=["turn:f.test"], username="u", credential="c")
    told = with_credentials([stun, fixed, TURN], "north", "0190-a", NOW, timedelta(seconds=120))
    assert told[:2] == [stun, fixed]
    assert told[2].urls == TURN.urls
    assert told[2].username == f"{int(NOW.timestamp()) + 120}:0190-a"
    assert told[2].credential
    assert with_credentials([TURN], "", "0190-a", NOW, timedelta(1)) == [TURN]


def test_the_secret_is_not_shown() -> None:
    assert "north" not in repr(LiveConfig(turn_secret="north"))
    assert "north" not in repr(Settings(live_turn_secret="north"))


def test_a_turn_server_nobody_can_sign_in_to_is_refused() -> None:
    with pytest.raises(ValidationError, match="QIANSHAO_LIVE_TURN_SECRET"):
        Settings(live_ice_servers=[TURN])
