"""By what the vault knows who claimed a notice."""

from alembic import op
from sqlalchemy import Column, Text

revision = "service_0008"
down_revision = "service_0007"


def upgrade() -> None:
    op.add_column("deliveries", Column("claims", Text))
