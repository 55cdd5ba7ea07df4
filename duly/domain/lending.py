"""What terms must keep to, before they become a loan. Mirrors `contracts/libraries/Lending.sol`, and
`PolicyBook.admit` with it.
"""

from typing import TYPE_CHECKING

from duly.domain import amortisation, calendar
from duly.domain.amortisation import Curve
from duly.domain.amounts import in_percent
from duly.domain.errors import AmountTooLarge, AprAboveCap, GraceTooShort, LateFeeAboveCap
from duly.domain.terms import Terms

if TYPE_CHECKING:
    # Slow to import, and a schedule needs no policy.
    from duly.domain.policy import LendingLimits

MAX_AMOUNT = 2**80 - 1
"""What the ledger can hold: all that could ever be owed on a loan."""

_BASIS_POINTS = 10_000


def admit(terms: Terms, limits: "LendingLimits", now: int, fees_owed: int = 0) -> Curve:
    """The schedule of terms that may become a loan at a moment (UTC seconds) under a policy's limits.

    fees_owed: late fees that the loan begins with, carried over from one that it replaces. Whether the policy
    was retired is not asked here.

    Raises: FirstDueTooEarly, FirstDueTooLate, InstalmentTooCoarse, AprAboveCap, GraceTooShort,
    LateFeeAboveCap, AmountTooLarge.
    """
    check_calendar(terms, now)
    curve = curve_of(terms)
    check_price(terms, curve, limits)
    check_amounts(curve, terms.late_fee, fees_owed)
    return curve


def admit_derived(terms: Terms, limits: "LendingLimits", now: int, fees_owed: int) -> tuple[Curve, int]:
    """The same for terms that the ledger derived from a loan's, and their late fee.

    They keep the loan's price, and due days that are no earlier, so that only the late fee can have to be
    less: the second result, that of the terms or the highest that the policy allows for them.

    Raises: FirstDueTooLate, InstalmentTooCoarse, AmountTooLarge.
    """
    calendar.check_not_too_late(terms.first_due, calendar.local_day(now, terms.calendar_offset))
    curve = curve_of(terms)
    late_fee = min(terms.late_fee, highest_late_fee(curve, limits))
    check_amounts(curve, late_fee, fees_owed)
    return curve, late_fee


def curve_of(terms: Terms) -> Curve:
    """The schedule that the terms make.

    Raises: InstalmentTooCoarse.
    """
    return amortisation.curve_of(
        terms.schedule, terms.principal, terms.rate, terms.frequency.periods_per_year, terms.instalments
    )


def check_calendar(terms: Terms, now: int) -> None:
    """Refuse a first instalment that is due less than one whole interval after today, or too late.

    Raises: FirstDueTooEarly, FirstDueTooLate.
    """
    today = calendar.local_day(now, terms.calendar_offset)
    calendar.check_first_due(terms.first_due, today, terms.frequency)


def check_price(terms: Terms, curve: Curve, limits: "LendingLimits") -> None:
    """Refuse what costs more than the policy allows (USURY-1, FEES-1).

    The annual percentage rate is at most the cap exactly when the payments, discounted at the cap, are worth
    no more than what the borrower receives: no rate has to be searched for.

    Raises: AprAboveCap, GraceTooShort, LateFeeAboveCap.
    """
    worth = curve.worth(limits.apr_cap_of_period(terms.frequency.periods_per_year))
    if worth > terms.received:
        raise AprAboveCap(
            f"the annual percentage rate exceeds the policy's cap of {in_percent(limits.apr_cap)} "
            f"({limits.apr_convention.name.lower()}): discounted at the cap, the instalments are worth "
            f"{worth} smallest units, and the borrower receives {terms.received}",
            wanted="instalments that are worth no more than what is received",
            remedy="Lower the rate or the origination fee.",
        )
    if terms.grace_days < limits.min_grace_days:
        raise GraceTooShort(
            f"{terms.grace_days} days of grace are fewer than the policy's",
            wanted=f"at least {limits.min_grace_days}",
        )
    most = highest_late_fee(curve, limits)
    if terms.late_fee > most:
        raise LateFeeAboveCap(
            f"a late fee of {terms.late_fee} smallest units exceeds the policy's share of the smallest "
            "regular instalment",
            wanted=f"at most {most}",
        )


def highest_late_fee(curve: Curve, limits: "LendingLimits") -> int:
    """The policy's share of the smallest regular instalment."""
    return curve.smallest_regular * limits.late_fee_cap // _BASIS_POINTS


def check_amounts(curve: Curve, late_fee: int = 0, fees_owed: int = 0) -> None:
    """Refuse amounts that the ledger cannot hold: all instalments, and all late fees were each of them
    missed. However late the borrower, nothing overflows later.

    Raises: AmountTooLarge.
    """
    most = curve.total + fees_owed + late_fee * curve.instalments
    if most > MAX_AMOUNT:
        raise AmountTooLarge(
            f"the loan could come to {most} smallest units, late fees included",
            wanted=f"at most {MAX_AMOUNT}",
        )
