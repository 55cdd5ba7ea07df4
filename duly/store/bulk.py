"""Many rows at once into PostgreSQL: each statement with a value for each row would be sent by itself."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import psycopg
from sqlalchemy import Column, Connection
from sqlalchemy.dialects import postgresql

from duly.store.database import translated

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def copy(connection: Connection, into: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows with COPY. into: the table and its columns, as SQL.

    Raises: DatabaseError.
    """
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with translated(connection), driver.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN") as stream:
        for row in rows:
            stream.write_row(row)


def arrays(columns: Iterable[Column[Any]]) -> str:
    """The parameters of an `unnest` that makes rows of some columns, one array for each column."""
    return ", ".join(f"%s::{column.type.compile(_DIALECT)}[]" for column in columns)


def by_column(rows: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """Their values, as PostgreSQL writes arrays: psycopg would take longer to write them than the server
    takes to read them.
    """
    return tuple(f"{{{','.join(map(_element, column))}}}" for column in zip(*rows, strict=True))


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    text: str = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
