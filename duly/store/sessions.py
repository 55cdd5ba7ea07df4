"""Who signed in to the portal, and what they were asked to sign.

Of a session's token, and of a nonce, only the SHA-256 is kept: who reads the database can be nobody. Both end
by themselves. Times are UTC seconds of this machine's clock, also where the chain's is another.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import Column, Engine, LargeBinary, MetaData, Table, Text, delete, insert, select

from duly.store.database import reading, writing
from duly.store.migrations import SERVICE
from duly.store.schema import BigInteger

NONCE_SECONDS: Final = 300
SESSION_SECONDS: Final = 8 * 3600

metadata = MetaData()

nonces_table = Table(
    "web_nonces",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)
sessions_table = Table(
    "web_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("address", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who proved to have the key of an address (in lower case)."""

    address: str
    created: int
    expires: int


class SessionStore:
    """Nonces and sessions, in the service's database. For several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        SERVICE.prepare(engine)

    def new_nonce(self, now: int) -> str:
        """A number that can be signed once, within five minutes."""
        nonce = secrets.token_hex(16)
        expires = now + NONCE_SECONDS
        with writing(self._engine) as connection:
            connection.execute(delete(nonces_table).where(nonces_table.c.expires <= now))
            connection.execute(insert(nonces_table).values(digest=_digest(nonce), expires=expires))
        return nonce

    def use_nonce(self, nonce: str, now: int) -> bool:
        """Whether it was given out, is not over, and was never used; it is used from now on."""
        c = nonces_table.c
        with writing(self._engine) as connection:
            query = delete(nonces_table).where(c.digest == _digest(nonce), c.expires > now)
            return connection.execute(query).rowcount == 1

    def begin(self, address: str, now: int) -> str:
        """A new session; the token that its owner shows."""
        token = secrets.token_urlsafe(32)
        values = {"digest": _digest(token), "address": address, "created": now}
        with writing(self._engine) as connection:
            connection.execute(delete(sessions_table).where(sessions_table.c.expires <= now))
            connection.execute(insert(sessions_table).values(**values, expires=now + SESSION_SECONDS))
        return token

    def find(self, token: str, now: int) -> Session | None:
        """The session of a token; None where there is none, or it is over."""
        c = sessions_table.c
        query = select(c.address, c.created, c.expires).where(c.digest == _digest(token), c.expires > now)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return Session(*row) if row else None

    def end(self, token: str) -> None:
        """Sign out."""
        with writing(self._engine) as connection:
            connection.execute(delete(sessions_table).where(sessions_table.c.digest == _digest(token)))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
