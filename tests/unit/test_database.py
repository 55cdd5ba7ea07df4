"""What can be wrong with a database of SQLite, in words; other tests run on PostgreSQL as well."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from scene import a_loan, day
from sqlalchemy import event
from test_readmodel import BEFORE, IDENTITY, PUBLISHED, dump, lent, open_loan, opened, started, tell

from duly.store.database import (
    DatabaseError,
    DatabaseLocked,
    DatabaseReadOnly,
    NotADatabase,
    open_engine,
    reading,
)
from duly.store.readmodel import ReadModel

__all__ = ["lent", "opened"]  # fixtures


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "duly.db"


def test_a_file_that_is_no_database_is_left_alone(file: Path) -> None:
    file.write_text("some words that are no database, for certain " * 10)
    content = file.read_bytes()
    with pytest.raises(NotADatabase, match="not a database"):
        ReadModel.open(f"sqlite:///{file}").start(IDENTITY, BEFORE)
    assert file.read_bytes() == content


def test_a_database_that_is_locked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duly.store.database.BUSY_SECONDS", 0.05)
    model = started(f"sqlite:///{file}")
    model.engine.dispose()
    before = dump(model)
    holder = sqlite3.connect(file, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLocked):
            tell(model, PUBLISHED)
        assert model.cursor().block == BEFORE  # it can still be read
    finally:
        holder.close()
    assert dump(model) == before
    tell(model, PUBLISHED)


def test_a_database_that_another_program_makes_is_waited_for(file: Path) -> None:
    """While one turns the write-ahead log on, SQLite refuses it to the next without waiting."""
    maker = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    maker.execute("CREATE TABLE something (x)")
    maker.execute("BEGIN IMMEDIATE")
    maker.execute("INSERT INTO something VALUES (1)")
    ends = threading.Timer(0.2, maker.commit)
    ends.start()
    engine = open_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("SELECT * FROM something").all() == [(1,)]
    finally:
        ends.join()
        engine.dispose()
        maker.close()


def test_a_database_that_cannot_be_written_to(file: Path) -> None:
    tell(started(f"sqlite:///{file}"), PUBLISHED)
    model = ReadModel.open(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert len(model.policies()) == 1
    with pytest.raises(DatabaseReadOnly):
        tell(model, open_loan(a_loan()))


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be opened"):
        ReadModel.open(f"sqlite:///{tmp_path}/missing/duly.db").cursor()


@pytest.mark.parametrize(
    "url", ["nonsense", "oracle://user:secret@host/x", "postgresql+nosuch://user:secret@host/x", ""]
)
def test_what_is_no_database_url(url: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        ReadModel.open(url)
    assert "secret" not in str(raised.value)


# ---------------------------------------------------------------------------------------- query plans


def test_candidates_are_found_without_looking_at_every_loan(lent: ReadModel) -> None:
    asked = []

    @event.listens_for(lent.engine, "before_cursor_execute")
    def _hear(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    list(lent.candidates(day("2027-01-10")))
    event.remove(lent.engine, "before_cursor_execute", _hear)
    with reading(lent.engine) as connection:
        steps = [
            row[3]
            for statement, parameters in asked
            if "loans" in statement
            for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)
        ]
    used = {step for step in steps if step.startswith(("SCAN loans", "SEARCH loans", "SCAN profiles"))}
    # The index of what is untold holds nothing else.
    assert {step for step in used if step.startswith("SCAN")} == {
        "SCAN loans USING INDEX loans_unsaid",
        "SCAN profiles USING INDEX profiles_untold",
    }
    for index in ("loans_due", "loans_paid_ahead", "loans_opened", "loans_of_borrower"):
        assert any(f"INDEX {index} (" in step for step in used), index
    # None of them by a condition that holds of every loan.
    assert not any("(next_due_day>?)" in step for step in used)


def test_candidates_are_found_by_index(lent: ReadModel) -> None:
    """A scan of a million loans takes twenty times as long."""
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    event.listen(lent.engine, "before_cursor_execute", note)
    list(lent.candidates(day("2027-01-26")))
    event.remove(lent.engine, "before_cursor_execute", note)
    [(statement, parameters)] = [each for each in asked if "JOIN" in each[0]]
    with reading(lent.engine) as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
    assert "SEARCH loans USING COVERING INDEX loans_due" in plan
    assert "loans_unsaid" in plan
    for table in ("loans", "said", "profiles", "reminders", "servicers"):
        assert f"SCAN {table} '" not in plan, plan
