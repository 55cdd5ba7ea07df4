"""Databases of any released schema are brought forward, with everything that is in them."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, inspect, text

from duly.store import (
    actions,
    leases,
    notices,
    offers,
    outgoing,
    reports,
    schema,
    sessions,
    tokens,
    vault,
    webhooks,
)
from duly.store.database import (
    DatabaseError,
    DatabaseOutdated,
    DatabaseTooNew,
    open_engine,
    reading,
    writing,
)
from duly.store.migrations import SCHEMAS, SERVICE, VAULT, Schema
from duly.store.readmodel import NothingIndexed, ReadModel

BORROWER = "0x" + "b0" * 20
AMOUNT = 2**255 - 19
TABLES: dict[str, list[MetaData]] = {
    "service": [
        schema.metadata,
        notices.metadata,
        reports.metadata,
        leases.metadata,
        outgoing.metadata,
        sessions.metadata,
        actions.metadata,
        offers.metadata,
        tokens.metadata,
        webhooks.metadata,
    ],
    "vault": [vault.metadata],
}
each_schema = pytest.mark.parametrize("which", SCHEMAS, ids=lambda each: each.name)


@pytest.fixture
def engine(empty: str) -> Iterator[Engine]:
    engine = open_engine(empty)
    yield engine
    engine.dispose()


def indexes(engine: Engine) -> dict[str, str]:
    """How the database itself writes its indexes: Alembic does not compare their conditions."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    }[engine.dialect.name]
    with reading(engine) as connection:
        return {name: " ".join(sql.split()) for name, sql in connection.exec_driver_sql(query)}


@each_schema
def test_the_revisions_come_to_the_tables(engine: Engine, empty_too: str, which: Schema) -> None:
    which.prepare(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, TABLES[which.name]) == []  # type: ignore[arg-type]
    other = open_engine(empty_too)
    for metadata in TABLES[which.name]:
        metadata.create_all(other)
    made, wanted = indexes(engine), indexes(other)
    other.dispose()
    assert {name: sql for name, sql in made.items() if "alembic" not in name} == wanted


@each_schema
def test_the_head_is_the_last_revision(which: Schema) -> None:
    assert which.revisions()[-1] == which.head
    assert which.revisions() == [f"{which.name}_{n:04}" for n in range(1, len(which.revisions()) + 1)]


@each_schema
def test_making_the_tables_twice_changes_nothing(engine: Engine, which: Schema) -> None:
    assert not which.is_made(engine)
    which.prepare(engine)
    which.prepare(engine)
    assert which.is_made(engine)
    with reading(engine) as connection:
        assert which.revision(connection) == which.head


def put_rows(engine: Engine) -> None:
    """What a service of the first release may have left behind."""
    rows: dict[str, dict[str, Any]] = {
        "cursor": {
            "id": 1, "version": 4, "chain_id": 31337, "genesis": b"g", "ledger": "0x1e", "first_block": 1,
            "block_number": 7, "block_hash": b"h", "block_timestamp": 1_790_000_000,
        },
        "held": {"lender": BORROWER, "amount": AMOUNT},
        "contents": {
            "content_hash": b"c", "notice": b"n", "loan": b"l", "message": None, "language": "zh",
            "subject": "今天到期", "body": "…", "kept_at": 5,
        },
        "deliveries": {
            "notice": b"n", "loan": b"l", "borrower": BORROWER, "kind": 3, "instalment": 1, "amount": AMOUNT,
            "channel": 1, "content_hash": b"c", "served_at": 6, "state": "sent", "reason": None,
            "attempts": 1, "at": 7, "not_before": None, "worker": "w", "claimed_wall": 8,
        },
        "handed": {"notice": b"n", "borrower": BORROWER, "kind": 3, "content_hash": b"c", "at": 6},
    }  # fmt: skip
    on_sqlite = engine.dialect.name == "sqlite"
    with writing(engine) as connection:
        for table, row in rows.items():
            row = {k: str(v) if on_sqlite and k == "amount" else v for k, v in row.items()}
            names = ", ".join(f'"{name}"' for name in row)
            connection.execute(
                text(f'INSERT INTO "{table}" ({names}) VALUES ({", ".join(f":{name}" for name in row)})'), row
            )


def assert_rows(engine: Engine) -> None:
    model = ReadModel(engine)
    assert model.cursor().block.number == 7
    assert model.held(BORROWER) == AMOUNT
    store = notices.NoticeStore(engine)
    content = store.content(b"c")
    assert content
    assert content.subject == "今天到期"
    [delivery] = store.deliveries()
    assert (delivery.notice.amount, delivery.state, delivery.at) == (AMOUNT, notices.State.SENT, 7)
    assert [each.at for each in store.handed(10)] == [6]


def test_rows_of_the_first_revision_are_all_there_after_the_last(engine: Engine) -> None:
    with writing(engine) as connection:
        SERVICE.upgrade(connection, to="service_0001")
    put_rows(engine)
    assert_rows(engine)
    with reading(engine) as connection:
        assert SERVICE.revision(connection) == SERVICE.head


def test_rows_from_before_there_were_revisions_are_all_there(engine: Engine) -> None:
    with writing(engine) as connection:
        SERVICE.upgrade(connection, to="service_0001")
        connection.exec_driver_sql("DROP TABLE alembic_version")
        # These were made only once they were needed.
        connection.exec_driver_sql("DROP TABLE together")
    put_rows(engine)
    assert_rows(engine)


def test_a_database_from_before_the_first_release_is_refused(engine: Engine) -> None:
    with writing(engine) as connection:
        SERVICE.upgrade(connection, to="service_0001")
        connection.exec_driver_sql("DROP TABLE alembic_version")
    put_rows(engine)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE cursor SET version = 3")
    with pytest.raises(DatabaseOutdated, match="schema 3"):
        ReadModel(engine).cursor()


@each_schema
def test_a_database_from_a_later_program_is_refused_and_left_alone(engine: Engine, which: Schema) -> None:
    which.prepare(engine)
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{which.name}_9999'")
    for ask in (which.is_made, which.prepare):
        with pytest.raises(DatabaseTooNew, match="_9999") as raised:
            ask(engine)
        assert "newer Duly" in (raised.value.remedy or "")
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == (
            f"{which.name}_9999"
        )


def test_the_two_databases_are_not_taken_for_each_other(engine: Engine) -> None:
    VAULT.prepare(engine)
    with pytest.raises(DatabaseError, match="this database is the contact vault"):
        ReadModel(engine).find_cursor()


def test_a_revision_that_fails_changes_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(engine) as connection:
        SERVICE.upgrade(connection, to="service_0001")
    put_rows(engine)
    before = set(inspect(engine).get_table_names())

    class Stop(Exception):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("alembic.migration.MigrationContext.stamp", fail)
        with pytest.raises(Stop):
            SERVICE.prepare(engine)
    assert set(inspect(engine).get_table_names()) == before
    with reading(engine) as connection:
        assert SERVICE.revision(connection) == "service_0001"
        assert connection.exec_driver_sql("SELECT version FROM cursor").scalar() == 4
    assert_rows(engine)


def test_of_two_programs_that_open_a_database_at_once_one_makes_the_tables(empty: str) -> None:
    failed: list[BaseException] = []
    barrier = threading.Barrier(4)

    def program() -> None:
        engine = open_engine(empty)
        try:
            barrier.wait()
            SERVICE.prepare(engine)
            with pytest.raises(NothingIndexed):
                ReadModel(engine).cursor()
        except BaseException as error:
            failed.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=program) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
