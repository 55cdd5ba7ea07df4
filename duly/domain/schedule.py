"""The schedule of a loan, and where the loan stands on it.

Bit for bit what `contracts/libraries/Amortization.sol` and `LoanLedger.sol` compute, in integers, so that a
million loans are planned without a call. Amounts are in the currency's smallest unit, rates in parts per
million a year.

With `r` the rate of one period and `q = (1 + r)^n`:

    instalment        A   = P * r * q / (q - 1), rounded up (P / n at rate zero)
    balance after k   B_k = P * (1 + r)^k - A * ((1 + r)^k - 1) / r, rounded down; B_0 = P, B_n = 0
    principal part        = B_{k-1} - B_k, so that the parts sum to P whatever the rounding
    last instalment       = B_{n-1} and its interest, rounded up

Everything about money follows from two curves: the cumulative amount due by a moment, in closed form from the
terms, and the cumulative amount paid. Payments go to instalments that are due, then to late fees, then ahead.
A late fee is charged at most once for an instalment, when its grace period ended while total receipts had not
reached the cumulative amount due; a receipt counts whatever it was applied to, so no fee ever causes another.

Moments are seconds since 1970-01-01 (UTC), days are days since then in the loan's calendar (see `calendar`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from duly.domain import calendar
from duly.domain.amounts import PPM, in_percent
from duly.domain.errors import AmountTooLarge, InstalmentTooCoarse, InvalidPayment, LoanNotActive
from duly.domain.loan import Loan, Position, Status
from duly.domain.terms import MONTHS_PER_YEAR, ZERO_ADDRESS, Terms, check_range_of_formulas

RAY = 10**27
GUARD = 10**9
"""Digits carried below the smallest unit, so that a balance is rounded once and not twice."""

MAX_AMOUNT = 2**88 - 1
MAX_FEES = 2**80 - 1


# ---------------------------------------------------------------------------------------- amortisation


def period_rate(rate: int, periods_per_year: int = MONTHS_PER_YEAR) -> int:
    """A year's rate in parts per million as the rate of one period, in ray (1 = 10**27)."""
    return RAY * rate // (PPM * periods_per_year)


def power(x: int, n: int) -> int:
    """x to the n-th in ray, each multiplication rounded to the nearest. Source: Solady,
    `FixedPointMathLib.rpow`.
    """
    half = RAY // 2
    z = x if n & 1 else RAY
    n >>= 1
    while n:
        x = (x * x + half) // RAY
        if n & 1:
            z = (z * x + half) // RAY
        n >>= 1
    return z


def level(principal: int, rate: int, n: int, periods_per_year: int = MONTHS_PER_YEAR) -> tuple[int, int]:
    """The level instalment and the sum of all n instalments.

    Raises: InvalidTerms outside the range of the formulas; InstalmentTooCoarse, where rounding the
    instalments up would repay the loan before the last one.
    """
    check_range_of_formulas(rate, n, periods_per_year)
    r = period_rate(rate, periods_per_year)
    if r == 0:
        instalment = -(-principal // n)
    else:
        q = power(RAY + r, n)
        instalment = -(-principal * r * q // ((q - RAY) * RAY))
    rest = balance(principal, instalment, r, n - 1)
    if rest == 0:
        raise InstalmentTooCoarse(
            f"{principal} smallest units are too few for {n} instalments at {in_percent(rate)}: "
            "rounded up, fewer of them would repay it",
            wanted="a last instalment that is more than nothing",
            remedy="Lend more, or agree on fewer instalments.",
        )
    return instalment, (n - 1) * instalment + rest + interest(rest, r)


def balance(principal: int, instalment: int, r: int, k: int) -> int:
    """The principal outstanding after the k-th instalment, when paid as scheduled, at a period's rate r in
    ray.

    k is less than the number of instalments: after the last, the balance is zero by definition.
    """
    if r == 0:
        return max(0, principal - k * instalment)
    q = power(RAY + r, k)
    grown = principal * GUARD * q // RAY
    repaid = instalment * GUARD * (q - RAY) // r
    return max(0, grown - repaid) // GUARD


def interest(outstanding: int, r: int) -> int:
    """Interest on a balance over one whole period, rounded up."""
    return -(-outstanding * r // RAY)


def accrued(outstanding: int, r: int, elapsed: int, length: int) -> int:
    """Interest on a balance over `elapsed` of a period's `length` seconds, rounded up."""
    return -(-outstanding * r * elapsed // (RAY * length))


def cumulative(instalment: int, total: int, n: int, k: int) -> int:
    """The sum of the first k of n instalments."""
    return total if k >= n else min(k * instalment, total)


def covered(instalment: int, total: int, n: int, paid: int) -> int:
    """How many of n instalments everything received so far amounts to."""
    # Rounding can make the last instalment the largest by a few units: it is not paid before the total is.
    return n if paid >= total else min(paid // instalment, n - 1)


def check_amounts(total: int, fees: int = 0) -> None:
    """Refuse amounts that the ledger cannot hold: all instalments, and all late fees were each of them
    missed.

    However late the borrower, nothing overflows later.

    Raises: AmountTooLarge.
    """
    if fees > MAX_FEES:
        raise AmountTooLarge(
            f"the late fees could come to {fees} smallest units", wanted=f"at most {MAX_FEES}"
        )
    if total + fees > MAX_AMOUNT:
        raise AmountTooLarge(
            f"the loan could come to {total + fees} smallest units", wanted=f"at most {MAX_AMOUNT}"
        )


class Part(NamedTuple):
    """One instalment without its date: amount = principal + interest; balance is what is outstanding
    afterwards.
    """

    amount: int
    principal: int
    interest: int
    balance: int


def amortise(principal: int, rate: int, n: int, periods_per_year: int = MONTHS_PER_YEAR) -> Iterator[Part]:
    """The n instalments of a level schedule.

    Raises: InvalidTerms, InstalmentTooCoarse.
    """
    instalment, total = level(principal, rate, n, periods_per_year)
    r = period_rate(rate, periods_per_year)
    before = principal
    for k in range(1, n + 1):
        amount = instalment if k < n else total - (n - 1) * instalment
        after = balance(principal, instalment, r, k) if k < n else 0
        yield Part(amount, before - after, amount - (before - after), after)
        before = after


# -------------------------------------------------------------------------------------------- one loan


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


def rows(principal: int, rate: int, n: int, first_due: int, calendar_offset: int = 0) -> Iterator[Instalment]:
    """The n monthly instalments of a level schedule, from the day that the first is due.

    Raises: InvalidTerms, InstalmentTooCoarse.
    """
    for k, part in enumerate(amortise(principal, rate, n), start=1):
        yield Instalment(
            k, calendar.due_day(first_due, k), calendar.due_time(first_due, k, calendar_offset), *part
        )


def schedule_of(terms: Terms) -> Iterator[Instalment]:
    """The instalments that these terms agree on, whatever is paid.

    Raises: InstalmentTooCoarse.
    """
    return rows(terms.principal, terms.rate, terms.instalments, terms.first_due, terms.calendar_offset)


def opened(loan_id: bytes, terms: Terms, opened_at: int) -> Loan:
    """The loan that these terms make when they are opened at a moment.

    Raises: FirstDueTooEarly, FirstDueTooLate, InstalmentTooCoarse, AmountTooLarge.
    """
    calendar.check_first_due(terms.first_due, calendar.local_day(opened_at, terms.calendar_offset))
    instalment, total = level(terms.principal, terms.rate, terms.instalments)
    check_amounts(total, terms.late_fee * terms.instalments)
    return Loan(loan_id, terms, opened_at, instalment, total)


def passed(terms: Terms, now: int) -> int:
    """How many instalments are past due at a moment: the last second of their due day is over."""
    return calendar.passed(terms.first_due, terms.instalments, calendar.local_day(now, terms.calendar_offset))


def missable(terms: Terms, now: int) -> int:
    """How many instalments' grace periods are over at a moment."""
    today = calendar.local_day(now, terms.calendar_offset)
    return calendar.passed(terms.first_due, terms.instalments, today - terms.grace_days)


def covered_by(loan: Loan) -> int:
    """How many instalments everything received so far amounts to."""
    return covered(loan.instalment, loan.total, loan.terms.instalments, loan.paid)


def missed(loan: Loan, now: int) -> tuple[int, int]:
    """First and last of the instalments missed since the last assessment; none where the first exceeds the
    last.
    """
    return max(covered_by(loan), loan.assessed) + 1, missable(loan.terms, now)


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
    terms, n, paid = loan.terms, loan.terms.instalments, loan.paid
    assessed = assess(loan, now)
    today = calendar.local_day(now, terms.calendar_offset)
    k = calendar.passed(terms.first_due, n, today)
    overdue, fees = arrears(cumulative(loan.instalment, loan.total, n, k), paid, assessed.fees)
    reached = covered_by(loan)
    first_unpaid = reached + 1 if reached < n else 0
    following = k + 1 if k < n and assessed.owed else 0
    reaches = cumulative(loan.instalment, loan.total, n, following)
    return Position(
        borrower=terms.borrower,
        lender=terms.lender,
        servicer=servicer,
        policy=terms.policy,
        status=assessed.status,
        today=today,
        calendar_offset=terms.calendar_offset,
        principal=terms.principal,
        paid=paid,
        overdue=overdue,
        fees=fees,
        first_unpaid=first_unpaid,
        first_unpaid_due_day=calendar.due_day(terms.first_due, first_unpaid) if first_unpaid else 0,
        next=following,
        next_due_day=calendar.due_day(terms.first_due, following) if following else 0,
        next_amount=max(0, reaches - paid),
    )


def payoff(loan: Loan, now: int) -> int:
    """What settling costs at a moment; never more than paying the rest as scheduled.

    Everything due and all late fees, the principal that is not yet due, and its interest for the seconds of
    the current period that have elapsed.
    """
    loan = assess(loan, now)
    terms, n = loan.terms, loan.terms.instalments
    k = passed(terms, now)
    if loan.owed == 0 or k >= n:
        return loan.owed
    start = calendar.due_time(terms.first_due, k, terms.calendar_offset) if k else loan.opened_at
    end = calendar.due_time(terms.first_due, k + 1, terms.calendar_offset)
    r = period_rate(terms.rate)
    outstanding = balance(terms.principal, loan.instalment, r, k)
    due = cumulative(loan.instalment, loan.total, n, k)
    debt = due + outstanding + accrued(outstanding, r, now - start, end - start) + loan.fees
    return min(loan.owed, max(0, debt - loan.paid))


def apply_payment(loan: Loan, amount: int, now: int) -> tuple[Loan, int]:
    """The loan after a payment, and what of it was taken: never more than is owed.

    Raises: InvalidPayment for a payment of nothing; LoanNotActive when nothing is owed.
    """
    if amount <= 0:
        raise InvalidPayment
    _check_active(loan)
    loan = assess(loan, now)
    taken = min(amount, loan.owed)
    return replace(loan, paid=loan.paid + taken), taken


def settle(loan: Loan, now: int) -> tuple[Loan, int, int]:
    """The loan closed early, what that took, and what the rest of the schedule would have cost more.

    Raises: LoanNotActive when nothing is owed.
    """
    _check_active(loan)
    taken = payoff(loan, now)
    loan = assess(loan, now)
    saved = loan.owed - taken
    # The rest of the schedule will never fall due.
    return replace(loan, total=loan.total - saved, paid=loan.paid + taken), taken, saved


def _check_active(loan: Loan) -> None:
    if loan.status is not Status.ACTIVE:
        raise LoanNotActive
