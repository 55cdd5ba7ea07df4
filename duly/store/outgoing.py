"""The transactions that accounts send: whose turn is which nonce, and the bytes that were signed for it.

This is the outbox of `duly.chain.outbox` for processes that share a database. It lies beside the read model
and is never rolled back with it. What was mined is kept for a while: a reorganisation may undo it; then it is
sent again. The bytes are what everybody can read on the chain; there is nothing personal in them.
"""

import secrets
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from duly.store.database import reading, writing
from duly.store.migrations import SERVICE
from duly.store.schema import BigInteger

REMEMBERED: Final = 256
"""Blocks after which what was mined is forgotten: no chain undoes that many."""

metadata = MetaData()

# One row for each account: whoever takes a nonce holds it meanwhile.
accounts_table = Table(
    "sending_accounts",
    metadata,
    Column("chain", LargeBinary, nullable=False),
    Column("sender", Text, nullable=False),
    PrimaryKeyConstraint("chain", "sender"),
)

# `raw` is missing while a nonce is only taken; `block` until it is known to be mined.
outgoing_table = Table(
    "outgoing",
    metadata,
    Column("chain", LargeBinary, nullable=False),
    Column("sender", Text, nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("token", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("what", Text),
    Column("raw", LargeBinary),
    Column("hash", LargeBinary),
    Column("block", BigInteger),
    PrimaryKeyConstraint("chain", "sender", "nonce", "number"),
)


class Attempt(NamedTuple):
    """Signed bytes for a nonce; the later ones replace the earlier ones."""

    nonce: int
    number: int
    what: str
    raw: bytes
    hash: bytes


class _Earlier(Protocol):
    @property
    def nonce(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def what(self) -> str: ...


class Outgoing:
    """The transactions of a chain's accounts. chain: the hash of its first block."""

    def __init__(self, engine: Engine, chain: bytes) -> None:
        self._engine, self._chain = engine, chain
        SERVICE.prepare(engine)

    def take(self, sender: str, lowest: int, seconds: float) -> tuple[int, str]:
        """The lowest free nonce from this one on, and a token that tells who has it, for so many seconds."""
        table, token, now = outgoing_table, secrets.token_hex(8), int(time.time())
        with writing(self._engine) as connection:
            self._hold(connection, sender)
            taken = (
                connection.execute(
                    select(table.c.nonce)
                    .where(self._of(sender), table.c.nonce >= lowest, table.c.number == 0)
                    .where(or_(table.c.raw.is_not(None), table.c.until > now))
                    .order_by(table.c.nonce)
                )
                .scalars()
                .all()
            )
            # The first that is missing from a row without gaps.
            nonce = next((lowest + n for n, each in enumerate(taken) if each != lowest + n), None)
            nonce = lowest + len(taken) if nonce is None else nonce
            connection.execute(delete(table).where(self._of(sender), table.c.nonce == nonce))
            connection.execute(
                insert(table).values(
                    chain=self._chain, sender=sender, nonce=nonce, number=0, token=token,
                    until=now + int(seconds) + 1,
                )
            )  # fmt: skip
        return nonce, token

    def keep(self, sender: str, nonce: int, token: str, what: str, raw: bytes, hash: bytes) -> bool:
        """Keep the bytes that were signed for a nonce. False where it is no longer the token's."""
        table = outgoing_table
        with writing(self._engine) as connection:
            kept = connection.execute(
                update(table)
                .where(self._of(sender), table.c.nonce == nonce, table.c.token == token)
                .values(what=what, raw=raw, hash=hash)
            )
        return bool(kept.rowcount)

    def give_back(self, sender: str, nonce: int, token: str) -> None:
        """Free a nonce: nothing was, or can be, sent with it."""
        table = outgoing_table
        with writing(self._engine) as connection:
            connection.execute(
                delete(table).where(self._of(sender), table.c.nonce == nonce, table.c.token == token)
            )

    def replace(self, sender: str, after: _Earlier, raw: bytes, hash: bytes) -> bool:
        """Keep bytes that replace others. False where somebody was quicker, or the nonce is settled."""
        table = outgoing_table
        with writing(self._engine) as connection:
            self._hold(connection, sender)
            rows = connection.execute(
                select(table.c.number, table.c.token, table.c.block)
                .where(self._of(sender), table.c.nonce == after.nonce)
                .order_by(table.c.number)
            ).all()
            if not rows or rows[-1].number != after.number or rows[0].block is not None:
                return False
            connection.execute(
                insert(table).values(
                    chain=self._chain, sender=sender, nonce=after.nonce, number=after.number + 1,
                    token=rows[0].token, until=0, what=after.what, raw=raw, hash=hash,
                )
            )  # fmt: skip
        return True

    def attempts(self, sender: str, nonce: int) -> Sequence[Attempt]:
        """What was signed for a nonce, in order."""
        table = outgoing_table
        query = (
            select(table.c.nonce, table.c.number, table.c.what, table.c.raw, table.c.hash)
            .where(self._of(sender), table.c.nonce == nonce, table.c.raw.is_not(None))
            .order_by(table.c.number)
        )
        with reading(self._engine) as connection:
            return [Attempt._make(row) for row in connection.execute(query)]

    def unsettled(self, sender: str, count: int) -> Sequence[int]:
        """The nonces with kept bytes that are not known to be mined, or no longer are, in order.

        count: of the account's transactions that are mined.
        """
        table = outgoing_table
        query = (
            select(table.c.nonce)
            .where(self._of(sender), table.c.raw.is_not(None))
            .where(or_(table.c.block.is_(None), table.c.nonce >= count))
            .distinct()
            .order_by(table.c.nonce)
        )
        with reading(self._engine) as connection:
            return connection.execute(query).scalars().all()

    def settle(self, sender: str, nonce: int, block: int) -> None:
        """Remember that a nonce was used up in this block. What was settled long ago is forgotten."""
        table = outgoing_table
        with writing(self._engine) as connection:
            connection.execute(
                update(table).where(self._of(sender), table.c.nonce == nonce).values(block=block)
            )
            connection.execute(delete(table).where(self._of(sender), table.c.block < block - REMEMBERED))

    def _of(self, sender: str):  # type: ignore[no-untyped-def]
        return and_(outgoing_table.c.chain == self._chain, outgoing_table.c.sender == sender)

    def _hold(self, connection: Connection, sender: str) -> None:
        """Keep others from taking this account's nonces until the transaction ends."""
        table, account = accounts_table, {"chain": self._chain, "sender": sender}
        insert_new = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
        connection.execute(insert_new.values(account).on_conflict_do_nothing())
        connection.execute(select(table.c.sender).filter_by(**account).with_for_update())
