"""Where a loan stands on its schedule, and what payments do to it."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from duly.domain import amortisation, calendar, schedule
from duly.domain.errors import (
    AmountTooLarge,
    FirstDueTooEarly,
    InvalidPayment,
    InvalidTerms,
    LoanNotActive,
    NothingToWaive,
    NotInDefault,
)
from duly.domain.lending import MAX_AMOUNT
from duly.domain.loan import Loan, Status
from duly.domain.policy import AprConvention, LendingLimits
from duly.domain.terms import MAX_INSTALMENTS, MAX_RATE, MAX_RATE_YEARS, Frequency, Schedule, Terms

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


LIMITS = LendingLimits(240_000, AprConvention.NOMINAL, 500, 3, 14, 90)


def due(k: int) -> int:
    return schedule.due_time(TERMS, k)


# -------------------------------------------------------------------------------- LEDGER-1


def a_loan(**changes: object) -> Loan:
    """A loan on other terms, which the ledger would open. Assumes so."""
    try:
        return schedule.opened(bytes(32), replace(TERMS, **changes), OPENED_AT)  # type: ignore[arg-type]
    except InvalidTerms:
        assume(False)
        raise


@st.composite
def some_loans(draw: st.DrawFn) -> Loan:
    """A loan of any shape and frequency, anywhere in the range of the formulas."""
    frequency = draw(st.sampled_from(Frequency))
    n = draw(st.one_of(st.integers(1, 60), st.integers(1, MAX_INSTALMENTS)))
    top = min(MAX_RATE, MAX_RATE_YEARS * frequency.periods_per_year * 1_000_000 // n)
    return a_loan(
        schedule=draw(st.sampled_from(Schedule)),
        frequency=frequency,
        instalments=n,
        rate=draw(st.one_of(st.integers(0, min(top, 1_000_000)), st.integers(0, top), st.just(top))),
        principal=draw(st.one_of(st.integers(1, 10**4), st.integers(1, 10**10), st.integers(1, MAX_AMOUNT))),
        late_fee=0,
    )


@pytest.mark.parametrize("shape", Schedule)
@pytest.mark.parametrize("frequency", Frequency)
def test_rows_are_those_of_the_terms(shape: Schedule, frequency: Frequency) -> None:
    terms = replace(TERMS, schedule=shape, frequency=frequency, calendar_offset=32)
    rows = list(schedule.rows(1_000_000, 112_200, 36, FIRST_DUE, 32, shape, frequency))
    assert rows == list(schedule.schedule_of(terms))
    assert [row.k for row in rows] == ([36] if shape is Schedule.BULLET else list(range(1, 37)))
    for row in rows:
        assert row.due_day == calendar.due_day(FIRST_DUE, frequency, row.k)
        assert row.due_at == calendar.start_of(row.due_day + 1, 32) - 1


@given(some_loans())
def test_ledger_1_a_loan_paid_as_scheduled_closes_at_exactly_zero(loan: Loan) -> None:
    for row in schedule.schedule_of(loan.terms):
        assert loan.status is Status.ACTIVE
        loan, taken = schedule.apply_payment(loan, row.amount, row.due_at)
        assert taken == row.amount
    assert (loan.owed, loan.fees, loan.status) == (0, 0, Status.REPAID)


@given(some_loans(), st.integers(0, 10**10), st.integers(0, 20_000 * DAY))
def test_ledger_1_a_settled_loan_is_closed(loan: Loan, paid: int, later: int) -> None:
    scheduled = loan.total
    if paid:
        loan, _ = schedule.apply_payment(loan, paid, OPENED_AT)
    assume(loan.status is Status.ACTIVE)
    now = OPENED_AT + later
    owed = schedule.assess(loan, now).owed
    loan, taken, saved = schedule.settle(loan, now)
    assert taken + saved == owed
    assert saved >= 0
    assert taken >= 0
    assert (loan.owed, loan.status) == (0, Status.REPAID)
    # Settling never costs less than the principal, nor more than the schedule.
    assert loan.terms.principal <= loan.total <= scheduled


def test_refuses_amounts_that_the_ledger_cannot_hold() -> None:
    with pytest.raises(AmountTooLarge):
        schedule.opened(bytes(32), replace(TERMS, principal=MAX_AMOUNT), OPENED_AT)
    with pytest.raises(AmountTooLarge):
        schedule.opened(bytes(32), replace(TERMS, late_fee=2**79), OPENED_AT)


def test_refuses_a_first_instalment_less_than_an_interval_after_opening() -> None:
    with pytest.raises(FirstDueTooEarly):
        schedule.opened(bytes(32), TERMS, (FIRST_DUE - 30) * DAY)
    schedule.opened(bytes(32), TERMS, (FIRST_DUE - 31) * DAY)
    weekly = replace(TERMS, frequency=Frequency.WEEKLY)
    schedule.opened(bytes(32), weekly, (FIRST_DUE - 7) * DAY)


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


@pytest.mark.parametrize("shape", [Schedule.EQUAL_PRINCIPAL, Schedule.INTEREST_ONLY])
def test_position_follows_instalments_that_differ(shape: Schedule) -> None:
    loan = a_loan(schedule=shape)
    first, second, *_ = (row.amount for row in schedule.schedule_of(loan.terms))
    at = schedule.position(schedule.apply_payment(loan, first, due(1))[0], due(2) + 1)
    assert (at.overdue, at.first_unpaid, at.next) == (second, 2, 3)
    assert schedule.position(loan, due(36) + 1).overdue == loan.total


def test_position_of_a_bullet() -> None:
    loan = a_loan(schedule=Schedule.BULLET)
    for now in (OPENED_AT, due(1) + 1, due(35) + 11 * DAY, due(36)):
        at = schedule.position(loan, now)
        assert (at.overdue, at.fees, at.first_unpaid, at.next, at.next_amount) == (0, 0, 36, 36, loan.total)
        assert at.first_unpaid_due_day == at.next_due_day == calendar.local_day(due(36), 0)
    at = schedule.position(loan, due(36) + 10 * DAY + 1)
    assert (at.overdue, at.fees, at.next) == (loan.total, 500, 0)


def test_a_bullet_is_settled_with_the_interest_of_all_periods_so_far() -> None:
    loan = a_loan(schedule=Schedule.BULLET)
    assert schedule.payoff(loan, OPENED_AT) == TERMS.principal
    assert schedule.payoff(loan, due(12)) == TERMS.principal + 112_200
    assert schedule.payoff(loan, due(36)) == loan.total == TERMS.principal + 3 * 112_200


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
    interest = amortisation.interest(TERMS.principal, LOAN.curve.rate)
    assert schedule.payoff(LOAN, due(1)) == TERMS.principal + interest
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
    rows = list(schedule.schedule_of(terms))
    paid = fees = 0
    ends = [
        (due_at + terms.grace_days * DAY + 1, 0, k)
        for k in range(1, terms.instalments + 1)
        for due_at in [schedule.due_time(terms, k)]
    ]
    for moment, is_payment, value in sorted(ends + [(t, 1, amount) for t, amount in payments]):
        if moment > until:
            break
        if is_payment:
            paid += min(value, loan.total + fees - paid)
        else:
            due_by_then = sum(row.amount for row in rows if row.k <= value)
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
        schedule=draw(st.sampled_from(Schedule)),
        frequency=draw(st.sampled_from(Frequency)),
        late_fee=draw(st.integers(0, 5_000)),
        grace_days=draw(st.integers(0, 70)),
        first_due=FIRST_DUE + draw(st.integers(41, 100)),
        calendar_offset=draw(st.integers(-48, 56)),
    )
    assume(terms.schedule is not Schedule.INTEREST_ONLY or terms.rate)
    loan = schedule.opened(bytes(32), terms, OPENED_AT)
    # Around the seconds that matter, or anywhere.
    moments = st.one_of(
        st.integers(OPENED_AT, OPENED_AT + 1_000 * DAY),
        st.builds(
            lambda k, grace, second: schedule.due_time(terms, k) + grace * terms.grace_days * DAY + second,
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


@given(histories(), st.integers(1, 10**6))
def test_fees_1_only_unpaid_fees_can_be_waived(
    history: tuple[Loan, list[tuple[int, int]], int], amount: int
) -> None:
    loan, payments, until = history
    for moment, paid in payments:
        if moment <= until and loan.owed:
            loan, _ = schedule.apply_payment(loan, paid, moment)
    assume(loan.owed)
    before = schedule.position(loan, until)
    if before.fees == 0:
        with pytest.raises(NothingToWaive):
            schedule.waive(loan, amount, until)
        return
    loan, waived = schedule.waive(loan, amount, until)
    after = schedule.position(loan, until)
    assert waived == min(amount, before.fees) == before.fees - after.fees
    assert (after.overdue, after.paid) == (before.overdue, before.paid)


# -------------------------------------------------------------------------------- default


def test_a_default_is_marked_after_the_days_of_the_policy() -> None:
    day_90 = due(1) + 89 * DAY + 1
    with pytest.raises(NotInDefault, match="2027-05-02 or later"):
        schedule.mark_default(LOAN, LIMITS, day_90 - 1)
    loan = schedule.mark_default(LOAN, LIMITS, day_90)
    assert (loan.status, loan.defaulted) == (Status.DEFAULTED, 1)
    assert loan.fees == 3 * 500
    with pytest.raises(LoanNotActive, match="already"):
        schedule.mark_default(loan, LIMITS, day_90)


def test_a_default_is_cured_when_its_instalment_is_paid() -> None:
    now = due(3) + 31 * DAY
    loan = schedule.mark_default(LOAN, LIMITS, now)
    partly, _ = schedule.apply_payment(loan, A - 1, now)
    assert partly.status is schedule.position(partly, now).status is Status.DEFAULTED
    cured, _ = schedule.apply_payment(partly, 1, now)
    assert cured.status is Status.ACTIVE
    settled, _, _ = schedule.settle(loan, now)
    assert settled.status is Status.REPAID
    # Two others are overdue still: one of them for long enough at the end of May.
    with pytest.raises(NotInDefault):
        schedule.mark_default(cured, LIMITS, due(2) + 88 * DAY)
    assert schedule.mark_default(cured, LIMITS, due(2) + 90 * DAY).defaulted == 2


def test_no_default_where_nothing_is_overdue() -> None:
    with pytest.raises(NotInDefault, match="nothing is overdue"):
        schedule.mark_default(LOAN, LIMITS, due(1))
    paid, _ = schedule.apply_payment(LOAN, LOAN.total, OPENED_AT)
    with pytest.raises(LoanNotActive):
        schedule.mark_default(paid, LIMITS, due(1))
