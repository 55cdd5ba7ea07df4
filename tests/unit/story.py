"""Histories that keep every rule, for audits: each test breaks one thing in one of them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from duly.domain import amending, calendar, schedule
from duly.domain.audit import Audit, Violation
from duly.domain.consent import Channel
from duly.domain.events import (
    ConsentGranted,
    ContactRegistered,
    Event,
    FeesWaived,
    InstalmentMissed,
    LoanAmended,
    LoanOpened,
    LoanRepaid,
    LoanRescinded,
    LoanSettled,
    Logged,
    NoticeServed,
    PolicyPublished,
    Repaid,
)
from duly.domain.loan import Loan
from duly.domain.notice import Kind, notice_id
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.terms import Frequency, Schedule, Terms

LENDER, BORROWER, STRANGER = ("0x" + digit * 40 for digit in "123")
LOAN = b"\x01" * 32
DAY = 86_400
LIMITS = ContactLimits(
    opens=9 * 60,
    closes=19 * 60,
    lead=900,
    weekdays=0b0011111,
    per_day=1,
    per_week=2,
    gap=2 * DAY,
    upcoming_days=7,
    overdue_days=11,
    pause_days=30,
)
# The first instalment is due on a Friday.
FIRST_DUE = calendar.day_of(2027, 1, 15)
OPENED_AT = int(datetime(2026, 12, 14, 12, tzinfo=UTC).timestamp())
NEW_YORK = (-20, -16)


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> int:
    return day * DAY + hour * 3600 + minute * 60 + second


TERMS = Terms(
    lender=LENDER,
    borrower=BORROWER,
    principal=1_000_000,
    origination_fee=0,
    late_fee=1_500,
    rate=112_200,
    instalments=36,
    first_due=FIRST_DUE,
    schedule=Schedule.LEVEL,
    frequency=Frequency.MONTHLY,
    calendar_offset=0,
    grace_days=15,
    policy=1,
    expires=OPENED_AT + DAY,
    agreement_hash=bytes(32),
    replaces=bytes(32),
    salt=bytes(32),
)
LOAN_NOW = schedule.opened(LOAN, TERMS, OPENED_AT)
INSTALMENT = LOAN_NOW.instalment
LENDING = LendingLimits(360_000, AprConvention.NOMINAL, 500, 5, 14, 90)
HISTORY: list[tuple[Event, int]] = [
    (PolicyPublished(1, LENDER, LENDING, LIMITS, b"\x08" * 32, bytes(32)), OPENED_AT - DAY),
    (LoanOpened(LOAN, TERMS, INSTALMENT, LOAN_NOW.total), OPENED_AT),
    (ContactRegistered(BORROWER, Channel.EMAIL, b"\x05" * 32, *NEW_YORK), OPENED_AT),
    (ConsentGranted(BORROWER, Channel.EMAIL), OPENED_AT),
]


def served(kind: Kind, instalment: int, amount: int, basis: int = 0, serial: int = 0) -> NoticeServed:
    return NoticeServed(
        notice_id(LOAN, kind, basis, serial),
        LOAN,
        LENDER,
        BORROWER,
        kind,
        instalment,
        amount,
        Channel.EMAIL,
        basis,
        serial,
        b"\x07" * 32,
    )


OPENED = served(Kind.LOAN_OPENED, 0, 1_000_000)
UPCOMING = served(Kind.INSTALMENT_UPCOMING, 1, INSTALMENT, 1)
DUE_TODAY = served(Kind.DUE_TODAY, 1, INSTALMENT, 1)
# 14:00 UTC is 09:00 in New York's winter, 10:00 by its summer time.
MONDAY_BEFORE = at(FIRST_DUE - 4, 14)


def logged_all(told: Iterable[tuple[Event, int]]) -> list[Logged]:
    """Events with their moments: those of one moment are in one transaction."""
    return [
        Logged(event, moment, bytes(32), moment, moment.to_bytes(32, "big"), index)
        for index, (event, moment) in enumerate(told)
    ]


def audit(*more: tuple[Event, int], history: list[tuple[Event, int]] = HISTORY) -> list[Violation]:
    auditor = Audit()
    for logged in logged_all([*history, *more]):
        auditor.see(logged)
    return auditor.findings.violations


def rules(*more: tuple[Event, int], history: list[tuple[Event, int]] = HISTORY) -> list[str]:
    return [violation.rule for violation in audit(*more, history=history)]


class Ledger:
    """One loan, told as the ledger would tell it: `told` grows by what each action tells."""

    def __init__(self, terms: Terms = TERMS, lending: LendingLimits = LENDING) -> None:
        self.lending = lending
        self.loan = schedule.opened(LOAN, terms, OPENED_AT)
        self.told: list[tuple[Event, int]] = [
            (PolicyPublished(1, LENDER, lending, LIMITS, b"\x08" * 32, bytes(32)), OPENED_AT - DAY),
            (LoanOpened(LOAN, terms, self.loan.instalment, self.loan.total), OPENED_AT),
        ]

    def assess(self, now: int) -> None:
        first, last = schedule.missed(self.loan, now)
        if first <= last:
            self.loan = schedule.assess(self.loan, now)
            self.told.append((InstalmentMissed(self.loan.id, first, last, self.loan.fees), now))

    def pay(self, amount: int, now: int) -> None:
        self.assess(now)
        self.loan, taken = schedule.apply_payment(self.loan, amount, now)
        self.told.append((Repaid(self.loan.id, BORROWER, taken, self.loan.paid), now))
        if not self.loan.owed:
            self.told.append((LoanRepaid(self.loan.id, self.loan.paid), now))

    def settle(self, now: int) -> None:
        self.assess(now)
        self.loan, taken, saved = schedule.settle(self.loan, now)
        self.told.append((LoanSettled(self.loan.id, BORROWER, taken, saved, self.loan.paid), now))

    def rescind(self, now: int) -> None:
        self.loan, taken = amending.rescind(self.loan, self.lending, now)
        self.told.append((LoanRescinded(self.loan.id, taken, self.loan.paid), now))

    def waive(self, amount: int, now: int) -> None:
        self.assess(now)
        self.loan, waived = schedule.waive(self.loan, amount, now)
        self.told.append((FeesWaived(self.loan.id, LENDER, waived, self.loan.fees), now))

    def defer(self, intervals: int, now: int) -> None:
        self.assess(now)
        self._goes_on(amending.defer(self.loan, intervals, self.lending, now, _other).amendment, now)

    def prepay(self, amount: int, now: int) -> None:
        self.assess(now)
        found = amending.prepay(self.loan, amount, self.lending, now, _other)
        self.told.append((Repaid(self.loan.id, BORROWER, amount, self.loan.paid + amount), now))
        assert found.amendment is not None
        self._goes_on(found.amendment, now)

    def amend(self, now: int, **changes: object) -> None:
        self.assess(now)
        agreed = {"replaces": self.loan.id, "salt": b"\x04" * 32, "expires": now + DAY} | changes
        terms = replace(self.loan.terms, **agreed)  # type: ignore[arg-type]
        self._goes_on(amending.amend(self.loan, terms, self.lending, now, _other).amendment, now)

    def _goes_on(self, new: Loan, now: int) -> None:
        amended = LoanAmended(
            self.loan.id, new.id, new.terms, new.instalment, new.total, new.opened_at, new.assessed,
            new.paid, new.fees,
        )  # fmt: skip
        self.told.append((amended, now))
        self.loan = new

    def told_but(self, kind: type[Event], **changes: object) -> list[tuple[Event, int]]:
        """The same history, with the last event of a kind telling something else."""
        last = max(index for index, (event, _) in enumerate(self.told) if type(event) is kind)
        event, moment = self.told[last]
        return [*self.told[:last], (replace(event, **changes), moment), *self.told[last + 1 :]]  # type: ignore[type-var]


def _other(terms: Terms) -> bytes:
    return OTHER


OTHER = b"\x02" * 32
"""The loan that an amendment makes."""
