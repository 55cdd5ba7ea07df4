"""What each change of terms comes to."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from duly.domain import amending, calendar, schedule
from duly.domain.calendar import DAY
from duly.domain.errors import (
    AmendmentExpired,
    AprAboveCap,
    CoolingOffOver,
    CoolingOffRuns,
    DulyError,
    FirstDueTooLate,
    InvalidTerms,
    LoanNotActive,
    NothingToDefer,
    NotTheSameLoan,
    PrepaymentTooSmall,
    PrincipalAbovePayoff,
    RateRaised,
)
from duly.domain.loan import Loan, Status
from duly.domain.policy import AprConvention, LendingLimits
from duly.domain.terms import ZERO_HASH, Frequency, Schedule, Terms

OPENED_DAY = calendar.day_of(2026, 12, 31)
OPENED_AT = OPENED_DAY * DAY + 43_200
LIMITS = LendingLimits(240_000, AprConvention.NOMINAL, 500, 3, 14, 90)
NO_COOLING_OFF = replace(LIMITS, cooling_off_days=0)

TERMS = Terms(
    lender="0x" + "a1" * 20,
    borrower="0x" + "b2" * 20,
    principal=1_000_000,
    origination_fee=20_000,
    late_fee=1_000,
    rate=120_000,
    instalments=36,
    first_due=calendar.day_of(2027, 1, 31),
    grace_days=10,
    policy=1,
    expires=2**40 - 1,
    agreement_hash=b"\1" * 32,
    salt=b"\2" * 32,
)
LOAN_ID = b"\3" * 32
NEW_ID = b"\4" * 32
LOAN = schedule.opened(LOAN_ID, TERMS, OPENED_AT)
A = LOAN.instalment


def new_id(terms: Terms) -> bytes:
    return NEW_ID


def due(k: int) -> int:
    return schedule.due_time(TERMS, k)


def paid(loan: Loan, amount: int, moment: int) -> Loan:
    return schedule.apply_payment(loan, amount, moment)[0]


def paid_up_to(loan: Loan, k: int) -> Loan:
    """The loan after its first k instalments, each paid on its due day."""
    for row in schedule.schedule_of(loan.terms):
        if row.k <= k:
            loan = paid(loan, row.amount, row.due_at)
    return loan


def a_loan(shape: Schedule, **changes: object) -> Loan:
    terms = replace(TERMS, schedule=shape, **changes)  # type: ignore[arg-type]
    return schedule.opened(LOAN_ID, terms, OPENED_AT)


@st.composite
def some_loans(draw: st.DrawFn) -> tuple[Loan, int]:
    """A loan of any shape on which something was paid, and a moment; some instalments paid late or ahead."""
    frequency = draw(st.sampled_from(Frequency))
    terms = replace(
        TERMS,
        schedule=draw(st.sampled_from(Schedule)),
        frequency=frequency,
        principal=draw(st.integers(10**5, 10**9)),
        late_fee=draw(st.integers(0, 500)),
        rate=draw(st.integers(1, 400_000)),
        instalments=draw(st.integers(1, 40)),
        first_due=calendar.add_periods(OPENED_DAY, frequency, 1) + draw(st.integers(0, 20)),
        calendar_offset=draw(st.sampled_from([0, 32, -20])),
    )
    try:
        loan = schedule.opened(LOAN_ID, terms, OPENED_AT)
    except InvalidTerms:
        assume(False)
        raise
    k = draw(st.integers(0, terms.instalments - 1))
    now = schedule.due_time(terms, k) if k else OPENED_AT
    loan = paid_up_to(loan, max(0, k - draw(st.sampled_from([0, 0, 1, 3]))))
    if part := draw(st.sampled_from([0, 0, loan.instalment // 3, loan.instalment, 2 * loan.instalment])):
        loan = paid(loan, part, now)
    assume(loan.owed)
    return loan, now + draw(st.one_of(st.integers(0, 2), st.integers(0, 40 * DAY)))


def check_closed(old: Loan, new: Loan, before: Loan) -> None:
    """Nothing is owed on the old loan, nothing paid is lost, no fee is added, and the two are linked."""
    assert (old.status, old.owed, old.id) == (Status.REPLACED, 0, before.id)
    assert old.paid + new.paid >= before.paid
    assert old.fees + new.fees == before.fees
    assert (new.id, new.terms.replaces, new.amends) == (NEW_ID, before.id, True)
    assert (new.lender, new.terms.borrower) == (before.lender, before.terms.borrower)


# -------------------------------------------------------------------------------- prepay


def test_prepaying_lowers_the_instalments_and_keeps_the_due_days() -> None:
    loan = paid_up_to(LOAN, 12)
    now = due(12) + 1
    taken, old, new = amending.prepay(loan, 300_000, LIMITS, now, new_id)
    assert taken == 300_000
    assert new is not None
    check_closed(old, new, paid(loan, 300_000, now))
    # A second of interest, rounded up, and the rest repays principal.
    assert new.terms.principal == loan.curve.balance(12) - 299_999
    assert (new.terms.instalments, new.instalment) == (24, 19_092)
    assert new.terms.first_due == calendar.day_of(2028, 1, 31)
    assert new.opened_at == due(12)
    assert new.terms == replace(
        TERMS,
        principal=new.terms.principal,
        origination_fee=0,
        late_fee=954,  # 5 % of an instalment, as the policy allows
        instalments=24,
        first_due=new.terms.first_due,
        expires=now,
        agreement_hash=ZERO_HASH,
        replaces=LOAN_ID,
        salt=ZERO_HASH,
    )


def test_prepaying_pays_arrears_and_fees_first() -> None:
    now = due(2) + 11 * DAY
    arrears = 2 * A + 2 * 1_000
    with pytest.raises(PrepaymentTooSmall, match=f"more than {arrears} smallest units"):
        amending.prepay(LOAN, arrears, LIMITS, now, new_id)
    _, old, new = amending.prepay(LOAN, arrears + 100_000, LIMITS, now, new_id)
    assert new is not None
    assert (new.paid, new.fees, new.assessed) == (0, 0, 0)
    assert schedule.position(new, now).overdue == 0
    assert old.fees == 2_000


def test_prepaying_all_settles() -> None:
    now = due(5) + 3 * DAY
    loan = paid_up_to(LOAN, 5)
    taken, old, new = amending.prepay(loan, 10**9, LIMITS, now, new_id)
    assert new is None
    assert (old, taken) == schedule.settle(loan, now)[:2]


def test_a_bullet_is_prepaid_from_its_beginning() -> None:
    """Half of what it costs now is half of the loan."""
    loan = a_loan(Schedule.BULLET)
    half = schedule.payoff(loan, due(12)) // 2
    _, _, new = amending.prepay(loan, half, LIMITS, due(12), new_id)
    assert new is not None
    assert (new.terms.principal, new.terms.instalments, new.opened_at) == (500_000, 36, OPENED_AT)
    assert new.terms.first_due == TERMS.first_due


@given(some_loans(), st.integers(1, 10**9))
def test_terms_1_prepaying_never_makes_a_loan_dearer(found: tuple[Loan, int], amount: int) -> None:
    loan, now = found
    before = schedule.assess(loan, now)
    owed, payoff = before.owed, schedule.payoff(loan, now)
    try:
        taken, old, new = amending.prepay(loan, amount, NO_COOLING_OFF, now, new_id)
    except DulyError:
        assume(False)
        raise
    if new is None:
        return
    check_closed(old, new, replace(before, paid=before.paid + taken))
    assert new.owed <= owed - taken
    assert new.instalment <= loan.instalment
    # What it would cost to settle is less by what was paid, but for roundings.
    assert schedule.payoff(new, now) <= payoff - taken + 4


# -------------------------------------------------------------------------------- defer


def test_deferring_moves_the_due_days_of_what_is_unpaid() -> None:
    loan = paid_up_to(LOAN, 3)
    old, new = amending.defer(loan, 2, LIMITS, due(4) + 1, new_id)
    check_closed(old, new, loan)
    assert (new.terms.principal, new.terms.instalments) == (loan.curve.balance(3), 33)
    assert new.terms.first_due == calendar.day_of(2027, 7, 1)  # not 30 June: no later one comes earlier
    position = schedule.position(new, due(4) + 1)
    assert (position.overdue, position.next, position.next_amount) == (0, 1, new.instalment)
    # Free of interest: the instalments stay, and the longer first period costs what one period does. What
    # they come to more, as they are rounded anew, counts as paid.
    assert (new.instalment, new.owed) == (A, loan.owed)
    assert new.total - new.paid == loan.owed


def test_deferring_carries_over_what_was_paid_ahead_and_fees_that_are_unpaid() -> None:
    now = due(2) + 11 * DAY
    late = paid(LOAN, 500, OPENED_AT)
    old, new = amending.defer(late, 1, LIMITS, now, new_id)
    check_closed(old, new, schedule.assess(late, now))
    assert (new.paid, new.fees, new.assessed) == (500, 2_000, 2)
    # What was missed already is not charged again: the first to be charged is the third.
    first = schedule.due_time(new.terms, 1)
    assert schedule.assess(new, first + 11 * DAY).fees == 2_000
    third = schedule.due_time(new.terms, 3)
    assert schedule.assess(new, third + 11 * DAY).fees == 3_000

    ahead = paid(LOAN, 5 * A + 7, OPENED_AT)
    old, new = amending.defer(ahead, 1, LIMITS, due(2) + 1, new_id)
    check_closed(old, new, ahead)
    assert new.paid == 3 * A + 7
    assert schedule.position(new, due(2) + 1).first_unpaid == 4


def test_deferring_by_more_than_a_year_is_a_mistake() -> None:
    amending.defer(LOAN, 11, LIMITS, due(2) + 1, new_id)
    with pytest.raises(FirstDueTooLate, match="more than a year after 2027-03-01"):
        amending.defer(LOAN, 14, LIMITS, due(2) + 1, new_id)


@pytest.mark.parametrize("intervals", [0, -1])
def test_nothing_to_defer(intervals: int) -> None:
    with pytest.raises(NothingToDefer):
        amending.defer(LOAN, intervals, NO_COOLING_OFF, due(1), new_id)
    # All instalments are paid, and a late fee is not.
    late = schedule.assess(LOAN, due(1) + 11 * DAY)
    only_fees = paid(late, LOAN.total, due(1) + 11 * DAY)
    with pytest.raises(NothingToDefer):
        amending.defer(replace(only_fees, fees=2_000), 1, NO_COOLING_OFF, due(36) + 1, new_id)


@given(some_loans(), st.integers(1, 5))
def test_terms_1_deferring_makes_nothing_dearer_and_nothing_due_earlier(
    found: tuple[Loan, int], intervals: int
) -> None:
    loan, now = found
    before = schedule.assess(loan, now)
    try:
        old, new = amending.defer(loan, intervals, NO_COOLING_OFF, now, new_id)
    except DulyError:
        assume(False)
        raise
    check_closed(old, new, before)
    assert new.owed <= before.owed
    assert new.instalment <= loan.instalment
    assert new.terms.late_fee <= loan.terms.late_fee
    before_due = {k: schedule.due_day(loan.terms, loan.terms.instalments - k) for k in range(40)}
    for k in range(new.terms.instalments):
        later = schedule.due_day(new.terms, new.terms.instalments - k)
        assert later >= calendar.add_periods(before_due[k], loan.terms.frequency, intervals)


# -------------------------------------------------------------------------------- amend


def other_terms(**changes: object) -> Terms:
    """Terms that could replace the loan, when four instalments are paid."""
    kept = replace(
        TERMS,
        origination_fee=0,
        principal=900_000,
        instalments=48,
        rate=90_000,
        first_due=calendar.day_of(2027, 7, 15),
        replaces=LOAN_ID,
    )
    return replace(kept, **changes)  # type: ignore[arg-type]


def test_an_amendment_carries_on_what_is_owed() -> None:
    now = due(4) + 1
    loan = paid_up_to(LOAN, 4)
    terms = other_terms(schedule=Schedule.EQUAL_PRINCIPAL, frequency=Frequency.QUARTERLY, instalments=16)
    terms = replace(terms, first_due=calendar.day_of(2027, 8, 1), late_fee=500)
    old, new = amending.amend(loan, terms, LIMITS, now, new_id)
    check_closed(old, new, loan)
    assert new == Loan(NEW_ID, terms, now, new.instalment, new.total)
    assert new.instalment == 900_000 // 16


def test_an_amendment_owes_late_fees_beside_the_principal() -> None:
    now = due(1) + 11 * DAY
    most = schedule.payoff(LOAN, now) - 1_000
    with pytest.raises(PrincipalAbovePayoff, match=f"at most {most}"):
        amending.amend(LOAN, other_terms(principal=most + 1), LIMITS, now, new_id)
    old, new = amending.amend(LOAN, other_terms(principal=most), LIMITS, now, new_id)
    check_closed(old, new, schedule.assess(LOAN, now))
    assert (new.fees, new.paid, new.assessed) == (1_000, 0, 0)
    assert schedule.position(new, now).fees == 1_000


def test_usury_1_an_amendment_keeps_to_the_limits() -> None:
    terms = other_terms(rate=TERMS.rate)
    amending.amend(LOAN, terms, LIMITS, due(4), new_id)
    with pytest.raises(AprAboveCap):
        amending.amend(LOAN, terms, replace(LIMITS, apr_cap=110_000), due(4), new_id)


def test_usury_1_an_amendment_does_not_raise_the_rate() -> None:
    with pytest.raises(RateRaised, match="at most 12 %"):
        amending.amend(LOAN, other_terms(rate=120_001), LIMITS, due(4), new_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"lender": "0x" + "cc" * 20},
        {"borrower": "0x" + "cc" * 20},
        {"policy": 2},
        {"origination_fee": 1},
        {"replaces": ZERO_HASH},
    ],
)
def test_terms_1_an_amendment_is_of_the_same_loan(changes: dict[str, object]) -> None:
    with pytest.raises(NotTheSameLoan):
        amending.amend(LOAN, other_terms(**changes), LIMITS, due(4), new_id)


def test_an_amendment_is_signed_by_whom_the_claim_belongs_to() -> None:
    assignee = "0x" + "cc" * 20
    assigned = replace(LOAN, lender=assignee)
    with pytest.raises(NotTheSameLoan):
        amending.amend(assigned, other_terms(), LIMITS, due(4), new_id)
    _, new = amending.amend(assigned, other_terms(lender=assignee), LIMITS, due(4), new_id)
    assert new.lender == assignee
    _, _, prepaid = amending.prepay(assigned, 500_000, LIMITS, due(4), new_id)
    assert prepaid is not None
    assert prepaid.terms.lender == assignee


def test_an_amendment_expires() -> None:
    terms = other_terms(expires=due(4))
    amending.amend(LOAN, terms, LIMITS, due(4), new_id)
    with pytest.raises(AmendmentExpired):
        amending.amend(LOAN, terms, LIMITS, due(4) + 1, new_id)


# -------------------------------------------------------------------------------- rescind

LAST_SECOND = calendar.start_of(OPENED_DAY + 15, 0) - 1


def test_cool_1_rescinding_costs_what_was_received_with_interest_by_the_day() -> None:
    """980000 at 12 % for 14 days: 4510.68, rounded down. The origination fee is not owed, nor a late fee."""
    loan, taken = amending.rescind(LOAN, LIMITS, LAST_SECOND)
    assert taken == 980_000 + 4_510
    assert (loan.status, loan.owed, loan.total, loan.fees) == (Status.RESCINDED, 0, taken, 0)
    same_day, taken = amending.rescind(LOAN, LIMITS, OPENED_AT)
    assert (taken, same_day.total) == (980_000, 980_000)


def test_cool_1_rescinding_gives_credit_for_what_was_paid() -> None:
    loan, taken = amending.rescind(paid(LOAN, A, OPENED_AT), LIMITS, LAST_SECOND)
    assert (taken, loan.paid) == (984_510 - A, 984_510)
    # Who paid more than that has nothing to pay.
    loan, taken = amending.rescind(paid(LOAN, 1_000_000, OPENED_AT), LIMITS, LAST_SECOND)
    assert (taken, loan.paid, loan.owed) == (0, 1_000_000, 0)


def test_cool_1_rescinding_is_over_after_the_last_day() -> None:
    with pytest.raises(CoolingOffOver, match="2027-01-14 or earlier"):
        amending.rescind(LOAN, LIMITS, LAST_SECOND + 1)
    with pytest.raises(CoolingOffOver):
        amending.rescind(LOAN, NO_COOLING_OFF, OPENED_AT)


def test_cool_1_rescinding_never_costs_more_than_settling() -> None:
    """Interest by the day, the first counting as a whole, can come to more than interest by the second."""
    dear = a_loan(Schedule.LEVEL, origination_fee=0, rate=2_000_000, instalments=12)
    midnight = calendar.start_of(OPENED_DAY + 1, 0)
    loan, taken = amending.rescind(dear, LIMITS, midnight)
    assert taken == loan.total == schedule.payoff(dear, midnight) < 1_000_000 + 1_000_000 * 2 // 365


def test_cool_1_no_late_fee_is_part_of_what_settling_would_cost() -> None:
    """Whoever records a missed instalment does not make rescinding dearer by its fee."""
    first_due = OPENED_DAY + 13
    weekly = a_loan(
        Schedule.LEVEL, origination_fee=0, frequency=Frequency.WEEKLY, first_due=first_due, grace_days=0
    )
    recorded = schedule.assess(weekly, LAST_SECOND)
    assert recorded.fees == weekly.terms.late_fee > 0
    costs = [amending.rescind(loan, LIMITS, LAST_SECOND)[1] for loan in (weekly, recorded)]
    assert costs == [schedule.payoff(weekly, LAST_SECOND) - recorded.fees] * 2


def test_cool_1_no_loan_is_amended_that_can_be_rescinded() -> None:
    with pytest.raises(CoolingOffRuns, match="2027-01-15 or later"):
        amending.prepay(LOAN, 500_000, LIMITS, LAST_SECOND, new_id)
    with pytest.raises(CoolingOffRuns):
        amending.defer(LOAN, 1, LIMITS, LAST_SECOND, new_id)
    amending.prepay(LOAN, 500_000, LIMITS, LAST_SECOND + 1, new_id)
    amending.prepay(LOAN, 500_000, NO_COOLING_OFF, OPENED_AT, new_id)
    # Nor by both together. Afterwards there is no second cooling-off period.
    with pytest.raises(CoolingOffRuns):
        amending.amend(LOAN, other_terms(), LIMITS, LAST_SECOND, new_id)
    _, new = amending.amend(LOAN, other_terms(), LIMITS, LAST_SECOND + 1, new_id)
    with pytest.raises(CoolingOffOver):
        amending.rescind(new, LIMITS, LAST_SECOND + 1)
    amending.defer(new, 1, LIMITS, LAST_SECOND + 1, new_id)


def test_nothing_changes_on_a_loan_that_ended() -> None:
    ended = (
        paid(LOAN, LOAN.total, OPENED_AT),
        amending.rescind(LOAN, LIMITS, OPENED_AT)[0],
        amending.amend(LOAN, other_terms(), NO_COOLING_OFF, OPENED_AT, new_id).loan,
    )
    for loan in ended:
        for attempt in (
            lambda loan=loan: amending.prepay(loan, 1, NO_COOLING_OFF, OPENED_AT, new_id),
            lambda loan=loan: amending.defer(loan, 1, NO_COOLING_OFF, OPENED_AT, new_id),
            lambda loan=loan: amending.amend(loan, other_terms(), LIMITS, OPENED_AT, new_id),
            lambda loan=loan: amending.rescind(loan, LIMITS, OPENED_AT),
            lambda loan=loan: schedule.waive(loan, 1, OPENED_AT),
        ):
            with pytest.raises(LoanNotActive):
                attempt()
