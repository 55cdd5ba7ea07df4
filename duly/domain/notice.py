"""The notice gate's decision, in Python. Mirrors `contracts/NoticeRegistry.sol`, reason by reason.

So the service knows what the gate will say without asking it, for a million loans and for moments to come.
The gate itself is the contract: what is decided here is only ever a forecast.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from eth_hash.auto import keccak

from duly.domain import calendar
from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
from duly.domain.grievance import FOREVER, NO_CASE, Case, Grievance
from duly.domain.loan import Position, Status
from duly.domain.policy import ContactLimits
from duly.domain.terms import ZERO_ADDRESS

REMEMBERED_REMINDERS = 7
LONG_AGO = 2**20 - 1
"""Seconds before the newest of some moments, after which an earlier one is forgotten; no cap looks back so
far."""
SERVICES_PER_DAY = 3
"""Most notices that serve the borrower, about one loan in 24 hours."""

COOLING_OFF_ENDS = 3
"""The cooling-off period is about to end in its last days."""
ARREARS = 2
BETWEEN_ARREARS = 180 * DAY
"""Arrears are told of when so many instalments are overdue, and not again before half a year is over."""

NO_LAST_DAY = 2**256 - 1

# Flags of what was said.
OPENED = 1
DUE_TODAY = 2
REPAID = 4
AHEAD = 8
AMENDED = 16
COOLING_OFF = 32


class Kind(IntEnum):
    """What a notice says. Upcoming, due today and overdue are reminders; the others serve the borrower.

    The last four are owed to the borrower by law: they need no consent and are served in spite of a cease, to
    a registered contact; the in-app inbox does not even need that.
    """

    LOAN_OPENED = 0
    INSTALMENT_UPCOMING = 1
    DUE_TODAY = 2
    OVERDUE = 3
    PAYMENT_RECEIVED = 4
    LOAN_REPAID = 5
    PAID_AHEAD = 6
    LOAN_AMENDED = 7
    COOLING_OFF_ENDING = 8
    CONSENT_CHANGED = 9
    DISPUTE_RECEIVED = 10
    HARDSHIP_RECEIVED = 11
    DISPUTE_ANSWERED = 12
    HARDSHIP_ANSWERED = 13
    LOAN_ASSIGNED = 14
    ARREARS = 15

    @property
    def is_reminder(self) -> bool:
        """Counts against the caps on reminders."""
        return Kind.INSTALMENT_UPCOMING <= self <= Kind.OVERDUE

    @property
    def is_owed(self) -> bool:
        """The law wants the borrower to know, consent or not."""
        return self >= Kind.DISPUTE_ANSWERED

    @property
    def grievance(self) -> Grievance | None:
        """What it confirms or answers."""
        return _GRIEVANCES.get(self)


_GRIEVANCES = {
    Kind.DISPUTE_RECEIVED: Grievance.DISPUTE,
    Kind.DISPUTE_ANSWERED: Grievance.DISPUTE,
    Kind.HARDSHIP_RECEIVED: Grievance.HARDSHIP,
    Kind.HARDSHIP_ANSWERED: Grievance.HARDSHIP,
}
RECEIPTS = (Kind.DISPUTE_RECEIVED, Kind.HARDSHIP_RECEIVED)
ANSWERS = (Kind.DISPUTE_ANSWERED, Kind.HARDSHIP_ANSWERED)
_FLAGS = {
    Kind.LOAN_OPENED: OPENED,
    Kind.DUE_TODAY: DUE_TODAY,
    Kind.LOAN_REPAID: REPAID,
    Kind.PAID_AHEAD: AHEAD,
    Kind.LOAN_AMENDED: AMENDED,
    Kind.COOLING_OFF_ENDING: COOLING_OFF,
}
"""The flag that it was said, of what is said once."""


class Refusal(IntEnum):
    """Why a notice is refused, in the order in which the reasons are looked for.

    What `Decision.actual` and `Decision.required` mean stands with `Refusal` in `INoticeRegistry.sol`.
    """

    NONE = 0
    UNKNOWN_LOAN = 1
    NOT_SERVER = 2
    NO_BASIS = 3
    WRONG_INSTALMENT = 4
    ALREADY_SAID = 5
    TOO_EARLY = 6
    TOO_LATE = 7
    WRONG_AMOUNT = 8
    NO_CONTACT = 9
    CEASED = 10
    NO_CONSENT = 11
    NOT_TOLD_OF_ASSIGNMENT = 12
    RESTING = 13
    OUTSIDE_HOURS = 14
    TOO_SOON = 15
    DAY_CAP = 16
    WEEK_CAP = 17
    SERVICE_CAP = 18


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice to the borrower of a loan; there is no field for anybody else.

    `instalment` and `amount` (smallest unit) are checked against the ledger; `content_hash` is the salted
    hash of the words.
    """

    loan: bytes
    kind: Kind
    instalment: int
    amount: int
    channel: Channel
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What was already said about a loan; the fields of `INoticeRegistry.Said`.

    `received` is everything credited as of the last notice of a payment; `next` the instalment of the last
    notice before or on a due day, `upcoming` how many upcoming notices were served about it; `missed` and
    `overdue` the same of overdue notices; `flags` are `OPENED`, `DUE_TODAY` and `AHEAD` (of `next`),
    `REPAID`, `AMENDED` and `COOLING_OFF`. `services` holds the times (UTC seconds) of the last three service
    notices, newest first.
    """

    received: int = 0
    next: int = 0
    upcoming: int = 0
    missed: int = 0
    overdue: int = 0
    flags: int = 0
    services: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SeldomSaid:
    """What is seldom said about a loan; the fields of `INoticeRegistry.SeldomSaid`.

    `lender` is the new lender of whom the borrower was told last, the zero address where of none, and
    `assignments` how often they were told of one; `arrears_at` (UTC seconds) and `arrears` are when and how
    often they were told of arrears; `consents` is after how many changes of contact and consent they were
    told of them.
    """

    lender: str = ZERO_ADDRESS
    assignments: int = 0
    arrears_at: int = 0
    arrears: int = 0
    consents: int = 0


NOTHING_SELDOM = SeldomSaid()


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a notice is refused, with what was and what was wanted; `Refusal.NONE` where it is not."""

    reason: Refusal
    actual: int = 0
    required: int = 0


ALLOWED = Decision(Refusal.NONE)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a decision is made from.

    The position is as of the moment of the decision. `reminders` are the times (UTC seconds) of the
    borrower's last seven, newest first. `rests_until` is until when reminders rest for grievances,
    `cooling_off_days` how long the policy lets the borrower rescind; `dispute` and `hardship` are the loan's.
    """

    position: Position
    limits: ContactLimits
    profile: Profile
    said: Said
    reminders: tuple[int, ...] = ()
    seldom_said: SeldomSaid = NOTHING_SELDOM
    rests_until: int = 0
    cooling_off_days: int = 0
    dispute: Case = NO_CASE
    hardship: Case = NO_CASE


@dataclass(frozen=True, slots=True)
class Ground:
    """What the ledger lets a notice of some kind say.

    On the days from `first_day` to `last_day` (in the loan's calendar, both included), of this instalment and
    amount. `basis` and `serial` make the notice's id: what it is about, and how many of the kind were served
    about that before.
    """

    instalment: int = 0
    amount: int = 0
    first_day: int = 0
    last_day: int = NO_LAST_DAY
    basis: int = 0
    serial: int = 0


_NOTHING = Ground()
_SAID_ONCE = Decision(Refusal.ALREADY_SAID, 1, 1)


def notice_id(loan: bytes, kind: Kind, basis: int, serial: int) -> bytes:
    """A notice's id, known before it is served: keccak-256 of loan, kind, basis and serial, ABI-encoded."""
    return keccak(loan + b"".join(value.to_bytes(32, "big") for value in (kind, basis, serial)))


# ---------------------------------------------------------------------------------------- asking the gate


def decide(notice: Notice, facts: Facts, server: str, now: int, *, together: bool = False) -> Decision:
    """Why the notice would be refused if `server` served it now; mirrors `refusal`.

    together: it is a reminder that is part of the message of another, which passed the caps (see
    `continues`).
    """
    decision = _check_server(facts.position, server)
    if decision.reason:
        return decision
    decision = _check_ground(notice, facts)
    if decision.reason:
        return decision
    decision = _check_consent(notice.kind, notice.channel, facts.profile)
    if decision.reason:
        return decision
    decision = _check_rest(notice.kind, facts, now)
    if decision.reason:
        return decision
    decision = _check_hours(facts, now, facts.limits.lead)
    if decision.reason:
        return decision
    if together:
        return ALLOWED
    if notice.kind.is_reminder:
        return check_caps(facts.limits, facts.reminders, now)
    return _check_services(notice.kind, facts, now)


def continues(notice: Notice, borrower: str, last: Notice | None, last_borrower: str) -> bool:
    """Whether a reminder is part of the message of the last reminder of its batch that was served: the same
    words to the same borrower on the same channel. Ascending loans, so that none is in it twice.
    """
    return (
        notice.kind.is_reminder
        and last is not None
        and last.content_hash == notice.content_hash
        and last_borrower == borrower
        and last.channel is notice.channel
        and last.loan < notice.loan
    )


def standing(notice: Notice, facts: Facts, server: str, now: int) -> Decision:
    """Whether a notice that was served may still be delivered now, or why not any more; mirrors `standing`.

    Looks at server, basis, consent, grievances and hours; not at caps, which the notice itself has used up,
    and not at the lead time, which is there to be used.
    """
    decision = _check_server(facts.position, server)
    if decision.reason:
        return decision
    # What the notice itself said does not speak against it.
    said, paid = replace(facts.said, flags=0), facts.position.paid
    if notice.kind is Kind.PAYMENT_RECEIVED and notice.amount <= paid:
        said = replace(said, received=paid - notice.amount)
    facts = replace(facts, said=said, dispute=_unsaid(facts.dispute), hardship=_unsaid(facts.hardship))
    # A reminder says nothing of these.
    if not notice.kind.is_reminder:
        facts = replace(facts, seldom_said=replace(facts.seldom_said, lender=ZERO_ADDRESS, consents=0))
    decision = _check_ground(notice, facts)
    if decision.reason:
        return decision
    decision = _check_consent(notice.kind, notice.channel, facts.profile)
    if decision.reason:
        return decision
    decision = _check_rest(notice.kind, facts, now)
    if decision.reason:
        return decision
    return _check_hours(facts, now, lead=0)


def _unsaid(case: Case) -> Case:
    return replace(case, received=False, answered_at=0)


def earliest(kind: Kind, instalment: int, channel: Channel, facts: Facts, now: int) -> int | None:
    """The earliest moment from now on at which a notice could be served, as things stand; mirrors `earliest`.

    Only time is imagined to pass: no payment, no other notice, no change of consent. None where waiting does
    not help.
    """
    position, limits = facts.position, facts.limits
    if position.status is Status.NONE:
        return None
    decision, base = ground(kind, facts)
    if decision.reason or instalment != base.instalment:
        return None
    if _check_consent(kind, channel, facts.profile).reason:
        return None
    if kind.is_reminder and (
        _check_rest(kind, facts, now).reason is Refusal.NOT_TOLD_OF_ASSIGNMENT or facts.rests_until == FOREVER
    ):
        return None

    moment = now
    if base.first_day > position.today:
        moment = calendar.start_of(base.first_day, position.calendar_offset)
    if kind.is_reminder:
        moment = max(
            moment,
            facts.rests_until,
            newest(facts.reminders, 1) + limits.gap,
            newest(facts.reminders, limits.per_day) + DAY,
            newest(facts.reminders, limits.per_week) + 7 * DAY,
        )
    else:
        if kind is Kind.ARREARS:
            moment = max(moment, _next_arrears(facts.seldom_said))
        moment = max(moment, newest(facts.said.services, SERVICES_PER_DAY) + DAY)
    moment = next_in_hours(moment, limits, facts.profile)
    if calendar.local_day(moment, position.calendar_offset) > base.last_day:
        return None
    return moment


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said to a borrower: about a loan, and when they were reminded."""

    said: Said = Said()
    seldom: SeldomSaid = NOTHING_SELDOM
    reminders: tuple[int, ...] = ()


def after_serving(
    kind: Kind, instalment: int, basis: int, spoken: Spoken, now: int, *, together: bool = False
) -> Spoken:
    """What was said once a notice is served now, whose basis tells what of it is kept.

    together: it is part of a message that was counted already.
    """
    said, seldom, reminders = spoken.said, spoken.seldom, spoken.reminders
    if together:
        pass
    elif kind.is_reminder:
        reminders = push(reminders, now, REMEMBERED_REMINDERS)
    else:
        said = replace(said, services=push(said.services, now, SERVICES_PER_DAY))

    if kind in (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY, Kind.PAID_AHEAD):
        if said.next != instalment:
            said = replace(said, next=instalment, upcoming=0, flags=said.flags & ~(DUE_TODAY | AHEAD))
        if kind is Kind.INSTALMENT_UPCOMING:
            said = replace(said, upcoming=said.upcoming + 1)
    elif kind is Kind.OVERDUE:
        count = said.overdue if said.missed == instalment else 0
        said = replace(said, missed=instalment, overdue=count + 1)
    elif kind is Kind.PAYMENT_RECEIVED:
        said = replace(said, received=basis)
    elif kind is Kind.LOAN_ASSIGNED:
        seldom = replace(seldom, lender=f"0x{basis:040x}", assignments=seldom.assignments + 1)
    elif kind is Kind.ARREARS:
        seldom = replace(seldom, arrears_at=now, arrears=seldom.arrears + 1)
    elif kind is Kind.CONSENT_CHANGED:
        seldom = replace(seldom, consents=basis)
    if flag := _FLAGS.get(kind):
        said = replace(said, flags=said.flags | flag)
    return Spoken(said, seldom, reminders)


# ---------------------------------------------------------------------------------------- the checks


def ground(kind: Kind, facts: Facts) -> tuple[Decision, Ground]:
    """What the ledger lets a notice of this kind say; `NO_BASIS` or `ALREADY_SAID` where nothing."""
    position, said = facts.position, facts.said
    if kind is Kind.LOAN_OPENED:
        base = Ground(amount=position.principal)
        return (_SAID_ONCE if said.flags & OPENED else ALLOWED), base

    if kind is Kind.LOAN_REPAID:
        base = Ground(amount=position.paid)
        if position.status is not Status.REPAID:
            return Decision(Refusal.NO_BASIS, position.status, Status.REPAID), base
        return (_SAID_ONCE if said.flags & REPAID else ALLOWED), base

    if kind is Kind.PAYMENT_RECEIVED:
        # An amendment takes what was paid ahead along, so that less may be credited than was said.
        base = Ground(amount=max(0, position.paid - said.received), basis=position.paid)
        if position.paid == 0:
            return Decision(Refusal.NO_BASIS, 0, 1), base
        return (ALLOWED if base.amount else _SAID_ONCE), base

    if kind > Kind.PAID_AHEAD:
        return _ground_of_others(kind, facts)

    if kind is Kind.OVERDUE:
        instalment = position.first_unpaid
        if instalment == 0:
            return Decision(Refusal.NO_BASIS, 0, 1), _NOTHING
        return ALLOWED, Ground(
            instalment=instalment,
            amount=position.overdue + position.fees,
            # At least a day after the due day, so that the instalment is overdue when the day has come.
            first_day=position.first_unpaid_due_day + facts.limits.overdue_days,
            basis=instalment,
            serial=said.overdue if said.missed == instalment else 0,
        )

    if position.overdue:
        return Decision(Refusal.NO_BASIS, position.overdue, 0), _NOTHING
    ahead = kind is Kind.PAID_AHEAD
    if position.next == 0 or ahead != (position.next_amount == 0):
        return Decision(Refusal.NO_BASIS, position.next_amount, int(not ahead)), _NOTHING
    instalment, due_day = position.next, position.next_due_day
    spoken = said.next == instalment
    if ahead:
        base = Ground(instalment, last_day=due_day, basis=instalment)
        return (_SAID_ONCE if spoken and said.flags & AHEAD else ALLOWED), base
    if kind is Kind.DUE_TODAY:
        base = Ground(instalment, position.next_amount, due_day, due_day, instalment)
        return (_SAID_ONCE if spoken and said.flags & DUE_TODAY else ALLOWED), base
    return ALLOWED, Ground(
        instalment=instalment,
        amount=position.next_amount,
        first_day=due_day - facts.limits.upcoming_days,
        last_day=due_day - 1,
        basis=instalment,
        serial=said.upcoming if spoken else 0,
    )


def _ground_of_others(kind: Kind, facts: Facts) -> tuple[Decision, Ground]:
    """The same of what is told of besides payments and instalments: each once."""
    position, seldom = facts.position, facts.seldom_said
    base, found, wanted = _NOTHING, 0, 1
    known = bool(facts.said.flags & _FLAGS.get(kind, 0))
    if kind is Kind.LOAN_AMENDED:
        found = int(position.amends)
        base = Ground(amount=position.principal)
    elif kind is Kind.COOLING_OFF_ENDING:
        if not position.amends and position.status is Status.ACTIVE:
            found = facts.cooling_off_days
        last_day = calendar.local_day(position.opened_at, position.calendar_offset) + found
        base = Ground(first_day=last_day - COOLING_OFF_ENDS, last_day=last_day)
    elif kind is Kind.CONSENT_CHANGED:
        found = facts.profile.changes
        base = Ground(basis=found)
        known = seldom.consents == found
    elif kind is Kind.LOAN_ASSIGNED:
        found = int(position.assigned)
        base = Ground(basis=int(position.lender, 16), serial=seldom.assignments)
        known = seldom.lender == position.lender
    elif kind is Kind.ARREARS:
        found, wanted = position.missed, ARREARS
        base = Ground(
            instalment=position.first_unpaid,
            amount=position.overdue + position.fees,
            basis=position.first_unpaid,
            serial=seldom.arrears,
        )
    else:
        case = facts.dispute if kind.grievance is Grievance.DISPUTE else facts.hardship
        found = 0 if case.answered_at else case.since
        base = Ground(basis=found)
        known = case.received and kind in RECEIPTS
    if found < wanted:
        return Decision(Refusal.NO_BASIS, found, wanted), base
    return (_SAID_ONCE if known else ALLOWED), base


def _check_server(position: Position, server: str) -> Decision:
    """SERVER-1"""
    if position.status is Status.NONE:
        return Decision(Refusal.UNKNOWN_LOAN)
    number = int(server, 16)
    if server != position.lender and (server != position.servicer or number == 0):
        return Decision(Refusal.NOT_SERVER, number, int(position.lender, 16))
    return ALLOWED


def _check_ground(notice: Notice, facts: Facts) -> Decision:
    """BASIS-1: the notice says what the ledger says, on a day on which it may be said."""
    decision, base = ground(notice.kind, facts)
    if decision.reason is Refusal.NO_BASIS:
        return decision
    if notice.instalment != base.instalment:
        return Decision(Refusal.WRONG_INSTALMENT, notice.instalment, base.instalment)
    if decision.reason:
        return decision
    today = facts.position.today
    if today < base.first_day:
        return Decision(Refusal.TOO_EARLY, today, base.first_day)
    if today > base.last_day:
        return Decision(Refusal.TOO_LATE, today, base.last_day)
    if notice.amount != base.amount:
        return Decision(Refusal.WRONG_AMOUNT, notice.amount, base.amount)
    return ALLOWED


def _check_consent(kind: Kind, channel: Channel, profile: Profile) -> Decision:
    """CONSENT-1"""
    if kind.is_owed and channel is Channel.IN_APP:
        return ALLOWED
    if not profile.has_contact(channel):
        return Decision(Refusal.NO_CONTACT, channel)
    if kind.is_owed:
        return ALLOWED
    if profile.ceased:
        return Decision(Refusal.CEASED)
    if not profile.consents_to(channel):
        return Decision(Refusal.NO_CONSENT, channel)
    return ALLOWED


def _check_rest(kind: Kind, facts: Facts, now: int) -> Decision:
    """PAUSE-1; and whoever takes over a loan has to say so first."""
    if not kind.is_reminder:
        return ALLOWED
    position, told = facts.position, facts.seldom_said.lender
    if position.assigned and told != position.lender:
        return Decision(Refusal.NOT_TOLD_OF_ASSIGNMENT, int(told, 16), int(position.lender, 16))
    if now < facts.rests_until:
        return Decision(Refusal.RESTING, now, facts.rests_until)
    return ALLOWED


def _check_hours(facts: Facts, now: int, lead: int) -> Decision:
    """HOURS-1"""
    opens = next_in_hours(now, facts.limits, facts.profile, lead)
    return ALLOWED if opens == now else Decision(Refusal.OUTSIDE_HOURS, now, opens)


def check_caps(limits: ContactLimits, reminders: tuple[int, ...], now: int) -> Decision:
    """CAP-1: whether one more reminder may be served now, after those at the given times, newest first."""
    allowed = newest(reminders, 1) + limits.gap
    if now < allowed:
        return Decision(Refusal.TOO_SOON, now, allowed)
    allowed = newest(reminders, limits.per_day) + DAY
    if now < allowed:
        return Decision(Refusal.DAY_CAP, now, allowed)
    allowed = newest(reminders, limits.per_week) + 7 * DAY
    if now < allowed:
        return Decision(Refusal.WEEK_CAP, now, allowed)
    return ALLOWED


def _next_arrears(seldom: SeldomSaid) -> int:
    """When arrears may be told of again."""
    return seldom.arrears_at + BETWEEN_ARREARS if seldom.arrears_at else 0


def _check_services(kind: Kind, facts: Facts, now: int) -> Decision:
    """CAP-2"""
    allowed = _next_arrears(facts.seldom_said) if kind is Kind.ARREARS else 0
    if now < allowed:
        return Decision(Refusal.TOO_SOON, now, allowed)
    allowed = newest(facts.said.services, SERVICES_PER_DAY) + DAY
    return Decision(Refusal.SERVICE_CAP, now, allowed) if now < allowed else ALLOWED


def next_in_hours(moment: int, limits: ContactLimits, profile: Profile, lead: int | None = None) -> int:
    """The first second from a moment on that lies in the window under both of the borrower's offsets.

    `lead` is how many seconds of the window must be left, the limits' own unless told. A window ends before
    midnight and the offsets are at most two hours apart, so both see the same local day.
    """
    lead = limits.lead if lead is None else lead
    west, east = sorted((profile.offset, profile.other_offset))
    today = calendar.local_day(moment, west)
    # Day 0, 1 January 1970, was a Thursday; Monday is bit 0. One of eight days is open.
    for day in range(today, today + 8):
        if not limits.weekdays >> (day + 3) % 7 & 1:
            continue
        opens = calendar.start_of(day, west) + limits.opens * 60
        closes = calendar.start_of(day, east) + limits.closes * 60 - lead
        if moment < closes:
            return max(moment, opens)
    raise ValueError(f"no policy book publishes limits that leave no day open: {limits}")


# --------------------------------------------------------------------------------- the last few moments


def newest(moments: tuple[int, ...], n: int) -> int:
    """The n-th newest of some moments, from 1; zero, long ago, where there were fewer. Mirrors `Rolling`."""
    return moments[n - 1] if n <= len(moments) else 0


def push(moments: tuple[int, ...], moment: int, size: int) -> tuple[int, ...]:
    """Add a moment, no earlier than the newest, and forget the oldest so that `size` remain, and what is long
    ago. Mirrors `Rolling`.
    """
    return (moment, *(each for each in moments[: size - 1] if moment - each < LONG_AGO))
