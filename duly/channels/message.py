"""What a channel carries, and what it says of how that went. Every channel is a `Carrier`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from duly.domain.consent import Channel
from duly.domain.errors import DulyError


class CarrierUnavailable(DulyError):
    """The channel cannot carry anything at the moment; nothing was sent."""


class Proof(NamedTuple):
    """With what the borrower can check on chain that these are the words of a notice: its id, and the salt of
    its content hash.
    """

    notice: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A notice on its way to the borrower, or several in one.

    `address` is the borrower's own, from the vault, and shows in no print. `proofs` has one of each notice,
    in the order of the text; the notices to one borrower address share a salt. `at` is the time of sending in
    UTC seconds.
    """

    proofs: tuple[Proof, ...] = field(repr=False)
    address: str = field(repr=False)
    subject: str = field(repr=False)
    body: str = field(repr=False)
    language: str
    at: int


@dataclass(frozen=True, slots=True)
class CodeMessage:
    """A code on its way to the address that it proves: the one message that needs no notice (GATE-1).

    It has no notice's id, and its words come from templates that know of nothing but the code.
    """

    address: str = field(repr=False)
    subject: str = field(repr=False)
    body: str = field(repr=False)
    language: str
    at: int


class Result(Enum):
    """How a send went. Only UNKNOWN leaves it open whether the message went out."""

    SENT = "sent"
    DEFERRED = "deferred"
    """Certainly not sent; may be tried again."""
    REFUSED = "refused"
    """Certainly not sent, and never will be."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a send went, and why: a code, never words that may repeat an address or a text."""

    result: Result
    reason: str | None = None


class Carrier(Protocol):
    """Carries messages to borrowers on one channel."""

    @property
    def channel(self) -> Channel:
        """The channel that it serves."""
        ...

    @property
    def at_once(self) -> int:
        """How many messages it sends at once."""
        ...

    def ready(self) -> None:
        """Make sure that messages can be carried now.

        Raises: CarrierUnavailable.
        """
        ...

    def send(self, message: Message | CodeMessage) -> Receipt:
        """Send a message, at most once. What goes wrong on the way is told in the receipt."""
        ...

    def send_all(self, messages: Sequence[Message]) -> list[Receipt]:
        """Send messages, each at most once; a receipt for each."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
