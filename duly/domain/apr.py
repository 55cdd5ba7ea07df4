"""What credit costs, as regulators have it told: the annual percentage rates of any advances and payments.

Two rates, both from the same flows of money:

    APR     United States: Regulation Z (12 CFR 1026), Appendix J, actuarial method. The nominal rate i * w,
            where i is the rate of one unit-period, w the number of unit-periods in a year, and both sums are
            equal:

                sum of advances / ((1 + f*i) * (1 + i)^t) = sum of payments / ((1 + f*i) * (1 + i)^t)

            with t whole unit-periods and the fraction f of another since the first advance.
    APRC    European Union: Directive 2008/48/EC, Annex I; Directive (EU) 2023/2225, Annex III, keeps the
            equation. The effective rate X with

                sum of advances * (1 + X)^-s = sum of payments * (1 + X)^-s

            with s the years since the first advance.

Amounts are integers in the currency's smallest unit, days are days since 1970-01-01 (see `calendar`), rates
are decimals in per cent a year. No float is involved.
"""

import decimal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import Final

from duly.domain.calendar import add_months, civil, day_of, days_in_month, iso
from duly.domain.errors import InvalidFlows

PLACES: Final = 10
"""Decimals of a rate in per cent."""

_DIGITS: Final = decimal.Context(prec=50, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_CLOSE: Final = Decimal("1e-24")
_HIGHEST: Final = Decimal("1e24")


@dataclass(frozen=True, slots=True)
class Flow:
    """Money that changes hands on a day: what the borrower receives is negative, what the borrower pays
    positive.
    """

    day: int
    amount: int


class Interval(Enum):
    """What unit-periods are made of. Its value is the days that one is counted as: all months are equal."""

    DAY = 1
    WEEK = 7
    SEMIMONTH = 15
    MONTH = 30


_IN_A_YEAR: Final = {Interval.DAY: 365, Interval.WEEK: 52, Interval.SEMIMONTH: 24, Interval.MONTH: 12}


@dataclass(frozen=True, slots=True)
class UnitPeriod:
    """The time over which interest is compounded: so many days, weeks or months, or a semimonth."""

    interval: Interval
    count: int = 1

    @property
    def days(self) -> int:
        """How many days it is counted as. Source: Appendix J (b)(5)."""
        return self.interval.value * self.count

    @property
    def per_year(self) -> Fraction:
        """How many there are in a year. Source: Appendix J (b)(5)."""
        return Fraction(_IN_A_YEAR[self.interval], self.count)

    @property
    def in_months(self) -> bool:
        """It is counted in months, not in days."""
        return self.interval in (Interval.MONTH, Interval.SEMIMONTH)

    def __str__(self) -> str:
        if self == YEAR:
            return "year"
        name = self.interval.name.lower()
        return name if self.count == 1 else f"{self.count} {name}s"


DAY: Final = UnitPeriod(Interval.DAY)
SEMIMONTH: Final = UnitPeriod(Interval.SEMIMONTH)
YEAR: Final = UnitPeriod(Interval.MONTH, 12)
_WEEKS: Final = tuple(UnitPeriod(Interval.WEEK, count) for count in range(1, 53))
_MONTHS: Final = tuple(UnitPeriod(Interval.MONTH, count) for count in range(1, 13))


@dataclass(frozen=True, slots=True, kw_only=True)
class CostOfCredit:
    """What credit costs the borrower.

    apr, aprc: per cent a year, with ten decimals; `rounded` for disclosure. finance_charge: total_of_payments
    less amount_financed, in the smallest unit. What the borrower pays on the day of the first advance lowers
    the amount financed, as a prepaid finance charge does (12 CFR 1026.18(b)(3)), and is no part of the total
    of payments. unit_period: what the APR is compounded over.
    """

    apr: Decimal
    aprc: Decimal
    amount_financed: int
    finance_charge: int
    total_of_payments: int
    unit_period: UnitPeriod


def of_schedule(opened: int, received: int, instalments: Iterable[tuple[int, int]]) -> CostOfCredit:
    """What a loan costs that is repaid as scheduled.

    opened: the day on which the borrower receives it. received: what reaches the borrower, so the principal
    less an origination fee. instalments: due day and amount of each.

    Raises: InvalidFlows.
    """
    return of_flows([Flow(opened, -received), *(Flow(day, amount) for day, amount in instalments)])


def of_flows(flows: Iterable[Flow]) -> CostOfCredit:
    """What credit costs that is advanced and repaid in these flows, in any order.

    Where advances follow payments, several rates can solve an equation: it is the lowest that is not
    negative.

    Raises: InvalidFlows where no such rate exists: nothing is advanced, a payment comes before the first
    advance, or less is paid than was advanced.
    """
    advances, payments = _sides(flows)
    start = advances[0].day
    unit = unit_period([flow.day for flow in advances], [flow.day for flow in payments])
    spans = [
        (span, flow.amount)
        for side in (advances, payments)
        for span, flow in zip(_since(start, [flow.day for flow in side]), side, strict=True)
    ]
    amount_financed = -sum(flow.amount for flow in advances)
    total_of_payments = sum(flow.amount for flow in payments)
    return CostOfCredit(
        apr=actuarial_rate([(*span.in_unit_periods(unit), amount) for span, amount in spans], unit.per_year),
        aprc=effective_rate([(span.in_years(unit), amount) for span, amount in spans]),
        amount_financed=amount_financed,
        finance_charge=total_of_payments - amount_financed,
        total_of_payments=total_of_payments,
        unit_period=unit,
    )


def rounded(rate: Decimal, places: int = 2) -> Decimal:
    """A rate as it is disclosed: half is rounded up. Source: Directive 2008/48/EC, Annex I, remark (d)."""
    return rate.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _DIGITS)


def _sides(flows: Iterable[Flow]) -> tuple[list[Flow], list[Flow]]:
    """Advances and payments by day, all of the first day made into one advance."""
    flows = sorted((flow for flow in flows if flow.amount), key=lambda flow: flow.day)
    advanced = -sum(flow.amount for flow in flows if flow.amount < 0)
    paid = sum(flow.amount for flow in flows if flow.amount > 0)
    if advanced == 0:
        raise InvalidFlows("nothing is advanced", wanted="at least one advance")
    start = next(flow.day for flow in flows if flow.amount < 0)
    if flows[0].day < start:
        raise InvalidFlows(
            f"a payment on {iso(flows[0].day)} comes before the first advance on {iso(start)}",
            wanted="an advance first",
            remedy="Take what is paid beforehand off the first advance.",
        )
    if paid < advanced:
        # A negative rate would solve the equations; but no law asks for one, and likely a payment is missing.
        raise InvalidFlows(
            f"payments of {paid} smallest units do not repay advances of {advanced}",
            wanted="payments of at least what is advanced",
        )
    first = sum(flow.amount for flow in flows if flow.day == start)
    if first >= 0:
        raise InvalidFlows(
            f"what is advanced on {iso(start)} is all paid back that day", wanted="payments on later days"
        )
    later = [flow for flow in flows if flow.day > start]
    return (
        [Flow(start, first), *(flow for flow in later if flow.amount < 0)],
        [flow for flow in later if flow.amount > 0],
    )


# ---------------------------------------------------------------------------------------- the equations


def actuarial_rate(flows: Iterable[tuple[int, Fraction, int]], per_year: Fraction) -> Decimal:
    """The nominal rate in per cent a year of flows, each with its whole unit-periods, the fraction of another
    and its amount.

    per_year: the unit-periods in a year. Source: Appendix J (b)(1), (b)(6) and the general equation (b)(8).

    Raises: InvalidFlows.
    """
    with decimal.localcontext(_DIGITS):
        terms = [(whole, _decimal(fraction), Decimal(amount)) for whole, fraction, amount in flows]

        def worth(i: Decimal) -> Decimal:
            growth = 1 + i
            return sum((amount / ((1 + f * i) * growth**t) for t, f, amount in terms), Decimal(0))

        return _in_percent(_root(worth) * _decimal(per_year))


def effective_rate(flows: Iterable[tuple[Fraction, int]]) -> Decimal:
    """The effective rate in per cent a year of flows, each with its years since the first advance and its
    amount.

    Source: Directive 2008/48/EC, Annex I, the basic equation.

    Raises: InvalidFlows.
    """
    with decimal.localcontext(_DIGITS):
        terms = [(_decimal(years), Decimal(amount)) for years, amount in flows]

        # In the rate y = ln(1 + X), compounded continuously, each discount is one exponential.
        def worth(y: Decimal) -> Decimal:
            return sum((amount * (-s * y).exp() for s, amount in terms), Decimal(0))

        return _in_percent(_root(worth).exp() - 1)


def _root(worth: Callable[[Decimal], Decimal]) -> Decimal:
    """The lowest rate, from zero on, at which payments are worth no more than advances.

    Regula falsi in its Illinois form: faster than halving and as sure, as the root stays between two rates.
    """
    low, high = Decimal(0), Decimal("0.001")
    above = worth(low)
    if above == 0:
        return low
    while (below := worth(high)) > 0:
        low, above, high = high, below, 2 * high
        _check_rate(high)
    rose = fell = False
    while high - low > _CLOSE * (1 + high):
        middle = (low * below - high * above) / (below - above)
        value = worth(middle)
        if value == 0:
            return middle
        if value > 0:
            low, above = middle, value
            below = below / 2 if rose else below
            rose, fell = True, False
        else:
            high, below = middle, value
            above = above / 2 if fell else above
            rose, fell = False, True
    return high


def _in_percent(rate: Decimal) -> Decimal:
    _check_rate(rate)
    return rounded(100 * rate, PLACES)


def _check_rate(rate: Decimal) -> None:
    if rate > _HIGHEST:
        raise InvalidFlows(
            "no annual rate that means anything makes these payments worth what is advanced",
            wanted="payments in some proportion to the advances",
        )


def _decimal(number: Fraction) -> Decimal:
    return Decimal(number.numerator) / number.denominator


# ---------------------------------------------------------------------------------------- time


@dataclass(frozen=True, slots=True)
class Span:
    """The time from one day to another, in days, or in months counted back from the later.

    date: the day of the month that a series of days means, which the later one belongs to: in a month too
    short for it the last day counts as that date.

    Source: Appendix J (b)(3)(iv) and (b)(5)(ii); Directive 2014/17/EU, Annex I, remark (c).
    """

    start: int
    end: int
    date: int

    @property
    def days(self) -> int:
        """All its days."""
        return self.end - self.start

    @property
    def months(self) -> int:
        """Its whole months."""
        (start_year, start_month, _), (year, month, _) = civil(self.start), civil(self.end)
        months = 12 * (year - start_year) + month - start_month
        return months if self._before(months) >= self.start else months - 1

    @property
    def rest(self) -> int:
        """The days that remain before its whole months."""
        return self._before(self.months) - self.start

    def standard_intervals(self) -> Iterator[UnitPeriod]:
        """The standard intervals that it equals. Source: Appendix J (b)(3)(iii).

        All but the semimonth, which only two of them together tell.
        """
        if self.rest == 0 and 1 <= self.months <= len(_MONTHS):
            yield _MONTHS[self.months - 1]
        if self.days % 7 == 0 and self.days <= 7 * len(_WEEKS):
            yield _WEEKS[self.days // 7 - 1]
        if self.days == 1:
            yield DAY

    def in_unit_periods(self, unit: UnitPeriod) -> tuple[int, Fraction]:
        """Whole unit-periods, and the fraction of another. Source: Appendix J (b)(5)."""
        if unit == YEAR:
            years, months = divmod(self.months, 12)
            if self.rest == 0:
                return years, Fraction(months, 12)
            return years, Fraction(self._before(12 * years) - self.start, 365)
        days = 30 * self.months + self.rest if unit.in_months else self.days
        whole, rest = divmod(days, unit.days)
        return whole, Fraction(rest, unit.days)

    def in_years(self, unit: UnitPeriod) -> Fraction:
        """Years: its weeks / 52 where the unit-period is a number of weeks, else its months / 12, and the
        days before them over the 365 or 366 days of the year that ends with the last of those.

        Source: Directive 2014/17/EU, Annex I, remark (c), which says what 2008/48/EC leaves open.
        """
        if unit.in_months or unit.days % 7:
            whole, rest = Fraction(self.months, 12), self.rest
        else:
            whole, rest = Fraction(self.days // 7, 52), self.days % 7
        last = self.start + rest
        return whole + Fraction(rest, last - add_months(last, -12))

    def _before(self, months: int) -> int:
        """The day that lies so many months before its end."""
        year, month, date = civil(self.end)
        if date == days_in_month(year, month):
            date = max(date, self.date)
        year, month = divmod(12 * year + month - 1 - months, 12)
        return day_of(year, month + 1, min(date, days_in_month(year, month + 1)))


def unit_period(advances: Sequence[int], payments: Sequence[int]) -> UnitPeriod:
    """The unit-period of a transaction with these days of advances and of payments, both in order.

    The standard interval that lies between them most often, of several the shortest; where none does twice,
    the one nearest to the average. With one advance and one payment the term of the loan, at most a year.

    Source: Appendix J (b)(4), (b)(5)(vi) and (vii).
    """
    start = advances[0]
    if len(advances) == len(payments) == 1:
        (term,) = _since(start, payments)
        if term.months >= 12:
            return YEAR
        return UnitPeriod(Interval.DAY, term.days) if term.rest else UnitPeriod(Interval.MONTH, term.months)
    periods: list[Span] = []
    times: Counter[UnitPeriod] = Counter()
    for series in (advances, payments):
        days = sorted({start, *series})
        date = _date(start, series)
        periods += (Span(day, following, date) for day, following in pairwise(days))
        times[SEMIMONTH] += _semimonths(days, date)
    times.update(interval for period in periods for interval in period.standard_intervals())
    most = max(times.values())
    if most > 1:
        return max((unit for unit in times if times[unit] == most), key=lambda unit: unit.per_year)
    if all(period.rest == 0 for period in periods):
        standard: tuple[UnitPeriod, ...] = _MONTHS
        years = Fraction(sum(period.months for period in periods), 12)
    else:
        standard = (*_MONTHS, SEMIMONTH, *_WEEKS, DAY)
        years = Fraction(sum(period.days for period in periods), 365)
    average = years / len(periods)
    return min(standard, key=lambda unit: (abs(1 / unit.per_year - average), -unit.per_year))


def _semimonths(days: Sequence[int], date: int) -> int:
    """How many of the periods between these days are semimonths: about half of the month that they make up
    with the one before or after.
    """
    found = set()
    for k, (first, middle, last) in enumerate(zip(days, days[1:], days[2:], strict=False)):
        both = Span(first, last, date)
        if (both.months, both.rest) == (1, 0) and all(13 <= n <= 17 for n in (middle - first, last - middle)):
            found |= {k, k + 1}
    return len(found)


def _since(start: int, days: Sequence[int]) -> list[Span]:
    """The time from the first advance to each of a series of days."""
    date = _date(start, days)
    return [Span(start, day, date) for day in days]


def _date(start: int, days: Sequence[int]) -> int:
    """The day of the month that a series of days means: its latest, since the others may lie in shorter
    months.

    One day alone is no series, and means the date of the first advance, where its own month is too short.
    """
    return max(civil(day)[2] for day in (days if len(days) > 1 else (start, *days)))
