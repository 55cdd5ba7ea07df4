"""`acknowledgeReceipt` and `forgive`: what the lender credits without a token being moved."""

import pytest
from support.clock import DAY
from support.offers import Status
from support.reverts import reverts_with

RECEIPT = b"\x5e" * 32
FEE = 5_000_000


@pytest.fixture
def loan(open_loan):
    return open_loan()


@pytest.fixture(params=["acknowledgeReceipt", "forgive"])
def credit(request, ledger, lender):
    """Credits an amount, as the lender, in one of the two ways."""
    function = getattr(ledger, request.param)
    document = (RECEIPT,) if request.param == "acknowledgeReceipt" else ()
    return lambda loan, amount, sender=lender: function(loan, amount, *document, {"from": sender})


@pytest.mark.parametrize("role", ["borrower", "servicer", "stranger"])
def test_only_the_lender_credits(ledger, loan, credit, lender, servicer, request, role):
    ledger.appointServicer(servicer, {"from": lender})
    actor = request.getfixturevalue(role)
    with reverts_with("NotLender", actor, lender):
        credit(loan, 1, actor)


def test_there_is_something_to_credit(loan, credit):
    with reverts_with("ZeroAmount"):
        credit(loan, 0)
    with reverts_with("UnknownLoan", b"\3" * 32):
        credit(b"\3" * 32, 1)
    credit(loan, 2**200)
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        credit(loan, 1)


def test_ledger_2_a_credit_moves_no_token(ledger, loan, credit, record, dollar, lender, borrower):
    balances = [dollar.balanceOf(holder) for holder in (lender, borrower, ledger)]
    done = credit(loan, 700)
    assert done.return_value == 700
    assert record(loan)["paid"] == 700
    assert "Transfer" not in done.events
    assert "Repaid" not in done.events
    name = next(name for name in ("ReceiptAcknowledged", "DebtForgiven") if name in done.events)
    wanted = {"id": loan, "lender": lender, "amount": 700, "paid": 700}
    if name == "ReceiptAcknowledged":
        wanted["receipt"] = "0x" + RECEIPT.hex()
    assert done.events[name] == wanted
    assert [dollar.balanceOf(holder) for holder in (lender, borrower, ledger)] == balances


def test_only_what_is_owed_is_credited(loan, credit, record, owed):
    total = record(loan)["total"]
    done = credit(loan, total - 1)
    assert "LoanRepaid" not in done.events
    done = credit(loan, 2**256 - 1)
    assert done.return_value == 1
    assert done.events["LoanRepaid"] == {"id": loan, "paid": total}
    assert (record(loan)["status"], owed(loan)) == (Status.REPAID, 0)


def test_fees_1_a_credit_counts_from_now_on(ledger, loan, credit, record, due_at, clock):
    clock.to(due_at(loan, 1) + 5 * DAY + 1)
    done = credit(loan, record(loan)["instalment"])
    assert done.events["InstalmentMissed"]["fees"] == FEE
    assert ledger.delinquency(loan)[:3] == (0, FEE, 2)


def test_fees_1_a_credit_in_time_is_in_time(ledger, loan, credit, record, due_at, clock):
    clock.to(due_at(loan, 1) + 5 * DAY)
    credit(loan, record(loan)["instalment"])
    clock.to(due_at(loan, 2))
    assert ledger.delinquency(loan)[:3] == (0, 0, 2)


def test_a_credit_lowers_what_settling_costs(loan, credit, payoff, clock):
    now = clock.to(clock.now() + 40 * DAY)
    before = payoff(loan)
    credit(loan, 1_000_000)
    clock.to(now)
    assert payoff(loan) == before - 1_000_000
