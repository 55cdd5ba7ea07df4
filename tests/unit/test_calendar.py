from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duly.domain import calendar
from duly.domain.calendar import DAY, EASTERNMOST, QUARTER_HOUR, WESTERNMOST
from duly.domain.errors import FirstDueTooEarly, FirstDueTooLate

DAYS = st.integers(0, 2**24 - 1)
OFFSETS = st.integers(WESTERNMOST, EASTERNMOST)


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("first", "k", "due"),
    [
        ("2027-01-31", 1, "2027-01-31"),
        ("2027-01-31", 2, "2027-02-28"),
        (
            "2027-01-31",
            3,
            "2027-03-31",
        ),  # counted from the first: the clamped month does not shorten this one
        ("2027-01-31", 4, "2027-04-30"),
        ("2027-01-31", 14, "2028-02-29"),
        ("2028-02-29", 13, "2029-02-28"),
        ("2028-02-29", 49, "2032-02-29"),
        ("2099-12-30", 3, "2100-02-28"),  # 2100 is no leap year
        ("1999-12-31", 3, "2000-02-29"),  # 2000 is one
        ("2027-12-15", 2, "2028-01-15"),
        ("2027-01-31", 600, "2076-12-31"),
    ],
)
def test_due_days_clamp_to_the_end_of_the_month(first: str, k: int, due: str) -> None:
    assert calendar.iso(calendar.due_day(day(first), k)) == due


@given(DAYS)
def test_days_survive_their_civil_form(number: int) -> None:
    assert calendar.day_of(*calendar.civil(number)) == number


@given(st.dates(min_value=date(1970, 1, 1)))
def test_days_are_those_of_the_gregorian_calendar(plain: date) -> None:
    number = (plain - date(1970, 1, 1)).days
    assert calendar.civil(number) == (plain.year, plain.month, plain.day)
    assert calendar.iso(number) == plain.isoformat()


@given(DAYS, st.integers(1, 600), st.data())
def test_passed_counts_the_due_days_before_a_day(first: int, n: int, data: st.DataObject) -> None:
    last = calendar.due_day(first, n)
    # Around a due day, where it matters, or anywhere.
    near = calendar.due_day(first, data.draw(st.integers(1, n))) + data.draw(st.integers(-2, 2))
    today = data.draw(st.sampled_from([near, first - 1, last, last + 1, last + 1000]))
    counted = sum(calendar.due_day(first, k) < today for k in range(1, n + 1))
    assert calendar.passed(first, n, today) == counted


@pytest.mark.parametrize("offset", [WESTERNMOST, -14, 0, 22, 32, EASTERNMOST])
@pytest.mark.parametrize("first", ["2027-01-31", "2028-02-29", "2027-06-15"])
def test_paying_in_the_due_second_is_on_time(first: str, offset: int) -> None:
    for k in (1, 2, 13):
        due = calendar.due_time(day(first), k, offset)
        on_time, late = (calendar.local_day(t, offset) for t in (due, due + 1))
        assert calendar.passed(day(first), 36, on_time) == k - 1
        assert calendar.passed(day(first), 36, late) == k


def test_the_due_second_is_the_last_of_the_local_day() -> None:
    # 2027-01-31 ends in Shanghai (UTC+8) at 16:00 UTC, in New York (UTC-5) at 05:00 UTC of the day after.
    assert calendar.due_time(day("2027-01-31"), 1, 32) == day("2027-01-31") * DAY + 16 * 3600 - 1
    assert calendar.due_time(day("2027-01-31"), 1, -20) == day("2027-02-01") * DAY + 5 * 3600 - 1


@given(st.integers(DAY, 2**40), OFFSETS)
def test_a_moment_lies_in_its_local_day(moment: int, offset: int) -> None:
    today = calendar.local_day(moment, offset)
    assert calendar.start_of(today, offset) <= moment < calendar.start_of(today + 1, offset)
    assert (moment + offset * QUARTER_HOUR) // DAY == today


def test_the_first_instalment_is_due_after_one_to_twelve_months() -> None:
    opened = day("2027-01-31")
    calendar.check_first_due(day("2027-02-28"), opened)
    calendar.check_first_due(opened + 366, opened)
    with pytest.raises(FirstDueTooEarly, match="2027-02-27"):
        calendar.check_first_due(day("2027-02-27"), opened)
    with pytest.raises(FirstDueTooLate):
        calendar.check_first_due(opened + 367, opened)
