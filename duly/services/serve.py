"""Serves notices: renders the words, keeps them under their salted hash, and only then asks the gate.

What cannot reach its borrower is not served: it would use up a reminder for nothing. Words that were kept and
never served are harmless; a notice whose words are missing could not be delivered.

Reminders in one message have one text. Where they are to several addresses of a person, each address has a
salt of its own, so that the chain does not show that these are one person's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from duly.chain.contracts import Contracts
from duly.chain.deployments import Deployment
from duly.chain.errors import ChainError
from duly.chain.logs import events_of
from duly.chain.sender import Sender
from duly.domain.errors import DulyError
from duly.domain.events import NoticeRefused, NoticeServed
from duly.domain.notice import Kind, Notice, Refusal
from duly.services import telemetry
from duly.services.plan import Planned
from duly.services.policy import word_rules_published
from duly.services.render import Place, Text, check_templates, locale_for, render_together, templates
from duly.services.templates import TemplateSet
from duly.store.notices import Content, Handed, NoticeStore, Told
from duly.store.readmodel import ReadModel
from duly.store.vault import Kept, Vault

BATCH: Final = 50
"""Notices in one transaction at most; a message is never divided."""

NO_ADDRESS: Final = "no_address"
"""The vault has no address of the borrower for the channel."""
NOT_VERIFIED: Final = "not_verified"
"""The borrower has not proved the vault's address by a code."""
OTHER_ADDRESS: Final = "other_address"
"""The vault's address is not the one that the borrower registered on chain."""
OTHER_TEMPLATES: Final = "other_templates"
"""The loan's policy was published with other templates than those that the texts would be rendered from."""


@dataclass(frozen=True, slots=True)
class ServeReport:
    """What became of planned notices.

    served: their ids. refused: by the gate, or by what it said beforehand, counted by reason. skipped: not
    sent to the gate, counted by reason (`NO_ADDRESS`, `NOT_VERIFIED`, `OTHER_ADDRESS`, `OTHER_TEMPLATES`).
    """

    served: tuple[bytes, ...] = ()
    refused: Counter[Refusal] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "ServeReport") -> "ServeReport":
        return ServeReport(
            self.served + other.served, self.refused + other.refused, self.skipped + other.skipped
        )

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "served": len(self.served),
            "refused": {reason.name.lower(): count for reason, count in sorted(self.refused.items())},
            "skipped": dict(sorted(self.skipped.items())),
        }


class ServingFailed(DulyError):
    """A batch of notices could not be sent to the gate. `report` tells what was served before."""

    def __init__(self, error: ChainError, report: ServeReport, left: int) -> None:
        super().__init__(
            f"{error.wrong}; {len(report.served)} notices were served before, {left} were not",
            wanted=error.wanted,
            remedy=error.remedy or "What was not served is planned again the next time.",
        )
        self.report = report


@dataclass(frozen=True, slots=True)
class Server:
    """Serves notices with one key about the loans of one deployment."""

    contracts: Contracts
    sender: Sender
    read_model: ReadModel
    store: NoticeStore
    vault: Vault
    place: Place
    templates: TemplateSet = field(default_factory=templates)

    def serve(self, planned: Iterable[Planned], now: int) -> ServeReport:
        """Serve those of the planned notices that are ready.

        now: the moment of the plan, UTC seconds.

        Raises: ServingFailed, VaultError, DatabaseError; InvalidTemplates, where the templates break a rule
        of the pack that they were published with.
        """
        report = ServeReport()
        batches = list(_batches(_messages(each for each in planned if each.ready)))
        for number, batch in enumerate(batches):
            try:
                found = self._serve_batch(batch, now)
                telemetry.not_served(found.refused, found.skipped)
                report += found
            except ChainError as error:
                left = sum(len(message) for rest in batches[number:] for message in rest)
                raise ServingFailed(error, report, left) from error
        return report

    def _serve_batch(self, batch: Sequence[Sequence[Planned]], now: int) -> ServeReport:
        skipped: Counter[str] = Counter()
        refused: Counter[Refusal] = Counter()
        contents: list[Content] = []
        notices: list[Notice] = []
        policies = {each.policy for message in batch for each in message}
        fitting = {policy: self._fits(policy) for policy in policies}
        for message in batch:
            contacts: dict[bytes, Kept] = {}
            for each in message:
                contact = self._contact(each) if fitting[each.policy] else OTHER_TEMPLATES
                if isinstance(contact, str):
                    skipped[contact] += 1
                else:
                    contacts[each.id] = contact
            possible = [each for each in message if each.id in contacts]
            if len(possible) > 1:
                possible = self._allowed(possible, refused)
            if not possible:
                continue
            words = self._words(possible, contacts, now)
            contents += words.values()
            # As the gate takes them for one message: address by address, loans in ascending order.
            for each in sorted(possible, key=lambda each: (each.borrower, each.loan.id)):
                notices.append(each.notice(words[each.borrower].content_hash))
        if not notices:
            return ServeReport(refused=refused, skipped=skipped)
        self.store.keep(contents)
        receipt = self.sender.send(self.contracts.notices.serve_many(notices))
        telemetry.paid(receipt)
        served: list[NoticeServed] = []
        for event in events_of(receipt.logs):
            if isinstance(event, NoticeServed):
                served.append(event)
                telemetry.served(event.id, event.kind)
            elif isinstance(event, NoticeRefused):
                refused[event.reason] += 1
        self.store.hand(
            Handed(event.id, event.borrower, event.kind, event.content_hash, now) for event in served
        )
        return ServeReport(tuple(event.id for event in served), refused, skipped)

    def _contact(self, planned: Planned) -> Kept | str:
        """Whom a notice is for, or why it could not be delivered."""
        contact = self.vault.kept(planned.borrower, planned.channel, salt_purpose(planned.id))
        if contact is None:
            return NO_ADDRESS
        if not contact.verified:
            return NOT_VERIFIED
        if contact.commitment != self.read_model.commitment(planned.borrower, planned.channel):
            return OTHER_ADDRESS
        return contact

    def _allowed(self, message: Sequence[Planned], refused: Counter[Refusal]) -> list[Planned]:
        """Those of a message that the gate lets through, as it says beforehand: if it refused one of them
        later on, the others could not be delivered, and had used up a reminder.
        """
        asked = [each.notice(bytes(32)) for each in message]
        decisions = self.contracts.refusals(asked, self.sender.address)
        refused.update(each.reason for each in decisions if each.reason)
        return [each for each, decision in zip(message, decisions, strict=True) if not decision.reason]

    def _fits(self, policy: int) -> bool:
        """The templates are those that the policy was published with, and keep its rules about words.

        BASIS-1: else nobody could render the text again and see that it is what the ledger says.
        """
        published = self.read_model.policy(policy)
        if published is None or published.templates != self.templates.hash:
            return False
        check_templates(self.templates, word_rules_published(published.pack))
        return True

    def _words(
        self, message: Sequence[Planned], contacts: Mapping[bytes, Kept], now: int
    ) -> dict[str, Content]:
        """The words of a message, as they are kept for each borrower address that it is to."""
        # Of several loans the one that fell due first is told of first.
        message = sorted(message, key=_due_day)
        language = locale_for(contacts[message[0].id].language)
        text = render_together(message, self.place, language, self.templates)
        # The first that is served to each address.
        first = {each.borrower: each for each in sorted(message, key=lambda each: each.loan.id, reverse=True)}
        return {
            borrower: Content(
                content_hash=text.content_hash(contacts[one.id].salt),
                of=Told(one.id, one.loan.id),
                notices=tuple(Told(each.id, each.loan.id) for each in message),
                language=language,
                subject=text.subject,
                body=text.body,
                kept_at=now,
            )
            for borrower, one in first.items()
        }


def _messages(ready: Iterable[Planned]) -> Iterable[list[Planned]]:
    """What goes out together; what is no reminder goes by itself."""
    found: dict[bytes, list[Planned]] = {}
    for each in ready:
        found.setdefault(each.message or each.id, []).append(each)
    return found.values()


def _batches(messages: Iterable[list[Planned]]) -> Iterator[list[list[Planned]]]:
    batch: list[list[Planned]] = []
    for message in messages:
        if batch and sum(map(len, batch)) + len(message) > BATCH:
            yield batch
            batch = []
        batch.append(message)
    if batch:
        yield batch


def _due_day(planned: Planned) -> tuple[int, bytes]:
    position = planned.position
    overdue = planned.kind is Kind.OVERDUE
    return position.first_unpaid_due_day if overdue else position.next_due_day, planned.loan.id


def salt_purpose(notice: bytes) -> bytes:
    """What the salt of a content hash is derived for, from the borrower's key: its notice, or the first one
    to the borrower's address in its message (`Content.of`).
    """
    return b"content" + notice


def proves(content: Content, salt: bytes, content_hash: bytes) -> bool:
    """The words with this salt have this hash."""
    return Text(content.subject, content.body).content_hash(salt) == content_hash


def place_of(deployment: Deployment) -> Place:
    """What the texts name of a deployment."""
    return Place(
        symbol=deployment.currency.symbol,
        decimals=deployment.currency.decimals,
        chain_id=deployment.chain_id,
        ledger=deployment.address_of("LoanLedger"),
        notices=deployment.address_of("NoticeRegistry"),
        consents=deployment.address_of("ConsentRegistry"),
    )
