"""Questions about the loans of some lenders together: what a servicer's desk looks at.

`lenders` are lower-case addresses to whom the claims belong; None for those of all.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Select, and_, func, or_, select, true

from duly.domain import calendar
from duly.domain.loan import Loan
from duly.store import schema
from duly.store.database import reading, streamed
from duly.store.readmodel import loan_of_row

_TOLD: Final = (
    "Repaid", "ReceiptAcknowledged", "DebtForgiven", "InstalmentMissed", "FeesWaived",
    "LoanSettled", "LoanRepaid", "LoanRescinded", "LoanAmended",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """Something that changed what is owed on a loan. `args` are the event's."""

    name: str
    at: int
    args: dict[str, Any]


class Book:
    """Loans, by whom they belong to. For several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def lenders_of(self, address: str) -> frozenset[str]:
        """Whose loans an address may look after: its own, and of the lenders that appointed it."""
        servicers = schema.servicers.c
        query = select(servicers.lender).where(servicers.servicer == address)
        with reading(self._engine) as connection:
            return frozenset({address, *connection.execute(query).scalars()})

    def late(
        self,
        lenders: Collection[str] | None,
        now: int,
        least: int | None,
        most: int | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[tuple[int, Loan]]:
        """Loans whose first unpaid instalment is so many days past due, the longest first, each with its
        number.

        after: leave out those up to this due day and number.
        """
        loans = schema.loans.c
        earliest = now // calendar.DAY
        days = (now + 900 * loans.calendar_offset) // calendar.DAY - loans.next_due_day
        query = select(schema.loans).where(loans.next_due_day.is_not(None), belongs(lenders))
        # The bounds of the due day are for the index; the exact ones are as the loan's own calendar says.
        if least is not None:
            query = query.where(loans.next_due_day <= earliest + 1 - least, days >= least)
        if most is not None:
            query = query.where(loans.next_due_day >= earliest - 1 - most, days <= most)
        if after is not None:
            day, number = after
            query = query.where(
                loans.next_due_day >= day,
                or_(loans.next_due_day > day, and_(loans.next_due_day == day, loans.number > number)),
            )
        query = query.order_by(loans.next_due_day, loans.number).limit(limit)
        with reading(self._engine) as connection:
            return [(row.number, loan_of_row(row)) for row in connection.execute(query)]

    def histories(self, lenders: Collection[str] | None) -> Iterator[tuple[Loan, list[Told]]]:
        """All loans that there ever were, in the order of their beginning, each with what was told of it. Of
        one that carries on another it is the other's event that tells of its beginning.
        """
        loans, events, blocks = schema.loans.c, schema.events.c, schema.blocks.c
        all_loans = select(schema.loans).where(belongs(lenders)).order_by(loans.number)
        told: Select[Any] = (
            select(events.loan, events.name, blocks.timestamp, events.args)
            .join(schema.blocks, blocks.number == events.block_number)
            .where(events.loan.is_not(None), events.name.in_(_TOLD))
            .order_by(events.loan, events.block_number, events.log_index)
        )
        if lenders is not None:
            told = told.join(schema.loans, loans.number == events.loan).where(belongs(lenders))
        with reading(self._engine) as connection:
            rows = iter(streamed(connection, told))
            row = next(rows, None)
            for found in streamed(connection, all_loans):
                its: list[Told] = []
                while row is not None and row.loan <= found.number:
                    if row.loan == found.number:
                        its.append(Told(row.name, row.timestamp, json.loads(row.args)))
                    row = next(rows, None)
                yield loan_of_row(found), its

    def count(self, lenders: Collection[str] | None) -> int:
        """How many loans there ever were."""
        query = select(func.count()).select_from(schema.loans).where(belongs(lenders))
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())


def belongs(lenders: Collection[str] | None) -> ColumnElement[bool]:
    """Of a query of loans: those whose claims belong to these."""
    return true() if lenders is None else schema.loans.c.lender.in_(sorted(lenders))
