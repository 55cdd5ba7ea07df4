"""The schedule against published numbers, and where a loan stands on it."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from duly.domain import calendar, schedule
from duly.domain.errors import (
    AmountTooLarge,
    FirstDueTooEarly,
    InstalmentTooCoarse,
    InvalidPayment,
    InvalidTerms,
    LoanNotActive,
)
from duly.domain.loan import Loan, Status
from duly.domain.schedule import GUARD, MAX_AMOUNT, RAY
from duly.domain.terms import MAX_INSTALMENTS, MAX_RATE, MAX_RATE_YEARS, Terms

DAY = calendar.DAY
FIRST_DUE = 20_850  # 2027-02-01
OPENED_AT = 20_800 * DAY

TERMS = Terms(
    lender="0x" + "a1" * 20,
    borrower="0x" + "b2" * 20,
    principal=1_000_000,
    late_fee=500,
    rate=112_200,
    instalments=36,
    first_due=FIRST_DUE,
    grace_days=10,
    policy=1,
    expires=2**40 - 1,
)
LOAN = schedule.opened(bytes(32), TERMS, OPENED_AT)
A = LOAN.instalment


def due(k: int) -> int:
    return calendar.due_time(FIRST_DUE, k, TERMS.calendar_offset)


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
    rows = list(schedule.amortise(principal, rate, n, periods_per_year))
    q = (1 + Fraction(rate, 1_000_000 * periods_per_year)) ** n
    unrounded = principal * Fraction(rate, 1_000_000 * periods_per_year) * q / (q - 1)
    assert round(unrounded) == published[0][0]
    assert rows[0].amount - 1 < unrounded <= rows[0].amount
    for k, (row, (_, _, _, balance)) in enumerate(zip(rows, published, strict=True), start=1):
        assert abs(row.balance - balance) <= k + 1
    assert rows[-1].balance == 0


def test_a_published_schedule_within_a_cent_a_row() -> None:
    """G4: 75 at 9.99 %, six monthly instalments. Source: the tests of an open-source core-banking system."""
    for row, published in zip(schedule.amortise(7_500, 99_900, 6), G4, strict=True):
        ours = (row.amount, row.interest, row.principal, row.balance)
        assert all(abs(figure - theirs) <= 1 for figure, theirs in zip(ours, published, strict=True))


def test_the_instalment_of_a_published_loan() -> None:
    """10000 at 11.22 % over 36 months: 328.43. Source: half of the first row of LendingClub's published loan
    book.
    """
    assert schedule.level(2_000_000, 112_200, 36)[0] == 65_686
    assert schedule.level(1_000_000, 112_200, 36)[0] == 32_843


# -------------------------------------------------------------------------------- LEDGER-1


@st.composite
def level_loans(draw: st.DrawFn, most: int = 2**80) -> tuple[int, int, int]:
    """Principal, rate and number of instalments, anywhere in the range of the formulas."""
    n = draw(st.one_of(st.integers(1, 60), st.integers(1, MAX_INSTALMENTS)))
    top = min(MAX_RATE, MAX_RATE_YEARS * 12 * 1_000_000 // n)
    rate = draw(st.one_of(st.integers(0, min(top, 1_000_000)), st.integers(0, top), st.just(top)))
    principal = draw(st.one_of(st.integers(1, 10**4), st.integers(1, 10**10), st.integers(1, most)))
    return principal, rate, n


@given(level_loans(most=MAX_AMOUNT))
def test_ledger_1_principal_parts_sum_to_the_principal(loan: tuple[int, int, int]) -> None:
    principal, rate, n = loan
    try:
        instalment, total = schedule.level(principal, rate, n)
    except InstalmentTooCoarse:
        assume(False)
    rows = list(schedule.amortise(principal, rate, n))
    assert len(rows) == n
    assert sum(row.principal for row in rows) == principal
    assert sum(row.amount for row in rows) == total
    assert all(row.principal >= 0 and row.interest >= 0 for row in rows)
    assert all(row.amount == instalment for row in rows[:-1])
    assert rows[-1].amount > 0
    assert rows[-1].balance == 0


@given(level_loans())
def test_ledger_1_a_loan_paid_as_scheduled_closes_at_exactly_zero(numbers: tuple[int, int, int]) -> None:
    principal, rate, n = numbers
    terms = replace(TERMS, principal=principal, rate=rate, instalments=n, late_fee=0)
    try:
        loan = schedule.opened(bytes(32), terms, OPENED_AT)
    except (InstalmentTooCoarse, AmountTooLarge):
        assume(False)
    for row in schedule.schedule_of(terms):
        assert loan.status is Status.ACTIVE
        loan, taken = schedule.apply_payment(loan, row.amount, row.due_at)
        assert taken == row.amount
    assert (loan.owed, loan.fees, loan.status) == (0, 0, Status.REPAID)


@given(level_loans(), st.integers(0, 10**10), st.integers(0, 20_000 * DAY))
def test_ledger_1_a_settled_loan_is_closed(numbers: tuple[int, int, int], paid: int, later: int) -> None:
    principal, rate, n = numbers
    terms = replace(TERMS, principal=principal, rate=rate, instalments=n)
    try:
        loan = schedule.opened(bytes(32), terms, OPENED_AT)
    except (InstalmentTooCoarse, AmountTooLarge):
        assume(False)
    if paid:
        loan, _ = schedule.apply_payment(loan, paid, OPENED_AT)
    assume(loan.status is Status.ACTIVE)
    now = OPENED_AT + later
    owed = schedule.assess(loan, now).owed
    loan, taken, saved = schedule.settle(loan, now)
    assert taken + saved == owed
    assert saved >= 0
    assert taken >= 0
    assert loan.owed == 0
    # Settling never costs less than the principal, nor more than the schedule.
    assert principal <= loan.total <= schedule.level(principal, rate, n)[1]


@given(st.integers(RAY, RAY + RAY // 12), st.integers(0, 60))
def test_powers_are_exact_to_a_few_units(x: int, n: int) -> None:
    exact = Fraction(x, RAY) ** n
    assert abs(schedule.power(x, n) - exact * RAY) <= 4 * (n + 1) * max(1, exact)


@given(level_loans(most=10**15), st.data())
def test_balances_are_those_of_the_formula(numbers: tuple[int, int, int], data: st.DataObject) -> None:
    principal, rate, n = numbers
    r = schedule.period_rate(rate)
    assume(r > 0)
    q = (1 + Fraction(r, RAY)) ** n
    assume(q < 10**4)
    instalment = -(-principal * Fraction(r, RAY) * q // (q - 1))
    k = data.draw(st.integers(0, n - 1))
    qk = (1 + Fraction(r, RAY)) ** k
    exact = principal * qk - instalment * (qk - 1) / Fraction(r, RAY)
    ours = schedule.balance(principal, int(instalment), r, k)
    assert abs(ours - max(0, exact)) <= 1 + Fraction(1, GUARD // 10)


# -------------------------------------------------------------------------------- range


def test_at_rate_zero_the_principal_is_divided() -> None:
    rows = list(schedule.amortise(1_000, 0, 3))
    assert [row.amount for row in rows] == [334, 334, 332]
    assert [row.interest for row in rows] == [0, 0, 0]


def test_a_single_instalment_bears_one_period_of_interest() -> None:
    assert schedule.level(100_000, 120_000, 1) == (101_000, 101_000)


@pytest.mark.parametrize("numbers", [(5, 112_200, 36), (10, 0, 6), (35, 0, 36)])
def test_refuses_instalments_that_rounding_alone_would_make_too_many(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(InstalmentTooCoarse):
        schedule.level(*numbers)


@pytest.mark.parametrize(
    ("rate", "n"), [(0, 0), (0, 601), (-1, 12), (10_000_001, 1), (10_000_000, 20), (320_001, 600)]
)
def test_refuses_what_the_formulas_are_not_proven_for(rate: int, n: int) -> None:
    with pytest.raises(InvalidTerms):
        schedule.level(10**9, rate, n)


@pytest.mark.parametrize(("rate", "n"), [(10_000_000, 19), (320_000, 600)])
def test_the_range_includes_its_ends(rate: int, n: int) -> None:
    assert schedule.level(10**12, rate, n)[1] > 10**12


def test_refuses_amounts_that_the_ledger_cannot_hold() -> None:
    with pytest.raises(AmountTooLarge):
        schedule.opened(bytes(32), replace(TERMS, principal=MAX_AMOUNT), OPENED_AT)
    with pytest.raises(AmountTooLarge):
        schedule.opened(bytes(32), replace(TERMS, late_fee=2**79), OPENED_AT)


def test_refuses_a_first_instalment_less_than_a_month_after_opening() -> None:
    with pytest.raises(FirstDueTooEarly):
        schedule.opened(bytes(32), TERMS, (FIRST_DUE - 30) * DAY)
    schedule.opened(bytes(32), TERMS, (FIRST_DUE - 31) * DAY)


# -------------------------------------------------------------------------------- where a loan stands


def test_position_before_the_first_due_day() -> None:
    at = schedule.position(LOAN, OPENED_AT)
    assert (at.overdue, at.fees, at.first_unpaid, at.first_unpaid_due_day) == (0, 0, 1, FIRST_DUE)
    assert (at.next, at.next_due_day, at.next_amount) == (1, FIRST_DUE, A)


def test_position_around_the_due_second() -> None:
    on_time, late = (schedule.position(LOAN, t) for t in (due(1), due(1) + 1))
    assert (on_time.overdue, on_time.next, on_time.next_amount) == (0, 1, A)
    assert (late.overdue, late.next, late.next_amount) == (A, 2, 2 * A)


def test_position_after_a_partial_payment() -> None:
    loan, _ = schedule.apply_payment(LOAN, A + 1, due(1))
    at = schedule.position(loan, due(2) + 1)
    assert (at.overdue, at.first_unpaid, at.next, at.next_amount) == (A - 1, 2, 3, 2 * A - 1)


def test_position_ahead() -> None:
    loan, _ = schedule.apply_payment(LOAN, 3 * A, OPENED_AT)
    at = schedule.position(loan, due(1) + 1)
    assert (at.overdue, at.first_unpaid, at.next, at.next_amount) == (0, 4, 2, 0)


def test_position_after_the_last_due_day() -> None:
    at = schedule.position(LOAN, due(36) + 11 * DAY)
    assert (at.overdue, at.fees) == (LOAN.total, 36 * 500)
    assert (at.first_unpaid, at.next, at.next_due_day, at.next_amount) == (1, 0, 0, 0)
    assert schedule.payoff(LOAN, due(36) + 11 * DAY) == LOAN.total + 36 * 500


def test_position_of_a_closed_loan() -> None:
    loan, taken, _ = schedule.settle(LOAN, OPENED_AT + DAY)
    at = schedule.position(loan, due(5))
    assert (at.status, at.paid, at.overdue, at.fees) == (Status.REPAID, taken, 0, 0)
    assert (at.first_unpaid, at.next, at.next_amount) == (0, 0, 0)


def test_money_goes_to_instalments_that_are_due_then_to_fees_then_ahead() -> None:
    assert schedule.arrears(due=100, paid=70, fees=9) == (30, 9)
    assert schedule.arrears(due=100, paid=104, fees=9) == (0, 5)
    assert schedule.arrears(due=100, paid=109, fees=9) == (0, 0)
    assert schedule.arrears(due=100, paid=500, fees=9) == (0, 0)


def test_only_what_is_owed_is_taken() -> None:
    loan, taken = schedule.apply_payment(LOAN, 10 * LOAN.total, OPENED_AT)
    assert (taken, loan.owed) == (LOAN.total, 0)
    with pytest.raises(LoanNotActive):
        schedule.apply_payment(loan, 1, OPENED_AT)
    with pytest.raises(LoanNotActive):
        schedule.settle(loan, OPENED_AT)


@pytest.mark.parametrize("amount", [0, -1])
def test_a_payment_of_nothing_is_refused(amount: int) -> None:
    with pytest.raises(InvalidPayment):
        schedule.apply_payment(LOAN, amount, OPENED_AT)


def test_settling_at_once_costs_the_principal() -> None:
    assert schedule.payoff(LOAN, OPENED_AT) == TERMS.principal


def test_settling_costs_interest_for_the_seconds_of_the_period() -> None:
    r = schedule.period_rate(TERMS.rate)
    assert schedule.payoff(LOAN, due(1)) == TERMS.principal + schedule.interest(TERMS.principal, r)
    half = (OPENED_AT + due(1)) // 2
    assert schedule.payoff(LOAN, half) == pytest.approx(TERMS.principal + 9_350 / 2, abs=1)


def test_settling_in_a_due_second_costs_what_it_costs_a_second_later() -> None:
    """The due second closes the period: interest by period and by second meet, but for rounding up."""
    for k in (1, 12, 35):
        assert 0 <= schedule.payoff(LOAN, due(k) + 1) - schedule.payoff(LOAN, due(k)) <= 2


# -------------------------------------------------------------------------------- FEES-1


def eager(loan: Loan, payments: list[tuple[int, int]], until: int) -> tuple[int, int]:
    """What was paid and charged, each instalment judged by itself in the second in which its grace period
    ends.
    """
    terms = loan.terms
    paid = fees = 0
    ends = [
        (due_at + terms.grace_days * DAY + 1, 0, k)
        for k in range(1, terms.instalments + 1)
        for due_at in [calendar.due_time(terms.first_due, k, terms.calendar_offset)]
    ]
    for moment, is_payment, value in sorted(ends + [(t, 1, amount) for t, amount in payments]):
        if moment > until:
            break
        if is_payment:
            paid += min(value, loan.total + fees - paid)
        else:
            due_by_then = loan.total if value == terms.instalments else value * loan.instalment
            fees += terms.late_fee * (paid < due_by_then)
    return paid, fees


@st.composite
def histories(draw: st.DrawFn) -> tuple[Loan, list[tuple[int, int]], int]:
    """A loan, payments of any size at any time, and a last moment."""
    n = draw(st.integers(1, 24))
    terms = replace(
        TERMS,
        principal=draw(st.integers(10**4, 10**8)),
        rate=draw(st.integers(0, 600_000)),
        instalments=n,
        late_fee=draw(st.integers(0, 5_000)),
        grace_days=draw(st.integers(0, 70)),
        first_due=FIRST_DUE + draw(st.integers(0, 60)),
        calendar_offset=draw(st.integers(-48, 56)),
    )
    loan = schedule.opened(bytes(32), terms, OPENED_AT)
    # Around the seconds that matter, or anywhere.
    moments = st.one_of(
        st.integers(OPENED_AT, OPENED_AT + 1_000 * DAY),
        st.builds(
            lambda k, grace, second: (
                calendar.due_time(terms.first_due, k, terms.calendar_offset)
                + grace * terms.grace_days * DAY
                + second
            ),
            st.integers(1, n),
            st.integers(0, 1),
            st.integers(-1, 2),
        ),
    )
    amounts = st.one_of(st.just(loan.instalment), st.integers(1, 3 * loan.instalment), st.just(loan.total))
    payments = sorted(draw(st.lists(st.tuples(moments, amounts), max_size=12)))
    return loan, payments, draw(moments)


@given(histories())
def test_fees_1_assessed_lazily_are_those_charged_one_by_one(
    history: tuple[Loan, list[tuple[int, int]], int],
) -> None:
    loan, payments, until = history
    payments = [(moment, amount) for moment, amount in payments if moment <= until]
    charged = loan
    for moment, amount in payments:
        if charged.status is Status.ACTIVE:
            charged, _ = schedule.apply_payment(charged, amount, moment)
    charged = schedule.assess(charged, until)
    assert (charged.paid, charged.fees) == eager(loan, payments, until)


@given(histories(), st.integers(1, 10**6))
def test_fees_1_no_fee_causes_a_fee(history: tuple[Loan, list[tuple[int, int]], int], larger: int) -> None:
    """However large the fee is, the same instalments are late: money that went to fees counts as received."""
    loan, payments, until = history

    def times_charged(fee: int) -> int:
        charged = replace(loan, terms=replace(loan.terms, late_fee=fee))
        for moment, amount in payments:
            if moment <= until and charged.status is Status.ACTIVE:
                charged, _ = schedule.apply_payment(charged, amount, moment)
        return schedule.assess(charged, until).fees // fee

    assert times_charged(larger) == times_charged(1) <= loan.terms.instalments


@given(histories())
def test_fees_1_poking_changes_nothing(history: tuple[Loan, list[tuple[int, int]], int]) -> None:
    """Assessing at any moment between two payments leaves the fees what they would have been."""
    loan, _, until = history
    half = (OPENED_AT + until) // 2
    if half >= OPENED_AT:
        assert schedule.assess(schedule.assess(loan, half), until).fees == schedule.assess(loan, until).fees


def test_fees_1_none_in_the_last_second_of_grace() -> None:
    last = due(1) + 10 * DAY
    assert schedule.assess(LOAN, last).fees == 0
    assert schedule.assess(LOAN, last + 1).fees == 500
    assert schedule.missed(LOAN, last + 1) == (1, 1)
