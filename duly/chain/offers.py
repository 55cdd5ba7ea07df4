"""What keys sign for the contracts (EIP-712): offers, acceptances and amendments of terms, payments,
assignments, permits, and a borrower's instructions about contact.

A loan's id is the EIP-712 hash of its terms on one ledger of one chain, so the id proves the terms. Each
consent is a type of its own, so that no signature can be used for anything but what it was given for; what
could be used twice has a nonce and a deadline (UTC seconds). Mirrors `contracts/libraries/Agreement.sol`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from eth_abi.abi import encode
from eth_account import Account
from eth_keys.exceptions import BadSignature
from eth_typing import Hash32
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from duly.domain.consent import Channel
from duly.domain.terms import Terms

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_SIGNATURE_BYTES: Final = 65
_DOMAIN: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_FIELDS: Final = (
    ("address", "lender"), ("address", "borrower"), ("uint88", "principal"), ("uint88", "originationFee"),
    ("uint80", "lateFee"), ("uint24", "rate"), ("uint16", "instalments"), ("uint24", "firstDue"),
    ("uint8", "schedule"), ("uint8", "frequency"), ("int8", "calendarOffset"), ("uint8", "graceDays"),
    ("uint32", "policy"), ("uint40", "expires"), ("bytes32", "agreementHash"), ("bytes32", "replaces"),
    ("bytes32", "salt"),
)  # fmt: skip
_TERMS: Final = f"Terms({','.join(f'{kind} {name}' for kind, name in _FIELDS)})"
_REPAYMENT: Final = "Repayment(bytes32 id,uint256 amount,uint256 nonce,uint256 deadline)"
_ASSIGNMENT: Final = "Assignment(bytes32 id,address from,address to,uint256 nonce,uint256 deadline)"
_PERMIT: Final = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
_REGISTER: Final = (
    "Register(address borrower,uint8 channel,bytes32 commitment,int8 offset,int8 otherOffset,"
    "uint256 nonce,uint256 deadline)"
)
_GRANT: Final = "Grant(address borrower,uint8 channel,uint256 nonce,uint256 deadline)"


@dataclass(frozen=True, slots=True)
class SigningDomain:
    """Where a signature holds: on one contract of one chain. Another's contract has its own name and version,
    such as a currency.
    """

    chain_id: int
    contract: str
    name: str = "Duly"
    version: str = "1"


# ------------------------------------------------------------------------------------------ terms


def loan_id(terms: Terms, ledger: SigningDomain) -> bytes:
    """The id of the loan that these terms make on this ledger."""
    return _digest(ledger, _hash(terms))


def offer_hash(terms: Terms, ledger: SigningDomain) -> bytes:
    """What a lender signs to offer terms on this ledger."""
    return _consent("Offer", terms, ledger)


def acceptance_hash(terms: Terms, ledger: SigningDomain) -> bytes:
    """What a borrower signs to accept terms, so that somebody else can open the loan."""
    return _consent("Acceptance", terms, ledger)


def amendment_hash(terms: Terms, ledger: SigningDomain) -> bytes:
    """What both parties sign to replace a loan by other terms."""
    return _consent("Amendment", terms, ledger)


def sign_offer(lender: "LocalAccount", terms: Terms, ledger: SigningDomain) -> bytes:
    """The lender's signature on an offer: with it, and until it expires, the borrower can open the loan."""
    return _sign(lender, offer_hash(terms, ledger))


def sign_acceptance(borrower: "LocalAccount", terms: Terms, ledger: SigningDomain) -> bytes:
    """The borrower's signature on an offer: with both, and until it expires, anyone can open the loan."""
    return _sign(borrower, acceptance_hash(terms, ledger))


def sign_amendment(party: "LocalAccount", terms: Terms, ledger: SigningDomain) -> bytes:
    """A party's signature on an amendment: with both, and until it expires, anyone can send it."""
    return _sign(party, amendment_hash(terms, ledger))


def is_signed_by_lender(terms: Terms, ledger: SigningDomain, signature: bytes) -> bool:
    """The signature is by the lender's own key. A contract that lends can sign in other ways: ask the ledger.

    A quick check before anything is sent; the ledger's own is what counts.
    """
    if len(signature) != _SIGNATURE_BYTES:
        return False
    try:
        signer = Account._recover_hash(offer_hash(terms, ledger), signature=signature)
    except (BadSignature, ValidationError, ValueError, TypeError):
        return False
    return str(signer).lower() == terms.lender


def typed_offer(terms: Terms, ledger: SigningDomain) -> dict[str, Any]:
    """The offer as wallets take it for `eth_signTypedData_v4`."""
    return _typed_consent("Offer", terms, ledger)


def typed_acceptance(terms: Terms, ledger: SigningDomain) -> dict[str, Any]:
    """The acceptance as wallets take it."""
    return _typed_consent("Acceptance", terms, ledger)


def typed_amendment(terms: Terms, ledger: SigningDomain) -> dict[str, Any]:
    """The amendment as wallets take it."""
    return _typed_consent("Amendment", terms, ledger)


def _consent(kind: str, terms: Terms, ledger: SigningDomain) -> bytes:
    return _digest(ledger, keccak(keccak(text=f"{kind}(Terms terms){_TERMS}") + _hash(terms)))


def _typed_consent(kind: str, terms: Terms, ledger: SigningDomain) -> dict[str, Any]:
    names = [name for _, name in _FIELDS]
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            kind: [{"name": "terms", "type": "Terms"}],
            "Terms": [{"name": name, "type": type_} for type_, name in _FIELDS],
        },
        "primaryType": kind,
        "domain": {
            "name": ledger.name,
            "version": ledger.version,
            "chainId": ledger.chain_id,
            "verifyingContract": ledger.contract,
        },
        "message": {"terms": dict(zip(names, terms.as_tuple(), strict=True))},
    }


# ------------------------------------------------------------------------------------------ money


def sign_repayment(
    borrower: "LocalAccount", ledger: SigningDomain, loan: bytes, amount: int, nonce: int, deadline: int
) -> bytes:
    """The borrower's signature for a payment out of their allowance, so that somebody else can send it."""
    body = encode(
        ["bytes32", "bytes32", "uint256", "uint256", "uint256"],
        [keccak(text=_REPAYMENT), loan, amount, nonce, deadline],
    )
    return _sign(borrower, _digest(ledger, keccak(body)))


def sign_assignment(
    to: "LocalAccount", ledger: SigningDomain, loan: bytes, lender: str, nonce: int, deadline: int
) -> bytes:
    """The new lender's signature for taking a loan over from its lender."""
    body = encode(
        ["bytes32", "bytes32", "address", "address", "uint256", "uint256"],
        [keccak(text=_ASSIGNMENT), loan, lender, to.address, nonce, deadline],
    )
    return _sign(to, _digest(ledger, keccak(body)))


def sign_permit(
    holder: "LocalAccount", currency: SigningDomain, spender: str, amount: int, nonce: int, deadline: int
) -> bytes:
    """The holder's permit (ERC-2612) for a spender to take an amount; `nonce` is the currency's own."""
    body = encode(
        ["bytes32", "address", "address", "uint256", "uint256", "uint256"],
        [keccak(text=_PERMIT), holder.address, spender, amount, nonce, deadline],
    )
    return _sign(holder, _digest(currency, keccak(body)))


# ------------------------------------------------------------------------------------------ contact


def sign_register(
    borrower: "LocalAccount",
    registry: SigningDomain,
    channel: Channel,
    commitment: bytes,
    offset: int,
    other_offset: int,
    nonce: int,
    deadline: int,
) -> bytes:
    """The borrower's signature for registering a contact, so that somebody else can send it."""
    body = encode(
        ["bytes32", "address", "uint8", "bytes32", "int8", "int8", "uint256", "uint256"],
        [
            keccak(text=_REGISTER),
            borrower.address,
            channel,
            commitment,
            offset,
            other_offset,
            nonce,
            deadline,
        ],
    )
    return _sign(borrower, _digest(registry, keccak(body)))


def sign_grant(
    borrower: "LocalAccount", registry: SigningDomain, channel: Channel, nonce: int, deadline: int
) -> bytes:
    """The borrower's signature for consent to a channel, so that somebody else can send it."""
    body = encode(
        ["bytes32", "address", "uint8", "uint256", "uint256"],
        [keccak(text=_GRANT), borrower.address, channel, nonce, deadline],
    )
    return _sign(borrower, _digest(registry, keccak(body)))


# ------------------------------------------------------------------------------------------ hashes


def _hash(terms: Terms) -> bytes:
    # Every field is static, so that the ABI encoding is the EIP-712 encoding.
    return keccak(keccak(text=_TERMS) + encode([kind for kind, _ in _FIELDS], terms.as_tuple()))


@lru_cache(maxsize=64)
def _separator(domain: SigningDomain) -> bytes:
    return keccak(
        encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [
                keccak(text=_DOMAIN),
                keccak(text=domain.name),
                keccak(text=domain.version),
                domain.chain_id,
                domain.contract,
            ],
        )
    )


def _digest(domain: SigningDomain, struct: bytes) -> bytes:
    return keccak(b"\x19\x01" + _separator(domain) + struct)


def _sign(account: "LocalAccount", digest: bytes) -> bytes:
    return bytes(account.unsafe_sign_hash(Hash32(digest)).signature)
