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
def due(ledger, loan):
    return lambda k: ledger.instalmentOf(loan, k)["dueAt"]


def test_an_unknown_loan_has_missed_nothing(ledger, keeper):
    with reverts_with("UnknownLoan", b"\3" * 32):
        ledger.flagMissed(b"\3" * 32, {"from": keeper})


def test_a_repaid_loan_has_missed_nothing(ledger, loan, borrower, keeper):
    ledger.repay(loan, 2**200, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.flagMissed(loan, {"from": keeper})


def test_fees_1_both_sides_of_the_end_of_grace(ledger, loan, due, clock, keeper):
    clock.to(due(1) + GRACE)
    with reverts_with("NothingMissed", loan, 0):
        ledger.flagMissed(loan, {"from": keeper})
    clock.to(due(1) + GRACE + 1)
    flagged = ledger.flagMissed(loan, {"from": keeper})
    assert flagged.events["InstalmentMissed"] == {"id": loan, "first": 1, "last": 1, "fees": FEE}
    assert (ledger.loanOf(loan)["fees"], ledger.loanOf(loan)["assessed"]) == (FEE, 1)


def test_fees_1_flagging_twice_charges_once(ledger, loan, due, clock, keeper):
    clock.to(due(4) + GRACE + 1)
    assert ledger.flagMissed(loan, {"from": keeper}).events["InstalmentMissed"]["fees"] == 4 * FEE
    clock.to(due(5) + GRACE)
    with reverts_with("NothingMissed", loan, 4):
        ledger.flagMissed(loan, {"from": keeper})


def test_fees_1_what_was_paid_in_time_is_not_missed(ledger, loan, due, clock, borrower, keeper):
    ledger.repay(loan, 2 * ledger.loanOf(loan)["instalment"], {"from": borrower})
    clock.to(due(2) + GRACE + 1)
    with reverts_with("NothingMissed", loan, 0):
        ledger.flagMissed(loan, {"from": keeper})
    clock.to(due(3) + GRACE + 1)
    flagged = ledger.flagMissed(loan, {"from": keeper})
    assert flagged.events["InstalmentMissed"] == {"id": loan, "first": 3, "last": 3, "fees": FEE}


def test_flagging_changes_nothing_that_the_views_did_not_say(ledger, loan, due, clock, keeper):
    clock.to(due(3) + GRACE + 1)
    before = (ledger.payoff(loan), ledger.delinquency(loan), ledger.positionOf(loan))
    ledger.flagMissed(loan, {"from": keeper})
    clock.to(due(3) + GRACE + 1)
    assert (ledger.payoff(loan), ledger.delinquency(loan), ledger.positionOf(loan)) == before


# --- many ---------------------------------------------------------------------------------------


def test_fees_1_many_loans_are_flagged_at_once(
    ledger, open_loan, due, terms, clock, borrower, lender, keeper
):
    loans = [open_loan() for _ in range(3)]
    repaid, on_time, cancelled = open_loan(), open_loan(), terms()
    ledger.repay(repaid, 2**200, {"from": borrower})
    ledger.repay(on_time, ledger.loanOf(on_time)["instalment"] * 2, {"from": borrower})
    ledger.cancelOffer(cancelled, {"from": lender})
    clock.to(due(2) + GRACE + 1)
    ids = [*loans, repaid, b"\3" * 32, on_time, ledger.idOf(cancelled), loans[0], loans[1]]
    flagged = ledger.flagMissedMany(ids, {"from": keeper})
    assert flagged.return_value == 3
    assert flagged.events["InstalmentMissed"] == [
        {"id": loan, "first": 1, "last": 2, "fees": 2 * FEE} for loan in loans
    ]
    assert [ledger.loanOf(loan)["assessed"] for loan in (*loans, repaid, on_time)] == [2, 2, 2, 0, 0]
    assert ledger.flagMissedMany.call(ids, {"from": keeper}) == 0
    assert ledger.flagMissedMany.call([], {"from": keeper}) == 0


def test_a_loan_in_default_is_flagged_too(ledger, loan, due, clock, lender, keeper):
    clock.to(due(1) + 90 * DAY)
    ledger.markDefault(loan, {"from": lender})
    clock.to(due(5) + GRACE + 1)
    assert ledger.flagMissedMany([loan], {"from": keeper}).return_value == 1
    assert ledger.loanOf(loan)["fees"] == 5 * FEE
