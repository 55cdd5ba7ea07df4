"""What a borrower can set against being reminded, and how long it rests reminders; mirrors
`contracts/GrievanceDesk.sol`.

PAUSE-1: reminders rest from the second in which a grievance is lodged until the policy's days after its
answer was served, or until the borrower withdraws it. Moments are UTC seconds.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

FOREVER: Final = 2**256 - 1
"""When a rest ends that nothing ends yet."""


class Grievance(IntEnum):
    """What is wrong. That the borrower is represented is recorded, never by whom."""

    DISPUTE = 0
    HARDSHIP = 1
    REPRESENTATION = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A grievance about a loan; the fields of `IGrievanceDesk.Case`.

    `since` is when it was lodged last, zero where it never was; `answered_at` when its answer was served or
    it was withdrawn, zero while it stands; `received` tells that its receipt was served; `all_loans` that it
    rests reminders about all loans of the borrower; `fees_rest` that no late fee is charged meanwhile.
    """

    since: int = 0
    answered_at: int = 0
    received: bool = False
    all_loans: bool = False
    fees_rest: bool = False

    @property
    def stands(self) -> bool:
        """It was lodged, and neither answered nor withdrawn."""
        return self.since != 0 and self.answered_at == 0


NO_CASE: Final = Case()


@dataclass(frozen=True, slots=True)
class Rest:
    """What the grievances about a loan, or those of a borrower that concern all loans, come to.

    `standing` is how many stand, `until` when the rest after an answer ends; `fees_standing` and `fees_until`
    are the same of those by which late fees rest.
    """

    standing: int = 0
    until: int = 0
    fees_standing: int = 0
    fees_until: int = 0

    @property
    def ends(self) -> int:
        """Until when reminders rest: `FOREVER` while a grievance stands."""
        return FOREVER if self.standing else self.until

    @property
    def fees_end(self) -> int:
        """Until when late fees rest."""
        return FOREVER if self.fees_standing else self.fees_until

    def lodged(self, case: Case) -> "Rest":
        """With one more grievance."""
        return replace(
            self, standing=self.standing + 1, fees_standing=self.fees_standing + int(case.fees_rest)
        )

    def ended(self, case: Case, until: int) -> "Rest":
        """With one less; its rest goes on until a moment."""
        rest = replace(self, standing=self.standing - 1, until=max(self.until, until))
        if not case.fees_rest:
            return rest
        return replace(rest, fees_standing=self.fees_standing - 1, fees_until=max(self.fees_until, until))


NO_REST: Final = Rest()


def rests_until(loan: Rest, borrower: Rest) -> int:
    """Until when reminders about a loan rest, for its own grievances and those that concern all loans of its
    borrower: zero where they do not, `FOREVER` while one stands.
    """
    return max(loan.ends, borrower.ends)
