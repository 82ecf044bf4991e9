"""The first schema."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Runs the SQL file; procrastinate's own tables are laid by `hub.db.job_tables`."""
    op.get_bind().exec_driver_sql(Path(__file__).with_name("0001_first.sql").read_text(encoding="utf-8"))
