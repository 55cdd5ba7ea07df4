"""The life of forty real loans on a local chain, with their notices: `make demo`.

Starts Anvil and a local mail server, deploys, and opens forty loans of a real loan book, each in the month in
which it was really opened. Then it moves the chain's clock through the years: borrowers pay while the real
ones paid and stop where they stopped, and the service runs all along. The portal shows it meanwhile, and
stays where that is wanted, with two loans more. What it says in the end it counted on the chain and in the
inbox.

    python -m scripts.demo [--directory build/demo] [--keep] [--json]
    brownie run demo
"""

import heapq
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from web3.types import RPCEndpoint

from duly.bootstrap import Application
from duly.chain import networks
from duly.chain.clock import travel
from duly.chain.sender import Sender, each
from duly.config import MailSecurity, MailServer, Settings
from duly.domain import calendar, schedule
from duly.domain.audit import Findings
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.loan import Loan, Status
from duly.domain.loanbook import BookLoan
from duly.domain.notice import Facts, Kind, Notice, ground
from duly.interfaces.cli._output import show_error
from duly.interfaces.cli.deploy import wish_for
from duly.services import audit, deploy, importing, loanbook, run, verifying
from duly.services.index import Source
from duly.services.plan import plan
from duly.store.notices import State
from duly.store.vault import MasterKey
from scripts.anvil import anvil, free_port, wait_for_port
from scripts.inbox import Inbox, code_in, read
from scripts.portal import portal, service

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "data" / "lendingclub_sample.csv"
HOUR = 3600
SLOT = 6 * HOUR
"""The clock moves in steps of this: every contact window on Earth has such a moment in it."""
NOON = 12 * HOUR
MONTHS = (date(2010, 6, 1), date(2011, 3, 1))
"""The months of issue that the loans are chosen from."""
AFTERMATH = 45 * calendar.DAY
"""How long the service goes on after the last payment."""
EVERYTHING = 2**87
_FAR = 2**23
"""A day on which every loan has something due."""
GAS = 200_000
"""More than any single act takes; estimating it each time would take longer than the act."""


class Outcome(StrEnum):
    """How a loan really ended."""

    ON_SCHEDULE = "paid on schedule"
    EARLY = "paid early"
    CHARGED_OFF = "charged off"


WANTED = {
    (Outcome.ON_SCHEDULE, 36): 8,
    (Outcome.ON_SCHEDULE, 60): 2,
    (Outcome.EARLY, 36): 9,
    (Outcome.EARLY, 60): 9,
    (Outcome.CHARGED_OFF, 36): 5,
    (Outcome.CHARGED_OFF, 60): 7,
}
"""How many loans of which outcome and length are played."""

PLACES = (
    # Name, offsets of standard and summer time in quarter hours, language.
    ("New York", -20, -16, "en"),
    ("Los Angeles", -32, -28, "en"),
    ("London", 0, 4, "en"),
    ("Shanghai", 32, 32, "zh"),
    ("Athens", 8, 12, "en"),
    ("Kolkata", 22, 22, "en"),
    ("Sydney", 40, 44, "en"),
    ("São Paulo", -12, -12, "en"),
)
"""Where the borrowers live, in turn: the book does not say."""


def outcome_of(book: BookLoan) -> Outcome:
    """How the book says that a loan ended."""
    if not book.fully_paid:
        return Outcome.CHARGED_OFF
    return Outcome.ON_SCHEDULE if _months_paid(book) >= book.instalments - 1 else Outcome.EARLY


def _months_paid(book: BookLoan) -> int:
    last = book.last_paid or book.issued
    return (last.year - book.issued.year) * 12 + last.month - book.issued.month


def choose(path: Path = BOOK) -> list[BookLoan]:
    """The loans to play, in the order of issue: of each outcome and length, those that ended soonest."""
    rows = [row for row in loanbook.read(path) if isinstance(row, BookLoan)]
    left = Counter(WANTED)
    chosen = []
    for row in sorted(rows, key=lambda row: (_months_paid(row), row.issued, row.line)):
        # A few ended months after their term: then it cannot be told which instalments were late.
        if not MONTHS[0] <= row.issued <= MONTHS[1] or _months_paid(row) > row.instalments + 1:
            continue
        key = outcome_of(row), row.instalments
        if left[key]:
            left[key] -= 1
            chosen.append(row)
    if left.total():
        missing = ", ".join(
            f"{number} {outcome} in {term}" for (outcome, term), number in left.items() if number
        )
        raise DulyError(f"{path} does not hold the loans to play: {missing} months are missing")
    return sorted(chosen, key=lambda row: (row.issued, row.line))


# ------------------------------------------------------------------------------------------- the play


@dataclass(slots=True)
class Life:
    """A loan of the book, and its simulated borrower."""

    number: int
    book: BookLoan
    borrower: Sender
    id: bytes = b""

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.book)

    @property
    def place(self) -> tuple[str, int, int, str]:
        return PLACES[self.number % len(PLACES)]

    @property
    def opens_at(self) -> int:
        """Noon of the 5th of the month of issue, which is all that the book tells."""
        issued = self.book.issued
        return int(datetime(issued.year, issued.month, 5, 12, tzinfo=UTC).timestamp())


class Play:
    """Moves the clock, and lets borrowers, a keeper and the service act."""

    def __init__(
        self, app: Application, inbox: Inbox, deployer: Sender, lender: Sender, lives: list[Life]
    ) -> None:
        self.app, self.inbox = app, inbox
        self.deployer, self.lender, self.lives = deployer, lender, lives
        self.contracts = app.contracts
        self.policy = app.deployment.policy()
        self.limits = self.contracts.policy_book.lending_of(self.policy)
        self.refusing = lives[3]
        on_schedule = [life for life in lives if life.outcome is Outcome.ON_SCHEDULE]
        self.revoking, self.ceasing, self.harried = on_schedule[1], on_schedule[4], on_schedule[6]
        assert app.sender is not None
        self.servicer = app.sender
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, moment: int, act: Callable[[], None]) -> None:
        """Let something happen at a moment, or at the first step of the clock after it."""
        heapq.heappush(self._events, (moment, next(self._order), act))

    def run(self, progress: Callable[[int], None]) -> None:
        """Play everything to the end."""
        for life in self.lives:
            self.at(life.opens_at, lambda life=life: self._open(life))  # type: ignore[misc]
        wake: int | None = None
        end: int | None = None
        while self._events or (wake is not None and end is not None and wake <= end):
            moments = [moment for moment in (self._events[0][0] if self._events else None, wake) if moment]
            now = -(-min(moments) // SLOT) * SLOT
            travel(self.app.w3, max(now, self.app.clock.now() + 1))
            while self._events and self._events[0][0] <= now:
                heapq.heappop(self._events)[2]()
            if not self._events:
                end = end or now + AFTERMATH
            run.round(self.app)
            wake = self._next_to_say()
            progress(now)

    @property
    def people(self) -> dict[str, Sender]:
        """Whom a visitor of the portal can be: who lends and serves, and borrowers of every kind."""
        paid, left = self._again
        unpaid = next(life for life in self.lives if life.outcome is Outcome.CHARGED_OFF)
        told = {
            "paid on schedule": paid,
            "paid early": left,
            "stopped paying": unpaid,
            "never consented": self.refusing,
            "revoked e-mail": self.revoking,
            "ceased all contact": self.ceasing,
        }
        borrowers = {f"{life.place[0]}: {what}": life.borrower for what, life in told.items()}
        return {"Lender": self.lender, "Servicer": self.servicer, **borrowers}

    @property
    def _again(self) -> tuple[Life, Life]:
        """Who borrow again when all is over: one who writes English, one Chinese."""
        odd = self.refusing, self.revoking, self.ceasing, self.harried

        def first(outcome: Outcome, language: str) -> Life:
            return next(
                life
                for life in self.lives
                if life.outcome is outcome and life.place[3] == language and life not in odd
            )

        return first(Outcome.ON_SCHEDULE, "en"), first(Outcome.EARLY, "zh")

    def borrow_again(self) -> None:
        """Two more loans: one a few days before its first instalment, one just opened."""
        needed = sum(life.book.principal for life in self._again)
        importing.lend_from(self.contracts, self.lender, needed, can_mint=True)
        for life, days in zip(self._again, (25, 0), strict=True):
            self._borrow(replace(life))
            run.round(self.app)
            if days:
                travel(self.app.w3, self.app.clock.now() + days * calendar.DAY)
                run.round(self.app)

    def _next_to_say(self) -> int | None:
        """When the service will have something to say next, as things stand."""
        now = self.app.clock.now()
        # A month ahead, so that no instalment is overlooked however far the clock jumps.
        candidates = self.app.read_model.candidates(calendar.local_day(now, calendar.EASTERNMOST), days=31)
        waiting = plan(candidates, self.app.sender.address, now, self.app.vault.persons())
        moments = [item.not_before for item in waiting if item.not_before is not None]
        return min((max(moment, now + 1) for moment in moments), default=None)

    # ------------------------------------------------------------------------------- what borrowers do

    def _open(self, life: Life) -> None:
        """Sign, open, prove and register a contact, consent, and get ready to pay."""
        loan = self._borrow(life)
        self._consent(life)
        self._schedule(life, loan)

    def _borrow(self, life: Life) -> Loan:
        book, borrower, contracts = life.book, life.borrower, self.contracts
        decimals = self.app.deployment.currency.decimals
        terms = importing.terms_for(
            book,
            self.lender.address,
            borrower.address,
            self.policy,
            self.limits,
            decimals,
            self.app.clock.now(),
        )
        life.id = importing.open_loan(contracts, self.lender.account, borrower, terms)
        loan = contracts.ledger.loan_of(life.id, terms)
        calls = [
            contracts.currency.mint(borrower.address, loan.total),
            contracts.currency.approve(contracts.ledger.address, EVERYTHING),
        ]
        list(each(borrower.send_many(calls, gas=GAS)))
        return loan

    def _consent(self, life: Life) -> None:
        borrower, consents = life.borrower, self.contracts.consents
        _, offset, other_offset, language = life.place
        address = f"borrower-{life.number:02}@example.org"
        self.app.vault.add(borrower.address, Channel.EMAIL, address, language=language)
        # The borrower proves the address: a code comes there, and is told to the service.
        vault, now = self.app.vault, self.app.clock.now()
        verifying.send_code(vault, self.app.carriers, borrower.address, Channel.EMAIL, at=now)
        code = code_in([read(self.inbox.files()[-1])], address)
        commitment = vault.check_code(borrower.address, Channel.EMAIL, code)
        calls = [consents.register(Channel.EMAIL, commitment.hash, offset, other_offset)]
        if life is not self.refusing:
            calls.append(consents.grant(Channel.EMAIL))
        list(each(borrower.send_many(calls, gas=GAS)))

    def _schedule(self, life: Life, loan: Loan) -> None:
        """What the real borrower did from then on."""
        book, ledger = life.book, self.contracts.ledger
        pay = ledger.repay(life.id, loan.instalment)
        if life.outcome is Outcome.CHARGED_OFF:
            regular = (book.principal_paid + book.interest_paid) // book.published_instalment
        elif life.outcome is Outcome.EARLY:
            regular = _months_paid(book) - 1
        else:
            regular = book.instalments
        regular = max(0, min(regular, book.instalments))

        def act(borrower: Sender, call: Any) -> Callable[[], None]:
            return lambda: _done(borrower.send(call, gas=GAS))

        # Some pay before the reminder, some after it, some on the last day.
        ahead = (5, 1, 5, 0)[life.number // 2 % 4]
        for k in range(1, regular + 1):
            day = schedule.due_day(loan.terms, k)
            self.at((day - ahead) * calendar.DAY + NOON, act(life.borrower, pay))
        if life.outcome is Outcome.EARLY:
            day = schedule.due_day(loan.terms, regular + 1)
            self.at(day * calendar.DAY + NOON, act(life.borrower, ledger.settle(life.id, EVERYTHING)))
        if life.outcome is Outcome.CHARGED_OFF:
            # A keeper, who may be anyone, records the first instalments that were missed.
            for k in range(regular + 1, min(regular + 3, book.instalments) + 1):
                day = schedule.due_day(loan.terms, k) + loan.terms.grace_days + 1
                self.at(day * calendar.DAY + NOON, act(self.deployer, ledger.flag_missed(life.id)))
        middle = schedule.due_day(loan.terms, regular // 2 + 1) * calendar.DAY
        if life is self.revoking:
            self.at(middle, act(life.borrower, self.contracts.consents.revoke(Channel.EMAIL)))
            self.at(middle + 35 * calendar.DAY, lambda: self._overreach(life, Kind.PAYMENT_RECEIVED))
        if life is self.ceasing:
            self.at(middle, act(life.borrower, self.contracts.consents.cease()))
            self.at(middle + 35 * calendar.DAY, lambda: self._overreach(life, Kind.PAYMENT_RECEIVED))
        if life is self.refusing:
            self.at(life.opens_at + 9 * calendar.DAY, lambda: self._overreach(life, Kind.LOAN_OPENED))
        if life is self.harried:
            # Before anything is due; then again and again; at night; and once more when all is paid.
            first_due = loan.terms.first_due * calendar.DAY
            self.at(
                first_due - 9 * calendar.DAY + NOON, lambda: self._overreach(life, Kind.INSTALMENT_UPCOMING)
            )
            self.at(
                first_due - 2 * calendar.DAY + NOON, lambda: self._overreach(life, Kind.INSTALMENT_UPCOMING)
            )
            self.at(first_due + NOON, lambda: self._overreach(life, Kind.OVERDUE))
            self.at(first_due + calendar.DAY, lambda: self._overreach(life, Kind.PAYMENT_RECEIVED))

    def _overreach(self, life: Life, kind: Kind) -> None:
        """A servicer without a plan asks the gate for what it must not get: see what comes of it."""
        candidate = next(each for each in self.app.read_model.candidates(_FAR) if each.loan.id == life.id)
        position = self.contracts.ledger.position_of(life.id)
        facts = Facts(position, candidate.limits, candidate.profile, candidate.said, candidate.reminders)
        _, base = ground(kind, facts)
        notice = Notice(life.id, kind, base.instalment, base.amount, Channel.EMAIL, bytes(32))
        self.app.sender.send(self.contracts.notices.serve_many([notice]), gas=GAS)


def _done(_: object) -> None:
    """What an act returns is on the chain."""


# ---------------------------------------------------------------------------------------- what came of it


@dataclass(frozen=True, slots=True)
class Result:
    """What was counted in the end: `mails` with notices, `codes` that proved addresses. Amounts in cents."""

    lives: list[Life]
    loans: list[Loan]
    findings: Findings
    deliveries: dict[State, int]
    mails: int
    codes: int
    seconds: float

    @property
    def equal(self) -> int:
        """How many instalments of the ledger equal the platform's published ones."""
        pairs = zip(self.lives, self.loans, strict=True)
        return sum(life.book.published_instalment == loan.instalment for life, loan in pairs)

    @property
    def sound(self) -> bool:
        """No rule was broken, and every notice served was sent once or dropped for a reason."""
        sent = self.deliveries.get(State.SENT, 0)
        dropped = self.deliveries.get(State.DROPPED, 0)
        return (
            not self.findings.violations
            and self.mails == sent
            and self.codes == len(self.lives)
            and self.findings.notices == sent + dropped
            and all(
                (loan.status is Status.REPAID) == (life.outcome is not Outcome.CHARGED_OFF)
                for life, loan in zip(self.lives, self.loans, strict=True)
            )
        )

    def by_outcome(self) -> Iterator[tuple[Outcome, list[tuple[Life, Loan]]]]:
        pairs = list(zip(self.lives, self.loans, strict=True))
        for outcome in Outcome:
            yield outcome, [(life, loan) for life, loan in pairs if life.outcome is outcome]


@contextmanager
def stage(directory: Path, console: Console) -> Iterator[Play]:
    """A chain, a mail server, contracts and the borrowers of forty loans, in a directory that is emptied
    first.
    """
    _empty(directory)
    books = choose()
    genesis = int(datetime(MONTHS[0].year, MONTHS[0].month, 1, tzinfo=UTC).timestamp())
    key = MasterKey.generate()
    key.create_file(directory / "master.key")
    with anvil(timestamp=genesis) as url, inbox(directory / "inbox") as port:
        settings = Settings(
            rpc=url,
            deployments=directory / "deployments",
            database=f"sqlite:///{directory / 'duly.db'}",
            vault=f"sqlite:///{directory / 'vault.db'}",
            master_key_file=directory / "master.key",
            mail=MailServer(
                host="127.0.0.1", port=port, security=MailSecurity.NONE, sender="notices@lender.example"
            ),
        )
        w3 = networks.connect(url)
        deployer, lender, servicer = (
            Sender(w3, networks.development_account(w3, number)) for number in range(3)
        )
        deploy.deploy(deployer, wish_for("strict"), settings.deployments)
        app = Application(settings, w3=w3, account=servicer.account)
        say(console, f"Chain at {url}, contracts deployed, mail server on port {port}.")

        lives = [
            Life(number, book, deployer.sibling(importing.borrower_account(importing.SEED, book.key)))
            for number, book in enumerate(books, 1)
        ]
        importing.give_gas(deployer, [life.borrower.address for life in lives])
        importing.lend_from(app.contracts, lender, sum(book.principal for book in books), can_mint=True)
        lender.send(app.contracts.ledger.appoint_servicer(servicer.address))
        app.indexer.run()
        try:
            yield Play(app, Inbox(directory / "inbox"), deployer, lender, lives)
        finally:
            app.close()


def through(play: Play, console: Console) -> Result:
    """Play it all; what came of it."""
    started = time.monotonic()
    app, lives = play.app, play.lives
    with clock(console, app.clock.now(), _horizon(lives)) as progress:
        play.run(progress)
    findings = audit.audit(app.w3, Source.of(app.deployment)).audit.findings
    loans = [loan for life in lives if (loan := app.read_model.loan(life.id)) is not None]
    deliveries = app.notice_store.counts()
    mails = play.inbox.mails()
    notices = sum(len(mail.get_all("Duly-Notice", [])) for mail in mails)
    codes = sum("Duly-Notice" not in mail for mail in mails)
    play.inbox.write_index()
    return Result(lives, loans, findings, deliveries, notices, codes, time.monotonic() - started)


def stay(play: Play, address: str, log: Path, console: Console) -> None:
    """Let two borrow again and the service run, with a block every two seconds, until Ctrl-C."""
    play.borrow_again()
    play.app.w3.provider.make_request(RPCEndpoint("evm_setIntervalMining"), [2])
    with service(play.app.settings, play.servicer, log):
        say(console, f"The portal stays at {address} until Ctrl-C.")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _empty(directory: Path) -> None:
    """Make room, where nothing but an earlier demo lies.

    Raises: DulyError.
    """
    if directory.exists() and any(directory.iterdir()) and not (directory / "inbox").is_dir():
        raise DulyError(
            f"{directory} holds something else than an earlier demo",
            remedy="Name another --directory, or empty it yourself.",
        )
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def _horizon(lives: list[Life]) -> int:
    """About when it will be over."""
    return max(life.opens_at + (_months_paid(life.book) + 2) * 31 * calendar.DAY for life in lives)


@contextmanager
def inbox(directory: Path) -> Iterator[int]:
    """A mail server in a process of its own; its port. It writes its page when it is stopped."""
    port = free_port()
    command = [sys.executable, "-m", "scripts.inbox", "--directory", str(directory), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port, process, "the mail server")
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def clock(console: Console, start: int, end: int) -> Iterator[Callable[[int], None]]:
    """Shows how far the chain's clock has come: a bar for people, a line a year elsewhere."""
    if not console.is_terminal:
        years = set()

        def tell(now: int) -> None:
            year = datetime.fromtimestamp(now, UTC).year
            if year not in years:
                years.add(year)
                say(console, f"The chain's clock says {year}.")

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task: TaskID = bar.add_task("", total=end - start)
        yield lambda now: bar.update(
            task, completed=now - start, description=f"{datetime.fromtimestamp(now, UTC):%B %Y}"
        )


def say(console: Console, text: str) -> None:
    """A line of progress."""
    console.print(text, soft_wrap=True, highlight=False)


def money(cents: int) -> str:
    """An amount as people read it."""
    return f"{cents / 100:,.2f}"


def show(result: Result, directory: Path, console: Console) -> None:
    """Everything, in tables."""

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            made.add_column(column, justify="right" if number else "left")
        return made

    loans = table(
        "Loans by outcome", "real outcome", "loans", "repaid on the ledger", "lent", "paid", "late fees"
    )
    for outcome, pairs in result.by_outcome():
        loans.add_row(
            outcome,
            str(len(pairs)),
            str(sum(loan.status is Status.REPAID for _, loan in pairs)),
            money(sum(loan.terms.principal for _, loan in pairs)),
            money(sum(loan.paid for _, loan in pairs)),
            money(sum(loan.fees for _, loan in pairs)),
        )
    console.print(loans)

    interest = table(
        "Loans paid on schedule: the ledger beside the platform's book",
        "issued",
        "principal",
        "rate",
        "instalment",
        "published",
        "interest received",
        "published",
        "difference",
    )
    pairs = next(pairs for outcome, pairs in result.by_outcome() if outcome is Outcome.ON_SCHEDULE)
    received = published = 0
    for life, loan in pairs:
        here = loan.paid - loan.fees - loan.terms.principal
        received, published = received + here, published + life.book.interest_paid
        interest.add_row(
            f"{life.book.issued:%Y-%m}",
            money(loan.terms.principal),
            f"{loan.terms.rate / 10_000:.2f} %",
            money(loan.instalment),
            money(life.book.published_instalment),
            money(here),
            money(life.book.interest_paid),
            money(here - life.book.interest_paid),
        )
    interest.add_section()
    interest.add_row(
        "together", "", "", "", "", money(received), money(published), money(received - published)
    )
    console.print(interest)
    equal = f"{result.equal} of {len(result.loans)} instalments equal the published ones to the cent."
    say(console, f"{equal}\n")

    served = table("Notices served, by kind", "kind", "served")
    for kind, number in sorted(result.findings.served.items()):
        served.add_row(kind.name.lower().replace("_", " "), f"{number:,}")
    served.add_section()
    served.add_row("together", f"{result.findings.notices:,}")
    console.print(served)
    refused = table("Notices refused on chain, by reason", "reason", "refused")
    for reason, number in sorted(result.findings.refused.items()):
        refused.add_row(reason.name.lower().replace("_", " "), f"{number:,}")
    if not result.findings.refused:
        refused.add_row("none: the plan asked for nothing that the gate would refuse", "0")
    console.print(refused)
    delivered = table("Deliveries", "state", "notices")
    for state, number in sorted(result.deliveries.items()):
        delivered.add_row(state, f"{number:,}")
    delivered.add_section()
    delivered.add_row("mails with notices in the inbox", f"{result.mails:,}")
    delivered.add_row("mails with codes, to prove addresses", f"{result.codes:,}")
    console.print(delivered)

    clean = not result.findings.violations
    verdict = "no rule was broken" if clean else f"{len(result.findings.violations)} VIOLATIONS"
    say(
        console,
        f"duly audit: {result.findings.events:,} events, {result.findings.notices:,} notices, {verdict}.",
    )
    say(console, f"Played in {result.seconds:.0f} seconds. Look further:")
    for name, what in (
        ("inbox/index.html", "every mail, to read in a browser"),
        ("duly.db", "the read model, SQLite"),
        ("vault.db", "the contacts, encrypted"),
        ("report.json", "these tables for programs"),
    ):
        say(console, f"  {directory / name}  {what}")


def as_json(result: Result) -> dict[str, object]:
    """Everything, for programs. Amounts in cents."""
    return {
        "loans": len(result.loans),
        "outcomes": {
            outcome.name.lower(): {
                "loans": len(pairs),
                "repaid": sum(loan.status is Status.REPAID for _, loan in pairs),
                "lent": sum(loan.terms.principal for _, loan in pairs),
                "paid": sum(loan.paid for _, loan in pairs),
                "late_fees": sum(loan.fees for _, loan in pairs),
            }
            for outcome, pairs in result.by_outcome()
        },
        "instalments_equal": result.equal,
        "on_schedule": [
            {
                "loan": "0x" + loan.id.hex(),
                "instalment": loan.instalment,
                "published_instalment": life.book.published_instalment,
                "interest": loan.paid - loan.fees - loan.terms.principal,
                "published_interest": life.book.interest_paid,
            }
            for life, loan in zip(result.lives, result.loans, strict=True)
            if life.outcome is Outcome.ON_SCHEDULE
        ],
        "served": {kind.name.lower(): number for kind, number in sorted(result.findings.served.items())},
        "refused": {
            reason.name.lower(): number for reason, number in sorted(result.findings.refused.items())
        },
        "deliveries": {str(state): number for state, number in result.deliveries.items()},
        "mails": result.mails,
        "codes": result.codes,
        "audit_clean": not result.findings.violations,
        "seconds": round(result.seconds, 1),
    }


def demo(
    directory: Annotated[
        Path, typer.Option(help="Where inbox, databases and report go. It is emptied first.")
    ] = ROOT / "build" / "demo",
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave portal and service running in the end, until Ctrl-C.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Play the life of forty real loans on a local chain, with their notices."""
    progress, log = Console(stderr=True), directory / "portal.log"
    try:
        with (
            stage(directory, progress) as play,
            portal(play.app.settings, play.people, play.deployer, log) as address,
        ):
            say(progress, f"The portal shows it all at {address}, until the end.")
            result = through(play, progress)
            report = json.dumps(as_json(result), indent=2)
            (directory / "report.json").write_text(report + "\n", encoding="utf-8")
            if json_:
                typer.echo(report)
            else:
                show(result, directory, Console(width=max(120, Console().width)))
            if result.sound and keep:
                stay(play, address, log, progress)
    except DulyError as error:
        show_error(error)
        raise typer.Exit(1) from None
    if not result.sound:
        typer.echo("The numbers do not agree: see above.", err=True)
        raise typer.Exit(1)
    if not (keep or json_):
        typer.echo("make demo KEEP=1 leaves the portal running, to sign in as one of them.")


def main() -> None:
    """What `brownie run demo` calls; Brownie's own chain is left alone."""
    try:
        demo()
    except typer.Exit as end:
        sys.exit(end.exit_code)


if __name__ == "__main__":
    typer.run(demo)
