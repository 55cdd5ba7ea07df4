"""Were the rules kept? Every notice, checked again from the events alone.

The rules are put here in other words than in the gate: counted over whole windows of history instead of read
from a few remembered moments, and in clock times instead of offsets from midnight. So a mistake in the gate's
arithmetic does not hide itself.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
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
    Logged,
    NoticeRefused,
    NoticeServed,
)
from duly.domain.grievance import Grievance
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import (
    ARREARS,
    BETWEEN_ARREARS,
    COOLING_OFF_ENDS,
    SERVICES_PER_DAY,
    Kind,
    Refusal,
    notice_id,
)
from duly.domain.policy import ContactLimits
from duly.domain.replay import State, apply
from duly.domain.terms import ZERO_ADDRESS

RULES = (
    "GATE-1", "BORROWER-1", "SERVER-1", "BASIS-1", "CONSENT-1", "PAUSE-1", "HOURS-1", "CAP-1", "CAP-2",
)  # fmt: skip
"""The rules that the chain alone can prove to have been kept."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A notice that broke a rule: which, when (UTC seconds), what was and what the rule wants."""

    rule: str
    notice: bytes
    loan: bytes
    kind: Kind
    block: int
    timestamp: int
    was: str
    wanted: str


@dataclass(slots=True)
class Findings:
    """What an audit saw: notices by kind, refusals by reason, and what broke a rule."""

    events: int = 0
    loans: int = 0
    served: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[Refusal] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def notices(self) -> int:
        return self.served.total()


class Audit:
    """Sees all events of a chain in their order, and checks each notice against what was so at its moment."""

    def __init__(self) -> None:
        self.findings = Findings()
        self._state = State()
        self._ids: set[bytes] = set()
        self._reminders: defaultdict[str, deque[int]] = defaultdict(deque)
        self._services: defaultdict[bytes, deque[int]] = defaultdict(deque)
        self._said: set[tuple[bytes, Kind, int]] = set()
        self._received: Counter[bytes] = Counter()
        self._complaints = _Complaints()
        self._changes: Counter[str] = Counter()
        self._told: dict[bytes, str] = {}
        self._arrears: dict[bytes, int] = {}

    def see(self, logged: Logged) -> None:
        """Check one event, the next in the chain's order.

        Raises: HistoryIncomplete, where what it is about was never told of.
        """
        event = logged.event
        self.findings.events += 1
        if isinstance(event, NoticeServed):
            self.findings.served[event.kind] += 1
            for rule, was, wanted in self._broken(event, logged.timestamp):
                self.findings.violations.append(
                    Violation(
                        rule,
                        event.id,
                        event.loan,
                        event.kind,
                        logged.block_number,
                        logged.timestamp,
                        was,
                        wanted,
                    )
                )
            self._remember(event, logged.timestamp)
        elif isinstance(event, NoticeRefused):
            self.findings.refused[event.reason] += 1
        apply(event, logged.timestamp, self._state)
        self._note(event, logged.timestamp)
        self.findings.loans = len(self._state.loans)

    def _broken(self, notice: NoticeServed, now: int) -> Iterator[tuple[str, str, str]]:
        """The rules that a notice breaks: rule, what was, what was wanted."""
        loan = self._state.loans.get(notice.loan)
        if loan is None:
            yield "BASIS-1", "a loan that was never opened", "a loan on the ledger"
            return
        position = position_of(loan, self._state.servicers.get(loan.lender, ZERO_ADDRESS), now)
        limits = self._state.policies[loan.terms.policy].contact
        profile = self._state.profiles.get(notice.borrower, Profile())
        if notice.id in self._ids:
            yield "GATE-1", "an id that an earlier notice has", "an id of its own"
        if notice.id != notice_id(notice.loan, notice.kind, notice.basis, notice.serial):
            yield "GATE-1", "another id", "the hash of loan, kind, basis and serial"
        if notice.borrower != position.borrower:
            yield "BORROWER-1", f"addressed to {notice.borrower}", f"the borrower, {position.borrower}"
        if notice.server not in {position.lender, position.servicer} - {ZERO_ADDRESS}:
            yield "SERVER-1", f"served by {notice.server}", "the loan's lender, or its servicer at the time"
        for was, wanted in self._baseless(notice, loan, position, limits, now):
            yield "BASIS-1", was, wanted
        if notice.kind.is_owed:
            if notice.channel is not Channel.IN_APP and not profile.has_contact(notice.channel):
                yield "CONSENT-1", f"no contact for {notice.channel.name.lower()}", "a registered contact"
        elif profile.ceased:
            yield "CONSENT-1", "all contact ceased", "consent in force"
        elif not profile.consents_to(notice.channel):
            yield "CONSENT-1", f"no consent to {notice.channel.name.lower()}", "consent in force"
        for was, wanted in _outside(limits, profile, now):
            yield "HOURS-1", was, wanted
        if notice.kind.is_reminder:
            if loan.assigned and self._told.get(loan.id) != loan.lender:
                yield "SERVER-1", "the borrower was not told of the new lender", "told before reminding"
            for was in self._complaints.about(loan, now):
                yield "PAUSE-1", was, "no reminder meanwhile"
            for was, wanted in _beyond(limits, self._reminders[notice.borrower], now):
                yield "CAP-1", was, wanted
        else:
            again = notice.kind in (Kind.ARREARS, Kind.LOAN_ASSIGNED)
            if not again and (notice.loan, notice.kind, notice.basis) in self._said:
                yield "CAP-2", "said before of the same basis", "once for each loan, kind and basis"
            recent = sum(time > now - DAY for time in self._services[notice.loan]) + 1
            if recent > SERVICES_PER_DAY:
                yield "CAP-2", f"{recent} within 24 h", f"at most {SERVICES_PER_DAY} within 24 h"

    def _baseless(
        self, notice: NoticeServed, loan: Loan, position: Position, limits: ContactLimits, now: int
    ) -> Iterator[tuple[str, str]]:
        """Where a notice says something else than the ledger said at its moment."""
        instalment, amount = 0, 0
        match notice.kind:
            case Kind.LOAN_OPENED:
                amount = position.principal
            case Kind.PAYMENT_RECEIVED:
                amount = position.paid - self._received[notice.loan]
            case Kind.LOAN_REPAID:
                amount = position.paid
                if position.status is not Status.REPAID:
                    yield "said to be repaid", f"{position.status.name.lower()} on the ledger"
            case Kind.OVERDUE:
                instalment, amount = position.first_unpaid, position.overdue + position.fees
                if not position.overdue:
                    yield "said to be overdue", "nothing overdue on the ledger"
                elif position.today - position.first_unpaid_due_day < limits.overdue_days:
                    late = position.today - position.first_unpaid_due_day
                    yield f"{late} days after the due day", f"{limits.overdue_days} days at the earliest"
            case Kind.INSTALMENT_UPCOMING | Kind.DUE_TODAY:
                instalment, amount = position.next, position.next_amount
                if position.overdue:
                    yield "said to be only due", "instalments overdue on the ledger"
                left = position.next_due_day - position.today
                if notice.kind is Kind.DUE_TODAY and left != 0:
                    yield f"{left} days before the due day", "on the due day"
                elif notice.kind is Kind.INSTALMENT_UPCOMING and not 0 < left <= limits.upcoming_days:
                    yield f"{left} days before the due day", f"1 to {limits.upcoming_days} days"
            case Kind.PAID_AHEAD:
                instalment = position.next
                if not instalment or position.next_amount or position.overdue:
                    yield "said to be paid ahead", "the next instalment unpaid, or none, on the ledger"
            case Kind.LOAN_AMENDED:
                amount = position.principal
                if not loan.amends:
                    yield "said to be amended", "no amendment on the ledger"
            case Kind.COOLING_OFF_ENDING:
                days = self._state.policies[loan.terms.policy].lending.cooling_off_days
                opened = (loan.opened_at + 900 * loan.terms.calendar_offset) // DAY
                left = opened + days - position.today
                if loan.amends or not days or position.status is not Status.ACTIVE:
                    yield "said to end its cooling-off period", "none runs on the ledger"
                elif not 0 <= left <= COOLING_OFF_ENDS:
                    yield f"{left} days before the cooling-off period ends", f"0 to {COOLING_OFF_ENDS} days"
            case Kind.CONSENT_CHANGED:
                if notice.basis != self._changes[notice.borrower] or not notice.basis:
                    yield f"change {notice.basis} of consent", f"{self._changes[notice.borrower]} changes"
            case Kind.LOAN_ASSIGNED:
                if not loan.assigned or notice.basis != int(loan.lender, 16):
                    yield "said to be assigned", "another lender, or the first, on the ledger"
            case Kind.ARREARS:
                instalment, amount = position.first_unpaid, position.overdue + position.fees
                if position.missed < ARREARS:
                    yield f"{position.missed} instalments overdue", f"{ARREARS} at least"
                last = self._arrears.get(loan.id)
                if last is not None and now - last < BETWEEN_ARREARS:
                    yield "told of arrears again", f"{BETWEEN_ARREARS // DAY} days later at the earliest"
            case _:
                lodged = self._complaints.lodged_at(loan.id, notice.kind.grievance)
                if lodged is None or lodged != notice.basis:
                    yield "said of a grievance", "no such grievance stands"
        if notice.instalment != instalment:
            yield f"instalment {notice.instalment}", f"instalment {instalment} on the ledger"
        if notice.amount != amount or (notice.kind in _WITH_AMOUNT and amount <= 0):
            yield f"amount {notice.amount}", f"amount {amount} on the ledger"

    def _remember(self, notice: NoticeServed, now: int) -> None:
        self._ids.add(notice.id)
        if notice.kind.is_reminder:
            reminders = self._reminders[notice.borrower]
            reminders.append(now)
            # The longest gap that a policy can ask for is a month.
            while reminders[0] < now - 32 * DAY:
                reminders.popleft()
            return
        self._said.add((notice.loan, notice.kind, notice.basis))
        services = self._services[notice.loan]
        services.append(now)
        while services[0] <= now - DAY:
            services.popleft()
        if notice.kind is Kind.PAYMENT_RECEIVED:
            self._received[notice.loan] = notice.basis
        elif notice.kind is Kind.LOAN_ASSIGNED:
            self._told[notice.loan] = f"0x{notice.basis:040x}"
        elif notice.kind is Kind.ARREARS:
            self._arrears[notice.loan] = now

    def _note(self, event: Event, now: int) -> None:
        """What later notices are checked against, besides the state."""
        if isinstance(event, (ContactRegistered, ConsentGranted, ConsentRevoked, ContactCeased)):
            self._changes[event.borrower] += 1
        elif isinstance(event, GrievanceLodged):
            self._complaints.lodge(event, now)
        elif isinstance(event, (GrievanceAnswered, GrievanceWithdrawn)):
            policy = self._state.policies[self._state.loans[event.loan].terms.policy]
            days = policy.contact.pause_days if isinstance(event, GrievanceAnswered) else 0
            self._complaints.end(event.loan, event.grievance, now + days * DAY)
        elif isinstance(event, GrievancesCarriedOver):
            self._complaints.move(event.loan, event.amendment)


@dataclass(slots=True)
class _Complaint:
    """A grievance, the loan that it is about now, and until when it rests reminders; none while it stands."""

    lodged: GrievanceLodged
    at: int
    loan: bytes
    until: int | None = None


class _Complaints:
    """Every grievance, one by one."""

    def __init__(self) -> None:
        self._of: defaultdict[str, list[_Complaint]] = defaultdict(list)
        self._borrowers: dict[bytes, str] = {}

    def lodge(self, event: GrievanceLodged, now: int) -> None:
        self._borrowers[event.loan] = event.borrower
        self._of[event.borrower].append(_Complaint(event, now, event.loan))

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

    def _standing(self, loan: bytes, grievance: Grievance | None) -> Iterator[_Complaint]:
        for complaint in self._of.get(self._borrowers.get(loan, ""), ()):
            same = complaint.loan == loan and complaint.lodged.grievance is grievance
            if same and complaint.until is None:
                yield complaint


_WITH_AMOUNT = (
    Kind.LOAN_OPENED, Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY, Kind.OVERDUE, Kind.PAYMENT_RECEIVED,
    Kind.LOAN_REPAID, Kind.LOAN_AMENDED, Kind.ARREARS,
)  # fmt: skip
"""The kinds that name an amount."""


def _outside(limits: ContactLimits, profile: Profile, now: int) -> Iterator[tuple[str, str]]:
    """Where a moment is outside the window by the clock on the borrower's wall, under either offset."""
    wanted = f"{_clock(limits.opens)} to {_clock(limits.closes)}, {limits.lead} s left, on an allowed weekday"
    for offset in sorted({profile.offset, profile.other_offset}):
        local = datetime.fromtimestamp(now, UTC).astimezone(timezone(timedelta(minutes=15 * offset)))
        second = local.hour * 3600 + local.minute * 60 + local.second
        late = second + limits.lead >= limits.closes * 60
        if second < limits.opens * 60 or late or not limits.weekdays >> local.weekday() & 1:
            yield f"{local:%A %H:%M:%S} local time", wanted


def _beyond(limits: ContactLimits, earlier: deque[int], now: int) -> Iterator[tuple[str, str]]:
    """Where one reminder more is one too many, counting all that came before."""
    for name, span, cap in (("24 h", DAY, limits.per_day), ("7 days", 7 * DAY, limits.per_week)):
        count = sum(time > now - span for time in earlier) + 1
        if count > cap:
            yield f"{count} reminders within {name}", f"at most {cap}"
    if earlier and now - earlier[-1] < limits.gap:
        yield f"{now - earlier[-1]} s after the last reminder", f"at least {limits.gap} s"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
