import pytest
from support.clock import HOUR, START
from support.offers import ZERO_HASH, sign_instruction
from support.reverts import reverts_with

EMAIL, SMS = 0, 1
CONTACT = b"\xc0" * 32
DEADLINE = START + HOUR


@pytest.fixture
def signed(consents, key_of, borrower):
    """The borrower's signature, or another's, over an instruction to register."""

    def signed(channel=EMAIL, commitment=CONTACT, nonce=0, signer=None, kind="Register"):
        values = (str(borrower), channel, commitment, 4, 8, nonce, DEADLINE)
        return sign_instruction(kind, values, key_of(signer or borrower), consents)

    return signed


@pytest.fixture
def relay(consents, borrower, keeper):
    def relay(signature, channel=EMAIL, commitment=CONTACT):
        return consents.registerBySignature(
            borrower, channel, commitment, 4, 8, DEADLINE, signature, {"from": keeper}
        )

    return relay


def test_consent_1_the_borrowers_signature_registers_once(consents, signed, relay, borrower, keeper):
    registered = relay(signed())
    assert registered.events["ContactRegistered"]["borrower"] == borrower
    assert consents.profileOf(borrower) == (4, 8, 1, 0, False, False, 1, 0)
    assert consents.profileOf(keeper)["registered"] == 0
    with reverts_with("InvalidInstruction", borrower, 1):
        relay(signed())


def test_an_instruction_ends_with_its_last_second(consents, signed, relay, clock, borrower):
    clock.to(DEADLINE + 1)
    with reverts_with("InstructionExpired", DEADLINE, DEADLINE + 1):
        relay(signed())


def test_an_instruction_holds_in_its_last_second(consents, signed, relay, clock, borrower):
    clock.to(DEADLINE)
    assert relay(signed()).timestamp == DEADLINE


def test_consent_1_only_the_borrower_signs(signed, relay, borrower, lender, keeper):
    for signer in (lender, keeper):
        with reverts_with("InvalidInstruction", borrower, 0):
            relay(signed(signer=signer))


def test_a_signature_holds_for_no_other_instruction(signed, relay, borrower):
    for signature in (signed(channel=SMS), signed(commitment=b"\1" * 32), signed(nonce=1)):
        with reverts_with("InvalidInstruction", borrower, 0):
            relay(signature)


def test_a_signed_instruction_is_checked_as_any_other(signed, relay):
    with reverts_with("EmptyCommitment", EMAIL):
        relay(signed(commitment=ZERO_HASH), commitment=ZERO_HASH)
