"""Secrets that let programs in without a wallet: a calendar's address, a token for the API.

Each is told once; only its SHA-256 is kept. Its owner revokes it. Times are UTC seconds of this machine's
clock.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    Column,
    Engine,
    Index,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from duly.domain.errors import DulyError
from duly.store.database import reading, writing
from duly.store.migrations import SERVICE
from duly.store.schema import BigInteger

MOST: Final = 20
"""Tokens that an address may have at once."""
LONGEST_NAME: Final = 60
_NOTED_EVERY: Final = 3_600
"""Seconds after which a use is noted anew."""

metadata = MetaData()

tokens_table = Table(
    "web_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("address", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("used", BigInteger),
    Index("web_tokens_by_address", "address"),
)


class TooManyTokens(DulyError):
    """This address has as many tokens as it may have."""


class Purpose(StrEnum):
    """What a token is good for."""

    CALENDAR = "calendar"
    API = "api"


@dataclass(frozen=True, slots=True)
class Token:
    """One of them, as its owner knows it again. number: by which it is revoked. used: when it was used last,
    to the hour; None for never.
    """

    number: str
    address: str
    purpose: Purpose
    name: str
    created: int
    used: int | None


class TokenStore:
    """The rows. For several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        SERVICE.prepare(engine)

    def make(self, address: str, purpose: Purpose, name: str, now: int) -> str:
        """A new one for a lower-case address; the secret, which is not kept. Raises: TooManyTokens."""
        secret = secrets.token_urlsafe(32)
        c = tokens_table.c
        with writing(self._engine) as connection:
            count = connection.execute(
                select(func.count()).select_from(tokens_table).where(c.address == address)
            ).scalar_one()
            if count >= MOST:
                raise TooManyTokens
            connection.execute(
                insert(tokens_table).values(
                    digest=_digest(secret),
                    address=address,
                    purpose=purpose.value,
                    name=name[:LONGEST_NAME],
                    created=now,
                )
            )
        return secret

    def find(self, secret: str, purpose: Purpose, now: int) -> Token | None:
        """Whose secret it is; None where it is nobody's, or good for something else."""
        c = tokens_table.c
        digest = _digest(secret)
        query = select(tokens_table).where(c.digest == digest, c.purpose == purpose.value)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.used is None or row.used + _NOTED_EVERY <= now:
            with writing(self._engine) as connection:
                connection.execute(update(tokens_table).where(c.digest == digest).values(used=now))
        return _token(row)

    def of(self, address: str) -> list[Token]:
        """Those of an address, the newest first."""
        c = tokens_table.c
        query = select(tokens_table).where(c.address == address).order_by(c.created.desc(), c.digest)
        with reading(self._engine) as connection:
            return [_token(row) for row in connection.execute(query)]

    def revoke(self, address: str, number: str) -> bool:
        """End one of an address's own. False where there is none of this number."""
        found = next((each for each in self._digests(address) if _number(each) == number), None)
        if found is None:
            return False
        with writing(self._engine) as connection:
            gone = connection.execute(delete(tokens_table).where(tokens_table.c.digest == found))
        return gone.rowcount == 1

    def _digests(self, address: str) -> list[bytes]:
        query = select(tokens_table.c.digest).where(tokens_table.c.address == address)
        with reading(self._engine) as connection:
            return list(connection.execute(query).scalars())


def _token(row: Row[Any]) -> Token:
    return Token(
        _number(row.digest),
        row.address,
        Purpose(row.purpose),
        row.name,
        row.created,
        row.used,
    )


def _number(digest: bytes) -> str:
    return digest.hex()[:16]


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
