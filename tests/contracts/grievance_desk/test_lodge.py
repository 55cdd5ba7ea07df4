import brownie
import pytest
from support.clock import DAY
from support.offers import FOREVER, ZERO_ADDRESS, Contact, Grievance, Lending, Status
from support.reverts import reverts_with

NOBODY = b"\3" * 32


@pytest.fixture
def loan(open_loan):
    return open_loan()


def test_there_is_a_loan_to_be_aggrieved_about(lodge):
    with reverts_with("UnknownLoan", NOBODY):
        lodge(NOBODY, Grievance.DISPUTE)


def test_nothing_is_disputed_before_the_desk_is_bound(publisher, policy_book, borrower):
    loose = brownie.GrievanceDesk.deploy(policy_book, {"from": publisher})
    with brownie.reverts():
        loose.lodge(NOBODY, Grievance.DISPUTE, {"from": borrower})


@pytest.mark.parametrize("grievance", Grievance)
def test_consent_1_borrower_lender_and_servicer_lodge(
    lodge, desk, ledger, loan, grievance, borrower, lender, servicer, withdraw, rests
):
    ledger.appointServicer(servicer, {"from": lender})
    for sender in (borrower, lender, servicer):
        lodged = lodge(loan, grievance, sender)
        assert lodged.events["GrievanceLodged"] == {
            "loan": loan,
            "borrower": borrower,
            "grievance": grievance,
            "recordedBy": sender,
            "allLoans": False,
            "feesRest": False,
        }
        assert desk.caseOf(loan, grievance) == (lodged.timestamp, 0, False, False, False)
        assert rests(loan, borrower) == (FOREVER, 0)
        withdraw(loan, grievance)


def test_nobody_else_lodges(lodge, ledger, loan, borrower, lender, servicer, stranger, keeper):
    for sender in (stranger, servicer):
        with reverts_with("NotConcerned", sender, borrower, lender, ZERO_ADDRESS):
            lodge(loan, Grievance.HARDSHIP, sender)
    ledger.appointServicer(servicer, {"from": lender})
    ledger.appointServicer(stranger, {"from": borrower})
    for sender in (stranger, keeper):
        with reverts_with("NotConcerned", sender, borrower, lender, servicer):
            lodge(loan, Grievance.HARDSHIP, sender)
    ledger.appointServicer(keeper, {"from": lender})
    with reverts_with("NotConcerned", servicer, borrower, lender, keeper):
        lodge(loan, Grievance.HARDSHIP, servicer)


def test_what_stands_is_not_lodged_again(lodge, loan, clock, lender, borrower):
    since = lodge(loan, Grievance.DISPUTE).timestamp
    for sender in (lender, borrower):
        clock.forward(DAY)
        with reverts_with("GrievanceStands", loan, Grievance.DISPUTE, since):
            lodge(loan, Grievance.DISPUTE, sender)
    # Another kind is another grievance.
    lodge(loan, Grievance.HARDSHIP)
    lodge(loan, Grievance.REPRESENTATION)


def test_something_is_owed(lodge, ledger, terms, sign, borrower, open_loan):
    repaid, settled = open_loan(), open_loan()
    ledger.repay(repaid, 2**200, {"from": borrower})
    ledger.settle(settled, 2**200, {"from": borrower})
    offered = terms()
    rescinded = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    ledger.rescind(offered, {"from": borrower})
    wanted = [(repaid, Status.REPAID), (settled, Status.REPAID), (rescinded, Status.RESCINDED)]
    for loan, status in wanted:
        with reverts_with("LoanNotActive", loan, status):
            lodge(loan, Grievance.DISPUTE)


def test_nothing_is_lodged_about_a_loan_that_goes_on_in_another(
    lodge, ledger, open_loan, publish, lender, borrower
):
    old = open_loan(policy=publish(Lending(cooling_off_days=0)))
    new = ledger.defer(old, 1, {"from": lender}).return_value
    with reverts_with("LoanNotActive", old, Status.REPLACED):
        lodge(old, Grievance.DISPUTE)
    lodge(new, Grievance.DISPUTE)


def test_a_loan_in_default_is_disputed_as_well(lodge, ledger, loan, clock, lender, borrower, rests):
    clock.to(int(ledger.instalmentOf(loan, 1)["dueAt"]) + 91 * DAY)
    ledger.markDefault(loan, {"from": lender})
    lodge(loan, Grievance.DISPUTE)
    assert rests(loan, borrower)[0] == FOREVER


@pytest.mark.parametrize("grievance", [Grievance.DISPUTE, Grievance.HARDSHIP])
@pytest.mark.parametrize("end", ["answered", "withdrawn"])
def test_pause_1_the_borrower_reopens_it(
    lodge, withdraw, answer, desk, loan, clock, borrower, grievance, end, rests
):
    lodge(loan, grievance)
    clock.forward(DAY)
    answer(loan, grievance) if end == "answered" else withdraw(loan, grievance)
    assert desk.caseOf(loan, grievance)["answeredAt"] != 0
    for days in (1, 31):
        clock.forward(days * DAY)
        since = lodge(loan, grievance).timestamp
        assert desk.caseOf(loan, grievance) == (since, 0, False, False, False)
        assert rests(loan, borrower)[0] == FOREVER
        withdraw(loan, grievance)


@pytest.mark.parametrize("grievance", Grievance)
def test_pause_1_the_policy_says_what_rests(
    lodge, withdraw, desk, publish, open_loan, borrower, grievance, rests
):
    bit = 1 << grievance
    for all_loans in (False, True):
        for fees_rest in (False, True):
            contact = Contact(
                rest_all_loans=bit if all_loans else 7 - bit, rest_fees=bit if fees_rest else 7 - bit
            )
            loan, other = open_loan(policy=publish(contact=contact)), open_loan()
            event = lodge(loan, grievance).events["GrievanceLodged"]
            assert (event["allLoans"], event["feesRest"]) == (all_loans, fees_rest)
            assert desk.caseOf(loan, grievance)[3:] == (all_loans, fees_rest)
            assert rests(loan, borrower) == (FOREVER, FOREVER if fees_rest else 0)
            assert rests(other, borrower) == (FOREVER if all_loans else 0, 0)
            ended = withdraw(loan, grievance).timestamp
            assert rests(loan, borrower) == (ended, ended if fees_rest else 0)
            assert rests(other, borrower) == (ended if all_loans else 0, 0)


def test_pause_1_what_rests_is_as_the_policy_was_when_it_was_lodged(
    lodge, withdraw, policy_book, publish, publisher, open_loan, borrower, rests, clock
):
    policy = publish()
    loan, other = open_loan(policy=policy), open_loan()
    lodge(loan, Grievance.HARDSHIP)
    tighter = Contact(rest_all_loans=0b111, rest_fees=0b111)
    policy_book.tighten(policy, tighter, {"from": publisher})
    assert (rests(loan, borrower), rests(other, borrower)) == ((FOREVER, 0), (0, 0))
    withdraw(loan, Grievance.HARDSHIP)
    assert rests(other, borrower) == (0, 0)
    lodge(loan, Grievance.HARDSHIP)
    assert (rests(loan, borrower), rests(other, borrower)) == ((FOREVER, FOREVER), (FOREVER, 0))


def test_another_borrowers_loans_do_not_rest(lodge, restful, open_loan, borrower, stranger, rests):
    loan, foreign = open_loan(policy=restful), open_loan(policy=restful, borrower=stranger)
    lodge(loan, Grievance.REPRESENTATION)
    assert rests(foreign, stranger) == (0, 0)
