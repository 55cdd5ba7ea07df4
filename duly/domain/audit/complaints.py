"""Every grievance of an audit, one by one: what the desk keeps as counts and moments is told here in full."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from duly.domain import calendar
from duly.domain.events import GrievanceLodged
from duly.domain.grievance import Grievance
from duly.domain.loan import Loan


@dataclass(slots=True)
class Complaint:
    """A grievance, the loan that it is about now, and until when it rests; none while it stands."""

    lodged: GrievanceLodged
    at: int
    loan: bytes
    until: int | None = None


class Complaints:
    """The grievances of all borrowers. Those that can matter no more are forgotten."""

    def __init__(self) -> None:
        self._of: defaultdict[str, list[Complaint]] = defaultdict(list)
        self._borrowers: dict[bytes, str] = {}

    def lodge(self, event: GrievanceLodged, now: int) -> None:
        self._borrowers[event.loan] = event.borrower
        # One by which late fees rest matters for as long as a fee could be charged for a day of its rest.
        others = (
            each
            for each in self._of[event.borrower]
            if each.until is None or each.until > now or each.lodged.fees_rest
        )
        self._of[event.borrower] = [*others, Complaint(event, now, event.loan)]

    def end(self, loan: bytes, grievance: Grievance, until: int) -> None:
        for complaint in self._standing(loan, grievance):
            complaint.until = until

    def move(self, loan: bytes, amendment: bytes) -> None:
        borrower = self._borrowers[amendment] = self._borrowers[loan]
        for complaint in self._of[borrower]:
            if complaint.loan == loan:
                complaint.loan = amendment

    def lodged_at(self, loan: bytes, grievance: Grievance | None) -> int | None:
        """When a grievance that stands was lodged."""
        return next((complaint.at for complaint in self._standing(loan, grievance)), None)

    def about(self, loan: Loan, now: int) -> Iterator[str]:
        """Those that rest reminders about a loan."""
        for complaint in self._of.get(loan.terms.borrower, ()):
            if complaint.loan != loan.id and not complaint.lodged.all_loans:
                continue
            name = complaint.lodged.grievance.name.lower()
            if complaint.until is None:
                yield f"{name} stands"
            elif now < complaint.until:
                yield f"{complaint.until - now} s before the rest after {name} ends"

    def fees_rested(self, loan: Loan, day: int) -> bool:
        """Late fees of a loan rested when a grace period's last day, in the loan's calendar, was over."""
        offset = loan.terms.calendar_offset
        for complaint in self._of.get(loan.terms.borrower, ()):
            if complaint.loan != loan.id or not complaint.lodged.fees_rest:
                continue
            ended = complaint.until is not None and day >= calendar.local_day(complaint.until, offset)
            if calendar.local_day(complaint.at, offset) <= day and not ended:
                return True
        return False

    def _standing(self, loan: bytes, grievance: Grievance | None) -> Iterator[Complaint]:
        for complaint in self._of.get(self._borrowers.get(loan, ""), ()):
            same = complaint.loan == loan and complaint.lodged.grievance is grievance
            if same and complaint.until is None:
                yield complaint
