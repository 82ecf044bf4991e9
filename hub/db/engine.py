"""The database engine and the one way to a transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hub.errors import Invalid, Unavailable

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
        """A connection inside a transaction: committed at the end, rolled back on any exception.

        Raises:
            Unavailable: `database.unavailable`. Invalid: `request.not_storable`: a value no column can hold (U+0000 in a text).
        """
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise Unavailable("database.unavailable", type(error.orig).__name__) from error
        except DataError as error:
            raise Invalid("request.not_storable") from error

    async def close(self) -> None:
        """Closes every pooled connection."""
        await self._engine.dispose()
