"""Delivers notices that the gate let through: each once, to the borrower's own address, while it stands.

For every final NoticeServed of this very server that nobody claimed:

GATE-1      the words that were kept hash to what the event says
GATE-3      the chain's latest block still lets the notice stand, and by the clock it is still the window in
            which it was served
BORROWER-2  the vault's address is verified, and hashes to the borrower's commitment at the latest block
GATE-2      a claim is committed, to which alone the vault gives the address; then the notice is sent; then
            what became of it is recorded

What fails one of the first three is dropped, with the reason. A notice is delivered in the window in which
it was served or not at all: a day later it would come on top of that day's own.

Reminders that go out in one message are claimed, sent and recorded together. The text tells of all of them,
so where one of them fails, or was not let through, none is sent.

A channel that carries several messages at once gets as many: they are claimed in one write to the disk. Who
is killed meanwhile leaves that many uncertain, at most.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from duly.chain.clock import Clock
from duly.chain.contracts import Contracts, Standing
from duly.channels.message import Carrier, CarrierUnavailable, Message, Proof, Receipt, Result
from duly.domain import calendar
from duly.domain.consent import Channel, Profile
from duly.domain.notice import Refusal, next_in_hours
from duly.domain.policy import ContactLimits
from duly.domain.tag import tag_of
from duly.services import telemetry
from duly.services.serve import NO_ADDRESS, NOT_VERIFIED, OTHER_ADDRESS, proves, salt_purpose
from duly.store.database import DatabaseError
from duly.store.notices import Claims, Content, NoSuchDelivery, NoticeStore, Outcome, Served, State
from duly.store.readmodel import ReadModel
from duly.store.vault import Contact, Handout, Kept, Reading, Vault, VaultError

AT_ONCE: Final = 64
"""Messages about whose notices the chain is asked at once."""

CHECKED: Final = 32
"""Messages that are looked up in the databases at once."""

FRESH: Final = 1.0
"""Seconds for which the chain's answer, and whatever else was found out, is good."""

FIRST_WAIT: Final = 60
LONGEST_WAIT: Final = 900
"""Seconds before something that was deferred is tried again, at most: the first time, and ever."""

MOST_ATTEMPTS: Final = 12
"""So often a message is tried; more would not help, and a person should know."""

NO_WORDS: Final = "no_words"
OTHER_WORDS: Final = "other_words"
INCOMPLETE: Final = "incomplete"
"""Another notice that the same words tell of was not let through, or went out before."""
WINDOW_OVER: Final = "window_over"
NO_CARRIER: Final = "no_carrier"
NO_VAULT: Final = "no_vault"
NO_DATABASE: Final = "no_database"
TAKEN_ELSEWHERE: Final = "taken_elsewhere"
"""Another service has it, which shares the vault and not the database."""
TOO_OFTEN: Final = "tried_too_often"

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

    def __add__(self, other: "DeliverReport") -> "DeliverReport":
        return DeliverReport(
            self.sent + other.sent,
            self.messages + other.messages,
            self.deferred + other.deferred,
            self.uncertain + other.uncertain,
            self.dropped + other.dropped,
            self.left + other.left,
            other.problem or self.problem,
        )

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


def never() -> bool:
    """Nobody wants the worker to stop."""
    return False


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Delivers the notices that one server served. Several may work on the same store; one of them is for one
    thread at a time.
    """

    server: str
    contracts: Contracts
    read_model: ReadModel
    store: NoticeStore
    vault: Vault
    carriers: Mapping[Channel, Carrier]
    clock: Clock
    _unwritten: "_Unwritten" = field(default_factory=lambda: _Unwritten(), init=False, repr=False)

    def deliver(self, stop: Callable[[], bool] = never, now: int | None = None) -> DeliverReport:
        """Deliver what is pending.

        stop: asked before messages are begun; those that were are finished. now: the time, UTC seconds, where
        the caller has just asked the clock.

        Raises: ChainUnavailable, VaultError, DatabaseError.
        """
        now = self.clock.now() if now is None else now
        self.catch_up()
        return self._deliver(self.store.pending(self.server, now), stop)

    def deliver_some(self, notices: Collection[bytes], stop: Callable[[], bool] = never) -> DeliverReport:
        """Deliver those of these notices that are pending, and what is in one message with them. The same
        otherwise.
        """
        self.catch_up()
        return self._deliver(self.store.pending_of(notices, self.server, self.clock.now()), stop)

    def catch_up(self) -> None:
        """Record what became of messages while the database could not be written to.

        Raises: DatabaseError, where it still cannot; nothing is forgotten.
        """
        waiting = self._unwritten.take()
        while waiting:
            outcome, now = waiting[0]
            try:
                self.store.settle(outcome, now)
            except NoSuchDelivery:
                # It had been written, though nobody was told; or a person settled it.
                pass
            except DatabaseError:
                self._unwritten.add(waiting)
                raise
            del waiting[0]

    def turn(
        self, done: Sequence[Outcome], messages: Sequence[tuple[Served, ...]], now: int
    ) -> list[Claims | None]:
        """As the store's, but that what became of messages is not forgotten where it cannot be written; and
        claims are let go of which nobody knows whether they were: nothing was sent for them.

        Raises: DatabaseError.
        """
        try:
            return self.store.turn(done, messages, now)
        except DatabaseError:
            unsent = [Outcome(notices, State.DEFERRED, NO_DATABASE, now) for notices in messages]
            self._unwritten.add([(outcome, now) for outcome in (*done, *unsent)])
            raise

    def _deliver(self, messages: list[tuple[Served, ...]], stop: Callable[[], bool]) -> DeliverReport:
        run = _Run(self, stop)
        by_channel: dict[Channel, list[tuple[Served, ...]]] = {}
        for message in messages:
            by_channel.setdefault(message[0].channel, []).append(message)
        for channel, some in by_channel.items():
            run.deliver(self.carriers.get(channel), some)
        return run.report()


class _Unwritten:
    """What became of messages and is not recorded yet, each with its time (UTC). For several threads."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Outcome, int]] = []
        self._lock = threading.Lock()

    def add(self, some: Sequence[tuple[Outcome, int]]) -> None:
        with self._lock:
            self._waiting.extend(some)

    def take(self) -> list[tuple[Outcome, int]]:
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken


@dataclass(frozen=True, slots=True)
class _Checked:
    """A message that nothing stands in the way of: of each notice its words, and what the vault keeps of
    where it goes, all but the address.
    """

    notices: tuple[Served, ...]
    contents: tuple[Content, ...]
    kept: tuple[Kept, ...]

    @property
    def _addressed(self) -> list[tuple[Served, Kept]]:
        """The notices for each of which an address is read: of each hash the one that it is salted for."""
        return [
            (notice, kept)
            for notice, content, kept in zip(self.notices, self.contents, self.kept, strict=True)
            if content.of.notice == notice.id
        ]

    def handout(self, claims: Claims) -> Handout:
        """What the vault is asked for."""
        return Handout(
            tuple(each.id for each in self.notices),
            claims,
            tuple(
                (
                    each.borrower,
                    each.channel,
                    Reading("delivery", "0x" + each.id.hex()),
                    salt_purpose(each.id),
                )
                for each, _ in self._addressed
            ),
        )

    def message(self, contacts: Sequence[Contact | None], tag_key: bytes, now: int) -> Message | None:
        """What is sent; None where the person is not reached at one place under all addresses on chain, or at
        another one since the message was checked.
        """
        expected = [kept for _, kept in self._addressed]
        found = [each for each in contacts if each is not None]
        places = {each.address for each in found}
        if [each.kept for each in found] != expected or len(places) != 1:
            return None
        salts = {notice.id: kept.salt for notice, kept in zip(self.notices, self.kept, strict=True)}
        content = self.contents[0]
        return Message(
            tag=tag_of(tag_key, content.notices[0].notice),
            proofs=tuple(Proof(each.notice, salts[each.notice]) for each in content.notices),
            address=places.pop(),
            subject=content.subject,
            body=content.body,
            language=content.language,
            at=now,
        )


class _Run:
    """One pass over messages. Whatever happens, what is known of the last claims is recorded."""

    def __init__(self, deliverer: Deliverer, stop: Callable[[], bool]) -> None:
        self._it = deliverer
        self._stop = stop
        self._tag_key = deliverer.vault.tag_key()
        self._limits: dict[int, ContactLimits | None] = {}
        self._standings: dict[bytes, Standing] = {}
        self._asked = float("-inf")
        self._now = 0
        self._counts: Counter[State] = Counter()
        self._messages = 0
        self._dropped: Counter[str] = Counter()
        self._done: list[Outcome] = []
        self._problem: CarrierUnavailable | None = None
        self._stopped = False
        self._left = 0

    def report(self) -> DeliverReport:
        counts = self._counts
        return DeliverReport(
            sent=counts[State.SENT],
            messages=self._messages,
            deferred=counts[State.DEFERRED],
            uncertain=counts[State.UNCERTAIN],
            dropped=self._dropped,
            left=self._left,
            problem=self._problem,
        )

    def deliver(self, carrier: Carrier | None, messages: Sequence[tuple[Served, ...]]) -> None:
        """Deliver messages on one channel, as many at once as it carries."""
        try:
            while messages:
                if self._halts():
                    break
                self._ask(messages)
                some, messages = messages[:CHECKED], messages[CHECKED:]
                checked = self._check(carrier, some)
                if carrier is None or not checked:
                    continue
                try:
                    carrier.ready()
                except CarrierUnavailable as problem:
                    self._problem = problem
                    messages = [*(each.notices for each in checked), *messages]
                    break
                unsent = self._send_fresh(carrier, checked)
                messages = [*unsent, *messages]
        finally:
            self._record()
        self._left += sum(map(len, messages))

    def _halts(self) -> bool:
        self._stopped = self._stopped or self._stop()
        return self._stopped

    def _ask(self, messages: Sequence[tuple[Served, ...]]) -> None:
        """GATE-3: just before the send, so again where the sends take long."""
        next_ones = {each.id for message in messages[:CHECKED] for each in message}
        if time.monotonic() - self._asked <= FRESH / 2 and next_ones <= self._standings.keys():
            return
        notices = [notice for message in messages[:AT_ONCE] for notice in message]
        questions = [(each.notice, each.borrower) for each in notices]
        answers = self._it.contracts.standings(questions, self._it.server)
        self._standings = {each.id: answer for each, answer in zip(notices, answers, strict=True)}
        self._asked = time.monotonic()
        self._now = self._it.clock.now()

    def _send_fresh(self, carrier: Carrier, checked: Sequence[_Checked]) -> list[tuple[Served, ...]]:
        """Send as many at once as the channel carries, while what was found out is fresh; the rest."""
        size = carrier.at_once
        for start in range(0, len(checked), size):
            stale = start > 0 and time.monotonic() - self._asked > FRESH
            if stale or self._halts():
                return [each.notices for each in checked[start:]]
            self._send(carrier, checked[start : start + size])
        return []

    def _send(self, carrier: Carrier, checked: Sequence[_Checked]) -> None:
        # GATE-2: what became of the last ones and the claims of these are one write to the disk.
        done, self._done = self._done, []
        claims = self._it.turn(done, [each.notices for each in checked], self._now)
        mine = [(each, claim) for each, claim in zip(checked, claims, strict=True) if claim is not None]
        if not mine:
            return
        try:
            read = self._it.vault.hand_out([each.handout(claim) for each, claim in mine])
        except VaultError:
            for each, _ in mine:
                self._close(each.notices, Receipt(Result.DEFERRED, NO_VAULT))
            raise
        messages: list[tuple[tuple[Served, ...], Message]] = []
        for (each, _), contacts in zip(mine, read, strict=True):
            if contacts is None:
                self._close(each.notices, Receipt(Result.REFUSED, TAKEN_ELSEWHERE))
            elif (message := each.message(contacts, self._tag_key, self._now)) is None:
                self._close(each.notices, Receipt(Result.REFUSED, OTHER_ADDRESS))
            else:
                messages.append((each.notices, message))
        receipts = carrier.send_all([message for _, message in messages])
        deferred = [
            notices[0].id
            for (notices, _), receipt in zip(messages, receipts, strict=True)
            if receipt.result is Result.DEFERRED
        ]
        attempts = {each.notice.id: each.attempts for each in self._it.store.deliveries_of(deferred)}
        for (notices, _), receipt in zip(messages, receipts, strict=True):
            self._close(notices, receipt, attempts.get(notices[0].id, 1))

    def _close(self, notices: tuple[Served, ...], receipt: Receipt, attempts: int = 1) -> None:
        """Note what became of a claim."""
        state, reason, not_before = _STATES[receipt.result], receipt.reason, None
        if state is State.DEFERRED:
            if attempts >= MOST_ATTEMPTS:
                state, reason = State.DROPPED, TOO_OFTEN
            else:
                # Spread out, so that what failed together does not come back together.
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1))
                wait = int(wait * random.uniform(0.5, 1))
                not_before = self._now + max(wait, receipt.retry_after or 0)
        self._counts[state] += len(notices)
        self._messages += state is State.SENT
        if state is State.DROPPED:
            self._dropped[reason or "refused"] += len(notices)
        _tell(notices, state, reason, self._now)
        self._done.append(Outcome(notices, state, reason, not_before, receipt.reference))

    def _record(self) -> None:
        done, self._done = self._done, []
        if done:
            self._it.turn(done, (), self._now)

    def _check(self, carrier: Carrier | None, messages: Sequence[tuple[Served, ...]]) -> list[_Checked]:
        """Those that may be sent; the others are dropped."""
        every = [notice for notices in messages for notice in notices]
        policies = self._it.read_model.policies_of({each.loan for each in every})
        contents = self._it.store.words({each.content_hash for each in every})
        asked = [
            (each, content.of.notice)
            for each in every
            if (content := contents.get(each.content_hash)) is not None
        ]
        found = self._it.vault.kept_all(
            [(each.borrower, each.channel, salt_purpose(of)) for each, of in asked]
        )
        kept = {each.id: one for (each, _), one in zip(asked, found, strict=True) if one is not None}
        passed: list[_Checked] = []
        for notices in messages:
            reason = self._objection(carrier, notices, policies, contents, kept)
            if reason is None:
                passed.append(
                    _Checked(
                        notices,
                        tuple(contents[each.content_hash] for each in notices),
                        tuple(kept[each.id] for each in notices),
                    )
                )
            else:
                self._drop(notices, reason)
        return passed

    def _drop(self, notices: tuple[Served, ...], reason: str) -> None:
        self._record()
        if self._it.store.drop(notices, reason, self._now):
            self._dropped[reason] += len(notices)
            _tell(notices, State.DROPPED, reason, self._now)

    def _objection(
        self,
        carrier: Carrier | None,
        notices: tuple[Served, ...],
        policies: Mapping[bytes, int],
        contents: Mapping[bytes, Content],
        contacts: Mapping[bytes, Kept],
    ) -> str | None:
        """Why the notices of a message must not be delivered."""
        for notice in notices:
            limits = self._limits_of(policies.get(notice.loan))
            if reason := self._stands(notice, limits, self._standings[notice.id], self._now):
                return reason
        if carrier is None:
            return NO_CARRIER
        for notice in notices:
            content = contents.get(notice.content_hash)
            if content is None:
                return NO_WORDS
            kept = contacts.get(notice.id)
            if kept is None:
                return NO_ADDRESS
            if not kept.verified:
                return NOT_VERIFIED
            if not proves(content, kept.salt, notice.content_hash):
                return OTHER_WORDS
            if kept.commitment != self._standings[notice.id].commitment:
                return OTHER_ADDRESS
        content = contents[notices[0].content_hash]
        told = {each.notice for each in content.notices}
        if told != {each.id for each in notices}:
            return INCOMPLETE if len(told) > 1 else OTHER_WORDS
        words = [contents[each.content_hash] for each in notices]
        return OTHER_WORDS if len({(each.subject, each.body) for each in words}) > 1 else None

    def _stands(
        self, notice: Served, limits: ContactLimits | None, standing: Standing, now: int
    ) -> str | None:
        """Why a notice may not be delivered any more."""
        if standing.decision.reason is not Refusal.NONE:
            return standing.decision.reason.name.lower()
        if limits is None or next_in_hours(now, limits, standing.profile, 0) != now:
            return Refusal.OUTSIDE_HOURS.name.lower()
        return None if same_window(notice.served_at, now, standing.profile) else WINDOW_OVER

    def _limits_of(self, number: int | None) -> ContactLimits | None:
        if number is None:
            return None
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
