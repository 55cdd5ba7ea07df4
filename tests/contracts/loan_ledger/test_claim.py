import brownie
import pytest
from support.reverts import reverts_with


@pytest.fixture(scope="module")
def dollar(publisher):
    return brownie.BlockingDollar.deploy(6, {"from": publisher})


@pytest.fixture
def held(ledger, open_loan, dollar, publisher, lender, borrower):
    """300 that a blocked lender could not receive, in two payments about two loans."""
    loans = open_loan(), open_loan()
    dollar.setBlocked(lender, True, {"from": publisher})
    ledger.repay(loans[0], 100, {"from": borrower})
    ledger.repay(loans[1], 200, {"from": borrower})
    return 300


def test_there_is_nothing_to_claim_for_others(ledger, held, stranger):
    with reverts_with("NothingToClaim", stranger):
        ledger.claim(stranger, {"from": stranger})


def test_a_claim_that_cannot_be_paid_out_loses_nothing(ledger, held, lender):
    with reverts_with("Blocked", lender):
        ledger.claim(lender, {"from": lender})
    assert ledger.claimable(lender) == held


def test_ledger_2_all_that_is_held_is_paid_out_once(ledger, held, dollar, lender, keeper):
    claimed = ledger.claim(keeper, {"from": lender})
    assert claimed.return_value == held == dollar.balanceOf(keeper)
    assert claimed.events["Claimed"] == {"lender": lender, "to": keeper, "amount": held}
    assert dollar.balanceOf(ledger) == ledger.claimable(lender) == 0
    with reverts_with("NothingToClaim", lender):
        ledger.claim(keeper, {"from": lender})


def test_ledger_2_each_lender_claims_their_own(
    ledger, held, open_loan, terms, sign, dollar, publisher, lender, borrower, stranger
):
    offered = terms(lender=stranger)
    other = ledger.open(offered, sign(offered, stranger), {"from": borrower}).return_value
    dollar.setBlocked(stranger, True, {"from": publisher})
    ledger.repay(other, 50, {"from": borrower})
    assert dollar.balanceOf(ledger) == held + 50
    dollar.setBlocked(lender, False, {"from": publisher})
    ledger.claim(lender, {"from": lender})
    assert dollar.balanceOf(ledger) == ledger.claimable(stranger) == 50


def test_ledger_2_what_is_held_stays_with_the_old_lender(
    ledger, open_loan, sign_assignment, dollar, publisher, lender, borrower, stranger, keeper
):
    loan = open_loan()
    dollar.setBlocked(lender, True, {"from": publisher})
    ledger.repay(loan, 100, {"from": borrower})
    ledger.assign(loan, stranger, 2**40, sign_assignment(loan, lender, stranger), {"from": lender})
    dollar.setBlocked(stranger, True, {"from": publisher})
    ledger.repay(loan, 30, {"from": borrower})
    assert (ledger.claimable(lender), ledger.claimable(stranger)) == (100, 30)
    ledger.claim(keeper, {"from": lender})
    assert dollar.balanceOf(keeper) == 100
    assert (ledger.claimable(stranger), dollar.balanceOf(ledger)) == (30, 30)
