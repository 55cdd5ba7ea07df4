"""How a borrower is reached, and what they change about it themselves: address, hours, consent.

An address is kept in the vault and proved by a code; its commitment and the consent to use it are on the
chain, put there by the borrower's own key (CONSENT-1). The two are shown side by side, since what reaches
somebody needs both.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from zoneinfo import available_timezones

from duly.chain.contracts import Call
from duly.chain.contracts import ConsentRegistry as Registry
from duly.domain.consent import Channel, Profile
from duly.domain.errors import DulyError
from duly.domain.loan import Status
from duly.domain.policy import ContactLimits
from duly.domain.preferences import Preferences
from duly.services import verifying
from duly.services.when import agrees, check_zone, offsets_of
from duly.store.vault import (
    Commitment,
    InvalidMasterKey,
    NoSuchContact,
    Reading,
    Vault,
    VaultError,
    masked,
)

if TYPE_CHECKING:
    from duly.bootstrap import Application

CHANNELS: Final = (Channel.EMAIL, Channel.SMS, Channel.PUSH)
"""Those that need an address; everybody has an inbox in the app."""

_REGIONS: Final = (
    *("Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/"),
    *("Australia/", "Europe/", "Indian/", "Pacific/"),
)


class NotABorrower(DulyError):
    """Addresses are kept of borrowers alone."""


@dataclass(frozen=True, slots=True)
class Way:
    """A channel, and what stands in the way of being reached on it.

    address: masked; None where none is kept. verified: its borrower proved it with a code. registered: the
    chain has this very address' commitment. consented: consent to the channel is in force. set_up: codes and
    notices can be sent there at all.
    """

    channel: Channel
    address: str | None
    verified: bool
    registered: bool
    consented: bool
    set_up: bool

    @property
    def works(self) -> bool:
        """Whether notices arrive there."""
        return self.verified and self.registered and self.consented and self.set_up


@dataclass(frozen=True, slots=True)
class Reach:
    """How a borrower is reached. limits: when they may be reminded at all, of each policy of their running
    loans. agrees: whether the time zone of their wishes is the one that is registered on chain.
    """

    ways: tuple[Way, ...]
    wishes: Preferences
    language: str
    limits: tuple[ContactLimits, ...]
    agrees: bool


def zones() -> list[str]:
    """The time zones that people live in, by their IANA names."""
    return sorted(zone for zone in available_timezones() if zone.startswith(_REGIONS))


class Contact:
    """Answers about a borrower's contact, and changes it on their word. For several threads."""

    def __init__(self, app: "Application") -> None:
        self._app = app

    def reach(self, borrower: str) -> Reach:
        """Everything about how a borrower is reached. Each address that is kept is read, and the log told.

        Raises: VaultError, DatabaseError.
        """
        app, vault = self._app, self._vault
        profile = app.read_model.profile(borrower)
        wishes = vault.preferences_of(borrower)
        year = time.gmtime(app.portal.now()).tm_year
        return Reach(
            ways=tuple(
                way
                for channel in CHANNELS
                if (way := self._way(borrower, channel, profile)).set_up or way.address
            ),
            wishes=wishes,
            language=vault.language_of(borrower),
            limits=tuple(self._limits(borrower)),
            agrees=not wishes.zone or agrees(wishes.zone, profile.offset, profile.other_offset, year),
        )

    @property
    def _vault(self) -> Vault:
        try:
            return self._app.vault
        except InvalidMasterKey as error:
            raise VaultError(error.wrong) from error

    def _way(self, borrower: str, channel: Channel, profile: Profile) -> Way:
        found = self._vault.contact(borrower, channel, Reading("show", "masked"))
        there = self._app.read_model.commitment(borrower, channel)
        return Way(
            channel=channel,
            address=None if found is None else masked(channel, found.address),
            verified=found is not None and found.kept.verified,
            registered=found is not None and found.kept.commitment == there,
            consented=profile.consents_to(channel) and not profile.ceased,
            set_up=channel in self._app.carriers,
        )

    def _limits(self, borrower: str) -> Sequence[ContactLimits]:
        model = self._app.read_model
        numbers = {
            loan.terms.policy
            for loan in model.loans(borrower=borrower)
            if loan.status in (Status.ACTIVE, Status.DEFAULTED)
        }
        found = (model.policy(number) for number in sorted(numbers))
        return [policy.contact for policy in found if policy is not None]

    # ------------------------------------------------------------------------- what is kept in the vault

    def keep(self, borrower: str, channel: Channel, address: str, language: str) -> None:
        """Keep the borrower's own address, and send a code there.

        Raises: NotABorrower, InvalidContact, CarrierUnavailable, CodeNotSent, TooManyCodes, VaultError.
        """
        if not self._app.read_model.loans(borrower=borrower, limit=1):
            raise NotABorrower("there is no loan to this address")
        self._vault.add(borrower, channel, address, language=language)
        self.send_code(borrower, channel)

    def send_code(self, borrower: str, channel: Channel) -> None:
        """Send a code to the address that is kept; none where it was proved before.

        Raises: as `keep`, NoSuchContact.
        """
        kept = self._vault.kept(borrower, channel)
        if kept is not None and kept.verified:
            return
        # A carrier is for one thread at a time.
        carriers = self._app.new_carriers()
        try:
            verifying.send_code(self._vault, carriers, borrower, channel, at=self._app.portal.now())
        finally:
            for carrier in carriers.values():
                carrier.close()

    def prove(self, borrower: str, channel: Channel, code: str) -> Commitment:
        """Check the code that came to an address. Raises: CodeRefused, NoSuchContact, VaultError."""
        return self._vault.check_code(borrower, channel, code)

    def wish(self, borrower: str, wishes: Preferences, language: str) -> None:
        """Keep how the borrower wants to be reminded, and in which language; a channel that they like best
        stays.

        Raises: UnknownZone, OtherOffsets, UnknownBorrower, VaultError.
        """
        if wishes.zone:
            profile = self._app.read_model.profile(borrower)
            check_zone(wishes.zone, profile if profile.registered else None)
        kept = self._vault.preferences_of(borrower)
        self._vault.prefer(borrower, replace(wishes, channel=kept.channel), language=language)

    # ---------------------------------------------------------------------------- what is put on the chain

    def consent(self, borrower: str, channel: Channel, zone: str) -> list[Call]:
        """What the borrower's wallet sends, so that they may be reminded there: the commitment with the UTC
        offsets of where they live, where the chain has another, and the consent.

        Raises: UnknownZone, VaultError; NoSuchContact, where no proved address is kept.
        """
        check_zone(zone)
        app, vault = self._app, self._vault
        consents: Registry = app.contracts.consents
        commitment = vault.commitment(borrower, channel)
        if commitment is None:
            raise NoSuchContact(borrower, channel)
        profile = app.read_model.profile(borrower)
        year = time.gmtime(app.portal.now()).tm_year
        offsets = offsets_of(zone, year)
        calls = []
        same = profile.registered and agrees(zone, profile.offset, profile.other_offset, year)
        if app.read_model.commitment(borrower, channel) != commitment or not same:
            calls.append(consents.register(channel, commitment, offsets[0], offsets[-1]))
        if calls or profile.ceased or not profile.consents_to(channel):
            calls.append(consents.grant(channel))
        wishes = vault.preferences_of(borrower)
        if wishes.zone != zone:
            vault.prefer(borrower, replace(wishes, zone=zone))
        return calls
