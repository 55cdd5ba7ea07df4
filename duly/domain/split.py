"""What of an amount is principal, what interest, what a late fee: exact, and summing to the amount.

The ledger keeps one number of what was credited. Its order of payment is the instalments that are due, the
oldest first, then late fees, then instalments to come. Within an instalment the ledger keeps no order; here
what was credited counts for its interest first, then for its principal.
"""

from typing import NamedTuple

from duly.domain.loan import Loan, Position, Status
from duly.domain.notice import Ground, Kind


class Split(NamedTuple):
    """The parts of an amount, in the smallest unit."""

    principal: int
    interest: int
    fee: int

    @property
    def amount(self) -> int:
        """What they sum to."""
        return self.principal + self.interest + self.fee


def split_of(kind: Kind, loan: Loan, position: Position, ground: Ground) -> Split | None:
    """The parts of the amount that a notice names.

    Of a reminder, and of arrears: of what is still to be paid. Of a loan that was opened or amended: of all
    that is to be repaid. Of a payment, and of a loan that is repaid: of everything credited so far; None
    where an amendment or the borrower ended the loan otherwise. None of the others, which name no amount.
    """
    if kind in (Kind.LOAN_OPENED, Kind.LOAN_AMENDED):
        terms = loan.terms
        return Split(terms.principal, loan.total - terms.principal, 0)
    if kind in (Kind.OVERDUE, Kind.ARREARS):
        last = position.next - 1 if position.next else loan.terms.instalments
        if position.next and not position.overdue:
            last = ground.instalment - 1
        owed = _between(loan, position.paid, last, position.overdue)
        return owed._replace(fee=position.fees)
    if kind.is_reminder:
        return _between(loan, position.paid, ground.instalment, ground.amount)
    if kind not in (Kind.PAYMENT_RECEIVED, Kind.LOAN_REPAID):
        return None
    if position.status in (Status.REPLACED, Status.RESCINDED, Status.NONE):
        return None
    return _credited(loan, position)


def _between(loan: Loan, paid: int, last: int, amount: int) -> Split:
    """Of what is missing until the first `last` instalments are paid: the principal and the interest."""
    if not amount:
        return Split(0, 0, 0)
    curve = loan.curve
    principal = (curve.principal - curve.balance(last)) - _principal_in(loan, paid)
    return Split(principal, amount - principal, 0)


def _principal_in(loan: Loan, credited: int) -> int:
    """How much principal so much money repays, when all of it goes to instalments."""
    curve = loan.curve
    whole = curve.covered(credited)
    if whole >= curve.instalments:
        return curve.principal
    rest = credited - curve.cumulative(whole)
    principal = curve.balance(whole) - curve.balance(whole + 1)
    interest = curve.cumulative(whole + 1) - curve.cumulative(whole) - principal
    return curve.principal - curve.balance(whole) + max(0, rest - interest)


def _credited(loan: Loan, position: Position) -> Split:
    fee = max(0, _fees_charged(loan, position) - position.fees)
    rest = position.paid - fee
    if position.status is Status.REPAID:
        return Split(loan.terms.principal, rest - loan.terms.principal, fee)
    principal = _principal_in(loan, rest)
    return Split(principal, rest - principal, fee)


def _fees_charged(loan: Loan, position: Position) -> int:
    """The late fees as of the position's day, those included that nobody recorded yet."""
    from duly.domain import calendar, schedule

    now = calendar.start_of(position.today, position.calendar_offset)
    return schedule.assess(loan, now).fees
