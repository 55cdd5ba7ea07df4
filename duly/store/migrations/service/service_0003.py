"""Who does what, and what is due: for several processes on one database."""

from alembic import op
from sqlalchemy import Column, Float, LargeBinary, PrimaryKeyConstraint, Text

revision = "service_0003"
down_revision = "service_0002"


def upgrade() -> None:
    op.create_table("due", Column("loan", LargeBinary, nullable=False), PrimaryKeyConstraint("loan"))
    op.create_table(
        "leases",
        Column("name", Text, nullable=False),
        Column("holder", Text, nullable=False),
        Column("until", Float(53), nullable=False),
        PrimaryKeyConstraint("name"),
    )
