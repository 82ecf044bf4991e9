"""Procrastinate's tables, laid once at migration."""

from importlib.resources import files

from sqlalchemy import Connection, text


def ensure_job_tables(connection: Connection) -> None:
    """Applies procrastinate's schema unless it is there."""
    if connection.execute(text("select to_regclass('procrastinate_jobs')")).scalar() is not None:
        return
    schema = files("procrastinate").joinpath("sql", "schema.sql").read_text(encoding="utf-8")
    # Past the DBAPI's placeholders: the file has percent signs of its own.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(schema)
