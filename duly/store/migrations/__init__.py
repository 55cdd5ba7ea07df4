"""The schemas of the two databases, as revisions that bring any released one forward.

    SERVICE.prepare(engine)     the read model, and the words and deliveries of notices
    VAULT.prepare(engine)       the contact vault

Tables are made by revisions alone. To change one: change its `Table`, write the next revision beside the
others, name it as the schema's head here. A test holds what all revisions come to against the tables.

Tables of the read model can also be emptied by a revision, cursor first: the next `duly index` fills them
from the chain. Words, deliveries and the vault exist nowhere else: a revision keeps every row.
"""

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, inspect, text

from duly.store.database import (
    DatabaseError,
    DatabaseOutdated,
    DatabaseTooNew,
    file_of,
    open_engine,
    reading,
    writing,
)

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_LOCK: Final = 0x44756C79
"""Held on PostgreSQL while a schema is brought forward; on SQLite the right to write is."""
_VERSIONS: Final = "alembic_version"
_one_at_a_time = threading.Lock()  # revisions speak through `alembic.op`, which there is one of


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of a database. `head`: the last of its revisions. `first_table`: by which a database that
    was made before there were revisions is known. `setting`: where its URL is from.
    """

    name: str
    words: str
    head: str
    first_table: str
    setting: str

    def revision(self, connection: Connection) -> str | None:
        """The revision that a database is at; None where it has no tables of this schema, or they were made
        before there were revisions.

        Raises: DatabaseTooNew; DatabaseError, where the database is the other one.
        """
        if not inspect(connection).has_table(_VERSIONS):
            return None
        found: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()
        if found is None or found == self.head or found in self.revisions():
            return found
        for other in SCHEMAS:
            if other is not self and found.startswith(f"{other.name}_"):
                raise DatabaseError(
                    f"this database is {other.words}",
                    wanted=f"{self.words}, in a database of its own",
                    remedy="Look at DULY_DATABASE and DULY_VAULT.",
                )
        if not found.startswith(f"{self.name}_"):
            raise DatabaseError(
                "this database is another program's",
                wanted=f"{self.words}, in a database of its own",
                remedy=f"Look at {self.setting}.",
            )
        raise DatabaseTooNew(
            f"the database has schema {found}, which this program does not know",
            wanted=f"{self.head} or older",
            remedy="A newer Duly made it: use that one. Nothing was changed.",
        )

    def standing(self, url: str) -> tuple[bool, str | None]:
        """Whether the database at a URL has the tables, and the revision that it is at. Nothing is changed.

        Raises: as `revision`.
        """
        # Opened as others are, a vault in a file would begin to keep a write-ahead log.
        file = file_of(url) if self is VAULT else None
        url = f"sqlite:///file:{file.absolute()}?mode=ro&uri=true" if file else url
        engine = open_engine(url, setting=self.setting)
        try:
            with reading(engine) as connection:
                found = self.revision(connection)
                return found is not None or inspect(connection).has_table(self.first_table), found
        finally:
            engine.dispose()

    def revisions(self) -> list[str]:
        """All revisions, the first first."""
        return [each.revision for each in reversed(list(_script(self.name).walk_revisions()))]

    def is_made(self, engine: Engine) -> bool:
        """Whether the database has the tables; those of an older schema are brought forward.

        Raises: as `prepare`.
        """
        with reading(engine) as connection:
            found = self.revision(connection)
            if found is None and not inspect(connection).has_table(self.first_table):
                return False
        if found != self.head:
            self.prepare(engine)
        return True

    def prepare(self, engine: Engine) -> None:
        """Make the tables, or bring those of an older schema forward: all of it or nothing. Of two programs
        that do so at once one waits for the other.

        Raises: DatabaseTooNew, DatabaseOutdated, DatabaseLocked, DatabaseReadOnly, DatabaseError.
        """
        with reading(engine) as connection:
            if self.revision(connection) == self.head:
                return
        with writing(engine) as connection:
            self.upgrade(connection)

    def upgrade(self, connection: Connection, to: str | None = None) -> None:
        """The same in a transaction that may write; `to` an earlier revision than the last.

        Raises: as `prepare`.
        """
        from alembic.migration import MigrationContext
        from alembic.operations import Operations

        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        found, to = self.revision(connection), to or self.head
        if found == to:
            return
        script = _script(self.name)
        context = MigrationContext.configure(connection)
        with _one_at_a_time, Operations.context(context):
            for step in reversed(list(script.iterate_revisions(to, found or "base"))):
                step.module.upgrade()
        context.stamp(script, to)


SERVICE: Final = Schema("service", "the service's database", "service_0013", "cursor", "DULY_DATABASE")
VAULT: Final = Schema("vault", "the contact vault", "vault_0004", "vault", "DULY_VAULT")
SCHEMAS: Final = (SERVICE, VAULT)


def refuse_older(version: Any, known: int) -> None:
    """Raises: DatabaseOutdated, where a database from before the first revision is of yet another version."""
    if version not in (None, known):
        raise DatabaseOutdated(
            f"the database has schema {version}, from before there were releases",
            wanted=f"schema {known} or later",
            remedy="Name another database, or delete this one: `duly index` makes the read model anew.",
        )


@cache
def _script(name: str) -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    here = Path(__file__).parent
    return ScriptDirectory(here, version_locations=[str(here / name)])
