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


class Status(IntEnum):
    NONE = 0
    ACTIVE = 1
    REPAID = 2


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
REGISTER_TYPE = [
    ("borrower", "address"),
    ("channel", "uint8"),
    ("commitment", "bytes32"),
    ("offset", "int8"),
    ("otherOffset", "int8"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
]
GRANT_TYPE = [
    ("borrower", "address"),
    ("channel", "uint8"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
]


def loan_id(terms, ledger, chain_id=None):
    """The EIP-712 hash of terms."""
    return bytes(_hash_eip191_message(_typed("Terms", _named(terms), ledger, chain_id)))


def offer_hash(terms, ledger, chain_id=None):
    """The EIP-712 hash that a lender signs."""
    return bytes(_hash_eip191_message(_typed("Offer", {"terms": _named(terms)}, ledger, chain_id)))


def sign_offer(terms, key, ledger, chain_id=None):
    """A lender's signature over `Offer(Terms terms)`."""
    return sign_hash(offer_hash(terms, ledger, chain_id), key)


def sign_instruction(kind, values, key, registry):
    """A borrower's signature over `Register` or `Grant`; `values` in the type's order."""
    fields = {"Register": REGISTER_TYPE, "Grant": GRANT_TYPE}[kind]
    message = {name: value for (name, _), value in zip(fields, values, strict=True)}
    return sign_hash(_hash_eip191_message(_typed(kind, message, registry, None)), key)


def sign_hash(digest, key):
    """A signature over a bare hash."""
    return bytes(Account.unsafe_sign_hash(digest, key).signature)


def _named(terms):
    return {name: value for (name, _), value in zip(TERMS_TYPE, terms, strict=True)}


def _typed(primary, message, contract, chain_id):
    types = {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Terms": [{"name": name, "type": kind} for name, kind in TERMS_TYPE],
        "Offer": [{"name": "terms", "type": "Terms"}],
        "Register": [{"name": name, "type": kind} for name, kind in REGISTER_TYPE],
        "Grant": [{"name": name, "type": kind} for name, kind in GRANT_TYPE],
    }
    used = {"Terms": ["Terms"], "Offer": ["Offer", "Terms"]}.get(primary, [primary])
    return encode_typed_data(
        full_message={
            "types": {name: types[name] for name in ["EIP712Domain", *used]},
            "primaryType": primary,
            "domain": {
                "name": "Duly",
                "version": "1",
                "chainId": chain_id or 31_337,
                "verifyingContract": str(contract),
            },
            "message": message,
        }
    )
