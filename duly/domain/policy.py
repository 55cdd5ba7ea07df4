"""What a loan may cost and when its borrower may be contacted; mirrors `contracts/PolicyBook.sol`."""

from dataclasses import dataclass
from enum import IntEnum


class AprConvention(IntEnum):
    """How an annual percentage rate is annualised."""

    NOMINAL = 0
    EFFECTIVE = 1


@dataclass(frozen=True, slots=True)
class LendingLimits:
    """What a loan made under a policy may cost. Frozen at publication.

    `apr_cap` in parts per million, read by `apr_convention`; `late_fee_cap` in basis points of the smallest regular
    instalment; the rest in days.
    """

    apr_cap: int
    apr_convention: AprConvention
    late_fee_cap: int
    min_grace_days: int
    cooling_off_days: int
    default_days: int


@dataclass(frozen=True, slots=True)
class ContactLimits:
    """When and how often a borrower may be contacted. May be tightened, never loosened.

    `opens` and `closes` are minutes of the local day, contact being over by `closes`; `lead` is the seconds of the window
    that must be left when a notice is served; bit 0 of `weekdays` is Monday; `per_day` and `per_week` cap reminders in
    any 24 hours and 7 days, `gap` is the least seconds between two; `upcoming_days` before and `overdue_days` after a
    due day bound when it may be spoken of; `pause_days` is how long reminders rest after an answer.
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
