import pytest
from support.reverts import reverts_with

EMAIL, SMS, PUSH, IN_APP = range(4)


@pytest.fixture
def consenting(consents, borrower):
    for channel in (EMAIL, IN_APP):
        consents.register(channel, b"\xc0" * 32, 0, 0, {"from": borrower})
        consents.grant(channel, {"from": borrower})


def test_consent_1_the_borrower_stops_all_contact(consents, consenting, borrower):
    ceased = consents.cease({"from": borrower})
    assert ceased.events["ContactCeased"] == {"borrower": borrower, "recordedBy": borrower}
    assert consents.profileOf(borrower)[2:5] == (0b1001, 0, True)


def test_consent_1_ceasing_never_fails(consents, stranger):
    for _ in range(2):
        consents.cease({"from": stranger})
    assert consents.profileOf(stranger)["ceased"]


def test_a_word_is_about_a_loan(consents, lender):
    with reverts_with("UnknownLoan", b"\3" * 32):
        consents.ceaseOnWord(b"\3" * 32, {"from": lender})


@pytest.mark.parametrize("role", ["lender", "servicer"])
def test_consent_1_lender_and_servicer_record_a_cease(
    consents, consenting, ledger, open_loan, lender, servicer, borrower, request, role
):
    recorder = request.getfixturevalue(role)
    loan = open_loan()
    ledger.appointServicer(servicer, {"from": lender})
    ceased = consents.ceaseOnWord(loan, {"from": recorder})
    assert ceased.events["ContactCeased"] == {"borrower": borrower, "recordedBy": recorder}
    assert consents.profileOf(borrower)[2:5] == (0b1001, 0, True)


def test_consent_1_nobody_else_records_a_cease(
    consents, ledger, open_loan, lender, servicer, borrower, stranger
):
    loan = open_loan()
    ledger.appointServicer(servicer, {"from": lender})
    for sender in (stranger, borrower):
        with reverts_with("NotLenderOrServicer", sender, lender, servicer):
            consents.ceaseOnWord(loan, {"from": sender})


def test_consent_1_a_servicer_who_was_dismissed_has_no_say(
    consents, ledger, open_loan, lender, servicer, keeper
):
    loan = open_loan()
    ledger.appointServicer(servicer, {"from": lender})
    ledger.appointServicer(keeper, {"from": lender})
    with reverts_with("NotLenderOrServicer", servicer, lender, keeper):
        consents.ceaseOnWord(loan, {"from": servicer})
