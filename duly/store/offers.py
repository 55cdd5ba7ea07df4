"""Offers of other terms that the portal shows a borrower: documents with signatures, which name nobody but by
their addresses (`duly.services.offer`). What they are worth only the ledger says.
"""

from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    select,
    update,
)

from duly.store.database import reading, writing
from duly.store.migrations import SERVICE
from duly.store.schema import BigInteger

metadata = MetaData()

offers_table = Table(
    "web_offers",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("loan", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index("web_offers_by_loan", "loan", "at"),
)


@dataclass(frozen=True, slots=True)
class KeptOffer:
    """An offer's document, when it was made, and which loan it would replace."""

    id: bytes
    loan: bytes
    at: int
    document: str


class OfferStore:
    """The rows. For several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        SERVICE.prepare(engine)

    def add(self, connection: Connection, offer: KeptOffer) -> None:
        """Keep a new one, in a transaction of the caller's; one that is kept already stays as it is."""
        known = select(offers_table.c.id).where(offers_table.c.id == offer.id)
        if connection.execute(known).first() is None:
            connection.execute(
                insert(offers_table).values(
                    id=offer.id, loan=offer.loan, at=offer.at, document=offer.document
                )
            )

    def put(self, offer_id: bytes, document: str) -> None:
        """Keep a document with one more signature in place of what it was."""
        with writing(self.engine) as connection:
            connection.execute(
                update(offers_table).where(offers_table.c.id == offer_id).values(document=document)
            )

    def of_loan(self, loan: bytes, limit: int) -> list[KeptOffer]:
        """The offers to replace a loan, the newest first."""
        c = offers_table.c
        query = select(offers_table).where(c.loan == loan).order_by(c.at.desc(), c.id).limit(limit)
        with reading(self.engine) as connection:
            return [KeptOffer(row.id, row.loan, row.at, row.document) for row in connection.execute(query)]
