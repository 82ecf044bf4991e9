"""Fixtures on real servers: started once per session in a temporary folder, ended by pid."""

from collections.abc import AsyncIterator

# Its pytest plugin imports this at the very end of a run, and CPython 3.11 has been seen to fail there ("AST constructor
# recursion depth mismatch") after greenlets had run. Imported now, there is nothing left to compile.
import hypothesis.internal.observability  # noqa: F401
import pytest
import pytest_asyncio

from hub.context import Context
from tests.servers import TestServers, context_on, drop_database, fresh_database, servers_in


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestServers]:
    """PostgreSQL, an S3 server and NATS, once per session."""
    async with servers_in(tmp_path_factory.mktemp("servers") / "data") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(servers: TestServers) -> AsyncIterator[str]:
    """A migrated database of this test's own (SQLAlchemy URL), dropped after it."""
    url = await fresh_database(servers)
    yield url
    await drop_database(servers, url)


@pytest_asyncio.fixture(loop_scope="session")
async def context(servers: TestServers, database_url: str) -> AsyncIterator[Context]:
    """A hub context: database and buckets of its own, the session's NATS with an empty uplink stream."""
    async with context_on(servers, database_url) as made:
        yield made
