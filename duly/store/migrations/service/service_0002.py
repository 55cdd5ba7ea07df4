"""The due scan reads its index alone; indexes of events leave out what is about nothing; one place tells the
schema's version.
"""

from alembic import op
from sqlalchemy import text

revision = "service_0002"
down_revision = "service_0001"


def upgrade() -> None:
    op.drop_column("cursor", "version")
    if op.get_bind().dialect.name == "postgresql":
        # On SQLite an index holds the table's key anyway.
        op.drop_index("loans_due", "loans")
        op.create_index(
            "loans_due",
            "loans",
            ["next_due_day"],
            postgresql_include=["number"],
            postgresql_where=text("next_due_day IS NOT NULL"),
        )
        for column in ("loan", "party", "policy"):
            name = f"events_of_{column}"
            op.drop_index(name, "events")
            op.create_index(name, "events", [column], postgresql_where=text(f"{column} IS NOT NULL"))
