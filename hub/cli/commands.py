"""The commands of `qianshao-hub`."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from hub.cli.check import check as check_hub
from hub.cli.parts import account_key, open_context
from hub.cli.up import prepare, until_stopped
from hub.embedded import stack
from hub.embedded.nats import Place, config_text
from hub.errors import HubError
from hub.identity.accounts import create_account
from hub.identity.model import Role
from hub.identity.schemas import UserNew
from hub.ledger.service import verify as verify_ledger
from hub.observability import setup_logging
from hub.settings import Secrets, Settings
from models.keys import NKEY_ACCOUNT, SigningKey

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, secrets among them
    help="平安黔哨 Hub: residents' own cameras, connected by consent, searchable with a purpose, provable as evidence.\n\n"
    "Settings are QIANSHAO_* variables. Without any, `up` starts PostgreSQL, an S3 store and NATS of its own in the data "
    "folder; with QIANSHAO_DATABASE_URL, QIANSHAO_S3_ENDPOINT and QIANSHAO_NATS_URLS set, it uses those.",
)
ledger_app = typer.Typer(no_args_is_help=True, help="The hash-chained record of every look and change.")
user_app = typer.Typer(no_args_is_help=True, help="Accounts.")
app.add_typer(ledger_app, name="ledger")
app.add_typer(user_app, name="user")

DataDir = Annotated[
    Path | None,
    typer.Option("--data", "-d", help="Data folder (QIANSHAO_DATA_DIR; default: ./qianshao-data).", show_default=False),
]


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            where = ".".join(str(word) for word in fault["loc"])
            typer.echo(f"settings: {where + ': ' if where else ''}{fault['msg']}", err=True)
        raise typer.Exit(2) from None
    except SettingsError as error:  # a list that is not JSON; the library's words name the field, never the value
        typer.echo(f"settings: {error}: lists are JSON", err=True)
        raise typer.Exit(2) from None


def _run(work: Coroutine[Any, Any, T], runner: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run) -> T:
    try:
        return runner(work)
    except HubError as error:
        typer.echo(f"{error.code}: {error.detail}" if error.detail else error.code, err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def up(
    data: DataDir = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to serve on (QIANSHAO_HTTP_HOST; default 127.0.0.1).", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to serve on (QIANSHAO_HTTP_PORT; default 8420; 0: a free one).", show_default=False),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write {url, pid, children} as JSON here once everything answers.")
    ] = None,
) -> None:
    """Start everything, print the URL, stay until Ctrl-C, leave nothing running.

    On the first start an account `admin` is made and its password printed once.
    """
    settings = _settings(data_dir=data, http_host=host, http_port=port)
    setup_logging(settings.log_format, "warning" if settings.log_format == "console" else settings.log_level)

    def say(line: str) -> None:
        print(line, flush=True)

    _run(until_stopped(settings, say, ready_file))


@app.command()
def serve(data: DataDir = None) -> None:
    """Serve API, page and live relay, on servers that are up (see `up`)."""
    from hub.cli.serve import serve as serve_hub

    settings = _settings(data_dir=data)
    setup_logging(settings.log_format, settings.log_level, process="serve")
    _run(_on_servers(settings, serve_hub), uvloop.run)  # a fifth less CPU for the relay, measured


@app.command()
def worker(
    data: DataDir = None,
    ready_file: Annotated[Path | None, typer.Option(help="Touch this file once the worker runs.")] = None,
) -> None:
    """Take what agents send, answer what they ask, run jobs. Any number may run."""
    from hub.cli.serve import work

    settings = _settings(data_dir=data)
    setup_logging(settings.log_format, settings.log_level, process="worker")

    async def run(named: Settings) -> None:
        await work(named, ready_file)

    _run(_on_servers(settings, run))


@app.command()
def migrate(data: DataDir = None) -> None:
    """Bring the database to the newest schema; make buckets and the message stream. Repeating it changes nothing.

    Forward only. `up` does it by itself; elsewhere it runs once before `serve` and `worker`.
    """

    async def run(settings: Settings) -> None:
        await prepare(settings)
        print("schema, buckets and stream are up to date")

    _run(_on_servers(_settings(data_dir=data), run))


@app.command()
def check(data: DataDir = None) -> None:
    """Ask every server; compare rows and stored objects. Prints JSON; ends 0 only if all is sound."""

    async def run(settings: Settings) -> bool:
        async with open_context(settings) as context:
            report = await check_hub(context)
        print(json.dumps(report.as_json(), ensure_ascii=False, indent=1))
        return report.ok

    if not _run(_on_servers(_settings(data_dir=data), run)):
        raise typer.Exit(1)


@app.command("nats-seed")
def nats_seed() -> None:
    """Print a fresh NATS account seed, for QIANSHAO_NATS_ACCOUNT_SEED. It is a secret; it is kept nowhere."""
    print(SigningKey.generate().nkey_seed(NKEY_ACCOUNT).decode())


@app.command("nats-config")
def nats_config(
    data: DataDir = None,
    host: Annotated[str, typer.Option(help="Address that server listens on.")] = "0.0.0.0",  # noqa: S104  a server for agents
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port for clients.")] = 4222,
    monitor: Annotated[str, typer.Option(help="host:port of its own health page.")] = "127.0.0.1:8222",
    store_dir: Annotated[Path, typer.Option(help="Where it keeps its streams.")] = Path("/data"),
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM), as that server finds it.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
) -> None:
    """Print the configuration of an outside NATS server: one that knows the account of QIANSHAO_NATS_ACCOUNT_SEED.

    The operator's and the system account's keys stay in the data folder; run it again there and the server stays the same.
    """
    settings = _settings(data_dir=data)
    if settings.nats_account_seed is None:
        raise typer.BadParameter("set QIANSHAO_NATS_ACCOUNT_SEED (nats-seed prints one)")
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    kept = Secrets.load(settings.data_dir)
    tls = (tls_cert, tls_key) if tls_cert and tls_key else None
    place = Place("qianshao", host, port, monitor, store_dir, tls)
    sys.stdout.write(config_text(place, kept.operator_key, kept.system_key, account_key(settings)))


@app.command()
def openapi() -> None:
    """Print the API's OpenAPI document (JSON). Needs no server."""
    from hub.cli.schema import openapi_json

    sys.stdout.write(openapi_json())


@ledger_app.command("verify")
def ledger_verify(data: DataDir = None) -> None:
    """Walk the whole chain. Prints JSON; ends 0 only if no entry was changed, removed or added."""

    async def run(settings: Settings) -> bool:
        async with open_context(settings) as context, context.db.transaction() as tx:
            verdict = await verify_ledger(tx)
        print(json.dumps(verdict.__dict__, ensure_ascii=False))
        return verdict.ok

    if not _run(_on_servers(_settings(data_dir=data), run)):
        raise typer.Exit(1)


@user_app.command("add")
def user_add(
    username: Annotated[str, typer.Argument(help="Lower-case name to sign in with.")],
    role: Annotated[Role, typer.Option(help="What the person is here.")],
    display_name: Annotated[str, typer.Option(help="Shown on the page; default: the username.")] = "",
    data: DataDir = None,
) -> None:
    """Make an account; prints its password once."""

    try:
        wanted = UserNew(username=username, display_name=display_name or username, role=role)
    except ValidationError as error:
        raise typer.BadParameter(error.errors(include_url=False, include_input=False)[0]["msg"]) from None

    async def run(settings: Settings) -> None:
        async with open_context(settings) as context, context.db.transaction() as tx:
            user, password = await create_account(
                tx,
                username=wanted.username,
                display_name=wanted.display_name,
                role=wanted.role,
                now=context.clock(),
                by=None,
            )
        print(json.dumps({"username": user.username, "role": user.role.value, "password": password}))

    _run(_on_servers(_settings(data_dir=data), run))


async def _on_servers(settings: Settings, work: Any) -> Any:
    """Runs `work(settings)` on the named servers, or on the embedded ones: those of a running `up`, else started for it."""
    if not settings.embedded:
        return await work(settings)
    async with stack.reached(settings.data_dir) as servers:
        return await work(settings.on(servers.naming()))
