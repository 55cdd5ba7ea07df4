"""The transactions that accounts send."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text

revision = "service_0005"
down_revision = "service_0004"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sending_accounts",
        Column("chain", LargeBinary, nullable=False),
        Column("sender", Text, nullable=False),
        PrimaryKeyConstraint("chain", "sender"),
    )
    op.create_table(
        "outgoing",
        Column("chain", LargeBinary, nullable=False),
        Column("sender", Text, nullable=False),
        Column("nonce", BIG, nullable=False),
        Column("number", SmallInteger, nullable=False),
        Column("token", Text, nullable=False),
        Column("until", BIG, nullable=False),
        Column("what", Text),
        Column("raw", LargeBinary),
        Column("hash", LargeBinary),
        Column("block", BIG),
        PrimaryKeyConstraint("chain", "sender", "nonce", "number"),
    )
