"""Notices, key facts and one's own data on PostgreSQL: the same tests as on SQLite."""

from onpostgresql import *  # noqa: F403
from test_web_papers import *  # noqa: F403
