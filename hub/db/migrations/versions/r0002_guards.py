"""Append-only ledger with a head, alarms raised once, counted enrolment attempts, replay protection."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Runs the SQL file."""
    op.get_bind().exec_driver_sql(Path(__file__).with_name("0002_guards.sql").read_text(encoding="utf-8"))
