"""Who a notice's address was given to."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String

revision = "vault_0004"
down_revision = "vault_0003"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "claims",
        Column("notice", LargeBinary(32), primary_key=True),
        Column("claim", String, nullable=False),
        Column("at", BIG, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("claims_by_time", "claims", ["at"])
