"""The real servers for tests, as plain functions: a session's stack, and what one test has of it to itself.

async with test_servers(folder) as servers:            # once per session, some seconds
    url = await fresh_database(servers)                 # migrated, copied from a template
    context, close = await open_context(servers, url)   # a hub.context.Context on real parts
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from hub.context import Context
from hub.db.engine import Database
from hub.db.migrate import upgrade
from hub.embedded.stack import Servers, running
from hub.kit.clock import Clock, utc_now
from hub.kit.tokens import TokenSigner
from hub.messages.nats import NatsBus
from hub.storage.minio import MinioStore
from hub.storage.port import Bucket

TEMPLATE = "qianshao_template"


@dataclass(frozen=True)
class TestServers:
    """The session's servers, with a migrated template database."""

    __test__ = False

    stack: Servers

    @property
    def nats_urls(self) -> list[str]:
        """Where NATS answers."""
        return self.stack.nats_urls

    @property
    def s3_endpoint(self) -> str:
        """Where the object store answers."""
        return self.stack.s3_endpoint


@asynccontextmanager
async def servers_in(folder: Path) -> AsyncIterator[TestServers]:
    """PostgreSQL, S3 and NATS in `folder`, and the template database."""
    async with running(folder) as stack:
        await template_in(stack)
        yield TestServers(stack)


async def template_in(stack: Servers) -> None:
    """Makes the migrated template that `fresh_database` copies."""
    await _create_database(stack, TEMPLATE)
    await asyncio.to_thread(upgrade, stack.database_url(TEMPLATE))


async def _admin(stack: Servers) -> psycopg.AsyncConnection[tuple[object, ...]]:
    return await psycopg.AsyncConnection.connect(
        stack.database_url("postgres").replace("+psycopg", ""), autocommit=True
    )


async def _create_database(stack: Servers, name: str, template: str = "template1") -> None:
    async with await _admin(stack) as connection:
        statement = sql.SQL("create database {} template {}")
        await connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


async def fresh_database(servers: TestServers) -> str:
    """A migrated, empty database of one's own; its SQLAlchemy URL. Drop it with `drop_database`."""
    name = f"t_{secrets.token_hex(6)}"
    await _create_database(servers.stack, name, TEMPLATE)
    return servers.stack.database_url(name)


async def empty_database(servers: TestServers) -> str:
    """A database without any table; its SQLAlchemy URL. Drop it with `drop_database`."""
    name = f"t_{secrets.token_hex(6)}"
    await _create_database(servers.stack, name)
    return servers.stack.database_url(name)


async def drop_database(servers: TestServers, url: str) -> None:
    """Drops a database of `fresh_database`, ending whoever is still connected."""
    name = url.rsplit("/", 1)[1]
    async with await _admin(servers.stack) as connection:
        await connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def store_of(servers: TestServers, bucket_prefix: str) -> MinioStore:
    """A store on the session's S3 server. `bucket_prefix` keeps tests apart."""
    secret = servers.stack.secrets
    return MinioStore(servers.s3_endpoint, secret.s3_access_key, secret.s3_secret_key, bucket_prefix=bucket_prefix)


async def drop_buckets(store: MinioStore) -> None:
    """Removes a test's buckets with all that is in them (SeaweedFS allows it), so that a session does not fill up."""
    for bucket in Bucket:
        await asyncio.to_thread(store._client.remove_bucket, store.bucket_name(bucket))


async def bus_of(servers: TestServers) -> NatsBus:
    """A bus on the session's NATS server, its stream emptied."""
    bus = await NatsBus.connect(servers.nats_urls, servers.stack.secrets.account_key)
    await bus.purge()
    return bus


@asynccontextmanager
async def context_on(servers: TestServers, database_url: str, clock: Clock = utc_now) -> AsyncIterator[Context]:
    """A hub context on a database, buckets of its own and the session's NATS."""
    secret = servers.stack.secrets
    database = Database(database_url, pool_size=4)
    store = store_of(servers, f"t{secrets.token_hex(5)}-")
    bus = await bus_of(servers)
    try:
        await store.ensure_buckets()
        yield Context(
            db=database,
            store=store,
            bus=bus,
            signer=TokenSigner(secret.token_secret, clock),
            hub_key=secret.hub_key,
            account_key=secret.account_key,
            nats_public_urls=servers.nats_urls,
            public_url="http://127.0.0.1:8420",
            clock=clock,
        )
    finally:
        await bus.close()
        await drop_buckets(store)
        await store.close()
        await database.close()


async def wait_until(holds: Callable[[], Awaitable[bool]], *, within_s: float = 20.0) -> None:
    """Asks again and again until `holds()`; fails when the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not await holds():
        assert loop.time() < deadline, f"did not come true within {within_s} s"
        await asyncio.sleep(0.05)
