"""`qianshao-hub` on servers that the settings name: the real program as a process, the session's servers as somebody else's.

The uplink stream of that NATS is shared with other tests; nothing is published here, and the worker is gone when the test ends.
"""

import asyncio
import json
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from hub.settings import Settings
from hub.storage.minio import MinioStore
from models.keys import NKEY_ACCOUNT, SigningKey
from tests.hub_process import HubProcess, alive, start_hub
from tests.servers import TestServers, drop_buckets, drop_database, empty_database, store_of, wait_until

SERVER_PROGRAMS = re.compile(r"postgres|weed|nats-server")


@pytest_asyncio.fixture(loop_scope="session")
async def outside(servers: TestServers) -> AsyncIterator[dict[str, str]]:
    """The variables that name the session's servers: an empty database, buckets of this test's own."""
    url, prefix = await empty_database(servers), f"o{secrets.token_hex(4)}-"
    named = {**servers.stack.naming(), "database_url": url, "s3_bucket_prefix": prefix}
    del named["data_dir"]
    yield Settings(**named).environment()
    store = store_of(servers, prefix)
    await drop_buckets(store)
    await store.close()
    await drop_database(servers, url)


async def cli(env: dict[str, str], *words: str, data: Path) -> tuple[int, str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QIANSHAO_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub.cli", *words, "--data", str(data)),
        env={**clean, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def descendants(hub: HubProcess) -> dict[int, str]:
    """Everything under `up`: pid and command line."""
    return {one.pid: " ".join(one.cmdline()) for one in psutil.Process(hub.process.pid).children(recursive=True)}


async def test_the_whole_program_on_outside_servers(outside: dict[str, str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    code, out, error = await cli(outside, "migrate", data=data)
    assert (code, out) == (0, "schema, buckets and stream are up to date\n"), error
    code, out, error = await cli(outside, "user", "add", "chen", "--role", "supervisor", data=data)
    assert code == 0, error
    account = json.loads(out)

    hub = await start_hub(data, env=outside)
    try:
        below = descendants(hub)
        assert sorted(hub.children) == ["serve", "worker"]
        assert set(hub.children.values()) <= set(below)
        assert [line for line in below.values() if SERVER_PROGRAMS.search(line.split()[0])] == []
        assert "admin" not in hub.ready  # there is an account: none is made
        async with httpx.AsyncClient(trust_env=False, base_url=hub.url + "/api/v1/") as http:
            health = (await http.get("health")).json()
            answer = await http.post("session", json={k: account[k] for k in ("username", "password")})
        assert health["status"] == "ok", health
        assert answer.status_code == 201, answer.text
        code, out, error = await cli(outside, "check", data=data)
        assert code == 0, out + error
        assert json.loads(out)["ok"] is True
        code, _, error = await cli(outside, "up", "--port", "0", data=data)
        assert (code, "embedded.folder_in_use" in error) == (1, True), error
        assert alive(list(below)) == list(below)  # the second one did not end the first one's children
    finally:
        assert await hub.end() == 0
    assert alive(list(below)) == []
    assert not {"postgres", "objects", "messages"} & {path.name for path in data.iterdir()}


async def test_up_alone_prepares_empty_servers_and_makes_the_first_account(
    outside: dict[str, str], tmp_path: Path, servers: TestServers
) -> None:
    hub = await start_hub(tmp_path / "data", env=outside)
    try:
        async with httpx.AsyncClient(trust_env=False, base_url=hub.url + "/api/v1/") as http:
            answer = await http.post("session", json=hub.admin)
        assert answer.json()["user"]["role"] == "admin"
        store: MinioStore = store_of(servers, outside["QIANSHAO_S3_BUCKET_PREFIX"])
        await store.ping()
        await store.close()
    finally:
        assert await hub.end() == 0


async def test_serve_and_worker_run_without_up(outside: dict[str, str], tmp_path: Path) -> None:
    """As in compose: `migrate`, then two programs of their own, ended by SIGTERM."""
    data, ready = tmp_path / "data", tmp_path / "ready"
    assert (await cli(outside, "migrate", data=data))[0] == 0
    port, figures = _free_port(), _free_port()
    env = {
        **os.environ,
        **outside,
        "QIANSHAO_HTTP_PORT": str(port),
        "QIANSHAO_WORKER_METRICS_PORT": str(figures),
    }
    started = [
        await asyncio.create_subprocess_exec(*(sys.executable, "-m", "hub.cli", *words, "--data", str(data)), env=env)
        for words in (("serve",), ("worker", "--ready-file", str(ready)))
    ]

    async def answers() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return ready.exists() and (await http.get(f"http://127.0.0.1:{port}/api/v1/health")).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        await wait_until(answers, within_s=60)
        async with httpx.AsyncClient(trust_env=False) as http:
            metrics = (await http.get(f"http://127.0.0.1:{figures}/metrics")).text
        assert 'qianshao_part_up{part="uplink"} 1.0' in metrics
        code, _, error = await cli({**env, "QIANSHAO_HTTP_PORT": "0"}, "worker", data=data)
        assert (code, "metrics.port_taken" in error, "Traceback" in error) == (1, True, False), error
    finally:
        for process in started:
            process.terminate()
        codes = [await asyncio.wait_for(process.wait(), 30) for process in started]
    assert all(code in {0, -15} for code in codes), codes


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PART = {
    "database alone": ({"QIANSHAO_DATABASE_URL": "postgresql+psycopg://u:p@h/d"}, "QIANSHAO_S3_ENDPOINT"),
    "messages alone": ({"QIANSHAO_NATS_URLS": '["nats://h:4222"]'}, "QIANSHAO_DATABASE_URL"),
    "no keys": (
        {
            "QIANSHAO_DATABASE_URL": "postgresql+psycopg://u:hidden@h/d",
            "QIANSHAO_S3_ENDPOINT": "http://h:1",
            "QIANSHAO_NATS_URLS": '["nats://h:4222"]',
        },
        "QIANSHAO_NATS_ACCOUNT_SEED",
    ),
    "another driver": ({"QIANSHAO_DATABASE_URL": "postgresql://u:hidden@h/d"}, "postgresql+psycopg://"),
    "a user's seed": ({"QIANSHAO_NATS_ACCOUNT_SEED": SigningKey.generate().nkey_seed().decode()}, "nats_account_seed"),
    "no list": ({"QIANSHAO_NATS_URLS": "nats://h:4222"}, "nats_urls"),
}


@pytest.mark.parametrize("name", PART)
async def test_settings_that_do_not_fit_are_told_in_a_line(name: str, tmp_path: Path) -> None:
    env, words = PART[name]
    code, out, error = await cli(env, "migrate", data=tmp_path / "data")
    assert (code, out) == (2, ""), error
    assert error.startswith("settings: ")
    assert words in error
    assert "Traceback" not in error
    assert "hidden" not in error
    assert not (tmp_path / "data").exists()


async def test_servers_that_are_away_are_told_in_a_line(outside: dict[str, str], tmp_path: Path) -> None:
    away = f"127.0.0.1:{_free_port()}"
    for changes, code_of_it in (
        ({"QIANSHAO_DATABASE_URL": f"postgresql+psycopg://u:hidden@{away}/d"}, "database.unavailable"),
        ({"QIANSHAO_S3_ENDPOINT": f"http://{away}"}, "storage.unavailable"),
        ({"QIANSHAO_NATS_URLS": json.dumps([f"nats://{away}"])}, "messages.unavailable"),
        (
            {"QIANSHAO_NATS_ACCOUNT_SEED": SigningKey.generate().nkey_seed(NKEY_ACCOUNT).decode()},
            "messages.unavailable",
        ),
    ):
        code, _, error = await cli({**outside, **changes}, "up", "--port", "0", data=tmp_path / "data")
        assert (code, code_of_it in error, "Traceback" in error) == (1, True, False), error
        assert "hidden" not in error
