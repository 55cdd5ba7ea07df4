"""Who does what: leases that end by themselves when their holder is gone.

One program reads the chain into a database, one serves; a second one waits until the first gives up, ends
or dies. A lease is renewed long before it ends. Whoever was held up for so long that another took over finds
that out at the next renewal: until then both may be at it, which every step that matters is safe against.
"""

import os
import platform
import threading
import time
from typing import Final

from sqlalchemy import Column, Connection, Engine, Float, MetaData, Table, Text, delete, func, select, update

from duly.store.database import insert_once, reading, writing
from duly.store.migrations import SERVICE

SECONDS: Final = 15.0
"""How long a lease lasts without being renewed."""

RENEWED: Final = 3.0
"""Seconds from one renewal to the next."""

metadata = MetaData()

leases_table = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Float(53), nullable=False),
)


class Leases:
    """The leases of one holder, such as `NoticeStore.worker`. For several threads."""

    def __init__(self, engine: Engine, holder: str) -> None:
        self._engine = engine
        # Until when each is surely held, by this machine's own monotonic clock.
        self._mine: dict[str, float] = {}
        self._lock = threading.Lock()
        self.holder = holder
        SERVICE.prepare(engine)

    def take(self, name: str) -> bool:
        """Take or renew a lease. False where another holds it."""
        table = leases_table
        with self._lock, writing(self._engine) as connection:
            surely = time.monotonic() + SECONDS
            now = _now(connection)
            values = {"holder": self.holder, "until": now + SECONDS}
            connection.execute(insert_once(connection, table), {"name": name, **values, "until": 0.0})
            query = select(table.c.holder, table.c.until).where(table.c.name == name).with_for_update()
            found = connection.execute(query).one()
            free = found.until <= now or found.holder == self.holder or is_gone(found.holder)
            if free:
                connection.execute(update(table).where(table.c.name == name).values(values))
                self._mine[name] = surely
            else:
                self._mine.pop(name, None)
        return free

    def holds(self, name: str) -> bool:
        """This holder has it, as of the last renewal. Asks nobody."""
        return self._mine.get(name, 0.0) > time.monotonic()

    def renew(self) -> None:
        """Renew all that are held."""
        for name in list(self._mine):
            self.take(name)

    def holder_of(self, name: str) -> str | None:
        """Who holds a lease now; None for nobody."""
        table = leases_table
        with reading(self._engine) as connection:
            query = select(table.c.holder).where(table.c.name == name, table.c.until > _now(connection))
            holder = connection.execute(query).scalar()
        return None if holder is None or is_gone(holder) else holder

    def living(self) -> set[str]:
        """All holders of any lease."""
        table = leases_table
        with reading(self._engine) as connection:
            query = select(table.c.holder).where(table.c.until > _now(connection))
            holders = set(connection.execute(query).scalars())
        return {holder for holder in holders if not is_gone(holder)}

    def give_up(self) -> None:
        """Let others have them at once."""
        with self._lock, writing(self._engine) as connection:
            connection.execute(delete(leases_table).where(leases_table.c.holder == self.holder))
            self._mine.clear()


def is_gone(holder: str) -> bool:
    """A process of this machine that is there no more. Of other machines nobody knows: False."""
    host, _, number = holder.rpartition(":")[0].rpartition(":")
    if host != platform.node():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _now(connection: Connection) -> float:
    """The database's clock, which all machines share."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
