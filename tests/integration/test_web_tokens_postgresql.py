"""Programs and calendars on PostgreSQL: the same tests as on SQLite."""

from onpostgresql import *  # noqa: F403
from test_web_tokens import *  # noqa: F403
