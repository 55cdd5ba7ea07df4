from fractions import Fraction
from math import ceil, floor

import brownie
import pytest
from support.clock import DAY, HOUR, START, utc
from support.offers import ZERO_HASH, Frequency, Schedule, Status, loan_id
from support.oracle import ExactSchedule, due_time, later, local_day
from support.reverts import reverts_with

PRINCIPAL, RATE, N = 1_200_000_000, 120_000, 6
FEE = 5_000_000
AMOUNT = 300_000_000
SHAPES = [
    (Schedule.LEVEL, Frequency.MONTHLY),
    (Schedule.LEVEL, Frequency.WEEKLY),
    (Schedule.EQUAL_PRINCIPAL, Frequency.FORTNIGHTLY),
    (Schedule.EQUAL_PRINCIPAL, Frequency.QUARTERLY),
    (Schedule.INTEREST_ONLY, Frequency.FOUR_WEEKLY),
    (Schedule.BULLET, Frequency.MONTHLY),
]


@pytest.fixture(scope="module")
def dollar(publisher):
    return brownie.BlockingDollar.deploy(6, {"from": publisher})


@pytest.fixture
def loan(open_loan, at_once):
    return open_loan(policy=at_once, instalments=N)


@pytest.fixture
def pay(ledger, borrower):
    return lambda loan, amount: ledger.repay(loan, amount, {"from": borrower})


# --- who, and when ------------------------------------------------------------------------------


def test_only_the_borrower_prepays(ledger, loan, lender, borrower, stranger):
    for actor in (lender, stranger):
        with reverts_with("NotBorrower", actor, borrower):
            ledger.prepay(loan, AMOUNT, {"from": actor})


def test_there_is_something_to_prepay(ledger, loan, borrower):
    with reverts_with("UnknownLoan", b"\3" * 32):
        ledger.prepay(b"\3" * 32, AMOUNT, {"from": borrower})
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.prepay(loan, AMOUNT, {"from": borrower})


def test_cool_1_prepaying_waits_for_the_cooling_off(ledger, open_loan, clock, borrower, after_cooling_off):
    loan = open_loan()
    last = local_day(START, 32) + 14
    for moment in (START + HOUR, START + 14 * DAY + 12 * HOUR - 1):
        clock.to(moment)
        with reverts_with("CoolingOffRuns", last, local_day(moment, 32)):
            ledger.prepay(loan, AMOUNT, {"from": borrower})
    after_cooling_off(START)
    ledger.prepay(loan, AMOUNT, {"from": borrower})


# --- how much -----------------------------------------------------------------------------------


@pytest.mark.parametrize("passed", [0, 1, 4])
@pytest.mark.parametrize(("schedule", "frequency"), SHAPES)
def test_principal_is_repaid_with_its_interest_so_far(
    ledger, open_loan, at_once, record, owed, payoff, pay, clock, dollar, lender, borrower,
    schedule, frequency, passed,
):  # fmt: skip
    first = later(local_day(START, 32), frequency, 1)
    loan = open_loan(
        policy=at_once, schedule=schedule, frequency=frequency, principal=PRINCIPAL, rate=RATE,
        instalments=N, first_due=first, late_fee=1_000,
    )  # fmt: skip
    opened = record(loan)["openedAt"]
    exact = ExactSchedule(PRINCIPAL, RATE, N, schedule, frequency)
    for k in range(1, passed + 1):
        clock.to(due_time(first, k, 32, frequency))
        if exact.amounts[k - 1]:
            pay(loan, exact.amounts[k - 1])
    start = due_time(first, passed, 32, frequency) if passed else opened
    end = due_time(first, passed + 1, 32, frequency)
    now = clock.to((start + 2 * end) // 3)
    before = {"owed": owed(loan), "payoff": payoff(loan), "lender": dollar.balanceOf(lender)}
    done = ledger.prepay(loan, AMOUNT, {"from": borrower})
    now = done.timestamp

    # The amount repays as much principal as it can with the interest on it since the period, or
    # the bullet, began.
    balance = Fraction(exact.floors[passed])
    periods = Fraction(now - start, end - start) + (passed if schedule == Schedule.BULLET else 0)
    interest = ceil(balance * exact.r * periods)
    principal = int(balance) - floor(AMOUNT * balance / (balance + interest))
    gone = 0 if schedule == Schedule.BULLET else passed
    rest = ExactSchedule(principal, RATE, N - gone, schedule, frequency)
    taken, new = done.return_value
    assert taken == AMOUNT == dollar.balanceOf(lender) - before["lender"]
    found = record(new)
    assert (found["principal"], found["instalment"], found["total"]) == (
        principal,
        rest.instalment,
        rest.total,
    )
    assert (found["instalments"], found["rate"], found["status"]) == (N - gone, RATE, Status.ACTIVE)
    assert (found["fees"], found["assessed"], found["lateFee"]) == (0, 0, 1_000)
    # What rounding would have made it dearer by counts as paid.
    assert found["paid"] == max(0, rest.total - (before["owed"] - AMOUNT))
    assert found["firstDue"] == later(first, frequency, gone)
    assert found["openedAt"] == (start if gone else opened)
    assert found["instalment"] <= exact.instalment
    # It saves what it saves at once, and later.
    assert -2 <= payoff(new) - (before["payoff"] - AMOUNT) <= 2
    assert owed(new) + AMOUNT <= before["owed"]
    assert (record(loan)["status"], owed(loan)) == (Status.REPLACED, 0)


def test_what_is_overdue_and_the_fees_come_first(
    ledger, loan, due_at, clock, borrower, record, owed, payoff, pay
):
    clock.to(due_at(loan, 2) + 6 * DAY)
    pay(loan, 7)
    level = record(loan)["instalment"]
    arrears = 2 * level + 2 * FEE - 7
    for amount in (1, arrears - 1, arrears):
        with reverts_with("PrepaymentTooSmall", amount, arrears):
            ledger.prepay(loan, amount, {"from": borrower})
    now = clock.now()
    clock.to(now + HOUR)
    before = payoff(loan)
    done = ledger.prepay(loan, arrears + AMOUNT, {"from": borrower})
    new = done.return_value[1]
    assert ledger.delinquency(new)[:3] == (0, 0, 1)
    assert (record(new)["assessed"], record(new)["fees"], record(new)["instalments"]) == (0, 0, N - 2)
    assert -2 <= payoff(new) - (before - arrears - AMOUNT) <= 2
    # The third is due when it was, and is charged if it is missed.
    clock.to(due_at(loan, 3) + 5 * DAY + 1)
    assert ledger.delinquency(new)[1] == record(new)["lateFee"]


def test_money_paid_ahead_repays_principal_too(
    ledger, loan, borrower, record, owed, payoff, pay, clock, dollar
):
    level = record(loan)["instalment"]
    pay(loan, 2 * level)
    clock.to(START + 10 * DAY)
    before = payoff(loan)
    new = ledger.prepay(loan, 100, {"from": borrower}).return_value[1]
    assert -2 <= payoff(new) - (before - 100) <= 2
    assert record(new)["principal"] < PRINCIPAL - 2 * level * 99 // 100
    assert record(new)["instalments"] == N


def test_money_paid_ahead_alone_repays_principal(ledger, loan, borrower, record, pay, dollar):
    with reverts_with("PrepaymentTooSmall", 0, 0):
        ledger.prepay(loan, 0, {"from": borrower})
    pay(loan, AMOUNT)
    before = dollar.balanceOf(borrower)
    taken, new = ledger.prepay(loan, 0, {"from": borrower}).return_value
    assert (taken, dollar.balanceOf(borrower)) == (0, before)
    assert abs(record(new)["principal"] - (PRINCIPAL - AMOUNT)) < 100


@pytest.mark.parametrize("more", [0, 1, 2**200])
def test_what_pays_everything_settles(ledger, loan, borrower, clock, record, payoff, dollar, lender, more):
    clock.to(START + 45 * DAY)
    costs, before = payoff(loan), dollar.balanceOf(lender)
    done = ledger.prepay(loan, costs + more, {"from": borrower})
    assert (done.return_value[0], bytes(done.return_value[1])) == (costs, ZERO_HASH)
    assert dollar.balanceOf(lender) == before + costs
    assert done.events["LoanSettled"]["amount"] == costs
    assert "LoanAmended" not in done.events
    assert record(loan)["status"] == Status.REPAID


@pytest.mark.parametrize("schedule", list(Schedule))
def test_terms_1_no_prepayment_makes_the_loan_dearer(
    ledger, open_loan, at_once, borrower, clock, owed, schedule
):
    # Small amounts, where rounding weighs most: instalments are rounded up anew with each.
    loan = open_loan(
        policy=at_once, schedule=schedule, principal=3_000, rate=180_000, instalments=24, late_fee=0
    )
    for days, amount in enumerate((1, 1, 2, 5, 40, 1, 100, 1)):
        clock.to(START + (20 + days) * DAY)
        before = owed(loan)
        loan = ledger.prepay(loan, amount, {"from": borrower}).return_value[1]
        assert owed(loan) <= before - amount


def test_without_interest_the_instalments_shrink_alike(ledger, open_loan, at_once, borrower, record, owed):
    loan = open_loan(policy=at_once, rate=0, instalments=N)
    new = ledger.prepay(loan, AMOUNT, {"from": borrower}).return_value[1]
    assert owed(new) == record(new)["principal"] == PRINCIPAL - AMOUNT
    assert record(new)["instalment"] == (PRINCIPAL - AMOUNT) // N


# --- the other loan -----------------------------------------------------------------------------


def test_terms_1_the_ledger_derives_the_other_terms(
    ledger, loan, terms, borrower, clock, due_at, record, pay, at_once
):
    clock.to(due_at(loan, 1))
    pay(loan, record(loan)["instalment"])
    clock.to(due_at(loan, 1) + 9 * DAY)
    done = ledger.prepay(loan, AMOUNT, {"from": borrower})
    new = done.return_value[1]
    derived = terms(
        principal=record(new)["principal"], late_fee=record(new)["lateFee"], instalments=N - 1,
        first_due=later(record(loan)["firstDue"], Frequency.MONTHLY, 1), policy=at_once,
        expires=done.timestamp, agreement_hash=ZERO_HASH, replaces=bytes(loan), salt=ZERO_HASH,
    )  # fmt: skip
    assert bytes(new) == loan_id(derived, ledger)
    event = done.events["LoanAmended"]
    assert (event["id"], event["amendment"], event["openedAt"]) == (loan, new, due_at(loan, 1))
    assert (event["assessed"], event["paid"], event["fees"]) == (0, 0, 0)
    assert done.events["Repaid"]["amount"] == AMOUNT
    with reverts_with("LoanNotActive", loan, Status.REPLACED):
        pay(loan, 1)


def test_fees_1_the_late_fee_keeps_to_the_policys_share(ledger, open_loan, at_once, borrower, record):
    level = ExactSchedule(PRINCIPAL, RATE, N).instalment
    loan = open_loan(policy=at_once, instalments=N, late_fee=level * 500 // 10_000)
    new = ledger.prepay(loan, PRINCIPAL // 2, {"from": borrower}).return_value[1]
    assert record(new)["lateFee"] == record(new)["instalment"] * 500 // 10_000


def test_a_clamped_due_day_comes_a_day_later(ledger, open_loan, at_once, clock, borrower, pay, record):
    # Due on the 31st: 31 January, 28 February, 31 March.
    clock.to(utc(2040, 12, 31, 4))
    loan = open_loan(policy=at_once, instalments=N)
    january = record(loan)["firstDue"]
    clock.to(due_time(january, 1, 32))
    pay(loan, record(loan)["instalment"])
    clock.to(due_time(january, 1, 32) + DAY)
    new = ledger.prepay(loan, AMOUNT, {"from": borrower}).return_value[1]
    assert record(new)["firstDue"] == later(january, Frequency.MONTHLY, 1) + 1
    for k in range(1, N):
        assert 0 <= ledger.instalmentOf(new, k)["dueAt"] - due_time(january, k + 1, 32) <= DAY


def test_ledger_1_prepaid_twice_and_paid_as_scheduled_it_closes_at_zero(
    ledger, loan, clock, borrower, pay, due_at, record, owed
):
    for _ in range(2):
        # The other loan begins with the instalment that is next.
        clock.to(due_at(loan, 1) - 10 * DAY)
        loan = ledger.prepay(loan, AMOUNT, {"from": borrower}).return_value[1]
        clock.to(due_at(loan, 1))
        pay(loan, record(loan)["instalment"])
        clock.to(due_at(loan, 2) - 10 * DAY)
        loan = ledger.prepay(loan, AMOUNT // 3, {"from": borrower}).return_value[1]
    for k in range(1, record(loan)["instalments"] + 1):
        row = ledger.instalmentOf(loan, k)
        clock.to(row["dueAt"])
        pay(loan, row["amount"])
    assert (record(loan)["status"], owed(loan), record(loan)["fees"]) == (Status.REPAID, 0, 0)


def test_a_prepayment_leaves_no_default(ledger, loan, clock, due_at, record, lender, borrower):
    clock.to(due_at(loan, 1) + 90 * DAY)
    ledger.markDefault(loan, {"from": lender})
    new = ledger.prepay(loan, 900_000_000, {"from": borrower}).return_value[1]
    assert record(new)["status"] == Status.ACTIVE
    assert ledger.delinquency(new)[0] == 0


def test_ledger_3_a_blocked_lender_stops_no_prepayment(ledger, loan, dollar, publisher, lender, borrower):
    dollar.setBlocked(lender, True, {"from": publisher})
    done = ledger.prepay(loan, AMOUNT, {"from": borrower})
    assert done.events["PaymentHeld"] == {"id": loan, "lender": lender, "amount": AMOUNT}
    assert ledger.claimable(lender) == AMOUNT


def test_a_borrower_without_money_prepays_nothing(ledger, loan, dollar, borrower, record):
    dollar.approve(ledger, AMOUNT - 1, {"from": borrower})
    before = record(loan)
    with reverts_with("ERC20InsufficientAllowance", ledger, AMOUNT - 1, AMOUNT):
        ledger.prepay(loan, AMOUNT, {"from": borrower})
    assert record(loan) == before
