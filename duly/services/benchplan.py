"""How fast a day is planned among a million loans: which of them are due, and what is to be said of each, in
words.

A few hundred loans are told to the read model as the chain would tell them; the others are copies of their
rows under other numbers, ids and borrowers. Some fall due within the policy's days ahead, of each of which a
notice may be served at the moment; one in twenty of the others is paid an instalment ahead.
"""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import Connection

from duly.domain import calendar, schedule
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.events import (
    Block,
    ConsentGranted,
    ContactRegistered,
    Event,
    LoanOpened,
    Logged,
    NoticeServed,
    PolicyPublished,
    Repaid,
)
from duly.domain.loan import Loan
from duly.domain.notice import Kind, notice_id
from duly.domain.terms import Terms
from duly.services.bench import empty_database
from duly.services.machine import machine
from duly.services.plan import plan
from duly.services.policy import load_pack
from duly.services.render import Place, render_together, templates, templates_hash
from duly.store import schema
from duly.store.database import writing
from duly.store.readmodel import Identity, ReadModel

SCAN_AT_MOST: Final = 0.050
PLAN_AT_MOST: Final = 10.0
"""Seconds, for ten thousand notices among a million loans."""

_LENDER: Final = "0x" + "1e" * 20
_TODAY: Final = 20_825  # Thursday, 7 January 2027
_NOON: Final = _TODAY * DAY + 12 * 3600 - 8 * 3600  # in the borrowers' time, UTC+8
_OFFSET: Final = 32
_OPENED_AT: Final = (_TODAY - 60) * DAY
_DUE_IN: Final = 3
_LATER: Final = range(12, 72)
_PRINCIPALS: Final = 100
_PAID_AHEAD: Final = 20
_AT_ONCE: Final = 100_000
_PLACE: Final = Place("TUSD", 2, 31337, ledger=_LENDER, notices="0x" + "c2" * 20, consents="0x" + "c3" * 20)

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


class PlanDiffers(DulyError):
    """Not what was to be planned was planned."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, each the least of the runs. candidates: to read what is known of the loans that were found.
    decisions: what to say of them now. texts: to put that into words, with its hash.
    """

    database: str
    scan: float
    candidates: float
    decisions: float
    texts: float

    @property
    def plan(self) -> float:
        """The scan and everything after it."""
        return self.candidates + self.decisions + self.texts


@dataclass(frozen=True, slots=True)
class PlanBench:
    """What was measured among so many loans, with so many notices to be served."""

    loans: int
    notices: int
    runs: int
    measured: tuple[Measured, ...]
    machine: str

    @property
    def missed(self) -> list[str]:
        """The databases with which it took more than it should."""
        return [
            each.database for each in self.measured if each.scan > SCAN_AT_MOST or each.plan > PLAN_AT_MOST
        ]

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "machine": self.machine,
            "loans": self.loans,
            "notices": self.notices,
            "runs": self.runs,
            "at_most": {"scan_seconds": SCAN_AT_MOST, "plan_seconds": PLAN_AT_MOST},
            "databases": {
                each.database: {
                    "scan_seconds": round(each.scan, 4),
                    "candidates_seconds": round(each.candidates, 3),
                    "decisions_seconds": round(each.decisions, 3),
                    "texts_seconds": round(each.texts, 3),
                    "plan_seconds": round(each.plan, 3),
                }
                for each in self.measured
            },
            "missed": self.missed,
        }


def bench_plan(
    loans: int = 1_000_000,
    notices: int = 10_000,
    runs: int = 3,
    server: str | None = None,
    progress: Progress = lambda text, done, of: None,
) -> PlanBench:
    """Measure planning so many notices among so many loans, on SQLite and on PostgreSQL.

    server: the address of an empty database on PostgreSQL; by default a server is started for it.

    Raises: DatabaseError, InvalidInput, PlanDiffers.
    """
    with TemporaryDirectory() as folder, empty_database(server) as empty:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'bench.db'}", "PostgreSQL": empty}
        measured = tuple(_measured(name, url, loans, notices, runs, progress) for name, url in urls.items())
    return PlanBench(loans, notices, runs, measured, machine())


def _measured(name: str, url: str, loans: int, notices: int, runs: int, progress: Progress) -> Measured:
    model = ReadModel.open(url)
    try:
        fill(model, loans, notices, lambda done, of: progress(f"Making loans on {name}", done, of))
        best = [float("inf")] * 4
        for run in range(runs):
            progress(f"Planning on {name}", run, runs)
            best = [min(pair) for pair in zip(best, _run(model, notices), strict=True)]
    finally:
        model.engine.dispose()
    return Measured(name, *best)


def _run(model: ReadModel, notices: int) -> Iterator[float]:
    """The seconds of each step."""
    today = calendar.local_day(_NOON, calendar.EASTERNMOST)
    start = time.perf_counter()
    found = model.due(today)
    yield time.perf_counter() - start
    start = time.perf_counter()
    candidates = list(model.candidates(today))
    yield time.perf_counter() - start
    start = time.perf_counter()
    planned = [each for each in plan(candidates, _LENDER, _NOON, waiting=False) if each.ready]
    yield time.perf_counter() - start
    if not len(found) == len(candidates) == len(planned) == notices:
        raise PlanDiffers(
            f"{len(found):,} loans were found and {len(planned):,} notices planned", wanted=f"{notices:,}"
        )
    start = time.perf_counter()
    shipped = templates()
    texts = {
        render_together([each], _PLACE, locale, shipped).content_hash(each.id)
        for each, locale in zip(planned, itertools.cycle(("en", "zh")))
    }
    yield time.perf_counter() - start
    if len(texts) != notices:
        raise PlanDiffers(f"{len(texts):,} texts", wanted=f"{notices:,}")


# ---------------------------------------------------------------------------------------- the loans


def fill(model: ReadModel, loans: int, due: int, progress: Callable[[int, int], None]) -> None:
    """Put so many loans into an empty database, of so many of which something is to be said at `_NOON`."""
    sources = [_loan(0, _TODAY + _DUE_IN, 1_000_00 + 10_00 * each) for each in range(_PRINCIPALS)]
    later = [_loan(1, _TODAY + days, 1_000_00) for days in _LATER]
    ahead = [_loan(2, _TODAY + days, 1_000_00) for days in _LATER]
    told = [*sources, *later, *ahead]
    told = [replace(loan, id=number.to_bytes(32, "big")) for number, loan in enumerate(told, 1)]
    _tell(model, told, {loan.id for loan in told[-len(ahead) :]})
    made = len(told)
    with _one_transaction(model) as connection:
        counts = [
            (range(1, len(sources) + 1), due - len(sources)),
            (
                range(len(sources) + 1, made - len(ahead) + 1),
                (loans - due) * (_PAID_AHEAD - 1) // _PAID_AHEAD,
            ),
        ]
        rest = loans - made - sum(count for _, count in counts)
        counts.append((range(made - len(ahead) + 1, made + 1), rest))
        for models, count in counts:
            while count > 0:
                some = min(count, _AT_ONCE)
                _copy(connection, models, made, some)
                made, count = made + some, count - some
                progress(made, loans)
    settle(model)


def _loan(salt: int, first_due: int, principal: int) -> Loan:
    terms = Terms(
        lender=_LENDER, borrower="0x" + "b0" * 20, principal=principal, rate=112_200, instalments=12,
        first_due=first_due, calendar_offset=_OFFSET, grace_days=10, policy=1, expires=_OPENED_AT,
        salt=salt.to_bytes(32, "big"),
    )  # fmt: skip
    return schedule.opened(bytes(32), terms, _OPENED_AT)


def _tell(model: ReadModel, loans: list[Loan], ahead: set[bytes]) -> None:
    """As the chain would: each opened by a borrower who consents and was told so, some paid ahead."""
    pack = load_pack("STRICT")
    told: list[Event] = [
        PolicyPublished(
            1, _LENDER, pack.lending_limits, pack.contact_limits, templates_hash(), pack.pack_hash
        )
    ]
    for loan in loans:
        borrower = "0x" + loan.id[12:].hex()
        terms = replace(loan.terms, borrower=borrower)
        told += [
            ContactRegistered(borrower, Channel.EMAIL, loan.id, _OFFSET, _OFFSET),
            ConsentGranted(borrower, Channel.EMAIL),
            LoanOpened(loan.id, terms, loan.instalment, loan.total),
        ]

        def say(kind: Kind, basis: int, loan: Loan = loan, borrower: str = borrower) -> NoticeServed:
            return NoticeServed(
                notice_id(loan.id, kind, basis, 0), loan.id, _LENDER, borrower, kind, 0, 0, Channel.EMAIL,
                basis, 0, loan.id,
            )  # fmt: skip

        told.append(say(Kind.LOAN_OPENED, 0))
        if loan.id in ahead:
            told += [
                Repaid(loan.id, borrower, loan.instalment, loan.instalment),
                say(Kind.PAYMENT_RECEIVED, loan.instalment),
            ]
    before, block = Block(0, bytes(32), _OPENED_AT - 1), Block(1, b"\x01" * 32, _OPENED_AT)
    model.start(Identity(31337, bytes(32), _LENDER, 1), before)
    model.apply(
        [Logged(each, 1, block.hash, _OPENED_AT, block.hash, number) for number, each in enumerate(told)],
        before,
        block,
    )


@contextmanager
def _one_transaction(model: ReadModel) -> Iterator[Connection]:
    with writing(model.engine) as connection:
        if connection.dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection
            driver.create_function("id_of", 1, _id_of, deterministic=True)
            driver.create_function(
                "borrower_of", 1, lambda n: f"0x{_id_of(n).hex()[:40]}", deterministic=True
            )
            connection.exec_driver_sql("PRAGMA cache_size = -1000000")
        yield connection


def _id_of(number: int) -> bytes:
    """As spread as real ids are."""
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def _copy(connection: Connection, models: range, after: int, count: int) -> None:
    """Copy some loans, one after the other, under the numbers after `after`."""
    number = f"{after} + n"
    if connection.dialect.name == "sqlite":
        series = "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count})"
        new_id, borrower = f"id_of({number})", f"borrower_of({number})"
    else:
        series = "WITH series(n) AS (SELECT generate_series(1, {count}))"
        new_id = f"sha256(int8send({number}))"
        borrower = f"'0x' || left(encode({new_id}, 'hex'), 40)"
    source = f"old.number = {models.start} + mod(n, {len(models)})"
    joins = {
        schema.loans: f"loans old ON {source}",
        schema.said: f"loans old ON {source} JOIN said ON said.loan = old.id",
        schema.profiles: f"loans old ON {source} JOIN profiles ON profiles.borrower = old.borrower",
    }
    for table, join in joins.items():
        new = {"borrower": borrower} if table is schema.profiles else {"loan": new_id}
        if table is schema.loans:
            new = {"number": number, "id": new_id, "borrower": borrower}
        name = "old" if table is schema.loans else table.name
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        values = ", ".join(new.get(column.name, f'{name}."{column.name}"') for column in table.columns)
        connection.exec_driver_sql(
            f'INSERT INTO "{table.name}" ({columns}) {series.format(count=count)} '
            # In the order of its key, which is kinder to the disk.
            f"SELECT {values} FROM series JOIN {join} ORDER BY 1"
        )


def settle(model: ReadModel) -> None:
    """After much was written: what PostgreSQL does by itself in a while."""
    if model.engine.dialect.name == "postgresql":
        with model.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM (ANALYZE)")
