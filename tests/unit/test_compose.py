"""deploy/compose.yaml says what the program understands: its variables, its commands, and nothing that .env leaves out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from hub.cli.commands import app
from hub.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text()
OURS = ("migrate", "hub", "relay", "worker")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(:\?)?\}")


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
    return found


def filled(text: str) -> str:
    """As compose would fill it from an .env."""
    from models.keys import NKEY_ACCOUNT, SigningKey

    values = {
        "PUBLIC_URL": "https://hub.test",
        "S3_PUBLIC_URL": "https://s3.test",
        "NATS_PUBLIC_URL": "tls://nats.test:4222",
        "NATS_ACCOUNT_SEED": SigningKey.generate().nkey_seed(NKEY_ACCOUNT).decode(),
    }
    return _VARIABLE.sub(lambda found: values.get(found[1], "0123abcd"), text)


def test_every_variable_of_ours_is_a_setting() -> None:
    known = {f"QIANSHAO_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"QIANSHAO_[A-Z0-9_]+", COMPOSE))
    assert len(named) > 12
    assert named - known == set()


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in services()[name]["environment"].items():
        monkeypatch.setenv(variable, filled(str(value)))
    settings = Settings()
    assert not settings.embedded
    assert settings.nats_public_urls == ["tls://nats.test:4222"]
    assert settings.live_turn_secret is not None
    assert [url.split(":")[0] for server in settings.live_ice_servers for url in server.urls] == ["turn", "turns"]


def test_every_command_is_one_of_the_program() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a click group
    called = {services()[name]["command"][1] for name in OURS}
    assert all(services()[name]["command"][0] == "qianshao-hub" for name in OURS)
    # and those that its head tells to type
    called |= set(re.findall(r"qianshao-hub (?:qianshao-hub )?([a-z][a-z-]+)", COMPOSE.partition("name:")[0]))
    assert called == {"migrate", "serve", "worker", "nats-config", "nats-seed", "user"}
    assert called <= set(commands)


def test_the_example_names_every_variable_and_no_other() -> None:
    example = (DEPLOY / "compose.env.example").read_text()
    named = {line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    assert named == {found[0] for found in _VARIABLE.findall(COMPOSE)}


def test_a_missing_variable_stops_compose() -> None:
    for name in {found[0] for found in _VARIABLE.findall(COMPOSE)}:
        assert f"${{{name}:?}}" in COMPOSE, name


def test_every_volume_and_file_is_there() -> None:
    whole = yaml.safe_load(COMPOSE)
    for name, service in whole["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source == "./nats":  # made by hand: the head says how
                continue
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in whole["volumes"], (name, volume)
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for after in service.get("depends_on", {}):
            assert after in whole["services"]
            assert after != name


def test_what_holds_data_is_not_open_to_the_world() -> None:
    for name in ("postgres", "s3", "hub"):
        assert all(port.startswith("127.0.0.1:") for port in services()[name]["ports"]), name


def test_the_object_servers_own_file_is_json() -> None:
    identity = json.loads(filled(yaml.safe_load(COMPOSE)["configs"]["s3"]["content"]))["identities"][0]
    assert identity["credentials"][0]["accessKey"]
