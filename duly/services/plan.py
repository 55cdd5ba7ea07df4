"""What is due to be said to whom, why now or why not yet, and when.

A forecast in plain integers, without a call to the chain: `duly.domain.notice` decides as the gate will, so
nothing is sent there that it would refuse. Stricter than the gate in four ways: reminders are counted per
person and not per address (CAP-1), an instalment to come is mentioned once, a few days before it is due, an
overdue one a few times and then no more, and a window that is about to close is taken as closed.

A person gets one reminder at a time. What is to be said about other loans then goes into the same message,
where one text can tell of all (`companions`); it counts once.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from operator import itemgetter
from typing import Protocol

from duly.domain.consent import Channel, Profile
from duly.domain.grievance import Case, Rest, rests_until
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import (
    AMENDED,
    DUE_TODAY,
    OPENED,
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
from duly.domain.terms import ZERO_ADDRESS

UPCOMING_DAYS = 3
"""An instalment to come is mentioned this many days before it is due, or on the next day that allows it."""

OVERDUE_TIMES = 4
"""An overdue instalment is mentioned this often, spaced by the caps: after that the borrower knows, and more
would only press."""

MOST_TOGETHER = 10
"""So many loans one message tells of at most: more would not be read."""

SLACK = 60
"""Seconds of a contact window, beyond the policy's lead time, that are left for a block to be made."""

DELIVERABLE = (Channel.EMAIL,)
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


Together = Callable[[Candidate], Hashable]
"""Tells the same of loans that one message can tell of."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Something that is due to be said, now or later.

    `decision` tells why it has to wait; `not_before` is the first moment (UTC seconds) at which it may be
    served as things stand, None where waiting does not help. `position` and `ground` are what the ledger says
    at the moment of the plan: the words are rendered from them, and from the `outcome` of an answer (see
    `OUTCOMES`). `message` is the id of the first of the notices that go out together in one message, its own
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
    message: bytes = b""

    @property
    def ready(self) -> bool:
        """It may be served now."""
        return self.decision.reason is Refusal.NONE

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
    together: Together | None = None,
    waiting: bool = True,
) -> list[Planned]:
    """What `server` has to say about some loans: what now, and what later.

    `persons` tells which borrower addresses are one person's; an address that is not in it is a person of its
    own. `reminders` are the times of the last reminders of addresses, newest first, for addresses that are no
    candidates now, and such reminders as were sent but are not indexed yet. Loans that `server` may not serve
    count for their borrowers' caps alone. `together` is the same of loans that one message can tell of, by
    default of those of one address, lender and policy. Without `waiting` only what may be served now is
    returned.

    Within one plan what is planned for now counts as served, so that all of it together may be.
    """
    people = _People(persons or {}, reminders or {})
    for candidate in candidates:
        person = people.of(candidate)
        loan = candidate.loan
        if server != loan.lender and (server != candidate.servicer or server == ZERO_ADDRESS):
            continue
        position = position_of(loan, candidate.servicer, now)
        kinds = tuple(_kinds(candidate, position, now))
        if kinds:
            person.wishes.append((candidate, position, kinds))
    fit = together or _of_one_address
    return [planned for person in people for planned in _plan_for(person, server, now, fit, waiting)]


def plan_one(kind: Kind, candidate: Candidate, server: str, now: int, outcome: str = "") -> Planned | None:
    """What `server` would say of one kind about one loan, now or later, whether or not a plan has it; None
    where there is nothing to say and waiting does not help.
    """
    person = _People({}, {}).of(candidate)
    position = position_of(candidate.loan, candidate.servicer, now)
    spoken = Spoken(candidate.said, candidate.seldom_said, candidate.reminders)
    facts = _facts(person, candidate, position, spoken, candidate.reminders)
    planned = _forecast(kind, candidate.loan, facts, server, now)
    return replace(planned, outcome=outcome) if planned else None


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


def _kinds(candidate: Candidate, position: Position, now: int) -> Iterator[Kind]:
    """What there is to say about a loan, now or before its next instalment is due."""
    said, loan = candidate.said, candidate.loan
    if position.status is Status.REPAID:
        # That the loan is repaid says of its last payment that it was received.
        if not said.flags & REPAID:
            yield Kind.LOAN_REPAID
        return
    # Until the first instalment is due, that the loan was opened, or amended, is news.
    if loan.owed and position.today <= loan.terms.first_due:
        if loan.amends and not said.flags & AMENDED:
            yield Kind.LOAN_AMENDED
        if not loan.amends and not said.flags & OPENED:
            yield Kind.LOAN_OPENED
    if loan.assigned and candidate.seldom_said.lender != loan.lender:
        yield Kind.LOAN_ASSIGNED
    for kind, case in (
        (Kind.DISPUTE_RECEIVED, candidate.dispute),
        (Kind.HARDSHIP_RECEIVED, candidate.hardship),
    ):
        if case.stands and not case.received:
            yield kind
    # What was paid on the loan that it replaced is no news either.
    if position.paid > max(said.received, candidate.carried):
        yield Kind.PAYMENT_RECEIVED
    if position.overdue:
        if said.missed != position.first_unpaid or said.overdue < OVERDUE_TIMES:
            yield Kind.OVERDUE
    elif position.next_amount:
        spoken = said.next == position.next
        if position.today < position.next_due_day and not (spoken and said.upcoming):
            yield Kind.INSTALMENT_UPCOMING
        if not (spoken and said.flags & DUE_TODAY):
            yield Kind.DUE_TODAY


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
            planned = _forecast(kind, candidate.loan, facts, server, now)
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
            planned = _forecast(kind, candidate.loan, facts, server, now)
            if planned and planned.ready and planned.channel is message.first.channel:
                message.loans.add(candidate.loan.id)
                yield replace(planned, message=message.first.id)
                continue
        facts = _facts(person, candidate, position, spoken, reminders)
        planned = _forecast(kind, candidate.loan, facts, server, now)
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


def _forecast(kind: Kind, loan: Loan, facts: Facts, server: str, now: int) -> Planned | None:
    """When a notice may be served; None where there is nothing to wait for and nothing that could be done."""
    _, base = ground(kind, facts)
    allowed = facts.profile.has_contact if kind.is_owed else facts.profile.consents_to
    channel = next(filter(allowed, DELIVERABLE), DELIVERABLE[0])
    notice = Notice(loan.id, kind, base.instalment, base.amount, channel, b"")
    decision = decide(notice, facts, server, now)
    moment: int | None = now
    if decision.reason:
        moment = earliest(kind, base.instalment, channel, facts, now)
        if moment is None and decision.reason < Refusal.OUTSIDE_HOURS and decision.reason not in _HELD_UP:
            return None
    return Planned(kind, channel, loan, facts.position, base, decision, moment)


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
        upcoming_days=min(limits.upcoming_days, UPCOMING_DAYS),
    )
