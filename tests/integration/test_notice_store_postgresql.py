"""Words, claims and deliveries on PostgreSQL: the same tests as on SQLite."""

from test_notice_store import *  # noqa: F403
