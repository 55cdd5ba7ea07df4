"""Hands a deployment's administration over in two steps: it is offered, then accepted.

The one role that a deployment has is in the `PolicyBook`: its administrator publishes policies, and says who
else does. Loans, consents and notices have no administrator. Until the other address accepts nothing changes,
so the book cannot go to an address that nobody holds.
"""

from dataclasses import dataclass

from eth_utils.address import is_address, to_checksum_address

from duly.chain import deployments
from duly.chain.contracts import Call, PolicyBook
from duly.chain.deployments import Deployment
from duly.chain.errors import ChainError
from duly.chain.sender import Receipt, Sender
from duly.domain.errors import InvalidInput
from duly.domain.terms import ZERO_ADDRESS


class InvalidHandOver(InvalidInput):
    """The administration cannot be offered to this address."""


class NotAdministrator(ChainError):
    """Only the administrator can offer, and only whom it was offered to can accept."""


@dataclass(frozen=True, slots=True)
class Administration:
    """Who administers a deployment, and whom that is offered to; lower-case."""

    book: str
    administrator: str
    offered: str | None


def administration(sender: Sender, deployment: Deployment) -> Administration:
    """Who administers a deployment. Raises: DeploymentMismatch; ChainUnavailable."""
    book = _book(sender, deployment)
    return Administration(book.address, book.administrator(), book.offered_to())


def offer(sender: Sender, deployment: Deployment, to: str | None) -> Receipt:
    """Offer the administration to an address, or take an offer back where it is None.

    Raises: InvalidHandOver; NotAdministrator.
    """
    found = administration(sender, deployment)
    book = _book(sender, deployment)
    if to is None:
        if found.offered is None:
            raise InvalidHandOver("nothing is offered that could be taken back")
        call = book.take_back()
    else:
        check_address(to)
        if to.lower() == found.administrator:
            raise InvalidHandOver(f"{to_checksum_address(to)} is the administrator already")
        call = book.offer(to)
    if sender.address != found.administrator:
        raise NotAdministrator(
            f"{to_checksum_address(sender.address)} is not the administrator",
            wanted=f"the key of {to_checksum_address(found.administrator)}",
        )
    return sender.send(call)


def acceptance(sender: Sender, deployment: Deployment) -> Call:
    """What the address that the administration is offered to has to call: for a multisig's own interface.

    Raises: NotAdministrator, where nothing is offered.
    """
    _offered(administration(sender, deployment))
    return _book(sender, deployment).accept()


def accept(sender: Sender, deployment: Deployment) -> Receipt:
    """Accept the administration, with the key of the address that it is offered to.

    Raises: NotAdministrator.
    """
    offered = _offered(administration(sender, deployment))
    if sender.address != offered:
        raise NotAdministrator(
            f"the administration is not offered to {to_checksum_address(sender.address)}",
            wanted=f"the key of {to_checksum_address(offered)}",
            remedy="A multisig accepts through its own interface; `duly deploy accept --call` tells what it "
            "calls.",
        )
    return sender.send(_book(sender, deployment).accept())


def check_address(address: str) -> None:
    """Refuse what is no address, or nobody's. Raises: InvalidHandOver."""
    if not is_address(address) or address.lower() == ZERO_ADDRESS:
        raise InvalidHandOver(f"{address!r} is not somebody's address", wanted="0x… of a multisig or a key")


def _offered(found: Administration) -> str:
    if found.offered is None:
        raise NotAdministrator(
            "the administration is not offered to anybody",
            remedy=f"First {to_checksum_address(found.administrator)} offers it, with duly deploy hand-over.",
        )
    return found.offered


def _book(sender: Sender, deployment: Deployment) -> PolicyBook:
    address = deployment.address_of("PolicyBook")
    deployments.check_code(sender.w3, "PolicyBook", address)
    return PolicyBook(sender.w3, address)
