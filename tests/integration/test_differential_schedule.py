"""Schedules and due days in Python are those in Solidity, number for number and error for error.

Random inputs over the whole stated range and beyond its edges, from fixed seeds.
"""

import random
from collections import Counter
from dataclasses import astuple, replace

import pytest
from machine import Contract, Machine, Reverted

from duly.domain import amortisation, calendar
from duly.domain.amortisation import Curve
from duly.domain.errors import InstalmentTooCoarse, InvalidTerms
from duly.domain.terms import MAX_INSTALMENTS, MAX_RATE, Frequency, Schedule

SEED = 20_261_123
SCHEDULES = 20_000
DAYS = 8_000
LATEST_DAY = 120_000  # in the year 2298

ANYONE = "0x" + "11" * 20


@pytest.fixture(scope="module")
def harness() -> Contract:
    return Machine().deploy("AmortizationHarness", ANYONE)


def some_loan(dice: random.Random) -> tuple[Schedule, int, int, int, int]:
    """Schedule, principal, rate, periods per year and number of instalments; now and then out of range."""
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
    per_year = dice.choice(tuple(Frequency)).periods_per_year
    n = dice.choice(
        (
            0,
            1,
            2,
            MAX_INSTALMENTS,
            MAX_INSTALMENTS + 1,
            dice.randint(1, 60),
            dice.randint(1, 60),
            dice.randint(1, MAX_INSTALMENTS),
            dice.randint(1, MAX_INSTALMENTS),
            # Around the edge of rate times years.
            max(0, 16 * per_year * 10**6 // max(rate, 1) % 700 + dice.randint(-1, 1)),
        )
    )
    return dice.choice(tuple(Schedule)), principal, rate, per_year, n


def some_discount(dice: random.Random, curve: Curve, per_year: int) -> int:
    """A period's rate to discount at: none, near the loan's own, or a cap's."""
    return dice.choice(
        (
            0,
            max(0, curve.rate + dice.randint(-1, 1)),
            amortisation.period_rate(dice.randrange(2 ** dice.randint(1, 24)), per_year),
            amortisation.period_rate_of_effective(dice.choice((0, 1, 150_000, 360_000, 2**32 - 1)), per_year),
        )
    )


def test_every_schedule_is_the_same_on_both_sides(harness: Contract) -> None:
    dice = random.Random(SEED)
    seen: Counter[str] = Counter()
    for i in range(SCHEDULES):
        shape, principal, rate, per_year, n = case = some_loan(dice)
        told = f"seed {SEED}, schedule {i}: schedule, principal, rate, periods per year, n = {case}"
        try:
            theirs = harness.call("curveOf", *case)
        except Reverted as error:
            name, *arguments = error.args
            if name == "InstalmentTooCoarse":
                seen[f"{name} {shape.name}"] += 1
                assert arguments == [principal, rate, n], told
                with pytest.raises(InstalmentTooCoarse):
                    amortisation.curve_of(*case)
            else:
                seen[name] += 1
                assert (name, arguments) == ("TermsOutOfRange", [rate, n]), told
                with pytest.raises(InvalidTerms) as raised:
                    amortisation.curve_of(*case)
                assert not isinstance(raised.value, InstalmentTooCoarse), told
            continue
        seen[shape.name] += 1
        curve = whole = amortisation.curve_of(*case)
        assert astuple(whole) == theirs, told
        # The formulas take the curve of a loan that ended early as well.
        if dice.random() < 0.2:
            curve = replace(whole, total=dice.randint(0, whole.total))

        def same(curve: Curve, ours: int, function: str, *arguments: int, told: str = told) -> None:
            assert ours == harness.call(function, astuple(curve), *arguments), (told, function, arguments)

        for k in (dice.choice((0, 1, n - 1, n, n + 1)), dice.randint(0, n), dice.randint(0, n)):
            same(curve, curve.balance(k), "balance", k)
            due = curve.cumulative(k)
            same(curve, due, "cumulative", k)
            amount = dice.choice(
                (due, max(0, due - 1), due + 1, dice.randint(0, curve.total), curve.total + 1)
            )
            same(curve, curve.covered(amount), "covered", amount)
            length = dice.randint(1, 400 * 86_400)
            elapsed = dice.choice((0, length, dice.randint(0, length)))
            same(curve, curve.accrued(k, elapsed, length), "accrued", k, elapsed, length)
        same(curve, curve.smallest_regular, "smallestRegular")
        r = some_discount(dice, whole, per_year)
        same(whole, whole.worth(r), "worth", r)
    for shape in Schedule:
        assert seen[shape.name] > SCHEDULES / 12, seen
        assert shape is Schedule.BULLET or seen[f"InstalmentTooCoarse {shape.name}"] > 200, seen
    assert seen["TermsOutOfRange"] > 200, seen


@pytest.mark.parametrize("frequency", Frequency)
def test_every_rate_of_a_period_is_the_same_on_both_sides(harness: Contract, frequency: Frequency) -> None:
    dice = random.Random(SEED + 1 + frequency)
    per_year = harness.call("periodsPerYear", frequency)
    assert frequency.periods_per_year == per_year
    # Caps have 32 bits. Those with a root of few digits are where rounding would show.
    exact = (round(((1 + i / 1_000) ** per_year - 1) * 10**6) for i in range(40))
    caps = [0, 1, 2**32 - 1, *(cap for cap in exact if cap < 2**32)]
    caps += [dice.randrange(2 ** dice.randint(1, 32)) for _ in range(2_000)]
    for rate in caps:
        ours = amortisation.period_rate_of_effective(rate, per_year)
        assert ours == harness.call("periodRateOfEffective", rate, per_year), (SEED, rate)
        assert amortisation.period_rate(rate, per_year) == harness.call("periodRate", rate, per_year), rate


def test_every_due_second_is_the_same_on_both_sides(harness: Contract) -> None:
    dice = random.Random(SEED + 10)
    for i in range(DAYS):
        first_due = dice.randrange(100, LATEST_DAY)
        if i % 2:
            # The end of a month, where clamping happens.
            year, month, _ = calendar.civil(first_due)
            first_due = calendar.day_of(year, month, calendar.days_in_month(year, month) - dice.randint(0, 3))
        frequency = dice.choice(tuple(Frequency))
        n = dice.randint(1, MAX_INSTALMENTS)
        k, offset = dice.randint(1, n), dice.randint(-48, 56)
        told = f"seed {SEED + 10}, case {i}: {first_due=}, {frequency=}, {n=}, {k=}, {offset=}"
        due_time = calendar.due_time(first_due, frequency, k, offset)
        assert due_time == harness.call("dueTime", first_due, frequency, k, offset), told
        go_on_from = calendar.due_day_to_go_on_from(first_due, frequency, k)
        assert go_on_from == harness.call("dueDayToGoOnFrom", first_due, frequency, k), told
        due_day = calendar.due_day(first_due, frequency, k)
        assert due_day == calendar.local_day(due_time, offset)
        for day in (due_day - 1, due_day, due_day + 1, dice.randrange(LATEST_DAY)):
            ours = calendar.passed(first_due, frequency, n, day)
            assert ours == harness.call("passed", first_due, frequency, n, day), (told, day)


def test_a_due_day_counts_as_passed_from_the_next_day_on(harness: Contract) -> None:
    # 31 January: the second instalment is due on 28 February.
    case = calendar.day_of(2027, 1, 31), Frequency.MONTHLY, 12
    february = calendar.day_of(2027, 2, 28)
    assert [harness.call("passed", *case, february + i) for i in (-1, 0, 1, 2)] == [1, 1, 2, 2]
    assert [calendar.passed(*case, february + i) for i in (-1, 0, 1, 2)] == [1, 1, 2, 2]
