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
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes

from duly.chain.errors import ContractError, explained
from duly.domain.consent import Channel
from duly.domain.terms import Terms

if TYPE_CHECKING:
    from web3 import Web3

    from duly.chain.keys import Signer

_SIGNATURE_BYTES: Final = 65
_COMPACT_BYTES: Final = 64  # ERC-2098
_V: Final = (27, 28)
_IS_VALID: Final = keccak(text="isValidSignature(bytes32,bytes)")[:4]  # ERC-1271
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


def sign_offer(lender: "Signer", terms: Terms, ledger: SigningDomain) -> bytes:
    """The lender's signature on an offer: with it, and until it expires, the borrower can open the loan."""
    return sign(lender, offer_hash(terms, ledger))


def sign_acceptance(borrower: "Signer", terms: Terms, ledger: SigningDomain) -> bytes:
    """The borrower's signature on an offer: with both, and until it expires, anyone can open the loan."""
    return sign(borrower, acceptance_hash(terms, ledger))


def sign_amendment(party: "Signer", terms: Terms, ledger: SigningDomain) -> bytes:
    """A party's signature on an amendment: with both, and until it expires, anyone can send it."""
    return sign(party, amendment_hash(terms, ledger))


def is_signed_by_lender(terms: Terms, ledger: SigningDomain, signature: bytes) -> bool:
    """The signature is by the lender's own key. A contract that lends can sign in other ways: ask the ledger.

    A quick check before anything is sent; the ledger's own is what counts.
    """
    return signer_of(offer_hash(terms, ledger), signature) == terms.lender


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
    values = (f"0x{value.hex()}" if isinstance(value, bytes) else value for value in terms.as_tuple())
    types = {
        kind: [{"name": "terms", "type": "Terms"}],
        "Terms": [{"name": name, "type": type_} for type_, name in _FIELDS],
    }
    return _typed(ledger, types, {"terms": dict(zip(names, values, strict=True))})


def _typed(
    ledger: SigningDomain, types: dict[str, list[dict[str, str]]], message: dict[str, Any]
) -> dict[str, Any]:
    """What is signed as JSON, as wallets take it; the first of the types is the message's."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            **types,
        },
        "primaryType": next(iter(types)),
        "domain": {
            "name": ledger.name,
            "version": ledger.version,
            "chainId": ledger.chain_id,
            "verifyingContract": ledger.contract,
        },
        "message": message,
    }


# ------------------------------------------------------------------------------------------ whose it is


def signer_of(digest: bytes, signature: bytes) -> str | None:
    """The address whose key made a signature of 65 or 64 bytes, lower-case, as the ledger recovers it; None
    where it is no signature.
    """
    if len(signature) == _COMPACT_BYTES:
        r, vs = signature[:32], int.from_bytes(signature[32:], "big")
        signature = r + (vs & (1 << 255) - 1).to_bytes(32, "big") + bytes([_V[vs >> 255]])
    if len(signature) != _SIGNATURE_BYTES or signature[-1] not in _V:
        return None
    try:
        signer = Account._recover_hash(digest, signature=signature)
    except (BadSignature, ValidationError, ValueError, TypeError):
        return None
    return str(signer).lower()


def is_signed_by(w3: "Web3", signer: str, digest: bytes, signature: bytes) -> bool:
    """The ledger would take the signature for this signer's: made by its key or, where the signer is a
    contract, good in that contract's own eyes (ERC-1271), for which the chain is asked.

    Raises: ChainUnavailable.
    """
    address = to_checksum_address(signer)
    with explained():
        if not w3.eth.get_code(address):
            return signer_of(digest, signature) == signer
    question = _IS_VALID + encode(["bytes32", "bytes"], [digest, signature])
    try:
        with explained():
            answer = bytes(w3.eth.call({"to": address, "data": HexBytes(question)}))
    except ContractError:
        return False
    return answer[:32] == _IS_VALID.ljust(32, b"\0")


# ------------------------------------------------------------------------------------------ money


def sign_repayment(
    borrower: "Signer", ledger: SigningDomain, loan: bytes, amount: int, nonce: int, deadline: int
) -> bytes:
    """The borrower's signature for a payment out of their allowance, so that somebody else can send it."""
    body = encode(
        ["bytes32", "bytes32", "uint256", "uint256", "uint256"],
        [keccak(text=_REPAYMENT), loan, amount, nonce, deadline],
    )
    return sign(borrower, _digest(ledger, keccak(body)))


def sign_assignment(
    to: "Signer", ledger: SigningDomain, loan: bytes, lender: str, nonce: int, deadline: int
) -> bytes:
    """The new lender's signature for taking a loan over from its lender."""
    assignment = Assignment(loan, lender, to.address.lower(), nonce, deadline)
    return sign(to, assignment_hash(assignment, ledger))


@dataclass(frozen=True, slots=True)
class Assignment:
    """A claim that goes to another lender, who signs for it.

    loan: its id. lender: whose it is until then; lender and to are lower-case addresses. nonce: the new
    lender's next. deadline: last second of their signature (UTC).
    """

    loan: bytes
    lender: str
    to: str
    nonce: int
    deadline: int


def assignment_hash(assignment: Assignment, ledger: SigningDomain) -> bytes:
    """What a new lender signs to take a loan over."""
    it = assignment
    body = encode(
        ["bytes32", "bytes32", "address", "address", "uint256", "uint256"],
        [keccak(text=_ASSIGNMENT), it.loan, it.lender, it.to, it.nonce, it.deadline],
    )
    return _digest(ledger, keccak(body))


def typed_assignment(assignment: Assignment, ledger: SigningDomain) -> dict[str, Any]:
    """The assignment as wallets take it."""
    it = assignment
    fields = _ASSIGNMENT.removeprefix("Assignment(").removesuffix(")").split(",")
    types = [dict(zip(("type", "name"), field.split(), strict=True)) for field in fields]
    message = {
        "id": f"0x{it.loan.hex()}",
        "from": it.lender,
        "to": it.to,
        "nonce": it.nonce,
        "deadline": it.deadline,
    }
    return _typed(ledger, {"Assignment": types}, message)


def sign_permit(
    holder: "Signer", currency: SigningDomain, spender: str, amount: int, nonce: int, deadline: int
) -> bytes:
    """The holder's permit (ERC-2612) for a spender to take an amount; `nonce` is the currency's own."""
    body = encode(
        ["bytes32", "address", "address", "uint256", "uint256", "uint256"],
        [keccak(text=_PERMIT), holder.address, spender, amount, nonce, deadline],
    )
    return sign(holder, _digest(currency, keccak(body)))


# ------------------------------------------------------------------------------------------ contact


def sign_register(
    borrower: "Signer",
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
    return sign(borrower, _digest(registry, keccak(body)))


def sign_grant(
    borrower: "Signer", registry: SigningDomain, channel: Channel, nonce: int, deadline: int
) -> bytes:
    """The borrower's signature for consent to a channel, so that somebody else can send it."""
    body = encode(
        ["bytes32", "address", "uint8", "uint256", "uint256"],
        [keccak(text=_GRANT), borrower.address, channel, nonce, deadline],
    )
    return sign(borrower, _digest(registry, keccak(body)))


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


def sign(account: "Signer", digest: bytes) -> bytes:
    """The signature of a key on one of the hashes above."""
    return bytes(account.unsafe_sign_hash(Hash32(digest)).signature)
