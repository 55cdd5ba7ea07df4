"""What Python forecasts is what the notice gate decides, reason for reason and second for second.

The real contracts run in an EVM in this process. Every policy pack that comes with the program is published
there and loans are opened for real under each; so are loans under a policy whose limits are drawn anew for
each state, often at the very bounds of what a policy book publishes. Then thousands of random states are
written straight into storage, and each is asked about in three neighbouring seconds around a boundary. Seeds
are fixed and stand in every failure; `pytest -rP` shows what was met how often.
"""

import random
from collections import Counter
from dataclasses import asdict, astuple, replace
from typing import Any, NamedTuple

import pytest
from eth_account import Account
from machine import Contract, Machine, Reverted, Struct

from duly.chain.contracts import moments_of, word_of
from duly.domain import calendar, lending, schedule
from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
from duly.domain.errors import InvalidTerms
from duly.domain.grievance import FOREVER, NO_CASE, NO_REST, Case, Grievance, Rest, rests_until
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import (
    ANSWERS,
    BETWEEN_ARREARS,
    COOLING_OFF_ENDS,
    LONG_AGO,
    NO_LAST_DAY,
    RECEIPTS,
    REMEMBERED_REMINDERS,
    SERVICES_PER_DAY,
    Decision,
    Facts,
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
    next_in_hours,
    notice_id,
    standing,
)
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits, check_bounds
from duly.domain.terms import ZERO_ADDRESS, Frequency, Schedule, Terms
from duly.services.policy import load_pack, pack_names

SEED = 4_525_126
ANY = "ANY"
"""Stands beside the packs' names for a policy with any limits that may be published."""
STATES = dict.fromkeys(pack_names(), 1_900) | {ANY: 9_000}

LENDER = Account.from_key(b"lender".rjust(32, b"\1"))
LENDER_ADDRESS = LENDER.address.lower()
SERVICER = "0x" + "5e" * 20
STRANGER = "0x" + "57" * 20
PUBLISHER = "0x" + "9b" * 20

START = 1_800_000_000  # in January 2027
LOOSE = LendingLimits(10_000_000, AprConvention.NOMINAL, 10_000, 0, 0, 0)
LAST_IS_LARGEST = {
    "schedule": Schedule.LEVEL,
    "frequency": Frequency.MONTHLY,
    "principal": 732500592705299277166468,
    "rate": 200,
    "instalments": 2,
}
"""By three units: rounding makes it so."""
ANY_CONTACT = ContactLimits(420, 1320, 0, 127, 7, 7, 0, 31, 1, 0)


class World(NamedTuple):
    """The deployed contracts, and the loans that were opened, by the pack."""

    machine: Machine
    currency: Contract
    book: Contract
    ledger: Contract
    consents: Contract
    desk: Contract
    notices: Contract
    loans: dict[str, list[Loan]]


def address(dice: random.Random) -> str:
    return f"0x{dice.randrange(1, 2**160):040x}"


def sign_offer(ledger: Contract, terms: Terms) -> bytes:
    digest = ledger.call("offerHash", terms.as_tuple())
    return Account.unsafe_sign_hash(digest, LENDER.key).signature


def some_terms(dice: random.Random, now: int, policy: int, limits: LendingLimits) -> Terms:
    """Terms of any shape that may become a loan now."""
    while True:
        terms = any_terms(dice, now, policy)
        try:
            lending.admit(terms, limits, now)
        except InvalidTerms:
            continue
        return terms


def any_terms(dice: random.Random, now: int, policy: int) -> Terms:
    offset = dice.choice((0, 32, -20, 22, dice.randint(-48, 56)))
    frequency = dice.choice(tuple(Frequency))
    earliest = calendar.add_periods(calendar.local_day(now, offset), frequency, 1)
    instalments = dice.choice((1, 2, 3, 12, dice.randint(1, 60)))
    return Terms(
        lender=LENDER_ADDRESS,
        borrower=address(dice),
        principal=dice.randint(10**6, 10**12),
        late_fee=dice.choice((0, dice.randint(1, 10**4))),
        rate=dice.choice((0, 112_200, dice.randrange(360_000))),
        instalments=instalments,
        first_due=dice.choice((earliest, earliest + dice.randint(0, 60))),
        schedule=dice.choice((Schedule.LEVEL, *Schedule)),
        frequency=frequency,
        calendar_offset=offset,
        grace_days=dice.choice((0, 5, dice.randint(0, 40))),
        policy=policy,
        expires=now + DAY,
        salt=dice.randbytes(32),
    )


@pytest.fixture(scope="module")
def world() -> World:
    machine = Machine()
    machine.set_time(START)
    currency = machine.deploy("TestDollar", PUBLISHER, 6)
    book = machine.deploy("PolicyBook", PUBLISHER, PUBLISHER)
    desk = machine.deploy("GrievanceDesk", PUBLISHER, book.address)
    ledger = machine.deploy("LoanLedger", PUBLISHER, currency.address, book.address, desk.address)
    notices = machine.deploy("NoticeRegistry", PUBLISHER, ledger.address, book.address, desk.address)
    consents = machine.at("ConsentRegistry", notices.call("consents"))
    desk.call("bind", ledger.address, notices.address, sender=PUBLISHER)
    currency.call("mint", LENDER_ADDRESS, 2**100)
    currency.call("approve", ledger.address, 2**255, sender=LENDER_ADDRESS)
    loans: dict[str, list[Loan]] = {}
    dice = random.Random(SEED)
    limits = {ANY: (LOOSE, ANY_CONTACT)}
    for name in pack_names():
        limits[name] = (load_pack(name).lending_limits, load_pack(name).contact_limits)
    for name, (lending_limits, contact_limits) in limits.items():
        published = astuple(lending_limits), astuple(contact_limits), bytes(32), bytes(32)
        policy = book.call("publish", *published, sender=PUBLISHER)
        loans[name] = []
        for i in range(32 if name == ANY else 12):
            machine.set_time(START + dice.randrange(300 * DAY))
            terms = some_terms(dice, machine.now, policy, lending_limits)
            if name == ANY and i < 2:
                terms = replace(terms, **LAST_IS_LARGEST, first_due=terms.first_due + 60)
            loan_id = ledger.call("open", terms.as_tuple(), sign_offer(ledger, terms), sender=terms.borrower)
            loan = schedule.opened(loan_id, terms, machine.now)
            kept = ledger.call("loanOf", loan_id)
            assert (kept[15], kept[17]) == (loan.instalment, loan.total)
            loans[name].append(loan)
    return World(machine, currency, book, ledger, consents, desk, notices, loans)


# ------------------------------------------------------------------------------------------ random states


class State(NamedTuple):
    """One state of everything that a decision is made from, but the moment; and a notice to decide upon."""

    loan: Loan
    servicer: str
    limits: ContactLimits
    profile: Profile
    said: Said
    reminders: tuple[int, ...]
    seldom_said: SeldomSaid
    cases: dict[Grievance, Case]
    rest: Rest
    """Of the borrower's grievances that concern all loans; the loan has that of its own."""
    cooling_off_days: int
    notice: Notice
    server: str
    now: int

    def facts(self, now: int) -> Facts:
        return Facts(
            position_of(self.loan, self.servicer, now),
            self.limits,
            self.profile,
            self.said,
            self.reminders,
            self.seldom_said,
            rests_until(self.loan.rest, self.rest),
            self.cooling_off_days,
            self.cases[Grievance.DISPUTE],
            self.cases[Grievance.HARDSHIP],
        )


def some_limits(dice: random.Random) -> ContactLimits:
    opens = dice.choice((420, 540, 1140, dice.randint(420, 1140)))
    per_week = dice.choice((1, 7, dice.randint(1, 7), dice.randint(1, 7)))
    limits = ContactLimits(
        opens=opens,
        closes=dice.choice((1320, opens + 180, dice.randint(opens + 180, 1320))),
        lead=dice.choice((0, 900, 1800, dice.randint(0, 1800))),
        weekdays=dice.choice((127, 127, 127, 31, dice.randint(1, 127), 1 << dice.randrange(7))),
        per_day=dice.choice((1, per_week, dice.randint(1, per_week), dice.randint(1, per_week))),
        per_week=per_week,
        gap=dice.choice((0, 0, 2 * DAY, 31 * DAY, dice.randrange(3 * DAY), 3600)),
        upcoming_days=dice.choice((0, 7, 31, dice.randint(0, 31))),
        overdue_days=dice.choice((1, 11, dice.randint(1, 60), 255)),
        pause_days=dice.choice((0, 255, dice.randrange(256), dice.randrange(256))),
        rest_all_loans=dice.choice((0, 7, dice.randrange(8))),
        rest_fees=dice.choice((0, 7, dice.randrange(8))),
    )
    check_bounds(limits)
    return limits


def some_profile(dice: random.Random, channel: Channel, often: float) -> Profile:
    """With a contact for the channel, and with consent to it, so often."""
    offset = dice.choice((0, 32, 4, dice.randint(-48, 56)))
    other = min(56, max(-48, offset + dice.choice((0, 0, 4, -4, 8, -8, dice.randint(-8, 8)))))
    bits = 1 << channel
    registered = bits | dice.randrange(16) if dice.random() < often else dice.randrange(16) & ~bits
    consented = bits | dice.randrange(16) if dice.random() < often else dice.randrange(16)
    changes = dice.choice((0, dice.randint(1, 99)))
    ceased = dice.random() < 0.03
    return Profile(offset, other, registered, consented & registered, ceased, changes)


def some_moment(
    dice: random.Random,
    loan: Loan,
    k: int,
    limits: ContactLimits,
    profile: Profile,
    kind: Kind,
    cooling_off_days: int,
) -> int:
    """A boundary of some rule about the k-th instalment, or a moment between; of the cooling-off period."""
    terms = loan.terms
    due = schedule.due_day(terms, k)
    first = limits.upcoming_days
    cooled_off = calendar.local_day(loan.opened_at, terms.calendar_offset) + cooling_off_days - due
    day = due + dice.choice(
        {
            Kind.INSTALMENT_UPCOMING: (
                -first,
                1 - first,
                -1,
                0,
                -dice.randint(0, 31),
                -dice.randint(0, first),
            ),
            Kind.DUE_TODAY: (0, 0, 0, 0, 1),
            Kind.OVERDUE: (
                limits.overdue_days,
                limits.overdue_days,
                limits.overdue_days + dice.randint(0, 9),
                1,
            ),
            Kind.PAID_AHEAD: (0, 1, -1, -dice.randint(0, 31)),
            Kind.ARREARS: (0, 1, 1, 1, dice.randint(1, 200)),
            Kind.COOLING_OFF_ENDING: (
                cooled_off - COOLING_OFF_ENDS - 1,
                cooled_off - COOLING_OFF_ENDS,
                cooled_off - dice.randint(0, COOLING_OFF_ENDS),
                cooled_off,
                cooled_off + 1,
            ),
        }.get(kind, (0, 1, dice.randint(-40, 40)))
    )
    if dice.random() < 0.2:
        # The loan's own midnight, the last second of the due day, the end of the grace period.
        moment = dice.choice(
            (
                calendar.start_of(day, terms.calendar_offset),
                schedule.due_time(terms, k),
                calendar.start_of(due + 1 + terms.grace_days, terms.calendar_offset),
            )
        )
    else:
        offset = dice.choice((profile.offset, profile.other_offset))
        midnight = calendar.start_of(day, offset)
        inside = midnight + dice.randint(limits.opens, limits.closes) * 60
        moment = dice.choice(
            (
                midnight + limits.opens * 60,
                midnight + limits.closes * 60,
                midnight + limits.closes * 60 - limits.lead,
                midnight + dice.randrange(DAY),
                inside,
                inside,
                inside,
                inside,
            )
        )
    return max(loan.opened_at + 10, moment)


def some_history(dice: random.Random, loan: Loan, k: int, kind: Kind, now: int) -> Loan:
    """The loan after some payments before now; mostly such that there is something of the kind to say."""
    if dice.random() < 0.7:
        if kind is Kind.LOAN_REPAID:
            if dice.random() < 0.3:
                return schedule.settle(loan, dice.randint(loan.opened_at, now - 2))[0]
            return schedule.apply_payment(loan, 2**90, dice.randint(loan.opened_at, now - 2))[0]
        # Paid up to before the k-th instalment, and perhaps a part of it.
        covered = {Kind.PAID_AHEAD: k, Kind.ARREARS: max(0, k - 2)}.get(kind, k - 1)
        amount = loan.curve.cumulative(covered)
        amount += dice.choice((0, 0, 1, dice.randrange(max(1, loan.instalment))))
        if dice.random() < 0.05:
            # All but the last few units.
            amount = dice.choice(
                (loan.total - 1, loan.terms.instalments * loan.instalment - dice.randint(-1, 1))
            )
        if amount > 0:
            loan, _ = schedule.apply_payment(loan, amount, loan.opened_at + 1)
        return loan
    for at in sorted(dice.randint(loan.opened_at, now - 2) for _ in range(dice.choice((0, 1, 2, 5)))):
        if not loan.owed:
            break
        action = dice.random()
        if action < 0.05:
            loan, _, _ = schedule.settle(loan, at)
        elif action < 0.15:
            loan = schedule.assess(loan, at)
        else:
            position = schedule.position(loan, at)
            regular = loan.instalment or loan.total
            due = position.overdue + position.fees or regular
            amount = dice.choice((due, regular, dice.randint(1, 2 * regular), loan.owed))
            loan, _ = schedule.apply_payment(loan, amount, at)
    return loan


def some_end(dice: random.Random, loan: Loan, kind: Kind) -> Loan:
    """The loan as it is; now and then assigned, in default, rescinded or replaced, and one that replaced
    another.
    """
    if dice.random() < (0.7 if kind is Kind.LOAN_ASSIGNED else 0.15):
        loan = replace(loan, lender=dice.choice((STRANGER, STRANGER, LENDER_ADDRESS)), assigned=True)
    if dice.random() < (0.7 if kind is Kind.LOAN_AMENDED else 0.1):
        loan = replace(loan, terms=replace(loan.terms, replaces=b"\7" * 32))
    if loan.owed and dice.random() < 0.05:
        loan = replace(loan, defaulted=dice.randint(1, loan.terms.instalments))
    if loan.owed and loan.paid >= loan.fees and dice.random() < 0.05:
        status = dice.choice((Status.RESCINDED, Status.REPLACED))
        loan = replace(loan, total=loan.paid - loan.fees, recorded_status=status)
    return loan


def some_times(
    dice: random.Random, now: int, rules: tuple[tuple[int, int], ...], most: int
) -> tuple[int, ...]:
    """Moments in the past that are remembered, newest first; mostly one of them, the n-th, as long ago as a
    rule asks for, to the second.
    """
    if dice.random() < 0.3:
        return ()
    n, step = dice.choice(rules)
    age = max(step + dice.randint(-1, 1), n + 2)
    newer = (
        sorted(dice.sample(range(2, age), n - 1))
        if dice.random() < 0.7
        else [age - n + i for i in range(1, n)]
    )
    older = sorted(age + dice.randrange(1, 40 * DAY) for _ in range(dice.randint(0, most - n)))
    ages = (*newer, age, *older)
    return tuple(now - seconds for seconds in ages if seconds - ages[0] < LONG_AGO)


def some_case(dice: random.Random, loan: Loan, now: int, often: float) -> Case:
    """A grievance that never was, that stands, or that ended."""
    chance = dice.random()
    if chance > often:
        return NO_CASE
    since = dice.randint(loan.opened_at, now - 2)
    answered_at = dice.choice((now - 2, dice.randint(since, now))) if chance > often * 0.7 else 0
    received, everywhere, fees = (dice.random() < share for share in (0.3, 0.5, 0.5))
    return Case(since, answered_at, received, everywhere, fees)


def some_rest(dice: random.Random, loan: Loan, now: int, standing: list[Case], ever: bool) -> Rest:
    """What the grievances that stand, and those that ended before, can come to."""
    terms = loan.terms
    # Late fees that rest change what is owed; often until a second that matters for one.
    k = dice.randint(1, terms.instalments)
    missed = schedule.due_time(terms, k) + terms.grace_days * DAY + dice.randint(-1, 2)
    until = dice.choice((0, now - 1, now, now + 1, now + dice.randrange(40 * DAY), missed))
    fees_until = dice.choice((0, until, missed, now))
    if not ever or dice.random() < 0.3:
        until = fees_until = 0
    fees_standing = sum(case.fees_rest for case in standing)
    return Rest(len(standing), max(until, fees_until), fees_standing, fees_until)


def some_grievances(
    dice: random.Random, loan: Loan, kind: Kind, now: int
) -> tuple[dict[Grievance, Case], Rest, Rest]:
    """The grievances about a loan; what they come to, and those that concern all loans."""
    cases = {
        grievance: some_case(dice, loan, now, 0.8 if kind.grievance is grievance else 0.05)
        for grievance in Grievance
    }
    standing = [case for case in cases.values() if case.stands]
    ever = any(case.since for case in cases.values()) or dice.random() < 0.3
    everywhere = [case for case in standing if case.all_loans]
    if dice.random() < 0.03:
        # About another loan.
        everywhere.append(Case(1, all_loans=True, fees_rest=dice.random() < 0.5))
    elsewhere = dice.random() < 0.2
    return (
        cases,
        some_rest(dice, loan, now, standing, ever),
        some_rest(dice, loan, now, everywhere, ever or elsewhere),
    )


def some_state(dice: random.Random, world: World, pack: str = ANY) -> State:
    kind = dice.choice((*Kind, *3 * (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY, Kind.OVERDUE)))
    channel = dice.choice(tuple(Channel))
    if pack == ANY:
        limits, cooling_off_days = some_limits(dice), dice.choice((0, 1, 2, 3, 14, dice.randrange(256)))
    else:
        limits = load_pack(pack).contact_limits
        cooling_off_days = load_pack(pack).lending_limits.cooling_off_days
    profile = some_profile(dice, channel, 0.7 if kind.is_owed else 0.95)
    while True:
        loan = dice.choice(world.loans[pack])
        k = dice.randint(1, min(loan.terms.instalments, 24))
        now = some_moment(dice, loan, k, limits, profile, kind, cooling_off_days)
        # Mostly on a weekday on which there can be more to decide.
        if next_in_hours(now, limits, profile, 0) - now < DAY or dice.random() < 0.2:
            break
    loan = some_end(dice, some_history(dice, loan, k, kind, now), kind)
    cases, own_rest, rest = some_grievances(dice, loan, kind, now)
    loan = replace(loan, rest=own_rest)
    servicer = dice.choice((SERVICER, SERVICER, SERVICER, ZERO_ADDRESS))
    position = position_of(loan, servicer, now)
    said = Said(
        # An amendment can leave less credited than was said.
        received=dice.choice((0, 0, loan.paid, dice.randint(0, loan.paid), loan.paid + 7)),
        next=dice.choice((0, position.next, dice.randint(0, loan.terms.instalments))),
        upcoming=dice.randint(0, 3),
        missed=dice.choice((0, position.first_unpaid, dice.randint(0, loan.terms.instalments))),
        overdue=dice.randint(0, 3),
        flags=dice.choice((0, 0, 0, dice.randrange(64))),
        services=some_times(dice, now, ((3, DAY), (1, 99), (2, 99)), 3),
    )
    arrears = dice.choice((0, 0, 1, 3))
    seldom_said = SeldomSaid(
        lender=dice.choice((ZERO_ADDRESS, loan.lender, loan.lender, STRANGER, LENDER_ADDRESS)),
        assignments=dice.randrange(3),
        arrears_at=now - BETWEEN_ARREARS + dice.choice((-1, 0, 1, dice.randrange(DAY))) if arrears else 0,
        arrears=arrears,
        consents=dice.choice((0, profile.changes, dice.randint(0, profile.changes))),
    )
    rules = ((1, limits.gap), (limits.per_day, DAY), (limits.per_week, 7 * DAY))
    reminders = some_times(dice, now, rules, REMEMBERED_REMINDERS)
    notice = Notice(loan.id, kind, 0, 0, channel, dice.randbytes(32))
    about = (seldom_said, cases, rest, cooling_off_days)
    state = State(loan, servicer, limits, profile, said, reminders, *about, notice, loan.lender, now)
    _, base = ground(kind, state.facts(now))
    instalment, amount = base.instalment, base.amount
    if dice.random() < 0.05:
        instalment = dice.choice((0, instalment + 1, 2**16 - 1))
    if dice.random() < 0.05:
        amount = dice.choice((0, amount + 1, amount + 40, 2**88 - 1))
    notice = replace(notice, instalment=instalment, amount=amount)
    server = dice.choice((loan.lender, loan.lender, loan.lender, SERVICER))
    if dice.random() < 0.03:
        server = dice.choice((LENDER_ADDRESS, STRANGER, ZERO_ADDRESS, loan.terms.borrower))
    return state._replace(notice=notice, server=server)


def write(world: World, state: State) -> None:
    """Make the state true on chain."""
    loan, borrower = state.loan, state.loan.terms.borrower
    names = ("lender", "assigned", "total", "paid", "fees", "assessed")
    curves = {name: getattr(loan, name) for name in names} | {"aggrieved": loan.rest != NO_REST}
    world.ledger.write_members(world.ledger.slot_of("_debts", loan.id), "Debt", curves)
    origin = {"status": loan.recorded_status, "defaulted": loan.defaulted, "amends": loan.amends}
    world.ledger.write_members(world.ledger.slot_of("_origins", loan.id), "Origin", origin)
    world.ledger.write(world.ledger.slot_of("servicerOf", loan.lender), state.servicer)
    if loan.terms.policy == world.loans[ANY][0].terms.policy:
        # The limits fill the third slot of a policy.
        policy = world.book.slot_of("_policies", loan.terms.policy)
        world.book.write_members(policy + 2, "ContactLimits", camels(state.limits))
        world.book.write_members(policy, "LendingLimits", {"coolingOffDays": state.cooling_off_days})
    for grievance, case in state.cases.items():
        slot = world.desk.slot_of("_cases", loan.id, grievance)
        world.desk.write_members(slot, "Case", camels(case))
    world.desk.write_members(world.desk.slot_of("_restOf", loan.id), "Rest", camels(loan.rest))
    world.desk.write_members(world.desk.slot_of("_restOfAll", borrower), "Rest", camels(state.rest))
    aggrieved = loan.rest != NO_REST or state.rest != NO_REST
    profile = camels(state.profile) | {
        "aggrieved": aggrieved,
        "reminders": word_of(state.reminders, REMEMBERED_REMINDERS),
    }
    world.consents.write_members(world.consents.slot_of("_profiles", borrower), "Profile", profile)
    said = asdict(state.said) | {"services": word_of(state.said.services, SERVICES_PER_DAY)}
    world.notices.write_members(world.notices.slot_of("_said", loan.id), "Said", said)
    seldom = camels(state.seldom_said)
    world.notices.write_members(world.notices.slot_of("_seldomSaid", loan.id), "SeldomSaid", seldom)


def camels(values: Any) -> Struct:
    """The members of a struct, under the contracts' names."""
    return {
        _camel(name): value if isinstance(value, str) else int(value)
        for name, value in asdict(values).items()
    }


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def on_chain(notice: Notice) -> tuple[bytes, int, int, int, int, bytes]:
    return (
        notice.loan, notice.kind, notice.instalment, notice.amount, notice.channel, notice.content_hash
    )  # fmt: skip


@pytest.mark.parametrize("pack", STATES)
def test_the_storage_is_written_as_the_contracts_read_it(world, pack):
    state = some_state(random.Random(SEED + 1), world, pack)
    write(world, state)
    loan = state.loan
    assert world.book.call("contactOf", loan.terms.policy) == astuple(state.limits)
    *profile, aggrieved, changes, reminders = world.consents.call("profileOf", loan.terms.borrower)
    assert (*profile, changes) == astuple(state.profile)
    assert aggrieved == (loan.rest != NO_REST or state.rest != NO_REST)
    assert moments_of(reminders, REMEMBERED_REMINDERS) == state.reminders
    assert world.ledger.call("servicerOf", loan.lender) == state.servicer
    kept = world.ledger.call("loanOf", loan.id)
    assert (*kept[3:5], kept[6]) == (loan.assessed, loan.status, loan.lender)
    assert kept[17:] == (loan.total, loan.paid, loan.fees)
    assert world.notices.call("saidOf", loan.id) == said_as_kept(Spoken(state.said, state.seldom_said))
    assert world.book.call("daysOf", loan.terms.policy)[0] == state.cooling_off_days
    for grievance, case in state.cases.items():
        assert world.desk.call("caseOf", loan.id, grievance) == astuple(case)
    assert world.desk.call("feesRestUntil", loan.id) == loan.rest.fees_end
    assert world.desk.call("restsUntil", loan.id, loan.terms.borrower) == state.facts(state.now).rests_until


def said_as_kept(spoken: Spoken) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What was said of a loan, as the gate tells it."""
    said = spoken.said
    return (*astuple(said)[:-1], word_of(said.services, SERVICES_PER_DAY)), astuple(spoken.seldom)


# ------------------------------------------------------------------------------------------ comparing


class Met:
    """What was met while states were compared: how often each reason, kind, boundary and special case."""

    def __init__(self) -> None:
        self.refusals: Counter[Refusal] = Counter()
        self.stands: Counter[Refusal] = Counter()
        self.turns: Counter[tuple[Refusal, Refusal]] = Counter()
        self.served: Counter[Kind] = Counter()
        self.stood: Counter[Kind] = Counter()
        self.channels: Counter[Channel] = Counter()
        self.special: Counter[str] = Counter()

    def see(self, state: State, now: int, forecast: Decision, still: Decision, first: int | None) -> None:
        notice, profile = state.notice, state.profile
        self.refusals[forecast.reason] += 1
        self.stands[still.reason] += 1
        self.stood[notice.kind] += still.reason is Refusal.NONE
        self.channels[notice.channel] += 1
        special = self.special
        owed = notice.kind.is_owed and forecast.reason is Refusal.NONE
        special["forever"] += forecast.reason is Refusal.RESTING and forecast.required == FOREVER
        special["owed in spite of a cease"] += owed and profile.ceased
        special["owed without consent"] += owed and not profile.consents_to(notice.channel)
        in_app = notice.channel is Channel.IN_APP
        special["owed in-app without contact"] += owed and in_app and not profile.has_contact(Channel.IN_APP)
        special["arrears again"] += owed and notice.kind is Kind.ARREARS and state.seldom_said.arrears > 0
        special["arrears too soon"] += notice.kind is Kind.ARREARS and forecast.reason is Refusal.TOO_SOON
        rested = schedule.assess(replace(state.loan, rest=NO_REST), now).fees
        special["late fees rest"] += rested != schedule.assess(state.loan, now).fees
        if notice.kind is Kind.COOLING_OFF_ENDING and forecast.reason in (
            Refusal.TOO_EARLY,
            Refusal.TOO_LATE,
        ):
            special[f"cooling off {forecast.reason.name}"] += 1
        special["waits"] += first is not None and first > now

    def __str__(self) -> str:
        return "; ".join(f"{name}: {dict(counts)}" for name, counts in vars(self).items())


def may_be_met(limits: ContactLimits | None) -> set[Refusal]:
    """The reasons that there are under a pack's limits, where the loan is known; None: under any limits."""
    found = set(Refusal) - {Refusal.UNKNOWN_LOAN}
    if limits is not None:
        # Whoever waits for the gap between two reminders has waited for the cap as well.
        found -= {Refusal.DAY_CAP} if limits.gap >= DAY else set()
        found -= {Refusal.WEEK_CAP} if limits.gap >= 7 * DAY else set()
    return found


def test_there_are_states_enough():
    assert sum(STATES.values()) >= 20_000
    assert set(STATES) == {*pack_names(), ANY}


@pytest.mark.parametrize("pack", STATES)
def test_every_decision_is_the_same_on_both_sides(world, pack):
    seed = f"{SEED + 2} {pack}"
    dice, met = random.Random(seed), Met()
    for i in range(STATES[pack]):
        compare(world, some_state(dice, world, pack), met, f"seed {seed!r}, state {i}")

    print(met)
    assert met.refusals.total() == 3 * STATES[pack]
    limits = None if pack == ANY else load_pack(pack).contact_limits
    wanted = may_be_met(limits)
    assert {reason for reason, count in met.refusals.items() if count} == wanted
    # Each reason, and each kind served, a fair number of times.
    for reason in wanted:
        assert met.refusals[reason] >= 10, (reason, str(met))
    for reason in wanted - {Refusal.TOO_SOON, Refusal.DAY_CAP, Refusal.WEEK_CAP, Refusal.SERVICE_CAP}:
        assert met.stands[reason] >= 10, (reason, str(met))
    for kind in Kind:
        assert min(met.served[kind], met.stood[kind]) >= (5 if pack == ANY else 1), (kind, str(met))
    assert min(met.channels[channel] for channel in Channel) >= STATES[pack] // 2
    names = (
        "forever", "owed in spite of a cease", "owed without consent", "owed in-app without contact",
        "arrears again", "arrears too soon", "late fees rest", "cooling off TOO_EARLY",
        "cooling off TOO_LATE", "waits",
    )  # fmt: skip
    assert pack != ANY or min(met.special[name] for name in names) >= 3, str(met)
    # Both sides of each boundary were seen, between one second and the next.
    for one, other in (
        (Refusal.OUTSIDE_HOURS, Refusal.NONE),
        (Refusal.NONE, Refusal.OUTSIDE_HOURS),
        (Refusal.TOO_SOON, Refusal.NONE),
        (Refusal.DAY_CAP, Refusal.NONE),
        (Refusal.WEEK_CAP, Refusal.NONE),
        (Refusal.SERVICE_CAP, Refusal.NONE),
        (Refusal.RESTING, Refusal.NONE),
    ):
        assert {one, other} - wanted or met.turns[one, other] >= 1, ((one, other), str(met))
    for reason in (Refusal.TOO_EARLY, Refusal.TOO_LATE, Refusal.NO_BASIS, Refusal.WRONG_AMOUNT):
        assert sum(count for turn, count in met.turns.items() if reason in turn) >= 1, (reason, str(met))


def compare(world: World, state: State, met: Met, told: str) -> None:
    """Ask both sides about a state in three seconds that follow one another, and serve in the last."""
    machine, notices, notice = world.machine, world.notices, state.notice
    write(world, state)
    asked = on_chain(notice), state.server
    position = world.ledger.question("positionOf", notice.loan)
    refusal = notices.question("refusal", *asked)
    stands = notices.question("standing", *asked)
    when = notices.question("earliest", notice.loan, notice.kind, notice.instalment, notice.channel)
    before = None
    for now in (state.now - 1, state.now, state.now + 1):
        machine.set_time(now)
        facts = state.facts(now)
        forecast = decide(notice, facts, state.server, now)
        still = standing(notice, facts, state.server, now)
        first = earliest(notice.kind, notice.instalment, notice.channel, facts, now)
        here = (words(facts.position), words(forecast), words(still), (first or 0,))
        assert here == (position(), refusal(), stands(), when()), f"{told}, second {now}: {state}"
        met.see(state, now, forecast, still, first)
        if before is not None and before != forecast.reason:
            met.turns[before, forecast.reason] += 1
        before = forecast.reason

    # The last second asked about: serve in it, or be refused.
    told = f"{told}, second {now}: {state}"
    if forecast.reason:
        with pytest.raises(Reverted) as raised:
            notices.call("serve", on_chain(notice), sender=state.server)
        assert raised.value.args == ("Refused", *astuple(forecast)), told
        return
    met.served[notice.kind] += 1
    _, base = ground(notice.kind, facts)
    code = notices.call("serve", on_chain(notice), sender=state.server)
    assert code == notice_id(notice.loan, notice.kind, base.basis, base.serial), told
    spoken = Spoken(state.said, state.seldom_said, state.reminders)
    spoken = after_serving(notice.kind, notice.instalment, base.basis, spoken, now)
    assert notices.call("saidOf", notice.loan) == said_as_kept(spoken), told
    times = notices.call("remindersOf", state.loan.terms.borrower)
    assert tuple(moment for moment in times if moment) == spoken.reminders, told
    check_grievances_after(world, state, now, told)


def words(values: Position | Decision) -> tuple[int, ...]:
    """The fields as the words of a view's answer."""
    fields = (getattr(values, name) for name in values.__slots__)
    return tuple(int(value, 16) if isinstance(value, str) else int(value) % 2**256 for value in fields)


def check_grievances_after(world: World, state: State, now: int, told: str) -> None:
    """The desk knows of receipts and answers that were served, and nothing else happened to grievances."""
    kind, loan, cases, rest = state.notice.kind, state.loan, dict(state.cases), state.rest
    own_rest, grievance = loan.rest, kind.grievance
    if grievance is not None:
        case = cases[grievance]
        if kind in RECEIPTS:
            cases[grievance] = replace(case, received=True)
        elif kind in ANSWERS:
            until = now + state.limits.pause_days * DAY
            cases[grievance] = replace(case, answered_at=now)
            own_rest = own_rest.ended(case, until)
            rest = rest.ended(case, until) if case.all_loans else rest
    for each, case in cases.items():
        assert world.desk.call("caseOf", loan.id, each) == astuple(case), told
    assert world.desk.call("feesRestUntil", loan.id) == own_rest.fees_end, told
    until = rests_until(own_rest, rest)
    assert world.desk.call("restsUntil", loan.id, loan.terms.borrower) == until, told


def test_a_loan_that_was_never_opened_is_unknown_on_both_sides(world):
    notice = Notice(b"\7" * 32, Kind.OVERDUE, 1, 1, Channel.EMAIL, bytes(32))
    world.machine.set_time(START)
    position = position_of(None, ZERO_ADDRESS, START)
    assert astuple(position) == world.ledger.call("positionOf", notice.loan)
    facts = Facts(position, ANY_CONTACT, Profile(), Said())
    for server in (ZERO_ADDRESS, LENDER_ADDRESS):
        assert astuple(decide(notice, facts, server, START)) == (Refusal.UNKNOWN_LOAN, 0, 0)
        assert astuple(standing(notice, facts, server, START)) == (Refusal.UNKNOWN_LOAN, 0, 0)
        for view in ("refusal", "standing"):
            assert world.notices.call(view, on_chain(notice), server) == (Refusal.UNKNOWN_LOAN, 0, 0)
    assert earliest(Kind.OVERDUE, 1, Channel.EMAIL, facts, START) is None
    assert world.notices.call("earliest", notice.loan, Kind.OVERDUE, 1, Channel.EMAIL) == 0


def test_what_earliest_promises_is_kept_to_the_second(world):
    """Where the gate names a moment, it would refuse in the second before and not refuse in that second."""
    dice = random.Random(SEED + 3)
    kept = 0
    for i in range(1_500):
        state = some_state(dice, world)
        facts = state.facts(state.now)
        notice = state.notice
        _, base = ground(notice.kind, facts)
        moment = earliest(notice.kind, base.instalment, notice.channel, facts, state.now)
        if moment is None or moment == state.now or moment >= 2**32:
            continue
        then = state.facts(moment)
        # The amount may have grown since, by an instalment that fell due or a fee.
        notice = replace(notice, instalment=base.instalment, amount=ground(notice.kind, then)[1].amount)
        told = f"seed {SEED + 3}, state {i}, moment {moment}: {state}"
        write(world, state)
        world.machine.set_time(moment)
        answer = world.notices.call("refusal", on_chain(notice), state.loan.lender)
        assert answer == (Refusal.NONE, 0, 0), told
        world.machine.set_time(moment - 1)
        just_before = state.facts(moment - 1)
        notice = replace(notice, amount=ground(notice.kind, just_before)[1].amount)
        answer = world.notices.call("refusal", on_chain(notice), state.loan.lender)
        assert answer[0] != Refusal.NONE, told
        kept += 1
    assert kept > 200, kept


def test_nothing_is_left_out_of_the_comparison(world):
    """The mirror's types have the fields of the contracts' structs, in the same order."""
    by_name = {entry: index for index, entry in enumerate(Position.__slots__)}
    assert len(by_name) == len(world.ledger.call("positionOf", world.loans[ANY][0].id))
    assert NO_LAST_DAY == 2**256 - 1
