"""Were the rules kept? Every event of a chain, checked again from the events alone.

    rules.py        what is checked of each rule, and what the chain cannot show
    notices.py      the rules about notices
    ledger.py       the rules about money, terms and policies
    tokens.py       whether the currency moved as the ledger says
    complaints.py   every grievance, one by one

`Audit` sees the events in their order. What it keeps grows with loans and borrowers, never with notices or
payments; who wants a row for each is told of it as it comes.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from duly.domain.audit.complaints import Complaints
from duly.domain.audit.ledger import SPEAKS, IdOf, LedgerAudit
from duly.domain.audit.notices import Broken, NoticeAudit, Row
from duly.domain.audit.rules import RULES, Basis, Rule
from duly.domain.audit.tokens import TokenAudit, TransfersOf
from duly.domain.events import (
    ConsentGranted,
    ConsentRevoked,
    ContactCeased,
    ContactRegistered,
    Event,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    GrievanceWithdrawn,
    LoanAmended,
    LoanOpened,
    Logged,
    NoticeRefused,
    NoticeServed,
    PolicyPublished,
)
from duly.domain.notice import Kind, Refusal
from duly.domain.replay import HistoryIncomplete, Policy, State, apply, subjects

__all__ = ["RULES", "Audit", "Basis", "Findings", "Refused", "Row", "Rule", "Violation"]

MOST_KEPT: Final = 1_000
"""Violations that the findings keep; all are counted, and told as they come."""

_SWEEP: Final = 50_000
"""Events after which what no window reaches back to is forgotten."""

_OF_NOTICES: Final = ("BORROWER-1", "GATE-1", "SERVER-1", "HOURS-1", "CONSENT-1", "BASIS-1")


@dataclass(frozen=True, slots=True)
class Violation:
    """What broke a rule: which, when (UTC seconds), what was and what the rule wants.

    what: the event, or of a notice its kind, in words. notice: its id, where it is about one. loan: none
    where it is about a policy or a person.
    """

    rule: str
    what: str
    notice: bytes | None
    loan: bytes | None
    block: int
    timestamp: int
    was: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A notice that the gate skipped, and the offsets of the borrower's clock."""

    logged: Logged
    event: NoticeRefused
    offsets: tuple[int, int]


@dataclass(slots=True)
class Findings:
    """What an audit saw: notices by kind, refusals by reason, events by name, and what broke a rule.

    loans: how many were opened or followed from an amendment. broken: by rule. violations: the first of them.
    Of all but events: those under the policies that were asked about.
    """

    events: int = 0
    loans: int = 0
    served: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[Refusal] = field(default_factory=Counter)
    seen: Counter[type[Event]] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def notices(self) -> int:
        return self.served.total()

    @property
    def reminders(self) -> int:
        return sum(count for kind, count in self.served.items() if kind.is_reminder)

    def checked(self, rule: str) -> int:
        """How many notices or events a rule was held against."""
        count = sum(self.seen[event] for event, rules in SPEAKS.items() if rule in rules)
        if rule in _OF_NOTICES:
            return count + self.notices
        if rule in ("CAP-1", "PAUSE-1"):
            return count + self.reminders
        return count + self.notices - self.reminders if rule == "CAP-2" else count

    def add(self, violation: Violation) -> None:
        """Count one more violation."""
        self.broken[violation.rule] += 1
        if len(self.violations) < MOST_KEPT:
            self.violations.append(violation)


Found = Row | Refused | Violation
"""What an audit tells of as it comes to it."""


class Audit:
    """Sees all events of a chain in their order, and checks each against what was so at its moment.

    id_of: the hash of a loan's terms on this ledger. persons: which borrower addresses are one person's,
    where that is known. wanted: the policies to report on, by default all; whatever else was said to a
    borrower still counts. tell: is given every notice, refusal and violation. tokens: the ledger's address,
    and how to come by the currency's transfers.
    """

    def __init__(
        self,
        *,
        id_of: IdOf | None = None,
        persons: Mapping[str, bytes] | None = None,
        wanted: Callable[[Policy], bool] | None = None,
        tell: Callable[[Found], None] | None = None,
        tokens: tuple[str, TransfersOf] | None = None,
    ) -> None:
        self.findings = Findings()
        self.state = State()
        self._complaints = Complaints()
        self._notices = NoticeAudit(self.state, self._complaints, _shared(persons or {}))
        self._ledger = LedgerAudit(self.state, self._complaints, id_of)
        self._tokens = TokenAudit(self.state, *tokens) if tokens else None
        self._wanted = wanted
        self._tell = tell
        self._chosen: set[int] = set()

    @property
    def policies(self) -> list[Policy]:
        """The policies that are reported on."""
        return [policy for number, policy in sorted(self.state.policies.items()) if self._is_chosen(number)]

    @property
    def remembered(self) -> int:
        """How many things are remembered, for measuring."""
        state = self.state
        return self._notices.remembered + len(state.loans) + len(state.profiles) + len(state.policies)

    def see(self, logged: Logged) -> None:
        """Check one event, the next in the chain's order.

        Raises: HistoryIncomplete, where what it is about was never told of.
        """
        event, findings = logged.event, self.findings
        findings.events += 1
        if findings.events % _SWEEP == 0:
            self._notices.forget(logged.timestamp)
        if type(event) is NoticeServed:
            self._see_notice(event, logged)
            return  # the rest of the state says nothing of notices
        if type(event) is NoticeRefused:
            self._see_refused(event, logged)
            return
        try:
            broken = self._ledger.check(logged)
        except KeyError:
            raise HistoryIncomplete(
                f"{event.name} in block {logged.block_number} is about something that was never told of"
            ) from None
        if self._tokens:
            self._report_tokens(*self._tokens.see(logged))
        apply(event, logged.timestamp, self.state)
        self._note(event, logged.timestamp)
        if (
            type(event) is PolicyPublished
            and self._wanted
            and self._wanted(self.state.policies[event.policy])
        ):
            self._chosen.add(event.policy)
        loan, _, policy = subjects(event)
        if self._is_about(loan, policy):
            findings.seen[type(event)] += 1
            if type(event) in (LoanOpened, LoanAmended):
                findings.loans += 1
            self._report(broken, logged, event.name, None, loan)

    def finish(self) -> None:
        """Check what needs a whole transaction: to be called when no more events of the last one come."""
        if self._tokens:
            self._report_tokens(*self._tokens.finish())

    def _report_tokens(self, broken: list[Broken], logged: Logged | None) -> None:
        if logged is not None and broken:
            loan, _, policy = subjects(logged.event)
            if self._is_about(loan, policy):
                self._report(broken, logged, logged.event.name, None, loan)

    def _see_notice(self, notice: NoticeServed, logged: Logged) -> None:
        broken, seen = self._notices.check(notice, logged)
        if not self._is_about(notice.loan, None):
            return
        self.findings.served[notice.kind] += 1
        if broken:
            self._report(broken, logged, notice.kind.name.lower(), notice.id, notice.loan)
        if self._tell:
            self._tell(seen.row(logged, notice, tuple(rule for rule, _, _ in broken)))

    def _see_refused(self, event: NoticeRefused, logged: Logged) -> None:
        loan = self.state.loans.get(event.loan)
        if not self._is_about(event.loan, None):
            return
        self.findings.refused[event.reason] += 1
        if self._tell:
            profile = self.state.profiles.get(loan.terms.borrower) if loan else None
            offsets = (profile.offset, profile.other_offset) if profile else (0, 0)
            self._tell(Refused(logged, event, offsets))

    def _is_chosen(self, policy: int) -> bool:
        return self._wanted is None or policy in self._chosen

    def _is_about(self, loan_id: bytes | None, policy: int | None) -> bool:
        """Whether an event is to be reported: of persons all are, of loans and policies those chosen."""
        if self._wanted is None:
            return True
        if loan_id is not None:
            loan = self.state.loans.get(loan_id)
            return loan is not None and loan.terms.policy in self._chosen
        return policy is None or policy in self._chosen

    def _report(
        self, broken: list[Broken], logged: Logged, what: str, notice: bytes | None, loan: bytes | None
    ) -> None:
        for rule, was, wanted in broken:
            violation = Violation(
                rule, what, notice, loan, logged.block_number, logged.timestamp, was, wanted
            )
            self.findings.add(violation)
            if self._tell:
                self._tell(violation)

    def _note(self, event: Event, now: int) -> None:
        """What later events are checked against, besides the state."""
        if isinstance(event, (ContactRegistered, ConsentGranted, ConsentRevoked, ContactCeased)):
            self._notices.changed(event)
        elif isinstance(event, GrievanceLodged):
            self._complaints.lodge(event, now)
        elif isinstance(event, GrievanceAnswered):
            self._complaints.end(event.loan, event.grievance, event.rests_until)
        elif isinstance(event, GrievanceWithdrawn):
            self._complaints.end(event.loan, event.grievance, now)
        elif isinstance(event, GrievancesCarriedOver):
            self._complaints.move(event.loan, event.amendment)


def _shared(persons: Mapping[str, bytes]) -> dict[str, bytes]:
    """The persons who have several addresses: for the others the borrower's caps are theirs."""
    addresses = Counter(persons.values())
    return {borrower: person for borrower, person in persons.items() if addresses[person] > 1}
