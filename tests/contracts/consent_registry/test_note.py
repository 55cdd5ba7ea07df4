import brownie
import pytest
from support.clock import DAY
from support.offers import Contact
from support.reverts import reverts_with
from support.rolling import word_of

EMAIL = 0
DISPUTE = 0


def test_pause_1_only_the_desk_notes_a_grievance(consents, desk, borrower, lender, publisher, notices):
    for sender in (borrower, lender, publisher):
        with reverts_with("NotFrom", sender, desk):
            consents.noteGrievance(borrower, {"from": sender})


def test_cap_1_only_the_gate_notes_a_reminder(consents, notices, borrower, lender, publisher):
    for sender in (borrower, lender, publisher):
        with reverts_with("NotFrom", sender, notices):
            consents.noteReminder(borrower, 0, {"from": sender})


def test_the_gate_made_it(consents, notices, ledger, desk):
    assert (consents.notices(), consents.ledger(), consents.desk()) == (notices, ledger, desk)


@pytest.fixture
def remind(consenting, open_loan, ledger, notices, lender, clock):
    loan = open_loan()
    level = int(ledger.loanOf(loan)["instalment"])
    midnight = int(ledger.instalmentOf(loan, 1)["dueAt"]) + 1 - DAY

    def remind(days):
        clock.to(midnight - days * DAY + DAY // 2)
        notices.serve((loan, 1, 1, level, EMAIL, b"\1" * 32), {"from": lender})
        return brownie.chain[-1].timestamp

    return remind


def test_cap_1_the_profile_keeps_the_times_of_reminders(consents, remind, borrower):
    before = consents.profileOf(borrower)
    times = [remind(3), remind(2), remind(1)][::-1]
    after = consents.profileOf(borrower)
    assert after[:-1] == before[:-1]
    assert after["reminders"] == word_of(times, 7)


def test_pause_1_a_lodged_grievance_stays_noted(
    consents, desk, notices, open_loan, lodge, withdraw, borrower
):
    loan = open_loan()
    assert not consents.profileOf(borrower)["aggrieved"]
    lodge(loan, DISPUTE)
    withdraw(loan, DISPUTE)
    assert consents.profileOf(borrower)["aggrieved"]


def test_packed_a_profile_is_its_fields_the_first_lowest(consents, remind, borrower, desk, lodge, open_loan):
    remind(1)
    consents.register(EMAIL, b"\1" * 32, -20, -16, {"from": borrower})
    consents.grant(EMAIL, {"from": borrower})
    lodge(open_loan(), DISPUTE)
    widths = (8, 8, 8, 8, 8, 8, 48, 152)
    assert int(consents.storedProfile(borrower)) == packed(consents.profileOf(borrower), widths)


def test_packed_limits_are_their_fields_the_first_lowest(policy_book, publish):
    policy = publish(contact=Contact())
    widths = (16, 16, 16, 8, 8, 8, 32, 8, 8, 8, 8, 8)
    assert int(policy_book.packedContactOf(policy)) == packed(policy_book.contactOf(policy), widths)
    for asked in (0, policy + 1):
        with reverts_with("UnknownPolicy", asked):
            policy_book.packedContactOf(asked)


def packed(values, widths):
    word = shift = 0
    for value, width in zip(values, widths, strict=True):
        word |= (int(value) % 2**width) << shift
        shift += width
    return word
