"""What Python says a loan comes to is what the ledger makes of it, second for second, refusal for refusal.

The real contracts run in an EVM in this process. Loans are opened by real signatures; then all that can
happen to them happens, at random and around the seconds that matter. Seeds are fixed and stand in every
failure.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from machine import Contract, Machine, Reverted

from duly.chain import offers
from duly.chain.offers import SigningDomain
from duly.domain import amending, calendar, lending, schedule
from duly.domain.calendar import DAY
from duly.domain.errors import DulyError, InvalidTerms
from duly.domain.events import (
    Event,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    GrievanceWithdrawn,
)
from duly.domain.grievance import NO_CASE, NO_REST, Grievance, rests_until
from duly.domain.loan import Loan, Status
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.replay import State, apply
from duly.domain.terms import ZERO_HASH, Frequency, Schedule, Terms

SEED = 6_210_417
LIVES = 2_000
STEPS = 12
HISTORIES = 10_000

LENDER = Account.from_key(b"lender".rjust(32, b"\1"))
ASSIGNEE = Account.from_key(b"assignee".rjust(32, b"\1"))
BORROWER = Account.from_key(b"borrower".rjust(32, b"\1"))
PUBLISHER = "0x" + "9b" * 20
KEEPER = "0x" + "cc" * 20
GATE = "0x" + "9a" * 20

START = 1_800_000_000  # in January 2027
EVERYTHING = 2**256 - 1
ANY_CONTACT = ContactLimits(420, 1320, 0, 127, 7, 7, 0, 31, 1, 9, rest_all_loans=0b011, rest_fees=0b110)
LOOSE = LendingLimits(2**32 - 1, AprConvention.NOMINAL, 10_000, 0, 0, 0)
POLICIES = (
    LOOSE,
    replace(LOOSE, cooling_off_days=14, default_days=90),
    replace(LOOSE, cooling_off_days=1, default_days=1, apr_convention=AprConvention.EFFECTIVE),
    LendingLimits(240_000, AprConvention.NOMINAL, 500, 3, 14, 30),
    LendingLimits(360_000, AprConvention.EFFECTIVE, 1_000, 0, 0, 90),
)

CONTACTS = (
    ANY_CONTACT,
    replace(ANY_CONTACT, pause_days=30, rest_all_loans=0b111, rest_fees=0b111),
    replace(ANY_CONTACT, pause_days=0, rest_fees=0b001),
    replace(ANY_CONTACT, pause_days=255, rest_all_loans=0, rest_fees=0b011),
    replace(ANY_CONTACT, rest_fees=0),
)
"""Of each policy."""

# What the ledger calls otherwise than the domain does.
NAMES = {"ZeroAmount": "InvalidPayment", "OfferExpired": "AmendmentExpired", "ZeroPrincipal": "InvalidTerms"}


ACTIONS = (
    "open", "repay", "acknowledgeReceipt", "forgive", "flagMissed", "waive", "markDefault", "settle",
    "rescind", "prepay", "defer", "amend", "assign", "lodge", "withdraw", "answer",
)  # fmt: skip
REASONS = {
    "AmendmentExpired", "AmountTooLarge", "AprAboveCap", "CoolingOffOver", "CoolingOffRuns",
    "FirstDueTooEarly", "FirstDueTooLate", "GraceTooShort", "GrievanceStands", "InstalmentTooCoarse",
    "InvalidPayment", "NoGrievance",
    "LateFeeAboveCap", "LoanNotActive", "NotInDefault", "NotTheSameLoan", "NothingMissed", "NothingToDefer",
    "NothingToWaive", "PrepaymentTooSmall", "PrincipalAbovePayoff", "RateRaised",
}  # fmt: skip


class NothingMissed(DulyError):
    """The domain has no such refusal: assessing twice is no mistake there."""


class GrievanceStands(DulyError):
    """Nor this one: the desk alone knows who may lodge what."""


class NoGrievance(DulyError):
    """Nor this one."""


@dataclass
class World:
    """The deployed contracts, and the policies that were published."""

    machine: Machine
    ledger: Contract
    desk: Contract
    domain: SigningDomain
    policies: dict[int, LendingLimits]
    state: State = field(default_factory=State)
    """Of grievances, as the domain makes it of events."""

    @property
    def now(self) -> int:
        return self.machine.now

    def id_of(self, terms: Terms) -> bytes:
        return bytes(self.ledger.call("idOf", terms.as_tuple()))

    def open(self, terms: Terms) -> bytes:
        offer = offers.sign_offer(LENDER, terms, self.domain)
        return bytes(self.ledger.call("open", terms.as_tuple(), offer, sender=BORROWER.address))


def low(account: LocalAccount) -> str:
    return str(account.address).lower()


@pytest.fixture(scope="module")
def world() -> World:
    machine = Machine()
    machine.set_time(START)
    currency = machine.deploy("TestDollar", PUBLISHER, 6)
    book = machine.deploy("PolicyBook", PUBLISHER, PUBLISHER)
    desk = machine.deploy("GrievanceDesk", PUBLISHER, book.address)
    ledger = machine.deploy("LoanLedger", PUBLISHER, currency.address, book.address, desk.address)
    notices = machine.deploy("NoticeRegistry", PUBLISHER, ledger.address, book.address, desk.address)
    desk.call("bind", ledger.address, notices.address, sender=PUBLISHER)
    # A gate that serves answers at any second.
    desk.write(desk.slot_of("notices"), GATE)
    policies = {}
    for limits, contact in zip(POLICIES, CONTACTS, strict=True):
        arguments = astuple(limits), astuple(contact), bytes(32), bytes(32)
        policies[book.call("publish", *arguments, sender=PUBLISHER)] = limits
    for party in (LENDER, BORROWER):
        currency.call("mint", party.address, 2**200)
        currency.call("approve", ledger.address, 2**255, sender=party.address)
    return World(machine, ledger, desk, SigningDomain(1, ledger.address), policies)


def some_terms(dice: random.Random, now: int, policy: int, limits: LendingLimits) -> Terms:
    """Terms of every shape, most of which the policy admits."""
    offset = dice.choice((0, 32, -20, 22, dice.randint(-48, 56)))
    frequency = dice.choice(tuple(Frequency))
    today = calendar.local_day(now, offset)
    earliest = calendar.add_periods(today, frequency, 1)
    principal = dice.choice((dice.randint(100, 10**5), dice.randint(10**6, 10**12), dice.randint(1, 2**80)))
    tight = limits.apr_cap < 10**6
    n = dice.choice((1, 2, 3, 12, dice.randint(1, 40)))
    return Terms(
        lender=low(LENDER),
        borrower=low(BORROWER),
        principal=principal,
        origination_fee=dice.choice((0, 0, principal // 50, dice.randrange(principal))),
        late_fee=dice.choice((0, principal // 400 // n, dice.randint(1, principal // n + 1))),
        rate=dice.choice((0, 112_200, limits.apr_cap - 1 if tight else 500_000, dice.randrange(600_000))),
        instalments=n,
        first_due=dice.choice((earliest, earliest + dice.randint(0, 40), earliest + dice.randint(-1, 1))),
        schedule=dice.choice(tuple(Schedule)),
        frequency=frequency,
        calendar_offset=offset,
        grace_days=dice.choice((0, 3, 5, dice.randint(0, 40))),
        policy=policy,
        expires=now + DAY,
        salt=dice.randbytes(32),
    )


def later(dice: random.Random, loan: Loan, limits: LendingLimits, now: int) -> int:
    """A moment not before this one: often around a second that matters."""
    terms = loan.terms
    k = min(schedule.passed(terms, schedule.today(terms, now)) + dice.randint(0, 2), terms.instalments)
    due_at = schedule.due_time(terms, max(k, 1))
    cooled_off = calendar.start_of(amending.last_day_to_rescind(loan, limits) + 1, terms.calendar_offset)
    moments = [
        due_at,
        due_at + terms.grace_days * DAY,
        due_at + limits.default_days * DAY,
        cooled_off - 1,
        schedule.due_time(terms, terms.instalments),
    ]
    if loan.rest.until:
        moments += [loan.rest.until, loan.rest.fees_until]
    moment = dice.choice(moments) + dice.randint(-1, 2)
    anywhere = now + dice.choice((0, 1, dice.randint(0, 5 * DAY), dice.randint(0, 60 * DAY)))
    return moment if moment >= now and dice.random() < 0.6 else anywhere


def check_same(world: World, loan: Loan, told: object) -> None:
    """All that the ledger says of a loan, at this second, is what the domain says."""
    terms, ledger, now = loan.terms, world.ledger, world.now
    assert ledger.call("loanOf", loan.id) == (
        terms.borrower, loan.opened_at, terms.policy, loan.assessed, loan.status, loan.amends, loan.lender,
        terms.first_due, terms.instalments, terms.rate, terms.schedule, terms.frequency,
        terms.calendar_offset, terms.grace_days, terms.principal, loan.instalment, terms.late_fee,
        loan.total, loan.paid, loan.fees,
    ), told  # fmt: skip
    assert ledger.call("payoff", loan.id) == schedule.payoff(loan, now), told
    position = schedule.position(loan, now)
    assert ledger.call("positionOf", loan.id) == astuple(position), told
    rest, everywhere = loan.rest, world.state.rests.get(terms.borrower, NO_REST)
    assert world.desk.call("feesRestUntil", loan.id) == rest.fees_end, told
    assert world.desk.call("restsUntil", loan.id, terms.borrower) == rests_until(rest, everywhere), told
    cases = world.state.cases.get(loan.id, {})
    for grievance in Grievance:
        case = cases.get(grievance, NO_CASE)
        assert world.desk.call("caseOf", loan.id, grievance) == astuple(case), told
    first_unpaid = position.first_unpaid
    due_at = schedule.due_time(terms, first_unpaid) if first_unpaid else 0
    assert ledger.call("delinquency", loan.id) == (
        position.overdue, position.fees, first_unpaid, due_at,
    ), told  # fmt: skip


def both(
    told: object, seen: Counter[str], name: str, call: Callable[[], Any], mirror: Callable[[], Any]
) -> tuple[Any, Any] | None:
    """What the ledger and the domain answer; none where both refuse, for the same reason."""
    theirs = refused_by_ledger = ours = refused = None
    try:
        theirs = call()
    except Reverted as error:
        refused_by_ledger = NAMES.get(error.args[0], error.args[0])
    try:
        ours = mirror()
    except DulyError as error:
        refused = type(error).__name__
    assert refused == refused_by_ledger, (told, name)
    seen[f"{name}: {refused}" if refused else name] += 1
    return None if refused else (theirs, ours)


class Step(NamedTuple):
    """An action, by name; how to do it on the ledger, and what the domain makes of it: the loans after, of
    which the first goes on, and what the ledger returns.
    """

    name: str
    call: Callable[[], Any]
    mirror: Callable[[], tuple[list[Loan], Any]]


def some_step(dice: random.Random, world: World, loan: Loan, limits: LendingLimits) -> Step:
    """Something that may be tried with a loan at this second."""
    now, terms, ledger = world.now, loan.terms, world.ledger
    lender = ASSIGNEE if loan.lender == low(ASSIGNEE) else LENDER
    payoff = schedule.payoff(loan, now)
    position = schedule.position(loan, now)

    def called(name: str, *arguments: Any, sender: str = BORROWER.address) -> Callable[[], Any]:
        return partial(ledger.call, name, *arguments, sender=sender)

    def one(answer: tuple[Loan, Any]) -> tuple[list[Loan], Any]:
        return [answer[0]], answer[1]

    amount = dice.choice(
        (
            loan.instalment, loan.instalment, loan.instalment - 1, position.overdue, position.next_amount,
            position.overdue + position.fees, dice.randint(0, loan.owed // 4), dice.randint(0, 3),
            loan.owed + dice.randint(-1, 1),
        )
    )  # fmt: skip
    amount = max(0, amount)
    name = dice.choice((*ACTIONS[1:], "repay", "repay", "prepay", "amend", "lodge", "lodge"))
    standing = [case for case in world.state.cases.get(loan.id, {}).values() if case.stands]
    if standing and dice.random() < 0.25:
        name = dice.choice(("withdraw", "answer"))
    if schedule.today(terms, now) <= amending.last_day_to_rescind(loan, limits) and dice.random() < 0.2:
        name = "rescind"
    match name:
        case "repay":
            return Step(
                name, called(name, loan.id, amount), lambda: one(schedule.apply_payment(loan, amount, now))
            )
        case "acknowledgeReceipt":
            call = called(name, loan.id, amount, ZERO_HASH, sender=lender.address)
            return Step(name, call, lambda: one(schedule.apply_payment(loan, amount, now)))
        case "forgive":
            call = called(name, loan.id, amount, sender=lender.address)
            return Step(name, call, lambda: one(schedule.apply_payment(loan, amount, now)))
        case "waive":
            call = called(name, loan.id, amount, sender=lender.address)
            return Step(name, call, lambda: one(schedule.waive(loan, amount, now)))
        case "flagMissed":

            def flag() -> tuple[list[Loan], Any]:
                schedule.check_owed(loan)
                assessed = schedule.assess(loan, now)
                if assessed == loan:
                    raise NothingMissed
                return [assessed], ()

            return Step(name, called(name, loan.id, sender=KEEPER), flag)
        case "markDefault":
            call = called(name, loan.id, sender=lender.address)
            return Step(name, call, lambda: ([schedule.mark_default(loan, limits, now)], ()))
        case "settle":

            def settle() -> tuple[list[Loan], Any]:
                settled, taken, saved = schedule.settle(loan, now)
                assert taken + saved == schedule.assess(loan, now).owed
                return [settled], taken

            return Step(name, called(name, loan.id, EVERYTHING), settle)
        case "rescind":
            call = called(name, terms.as_tuple())
            return Step(name, call, lambda: one(amending.rescind(loan, limits, now)))
        case "prepay":
            amount = dice.choice((amount, payoff, max(0, payoff - 1), dice.randint(0, payoff)))

            def prepay() -> tuple[list[Loan], Any]:
                taken, old, new = amending.prepay(loan, amount, limits, now, world.id_of)
                return ([new, old], (taken, new.id)) if new else ([old], (taken, ZERO_HASH))

            return Step(name, called(name, loan.id, amount), prepay)
        case "defer":
            intervals = dice.choice((0, 1, 1, 2, dice.randint(1, 255)))

            def defer() -> tuple[list[Loan], Any]:
                old, new = amending.defer(loan, intervals, limits, now, world.id_of)
                return [new, old], new.id

            return Step(name, called(name, loan.id, intervals, sender=lender.address), defer)
        case "amend":
            most = max(1, payoff - position.fees)
            principal = dice.choice((most, most, most + 1, dice.randint(1, most)))
            other = replace(
                some_terms(dice, now, terms.policy, limits),
                lender=loan.lender,
                principal=principal,
                rate=dice.choice((terms.rate, terms.rate // 2, dice.randrange(600_000))),
                origination_fee=0 if principal == 1 else dice.choice((0, 0, 0, 0, 0, 0, 1)),
                late_fee=dice.choice((0, 1)),
                replaces=loan.id,
                expires=now - dice.choice((0, 0, 0, 0, 0, 0, 0, 0, 1)),
            )
            signatures = (offers.sign_amendment(party, other, world.domain) for party in (lender, BORROWER))

            def amend() -> tuple[list[Loan], Any]:
                old, new = amending.amend(loan, other, limits, now, world.id_of)
                return [new, old], new.id

            return Step(name, called(name, other.as_tuple(), *signatures, sender=KEEPER), amend)
        case "lodge" | "withdraw" | "answer":
            return some_grievance_step(dice, world, name, loan, lender.address)
        case _:
            to = LENDER if lender is ASSIGNEE else ASSIGNEE
            nonce = ledger.call("nonces", to.address)
            signature = offers.sign_assignment(to, world.domain, loan.id, lender.address, nonce, now)

            def assign() -> tuple[list[Loan], Any]:
                schedule.check_owed(loan)
                return [replace(loan, lender=low(to), assigned=True)], ()

            call = called(name, loan.id, to.address, now, signature, sender=lender.address)
            return Step(name, call, assign)


def some_grievance_step(dice: random.Random, world: World, name: str, loan: Loan, lender: str) -> Step:
    """A grievance lodged, withdrawn or answered: any, or one of those that stand."""
    cases = world.state.cases.get(loan.id, {})
    standing = [grievance for grievance, case in cases.items() if case.stands]
    grievance = dice.choice(tuple(Grievance))
    if name != "lodge" and standing and dice.random() < 0.8:
        grievance = dice.choice(standing)
    return grievance_step(dice, world, name, loan, lender, grievance)


def grievance_step(
    dice: random.Random, world: World, name: str, loan: Loan, lender: str, grievance: Grievance
) -> Step:
    now, state, borrower = world.now, world.state, loan.terms.borrower
    stands = state.cases.get(loan.id, {}).get(grievance, NO_CASE).stands
    contact = CONTACTS[loan.terms.policy - 1]

    def told(event: Event, assessed: Loan = loan) -> tuple[list[Loan], Any]:
        state.loans[loan.id] = assessed
        apply(event, now, state)
        return [state.loans[loan.id]], ()

    if name == "lodge":

        def lodge() -> tuple[list[Loan], Any]:
            if stands:
                raise GrievanceStands
            schedule.check_owed(loan)
            everywhere, fees = contact.rest_all_loans >> grievance & 1, contact.rest_fees >> grievance & 1
            event = GrievanceLodged(loan.id, borrower, grievance, borrower, bool(everywhere), bool(fees))
            return told(event, schedule.assess(loan, now))

        sender = dice.choice((BORROWER.address, lender))
        return Step(name, partial(world.desk.call, name, loan.id, grievance, sender=sender), lodge)

    def end() -> tuple[list[Loan], Any]:
        if not stands:
            raise NoGrievance
        if name == "withdraw":
            return told(GrievanceWithdrawn(loan.id, borrower, grievance))
        return told(GrievanceAnswered(loan.id, borrower, grievance, now + contact.pause_days * DAY))

    if name == "withdraw":
        call = partial(world.desk.call, name, loan.id, grievance, sender=BORROWER.address)
    else:
        # What the gate does when it serves the answer.
        call = partial(world.desk.call, "answerServed", loan.id, grievance, sender=GATE)
    return Step(name, call, end)


def carry_over(world: World, old: Loan, new: Loan, told: object) -> None:
    """What the ledger tells of grievances about a loan that another replaced."""
    if old.id not in world.state.cases:
        return
    # By its events alone.
    world.state.loans |= {old.id: replace(old, rest=new.rest), new.id: replace(new, rest=NO_REST)}
    apply(GrievancesCarriedOver(old.id, new.id), world.now, world.state)
    assert (world.state.loans[old.id], world.state.loans[new.id]) == (old, new), told


def test_whatever_happens_to_a_loan_is_the_same_on_both_sides(world: World) -> None:
    dice = random.Random(SEED)
    seen: Counter[str] = Counter()
    for life in range(LIVES):
        world.machine.set_time(START + dice.randrange(1_000 * DAY))
        policy, limits = dice.choice(list(world.policies.items()))
        terms = some_terms(dice, world.now, policy, limits)
        told: list[object] = [f"seed {SEED}, life {life}", world.now, terms]

        def opened(terms: Terms = terms, limits: LendingLimits = limits) -> Loan:
            lending.admit(terms, limits, world.now)
            return schedule.opened(world.id_of(terms), terms, world.now)

        answers = both(told, seen, "open", partial(world.open, terms), opened)
        if answers is None:
            continue
        loan_id, loan = answers
        assert loan_id == loan.id == offers.loan_id(terms, world.domain), told
        check_same(world, loan, told)
        closed: list[Loan] = []
        for _ in range(STEPS):
            world.machine.set_time(later(dice, loan, limits, world.now))
            check_same(world, loan, told)
            step = some_step(dice, world, loan, limits)
            told.append((world.now, step.name))
            answers = both(told, seen, step.name, step.call, step.mirror)
            if answers is None:
                check_same(world, loan, told)
                continue
            returned, (loans, expected) = answers
            assert returned == expected, told
            loan, *replaced = loans
            closed += replaced
            for each in replaced:
                carry_over(world, each, loan, told)
            if schedule.missed(replace(loan, rest=NO_REST), world.now) != schedule.missed(loan, world.now):
                seen["late fees rest"] += 1
            for each in loans:
                check_same(world, each, told)
                seen[each.status.name] += 1
            if loan.owed == 0 and dice.random() < 0.9:
                break
        world.machine.set_time(later(dice, loan, limits, world.now))
        for each in (loan, *closed):
            check_same(world, each, told)
    assert {status.name for status in Status} - {"NONE", "CANCELLED"} < set(seen)
    assert seen["late fees rest"] > LIVES / 20, seen
    # Everything was done often, and refused for every reason that there is.
    assert all(seen[name] >= 20 for name in ACTIONS), seen
    assert {reason.partition(": ")[2] for reason in seen} > REASONS, seen


# ------------------------------------------------------------------------------------------ FEES-1


@dataclass
class Eager:
    """A loan kept instalment by instalment: each is judged by itself in the second after its grace period
    ended, whether or not anybody looks. Shares nothing with ledger and domain but the schedule's rows.
    """

    rows: list[tuple[int, int]]
    """Of each instalment, the last second in which it is on time, and its amount."""
    grace_days: int
    late_fee: int
    rests: dict[Grievance, list[tuple[int, int]]] = field(default_factory=dict)
    """Of each grievance by which late fees rest, whenever it was lodged: after which second, up to which."""
    payments: list[tuple[int, int]] = field(default_factory=list)

    def pay(self, moment: int, amount: int) -> int:
        """What of a payment is taken."""
        taken = min(amount, self.owed(moment))
        self.payments.append((moment, taken))
        return taken

    def paid(self, moment: int) -> int:
        """Received up to and in a second."""
        return sum(amount for each, amount in self.payments if each <= moment)

    def fees(self, now: int) -> int:
        """Charged before a second."""
        charged = due = 0
        for due_at, amount in self.rows:
            due += amount
            grace_ends = due_at + self.grace_days * DAY
            missed = grace_ends + 1
            rested = any(one < missed <= other for some in self.rests.values() for one, other in some)
            if missed <= now and self.paid(grace_ends) < due and not rested:
                charged += self.late_fee
        return charged

    def lodge(self, grievance: Grievance, now: int) -> None:
        self.rests.setdefault(grievance, []).append((now, EVERYTHING))

    def end(self, grievance: Grievance, until: int) -> None:
        """The grievance that stands rests late fees up to a second, and no longer."""
        lodged, _ = self.rests[grievance].pop()
        self.rests[grievance].append((lodged, until))

    def owed(self, now: int) -> int:
        return sum(amount for _, amount in self.rows) + self.fees(now) - self.paid(now)

    def arrears(self, now: int) -> tuple[int, int]:
        """Overdue instalments and unpaid fees: money goes to what is due, then to fees, then ahead."""
        left, overdue = self.paid(now), 0
        for due_at, amount in self.rows:
            if due_at < now:
                overdue += amount - min(left, amount)
                left -= min(left, amount)
        return overdue, max(0, self.fees(now) - left)


def poke(world: World, loan: Loan) -> None:
    """Somebody records what was missed, if anything was."""
    try:
        world.ledger.call("flagMissed", loan.id, sender=KEEPER)
    except Reverted as error:
        if error.args[0] != "NothingMissed":
            raise


def complain(dice: random.Random, world: World, loan: Loan, eager: Eager, told: list[object]) -> Loan:
    """Lodge a grievance, or end the one that stands: the loan then."""
    grievance, now = dice.choice(tuple(Grievance)), world.now
    contact = CONTACTS[loan.terms.policy - 1]
    stands = world.state.cases.get(loan.id, {}).get(grievance, NO_CASE).stands
    name = dice.choice(("withdraw", "answer")) if stands else "lodge"
    step = grievance_step(dice, world, name, loan, low(LENDER), grievance)
    told.append((now, name, grievance.name))
    step.call()
    [loan], _ = step.mirror()
    if not contact.rest_fees >> grievance & 1:
        return loan
    if name == "lodge":
        eager.lodge(grievance, now)
    else:
        eager.end(grievance, now + contact.pause_days * DAY if name == "answer" else now)
    return loan


def test_fees_1_charged_lazily_are_those_that_an_eager_ledger_charges(world: World) -> None:
    """10,000 histories of payments of any size at any time, and of pokes by anyone in between; of grievances
    too, that are lodged again and again, and overlap.
    """
    dice = random.Random(SEED + 1)
    ledger, seen = world.ledger, Counter[str]()
    policy, limits = next(iter(world.policies.items()))
    while seen["histories"] < HISTORIES:
        world.machine.set_time(START + dice.randrange(1_000 * DAY))
        terms = some_terms(dice, world.now, policy, limits)
        n = dice.randint(1, 6)
        terms = replace(terms, instalments=n, late_fee=dice.randint(1, terms.principal // n + 1))
        try:
            lending.admit(terms, limits, world.now)
        except InvalidTerms:
            continue
        loan = schedule.opened(world.open(terms), terms, world.now)
        rows = [ledger.call("instalmentOf", loan.id, k)[:2] for k in range(1, terms.instalments + 1)]
        eager = Eager(rows, terms.grace_days, terms.late_fee)
        told: list[object] = [f"seed {SEED + 1}, history {seen['histories']}", terms]
        complains = dice.random() < 0.5
        for _ in range(dice.randint(0, 12 if complains else 7)):
            world.machine.set_time(later(dice, loan, limits, world.now))
            if eager.owed(world.now) == 0:
                break
            action = dice.random()
            if action < 0.2:
                told.append((world.now, "poke"))
                poke(world, loan)
            elif action < 0.6 and complains:
                loan = complain(dice, world, loan, eager, told)
                seen["complaints"] += 1
            else:
                regular = max(1, loan.instalment)
                amount = dice.choice((regular, regular, dice.randint(1, loan.total), 1))
                told.append((world.now, amount))
                taken = ledger.call("repay", loan.id, amount, sender=BORROWER.address)
                loan, credited = schedule.apply_payment(loan, amount, world.now)
                assert taken == credited == eager.pay(world.now, amount), told
        world.machine.set_time(later(dice, loan, limits, world.now))
        now = world.now
        told.append(now)
        overdue, fees, *_ = ledger.call("delinquency", loan.id)
        assert (overdue, fees) == eager.arrears(now), told
        charged = schedule.assess(loan, now)
        assert (charged.fees, charged.owed) == (eager.fees(now), eager.owed(now)), told
        *_, paid, recorded = ledger.call("loanOf", loan.id)
        assert paid == eager.paid(now), told
        # What the views only say so far, the next action records.
        if eager.owed(now):
            poke(world, loan)
            recorded = ledger.call("loanOf", loan.id)[-1]
        assert recorded == eager.fees(now), told
        seen["histories"] += 1
        seen["with fees"] += recorded > 0
        without = replace(eager, rests={}).fees(now)
        seen["all rested"] += 0 == recorded < without
        seen["some rested"] += 0 < recorded < without
        seen["repaid with fees"] += recorded > 0 and eager.owed(now) == 0
        seen["some missed, some not"] += 0 < recorded < terms.instalments * terms.late_fee
    assert seen["with fees"] > HISTORIES / 3, seen
    assert seen["some missed, some not"] > HISTORIES / 10, seen
    assert seen["repaid with fees"] > HISTORIES / 20, seen
    assert seen["all rested"] > HISTORIES / 50, seen
    assert seen["some rested"] > HISTORIES / 50, seen
