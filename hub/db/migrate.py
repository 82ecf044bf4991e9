"""Brings a database to the newest schema: Alembic's revisions, then procrastinate's own tables. Forward only."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from hub.db.job_tables import ensure_job_tables
from hub.errors import Unavailable

MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK = 0x7169616E  # two replicas that start together migrate one after the other


def upgrade(url: str) -> None:
    """Migrates the database at `url` (`postgresql+psycopg://…`). Blocking; repeating it changes nothing.

    Raises:
        Unavailable: `database.unavailable`.
    """
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _alembic(connection)
            ensure_job_tables(connection)
    except OperationalError as error:
        raise Unavailable("database.unavailable", type(error.orig).__name__) from error
    finally:
        engine.dispose()


def _alembic(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
