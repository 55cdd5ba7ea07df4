"""The in-app inbox in a vault on PostgreSQL: the same tests as on SQLite."""

from test_inbox import *  # noqa: F403
