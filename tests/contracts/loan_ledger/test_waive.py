import pytest
from support.clock import DAY
from support.offers import Status
from support.reverts import reverts_with

FEE = 5_000_000
GRACE = 5 * DAY


@pytest.fixture
def loan(open_loan):
    return open_loan()


@pytest.fixture
def late(loan, due_at, clock):
    """A loan with two missed instalments, nobody having flagged them."""
    clock.to(due_at(loan, 2) + GRACE + 1)
    return loan


@pytest.mark.parametrize("role", ["borrower", "servicer", "stranger"])
def test_only_the_lender_waives(ledger, late, lender, servicer, request, role):
    ledger.appointServicer(servicer, {"from": lender})
    actor = request.getfixturevalue(role)
    with reverts_with("NotLender", actor, lender):
        ledger.waive(late, FEE, {"from": actor})


def test_there_is_a_fee_to_waive(ledger, loan, due_at, clock, lender, borrower):
    with reverts_with("UnknownLoan", b"\3" * 32):
        ledger.waive(b"\3" * 32, FEE, {"from": lender})
    clock.to(due_at(loan, 1) + GRACE)
    with reverts_with("NothingToWaive", loan):
        ledger.waive(loan, FEE, {"from": lender})
    clock.to(due_at(loan, 1) + GRACE + 1)
    with reverts_with("NothingToWaive", loan):
        ledger.waive(loan, 0, {"from": lender})
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.waive(loan, FEE, {"from": lender})


@pytest.mark.parametrize("amount", [1, FEE, 2 * FEE, 2**200])
def test_fees_1_unpaid_fees_are_waived(ledger, late, record, owed, dollar, lender, borrower, amount):
    before = owed(late) + 2 * FEE
    balances = [dollar.balanceOf(holder) for holder in (lender, borrower)]
    done = ledger.waive(late, amount, {"from": lender})
    waived = min(amount, 2 * FEE)
    assert done.return_value == waived
    assert done.events["InstalmentMissed"]["fees"] == 2 * FEE
    wanted = {"id": late, "lender": lender, "amount": waived, "fees": 2 * FEE - waived}
    assert done.events["FeesWaived"] == wanted
    assert (ledger.delinquency(late)[1], owed(late)) == (2 * FEE - waived, before - waived)
    assert [dollar.balanceOf(holder) for holder in (lender, borrower)] == balances


def test_fees_1_a_waived_fee_is_not_charged_again(ledger, late, due_at, clock, lender, keeper):
    ledger.waive(late, 2**200, {"from": lender})
    clock.to(due_at(late, 3) + GRACE)
    with reverts_with("NothingMissed", late, 2):
        ledger.flagMissed(late, {"from": keeper})
    clock.to(due_at(late, 3) + GRACE + 1)
    assert ledger.delinquency(late)[1] == FEE


def test_a_paid_fee_is_not_given_back(ledger, late, record, lender, borrower):
    level = record(late)["instalment"]
    ledger.repay(late, 2 * level + FEE + 7, {"from": borrower})
    assert ledger.waive(late, 2**200, {"from": lender}).return_value == FEE - 7
    with reverts_with("NothingToWaive", late):
        ledger.waive(late, 1, {"from": lender})
    assert ledger.delinquency(late)[:3] == (0, 0, 3)
    assert record(late)["fees"] == FEE + 7


def test_waiving_all_that_is_owed_ends_the_loan(ledger, late, record, owed, due_at, clock, lender, borrower):
    total = record(late)["total"]
    clock.to(due_at(late, 12) + GRACE + 1)
    ledger.repay(late, total, {"from": borrower})
    assert owed(late) == 12 * FEE
    done = ledger.waive(late, 12 * FEE, {"from": lender})
    assert done.events["LoanRepaid"] == {"id": late, "paid": total}
    assert record(late)["status"] == Status.REPAID
