"""Serves notices: renders the words, keeps them under their salted hash, and only then asks the gate.

What cannot reach its borrower is not served: it would use up a reminder for nothing. Words that were kept and
never served are harmless; a notice whose words are missing could not be delivered.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from duly.chain.contracts import Contracts
from duly.chain.deployments import Deployment
from duly.chain.errors import ChainError
from duly.chain.logs import events_of
from duly.chain.sender import Sender
from duly.domain.errors import DulyError
from duly.domain.events import NoticeRefused, NoticeServed
from duly.domain.notice import Notice, Refusal
from duly.services.plan import Planned
from duly.services.policy import word_rules_published
from duly.services.render import Place, Text, check_templates, locale_for, render, templates
from duly.services.templates import TemplateSet
from duly.store.notices import Content, Handed, NoticeStore
from duly.store.readmodel import ReadModel
from duly.store.vault import Contact, Vault

BATCH: Final = 50
"""Notices in one transaction at most."""

NO_ADDRESS: Final = "no_address"
"""The vault has no address of the borrower for the channel."""
OTHER_ADDRESS: Final = "other_address"
"""The vault's address is not the one that the borrower registered on chain."""
OTHER_TEMPLATES: Final = "other_templates"
"""The loan's policy was published with other templates than those that the texts would be rendered from."""


@dataclass(frozen=True, slots=True)
class ServeReport:
    """What became of planned notices.

    served: their ids. refused: by the gate, counted by reason. skipped: not sent to the gate, counted by
    reason (`NO_ADDRESS`, `OTHER_ADDRESS`, `OTHER_TEMPLATES`).
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
        ready = [each for each in planned if each.ready]
        for start in range(0, len(ready), BATCH):
            batch = ready[start : start + BATCH]
            try:
                report += self._serve_batch(batch, now)
            except ChainError as error:
                raise ServingFailed(error, report, len(ready) - start) from error
        return report

    def _serve_batch(self, batch: Sequence[Planned], now: int) -> ServeReport:
        skipped: Counter[str] = Counter()
        contents: list[Content] = []
        notices: list[Notice] = []
        fitting = {policy: self._fits(policy) for policy in {each.policy for each in batch}}
        for each in batch:
            if not fitting[each.policy]:
                skipped[OTHER_TEMPLATES] += 1
                continue
            contact = self.vault.contact(each.borrower, each.channel, salt_purpose(each.id))
            if contact is None:
                skipped[NO_ADDRESS] += 1
                continue
            if contact.commitment != self.read_model.commitment(each.borrower, each.channel):
                skipped[OTHER_ADDRESS] += 1
                continue
            content = self._words(each, contact, now)
            contents.append(content)
            notices.append(each.notice(content.content_hash))
        if not notices:
            return ServeReport(skipped=skipped)
        self.store.keep(contents)
        receipt = self.sender.send(self.contracts.notices.serve_many(notices))
        served: list[NoticeServed] = []
        refused: Counter[Refusal] = Counter()
        for event in events_of(receipt.logs):
            if isinstance(event, NoticeServed):
                served.append(event)
            elif isinstance(event, NoticeRefused):
                refused[event.reason] += 1
        self.store.hand(Handed(event.id, event.borrower, event.kind, now) for event in served)
        return ServeReport(tuple(event.id for event in served), refused, skipped)

    def _fits(self, policy: int) -> bool:
        """The templates are those that the policy was published with, and keep its rules about words.

        BASIS-1: else nobody could render the text again and see that it is what the ledger says.
        """
        published = self.read_model.policy(policy)
        if published is None or published.templates != self.templates.hash:
            return False
        check_templates(self.templates, word_rules_published(published.pack))
        return True

    def _words(self, planned: Planned, contact: Contact, now: int) -> Content:
        language = locale_for(contact.language)
        text = render(
            planned.kind,
            planned.loan,
            planned.position,
            planned.ground,
            self.place,
            language,
            self.templates,
            planned.outcome,
        )
        return Content(
            content_hash=text.content_hash(contact.salt),
            notice=planned.id,
            loan=planned.loan.id,
            kind=planned.kind,
            language=language,
            subject=text.subject,
            body=text.body,
            kept_at=now,
        )


def salt_purpose(notice: bytes) -> bytes:
    """What the salt of a notice's content hash is derived for, from the borrower's key."""
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
