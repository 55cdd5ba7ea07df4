"""How fast a history is audited, and in how much memory: made up, told one event after the other.

So many loans are repaid for up to fifty years, a month at a time; each month its borrower is told of the
instalment to come, that it is due, and that it was paid. No rule is broken.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from duly.domain import amortisation, calendar
from duly.domain.audit import Audit
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.events import (
    ConsentGranted,
    ContactRegistered,
    Event,
    LoanOpened,
    Logged,
    NoticeServed,
    PolicyPublished,
    Repaid,
)
from duly.domain.notice import Kind, notice_id
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.terms import MAX_INSTALMENTS, Schedule, Terms

NOTICES_A_MONTH: Final = 3
LOANS: Final = 2_000

_LENDER: Final = "0x" + "1e" * 20
_OPENED_AT: Final = 20_454 * DAY  # 1 January 2026
_NOON: Final = DAY // 2
_LENDING: Final = LendingLimits(360_000, AprConvention.NOMINAL, 500, 0, 0, 90)
_CONTACT: Final = ContactLimits(
    opens=8 * 60, closes=20 * 60, lead=600, weekdays=0b1111111, per_day=1, per_week=2, gap=2 * DAY,
    upcoming_days=7, overdue_days=10, pause_days=30,
)  # fmt: skip
_RATE: Final = 30_000

Progress = Callable[[int, int], None]
"""Is told how many notices were audited, and of how many."""


class HistoryBroken(DulyError):
    """The audit found a violation where there is none."""


@dataclass(frozen=True, slots=True)
class AuditBench:
    """notices: how many were audited, about so many loans. seconds: without making the history up.
    peak: the most memory that this process ever had, in bytes. remembered: things in the audit's memory.
    """

    notices: int
    loans: int
    events: int
    seconds: float
    peak: int
    remembered: int

    def as_json(self) -> dict[str, float]:
        """For programs."""
        return {
            "notices": self.notices,
            "loans": self.loans,
            "events": self.events,
            "notices_per_second": round(self.notices / self.seconds),
            "peak_bytes": self.peak,
            "remembered": self.remembered,
        }


def bench_audit(notices: int, loans: int = LOANS, progress: Progress = lambda done, of: None) -> AuditBench:
    """Audit a history of so many notices, or a few more.

    Raises: HistoryBroken.
    """
    loans = max(loans, -(-notices // (NOTICES_A_MONTH * MAX_INSTALMENTS)))
    months = -(-notices // (NOTICES_A_MONTH * loans))
    auditor = Audit()
    seconds, batch = 0.0, []
    for logged in history(loans, months):
        batch.append(logged)
        if len(batch) == 10_000:
            seconds += _audited(auditor, batch)
            batch.clear()
            progress(auditor.findings.notices, NOTICES_A_MONTH * loans * months)
    seconds += _audited(auditor, batch)
    if auditor.findings.violations:
        first = auditor.findings.violations[0]
        raise HistoryBroken(f"{first.rule}: {first.was}", wanted=first.wanted)
    return AuditBench(
        notices=auditor.findings.notices,
        loans=loans,
        events=auditor.findings.events,
        seconds=seconds,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        remembered=auditor.remembered,
    )


def _audited(auditor: Audit, batch: list[Logged]) -> float:
    start = time.perf_counter()
    for logged in batch:
        auditor.see(logged)
    return time.perf_counter() - start


def history(loans: int, months: int) -> Iterator[Logged]:
    """The events of some loans for some months, `MAX_INSTALMENTS` at most, in the chain's order."""
    block = 0

    def told(event: Event, timestamp: int) -> Logged:
        nonlocal block
        block += 1
        return Logged(event, block, bytes(32), timestamp, block.to_bytes(32, "big"), 0)

    templates = b"\x01" * 32
    yield told(PolicyPublished(1, _LENDER, _LENDING, _CONTACT, templates, bytes(32)), _OPENED_AT)
    first_due = calendar.add_months(_OPENED_AT // DAY, 1)
    n = MAX_INSTALMENTS
    curve = amortisation.curve_of(Schedule.LEVEL, 10_000_000, _RATE, 12, n)
    ids = [number.to_bytes(32, "big") for number in range(1, loans + 1)]
    borrowers = [f"0x{number:040x}" for number in range(1, loans + 1)]
    for loan, borrower in zip(ids, borrowers, strict=True):
        terms = Terms(
            lender=_LENDER, borrower=borrower, principal=curve.principal, rate=_RATE, instalments=n,
            first_due=first_due, policy=1, expires=_OPENED_AT, salt=loan,
        )  # fmt: skip
        yield told(LoanOpened(loan, terms, curve.instalment, curve.total), _OPENED_AT)
        yield told(ContactRegistered(borrower, Channel.EMAIL, loan, -20, -16), _OPENED_AT)
        yield told(ConsentGranted(borrower, Channel.EMAIL), _OPENED_AT)

    def notice(loan: bytes, borrower: str, kind: Kind, instalment: int, basis: int) -> NoticeServed:
        return NoticeServed(
            notice_id(loan, kind, basis, 0), loan, _LENDER, borrower, kind, instalment, curve.instalment,
            Channel.EMAIL, basis, 0, loan,
        )  # fmt: skip

    for k in range(1, months + 1):
        due = calendar.add_months(first_due, k - 1) * DAY + _NOON + 4 * 3600
        paid = curve.cumulative(k)
        for kind, moment in ((Kind.INSTALMENT_UPCOMING, due - 3 * DAY), (Kind.DUE_TODAY, due)):
            for loan, borrower in zip(ids, borrowers, strict=True):
                yield told(notice(loan, borrower, kind, k, k), moment)
        for loan, borrower in zip(ids, borrowers, strict=True):
            yield told(Repaid(loan, borrower, curve.instalment, paid), due + 60)
            yield told(notice(loan, borrower, Kind.PAYMENT_RECEIVED, 0, paid), due + 120)
