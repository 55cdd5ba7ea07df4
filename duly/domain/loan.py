"""A loan as the ledger keeps it, and what can be said about it at a moment; mirrors `LoanLedger.sol`."""

from dataclasses import dataclass
from enum import IntEnum

from duly.domain import calendar
from duly.domain.terms import ZERO_ADDRESS, Terms


class Status(IntEnum):
    """Where a loan stands; `REPAID` is derived, never recorded."""

    NONE = 0
    ACTIVE = 1
    REPAID = 2


@dataclass(frozen=True, slots=True)
class Loan:
    """Terms and repayments of one loan, as recorded.

    Amounts in the currency's smallest unit, times in UTC seconds. `total` is the sum of all instalments,
    lowered to what was paid when the loan is settled early; `paid` is everything ever received, for
    instalments and fees together; `fees` are the late fees charged so far; `assessed` is the instalment up to
    which lateness was last assessed.
    """

    id: bytes
    terms: Terms
    opened_at: int
    instalment: int
    total: int
    paid: int = 0
    fees: int = 0
    assessed: int = 0

    @property
    def owed(self) -> int:
        """What is still to be paid in all, in the smallest unit, with late fees as last assessed."""
        return self.total + self.fees - self.paid

    @property
    def status(self) -> Status:
        return Status.REPAID if self.owed == 0 else Status.ACTIVE


@dataclass(frozen=True, slots=True)
class Position:
    """What the ledger says about a loan at a moment, lateness assessed; the fields of `ILoanLedger.Position`.

    Days are numbered from 1970-01-01 in the loan's calendar. `overdue` and `fees` are the unpaid instalments
    that are past due, and the unpaid late fees. `first_unpaid` and `next` number instalments from 1, zero
    where there is none; `next_amount` is what is missing so that the next instalment will be paid.
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
    overdue: int
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
            ZERO_ADDRESS, ZERO_ADDRESS, servicer, 0, Status.NONE, today, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        )  # fmt: skip
    return schedule.position(loan, now, servicer)
