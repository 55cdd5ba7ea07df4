"""Deliveries of a state, the latest first."""

from alembic import op

revision = "service_0013"
down_revision = "service_0012"


def upgrade() -> None:
    op.drop_index("deliveries_by_state", "deliveries")
    op.create_index("deliveries_by_state", "deliveries", ["state", "at", "notice"])
