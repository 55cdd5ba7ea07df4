"""What was done at the portal's desk."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "service_0007"
down_revision = "service_0006"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "web_actions",
        Column("number", BIG, primary_key=True),
        Column("at", BIG, nullable=False),
        Column("address", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("what", Text, nullable=False),
        Column("about", LargeBinary, nullable=False),
    )
