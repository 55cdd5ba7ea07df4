"""The tables of the read model. All of it can be thrown away and made again from the chain.

Every table but `cursor` is a function of the chain's events up to the cursor, so that a rollback and a fresh
start give the same rows. Amounts can exceed 64 bits: exact text on SQLite, NUMERIC on PostgreSQL. Ids and
hashes are bytes, addresses lower-case text. There is no column for anybody's name or contact.
"""

from typing import Any

from sqlalchemy import BigInteger as _BigInteger
from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData()

BigInteger = _BigInteger().with_variant(Integer(), "sqlite")


class Amount(TypeDecorator[int]):
    """An integer of up to 256 bits: text on SQLite, whose own integers have 64, NUMERIC(78) elsewhere."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric(78, 0))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name != "sqlite" else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _rest() -> tuple[Column[int], ...]:
    """What some grievances come to, as `duly.domain.grievance.Rest`."""
    return (
        Column("rest_standing", Integer, nullable=False),
        Column("rest_until", BigInteger, nullable=False),
        Column("rest_fees_standing", Integer, nullable=False),
        Column("rest_fees_until", BigInteger, nullable=False),
    )


# One row: which chain and ledger this is, and up to which block it was read.
cursor = Table(
    "cursor",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("genesis", LargeBinary, nullable=False),
    Column("ledger", Text, nullable=False),
    Column("first_block", BigInteger, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", LargeBinary, nullable=False),
    Column("block_timestamp", BigInteger, nullable=False),
)

# The blocks that hold events, to know them again after a reorganisation.
blocks = Table(
    "blocks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
)

# The events as they were told; everything below is derived from them. `loan`, `party` and `policy` are what
# the event is about (see `duly.domain.replay.subjects`): the loan by its number, none before there is one;
# of an amendment the loan that it replaced.
# `args` are the event's fields as JSON. No foreign keys: they would cost as much as the rest of the row.
events = Table(
    "events",
    metadata,
    Column("block_number", BigInteger, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("transaction_hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("loan", BigInteger),
    Column("party", Text),
    Column("policy", BigInteger),
    Column("args", Text, nullable=False),
    PrimaryKeyConstraint("block_number", "log_index"),
    Index("events_of_loan", "loan", **_where("loan IS NOT NULL")),
    Index("events_of_party", "party", **_where("party IS NOT NULL")),
    Index("events_of_policy", "policy", **_where("policy IS NOT NULL")),
    sqlite_with_rowid=False,
)

# `number` counts the loans as they began, from 1.
loans = Table(
    "loans",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", LargeBinary, nullable=False, unique=True),
    # The terms; `replaces` is none where they replace no loan.
    Column("first_lender", Text, nullable=False),
    Column("borrower", Text, nullable=False),
    Column("principal", Amount, nullable=False),
    Column("origination_fee", Amount, nullable=False),
    Column("late_fee", Amount, nullable=False),
    Column("rate", Integer, nullable=False),
    Column("instalments", Integer, nullable=False),
    Column("first_due", Integer, nullable=False),
    Column("schedule", SmallInteger, nullable=False),
    Column("frequency", SmallInteger, nullable=False),
    Column("calendar_offset", SmallInteger, nullable=False),
    Column("grace_days", SmallInteger, nullable=False),
    Column("policy", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("agreement_hash", LargeBinary, nullable=False),
    Column("replaces", LargeBinary),
    Column("salt", LargeBinary, nullable=False),
    # The loan. `carried` is what was paid ahead on the loan that it replaced, none where nothing was.
    Column("opened_at", BigInteger, nullable=False),
    Column("instalment", Amount, nullable=False),
    Column("total", Amount, nullable=False),
    Column("paid", Amount, nullable=False),
    Column("fees", Amount, nullable=False),
    Column("assessed", Integer, nullable=False),
    Column("carried", Amount),
    Column("lender", Text, nullable=False),
    Column("defaulted", Integer, nullable=False),
    Column("assigned", SmallInteger, nullable=False),
    # What its own grievances come to, as `duly.domain.grievance.Rest`.
    *_rest(),
    # What the planner looks for: where it stands, the due days of the first instalment that is not fully paid
    # and of the last one that is (none once nothing is owed), and whether an opening, a payment or the end
    # has not been told the borrower yet.
    Column("status", SmallInteger, nullable=False),
    Column("next_due_day", Integer),
    Column("paid_through_day", Integer),
    Column("unsaid", SmallInteger, nullable=False),
    Index("loans_of_borrower", "borrower"),
    Index("loans_of_lender", "lender"),
    Index("loans_replaced", "replaces", unique=True, **_where("replaces IS NOT NULL")),
    # On SQLite an index holds the table's key anyway.
    Index(
        "loans_due",
        "next_due_day",
        postgresql_include=["number"],
        **_where("next_due_day IS NOT NULL"),
    ),
    Index(
        "loans_paid_ahead",
        "paid_through_day",
        "frequency",
        "first_due",
        "instalments",
        postgresql_include=["number"],
        **_where("paid_through_day IS NOT NULL"),
    ),
    Index("loans_opened", "policy", "opened_at"),
    Index("loans_unsaid", "number", **_where("unsaid = 1")),
    # Room beside each loan for its next state, so that most changes stay out of the indexes.
    postgresql_with={"fillfactor": 50},
)

# What was already said about each loan, often and seldom; `services` are times as JSON, newest first.
said = Table(
    "said",
    metadata,
    Column("loan", LargeBinary, primary_key=True),
    Column("received", Amount, nullable=False),
    Column("next", Integer, nullable=False),
    Column("upcoming", Integer, nullable=False),
    Column("missed", Integer, nullable=False),
    Column("overdue", Integer, nullable=False),
    Column("flags", SmallInteger, nullable=False),
    Column("services", Text, nullable=False),
    Column("lender", Text, nullable=False),
    Column("assignments", Integer, nullable=False),
    Column("arrears_at", BigInteger, nullable=False),
    Column("arrears", Integer, nullable=False),
    Column("consents", Integer, nullable=False),
)

# Grievances about each loan; those that were never lodged have no row.
cases = Table(
    "cases",
    metadata,
    Column("loan", LargeBinary, nullable=False),
    Column("grievance", SmallInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("answered_at", BigInteger, nullable=False),
    Column("received", SmallInteger, nullable=False),
    Column("all_loans", SmallInteger, nullable=False),
    Column("fees_rest", SmallInteger, nullable=False),
    PrimaryKeyConstraint("loan", "grievance"),
)

# What a borrower's grievances that concern all loans come to.
rests = Table(
    "rests",
    metadata,
    Column("borrower", Text, primary_key=True),
    *_rest(),
)

policies = Table(
    "policies",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("publisher", Text, nullable=False),
    Column("apr_cap", BigInteger, nullable=False),
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
    Column("gap", BigInteger, nullable=False),
    Column("upcoming_days", SmallInteger, nullable=False),
    Column("overdue_days", SmallInteger, nullable=False),
    Column("pause_days", SmallInteger, nullable=False),
    Column("rest_all_loans", SmallInteger, nullable=False),
    Column("rest_fees", SmallInteger, nullable=False),
    Column("templates", LargeBinary, nullable=False),
    Column("pack", LargeBinary, nullable=False),
    Column("retired", SmallInteger, nullable=False),
)

profiles = Table(
    "profiles",
    metadata,
    Column("borrower", Text, primary_key=True),
    Column("offset", SmallInteger, nullable=False),
    Column("other_offset", SmallInteger, nullable=False),
    Column("registered", SmallInteger, nullable=False),
    Column("consented", SmallInteger, nullable=False),
    Column("ceased", SmallInteger, nullable=False),
    Column("changes", Integer, nullable=False),
    # Of how many changes the borrower knows, from the first notice on.
    Column("changes_told", Integer),
    Index("profiles_untold", "borrower", **_where("changes > changes_told AND consented <> 0")),
)

# Salted hashes of the borrowers' own contacts.
commitments = Table(
    "commitments",
    metadata,
    Column("borrower", Text, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    PrimaryKeyConstraint("borrower", "channel"),
)

# The times of each borrower's last seven reminders, as JSON, newest first.
reminders = Table(
    "reminders",
    metadata,
    Column("borrower", Text, primary_key=True),
    Column("times", Text, nullable=False),
)

servicers = Table(
    "servicers",
    metadata,
    Column("lender", Text, primary_key=True),
    Column("servicer", Text, nullable=False),
    Index("servicers_by_servicer", "servicer"),
)

# What the ledger holds for a lender that could not receive.
held = Table(
    "held",
    metadata,
    Column("lender", Text, primary_key=True),
    Column("amount", Amount, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("block_number", BigInteger, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("transaction_hash", LargeBinary, nullable=False),
    Column("loan", LargeBinary, nullable=False),
    Column("server", Text, nullable=False),
    Column("borrower", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("instalment", Integer, nullable=False),
    Column("amount", Amount, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("basis", Amount, nullable=False),
    Column("serial", Amount, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Index("notices_in_order", "block_number", "log_index", unique=True),
    Index("notices_of_loan", "loan"),
    Index("notices_of_borrower", "borrower"),
)

refusals = Table(
    "refusals",
    metadata,
    Column("block_number", BigInteger, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("loan", LargeBinary, nullable=False),
    Column("server", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("instalment", Integer, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("reason", SmallInteger, nullable=False),
    Column("actual", Amount, nullable=False),
    Column("required", Amount, nullable=False),
    PrimaryKeyConstraint("block_number", "log_index"),
    Index("refusals_of_loan", "loan"),
)

READ_MODEL = (
    cursor,
    blocks,
    events,
    loans,
    said,
    cases,
    rests,
    policies,
    profiles,
    commitments,
    reminders,
    servicers,
    held,
    notices,
    refusals,
)
"""The tables that are made from the chain and rolled back with it."""
