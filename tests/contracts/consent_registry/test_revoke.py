import pytest
from support.offers import ZERO_ADDRESS
from support.reverts import reverts_with

EMAIL, SMS, PUSH, IN_APP = range(4)


@pytest.fixture
def consenting(consents, borrower):
    for channel in (EMAIL, IN_APP):
        consents.register(channel, b"\xc0" * 32, 0, 0, {"from": borrower})
        consents.grant(channel, {"from": borrower})


def test_consent_1_the_borrower_revokes_one_channel(consents, consenting, borrower):
    revoked = consents.revoke(EMAIL, {"from": borrower})
    assert revoked.events["ConsentRevoked"] == {
        "borrower": borrower,
        "channel": EMAIL,
        "recordedBy": borrower,
    }
    profile = consents.profileOf(borrower)
    assert (profile["registered"], profile["consented"], profile["ceased"]) == (0b1001, 1 << IN_APP, False)


def test_consent_1_revoking_never_fails(consents, borrower, stranger):
    for _ in range(2):
        consents.revoke(PUSH, {"from": stranger})
    assert consents.profileOf(stranger)["consented"] == 0


def test_a_word_is_about_a_loan(consents, lender):
    with reverts_with("UnknownLoan", b"\3" * 32):
        consents.revokeOnWord(b"\3" * 32, EMAIL, {"from": lender})


def test_consent_1_lender_and_servicer_record_a_revocation(
    consents, consenting, ledger, open_loan, lender, servicer, borrower
):
    loan = open_loan()
    ledger.appointServicer(servicer, {"from": lender})
    for channel, recorder in ((EMAIL, lender), (IN_APP, servicer)):
        revoked = consents.revokeOnWord(loan, channel, {"from": recorder})
        assert revoked.events["ConsentRevoked"] == {
            "borrower": borrower,
            "channel": channel,
            "recordedBy": recorder,
        }
    assert consents.profileOf(borrower)["consented"] == 0


def test_consent_1_nobody_else_records_a_word(
    consents, ledger, open_loan, terms, sign, lender, servicer, borrower, stranger
):
    loan = open_loan()
    # A lender of the same borrower, and its servicer, have no say about this loan.
    offered = terms(lender=stranger)
    ledger.open(offered, sign(offered, stranger), {"from": borrower})
    ledger.appointServicer(servicer, {"from": stranger})
    for sender in (stranger, servicer, borrower):
        with reverts_with("NotLenderOrServicer", sender, lender, ZERO_ADDRESS):
            consents.revokeOnWord(loan, EMAIL, {"from": sender})
