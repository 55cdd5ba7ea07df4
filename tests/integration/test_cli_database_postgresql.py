"""`duly database` on PostgreSQL: the same tests as on SQLite."""

from test_cli_database import *  # noqa: F403
