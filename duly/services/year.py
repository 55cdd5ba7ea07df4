"""A year of lending on a local chain, with everybody in it: `duly bench year`.

Borrowers of every policy pack, in time zones of both hemispheres, under every schedule and frequency, pay in
time, early, late, in part or not at all; prepay, rescind, dispute, withdraw, revoke, stop all contact and
come back. The service runs as it always does, several rounds a day, and an adversary calls the gate beside it
with the lender's own key. In the end the chain is audited, and what the audit does not look at is checked:

- no reminder went to a borrower who had stopped all contact or had a grievance, by a record of its own
- every notice was within hours by the clock on the borrower's wall, as the time zone's own rules tell it
- whatever could be said was said in the next round, and every instalment that one could be reminded of was,
  or there is a reason
- every message went to the borrower's own address, and none was sent that was not served
- read model, replayed events and ledger say the same
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import Enum, auto
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from duly.chain import networks
from duly.chain.contracts import Call
from duly.chain.offers import SigningDomain, sign_amendment, sign_assignment, sign_offer
from duly.chain.sender import Sender
from duly.chain.stage import Act, Stage
from duly.channels.memory import MemoryCarrier
from duly.domain import amortisation, calendar, lending, schedule
from duly.domain.audit import Findings
from duly.domain.calendar import DAY, QUARTER_HOUR
from duly.domain.consent import Channel, Profile
from duly.domain.errors import InvalidTerms
from duly.domain.events import (
    ConsentGranted,
    ContactCeased,
    ContactRegistered,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    GrievanceWithdrawn,
    Logged,
    NoticeServed,
)
from duly.domain.grievance import NO_CASE, NO_REST, Grievance
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import NOTHING_SELDOM, Kind, Refusal, Said
from duly.domain.policy import ContactLimits
from duly.domain.preferences import DAYS_BEFORE, NO_PREFERENCES, Preferences
from duly.domain.replay import State
from duly.domain.terms import ZERO_ADDRESS, Frequency, Schedule, Terms
from duly.services import audit, deploy, importing, run
from duly.services.adversary import Adversary, Mirror, Tally
from duly.services.index import Source
from duly.services.plan import OUTCOMES, Planned, known_reminders, plan, plan_one
from duly.services.policy import load_pack, pack_names
from duly.services.render import templates_hash
from duly.services.serve import NO_ADDRESS, NOT_VERIFIED, OTHER_ADDRESS
from duly.services.verifying import verify_simulated
from duly.services.when import Wait
from duly.store.notices import State as Delivered

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from duly.bootstrap import Application

OPTIONS: Final = ("--order", "fifo", "--prune-history", "--gas-limit", "1000000000000")
"""Of the Anvil that a year is played on."""
START: Final = date(2027, 1, 4)
SLOTS: Final = 6
"""Rounds a day: every contact window is open in one of them at least."""
ZONES: Final = (
    "America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "America/Santiago",
    "Europe/London", "Europe/Paris", "Europe/Athens", "Africa/Johannesburg", "Asia/Kolkata",
    "Asia/Kathmandu", "Asia/Shanghai", "Australia/Adelaide", "Australia/Sydney", "Australia/Lord_Howe",
    "Pacific/Chatham", "Pacific/Auckland", "Pacific/Kiritimati", "Pacific/Marquesas",
)  # fmt: skip
DECIMALS: Final = (2, 6, 18)

_SHOWN: Final = 50
_LENDER, _SERVICER, _OTHER_LENDER, _STRANGER, _KEEPER = 1, 2, 3, 4, 5
_EVERYTHING: Final = 2**87
_REMINDED_FROM: Final = max(NO_PREFERENCES.days_before)
"""Days before a due day from which on whoever wishes nothing else can be reminded of it."""
_FEW_DAYS: Final = 5 * DAY
"""Longer than this no window stays closed."""
_RARE: Final = 40_000
"""Days of borrowers in which everything happens that can."""
_DUE: Final = "due"
_NEXT_ROUND: Final = "next_round"
_HOURS: Final = ("outside_hours", "too_early", *map(str, Wait))
"""What keeps a reminder from being served for some days at most."""
_BY_HAND: Final = (Kind.PAID_AHEAD, Kind.COOLING_OFF_ENDING, Kind.CONSENT_CHANGED, Kind.ARREARS)
"""What no plan has: a person serves it."""


class Habit(Enum):
    """How a borrower pays."""

    PROMPT = auto()
    EARLY = auto()
    AHEAD = auto()
    LATE = auto()
    PARTIAL = auto()
    STRUGGLING = auto()


_HABITS: Final = (
    *3 * (Habit.PROMPT,), *2 * (Habit.EARLY,), Habit.AHEAD, *2 * (Habit.LATE,), Habit.PARTIAL,
    Habit.STRUGGLING,
)  # fmt: skip
"""As often as people have them."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is played. borrowers: persons. adversary: its calls."""

    borrowers: int = 1_000
    days: int = 365
    adversary: int = 20_000
    seed: int = 1


@dataclass(slots=True)
class Borrower:
    """An address of somebody who borrows, and what is true of them apart from the chain."""

    address: str
    account: "LocalAccount"
    mail: str
    zone: str
    language: str
    habit: Habit


Progress = Callable[[int, int], None]
"""Is told how many days are over, and of how many."""


@dataclass(slots=True)
class Report:
    """What was played, and what came of it. `wrong` says in words whatever is not as it has to be."""

    size: Size
    decimals: int
    persons: int = 0
    addresses: int = 0
    rounds: int = 0
    blocks: int = 0
    loans_by_pack: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    served_by_service: Counter[Kind] = field(default_factory=Counter)
    deliveries: dict[Delivered, int] = field(default_factory=dict)
    reminded: int = 0
    not_reminded: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    tally: Tally = field(default_factory=Tally)
    checked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0

    @property
    def sound(self) -> bool:
        """No rule was broken, the gate did nothing that was not forecast, and nothing else is wrong."""
        return not (self.wrong or self.findings.violations or self.tally.differences)

    def as_json(self) -> dict[str, object]:
        """For programs."""

        def named(counts: Counter[Kind] | Counter[Refusal]) -> dict[str, int]:
            return {key.name.lower(): count for key, count in sorted(counts.items())}

        return {
            "persons": self.persons,
            "addresses": self.addresses,
            "days": self.size.days,
            "seed": self.size.seed,
            "decimals": self.decimals,
            "rounds": self.rounds,
            "blocks": self.blocks,
            "loans": self.findings.loans,
            "loans_opened": dict(sorted(self.loans_by_pack.items())),
            "acts": dict(sorted(self.done.items())),
            "acts_refused": dict(sorted(self.refused.items())),
            "served": named(self.findings.served),
            "served_by_service": named(self.served_by_service),
            "deliveries": {str(state): count for state, count in sorted(self.deliveries.items())},
            "instalments": {
                "reminded": self.reminded,
                "not_reminded": dict(self.not_reminded.most_common()),
            },
            "adversary": self.tally.as_json(),
            "events": self.findings.events,
            "violations": len(self.findings.violations),
            "checked": dict(self.checked),
            "wrong": self.wrong,
            "sound": self.sound,
            "seconds": round(self.seconds, 1),
        }


def play(app: "Application", size: Size, records: Path, progress: Progress = lambda days, of: None) -> Report:
    """Play a year on a local chain that nothing was done on yet, and check it.

    app: with the servicer's key (`servicer`); its carriers are replaced by one that keeps what it is given.
    records: an empty folder for the deployment's record.

    Raises: DulyError, where the service fails.
    """
    started = time.monotonic()
    year = _Year(app, size, records)
    try:
        year.run(progress)
        report = year.report
        year.conclude()
    finally:
        year.stage.close()
    report.seconds = time.monotonic() - started
    return report


def genesis() -> int:
    """When the chain of a year has to begin, UTC seconds."""
    return int(datetime(START.year, START.month, START.day, tzinfo=UTC).timestamp()) - DAY


def servicer(app: "Application") -> "LocalAccount":
    """The account that the service has to serve with."""
    return networks.development_account(app.w3, _SERVICER)


@cache
def offsets(zone: str) -> tuple[int, int]:
    """The offsets of a time zone's standard and summer time, in quarter hours."""
    found = [
        int(utc.total_seconds()) // QUARTER_HOUR
        for month in (1, 7)
        if (utc := datetime(START.year, month, 1, tzinfo=ZoneInfo(zone)).utcoffset()) is not None
    ]
    return min(found), max(found)


# ------------------------------------------------------------------------------------------- the year

Doing = Callable[[int], Sequence[tuple[str, Act]]]
"""What somebody does at a moment: some acts, each with its name; none where it has become pointless."""


def _does(name: str, *acts: Act) -> Doing:
    """Exactly these acts, whatever the moment."""
    return lambda moment: [(name, act) for act in acts]


class _Year:
    def __init__(self, app: "Application", size: Size, records: Path) -> None:
        self.app, self.size = app, size
        # So that what seldom happens does in a short year with few people as well.
        self.often = min(6.0, max(1.0, _RARE / (size.borrowers * size.days)))
        self.dice = random.Random(size.seed)
        self.carrier = MemoryCarrier()
        app.carriers = {self.carrier.channel: self.carrier}
        self.stage = Stage(app.w3)
        decimals = DECIMALS[size.seed % len(DECIMALS)]
        self.unit = 10**decimals
        self.report = Report(size, decimals)

        publisher = Sender(app.w3, networks.development_account(app.w3, 0))
        names = pack_names()
        for number, name in enumerate(names):
            wish = deploy.Wish(load_pack(name), templates_hash(), decimals=None if number else decimals)
            (deploy.publish if number else deploy.deploy)(publisher, wish, records)
        app.settings = replace(app.settings, deployments=records)
        self.publisher = publisher.address
        self.policies = {name: app.deployment.policies[name] for name in names}
        self.contracts = app.contracts
        self.domain = SigningDomain(app.chain_id, self.contracts.ledger.address)
        self.mirror = Mirror(app.w3, Source.of(app.deployment))

        accounts = (_LENDER, _OTHER_LENDER)
        self.lenders = {
            account.address.lower(): account
            for account in (networks.development_account(app.w3, number) for number in accounts)
        }
        self.lender, self.other_lender = self.lenders
        self.keeper, stranger = (
            networks.development_account(app.w3, number).address.lower() for number in (_KEEPER, _STRANGER)
        )
        self.adversary = Adversary(
            self.stage,
            self.contracts.notices,
            self.mirror,
            (self.lender, self.other_lender, stranger),
            random.Random(size.seed + 1),
        )
        self.report.tally = self.adversary.tally
        self.watch = Watch(self.mirror.state, self.report, app.sender.address)
        self.borrowers: dict[str, Borrower] = {}
        self.coming: defaultdict[int, list[Doing]] = defaultdict(list)
        self.hot: list[bytes] = []
        self.due: dict[tuple[bytes, int], list[tuple[int, str]]] = {}
        self.left: set[bytes] = set()
        self.first_day = genesis() // DAY + 1
        self._set_the_stage()

    # ------------------------------------------------------------------------------------ before it begins

    def _set_the_stage(self) -> None:
        """Lenders have money, the service its appointments; when who borrows is settled."""
        currency, ledger = self.contracts.currency, self.contracts.ledger
        acts = []
        for lender in self.lenders:
            acts += [
                Act(lender, currency.mint(lender, _EVERYTHING)),
                Act(lender, currency.approve(ledger.address, _EVERYTHING)),
                Act(lender, ledger.appoint_servicer(self.app.sender.address)),
            ]
        self.stage.play(acts)
        dice, packs = self.dice, list(self.policies)
        # Most are borrowed early enough to be paid back, or not, within the year.
        last = max(1, self.size.days // 4, self.size.days - 146)
        for number in range(self.size.borrowers):
            zone = ZONES[number % len(ZONES)] if dice.random() < 0.9 else dice.choice(ZONES)
            language = "zh" if zone == "Asia/Shanghai" or dice.random() < 0.1 else "en"
            mail, habit = f"borrower-{number:05}@example.org", dice.choice(_HABITS)
            self.report.persons += 1
            for address_number in range(2 if dice.random() < 0.1 else 1):
                key = f"{number}/{address_number}".encode()
                account = importing.borrower_account(str(self.size.seed).encode(), key)
                borrower = Borrower(account.address.lower(), account, mail, zone, language, habit)
                self.borrowers[borrower.address] = borrower
                self.report.addresses += 1
                self.stage.fund(borrower.address)
                day = self.first_day + dice.randrange(last)
                self._later(day, partial(self._join, borrower))
                for loan in range(dice.choice((1, 1, 1, 1, 2, 3))):
                    pack = packs[(number + loan) % len(packs)]
                    day = min(day + (dice.randrange(40) if loan else 0), self.first_day + self.size.days - 1)
                    self._later(day, partial(self._open, borrower, pack))
        # One pack is tightened, and one lender takes the appointment back for some days.
        middle = self.first_day + self.size.days // 2
        self._later(middle, self._tighten)
        for day, who in ((middle - 9, ZERO_ADDRESS), (middle - 2, self.app.sender.address)):
            call = ledger.appoint_servicer(who)
            self._later(day, _does("appoint", Act(self.other_lender, call)))

    def _later(self, day: int, doing: Doing) -> None:
        self.coming[day].append(doing)

    # ------------------------------------------------------------------------------------ day by day

    def run(self, progress: Progress) -> None:
        """Play all days."""
        wake: int | None = 0
        bursts = self._bursts()
        for number in range(self.size.days):
            day = self.first_day + number
            slots: list[list[Doing]] = [[] for _ in range(SLOTS)]
            for doing in (*self.coming.pop(day, ()), *self._ideas(day * DAY)):
                slots[self.dice.randrange(SLOTS)].append(doing)
            for slot, doings in enumerate(slots):
                # Never near a quarter hour, where a loan's day may turn between plan and block.
                moment = day * DAY + slot * DAY // SLOTS + self.dice.randrange(240, 480)
                calls = next(bursts)
                at_once = self.dice.randint(0, calls)
                before = self.dice.randint(0, calls - at_once)
                after = calls - at_once - before
                if before:
                    # At any time between, night and noon.
                    latest = self.stage.now
                    self.stage.play([], latest + self.dice.randrange(1, max(2, moment - before - latest)))
                    self.watch.see(self.adversary.burst(before, self.hot))
                busy = self._act(doings, max(moment, self.stage.now + 1))
                if slot == 0:
                    self._note_due(moment)
                if at_once:
                    self.watch.see(self.adversary.burst(at_once, self.hot))
                if busy or calls or wake is None or wake <= moment + DAY // SLOTS:
                    wake = self._round()
                if after:
                    self.watch.see(self.adversary.burst(after, self.hot))
            progress(number + 1, self.size.days)

    def _bursts(self) -> Iterator[int]:
        """How often the adversary calls around each slot: all its calls in all, unevenly."""
        slots, left = self.size.days * SLOTS, self.size.adversary
        for number in range(slots):
            fair = left / (slots - number)
            calls = (
                round(fair) if number == slots - 1 else min(left, int(self.dice.expovariate(1) * fair + 0.5))
            )
            left -= calls
            yield calls

    def _act(self, doings: Sequence[Doing], moment: int) -> bool:
        """Let people act in one block; whether anything happened."""
        named = [each for doing in doings for each in doing(moment)]
        self.hot = []
        if not named:
            self.stage.play([], moment)
            return False
        played = self.stage.play([act for _, act in named], moment)
        for (name, _), each in zip(named, played, strict=True):
            (self.report.done if each.done else self.report.refused)[name] += 1
        told = self.mirror.follow()
        self.watch.see(told)
        about = {getattr(each.event, name, None) for each in told for name in ("id", "loan", "borrower")}
        loans = self.mirror.state.loans.values()
        self.hot = [loan.id for loan in loans if loan.id in about or loan.terms.borrower in about]
        return True

    # ------------------------------------------------------------------------------------ the service

    def _round(self) -> int | None:
        """What a person serves, then the service's own round; when there will be more to say."""
        app, report = self.app, self.report
        if self.dice.random() < 0.3:
            app.indexer.run()
            self._by_hand(app.clock.now())
        done = run.round(app)
        report.rounds += 1
        self.watch.see(self.mirror.follow())
        if done.problem or done.served.refused or done.delivered.left:
            self._wrong(f"a round had to be better: {done.as_json()}")
        return self._look_again(done.at)

    def _by_hand(self, now: int) -> None:
        """Answers to grievances, and what no plan has."""
        dice, state = self.dice, self.mirror.state
        wishes: list[tuple[Kind, bytes, str]] = []
        for loan, cases in state.cases.items():
            for kind, outcomes in OUTCOMES.items():
                grievance = kind.grievance
                if grievance is not None and cases.get(grievance, NO_CASE).stands and dice.random() < 0.025:
                    wishes.append((kind, loan, dice.choice(outcomes)))
        if state.loans:
            loans = list(state.loans)
            wishes += [(dice.choice(_BY_HAND), dice.choice(loans), "") for _ in range(1 + len(loans) // 30)]
        ready: list[Planned] = []
        for kind, loan, outcome in wishes:
            candidate = self.app.read_model.candidate(loan)
            planned = plan_one(kind, candidate, self.app.sender.address, now, outcome) if candidate else None
            if planned and planned.ready and planned.id not in {each.id for each in ready}:
                ready.append(planned)
        # One of a loan: the plan of each knows nothing of the others.
        once = list({each.loan.id: each for each in ready}.values())
        if once and (refused := self.app.server.serve(once, now).refused):
            self._wrong(f"by hand: {refused}")

    def _look_again(self, at: int) -> int | None:
        """Is anything left that could be said at the moment of the round, and not only since the round told
        of a new lender? And until when does the rest wait?
        """
        app = self.app
        candidates = app.read_model.candidates(calendar.local_day(at, calendar.EASTERNMOST))
        persons = app.vault.persons()
        reminders = known_reminders(persons, lambda who: self.mirror.state.reminders.get(who, ()))
        wishes, together = app.vault.preferences(), run.companions_of(app)
        wake: int | None = None
        left: set[bytes] = set()
        for each in plan(
            candidates, app.sender.address, at, persons, reminders, preferences=wishes, together=together
        ):
            reason = each.decision.reason.name.lower() if each.decision.reason else str(each.wait)
            if each.ready:
                reason = self._why_skipped(each) or _NEXT_ROUND
                if reason == _NEXT_ROUND:
                    left.add(each.id)
                if each.id in self.left:
                    self._wrong(f"left unsaid at {at}: {each.kind.name} of 0x{each.loan.id.hex()}")
            elif each.not_before is not None:
                wake = min(wake or each.not_before, each.not_before)
            about = self.due.get((each.loan.id, each.instalment)) if each.kind.is_reminder else None
            if about is not None and about[-1][1] != reason:
                about.append((at, reason))
        self.left = left
        return min(wake or at, at) if left else wake

    def _why_skipped(self, planned: Planned) -> str:
        """Why the server did not serve what it might have; empty where it had no reason."""
        kept = self.app.vault.kept(planned.borrower, planned.channel)
        if kept is None:
            return NO_ADDRESS
        if not kept.verified:
            return NOT_VERIFIED
        registered = self.app.read_model.commitment(planned.borrower, planned.channel)
        return OTHER_ADDRESS if kept.commitment != registered else ""

    def _note_due(self, now: int) -> None:
        """Remember what one could be reminded of: what is unpaid, and overdue or due in a few days."""
        for loan, position in self._owed(now):
            if position.overdue:
                self.due.setdefault((loan.id, position.first_unpaid), [(now, _DUE)])
            elif position.next_amount and position.next_due_day - position.today <= _REMINDED_FROM:
                self.due.setdefault((loan.id, position.next), [(now, _DUE)])

    def _owed(self, now: int) -> Iterator[tuple[Loan, Position]]:
        state = self.mirror.state
        for loan in list(state.loans.values()):
            if loan.owed and loan.recorded_status is Status.ACTIVE:
                yield loan, position_of(loan, state.servicers.get(loan.lender, ZERO_ADDRESS), now)

    def _wrong(self, what: str) -> None:
        if len(self.report.wrong) < _SHOWN:
            self.report.wrong.append(what)

    # ------------------------------------------------------------------------------------ what people do

    def _join(self, it: Borrower, now: int) -> list[tuple[str, Act]]:
        """Get ready to pay; most register a contact, and most of these consent."""
        currency, dice = self.contracts.currency, self.dice
        acts = [
            ("prepare", Act(it.address, currency.mint(it.address, _EVERYTHING))),
            ("prepare", Act(it.address, currency.approve(self.contracts.ledger.address, _EVERYTHING))),
        ]
        if dice.random() < 0.96:
            acts += self._register(it)
            if dice.random() < 0.96:
                acts.append(("grant", Act(it.address, self.contracts.consents.grant(Channel.EMAIL))))
        return acts

    def _register(self, it: Borrower) -> list[tuple[str, Act]]:
        vault, where = self.app.vault, (it.address, Channel.EMAIL)
        vault.add(*where, it.mail, language=it.language)
        if self.dice.random() < 0.3:
            vault.prefer(it.address, self._wishes(it))
            self.watch.wishes.add(it.address)
        [commitment] = verify_simulated(vault, self.app.chain_id, [where])
        self.watch.moves(it, commitment.hash)
        call = self.contracts.consents.register(Channel.EMAIL, commitment.hash, *self._offsets(it))
        return [("register", Act(it.address, call))]

    def _wishes(self, it: Borrower) -> Preferences:
        """How somebody wishes to be reminded."""
        dice, opens = self.dice, self.dice.randrange(7 * 60, 20 * 60, 15)
        return Preferences(
            hours=(opens, opens + dice.choice((60, 120, 240))) if dice.random() < 0.7 else None,
            zone=it.zone if dice.random() < 0.7 else "",
            days_before=tuple(day for day in DAYS_BEFORE if dice.random() < 0.6),
            on_due_day=dice.random() < 0.7,
        )

    def _offsets(self, it: Borrower) -> tuple[int, int]:
        """Either first: which is which is nobody's business."""
        standard, summer = offsets(it.zone)
        return (standard, summer) if self.dice.random() < 0.5 else (summer, standard)

    def _open(self, it: Borrower, pack: str, now: int) -> list[tuple[str, Act]]:
        terms = self._terms(it, pack, now)
        self.report.loans_by_pack[pack] += 1
        offer = sign_offer(self.lenders[terms.lender], terms, self.domain)
        return [("open", Act(it.address, self.contracts.ledger.open(terms, offer)))]

    def _terms(self, it: Borrower, pack: str, now: int) -> Terms:
        """Terms of any shape that the pack admits now."""
        dice, limits = self.dice, load_pack(pack).lending_limits
        while True:
            frequency = dice.choice((Frequency.MONTHLY, Frequency.MONTHLY, Frequency.MONTHLY, *Frequency))
            shape = dice.choice((Schedule.LEVEL, Schedule.LEVEL, *Schedule))
            offset = dice.choice(offsets(it.zone)) if dice.random() < 0.9 else dice.randint(-48, 56)
            first_due = calendar.add_periods(calendar.local_day(now, offset), frequency, 1)
            rate, number = dice.randrange(0, 240_000), dice.randint(1, 24)
            principal = dice.randint(300, 30_000) * self.unit
            try:
                curve = amortisation.curve_of(shape, principal, rate, frequency.periods_per_year, number)
                terms = Terms(
                    lender=self.lender if dice.random() < 0.8 else self.other_lender,
                    borrower=it.address,
                    principal=principal,
                    late_fee=dice.choice((0, lending.highest_late_fee(curve, limits))),
                    rate=rate,
                    instalments=number,
                    first_due=first_due + dice.choice((0, 0, dice.randrange(20))),
                    schedule=shape,
                    frequency=frequency,
                    calendar_offset=offset,
                    grace_days=limits.min_grace_days + dice.choice((0, 5)),
                    policy=self.policies[pack],
                    expires=now + DAY,
                    salt=dice.randbytes(32),
                )
                lending.admit(terms, limits, now)
            except InvalidTerms:
                continue
            return terms

    def _tighten(self, now: int) -> list[tuple[str, Act]]:
        limits = self.mirror.state.policies[self.policies["GB"]].contact
        tighter = replace(limits, closes=limits.closes - 60, per_week=1, overdue_days=limits.overdue_days + 3)
        call = self.contracts.policy_book.tighten(self.policies["GB"], tighter)
        return [("tighten", Act(self.publisher, call))]

    def _ideas(self, now: int) -> Iterator[Doing]:
        """What people feel like doing on a day."""
        for loan, position in self._owed(now):
            it = self.borrowers[loan.terms.borrower]
            if call := self._payment(it, loan, position):
                name = call.what.rpartition(".")[2]
                yield _does(name, Act(it.address, call))
            yield from self._dealings(it, loan, position)
            yield from self._grievances(it, loan, position)
        for address in self.mirror.state.profiles.copy():
            if address in self.borrowers:
                yield from self._contact(self.borrowers[address])

    def _payment(self, it: Borrower, loan: Loan, position: Position) -> Call | None:
        dice, ledger = self.dice, self.contracts.ledger
        late, coming = position.overdue + position.fees, position.next_amount
        left = position.next_due_day - position.today if position.next else 99
        chance, amount = 0.0, late or coming
        match it.habit:
            case Habit.PROMPT:
                chance = 0.6 if late else {0: 0.7, 1: 0.2, 2: 0.2}.get(left, 0)
            case Habit.EARLY:
                chance = 0.6 if late else 0.35 if left <= 8 else 0
            case Habit.AHEAD:
                chance, amount = (0.6 if late else 0.15 if left <= 4 else 0.01), late + 2 * coming
            case Habit.LATE:
                chance, amount = (0.06 if late else 0), late
            case Habit.PARTIAL:
                chance = 0.15 if late else 0.3 if left <= 3 else 0
                amount = dice.randint(1, max(1, late or coming))
            case Habit.STRUGGLING:
                chance = 0.015 if late else 0.4 if left <= 1 and loan.paid < loan.total // 5 else 0
        if amount and dice.random() < chance:
            return ledger.repay(loan.id, amount)
        chance = dice.random()
        if chance < 0.0008:
            return ledger.settle(loan.id, _EVERYTHING)
        if chance < 0.0016:
            return ledger.prepay(loan.id, max(1, loan.owed // dice.choice((2, 3, 5))))
        if chance < 0.003 and loan.paid == 0:
            return ledger.rescind(loan.terms)
        return None

    def _dealings(self, it: Borrower, loan: Loan, position: Position) -> Iterator[Doing]:
        """What lenders, and a keeper, do with a loan."""
        dice, ledger, chance = self.dice, self.contracts.ledger, self.dice.random() / self.often
        lender, some = loan.lender, max(1, loan.owed // 9)
        calls: dict[str, Callable[[], Call]] = {
            "acknowledgeReceipt": lambda: ledger.acknowledge_receipt(loan.id, some, dice.randbytes(32)),
            "forgive": lambda: ledger.forgive(loan.id, some),
            "defer": lambda: ledger.defer(loan.id, dice.choice((1, 2))),
            "waive": lambda: ledger.waive(loan.id, some),
            "markDefault": lambda: ledger.mark_default(loan.id),
        }
        likely = {"waive": 0.005 if position.fees else 0, "markDefault": 0.02 if position.missed > 2 else 0}
        for name, call in calls.items():
            chance -= likely.get(name, 0.0006)
            if chance < 0:
                yield _does(name, Act(lender, call()))
                return
        if (chance := chance - 0.0008) < 0:
            yield lambda at: self._assign(loan)
        elif (chance := chance - 0.0008) < 0:
            yield lambda at: self._amend(it, loan, at)
        elif chance < 0.05 and position.missed:
            yield _does("flagMissed", Act(self.keeper, ledger.flag_missed_many([loan.id])))

    def _assign(self, loan: Loan) -> list[tuple[str, Act]]:
        to = self.other_lender if loan.lender == self.lender else self.lender
        nonce, deadline = self.contracts.ledger.nonce_of(to), 2**40 - 1
        signature = sign_assignment(self.lenders[to], self.domain, loan.id, loan.lender, nonce, deadline)
        return [("assign", Act(loan.lender, self.contracts.ledger.assign(loan.id, to, deadline, signature)))]

    def _amend(self, it: Borrower, loan: Loan, now: int) -> list[tuple[str, Act]]:
        """To other terms that both sign: less principal, another rhythm."""
        dice = self.dice
        frequency = dice.choice(tuple(Frequency))
        today = calendar.local_day(now, loan.terms.calendar_offset)
        try:
            terms = replace(
                loan.terms,
                lender=loan.lender,
                principal=max(1, min(loan.owed, loan.terms.principal) * 8 // 10),
                origination_fee=0,
                late_fee=0,
                rate=loan.terms.rate // 2,
                instalments=dice.randrange(2, 9),
                first_due=calendar.add_periods(today, frequency, 1) + dice.randrange(9),
                frequency=frequency,
                schedule=dice.choice((Schedule.LEVEL, *Schedule)),
                expires=now + DAY,
                agreement_hash=bytes(32),
                replaces=loan.id,
                salt=dice.randbytes(32),
            )
        except InvalidTerms:
            return []
        keys = self.lenders[loan.lender], it.account
        signatures = [sign_amendment(key, terms, self.domain) for key in keys]
        return [("amend", Act(self.keeper, self.contracts.ledger.amend(terms, *signatures)))]

    def _grievances(self, it: Borrower, loan: Loan, position: Position) -> Iterator[Doing]:
        dice, desk = self.dice, self.contracts.desk
        cases = self.mirror.state.cases.get(loan.id, {})
        for grievance, likely in zip(Grievance, (0.0008, 0.0008, 0.0003), strict=True):
            stands = cases.get(grievance, NO_CASE).stands
            if stands:
                likely = 0.02
            else:
                likely *= self.often * (5 if position.overdue else 1)
            if dice.random() < likely:
                name = f"{'withdraw' if stands else 'lodge'} {grievance.name.lower()}"
                by_word = not stands and dice.random() < 0.3
                call = desk.withdraw(loan.id, grievance) if stands else desk.lodge(loan.id, grievance)
                act = Act(loan.lender if by_word else it.address, call)
                yield _does(name, act)

    def _contact(self, it: Borrower) -> Iterator[Doing]:
        """Consent withdrawn, all contact stopped, given again; another address, another place."""
        dice, consents, chance = self.dice, self.contracts.consents, self.dice.random() / self.often
        profile = self.mirror.state.profiles[it.address]
        if not profile.consents_to(Channel.EMAIL) and profile.has_contact(Channel.EMAIL):
            if chance < 0.02:
                yield _does("grant", Act(it.address, consents.grant(Channel.EMAIL)))
            return
        if chance < 0.0006:
            yield _does("revoke", Act(it.address, consents.revoke(Channel.EMAIL)))
        elif chance < 0.0009:
            yield _does("cease", Act(it.address, consents.cease()))
        elif chance < 0.0013 and (loan := self._loan_of(it)):
            call = consents.revoke_on_word(loan.id, Channel.EMAIL)
            yield _does("revoke on word", Act(loan.lender, call))
        elif chance < 0.0015 and (loan := self._loan_of(it)):
            yield _does("cease on word", Act(loan.lender, consents.cease_on_word(loan.id)))
        elif chance < 0.0022:
            yield lambda at: self._move(it)
        elif chance < 0.0034:
            channel = dice.choice((Channel.SMS, Channel.PUSH, Channel.IN_APP))
            commitment = dice.randbytes(32)
            self.watch.moves(it, commitment)
            call = consents.register(channel, commitment, *self._offsets(it))
            yield _does("other channel", Act(it.address, call), Act(it.address, consents.grant(channel)))
        elif chance < 0.00345:
            yield lambda at: self._erase(it)

    def _loan_of(self, it: Borrower) -> Loan | None:
        loans = [each for each in self.mirror.state.loans.values() if each.terms.borrower == it.address]
        return self.dice.choice(loans) if loans else None

    def _move(self, it: Borrower) -> list[tuple[str, Act]]:
        """To another place, with another address; consent is given anew."""
        it.zone, it.mail = self.dice.choice(ZONES), f"moved-{self.dice.randrange(10**12)}@example.org"
        grant = self.contracts.consents.grant(Channel.EMAIL)
        return [*self._register(it), ("grant", Act(it.address, grant))]

    def _erase(self, it: Borrower) -> list[tuple[str, Act]]:
        """The vault forgets them."""
        self.app.vault.erase(it.address)
        self.watch.forgotten(it)
        self.report.done["erase"] += 1
        return []

    # ------------------------------------------------------------------------------------ in the end

    def conclude(self) -> None:
        """Audit the chain, and check what the audit does not look at."""
        report, app = self.report, self.app
        self.watch.see(self.mirror.follow())
        app.indexer.run()
        report.blocks = int(app.w3.eth.block_number)
        report.findings = audit.audit(app.w3, Source.of(app.deployment)).audit.findings
        report.deliveries = app.notice_store.counts()
        report.served_by_service = self.watch.by_server[app.sender.address]
        self._check_messages()
        self._check_instalments()
        self._check_read_model()

    def _check_messages(self) -> None:
        """What was sent was served by the service, once, and went to its borrower's own address."""
        served = {each.id: each for each in self.watch.served if each.server == self.app.sender.address}
        counts = self.report.deliveries
        sent = Counter(proof.notice for message in self.carrier.sent for proof in message.proofs)
        for notice, times in sent.items():
            if times != 1 or notice not in served:
                self._wrong(f"notice 0x{notice.hex()} was sent {times} times, or never served")
        reminders: Counter[tuple[str, int]] = Counter()
        for message in self.carrier.sent:
            events = [served[proof.notice] for proof in message.proofs if proof.notice in served]
            for event in events:
                if message.address not in self.watch.mails[event.borrower]:
                    self._wrong(f"notice 0x{event.id.hex()} went to another address than its borrower's")
            reminders.update({(message.address, self.watch.at[e.id]) for e in events if e.kind.is_reminder})
        # CAP-1: what was said to a person at once was one message.
        for (_, at), messages in reminders.items():
            if messages > 1:
                self._wrong(f"{messages} messages of reminders to one person at {at}")
        told = counts.get(Delivered.SENT, 0)
        if sent.total() != told or sum(counts.values()) != len(served):
            self._wrong(f"{len(served)} served, {sent.total()} sent; the store says {dict(counts)}")
        self.report.checked["messages"] = len(self.carrier.sent)
        self.report.checked["messages about several loans"] = sum(
            len(message.proofs) > 1 for message in self.carrier.sent
        )
        self.report.checked["notices sent"] = sent.total()

    def _check_instalments(self) -> None:
        """Every instalment that one could be reminded of was, or there is a reason."""
        report, end = self.report, self.stage.now
        reminded = {(each.loan, each.instalment) for each in self.watch.served if each.kind.is_reminder}
        for about, history in self.due.items():
            if about in reminded:
                report.reminded += 1
                continue
            reason = history[-1][1]
            loan = self.mirror.state.loans[about[0]]
            seen = {reason for _, reason in history}
            waits = seen <= {_DUE, _NEXT_ROUND, *_HOURS}
            if waits and (not loan.owed or schedule.first_unpaid(loan) != about[1]):
                reason = "paid or ended before the window opened"
            elif waits and end - history[0][0] <= _FEW_DAYS + DAY * self._limits_of(loan).overdue_days:
                reason = "the year was over"
            elif reason == _DUE and self._server_of(loan) != self.app.sender.address:
                reason = "not_server"
            elif waits and Wait.DAY_OF_REST in seen:
                reason = "no day before it was open"
            elif waits and loan.terms.borrower in self.watch.wishes:
                reason = "as the borrower wished"
            elif waits:
                self._wrong(f"never reminded of instalment {about[1]} of 0x{about[0].hex()}: {history}")
            report.not_reminded[reason] += 1
        report.checked["instalments"] = len(self.due)

    def _limits_of(self, loan: Loan) -> ContactLimits:
        return self.mirror.state.policies[loan.terms.policy].contact

    def _server_of(self, loan: Loan) -> str:
        return self.mirror.state.servicers.get(loan.lender, ZERO_ADDRESS)

    def _check_read_model(self) -> None:
        """The read model, the replayed events and the ledger say the same."""
        model, state, now = self.app.read_model, self.mirror.state, self.stage.now
        if {loan.id: loan for loan in model.loans()} != state.loans:
            self._wrong("the read model has other loans than the chain's events tell")
        if {policy.number: policy for policy in model.policies()} != state.policies:
            self._wrong("the read model has other policies than the chain's events tell")
        for loan in state.loans.values():
            borrower, cases = loan.terms.borrower, state.cases.get(loan.id, {})
            found, it = self.mirror.facts(loan.id, now), model.candidate(loan.id)
            told = it and (
                it.carried, it.servicer, it.profile, it.said, it.reminders,
                it.limits, it.seldom_said, it.rest, it.dispute, it.hardship,
            )  # fmt: skip
            if told != (
                state.carried.get(loan.id, 0), found.position.servicer,
                state.profiles.get(borrower, Profile()), state.said.get(loan.id, Said()),
                state.reminders.get(borrower, ()), found.limits,
                state.seldom_said.get(loan.id, NOTHING_SELDOM), state.rests.get(borrower, NO_REST),
                cases.get(Grievance.DISPUTE, NO_CASE), cases.get(Grievance.HARDSHIP, NO_CASE),
            ):  # fmt: skip
                self._wrong(f"the read model says something else of loan 0x{loan.id.hex()}: {told}")
            if self.contracts.ledger.position_of(loan.id) != found.position:
                self._wrong(f"the ledger says something else of loan 0x{loan.id.hex()}")
        self.report.checked["loans"] = len(state.loans)


# ------------------------------------------------------------------------------------------- the watch


class Watch:
    """Keeps a record of its own of who must not be reminded, how often who was, and what time it is where
    they live.
    """

    def __init__(self, state: State, report: Report, service: str) -> None:
        self._state, self._report, self._service = state, report, service
        self._ceased: set[str] = set()
        self._complaints: dict[tuple[bytes, Grievance], tuple[str, bool]] = {}
        self._places: dict[str, str] = {}
        self._coming: dict[bytes, tuple[str, str]] = {}
        self._mail_of: dict[str, str] = {}
        self._reached_at: defaultdict[str, set[str]] = defaultdict(set)
        self._reminders: defaultdict[str, list[int]] = defaultdict(list)
        self.mails: defaultdict[str, set[str]] = defaultdict(set)
        self.served: list[NoticeServed] = []
        self.at: dict[bytes, int] = {}
        self.wishes: set[str] = set()
        self.by_server: defaultdict[str, Counter[Kind]] = defaultdict(Counter)

    def moves(self, it: Borrower, commitment: bytes) -> None:
        """Where a borrower will live, and be reached, as soon as a contact is registered."""
        self._coming[commitment] = it.zone, it.mail
        self.mails[it.address].add(it.mail)

    def forgotten(self, it: Borrower) -> None:
        """The vault knows no more that it is the same person as under another address."""
        self._reached_at[self._mail_of.pop(it.address, "")].discard(it.address)

    def see(self, told: Sequence[Logged]) -> None:
        """Take in what the chain told, and check every notice."""
        for logged in told:
            event = logged.event
            match event:
                case NoticeServed():
                    self._check(event, logged.timestamp)
                    self.served.append(event)
                    self.at[event.id] = logged.timestamp
                    self.by_server[event.server][event.kind] += 1
                case ContactRegistered():
                    self._places[event.borrower], mail = self._coming[event.commitment]
                    if event.channel is Channel.EMAIL:
                        self._reached_at[self._mail_of.get(event.borrower, "")].discard(event.borrower)
                        self._mail_of[event.borrower] = mail
                        self._reached_at[mail].add(event.borrower)
                case ContactCeased():
                    self._ceased.add(event.borrower)
                case ConsentGranted():
                    self._ceased.discard(event.borrower)
                case GrievanceLodged():
                    self._complaints[event.loan, event.grievance] = (event.borrower, event.all_loans)
                case GrievanceAnswered() | GrievanceWithdrawn():
                    del self._complaints[event.loan, event.grievance]
                case GrievancesCarriedOver():
                    for grievance in Grievance:
                        if found := self._complaints.pop((event.loan, grievance), None):
                            self._complaints[event.amendment, grievance] = found

    def _check(self, notice: NoticeServed, now: int) -> None:
        wrong, checked = [], self._report.checked
        if notice.kind.is_reminder:
            checked["reminders not to who paused or ceased"] += 1
            if notice.borrower in self._ceased:
                wrong.append("reminded though all contact had ceased")
            for (loan, _), (borrower, all_loans) in self._complaints.items():
                if loan == notice.loan or (all_loans and borrower == notice.borrower):
                    wrong.append("reminded though a grievance stands")
            if notice.server == self._service and not notice.together:
                checked["reminders of the service, by person"] += 1
                wrong += self._too_often(notice, now)
            if not notice.together:
                self._reminders[notice.borrower].append(now)
        if place := self._places.get(notice.borrower):
            checked["notices by the clock on the wall"] += 1
            limits = self._state.policies[self._state.loans[notice.loan].terms.policy].contact
            local = datetime.fromtimestamp(now, ZoneInfo(place))
            minute = local.hour * 60 + local.minute
            if not limits.opens <= minute < limits.closes or not limits.weekdays >> local.weekday() & 1:
                wrong.append(f"said at {local:%A %H:%M} in {place}")
        for what in wrong[: _SHOWN - len(self._report.wrong)]:
            self._report.wrong.append(f"{what}: {notice.kind.name} 0x{notice.id.hex()}")

    def _too_often(self, notice: NoticeServed, now: int) -> Iterator[str]:
        """CAP-1, of a person under all addresses: what the chain cannot know."""
        limits = self._state.policies[self._state.loans[notice.loan].terms.policy].contact
        person = self._reached_at[self._mail_of.get(notice.borrower, "")] | {notice.borrower}
        # To several addresses in one second it is one message; whether it is, is looked at in the end.
        times = sorted({time for address in person for time in self._reminders[address]} - {now})
        if times and now - times[-1] < limits.gap:
            yield f"a person was reminded {now - times[-1]} s after the last time"
        for span, most in ((DAY, limits.per_day), (7 * DAY, limits.per_week)):
            if sum(time > now - span for time in times) >= most:
                yield f"a person was reminded more than {most} times within {span // DAY} days"
