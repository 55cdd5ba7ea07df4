"""Repayment schedules in closed form. Mirrors `contracts/libraries/Amortization.sol` bit for bit.

Amounts are in the currency's smallest unit, rates in parts per million a year, a period's rate in ray (1e27).

With `P` the principal, `n` the number of instalments, `r` the rate of one period, and `B_k` the principal
outstanding after k instalments that were paid as scheduled (`B_0 = P`, `B_n = 0`):

    level            instalment A = P * r * q / (q - 1), rounded up, with q = (1 + r)^n; P / n where r is zero
                     B_k = P * (1 + r)^k - A * ((1 + r)^k - 1) / r, rounded down
                     the last instalment pays B_{n-1} and its interest, rounded up
    equal principal  principal part p = P / n, rounded up; B_k = P - k * p; the last part is the rest
                     the interest of the first k instalments is r * (B_0 + ... + B_{k-1}), their sum rounded
                     up once
    interest only    instalment A = P * r, rounded up; B_k = P; the last instalment pays the principal as well
    bullet           one instalment when n periods are over, of P and its interest P * r * n, rounded up; no
                     interest on interest

The principal part of the k-th instalment is `B_{k-1} - B_k`: the parts sum to P whatever the rounding.

A year may have any number of periods here, 24 say, so that published schedules can be held against the
formulas: `curve_of(Schedule.LEVEL, 100_000, 240_000, 24, 4).parts()`. Terms choose among the frequencies.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from duly.domain.amounts import PPM, in_percent
from duly.domain.errors import InstalmentTooCoarse
from duly.domain.terms import Schedule, check_range_of_formulas

RAY = 10**27
GUARD = 10**9
"""Digits carried below the smallest unit, so that a balance is rounded once and not twice."""


class Part(NamedTuple):
    """The k-th instalment (from 1) without its date: amount = principal + interest; balance is what is
    outstanding afterwards.
    """

    k: int
    amount: int
    principal: int
    interest: int
    balance: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A schedule, and what its formulas need.

    rate: of one period, in ray. instalments: their number; of a bullet, the number of periods. instalment:
    what recurs: the level instalment, the equal principal part, the interest; of a bullet, all there is.
    total: sum of all instalments; of a loan that ended before its last, what it came to.
    """

    schedule: Schedule
    principal: int
    rate: int
    instalments: int
    instalment: int
    total: int

    def balance(self, k: int) -> int:
        """The principal outstanding after k instalments, when paid as scheduled."""
        if k == 0:
            return self.principal
        if k >= self.instalments:
            return 0
        if self.schedule is Schedule.EQUAL_PRINCIPAL:
            return self.principal - k * self.instalment
        if self.schedule is not Schedule.LEVEL:
            return self.principal
        if self.rate == 0:
            return max(0, self.principal - k * self.instalment)
        q = power(RAY + self.rate, k)
        grown = self.principal * GUARD * q // RAY
        repaid = self.instalment * GUARD * (q - RAY) // self.rate
        return max(0, grown - repaid) // GUARD

    def cumulative(self, k: int) -> int:
        """The sum of the first k instalments."""
        if k >= self.instalments:
            return self.total
        if self.schedule is Schedule.BULLET:
            return 0
        due = k * self.instalment
        if self.schedule is Schedule.EQUAL_PRINCIPAL:
            due += self._interest_of_first(k)
        # A loan that was settled early has a smaller total than its schedule.
        return min(due, self.total)

    def covered(self, amount: int) -> int:
        """How many instalments an amount pays in full."""
        if self.schedule is Schedule.EQUAL_PRINCIPAL and amount < self.total:
            return bisect_right(range(1, self.instalments), amount, key=self.cumulative)
        return covered_by_equal(self.schedule, self.instalments, self.instalment, self.total, amount)

    @property
    def smallest_regular(self) -> int:
        """A lower bound, exact to one unit, of the smallest instalment but the last, which takes up what
        rounding leaves; where there is only one, that one.
        """
        if self.instalments == 1:
            return self.total
        if self.schedule is not Schedule.EQUAL_PRINCIPAL:
            return self.instalment
        return self.instalment + self.balance(self.instalments - 2) * self.rate // RAY

    def accrued(self, k: int, elapsed: int, length: int) -> int:
        """Interest earned beyond the first k instalments, `elapsed` of the next period's `length` seconds
        being over; rounded up. A bullet pays none before its end, so that of all earlier periods is in it.
        """
        if self.schedule is Schedule.BULLET:
            elapsed += k * length
        return _ceil(self.balance(k) * self.rate * elapsed, RAY * length)

    def worth(self, r: int) -> int:
        """What all instalments are worth at opening, discounted at r a period (in ray), rounded up.

        A longer first period is counted as one period, so that the worth is never less than it really is.
        """
        if r == 0:
            return self.total
        n = self.instalments
        v = _ceil(RAY * RAY, RAY + r)
        slack = 2 * n  # more than what `v` and its powers can have been rounded by
        if self.schedule is Schedule.EQUAL_PRINCIPAL:
            # Each instalment repays principal and the interest on what is outstanding. So discounted at the
            # loan's own rate they are worth the principal, and at a higher one less, by the difference on
            # each balance: P - (r - rate) * sum of B_{k-1} * v^k.
            vn = power(v, n)
            low, high = max(0, vn - slack), vn + slack
            # Rounded so that the balances come to no more than they are.
            annuity = max(0, RAY - high) * RAY // r
            rising = _ceil(max(0, _ceil((RAY - low) * RAY, r) - n * low) * RAY, r)
            balances = max(0, self.principal * annuity - self.instalment * rising) // RAY
            if r <= self.rate:
                return self.principal + 1 + balances * (self.rate - r) // RAY
            return self.principal + 1 - balances * (r - self.rate) // RAY
        # All others pay n - 1 times the same, a bullet nothing, and then a last instalment.
        regular = 0 if self.schedule is Schedule.BULLET or n == 1 else self.instalment
        last = self.total - (n - 1) * regular
        vn = power(v, n - 1)
        discount = _ceil((vn + slack) * v, RAY)
        return _ceil(regular * (RAY - max(0, vn - slack)), r) + _ceil(last * discount, RAY)

    def parts(self) -> Iterator[Part]:
        """The instalments, those of nothing left out: of a bullet there is the last alone."""
        before, due = self.principal, 0
        for k in range(1, self.instalments + 1):
            amount = self.cumulative(k) - due
            if amount:
                after = self.balance(k)
                yield Part(k, amount, before - after, amount - (before - after), after)
                before, due = after, due + amount

    def _interest_of_first(self, k: int) -> int:
        """Interest in the first k instalments of an equal-principal schedule."""
        balances = k * self.principal - self.instalment * k * (k - 1) // 2
        return interest(balances, self.rate)


def curve_of(schedule: Schedule, principal: int, rate: int, periods_per_year: int, n: int) -> Curve:
    """The schedule that principal, rate (parts per million a year) and number of instalments make.

    Raises: InvalidTerms outside the range of the formulas; InstalmentTooCoarse, where rounding alone would
    repay the loan before its last instalment, or leaves an instalment empty.
    """
    check_range_of_formulas(rate, n, periods_per_year)
    r = period_rate(rate, periods_per_year)
    if schedule is Schedule.LEVEL and r:
        q = power(RAY + r, n)
        instalment = _ceil(principal * r * q, (q - RAY) * RAY)
    elif schedule in (Schedule.LEVEL, Schedule.EQUAL_PRINCIPAL):
        instalment = _ceil(principal, n)
    elif schedule is Schedule.INTEREST_ONLY:
        instalment = interest(principal, r)
    else:
        instalment = principal + interest(principal * n, r)
    curve = Curve(schedule, principal, r, n, instalment, 0)
    others = (n - 1) * instalment
    if schedule is Schedule.INTEREST_ONLY and n > 1 and not others:
        raise InstalmentTooCoarse(
            f"{principal} smallest units at {in_percent(rate)} bear no interest to be paid before the end",
            wanted="instalments that are more than nothing",
            remedy="Agree on a bullet, or on another rate.",
        )
    if (schedule is Schedule.EQUAL_PRINCIPAL and others >= principal) or (
        schedule is Schedule.LEVEL and curve.balance(n - 1) == 0
    ):
        raise InstalmentTooCoarse(
            f"{principal} smallest units are too few for {n} instalments at {in_percent(rate)}: "
            "rounded up, fewer of them would repay it",
            wanted="a last instalment that is more than nothing",
            remedy="Lend more, or agree on fewer instalments.",
        )
    return replace(curve, total=total_of(curve))


def total_of(curve: Curve) -> int:
    """The sum of all instalments, from the others of a curve's fields."""
    n = curve.instalments
    match curve.schedule:
        case Schedule.LEVEL:
            rest = curve.balance(n - 1)
            return (n - 1) * curve.instalment + rest + interest(rest, curve.rate)
        case Schedule.EQUAL_PRINCIPAL:
            return curve.principal + curve._interest_of_first(n)
        case Schedule.INTEREST_ONLY:
            return curve.principal + n * curve.instalment
        case Schedule.BULLET:
            return curve.instalment


def interest(outstanding: int, r: int) -> int:
    """Interest on a balance over one whole period at a rate in ray, rounded up."""
    return _ceil(outstanding * r, RAY)


def covered_by_equal(schedule: Schedule, n: int, instalment: int, total: int, amount: int) -> int:
    """How many of n instalments an amount pays in full, all but the last being equal: no rate is needed."""
    if amount >= total:
        return n
    # Rounding can make the last instalment the largest by a few units: it is paid when the total is.
    if schedule is Schedule.BULLET:
        return n - 1
    return min(amount // instalment, n - 1) if n > 1 else 0


def period_rate(rate: int, periods_per_year: int) -> int:
    """A year's rate in parts per million as the rate of one period, in ray."""
    return RAY * rate // (PPM * periods_per_year)


@lru_cache
def period_rate_of_effective(rate: int, periods_per_year: int) -> int:
    """The rate of one period that compounds to a year's effective rate in parts per million: in ray, to
    twelve digits.

    The greatest root of twelve digits that exceeds the exact one by at most 1e-16, which is what the contract
    allows its logarithm and exponential to err by.
    """
    # (m * 1e-12 - 1e-16) ** periods_per_year <= 1 + rate, in whole numbers
    bound = (PPM + rate) * 10 ** (16 * periods_per_year) // PPM
    candidates = range((PPM + rate) * 10**6 + 1)
    m = bisect_right(candidates, bound, key=lambda m: (m * 10**4 - 1) ** periods_per_year) - 1
    return m * 10**15 - RAY


def power(x: int, n: int) -> int:
    """x to the n-th in ray, each multiplication rounded to the nearest. Source: Solady,
    `FixedPointMathLib.rpow`.
    """
    half = RAY // 2
    z = x if n & 1 else RAY
    n >>= 1
    while n:
        x = (x * x + half) // RAY
        if n & 1:
            z = (z * x + half) // RAY
        n >>= 1
    return z


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
