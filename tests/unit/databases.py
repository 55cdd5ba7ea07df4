"""What is in a database, past the program."""

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.pool import NullPool

from duly.store.database import file_of, parse_url


def execute(url: str, *statements: str) -> list[Any]:
    """Execute statements in one transaction; the rows of the last."""
    engine = create_engine(parse_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        return list(result) if result.returns_rows else []


def rows(url: str) -> dict[str, list[Any]]:
    """Every row of every table."""
    engine = create_engine(parse_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return {
            name: sorted(connection.exec_driver_sql(f'SELECT * FROM "{name}"').all(), key=repr)
            for name in inspect(connection).get_table_names()
        }


def stored(url: str) -> bytes:
    """The bytes of a database's files: on PostgreSQL those of tables and indexes, also of dropped ones."""
    if (file := file_of(url)) is not None:
        return b"".join(path.read_bytes() for path in file.parent.iterdir() if path.is_file())
    engine = create_engine(parse_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CHECKPOINT")
        return b"".join(path.read_bytes() for path in _files(connection))


def _files(connection: Connection) -> list[Path]:
    folder, number = connection.exec_driver_sql(
        "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
    ).one()
    first = 16_384  # lower numbers are PostgreSQL's own
    named = ((re.match("[0-9]+", path.name), path) for path in Path(folder, "base", str(number)).iterdir())
    return [path for match, path in named if match is not None and int(match[0]) >= first]
