"""A loan's terms change: by both parties' signatures, by the borrower alone, or by the lender alone.

What `LoanLedger.sol` computes for `amend`, `prepay`, `defer` and `rescind`, bit for bit, so that a service
can tell what each would cost. An amendment closes the loan into another one, which its terms name as
replaced: what was paid ahead and the late fees that are unpaid go over to it. No fee ever becomes principal,
and no loan is amended that the borrower may still rescind.

The new loan's id is the hash of its terms. The domain does not hash them: `id_of` does, such as
`duly.chain.offers.loan_id` for a ledger. Amounts are in the currency's smallest unit, moments in UTC seconds.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from duly.domain import calendar, lending, schedule
from duly.domain.amounts import PPM, in_percent
from duly.domain.errors import (
    AmendmentExpired,
    CoolingOffOver,
    CoolingOffRuns,
    NothingToDefer,
    NotTheSameLoan,
    PrepaymentTooSmall,
    PrincipalAbovePayoff,
    RateRaised,
)
from duly.domain.grievance import NO_REST
from duly.domain.loan import Loan, Status
from duly.domain.policy import LendingLimits
from duly.domain.terms import Schedule, Terms

_YEAR = 365

IdOf = Callable[[Terms], bytes]


class Amended(NamedTuple):
    """The loan that was closed, and the one that carries on what was owed."""

    loan: Loan
    amendment: Loan


class Prepaid(NamedTuple):
    """What was taken, the loan that was closed, and the one that carries on: none where it was settled."""

    taken: int
    loan: Loan
    amendment: Loan | None


def amend(loan: Loan, terms: Terms, limits: LendingLimits, now: int, id_of: IdOf) -> Amended:
    """Other terms for the same loan, as both parties sign them. No money moves.

    The new principal is at most what settling costs now, late fees apart, and the rate at most the loan's: an
    origination fee may have brought the loan to the cap already.

    Raises: AmendmentExpired, LoanNotActive, NotTheSameLoan, RateRaised, CoolingOffRuns, PrincipalAbovePayoff,
    and what `lending.admit` raises.
    """
    if now > terms.expires:
        raise AmendmentExpired
    schedule.check_owed(loan)
    same = (loan.id, loan.lender, loan.terms.borrower, loan.terms.policy, 0)
    if same != (terms.replaces, terms.lender, terms.borrower, terms.policy, terms.origination_fee):
        raise NotTheSameLoan
    if terms.rate > loan.terms.rate:
        raise RateRaised(wanted=f"at most {in_percent(loan.terms.rate)}")
    _check_no_cooling_off(loan, limits, now)
    loan = schedule.assess(loan, now)
    so_far = schedule.earned(loan, now)
    _, fees = schedule.arrears(so_far.due, loan.paid, loan.fees)
    most = schedule.payoff_of(loan, so_far) - fees
    if terms.principal > most:
        raise PrincipalAbovePayoff(
            f"a principal of {terms.principal} smallest units is more than settling costs, late fees apart",
            wanted=f"at most {most}",
        )
    curve = lending.admit(terms, limits, now, fees)
    new = Loan(
        id_of(terms),
        terms,
        now,
        curve.instalment,
        curve.total,
        fees=fees,
        assigned=loan.assigned,
        rest=loan.rest,
    )
    return _replace(replace(loan, fees=loan.fees - fees), new)


def prepay(loan: Loan, amount: int, limits: LendingLimits, now: int, id_of: IdOf) -> Prepaid:
    """Principal paid back ahead of the schedule by the borrower's decision: the same due days, smaller
    instalments.

    What is overdue and late fees come first, then principal with its interest up to this second. What would
    pay the whole loan settles it.

    Raises: LoanNotActive, CoolingOffRuns, PrepaymentTooSmall; InstalmentTooCoarse, where too little would be
    left for so many instalments.
    """
    schedule.check_owed(loan)
    _check_no_cooling_off(loan, limits, now)
    loan = schedule.assess(loan, now)
    so_far = schedule.earned(loan, now)
    if amount >= schedule.payoff_of(loan, so_far):
        settled, taken, _ = schedule.settle(loan, now)
        return Prepaid(taken, settled, None)
    due = so_far.due + loan.fees
    ahead = loan.paid + amount - due
    if ahead <= 0:
        raise PrepaymentTooSmall(wanted=f"more than {due - loan.paid} smallest units")
    repaid = ahead * so_far.balance // (so_far.balance + so_far.interest)
    # A bullet's interest is not paid before its end: it goes on from its beginning.
    k = 0 if loan.terms.schedule is Schedule.BULLET else so_far.passed
    old, new = _go_on(replace(loan, paid=loan.paid + amount), k, so_far.balance - repaid, limits, now, id_of)
    return Prepaid(amount, old, new)


def defer(loan: Loan, intervals: int, limits: LendingLimits, now: int, id_of: IdOf) -> Amended:
    """All unpaid instalments due some intervals later, free of interest, by the lender's decision.

    Instalments that were missed already are not charged again.

    Raises: LoanNotActive, CoolingOffRuns, NothingToDefer, FirstDueTooLate.
    """
    schedule.check_owed(loan)
    _check_no_cooling_off(loan, limits, now)
    loan = schedule.assess(loan, now)
    curve = loan.curve
    k = schedule.passed(loan.terms, schedule.today(loan.terms, now))
    _, fees = schedule.arrears(curve.cumulative(k), loan.paid, loan.fees)
    # What was paid for instalments.
    paid = loan.paid - (loan.fees - fees)
    reached = curve.covered(paid)
    if intervals <= 0 or reached == curve.instalments:
        raise NothingToDefer
    # Go on from the first unpaid instalment, or the next one where it is paid ahead.
    k = 0 if curve.schedule is Schedule.BULLET else min(k, reached)
    return _go_on(loan, k, curve.balance(k), limits, now, id_of, intervals, paid - curve.cumulative(k), fees)


def rescind(loan: Loan, limits: LendingLimits, now: int) -> tuple[Loan, int]:
    """The loan after the borrower withdrew in the cooling-off period, and what that takes (COOL-1).

    What was received, less what was paid, plus interest for each day since; no fee of whatever kind.

    Raises: LoanNotActive, CoolingOffOver.
    """
    schedule.check_owed(loan)
    terms, day = loan.terms, schedule.today(loan.terms, now)
    last_day = last_day_to_rescind(loan, limits)
    if day > last_day:
        raise CoolingOffOver(wanted=f"{calendar.iso(last_day)} or earlier" if last_day else None)
    elapsed = day - schedule.today(terms, loan.opened_at)
    debt = terms.received + terms.received * terms.rate * elapsed // (PPM * _YEAR)
    # Not more than settling costs; no late fee, recorded or not, is part of that.
    loan = replace(loan, fees=0)
    most = schedule.payoff_of(loan, schedule.earned(loan, now))
    taken = min(most, max(0, debt - loan.paid))
    paid = loan.paid + taken
    return replace(loan, paid=paid, total=paid, recorded_status=Status.RESCINDED), taken


def last_day_to_rescind(loan: Loan, limits: LendingLimits) -> int:
    """The last day of the cooling-off period, in the loan's calendar; zero where there is none."""
    if loan.amends or limits.cooling_off_days == 0:
        return 0
    return schedule.today(loan.terms, loan.opened_at) + limits.cooling_off_days


def _check_no_cooling_off(loan: Loan, limits: LendingLimits, now: int) -> None:
    """No loan is amended that the borrower can still rescind: the right would be lost."""
    last_day = last_day_to_rescind(loan, limits)
    if schedule.today(loan.terms, now) <= last_day:
        raise CoolingOffRuns(wanted=f"{calendar.iso(last_day + 1)} or later")


def _go_on(
    loan: Loan,
    k: int,
    principal: int,
    limits: LendingLimits,
    now: int,
    id_of: IdOf,
    intervals: int = 0,
    paid: int = 0,
    fees: int = 0,
) -> Amended:
    """Replace a loan by one that carries on after its first k instalments, on terms that the ledger derives.

    intervals: by how many the due days move. paid, fees: what was paid ahead, and which fees are unpaid.
    """
    old = loan.terms
    terms = Terms(
        lender=loan.lender,
        borrower=old.borrower,
        principal=principal,
        late_fee=old.late_fee,
        rate=old.rate,
        instalments=old.instalments - k,
        first_due=calendar.due_day_to_go_on_from(old.first_due, old.frequency, k + 1 + intervals),
        schedule=old.schedule,
        frequency=old.frequency,
        calendar_offset=old.calendar_offset,
        grace_days=old.grace_days,
        policy=old.policy,
        expires=now,
        replaces=loan.id,
    )
    curve, late_fee = lending.admit_derived(terms, limits, now, fees)
    terms = replace(terms, late_fee=late_fee)
    # What was missed already is not charged again, and what was missed while late fees rested not at all.
    assessed = loan.assessed
    if end := loan.rest.fees_end:
        assessed = max(assessed, schedule.rested(old, end, now))
    new = Loan(
        id_of(terms),
        terms,
        schedule.due_time(old, k) if k else loan.opened_at,
        curve.instalment,
        curve.total,
        # Instalments are rounded anew. The loan must not become dearer by it, nor can it be repaid by more
        # than its total.
        paid=min(max(paid, curve.total + fees - loan.owed), curve.total),
        fees=fees,
        assessed=max(0, assessed - k),
        assigned=loan.assigned,
        rest=loan.rest,
    )
    return _replace(replace(loan, paid=loan.paid - paid, fees=loan.fees - fees), new)


def _replace(old: Loan, new: Loan) -> Amended:
    """Close a loan into another, once what goes over to it was taken off: nothing is owed on the old one, and
    its grievances go on with the other.
    """
    ended = replace(old, total=old.paid - old.fees, recorded_status=Status.REPLACED, rest=NO_REST)
    return Amended(ended, new)
