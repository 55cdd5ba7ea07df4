"""Terms, and what lender and borrower sign, built without the project's own code."""

from enum import IntEnum
from typing import NamedTuple

from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data

ZERO_ADDRESS = "0x" + 40 * "0"
ZERO_HASH = bytes(32)


class Schedule(IntEnum):
    LEVEL = 0
    EQUAL_PRINCIPAL = 1
    INTEREST_ONLY = 2
    BULLET = 3


class Frequency(IntEnum):
    MONTHLY = 0
    QUARTERLY = 1
    WEEKLY = 2
    FORTNIGHTLY = 3
    FOUR_WEEKLY = 4


class Grievance(IntEnum):
    DISPUTE = 0
    HARDSHIP = 1
    REPRESENTATION = 2


# When a rest ends that nothing ends yet.
FOREVER = 2**256 - 1


class Status(IntEnum):
    NONE = 0
    ACTIVE = 1
    REPAID = 2
    DEFAULTED = 3
    RESCINDED = 4
    REPLACED = 5
    CANCELLED = 6


class Terms(NamedTuple):
    """In Solidity's and EIP-712's order."""

    lender: str
    borrower: str
    principal: int
    origination_fee: int
    late_fee: int
    rate: int
    instalments: int
    first_due: int
    schedule: int
    frequency: int
    calendar_offset: int
    grace_days: int
    policy: int
    expires: int
    agreement_hash: bytes
    replaces: bytes
    salt: bytes


class Lending(NamedTuple):
    apr_cap: int = 240_000
    apr_convention: int = 0
    late_fee_cap: int = 500
    min_grace_days: int = 3
    cooling_off_days: int = 14
    default_days: int = 90


class Contact(NamedTuple):
    opens: int = 9 * 60
    closes: int = 19 * 60
    lead: int = 15 * 60
    weekdays: int = 0b1111111
    per_day: int = 2
    per_week: int = 3
    gap: int = 4 * 3600
    upcoming_days: int = 7
    overdue_days: int = 2
    pause_days: int = 30
    rest_all_loans: int = 0
    rest_fees: int = 0


# How long a rest goes on after the answer, by the ordinary policy.
PAUSE = Contact().pause_days * 86_400


TERMS_TYPE = [
    ("lender", "address"),
    ("borrower", "address"),
    ("principal", "uint88"),
    ("originationFee", "uint88"),
    ("lateFee", "uint80"),
    ("rate", "uint24"),
    ("instalments", "uint16"),
    ("firstDue", "uint24"),
    ("schedule", "uint8"),
    ("frequency", "uint8"),
    ("calendarOffset", "int8"),
    ("graceDays", "uint8"),
    ("policy", "uint32"),
    ("expires", "uint40"),
    ("agreementHash", "bytes32"),
    ("replaces", "bytes32"),
    ("salt", "bytes32"),
]
# What is signed with a nonce and a deadline, or about one thing only.
INSTRUCTIONS = {
    "Register": [
        ("borrower", "address"),
        ("channel", "uint8"),
        ("commitment", "bytes32"),
        ("offset", "int8"),
        ("otherOffset", "int8"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
    "Grant": [
        ("borrower", "address"),
        ("channel", "uint8"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
    "Repayment": [
        ("id", "bytes32"),
        ("amount", "uint256"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
    "Assignment": [
        ("id", "bytes32"),
        ("from", "address"),
        ("to", "address"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
    # The currency's own (ERC-2612).
    "Permit": [
        ("owner", "address"),
        ("spender", "address"),
        ("value", "uint256"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
}
# What is signed about terms: each a type of its own.
CONSENTS = ("Offer", "Acceptance", "Amendment")


def loan_id(terms, ledger, chain_id=None):
    """The EIP-712 hash of terms."""
    return _hash("Terms", _named(TERMS_TYPE, terms), ledger, chain_id)


def consent_hash(consent, terms, ledger, chain_id=None):
    """The EIP-712 hash that a party signs: of an `Offer`, an `Acceptance` or an `Amendment`."""
    return _hash(consent, {"terms": _named(TERMS_TYPE, terms)}, ledger, chain_id)


def sign_consent(consent, terms, key, ledger, chain_id=None):
    return sign_hash(consent_hash(consent, terms, ledger, chain_id), key)


def sign_instruction(kind, values, key, contract, chain_id=None, name="Duly"):
    """A signature over one of `INSTRUCTIONS`; `values` in the type's order."""
    message = _named(INSTRUCTIONS[kind], values)
    return sign_hash(_hash(kind, message, contract, chain_id, name), key)


def sign_hash(digest, key):
    """A signature over a bare hash."""
    return bytes(Account.unsafe_sign_hash(digest, key).signature)


def split(signature):
    """A signature as `v`, `r`, `s`."""
    return signature[64], signature[:32], signature[32:64]


def _named(kind, values):
    return {name: value for (name, _), value in zip(kind, values, strict=True)}


def _hash(primary, message, contract, chain_id, name="Duly"):
    used = {primary: [{"name": field, "type": kind} for field, kind in INSTRUCTIONS.get(primary, ())]}
    if primary in CONSENTS:
        used[primary] = [{"name": "terms", "type": "Terms"}]
    if primary in (*CONSENTS, "Terms"):
        used["Terms"] = [{"name": field, "type": kind} for field, kind in TERMS_TYPE]
    typed = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                **used,
            },
            "primaryType": primary,
            "domain": {
                "name": name,
                "version": "1",
                "chainId": chain_id or 31_337,
                "verifyingContract": str(contract),
            },
            "message": message,
        }
    )
    return bytes(_hash_eip191_message(typed))
