"""The API on PostgreSQL: the same tests as on SQLite."""

from onpostgresql import *  # noqa: F403
from test_web_api import *  # noqa: F403
