"""The log of readings on PostgreSQL: the same tests as on SQLite."""

from test_vault_log import *  # noqa: F403
