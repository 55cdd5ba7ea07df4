"""USURY-1 on both sides of the cap, with every instalment discounted by itself in exact fractions."""

from fractions import Fraction
from math import ceil

import pytest
from support.offers import Frequency, Lending, Schedule, sign_consent
from support.oracle import PERIODS_A_YEAR, ExactSchedule, effective_period_rate, later, local_day
from support.reverts import reverts_telling, reverts_with

PRINCIPAL, RATE, CAP = 1_200_000_000, 150_000, 240_000
NOMINAL, EFFECTIVE = 0, 1
# The ledger rounds against the lender, by this many units at most.
ROUNDING = 2


def cap_per_period(convention, frequency, cap=CAP):
    if convention == EFFECTIVE:
        return effective_period_rate(cap, frequency)
    return Fraction(cap, 1_000_000 * PERIODS_A_YEAR[frequency])


@pytest.fixture(scope="module", params=[NOMINAL, EFFECTIVE], ids=["nominal", "effective"])
def capped(request, publish):
    """A policy with the cap, and how the cap is read."""
    convention = request.param
    return publish(Lending(apr_cap=CAP, apr_convention=convention, min_grace_days=0)), convention


@pytest.fixture(scope="module")
def try_to_open(ledger, sign, borrower):
    return lambda terms: ledger.open.call(terms, sign(terms), {"from": borrower})


@pytest.mark.parametrize("frequency", Frequency)
@pytest.mark.parametrize("schedule", Schedule)
def test_usury_1_both_sides_of_the_cap(capped, terms, try_to_open, clock, schedule, frequency):
    policy, convention = capped
    exact = ExactSchedule(PRINCIPAL, RATE, 9, schedule, frequency)
    worth = exact.worth(cap_per_period(convention, frequency))
    assert worth < PRINCIPAL

    def offered(received, longer=0):
        return terms(
            policy=policy, schedule=schedule, frequency=frequency, rate=RATE, instalments=9, late_fee=0,
            origination_fee=PRINCIPAL - received,
            first_due=later(local_day(clock.now(), 32), frequency, 1) + longer,
        )  # fmt: skip

    try_to_open(offered(ceil(worth) + ROUNDING))
    short = ceil(worth) - 1
    # A longer first period lowers the annual percentage rate, and still does not loosen the test.
    for longer in (0, 60):
        with reverts_telling("AprAboveCap") as told:
            try_to_open(offered(short, longer))
        assert 0 <= told[0] - worth < ROUNDING
        assert told[1:] == [short, CAP]


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize(
    ("rate", "instalments"), [(1, 600), (300_000, 600), (2_000_000, 90), (10_000_000, 19)]
)
def test_usury_1_the_ends_of_the_range(publish, terms, try_to_open, schedule, rate, instalments):
    cap = 2 * rate
    policy = publish(Lending(apr_cap=cap, min_grace_days=0))
    principal = 10**15
    exact = ExactSchedule(principal, rate, instalments, schedule)
    worth = exact.worth(cap_per_period(NOMINAL, Frequency.MONTHLY, cap))

    def offered(received):
        return terms(
            policy=policy, schedule=schedule, principal=principal, rate=rate, instalments=instalments,
            late_fee=0, origination_fee=principal - received,
        )  # fmt: skip

    try_to_open(offered(min(principal, ceil(worth) + ROUNDING)))
    with reverts_telling("AprAboveCap") as told:
        try_to_open(offered(ceil(worth) - 1))
    assert 0 <= told[0] - worth < ROUNDING


def test_usury_1_the_annual_percentage_rate_itself_is_at_the_cap(policy, terms, try_to_open):
    """Searched for, as a supervisor would: the rate at which the payments are worth what was received."""
    exact = ExactSchedule(PRINCIPAL, RATE, 12)

    def apr(received):
        low, high = Fraction(0), Fraction(1)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if exact.worth(middle / 12) > received else (low, middle)
            low, high = low.limit_denominator(10**15), high.limit_denominator(10**15)
        return float(high)

    received = ceil(exact.worth(Fraction(CAP, 12_000_000)))
    assert apr(received + ROUNDING) <= 0.24 < apr(received - 1)
    fee = PRINCIPAL - received
    try_to_open(terms(rate=RATE, origination_fee=fee - ROUNDING, policy=policy))
    with reverts_telling("AprAboveCap"):
        try_to_open(terms(rate=RATE, origination_fee=fee + 1, policy=policy))


@pytest.mark.parametrize("schedule", [Schedule.LEVEL, Schedule.EQUAL_PRINCIPAL, Schedule.INTEREST_ONLY])
def test_usury_1_a_rate_that_equals_the_cap_is_over_it_by_the_rounding(terms, try_to_open, schedule):
    # Instalments and their worth are rounded up, so that the loan may cost a hair more than its rate.
    try_to_open(terms(rate=CAP - 1, schedule=schedule, late_fee=0))
    for rate in (CAP, CAP + 1, 2 * CAP):
        with reverts_telling("AprAboveCap") as told:
            try_to_open(terms(rate=rate, schedule=schedule, late_fee=0))
        assert told[1:] == [PRINCIPAL, CAP]


def test_usury_1_a_bullets_interest_is_simple_and_its_cap_compounds(terms, try_to_open):
    # Two years at 2 % a month compounded are 60.84 %, so a little more than 30 % a year in simple interest.
    bullet = {"schedule": Schedule.BULLET, "instalments": 24}
    try_to_open(terms(rate=304_218, **bullet))
    with reverts_telling("AprAboveCap"):
        try_to_open(terms(rate=304_219, **bullet))
    assert 304_218 < (1.02**24 - 1) / 2 * 1_000_000 < 304_219


def test_usury_1_an_effective_cap_is_compounded(publish, terms, try_to_open):
    # 1.01 ** 12 = 1.126825030...: 12 % nominal is 12.6826 % effective.
    try_to_open(terms(rate=120_000, policy=publish(Lending(apr_cap=126_826, apr_convention=EFFECTIVE))))
    with reverts_telling("AprAboveCap"):
        try_to_open(terms(rate=120_000, policy=publish(Lending(apr_cap=126_825, apr_convention=EFFECTIVE))))
    # Quarterly, 12 % nominal is 1.03 ** 4 - 1 = 12.550881 % effective.
    quarterly = {"rate": 120_000, "frequency": Frequency.QUARTERLY, "first_due": terms().first_due + 70}
    try_to_open(terms(policy=publish(Lending(apr_cap=125_509, apr_convention=EFFECTIVE)), **quarterly))
    with reverts_telling("AprAboveCap"):
        try_to_open(terms(policy=publish(Lending(apr_cap=125_508, apr_convention=EFFECTIVE)), **quarterly))


@pytest.mark.parametrize("convention", [NOMINAL, EFFECTIVE])
def test_usury_1_a_cap_of_nothing_leaves_loans_that_cost_nothing(publish, terms, try_to_open, convention):
    free = publish(Lending(apr_cap=0, apr_convention=convention))
    try_to_open(terms(rate=0, policy=free))
    for price in ({"rate": 1}, {"rate": 0, "origination_fee": 1}):
        with reverts_telling("AprAboveCap") as told:
            try_to_open(terms(policy=free, **price))
        assert told[0] > told[1]


def test_usury_1_whoever_sends_it(ledger, terms, sign, keeper, borrower, key_of):
    dear = terms(rate=CAP + 1)
    acceptance = sign_consent("Acceptance", dear, key_of(borrower), ledger)
    with reverts_telling("AprAboveCap"):
        ledger.openBySignature(dear, sign(dear), acceptance, {"from": keeper})
    with reverts_telling("AprAboveCap"):
        ledger.multicall([ledger.open.encode_input(dear, sign(dear))], {"from": borrower})


def test_an_origination_fee_leaves_something(terms, try_to_open):
    for fee in (PRINCIPAL, PRINCIPAL + 1):
        with reverts_with("OriginationFeeTooLarge", fee, PRINCIPAL):
            try_to_open(terms(origination_fee=fee, rate=0))
