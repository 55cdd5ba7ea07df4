"""The same of databases on PostgreSQL."""

from test_migrations import *  # noqa: F403
