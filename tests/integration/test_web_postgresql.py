"""The portal on PostgreSQL: the same tests as on SQLite."""

from onpostgresql import *  # noqa: F403
from test_web import *  # noqa: F403
