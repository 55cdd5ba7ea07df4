import pytest
from support.clock import HOUR, START
from support.offers import sign_instruction
from support.reverts import reverts_with

EMAIL, SMS, PUSH, IN_APP = range(4)
DEADLINE = START + HOUR


@pytest.fixture
def registered(consents, borrower):
    for channel in (EMAIL, IN_APP):
        consents.register(channel, b"\xc0" * 32, 0, 0, {"from": borrower})


@pytest.fixture
def signed(consents, key_of, borrower):
    def signed(channel=EMAIL, nonce=2, signer=None):
        # Two contacts were registered.
        values = (str(borrower), channel, nonce, DEADLINE)
        return sign_instruction("Grant", values, key_of(signer or borrower), consents)

    return signed


@pytest.fixture
def relay(consents, borrower, keeper):
    return lambda signature, channel=EMAIL: consents.grantBySignature(
        borrower, channel, DEADLINE, signature, {"from": keeper}
    )


def test_consent_needs_a_contact(consents, registered, borrower, stranger):
    with reverts_with("NoContact", borrower, PUSH):
        consents.grant(PUSH, {"from": borrower})
    with reverts_with("NoContact", stranger, EMAIL):
        consents.grant(EMAIL, {"from": stranger})


def test_consent_1_consent_is_for_one_channel(consents, registered, borrower):
    granted = consents.grant(IN_APP, {"from": borrower})
    assert granted.events["ConsentGranted"] == {"borrower": borrower, "channel": IN_APP}
    assert consents.profileOf(borrower)["consented"] == 1 << IN_APP


def test_consent_1_granting_ends_a_cease_on_that_channel(consents, registered, borrower):
    consents.grant(EMAIL, {"from": borrower})
    consents.grant(IN_APP, {"from": borrower})
    consents.cease({"from": borrower})
    consents.grant(EMAIL, {"from": borrower})
    profile = consents.profileOf(borrower)
    assert (profile["ceased"], profile["consented"]) == (False, 1 << EMAIL)


def test_consent_1_the_borrowers_signature_grants_once(consents, registered, signed, relay, borrower):
    assert relay(signed()).events["ConsentGranted"]["borrower"] == borrower
    assert consents.profileOf(borrower)["consented"] == 1 << EMAIL
    with reverts_with("InvalidInstruction", borrower, 3):
        relay(signed())


def test_both_sides_of_the_deadline(consents, registered, signed, relay, clock, borrower):
    clock.to(DEADLINE + 1)
    with reverts_with("InstructionExpired", DEADLINE, DEADLINE + 1):
        relay(signed())


def test_a_grant_holds_in_its_last_second(registered, signed, relay, clock):
    clock.to(DEADLINE)
    assert relay(signed()).timestamp == DEADLINE


def test_consent_1_only_the_borrower_signs(registered, signed, relay, borrower, lender):
    for signature in (signed(signer=lender), signed(channel=IN_APP), signed(nonce=3), b""):
        with reverts_with("InvalidInstruction", borrower, 2):
            relay(signature)


@pytest.mark.parametrize("stop", ["revoke", "cease", "revokeOnWord", "ceaseOnWord"])
def test_consent_1_what_was_signed_before_a_stop_starts_nothing(
    consents, registered, open_loan, signed, relay, borrower, lender, stop
):
    early = signed(nonce=2)
    if stop.endswith("OnWord"):
        loan = open_loan()
        getattr(consents, stop)(loan, *([EMAIL] if stop == "revokeOnWord" else []), {"from": lender})
    else:
        getattr(consents, stop)(*([EMAIL] if stop == "revoke" else []), {"from": borrower})
    with reverts_with("InvalidInstruction", borrower, 3):
        relay(early)
    relay(signed(nonce=3))
    assert consents.profileOf(borrower) == (0, 0, 0b1001, 1 << EMAIL, False, False, 4, 0)


def test_consent_1_what_was_signed_before_a_change_starts_nothing(
    consents, registered, signed, relay, borrower
):
    early = signed()
    consents.register(EMAIL, b"\xc1" * 32, 0, 0, {"from": borrower})
    with reverts_with("InvalidInstruction", borrower, 3):
        relay(early)
