import pytest
from support.clock import START
from support.offers import Status, loan_id
from support.reverts import reverts_with


@pytest.mark.parametrize("party", ["lender", "borrower"])
def test_a_cancelled_offer_opens_no_loan(ledger, terms, sign, borrower, keeper, request, party):
    actor, offered = request.getfixturevalue(party), terms()
    acceptance = sign(offered, borrower, "Acceptance")
    cancelled = ledger.cancelOffer(offered, {"from": actor})
    loan = loan_id(offered, ledger)
    event = cancelled.events["OfferCancelled"]
    assert (bytes(event["id"]), event["party"]) == (loan, actor)
    with reverts_with("OfferWithdrawn", loan):
        ledger.open(offered, sign(offered), {"from": borrower})
    with reverts_with("OfferWithdrawn", loan):
        ledger.openBySignature(offered, sign(offered), acceptance, {"from": keeper})
    with reverts_with("OfferWithdrawn", loan):
        ledger.cancelOffer(offered, {"from": actor})


def test_nobody_cancels_for_others(ledger, terms, sign, lender, borrower, servicer, stranger):
    offered = terms()
    ledger.appointServicer(servicer, {"from": lender})
    for sender in (servicer, stranger):
        with reverts_with("NotParty", sender, lender, borrower):
            ledger.cancelOffer(offered, {"from": sender})
    ledger.open(offered, sign(offered), {"from": borrower})


def test_a_front_runner_keeps_no_lender_from_cancelling(
    ledger, terms, sign, lender, borrower, stranger, keeper
):
    """Whoever sees the cancellation coming can neither open nor cancel in the lender's place."""
    offered = terms()
    with reverts_with("NotBorrower", stranger, borrower):
        ledger.open(offered, sign(offered), {"from": stranger})
    forged = sign(offered, stranger, "Acceptance")
    with reverts_with("InvalidAcceptance", loan_id(offered, ledger), borrower):
        ledger.openBySignature(offered, sign(offered), forged, {"from": keeper})
    ledger.cancelOffer(offered, {"from": lender})


def test_a_borrower_who_opens_first_has_the_loan(ledger, terms, sign, lender, borrower):
    offered = terms()
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    for party in (lender, borrower):
        with reverts_with("LoanExists", loan):
            ledger.cancelOffer(offered, {"from": party})
    assert ledger.loanOf(loan)["status"] == Status.ACTIVE


def test_an_expired_offer_needs_no_cancelling(ledger, terms, lender, clock):
    offered = terms(expires=START + 100)
    clock.to(START + 101)
    with reverts_with("OfferExpired", START + 100, START + 101):
        ledger.cancelOffer(offered, {"from": lender})


def test_a_cancelled_offer_is_no_loan(ledger, terms, lender, borrower):
    offered = terms()
    ledger.cancelOffer(offered, {"from": lender})
    loan = loan_id(offered, ledger)
    assert ledger.positionOf(loan)["status"] == Status.NONE
    for use in (ledger.loanOf, ledger.payoff, ledger.partiesOf):
        with reverts_with("UnknownLoan", loan):
            use(loan)
    with reverts_with("UnknownLoan", loan):
        ledger.repay(loan, 1, {"from": borrower})


def test_other_offers_stay_open(ledger, terms, sign, lender, borrower):
    cancelled, other = terms(), terms()
    ledger.cancelOffer(cancelled, {"from": lender})
    ledger.open(other, sign(other), {"from": borrower})


@pytest.mark.parametrize("party", ["lender", "borrower"])
def test_a_cancelled_amendment_changes_nothing(ledger, open_loan, changed, amends, record, request, party):
    loan = open_loan()
    amended = changed(loan)
    before = record(loan)
    ledger.cancelOffer(amended, {"from": request.getfixturevalue(party)})
    with reverts_with("OfferWithdrawn", loan_id(amended, ledger)):
        amends(amended)
    assert record(loan) == before
