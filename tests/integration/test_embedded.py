"""`qianshao-hub up` as a whole: it starts, resumes, brings dead children back, and leaves nothing behind.

Recovery times are printed (`pytest -s`) as `RECOVERY name seconds`.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
import pytest_asyncio

from hub.embedded.ports import remembered
from hub.embedded.process import LAUNCHER
from hub.embedded.stack import Servers
from hub.errors import HubError
from hub.storage.minio import MinioStore
from hub.storage.port import Bucket
from tests.hub_process import HubProcess, alive, hub_up, start_hub
from tests.servers import wait_until

CHILDREN = ("postgres", "objects", "messages", "serve", "worker")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    async with hub_up(tmp_path_factory.mktemp("embedded") / "data") as running:
        yield running


async def healthy(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=4) as client:
            return (await client.get(f"{url}/api/v1/health")).status_code == 200
    except httpx.HTTPError:
        return False


class Mark:
    """Something written to each server, to be found again."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.word = secrets.token_hex(8)

    async def write(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._dsn(), autocommit=True) as connection:
            await connection.execute("create table if not exists marks (word text)")
            await connection.execute("insert into marks values (%s)", (self.word,))
        store = self._store()
        await store.put(Bucket.CLIPS, f"mark/{self.word}", self.word.encode() * 10_000, "video/mp4")
        await store.close()

    async def found(self) -> bool:
        async with await psycopg.AsyncConnection.connect(self._dsn()) as connection:
            rows = await (await connection.execute("select 1 from marks where word = %s", (self.word,))).fetchall()
        store = self._store()
        try:
            data = await store.get(Bucket.CLIPS, f"mark/{self.word}")
        finally:
            await store.close()
        return bool(rows) and data == self.word.encode() * 10_000

    async def found_soon(self) -> bool:
        try:
            return await self.found()
        except (HubError, psycopg.Error):
            return False

    def _dsn(self) -> str:
        return self.servers.database_url().replace("+psycopg", "")

    def _store(self) -> MinioStore:
        secret = self.servers.secrets
        return MinioStore(
            self.servers.s3_endpoint, secret.s3_access_key, secret.s3_secret_key, bucket_prefix="qianshao-"
        )


async def run_cli(*words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hub.cli",
        *words,
        env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_it_answers_and_names_its_children(hub: HubProcess) -> None:
    assert await healthy(hub.url)
    assert sorted(hub.children) == sorted(CHILDREN)
    assert alive(list(hub.children.values())) == list(hub.children.values())


async def test_the_first_password_is_printed_once_and_opens_the_door(hub: HubProcess) -> None:
    assert hub.output.read_text().count(hub.admin["password"]) == 1
    async with httpx.AsyncClient(trust_env=False, base_url=hub.url) as client:
        answer = await client.post("/api/v1/session", json=hub.admin)
    assert answer.status_code in {200, 201}, answer.text
    assert answer.json()["user"]["role"] == "admin"


async def test_secrets_are_for_their_owner_alone_and_in_no_log(hub: HubProcess) -> None:
    files = list((hub.folder / "secrets").iterdir())
    assert len(files) >= 8
    for path in [*files, hub.folder / "objects" / "s3.json", hub.folder / "objects" / "security.toml"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((hub.folder / "secrets").stat().st_mode) == 0o700
    logs = "".join(path.read_text(errors="replace") for path in (hub.folder / "logs").iterdir())
    for path in files:
        assert path.read_text() not in logs, path
    assert hub.admin["password"] not in logs


async def test_every_port_is_on_loopback(hub: HubProcess) -> None:
    listening = []
    for pid in hub.children.values():
        tables = (Path(f"/proc/{pid}/net/tcp"), Path(f"/proc/{pid}/net/tcp6"))
        if not tables[0].exists():
            pytest.skip("no /proc")
        inodes = set()
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(handle.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        for table in tables:
            for line in table.read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and words[9] in inodes:  # LISTEN
                    listening.append(words[1].rpartition(":")[0])
    assert listening
    assert set(listening) == {"0100007F"}  # 127.0.0.1


async def test_a_second_up_on_the_folder_is_refused(hub: HubProcess) -> None:
    code, _, error = await run_cli("up", "--data", str(hub.folder), "--port", "0")
    assert code == 1
    assert "embedded.folder_in_use" in error
    assert str(hub.process.pid) in error
    assert await healthy(hub.url)


async def test_commands_reach_the_running_servers(hub: HubProcess) -> None:
    data = ("--data", str(hub.folder))
    code, out, error = await run_cli("user", "add", "wang.wu", "--role", "investigator", *data)
    assert code == 0, error
    assert json.loads(out)["role"] == "investigator"
    code, _, error = await run_cli("user", "add", "wang.wu", "--role", "investigator", *data)
    assert code == 1
    assert "user.name_taken" in error
    code, out, error = await run_cli("ledger", "verify", *data)
    assert code == 0, error
    assert json.loads(out)["ok"] is True
    code, out, _ = await run_cli("check", *data)
    assert code == 0, out
    assert json.loads(out)["servers"] == {"database": "ok", "storage": "ok", "messages": "ok"}


async def test_check_finds_an_object_without_a_row(hub: HubProcess) -> None:
    mark = Mark(hub.servers())
    await mark.write()
    code, out, _ = await run_cli("check", "--data", str(hub.folder))
    assert code == 1
    assert json.loads(out)["buckets"]["clips"]["orphans"] >= 1
    store = mark._store()
    await store.delete(Bucket.CLIPS, f"mark/{mark.word}")
    await store.close()


@pytest.mark.parametrize("name", CHILDREN)
async def test_a_killed_child_comes_back_with_its_data(hub: HubProcess, name: str) -> None:
    mark = Mark(hub.servers())
    await wait_until(lambda: healthy(hub.url), within_s=60)
    await mark.write()
    before = hub.child(name)
    assert before is not None
    began = time.monotonic()
    os.kill(before, signal.SIGKILL)

    async def other() -> bool:
        return hub.child(name) not in {None, before}

    await wait_until(other, within_s=60)
    await wait_until(lambda: healthy(hub.url), within_s=60)
    await wait_until(mark.found_soon, within_s=60)
    await wait_until(lambda: _says(hub, f"{name} is back after"), within_s=30)
    print(f"RECOVERY {name} {time.monotonic() - began:.2f} s")
    assert await _says(hub, f"{name} ended")


async def _says(hub: HubProcess, words: str) -> bool:
    return words in hub.output.read_text()


async def test_it_resumes_on_its_folder_and_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with hub_up(folder) as first:
        mark = Mark(first.servers())
        await mark.write()
        ports = remembered(folder / "ports.json")
        assert await first.end() == 0
        assert alive(list(first.children.values())) == []
    # Somebody else sits on one of its ports meanwhile.
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", ports["volume"]))
        squatter.listen()
        async with hub_up(folder) as second:
            now = remembered(folder / "ports.json")
            assert {name for name in now if now[name] != ports[name]} == {"volume"}
            assert second.url == first.url
            assert "admin" not in second.ready
            await wait_until(mark.found_soon, within_s=30)
            assert await second.end(signal.SIGINT) == 0
            assert alive(list(second.children.values())) == []


async def test_after_kill_9_of_up_its_children_end_and_the_next_up_takes_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = await start_hub(folder)
    mark = Mark(first.servers())
    await mark.write()
    (tmp_path / "data.ready.json").unlink()
    began = time.monotonic()
    assert await first.end(signal.SIGKILL) == -signal.SIGKILL
    async with hub_up(folder) as second:  # at once: it has to wait for what is left
        print(f"RECOVERY up {time.monotonic() - began:.2f} s")
        assert alive(list(first.children.values())) == []
        await wait_until(mark.found_soon, within_s=30)
        assert await second.end() == 0
        assert alive(list(second.children.values())) == []


async def test_sigterm_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub.cli", "up", "--port", "0", "--data", str(folder), stdout=asyncio.subprocess.DEVNULL
    )

    def marks() -> list[int]:
        path = folder / "children.json"
        return [int(mark["pid"]) for mark in json.loads(path.read_text())] if path.exists() else []

    async def begun() -> bool:
        return len(marks()) >= 2

    await wait_until(begun, within_s=60)
    pids = marks()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert alive(pids) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as an ordinary user then")
async def test_an_ordinary_user_can_run_it() -> None:
    made = await asyncio.create_subprocess_exec("mktemp", "-d", "/tmp/qs-user-XXXXXX", stdout=asyncio.subprocess.PIPE)
    folder = Path((await made.communicate())[0].decode().strip())
    os.chown(folder, 65534, 65534)
    # The launcher drops root; the right to walk closed folders is for this checkout, which may lie under /root.
    become = (sys.executable, "-I", str(LAUNCHER), str(os.getpid()), "15", "65534", "65534", "1", "--")
    env = {"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    hub = await start_hub(folder / "data", env=env, prefix=become)
    try:
        assert await healthy(hub.url)
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in hub.children.values()}
        assert owners == {65534}
    finally:
        assert await hub.end() == 0
        await (await asyncio.create_subprocess_exec("rm", "-rf", "--", str(folder))).wait()
