import pytest
from support.offers import FOREVER, PAUSE, Contact, Grievance, Lending
from support.reverts import reverts_with


@pytest.fixture
def loan(open_loan, publish):
    return open_loan(policy=publish(Lending(cooling_off_days=0), Contact(rest_fees=0b011)))


def test_only_the_ledger_carries_over(desk, ledger, notices, loan, borrower, lender, publisher):
    for sender in (borrower, lender, publisher):
        with reverts_with("NotFrom", sender, ledger):
            desk.carryOver(loan, b"\3" * 32, {"from": sender})


def test_pause_1_everything_goes_over(
    lodge, answer, withdraw, desk, ledger, loan, borrower, lender, clock, rests
):
    answered = lodge(loan, Grievance.DISPUTE) and answer(loan, Grievance.DISPUTE).timestamp
    for grievance in (Grievance.HARDSHIP, Grievance.REPRESENTATION):
        lodge(loan, grievance)
    cases = [desk.caseOf(loan, grievance) for grievance in Grievance]
    deferred = ledger.defer(loan, 1, {"from": lender})
    new = deferred.return_value
    assert deferred.events["GrievancesCarriedOver"] == {"loan": loan, "amendment": new}
    assert [desk.caseOf(new, grievance) for grievance in Grievance] == cases
    assert [desk.caseOf(loan, grievance) for grievance in Grievance] == [(0, 0, False, False, False)] * 3
    assert (rests(loan, borrower), rests(new, borrower)) == ((0, 0), (FOREVER, FOREVER))
    for grievance in (Grievance.HARDSHIP, Grievance.REPRESENTATION):
        withdraw(new, grievance)
    assert rests(new, borrower) == (answered + PAUSE, answered + PAUSE)


def test_a_loan_without_grievances_carries_none_over(desk, ledger, notices, loan, lender):
    assert "GrievancesCarriedOver" not in ledger.defer(loan, 1, {"from": lender}).events


def test_they_go_over_again_and_again(lodge, withdraw, ledger, loan, lender, borrower, rests):
    lodge(loan, Grievance.REPRESENTATION)
    for _ in range(3):
        loan = ledger.defer(loan, 1, {"from": lender}).return_value
        assert rests(loan, borrower)[0] == FOREVER
    now = withdraw(loan, Grievance.REPRESENTATION).timestamp
    assert rests(loan, borrower) == (now, 0)
