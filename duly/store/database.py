"""Open a database, SQLite or PostgreSQL, and say in words what is wrong with it.

DatabaseError               the database cannot be used
├── DatabaseLocked          another program is writing to it
├── DatabaseReadOnly        it cannot be written to
├── NotADatabase            the file is something else
├── DatabaseOutdated        a version from before the first release made it
└── DatabaseTooNew          a later version of Duly made it
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from duly.domain.errors import DulyError

BUSY_SECONDS = 5
"""How long to wait for another program that is writing."""

SETTING = "DULY_DATABASE"
"""Where a database's URL is from, if nothing else is said."""

_LOOK_AGAIN = 0.01
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


def open_engine(
    url: str,
    *,
    setting: str = SETTING,
    patience: int = BUSY_SECONDS,
    set_up_sqlite: Callable[[Any], None] | None = None,
) -> Engine:
    """An engine for a database URL, such as sqlite:///duly.db or postgresql://user@host/duly; "sqlite://" is
    in memory.

    SQLite is set up to lose nothing that was committed: a write-ahead log, synchronised at every commit, with
    foreign keys held. PostgreSQL is spoken to with psycopg. Every error of the database comes as a
    `DatabaseError`.

    setting: where the URL is from, to be named in errors. patience: seconds to wait for another program that
    is writing. set_up_sqlite: told a new connection to SQLite, to set it up otherwise.

    Raises: DatabaseError, when the URL names no database.
    """
    try:
        parsed = parse_url(url)
        # No error repeats what was being written.
        engine = create_engine(parsed, hide_parameters=True, **_options(parsed, patience))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseError(
            f"this is no database URL: {_shown(url)} ({type(error).__name__})",
            wanted="such as sqlite:///duly.db or postgresql://user@host/duly",
            remedy=f"Correct {setting}.",
        ) from None
    event.listen(engine, "handle_error", partial(_translate, setting))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_connect_sqlite, set_up_sqlite or _set_up_sqlite))
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", partial(_set_up_postgresql, patience))
    return engine


def parse_url(url: str) -> URL:
    """A database URL, whose driver for PostgreSQL is psycopg where it names none.

    Raises: ArgumentError.
    """
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername in _POSTGRESQL else parsed


def file_of(url: str) -> Path | None:
    """The file of a database on SQLite; None for every other."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def exists(url: str) -> bool:
    """A database is there: a file that was made, or a server's, which nobody can tell without asking."""
    try:
        on_a_server = make_url(url).get_backend_name() != "sqlite"
    except ArgumentError:
        return False
    file = file_of(url)
    return on_a_server or (file is not None and file.is_file())


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
        connection = connection.execution_options(duly_begin="BEGIN IMMEDIATE")
        with connection.begin():
            yield connection


def insert_once(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that leaves alone a row which is there already, on either database."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def rewrite(engine: Engine, *tables: Table) -> None:
    """Write tables anew, on SQLite all that there are: what was deleted stays in their files until then.

    Raises: DatabaseLocked; DatabaseReadOnly, where they are not this user's: PostgreSQL itself only warns.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(duly_begin=None) as connection:
            connection.exec_driver_sql("VACUUM")
        return
    names = ", ".join(f'"{table.name}"' for table in tables)
    files = "SELECT " + ", ".join(f"pg_relation_filenode('\"{table.name}\"')" for table in tables)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = connection.exec_driver_sql(files).one()
        connection.exec_driver_sql(f"VACUUM (FULL) {names}")
        after = connection.exec_driver_sql(files).one()
    if any(old == new for old, new in zip(before, after, strict=True)):
        raise DatabaseReadOnly(
            f"the tables of {_where(engine)} were not rewritten: what was deleted is still in their files",
            wanted="this user as their owner",
            remedy="ALTER TABLE … OWNER TO it, then do it again.",
        )


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
        lost = isinstance(error, psycopg.OperationalError)
        _raise(SETTING, _where(connection.engine), error, lost)
        raise


def _options(url: URL, patience: int) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True}
    arguments: dict[str, Any] = {"timeout": patience}
    if url.database in (None, "", ":memory:"):
        # There is one connection, for all threads: another one would be another database.
        return {"connect_args": arguments | {"check_same_thread": False}, "poolclass": StaticPool}
    return {"connect_args": arguments}


def _connect_sqlite(set_up: Callable[[Any], None], connection: Any, record: object) -> None:
    # SQLAlchemy's own BEGIN below, not the driver's late one.
    connection.isolation_level = None
    set_up(connection)


def _set_up_sqlite(connection: Any) -> None:
    cursor = connection.cursor()
    try:
        # A file that cannot be written to can still be read.
        if not cursor.execute("PRAGMA query_only").fetchone()[0]:
            _write_ahead(connection, cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # The default of 2 MB spills a range's pages to the disk before its commit; negative means KiB.
        cursor.execute("PRAGMA cache_size = -65536")
        cursor.execute("PRAGMA wal_autocheckpoint = 8192")
    finally:
        cursor.close()


def _write_ahead(connection: Any, cursor: Any) -> None:
    """Turn the write-ahead log on. SQLite itself does not wait where another program does the same."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except connection.OperationalError as error:
            if "readonly" in str(error):
                return
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(_LOOK_AGAIN)
        else:
            return


def _set_up_postgresql(patience: int, connection: Any, record: object) -> None:
    connection.execute(f"SET lock_timeout = '{patience}s'")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get("duly_begin", "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)


def _translate(setting: str, context: ExceptionContext) -> None:
    lost = context.connection is None or context.is_disconnect
    _raise(setting, _where(context.engine), context.original_exception, lost)


def _where(engine: Engine | None) -> str:
    return engine.url.render_as_string(hide_password=True) if engine is not None else "the database"


def _raise(setting: str, where: str, error: BaseException, lost: bool) -> None:
    """Put the driver's error into words, leaving out its own, which may quote what was being written."""
    text, state = str(error).strip(), getattr(error, "sqlstate", None) or ""
    if "database is locked" in text or "database table is locked" in text or state in _LOCKED:
        raise DatabaseLocked(
            f"another program is writing to {where}",
            remedy="Waited for it. Let the other one finish, then try again.",
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
            remedy=f"Name another file in {setting}; this one was left as it is.",
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
            f"{where} cannot be reached", remedy=f"Check that it runs, and the URL in {setting}."
        ) from error


def _shown(url: str) -> str:
    """The URL's beginning; the rest may hold a password."""
    return repr(url.split("://")[0] + "://…" if "://" in url else url[:40])
