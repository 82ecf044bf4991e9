"""No credential reaches a log, whatever its name or form."""

import io
import json
import logging
import sys
from typing import Any

import pytest
import structlog

from hub.observability import REDACTED, redact, redact_text, setup_logging
from models.keys import SigningKey


@pytest.mark.parametrize(
    "name",
    ["password", "PASSWORD", "old_password", "token", "csrf_token", "api_key", "secret", "s3_secret_key", "authorization",
     "Cookie", "user_jwt", "account_seed", "credential", "private_key", "signature", "X-CSRF-Token"],
)  # fmt: skip
def test_a_field_with_a_telling_name_is_taken_out(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: "hunter2"})[name] == REDACTED


@pytest.mark.parametrize("name", ["camera_id", "path", "keys_count", "code", "author"])
def test_a_harmless_field_stays(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: "plain"})[name] == "plain"


SEED = SigningKey.generate().nkey_seed().decode()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql+psycopg://hub:s3cr3t@127.0.0.1:5432/hub failed", "s3cr3t"),
        ("rtsp://admin:p%40ss@10.0.0.2/main", "p%40ss"),
        ("rtsp://:nouser@10.0.0.2/main", "nouser"),
        ("GET /api/v1/media/clips/1?token=abc.def&x=1", "abc.def"),
        ("PUT http://s3/b/k?X-Amz-Credential=AK%2F1&X-Amz-Signature=feed01", "feed01"),
        ("PUT http://s3/b/k?X-Amz-Credential=AKME%2F1&X-Amz-Signature=feed01", "AKME"),
        ("Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2ln", "eyJzdWIi"),
        ("header 'QianshaoAgent abc.def.ghi' refused", "abc.def.ghi"),
        ("jwt eyJ0eXAiOiJKV1Qi.eyJqdGkiOiJ4In0.c2lnbmF0dXJl said", "eyJqdGkiOiJ4In0"),
        (f"seed {SEED} read", SEED),
        ('{"username": "li", "password": "pa55"}', "pa55"),
        ("connection failed: password=pa55 host=db", "pa55"),
        ("Cookie: qs_session=opensesame; a=b", "opensesame"),
    ],
)
def test_a_credential_inside_a_text_is_taken_out(text: str, secret: str) -> None:
    cleaned = redact_text(text)
    assert secret not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8420/api/v1/health", "2026-11-22T14:00:00+08:00", "camera 3 is back", "a@b.c"]
)
def test_an_ordinary_text_stays(text: str) -> None:
    assert redact_text(text) == text


def test_what_is_nested_is_cleaned_too() -> None:
    event: dict[str, Any] = {
        "event": "x",
        "ask": {"username": "li", "password": "pa55", "urls": ["nats://u:pa55@h"], "more": [{"token": "pa55"}]},
        "error": ValueError("password=pa55"),
        "body": b"pa55",
    }
    assert "pa55" not in json.dumps(redact(None, "info", event))


def test_logs_of_libraries_and_tracebacks_are_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    before = structlog.get_config()
    try:
        setup_logging("json", "info", process="test")
        logging.getLogger("some.library").warning("connecting to %s", "nats://u:pa55@h")
        try:
            raise ConnectionError("postgresql://hub:pa55@db/hub")
        except ConnectionError:
            structlog.get_logger("hub.x").exception("broken", password="pa55")
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"].split(" ")[0] for line in lines] == ["connecting", "broken"]
    assert all(line["process"] == "test" and line["timestamp"].endswith("Z") for line in lines)
    assert "pa55" not in out.getvalue()
    assert "ConnectionError" in lines[1]["exception"]
