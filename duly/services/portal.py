"""What the portal's pages show, as plain data: no HTML here, and no SQL in the pages.

Everything is as indexed; the node is not asked. On a local chain now is the time of the last indexed block.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from duly.chain import networks
from duly.domain import amending, calendar, events, schedule
from duly.domain.grievance import FOREVER, rests_until
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import Ground, Kind
from duly.domain.policy import LendingLimits
from duly.domain.schedule import Instalment
from duly.domain.split import Split, split_of
from duly.services.serve import place_of

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.domain.events import Logged

LISTED: Final = 100
"""Loans of one borrower on one page, at most."""

_ENDED: Final = (Status.REPAID, Status.RESCINDED, Status.REPLACED)


class Paid(StrEnum):
    """How an instalment stands."""

    PAID = "paid"
    OVERDUE = "overdue"
    TODAY = "today"
    AHEAD = "ahead"
    OVER = "over"
    """It will not fall due any more."""


@dataclass(frozen=True, slots=True)
class Row:
    """An instalment, what of it was paid, and by how many days it is late."""

    instalment: Instalment
    paid: int
    state: Paid
    days_late: int = 0

    @property
    def missing(self) -> int:
        """What of it is still to be paid."""
        return self.instalment.amount - self.paid


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be paid by a day, and its parts."""

    instalment: int
    day: int
    amount: int
    split: Split


@dataclass(frozen=True, slots=True)
class Standing:
    """A loan, and what the ledger says of it now.

    loan: lateness assessed. payoff: what closing it costs now. overdue: what should have been paid, and the
    late fees; None where nothing. next: what the next instalment asks for beside that; None where none does.
    """

    loan: Loan
    position: Position
    now: int
    payoff: int
    overdue: Due | None
    next: Due | None

    @property
    def owed(self) -> int:
        """What is still to be paid in all, as scheduled, with late fees."""
        return self.loan.owed if self.position.status not in _ENDED else 0

    @property
    def reference(self) -> str:
        """The beginning of its id, as notices name it."""
        return self.loan.id.hex()[:8]

    @property
    def share_paid(self) -> float:
        """How much of everything is paid, from 0 to 1."""
        whole = self.loan.paid + self.owed
        return self.loan.paid / whole if whole else 1.0


@dataclass(frozen=True, slots=True)
class Curves:
    """Amounts over days, as steps: each holds from its day on, until the next.

    due: the sum of what fell due. paid: the sum of what was credited, up to today. owed: what is still to be
    paid, as it was until today. planned: the same from today on, if everything is paid as scheduled.
    """

    first_day: int
    last_day: int
    today: int
    due: tuple[tuple[int, int], ...]
    paid: tuple[tuple[int, int], ...]
    owed: tuple[tuple[int, int], ...]
    planned: tuple[tuple[int, int], ...]

    def table(self) -> list[tuple[int, int, int | None, int]]:
        """The same by days on which something changes: the day, what was due and paid by it, nothing for what
        is to come, and what is still to be paid.
        """
        days = sorted({day for points in (self.due, self.paid, self.owed, self.planned) for day, _ in points})
        return [
            (
                day,
                _at(self.due, day),
                _at(self.paid, day) if day <= self.today else None,
                _at(self.owed if day <= self.today or not self.planned else self.planned, day),
            )
            for day in days
        ]


@dataclass(frozen=True, slots=True)
class Details:
    """Everything about one loan.

    last_day_to_rescind: zero where the borrower cannot withdraw (any more). rests_until: when reminders begin
    again, zero where they do not rest, `FOREVER` while a grievance stands.
    """

    standing: Standing
    rows: tuple[Row, ...]
    curves: Curves
    history: tuple["Logged", ...]
    successor: bytes | None
    last_day_to_rescind: int
    rests_until: int

    @property
    def late(self) -> tuple[Row, ...]:
        """The instalments that are overdue."""
        return tuple(row for row in self.rows if row.state is Paid.OVERDUE)


@dataclass(frozen=True, slots=True)
class Rescission:
    """What withdrawing costs today, until which day it can be done, and the limits that say so."""

    amount: int
    last_day: int
    limits: LendingLimits


class Portal:
    """Answers the pages' questions. For several threads."""

    def __init__(self, app: "Application") -> None:
        self._app = app
        self._model = app.read_model
        self.place = place_of(app.deployment)
        self.chain_id = app.deployment.chain_id
        self.is_local = networks.is_local(self.chain_id)

    def now(self) -> int:
        """The moment that pages show. Raises: NothingIndexed."""
        return self._model.cursor().block.timestamp if self.is_local else int(time.time())

    # ------------------------------------------------------------------------------------ who somebody is

    def serves(self, address: str) -> bool:
        """Whether an address is a lender, or a servicer that a lender appointed."""
        return self._model.lends_or_serves(address)

    # ------------------------------------------------------------------------------------ borrowers

    def loans_of(self, borrower: str) -> list[Standing]:
        """A borrower's loans, newest first; those that are over come last."""
        found = self.standings(self._model.loans(borrower=borrower, limit=LISTED))
        return sorted(found, key=lambda each: each.position.status in _ENDED)

    def loan(self, loan_id: bytes) -> Loan | None:
        """A loan as recorded, whoever's; who may see it is the caller's to say."""
        return self._model.loan(loan_id)

    def standing(self, loan: Loan) -> Standing:
        """What the ledger says of a loan now."""
        return self.standings([loan])[0]

    def standings(self, loans: Sequence[Loan]) -> list[Standing]:
        """What it says of several at the same moment."""
        now = self.now()
        servicers = {lender: self._model.servicer(lender) for lender in {loan.lender for loan in loans}}
        return [_standing(loan, servicers[loan.lender], now) for loan in loans]

    def details(self, loan: Loan) -> Details:
        """Everything about a loan."""
        standing = self.standing(loan)
        history = [
            item
            for item in self._model.history(loan.id)
            if item.event.contract in ("LoanLedger", "GrievanceDesk")
        ]
        rows = tuple(_rows(standing))
        return Details(
            standing=standing,
            rows=rows,
            curves=_curves(standing, rows, history),
            history=tuple(history),
            successor=self._model.successor(loan.id),
            last_day_to_rescind=self._last_day_to_rescind(loan, standing.now),
            rests_until=self.rests_until(loan),
        )

    def rescission(self, loan: Loan) -> Rescission | None:
        """What withdrawing from a loan costs; None where it cannot be done (any more)."""
        now = self.now()
        last, policy = self._last_day_to_rescind(loan, now), self._model.policy(loan.terms.policy)
        if not last or policy is None:
            return None
        _, amount = amending.rescind(loan, policy.lending, now)
        return Rescission(amount, last, policy.lending)

    def _last_day_to_rescind(self, loan: Loan, now: int) -> int:
        policy = self._model.policy(loan.terms.policy)
        if policy is None or not loan.owed or loan.status in _ENDED:
            return 0
        last = amending.last_day_to_rescind(loan, policy.lending)
        return last if schedule.today(loan.terms, now) <= last else 0

    def rests_until(self, loan: Loan) -> int:
        """When reminders about a loan begin again; zero where they do not rest, `FOREVER` while a grievance
        stands.
        """
        candidate, now = self._model.candidate(loan.id), self.now()
        until = rests_until(loan.rest, candidate.rest) if candidate else 0
        return until if until == FOREVER or now < until else 0


def _standing(loan: Loan, servicer: str, now: int) -> Standing:
    position = position_of(loan, servicer, now)
    return Standing(
        loan=schedule.assess(loan, now) if position.status not in _ENDED else loan,
        position=position,
        now=now,
        payoff=schedule.payoff(loan, now) if position.status not in _ENDED else 0,
        overdue=_overdue(loan, position),
        next=_next(loan, position),
    )


def _overdue(loan: Loan, position: Position) -> Due | None:
    amount = position.overdue + position.fees
    if not amount or position.status in _ENDED:
        return None
    split = split_of(Kind.OVERDUE, loan, position, Ground())
    assert split is not None  # of this kind there always is one
    return Due(position.first_unpaid, position.first_unpaid_due_day, amount, split)


def _next(loan: Loan, position: Position) -> Due | None:
    amount = position.next_amount - position.overdue
    if not position.next or amount <= 0 or position.status in _ENDED:
        return None
    # Of what is overdue it is told apart.
    caught_up = loan.paid + position.overdue
    split = split_of(
        Kind.INSTALMENT_UPCOMING,
        loan,
        replace(position, paid=caught_up),
        Ground(position.next, amount),
    )
    assert split is not None  # of this kind there always is one
    return Due(position.next, position.next_due_day, amount, split)


def _at(points: Sequence[tuple[int, int]], day: int) -> int:
    return next((amount for since, amount in reversed(points) if since <= day), 0)


def _rows(standing: Standing) -> Iterator[Row]:
    loan, position = standing.loan, standing.position
    reached = 0
    for instalment in schedule.schedule_of(loan.terms):
        paid = max(0, min(instalment.amount, loan.paid - reached))
        reached += instalment.amount
        late = 0
        if paid == instalment.amount:
            state = Paid.PAID
        elif position.status in _ENDED:
            state = Paid.OVER
        elif instalment.due_day < position.today:
            state, late = Paid.OVERDUE, position.today - instalment.due_day
        elif instalment.due_day == position.today:
            state = Paid.TODAY
        else:
            state = Paid.AHEAD
        yield Row(instalment, paid, state, late)


_CREDITS: Final = (
    events.Repaid,
    events.ReceiptAcknowledged,
    events.DebtForgiven,
    events.LoanSettled,
    events.LoanRescinded,
)


def _curves(standing: Standing, rows: Sequence[Row], history: Sequence["Logged"]) -> Curves:
    loan, terms = standing.loan, standing.loan.terms

    def day_of(moment: int) -> int:
        return calendar.local_day(moment, terms.calendar_offset)

    first, today = day_of(loan.opened_at), standing.position.today
    last = max(rows[-1].instalment.due_day, first + 1)
    total, fees, paid = sum(row.instalment.amount for row in rows), 0, 0
    due, reached = [(first, 0)], 0
    for row in rows:
        reached += row.instalment.amount
        due.append((row.instalment.due_day, reached))
    credited, owed = [(first, 0)], [(first, total)]
    over = False
    for item in history:
        event, day = item.event, max(first, day_of(item.timestamp))
        if isinstance(event, events.LoanAmended):
            if event.amendment == loan.id:
                paid, fees = event.paid, event.fees
            else:
                over = True
        elif isinstance(event, _CREDITS):
            paid = event.paid
            over = over or isinstance(event, events.LoanSettled | events.LoanRescinded)
        elif isinstance(event, events.InstalmentMissed | events.FeesWaived):
            fees = event.fees
        elif not isinstance(event, events.LoanRepaid):
            continue
        credited.append((day, paid))
        owed.append((day, 0 if over else max(0, total + fees - paid)))
    planned: list[tuple[int, int]] = []
    if standing.owed:
        now = min(max(today, first), last)
        credited.append((now, paid))
        owed.append((now, standing.owed))
        planned = [(now, standing.owed)]
        for row, (_, by_then) in zip(rows, due[1:], strict=True):
            if row.instalment.due_day >= today:
                left = max(0, min(standing.owed, total - max(by_then, loan.paid)))
                planned.append((row.instalment.due_day, left))
    return Curves(first, last, today, tuple(due), tuple(credited), tuple(owed), tuple(planned))
