"""Takes reports of what became of messages, and closes the channels that they speak against.

A report counts where its tag is genuine and the message went out from here: whatever else comes changes
nothing. An address that does not exist, a complaint, or the word STOP closes the channel: at once for
whatever is planned, and on chain, where the servicer revokes the consent (CONSENT-1), so that the gate
refuses too. Only the borrower opens it again, with another address or with consent anew.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from duly.chain.contracts import Contracts
from duly.domain.report import CLOSING, Report, Verdict
from duly.domain.tag import read_tag
from duly.domain.terms import ZERO_ADDRESS
from duly.store.notices import Delivery, NoticeStore, State
from duly.store.readmodel import ReadModel
from duly.store.reports import Closed, Reported, ReportStore
from duly.store.vault import Vault

if TYPE_CHECKING:
    from duly.chain.sender import Sender


class Taken(StrEnum):
    """What became of a report."""

    RECORDED = "recorded"
    KNOWN = "known"
    """It was recorded before."""
    NOT_OURS = "not_ours"
    """No message that went out from here: forged, or of another service."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class ReportsTaken:
    """What became of reports: how many of each, and by verdict those that were recorded. closed: how many
    borrowers' channels. revoked: how many consents on chain. left: closed channels whose consent this key
    cannot revoke, since it is neither the lender's nor the servicer's of any loan.
    """

    taken: Counter[Taken] = field(default_factory=Counter)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    closed: int = 0
    revoked: int = 0
    left: int = 0

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            **{each.value: self.taken[each] for each in Taken},
            "verdicts": {each.value: self.verdicts[each] for each in Verdict if self.verdicts[each]},
            "closed": self.closed,
            "revoked": self.revoked,
            "left": self.left,
        }


@dataclass(slots=True)
class Intake:
    """Takes reports, one after the other."""

    notices: NoticeStore
    reports: ReportStore
    vault: Vault
    _key: bytes = b""
    _taken: Counter[Taken] = field(default_factory=Counter)
    _verdicts: Counter[Verdict] = field(default_factory=Counter)
    _closed: int = 0

    def take(self, report: Report, raw: bytes, now: int) -> Taken:
        """Record a report, once. raw: as it came. now: UTC seconds.

        Raises: DatabaseError, VaultError.
        """
        taken = self._take(report, hashlib.sha256(raw).digest(), now)
        self._taken[taken] += 1
        if taken is Taken.RECORDED:
            self._verdicts[report.verdict] += 1
        return taken

    def unreadable(self) -> None:
        """Count what was no report."""
        self._taken[Taken.UNREADABLE] += 1

    def report(self, revoked: int = 0, left: int = 0) -> ReportsTaken:
        """What was taken so far."""
        return ReportsTaken(self._taken.copy(), self._verdicts.copy(), self._closed, revoked, left)

    def _take(self, report: Report, digest: bytes, now: int) -> Taken:
        self._key = self._key or self.vault.tag_key()
        genuine = {half for tag in report.tags if (half := read_tag(self._key, tag))}
        if len(genuine) != 1:
            return Taken.NOT_OURS
        sent = [
            each
            for each in self.notices.message_of(genuine.pop())
            if each.state in (State.SENT, State.UNCERTAIN, State.CLAIMED)
        ]
        if not sent:
            return Taken.NOT_OURS
        first = sent[0].notice
        reported = Reported(digest, first.id, first.channel, report.verdict, report.code, now)
        closes = list(self._closes(sent, report.verdict, now)) if report.verdict in CLOSING else []
        if not self.reports.record(reported, closes):
            return Taken.KNOWN
        self._closed += len(closes)
        return Taken.RECORDED

    def _closes(self, sent: list[Delivery], verdict: Verdict, now: int) -> Iterator[Closed]:
        """The channels that a verdict closes: of everybody who is reached at the place where the message
        went.
        """
        seen: set[str] = set()
        for delivery in sent:
            notice = delivery.notice
            for borrower, commitment, changed_at in self.vault.reached_with(notice.borrower, notice.channel):
                # An address that was changed since is another one.
                gone = delivery.claimed_wall is not None and changed_at > delivery.claimed_wall
                if borrower not in seen and not gone:
                    seen.add(borrower)
                    yield Closed(borrower, notice.channel, commitment, verdict, now)


def revoke(reports: ReportStore, model: ReadModel, contracts: Contracts, sender: "Sender") -> tuple[int, int]:
    """Revoke on chain the consents to closed channels, by the borrower's word (CONSENT-1). What was killed or
    failed is taken up again the next time.

    Returns: how many were revoked, and how many another key has to revoke.
    Raises: ChainError, DatabaseError; what was done until then stays done.
    """
    revoked = left = 0
    for closed in reports.unrevoked():
        consents = contracts.consents
        profile = consents.profile_of(closed.borrower)
        same = consents.commitment_of(closed.borrower, closed.channel) == closed.commitment
        if same and profile.consents_to(closed.channel):
            loan = _loan_of(model, closed.borrower, sender.address.lower())
            if loan is None:
                left += 1
                continue
            sender.send(consents.revoke_on_word(loan, closed.channel))
            revoked += 1
        reports.revoked(closed)
    return revoked, left


def _loan_of(model: ReadModel, borrower: str, server: str) -> bytes | None:
    """A loan of the borrower that a server speaks for (SERVER-1)."""
    for loan in model.loans(borrower=borrower):
        if server == loan.lender or (model.servicer(loan.lender) == server != ZERO_ADDRESS):
            return loan.id
    return None
