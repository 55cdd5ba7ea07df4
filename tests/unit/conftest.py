"""Unit tests reach nothing outside the process."""

import functools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from hypothesis import HealthCheck, Phase, settings
from pytest_socket import disable_socket
from sqlalchemy import Connection, create_engine, event, inspect
from sqlalchemy.pool import Pool

from duly.store.migrations import Schema

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


@pytest.fixture
def fresh() -> Callable[[], str]:
    """Addresses of databases, each of another that is empty; tests/integration has those of PostgreSQL."""
    return lambda: "sqlite://"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of an empty database that can be opened more than once."""
    return f"sqlite:///{tmp_path / 'duly.db'}"


@pytest.fixture
def empty(tmp_path: Path) -> str:
    """The address of a database in which there is nothing at all."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture
def empty_too(tmp_path: Path) -> str:
    """Another one."""
    return f"sqlite:///{tmp_path / 'empty-too.db'}"


_made: dict[str, list[str]] = {}
_upgrade = Schema.upgrade


def _upgrade_quickly(schema: Schema, connection: Connection, to: str | None = None) -> None:
    """Make what the revisions make, having seen it once: tests begin with a database by the hundred."""
    if to is None and connection.dialect.name == "sqlite" and not inspect(connection).get_table_names():
        if schema.name not in _made:
            with create_engine("sqlite://").begin() as scratch:
                _upgrade(schema, scratch)
                rows = scratch.exec_driver_sql(
                    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
                )
                _made[schema.name] = [sql for (sql,) in rows]
                _made[schema.name].append(f"INSERT INTO alembic_version VALUES ('{schema.head}')")
        for statement in _made[schema.name]:
            connection.exec_driver_sql(statement)
    else:
        _upgrade(schema, connection, to)


Schema.upgrade = _upgrade_quickly  # type: ignore[method-assign]
