"""What the ledger must come to, worked out the long way round: exact fractions, dates of the standard
library, and one instalment after the other. Shares no code and no formula with the project's own mirror.
"""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import ceil, floor

EPOCH = date(1970, 1, 1)
DAY = 86_400


def day_number(day: date) -> int:
    return (day - EPOCH).days


def local_day(timestamp: int, offset: int) -> int:
    """The calendar day in an offset of quarter hours."""
    moment = datetime.fromtimestamp(timestamp, UTC) + timedelta(minutes=15 * offset)
    return day_number(moment.date())


def months_later(day: int, months: int) -> int:
    """The same day of a later month, or that month's last."""
    start = EPOCH + timedelta(days=day)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return day_number(date(year, month + 1, min(start.day, monthrange(year, month + 1)[1])))


def last_second(day: int, offset: int) -> int:
    return (day + 1) * DAY - offset * 900 - 1


def due_time(first_due: int, k: int, offset: int) -> int:
    return last_second(months_later(first_due, k - 1), offset)


@dataclass
class ExactSchedule:
    """A level-instalment schedule in exact fractions, the instalment alone rounded to a whole unit."""

    principal: int
    rate: int
    instalments: int
    instalment: int = 0
    balances: list[Fraction] = field(default_factory=list)

    def __post_init__(self):
        r = Fraction(self.rate, 12_000_000)
        n = self.instalments
        if r == 0:
            level = Fraction(self.principal, n)
        else:
            growth = (1 + r) ** n
            level = self.principal * r * growth / (growth - 1)
        self.instalment = ceil(level)
        self.balances = [Fraction(self.principal)]
        # As a borrower would check it with a pencil: interest on the balance, then the instalment off it.
        for _ in range(n - 1):
            self.balances.append(self.balances[-1] * (1 + r) - self.instalment)
        self.balances.append(Fraction(0))

    def accrued(self, k: int, elapsed: int, length: int) -> Fraction:
        """Interest on the balance after k instalments, over a part of a period."""
        return self.balances[k] * Fraction(self.rate, 12_000_000) * Fraction(elapsed, length)

    @property
    def floors(self) -> list[int]:
        return [floor(balance) for balance in self.balances]


@dataclass
class EagerLoan:
    """A loan kept instalment by instalment: every grace period is judged in the second after it ended,
    whether or not anybody looks at the loan.
    """

    rows: list[tuple[int, int]]
    """Of each instalment, the last second in which it is on time, and its amount."""
    grace_days: int
    late_fee: int
    payments: list[tuple[int, int]] = field(default_factory=list)

    def pay(self, timestamp: int, amount: int) -> None:
        self.payments.append((timestamp, amount))

    def paid(self, timestamp: int) -> int:
        """Received up to and in a second."""
        return sum(amount for moment, amount in self.payments if moment <= timestamp)

    def missed(self, now: int) -> list[int]:
        """Numbers of the instalments that were unpaid when their grace ended."""
        found, sum_due = [], 0
        for number, (due_at, amount) in enumerate(self.rows, 1):
            sum_due += amount
            grace_ends = due_at + self.grace_days * DAY
            if grace_ends < now and self.paid(grace_ends) < sum_due:
                found.append(number)
        return found

    def fees(self, now: int) -> int:
        return len(self.missed(now)) * self.late_fee

    def total(self) -> int:
        return sum(amount for _, amount in self.rows)

    def owed(self, now: int) -> int:
        return self.total() + self.fees(now) - self.paid(now)

    def arrears(self, now: int) -> tuple[int, int]:
        """Overdue instalments and unpaid fees: money goes to what is due, then to fees, then ahead."""
        left = self.paid(now)
        overdue = 0
        for due_at, amount in self.rows:
            if due_at < now:
                covered = min(left, amount)
                left -= covered
                overdue += amount - covered
        return overdue, max(0, self.fees(now) - left)
