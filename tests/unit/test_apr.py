"""The annual percentage rates, against what the regulators published and against exact fractions."""

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from duly.domain import apr, calendar, schedule
from duly.domain.apr import Flow, Interval, UnitPeriod
from duly.domain.errors import InvalidFlows
from duly.domain.terms import Frequency, Schedule

MONTH = UnitPeriod(Interval.MONTH)
QUARTER = UnitPeriod(Interval.MONTH, 3)
WEEK = UnitPeriod(Interval.WEEK)


def day(text: str) -> int:
    return calendar.day_of(*map(int, text.split("-")))


def advanced(amount: str, on: str) -> list[Flow]:
    return [Flow(day(on), -cents(amount))]


def cents(amount: str) -> int:
    return int(Decimal(amount) * 100)


def in_months(first: str, *amounts: str, every: int = 1) -> list[Flow]:
    return [
        Flow(calendar.add_months(day(first), every * k), cents(amount)) for k, amount in enumerate(amounts)
    ]


def in_weeks(first: str, *amounts: str, every: int = 1) -> list[Flow]:
    return [Flow(day(first) + 7 * every * k, cents(amount)) for k, amount in enumerate(amounts)]


def twice_a_month(first: str, second: str, *amounts: str) -> list[Flow]:
    return in_months(first, *amounts[::2]) + in_months(second, *amounts[1::2])


# ------------------------------------------------------------------------------------- United States

# Source: Regulation Z, 12 CFR 1026, Appendix J (c). The dates, the rate in per cent, the unit-periods in a
# year, and the whole unit-periods and the fraction of another to the first payment, as published.
REGULATION_Z = {
    "(c)(1)(i) monthly": (
        advanced("5000", "1978-01-10") + in_months("1978-02-10", *["230"] * 24),
        ("9.69", 12, 1, Fraction(0)),
    ),
    "(c)(1)(ii) monthly, long first period": (
        advanced("6000", "1978-02-10") + in_months("1978-04-01", *["200"] * 36),
        ("11.82", 12, 1, Fraction(19, 30)),
    ),
    "(c)(1)(iii) semimonthly, short first period": (
        advanced("5000", "1978-02-23") + twice_a_month("1978-03-01", "1978-03-16", *["219.17"] * 24),
        ("10.34", 24, 0, Fraction(6, 15)),
    ),
    "(c)(1)(iv) quarterly, long first period": (
        advanced("10000", "1978-05-23") + in_months("1978-10-01", *["385"] * 40, every=3),
        ("8.97", 4, 1, Fraction(39, 90)),
    ),
    "(c)(1)(v) weekly, long first period": (
        advanced("500", "1978-03-20") + in_weeks("1978-04-21", *["17.60"] * 30),
        ("14.96", 52, 4, Fraction(4, 7)),
    ),
    "(c)(2)(i) monthly, odd first payment": (
        advanced("5000", "1978-01-10") + in_months("1978-02-10", "250", *["230"] * 23),
        ("10.08", 12, 1, Fraction(0)),
    ),
    "(c)(2)(ii) four-weekly, long first period, odd first payment": (
        advanced("400", "1978-03-18") + in_weeks("1978-04-20", "39.50", *["38.31"] * 11, every=4),
        ("28.50", 13, 1, Fraction(5, 28)),
    ),
    "(c)(3)(i) monthly, odd final payment": (
        advanced("5000", "1978-01-10") + in_months("1978-02-10", *["230"] * 23, "280"),
        ("10.50", 12, 1, Fraction(0)),
    ),
    "(c)(3)(ii) fortnightly, short first period, odd final payment": (
        advanced("200", "1978-04-03") + in_weeks("1978-04-11", *["9.50"] * 19, "30", every=2),
        ("12.22", 26, 0, Fraction(8, 14)),
    ),
    "(c)(4)(i) monthly, odd first and final payment": (
        advanced("5000", "1978-01-10") + in_months("1978-02-10", "250", *["230"] * 22, "280"),
        ("10.90", 12, 1, Fraction(0)),
    ),
    "(c)(4)(ii) two-monthly, short first period, odd first and final payment": (
        advanced("8000", "1978-01-10") + in_months("1978-03-01", "449.36", *["465"] * 18, "200", every=2),
        ("7.30", 6, 0, Fraction(52, 60)),
    ),
}


@pytest.mark.parametrize(("flows", "published"), REGULATION_Z.values(), ids=REGULATION_Z.keys())
def test_regulation_z_appendix_j(flows: list[Flow], published: tuple[str, int, int, Fraction]) -> None:
    rate, per_year, whole, fraction = published
    cost = apr.of_flows(flows)
    assert apr.rounded(cost.apr) == Decimal(rate)
    assert cost.unit_period.per_year == per_year
    first = apr.Span(flows[0].day, flows[1].day, date=1)
    assert first.in_unit_periods(cost.unit_period) == (whole, fraction)


def test_regulation_z_appendix_j_single_payment() -> None:
    """(c)(5)(i): 1000 on 3 January 1978, 1080 on 15 September: 255 days, 11.45 %."""
    cost = apr.of_flows(advanced("1000", "1978-01-03") + in_months("1978-09-15", "1080"))
    assert cost.unit_period == UnitPeriod(Interval.DAY, 255)
    assert apr.rounded(cost.apr) == Decimal("11.45")


# ------------------------------------------------------------------------------------- European Union

FEE = [Flow(day("2024-01-15"), 400_000)]
HOUSE = advanced("200000", "2024-01-15") + FEE
# Source: Directive 98/7/EC, Annex II, whose equation Directive 2008/48/EC, Annex I, keeps, and the European
# Commission's examples on Directives 2008/48/EC and 2014/17/EU. The rate in per cent, as published.
EUROPEAN_UNION = {
    "1000 repaid with 600 after one year and after two": (
        advanced("1000", "2024-01-15") + in_months("2025-01-15", "600", "600", every=12),
        "13.07",
    ),
    "1000 repaid with 272, 272 and 544 after 3, 6 and 12 months": (
        advanced("1000", "2024-01-15")
        + in_months("2024-04-15", "272", "272", every=3)
        + in_months("2025-01-15", "544"),
        "13.19",
    ),
    "200000, a fee of 4000, 240 monthly payments": (
        HOUSE + in_months("2024-02-15", *["1432.86"] * 240),
        "6.434412",
    ),
    "the same, with 100 at the end": (
        HOUSE + in_months("2024-02-15", *["1432.86"] * 240) + in_months("2044-01-15", "100"),
        "6.436359",
    ),
    "200000, a fee of 4000, 180 monthly payments, the rest after 15 years": (
        HOUSE + in_months("2024-02-15", *["1199.10"] * 180) + in_months("2039-01-15", "142097.69"),
        "6.409523",
    ),
    "200000, a fee of 4000, 240 months of interest, the principal after 20 years": (
        HOUSE + in_months("2024-02-15", *["1166.67"] * 240) + in_months("2044-01-15", "200000"),
        "7.430479",
    ),
    "10000, 60 monthly payments": (
        advanced("10000", "2024-01-15") + in_months("2024-02-15", *["222.44"] * 60),
        "12.7",
    ),
}


@pytest.mark.parametrize(("flows", "published"), EUROPEAN_UNION.values(), ids=EUROPEAN_UNION.keys())
def test_european_union_examples(flows: list[Flow], published: str) -> None:
    rate = Decimal(published)
    places = -int(rate.as_tuple().exponent)
    assert apr.rounded(apr.of_flows(flows).aprc, places) == rate


def test_european_union_example_counted_in_days() -> None:
    """1000 repaid with 1200 after 546 of 365 days: 12.96 %. Source: Directive 98/7/EC, Annex II, first
    example.
    """
    rate = apr.effective_rate([(Fraction(0), -1000), (Fraction(546, 365), 1200)])
    assert apr.rounded(rate) == Decimal("12.96")


# ------------------------------------------------------------------------------------- published schedules

# Source: the tests of an open-source core-banking system, whose rows `test_amortisation` has. The rate in per
# cent that each was made with.
PUBLISHED_SCHEDULES = {
    "G1: 100 monthly": (
        advanced("100", "2026-01-15") + in_months("2026-02-15", *["17.13"] * 6),
        "9.4822",
    ),
    "G3: 1000 semimonthly": (
        advanced("1000", "2026-01-01") + twice_a_month("2026-01-16", "2026-02-01", *["256.28"] * 3, "256.29"),
        "24",
    ),
    "G4: 75 monthly": (
        advanced("75", "2026-01-15") + in_months("2026-02-15", *["12.87"] * 5, "12.85"),
        "9.99",
    ),
}


@pytest.mark.parametrize(("flows", "rate"), PUBLISHED_SCHEDULES.values(), ids=PUBLISHED_SCHEDULES.keys())
def test_a_published_schedule_has_the_rate_it_was_made_with(flows: list[Flow], rate: str) -> None:
    """As near as cents can tell it."""
    advance, *payments = flows
    less, more = (
        apr.of_flows([advance, *(Flow(flow.day, flow.amount + cent) for flow in payments)]).apr
        for cent in (-1, 1)
    )
    assert less < Decimal(rate) < more
    assert more - less < 1


# ------------------------------------------------------------------------------------- what it costs


def test_what_is_paid_at_once_is_a_prepaid_finance_charge() -> None:
    cost = apr.of_flows(HOUSE + in_months("2024-02-15", *["1432.86"] * 240))
    assert cost.amount_financed == 19_600_000
    assert cost.total_of_payments == 240 * 143_286
    assert cost.finance_charge == 240 * 143_286 - 19_600_000


def test_credit_that_costs_nothing_has_rate_zero() -> None:
    cost = apr.of_schedule(day("2026-01-31"), 1200, [(day("2026-02-28"), 600), (day("2026-03-31"), 600)])
    assert (cost.apr, cost.aprc, cost.finance_charge) == (0, 0, 0)


def test_a_schedule_is_its_flows() -> None:
    instalments = [(day("2026-02-15"), 5_100), (day("2026-03-15"), 5_100)]
    flows = [Flow(day("2026-01-15"), -10_000), *(Flow(*instalment) for instalment in instalments)]
    assert apr.of_schedule(day("2026-01-15"), 10_000, instalments) == apr.of_flows(reversed(flows))


def test_rates_are_rounded_half_up() -> None:
    assert apr.rounded(Decimal("12.345")) == Decimal("12.35")
    assert apr.rounded(Decimal("12.3449999999")) == Decimal("12.34")
    assert apr.rounded(Decimal("12.65"), 1) == Decimal("12.7")


@pytest.mark.parametrize(
    ("flows", "wrong"),
    [
        ([], "nothing is advanced"),
        ([Flow(0, 100)], "nothing is advanced"),
        ([Flow(0, 0), Flow(30, 100)], "nothing is advanced"),
        ([Flow(0, -100)], "payments of 0 smallest units do not repay advances of 100"),
        ([Flow(0, -100), Flow(30, 99)], "payments of 99 smallest units do not repay advances of 100"),
        ([Flow(0, 10), Flow(1, -100), Flow(30, 100)], "a payment on 1970-01-01 comes before the first"),
        ([Flow(0, -100), Flow(0, 100)], "what is advanced on 1970-01-01 is all paid back"),
        ([Flow(0, -100), Flow(0, 110), Flow(9, 1)], "what is advanced on 1970-01-01 is all paid back"),
        ([Flow(0, -1), Flow(1, 10**7)], "no annual rate that means anything"),
        ([Flow(0, -1), Flow(365, 10**30)], "no annual rate that means anything"),
    ],
)
def test_flows_that_no_rate_explains(flows: list[Flow], wrong: str) -> None:
    with pytest.raises(InvalidFlows, match=f"^{wrong}"):
        apr.of_flows(flows)


def test_of_several_rates_that_solve_the_equations_the_lowest_is_meant() -> None:
    """1 - 3.6 v + 4.31 v^2 - 1.716 v^3 = (1 - 1.1 v) (1 - 1.2 v) (1 - 1.3 v)."""
    flows = in_months("2024-01-01", "-1000", "3600", "-4310", "1716", every=12)
    assert apr.of_flows(flows).apr == apr.of_flows(flows).aprc == 10


# ------------------------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("advances", "payments", "expected"),
    [
        ("2026-01-31", "2026-02-28 2026-03-31 2026-04-30", MONTH),
        ("2026-01-15", "2026-01-30 2026-02-28 2026-03-30", MONTH),
        ("2026-01-15", "2026-01-31 2026-02-15 2026-02-28 2026-03-15", apr.SEMIMONTH),
        ("2026-02-01", "2026-02-15 2026-03-01 2026-03-15 2026-03-29", UnitPeriod(Interval.WEEK, 2)),
        ("2026-02-01", "2026-03-01 2026-03-29", UnitPeriod(Interval.WEEK, 4)),
        ("2026-01-01", "2026-02-01 2026-03-01", MONTH),
        ("2026-01-01", "2027-01-01 2028-01-01", apr.YEAR),
        ("2026-01-01", "2026-01-02 2026-01-03 2026-01-04", apr.DAY),
        # Two common periods that occur as often: the shorter.
        ("2026-01-10", "2026-02-10 2026-03-10 2026-06-10 2026-09-10", MONTH),
        # None is common: one month and two; nearest to the average, of two as near the lower.
        ("2026-01-01", "2026-02-01 2026-04-01", MONTH),
        # 45 days and 30 on average: 37.5 days, nearer to five weeks than to a month.
        ("2026-01-01", "2026-02-15 2026-03-17", UnitPeriod(Interval.WEEK, 5)),
        # Never more than a year.
        ("2026-01-01", "2028-01-01 2031-01-01", apr.YEAR),
        # One advance and one payment: the term.
        ("2026-01-31", "2026-02-28", MONTH),
        ("2026-01-10", "2026-06-10", UnitPeriod(Interval.MONTH, 5)),
        ("2026-01-10", "2026-06-11", UnitPeriod(Interval.DAY, 152)),
        ("2026-01-10", "2027-01-10", apr.YEAR),
        ("2026-01-10", "2029-05-20", apr.YEAR),
    ],
)
def test_the_unit_period(advances: str, payments: str, expected: UnitPeriod) -> None:
    """Source: Regulation Z, Appendix J (b)(4)."""
    assert apr.unit_period([day(advances)], [day(on) for on in payments.split()]) == expected


@pytest.mark.parametrize(
    ("start", "end", "unit", "expected"),
    [
        ("2026-01-01", "2026-01-31", MONTH, (1, Fraction(0))),  # 30 days, and a month is 30 days
        ("2026-01-31", "2026-03-01", MONTH, (1, Fraction(1, 30))),  # back to 1 February, then one day
        ("2024-02-29", "2026-02-28", apr.YEAR, (1, Fraction(365, 365))),
        ("2024-03-10", "2026-06-10", apr.YEAR, (2, Fraction(3, 12))),
        ("2024-03-09", "2026-06-10", apr.YEAR, (2, Fraction(93, 365))),
        ("2026-01-01", "2026-02-01", UnitPeriod(Interval.DAY), (31, Fraction(0))),
    ],
)
def test_unit_periods_between_days(
    start: str, end: str, unit: UnitPeriod, expected: tuple[int, Fraction]
) -> None:
    """Source: Regulation Z, Appendix J (b)(5)."""
    assert apr.Span(day(start), day(end), date=1).in_unit_periods(unit) == expected


@pytest.mark.parametrize(
    ("start", "end", "unit", "expected"),
    [
        ("2023-01-12", "2023-07-12", MONTH, Fraction(6, 12)),
        ("2023-01-12", "2023-07-20", MONTH, Fraction(6, 12) + Fraction(8, 365)),
        # The days are the first ones, and lie in a year that ends on 20 March 2024, so with a 29 February.
        ("2024-03-12", "2024-07-20", MONTH, Fraction(4, 12) + Fraction(8, 366)),
        # That ends on 20 January 2024, so without.
        ("2024-01-12", "2024-07-20", MONTH, Fraction(6, 12) + Fraction(8, 365)),
        ("2024-01-12", "2024-02-13", WEEK, Fraction(4, 52) + Fraction(4, 365)),
        ("2024-01-12", "2024-02-09", UnitPeriod(Interval.DAY, 28), Fraction(4, 52)),
        ("2024-01-31", "2025-01-31", MONTH, Fraction(1)),
    ],
)
def test_years_between_days(start: str, end: str, unit: UnitPeriod, expected: Fraction) -> None:
    """Whole periods are counted back from the payment; the days before them are part of the year that ends
    with the last of those. Source: Directive 2014/17/EU, Annex I, remark (c).
    """
    assert apr.Span(day(start), day(end), date=1).in_years(unit) == expected


# ------------------------------------------------------------------------------------- properties

DAYS = st.integers(0, 50_000)
RATES = st.integers(0, 2_000_000)
LARGE = 10**20
"""A principal so large that rounding to the unit tells nothing."""


def close(ours: Decimal, exact: Fraction, tolerance: str) -> bool:
    return abs(Fraction(ours) - exact) <= Fraction(tolerance) * max(1, exact)


@given(DAYS, RATES, st.integers(1, 60), st.sampled_from(Schedule), st.sampled_from(Frequency))
def test_a_loan_without_fees_has_its_own_rate(
    first_due: int, rate: int, n: int, kind: Schedule, frequency: Frequency
) -> None:
    """As long as a bullet, with its simple interest, is due within a year."""
    assume(rate * n <= 4_000_000 * frequency.periods_per_year)
    if kind == Schedule.BULLET or n == 1:
        # A single payment's unit-period is a number of days, of which a year has 365 and not 364.
        assume(n < frequency.periods_per_year and frequency in (Frequency.MONTHLY, Frequency.QUARTERLY))
    assume(kind != Schedule.INTEREST_ONLY or rate > 0 or n == 1)
    opened = calendar.add_periods(first_due, frequency, -1)
    rows = schedule.rows(LARGE, rate, n, first_due, schedule=kind, frequency=frequency)
    cost = apr.of_schedule(opened, LARGE, [(row.due_day, row.amount) for row in rows])
    assert close(cost.apr, Fraction(rate, 10_000), "1e-9")


@given(
    DAYS,
    st.lists(st.integers(100, 10**6), min_size=2, max_size=40),
    st.sampled_from(Frequency),
    st.fractions(Fraction(1, 2), 1, max_denominator=1000),
)
def test_regular_payments_have_an_aprc_that_is_their_apr_compounded(
    opened: int, payments: list[int], frequency: Frequency, share: Fraction
) -> None:
    received = int(sum(payments) * share)
    rows = [
        (calendar.add_periods(opened, frequency, k), amount) for k, amount in enumerate(payments, start=1)
    ]
    assume(apr.unit_period([opened], [on for on, _ in rows]).per_year == frequency.periods_per_year)
    cost = apr.of_schedule(opened, received, rows)
    per_year = frequency.periods_per_year
    compounded = (1 + Fraction(cost.apr) / 100 / per_year) ** per_year
    # The APR is known to ten decimals, and compounding multiplies what is unknown of it.
    assert close(cost.aprc, 100 * (compounded - 1), "1e-8")


@st.composite
def irregular_flows(draw: st.DrawFn) -> list[Flow]:
    """One advance, and payments on any days after it, of as much to twice as much."""
    start = draw(DAYS)
    later = st.tuples(st.integers(start + 10, start + 4000), st.integers(100, 10**9))
    payments = [Flow(*flow) for flow in draw(st.lists(later, min_size=1, max_size=12))]
    most = sum(flow.amount for flow in payments)
    return [Flow(start, -draw(st.integers(most // 2, most))), *payments]


@given(irregular_flows())
def test_the_apr_solves_the_general_equation(flows: list[Flow]) -> None:
    """In exact fractions: just below it payments are worth more than the advance, just above it less."""
    cost = apr.of_flows(flows)
    start, *payments = flows
    dates = [calendar.civil(flow.day)[2] for flow in (flows if len(payments) == 1 else payments)]
    since = [apr.Span(start.day, flow.day, max(dates)).in_unit_periods(cost.unit_period) for flow in payments]

    def worth(rate: Fraction) -> Fraction:
        i = rate / 100 / cost.unit_period.per_year
        return sum(
            (
                flow.amount / ((1 + f * i) * (1 + i) ** t)
                for (t, f), flow in zip(since, payments, strict=True)
            ),
            Fraction(start.amount),
        )

    about = Fraction(1, 10**10)
    assert worth(Fraction(cost.apr) + about) <= 0
    assert cost.apr == 0 or worth(Fraction(cost.apr) - about) >= 0


@given(irregular_flows(), st.randoms(use_true_random=False), st.integers(2, 1000))
def test_neither_order_nor_unit_of_money_matter(flows: list[Flow], random: Random, times: int) -> None:
    cost = apr.of_flows(flows)
    shuffled = [Flow(flow.day, flow.amount * times) for flow in flows]
    random.shuffle(shuffled)
    same = apr.of_flows(shuffled)
    assert (same.apr, same.aprc, same.unit_period) == (cost.apr, cost.aprc, cost.unit_period)
    assert same.finance_charge == times * cost.finance_charge


@given(irregular_flows(), st.integers(1, 10**6))
def test_a_fee_makes_credit_dearer(flows: list[Flow], fee: int) -> None:
    assume(2 * fee < -flows[0].amount)
    cost, dearer = apr.of_flows(flows), apr.of_flows([*flows, Flow(flows[0].day, fee)])
    assert dearer.finance_charge == cost.finance_charge + fee
    assert dearer.apr > cost.apr
    assert dearer.aprc > cost.aprc
