"""Alembic migrations, forward only. Each revision runs one `.sql` file beside it."""
