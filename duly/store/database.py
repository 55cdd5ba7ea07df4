"""Open a database, SQLite or PostgreSQL, and say in words what is wrong with it.

DatabaseError               the database cannot be used
├── DatabaseLocked          another program is writing to it
├── DatabaseReadOnly        it cannot be written to
├── NotADatabase            the file is something else
├── DatabaseOutdated        a version from before the first release made it
└── DatabaseTooNew          a later version of Duly made it
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from duly.domain.errors import DulyError

BUSY_SECONDS = 5
"""How long to wait for another program that is writing."""

_POSTGRESQL = ("postgresql", "postgres")
_ROWS_AT_ONCE = 2_000
# PostgreSQL's states of an error: a lock that was not got, a deadlock, a statement that took too long; a
# transaction that may only read, a missing right; no disk or memory, an input or output error; a lost
# connection, a refused log-in, a server that ends.
_LOCKED = ("55P03", "40001", "40P01", "57014")
_READ_ONLY = ("25006", "42501")
_BROKEN = ("53", "58", "XX")
_UNREACHABLE = ("08", "28", "3D", "57")


class DatabaseError(DulyError):
    """The database cannot be used."""


class DatabaseLocked(DatabaseError):
    """Another program is writing to the database."""


class DatabaseReadOnly(DatabaseError):
    """The database cannot be written to."""


class NotADatabase(DatabaseError):
    """The file is not a database."""


class DatabaseOutdated(DatabaseError):
    """A version of Duly from before the first release made the database."""


class DatabaseTooNew(DatabaseError):
    """A later version of Duly made the database."""


def open_engine(url: str) -> Engine:
    """An engine for a database URL, such as sqlite:///duly.db or postgresql://user@host/duly; "sqlite://" is
    in memory.

    SQLite is set up to lose nothing that was committed: a write-ahead log, synchronised at every commit, with
    foreign keys held. PostgreSQL is spoken to with psycopg. Every error of the database comes as a
    `DatabaseError`.

    Raises: DatabaseError, when the URL names no database.
    """
    try:
        parsed = parse_url(url)
        # No error repeats what was being written.
        engine = create_engine(parsed, hide_parameters=True, **_options(parsed))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseError(
            f"this is no database URL: {_shown(url)} ({type(error).__name__})",
            wanted="such as sqlite:///duly.db or postgresql://user@host/duly",
            remedy="Correct DULY_DATABASE.",
        ) from None
    event.listen(engine, "handle_error", _translate)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _set_up_postgresql)
    return engine


def parse_url(url: str) -> URL:
    """A database URL, whose driver for PostgreSQL is psycopg where it names none.

    Raises: ArgumentError.
    """
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername in _POSTGRESQL else parsed


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one moment's content throughout."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is committed at the end, all or nothing.

    On SQLite the right to write is taken at once, so that what is read in it stays true until the end.
    """
    with engine.connect() as connection:
        connection = connection.execution_options(duly_writing=True)
        with connection.begin():
            yield connection


def insert_once(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that leaves alone a row which is there already, on either database."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def rewrite(engine: Engine, *tables: Table) -> None:
    """On PostgreSQL, write tables anew: rows that were deleted stay in their files until then."""
    names = ", ".join(f'"{table.name}"' for table in tables)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM (FULL) {names}")


def streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """The rows of a query as they are asked for: PostgreSQL would send them all at once."""
    yield from connection.execute(query.execution_options(yield_per=_ROWS_AT_ONCE))


@contextmanager
def translated(connection: Connection) -> Iterator[None]:
    """The same errors where PostgreSQL's driver is spoken to itself."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        _raise(_where(connection.engine), error, lost=isinstance(error, psycopg.OperationalError))
        raise


def _options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True}
    return {"connect_args": {"timeout": BUSY_SECONDS}}


def _set_up_sqlite(connection: Any, record: object) -> None:
    # SQLAlchemy's own BEGIN below, not the driver's late one.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        # A file that cannot be written to can still be read.
        if not cursor.execute("PRAGMA query_only").fetchone()[0]:
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
            except connection.OperationalError as error:
                if "readonly" not in str(error):
                    raise
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # The default of 2 MB spills a range's pages to the disk before its commit; negative means KiB.
        cursor.execute("PRAGMA cache_size = -65536")
        cursor.execute("PRAGMA wal_autocheckpoint = 8192")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    finally:
        cursor.close()


def _set_up_postgresql(connection: Any, record: object) -> None:
    connection.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("duly_writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _translate(context: ExceptionContext) -> None:
    lost = context.connection is None or context.is_disconnect
    _raise(_where(context.engine), context.original_exception, lost)


def _where(engine: Engine | None) -> str:
    return engine.url.render_as_string(hide_password=True) if engine is not None else "the database"


def _raise(where: str, error: BaseException, lost: bool) -> None:
    """Put the driver's error into words, leaving out its own, which may quote what was being written."""
    text, state = str(error).strip(), getattr(error, "sqlstate", None) or ""
    if "database is locked" in text or "database table is locked" in text or state in _LOCKED:
        raise DatabaseLocked(
            f"another program is writing to {where}",
            remedy=f"Waited {BUSY_SECONDS} seconds. Let the other one finish, then try again.",
        ) from error
    if "readonly database" in text or "attempt to write a readonly" in text or state in _READ_ONLY:
        raise DatabaseReadOnly(
            f"{where} cannot be written to",
            remedy="Give this user the right to write to its tables."
            if state
            else "Give this user the right to write the file and its folder.",
        ) from error
    if "file is not a database" in text or "file is encrypted" in text:
        raise NotADatabase(
            f"{where} is not a database",
            remedy="Name another file in DULY_DATABASE; this one was left as it is.",
        ) from error
    if "unable to open database file" in text:
        raise DatabaseError(
            f"{where} cannot be opened", remedy="Make sure that its folder exists and can be written to."
        ) from error
    if "disk is full" in text or "disk I/O error" in text or "malformed" in text or state[:2] in _BROKEN:
        raise DatabaseError(
            f"{where}: {text.partition(chr(10))[0]}",
            remedy="Nothing was committed. Check the disk, then try again.",
        ) from error
    if lost or state[:2] in _UNREACHABLE:
        raise DatabaseError(
            f"{where} cannot be reached", remedy="Check that it runs, and the URL in DULY_DATABASE."
        ) from error


def _shown(url: str) -> str:
    """The URL's beginning; the rest may hold a password."""
    return repr(url.split("://")[0] + "://…" if "://" in url else url[:40])
