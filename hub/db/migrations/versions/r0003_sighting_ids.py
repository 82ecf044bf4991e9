"""Sightings are found by id alone within a few days: later revisions, and links of incidents."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """An index on the parent reaches every partition, those to come as well."""
    op.execute("create index sightings_id on sightings (id)")
    op.execute("create index sightings_clip on sightings (clip_id) where clip_id is not null")
