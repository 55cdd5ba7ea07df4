"""Plays the timelines of this folder. README.md tells how to write one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import brownie
import pytest
from brownie.exceptions import VirtualMachineError
from support.clock import Clock
from support.offers import (
    ZERO_HASH,
    Frequency,
    Lending,
    Schedule,
    Status,
    Terms,
    sign_consent,
    sign_instruction,
)
from support.oracle import EPOCH, due_time
from timeline import AMOUNTS, DECIMALS, LIMITS, BadTimeline, Line, Timeline, read

HERE = Path(__file__).parent
FOREVER = 2**40 - 1
EVERYTHING = 2**80
WITHOUT_LIMIT = 2**256 - 1


@pytest.fixture(scope="module")
def actors(lender, borrower, assignee, servicer, keeper, stranger):
    return {
        "lender": lender,
        "borrower": borrower,
        "assignee": assignee,
        "servicer": servicer,
        "keeper": keeper,
        "stranger": stranger,
    }


@pytest.fixture(scope="module")
def ledgers(publisher, actors, policy_book):
    """By the decimals of its currency, a ledger that all actors let take what they pay."""
    ledgers = {}
    for decimals in DECIMALS:
        dollar = brownie.BlockingDollar.deploy(decimals, {"from": publisher})
        desk = brownie.GrievanceDesk.deploy(policy_book, {"from": publisher})
        ledgers[decimals] = brownie.LoanLedger.deploy(dollar, policy_book, desk, {"from": publisher})
        for actor in actors.values():
            dollar.mint(actor, 10**9 * 10**decimals, {"from": publisher})
            dollar.approve(ledgers[decimals], WITHOUT_LIMIT, {"from": actor})
    return ledgers


@pytest.fixture
def play(ledgers, actors, publisher, publish, key_of, clock):
    """Plays a timeline, and tells in sentences what came out otherwise than it expects."""

    def play(timeline):
        ledger = ledgers[timeline.decimals]
        dollar = brownie.BlockingDollar.at(ledger.currency())
        # Published before the first moment comes: a transaction of its own would use that second up.
        policies = {
            line.number: publish(Lending(**{name: line.terms[name] for name in LIMITS if name in line.terms}))
            for line in timeline.lines
            if line.action == "open"
        }
        return Play(timeline, ledger, dollar, actors, publisher, policies, key_of, clock).differences()

    return play


@dataclass
class Play:
    """One timeline on its ledger. The methods named after actions are what these do."""

    timeline: Timeline
    ledger: Any
    dollar: Any
    actors: dict[str, Any]
    publisher: Any
    policies: dict[int, int]
    """By the number of the line that opens a loan under it."""
    key_of: Callable[[Any], bytes]
    clock: Clock
    loans: list[tuple[Any, Terms]] = field(default_factory=list)
    line: Line = field(init=False)

    def differences(self):
        found = []
        try:
            for line in self.timeline.lines:
                found += self._of(line)
        except BadTimeline as error:
            found.append(str(error))
        return found

    def _of(self, line):
        self.line = line
        self._wait(line.moment)
        changes = [column for column in line.expected if column.endswith(" change")]
        before = {column: self._balance(column) for column in changes}
        refused = self._act(line)
        for column, expected in {"refused": None, **line.expected}.items():
            if column == "refused":
                found = refused
            elif column in before:
                found = self._balance(column) - before[column]
            else:
                found = self._look(column)
            if found != expected:
                shown = f"expected {self._shown(column, expected)}, found {self._shown(column, found)}"
                yield f"{self._place(column)}: {shown}"

    def _wait(self, moment):
        now = self.clock.now()
        if moment.instalment is not None:
            terms = self._terms
            start = due_time(terms.first_due, moment.instalment, terms.calendar_offset, terms.frequency)
        else:
            start = now if moment.utc is None else moment.utc
        then = start + moment.later
        if then < now:
            place, now, then = self._place("timestamp"), _moment_shown(now), _moment_shown(then)
            raise BadTimeline(f"{place}: {then} is over by then; wanted {now} or later")
        self.clock.to(then)

    def _act(self, line):
        """The name of the error that it was refused with, if any."""
        try:
            getattr(self, line.action)(line, {"from": self.actors[line.actor]} if line.actor else None)
        except VirtualMachineError as error:
            return error.revert_msg.partition(":")[0]
        return None

    # --- actions ------------------------------------------------------------------------------------

    def open(self, line, sender):
        lender, borrower = self.actors["lender"], self.actors["borrower"]
        ordinary = Terms(
            lender=str(lender),
            borrower=str(borrower),
            principal=0,
            origination_fee=0,
            late_fee=0,
            rate=0,
            instalments=0,
            first_due=0,
            schedule=Schedule.LEVEL,
            frequency=Frequency.MONTHLY,
            calendar_offset=0,
            grace_days=3,
            policy=self.policies[line.number],
            expires=FOREVER,
            agreement_hash=b"\xaa" * 32,
            replaces=ZERO_HASH,
            salt=line.number.to_bytes(32, "big"),
        )
        terms = _with(ordinary, line.terms)
        offer = self._sign("Offer", terms, lender)
        if line.actor == "borrower":
            opened = self.ledger.open(terms, offer, sender)
        else:
            opened = self.ledger.openBySignature(
                terms, offer, self._sign("Acceptance", terms, borrower), sender
            )
        self.loans.append((opened.return_value, terms))

    def repay(self, line, sender):
        self.ledger.repay(self._id, self._amount, sender)

    def relay(self, line, sender):
        borrower, amount = self.actors["borrower"], self._amount
        values = (bytes(self._id), amount, self.ledger.nonces(borrower), FOREVER)
        signature = sign_instruction("Repayment", values, self.key_of(borrower), self.ledger)
        self.ledger.repayBySignature(self._id, amount, FOREVER, signature, sender)

    def settle(self, line, sender):
        self.ledger.settle(self._id, WITHOUT_LIMIT if line.amount is None else self._amount, sender)

    def prepay(self, line, sender):
        self._amended(self.ledger.prepay(self._id, self._amount, sender))

    def rescind(self, line, sender):
        self.ledger.rescind(self._terms, sender)

    def amend(self, line, sender):
        lender = self.ledger.loanOf(self._id)["lender"]
        same = self._terms._replace(
            lender=str(lender),
            origination_fee=0,
            expires=FOREVER,
            agreement_hash=b"\xbb" * 32,
            replaces=bytes(self._id),
            salt=line.number.to_bytes(32, "big"),
        )
        terms = _with(same, line.terms)
        signatures = [self._sign("Amendment", terms, party) for party in (lender, self.actors["borrower"])]
        self._amended(self.ledger.amend(terms, *signatures, sender))

    def defer(self, line, sender):
        self._amended(self.ledger.defer(self._id, line.terms["intervals"], sender))

    def acknowledge(self, line, sender):
        self.ledger.acknowledgeReceipt(self._id, self._amount, b"\xcc" * 32, sender)

    def waive(self, line, sender):
        self.ledger.waive(self._id, self._amount, sender)

    def forgive(self, line, sender):
        self.ledger.forgive(self._id, self._amount, sender)

    def assign(self, line, sender):
        taker = self.actors[line.terms["to"]]
        values = (bytes(self._id), str(sender["from"]), str(taker), self.ledger.nonces(taker), FOREVER)
        signature = sign_instruction("Assignment", values, self.key_of(taker), self.ledger)
        self.ledger.assign(self._id, taker, FOREVER, signature, sender)

    def appoint(self, line, sender):
        self.ledger.appointServicer(self.actors[line.terms["to"]], sender)

    def default(self, line, sender):
        self.ledger.markDefault(self._id, sender)

    def flag(self, line, sender):
        self.ledger.flagMissed(self._id, sender)

    def claim(self, line, sender):
        self.ledger.claim(self.actors[line.terms.get("to", line.actor)], sender)

    def block(self, line, sender):
        self.dollar.setBlocked(self.actors[line.actor], True, {"from": self.publisher})

    def unblock(self, line, sender):
        self.dollar.setBlocked(self.actors[line.actor], False, {"from": self.publisher})

    def check(self, line, sender):
        pass

    def _amended(self, transaction):
        if transaction.events.count("LoanAmended"):  # what prepays everything settles
            event = transaction.events["LoanAmended"]
            self.loans.append((event["amendment"], Terms(*event["terms"])))

    def _sign(self, consent, terms, actor):
        return sign_consent(consent, terms, self.key_of(actor), self.ledger)

    # --- looking ------------------------------------------------------------------------------------

    @property
    def _loan(self):
        """The loan that the line is about, or the newest."""
        number = len(self.loans) if self.line.loan is None else self.line.loan
        if not 1 <= number <= len(self.loans):
            which = "no loan" if self.line.loan is None else f"no loan {number}"
            raise BadTimeline(f"{self._place('loan')}: there is {which} yet")
        return self.loans[number - 1]

    @property
    def _id(self):
        return self._loan[0]

    @property
    def _terms(self):
        return self._loan[1]

    @property
    def _amount(self):
        amount = self.line.amount
        return self._look(amount) if amount in AMOUNTS else amount

    def _look(self, column):
        if column == "held":
            return int(self.dollar.balanceOf(self.ledger))
        if column == "payoff":
            return int(self.ledger.payoff(self._id))
        position = self.ledger.positionOf(self._id)
        if column == "owed":
            # What would be taken from somebody who pays too much: fees up to this second are in it.
            if position["status"] not in (Status.ACTIVE, Status.DEFAULTED):
                return 0
            return int(self.ledger.repay.call(self._id, EVERYTHING, {"from": self.actors["stranger"]}))
        if column == "due":
            return int(position["nextDueDay"]) or None
        return int(position["nextAmount" if column == "instalment" else column])

    def _balance(self, column):
        return int(self.dollar.balanceOf(self.actors[column.removesuffix(" change")]))

    # --- telling ------------------------------------------------------------------------------------

    def _place(self, column):
        return f"{self.timeline.name}, line {self.line.number}, {column}"

    def _shown(self, column, value):
        if column == "refused":
            return value or "nothing refused"
        if column == "status":
            return Status(value).name.lower()
        if column == "due":
            return "none" if value is None else str(EPOCH + timedelta(days=value))
        decimals = self.timeline.decimals
        whole, rest = divmod(abs(value), 10**decimals)
        return f"{'-' if value < 0 else ''}{whole}.{rest:0{decimals}}"


def _moment_shown(timestamp):
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _with(terms, changes):
    return terms._replace(**{name: value for name, value in changes.items() if name in terms._fields})


def _examples():
    """The scenarios of README.md, which must hold as well."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^```csv\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(f"README.md, example {number}", example) for number, example in enumerate(found, 1)]


def _scenarios():
    files = [(path.name, path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.csv"))]
    return [pytest.param(name, text, id=name) for name, text in files + _examples()]


@pytest.mark.parametrize(("name", "text"), _scenarios())
def test_scenario(play, name, text):
    try:
        differences = play(read(name, text))
    except BadTimeline as error:
        differences = [str(error)]
    if differences:
        pytest.fail("\n".join(differences), pytrace=False)


HEADER = "timestamp,actor,action,amount,terms,loan,overdue,owed,due,status,lender change,refused\n"
OPEN = "2040-01-31 23:59:59,borrower,open,,principal=300 rate=0% instalments=3 first_due=2040-03-01,,,,,,,\n"


def test_a_difference_is_told_by_line_and_column(play):
    wrong = (
        "due 1 +1s,,check,,,,99.99,300,2040-04-02,repaid,,\n"
        ",borrower,repay,100,,,,,,,-100,ZeroAmount\n"
        ",borrower,rescind,,,,,200,,,,\n"
    )
    assert play(read("wrong.csv", "# a comment\n" + HEADER + OPEN + wrong)) == [
        "wrong.csv, line 4, overdue: expected 99.99, found 100.00",
        "wrong.csv, line 4, due: expected 2040-04-02, found 2040-04-01",
        "wrong.csv, line 4, status: expected repaid, found active",
        "wrong.csv, line 5, refused: expected ZeroAmount, found nothing refused",
        "wrong.csv, line 5, lender change: expected -100.00, found 100.00",
        "wrong.csv, line 6, refused: expected nothing refused, found CoolingOffOver",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "2040-01-31 23:59:58,,check,,,,,,,,,",
            "line 3, timestamp: 2040-01-31 23:59:58 is over by then; wanted 2040-01-31 23:59:59 or later",
        ),
        (",borrower,repay,1,,2,,,,,,", "line 3, loan: there is no loan 2 yet"),
    ],
)
def test_a_line_that_cannot_be_played_is_told(play, line, told):
    assert play(read("bad.csv", HEADER + OPEN + line)) == [f"bad.csv, {told}"]


def test_a_scenario_without_a_loan_is_told(play):
    assert play(read("bad.csv", HEADER + "due 1,,check,,,,,,,,,")) == [
        "bad.csv, line 2, loan: there is no loan yet"
    ]
