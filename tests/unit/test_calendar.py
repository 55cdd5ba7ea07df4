from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duly.domain import calendar
from duly.domain.calendar import DAY, EASTERNMOST, QUARTER_HOUR, WESTERNMOST, Frequency
from duly.domain.errors import FirstDueTooEarly, FirstDueTooLate

MONTHLY = Frequency.MONTHLY
DAYS = st.integers(0, 2**24 - 1)
OFFSETS = st.integers(WESTERNMOST, EASTERNMOST)


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("first", "frequency", "k", "due"),
    [
        ("2027-01-31", MONTHLY, 1, "2027-01-31"),
        ("2027-01-31", MONTHLY, 2, "2027-02-28"),
        # Counted from the first: the clamped month does not shorten this one.
        ("2027-01-31", MONTHLY, 3, "2027-03-31"),
        ("2027-01-31", MONTHLY, 4, "2027-04-30"),
        ("2027-01-31", MONTHLY, 14, "2028-02-29"),
        ("2028-02-29", MONTHLY, 13, "2029-02-28"),
        ("2028-02-29", MONTHLY, 49, "2032-02-29"),
        ("2099-12-30", MONTHLY, 3, "2100-02-28"),  # 2100 is no leap year
        ("1999-12-31", MONTHLY, 3, "2000-02-29"),  # 2000 is one
        ("2027-12-15", MONTHLY, 2, "2028-01-15"),
        ("2027-01-31", MONTHLY, 600, "2076-12-31"),
        ("2027-11-30", Frequency.QUARTERLY, 2, "2028-02-29"),
        ("2027-11-30", Frequency.QUARTERLY, 3, "2028-05-30"),
        ("2028-02-22", Frequency.WEEKLY, 2, "2028-02-29"),
        ("2028-02-22", Frequency.FORTNIGHTLY, 2, "2028-03-07"),
        ("2027-01-31", Frequency.FOUR_WEEKLY, 14, "2028-01-30"),
    ],
)
def test_due_days(first: str, frequency: Frequency, k: int, due: str) -> None:
    assert calendar.iso(calendar.due_day(day(first), frequency, k)) == due


@pytest.mark.parametrize(
    ("first", "frequency", "k", "goes_on"),
    [
        ("2027-01-31", MONTHLY, 3, "2027-03-31"),
        ("2027-01-31", MONTHLY, 2, "2027-03-01"),
        ("2028-01-30", MONTHLY, 2, "2028-03-01"),
        ("2028-01-29", MONTHLY, 2, "2028-02-29"),
        ("2027-01-31", MONTHLY, 4, "2027-05-01"),
        ("2027-11-30", Frequency.QUARTERLY, 2, "2028-03-01"),
        ("2027-01-31", Frequency.FOUR_WEEKLY, 2, "2027-02-28"),
    ],
)
def test_a_schedule_goes_on_no_earlier_than_it_would_have(
    first: str, frequency: Frequency, k: int, goes_on: str
) -> None:
    found = calendar.due_day_to_go_on_from(day(first), frequency, k)
    assert calendar.iso(found) == goes_on
    for later in range(30):
        assert calendar.due_day(found, frequency, 1 + later) >= calendar.due_day(
            day(first), frequency, k + later
        )


@given(DAYS)
def test_days_survive_their_civil_form(number: int) -> None:
    assert calendar.day_of(*calendar.civil(number)) == number


@given(st.dates(min_value=date(1970, 1, 1)))
def test_days_are_those_of_the_gregorian_calendar(plain: date) -> None:
    number = (plain - date(1970, 1, 1)).days
    assert calendar.civil(number) == (plain.year, plain.month, plain.day)
    assert calendar.iso(number) == plain.isoformat()


@given(DAYS, st.sampled_from(Frequency), st.integers(1, 600), st.data())
def test_passed_counts_the_due_days_before_a_day(
    first: int, frequency: Frequency, n: int, data: st.DataObject
) -> None:
    due_days = [calendar.due_day(first, frequency, k) for k in range(1, n + 1)]
    # Around a due day, where it matters, or anywhere.
    near = data.draw(st.sampled_from(due_days)) + data.draw(st.integers(-2, 2))
    last = due_days[-1]
    today = data.draw(st.sampled_from([near, first - 1, last, last + 1, last + 1000]))
    assert calendar.passed(first, frequency, n, today) == sum(each < today for each in due_days)


@pytest.mark.parametrize("offset", [WESTERNMOST, -14, 0, 22, 32, EASTERNMOST])
@pytest.mark.parametrize("first", ["2027-01-31", "2028-02-29", "2027-06-15"])
@pytest.mark.parametrize("frequency", Frequency)
def test_paying_in_the_due_second_is_on_time(first: str, frequency: Frequency, offset: int) -> None:
    for k in (1, 2, 13):
        due = calendar.due_time(day(first), frequency, k, offset)
        on_time, late = (calendar.local_day(t, offset) for t in (due, due + 1))
        assert calendar.passed(day(first), frequency, 36, on_time) == k - 1
        assert calendar.passed(day(first), frequency, 36, late) == k


def test_the_due_second_is_the_last_of_the_local_day() -> None:
    # 2027-01-31 ends in Shanghai (UTC+8) at 16:00 UTC, in New York (UTC-5) at 05:00 UTC of the day after.
    assert calendar.due_time(day("2027-01-31"), MONTHLY, 1, 32) == day("2027-01-31") * DAY + 16 * 3600 - 1
    assert calendar.due_time(day("2027-01-31"), MONTHLY, 1, -20) == day("2027-02-01") * DAY + 5 * 3600 - 1


@given(st.integers(DAY, 2**40), OFFSETS)
def test_a_moment_lies_in_its_local_day(moment: int, offset: int) -> None:
    today = calendar.local_day(moment, offset)
    assert calendar.start_of(today, offset) <= moment < calendar.start_of(today + 1, offset)
    assert (moment + offset * QUARTER_HOUR) // DAY == today


@pytest.mark.parametrize(
    ("frequency", "earliest", "interval"),
    [
        (MONTHLY, "2027-02-28", "a month"),
        (Frequency.QUARTERLY, "2027-04-30", "a quarter"),
        (Frequency.WEEKLY, "2027-02-07", "a week"),
        (Frequency.FORTNIGHTLY, "2027-02-14", "a fortnight"),
        (Frequency.FOUR_WEEKLY, "2027-02-28", "four weeks"),
    ],
)
def test_the_first_instalment_is_due_after_one_interval_to_a_year(
    frequency: Frequency, earliest: str, interval: str
) -> None:
    opened = day("2027-01-31")
    calendar.check_first_due(day(earliest), opened, frequency)
    calendar.check_first_due(opened + 366, opened, frequency)
    with pytest.raises(FirstDueTooEarly, match=f"less than {interval} after opening on 2027-01-31"):
        calendar.check_first_due(day(earliest) - 1, opened, frequency)
    with pytest.raises(FirstDueTooLate):
        calendar.check_first_due(opened + 367, opened, frequency)
