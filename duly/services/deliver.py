"""Delivers notices that the gate let through: each once, to the borrower's own address, while it stands.

For every final NoticeServed of this very server that nobody claimed:

GATE-1      the words that were kept hash to what the event says
GATE-3      the chain's latest block still lets the notice stand, and by the clock it is still the window in
            which it was served
BORROWER-2  the vault's address is verified, and hashes to the borrower's commitment at the latest block
GATE-2      a claim is committed; then the notice is sent; then what became of it is recorded

What fails one of the first three is dropped, with the reason. A notice is delivered in the window in which
it was served or not at all: a day later it would come on top of that day's own.

Reminders that go out in one message are claimed, sent and recorded together. The text tells of all of them,
so where one of them fails, or was not let through, none is sent.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from duly.chain.clock import Clock
from duly.chain.contracts import Contracts, Standing
from duly.channels.message import Carrier, CarrierUnavailable, Message, Proof, Receipt, Result
from duly.domain import calendar
from duly.domain.consent import Channel, Profile
from duly.domain.notice import Refusal, next_in_hours
from duly.domain.policy import ContactLimits
from duly.services import telemetry
from duly.services.serve import NO_ADDRESS, NOT_VERIFIED, OTHER_ADDRESS, proves, salt_purpose
from duly.store.notices import Content, NoticeStore, Outcome, Served, State
from duly.store.readmodel import ReadModel
from duly.store.vault import Kept, Reading, Vault

AT_ONCE: Final = 16
"""Messages about whose notices the chain is asked at once."""

FRESH: Final = 1.0
"""Seconds for which the chain's answer is good."""

FIRST_WAIT: Final = 60
LONGEST_WAIT: Final = 900
"""Seconds before something that was deferred is tried again: the first time, and at most."""

NO_WORDS: Final = "no_words"
OTHER_WORDS: Final = "other_words"
INCOMPLETE: Final = "incomplete"
"""Another notice that the same words tell of was not let through, or went out before."""
WINDOW_OVER: Final = "window_over"
NO_CARRIER: Final = "no_carrier"

_STATES: Final = {
    Result.SENT: State.SENT,
    Result.DEFERRED: State.DEFERRED,
    Result.REFUSED: State.DROPPED,
    Result.UNKNOWN: State.UNCERTAIN,
}


@dataclass(frozen=True, slots=True)
class DeliverReport:
    """What became of pending notices.

    sent, deferred, uncertain: how many. messages: in how many messages they were sent. dropped: counted by
    reason. left: how many are pending still, because a channel is unavailable (`problem` says why) or the
    worker was told to stop.
    """

    sent: int = 0
    messages: int = 0
    deferred: int = 0
    uncertain: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    left: int = 0
    problem: CarrierUnavailable | None = None

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "sent": self.sent,
            "messages": self.messages,
            "dropped": dict(sorted(self.dropped.items())),
            "deferred": self.deferred,
            "uncertain": self.uncertain,
            "left": self.left,
            "problem": self.problem.wrong if self.problem else None,
        }


@dataclass(frozen=True, slots=True)
class _Ready:
    """A message that may be sent now."""

    carrier: Carrier
    message: Message


def never() -> bool:
    """Nobody wants the worker to stop."""
    return False


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Delivers the notices that one server served. Several may work on the same store."""

    server: str
    contracts: Contracts
    read_model: ReadModel
    store: NoticeStore
    vault: Vault
    carriers: Mapping[Channel, Carrier]
    clock: Clock

    def deliver(self, stop: Callable[[], bool] = never, now: int | None = None) -> DeliverReport:
        """Deliver what is pending.

        stop: asked between two messages; a message that was begun is finished. now: the time, UTC seconds,
        where the caller has just asked the clock.

        Raises: ChainUnavailable, VaultError, DatabaseError.
        """
        run = _Run(self, stop)
        pending = self.store.pending(self.server, self.clock.now() if now is None else now)
        for start in range(0, len(pending), AT_ONCE):
            if run.halted:
                run.left += sum(map(len, pending[start:]))
                break
            run.deliver(pending[start : start + AT_ONCE])
        return run.report()


class _Run:
    """One pass over what is pending. Whatever happens, what is known of the last claim is recorded."""

    def __init__(self, deliverer: Deliverer, stop: Callable[[], bool]) -> None:
        self._it = deliverer
        self._stop = stop
        self._ready: set[Channel] = set()
        self._limits: dict[int, ContactLimits | None] = {}
        self._counts: Counter[State] = Counter()
        self._messages = 0
        self._dropped: Counter[str] = Counter()
        self._done: Outcome | None = None
        self._problem: CarrierUnavailable | None = None
        self._stopped = False
        self.left = 0

    @property
    def halted(self) -> bool:
        return self._problem is not None or self._stopped

    def report(self) -> DeliverReport:
        counts = self._counts
        return DeliverReport(
            sent=counts[State.SENT],
            messages=self._messages,
            deferred=counts[State.DEFERRED],
            uncertain=counts[State.UNCERTAIN],
            dropped=self._dropped,
            left=self.left,
            problem=self._problem,
        )

    def deliver(self, messages: Sequence[tuple[Served, ...]]) -> None:
        standings: dict[bytes, Standing] = {}
        asked = float("-inf")
        now = 0
        try:
            for position, notices in enumerate(messages):
                if self._stop():
                    self._stopped = True
                if self.halted:
                    self.left += sum(map(len, messages[position:]))
                    return
                # GATE-3: just before the send, so again where the sends take long.
                if time.monotonic() - asked > FRESH:
                    rest = [notice for message in messages[position:] for notice in message]
                    questions = [(each.notice, each.borrower) for each in rest]
                    answers = self._it.contracts.standings(questions, self._it.server)
                    standings = {each.id: answer for each, answer in zip(rest, answers, strict=True)}
                    asked = time.monotonic()
                    now = self._it.clock.now()
                self._deliver(notices, standings, now)
        finally:
            self._record(now)

    def _deliver(self, notices: tuple[Served, ...], standings: Mapping[bytes, Standing], now: int) -> None:
        ready = self._check(notices, standings, now)
        if isinstance(ready, str):
            self._record(now)
            if self._it.store.drop(notices, ready, now):
                self._dropped[ready] += len(notices)
                _tell(notices, State.DROPPED, ready, now)
            return
        if ready.carrier.channel not in self._ready:
            try:
                ready.carrier.ready()
            except CarrierUnavailable as problem:
                self._problem = problem
                self.left += len(notices)
                return
            self._ready.add(ready.carrier.channel)
        # GATE-2: what became of the last one and the claim of this one are one write to the disk.
        claimed = self._it.store.turn(self._done, notices, now)
        self._done = None
        if not claimed:
            return
        self._finish(notices, ready.carrier.send(ready.message), now)

    def _check(
        self, notices: tuple[Served, ...], standings: Mapping[bytes, Standing], now: int
    ) -> _Ready | str:
        """The message to send, or why its notices must not be delivered."""
        for notice in notices:
            if reason := self._stands(notice, standings[notice.id], now):
                return reason
        carrier = self._it.carriers.get(notices[0].channel)
        if carrier is None:
            return NO_CARRIER
        words: dict[bytes, Content] = {}
        contacts: dict[str, Kept] = {}
        for notice in notices:
            content = self._it.store.content(notice.content_hash)
            if content is None:
                return NO_WORDS
            kept = self._it.vault.kept(notice.borrower, notice.channel, salt_purpose(content.of.notice))
            if kept is None:
                return NO_ADDRESS
            if not kept.verified:
                return NOT_VERIFIED
            if not proves(content, kept.salt, notice.content_hash):
                return OTHER_WORDS
            if kept.commitment != standings[notice.id].commitment:
                return OTHER_ADDRESS
            words[notice.id], contacts[notice.borrower] = content, kept
        content = words[notices[0].id]
        told = [each.notice for each in content.notices]
        if set(told) != words.keys():
            return INCOMPLETE if len(told) > 1 else OTHER_WORDS
        if len({(each.subject, each.body) for each in words.values()}) > 1:
            return OTHER_WORDS
        address = self._address(notices, contacts, words)
        if address is None:
            return OTHER_ADDRESS
        salts = {notice.id: contacts[notice.borrower].salt for notice in notices}
        message = Message(
            proofs=tuple(Proof(each, salts[each]) for each in told),
            address=address,
            subject=content.subject,
            body=content.body,
            language=content.language,
            at=now,
        )
        return _Ready(carrier, message)

    def _stands(self, notice: Served, standing: Standing, now: int) -> str | None:
        """Why a notice may not be delivered any more."""
        if standing.decision.reason is not Refusal.NONE:
            return standing.decision.reason.name.lower()
        limits = self._limits_of(notice.loan)
        if limits is None or next_in_hours(now, limits, standing.profile, 0) != now:
            return Refusal.OUTSIDE_HOURS.name.lower()
        return None if same_window(notice.served_at, now, standing.profile) else WINDOW_OVER

    def _address(
        self, notices: Sequence[Served], contacts: Mapping[str, Kept], words: Mapping[bytes, Content]
    ) -> str | None:
        """Where the person is reached, under all addresses on chain alike; None where that is not one place.

        Nothing stands in the way any more: only now is it read, and the log told of it.
        """
        found: set[str] = set()
        for notice in notices:
            kept = contacts[notice.borrower]
            if words[notice.id].of.notice != notice.id:
                continue
            reading = Reading("delivery", "0x" + notice.id.hex())
            contact = self._it.vault.contact(
                notice.borrower, notice.channel, reading, salt_purpose(notice.id)
            )
            if contact is None or contact.kept != kept:
                return None
            found.add(contact.address)
        return found.pop() if len(found) == 1 else None

    def _finish(self, notices: tuple[Served, ...], receipt: Receipt, now: int) -> None:
        state = _STATES[receipt.result]
        not_before = None
        if state is State.DEFERRED:
            delivery = self._it.store.delivery(notices[0].id)
            attempts = delivery.attempts if delivery else 1
            not_before = now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1))
        self._done = Outcome(notices, state, receipt.reason, not_before)
        self._counts[state] += len(notices)
        _tell(notices, state, receipt.reason, now)
        self._messages += state is State.SENT
        if state is State.DROPPED:
            self._dropped[receipt.reason or "refused"] += len(notices)

    def _record(self, now: int) -> None:
        if self._done is not None:
            self._it.store.settle(self._done, now)
            self._done = None

    def _limits_of(self, loan: bytes) -> ContactLimits | None:
        found = self._it.read_model.loan(loan)
        if found is None:
            return None
        number = found.terms.policy
        if number not in self._limits:
            policy = self._it.read_model.policy(number)
            self._limits[number] = policy.contact if policy else None
        return self._limits[number]


def _tell(notices: Sequence[Served], state: State, reason: str | None, now: int) -> None:
    for each in notices:
        telemetry.delivered(each.id, each.channel, state.value, reason, now - each.served_at)


def same_window(served_at: int, now: int, profile: Profile) -> bool:
    """Both moments lie on one day of the borrower, so in one window where they lie in any."""
    west = min(profile.offset, profile.other_offset)
    return calendar.local_day(served_at, west) == calendar.local_day(now, west)
