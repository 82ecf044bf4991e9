"""The database engine and the one way to a transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

Connection = AsyncConnection


class Database:
    """A pool of connections. One request or one message is one transaction: `async with db.transaction() as tx`."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """`url`: a `postgresql+psycopg://` URL."""
        self.url = url
        self._engine: AsyncEngine = create_async_engine(
            url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True, pool_recycle=1800
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on any exception."""
        async with self._engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Closes every pooled connection."""
        await self._engine.dispose()
