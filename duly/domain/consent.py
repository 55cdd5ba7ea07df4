"""What a borrower has registered and allowed; mirrors `contracts/ConsentRegistry.sol`."""

from dataclasses import dataclass
from enum import IntEnum


class Channel(IntEnum):
    """The ways in which a notice can reach a borrower."""

    EMAIL = 0
    SMS = 1
    PUSH = 2
    IN_APP = 3

    @property
    def label(self) -> str:
        """Its name in commands, settings and reports: in-app, for instance."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Profile:
    """A borrower's registrations and consents.

    `offset` and `other_offset` are the UTC offsets of standard and summer time in quarter hours, east
    positive, the same twice where there is no summer time. `registered` and `consented` hold a bit per
    channel. `ceased` means that all contact was stopped. `changes` counts how often any of
    this was changed, and is the nonce of the borrower's next signed instruction.
    """

    offset: int = 0
    other_offset: int = 0
    registered: int = 0
    consented: int = 0
    ceased: bool = False
    changes: int = 0

    def has_contact(self, channel: Channel) -> bool:
        """A contact is registered for the channel."""
        return bool(self.registered & 1 << channel)

    def consents_to(self, channel: Channel) -> bool:
        """Consent to the channel is in force; a cease withdraws all of them."""
        return bool(self.consented & 1 << channel)
