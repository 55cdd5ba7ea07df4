"""The schedule in Python is the schedule in Solidity, number for number and error for error.

Random inputs over the whole stated range and beyond its edges, from fixed seeds.
"""

import random

import pytest
from machine import Contract, Machine, Reverted

from duly.domain import calendar, schedule
from duly.domain.errors import InstalmentTooCoarse, InvalidTerms
from duly.domain.terms import MAX_INSTALMENTS, MAX_RATE

SEED = 20_261_123
LOANS = 20_000
DAYS = 10_000
LATEST_DAY = 120_000  # in the year 2298

ANYONE = "0x" + "11" * 20


@pytest.fixture(scope="module")
def harness() -> Contract:
    return Machine().deploy("AmortizationHarness", ANYONE)


def some_loan(dice: random.Random) -> tuple[int, int, int, int]:
    """Principal, rate, number of instalments and periods per year; now and then out of range."""
    principal = dice.choice(
        (dice.randrange(1, 2 ** dice.randint(1, 88)), dice.randint(1, 5_000), 2**88 - 1, 1)
    )
    rate = dice.choice(
        (
            0,
            1,
            MAX_RATE,
            MAX_RATE + dice.randint(1, 100),
            dice.randrange(2 ** dice.randint(1, 24)),
            dice.randrange(MAX_RATE + 1),
            dice.randrange(500_000),
            dice.randrange(500_000),
        )
    )
    per_year = dice.choice((12, 12, 12, 4, 13, 26, 52))
    n = dice.choice(
        (
            0,
            1,
            2,
            MAX_INSTALMENTS,
            MAX_INSTALMENTS + 1,
            dice.randint(1, 60),
            dice.randint(1, MAX_INSTALMENTS),
            dice.randint(1, MAX_INSTALMENTS),
            # Around the edge of rate times years.
            max(0, 16 * per_year * 10**6 // max(rate, 1) % 700 + dice.randint(-1, 1)),
        )
    )
    return principal, rate, n, per_year


def test_every_schedule_is_the_same_on_both_sides(harness):
    dice = random.Random(SEED)
    seen = {"schedules": 0, "InstalmentTooCoarse": 0, "TermsOutOfRange": 0}
    for i in range(LOANS):
        principal, rate, n, per_year = case = some_loan(dice)
        told = f"seed {SEED}, loan {i}: principal, rate, n, periods per year = {case}"
        try:
            theirs = harness.call("level", principal, rate, per_year, n)
        except Reverted as error:
            name, *arguments = error.args
            seen[name] += 1
            if name == "InstalmentTooCoarse":
                assert arguments == [principal, rate, n], told
                with pytest.raises(InstalmentTooCoarse):
                    schedule.level(principal, rate, n, per_year)
            else:
                assert (name, arguments) == ("TermsOutOfRange", [rate, n]), told
                with pytest.raises(InvalidTerms) as raised:
                    schedule.level(principal, rate, n, per_year)
                assert not isinstance(raised.value, InstalmentTooCoarse), told
            continue
        seen["schedules"] += 1
        instalment, total = theirs
        assert schedule.level(principal, rate, n, per_year) == (instalment, total), told

        r = schedule.period_rate(rate, per_year)
        for k in {0, n - 1, dice.randrange(n)}:
            outstanding = harness.call("balance", principal, instalment, rate, per_year, k)
            assert schedule.balance(principal, instalment, r, k) == outstanding, (told, k)
            length = dice.randint(1, 400 * 86_400)
            elapsed = dice.choice((0, length, dice.randint(0, length)))
            accrued = harness.call("accrued", outstanding, rate, per_year, elapsed, length)
            assert schedule.accrued(outstanding, r, elapsed, length) == accrued, (told, k, elapsed, length)
    assert seen["schedules"] > LOANS / 3, seen
    assert seen["InstalmentTooCoarse"] > 200, seen
    assert seen["TermsOutOfRange"] > 200, seen


def test_every_due_second_is_the_same_on_both_sides(harness):
    dice = random.Random(SEED + 1)
    for i in range(DAYS):
        first_due = dice.randrange(100, LATEST_DAY)
        if i % 2:
            # The end of a month, where clamping happens.
            year, month, _ = calendar.civil(first_due)
            first_due = calendar.day_of(year, month, calendar.days_in_month(year, month) - dice.randint(0, 3))
        n = dice.randint(1, MAX_INSTALMENTS)
        k, offset = dice.randint(1, n), dice.randint(-48, 56)
        told = f"seed {SEED + 1}, case {i}: first due {first_due}, n {n}, k {k}, offset {offset}"
        assert calendar.due_time(first_due, k, offset) == harness.call("dueTime", first_due, k, offset), told
        due_day = calendar.due_day(first_due, k)
        for day in (due_day - 1, due_day, due_day + 1, dice.randrange(LATEST_DAY)):
            assert calendar.passed(first_due, n, day) == harness.call("passed", first_due, n, day), (
                told,
                day,
            )


def test_a_due_day_counts_as_passed_from_the_next_day_on(harness):
    # 31 January: the second instalment is due on 28 February.
    first_due = calendar.day_of(2027, 1, 31)
    february = calendar.day_of(2027, 2, 28)
    assert [harness.call("passed", first_due, 12, february + i) for i in (-1, 0, 1, 2)] == [1, 1, 2, 2]
    assert [calendar.passed(first_due, 12, february + i) for i in (-1, 0, 1, 2)] == [1, 1, 2, 2]
