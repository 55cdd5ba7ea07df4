"""What is due to be said to whom, why now or why not yet, and when.

A forecast in plain integers, without a call to the chain: `duly.domain.notice` decides as the gate will, so
nothing is sent there that it would refuse. Stricter than the gate: reminders are counted per person and not
per address (CAP-1), an instalment to come is mentioned on the days that the borrower chose, an overdue one a
few times, further and further apart, and a window that is about to close is taken as closed. `silence` tells
what is left unsaid though the gate would let it through, `duly.services.when` how days of rest and the
borrower's wishes are kept.

A person gets one reminder at a time. What is to be said about other loans then goes into the same message,
where one text can tell of all (`companions`); it counts once.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import lru_cache, reduce
from operator import itemgetter
from typing import Final, Protocol

from duly.domain import calendar
from duly.domain.consent import Channel, Profile
from duly.domain.grievance import Case, Rest, rests_until
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import (
    AHEAD,
    AMENDED,
    ANSWERS,
    ARREARS,
    COOLING_OFF,
    DUE_TODAY,
    OPENED,
    RECEIPTS,
    REMEMBERED_REMINDERS,
    REPAID,
    Decision,
    Facts,
    Ground,
    Kind,
    Notice,
    Refusal,
    Said,
    SeldomSaid,
    Spoken,
    after_serving,
    decide,
    earliest,
    ground,
    notice_id,
    push,
)
from duly.domain.policy import ContactLimits
from duly.domain.preferences import NO_PREFERENCES, Preferences
from duly.domain.terms import ZERO_ADDRESS
from duly.services.when import Timing, Wait, choose, day_ahead, days_to_remind, timing_of

OVERDUE_AFTER: Final = (1, 7, 14, 30)
"""Days after its due day on which an overdue instalment is mentioned; as far apart, where the policy lets it
be mentioned only later. After the last one the borrower knows, and more would only press."""

OVERDUE_TIMES: Final = len(OVERDUE_AFTER)

PAID_AHEAD_DAYS: Final = 3
"""That an instalment is paid already is said so many days before it is due, in place of a reminder."""

MOST_TOGETHER = 10
"""So many loans one message tells of at most: more would not be read."""

SLACK = 60
"""Seconds of a contact window, beyond the policy's lead time, that are left for a block to be made."""

DELIVERABLE = (Channel.EMAIL, Channel.PUSH, Channel.SMS, Channel.IN_APP)
"""The channels that something can be delivered on, the first one preferred."""

OUTCOMES: dict[Kind, tuple[str, ...]] = {
    Kind.DISPUTE_ANSWERED: ("corrected", "confirmed"),
    Kind.HARDSHIP_ANSWERED: ("offer", "no_offer"),
}
"""How a grievance can be answered: what was disputed is put right, or is as it was said; other terms are
offered, or none."""

_HELD_UP = (
    Refusal.NO_CONTACT,
    Refusal.CEASED,
    Refusal.NO_CONSENT,
    Refusal.NOT_TOLD_OF_ASSIGNMENT,
    Refusal.RESTING,
)
"""What keeps a notice from being served though there is something to say: a person should know."""


class Candidate(Protocol):
    """A loan about which there may be something to say, with all that a decision needs.

    carried: what was paid ahead on the loan that this one replaced. servicer: whom the lender appointed, the
    zero address where nobody. reminders: the times of the borrower address's last seven reminders, newest
    first. limits: the contact limits in force of the loan's policy, cooling_off_days its days to rescind.
    rest: what the borrower's grievances that concern all loans come to. dispute, hardship: those about this
    loan.
    """

    @property
    def loan(self) -> Loan: ...
    @property
    def carried(self) -> int: ...
    @property
    def servicer(self) -> str: ...
    @property
    def profile(self) -> Profile: ...
    @property
    def said(self) -> Said: ...
    @property
    def reminders(self) -> tuple[int, ...]: ...
    @property
    def limits(self) -> ContactLimits: ...
    @property
    def seldom_said(self) -> SeldomSaid: ...
    @property
    def cooling_off_days(self) -> int: ...
    @property
    def rest(self) -> Rest: ...
    @property
    def dispute(self) -> Case: ...
    @property
    def hardship(self) -> Case: ...
    @property
    def pack(self) -> bytes: ...
    @property
    def reminded_at(self) -> int: ...
    @property
    def changes_told(self) -> int | None: ...


Together = Callable[[Candidate], Hashable]
"""Tells the same of loans that one message can tell of."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The channels on which something can be delivered, the best first, and those that are closed, by
    borrower: what was sent there did not arrive, or was not wanted.
    """

    channels: tuple[Channel, ...] = (Channel.EMAIL,)
    closed: Mapping[str, frozenset[Channel]] = field(default_factory=dict)

    def of(self, borrower: str, preferences: Preferences) -> tuple[Channel, ...]:
        """A borrower's channels: first the one that they prefer."""
        closed = self.closed.get(borrower)
        if closed is None and preferences.channel is None:
            return self.channels
        found = [channel for channel in self.channels if not closed or channel not in closed]
        return tuple(sorted(found, key=lambda channel: channel is not preferences.channel))


BY_MAIL: Final = Reach()
"""Everybody is reached by e-mail alone."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Something that is due to be said, now or later.

    `decision` tells why the gate makes it wait, `wait` why the planner does where the gate would not;
    `not_before` is the first moment (UTC seconds) at which it is to be served as things stand, None where
    waiting does not help. `position` and `ground` are what the ledger says at the moment of the plan: the
    words are rendered from them, and from the `outcome` of an answer (see `OUTCOMES`). `facts` is what was
    decided from. `message` is the id of the first of the notices that go out together in one message, its own
    where it is alone; empty while it has to wait.
    """

    kind: Kind
    channel: Channel
    loan: Loan
    position: Position
    ground: Ground
    decision: Decision
    not_before: int | None
    outcome: str = ""
    wait: Wait = Wait.NONE
    facts: Facts | None = field(default=None, repr=False, compare=False)
    message: bytes = b""

    @property
    def ready(self) -> bool:
        """It is to be served now."""
        return self.decision.reason is Refusal.NONE and self.wait is Wait.NONE

    @property
    def borrower(self) -> str:
        """The borrower's address; there is nobody else to tell."""
        return self.loan.terms.borrower

    @property
    def policy(self) -> int:
        """The policy that the loan was made under."""
        return self.loan.terms.policy

    @property
    def instalment(self) -> int:
        """The instalment it is about, zero where it is about none."""
        return self.ground.instalment

    @property
    def amount(self) -> int:
        """The amount it names, in the smallest unit."""
        return self.ground.amount

    @property
    def id(self) -> bytes:
        """The notice's id, once it is served."""
        return notice_id(self.loan.id, self.kind, self.ground.basis, self.ground.serial)

    def notice(self, content_hash: bytes) -> Notice:
        """What is sent to the gate."""
        return Notice(self.loan.id, self.kind, self.instalment, self.amount, self.channel, content_hash)


def plan(
    candidates: Iterable[Candidate],
    server: str,
    now: int,
    persons: Mapping[str, bytes] | None = None,
    reminders: Mapping[str, tuple[int, ...]] | None = None,
    *,
    preferences: Mapping[str, Preferences] | None = None,
    together: Together | None = None,
    reach: Reach = BY_MAIL,
    waiting: bool = True,
) -> list[Planned]:
    """What `server` has to say about some loans: what now, and what later.

    `persons` tells which borrower addresses are one person's; an address that is not in it is a person of its
    own. `reminders` are the times of the last reminders of addresses, newest first, for addresses that are no
    candidates now, and such reminders as were sent but are not indexed yet. `preferences` are the wishes of
    borrower addresses that told any. `together` is the same of loans that one message can tell of, by default
    of those of one address, lender and policy. `reach` tells the channels. Loans that `server` may not serve
    count for their borrowers' caps alone. Without `waiting` only what is to be served now is returned.

    Within one plan what is planned for now counts as served, so that all of it together may be.
    """
    people, wishes = _People(persons or {}, reminders or {}), preferences or {}
    knowing: set[str] = set()
    for candidate in candidates:
        person = people.of(candidate)
        loan = candidate.loan
        if not may_serve(candidate, server):
            continue
        position = position_of(loan, candidate.servicer, now)
        timing = timing_for(candidate, wishes.get(loan.terms.borrower, NO_PREFERENCES), now, reach)
        kinds = tuple(kind for kind in _ORDER if silence(kind, candidate, position, timing) is None)
        if Kind.CONSENT_CHANGED in kinds:
            # Once for a borrower, not for each of their loans.
            if loan.terms.borrower in knowing:
                kinds = tuple(kind for kind in kinds if kind is not Kind.CONSENT_CHANGED)
            knowing.add(loan.terms.borrower)
        if kinds:
            person.wishes.append((candidate, position, kinds))
            person.timings[loan.id] = timing
    fit = together or _of_one_address
    return [planned for person in people for planned in _plan_for(person, server, now, fit, waiting)]


def plan_one(
    kind: Kind,
    candidate: Candidate,
    server: str,
    now: int,
    outcome: str = "",
    channels: tuple[Channel, ...] = (Channel.EMAIL,),
) -> Planned | None:
    """What `server` would say of one kind about one loan, now or later, whether or not a plan has it; None
    where there is nothing to say and waiting does not help.
    """
    person = _People({}, {}).of(candidate)
    position = position_of(candidate.loan, candidate.servicer, now)
    spoken = Spoken(candidate.said, candidate.seldom_said, candidate.reminders)
    facts = _facts(person, candidate, position, spoken, candidate.reminders)
    planned = _forecast(kind, candidate.loan, facts, server, now, channels=channels)
    return replace(planned, outcome=outcome) if planned else None


def may_serve(candidate: Candidate, server: str) -> bool:
    """Whether somebody is the loan's lender, or whom the lender appointed (SERVER-1)."""
    return server == candidate.loan.lender or (server == candidate.servicer and server != ZERO_ADDRESS)


def timing_for(candidate: Candidate, preferences: Preferences, now: int, reach: Reach = BY_MAIL) -> Timing:
    """What decides when something is said about a loan to a borrower with these wishes, and on what
    channel.
    """
    year, _, _ = calendar.civil(now // calendar.DAY)
    channels = reach.of(candidate.loan.terms.borrower, preferences)
    return timing_of(candidate.profile, preferences, candidate.pack, candidate.reminded_at, year, channels)


def companions(reached: Mapping[str, bytes], templates_of: Callable[[int], bytes | None]) -> Together:
    """What loans have in common that one message can tell of: a lender, a place and a language in which their
    borrower is reached, and the templates that their policies were published with.

    `reached` tells the place and the language by borrower address; an address that is not in it is spoken to
    by itself. `templates_of` looks up the templates' hash by a policy's number.
    """
    templates = lru_cache(maxsize=None)(templates_of)

    def together(candidate: Candidate) -> Hashable:
        loan = candidate.loan
        borrower = loan.terms.borrower
        return loan.lender, reached.get(borrower, borrower), templates(loan.terms.policy)

    return together


def _of_one_address(candidate: Candidate) -> Hashable:
    loan = candidate.loan
    return loan.lender, loan.terms.borrower, loan.terms.policy


def known_reminders(
    persons: Mapping[str, bytes],
    reminders_of: Callable[[str], tuple[int, ...]],
    pending: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, tuple[int, ...]]:
    """The `reminders` of a plan: those to the addresses of everyone who has more than one, and those pending.

    `persons` as for `plan`; `reminders_of` looks them up, newest first; `pending` are reminders that were
    sent to the gate and are not indexed yet.
    """
    addresses = Counter(persons.values())
    known = {who: reminders_of(who) for who, person in persons.items() if addresses[person] > 1}
    for who, times in (pending or {}).items():
        known[who] = _together(known.get(who, ()), times)
    return {who: times for who, times in known.items() if times}


def _together(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """The reminders to one address out of two sources, neither of which need know of all."""
    # Two in one second are two, but the one that both know of is one.
    every = Counter(one) | Counter(other)
    return tuple(sorted(every.elements(), reverse=True)[:REMEMBERED_REMINDERS])


# ---------------------------------------------------------------------------------------------- what to say


class Silence(Enum):
    """Why the planner does not say something of a kind, now or later, as things stand."""

    NO_GROUND = auto()
    """The ledger gives no ground for it."""
    ENDED = auto()
    """The loan ended."""
    SAID = auto()
    """It was said already."""
    NO_NEWS = auto()
    """It is no news any more: the first instalment was due."""
    OFTEN_ENOUGH = auto()
    """It was said as often as anybody should hear it."""
    NOT_WISHED = auto()
    """The borrower does not wish it."""
    RESTS = auto()
    """Its day rests; it is said before."""
    NO_DAY = auto()
    """There is no day on which it may be said."""
    RECEIPT_TELLS = auto()
    """The borrower was just told of a payment, or is about to be."""
    NOT_DEMANDED = auto()
    """The policy's pack does not demand it."""
    NO_CHANNEL = auto()
    """There is no channel left that the borrower consents to."""
    BY_PEOPLE = auto()
    """People say it, by command."""


_ORDER: Final = (
    Kind.LOAN_REPAID,
    Kind.LOAN_AMENDED,
    Kind.LOAN_OPENED,
    Kind.LOAN_ASSIGNED,
    Kind.DISPUTE_RECEIVED,
    Kind.HARDSHIP_RECEIVED,
    Kind.CONSENT_CHANGED,
    Kind.COOLING_OFF_ENDING,
    Kind.PAYMENT_RECEIVED,
    Kind.ARREARS,
    Kind.PAID_AHEAD,
    Kind.OVERDUE,
    Kind.INSTALMENT_UPCOMING,
    Kind.DUE_TODAY,
)
"""What serves the borrower comes first, of that the news."""

_ENDED: Final = (Status.REPAID, Status.REPLACED, Status.RESCINDED)


def silence(kind: Kind, candidate: Candidate, position: Position, timing: Timing) -> Silence | None:
    """Why there is nothing of a kind to say about a loan, now or before its next instalment is due; None
    where there is.
    """
    said, loan = candidate.said, candidate.loan
    if kind in ANSWERS:
        return Silence.BY_PEOPLE
    if not timing.channels:
        return Silence.NO_CHANNEL
    if kind is Kind.LOAN_REPAID:
        if position.status is not Status.REPAID:
            return Silence.NO_GROUND
        return Silence.SAID if said.flags & REPAID else None
    if position.status is Status.REPAID:
        # That the loan is repaid says of its last payment that it was received.
        return Silence.ENDED
    if kind in (Kind.LOAN_AMENDED, Kind.LOAN_OPENED):
        if loan.amends is not (kind is Kind.LOAN_AMENDED):
            return Silence.NO_GROUND
        if said.flags & (AMENDED if loan.amends else OPENED):
            return Silence.SAID
        # Until the first instalment is due, that the loan was opened, or amended, is news.
        return None if loan.owed and position.today <= loan.terms.first_due else Silence.NO_NEWS
    if kind is Kind.LOAN_ASSIGNED:
        if not loan.assigned:
            return Silence.NO_GROUND
        return Silence.SAID if candidate.seldom_said.lender == loan.lender else None
    if kind in RECEIPTS:
        case = candidate.dispute if kind is Kind.DISPUTE_RECEIVED else candidate.hardship
        if not case.stands:
            return Silence.NO_GROUND
        return Silence.SAID if case.received else None
    if kind is Kind.PAYMENT_RECEIVED:
        # What was paid on the loan that it replaced is no news either.
        if position.paid > max(said.received, candidate.carried):
            return None
        return Silence.SAID if position.paid else Silence.NO_GROUND
    if position.status in _ENDED:
        return Silence.ENDED
    if kind is Kind.CONSENT_CHANGED:
        return _silence_of_consents(candidate, timing)
    if kind is Kind.COOLING_OFF_ENDING:
        return _silence_of_cooling_off(candidate, position)
    if kind is Kind.ARREARS:
        if not timing.rules.arrears:
            return Silence.NOT_DEMANDED
        return None if position.missed >= max(ARREARS, timing.rules.arrears) else Silence.NO_GROUND
    if kind is Kind.OVERDUE:
        if not position.overdue:
            return Silence.NO_GROUND
        silent = said.missed == position.first_unpaid and said.overdue >= OVERDUE_TIMES
        return Silence.OFTEN_ENOUGH if silent else None
    return _silence_before_due_day(kind, candidate, position, timing)


def _silence_of_consents(candidate: Candidate, timing: Timing) -> Silence | None:
    profile, told = candidate.profile, candidate.changes_told
    if not profile.changes:
        return Silence.NO_GROUND
    if told is None:
        # The first notice of all tells by itself that there is a channel.
        return Silence.NO_NEWS
    if profile.changes <= max(told, candidate.seldom_said.consents):
        return Silence.SAID
    return None if any(map(profile.consents_to, timing.channels)) else Silence.NO_CHANNEL


def _silence_of_cooling_off(candidate: Candidate, position: Position) -> Silence | None:
    days = candidate.cooling_off_days
    if position.amends or not days or position.status is not Status.ACTIVE:
        return Silence.NO_GROUND
    if candidate.said.flags & COOLING_OFF:
        return Silence.SAID
    last_day = calendar.local_day(position.opened_at, position.calendar_offset) + days
    return Silence.NO_NEWS if position.today > last_day else None


def _silence_before_due_day(
    kind: Kind, candidate: Candidate, position: Position, timing: Timing
) -> Silence | None:
    """Of an instalment that is still to come, or due today."""
    said, limits, wishes = candidate.said, candidate.limits, timing.preferences
    if position.overdue or not position.next:
        return Silence.NO_GROUND
    flags = said.flags if said.next == position.next else 0
    if (position.next_amount == 0) is not (kind is Kind.PAID_AHEAD):
        return Silence.NO_GROUND
    if kind is Kind.DUE_TODAY:
        if not wishes.on_due_day:
            return Silence.NOT_WISHED
        if flags & DUE_TODAY:
            return Silence.SAID
        return Silence.RESTS if timing.closed(limits, position.next_due_day) else None
    if kind is Kind.PAID_AHEAD:
        if not wishes.days_before:
            return Silence.NOT_WISHED
        if flags & (AHEAD | DUE_TODAY) or (said.next == position.next and said.upcoming):
            return Silence.SAID
        day = day_ahead(position.next_due_day, PAID_AHEAD_DAYS, timing, limits)
        if day is None or position.today >= position.next_due_day:
            return Silence.NO_DAY
        told = said.services and said.services[0] >= calendar.start_of(day, position.calendar_offset)
        unsaid = position.paid > max(said.received, candidate.carried)
        return Silence.RECEIPT_TELLS if told or unsaid else None
    days = days_to_remind(position.next_due_day, timing, limits)
    if not days:
        return Silence.NO_DAY if wishes.days_before else Silence.NOT_WISHED
    if position.today >= position.next_due_day:
        return Silence.NO_DAY
    return None if _next_day(days, said, position, timing) else Silence.SAID


def _next_day(days: tuple[int, ...], said: Said, position: Position, timing: Timing) -> int:
    """Which of the days to speak of an instalment to come is next, past ones included; zero for none."""
    served = said.upcoming if said.next == position.next else 0
    if not served:
        return days[0]
    if served >= len(days):
        return 0
    last = calendar.local_day(timing.reminded_at, position.calendar_offset)
    return next((day for day in days if day > last), 0)


def first_day_of(kind: Kind, facts: Facts, timing: Timing) -> int:
    """The first day, in the loan's calendar, on which the planner says something; zero where the gate's days
    are its own.
    """
    position, said = facts.position, facts.said
    if kind is Kind.INSTALMENT_UPCOMING:
        days = days_to_remind(position.next_due_day, timing, facts.limits)
        return _next_day(days, said, position, timing) if days else 0
    if kind is Kind.PAID_AHEAD:
        return day_ahead(position.next_due_day, PAID_AHEAD_DAYS, timing, facts.limits) or 0
    if kind is not Kind.OVERDUE:
        return 0
    served = said.overdue if said.missed == position.first_unpaid else 0
    served = min(served, OVERDUE_TIMES - 1)
    first = position.first_unpaid_due_day + facts.limits.overdue_days
    day = first + OVERDUE_AFTER[served] - OVERDUE_AFTER[0]
    if served:
        # Where one was late, those after it are so too.
        last = calendar.local_day(timing.reminded_at, position.calendar_offset)
        day = max(day, last + OVERDUE_AFTER[served] - OVERDUE_AFTER[served - 1])
    return day


# ---------------------------------------------------------------------------------------------- to whom


@dataclass(slots=True)
class _Person:
    """Somebody who borrows, under one address or several.

    The caps are the strictest of all policies under which the person borrows.
    """

    # Never two messages in one second: so it is known that reminders of one second were one message.
    gap: int = 1
    per_day: int = REMEMBERED_REMINDERS
    per_week: int = REMEMBERED_REMINDERS
    addresses: dict[str, tuple[int, ...]] = field(default_factory=dict)
    wishes: list[tuple[Candidate, Position, tuple[Kind, ...]]] = field(default_factory=list)
    timings: dict[bytes, Timing] = field(default_factory=dict)

    def reminders(self) -> tuple[int, ...]:
        """The last reminders to any of the person's addresses, newest first."""
        if len(self.addresses) == 1:
            return next(iter(self.addresses.values()))
        # What went to several addresses at one moment was one message.
        return reduce(_together, self.addresses.values())


class _People:
    """The persons behind borrower addresses."""

    def __init__(self, persons: Mapping[str, bytes], reminders: Mapping[str, tuple[int, ...]]) -> None:
        self._persons, self._reminders = persons, reminders
        self._people: dict[bytes | str, _Person] = {}
        for borrower, times in reminders.items():
            self._person(borrower).addresses[borrower] = times

    def __iter__(self) -> Iterator[_Person]:
        return iter(self._people.values())

    def _person(self, borrower: str) -> _Person:
        return self._people.setdefault(self._persons.get(borrower, borrower), _Person())

    def of(self, candidate: Candidate) -> _Person:
        borrower, limits = candidate.loan.terms.borrower, candidate.limits
        person = self._person(borrower)
        known = person.addresses.get(borrower)
        if known is None:
            person.addresses[borrower] = candidate.reminders
        elif known != candidate.reminders:
            person.addresses[borrower] = _together(known, candidate.reminders)
        person.gap = max(person.gap, limits.gap)
        person.per_day = min(person.per_day, limits.per_day)
        person.per_week = min(person.per_week, limits.per_week)
        return person


# ---------------------------------------------------------------------------------------------- when


def _plan_for(person: _Person, server: str, now: int, together: Together, waiting: bool) -> Iterator[Planned]:
    """What is said to one person: what serves them first, then reminders, the ones whose last day is near
    before the others.
    """
    reminders = person.reminders()
    later: list[tuple[tuple[int, int, bytes], Candidate, Position, Kind]] = []
    for candidate, position, kinds in person.wishes:
        spoken = Spoken(candidate.said, candidate.seldom_said)
        for kind in kinds:
            facts = _facts(person, candidate, position, spoken, reminders)
            if kind.is_reminder:
                _, base = ground(kind, facts)
                if waiting or base.first_day <= position.today:
                    urgency = (base.last_day, base.first_day, candidate.loan.id)
                    later.append((urgency, candidate, position, kind))
                continue
            planned = _forecast(kind, candidate.loan, facts, server, now, person.timings[candidate.loan.id])
            if planned and planned.ready:
                spoken = after_serving(kind, planned.instalment, planned.ground.basis, spoken, now)
            if planned and (waiting or planned.ready):
                yield planned
    later.sort(key=itemgetter(0))
    message: _Message | None = None
    for _, candidate, position, kind in later:
        spoken = Spoken(candidate.said, candidate.seldom_said)
        if message and message.takes(candidate, together):
            # The message counts once: this passes the caps as its first notice did, or waits.
            facts = _facts(person, candidate, position, spoken, message.reminders)
            planned = _forecast(kind, candidate.loan, facts, server, now, person.timings[candidate.loan.id])
            if planned and planned.ready and _in_one(planned, message.first):
                message.loans.add(candidate.loan.id)
                yield replace(planned, message=message.first.id)
                continue
        facts = _facts(person, candidate, position, spoken, reminders)
        planned = _forecast(kind, candidate.loan, facts, server, now, person.timings[candidate.loan.id])
        if planned and planned.ready:
            planned = replace(planned, message=planned.id)
            message = _Message(planned, together(candidate), reminders, {candidate.loan.id})
            reminders = push(reminders, now, REMEMBERED_REMINDERS)
        if planned and (waiting or planned.ready):
            yield planned


@dataclass(frozen=True, slots=True)
class _Message:
    """A message that is being put together, of reminders to somebody who had been reminded at some moments
    before.
    """

    first: Planned
    kin: Hashable
    reminders: tuple[int, ...]
    loans: set[bytes]

    def takes(self, candidate: Candidate, together: Together) -> bool:
        """A reminder about the loan may go into it."""
        return (
            len(self.loans) < MOST_TOGETHER
            and candidate.loan.id not in self.loans
            and together(candidate) == self.kin
        )


def _in_one(one: Planned, other: Planned) -> bool:
    """One message can tell of both: a mail, or the inbox of one address; a short text tells of one notice."""
    if one.channel is not other.channel:
        return False
    return one.channel is Channel.EMAIL or (one.channel is Channel.IN_APP and one.borrower == other.borrower)


def channel_for(kind: Kind, profile: Profile, channels: tuple[Channel, ...]) -> Channel:
    """On which of a borrower's channels to say something: the first with consent; what is owed, otherwise, on
    the first with a contact, or in the in-app inbox, which needs none. The first of all where none will do.
    """
    for channel in channels:
        if profile.consents_to(channel):
            return channel
    if kind.is_owed:
        for channel in channels:
            if profile.has_contact(channel):
                return channel
        if Channel.IN_APP in channels:
            return Channel.IN_APP
    return channels[0]


def _forecast(
    kind: Kind,
    loan: Loan,
    facts: Facts,
    server: str,
    now: int,
    timing: Timing | None = None,
    channels: tuple[Channel, ...] = (),
) -> Planned | None:
    """When a notice is to be served; None where there is nothing to wait for and nothing that could be done.

    Without a `timing`, when it may be, and on one of `channels`: somebody says it by command.
    """
    _, base = ground(kind, facts)
    channel = channel_for(kind, facts.profile, timing.channels if timing else channels)
    notice = Notice(loan.id, kind, base.instalment, base.amount, channel, b"")
    decision = decide(notice, facts, server, now)
    moment, wait = earliest(kind, base.instalment, channel, facts, now) if decision.reason else now, Wait.NONE
    if moment is None:
        if decision.reason < Refusal.OUTSIDE_HOURS and decision.reason not in _HELD_UP:
            return None
    elif timing is not None:
        choice = choose(
            facts,
            timing,
            moment,
            now,
            first_day_of(kind, facts, timing),
            last_day_of(kind, base),
            reminder=kind.is_reminder,
        )
        moment, wait = choice.moment, Wait.NONE if decision.reason else choice.wait
    return Planned(kind, channel, loan, facts.position, base, decision, moment, wait=wait, facts=facts)


def last_day_of(kind: Kind, base: Ground) -> int:
    """The last day, in the loan's calendar, on which the planner says something."""
    # On the due day itself nobody waits for word that it is paid.
    return base.last_day - 1 if kind is Kind.PAID_AHEAD else base.last_day


def _facts(
    person: _Person, candidate: Candidate, position: Position, spoken: Spoken, reminders: tuple[int, ...]
) -> Facts:
    return Facts(
        position,
        _tightened(candidate.limits, person.gap, person.per_day, person.per_week),
        candidate.profile,
        spoken.said,
        reminders,
        spoken.seldom,
        rests_until(candidate.loan.rest, candidate.rest),
        candidate.cooling_off_days,
        candidate.dispute,
        candidate.hardship,
    )


@lru_cache(maxsize=1024)
def _tightened(limits: ContactLimits, gap: int, per_day: int, per_week: int) -> ContactLimits:
    """A policy's limits as the planner keeps them: within a person's caps, and with some slack."""
    return replace(
        limits,
        gap=gap,
        per_day=per_day,
        per_week=per_week,
        lead=limits.lead + SLACK,
    )
