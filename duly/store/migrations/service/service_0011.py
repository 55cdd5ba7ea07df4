"""Whose servicer somebody is, found at once among many lenders."""

from alembic import op

revision = "service_0011"
down_revision = "service_0010"


def upgrade() -> None:
    op.create_index("servicers_by_servicer", "servicers", ["servicer"])
