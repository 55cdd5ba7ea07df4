"""Questions about the loans of some lenders together: what a servicer's desk looks at.

`lenders` are lower-case addresses to whom the claims belong; None for those of all.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    true,
)

from duly.domain import calendar
from duly.domain.grievance import Case, Grievance
from duly.domain.loan import Loan
from duly.store import schema
from duly.store.database import reading, streamed
from duly.store.notices import Delivery, State, deliveries_table, delivery_of_row
from duly.store.readmodel import RefusedNotice, ServedNotice, loan_of_row, refused_of_row, served_of_row

_TOLD: Final = (
    "Repaid", "ReceiptAcknowledged", "DebtForgiven", "InstalmentMissed", "FeesWaived",
    "LoanSettled", "LoanRepaid", "LoanRescinded", "LoanAmended",
)  # fmt: skip
_LOANS: Final = list(schema.loans.columns)
_LATEST: Final = ("-block_number", "-log_index")
_WINDOW: Final = 2_000
"""Rows among which a lender's are looked for first."""


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
        # PostgreSQL takes the type of plain numbers from the column beside them, which is a small one.
        local = literal(now, BigInteger) + literal(900, BigInteger) * loans.calendar_offset
        days = local // calendar.DAY - loans.next_due_day
        query = select(schema.loans).where(loans.next_due_day.is_not(None))
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
        order = ("next_due_day", "number")
        with reading(self._engine) as connection:
            found = _first(connection, query, order, lenders, limit)
            return [(row.number, loan_of_row(row)) for row in found]

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

    def loans(
        self, whose: ColumnElement[bool], limit: int, before: int | None = None
    ) -> list[tuple[int, Loan]]:
        """Loans, the newest first, each with the number by which to go on. whose: `belongs`, or `borrowed`.
        before: leave out those from this number on.
        """
        loans = schema.loans.c
        query = select(schema.loans).where(whose).order_by(loans.number.desc()).limit(limit)
        if before is not None:
            query = query.where(loans.number < before)
        with reading(self._engine) as connection:
            return [(row.number, loan_of_row(row)) for row in connection.execute(query)]

    def notices(
        self,
        lenders: Collection[str] | None,
        limit: int,
        before: tuple[int, int] | None = None,
        loan: bytes | None = None,
    ) -> list[ServedNotice]:
        """The notices that were served about their loans, or about one of them, the latest first. before:
        leave out those from this block number and log index on.
        """
        table = schema.notices
        query = select(table)
        if loan is not None:
            query = query.where(table.c.loan == loan)
        if before is not None:
            block, index = before
            query = query.where(
                table.c.block_number <= block,
                or_(table.c.block_number < block, table.c.log_index < index),
            )
        with reading(self._engine) as connection:
            return [served_of_row(row) for row in _first(connection, query, _LATEST, lenders, limit)]

    def refusals(self, lenders: Collection[str] | None, limit: int) -> list[RefusedNotice]:
        """What the gate refused about their loans, the latest first."""
        query = select(schema.refusals)
        with reading(self._engine) as connection:
            return [refused_of_row(row) for row in _first(connection, query, _LATEST, lenders, limit)]

    def deliveries(self, lenders: Collection[str] | None, state: State, limit: int) -> list[Delivery]:
        """Of the notices about their loans, those whose delivery stands so, the latest first."""
        query = select(deliveries_table).where(deliveries_table.c.state == state.value)
        with reading(self._engine) as connection:
            return [
                delivery_of_row(row) for row in _first(connection, query, ("-at", "-notice"), lenders, limit)
            ]

    def outcomes(self, lenders: Collection[str] | None, since: int) -> dict[State, int]:
        """What became of the notices about their loans that were served since a moment, counted."""
        table = deliveries_table
        query = _about(select(table.c.state, func.count()), table, lenders)
        query = query.where(table.c.served_at >= since).group_by(table.c.state)
        with reading(self._engine) as connection:
            return {State(state): count for state, count in connection.execute(query)}

    def standing(
        self, lenders: Collection[str] | None, limit: int, after: tuple[int, bytes, int] | None = None
    ) -> list[tuple[Grievance, Case, Loan]]:
        """The grievances about their loans that are not answered, the oldest first. after: leave out those up
        to this moment, loan and grievance.
        """
        cases = schema.cases.c
        query = (
            select(cases.grievance, cases.since, cases.received, cases.all_loans, cases.fees_rest, *_LOANS)
            .join(schema.loans, schema.loans.c.id == cases.loan)
            .where(cases.answered_at == 0, cases.since > 0)
            .order_by(cases.since, cases.loan, cases.grievance)
            .limit(limit)
        )
        if lenders is not None:
            query = query.where(_lender_of(cases.loan).in_(sorted(lenders)))
        if after is not None:
            since, loan, grievance = after
            same = and_(cases.loan == loan, cases.grievance > grievance)
            later = and_(cases.since == since, or_(cases.loan > loan, same))
            query = query.where(or_(cases.since > since, later))
        with reading(self._engine) as connection:
            return [
                (
                    Grievance(row.grievance),
                    Case(row.since, 0, bool(row.received), bool(row.all_loans), bool(row.fees_rest)),
                    loan_of_row(row),
                )
                for row in connection.execute(query)
            ]

    def lender_of(self, loans: Collection[bytes]) -> dict[bytes, str]:
        """To whom the claims of loans belong."""
        c = schema.loans.c
        found: dict[bytes, str] = {}
        ids = sorted(set(loans))
        with reading(self._engine) as connection:
            for start in range(0, len(ids), 500):
                query = select(c.id, c.lender).where(c.id.in_(ids[start : start + 500]))
                found |= {row.id: row.lender for row in connection.execute(query)}
        return found

    def has_more(self, lenders: Collection[str] | None, than: int) -> bool:
        """Whether they ever had more loans than so many."""
        some = select(schema.loans.c.number).where(belongs(lenders)).limit(than + 1).subquery()
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.count()).select_from(some)).scalar_one()) > than


def _first(
    connection: Connection,
    query: Select[Any],
    order: Sequence[str],
    lenders: Collection[str] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """The first rows in an order (by columns, from the last value down where there is a minus before one)
    that are about loans of these lenders.

    Databases like to sort everything that one lender has. So the lender is looked for among the first rows of
    all, which an index finds; where too few are theirs, they have little of it, which is quickly sorted.
    """
    table = query.get_final_froms()[0]

    def ordered(columns: Any) -> list[ColumnElement[Any]]:
        return [columns[each[1:]].desc() if each[0] == "-" else columns[each] for each in order]

    query = query.order_by(*ordered(table.c))
    if lenders is None:
        return connection.execute(query.limit(limit)).all()
    window = query.limit(_WINDOW).subquery()
    lender = window.c.lender if table is schema.loans else _lender_of(window.c.loan)
    some = select(window).where(lender.in_(sorted(lenders))).order_by(*ordered(window.c)).limit(limit)
    found = connection.execute(some).all()
    if len(found) == limit:
        return found
    if connection.execute(select(func.count()).select_from(window)).scalar_one() < _WINDOW:
        return found  # there are no more
    if table is schema.loans:
        return connection.execute(query.where(belongs(lenders)).limit(limit)).all()
    return connection.execute(_about(query, table, lenders).limit(limit)).all()


def _lender_of(loan: ColumnElement[bytes]) -> ColumnElement[str]:
    """To whom the claim of a row's loan belongs, looked up row by row."""
    of = select(schema.loans.c.lender).where(schema.loans.c.id == loan)
    return of.correlate_except(schema.loans).scalar_subquery()


def _about(query: Select[Any], table: Any, lenders: Collection[str] | None) -> Select[Any]:
    if lenders is None:
        return query
    return query.join(schema.loans, schema.loans.c.id == table.c.loan).where(belongs(lenders))


def borrowed(borrower: str) -> ColumnElement[bool]:
    """Of a query of loans: those to a borrower."""
    return schema.loans.c.borrower == borrower


def belongs(lenders: Collection[str] | None) -> ColumnElement[bool]:
    """Of a query of loans: those whose claims belong to these."""
    return true() if lenders is None else schema.loans.c.lender.in_(sorted(lenders))
