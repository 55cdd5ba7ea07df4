"""A servicer that wants more than it may: calls the gate at random, with the lender's own key.

Whatever it asks for is forecast first, from nothing but the chain's events, by the rules in Python
(`duly.domain.notice`). The gate has to give the same answer, to the reason and its numbers; what it lets
through has to be told by the event as forecast.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from web3 import Web3

from duly.chain.contracts import NoticeRegistry
from duly.chain.logs import LogReader
from duly.chain.stage import Act, Played, Stage
from duly.domain.consent import Channel, Profile
from duly.domain.events import Logged, NoticeRefused, NoticeServed
from duly.domain.grievance import NO_CASE, NO_REST, Grievance, rests_until
from duly.domain.loan import position_of
from duly.domain.notice import (
    NOTHING_SELDOM,
    Decision,
    Facts,
    Kind,
    Notice,
    Refusal,
    Said,
    continues,
    decide,
    ground,
    notice_id,
)
from duly.domain.policy import ContactLimits
from duly.domain.replay import State, apply
from duly.domain.terms import ZERO_ADDRESS
from duly.services.index import Source

_NO_LIMITS: Final = ContactLimits(420, 1320, 0, 127, 1, 1, 0, 0, 1, 0)
"""Of an unknown loan: never looked at."""
_SHOWN: Final = 50


class Mirror:
    """What the chain's events come to, told to nobody else: neither service nor database has a part in it."""

    def __init__(self, w3: Web3, source: Source) -> None:
        self._w3, self._reader = w3, LogReader(w3, source.addresses)
        self._at = source.identity.first_block - 1
        self.state = State()

    def follow(self) -> list[Logged]:
        """Take in what is new; the events."""
        head = int(self._w3.eth.block_number)
        logged = self._reader.decode(self._reader.fetch(self._at + 1, head))
        for each in logged:
            apply(each.event, each.timestamp, self.state)
        self._at = head
        return logged

    def take(self, each: Logged) -> None:
        """Take in an event that somebody else has read; `taken` tells the last block of which all were."""
        apply(each.event, each.timestamp, self.state)

    def taken(self, block: int) -> None:
        """Of the blocks up to this one everything was taken in."""
        self._at = block

    def facts(self, loan_id: bytes, now: int) -> Facts:
        """What a decision about a loan is made from at a moment."""
        state, loan = self.state, self.state.loans.get(loan_id)
        if loan is None:
            return Facts(position_of(None, ZERO_ADDRESS, now), _NO_LIMITS, Profile(), Said())
        borrower, policy = loan.terms.borrower, state.policies[loan.terms.policy]
        cases = state.cases.get(loan_id, {})
        return Facts(
            position_of(loan, state.servicers.get(loan.lender, ZERO_ADDRESS), now),
            policy.contact,
            state.profiles.get(borrower, Profile()),
            state.said.get(loan_id, Said()),
            state.reminders.get(borrower, ()),
            state.seldom_said.get(loan_id, NOTHING_SELDOM),
            rests_until(loan.rest, state.rests.get(borrower, NO_REST)),
            policy.lending.cooling_off_days,
            cases.get(Grievance.DISPUTE, NO_CASE),
            cases.get(Grievance.HARDSHIP, NO_CASE),
        )


@dataclass(slots=True)
class Tally:
    """What came of the calls: how many of each, what was let through by kind, what was refused by reason.

    malformed: calls that name a kind or channel that there is none of; all have to be refused. together: what
    was let through as part of the message before it. differences:
    where the gate gave another answer than the rules in Python.
    """

    serve: int = 0
    serve_many: int = 0
    malformed: int = 0
    through: Counter[Kind] = field(default_factory=Counter)
    together: int = 0
    refused: Counter[Refusal] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return self.serve + self.serve_many + self.malformed

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "calls": self.calls,
            "serve": self.serve,
            "serve_many": self.serve_many,
            "malformed": self.malformed,
            "notices": self.through.total() + self.refused.total(),
            "through": {kind.name.lower(): count for kind, count in sorted(self.through.items())},
            "together": self.together,
            "refused": {reason.name.lower(): count for reason, count in sorted(self.refused.items())},
            "differences": self.differences,
        }


class Adversary:
    """Calls `serve` and `serveMany`. keys: the addresses that it can send from, the likeliest first."""

    def __init__(
        self, stage: Stage, gate: NoticeRegistry, mirror: Mirror, keys: Sequence[str], dice: random.Random
    ) -> None:
        self._stage, self._gate, self._mirror, self._keys, self._dice = stage, gate, mirror, keys, dice
        self.tally = Tally()
        self._earlier: list[Notice] = []
        self._loans: list[bytes] = []

    def burst(self, calls: int, hot: Sequence[bytes] = ()) -> list[Logged]:
        """Make some calls, each in a block of its own; what they made the gate tell.

        hot: loans that something has just happened to.
        """
        told = self._mirror.follow()
        self._loans = list(self._mirror.state.loans)
        for each in told:
            if isinstance(each.event, NoticeServed):
                self._remember(_asked(each.event))
        start = self._stage.now
        for now in range(start + 1, start + 1 + calls):
            played = self._call(now, hot)
            self._mirror.taken(played.block)
            told += played.logged
        return told

    # ------------------------------------------------------------------------------------ what is asked for

    def _call(self, now: int, hot: Sequence[bytes]) -> Played:
        dice = self._dice
        key = self._keys[0] if dice.random() < 0.8 else dice.choice(self._keys)
        chance = dice.random()
        if chance < 0.03:
            return self._serve_malformed(key, now, hot)
        if chance < 0.5:
            return self._serve(self._notice(key, now, hot), key, now)
        notices = [self._notice(key, now, hot) for _ in range(dice.choice((1, 2, 3, 5, 8, 13, 50)))]
        if dice.random() < 0.5:
            # The same once more; and what was served before, in another order.
            notices += dice.choices(notices, k=dice.randint(1, 3))
            notices += dice.sample(self._earlier, min(len(self._earlier), dice.randrange(9)))
            dice.shuffle(notices)
        if dice.random() < 0.3:
            # One text for all, to pass for one message.
            words = dice.randbytes(32)
            notices += [self._another(key, now, each) for each in notices[:20]]
            notices = [replace(each, content_hash=words, channel=Channel.EMAIL) for each in notices]
            if dice.random() < 0.7:
                notices.sort(key=lambda each: each.loan)
        return self._serve_many(notices[:50], key, now)

    def _another(self, key: str, now: int, notice: Notice) -> Notice:
        """A reminder about another loan of the same borrower, where there is one."""
        loans = self._mirror.state.loans
        if (loan := loans.get(notice.loan)) is None:
            return notice
        others = [it.id for it in loans.values() if it.terms.borrower == loan.terms.borrower]
        about = self._dice.choice(others)
        for kind in (Kind.OVERDUE, Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY):
            decision, base = ground(kind, self._mirror.facts(about, now))
            if not decision.reason:
                return replace(notice, loan=about, kind=kind, instalment=base.instalment, amount=base.amount)
        return notice

    def _notice(self, key: str, now: int, hot: Sequence[bytes]) -> Notice:
        """Some notice: one that would be let through where one is found, or with something forged."""
        dice = self._dice
        if self._earlier and dice.random() < 0.08:
            return dice.choice(self._earlier)
        if not self._loans or dice.random() < 0.02:
            return Notice(
                dice.randbytes(32), dice.choice(tuple(Kind)), 0, 1, Channel.EMAIL, dice.randbytes(32)
            )
        notice = self._true(key, now, hot)
        if dice.random() < 0.4:
            for _ in range(6):
                decision = decide(notice, self._mirror.facts(notice.loan, now), key, now)
                if not decision.reason:
                    return notice
                notice = self._true(key, now, hot)
        if dice.random() < 0.15:
            notice = replace(notice, instalment=dice.choice((0, notice.instalment + 1, 2**16 - 1)))
        if dice.random() < 0.15:
            notice = replace(notice, amount=dice.choice((0, notice.amount + 1, 2 * notice.amount, 2**88 - 1)))
        return notice

    def _true(self, key: str, now: int, hot: Sequence[bytes]) -> Notice:
        """A notice that says what the ledger says, whether or not it may be served; mostly about a loan of
        one's own, and something that there is to say.
        """
        dice, loans = self._dice, self._mirror.state.loans
        for _ in range(4):
            loan = dice.choice(hot) if hot and dice.random() < 0.6 else dice.choice(self._loans)
            if loan in loans and loans[loan].lender == key:
                break
        facts = self._mirror.facts(loan, now)
        for _ in range(4):
            kind = dice.choice(tuple(Kind))
            decision, base = ground(kind, facts)
            if not decision.reason:
                break
        channel = Channel.EMAIL if dice.random() < 0.7 else dice.choice(tuple(Channel))
        return Notice(loan, kind, base.instalment, base.amount, channel, dice.randbytes(32))

    def _remember(self, notice: Notice) -> None:
        self._earlier.append(notice)
        if len(self._earlier) > 500:
            del self._earlier[:250]

    # ------------------------------------------------------------------------------------ what comes of it

    def _serve_malformed(self, key: str, now: int, hot: Sequence[bytes]) -> Played:
        """A kind or a channel that there is none of."""
        self.tally.malformed += 1
        notice = self._notice(key, now, hot)
        wrong: Any = self._dice.choice(({"kind": len(Kind)}, {"channel": len(Channel)}, {"kind": 255}))
        [played] = self._stage.play([Act(key, self._gate.serve(replace(notice, **wrong)))], now)
        if played.done:
            self._differs(f"let through with {wrong}", notice, now)
        return played

    def _serve(self, notice: Notice, key: str, now: int) -> Played:
        self.tally.serve += 1
        forecast = self._forecast(notice, key, now)
        [played] = self._stage.play([Act(key, self._gate.serve(notice))], now)
        if played.done:
            for each in played.logged:
                if isinstance(each.event, NoticeServed):
                    self._compare(notice, forecast, each, key, now)
                self._mirror.take(each)
            return played
        error = self._stage.why_refused(played)
        if error.name != "Refused":
            self._differs(f"{error}, in Python {forecast[0]}", notice, now)
            return played
        reason, actual, required = (int(value) for value in error.arguments.values())
        found = Decision(Refusal(reason), actual, required)
        self.tally.refused[found.reason] += 1
        if found != forecast[0]:
            self._differs(f"{found}, in Python {forecast[0]}", notice, now)
        return played

    def _serve_many(self, notices: Sequence[Notice], key: str, now: int) -> Played:
        self.tally.serve_many += 1
        [played] = self._stage.play([Act(key, self._gate.serve_many(notices))], now)
        if not played.done:
            self._differs("a whole batch was refused", notices[0], now)
        asked = iter(notices)
        last: tuple[Notice | None, str] = (None, "")
        for each in played.logged:
            event = each.event
            # An answer ends its grievance, which is told after it.
            if isinstance(event, (NoticeServed, NoticeRefused)) and (notice := next(asked, None)):
                loan = self._mirror.state.loans.get(notice.loan)
                together = loan is not None and continues(notice, loan.terms.borrower, *last)
                self._compare(notice, self._forecast(notice, key, now, together), each, key, now, together)
                if isinstance(event, NoticeServed) and event.kind.is_reminder:
                    last = notice, event.borrower
            self._mirror.take(each)
        if next(asked, None):
            self._differs("fewer answers than notices", notices[-1], now)
        return played

    def _forecast(self, notice: Notice, key: str, now: int, together: bool = False) -> tuple[Decision, bytes]:
        """What the gate is to answer, and the id of the notice where it is let through."""
        facts = self._mirror.facts(notice.loan, now)
        decision = decide(notice, facts, key, now, together=together)
        if decision.reason:
            return decision, b""
        _, base = ground(notice.kind, facts)
        return decision, notice_id(notice.loan, notice.kind, base.basis, base.serial)

    def _compare(
        self,
        notice: Notice,
        forecast: tuple[Decision, bytes],
        found: Logged,
        key: str,
        now: int,
        together: bool = False,
    ) -> None:
        decision, notice_id_ = forecast
        event = found.event
        if isinstance(event, NoticeServed):
            self.tally.through[event.kind] += 1
            self.tally.together += event.together
            self._remember(notice)
            same = (_asked(event), event.server, event.id) == (notice, key, notice_id_)
            same = same and event.together == together
            if decision.reason or not same or found.timestamp != now:
                self._differs(f"let through, in Python {decision}", notice, now)
        elif isinstance(event, NoticeRefused):
            self.tally.refused[event.reason] += 1
            told = Decision(event.reason, event.actual, event.required)
            if told != decision or event.loan != notice.loan or event.kind is not notice.kind:
                self._differs(f"{told}, in Python {decision}", notice, now)

    def _differs(self, what: str, notice: Notice, now: int) -> None:
        if len(self.tally.differences) < _SHOWN:
            self.tally.differences.append(f"{what}: {notice}, at {now}")


def _asked(event: NoticeServed) -> Notice:
    """What was asked for, as the event tells it."""
    return Notice(event.loan, event.kind, event.instalment, event.amount, event.channel, event.content_hash)
