"""Schedules against published numbers, and against exact fractions over the whole range."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from duly.domain import amortisation
from duly.domain.amortisation import GUARD, RAY, Curve, curve_of
from duly.domain.errors import InstalmentTooCoarse, InvalidTerms
from duly.domain.terms import MAX_INSTALMENTS, MAX_RATE, MAX_RATE_YEARS, Frequency, Schedule

LEVEL, EQUAL_PRINCIPAL, INTEREST_ONLY, BULLET = Schedule
MAX_PRINCIPAL = 2**88 - 1


def level(principal: int, rate: int, n: int) -> Curve:
    """A level monthly schedule."""
    return curve_of(LEVEL, principal, rate, 12, n)


# -------------------------------------------------------------------------------- published schedules

# Source: the tests of an open-source core-banking system. Rows of payment, interest, principal and balance in
# cents, each rounded half to even; the last row absorbs what is left.
G1 = [
    (1713, 79, 1634, 8366),
    (1713, 66, 1647, 6719),
    (1713, 53, 1660, 5059),
    (1713, 40, 1673, 3386),
    (1713, 27, 1686, 1700),
    (1713, 13, 1700, 0),
]
G3 = [
    (25628, 1000, 24628, 75372),
    (25628, 754, 24874, 50498),
    (25628, 505, 25123, 25375),
    (25629, 254, 25375, 0),
]
G4 = [
    (1287, 62, 1225, 6275),
    (1287, 52, 1235, 5040),
    (1287, 42, 1245, 3795),
    (1287, 32, 1255, 2540),
    (1287, 21, 1266, 1274),
    (1285, 11, 1274, 0),
]


@pytest.mark.parametrize(
    ("principal", "rate", "periods_per_year", "published"),
    [(10_000, 94_822, 12, G1), (100_000, 240_000, 24, G3)],
    ids=["G1: 100 at 9.4822 % monthly", "G3: 1000 at 24 % semi-monthly"],
)
def test_schedules_that_round_otherwise_stay_near(
    principal: int, rate: int, periods_per_year: int, published: list[tuple[int, int, int, int]]
) -> None:
    n = len(published)
    rows = list(curve_of(LEVEL, principal, rate, periods_per_year, n).parts())
    q = (1 + Fraction(rate, 1_000_000 * periods_per_year)) ** n
    unrounded = principal * Fraction(rate, 1_000_000 * periods_per_year) * q / (q - 1)
    assert round(unrounded) == published[0][0]
    assert rows[0].amount - 1 < unrounded <= rows[0].amount
    for row, (_, _, _, balance) in zip(rows, published, strict=True):
        assert abs(row.balance - balance) <= row.k + 1
    assert rows[-1].balance == 0


def test_a_published_schedule_within_a_cent_a_row() -> None:
    """G4: 75 at 9.99 %, six monthly instalments. Source: the tests of an open-source core-banking system."""
    for row, published in zip(level(7_500, 99_900, 6).parts(), G4, strict=True):
        ours = (row.amount, row.interest, row.principal, row.balance)
        assert all(abs(figure - theirs) <= 1 for figure, theirs in zip(ours, published, strict=True))


def test_the_instalment_of_a_published_loan() -> None:
    """10000 at 11.22 % over 36 months: 328.43. Source: half of the first row of LendingClub's published loan
    book.
    """
    assert level(2_000_000, 112_200, 36).instalment == 65_686
    assert level(1_000_000, 112_200, 36).instalment == 32_843


def test_the_instalments_of_published_mortgages() -> None:
    """200000 over 20 years: 1432.86 a month at 6 %, and 1166.67 at 7 % where the principal is repaid at the
    end. Source: the European Commission's examples of the annual percentage rate of charge, which round to
    the nearest cent.
    """
    repaid = curve_of(LEVEL, 20_000_000, 60_000, 12, 240)
    assert repaid.instalment - 143_286 in (0, 1)
    interest_only = curve_of(INTEREST_ONLY, 20_000_000, 70_000, 12, 240)
    assert interest_only.instalment == 116_667
    assert interest_only.total == 240 * 116_667 + 20_000_000


# -------------------------------------------------------------------------------- LEDGER-1


@st.composite
def loans(draw: st.DrawFn, most: int = MAX_PRINCIPAL) -> tuple[Schedule, int, int, int, int]:
    """Schedule, principal, rate, periods per year and number of instalments, anywhere in the range."""
    per_year = draw(st.sampled_from(Frequency)).periods_per_year
    n = draw(st.one_of(st.integers(1, 60), st.integers(1, MAX_INSTALMENTS)))
    top = min(MAX_RATE, MAX_RATE_YEARS * per_year * 1_000_000 // n)
    rate = draw(st.one_of(st.integers(0, min(top, 1_000_000)), st.integers(0, top), st.just(top)))
    principal = draw(st.one_of(st.integers(1, 10**4), st.integers(1, 10**10), st.integers(1, most)))
    return draw(st.sampled_from(Schedule)), principal, rate, per_year, n


def made(loan: tuple[Schedule, int, int, int, int]) -> Curve:
    try:
        return curve_of(*loan)
    except InstalmentTooCoarse:
        assume(False)
        raise


@given(loans())
def test_ledger_1_principal_parts_sum_to_the_principal(loan: tuple[Schedule, int, int, int, int]) -> None:
    curve = made(loan)
    shape, principal, _, _, n = loan
    rows = list(curve.parts())
    assert [row.k for row in rows] == ([n] if shape is BULLET else list(range(1, n + 1)))
    assert sum(row.principal for row in rows) == principal
    assert sum(row.amount for row in rows) == curve.total == curve.cumulative(n)
    assert all(row.principal >= 0 and row.interest >= 0 and row.amount > 0 for row in rows)
    assert rows[-1].balance == 0


@given(loans(most=10**15))
def test_instalments_have_the_shape_that_was_agreed_on(loan: tuple[Schedule, int, int, int, int]) -> None:
    curve = made(loan)
    shape, principal, _, _, _ = loan
    *regular, last = curve.parts()
    match shape:
        case Schedule.LEVEL:
            assert {row.amount for row in regular} <= {curve.instalment}
            # One rounding up in the instalment, one in its interest.
            assert last.amount <= curve.instalment + 1
        case Schedule.EQUAL_PRINCIPAL:
            assert {row.principal for row in regular} <= {curve.instalment}
            assert 0 < last.principal <= curve.instalment
            amounts = [row.amount for row in (*regular, last)]
            assert all(later <= earlier + 1 for earlier, later in pairwise(amounts))
        case Schedule.INTEREST_ONLY:
            assert {(row.amount, row.principal) for row in regular} <= {(curve.instalment, 0)}
            assert last.principal == principal
        case Schedule.BULLET:
            assert not regular
            assert last.amount == curve.instalment


@given(loans(), st.data())
def test_covered_is_the_inverse_of_cumulative(
    loan: tuple[Schedule, int, int, int, int], data: st.DataObject
) -> None:
    curve = made(loan)
    n = curve.instalments
    k = data.draw(st.integers(0, n))
    amount = curve.cumulative(k) + data.draw(st.integers(-1, 1))
    found = curve.covered(max(0, amount))
    assert 0 <= found <= n
    if amount >= 0:
        assert curve.cumulative(found) <= amount
    if found < n - 1:
        assert curve.cumulative(found + 1) > amount


@given(loans())
def test_the_smallest_regular_instalment_is_the_smallest_but_the_last(
    loan: tuple[Schedule, int, int, int, int],
) -> None:
    curve = made(loan)
    amounts = [row.amount for row in curve.parts()]
    if curve.instalments == 1 or curve.schedule is BULLET:
        assert curve.smallest_regular == amounts[0]
    else:
        assert min(amounts[:-1]) - 1 <= curve.smallest_regular <= min(amounts[:-1])


@given(st.integers(RAY, RAY + RAY // 12), st.integers(0, 60))
def test_powers_are_exact_to_a_few_units(x: int, n: int) -> None:
    exact = Fraction(x, RAY) ** n
    assert abs(amortisation.power(x, n) - exact * RAY) <= 4 * (n + 1) * max(1, exact)


@given(loans(most=10**15), st.data())
def test_balances_are_those_of_the_formula(
    loan: tuple[Schedule, int, int, int, int], data: st.DataObject
) -> None:
    _, principal, rate, per_year, n = loan
    curve = made((LEVEL, principal, rate, per_year, n))
    assume(curve.rate > 0)
    r = Fraction(curve.rate, RAY)
    assume((1 + r) ** n < 10**4)
    k = data.draw(st.integers(0, n - 1))
    qk = (1 + r) ** k
    exact = principal * qk - curve.instalment * (qk - 1) / r
    assert abs(curve.balance(k) - max(0, exact)) <= 1 + Fraction(1, GUARD // 10)


def test_interest_by_the_second_meets_interest_by_the_period() -> None:
    for shape in Schedule:
        curve = curve_of(shape, 1_000_000, 112_200, 12, 36)
        for k in (0, 1, 35):
            whole = curve.accrued(k, 86_400, 86_400)
            periods = k + 1 if shape is BULLET else 1
            assert whole == amortisation.interest(curve.balance(k) * periods, curve.rate)
            assert curve.accrued(k, 43_200, 86_400) == pytest.approx(whole - whole / periods / 2, abs=1)


# -------------------------------------------------------------------------------- range


def test_at_rate_zero_the_principal_is_divided() -> None:
    for shape in (LEVEL, EQUAL_PRINCIPAL):
        rows = list(curve_of(shape, 1_000, 0, 12, 3).parts())
        assert [row.amount for row in rows] == [334, 334, 332]
        assert [row.interest for row in rows] == [0, 0, 0]


@pytest.mark.parametrize("shape", Schedule)
def test_a_single_instalment_bears_one_period_of_interest(shape: Schedule) -> None:
    curve = curve_of(shape, 100_000, 120_000, 12, 1)
    assert (curve.total, curve.cumulative(1), curve.balance(0)) == (101_000, 101_000, 100_000)


def test_a_bullet_bears_no_interest_on_interest() -> None:
    assert curve_of(BULLET, 100_000, 120_000, 12, 24).total == 124_000


@pytest.mark.parametrize(
    "loan",
    [
        (LEVEL, 5, 112_200, 12, 36),
        (LEVEL, 10, 0, 12, 6),
        (LEVEL, 35, 0, 12, 36),
        (EQUAL_PRINCIPAL, 10, 0, 12, 6),
        (EQUAL_PRINCIPAL, 10, 500_000, 12, 6),
        (INTEREST_ONLY, 10**9, 0, 12, 2),
    ],
)
def test_refuses_instalments_that_rounding_would_leave_empty(
    loan: tuple[Schedule, int, int, int, int],
) -> None:
    with pytest.raises(InstalmentTooCoarse):
        curve_of(*loan)


@pytest.mark.parametrize("shape", Schedule)
@pytest.mark.parametrize(
    ("rate", "n"), [(0, 0), (0, 601), (-1, 12), (10_000_001, 1), (10_000_000, 20), (320_001, 600)]
)
def test_refuses_what_the_formulas_are_not_proven_for(shape: Schedule, rate: int, n: int) -> None:
    with pytest.raises(InvalidTerms, match="wanted"):
        curve_of(shape, 10**9, rate, 12, n)


@pytest.mark.parametrize("shape", Schedule)
@pytest.mark.parametrize(("rate", "n"), [(10_000_000, 19), (320_000, 600)])
def test_the_range_includes_its_ends(shape: Schedule, rate: int, n: int) -> None:
    assert curve_of(shape, 10**12, rate, 12, n).total > 10**12


# -------------------------------------------------------------------------------- present value


@given(loans(most=2**80), st.integers(0, 2_000_000))
def test_usury_1_the_worth_is_never_less_than_it_is_and_hardly_more(
    loan: tuple[Schedule, int, int, int, int], cap: int
) -> None:
    *_, per_year, n = loan
    assume(n <= 120)
    curve = made(loan)
    r = amortisation.period_rate(cap, per_year)
    if curve.schedule is EQUAL_PRINCIPAL and 0 < r <= curve.rate:
        # Discounted at less than its own rate a loan is worth more than anybody receives, which will do.
        assert curve.worth(r) > curve.principal
        return
    exact = sum(row.amount / (1 + Fraction(r, RAY)) ** row.k for row in curve.parts())
    assert exact <= curve.worth(r) <= exact + 3 + curve.principal // 10**15


# Source: Regulation Z (12 CFR 1026), Appendix J, examples with a regular first period: advance, instalment,
# sum of all instalments, their number, annual percentage rate in hundredths of a per cent, as printed.
REGULATION_Z = [
    (500_000, 23_000, 24 * 23_000, 24, 969),  # (c)(1)(i)
    (500_000, 23_000, 23 * 23_000 + 28_000, 24, 1_050),  # (c)(3)(i)
]


@pytest.mark.parametrize(("advance", "instalment", "total", "n", "apr"), REGULATION_Z)
def test_usury_1_the_worth_meets_what_is_lent_at_published_rates(
    advance: int, instalment: int, total: int, n: int, apr: int
) -> None:
    payments = Curve(LEVEL, advance, 0, n, instalment, total)
    below, above = (amortisation.period_rate(100 * apr + ppm, 12) for ppm in (-50, 50))
    assert payments.worth(above) <= advance < payments.worth(below)


def test_the_rate_of_a_period_that_compounds_to_a_published_one() -> None:
    root = amortisation.period_rate_of_effective
    assert [root(0, n) for n in (4, 12, 52)] == [0, 0, 0]
    # Exact roots: 1.1 to the 4th is 1.4641, 2 to the 12th is 4096.
    assert root(464_100, 4) == RAY // 10
    assert root(4_095_000_000, 12) == RAY
    # 1 % a month compounds to 12.682503013 % a year.
    assert root(126_825, 12) < RAY // 100 < root(126_826, 12)


@given(st.integers(0, 2**32 - 1), st.sampled_from(Frequency))
def test_the_rate_of_a_period_compounds_to_no_more_than_the_cap(cap: int, frequency: Frequency) -> None:
    n = frequency.periods_per_year
    r = amortisation.period_rate_of_effective(cap, n)
    assert r % 10**15 == 0
    bound = 1 + Fraction(cap, 10**6)
    assert (1 + Fraction(r, RAY) - Fraction(1, 10**16)) ** n <= bound
    assert (1 + Fraction(r + 10**15, RAY) - Fraction(1, 10**16)) ** n > bound
