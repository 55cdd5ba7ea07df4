"""The contact vault."""

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    inspect,
    text,
)

from duly.store.migrations import refuse_older

revision = "vault_0001"
down_revision = None

BIG = BigInteger().with_variant(Integer(), "sqlite")
ADDRESS = LargeBinary(20)
HASH = LargeBinary(32)

# The log is only ever added to.
_TRIGGERS = {
    "sqlite": [
        f"CREATE TRIGGER IF NOT EXISTS log_stays_on_{act.lower()} BEFORE {act} ON log "
        "BEGIN SELECT RAISE(ABORT, 'the log is only ever added to'); END"
        for act in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION log_stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the log is only ever added to'; END $$",
        "CREATE TRIGGER log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON log "
        "FOR EACH STATEMENT EXECUTE FUNCTION log_stays()",
    ],
}


def upgrade() -> None:
    """Databases that were made before there were migrations have these tables already."""
    if inspect(op.get_bind()).has_table("vault"):
        refuse_older(op.get_bind().execute(text("SELECT version FROM vault")).scalar(), 3)
    _table(
        "borrowers",
        Column("borrower", ADDRESS, nullable=False),
        Column("language", String, nullable=False),
        Column("preferences", String),
        Column("added_at", BIG, nullable=False),
        PrimaryKeyConstraint("borrower"),
        sqlite_with_rowid=False,
    )
    _table(
        "log",
        Column("id", Integer, autoincrement=False, nullable=False),
        Column("at", BIG, nullable=False),
        Column("borrower", ADDRESS),
        Column("channel", Integer),
        Column("purpose", String, nullable=False),
        Column("about", String),
        Column("by", String, nullable=False),
        Column("seal", HASH, nullable=False),
        PrimaryKeyConstraint("id"),
    )
    _table(
        "sent_codes",
        Column("id", Integer, nullable=False),
        Column("borrower", ADDRESS, nullable=False),
        Column("address_hash", HASH),
        Column("at", BIG, nullable=False),
        PrimaryKeyConstraint("id"),
    )
    _table(
        "vault",
        Column("id", Integer, nullable=False),
        Column("version", Integer, nullable=False),
        Column("generation", Integer, nullable=False),
        Column("key_check", LargeBinary, nullable=False),
        Column("own_key", LargeBinary, nullable=False),
        Column("next_check", LargeBinary),
        Column("next_own_key", LargeBinary),
        Column("bridge", LargeBinary),
        Column("log_count", Integer, nullable=False),
        Column("log_seal", LargeBinary, nullable=False),
        CheckConstraint("id = 1"),
        PrimaryKeyConstraint("id"),
    )
    _table(
        "contacts",
        Column("borrower", ADDRESS, nullable=False),
        Column("channel", Integer, nullable=False),
        Column("sealed_address", LargeBinary, nullable=False),
        Column("added_at", BIG, nullable=False),
        Column("changed_at", BIG, nullable=False),
        Column("verified_at", BIG),
        Column("verified_by", String),
        ForeignKeyConstraint(["borrower"], ["borrowers.borrower"], ondelete="CASCADE"),
        PrimaryKeyConstraint("borrower", "channel"),
        sqlite_with_rowid=False,
    )
    _table(
        "keys",
        Column("borrower", ADDRESS, nullable=False),
        Column("generation", Integer, nullable=False),
        Column("wrapped_key", LargeBinary, nullable=False),
        ForeignKeyConstraint(["borrower"], ["borrowers.borrower"], ondelete="CASCADE"),
        PrimaryKeyConstraint("borrower", "generation"),
        sqlite_with_rowid=False,
    )
    _table(
        "codes",
        Column("borrower", ADDRESS, nullable=False),
        Column("channel", Integer, nullable=False),
        Column("hash", HASH, nullable=False),
        Column("sent_at", BIG, nullable=False),
        Column("tries", Integer, nullable=False),
        ForeignKeyConstraint(
            ["borrower", "channel"], ["contacts.borrower", "contacts.channel"], ondelete="CASCADE"
        ),
        PrimaryKeyConstraint("borrower", "channel"),
        sqlite_with_rowid=False,
    )
    _table(
        "persons",
        Column("borrower", ADDRESS, nullable=False),
        Column("channel", Integer, nullable=False),
        Column("generation", Integer, nullable=False),
        Column("person", HASH, nullable=False),
        ForeignKeyConstraint(
            ["borrower", "channel"], ["contacts.borrower", "contacts.channel"], ondelete="CASCADE"
        ),
        PrimaryKeyConstraint("borrower", "channel", "generation"),
        sqlite_with_rowid=False,
    )
    _index("persons_found", "persons", ["person"])
    for statement in _TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


def _table(name: str, *columns: Any, **options: Any) -> None:
    op.create_table(name, *columns, if_not_exists=True, **options)


def _index(name: str, table: str, columns: list[str], **options: Any) -> None:
    op.create_index(name, table, columns, if_not_exists=True, **options)
