"""The three servers in one data folder: lock, ports, secrets, start in order, and where they answer."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.embedded import nats, ports, postgres, seaweed
from hub.embedded.supervisor import Report, Supervisor
from hub.errors import Conflict
from hub.settings import Secrets

PORT_NAMES = ("postgres", "nats", "nats_monitor", *seaweed.PORTS, "http")


@dataclass(frozen=True)
class Servers:
    """Running servers, and what is needed to reach them."""

    data_dir: Path
    ports: dict[str, int]
    secrets: Secrets = field(repr=False)
    supervisor: Supervisor | None = field(default=None, repr=False)  # None: another process owns them

    def database_url(self, database: str = postgres.DATABASE) -> str:
        """SQLAlchemy URL (with the password) of a database of the server."""
        return postgres.url(self.ports["postgres"], self.secrets.postgres_password, database)

    @property
    def s3_endpoint(self) -> str:
        """Where the object store answers."""
        return f"http://{ports.LOOPBACK}:{self.ports['s3']}"

    @property
    def nats_urls(self) -> list[str]:
        """Where NATS answers."""
        return [f"nats://{ports.LOOPBACK}:{self.ports['nats']}"]

    def naming(self) -> dict[str, Any]:
        """The settings that name these servers."""
        return {
            "data_dir": self.data_dir,
            "database_url": self.database_url(),
            "s3_endpoint": self.s3_endpoint,
            "s3_access_key": self.secrets.s3_access_key,
            "s3_secret_key": self.secrets.s3_secret_key,
            "nats_urls": self.nats_urls,
            "nats_account_seed": self.secrets.account_seed,
        }


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """The folder's lock; the kernel lets it go with our process, however that ends.

    Raises:
        Conflict: `embedded.folder_in_use`, with the holder's pid.
    """
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "?"
            raise Conflict("embedded.folder_in_use", f"{data_dir} is in use by process {holder}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def made(data_dir: Path) -> Path:
    """The data folder, made where it is missing; its absolute path."""
    data_dir = data_dir.resolve()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "logs").mkdir(exist_ok=True)
    return data_dir


@asynccontextmanager
async def running(data_dir: Path, report: Report = lambda line: None) -> AsyncIterator[Servers]:
    """Starts the servers on `data_dir` (made if missing), and ends them with the block.

    Raises:
        Conflict: `embedded.folder_in_use`.
        Unavailable: a server did not come up; says which and what it wrote.
    """
    data_dir = made(data_dir)
    logs = data_dir / "logs"
    with held(data_dir):
        secrets = Secrets.load(data_dir)
        async with Supervisor(data_dir / "children.json", report) as supervisor:
            chosen = ports.choose(data_dir / "ports.json", PORT_NAMES)
            servers = Servers(data_dir, chosen, secrets, supervisor)
            await _start(servers, supervisor, logs)
            yield servers


async def _start(servers: Servers, supervisor: Supervisor, logs: Path) -> None:
    data, secrets = servers.data_dir, servers.secrets
    cluster = data / "postgres"
    owner = postgres.owner_of(cluster)
    seaweed.configure(data / "objects", secrets.s3_access_key, secrets.s3_secret_key, secrets.store_key)
    config = nats.configure(data / "messages", servers.ports, secrets)
    cluster_child = postgres.child(
        cluster, servers.ports["postgres"], secrets.postgres_password, owner, logs / "postgres.log"
    )
    await asyncio.to_thread(postgres.clear_half_made, cluster)
    await postgres.initialise(cluster, secrets.postgres_password, owner)
    await supervisor.start_all(
        seaweed.child(data / "objects", servers.ports, logs / "objects.log"),
        cluster_child,
        nats.child(data / "messages", servers.ports, config, logs / "messages.log"),
    )
    await postgres.ensure_database(servers.ports["postgres"], secrets.postgres_password)


@asynccontextmanager
async def reached(data_dir: Path) -> AsyncIterator[Servers]:
    """The servers of `data_dir`: those of the `up` that runs on it, else started for the block."""
    data_dir = made(data_dir)
    try:
        with held(data_dir):
            pass
    except Conflict:
        yield Servers(data_dir, ports.remembered(data_dir / "ports.json"), Secrets.load(data_dir))
        return
    async with running(data_dir) as servers:
        yield servers
