"""Audits a deployment from its chain: no database, no vault, no word of the service is trusted.

Where the service's database and the vault are at hand, what the chain cannot show is checked with them as
well (`Records`), and the report says of each rule from what it was checked.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from web3 import Web3

from duly.chain.errors import ChainError, explained
from duly.chain.logs import LogReader, Reorganised
from duly.chain.offers import SigningDomain, loan_id
from duly.domain import calendar
from duly.domain.audit import Audit, Found, Row, Violation
from duly.domain.audit.notices import outside
from duly.domain.audit.tokens import MONEY, Transfer
from duly.domain.consent import Channel, Profile
from duly.domain.events import Block
from duly.domain.replay import Policy
from duly.services.index import Source
from duly.store.notices import Delivery, NoticeStore, State
from duly.store.vault import Vault

_AT_ONCE: Final = 500
"""Deliveries that are looked up at once."""
MOST_LISTED: Final = 1_000
"""Drops and uncertain deliveries that a report lists."""

Progress = Callable[[int, int], None]
"""Is told how many blocks were read, and of how many."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A chain that was audited, up to a block."""

    audit: Audit
    upto: Block
    tokens: bool = False
    records: "Records | None" = None


def audit(
    w3: Web3,
    source: Source,
    progress: Progress = lambda block, last: None,
    *,
    wanted: Callable[[Policy], bool] | None = None,
    tell: Callable[[Found], None] = lambda found: None,
    tokens: str | None = None,
    records: "Records | None" = None,
) -> Audited:
    """Check every event of a deployment up to the chain's latest block.

    wanted: the policies to report on, by default all. tell: is given every notice, refusal and violation.
    tokens: the currency, where its transfers are to be checked as well. records: the service's, where what
    the chain cannot show is to be checked as well.

    Raises: ChainError, where the chain cannot be read, or changed its mind meanwhile; HistoryIncomplete,
    where its events do not tell all.
    """
    reader = LogReader(w3, source.addresses)
    domain = SigningDomain(source.identity.chain_id, source.identity.ledger)
    with explained():
        head = int(w3.eth.block_number)
    moved: dict[bytes, list[Transfer]] = {}
    auditor = Audit(
        id_of=lambda terms: loan_id(terms, domain),
        persons=records.persons() if records else None,
        wanted=wanted,
        tell=_both(tell, records.see) if records else tell,
        tokens=(source.identity.ledger, lambda transaction: moved.get(transaction, ())) if tokens else None,
    )
    if records:
        records.begin(auditor, tell)
    at = reader.block(source.identity.first_block - 1)
    try:
        while at is not None and at.number < head:
            page = reader.page(at, head)
            events = reader.decode(page.logs)
            if tokens:
                money = (logged.transaction_hash for logged in events if isinstance(logged.event, MONEY))
                moved = reader.transfers(tokens, list(dict.fromkeys(money)))
            for logged in events:
                auditor.see(logged)
            auditor.finish()
            at = page.last
            progress(at.number - source.identity.first_block, head - source.identity.first_block)
    except Reorganised as error:
        raise ChainError(error.wrong, remedy="Audit it again.") from None
    if at is None:
        raise ChainError("the chain has no block before the contracts were deployed")
    if records:
        records.end()
    return Audited(auditor, at, tokens is not None, records)


def _both(first: Callable[[Found], None], second: Callable[[Found], None]) -> Callable[[Found], None]:
    def tell(found: Found) -> None:
        second(found)
        first(found)

    return tell


@dataclass(slots=True)
class Records:
    """What the service kept, held against the chain: deliveries, and who is one person.

    states: deliveries of the notices that were reported on, by where they stand. drops: why some were
    dropped, counted. listed: the first drops and uncertain ones. contacts: of the vault that are proved and
    have the hash on chain, and those that have not.
    """

    store: NoticeStore
    vault: Vault
    states: Counter[State] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    listed: list[Delivery] = field(default_factory=list)
    contacts: Counter[bool] = field(default_factory=Counter)
    _waiting: list[Row] = field(default_factory=list)
    _audit: Audit = field(default_factory=Audit)
    _tell: Callable[[Found], None] = lambda found: None

    def persons(self) -> Mapping[str, bytes]:
        """Which borrower addresses are one person's."""
        return self.vault.persons()

    @property
    def mails(self) -> int:
        """How many notices were sent, or perhaps sent."""
        return sum(self.states[state] for state in (State.SENT, State.UNCERTAIN, State.CLAIMED))

    def begin(self, auditor: Audit, tell: Callable[[Found], None]) -> None:
        """Check along with this audit."""
        self._audit, self._tell = auditor, tell

    def see(self, found: Found) -> None:
        """Look up what became of a notice."""
        if isinstance(found, Row):
            self._waiting.append(found)
            if len(self._waiting) == _AT_ONCE:
                self._look_up()

    def end(self) -> None:
        """Check what is left, and what was sent without an event that stands."""
        self._look_up()
        for delivery in self.store.vanished():
            self._broken(
                "GATE-1",
                delivery,
                "sent, and its notice is not on the chain",
                "a notice that stands",
                block=0,
            )
        commitments = self._audit.state.commitments
        for borrower in self.vault.borrowers():
            for channel in self.vault.channels_of(borrower):
                on_chain = commitments.get((borrower, channel))
                if on_chain is not None:
                    self.contacts[self.vault.commitment(borrower, channel) == on_chain] += 1

    def _look_up(self) -> None:
        rows = {row.notice.id: row for row in self._waiting}
        self._waiting.clear()
        for delivery in self.store.deliveries_of(list(rows)):
            self._check(delivery, rows[delivery.notice.id])

    def _check(self, delivery: Delivery, row: Row) -> None:
        self.states[delivery.state] += 1
        if delivery.state is State.DROPPED:
            self.drops[delivery.reason or "refused"] += 1
        if delivery.state not in (State.SENT, State.DEFERRED) and len(self.listed) < MOST_LISTED:
            self.listed.append(delivery)
        if delivery.state is not State.SENT:
            return
        block = row.logged.block_number
        sent, served = delivery.notice, row.notice
        if (sent.content_hash, sent.channel, sent.borrower) != (
            served.content_hash,
            served.channel,
            served.borrower,
        ):
            self._broken(
                "GATE-1", delivery, "sent with other words, or to another", "as it was served", block
            )
        policy = self._audit.state.policies.get(row.policy)
        if policy is not None and delivery.reason is None:  # else a person said so later
            profile = Profile(offset=row.offsets[0], other_offset=row.offsets[1])
            for was, wanted in outside(policy.contact, profile, delivery.at, 0):
                self._broken("HOURS-1", delivery, f"sent on {was}", wanted, block)
            days = {calendar.local_day(at, min(row.offsets)) for at in (row.logged.timestamp, delivery.at)}
            if len(days) > 1:
                self._broken(
                    "HOURS-1", delivery, "sent on another day", "the day on which it was served", block
                )
        known = (served.borrower, served.channel) in self._audit.state.commitments
        if served.channel is not Channel.IN_APP and not known:
            self._broken(
                "BORROWER-2", delivery, "sent to no registered contact", "a commitment on chain", block
            )

    def _broken(self, rule: str, delivery: Delivery, was: str, wanted: str, block: int) -> None:
        notice = delivery.notice
        kind = notice.kind.name.lower()
        violation = Violation(
            rule, f"mail of {kind}", notice.id, notice.loan, block, delivery.at, was, wanted
        )
        self._audit.findings.add(violation)
        self._tell(violation)
