"""The rules about notices, each checked when it was served.

They are put here in other words than in the gate: counted over whole windows of history instead of read from
a few remembered moments, and in clock times instead of offsets from midnight. So a mistake in the gate's
arithmetic does not hide itself.

What is remembered grows with loans and borrowers, not with notices: a loan's notices of one kind come in an
order, so that the last one tells whether the next was there before.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, NamedTuple

from duly.domain import calendar
from duly.domain.audit.complaints import Complaints
from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
from duly.domain.events import (
    ConsentGranted,
    ConsentRevoked,
    ContactCeased,
    ContactRegistered,
    Logged,
    NoticeServed,
)
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import (
    ARREARS,
    BETWEEN_ARREARS,
    COOLING_OFF_ENDS,
    SERVICES_PER_DAY,
    Kind,
    notice_id,
)
from duly.domain.policy import ContactLimits
from duly.domain.replay import State
from duly.domain.terms import ZERO_ADDRESS, Schedule

_WINDOW: Final = 32 * DAY
"""The longest gap that a policy can ask for is a month."""

_NOBODY: Final = Profile()
_NEVER: Final = (-1, -1)
_NOT_ONCE: Final = (Kind.ARREARS, Kind.LOAN_ASSIGNED)
"""Said again of the same basis, and told apart by their serial."""

_WITH_AMOUNT: Final = (
    Kind.LOAN_OPENED, Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY, Kind.OVERDUE, Kind.PAYMENT_RECEIVED,
    Kind.LOAN_REPAID, Kind.LOAN_AMENDED, Kind.ARREARS,
)  # fmt: skip
"""The kinds that name an amount."""

Broken = tuple[str, str, str]
"""A rule that was broken, what was, and what was wanted."""


class Row(NamedTuple):
    """A notice as a report tells it.

    policy: the loan's, zero where it has none. offsets: the borrower's, in quarter hours. reminders_day,
    reminders_week, since_last: the reminders that the borrower had had in 24 hours and 7 days, and the
    seconds since the last, None where there was none. services_day: other notices about the loan in 24 hours.
    consent, basis: in words. joined: one message with the notice before. broken: the rules that it breaks.
    """

    logged: Logged
    notice: NoticeServed
    policy: int
    offsets: tuple[int, int]
    reminders_day: int
    reminders_week: int
    since_last: int | None
    services_day: int
    consent: str
    basis: str
    joined: bool
    broken: tuple[str, ...]


@dataclass(slots=True)
class _Told:
    """What a borrower was told about one loan.

    last: basis and serial of the last notice of each kind. services: when what is no reminder was served.
    received: everything credited as of the last notice of a payment. lender: the last new one told of.
    """

    last: dict[Kind, tuple[int, int]] = field(default_factory=dict)
    services: tuple[int, ...] = ()
    received: int = 0
    lender: str = ""
    arrears: int | None = None


class NoticeAudit:
    """Checks notices against the state that an audit keeps.

    persons: which borrower addresses are one person's, where that is known.
    """

    def __init__(self, state: State, complaints: Complaints, persons: Mapping[str, bytes]) -> None:
        self._state = state
        self._complaints = complaints
        self._persons = persons
        self._told: dict[bytes, _Told] = {}
        self._reminders: dict[str | bytes, deque[int]] = {}
        self._changes: dict[str, int] = {}
        self._before: Logged | None = None

    @property
    def remembered(self) -> int:
        """How many things are remembered of notices, for measuring."""
        return (
            len(self._changes)
            + sum(1 + len(times) for times in self._reminders.values())
            + sum(1 + len(told.last) + len(told.services) for told in self._told.values())
        )

    def changed(self, event: ContactRegistered | ConsentGranted | ConsentRevoked | ContactCeased) -> None:
        """Count a change of contact or consent."""
        self._changes[event.borrower] = self._changes.get(event.borrower, 0) + 1

    def forget(self, now: int) -> None:
        """Forget what no window reaches back to any more."""
        for who in [who for who, times in self._reminders.items() if times[-1] < now - _WINDOW]:
            del self._reminders[who]
        for told in self._told.values():
            if told.services and told.services[-1] <= now - DAY:
                told.services = ()

    def check(self, notice: NoticeServed, logged: Logged) -> tuple[list[Broken], "_Seen"]:
        """The rules that a notice breaks, and what a row of a report tells; it is remembered from now on."""
        now = logged.timestamp
        loan = self._state.loans.get(notice.loan)
        joined = self._joins(notice, logged)
        if notice.kind.is_reminder:
            self._before = logged
        if loan is None:
            return [("BASIS-1", "a loan that was never opened", "a loan on the ledger")], _Seen(joined=joined)
        told = self._told.get(loan.id)
        if told is None:
            told = self._told[loan.id] = _Told()
        seen = _Seen(
            loan=loan,
            position=position_of(loan, self._state.servicers.get(loan.lender, ZERO_ADDRESS), now),
            profile=self._state.profiles.get(notice.borrower, _NOBODY),
            reminders=tuple(self._reminders.get(notice.borrower, ())),
            services=told.services,
            joined=joined,
            now=now,
        )
        broken = list(self._broken(notice, loan, told, seen, now))
        self._remember(notice, told, seen, now)
        return broken, seen

    def _joins(self, notice: NoticeServed, logged: Logged) -> bool:
        """CAP-1: several reminders are one message where they are served one after the other in one
        transaction, to one borrower, on one channel, with one text, the loans in ascending order. That the
        gate took it for part of one is not enough.
        """
        before = self._before
        if not notice.together or before is None or before.transaction_hash != logged.transaction_hash:
            return False
        other = before.event
        return (
            isinstance(other, NoticeServed)
            and before.block_number == logged.block_number
            and notice.kind.is_reminder
            and other.content_hash == notice.content_hash
            and other.borrower == notice.borrower
            and other.channel is notice.channel
            and other.loan < notice.loan
        )

    def _broken(
        self, notice: NoticeServed, loan: Loan, told: _Told, seen: "_Seen", now: int
    ) -> Iterator[Broken]:
        position, profile = seen.position, seen.profile
        assert position is not None
        limits = self._state.policies[loan.terms.policy].contact
        last = told.last.get(notice.kind, _NEVER)
        place = (0, notice.serial) if notice.kind is Kind.LOAN_ASSIGNED else (notice.basis, notice.serial)
        if place == last:
            yield "GATE-1", "an id that an earlier notice has", "an id of its own"
        elif place < last:
            yield (
                "GATE-1",
                f"basis {notice.basis}, serial {notice.serial} after a later one",
                "basis and serial of a loan's notices in ascending order",
            )
        if notice.id != notice_id(notice.loan, notice.kind, notice.basis, notice.serial):
            yield "GATE-1", "another id", "the hash of loan, kind, basis and serial"
        if notice.borrower != position.borrower:
            yield "BORROWER-1", f"addressed to {notice.borrower}", f"the borrower, {position.borrower}"
        if notice.server == ZERO_ADDRESS or notice.server not in (position.lender, position.servicer):
            yield "SERVER-1", f"served by {notice.server}", "the loan's lender, or its servicer at the time"
        for was, wanted in self._baseless(notice, loan, told, position, limits, now):
            yield "BASIS-1", was, wanted
        if notice.kind.is_owed:
            if notice.channel is not Channel.IN_APP and not profile.has_contact(notice.channel):
                yield "CONSENT-1", f"no contact for {notice.channel.name.lower()}", "a registered contact"
        elif profile.ceased:
            yield "CONSENT-1", "all contact ceased", "consent in force"
        elif not profile.consents_to(notice.channel):
            yield "CONSENT-1", f"no consent to {notice.channel.name.lower()}", "consent in force"
        for was, wanted in outside(limits, profile, now, limits.lead):
            yield "HOURS-1", was, wanted
        if notice.kind.is_reminder:
            if loan.assigned and told.lender != loan.lender:
                yield "SERVER-1", "the borrower was not told of the new lender", "told before reminding"
            for was in self._complaints.about(loan, now):
                yield "PAUSE-1", was, "no reminder meanwhile"
            if not seen.joined:
                beyond = list(_beyond(limits, seen.reminders, now))
                yield from (("CAP-1", was, wanted) for was, wanted in beyond)
                person = self._persons.get(notice.borrower)
                if person is not None and not beyond:
                    for was, wanted in _beyond(limits, self._of_person(person, now), now):
                        yield "CAP-1", f"{was}, to one person at several addresses", wanted
        else:
            if notice.kind not in _NOT_ONCE and notice.basis == last[0]:
                yield "CAP-2", "said before of the same basis", "once for each loan, kind and basis"
            recent = sum(time > now - DAY for time in told.services) + 1
            if recent > SERVICES_PER_DAY:
                yield "CAP-2", f"{recent} within 24 h", f"at most {SERVICES_PER_DAY} within 24 h"

    def _baseless(
        self,
        notice: NoticeServed,
        loan: Loan,
        told: _Told,
        position: Position,
        limits: ContactLimits,
        now: int,
    ) -> Iterator[tuple[str, str]]:
        """Where a notice says something else than the ledger said at its moment."""
        instalment, amount = 0, 0
        match notice.kind:
            case Kind.LOAN_OPENED:
                amount = position.principal
            case Kind.PAYMENT_RECEIVED:
                amount = position.paid - told.received
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
                changes = self._changes.get(notice.borrower, 0)
                if notice.basis != changes or not notice.basis:
                    yield f"change {notice.basis} of consent", f"{changes} changes"
            case Kind.LOAN_ASSIGNED:
                if not loan.assigned or notice.basis != int(loan.lender, 16):
                    yield "said to be assigned", "another lender, or the first, on the ledger"
            case Kind.ARREARS:
                instalment, amount = position.first_unpaid, position.overdue + position.fees
                if position.missed < ARREARS:
                    yield f"{position.missed} instalments overdue", f"{ARREARS} at least"
                if told.arrears is not None and now - told.arrears < BETWEEN_ARREARS:
                    yield "told of arrears again", f"{BETWEEN_ARREARS // DAY} days later at the earliest"
            case _:
                lodged = self._complaints.lodged_at(loan.id, notice.kind.grievance)
                if lodged is None or lodged != notice.basis:
                    yield "said of a grievance", "no such grievance stands"
        if notice.instalment != instalment:
            yield f"instalment {notice.instalment}", f"instalment {instalment} on the ledger"
        if notice.amount != amount or (notice.kind in _WITH_AMOUNT and amount <= 0):
            yield f"amount {notice.amount}", f"amount {amount} on the ledger"

    def _remember(self, notice: NoticeServed, told: _Told, seen: "_Seen", now: int) -> None:
        place = (0, notice.serial) if notice.kind is Kind.LOAN_ASSIGNED else (notice.basis, notice.serial)
        told.last[notice.kind] = max(place, told.last.get(notice.kind, _NEVER))
        if notice.kind.is_reminder:
            if not seen.joined:
                self._remind(notice.borrower, now)
                if person := self._persons.get(notice.borrower):
                    self._remind(person, now)
            return
        told.services = (*(time for time in told.services if time > now - DAY), now)
        if notice.kind is Kind.PAYMENT_RECEIVED:
            told.received = notice.basis
        elif notice.kind is Kind.LOAN_ASSIGNED:
            told.lender = f"0x{notice.basis:040x}"
        elif notice.kind is Kind.ARREARS:
            told.arrears = now

    def _of_person(self, person: bytes, now: int) -> tuple[int, ...]:
        """A person's reminders. What went to several of their addresses in one second was one message: the
        chain cannot tell, as each address has a salt of its own.
        """
        return tuple(time for time in self._reminders.get(person, ()) if time != now)

    def _remind(self, who: str | bytes, now: int) -> None:
        times = self._reminders.setdefault(who, deque())
        if isinstance(who, bytes) and times and times[-1] == now:
            return
        times.append(now)
        while times[0] < now - _WINDOW:
            times.popleft()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was so when a notice was served."""

    loan: Loan | None = None
    position: Position | None = None
    profile: Profile = _NOBODY
    reminders: tuple[int, ...] = ()
    services: tuple[int, ...] = ()
    joined: bool = False
    now: int = 0

    def row(self, logged: Logged, notice: NoticeServed, broken: tuple[str, ...]) -> Row:
        """The notice as a report tells it."""
        now, reminders = self.now, self.reminders
        return Row(
            logged,
            notice,
            self.loan.terms.policy if self.loan else 0,
            (self.profile.offset, self.profile.other_offset),
            sum(time > now - DAY for time in reminders),
            sum(time > now - 7 * DAY for time in reminders),
            now - reminders[-1] if reminders else None,
            sum(time > now - DAY for time in self.services),
            _consent(notice, self.profile),
            _basis(notice, self.position, self.loan),
            self.joined,
            broken,
        )


def _consent(notice: NoticeServed, profile: Profile) -> str:
    """What allowed a notice on its channel."""
    if notice.kind.is_owed:
        known = profile.has_contact(notice.channel)
        return "owed by law, contact registered" if known else "owed by law, no contact registered"
    if profile.ceased:
        return "all contact ceased"
    return "consent in force" if profile.consents_to(notice.channel) else "no consent"


def _basis(notice: NoticeServed, position: Position | None, loan: Loan | None) -> str:
    """What of the ledger a notice rests on, in words; the amount stands beside it."""
    if position is None or loan is None:
        return "no loan"
    match notice.kind:
        case Kind.INSTALMENT_UPCOMING | Kind.DUE_TODAY | Kind.PAID_AHEAD:
            n = loan.terms.instalments
            which = (
                "the only instalment"
                if loan.terms.schedule is Schedule.BULLET
                else f"instalment {position.next} of {n}"
            )
            state = "paid ahead" if notice.kind is Kind.PAID_AHEAD else "unpaid"
            return f"{which}, due on {calendar.iso(position.next_due_day)}, {state}"
        case Kind.OVERDUE | Kind.ARREARS if position.first_unpaid:
            due = calendar.iso(position.first_unpaid_due_day)
            since = f"instalment {position.first_unpaid}, due on {due}, unpaid"
            return since if position.missed < 2 else f"{since}; {position.missed} in all"
        case Kind.PAYMENT_RECEIVED:
            return "credited since the last such notice"
        case Kind.CONSENT_CHANGED:
            return f"change {notice.basis} of contact or consent"
        case Kind.LOAN_ASSIGNED:
            return "another lender"
        case kind if kind.grievance is not None:
            return f"{kind.grievance.name.lower()} lodged at {notice.basis}"
    return f"the loan is {position.status.name.lower()}"


def outside(limits: ContactLimits, profile: Profile, now: int, lead: int) -> Iterator[tuple[str, str]]:
    """Where a moment is outside the window by the clock on the borrower's wall, under either offset.

    lead: the seconds of the window that must be left.
    """
    for offset in {profile.offset, profile.other_offset}:
        local = datetime.fromtimestamp(now, UTC).astimezone(timezone(timedelta(minutes=15 * offset)))
        second = local.hour * 3600 + local.minute * 60 + local.second
        late = second + lead >= limits.closes * 60
        if second < limits.opens * 60 or late or not limits.weekdays >> local.weekday() & 1:
            wanted = (
                f"{_clock(limits.opens)} to {_clock(limits.closes)}, {lead} s left, on an allowed weekday"
            )
            yield f"{local:%A %H:%M:%S} local time", wanted


def _beyond(limits: ContactLimits, earlier: tuple[int, ...], now: int) -> Iterator[tuple[str, str]]:
    """Where one reminder more is one too many, counting all that came before."""
    for name, span, cap in (("24 h", DAY, limits.per_day), ("7 days", 7 * DAY, limits.per_week)):
        count = sum(time > now - span for time in earlier) + 1
        if count > cap:
            yield f"{count} reminders within {name}", f"at most {cap}"
    if earlier and now - earlier[-1] < limits.gap:
        yield f"{now - earlier[-1]} s after the last reminder", f"at least {limits.gap} s"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
