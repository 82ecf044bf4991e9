"""Settings and secrets: what is refused, what is handed to children, and that secrets stay secret."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hub.settings import Secrets, Settings, nats_key_from_seed, text_secret
from models.keys import NKEY_ACCOUNT, NKEY_OPERATOR, SigningKey

OUTSIDE: dict[str, Any] = {
    "database_url": "postgresql+psycopg://hub:pw-database@db/hub",
    "s3_endpoint": "https://s3.example:9000/",
    "s3_access_key": "access",
    "s3_secret_key": "pw-store",
    "nats_urls": ["nats://a:4222", "nats://b:4222"],
    "nats_account_seed": SigningKey.generate().nkey_seed(NKEY_ACCOUNT).decode(),
}


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("QIANSHAO_"):
            monkeypatch.delenv(name)


def test_without_anything_the_servers_are_embedded_on_loopback() -> None:
    settings = Settings()
    assert settings.embedded
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8420)


def test_with_outside_servers_nothing_is_embedded() -> None:
    settings = Settings(**OUTSIDE)
    assert not settings.embedded
    assert settings.s3_endpoint == "https://s3.example:9000"


@pytest.mark.parametrize("missing", ["database_url", "s3_endpoint", "nats_urls", "s3_secret_key", "nats_account_seed"])
def test_outside_servers_named_in_part_are_refused(missing: str) -> None:
    with pytest.raises(ValidationError, match="QIANSHAO_"):
        Settings(**{name: value for name, value in OUTSIDE.items() if name != missing})


@pytest.mark.parametrize(
    "wrong",
    [
        {"http_port": 70000},
        {"public_url": "hub.example"},
        {"live_lease_s": 0},
        {"s3_bucket_prefix": "Big_"},
        {"log_format": "xml"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().http_port = 1  # type: ignore[misc]


def test_the_environment_of_a_child_gives_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(**OUTSIDE, live_ice_servers=[{"urls": ["turn:t:3478"], "username": "u", "credential": "c"}])
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_secrets_of_settings_are_not_shown() -> None:
    shown = repr(Settings(**OUTSIDE)) + str(Settings(**OUTSIDE))
    for secret in ("pw-database", "pw-store", OUTSIDE["nats_account_seed"]):
        assert str(secret) not in shown


def test_secrets_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    first, second = Secrets.load(tmp_path), Secrets.load(tmp_path)
    assert first.token_secret == second.token_secret
    assert first.account_key.public_hex == second.account_key.public_hex
    for path in (tmp_path / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_two_folders_share_no_secret(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        Secrets.load(tmp_path / name)
        texts += [path.read_text() for path in (tmp_path / name / "secrets").iterdir()]
    assert len(set(texts)) == len(texts)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    secrets = Secrets.load(tmp_path)
    assert secrets.postgres_password not in repr(secrets)
    assert repr(secrets) == f"Secrets({tmp_path / 'secrets'})"


def test_a_second_maker_takes_the_secret_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert text_secret(path, 16) == text_secret(path, 16)
    assert [found.name for found in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("kind", [NKEY_ACCOUNT, NKEY_OPERATOR])
def test_a_nats_seed_gives_its_key_back(kind: int) -> None:
    key = SigningKey.generate()
    assert nats_key_from_seed(key.nkey_seed(kind).decode()).public_hex == key.public_hex


@pytest.mark.parametrize("seed", ["", "SA", "hello", "A" * 58, "SUAN!", SigningKey.generate().nkey_public()])
def test_what_is_no_seed_is_refused(seed: str) -> None:
    with pytest.raises(ValueError):
        nats_key_from_seed(seed)
