"""The help pages on PostgreSQL: the same tests as on SQLite."""

from onpostgresql import *  # noqa: F403
from test_web_help import *  # noqa: F403
