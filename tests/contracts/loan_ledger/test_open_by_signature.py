import brownie
import pytest
from support.clock import START
from support.offers import Frequency, Schedule, Status, loan_id, sign_consent
from support.reverts import reverts_with


@pytest.fixture(scope="module")
def accept(ledger, key_of, borrower):
    """The borrower's acceptance, or another's."""
    return lambda terms, actor=borrower, **elsewhere: sign_consent(
        "Acceptance", terms, key_of(actor), elsewhere.pop("contract", ledger), **elsewhere
    )


@pytest.fixture(scope="module")
def refuses(ledger, sign, keeper, borrower):
    """Opening these terms with this acceptance is refused as not the borrower's."""

    def refuses(terms, acceptance):
        with reverts_with("InvalidAcceptance", loan_id(terms, ledger), terms.borrower):
            ledger.openBySignature.call(terms, sign(terms), acceptance, {"from": keeper})

    return refuses


def test_anyone_opens_what_both_signed(ledger, terms, sign, accept, dollar, lender, borrower, keeper):
    offered = terms(origination_fee=7_000_000)
    before = [dollar.balanceOf(holder) for holder in (lender, borrower, keeper)]
    opened = ledger.openBySignature(offered, sign(offered), accept(offered), {"from": keeper})
    received = offered.principal - 7_000_000
    assert bytes(opened.return_value) == loan_id(offered, ledger)
    assert opened.events["LoanOpened"]["id"] == opened.return_value
    assert [dollar.balanceOf(holder) for holder in (lender, borrower, keeper)] == [
        before[0] - received,
        before[1] + received,
        before[2],
    ]
    record = ledger.loanOf(opened.return_value)
    assert (record["borrower"], record["status"]) == (borrower, Status.ACTIVE)


def test_only_the_borrower_accepts(terms, accept, refuses, lender, keeper):
    offered = terms()
    for signer in (lender, keeper):
        refuses(offered, accept(offered, signer))


def test_terms_1_an_acceptance_holds_for_no_other_terms(ledger, terms, sign, accept, refuses, keeper):
    offered = terms(origination_fee=1_000, late_fee=1_000)
    acceptance = accept(offered)
    # The lender signs both, and tries the acceptance of the one for the other.
    for field, another in {
        "principal": offered.principal + 1,
        "origination_fee": 999,
        "late_fee": 1_001,
        "rate": offered.rate - 1,
        "instalments": 13,
        "first_due": offered.first_due + 1,
        "schedule": Schedule.EQUAL_PRINCIPAL,
        "frequency": Frequency.FOUR_WEEKLY,
        "calendar_offset": 33,
        "grace_days": 6,
        "expires": offered.expires + 1,
        "agreement_hash": b"\x55" * 32,
        "salt": b"\x66" * 32,
    }.items():
        refuses(offered._replace(**{field: another}), acceptance)
    ledger.openBySignature.call(offered, sign(offered), acceptance, {"from": keeper})


def test_an_acceptance_is_given_as_one(ledger, terms, sign, accept, refuses, key_of, borrower, dollar):
    offered = terms()
    for consent in ("Offer", "Amendment"):
        refuses(offered, sign(offered, borrower, consent))
    refuses(offered, accept(offered, contract=dollar))
    refuses(offered, accept(offered, chain_id=1))
    refuses(offered, b"")


def test_an_acceptance_is_no_offer(ledger, terms, sign, accept, lender, keeper):
    offered = terms()
    with reverts_with("InvalidOffer", loan_id(offered, ledger), lender):
        ledger.openBySignature(offered, accept(offered, lender), accept(offered), {"from": keeper})


def test_an_acceptance_opens_one_loan(ledger, terms, sign, accept, keeper, borrower):
    offered = terms()
    signatures = sign(offered), accept(offered)
    loan = ledger.openBySignature(offered, *signatures, {"from": keeper}).return_value
    with reverts_with("LoanExists", loan):
        ledger.openBySignature(offered, *signatures, {"from": keeper})
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    with reverts_with("LoanExists", loan):
        ledger.openBySignature(offered, *signatures, {"from": keeper})


def test_an_acceptance_ends_with_the_offer(ledger, terms, sign, accept, keeper, clock):
    offered = terms(expires=START + 100)
    clock.to(START + 101)
    with reverts_with("OfferExpired", START + 100, START + 101):
        ledger.openBySignature(offered, sign(offered), accept(offered), {"from": keeper})


def test_a_contract_borrows_by_its_owners_acceptance(
    ledger, terms, sign, accept, refuses, dollar, borrower, stranger, keeper
):
    wallet = brownie.SignerWallet.deploy(borrower, {"from": borrower})
    offered = terms(borrower=wallet)
    refuses(offered, accept(offered, stranger))
    opened = ledger.openBySignature(offered, sign(offered), accept(offered), {"from": keeper})
    assert ledger.partiesOf(opened.return_value)["borrower"] == wallet
    assert dollar.balanceOf(wallet) == offered.principal
