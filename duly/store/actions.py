"""What was done at the portal's desk: by which address, as what, when, and about which notice or loan.

A row is written in the transaction that does it, and never changed. There is no column for a person's data.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Column, Connection, Engine, LargeBinary, MetaData, Table, Text, insert, select

from duly.store.database import reading, writing
from duly.store.migrations import SERVICE
from duly.store.schema import BigInteger

metadata = MetaData()

actions_table = Table(
    "web_actions",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("about", LargeBinary, nullable=False),
)


class What(StrEnum):
    """What can be done at the desk."""

    SETTLED_SENT = "settled as sent"
    SETTLED_NOT_SENT = "settled as not sent"
    REQUEUED = "requeued"
    OFFERED = "offered other terms"
    DOWNLOADED = "downloaded the audit"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done, by a lower-case address, as a role; `at` in UTC seconds of this machine."""

    at: int
    address: str
    role: str
    what: What
    about: bytes


class ActionLog:
    """The rows. For several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        SERVICE.prepare(engine)

    def add(self, connection: Connection, action: Action) -> None:
        """Write one, in the transaction that does it."""
        connection.execute(
            insert(actions_table).values(
                at=action.at,
                address=action.address,
                role=action.role,
                what=action.what.value,
                about=action.about,
            )
        )

    def record(self, action: Action) -> None:
        """Write one that changes nothing else."""
        with writing(self._engine) as connection:
            self.add(connection, action)

    def latest(self, limit: int, before: int | None = None) -> list[tuple[int, Action]]:
        """The newest first, each with its number. before: leave out those from this number on."""
        c = actions_table.c
        query = select(actions_table).order_by(c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(c.number < before)
        with reading(self._engine) as connection:
            return [
                (row.number, Action(row.at, row.address, row.role, What(row.what), row.about))
                for row in connection.execute(query)
            ]
