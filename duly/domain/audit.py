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
from duly.domain.consent import Profile
from duly.domain.events import Logged, NoticeRefused, NoticeServed
from duly.domain.loan import Position, Status, position_of
from duly.domain.notice import SERVICES_PER_DAY, Kind, Refusal, notice_id
from duly.domain.policy import ContactLimits
from duly.domain.replay import State, apply
from duly.domain.terms import ZERO_ADDRESS

RULES = ("GATE-1", "BORROWER-1", "SERVER-1", "BASIS-1", "CONSENT-1", "HOURS-1", "CAP-1", "CAP-2")
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
        for was, wanted in self._baseless(notice, position, limits):
            yield "BASIS-1", was, wanted
        if profile.ceased:
            yield "CONSENT-1", "all contact ceased", "consent in force"
        elif not profile.consents_to(notice.channel):
            yield "CONSENT-1", f"no consent to {notice.channel.name.lower()}", "consent in force"
        for was, wanted in _outside(limits, profile, now):
            yield "HOURS-1", was, wanted
        if notice.kind.is_reminder:
            for was, wanted in _beyond(limits, self._reminders[notice.borrower], now):
                yield "CAP-1", was, wanted
        else:
            if (notice.loan, notice.kind, notice.basis) in self._said:
                yield "CAP-2", "said before of the same basis", "once for each loan, kind and basis"
            recent = sum(time > now - DAY for time in self._services[notice.loan]) + 1
            if recent > SERVICES_PER_DAY:
                yield "CAP-2", f"{recent} within 24 h", f"at most {SERVICES_PER_DAY} within 24 h"

    def _baseless(
        self, notice: NoticeServed, position: Position, limits: ContactLimits
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
        if notice.instalment != instalment:
            yield f"instalment {notice.instalment}", f"instalment {instalment} on the ledger"
        if notice.amount != amount or amount <= 0:
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
