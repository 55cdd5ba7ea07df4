"""What providers call messages, what they report about them, and the channels that are closed for it."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text

revision = "service_0004"
down_revision = "service_0003"


def upgrade() -> None:
    op.add_column("deliveries", Column("reference", Text))
    op.create_table(
        "reports",
        Column("digest", LargeBinary, nullable=False),
        Column("notice", LargeBinary, nullable=False),
        Column("channel", SmallInteger, nullable=False),
        Column("verdict", Text, nullable=False),
        Column("code", Text, nullable=False),
        Column("at", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
        PrimaryKeyConstraint("digest"),
    )
    op.create_index("reports_of_notice", "reports", ["notice"])
    op.create_table(
        "closed_channels",
        Column("borrower", Text, nullable=False),
        Column("channel", SmallInteger, nullable=False),
        Column("commitment", LargeBinary, nullable=False),
        Column("verdict", Text, nullable=False),
        Column("at", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
        Column("revoked", SmallInteger, nullable=False),
        PrimaryKeyConstraint("borrower", "channel"),
    )
