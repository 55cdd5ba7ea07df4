"""A loan as the ledger keeps it, and what can be said about it at a moment; mirrors
`contracts/interfaces/ILoanLedger.sol`."""

from dataclasses import dataclass
from enum import IntEnum

from duly.domain import calendar
from duly.domain.amortisation import Curve, period_rate
from duly.domain.grievance import NO_REST, Rest
from duly.domain.terms import ZERO_ADDRESS, ZERO_HASH, Terms


class Status(IntEnum):
    """Where a loan stands.

    `REPAID` and `DEFAULTED` are derived, never recorded. `CANCELLED` is recorded for an offer, and told as
    `NONE`.
    """

    NONE = 0
    ACTIVE = 1
    REPAID = 2
    DEFAULTED = 3
    RESCINDED = 4
    REPLACED = 5
    CANCELLED = 6


@dataclass(frozen=True, slots=True)
class Loan:
    """Terms and repayments of one loan, as recorded.

    Amounts in the currency's smallest unit, times in UTC seconds. `opened_at` is since when interest runs:
    when the loan was opened, or where the ledger derived it from another, when the period began in the middle
    of which it goes on. `total` is the sum of all instalments, lowered when the loan ends before its last;
    `paid` is everything that was credited: payments, for instalments and fees together, receipts that the
    lender acknowledged, amounts that the lender forgave; `fees` are the late fees charged so far, those
    waived taken off; `assessed` is the instalment up to which lateness was last assessed; `lender` is whom
    the claim belongs to, who made the terms unless it was assigned; `defaulted` is the instalment whose
    default the lender marked last, zero where none; `assigned` tells that the claim was assigned; `rest` is
    what the grievances about it come to; `recorded_status` tells how the loan ended otherwise than
    by being repaid: `ACTIVE`, `RESCINDED` or `REPLACED`.
    """

    id: bytes
    terms: Terms
    opened_at: int
    instalment: int
    total: int
    paid: int = 0
    fees: int = 0
    assessed: int = 0
    lender: str = ""
    """The lender of the terms, unless told."""
    defaulted: int = 0
    recorded_status: Status = Status.ACTIVE
    assigned: bool = False
    rest: Rest = NO_REST

    def __post_init__(self) -> None:
        if not self.lender:
            object.__setattr__(self, "lender", self.terms.lender)

    @property
    def owed(self) -> int:
        """What is still to be paid in all, in the smallest unit, with late fees as last assessed."""
        return self.total + self.fees - self.paid

    @property
    def amends(self) -> bool:
        """It replaced another loan."""
        return self.terms.replaces != ZERO_HASH

    @property
    def curve(self) -> Curve:
        """What the terms made of the loan, and the total that it has now."""
        terms = self.terms
        rate = period_rate(terms.rate, terms.frequency.periods_per_year)
        return Curve(terms.schedule, terms.principal, rate, terms.instalments, self.instalment, self.total)

    @property
    def status(self) -> Status:
        if self.recorded_status is not Status.ACTIVE:
            return Status.NONE if self.recorded_status is Status.CANCELLED else self.recorded_status
        if self.owed == 0:
            return Status.REPAID
        # Cured as soon as the instalment is paid.
        if self.defaulted and self.curve.covered(self.paid) < self.defaulted:
            return Status.DEFAULTED
        return Status.ACTIVE


@dataclass(frozen=True, slots=True)
class Position:
    """What the ledger says about a loan at a moment, lateness assessed; the fields of `ILoanLedger.Position`.

    Days are numbered from 1970-01-01 in the loan's calendar. `overdue` and `fees` are the unpaid instalments
    that are past due, and the unpaid late fees. `first_unpaid` and `next` number instalments from 1, zero
    where there is none; `missed` is how many are past due and unpaid; `next_amount` is what is missing so
    that the next instalment will be paid. `opened_at` is since when interest runs (UTC seconds).
    """

    borrower: str
    lender: str
    servicer: str
    policy: int
    status: Status
    today: int
    calendar_offset: int
    principal: int
    paid: int
    opened_at: int
    amends: bool
    assigned: bool
    overdue: int
    missed: int
    fees: int
    first_unpaid: int
    first_unpaid_due_day: int
    next: int
    next_due_day: int
    next_amount: int


def position_of(loan: Loan | None, servicer: str, now: int) -> Position:
    """What the ledger says about a loan at a moment, not before its last payment.

    `servicer` is whom the lender appointed, the zero address where nobody. A loan that the ledger does not
    know has `Status.NONE`.
    """
    # The arithmetic stands on these types, so it can only be asked for here.
    from duly.domain import schedule

    if loan is None:
        today = calendar.local_day(now, 0)
        return Position(
            ZERO_ADDRESS, ZERO_ADDRESS, servicer, 0, Status.NONE, today, 0, 0, 0, 0, False, False,
            0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
    return schedule.position(loan, now, servicer)
