"""What terms must keep to, before they become a loan."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from duly.domain import calendar, lending
from duly.domain.amortisation import RAY
from duly.domain.calendar import DAY
from duly.domain.errors import (
    AmountTooLarge,
    AprAboveCap,
    FirstDueTooEarly,
    FirstDueTooLate,
    GraceTooShort,
    InstalmentTooCoarse,
    LateFeeAboveCap,
)
from duly.domain.policy import AprConvention, LendingLimits
from duly.domain.terms import Frequency, Schedule, Terms

TODAY = 20_800
NOW = TODAY * DAY + 43_200
NOMINAL, EFFECTIVE = AprConvention

TERMS = Terms(
    lender="0x" + "a1" * 20,
    borrower="0x" + "b2" * 20,
    principal=1_000_000,
    late_fee=1_000,
    rate=112_200,
    instalments=36,
    first_due=calendar.add_months(TODAY, 1),
    grace_days=10,
    policy=1,
    expires=2**40 - 1,
)
LIMITS = LendingLimits(240_000, NOMINAL, 500, 3, 14, 90)


def capped(cap: int, convention: AprConvention = NOMINAL) -> LendingLimits:
    return replace(LIMITS, apr_cap=cap, apr_convention=convention)


def admitted(terms: Terms, limits: LendingLimits) -> bool:
    try:
        lending.admit(terms, limits, NOW)
    except AprAboveCap:
        return False
    return True


def test_tells_the_schedule_of_terms_that_may_become_a_loan() -> None:
    curve = lending.admit(TERMS, LIMITS, NOW)
    assert (curve.instalment, curve.total) == (32_843, 1_182_348)


# -------------------------------------------------------------------------------- USURY-1


def test_usury_1_the_refusal_tells_what_is_paid_and_what_is_received() -> None:
    terms = replace(TERMS, origination_fee=20_000)
    with pytest.raises(AprAboveCap) as raised:
        lending.admit(terms, capped(120_000), NOW)
    worth = lending.curve_of(terms).worth(RAY // 100)
    told = str(raised.value)
    assert "12 % (nominal)" in told
    assert f"worth {worth} smallest units" in told
    assert "receives 980000" in told
    assert raised.value.remedy == "Lower the rate or the origination fee."


@pytest.mark.parametrize("frequency", Frequency)
@pytest.mark.parametrize("shape", Schedule)
def test_usury_1_without_a_fee_the_rate_itself_is_held_to_the_cap(
    shape: Schedule, frequency: Frequency
) -> None:
    terms = replace(TERMS, schedule=shape, frequency=frequency, principal=10**9, first_due=TODAY + 92)
    cap = 112_200
    if shape is Schedule.BULLET:
        # No interest on interest, so that the rate may be higher than the cap. Not for a single period.
        assert admitted(terms, capped(cap))
        terms = replace(terms, instalments=1)
    assert not admitted(terms, capped(cap - 10))
    assert admitted(terms, capped(cap + 10))


def test_usury_1_a_level_loan_at_the_cap_is_refused_as_its_instalment_is_rounded_up() -> None:
    assert not admitted(replace(TERMS, rate=240_000), LIMITS)
    assert admitted(replace(TERMS, rate=239_980), LIMITS)


def test_usury_1_an_origination_fee_counts() -> None:
    """At 11.22 % for three years a fee of 2 % raises the annual percentage rate by some 1.4 points."""
    terms = replace(TERMS, origination_fee=20_000)
    assert not admitted(terms, capped(125_000))
    assert admitted(terms, capped(128_000))


def test_usury_1_a_single_instalment_may_reach_the_cap_to_the_unit() -> None:
    # 1010.00 after a month at 2 %: worth 990.196, rounded up.
    single = replace(TERMS, principal=100_000, rate=120_000, instalments=1, late_fee=0)
    assert admitted(replace(single, origination_fee=980), capped(240_000))
    assert not admitted(replace(single, origination_fee=981), capped(240_000))


def test_usury_1_nothing_may_be_charged_where_the_cap_is_zero() -> None:
    free = replace(TERMS, rate=0)
    assert admitted(free, capped(0))
    assert not admitted(replace(free, origination_fee=1), capped(0))
    assert not admitted(replace(free, rate=1, principal=10**9), capped(0))


# Source: the European Commission's examples of the annual percentage rate of charge: 200000 less a fee of
# 4000, over 240 months. The published rate, in per cent, of instalments rounded to the nearest cent.
MORTGAGES = [
    (Schedule.LEVEL, 60_000, "6.434412"),  # 1432.86 a month
    (Schedule.INTEREST_ONLY, 70_000, "7.430479"),  # 1166.67 a month, and the principal with the last
]


@pytest.mark.parametrize(("shape", "rate", "published"), MORTGAGES)
def test_usury_1_published_rates_are_where_admission_ends(shape: Schedule, rate: int, published: str) -> None:
    terms = replace(
        TERMS, schedule=shape, rate=rate, principal=20_000_000, origination_fee=400_000, instalments=240
    )
    ppm = Fraction(published) * 10_000
    # The ledger rounds the instalment up, which is worth less than ten parts per million.
    assert not admitted(terms, capped(int(ppm), EFFECTIVE))
    assert admitted(terms, capped(int(ppm) + 10, EFFECTIVE))


@st.composite
def some_terms(draw: st.DrawFn) -> Terms:
    principal = draw(st.integers(1, 10**15))
    return replace(
        TERMS,
        principal=principal,
        origination_fee=draw(st.one_of(st.just(0), st.integers(0, principal - 1))),
        late_fee=0,
        rate=draw(st.integers(0, 1_000_000)),
        instalments=draw(st.integers(1, 60)),
        schedule=draw(st.sampled_from(Schedule)),
        frequency=draw(st.sampled_from(Frequency)),
        first_due=TODAY + draw(st.integers(92, 300)),
    )


@given(some_terms(), st.sampled_from(AprConvention), st.integers(0, 2_000_000))
def test_usury_1_the_exact_present_value_decides(terms: Terms, convention: AprConvention, cap: int) -> None:
    limits = capped(cap, convention)
    try:
        curve = lending.curve_of(terms)
    except InstalmentTooCoarse:
        assume(False)
    r = Fraction(limits.apr_cap_of_period(terms.frequency.periods_per_year), RAY)
    worth = sum(row.amount / (1 + r) ** row.k for row in curve.parts())
    if worth > terms.received:
        assert not admitted(terms, limits)
    if worth <= terms.received - 3:
        assert admitted(terms, limits)


# -------------------------------------------------------------------------------- FEES-1


def test_fees_1_a_late_fee_is_at_most_the_policys_share_of_the_smallest_regular_instalment() -> None:
    """5 % of 328.43 is 16.42."""
    lending.admit(replace(TERMS, late_fee=1_642), LIMITS, NOW)
    with pytest.raises(LateFeeAboveCap, match="at most 1642"):
        lending.admit(replace(TERMS, late_fee=1_643), LIMITS, NOW)


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        (Schedule.EQUAL_PRINCIPAL, 1_414),  # of 282.98, the last but one
        (Schedule.INTEREST_ONLY, 467),  # of 93.50
        (Schedule.BULLET, 66_830),  # of all there is
    ],
)
def test_fees_1_the_share_is_that_of_the_smallest_whatever_the_shape(shape: Schedule, most: int) -> None:
    terms = replace(TERMS, schedule=shape)
    lending.admit(replace(terms, late_fee=most), LIMITS, NOW)
    with pytest.raises(LateFeeAboveCap, match=f"at most {most}"):
        lending.admit(replace(terms, late_fee=most + 1), LIMITS, NOW)


def test_fees_1_grace_is_at_least_the_policys() -> None:
    lending.admit(replace(TERMS, grace_days=3), LIMITS, NOW)
    with pytest.raises(GraceTooShort, match="at least 3"):
        lending.admit(replace(TERMS, grace_days=2), LIMITS, NOW)


def test_fees_1_terms_that_the_ledger_derives_lower_the_fee_where_the_instalment_is_smaller() -> None:
    """The price was agreed on, so that nothing else is asked."""
    dear = replace(TERMS, principal=500_000, rate=300_000, late_fee=1_642, first_due=TODAY)
    _, late_fee = lending.admit_derived(dear, LIMITS, NOW, 0)
    assert late_fee == lending.curve_of(dear).instalment * 5 // 100 < 1_642
    _, unchanged = lending.admit_derived(TERMS, LIMITS, NOW, 0)
    assert unchanged == TERMS.late_fee


# -------------------------------------------------------------------------------- calendar and amounts


def test_the_calendar_is_the_loans_own() -> None:
    # Noon in UTC is the next day already, fourteen hours further east.
    east = replace(TERMS, calendar_offset=56)
    with pytest.raises(FirstDueTooEarly):
        lending.admit(east, LIMITS, NOW)
    lending.admit(replace(east, first_due=TERMS.first_due + 1), LIMITS, NOW)
    with pytest.raises(FirstDueTooLate):
        lending.admit(replace(TERMS, first_due=TODAY + 367), LIMITS, NOW)


def test_however_late_the_borrower_the_ledger_can_hold_the_debt() -> None:
    free = replace(TERMS, rate=0, late_fee=0, instalments=1)
    most = lending.MAX_AMOUNT
    lending.admit(replace(free, principal=most), LIMITS, NOW)
    for terms, fees_owed in (
        (replace(free, principal=most + 1), 0),
        (replace(free, principal=most), 1),
        (replace(free, principal=most, late_fee=1), 0),
    ):
        with pytest.raises(AmountTooLarge, match=f"could come to {most + 1} smallest units"):
            lending.admit(terms, LIMITS, NOW, fees_owed)
