"""COOL-1: in the cooling-off period the borrower gives back what was received, and interest to the day."""

from fractions import Fraction
from math import floor

import brownie
import pytest
from support.clock import DAY, HOUR, START
from support.offers import Frequency, Lending, Schedule, Status, loan_id
from support.oracle import local_day
from support.reverts import reverts_with

FEE = 20_000_000
RECEIVED = 1_200_000_000 - FEE
RATE = 120_000
# Loans are opened at noon, in their calendar.
LAST_SECOND = START + 14 * DAY + 12 * HOUR - 1


@pytest.fixture(scope="module")
def dollar(publisher):
    return brownie.BlockingDollar.deploy(6, {"from": publisher})


@pytest.fixture
def offered(terms):
    return terms(origination_fee=FEE, rate=RATE)


@pytest.fixture
def loan(ledger, offered, sign, borrower):
    return ledger.open(offered, sign(offered), {"from": borrower}).return_value


def interest(days, received=RECEIVED, rate=RATE):
    return floor(received * Fraction(rate, 1_000_000) * Fraction(days, 365))


@pytest.mark.parametrize("role", ["lender", "keeper", "stranger"])
def test_cool_1_only_the_borrower_rescinds(ledger, offered, loan, borrower, request, role):
    actor = request.getfixturevalue(role)
    with reverts_with("NotBorrower", actor, borrower):
        ledger.rescind(offered, {"from": actor})


def test_cool_1_the_terms_are_those_of_the_loan(ledger, offered, loan, borrower):
    # A larger origination fee would mean that less was received.
    other = offered._replace(origination_fee=FEE + 1)
    with reverts_with("UnknownLoan", loan_id(other, ledger)):
        ledger.rescind(other, {"from": borrower})


@pytest.mark.parametrize(
    ("moment", "days"),
    [(60, 0), (12 * HOUR - 1, 0), (12 * HOUR, 1), (5 * DAY, 5), (LAST_SECOND - START, 14)],
)
def test_cool_1_costs_what_was_received_and_interest_to_the_day(
    ledger, offered, loan, clock, dollar, borrower, lender, record, owed, moment, days
):
    clock.to(START + moment)
    before = [dollar.balanceOf(holder) for holder in (borrower, lender)]
    rescinded = ledger.rescind(offered, {"from": borrower})
    costs = RECEIVED + interest(days)
    assert rescinded.return_value == costs
    assert [dollar.balanceOf(holder) for holder in (borrower, lender)] == [
        before[0] - costs,
        before[1] + costs,
    ]
    assert rescinded.events["LoanRescinded"] == {"id": loan, "amount": costs, "paid": costs}
    closed = record(loan)
    assert (closed["status"], closed["paid"], closed["fees"], owed(loan)) == (Status.RESCINDED, costs, 0, 0)
    assert (ledger.payoff(loan), ledger.delinquency(loan)) == (0, (0, 0, 0, 0))
    assert "LoanRepaid" not in rescinded.events


def test_cool_1_the_period_ends_with_its_last_day(ledger, offered, loan, clock, borrower):
    clock.to(LAST_SECOND + 1)
    last = local_day(START, 32) + 14
    with reverts_with("CoolingOffOver", last, last + 1):
        ledger.rescind(offered, {"from": borrower})


@pytest.mark.parametrize("offset", [-48, -13, 0, 56])
def test_cool_1_days_are_counted_in_the_loans_calendar(ledger, terms, sign, clock, borrower, offset):
    offered = terms(calendar_offset=offset, rate=RATE, origination_fee=FEE)
    ledger.open(offered, sign(offered), {"from": borrower})
    last = local_day(START, offset) + 14
    midnight = (last + 1) * DAY - offset * 900
    clock.to(midnight - 1)
    costs = ledger.rescind.call(offered, {"from": borrower})
    assert costs == RECEIVED + interest(14)
    clock.to(midnight)
    with reverts_with("CoolingOffOver", last, last + 1):
        ledger.rescind(offered, {"from": borrower})


def test_cool_1_a_policy_may_know_no_cooling_off(ledger, terms, sign, publish, borrower):
    offered = terms(policy=publish(Lending(cooling_off_days=0)))
    ledger.open(offered, sign(offered), {"from": borrower})
    with reverts_with("CoolingOffOver", 0, local_day(START, 32)):
        ledger.rescind(offered, {"from": borrower})


def test_cool_1_a_loan_is_rescinded_once(ledger, offered, loan, borrower, keeper):
    ledger.rescind(offered, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.RESCINDED):
        ledger.rescind(offered, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.RESCINDED):
        ledger.repay(loan, 1, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.RESCINDED):
        ledger.flagMissed(loan, {"from": keeper})


def test_cool_1_a_repaid_loan_is_not_rescinded(ledger, offered, loan, borrower):
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.rescind(offered, {"from": borrower})


def test_cool_1_there_is_no_second_period(
    ledger, offered, loan, changed, amends, policy, after_cooling_off, clock, borrower
):
    after_cooling_off(START)
    amended = changed(loan, policy=policy)
    amends(amended)
    with reverts_with("LoanNotActive", loan, Status.REPLACED):
        ledger.rescind(offered, {"from": borrower})
    with reverts_with("CoolingOffOver", 0, local_day(clock.now(), 32)):
        ledger.rescind(amended, {"from": borrower})


def test_cool_1_what_was_credited_counts(ledger, offered, loan, clock, borrower, lender, stranger):
    ledger.repay(loan, 100, {"from": borrower})
    ledger.repay(loan, 200, {"from": stranger})
    ledger.acknowledgeReceipt(loan, 300, b"\1" * 32, {"from": lender})
    ledger.forgive(loan, 400, {"from": lender})
    clock.to(START + 3 * DAY)
    rescinded = ledger.rescind(offered, {"from": borrower})
    assert rescinded.return_value == RECEIVED + interest(3) - 1_000
    assert rescinded.events["LoanRescinded"]["paid"] == RECEIVED + interest(3)


def test_cool_1_who_paid_more_owes_nothing(ledger, offered, loan, dollar, borrower, owed):
    ledger.repay(loan, RECEIVED + 1, {"from": borrower})
    before = dollar.balanceOf(borrower)
    rescinded = ledger.rescind(offered, {"from": borrower})
    assert (rescinded.return_value, owed(loan)) == (0, 0)
    assert "Transfer" not in rescinded.events
    assert dollar.balanceOf(borrower) == before


def test_cool_1_no_late_fee_is_owed(ledger, terms, sign, publish, clock, borrower, keeper, due_at, record):
    offered = terms(
        policy=publish(), rate=RATE, late_fee=100_000, grace_days=3,
        schedule=Schedule.INTEREST_ONLY, frequency=Frequency.WEEKLY, first_due=local_day(START, 32) + 7,
    )  # fmt: skip
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    clock.to(due_at(loan, 1) + 6 * DAY)
    ledger.flagMissed(loan, {"from": keeper})
    assert record(loan)["fees"] == offered.late_fee
    days = local_day(clock.now(), 32) - local_day(START, 32)
    rescinded = ledger.rescind(offered, {"from": borrower})
    assert rescinded.return_value == offered.principal + interest(days, offered.principal)
    assert record(loan)["fees"] == 0


@pytest.mark.parametrize("flagged", [False, True])
def test_cool_1_no_late_fee_is_part_of_what_settling_would_cost(
    ledger, terms, sign, publish, clock, borrower, keeper, payoff, flagged
):
    # Interest runs for six days before the first week begins: by the day it is more than settling costs.
    first_due = local_day(START, 32) + 13
    offered = terms(
        policy=publish(Lending(min_grace_days=0)),
        rate=RATE, late_fee=3_000_000, grace_days=0,
        frequency=Frequency.WEEKLY, instalments=20, first_due=first_due,
    )  # fmt: skip
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    clock.to(LAST_SECOND)
    by_the_day = offered.principal + interest(14, offered.principal)
    without_fee = payoff(loan) - offered.late_fee
    assert without_fee < by_the_day
    if flagged:
        ledger.flagMissed(loan, {"from": keeper})
        clock.to(LAST_SECOND)
    assert ledger.rescind.call(offered, {"from": borrower}) == without_fee


def test_cool_1_an_assignee_is_bound(
    ledger, offered, loan, sign_assignment, dollar, lender, stranger, borrower
):
    signature = sign_assignment(loan, lender, stranger)
    ledger.assign(loan, stranger, 2**40, signature, {"from": lender})
    before = dollar.balanceOf(stranger)
    ledger.rescind(offered, {"from": borrower})
    assert dollar.balanceOf(stranger) == before + RECEIVED


def test_cool_1_a_blocked_lender_stops_nobody(ledger, offered, loan, dollar, publisher, lender, borrower):
    dollar.setBlocked(lender, True, {"from": publisher})
    rescinded = ledger.rescind(offered, {"from": borrower})
    assert rescinded.events["PaymentHeld"]["amount"] == RECEIVED == ledger.claimable(lender)


def test_cool_1_the_same_money_is_lent_again(ledger, offered, loan, terms, sign, borrower, record):
    ledger.rescind(offered, {"from": borrower})
    with reverts_with("LoanExists", loan):
        ledger.open(offered, sign(offered), {"from": borrower})
    again = terms(origination_fee=FEE, rate=RATE)
    assert record(ledger.open(again, sign(again), {"from": borrower}).return_value)["paid"] == 0


def test_cool_1_rescinding_never_costs_more_than_settling(ledger, terms, sign, clock, borrower, payoff):
    # One interval's interest spread over a first period of a year is less than that of each day.
    offered = terms(first_due=local_day(START, 32) + 366, rate=RATE)
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    clock.to(START + 10 * DAY)
    costs = ledger.rescind.call(offered, {"from": borrower})
    assert costs == payoff(loan) < offered.principal + interest(10, offered.principal)
