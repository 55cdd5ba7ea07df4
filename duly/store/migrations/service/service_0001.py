"""The read model, and the words and deliveries of notices."""

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    inspect,
    text,
)

from duly.store.migrations import refuse_older

revision = "service_0001"
down_revision = None

BIG = BigInteger().with_variant(Integer(), "sqlite")
AMOUNT = Text().with_variant(Numeric(78, 0), "postgresql")


def upgrade() -> None:
    """Databases that were made before there were migrations have these tables already."""
    if inspect(op.get_bind()).has_table("cursor"):
        refuse_older(op.get_bind().execute(text("SELECT version FROM cursor")).scalar(), 4)
    _table(
        "blocks",
        Column("number", BIG, autoincrement=False, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("timestamp", BIG, nullable=False),
        PrimaryKeyConstraint("number"),
    )
    _table(
        "cases",
        Column("loan", LargeBinary, nullable=False),
        Column("grievance", SmallInteger, nullable=False),
        Column("since", BIG, nullable=False),
        Column("answered_at", BIG, nullable=False),
        Column("received", SmallInteger, nullable=False),
        Column("all_loans", SmallInteger, nullable=False),
        Column("fees_rest", SmallInteger, nullable=False),
        PrimaryKeyConstraint("loan", "grievance"),
    )
    _table(
        "commitments",
        Column("borrower", Text, nullable=False),
        Column("channel", SmallInteger, nullable=False),
        Column("commitment", LargeBinary, nullable=False),
        PrimaryKeyConstraint("borrower", "channel"),
    )
    _table(
        "cursor",
        Column("id", SmallInteger, autoincrement=False, nullable=False),
        Column("version", Integer, nullable=False),
        Column("chain_id", BIG, nullable=False),
        Column("genesis", LargeBinary, nullable=False),
        Column("ledger", Text, nullable=False),
        Column("first_block", BIG, nullable=False),
        Column("block_number", BIG, nullable=False),
        Column("block_hash", LargeBinary, nullable=False),
        Column("block_timestamp", BIG, nullable=False),
        CheckConstraint("id = 1"),
        PrimaryKeyConstraint("id"),
    )
    _table(
        "events",
        Column("block_number", BIG, nullable=False),
        Column("log_index", Integer, nullable=False),
        Column("transaction_hash", LargeBinary, nullable=False),
        Column("name", Text, nullable=False),
        Column("loan", BIG),
        Column("party", Text),
        Column("policy", BIG),
        Column("args", Text, nullable=False),
        PrimaryKeyConstraint("block_number", "log_index"),
        sqlite_with_rowid=False,
    )
    _index("events_of_loan", "events", ["loan"], sqlite_where=text("loan IS NOT NULL"))
    _index("events_of_party", "events", ["party"], sqlite_where=text("party IS NOT NULL"))
    _index("events_of_policy", "events", ["policy"], sqlite_where=text("policy IS NOT NULL"))
    _table(
        "held",
        Column("lender", Text, nullable=False),
        Column("amount", AMOUNT, nullable=False),
        PrimaryKeyConstraint("lender"),
    )
    _table(
        "loans",
        Column("number", BIG, autoincrement=False, nullable=False),
        Column("id", LargeBinary, nullable=False),
        Column("first_lender", Text, nullable=False),
        Column("borrower", Text, nullable=False),
        Column("principal", AMOUNT, nullable=False),
        Column("origination_fee", AMOUNT, nullable=False),
        Column("late_fee", AMOUNT, nullable=False),
        Column("rate", Integer, nullable=False),
        Column("instalments", Integer, nullable=False),
        Column("first_due", Integer, nullable=False),
        Column("schedule", SmallInteger, nullable=False),
        Column("frequency", SmallInteger, nullable=False),
        Column("calendar_offset", SmallInteger, nullable=False),
        Column("grace_days", SmallInteger, nullable=False),
        Column("policy", BIG, nullable=False),
        Column("expires", BIG, nullable=False),
        Column("agreement_hash", LargeBinary, nullable=False),
        Column("replaces", LargeBinary),
        Column("salt", LargeBinary, nullable=False),
        Column("opened_at", BIG, nullable=False),
        Column("instalment", AMOUNT, nullable=False),
        Column("total", AMOUNT, nullable=False),
        Column("paid", AMOUNT, nullable=False),
        Column("fees", AMOUNT, nullable=False),
        Column("assessed", Integer, nullable=False),
        Column("carried", AMOUNT),
        Column("lender", Text, nullable=False),
        Column("defaulted", Integer, nullable=False),
        Column("assigned", SmallInteger, nullable=False),
        Column("rest_standing", Integer, nullable=False),
        Column("rest_until", BIG, nullable=False),
        Column("rest_fees_standing", Integer, nullable=False),
        Column("rest_fees_until", BIG, nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("next_due_day", Integer),
        Column("paid_through_day", Integer),
        Column("unsaid", SmallInteger, nullable=False),
        PrimaryKeyConstraint("number"),
        UniqueConstraint("id"),
    )
    _index("loans_due", "loans", ["next_due_day"], **_where("next_due_day IS NOT NULL"))
    _index("loans_of_borrower", "loans", ["borrower"])
    _index("loans_of_lender", "loans", ["lender"])
    _index("loans_opened", "loans", ["policy", "opened_at"])
    _index("loans_paid_ahead", "loans", ["paid_through_day"], **_where("paid_through_day IS NOT NULL"))
    _index("loans_replaced", "loans", ["replaces"], unique=True, **_where("replaces IS NOT NULL"))
    _index("loans_unsaid", "loans", ["number"], **_where("unsaid = 1"))
    _table(
        "notices",
        Column("id", LargeBinary, nullable=False),
        Column("block_number", BIG, nullable=False),
        Column("log_index", Integer, nullable=False),
        Column("timestamp", BIG, nullable=False),
        Column("transaction_hash", LargeBinary, nullable=False),
        Column("loan", LargeBinary, nullable=False),
        Column("server", Text, nullable=False),
        Column("borrower", Text, nullable=False),
        Column("kind", SmallInteger, nullable=False),
        Column("instalment", Integer, nullable=False),
        Column("amount", AMOUNT, nullable=False),
        Column("channel", SmallInteger, nullable=False),
        Column("basis", AMOUNT, nullable=False),
        Column("serial", AMOUNT, nullable=False),
        Column("content_hash", LargeBinary, nullable=False),
        PrimaryKeyConstraint("id"),
    )
    _index("notices_in_order", "notices", ["block_number", "log_index"], unique=True)
    _index("notices_of_borrower", "notices", ["borrower"])
    _index("notices_of_loan", "notices", ["loan"])
    _table(
        "policies",
        Column("number", BIG, autoincrement=False, nullable=False),
        Column("publisher", Text, nullable=False),
        Column("apr_cap", BIG, nullable=False),
        Column("apr_convention", SmallInteger, nullable=False),
        Column("late_fee_cap", Integer, nullable=False),
        Column("min_grace_days", SmallInteger, nullable=False),
        Column("cooling_off_days", SmallInteger, nullable=False),
        Column("default_days", Integer, nullable=False),
        Column("opens", Integer, nullable=False),
        Column("closes", Integer, nullable=False),
        Column("lead", Integer, nullable=False),
        Column("weekdays", SmallInteger, nullable=False),
        Column("per_day", SmallInteger, nullable=False),
        Column("per_week", SmallInteger, nullable=False),
        Column("gap", BIG, nullable=False),
        Column("upcoming_days", SmallInteger, nullable=False),
        Column("overdue_days", SmallInteger, nullable=False),
        Column("pause_days", SmallInteger, nullable=False),
        Column("rest_all_loans", SmallInteger, nullable=False),
        Column("rest_fees", SmallInteger, nullable=False),
        Column("templates", LargeBinary, nullable=False),
        Column("pack", LargeBinary, nullable=False),
        Column("retired", SmallInteger, nullable=False),
        PrimaryKeyConstraint("number"),
    )
    _table(
        "profiles",
        Column("borrower", Text, nullable=False),
        Column("offset", SmallInteger, nullable=False),
        Column("other_offset", SmallInteger, nullable=False),
        Column("registered", SmallInteger, nullable=False),
        Column("consented", SmallInteger, nullable=False),
        Column("ceased", SmallInteger, nullable=False),
        Column("changes", Integer, nullable=False),
        Column("changes_told", Integer),
        PrimaryKeyConstraint("borrower"),
    )
    _index("profiles_untold", "profiles", ["borrower"], **_where("changes > changes_told AND consented <> 0"))
    _table(
        "refusals",
        Column("block_number", BIG, nullable=False),
        Column("log_index", Integer, nullable=False),
        Column("timestamp", BIG, nullable=False),
        Column("loan", LargeBinary, nullable=False),
        Column("server", Text, nullable=False),
        Column("kind", SmallInteger, nullable=False),
        Column("instalment", Integer, nullable=False),
        Column("channel", SmallInteger, nullable=False),
        Column("reason", SmallInteger, nullable=False),
        Column("actual", AMOUNT, nullable=False),
        Column("required", AMOUNT, nullable=False),
        PrimaryKeyConstraint("block_number", "log_index"),
    )
    _index("refusals_of_loan", "refusals", ["loan"])
    _table(
        "reminders",
        Column("borrower", Text, nullable=False),
        Column("times", Text, nullable=False),
        PrimaryKeyConstraint("borrower"),
    )
    _table(
        "rests",
        Column("borrower", Text, nullable=False),
        Column("rest_standing", Integer, nullable=False),
        Column("rest_until", BIG, nullable=False),
        Column("rest_fees_standing", Integer, nullable=False),
        Column("rest_fees_until", BIG, nullable=False),
        PrimaryKeyConstraint("borrower"),
    )
    _table(
        "said",
        Column("loan", LargeBinary, nullable=False),
        Column("received", AMOUNT, nullable=False),
        Column("next", Integer, nullable=False),
        Column("upcoming", Integer, nullable=False),
        Column("missed", Integer, nullable=False),
        Column("overdue", Integer, nullable=False),
        Column("flags", SmallInteger, nullable=False),
        Column("services", Text, nullable=False),
        Column("lender", Text, nullable=False),
        Column("assignments", Integer, nullable=False),
        Column("arrears_at", BIG, nullable=False),
        Column("arrears", Integer, nullable=False),
        Column("consents", Integer, nullable=False),
        PrimaryKeyConstraint("loan"),
    )
    _table(
        "servicers",
        Column("lender", Text, nullable=False),
        Column("servicer", Text, nullable=False),
        PrimaryKeyConstraint("lender"),
    )
    _table(
        "contents",
        Column("content_hash", LargeBinary, nullable=False),
        Column("notice", LargeBinary, nullable=False),
        Column("loan", LargeBinary, nullable=False),
        Column("message", LargeBinary),
        Column("language", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("body", Text, nullable=False),
        Column("kept_at", BIG, nullable=False),
        PrimaryKeyConstraint("content_hash"),
    )
    _index("contents_of_loan", "contents", ["loan"])
    _index("contents_of_message", "contents", ["message"], **_where("message IS NOT NULL"))
    _table(
        "deliveries",
        Column("notice", LargeBinary, nullable=False),
        Column("loan", LargeBinary, nullable=False),
        Column("borrower", Text, nullable=False),
        Column("kind", SmallInteger, nullable=False),
        Column("instalment", Integer, nullable=False),
        Column("amount", AMOUNT, nullable=False),
        Column("channel", SmallInteger, nullable=False),
        Column("content_hash", LargeBinary, nullable=False),
        Column("served_at", BIG, nullable=False),
        Column("state", Text, nullable=False),
        Column("reason", Text),
        Column("attempts", Integer, nullable=False),
        Column("at", BIG, nullable=False),
        Column("not_before", BIG),
        Column("worker", Text),
        Column("claimed_wall", BIG),
        PrimaryKeyConstraint("notice"),
    )
    _index("deliveries_by_state", "deliveries", ["state"])
    _index("deliveries_by_time", "deliveries", ["served_at"])
    _table(
        "handed",
        Column("notice", LargeBinary, nullable=False),
        Column("borrower", Text, nullable=False),
        Column("kind", SmallInteger, nullable=False),
        Column("content_hash", LargeBinary, nullable=False),
        Column("at", BIG, nullable=False),
        PrimaryKeyConstraint("notice"),
    )
    _table(
        "together",
        Column("message", LargeBinary, nullable=False),
        Column("number", SmallInteger, nullable=False),
        Column("notice", LargeBinary, nullable=False),
        Column("loan", LargeBinary, nullable=False),
        PrimaryKeyConstraint("message", "number"),
    )
    _index("together_of_loan", "together", ["loan"])


def _table(name: str, *columns: Any, **options: Any) -> None:
    op.create_table(name, *columns, if_not_exists=True, **options)


def _index(name: str, table: str, columns: list[str], **options: Any) -> None:
    op.create_index(name, table, columns, if_not_exists=True, **options)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
