"""`qianshao-hub up`: servers, schema, buckets, stream, first account, then API and worker, all kept alive until told to end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import structlog

from hub.cli.parts import database_url, open_bus, open_context, open_store, public_url
from hub.db.migrate import upgrade
from hub.embedded import ports, stack
from hub.embedded.ports import LOOPBACK, is_free
from hub.embedded.process import ChildSpec
from hub.embedded.supervisor import Supervisor
from hub.errors import Conflict
from hub.identity.accounts import any_account, create_account
from hub.identity.model import Role
from hub.settings import Settings

log = structlog.get_logger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """The whole hub, up."""

    url: str
    supervisor: Supervisor = field(repr=False)
    first_password: str | None = field(default=None, repr=False)


async def until_stopped(settings: Settings, say: Say, ready_file: Path | None) -> None:
    """Brings everything up, tells where, and stays until SIGTERM or Ctrl-C; then ends every child.

    Raises:
        Conflict: `embedded.folder_in_use`, `embedded.port_taken`.
        Unavailable: something did not come up.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    staying = asyncio.create_task(_stay(settings, say, ready_file), name="up")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({staying, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not staying.done():
        say("stopping …")
        staying.cancel()
    try:
        await staying
    except asyncio.CancelledError:
        say("stopped")
    finally:
        if ready_file is not None:
            await asyncio.to_thread(ready_file.unlink, missing_ok=True)


async def _stay(settings: Settings, say: Say, ready_file: Path | None) -> None:
    async with up(settings, say) as running:
        say(f"ready: {running.url}")
        if running.first_password is not None:
            say(f"first account: admin   password: {running.first_password}   (shown this once; change it)")
        if ready_file is not None:
            await asyncio.to_thread(_write_ready, ready_file, running)
        await asyncio.Event().wait()


def _write_ready(path: Path, running: Running) -> None:
    # Readable by its owner alone: on the first start it carries the administrator's password.
    part = path.with_name(path.name + ".part")
    body = {"url": running.url, "pid": os.getpid(), "children": running.supervisor.pids()}
    if running.first_password is not None:
        body["admin"] = {"username": "admin", "password": running.first_password}
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(body, out)
    part.replace(path)


@asynccontextmanager
async def up(settings: Settings, say: Say) -> AsyncIterator[Running]:
    """The hub while the block runs."""
    if settings.embedded:
        say("starting PostgreSQL, object store and messages …")
        async with stack.running(settings.data_dir, say) as servers:
            assert servers.supervisor is not None  # ours
            yield await _start(_named(settings, servers), servers.supervisor, say, servers.data_dir)
        return
    say("using the servers that the settings name …")
    run_dir = await asyncio.to_thread(stack.made, settings.data_dir)
    with stack.held(run_dir):  # one `up` per folder here, too: a second one would end the first one's children
        async with Supervisor(run_dir / "children.json", say) as supervisor:
            yield await _start(_with_port(settings, run_dir), supervisor, say, run_dir)


def _with_port(settings: Settings, run_dir: Path) -> Settings:
    if settings.http_port:
        return settings
    return settings.on({"http_port": ports.choose(run_dir / "ports.json", ("http",))["http"]})


def _named(settings: Settings, servers: stack.Servers) -> Settings:
    port = settings.http_port or servers.ports["http"]
    addresses = settings.live_ice_addresses or [LOOPBACK]
    return settings.on({**servers.naming(), "http_port": port, "live_ice_addresses": addresses})


async def _start(settings: Settings, supervisor: Supervisor, say: Say, run_dir: Path) -> Running:
    if not is_free(settings.http_port, settings.http_host):
        raise Conflict("embedded.port_taken", f"{settings.http_host}:{settings.http_port} is taken: use --port")
    say("schema, buckets, streams …")
    await prepare(settings)
    password = await _first_account(settings)
    say("starting API and worker …")
    env = settings.environment()
    await supervisor.start_all(_serve_child(settings, run_dir, env), _worker_child(run_dir, env))
    return Running(public_url(settings), supervisor, password)


async def prepare(settings: Settings) -> None:
    """Newest schema, buckets, stream and consumer; repeating it changes nothing."""
    await asyncio.to_thread(upgrade, database_url(settings))
    store = open_store(settings)
    try:
        await store.ensure_buckets()
    finally:
        await store.close()
    bus = await open_bus(settings)  # makes stream and consumer
    await bus.close()


async def _first_account(settings: Settings) -> str | None:
    async with open_context(settings) as context, context.db.transaction() as tx:
        if await any_account(tx):
            return None
        _, password = await create_account(
            tx,
            username="admin",
            display_name="管理员",
            role=Role.ADMIN,
            now=context.clock(),
            by=None,
        )
    return password


def _command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "hub.cli", *words)  # -P: nothing is imported from the data folder


def _serve_child(settings: Settings, run_dir: Path, env: dict[str, str]) -> ChildSpec:
    host = LOOPBACK if settings.http_host in {"0.0.0.0", "::"} else settings.http_host  # noqa: S104  compared, not bound
    return ChildSpec(
        name="serve",
        argv=_command("serve"),
        cwd=run_dir,
        probe=_health(f"http://{host}:{settings.http_port}/api/v1/health"),
        env=env,
        log_path=run_dir / "logs" / "serve.log",
        stop_timeout_s=12.0,
        death_signal=signal.SIGKILL,  # its servers go, too: there is nothing left to end in order
    )


def _health(url: str) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        try:
            async with httpx.AsyncClient(timeout=4.0, trust_env=False) as client:
                return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    return probe


def _worker_child(run_dir: Path, env: dict[str, str]) -> ChildSpec:
    ready = run_dir / "worker.ready"

    async def probe() -> bool:
        return await asyncio.to_thread(ready.exists)

    return ChildSpec(
        name="worker",
        argv=_command("worker", "--ready-file", str(ready)),
        cwd=run_dir,
        probe=probe,
        env=env,
        log_path=run_dir / "logs" / "worker.log",
        stop_timeout_s=12.0,
        death_signal=signal.SIGKILL,
        ready_file=ready,
    )
