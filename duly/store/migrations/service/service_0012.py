"""How far the webhook's receiver was told what happened."""

from alembic import op
from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, SmallInteger

revision = "service_0012"
down_revision = "service_0011"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "webhook",
        Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        Column("block", BIG, nullable=False),
        Column("log_index", Integer, nullable=False),
        Column("tried", BIG, nullable=False),
        Column("turns", BIG, nullable=False),
        Column("turns_told", BIG, nullable=False),
    )
