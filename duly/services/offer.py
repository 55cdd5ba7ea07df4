"""An offer: terms, or the assignment of a claim, with the signatures of those who have to agree, in one JSON
document that parties send each other until it can be sent to the ledger.

    {"format": "duly-offer", "version": 1, "chainId": 31337, "ledger": "0x…", "kind": "loan",
     "terms": {…}, "signatures": {"lender": "0x…"}}

`kind` is `loan`, `amendment` or `assignment`; terms are written as in `duly.services.termsfile`, an
assignment as the message that is signed (EIP-712). It says which ledger of which chain it is for, and nothing
about anyone but their addresses: there is no place for more. Every field is under the signatures, so one that
was changed makes them fit no more. Amounts are in the currency's smallest unit, moments in UTC seconds.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from eth_utils.address import to_checksum_address
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from duly.chain import networks, offers, sender
from duly.chain.contracts import Call, Contracts
from duly.chain.errors import ContractError
from duly.chain.offers import Assignment, SigningDomain
from duly.domain import amending, calendar, lending, schedule
from duly.domain.amounts import shown
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.loan import Loan
from duly.domain.policy import LendingLimits
from duly.domain.terms import ZERO_HASH, Frequency, Schedule, Terms
from duly.services import termsfile

if TYPE_CHECKING:
    from duly.chain.keys import Signer

FORMAT: Final = "duly-offer"
VERSION: Final = 1
_MOST_BYTES: Final = 100_000
_MOST_OF_SIGNATURE: Final = 16_384
_RECOVERABLE: Final = 65
_LONGEST_NAME: Final = 40


class NotAnOffer(InvalidInput):
    """This file is no offer."""


class AnotherLedger(InvalidInput):
    """The offer is for another ledger, or another chain."""


class NotAParty(DulyError):
    """Somebody else has to do this."""


class NotSigned(DulyError):
    """A signature is missing."""


class SignatureDoesNotFit(InvalidInput):
    """A signature is not the party's, for exactly this."""


class Over(DulyError):
    """Nobody can use the offer any more."""


class NotToCancel(InvalidInput):
    """The ledger keeps no list of this to take it from."""


class Kind(StrEnum):
    """What is offered."""

    LOAN = "loan"
    AMENDMENT = "amendment"
    ASSIGNMENT = "assignment"


class Role(StrEnum):
    """Who signs."""

    LENDER = "lender"
    BORROWER = "borrower"
    NEW_LENDER = "newLender"

    @property
    def in_words(self) -> str:
        return "new lender" if self is Role.NEW_LENDER else self.value


# ------------------------------------------------------------------------------------------ what it is


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that a ledger does once those concerned have signed it.

    subject: terms of a new loan, terms that replace a loan's, or the assignment of a loan. signatures: those
    that were given, whether or not they fit.
    """

    ledger: SigningDomain
    subject: Terms | Assignment
    signatures: Mapping[Role, bytes] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        if isinstance(self.subject, Assignment):
            return Kind.ASSIGNMENT
        return Kind.LOAN if self.subject.replaces == ZERO_HASH else Kind.AMENDMENT

    @property
    def id(self) -> bytes:
        """Of the loan that it makes; of an assignment, of the one whose lender changes."""
        if isinstance(self.subject, Assignment):
            return self.subject.loan
        return offers.loan_id(self.subject, self.ledger)

    @property
    def expires(self) -> int:
        """Its last second."""
        return self.subject.deadline if isinstance(self.subject, Assignment) else self.subject.expires

    @property
    def signers(self) -> dict[Role, str]:
        """Who can sign it, by their addresses."""
        if isinstance(self.subject, Assignment):
            return {Role.NEW_LENDER: self.subject.to}
        return {Role.LENDER: self.subject.lender, Role.BORROWER: self.subject.borrower}

    @property
    def missing(self) -> tuple[Role, ...]:
        """Whose signature it cannot do without, and has not. A borrower who opens a loan need not sign."""
        needed = (Role.LENDER,) if self.kind is Kind.LOAN else tuple(self.signers)
        return tuple(role for role in needed if role not in self.signatures)

    def digest(self, role: Role) -> bytes:
        """What somebody signs."""
        if isinstance(self.subject, Assignment):
            return offers.assignment_hash(self.subject, self.ledger)
        if self.kind is Kind.AMENDMENT:
            return offers.amendment_hash(self.subject, self.ledger)
        make = offers.offer_hash if role is Role.LENDER else offers.acceptance_hash
        return make(self.subject, self.ledger)

    def typed_data(self, role: Role) -> dict[str, Any]:
        """The same as wallets take it for `eth_signTypedData_v4`."""
        if isinstance(self.subject, Assignment):
            return offers.typed_assignment(self.subject, self.ledger)
        if self.kind is Kind.AMENDMENT:
            return offers.typed_amendment(self.subject, self.ledger)
        make = offers.typed_offer if role is Role.LENDER else offers.typed_acceptance
        return make(self.subject, self.ledger)

    def role_of(self, address: str) -> Role:
        """As what somebody signs it.

        Raises: NotAParty.
        """
        for role, signer in self.signers.items():
            if signer == address:
                return role
        wanted = " or ".join(f"{to_checksum_address(a)} ({r.in_words})" for r, a in self.signers.items())
        raise NotAParty(
            f"the key is that of {to_checksum_address(address)}, who does not sign this",
            wanted=f"the key of {wanted}",
            remedy="Set DULY_KEY_FILE to that key, or sign with the wallet that has it (`--signature`).",
        )

    def signed_with(self, account: "Signer") -> "Offer":
        """With the signature of a key.

        Raises: NotAParty.
        """
        role = self.role_of(account.address.lower())
        return self.signed(role, offers.sign(account, self.digest(role)))

    def signed(self, role: Role, signature: bytes) -> "Offer":
        """With a signature, whether or not it fits."""
        return replace(self, signatures={**self.signatures, role: signature})


# ------------------------------------------------------------------------------------------ on disk

_Address = Annotated[str, StringConstraints(pattern="^0x[0-9a-fA-F]{40}$", to_lower=True)]


def _bytes_of(text: object) -> object:
    if not isinstance(text, str) or not re.fullmatch("0x(?:[0-9a-fA-F]{2})+", text):
        raise ValueError("should be 0x and hexadecimal digits, two for each byte")
    return bytes.fromhex(text[2:])


_Hex = Annotated[bytes, BeforeValidator(_bytes_of)]
_Hash = Annotated[_Hex, Field(min_length=32, max_length=32)]
_Signature = Annotated[_Hex, Field(max_length=_MOST_OF_SIGNATURE)]
_Number = Annotated[int, Field(ge=0, lt=2**256)]
_Moment = Annotated[int, Field(ge=0, lt=2**40)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class _Message(_Strict):
    id: _Hash
    from_: _Address = Field(alias="from")
    to: _Address
    nonce: _Number
    deadline: _Moment


class _Document(_Strict):
    format: Literal["duly-offer"]
    version: Literal[1]
    chain_id: Annotated[int, Field(gt=0, lt=2**64)]
    ledger: _Address


class _TermsDocument(_Document):
    kind: Literal["loan", "amendment"]
    terms: Annotated[Terms, PlainValidator(lambda found: termsfile.from_json(found, "terms"))]
    signatures: dict[Literal["lender", "borrower"], _Signature]


class _AssignmentDocument(_Document):
    kind: Literal["assignment"]
    assignment: _Message
    signatures: dict[Literal["newLender"], _Signature]


_DOCUMENT: Final[TypeAdapter[_TermsDocument | _AssignmentDocument]] = TypeAdapter(
    Annotated[_TermsDocument | _AssignmentDocument, Field(discriminator="kind")]
)


def text_of(offer: Offer) -> str:
    """The document."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "chainId": offer.ledger.chain_id,
        "ledger": to_checksum_address(offer.ledger.contract),
        "kind": offer.kind.value,
    }
    if isinstance(offer.subject, Assignment):
        document["assignment"] = offers.typed_assignment(offer.subject, offer.ledger)["message"]
    else:
        document["terms"] = termsfile.as_json(offer.subject)
    document["signatures"] = {role.value: f"0x{given.hex()}" for role, given in offer.signatures.items()}
    return json.dumps(document, indent=2) + "\n"


def parse(text: str, name: str = "the file") -> Offer:
    """An offer from its document; `name` is what errors call it. Signatures are not checked here.

    Raises: NotAnOffer, InvalidTerms.
    """
    try:
        found = termsfile.load(text)
    except ValueError as error:
        raise NotAnOffer(f"{name} is not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise NotAnOffer(
            f"{name} is no offer",
            wanted=f'a document that begins with "format": "{FORMAT}"',
            remedy="Make one: `duly offer --help`. Terms alone become one by `duly offer loan --terms FILE`.",
        )
    if (version := found.get("version")) != VERSION:
        raise NotAnOffer(
            f"{name} is of version {shown(str(version))}, which this program does not know",
            wanted=f"version {VERSION}",
            remedy="Ask for it in that version, or use a program that knows the other.",
        )
    try:
        document = _DOCUMENT.validate_python(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        # It begins with the kind, by which the document was told from others.
        where = ".".join(map(str, first["loc"][1:])) or "kind"
        where = where if where.isprintable() and len(where) < _LONGEST_NAME else shown(where)
        raise NotAnOffer(f"{name}: {where}: {first['msg']}") from None
    ledger = SigningDomain(document.chain_id, document.ledger)
    signatures = {Role(role): signature for role, signature in document.signatures.items()}
    if isinstance(document, _AssignmentDocument):
        it = document.assignment
        assignment = Assignment(it.id, it.from_, it.to, it.nonce, it.deadline)
        return Offer(ledger, assignment, signatures)
    offer = Offer(ledger, document.terms, signatures)
    if offer.kind != document.kind:
        raise NotAnOffer(
            f"{name} calls itself a{'n' * (document.kind != 'loan')} {document.kind}",
            wanted="terms that replace a loan in an amendment, and no others there",
        )
    return offer


def read(path: Path) -> Offer:
    """An offer from a file.

    Raises: as `parse`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise NotAnOffer(f"{path} is too large for an offer", wanted=f"at most {_MOST_BYTES:,} bytes")
        text = content.decode()
    except OSError as error:
        raise NotAnOffer(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise NotAnOffer(f"{path} is not text in UTF-8") from None
    return parse(text, path.name)


# ------------------------------------------------------------------------------------------ making one


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an amendment changes; None leaves it as it is. Units as in `Terms`."""

    principal: int | None = None
    rate: int | None = None
    instalments: int | None = None
    first_due: int | None = None
    schedule: Schedule | None = None
    frequency: Frequency | None = None
    late_fee: int | None = None
    grace_days: int | None = None


@dataclass(frozen=True, slots=True)
class Going:
    """How a loan goes on, as it is: from which instalment, to be paid by how many (a bullet's are periods),
    what it takes to settle it, and the late fees that are unpaid and part of that.
    """

    k: int
    left: int
    payoff: int
    fees: int
    owed: int


def going(loan: Loan, now: int) -> Going:
    """How a loan goes on at a moment."""
    loan = schedule.assess(loan, now)
    earned = schedule.earned(loan, now)
    _, fees = schedule.arrears(earned.due, loan.paid, loan.fees)
    k = earned.passed
    if loan.terms.schedule is not Schedule.BULLET:
        k = max(k, loan.curve.covered(loan.paid - (loan.fees - fees)))
    return Going(k, loan.terms.instalments - k, schedule.payoff_of(loan, earned), fees, loan.owed)


def amendment(
    loan: Loan, changes: Changes, limits: LendingLimits, now: int, expires: int, salt: bytes = ZERO_HASH
) -> Terms:
    """Terms for a loan that change what is named, and leave the rest as it is.

    The principal becomes what settling costs now, late fees apart. There are as many instalments as are still
    to be paid and not past due, the first on the first of their due days that lies one interval ahead, as the
    ledger wants it. A late fee that the policy does not allow for smaller instalments is lowered.

    Raises: InvalidInput, LoanNotActive, and what `Terms` and `lending.curve_of` raise.
    """
    schedule.check_owed(loan)
    old, way = loan.terms, going(loan, now)
    frequency = old.frequency if changes.frequency is None else changes.frequency
    instalments = changes.instalments
    if instalments is None and (frequency is not old.frequency or not way.left):
        why = "every due day is over" if not way.left else "instalments of another frequency are asked for"
        raise InvalidInput(f"{why}, but not how many", wanted="--instalments N")
    terms = Terms(
        lender=loan.lender,
        borrower=old.borrower,
        principal=way.payoff - way.fees if changes.principal is None else changes.principal,
        late_fee=changes.late_fee or 0,
        rate=old.rate if changes.rate is None else changes.rate,
        instalments=way.left if instalments is None else instalments,
        first_due=_first_due(old, way.k, frequency, now) if changes.first_due is None else changes.first_due,
        schedule=old.schedule if changes.schedule is None else changes.schedule,
        frequency=frequency,
        calendar_offset=old.calendar_offset,
        grace_days=old.grace_days if changes.grace_days is None else changes.grace_days,
        policy=old.policy,
        expires=expires,
        replaces=loan.id,
        salt=salt,
    )
    if changes.late_fee is None:
        most = lending.highest_late_fee(lending.curve_of(terms), limits)
        terms = replace(terms, late_fee=min(old.late_fee, most))
    return terms


def _first_due(old: Terms, k: int, frequency: Frequency, now: int) -> int:
    """The first of a loan's due days after its k-th that lies a whole interval ahead."""
    earliest = calendar.add_periods(schedule.today(old, now), frequency, 1)
    while True:
        k += 1
        day = calendar.due_day_to_go_on_from(old.first_due, old.frequency, k)
        if day >= earliest:
            return day


# ------------------------------------------------------------------------------------------ on the chain


def check_place(offer: Offer, contracts: Contracts) -> None:
    """Refuse an offer for another ledger or chain than is deployed.

    Raises: AnotherLedger.
    """
    wanted, found = offer.ledger, contracts
    if wanted.chain_id != found.chain_id:
        raise AnotherLedger(
            f"the offer is for chain {networks.chain_name(wanted.chain_id)}, "
            f"and the node is of {networks.chain_name(found.chain_id)}",
            remedy="Give the address of a node of that chain: --rpc, or DULY_RPC.",
        )
    if wanted.contract != found.ledger.address:
        raise AnotherLedger(
            f"the offer is for the ledger {to_checksum_address(wanted.contract)}, "
            f"and the one deployed is {to_checksum_address(found.ledger.address)}",
            remedy="Set DULY_DEPLOYMENTS to the folder of that ledger's record, or ask for an offer for this "
            "one.",
        )


def fits(contracts: Contracts, offer: Offer, role: Role, signature: bytes) -> bool:
    """The ledger would take a signature for this party's; a contract that signs is asked.

    Raises: ChainUnavailable.
    """
    return offers.is_signed_by(contracts.w3, offer.signers[role], offer.digest(role), signature)


def check_signatures(contracts: Contracts, offer: Offer) -> None:
    """Refuse an offer that was changed after somebody signed it.

    Raises: SignatureDoesNotFit, ChainUnavailable.
    """
    for role, signature in offer.signatures.items():
        if not fits(contracts, offer, role, signature):
            raise misfit(role)


def misfit(role: Role) -> SignatureDoesNotFit:
    """The error that tells whose signature does not fit."""
    return SignatureDoesNotFit(
        f"the signature of the {role.in_words} does not fit: it is another's, or something was changed after "
        "it was given",
        remedy=f"Have the {role.in_words} make or sign it again.",
    )


def signed_elsewhere(contracts: Contracts, offer: Offer, signature: bytes) -> tuple[Offer, Role]:
    """The offer with a signature that some wallet made, and whose it is.

    Raises: SignatureDoesNotFit, ChainUnavailable.
    """
    if len(signature) == _RECOVERABLE and signature[-1] in (0, 1):
        # As some wallets write it, and the ledger does not read it.
        signature = signature[:-1] + bytes([signature[-1] + 27])
    for role in sorted(offer.signers, key=offer.signatures.__contains__):  # who has not signed yet, first
        if fits(contracts, offer, role, signature):
            return offer.signed(role, signature), role
    who = " or ".join(f"{to_checksum_address(a)} ({r.in_words})" for r, a in offer.signers.items())
    raise SignatureDoesNotFit(
        "the signature fits none who can sign this",
        wanted=f"one by {who}, of the typed data that `duly offer show --json` tells for them",
    )


def call_of(contracts: Contracts, offer: Offer, sender: str) -> Call:
    """What this sender sends to the ledger.

    Raises: NotSigned, NotAParty.
    """
    ledger, given = contracts.ledger, offer.signatures
    if offer.missing:
        who = " and ".join(f"the {role.in_words}" for role in offer.missing)
        have = "have" if len(offer.missing) > 1 else "has"
        raise NotSigned(f"{who} {have} not signed", remedy="Have it signed first: `duly offer sign FILE`.")
    if isinstance(offer.subject, Assignment):
        it = offer.subject
        if sender != it.lender:
            raise NotAParty(
                f"the key is that of {to_checksum_address(sender)}",
                wanted=f"that of the lender, {to_checksum_address(it.lender)}, who alone can send this",
            )
        return ledger.assign(it.loan, it.to, it.deadline, given[Role.NEW_LENDER])
    if offer.kind is Kind.AMENDMENT:
        return ledger.amend(offer.subject, given[Role.LENDER], given[Role.BORROWER])
    if sender == offer.subject.borrower:
        return ledger.open(offer.subject, given[Role.LENDER])
    if Role.BORROWER not in given:
        raise NotAParty(
            f"the key is that of {to_checksum_address(sender)}, and the borrower has not signed",
            wanted=f"that of the borrower, {to_checksum_address(offer.subject.borrower)}, or their signature",
        )
    return ledger.open_by_signature(offer.subject, given[Role.LENDER], given[Role.BORROWER])


def cancelling(contracts: Contracts, offer: Offer, sender: str) -> Call:
    """What withdraws it: nobody can use it any more.

    Raises: NotToCancel, NotAParty.
    """
    if isinstance(offer.subject, Assignment):
        raise NotToCancel(
            "an assignment is not withdrawn on chain: the lender alone can send it, and need not",
            remedy="Let it expire.",
        )
    offer.role_of(sender)
    return contracts.ledger.cancel_offer(offer.subject)


class State(StrEnum):
    """How an offer stands."""

    READY = "ready"
    UNSIGNED = "unsigned"
    INVALID = "invalid"
    USED = "used"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an offer stands now, why the ledger would refuse it, and for each signature whether it fits."""

    state: State
    fits: Mapping[Role, bool]
    refusal: DulyError | None = None


_STATES: Final = {
    "LoanExists": State.USED,
    "OfferWithdrawn": State.CANCELLED,
    "OfferExpired": State.EXPIRED,
    "SignatureExpired": State.EXPIRED,
}
_ANYBODY: Final = "0x" + 40 * "1"
_UNSIGNED: Final = ("InvalidOffer", "InvalidAmendment", "InvalidAcceptance", "InvalidSignature")


def standing(contracts: Contracts, offer: Offer, replaced: Loan | None, now: int) -> Standing:
    """Ask the ledger what it would do with the offer, without sending anything.

    replaced: the loan that it amends. What is not signed yet is judged by everything else.

    Raises: ChainUnavailable.
    """
    fit = {role: fits(contracts, offer, role, given) for role, given in offer.signatures.items()}
    refusal: DulyError | None = _refusal(contracts, offer)
    state = State.READY
    if isinstance(refusal, ContractError):
        state = _STATES.get(refusal.name, State.REFUSED)
        if refusal.name == "NotLender" and refusal.arguments.get("lender") in offer.signers.values():
            state = State.USED
        elif refusal.name in _UNSIGNED and offer.missing:
            refusal = _refusal_but_for_signatures(contracts, offer, replaced, now)
            state = State.REFUSED if refusal else State.UNSIGNED
    if state in (State.READY, State.UNSIGNED, State.REFUSED):
        for role, good in fit.items():
            if not good:
                return Standing(State.INVALID, fit, misfit(role))
    return Standing(state, fit, refusal)


def _refusal(contracts: Contracts, offer: Offer) -> ContractError | None:
    """What the ledger says to it; an empty signature stands for one that is missing."""
    whole = replace(offer, signatures=dict.fromkeys(offer.missing, b"") | dict(offer.signatures))
    if isinstance(offer.subject, Assignment):
        by = offer.subject.lender
    else:
        # The borrower can open it without having signed; what both signed anyone can send.
        by = _ANYBODY if Role.BORROWER in offer.signatures else offer.subject.borrower
    try:
        sender.simulate(contracts.w3, call_of(contracts, whole, by), by)
    except ContractError as error:
        return error
    return None


def _refusal_but_for_signatures(
    contracts: Contracts, offer: Offer, replaced: Loan | None, now: int
) -> DulyError | None:
    if isinstance(offer.subject, Assignment):
        return None
    if offer.kind is Kind.LOAN:
        try:
            contracts.policy_book.admit(offer.subject)
        except ContractError as error:
            return error
    elif replaced is not None:
        limits = contracts.policy_book.lending_of(offer.subject.policy)
        try:
            amending.amend(replaced, offer.subject, limits, now, lambda _: offer.id)
        except DulyError as error:
            return error
    return None
