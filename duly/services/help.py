"""What a borrower can ask for on a loan: to be heard, to be left alone meanwhile, to pay otherwise."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from duly.domain import calendar
from duly.domain.grievance import NO_CASE, Case, Grievance
from duly.domain.loan import Loan
from duly.services.desk import answer_days
from duly.services.policy import pack_published

if TYPE_CHECKING:
    from duly.bootstrap import Application


@dataclass(frozen=True, slots=True)
class Matter:
    """A grievance that a borrower has about a loan, or may lodge.

    answer_by: the day by which the policy's pack wants an answer, in the loan's calendar; None where it
    stands not, or the pack sets none. answer_days: in how many days; None likewise. all_loans, fees_rest:
    whether it rests reminders about all of their loans, and late fees. pause_days: for how long after the
    answer.
    """

    grievance: Grievance
    case: Case
    answer_by: int | None
    answer_days: int | None
    all_loans: bool
    fees_rest: bool
    pause_days: int


class Help:
    """For several threads."""

    def __init__(self, app: "Application") -> None:
        self._app = app

    def matters(self, loan: Loan) -> list[Matter]:
        """Every grievance that there can be about a loan, and how it stands."""
        model = self._app.read_model
        policy, cases = model.policy(loan.terms.policy), model.cases(loan.id)
        if policy is None:
            return []
        contact, pack = policy.contact, pack_published(policy.pack)
        found = []
        for grievance in (Grievance.HARDSHIP, Grievance.DISPUTE, Grievance.REPRESENTATION):
            case = cases.get(grievance, NO_CASE)
            days = answer_days(pack, grievance)
            since = calendar.local_day(case.since, loan.terms.calendar_offset)
            # What the policy says now holds for the next one; for one that stands what it said then.
            bit = 1 << grievance
            found.append(
                Matter(
                    grievance=grievance,
                    case=case,
                    answer_by=since + days if case.stands and days is not None else None,
                    answer_days=days,
                    all_loans=case.all_loans if case.stands else bool(contact.rest_all_loans & bit),
                    fees_rest=case.fees_rest if case.stands else bool(contact.rest_fees & bit),
                    pause_days=contact.pause_days,
                )
            )
        return found
