"""What keys sign."""

import json
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from duly.chain.offers import (
    Assignment,
    SigningDomain,
    acceptance_hash,
    amendment_hash,
    assignment_hash,
    is_signed_by_lender,
    loan_id,
    offer_hash,
    sign_acceptance,
    sign_amendment,
    sign_assignment,
    sign_grant,
    sign_offer,
    sign_permit,
    sign_register,
    sign_repayment,
    signer_of,
    typed_acceptance,
    typed_amendment,
    typed_assignment,
    typed_offer,
)
from duly.domain.consent import Channel
from duly.domain.terms import Frequency, Schedule, Terms

LENDER = Account.from_key(b"\x01" * 32)
BORROWER = Account.from_key(b"\x02" * 32)
LEDGER = SigningDomain(31337, "0x" + "ab" * 20)
TERMS = Terms(
    lender=LENDER.address.lower(),
    borrower=BORROWER.address.lower(),
    principal=1_000_00,
    late_fee=15_00,
    rate=112_200,
    instalments=36,
    first_due=20_819,
    calendar_offset=-20,
    grace_days=15,
    policy=1,
    expires=2_000_000_000,
    agreement_hash=b"\x07" * 32,
    salt=b"\x08" * 32,
)
WORDS = st.binary(min_size=32, max_size=32)


@given(
    offset=st.integers(-48, 56),
    principal=st.integers(2, 2**88 - 1),
    schedule=st.sampled_from(Schedule),
    frequency=st.sampled_from(Frequency),
    salt=WORDS,
    replaced=WORDS,
    chain=st.integers(1, 2**64),
)
def test_a_wallet_signs_the_same(
    offset: int,
    principal: int,
    schedule: Schedule,
    frequency: Frequency,
    salt: bytes,
    replaced: bytes,
    chain: int,
) -> None:
    terms = replace(
        TERMS,
        calendar_offset=offset,
        principal=principal,
        origination_fee=principal // 2,
        schedule=schedule,
        frequency=frequency,
        salt=salt,
        replaces=replaced,
    )
    ledger = replace(LEDGER, chain_id=chain)
    for key, typed, sign in (
        (LENDER, typed_offer, sign_offer),
        (BORROWER, typed_acceptance, sign_acceptance),
        (BORROWER, typed_amendment, sign_amendment),
    ):
        message = encode_typed_data(full_message=typed(terms, ledger))
        signature = sign(key, terms, ledger)
        assert bytes(key.sign_message(message).signature) == signature
        assert Account.recover_message(message, signature=signature) == key.address
    assert is_signed_by_lender(terms, ledger, sign_offer(LENDER, terms, ledger))


def test_a_signature_holds_for_these_terms_on_this_ledger_only() -> None:
    signature = sign_offer(LENDER, TERMS, LEDGER)
    assert is_signed_by_lender(TERMS, LEDGER, signature)
    assert not is_signed_by_lender(replace(TERMS, rate=112_201), LEDGER, signature)
    assert not is_signed_by_lender(TERMS, replace(LEDGER, chain_id=1), signature)
    assert not is_signed_by_lender(TERMS, replace(LEDGER, contract="0x" + "ac" * 20), signature)
    assert not is_signed_by_lender(TERMS, LEDGER, sign_offer(BORROWER, TERMS, LEDGER))
    assert not is_signed_by_lender(TERMS, LEDGER, sign_amendment(LENDER, TERMS, LEDGER))
    hashes = {make(TERMS, LEDGER) for make in (loan_id, offer_hash, acceptance_hash, amendment_hash)}
    assert len(hashes) == 4  # what was signed for one thing is good for no other


@pytest.mark.parametrize("signature", [b"", b"\x00" * 64, b"\x00" * 65, b"\xff" * 65, b"\x01" * 66])
def test_what_is_no_signature(signature: bytes) -> None:
    assert not is_signed_by_lender(TERMS, LEDGER, signature)


def test_whose_signature_it_is_however_it_is_written() -> None:
    digest = offer_hash(TERMS, LEDGER)
    for key in (LENDER, BORROWER):
        signature = sign_offer(key, TERMS, LEDGER)
        s, parity = int.from_bytes(signature[32:64], "big"), signature[64] - 27
        compact = signature[:32] + (parity << 255 | s).to_bytes(32, "big")
        assert signer_of(digest, signature) == signer_of(digest, compact) == key.address.lower()
        # The ledger does not take what some wallets write in place of 27 and 28.
        assert signer_of(digest, signature[:64] + bytes([parity])) is None


def test_payments_assignments_and_permits() -> None:
    loan = b"\x05" * 32
    ledger = {"name": "Duly", "version": "1", "chainId": 31337, "verifyingContract": LEDGER.contract}
    repayment = encode_typed_data(
        domain_data=ledger,
        message_types={
            "Repayment": [
                {"name": "id", "type": "bytes32"},
                {"name": "amount", "type": "uint256"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        message_data={"id": loan, "amount": 7, "nonce": 3, "deadline": 99},
    )
    signature = sign_repayment(BORROWER, LEDGER, loan, 7, 3, 99)
    assert signature == bytes(BORROWER.sign_message(repayment).signature)
    assignment = encode_typed_data(
        domain_data=ledger,
        message_types={
            "Assignment": [
                {"name": "id", "type": "bytes32"},
                {"name": "from", "type": "address"},
                {"name": "to", "type": "address"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        message_data={
            "id": loan,
            "from": LENDER.address,
            "to": BORROWER.address,
            "nonce": 3,
            "deadline": 99,
        },
    )
    signature = sign_assignment(BORROWER, LEDGER, loan, LENDER.address.lower(), 3, 99)
    assert signature == bytes(BORROWER.sign_message(assignment).signature)
    taken = Assignment(loan, LENDER.address.lower(), BORROWER.address.lower(), 3, 99)
    typed = typed_assignment(taken, LEDGER)
    assert json.loads(json.dumps(typed)) == typed
    wallets = BORROWER.sign_message(encode_typed_data(full_message=typed)).signature
    assert bytes(wallets) == signature
    assert signer_of(assignment_hash(taken, LEDGER), signature) == taken.to
    # ERC-2612, in the currency's own domain.
    permit = encode_typed_data(
        domain_data=ledger | {"name": "USD Coin", "version": "2"},
        message_types={
            "Permit": [
                {"name": "owner", "type": "address"},
                {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        message_data={
            "owner": BORROWER.address,
            "spender": LENDER.address,
            "value": 7,
            "nonce": 3,
            "deadline": 99,
        },
    )
    coin = replace(LEDGER, name="USD Coin", version="2")
    signature = sign_permit(BORROWER, coin, LENDER.address.lower(), 7, 3, 99)
    assert signature == bytes(BORROWER.sign_message(permit).signature)


def test_instructions_about_contact() -> None:
    registry = {"name": "Duly", "version": "1", "chainId": 31337, "verifyingContract": LEDGER.contract}
    grant = encode_typed_data(
        domain_data=registry,
        message_types={
            "Grant": [
                {"name": "borrower", "type": "address"},
                {"name": "channel", "type": "uint8"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        message_data={"borrower": BORROWER.address, "channel": 1, "nonce": 3, "deadline": 99},
    )
    assert sign_grant(BORROWER, LEDGER, Channel.SMS, 3, 99) == bytes(BORROWER.sign_message(grant).signature)
    register = encode_typed_data(
        domain_data=registry,
        message_types={
            "Register": [
                {"name": "borrower", "type": "address"},
                {"name": "channel", "type": "uint8"},
                {"name": "commitment", "type": "bytes32"},
                {"name": "offset", "type": "int8"},
                {"name": "otherOffset", "type": "int8"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        message_data={
            "borrower": BORROWER.address,
            "channel": 0,
            "commitment": b"\x05" * 32,
            "offset": -20,
            "otherOffset": -16,
            "nonce": 3,
            "deadline": 99,
        },
    )
    signature = sign_register(BORROWER, LEDGER, Channel.EMAIL, b"\x05" * 32, -20, -16, 3, 99)
    assert signature == bytes(BORROWER.sign_message(register).signature)
