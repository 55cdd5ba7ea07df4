"""A loan kept beside the ledger, whatever happens to it: every instalment, fee and credit by itself, on
`oracle`'s exact schedules. Shares no code and no formula with the project.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

from support.offers import Frequency, Schedule, Status, Terms
from support.oracle import EPOCH, EagerLoan, ExactSchedule, due_time, last_second, later, local_day


class Rest(NamedTuple):
    """What of a loan goes on in another. The principal is exact but for rounding."""

    gone: int
    """So many instalments are done with."""
    first_due: int
    principal: Fraction
    paid: int
    fees: int


@dataclass(kw_only=True)
class ModelLoan(EagerLoan):
    """An `EagerLoan` on its terms, with what lenders, borrowers and amendments do to it."""

    terms: Terms
    exact: ExactSchedule
    opened_at: int
    """Since when its interest runs."""
    lender: str
    """To whom it is owed now."""
    carried: int = 0
    """The late fees that it began with."""
    judged: int = 0
    """The instalments up to this one were judged before it began."""
    gone: int = 0
    """So many instalments of the loan that both parties signed last were done with when it began."""
    charged: frozenset[int] = frozenset()
    """Those of them that had cost a fee by then."""
    waived: int = 0
    marked: int = 0
    """The instalment whose default was marked last."""
    recorded: int = 0
    """The ledger's own record of up to which instalment lateness was assessed, when last looked at."""
    credits: Counter[str] = field(default_factory=Counter)
    """All payments by what they were."""
    closed: dict[str, Any] | None = None
    """What the ledger recorded when nothing was owed any more."""

    def credit(self, timestamp: int, amount: int, kind: str) -> None:
        self.pay(timestamp, amount)
        self.credits[kind] += amount

    # --- lateness -------------------------------------------------------------------------------

    def missed(self, now: int) -> list[int]:
        return [k for k in super().missed(now) if k > self.judged]

    def fees(self, now: int) -> int:
        return self.carried + super().fees(now) - self.waived

    def all_charged(self, now: int) -> list[int]:
        """All instalments that ever cost a fee, one by one, since both parties last signed a schedule."""
        return [*self.charged, *(self.gone + k for k in self.missed(now))]

    def assessed(self, now: int) -> int:
        return max([self.judged, *self.missed(now)])

    def past(self, now: int) -> int:
        """So many instalments are past due."""
        return sum(due_at < now for due_at, _ in self.rows)

    def due(self, k: int) -> int:
        """The first k instalments."""
        return sum(amount for _, amount in self.rows[:k])

    def covered(self, amount: int) -> int:
        """So many instalments an amount pays in full."""
        k = 0
        while k < len(self.rows) and self.due(k + 1) <= amount:
            k += 1
        return k

    def status(self, now: int) -> Status:
        if self.closed:
            return self.closed["status"]
        return Status.DEFAULTED if self.covered(self.paid(now)) < self.marked else Status.ACTIVE

    def defaults_on(self, now: int, days: int) -> int:
        """The first day on which a default can be marked; zero where nothing is overdue."""
        if not self.arrears(now)[0]:
            return 0
        first_unpaid = self.covered(self.paid(now))
        return later(self.terms.first_due, self.terms.frequency, first_unpaid) + days

    # --- ending early ---------------------------------------------------------------------------

    def running(self, now: int) -> tuple[Fraction, Fraction]:
        """The principal that is not yet due, and its interest to the second."""
        k = self.past(now)
        if k == len(self.rows):
            return Fraction(0), Fraction(0)
        start = self.rows[k - 1][0] if k else self.opened_at
        return self.exact.balances[k], self.exact.accrued(k, now - start, self.rows[k][0] - start)

    def payoff(self, now: int) -> Fraction:
        """What is due, the fees, the balance and its interest; never more than the rest of the schedule."""
        debt = self.due(self.past(now)) + sum(self.running(now)) + self.fees(now) - self.paid(now)
        return max(Fraction(0), min(Fraction(self.owed(now)), debt))

    def last_day_to_rescind(self, cooling_off: int) -> int:
        """Zero where there is no cooling-off period."""
        if self.terms.replaces.strip(b"\0") or not cooling_off:
            return 0
        return local_day(self.opened_at, self.terms.calendar_offset) + cooling_off

    def rescission(self, now: int) -> int:
        """What was received and its interest for each day, less what was paid."""
        received = self.terms.principal - self.terms.origination_fee
        days = self.today(now) - self.today(self.opened_at)
        interest = floor(Fraction(received * self.terms.rate * days, 365_000_000))
        return max(0, received + interest - self.paid(now))

    def today(self, moment: int) -> int:
        return local_day(moment, self.terms.calendar_offset)

    def boundaries(self, cooling_off: int, default_days: int) -> list[int]:
        """The last seconds of what ends some day."""
        days = [self.last_day_to_rescind(cooling_off)]
        for k in range(len(self.rows)):
            due_day = later(self.terms.first_due, self.terms.frequency, k)
            days += [due_day, due_day + self.grace_days, due_day + default_days - 1]
        return sorted(last_second(day, self.terms.calendar_offset) for day in days)

    # --- going on in another loan ---------------------------------------------------------------

    def after_prepaying(self, now: int, amount: int) -> Rest | None:
        """What is left when an amount pays arrears and fees, then principal with its interest; none where it
        leaves nothing for principal.
        """
        over = self.paid(now) + amount - self.due(self.past(now)) - self.fees(now)
        if over <= 0:
            return None
        balance, interest = self.running(now)
        gone = 0 if self.terms.schedule == Schedule.BULLET else self.past(now)
        return Rest(gone, self._goes_on(gone), balance - over * balance / (balance + interest), 0, 0)

    def after_deferring(self, now: int, intervals: int) -> Rest | None:
        """What is left when all unpaid instalments move; none where there is none."""
        fees = self.arrears(now)[1]
        paid = self.paid(now) - (self.fees(now) - fees)
        gone = self.covered(paid)
        if gone == len(self.rows) or not intervals:
            return None
        gone = 0 if self.terms.schedule == Schedule.BULLET else min(gone, self.past(now))
        return Rest(
            gone, self._goes_on(gone, intervals), self.exact.balances[gone], paid - self.due(gone), fees
        )

    def _goes_on(self, gone: int, intervals: int = 0) -> int:
        """The first due day of what goes on: the day after one that a short month had cut."""
        day = later(self.terms.first_due, self.terms.frequency, gone + intervals)
        counts_months = self.terms.frequency in (Frequency.MONTHLY, Frequency.QUARTERLY)
        return day + (counts_months and _day_of_month(day) < _day_of_month(self.terms.first_due))


def rows_of(terms: Terms, amounts: list[int]) -> list[tuple[int, int]]:
    """Each instalment's last second and amount."""
    return [
        (due_time(terms.first_due, k, terms.calendar_offset, terms.frequency), amount)
        for k, amount in enumerate(amounts, 1)
    ]


def _day_of_month(day: int) -> int:
    return (EPOCH + timedelta(days=day)).day
