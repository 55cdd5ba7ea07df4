"""Offers of other terms that borrowers are shown."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "service_0009"
down_revision = "service_0008"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "web_offers",
        Column("id", LargeBinary, primary_key=True),
        Column("loan", LargeBinary, nullable=False),
        Column("at", BIG, nullable=False),
        Column("document", Text, nullable=False),
    )
    op.create_index("web_offers_by_loan", "web_offers", ["loan", "at"])
