"""The schedule of a loan, where the loan stands on it, and what payments do to it.

Bit for bit what `contracts/libraries/Loans.sol` and `LoanLedger.sol` compute, in integers, so that a million
loans are planned without a call. The formulas stand in `amortisation`, changes of terms in `amending`.

Everything about money follows from two curves: the cumulative amount due by a moment, in closed form from the
terms, and the cumulative amount paid. Payments go to instalments that are due, then to late fees, then ahead.
A late fee is charged at most once for an instalment, when its grace period ended while total receipts had not
reached the cumulative amount due; a receipt counts whatever it was applied to, so no fee ever causes another.

Amounts are in the currency's smallest unit, rates in parts per million a year. Moments are seconds since
1970-01-01 (UTC), days are days since then in the loan's calendar (see `calendar`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from duly.domain import amortisation, calendar, lending
from duly.domain.errors import InvalidPayment, LoanNotActive, NothingToWaive, NotInDefault
from duly.domain.loan import Loan, Position, Status
from duly.domain.terms import ZERO_ADDRESS, Frequency, Schedule, Terms

if TYPE_CHECKING:
    # Slow to import, and a schedule needs no policy.
    from duly.domain.policy import LendingLimits


# -------------------------------------------------------------------------------------------- the schedule


class Instalment(NamedTuple):
    """One row of a loan's schedule.

    k: its number, from 1. due_day: the day it is due. due_at: the last second in which a payment is on time.
    amount = principal + interest. balance: principal outstanding afterwards, when paid as scheduled.
    """

    k: int
    due_day: int
    due_at: int
    amount: int
    principal: int
    interest: int
    balance: int


def rows(
    principal: int,
    rate: int,
    instalments: int,
    first_due: int,
    calendar_offset: int = 0,
    schedule: Schedule = Schedule.LEVEL,
    frequency: Frequency = Frequency.MONTHLY,
) -> Iterator[Instalment]:
    """The instalments of a schedule, from the day that the first is due; of a bullet the last alone.

    Raises: InvalidTerms, InstalmentTooCoarse.
    """
    curve = amortisation.curve_of(schedule, principal, rate, frequency.periods_per_year, instalments)
    return _dated(curve, first_due, calendar_offset, frequency)


def schedule_of(terms: Terms) -> Iterator[Instalment]:
    """The instalments that these terms agree on, whatever is paid; of a bullet the last alone.

    Raises: InstalmentTooCoarse.
    """
    return _dated(lending.curve_of(terms), terms.first_due, terms.calendar_offset, terms.frequency)


def _dated(
    curve: amortisation.Curve, first_due: int, calendar_offset: int, frequency: Frequency
) -> Iterator[Instalment]:
    for k, *amounts in curve.parts():
        yield Instalment(
            k,
            calendar.due_day(first_due, frequency, k),
            calendar.due_time(first_due, frequency, k, calendar_offset),
            *amounts,
        )


# -------------------------------------------------------------------------------------------- one loan


def opened(loan_id: bytes, terms: Terms, opened_at: int) -> Loan:
    """The loan that these terms make when they are opened at a moment, whatever its policy (see `lending`).

    Raises: FirstDueTooEarly, FirstDueTooLate, InstalmentTooCoarse, AmountTooLarge.
    """
    lending.check_calendar(terms, opened_at)
    curve = lending.curve_of(terms)
    lending.check_amounts(curve, terms.late_fee)
    return Loan(loan_id, terms, opened_at, curve.instalment, curve.total)


def today(terms: Terms, now: int) -> int:
    """The day in the loan's calendar."""
    return calendar.local_day(now, terms.calendar_offset)


def due_day(terms: Terms, k: int) -> int:
    """The day on which the k-th instalment (from 1) is due."""
    return calendar.due_day(terms.first_due, terms.frequency, k)


def due_time(terms: Terms, k: int) -> int:
    """The last second in which a payment of the k-th instalment is on time."""
    return calendar.due_time(terms.first_due, terms.frequency, k, terms.calendar_offset)


def passed(terms: Terms, day: int) -> int:
    """How many instalments fell due before a day."""
    return calendar.passed(terms.first_due, terms.frequency, terms.instalments, day)


def covered_by(loan: Loan) -> int:
    """How many instalments everything received so far amounts to."""
    terms = loan.terms
    if terms.schedule is Schedule.EQUAL_PRINCIPAL:
        return loan.curve.covered(loan.paid)
    # The same, without making a curve: asked of every loan that is indexed.
    return amortisation.covered_by_equal(
        terms.schedule, terms.instalments, loan.instalment, loan.total, loan.paid
    )


def first_unpaid(loan: Loan) -> int:
    """The number of the first instalment that is not fully paid; zero when none is left."""
    reached = covered_by(loan)
    return reached + 1 if reached < loan.terms.instalments else 0


def missed(loan: Loan, now: int) -> tuple[int, int]:
    """First and last of the instalments missed since the last assessment; none where the first exceeds the
    last.
    """
    terms = loan.terms
    judged = passed(terms, today(terms, now) - terms.grace_days)
    if judged <= loan.assessed:
        return judged + 1, judged
    first = max(covered_by(loan), loan.assessed)
    if end := loan.rest.fees_end:
        # What was missed by then, and not charged before the grievance was lodged, is never charged.
        first = max(first, rested(terms, end, now))
    return first + 1, judged


def rested(terms: Terms, end: int, now: int) -> int:
    """How many instalments' grace periods ended by now, or by the end of a rest of late fees that is over.

    What was not charged of these before the rest never is.
    """
    return passed(terms, today(terms, min(end, now)) - terms.grace_days)


def assess(loan: Loan, now: int) -> Loan:
    """Charge the late fees of what was missed up to now. To be done before money moves.

    Until now the curve of payments was flat, so judging all grace periods that ended meanwhile at once is the
    same as judging each at its end.
    """
    first, last = missed(loan, now)
    if first > last:
        return loan
    return replace(loan, fees=loan.fees + (last - first + 1) * loan.terms.late_fee, assessed=last)


def arrears(due: int, paid: int, fees: int) -> tuple[int, int]:
    """Unpaid instalments that are past due, and unpaid late fees, given what is due and was paid and charged.

    Money goes to the former, then to the latter, then ahead.
    """
    return max(0, due - paid), max(0, fees - max(0, paid - due))


def position(loan: Loan, now: int, servicer: str = ZERO_ADDRESS) -> Position:
    """What the ledger says about a loan at a moment, not before its last payment, lateness assessed."""
    terms, n = loan.terms, loan.terms.instalments
    loan = assess(loan, now)
    curve, day = loan.curve, today(terms, now)
    k = passed(terms, day)
    overdue, fees = arrears(curve.cumulative(k), loan.paid, loan.fees)
    unpaid = first_unpaid(loan)
    following = 0
    if k < n and loan.owed:
        following = n if terms.schedule is Schedule.BULLET else k + 1
    return Position(
        borrower=terms.borrower,
        lender=loan.lender,
        servicer=servicer,
        policy=terms.policy,
        status=loan.status,
        today=day,
        calendar_offset=terms.calendar_offset,
        principal=terms.principal,
        paid=loan.paid,
        opened_at=loan.opened_at,
        amends=loan.amends,
        assigned=loan.assigned,
        overdue=overdue,
        missed=k + 1 - unpaid if overdue else 0,
        fees=fees,
        first_unpaid=unpaid,
        first_unpaid_due_day=due_day(terms, unpaid) if unpaid else 0,
        next=following,
        next_due_day=due_day(terms, following) if following else 0,
        next_amount=max(0, curve.cumulative(following) - loan.paid) if following else 0,
    )


# -------------------------------------------------------------------------------------------- ending early


class Earned(NamedTuple):
    """What a loan has earned by a moment: how many instalments are past due, their sum, the principal that is
    not yet due, and the interest on it up to this second.
    """

    passed: int
    due: int
    balance: int
    interest: int


def earned(loan: Loan, now: int) -> Earned:
    """What a loan has earned by a moment, lateness being assessed."""
    terms, curve = loan.terms, loan.curve
    k = passed(terms, today(terms, now))
    due = curve.cumulative(k)
    if k == terms.instalments:
        return Earned(k, due, 0, 0)
    start = due_time(terms, k) if k else loan.opened_at
    accrued = curve.accrued(k, now - start, due_time(terms, k + 1) - start)
    return Earned(k, due, curve.balance(k), accrued)


def payoff(loan: Loan, now: int) -> int:
    """What settling costs at a moment; never more than paying the rest as scheduled.

    Everything due and all late fees, the principal that is not yet due, and its interest for the seconds of
    the current period that have elapsed.
    """
    loan = assess(loan, now)
    return payoff_of(loan, earned(loan, now))


def payoff_of(loan: Loan, now: Earned) -> int:
    """The same, lateness being assessed, and what was earned being known."""
    debt = min(loan.total, now.due + now.balance + now.interest) + loan.fees
    return max(0, debt - loan.paid)


# -------------------------------------------------------------------------------------------- paying


def apply_payment(loan: Loan, amount: int, now: int) -> tuple[Loan, int]:
    """The loan after a credit, and what of it counted: never more than is owed.

    A payment, money that the lender received outside the chain, and an amount that the lender forgives are
    all credited in the same way.

    Raises: InvalidPayment for a payment of nothing; LoanNotActive when nothing is owed.
    """
    if amount <= 0:
        raise InvalidPayment
    check_owed(loan)
    loan = assess(loan, now)
    taken = min(amount, loan.owed)
    return replace(loan, paid=loan.paid + taken), taken


def settle(loan: Loan, now: int) -> tuple[Loan, int, int]:
    """The loan closed early, what that took, and what the rest of the schedule would have cost more.

    Raises: LoanNotActive when nothing is owed.
    """
    check_owed(loan)
    loan = assess(loan, now)
    taken = payoff_of(loan, earned(loan, now))
    saved = loan.owed - taken
    # The rest of the schedule will never fall due.
    return replace(loan, total=loan.total - saved, paid=loan.paid + taken), taken, saved


def waive(loan: Loan, amount: int, now: int) -> tuple[Loan, int]:
    """The loan after the lender gave up unpaid late fees, up to an amount, and what was given up.

    Raises: NothingToWaive; LoanNotActive when nothing is owed.
    """
    check_owed(loan)
    loan = assess(loan, now)
    due = loan.curve.cumulative(passed(loan.terms, today(loan.terms, now)))
    _, fees = arrears(due, loan.paid, loan.fees)
    waived = min(amount, fees)
    if waived <= 0:
        raise NothingToWaive
    return replace(loan, fees=loan.fees - waived), waived


def mark_default(loan: Loan, limits: "LendingLimits", now: int) -> Loan:
    """The loan after its lender marked a default: its first unpaid instalment has been overdue for the
    policy's days. Cured as soon as that instalment is paid.

    Raises: NotInDefault; LoanNotActive when nothing is owed, or the default is marked already.
    """
    check_owed(loan)
    if loan.status is Status.DEFAULTED:
        raise LoanNotActive("the loan is marked as defaulted already")
    loan = assess(loan, now)
    terms, day = loan.terms, today(loan.terms, now)
    if loan.curve.cumulative(passed(terms, day)) <= loan.paid:
        raise NotInDefault("nothing is overdue on this loan")
    instalment = first_unpaid(loan)
    first_day = due_day(terms, instalment) + limits.default_days
    if day < first_day:
        raise NotInDefault(
            f"instalment {instalment} has not been overdue for {limits.default_days} days",
            wanted=f"{calendar.iso(first_day)} or later",
        )
    return replace(loan, defaulted=instalment)


def check_owed(loan: Loan) -> None:
    """Refuse a loan on which nothing is owed, late fees as last assessed.

    Raises: LoanNotActive.
    """
    if loan.owed == 0:
        raise LoanNotActive
