"""The read model on PostgreSQL: the same tests as on SQLite."""

from test_readmodel import *  # noqa: F403
