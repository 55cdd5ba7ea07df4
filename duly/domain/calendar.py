"""Due days of a loan, counted in its own calendar. Mirrors `contracts/libraries/Calendar.sol`.

A day is a number of days since 1970-01-01, a moment a number of seconds since then (UTC), an offset the
calendar's distance from UTC in quarter hours, east positive. An instalment is due at the last second of its
due day; a payment in that second is on time.
"""

from calendar import monthrange
from datetime import date
from enum import IntEnum
from functools import lru_cache

from duly.domain.errors import FirstDueTooEarly, FirstDueTooLate

DAY = 86_400
QUARTER_HOUR = 900
WESTERNMOST = -48
EASTERNMOST = 56
LONGEST_FIRST_PERIOD = 366
"""Days. A longer first period is a matter of months; a date further away than this is a mistake."""


class Frequency(IntEnum):
    """How often an instalment falls due. Months and quarters follow the calendar, the others count days."""

    MONTHLY = 0
    QUARTERLY = 1
    WEEKLY = 2
    FORTNIGHTLY = 3
    FOUR_WEEKLY = 4

    @property
    def periods_per_year(self) -> int:
        """How many periods a year has."""
        return _PERIODS_PER_YEAR[self]


_PERIODS_PER_YEAR = (12, 4, 52, 26, 13)
# The interval between two instalments: so many months, or so many days.
_INTERVALS = ((1, 0), (3, 0), (0, 7), (0, 14), (0, 28))
_INTERVAL_NAMES = ("a month", "a quarter", "a week", "a fortnight", "four weeks")

_EPOCH = date(1970, 1, 1).toordinal()
# The Gregorian calendar repeats every 400 years, which lets `date` work for every day that the ledger can
# hold.
_CYCLE_DAYS = 146_097
_CYCLE_YEARS = 400


# A run over a million loans asks for the same few thousand days again and again.
@lru_cache(maxsize=2**16)
def civil(day: int) -> tuple[int, int, int]:
    """Year, month and day of the month."""
    cycle, rest = divmod(day, _CYCLE_DAYS)
    plain = date.fromordinal(_EPOCH + rest)
    return plain.year + cycle * _CYCLE_YEARS, plain.month, plain.day


def day_of(year: int, month: int, day_of_month: int) -> int:
    """The day's number."""
    cycle, rest = divmod(year - 1970, _CYCLE_YEARS)
    return date(1970 + rest, month, day_of_month).toordinal() - _EPOCH + cycle * _CYCLE_DAYS


def iso(day: int) -> str:
    """The day as YYYY-MM-DD."""
    return "{:04}-{:02}-{:02}".format(*civil(day))


def local_day(timestamp: int, offset: int) -> int:
    """The calendar day that a moment falls on."""
    return (timestamp + offset * QUARTER_HOUR) // DAY


def start_of(day: int, offset: int) -> int:
    """The first second of a calendar day."""
    return day * DAY - offset * QUARTER_HOUR


@lru_cache(maxsize=2**16)
def add_months(day: int, months: int) -> int:
    """The day a number of months later, clamped to the month's end (31 January, 28 February)."""
    year, month, day_of_month = civil(day)
    years, month = divmod(month - 1 + months, 12)
    year += years
    return day_of(year, month + 1, min(day_of_month, days_in_month(year, month + 1)))


def days_in_month(year: int, month: int) -> int:
    """28 to 31."""
    return monthrange(1970 + (year - 1970) % _CYCLE_YEARS, month)[1]


def add_periods(day: int, frequency: Frequency, periods: int) -> int:
    """The day that lies a number of periods later."""
    months, days = _INTERVALS[frequency]
    return add_months(day, months * periods) if months else day + days * periods


def shortest_interval(frequency: Frequency) -> int:
    """Fewer days than that never lie between two due days."""
    months, days = _INTERVALS[frequency]
    return 28 * months or days


def due_day(first_due: int, frequency: Frequency, k: int) -> int:
    """The day on which the k-th instalment (from 1) is due.

    Always counted from the first, so that a clamped month does not shorten the later ones.
    """
    return add_periods(first_due, frequency, k - 1)


def due_time(first_due: int, frequency: Frequency, k: int, offset: int) -> int:
    """The last second in which a payment of the k-th instalment is on time."""
    return start_of(due_day(first_due, frequency, k) + 1, offset) - 1


def due_day_to_go_on_from(first_due: int, frequency: Frequency, k: int) -> int:
    """The first due day of a schedule that goes on with the k-th instalment of this one.

    Where that was clamped to the end of a short month it is the day after, so that no later due day comes
    earlier than it would have.
    """
    day = due_day(first_due, frequency, k)
    months, _ = _INTERVALS[frequency]
    clamped = months and civil(day)[2] < civil(first_due)[2]
    return day + 1 if clamped else day


def passed(first_due: int, frequency: Frequency, n: int, day: int) -> int:
    """How many of n due days lie before a calendar day."""
    if day <= first_due:
        return 0
    months, days = _INTERVALS[frequency]
    if not months:
        return min((day - first_due - 1) // days + 1, n)
    year, month, day_of_month = civil(day)
    first_year, first_month, due_day_of_month = civil(first_due)
    k = 12 * (year - first_year) + month - first_month
    # Clamping the due day to the month's end would change nothing here: no day of the month lies beyond it.
    if due_day_of_month < day_of_month:
        k += 1
    return min((k + months - 1) // months, n)


def check_first_due(first_due: int, opened: int, frequency: Frequency) -> None:
    """Refuse a first due day less than one interval, or more than a year, after the day of opening.

    At least one whole interval, so that interest by period never exceeds interest by day.

    Raises: FirstDueTooEarly, FirstDueTooLate.
    """
    earliest = add_periods(opened, frequency, 1)
    if first_due < earliest:
        raise FirstDueTooEarly(
            f"first instalment on {iso(first_due)}: "
            f"less than {_INTERVAL_NAMES[frequency]} after opening on {iso(opened)}",
            wanted=f"{iso(earliest)} or later",
            remedy="Choose a later first due day.",
        )
    check_not_too_late(first_due, opened)


def check_not_too_late(first_due: int, today: int) -> None:
    """Refuse a first due day more than a year after today.

    Raises: FirstDueTooLate.
    """
    latest = today + LONGEST_FIRST_PERIOD
    if first_due > latest:
        raise FirstDueTooLate(
            f"first instalment on {iso(first_due)}: more than a year after {iso(today)}",
            wanted=f"{iso(latest)} or earlier",
            remedy="Choose an earlier first due day.",
        )
