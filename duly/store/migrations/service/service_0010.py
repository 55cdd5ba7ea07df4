"""Secrets that let programs in."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "service_0010"
down_revision = "service_0009"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "web_tokens",
        Column("digest", LargeBinary, primary_key=True),
        Column("address", Text, nullable=False),
        Column("purpose", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("created", BIG, nullable=False),
        Column("used", BIG),
    )
    op.create_index("web_tokens_by_address", "web_tokens", ["address"])
