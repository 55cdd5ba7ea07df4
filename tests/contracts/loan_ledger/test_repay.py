import brownie
import pytest
from support.clock import DAY, START
from support.offers import Status
from support.oracle import due_time
from support.reverts import reverts_with


@pytest.fixture(scope="module")
def dollar(publisher):
    """Its issuer can block a lender from receiving."""
    return brownie.BlockingDollar.deploy(6, {"from": publisher})


@pytest.fixture
def loan(open_loan):
    return open_loan()


@pytest.fixture
def due(ledger, loan):
    """The last second in which the k-th instalment is on time."""
    return lambda k: ledger.instalmentOf(loan, k)["dueAt"]


@pytest.fixture
def level(ledger, loan):
    return ledger.loanOf(loan)["instalment"]


FEE = 5_000_000
GRACE = 5 * DAY


# --- refusals -----------------------------------------------------------------------------------


def test_a_payment_of_nothing_is_refused(ledger, loan, borrower):
    with reverts_with("ZeroAmount"):
        ledger.repay(loan, 0, {"from": borrower})


def test_an_unknown_loan_takes_no_payment(ledger, borrower):
    with reverts_with("UnknownLoan", b"\3" * 32):
        ledger.repay(b"\3" * 32, 1, {"from": borrower})


def test_a_repaid_loan_takes_no_payment(ledger, loan, borrower):
    ledger.repay(loan, 2**200, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.repay(loan, 1, {"from": borrower})


@pytest.mark.parametrize("blocked", [False, True])
def test_a_payer_who_cannot_pay_gets_the_tokens_own_error(
    ledger, loan, dollar, publisher, lender, keeper, blocked
):
    dollar.setBlocked(lender, blocked, {"from": publisher})
    with reverts_with("ERC20InsufficientAllowance", ledger, 0, 9):
        ledger.repay(loan, 9, {"from": keeper})
    dollar.approve(ledger, 9, {"from": keeper})
    with reverts_with("ERC20InsufficientBalance", keeper, 0, 9):
        ledger.repay(loan, 9, {"from": keeper})
    assert ledger.claimable(lender) == 0
    assert ledger.loanOf(loan)["paid"] == 0


# --- LEDGER-3: whatever is paid, whenever and by whomever, is taken -----------------------------


@pytest.mark.parametrize("moment", ["early", "due", "late", "years late"])
@pytest.mark.parametrize("amount", [1, 106_618_546, 400_000_000])
def test_ledger_3_a_payment_is_taken_at_any_time(
    ledger, loan, due, dollar, clock, borrower, lender, moment, amount
):
    seconds = {"early": 0, "due": 1, "late": 40 * DAY, "years late": 4000 * DAY}[moment]
    clock.to(due(1) + seconds if seconds else START + 60)
    before = (dollar.balanceOf(borrower), dollar.balanceOf(lender))
    payment = ledger.repay(loan, amount, {"from": borrower})
    assert payment.return_value == amount
    assert (dollar.balanceOf(borrower), dollar.balanceOf(lender)) == (before[0] - amount, before[1] + amount)
    assert payment.events["Repaid"] == {"id": loan, "payer": borrower, "amount": amount, "paid": amount}
    assert ledger.loanOf(loan)["paid"] == amount


def test_ledger_3_only_what_is_owed_is_taken(ledger, loan, dollar, borrower, lender):
    total = ledger.loanOf(loan)["total"]
    before = dollar.balanceOf(lender)
    ledger.repay(loan, total - 1, {"from": borrower})
    payment = ledger.repay(loan, 2**256 - 1, {"from": borrower})
    assert payment.return_value == 1
    assert dollar.balanceOf(lender) == before + total
    assert payment.events["LoanRepaid"] == {"id": loan, "paid": total}
    assert ledger.loanOf(loan)["status"] == Status.REPAID
    assert ledger.payoff(loan) == 0


def test_ledger_3_anyone_pays_for_the_borrower(ledger, loan, dollar, stranger, borrower):
    before = dollar.balanceOf(borrower), dollar.balanceOf(stranger)
    ledger.repay(loan, 77, {"from": stranger})
    assert (dollar.balanceOf(borrower), dollar.balanceOf(stranger)) == (before[0], before[1] - 77)


def test_a_lender_who_pays_the_own_loan_is_left_as_before(ledger, loan, dollar, lender):
    dollar.approve(ledger, 2**256 - 1, {"from": lender})
    before = dollar.balanceOf(lender)
    ledger.repay(loan, 500, {"from": lender})
    assert dollar.balanceOf(lender) == before
    assert ledger.loanOf(loan)["paid"] == 500


def test_ledger_3_no_lender_makes_a_loan_unpayable(ledger, loan, dollar, publisher, lender, borrower):
    dollar.setBlocked(lender, True, {"from": publisher})
    before = dollar.balanceOf(lender)
    payment = ledger.repay(loan, 300, {"from": borrower})
    assert payment.events["PaymentHeld"] == {"id": loan, "lender": lender, "amount": 300}
    ledger.repay(loan, 2**200, {"from": borrower})
    total = ledger.loanOf(loan)["total"]
    assert ledger.loanOf(loan)["status"] == Status.REPAID
    assert ledger.claimable(lender) == dollar.balanceOf(ledger) == total
    assert dollar.balanceOf(lender) == before


def test_ledger_3_a_held_payment_costs_the_borrower_nothing_more(
    ledger, loan, dollar, due, level, clock, publisher, lender, borrower
):
    dollar.setBlocked(lender, True, {"from": publisher})
    ledger.repay(loan, level, {"from": borrower})
    clock.to(due(1) + GRACE + 1)
    assert ledger.delinquency(loan)["overdue"] == 0
    assert ledger.delinquency(loan)["fees"] == 0


# --- FEES-1: both sides of every boundary second ------------------------------------------------


@pytest.mark.parametrize("offset", [-48, 0, 32, 56])
def test_fees_1_a_payment_in_the_due_second_is_on_time(ledger, open_loan, clock, borrower, offset):
    loan = open_loan(calendar_offset=offset)
    record = ledger.loanOf(loan)
    due = due_time(record["firstDue"], 1, offset)
    assert ledger.instalmentOf(loan, 1)["dueAt"] == due
    clock.to(due)
    assert ledger.delinquency(loan)[:3] == (0, 0, 1)
    clock.to(due + 1)
    assert ledger.delinquency(loan) == (record["instalment"], 0, 1, due)
    clock.to(due + GRACE)
    assert ledger.delinquency(loan)[:2] == (record["instalment"], 0)
    clock.to(due + GRACE + 1)
    assert ledger.delinquency(loan)[:2] == (record["instalment"], FEE)


def test_fees_1_paying_in_the_last_second_of_grace_is_free(ledger, loan, due, level, clock, borrower):
    clock.to(due(1) + GRACE)
    payment = ledger.repay(loan, level, {"from": borrower})
    assert payment.timestamp == due(1) + GRACE
    assert "InstalmentMissed" not in payment.events
    clock.to(due(2))
    assert ledger.delinquency(loan)[:3] == (0, 0, 2)


def test_fees_1_paying_a_second_later_costs_one_fee(ledger, loan, due, level, clock, borrower):
    clock.to(due(1) + GRACE + 1)
    payment = ledger.repay(loan, level, {"from": borrower})
    assert payment.events["InstalmentMissed"] == {"id": loan, "first": 1, "last": 1, "fees": FEE}
    assert ledger.loanOf(loan)["fees"] == FEE
    assert ledger.loanOf(loan)["assessed"] == 1
    assert ledger.delinquency(loan)[:3] == (0, FEE, 2)


def test_fees_1_one_unit_short_is_missed(ledger, loan, due, level, clock, borrower):
    ledger.repay(loan, level - 1, {"from": borrower})
    clock.to(due(1) + GRACE + 1)
    assert ledger.delinquency(loan)[:3] == (1, FEE, 1)


def test_fees_1_each_missed_instalment_costs_one_fee_however_late(ledger, loan, due, clock, borrower):
    clock.to(due(3) + GRACE + 1)
    payment = ledger.repay(loan, 1, {"from": borrower})
    assert payment.events["InstalmentMissed"] == {"id": loan, "first": 1, "last": 3, "fees": 3 * FEE}
    clock.to(due(12) + 3000 * DAY)
    payment = ledger.repay(loan, 1, {"from": borrower})
    assert payment.events["InstalmentMissed"] == {"id": loan, "first": 4, "last": 12, "fees": 12 * FEE}
    clock.to(due(12) + 4000 * DAY)
    assert ledger.delinquency(loan)[1] == 12 * FEE


def test_fees_1_money_goes_to_what_is_due_then_to_fees_then_ahead(ledger, loan, due, level, clock, borrower):
    clock.to(due(2) + GRACE + 1)
    for amount, overdue, fees, first_unpaid in (
        (level, level, 2 * FEE, 2),
        (level - 1, 1, 2 * FEE, 2),
        (1 + FEE, 0, FEE, 3),
        (FEE - 1, 0, 1, 3),
        (1, 0, 0, 3),
        (level - 2 * FEE - 1, 0, 0, 3),
        (1, 0, 0, 4),
    ):
        ledger.repay(loan, amount, {"from": borrower})
        assert ledger.delinquency(loan)[:3] == (overdue, fees, first_unpaid)


def test_fees_1_an_unpaid_fee_never_causes_another(ledger, loan, due, level, clock, borrower):
    clock.to(due(1) + GRACE + 1)
    ledger.repay(loan, level, {"from": borrower})
    for k in range(2, 13):
        clock.to(due(k))
        ledger.repay(loan, level, {"from": borrower})
    clock.to(due(12) + 100 * DAY)
    record = ledger.loanOf(loan)
    assert record["fees"] == FEE
    # The last instalment is a little smaller than the others, and what was paid beyond it went to the fee.
    beyond = 12 * level - record["total"]
    assert ledger.delinquency(loan)[:3] == (0, FEE - beyond, 0)
    assert ledger.repay(loan, 2**200, {"from": borrower}).return_value == FEE - beyond
    assert ledger.loanOf(loan)["status"] == Status.REPAID


def test_fees_1_a_fee_of_zero_stays_zero(ledger, open_loan, clock, borrower):
    loan = open_loan(late_fee=0)
    clock.to(ledger.instalmentOf(loan, 2)["dueAt"] + GRACE + 1)
    payment = ledger.repay(loan, 1, {"from": borrower})
    assert payment.events["InstalmentMissed"] == {"id": loan, "first": 1, "last": 2, "fees": 0}
