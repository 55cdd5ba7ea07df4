"""Rotating the master key of a vault on PostgreSQL: the same tests as on SQLite."""

from test_vault_rotation import *  # noqa: F403
