"""Delivers notices that the gate let through: each once, to the borrower's own address, while it stands.

For every final NoticeServed of this very server that nobody claimed:

GATE-1      the words that were kept hash to what the event says
GATE-3      the chain's latest block still lets the notice stand, and by the clock it is still the window in
            which it was served
BORROWER-2  the vault's address is verified, and hashes to the borrower's commitment at the latest block
GATE-2      a claim is committed; then the notice is sent; then what became of it is recorded

What fails one of the first three is dropped, with the reason. A notice is delivered in the window in which
it was served or not at all: a day later it would come on top of that day's own.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from duly.chain.clock import Clock
from duly.chain.contracts import Contracts, Standing
from duly.channels.message import Carrier, CarrierUnavailable, Message, Receipt, Result
from duly.domain import calendar
from duly.domain.consent import Channel, Profile
from duly.domain.notice import Refusal, next_in_hours
from duly.domain.policy import ContactLimits
from duly.services.serve import NO_ADDRESS, NOT_VERIFIED, OTHER_ADDRESS, proves, salt_purpose
from duly.store.notices import NoticeStore, Outcome, Served, State
from duly.store.readmodel import ReadModel
from duly.store.vault import Reading, Vault

AT_ONCE: Final = 16
"""Notices that the chain is asked about at once."""

FRESH: Final = 1.0
"""Seconds for which the chain's answer is good."""

FIRST_WAIT: Final = 60
LONGEST_WAIT: Final = 900
"""Seconds before something that was deferred is tried again: the first time, and at most."""

NO_WORDS: Final = "no_words"
OTHER_WORDS: Final = "other_words"
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

    sent, deferred, uncertain: how many. dropped: counted by reason. left: how many are pending still, because
    a channel is unavailable (`problem` says why) or the worker was told to stop.
    """

    sent: int = 0
    deferred: int = 0
    uncertain: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    left: int = 0
    problem: CarrierUnavailable | None = None

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "sent": self.sent,
            "dropped": dict(sorted(self.dropped.items())),
            "deferred": self.deferred,
            "uncertain": self.uncertain,
            "left": self.left,
            "problem": self.problem.wrong if self.problem else None,
        }


@dataclass(frozen=True, slots=True)
class _Ready:
    """A notice that may be sent now."""

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

        stop: asked between two notices; a notice that was begun is finished. now: the time, UTC seconds,
        where the caller has just asked the clock.

        Raises: ChainUnavailable, VaultError, DatabaseError.
        """
        run = _Run(self, stop)
        pending = self.store.pending(self.server, self.clock.now() if now is None else now)
        for start in range(0, len(pending), AT_ONCE):
            if run.halted:
                run.left += len(pending) - start
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
            deferred=counts[State.DEFERRED],
            uncertain=counts[State.UNCERTAIN],
            dropped=self._dropped,
            left=self.left,
            problem=self._problem,
        )

    def deliver(self, notices: Sequence[Served]) -> None:
        standings: list[Standing] = []
        asked = float("-inf")
        now = 0
        try:
            for position, notice in enumerate(notices):
                if self._stop():
                    self._stopped = True
                if self.halted:
                    self.left += len(notices) - position
                    return
                # GATE-3: just before the send, so again where the sends take long.
                if time.monotonic() - asked > FRESH:
                    questions = [(each.notice, each.borrower) for each in notices[position:]]
                    standings = self._it.contracts.standings(questions, self._it.server)
                    asked = time.monotonic()
                    now = self._it.clock.now()
                self._deliver(notice, standings[len(standings) - len(notices) + position], now)
        finally:
            self._record(now)

    def _deliver(self, notice: Served, standing: Standing, now: int) -> None:
        ready = self._check(notice, standing, now)
        if isinstance(ready, str):
            self._record(now)
            if self._it.store.drop(notice, ready, now):
                self._dropped[ready] += 1
            return
        if notice.channel not in self._ready:
            try:
                ready.carrier.ready()
            except CarrierUnavailable as problem:
                self._problem = problem
                self.left += 1
                return
            self._ready.add(notice.channel)
        # GATE-2: what became of the last one and the claim of this one are one write to the disk.
        claimed = self._it.store.turn(self._done, notice, now)
        self._done = None
        if not claimed:
            return
        self._finish(notice, ready.carrier.send(ready.message), now)

    def _check(self, notice: Served, standing: Standing, now: int) -> _Ready | str:
        """The message to send, or why the notice must not be delivered."""
        if standing.decision.reason is not Refusal.NONE:
            return standing.decision.reason.name.lower()
        limits = self._limits_of(notice.loan)
        if limits is None or next_in_hours(now, limits, standing.profile, 0) != now:
            return Refusal.OUTSIDE_HOURS.name.lower()
        if not same_window(notice.served_at, now, standing.profile):
            return WINDOW_OVER
        carrier = self._it.carriers.get(notice.channel)
        if carrier is None:
            return NO_CARRIER
        content = self._it.store.content(notice.content_hash)
        if content is None:
            return NO_WORDS
        vault, purpose = self._it.vault, salt_purpose(notice.id)
        kept = vault.kept(notice.borrower, notice.channel, purpose)
        if kept is None:
            return NO_ADDRESS
        if not kept.verified:
            return NOT_VERIFIED
        if not proves(content, kept.salt, notice.content_hash):
            return OTHER_WORDS
        if kept.commitment != standing.commitment:
            return OTHER_ADDRESS
        # Nothing stands in the way: only now the address is read, and the log told of it.
        reading = Reading("delivery", "0x" + notice.id.hex())
        contact = vault.contact(notice.borrower, notice.channel, reading, purpose)
        if contact is None or contact.kept != kept:
            return OTHER_ADDRESS
        message = Message(
            notice=notice.id,
            address=contact.address,
            subject=content.subject,
            body=content.body,
            language=content.language,
            salt=kept.salt,
            at=now,
        )
        return _Ready(carrier, message)

    def _finish(self, notice: Served, receipt: Receipt, now: int) -> None:
        state = _STATES[receipt.result]
        not_before = None
        if state is State.DEFERRED:
            delivery = self._it.store.delivery(notice.id)
            attempts = delivery.attempts if delivery else 1
            not_before = now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1))
        self._done = Outcome(notice, state, receipt.reason, not_before)
        self._counts[state] += 1
        if state is State.DROPPED:
            self._dropped[receipt.reason or "refused"] += 1

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


def same_window(served_at: int, now: int, profile: Profile) -> bool:
    """Both moments lie on one day of the borrower, so in one window where they lie in any."""
    west = min(profile.offset, profile.other_offset)
    return calendar.local_day(served_at, west) == calendar.local_day(now, west)
