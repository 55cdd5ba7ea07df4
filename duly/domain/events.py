"""What the contracts tell, one class for each event; the fields are the event's own.

Ids and hashes are bytes, addresses lower-case strings, amounts integers in the currency's smallest unit.
Together they are complete: the whole state follows from them, without a call (see `replay`).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from duly.domain.consent import Channel
from duly.domain.grievance import Grievance
from duly.domain.notice import Kind, Refusal
from duly.domain.policy import ContactLimits, LendingLimits
from duly.domain.terms import Terms


class Event:
    """Something that a contract of ours told."""

    __slots__ = ()

    name: ClassVar[str]
    contract: ClassVar[str]
    """The name of the contract that tells it."""

    def __init_subclass__(cls, contract: str | None = None) -> None:
        super().__init_subclass__()
        cls.name = cls.__name__
        # `dataclass(slots=True)` makes the class a second time, without the argument.
        if contract is not None:
            cls.contract = contract


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the chain. The timestamp is in UTC seconds."""

    number: int
    hash: bytes
    timestamp: int


class Logged(NamedTuple):
    """An event, and where on the chain it stands. The timestamp (UTC seconds) is its block's."""

    event: Event
    block_number: int
    block_hash: bytes
    timestamp: int
    transaction_hash: bytes
    log_index: int


# ---------------------------------------------------------------------------------------- the ledger


@dataclass(frozen=True, slots=True)
class LoanOpened(Event, contract="LoanLedger"):
    id: bytes
    terms: Terms
    instalment: int
    total: int


@dataclass(frozen=True, slots=True)
class OfferCancelled(Event, contract="LoanLedger"):
    """The offer, or the amendment, with this id can no longer be accepted."""

    id: bytes
    party: str


@dataclass(frozen=True, slots=True)
class Repaid(Event, contract="LoanLedger"):
    """`amount` was taken from the payer; `paid` is everything credited so far, this included."""

    id: bytes
    payer: str
    amount: int
    paid: int


@dataclass(frozen=True, slots=True)
class ReceiptAcknowledged(Event, contract="LoanLedger"):
    """The lender received money outside the chain; `receipt` is the hash of the document that proves it."""

    id: bytes
    lender: str
    amount: int
    receipt: bytes
    paid: int


@dataclass(frozen=True, slots=True)
class DebtForgiven(Event, contract="LoanLedger"):
    """The lender gave up part of what is owed, which is credited as if it had been paid."""

    id: bytes
    lender: str
    amount: int
    paid: int


@dataclass(frozen=True, slots=True)
class FeesWaived(Event, contract="LoanLedger"):
    """The lender gave up unpaid late fees; `fees` are those charged so far, without these."""

    id: bytes
    lender: str
    amount: int
    fees: int


@dataclass(frozen=True, slots=True)
class InstalmentMissed(Event, contract="LoanLedger"):
    """Instalments `first` to `last` were not paid in time; `fees` are all late fees charged so far."""

    id: bytes
    first: int
    last: int
    fees: int


@dataclass(frozen=True, slots=True)
class LoanSettled(Event, contract="LoanLedger"):
    """`saved` is what the rest of the schedule would have cost more."""

    id: bytes
    payer: str
    amount: int
    saved: int
    paid: int


@dataclass(frozen=True, slots=True)
class LoanRepaid(Event, contract="LoanLedger"):
    """Nothing is owed any more; `paid` is everything that was ever credited."""

    id: bytes
    paid: int


@dataclass(frozen=True, slots=True)
class LoanRescinded(Event, contract="LoanLedger"):
    """The borrower withdrew in the cooling-off period; nothing is owed any more."""

    id: bytes
    amount: int
    paid: int


@dataclass(frozen=True, slots=True)
class LoanAmended(Event, contract="LoanLedger"):
    """A loan was closed into another one, `amendment`, which carries on what was owed.

    All but `id` is about the other one: `paid` is what counts as paid on it, which was paid ahead on the
    first, but for what rounding would have made the other dearer by; `fees` were unpaid on the first and are
    owed on the other.
    """

    id: bytes
    amendment: bytes
    terms: Terms
    instalment: int
    total: int
    opened_at: int
    assessed: int
    paid: int
    fees: int


@dataclass(frozen=True, slots=True)
class LoanAssigned(Event, contract="LoanLedger"):
    """The claim belongs to another lender, who is bound by the same terms."""

    id: bytes
    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class LoanDefaulted(Event, contract="LoanLedger"):
    """The lender marked a default: `instalment` is the first that is unpaid, `overdue` all that is."""

    id: bytes
    instalment: int
    overdue: int


@dataclass(frozen=True, slots=True)
class ServicerAppointed(Event, contract="LoanLedger"):
    """The zero address withdraws the appointment."""

    lender: str
    servicer: str


@dataclass(frozen=True, slots=True)
class PaymentHeld(Event, contract="LoanLedger"):
    """The lender could not receive a payment; the ledger holds it."""

    id: bytes
    lender: str
    amount: int


@dataclass(frozen=True, slots=True)
class Claimed(Event, contract="LoanLedger"):
    """Held payments were paid out."""

    lender: str
    to: str
    amount: int


# ---------------------------------------------------------------------------------------- policies


@dataclass(frozen=True, slots=True)
class PolicyPublished(Event, contract="PolicyBook"):
    """`templates` and `pack` are hashes of the notice templates and of the whole policy pack."""

    policy: int
    publisher: str
    lending: LendingLimits
    contact: ContactLimits
    templates: bytes
    pack: bytes


@dataclass(frozen=True, slots=True)
class ContactTightened(Event, contract="PolicyBook"):
    policy: int
    publisher: str
    contact: ContactLimits


@dataclass(frozen=True, slots=True)
class PolicyRetired(Event, contract="PolicyBook"):
    policy: int
    publisher: str


# ---------------------------------------------------------------------------------------- consent


@dataclass(frozen=True, slots=True)
class ContactRegistered(Event, contract="ConsentRegistry"):
    """`commitment` is the salted hash of the borrower's own contact; offsets are in quarter hours."""

    borrower: str
    channel: Channel
    commitment: bytes
    offset: int
    other_offset: int


@dataclass(frozen=True, slots=True)
class ConsentGranted(Event, contract="ConsentRegistry"):
    borrower: str
    channel: Channel


@dataclass(frozen=True, slots=True)
class ConsentRevoked(Event, contract="ConsentRegistry"):
    """`recorded_by` is the borrower, or who recorded the borrower's word."""

    borrower: str
    channel: Channel
    recorded_by: str


@dataclass(frozen=True, slots=True)
class ContactCeased(Event, contract="ConsentRegistry"):
    """`recorded_by` is the borrower, or who recorded the borrower's word."""

    borrower: str
    recorded_by: str


# ---------------------------------------------------------------------------------------- grievances


@dataclass(frozen=True, slots=True)
class GrievanceLodged(Event, contract="GrievanceDesk"):
    """Reminders rest from now on, about all loans of the borrower or this one; late fees of this one where
    `fees_rest`. `recorded_by` is the borrower, or who recorded the borrower's word.
    """

    loan: bytes
    borrower: str
    grievance: Grievance
    recorded_by: str
    all_loans: bool
    fees_rest: bool


@dataclass(frozen=True, slots=True)
class GrievanceAnswered(Event, contract="GrievanceDesk"):
    """The answer was served; reminders rest until `rests_until` (UTC seconds)."""

    loan: bytes
    borrower: str
    grievance: Grievance
    rests_until: int


@dataclass(frozen=True, slots=True)
class GrievanceWithdrawn(Event, contract="GrievanceDesk"):
    """The borrower took it back."""

    loan: bytes
    borrower: str
    grievance: Grievance


@dataclass(frozen=True, slots=True)
class GrievancesCarriedOver(Event, contract="GrievanceDesk"):
    """The loan goes on in another, and its grievances with it."""

    loan: bytes
    amendment: bytes


# ---------------------------------------------------------------------------------------- notices


@dataclass(frozen=True, slots=True)
class NoticeServed(Event, contract="NoticeRegistry"):
    """The gate let a notice through: without this event, no message.

    together: it is part of the message of the reminder before it, and counts as no reminder of its own.
    """

    id: bytes
    loan: bytes
    server: str
    borrower: str
    kind: Kind
    instalment: int
    amount: int
    channel: Channel
    basis: int
    serial: int
    content_hash: bytes
    together: bool = False


@dataclass(frozen=True, slots=True)
class NoticeRefused(Event, contract="NoticeRegistry"):
    """A notice of a batch was skipped; what `actual` and `required` mean stands with `Refusal`."""

    loan: bytes
    server: str
    kind: Kind
    instalment: int
    channel: Channel
    reason: Refusal
    actual: int
    required: int


EVENTS: tuple[type[Event], ...] = (
    LoanOpened,
    OfferCancelled,
    Repaid,
    ReceiptAcknowledged,
    DebtForgiven,
    FeesWaived,
    InstalmentMissed,
    LoanSettled,
    LoanRepaid,
    LoanRescinded,
    LoanAmended,
    LoanAssigned,
    LoanDefaulted,
    ServicerAppointed,
    PaymentHeld,
    Claimed,
    PolicyPublished,
    ContactTightened,
    PolicyRetired,
    ContactRegistered,
    ConsentGranted,
    ConsentRevoked,
    ContactCeased,
    GrievanceLodged,
    GrievanceAnswered,
    GrievanceWithdrawn,
    GrievancesCarriedOver,
    NoticeServed,
    NoticeRefused,
)
CONTRACTS = tuple(dict.fromkeys(event.contract for event in EVENTS))
"""The contracts whose events these are, by name."""
