import pytest
from support.clock import DAY
from support.offers import FOREVER, PAUSE, Grievance, Lending
from support.reverts import reverts_with


@pytest.fixture
def loan(open_loan, restful):
    return open_loan(policy=restful)


def test_an_unknown_loan_has_nothing_to_withdraw(withdraw, notices):
    with reverts_with("UnknownLoan", b"\3" * 32):
        withdraw(b"\3" * 32, Grievance.DISPUTE)


@pytest.mark.parametrize("grievance", Grievance)
def test_pause_1_the_borrower_alone_withdraws(
    lodge, withdraw, desk, ledger, loan, grievance, borrower, lender, servicer, stranger, rests
):
    ledger.appointServicer(servicer, {"from": lender})
    # Not even who recorded it.
    since = lodge(loan, grievance, lender).timestamp
    for sender in (lender, servicer, stranger):
        with reverts_with("NotTheBorrower", sender, borrower):
            desk.withdraw(loan, grievance, {"from": sender})
    assert rests(loan, borrower) == (FOREVER, FOREVER)
    withdrawn = withdraw(loan, grievance)
    assert withdrawn.events["GrievanceWithdrawn"] == {
        "loan": loan,
        "borrower": borrower,
        "grievance": grievance,
    }
    now = withdrawn.timestamp
    assert desk.caseOf(loan, grievance) == (since, now, False, True, True)
    assert rests(loan, borrower) == (now, now)


def test_what_does_not_stand_is_not_withdrawn(lodge, withdraw, answer, loan):
    def nothing(grievance):
        with reverts_with("NoGrievance", loan, grievance):
            withdraw(loan, grievance)

    nothing(Grievance.DISPUTE)
    lodge(loan, Grievance.DISPUTE)
    nothing(Grievance.HARDSHIP)
    answer(loan, Grievance.DISPUTE)
    nothing(Grievance.DISPUTE)
    lodge(loan, Grievance.DISPUTE)
    withdraw(loan, Grievance.DISPUTE)
    nothing(Grievance.DISPUTE)


def test_what_goes_on_with_another_loan_is_withdrawn_there(
    lodge, withdraw, ledger, publish, open_loan, lender, borrower, rests
):
    old = open_loan(policy=publish(Lending(cooling_off_days=0)))
    lodge(old, Grievance.DISPUTE)
    new = ledger.defer(old, 1, {"from": lender}).return_value
    with reverts_with("NoGrievance", old, Grievance.DISPUTE):
        withdraw(old, Grievance.DISPUTE)
    now = withdraw(new, Grievance.DISPUTE).timestamp
    assert rests(new, borrower) == (now, 0)


@pytest.mark.parametrize("end", ["repaid", "rescinded"])
def test_it_can_be_withdrawn_when_nothing_is_owed_any_more(
    lodge, withdraw, ledger, terms, sign, open_loan, restful, borrower, end, rests
):
    offered, other = terms(policy=restful), open_loan(policy=restful)
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    lodge(loan, Grievance.DISPUTE)
    if end == "repaid":
        ledger.repay(loan, 2**200, {"from": borrower})
    else:
        ledger.rescind(offered, {"from": borrower})
    assert rests(other, borrower)[0] == FOREVER
    now = withdraw(loan, Grievance.DISPUTE).timestamp
    assert rests(other, borrower)[0] == now


def test_pause_1_withdrawing_shortens_no_rest_after_an_answer(
    lodge, withdraw, answer, loan, clock, borrower, rests
):
    lodge(loan, Grievance.HARDSHIP)
    answered = answer(loan, Grievance.HARDSHIP).timestamp
    clock.forward(DAY)
    lodge(loan, Grievance.HARDSHIP)
    clock.forward(DAY)
    withdraw(loan, Grievance.HARDSHIP)
    assert rests(loan, borrower) == (answered + PAUSE, answered + PAUSE)
