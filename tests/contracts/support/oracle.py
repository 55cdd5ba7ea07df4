"""What the ledger must come to, worked out the long way round: exact fractions, dates of the standard
library, and one instalment after the other. Shares no code and no formula with the project's own mirror.
"""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil, floor

from support.offers import Frequency, Schedule

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


PERIODS_A_YEAR = {
    Frequency.MONTHLY: 12,
    Frequency.QUARTERLY: 4,
    Frequency.WEEKLY: 52,
    Frequency.FORTNIGHTLY: 26,
    Frequency.FOUR_WEEKLY: 13,
}
DAYS = {Frequency.WEEKLY: 7, Frequency.FORTNIGHTLY: 14, Frequency.FOUR_WEEKLY: 28}


def later(day: int, frequency: int, periods: int) -> int:
    """The day so many periods later."""
    if frequency in DAYS:
        return day + DAYS[frequency] * periods
    return months_later(day, periods * (3 if frequency == Frequency.QUARTERLY else 1))


def last_second(day: int, offset: int) -> int:
    return (day + 1) * DAY - offset * 900 - 1


def due_time(first_due: int, k: int, offset: int, frequency: int = Frequency.MONTHLY) -> int:
    return last_second(later(first_due, frequency, k - 1), offset)


@dataclass
class ExactSchedule:
    """A schedule worked out row by row, as a borrower would check it with a pencil: interest on the balance,
    then the instalment off it. Everything is in exact fractions, what is paid alone in whole units.
    """

    principal: int
    rate: int
    instalments: int
    schedule: int = Schedule.LEVEL
    frequency: int = Frequency.MONTHLY
    instalment: int = 0
    """What recurs: level instalment, principal part, interest, or all of a bullet."""
    amounts: list[int] = field(default_factory=list)
    balances: list[Fraction] = field(default_factory=list)

    def __post_init__(self):
        self.balances = [Fraction(self.principal)]
        {
            Schedule.LEVEL: self._level,
            Schedule.EQUAL_PRINCIPAL: self._equal_principal,
            Schedule.INTEREST_ONLY: self._interest_only,
            Schedule.BULLET: self._bullet,
        }[self.schedule]()

    @property
    def r(self) -> Fraction:
        """The rate of one period."""
        return Fraction(self.rate, 1_000_000 * PERIODS_A_YEAR[self.frequency])

    def _level(self):
        one_each = Fraction(0)
        for _ in range(self.instalments):
            one_each = (one_each + 1) / (1 + self.r)
        self.instalment = ceil(self.principal / one_each)
        for _ in range(self.instalments - 1):
            self.balances.append(self.balances[-1] * (1 + self.r) - self.instalment)
            self.amounts.append(self.instalment)
        rest = floor(self.balances[-1])
        self.amounts.append(rest + ceil(rest * self.r))
        self.balances.append(Fraction(0))

    def _equal_principal(self):
        self.instalment = ceil(Fraction(self.principal, self.instalments))
        interest = Fraction(0)
        for _ in range(self.instalments):
            part = min(self.instalment, self.balances[-1])
            before, interest = ceil(interest), interest + self.balances[-1] * self.r
            self.amounts.append(int(part) + ceil(interest) - before)
            self.balances.append(self.balances[-1] - part)

    def _interest_only(self):
        self.instalment = ceil(self.principal * self.r)
        self.amounts = [self.instalment] * self.instalments
        self.amounts[-1] += self.principal
        self.balances = [Fraction(self.principal)] * self.instalments + [Fraction(0)]

    def _bullet(self):
        interest = sum((self.principal * self.r for _ in range(self.instalments)), Fraction(0))
        self.instalment = self.principal + ceil(interest)
        self.amounts = [0] * (self.instalments - 1) + [self.instalment]
        self.balances = [Fraction(self.principal)] * self.instalments + [Fraction(0)]

    @property
    def total(self) -> int:
        return sum(self.amounts)

    @property
    def floors(self) -> list[int]:
        return [floor(balance) for balance in self.balances]

    def accrued(self, k: int, elapsed: int, length: int) -> Fraction:
        """Interest since the k-th instalment, part of a period being over; a bullet's since its beginning."""
        periods = Fraction(elapsed, length) + (k if self.schedule == Schedule.BULLET else 0)
        return self.balances[k] * self.r * periods

    def worth(self, r: Fraction) -> Fraction:
        """All instalments discounted at a period's rate, one after the other."""
        worth = Fraction(0)
        for amount in reversed(self.amounts):
            worth = (worth + amount) / (1 + r)
        return worth


def effective_period_rate(rate: int, frequency: int) -> Fraction:
    """The rate of one period that compounds to a year's, to fifty digits."""
    with localcontext() as context:
        context.prec = 50
        yearly = 1 + Decimal(rate) / 1_000_000
        return Fraction(yearly ** (1 / Decimal(PERIODS_A_YEAR[frequency]))) - 1


@dataclass
class EagerLoan:
    """A loan kept instalment by instalment: every grace period is judged in the second after it ended,
    whether or not anybody looks at the loan. What rested then is never judged.
    """

    rows: list[tuple[int, int]]
    """Of each instalment, the last second in which it is on time, and its amount."""
    grace_days: int
    late_fee: int
    payments: list[tuple[int, int]] = field(default_factory=list)
    rests: list[tuple[int, int]] = field(default_factory=list)
    """Of each rest of late fees, its first second and the second after its last."""

    def pay(self, timestamp: int, amount: int) -> None:
        self.payments.append((timestamp, amount))

    def paid(self, timestamp: int) -> int:
        """Received up to and in a second."""
        return sum(amount for moment, amount in self.payments if moment <= timestamp)

    def resting(self, timestamp: int) -> bool:
        return any(first <= timestamp < end for first, end in self.rests)

    def missed(self, now: int) -> list[int]:
        """Numbers of the instalments that were unpaid when their grace ended, save while late fees rested."""
        found, sum_due = [], 0
        for number, (due_at, amount) in enumerate(self.rows, 1):
            sum_due += amount
            grace_ends = due_at + self.grace_days * DAY
            if grace_ends < now and self.paid(grace_ends) < sum_due and not self.resting(grace_ends):
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
