import pytest
from support.clock import DAY
from support.offers import FOREVER, PAUSE, Contact, Grievance
from support.reverts import reverts_with


@pytest.fixture
def loan(open_loan, restful):
    return open_loan(policy=restful)


@pytest.fixture
def from_gate(desk, notices, clock):
    """What the gate calls, sent by its own address."""

    def from_gate(name, *args):
        clock._request("anvil_impersonateAccount", notices.address)
        clock._request("anvil_setBalance", notices.address, hex(10**18))
        return getattr(desk, name)(*args, {"from": notices.address, "silent": True})

    return from_gate


@pytest.mark.parametrize("name", ["answerServed", "receiptServed"])
def test_pause_1_only_the_gate_tells_what_was_served(
    lodge, desk, ledger, notices, loan, name, borrower, lender, servicer, publisher
):
    ledger.appointServicer(servicer, {"from": lender})
    lodge(loan, Grievance.DISPUTE)
    for sender in (borrower, lender, servicer, publisher):
        with reverts_with("NotFrom", sender, notices):
            getattr(desk, name)(loan, Grievance.DISPUTE, {"from": sender})


@pytest.mark.parametrize("grievance", [Grievance.DISPUTE, Grievance.HARDSHIP])
def test_pause_1_the_rest_ends_the_policys_days_after_the_answer(
    lodge, answer, desk, loan, clock, borrower, grievance, rests
):
    since = lodge(loan, grievance).timestamp
    clock.forward(100 * DAY)
    assert rests(loan, borrower) == (FOREVER, FOREVER)
    answered = answer(loan, grievance)
    until = answered.timestamp + PAUSE
    assert answered.events["GrievanceAnswered"] == {
        "loan": loan,
        "borrower": borrower,
        "grievance": grievance,
        "restsUntil": until,
    }
    assert desk.caseOf(loan, grievance) == (since, answered.timestamp, False, True, True)
    assert rests(loan, borrower) == (until, until)


@pytest.mark.parametrize("days", [0, 1, 255])
def test_pause_1_the_days_are_those_in_force_when_it_is_answered(
    lodge, answer, policy_book, publish, publisher, open_loan, borrower, rests, days
):
    policy = publish(contact=Contact(pause_days=0))
    loan = open_loan(policy=policy)
    lodge(loan, Grievance.DISPUTE)
    policy_book.tighten(policy, Contact(pause_days=days), {"from": publisher})
    now = answer(loan, Grievance.DISPUTE).timestamp
    assert rests(loan, borrower) == (now + days * DAY, 0)


def test_what_does_not_stand_has_no_answer(from_gate, lodge, withdraw, loan):
    with reverts_with("NoGrievance", loan, Grievance.DISPUTE):
        from_gate("answerServed", loan, Grievance.DISPUTE)
    lodge(loan, Grievance.DISPUTE)
    withdraw(loan, Grievance.DISPUTE)
    with reverts_with("NoGrievance", loan, Grievance.DISPUTE):
        from_gate("answerServed", loan, Grievance.DISPUTE)


def test_a_receipt_ends_nothing(from_gate, lodge, desk, loan, borrower, rests):
    since = lodge(loan, Grievance.DISPUTE).timestamp
    from_gate("receiptServed", loan, Grievance.DISPUTE)
    assert desk.caseOf(loan, Grievance.DISPUTE) == (since, 0, True, True, True)
    assert desk.caseOf(loan, Grievance.HARDSHIP) == (0, 0, False, False, False)
    assert rests(loan, borrower) == (FOREVER, FOREVER)
