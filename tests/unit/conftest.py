"""Unit tests reach nothing outside the process."""

import functools
import sqlite3
from typing import Any

import typer.testing
from hypothesis import HealthCheck, Phase, settings
from pytest_socket import disable_socket
from sqlalchemy import event
from sqlalchemy.pool import Pool

# A slow machine is no failure. The integration tests try the same mathematics by the ten thousand. Nothing is
# aimed at, and yet that phase would take as long as all others.
settings.register_profile(
    "unit",
    deadline=None,
    max_examples=50,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unit")

# The runner would build the whole command line anew for every command.
typer.testing._get_command = functools.cache(typer.testing._get_command)


@event.listens_for(Pool, "checkout")
def _trust_the_power(connection: Any, *_: object) -> None:
    """Processes are killed in these tests, machines are not: nothing need wait for the disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def pytest_runtest_setup() -> None:
    disable_socket(allow_unix_socket=True)  # asyncio needs those
