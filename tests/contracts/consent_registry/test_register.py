import pytest
from support.offers import ZERO_HASH
from support.reverts import reverts_with

EMAIL, SMS, PUSH, IN_APP = range(4)
CONTACT = b"\xc0" * 32


def test_a_commitment_is_needed(consents, borrower):
    with reverts_with("EmptyCommitment", SMS):
        consents.register(SMS, ZERO_HASH, 32, 32, {"from": borrower})


@pytest.mark.parametrize("offset", [-128, -49, 57, 127])
def test_offsets_are_on_earth(consents, borrower, offset):
    for pair in ((offset, 0), (0, offset)):
        with reverts_with("InvalidOffset", offset, -48, 56):
            consents.register.call(EMAIL, CONTACT, *pair, {"from": borrower})


@pytest.mark.parametrize("pair", [(-48, -40), (-40, -48), (56, 48), (4, 8), (0, 0), (-4, 4)])
def test_hours_1_offsets_up_to_two_hours_apart(consents, borrower, pair):
    consents.register(EMAIL, CONTACT, *pair, {"from": borrower})
    assert consents.profileOf(borrower)[:2] == pair


@pytest.mark.parametrize("pair", [(-48, -39), (-39, -48), (56, 47), (-5, 4), (-48, 56), (56, -48)])
def test_hours_1_offsets_further_apart_are_refused(consents, borrower, pair):
    with reverts_with("OffsetsTooFarApart", *pair, 8):
        consents.register.call(EMAIL, CONTACT, *pair, {"from": borrower})


def test_borrower_1_a_contact_is_registered_for_the_sender_only(consents, borrower, lender):
    registered = consents.register(PUSH, CONTACT, 4, 8, {"from": borrower})
    assert registered.events["ContactRegistered"] == {
        "borrower": borrower,
        "channel": PUSH,
        "commitment": "0x" + CONTACT.hex(),
        "offset": 4,
        "otherOffset": 8,
    }
    assert consents.profileOf(borrower) == (4, 8, 1 << PUSH, 0, False, False, 1, 0)
    assert bytes(consents.commitmentOf(borrower, PUSH)) == CONTACT
    assert bytes(consents.commitmentOf(borrower, EMAIL)) == ZERO_HASH
    assert consents.profileOf(lender) == (0, 0, 0, 0, False, False, 0, 0)


def test_consent_1_another_contact_needs_another_consent(consents, borrower):
    for channel in (EMAIL, IN_APP):
        consents.register(channel, CONTACT, 0, 0, {"from": borrower})
        consents.grant(channel, {"from": borrower})
    consents.register(EMAIL, b"\xc1" * 32, 0, 0, {"from": borrower})
    profile = consents.profileOf(borrower)
    assert (profile["registered"], profile["consented"]) == (0b1001, 0b1000)


def test_consent_1_registering_does_not_end_a_cease(consents, borrower):
    consents.cease({"from": borrower})
    consents.register(EMAIL, CONTACT, 0, 0, {"from": borrower})
    assert consents.profileOf(borrower)["ceased"]
