"""Sightings are found by id alone within a few days (later revisions, links of incidents), by clip, and counted."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """An index on the parent reaches every partition, those to come as well."""
    op.execute("create index sightings_id on sightings (id)")
    op.execute("create index sightings_clip on sightings (clip_id) where clip_id is not null")
    # All that counts by hour, class and camera need: rows are wide, this is not.
    op.execute("create index sightings_counts on sightings (start_at) include (camera_id, object_class)")
