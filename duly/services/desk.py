"""What is looked at and done at the servicer's desk about notices, and the log of what was done."""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from duly.domain import calendar
from duly.domain.calendar import DAY
from duly.domain.grievance import Case, Grievance
from duly.domain.pack import PolicyPack
from duly.services.beside import Beside
from duly.services.policy import pack_published
from duly.services.portal import Standing
from duly.services.portfolio import AT_ONCE
from duly.store.actions import Action, What
from duly.store.notices import TOLD, Delivery, State
from duly.store.readmodel import RefusedNotice, ServedNotice

if TYPE_CHECKING:
    from duly.bootstrap import Application

LATEST: Final = 50
"""Rows of a kind on a page."""
COUNTED_DAYS: Final = 7
"""Days over which outcomes are counted."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts at the desk: an address in lower case, and as what."""

    address: str
    role: str


@dataclass(frozen=True, slots=True)
class Notices:
    """What became of the notices about some loans; each the latest.

    uncertain: those that may have been sent or not, the oldest of so many. outcomes: counted over the last
    days; None while they are counted for the first time. became: what became of those that were served, by
    their ids; those that wait are left out.
    """

    uncertain: tuple[Delivery, ...]
    uncertain_count: int
    dropped: tuple[Delivery, ...]
    deferred: tuple[Delivery, ...]
    served: tuple[ServedNotice, ...]
    became: dict[bytes, Delivery]
    refused: tuple[RefusedNotice, ...]
    outcomes: dict[State, int] | None


@dataclass(frozen=True, slots=True)
class Open:
    """A grievance that waits for an answer. answer_by: the day by which the policy's pack wants it answered,
    in the loan's calendar; None where it sets none, or the pack is not one that comes along.
    """

    grievance: Grievance
    case: Case
    standing: Standing
    answer_by: int | None

    @property
    def place(self) -> tuple[int, bytes, int]:
        """Where it stands among the others."""
        return self.case.since, self.standing.loan.id, int(self.grievance)

    @property
    def commands(self) -> tuple[str, ...]:
        """What the lender or the servicer can do about it from a terminal, with their own key."""
        loan = "0x" + self.standing.loan.id.hex()
        if self.grievance is Grievance.HARDSHIP:
            reference = self.standing.reference
            return (
                f"duly offer amendment {loan} -o {reference}.json",
                f"duly loan notify {loan} hardship-answered --outcome offer",
            )
        if self.grievance is Grievance.DISPUTE:
            return (f"duly loan notify {loan} dispute-answered --outcome corrected",)
        return ()

    @property
    def late(self) -> bool:
        """The day is over."""
        return self.answer_by is not None and self.answer_by < self.standing.position.today


class Desk:
    """For several threads. `lenders`: whose loans it is about; None where about all."""

    def __init__(self, app: "Application") -> None:
        self._app = app
        self._store = app.notice_store
        self._book = app.portfolio.book
        self._log = app.actions
        self._beside: Beside[dict[State, int]] = Beside("outcomes")

    def notices(self, lenders: frozenset[str] | None) -> Notices:
        """What became of notices."""
        book, now = self._book, self._app.portal.now()
        uncertain = self._uncertain(lenders)
        served = tuple(book.notices(lenders, LATEST))
        became = self._store.deliveries_of([each.id for each in served])
        return Notices(
            uncertain=uncertain[:LATEST],
            uncertain_count=len(uncertain),
            dropped=tuple(book.deliveries(lenders, State.DROPPED, LATEST)),
            deferred=tuple(book.deliveries(lenders, State.DEFERRED, LATEST)),
            served=served,
            became={each.notice.id: each for each in became},
            refused=tuple(book.refusals(lenders, LATEST)),
            outcomes=self._beside.find(
                lenders,
                None,  # what is sent changes them, too
                lambda: book.outcomes(lenders, now - COUNTED_DAYS * DAY),
                wait=not book.has_more(lenders, AT_ONCE),
            ),
        )

    def _uncertain(self, lenders: Collection[str] | None) -> tuple[Delivery, ...]:
        found = self._store.uncertain()
        if lenders is None:
            return tuple(found)
        lender_of = self._book.lender_of([each.notice.loan for each in found])
        return tuple(each for each in found if lender_of.get(each.notice.loan) in lenders)

    def grievances(
        self,
        lenders: Collection[str] | None,
        limit: int = LATEST,
        after: tuple[int, bytes, int] | None = None,
    ) -> list[Open]:
        """What waits for an answer, the oldest first. after: leave out those up to this `Open.place`."""
        packs = {each.number: pack_published(each.pack) for each in self._app.read_model.policies()}
        rows = self._book.standing(lenders, limit, after)
        standings = self._app.portal.standings([loan for _, _, loan in rows])
        found = []
        for (grievance, case, loan), standing in zip(rows, standings, strict=True):
            days = answer_days(packs.get(loan.terms.policy), grievance)
            since = calendar.local_day(case.since, loan.terms.calendar_offset)
            found.append(Open(grievance, case, standing, None if days is None else since + days))
        return found

    def delivery(self, notice: bytes, lenders: Collection[str] | None) -> Delivery | None:
        """What became of a notice about their loans; None where it is about another's, or there is none."""
        found = self._store.delivery(notice)
        if found is None or lenders is None:
            return found
        lender = self._book.lender_of([found.notice.loan]).get(found.notice.loan)
        return found if lender in lenders else None

    def settle(self, notice: bytes, who: Who, *, sent: bool) -> None:
        """Record what somebody found out about an uncertain notice. Raises: NoSuchDelivery."""
        now = int(time.time())
        what = What.SETTLED_SENT if sent else What.SETTLED_NOT_SENT
        action = Action(now, who.address, who.role, what, notice)
        self._store.resolve(notice, sent=sent, now=now, also=lambda it: self._log.add(it, action))

    def requeue(self, notice: bytes, who: Who) -> None:
        """Have a dropped notice tried again, all gates asked anew. Raises: NoSuchDelivery."""
        action = Action(int(time.time()), who.address, who.role, What.REQUEUED, notice)
        self._store.requeue(notice, self._app.portal.now(), also=lambda it: self._log.add(it, action))


PLACE: Final = r"[0-9]{1,12}-[0-9a-f]{64}-[0-9]{1,2}"
"""How the place of a grievance among the others is written."""


def place_text(place: tuple[int, bytes, int]) -> str:
    """A place, to go on from it later."""
    since, loan, grievance = place
    return f"{since}-{loan.hex()}-{grievance}"


def grievance_place(text: str) -> tuple[int, bytes, int] | None:
    """What `place_text` wrote; None where it is something else."""
    if not re.fullmatch(PLACE, text):
        return None
    since, loan, grievance = text.split("-")
    return int(since), bytes.fromhex(loan), int(grievance)


def answer_days(pack: PolicyPack | None, grievance: Grievance) -> int | None:
    """In how many days a pack wants a grievance answered; None where it sets none."""
    rules = pack and pack.grievances and getattr(pack.grievances, grievance.name.lower())
    if rules and rules.answer_days:
        return int(rules.answer_days.value)
    duty = pack and grievance is Grievance.DISPUTE and (pack.duties or {}).get("answer_to_complaint")
    return int(duty.within_days.value) if duty and duty.within_days else None


def may_requeue(delivery: Delivery) -> bool:
    """Whether it was certainly not sent, and nobody settled it."""
    return delivery.state is State.DROPPED and delivery.reason != TOLD
