"""The in-app inbox."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
)

revision = "vault_0003"
down_revision = "vault_0002"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "inbox",
        Column("borrower", LargeBinary(20), nullable=False),
        Column("name", LargeBinary(32), nullable=False),
        Column("sealed_letter", LargeBinary, nullable=False),
        Column("at", BIG, nullable=False),
        Column("expires_at", BIG),
        ForeignKeyConstraint(["borrower"], ["borrowers.borrower"], ondelete="CASCADE"),
        PrimaryKeyConstraint("borrower", "name"),
        sqlite_with_rowid=False,
    )
