"""Who signed in to the portal."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "service_0006"
down_revision = "service_0005"

BIG = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "web_nonces",
        Column("digest", LargeBinary, primary_key=True),
        Column("expires", BIG, nullable=False, index=True),
    )
    op.create_table(
        "web_sessions",
        Column("digest", LargeBinary, primary_key=True),
        Column("address", Text, nullable=False),
        Column("created", BIG, nullable=False),
        Column("expires", BIG, nullable=False, index=True),
    )
