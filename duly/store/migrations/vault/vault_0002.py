"""One place tells the schema's version."""

from alembic import op

revision = "vault_0002"
down_revision = "vault_0001"


def upgrade() -> None:
    op.drop_column("vault", "version")
