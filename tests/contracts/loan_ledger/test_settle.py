import brownie
import pytest
from support.clock import DAY, HOUR, START
from support.offers import Lending, Status
from support.oracle import ExactSchedule
from support.reverts import reverts_with

PRINCIPAL = 1_200_000_000
MOST = 2**256 - 1
OPENED = START + HOUR


@pytest.fixture(scope="module")
def dollar(publisher):
    return brownie.BlockingDollar.deploy(6, {"from": publisher})


@pytest.fixture
def loan(open_loan, clock):
    clock.to(OPENED)
    return open_loan()


@pytest.fixture
def due(ledger, loan):
    return lambda k: ledger.instalmentOf(loan, k)["dueAt"]


@pytest.fixture
def payoff(ledger):
    # A plain integer: Brownie's own would cut a fraction that is taken from it.
    return lambda loan: int(ledger.payoff(loan))


@pytest.fixture
def exact():
    return ExactSchedule(PRINCIPAL, 120_000, 12)


def test_an_unknown_loan_is_not_settled(ledger, borrower):
    with reverts_with("UnknownLoan", b"\3" * 32):
        ledger.settle(b"\3" * 32, MOST, {"from": borrower})


def test_a_loan_is_settled_once(ledger, loan, borrower):
    ledger.settle(loan, MOST, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.settle(loan, MOST, {"from": borrower})


def test_the_payer_sets_a_maximum(ledger, loan, clock, borrower, payoff):
    clock.to(OPENED + 9 * DAY)
    costs = payoff(loan)
    with reverts_with("PayoffAboveMaximum", costs, costs - 1):
        ledger.settle(loan, costs - 1, {"from": borrower})
    clock.to(OPENED + 9 * DAY)
    assert ledger.settle(loan, costs, {"from": borrower}).return_value == costs


def test_settling_in_the_second_of_opening_costs_the_principal(ledger, loan, clock, dollar, lender, borrower):
    clock.to(OPENED)
    before = dollar.balanceOf(lender)
    total = ledger.loanOf(loan)["total"]
    payment = ledger.settle(loan, PRINCIPAL, {"from": borrower})
    assert payment.return_value == PRINCIPAL
    assert dollar.balanceOf(lender) == before + PRINCIPAL
    assert payment.events["LoanSettled"] == {
        "id": loan,
        "payer": borrower,
        "amount": PRINCIPAL,
        "saved": total - PRINCIPAL,
        "paid": PRINCIPAL,
    }
    assert "LoanRepaid" not in payment.events
    record = ledger.loanOf(loan)
    assert (record["status"], record["total"], record["paid"]) == (Status.REPAID, PRINCIPAL, PRINCIPAL)


def test_interest_accrues_by_the_second(ledger, loan, due, clock, exact, payoff):
    length = due(1) - OPENED
    for elapsed in (1, 12_345, length // 2, length):
        clock.to(OPENED + elapsed)
        wanted = PRINCIPAL + exact.accrued(0, elapsed, length)
        # Rounded up, to a whole unit.
        assert 0 <= payoff(loan) - wanted < 1


def test_a_longer_first_period_bears_no_more_interest(ledger, open_loan, clock, exact, payoff):
    loan = open_loan(first_due=ledger.loanOf(open_loan())["firstDue"] + 200)
    clock.to(ledger.instalmentOf(loan, 1)["dueAt"])
    assert 0 <= payoff(loan) - PRINCIPAL - exact.accrued(0, 1, 1) < 1


def test_both_sides_of_a_due_second(ledger, loan, due, clock, exact, payoff):
    # At the due second a whole period has accrued; in the next one the instalment is due, and a second of the
    # next period.
    clock.to(due(3))
    before = payoff(loan)
    clock.to(due(3) + 1)
    after = payoff(loan)
    # Nothing was paid, so two instalments were missed since; their grace is over, the third's is not.
    wanted = exact.instalment * 2 + exact.balances[2] + exact.accrued(2, 1, 1) + 2 * 5_000_000
    assert 0 <= before - wanted < 2
    wanted = exact.instalment * 3 + exact.balances[3] + exact.accrued(3, 1, due(4) - due(3)) + 2 * 5_000_000
    # Balances are rounded down, interest up.
    assert -1 < after - wanted < 2
    assert after >= before


def test_settling_pays_arrears_fees_and_principal(
    ledger, loan, due, clock, dollar, lender, stranger, exact, payoff
):
    clock.to(due(2) + 5 * DAY + 1)
    costs = payoff(loan)
    before = dollar.balanceOf(lender)
    payment = ledger.settle(loan, MOST, {"from": stranger})
    assert payment.events["InstalmentMissed"]["last"] == 2
    assert payment.return_value == costs == dollar.balanceOf(lender) - before
    record = ledger.loanOf(loan)
    assert record["total"] + record["fees"] == record["paid"] == costs
    assert ledger.delinquency(loan) == (0, 0, 0, 0)
    assert payoff(loan) == 0


def test_after_the_last_due_day_settling_costs_what_is_owed(ledger, loan, due, clock, borrower):
    clock.to(due(12) + 1)
    record = ledger.loanOf(loan)
    payment = ledger.settle(loan, MOST, {"from": borrower})
    assert payment.return_value == record["total"] + 11 * 5_000_000
    assert payment.events["LoanSettled"]["saved"] == 0


def test_settling_never_costs_more_than_the_schedule(ledger, open_loan, publish, clock, payoff):
    # A loan of 13 units over three months: rounding weighs most where amounts are smallest.
    generous = publish(Lending(apr_cap=1_000_000))
    loan = open_loan(principal=13, rate=240_000, instalments=3, late_fee=0, policy=generous)
    total = ledger.loanOf(loan)["total"]
    for k in (1, 2, 3):
        for second in (-1, 0, 1):
            clock.to(ledger.instalmentOf(loan, k)["dueAt"] + second)
            assert payoff(loan) <= total


def test_a_borrower_far_ahead_settles_for_nothing(ledger, loan, dollar, borrower, stranger):
    paid = ledger.loanOf(loan)["total"] - 1
    ledger.repay(loan, paid, {"from": borrower})
    before = dollar.balanceOf(stranger)
    payment = ledger.settle(loan, 0, {"from": stranger})
    assert payment.return_value == 0
    assert payment.events["LoanSettled"]["saved"] == 1
    assert "Transfer" not in payment.events
    assert dollar.balanceOf(stranger) == before
    assert ledger.loanOf(loan)["status"] == Status.REPAID


def test_ledger_3_a_blocked_lender_stops_no_settlement(ledger, loan, dollar, publisher, lender, borrower):
    dollar.setBlocked(lender, True, {"from": publisher})
    payment = ledger.settle(loan, MOST, {"from": borrower})
    assert payment.events["PaymentHeld"]["amount"] == payment.return_value == ledger.claimable(lender)
