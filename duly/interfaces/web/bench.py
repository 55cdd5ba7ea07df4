"""How long the portal takes for each of its pages, and what the pages weigh, with many loans in the database.

    report = bench_web(processes, loans=100_000)

The contracts, a few loans and their notices are real, on an Anvil of their own; the chain's time goes on for
a year in blocks that are made up, in which the other loans are opened, most of them paid month by month, and
their borrowers told so. The portal answers over HTTP as it does for everybody, but for how often somebody may
ask; the time is the client's, from asking to the last byte.
"""

import math
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from duly.domain import calendar, schedule
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.events import (
    Block,
    ConsentGranted,
    ContactRegistered,
    Event,
    GrievanceLodged,
    LoanOpened,
    Logged,
    NoticeServed,
    Repaid,
)
from duly.domain.grievance import Grievance
from duly.domain.loan import Loan
from duly.domain.notice import Kind, notice_id
from duly.domain.terms import Terms
from duly.interfaces.web.security import RATES, Rate
from duly.interfaces.web.server import answering
from duly.services.bench import empty_database
from duly.services.benchplan import settle
from duly.services.chaos.scene import ONCE, Processes, Scene, open_scene
from duly.services.machine import machine
from duly.store.book import belongs
from duly.store.database import writing
from duly.store.notices import State, deliveries_table
from duly.store.tokens import Purpose

if TYPE_CHECKING:
    from duly.bootstrap import Application

P95_AT_MOST: Final = 0.050
"""Seconds."""
WEIGHT_AT_MOST: Final = 150_000
"""Bytes of a page with everything that it loads, on a first visit."""

_ENDLESS: Final = {kind: Rate(10**9, 10**9) for kind in RATES}
_DAYS: Final = 360
_LAST_OPENING: Final = 330
_INSTALMENTS: Final = 12
_AT_ONCE: Final = 20_000
_NEVER_PAYS, _STOPS = (0,), (1, 2)
"""Of twenty loans."""
_DROPPED_OF_A_HUNDRED: Final = (7, 8)
_UNCERTAIN: Final = 20
_COMPLAINTS: Final = 200
_OFFICER: Final = "0x" + "0f" * 20

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


class PageFailed(DulyError):
    """A page was not answered as it should be."""


@dataclass(frozen=True, slots=True)
class Question:
    """A page as one of the audiences asks for it. `{loan}` stands for a loan, `{notice}` for a notice's code.

    form: what is sent, where it is no mere question.
    """

    audience: str
    path: str
    form: tuple[tuple[str, str], ...] = ()


_BORROWER: Final = (
    "/loans", "/loans/{loan}", "/loans/{loan}/pay", "/loans/{loan}/settle", "/loans/{loan}/notices",
    "/loans/{loan}/key-facts", "/loans/{loan}/help", "/contact", "/contact/email", "/my-data", "/programs",
)  # fmt: skip
_LENDER: Final = (
    "/desk", "/desk/loans?bucket=0", "/desk/loans?bucket=1", "/desk/loans?bucket=4",
    "/desk/loans/{loan}", "/desk/loans/{loan}/offer", "/desk/notices", "/desk/grievances",
)  # fmt: skip
_SUPERVISOR: Final = ("/desk", "/desk/loans?bucket=2", "/desk/notices", "/desk/actions", "/supervisor")
_API: Final = ("/loans", "/loans/0x{loan}", "/loans/0x{loan}/schedule", "/loans/0x{loan}/notices")
_DESK_API: Final = ("/desk/loans", "/desk/portfolio", "/desk/notices", "/desk/grievances")

QUESTIONS: Final = (
    Question("anyone", "/"),
    Question("anyone", "/sign-in"),
    Question("anyone", "/verify"),
    Question("anyone", "/verify", (("message", "0x{notice}"),)),
    *(Question("borrower", path) for path in _BORROWER),
    *(Question("lender", path) for path in _LENDER),
    *(Question("officer", path) for path in _SUPERVISOR),
    *(Question("borrower", f"/api/v1{path}") for path in _API),
    *(Question("lender", f"/api/v1{path}") for path in _DESK_API),
    Question("anyone", "/api/v1/notices/0x{notice}"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """What was measured of a page. seconds: of each request, the shortest first. weight: bytes of the
    heaviest answer, with everything that it loads.
    """

    question: Question
    seconds: tuple[float, ...]
    weight: int

    def at(self, share: float) -> float:
        """Within how many seconds such a share of the requests was answered (by the nearest rank)."""
        return self.seconds[math.ceil(share * len(self.seconds)) - 1]

    @property
    def missed(self) -> bool:
        """It takes too long, or weighs too much."""
        return self.at(0.95) > P95_AT_MOST or self.weight > WEIGHT_AT_MOST


@dataclass(frozen=True, slots=True)
class Measured:
    """All pages on one database. counting: the seconds that it takes to count the portfolio, which nobody
    waits for.
    """

    database: str
    pages: tuple[Page, ...]
    counting: float


@dataclass(frozen=True, slots=True)
class WebReport:
    """What was measured with so many loans, by so many requests for each page."""

    loans: int
    requests: int
    measured: tuple[Measured, ...]
    machine: str

    @property
    def missed(self) -> list[str]:
        """The pages that take too long, or weigh too much."""
        return [
            f"{each.database}: {page.question.path} ({page.question.audience})"
            for each in self.measured
            for page in each.pages
            if page.missed
        ]

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "machine": self.machine,
            "loans": self.loans,
            "requests": self.requests,
            "at_most": {"p95_seconds": P95_AT_MOST, "bytes": WEIGHT_AT_MOST},
            "databases": {
                each.database: {
                    "counting_seconds": round(each.counting, 1),
                    "pages": [
                        {
                            "audience": page.question.audience,
                            "path": page.question.path,
                            "method": "POST" if page.question.form else "GET",
                            "p50_seconds": round(page.at(0.5), 4),
                            "p95_seconds": round(page.at(0.95), 4),
                            "most_seconds": round(page.seconds[-1], 4),
                            "bytes": page.weight,
                        }
                        for page in each.pages
                    ],
                }
                for each in self.measured
            },
            "missed": self.missed,
        }


def bench_web(
    processes: Processes,
    loans: int = 100_000,
    requests: int = 100,
    server: str | None = None,
    progress: Progress = lambda text, done, of: None,
) -> WebReport:
    """Measure every page on SQLite and on PostgreSQL.

    server: the address of an empty database on PostgreSQL; by default a server is started for it.

    Raises: DatabaseError, InvalidInput, PageFailed.
    """
    with empty_database(server) as empty:
        measured = tuple(
            _measured(processes, name, database, loans, requests, progress)
            for name, database in (("SQLite", None), ("PostgreSQL", empty))
        )
    return WebReport(loans, requests, measured, machine())


def _measured(
    processes: Processes, name: str, database: str | None, loans: int, requests: int, progress: Progress
) -> Measured:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_scene(processes, Path(folder), 1, database=database) as scene,
    ):
        scene.lend(3)
        scene.once(*ONCE)
        fill(scene, loans, lambda done: progress(f"{name}: making loans", done, loans))
        settings = replace(scene.settings, web=replace(scene.settings.web, officers=frozenset({_OFFICER})))
        app = processes.application(settings, w3=scene.w3)
        try:
            start = time.perf_counter()
            for lenders in (app.portfolio.book.lenders_of(scene.lender), None):
                app.portfolio.count(lenders)
            counting = (time.perf_counter() - start) / 2
            with answering(app, _ENDLESS) as address, _Clients(app, scene, address, loans) as clients:
                pages = []
                for number, question in enumerate(QUESTIONS):
                    progress(f"{name}: asking for pages", number, len(QUESTIONS))
                    pages.append(clients.measure(question, requests))
        finally:
            app.close()
    return Measured(name, tuple(pages), counting)


class _Clients:
    """Whoever asks: a borrower after the other, the lender, an officer, anybody."""

    def __init__(self, app: "Application", scene: Scene, address: str, loans: int) -> None:
        self._app, self._scene, self._loans = app, scene, loans
        self._dice = random.Random(1)
        self._http = httpx.Client(base_url=address, headers={"origin": address})
        self._weights: dict[str, int] = {}
        self._tokens: dict[str, str] = {}

    def __enter__(self) -> "_Clients":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def measure(self, question: Question, requests: int) -> Page:
        """Ask so often, after once that does not count."""
        seconds, weight = [], 0
        for number in range(requests + 1):
            loan = self._loan(question.audience)
            headers = self._headers(question, loan)
            notice = self._dice.choice(self._app.portfolio.book.notices(None, 1, None, loan.id))
            named = {"loan": loan.id.hex(), "notice": notice.id.hex()}
            path = question.path.format(**named)
            form = {name: value.format(**named) for name, value in question.form}
            start = time.perf_counter()
            if form:
                answer = self._http.post(path, data=form, headers=headers)
            else:
                answer = self._http.get(path, headers=headers)
            taken = time.perf_counter() - start
            if answer.status_code != 200:
                raise PageFailed(f"{path} was answered with {answer.status_code}", wanted="200")
            if number:
                seconds.append(taken)
            weight = max(weight, len(answer.content) + self._loads(answer))
        return Page(question, tuple(sorted(seconds)), weight)

    def _loan(self, audience: str) -> Loan:
        before = self._dice.randrange(2, self._loans + 2)
        ((_, loan),) = self._app.portfolio.book.loans(belongs(None), 1, before)
        return loan

    def _headers(self, question: Question, loan: Loan) -> dict[str, str]:
        who = {"borrower": loan.terms.borrower, "lender": self._scene.lender, "officer": _OFFICER}
        address, now = who.get(question.audience), int(time.time())
        if address is None:
            return {}
        if question.path.startswith("/api/"):
            if address not in self._tokens:
                self._tokens[address] = self._app.tokens.make(address, Purpose.API, "bench", now)
            return {"authorization": f"Bearer {self._tokens[address]}"}
        return {"cookie": f"duly-session={self._app.sessions.begin(address, now)}"}

    def _loads(self, answer: httpx.Response) -> int:
        """Bytes of what a page loads, as they are sent."""
        if "html" not in answer.headers["content-type"]:
            return 0
        found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text))
        for path in found - self._weights.keys():
            with self._http.stream("GET", path.replace("&amp;", "&")) as file:
                self._weights[path] = sum(map(len, file.iter_raw()))
        return sum(self._weights[path] for path in found)


# ----------------------------------------------------------------------------------------- the loans


def fill(scene: Scene, loans: int, progress: Callable[[int], None]) -> None:
    """Let a year pass in which so many loans are opened, and mostly paid."""
    model, first = scene.app.read_model, scene.stage.now // DAY + 1
    happens: list[list[tuple[int, int]]] = [[] for _ in range(_DAYS)]
    for number in range(loans):
        opened = number * _LAST_OPENING // loans
        happens[opened].append((number, 0))
        pays = number % 20
        for k in range(1, _INSTALMENTS):
            day = calendar.add_months(first + opened, k) - first
            if day >= _DAYS or pays in _NEVER_PAYS or (pays in _STOPS and k > pays * 2):
                break
            happens[day].append((number, k))
    known: dict[int, Loan] = {}
    after, logged, done = model.cursor().block, list[Logged](), 0
    for number, events in enumerate(happens):
        block = Block(after.number + 1 + number, random.Random(number).randbytes(32), (first + number) * DAY)
        told = [
            event
            for each, k in events
            for event in (
                _opened(scene, known, each, first + number, loans) if not k else _paid(known, each, k)
            )
        ]
        logged += [
            Logged(event, block.number, block.hash, block.timestamp, block.hash, index)
            for index, event in enumerate(told)
        ]
        done += sum(not k for _, k in events)
        if len(logged) >= _AT_ONCE or number + 1 == _DAYS:
            model.apply(logged, model.cursor().block, block)
            _deliver(scene, logged, _UNCERTAIN if number + 1 == _DAYS else 0)
            logged = []
            progress(done)
    settle(model)


def _opened(scene: Scene, known: dict[int, Loan], number: int, day: int, loans: int) -> list[Event]:
    """Every borrower has two."""
    who = number % (loans // 2)
    borrower, commitment = f"0x{0xB0 << 152 | who:040x}", who.to_bytes(32, "big")
    terms = Terms(
        lender=scene.lender, borrower=borrower, principal=1_000_00 + number % 100 * 10_00, rate=112_200,
        instalments=_INSTALMENTS, first_due=calendar.add_months(day, 1), grace_days=10, policy=1,
        expires=2**40 - 1, salt=number.to_bytes(32, "big"),
    )  # fmt: skip
    loan_id = random.Random(f"loan {number}").randbytes(32)
    loan = known[number] = schedule.opened(loan_id, terms, day * DAY)
    told: list[Event] = [
        LoanOpened(loan.id, terms, loan.instalment, loan.total),
        _told(loan, Kind.LOAN_OPENED),
    ]
    if who == number:
        told = [
            ContactRegistered(borrower, Channel.EMAIL, commitment, 0, 0),
            ConsentGranted(borrower, Channel.EMAIL),
            *told,
        ]
    if number < _COMPLAINTS:
        told.append(GrievanceLodged(loan.id, borrower, Grievance.HARDSHIP, borrower, False, False))
    return told


def _paid(known: dict[int, Loan], number: int, k: int) -> list[Event]:
    loan = known[number]
    paid = k * loan.instalment
    return [
        Repaid(loan.id, loan.terms.borrower, loan.instalment, paid),
        _told(loan, Kind.PAYMENT_RECEIVED, paid),
    ]


def _told(loan: Loan, kind: Kind, basis: int = 0) -> NoticeServed:
    return NoticeServed(
        notice_id(loan.id, kind, basis, 0), loan.id, loan.lender, loan.terms.borrower, kind, 0, 0,
        Channel.EMAIL, basis, 0, loan.id,
    )  # fmt: skip


def _deliver(scene: Scene, logged: Sequence[Logged], unknown: int) -> None:
    """Almost all mails were sent, some not, and of a few nobody knows."""
    served = [(each, each.event) for each in logged if isinstance(each.event, NoticeServed)]
    rows = []
    for number, (each, event) in enumerate(served):
        state, reason = State.SENT, None
        if number < unknown:
            state, reason = State.UNCERTAIN, "timeout"
        elif number % 100 in _DROPPED_OF_A_HUNDRED:
            state, reason = State.DROPPED, "refused-by-server"
        rows.append(
            {
                "notice": event.id, "loan": event.loan, "borrower": event.borrower, "kind": event.kind,
                "instalment": 0, "amount": 0, "channel": event.channel, "content_hash": event.content_hash,
                "served_at": each.timestamp, "state": state.value, "reason": reason, "attempts": 1,
                "at": each.timestamp,
            }
        )  # fmt: skip
    with writing(scene.app.read_model.engine) as connection:
        connection.execute(deliveries_table.insert(), rows)
