"""`duly vault` with a vault on PostgreSQL: the same tests as on SQLite."""

from test_cli_vault import *  # noqa: F403
from test_cli_vault import _settings  # noqa: F401
