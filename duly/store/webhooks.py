"""How far the webhook's receiver was told what happened.

One row: the receiver has every event up to a place. It may have some more, of a request of which nobody knows
whether it was taken. When a reorganisation takes events back that it has or may have (`take_back`), it is to
be told so, whether others came in their place or not.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    case,
    or_,
    select,
    update,
)

from duly.store.database import insert_once, reading, writing
from duly.store.migrations import SERVICE
from duly.store.schema import BigInteger

LAST_PLACE: Final = 2**31 - 1
"""After every event of a block."""

metadata = MetaData()

webhook_table = Table(
    "webhook",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("block", BigInteger, nullable=False),
    Column("log_index", Integer, nullable=False),
    # The last block of which a request may have told.
    Column("tried", BigInteger, nullable=False),
    # How often something was taken back, and how much of that the receiver knows.
    Column("turns", BigInteger, nullable=False),
    Column("turns_told", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Place:
    """An event's block and its log index there; by itself: before the first block."""

    block: int = -1
    log_index: int = LAST_PLACE


@dataclass(frozen=True, slots=True)
class Told:
    """after: up to where the receiver has everything. turns: how often something was taken back. stale: of
    what it has, or may have, something was taken back that it does not know of.
    """

    after: Place
    turns: int
    stale: bool


class WebhookStore:
    """The row. For several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        SERVICE.prepare(engine)

    def told(self) -> Told:
        """How it stands; nothing was told at first."""
        c, nothing = webhook_table.c, Place()
        query = select(c.block, c.log_index, c.turns, c.turns_told)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        if row is None:
            first = {"block": nothing.block, "log_index": nothing.log_index, "tried": nothing.block}
            with writing(self._engine) as connection:
                insert = insert_once(connection, webhook_table)
                connection.execute(insert, {"id": 1, **first, "turns": 0, "turns_told": 0})
                row = connection.execute(query).one()
        return Told(Place(row.block, row.log_index), row.turns, row.turns != row.turns_told)

    def try_(self, told: Told, to: Place) -> bool:
        """Note that the receiver may soon have what is up to there. False where it stands otherwise."""
        c = webhook_table.c
        tried = case((c.tried > to.block, c.tried), else_=to.block)
        return self._update(told, tried=tried)

    def move(self, told: Told, to: Place) -> bool:
        """Note that it does. False where it stands otherwise: then it is to be told again."""
        return self._update(told, block=to.block, log_index=to.log_index, turns_told=told.turns)

    def _update(self, told: Told, **values: object) -> bool:
        c = webhook_table.c
        same = (c.turns == told.turns, c.block == told.after.block, c.log_index == told.after.log_index)
        with writing(self._engine) as connection:
            return connection.execute(update(webhook_table).where(*same).values(**values)).rowcount == 1


def take_back(connection: Connection, to: int) -> None:
    """What the receiver has, or may have, of the blocks after `to` is void."""
    c = webhook_table.c
    later = c.block > to
    query = update(webhook_table).where(or_(later, c.tried > to))
    connection.execute(
        query.values(
            block=case((later, to), else_=c.block),
            log_index=case((later, LAST_PLACE), else_=c.log_index),
            tried=to,
            turns=c.turns + 1,
        )
    )
