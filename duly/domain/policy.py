"""What a loan may cost and when its borrower may be contacted. Mirrors `contracts/PolicyBook.sol`.

The limits are what the chain keeps. Where they come from, value by value, a pack tells: see
`duly.domain.pack`.
"""

from dataclasses import dataclass
from enum import IntEnum

from duly.domain import amortisation
from duly.domain.errors import InvalidInput


class InvalidPolicy(InvalidInput):
    """No policy book accepts these limits."""


class AprConvention(IntEnum):
    """How an annual percentage rate is annualised."""

    NOMINAL = 0
    EFFECTIVE = 1


@dataclass(frozen=True, slots=True)
class LendingLimits:
    """What a loan made under a policy may cost. Frozen at publication.

    `apr_cap` in parts per million, read by `apr_convention`; `late_fee_cap` in basis points of the smallest
    regular instalment; the rest in days.
    """

    apr_cap: int
    apr_convention: AprConvention
    late_fee_cap: int
    min_grace_days: int
    cooling_off_days: int
    default_days: int

    def apr_cap_of_period(self, periods_per_year: int) -> int:
        """The highest rate of one period, in ray: a share of a nominal cap, the root of an effective one."""
        effective = self.apr_convention is AprConvention.EFFECTIVE
        of_period = amortisation.period_rate_of_effective if effective else amortisation.period_rate
        return of_period(self.apr_cap, periods_per_year)


@dataclass(frozen=True, slots=True)
class ContactLimits:
    """When and how often a borrower may be contacted. May be tightened, never loosened.

    `opens` and `closes` are minutes of the local day, contact being over by `closes`; `lead` is the seconds
    of the window that must be left when a notice is served; bit 0 of `weekdays` is Monday; `per_day` and
    `per_week` cap reminders in any 24 hours and 7 days, `gap` is the least seconds between two;
    `upcoming_days` before and `overdue_days` after a due day bound when it may be spoken of; `pause_days` is
    how long reminders rest after an answer. A bit for each `Grievance` tells in `rest_all_loans` whether one
    rests reminders about all loans of the borrower, in `rest_fees` whether late fees rest as well.
    """

    opens: int
    closes: int
    lead: int
    weekdays: int
    per_day: int
    per_week: int
    gap: int
    upcoming_days: int
    overdue_days: int
    pause_days: int
    rest_all_loans: int = 0
    rest_fees: int = 0


# Bounds that no policy can loosen.
EARLIEST_OPENING = 7 * 60
LATEST_CLOSING = 22 * 60
SHORTEST_WINDOW = 3 * 60
LONGEST_LEAD = 30 * 60
MOST_PER_WEEK = 7
LONGEST_GAP = 31 * 86_400
MOST_UPCOMING_DAYS = 31
_BYTE = 255
_EVERY_GRIEVANCE = 7


def out_of_bounds(limits: ContactLimits) -> list[tuple[str, int, int, int]]:
    """What a policy book would refuse to publish: field, value, least and most, in the book's order."""
    bounds = (
        ("opens", EARLIEST_OPENING, LATEST_CLOSING - SHORTEST_WINDOW),
        ("closes", limits.opens + SHORTEST_WINDOW, LATEST_CLOSING),
        ("lead", 0, LONGEST_LEAD),
        ("weekdays", 1, 127),
        ("per_week", 1, MOST_PER_WEEK),
        ("per_day", 1, limits.per_week),
        ("gap", 0, LONGEST_GAP),
        ("upcoming_days", 0, MOST_UPCOMING_DAYS),
        # A day not yet over is not missed, so nothing can be overdue before the first day after it.
        ("overdue_days", 1, _BYTE),
        ("pause_days", 0, _BYTE),
        ("rest_all_loans", 0, _EVERY_GRIEVANCE),
        ("rest_fees", 0, _EVERY_GRIEVANCE),
    )
    values = ((field, getattr(limits, field), least, most) for field, least, most in bounds)
    return [found for found in values if not found[2] <= found[1] <= found[3]]


def check_bounds(limits: ContactLimits) -> None:
    """Refuse contact limits that no policy book would publish.

    Raises: InvalidPolicy, naming every limit that is out of bounds.
    """
    found = out_of_bounds(limits)
    if found:
        raise InvalidPolicy(
            "; ".join(f"{field} is {value}" for field, value, _, _ in found),
            wanted="; ".join(f"{field} from {least} to {most}" for field, _, least, most in found),
        )
