"""The service's round: read the chain, plan, serve, read again, deliver.

    while True:
        print(run.round(app))

A round in which nothing is to be done costs a few questions to the node and the databases.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from duly.channels.message import CarrierUnavailable
from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.services import telemetry
from duly.services.deliver import DeliverReport, never
from duly.services.index import IndexReport
from duly.services.plan import Planned, Together, companions, known_reminders, plan
from duly.services.serve import ServeReport, ServingFailed

if TYPE_CHECKING:
    from duly.bootstrap import Application

_WEEK = 7 * calendar.DAY


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round did.

    at: its moment in UTC seconds. held: how many notices were not served, because nothing could be delivered
    at the moment (`problem` says why): a reminder that does not arrive would be used up. seconds: how long it
    took.
    """

    at: int
    indexed: IndexReport
    served: ServeReport
    delivered: DeliverReport
    held: int = 0
    problem: CarrierUnavailable | None = None
    seconds: float = field(default=0, compare=False)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "at": self.at,
            "indexed": self.indexed.as_json(),
            "served": self.served.as_json(),
            "delivered": self.delivered.as_json(),
            "held": self.held,
            "problem": self.problem.wrong if self.problem else None,
            "seconds": int(self.seconds * 1000) / 1000,
        }


def round(app: "Application", stop: Callable[[], bool] = never) -> RoundReport:
    """One round. Called again and again on the same application it is quick.

    stop: asked between two notices; what was begun is finished.

    Raises: DulyError, of whichever part failed; what was done until then stays done. What a batch that failed
    left behind is delivered first.
    """
    start = time.perf_counter()
    indexed = app.indexer.run()
    now = app.clock.now()
    found = planned(app, now)
    problem = _unavailable(app, found)
    failed: DulyError | None = None
    served = ServeReport()
    if found and not problem:
        try:
            served = app.server.serve(found, now)
        except ServingFailed as error:
            failed, served = error, error.report
    if served.served:
        indexed = _together(indexed, app.indexer.run())
        app.notice_store.forget_indexed()
    delivered = app.deliverer.deliver(stop, None if served.served else now)
    if failed:
        raise failed
    report = RoundReport(
        at=now,
        indexed=indexed,
        served=served,
        delivered=delivered,
        held=len(found) if problem else 0,
        problem=problem or delivered.problem,
        seconds=time.perf_counter() - start,
    )
    telemetry.round_ended(report.seconds, report.held)
    return report


def planned(app: "Application", now: int) -> list[Planned]:
    """What may be said now, as far as the chain was read.

    Counted as reminders, beside those on the chain: those that the gate let through and that are not indexed
    yet, and those that were delivered before a reorganisation took their events away.
    """
    candidates = list(app.read_model.candidates(calendar.local_day(now, calendar.EASTERNMOST)))
    if not candidates:
        return []
    app.notice_store.forget_indexed()
    handed = app.notice_store.handed(now)
    # What has the same words to one address went out in one message, and counts once.
    uncounted = {each.content_hash: (each.borrower, each.at) for each in handed if each.kind.is_reminder}
    for delivery in app.notice_store.vanished(now - _WEEK):
        notice = delivery.notice
        if notice.kind.is_reminder:
            uncounted[notice.content_hash] = (notice.borrower, notice.served_at)
    pending: defaultdict[str, tuple[int, ...]] = defaultdict(tuple)
    for borrower, at in sorted(uncounted.values(), key=lambda each: -each[1]):
        pending[borrower] += (at,)
    persons = app.vault.persons()
    reminders = known_reminders(persons, app.read_model.reminders, pending)
    said = {each.notice for each in handed}
    found = plan(
        candidates,
        app.sender.address,
        now,
        persons,
        reminders,
        preferences=app.vault.preferences(),
        together=companions_of(app),
        waiting=False,
    )
    found = [each for each in found if each.id not in said]
    telemetry.planned(each.kind for each in found if each.ready)
    return found


def companions_of(app: "Application") -> Together:
    """What tells which loans one message can tell of."""

    def templates_of(number: int) -> bytes | None:
        policy = app.read_model.policy(number)
        return policy.templates if policy else None

    return companions(app.vault.reached(Channel.EMAIL), templates_of)


def serve(app: "Application", now: int) -> ServeReport:
    """Serve what may be said now.

    Raises: ServingFailed, and what the parts raise.
    """
    found = planned(app, now)
    return app.server.serve(found, now) if found else ServeReport()


def check(app: "Application") -> None:
    """Make sure that whatever a round needs was set up, before anything is said.

    Raises: DulyError, of the settings, the key, the vault or the deployment.
    """
    if not app.carriers:
        raise CarrierUnavailable(
            "there is no way to reach a borrower: no mail server is set",
            remedy="Set DULY_SMTP_HOST and DULY_SMTP_SENDER.",
        )
    _ = app.deployment, app.sender, app.vault, app.notice_store


def _unavailable(app: "Application", found: list[Planned]) -> CarrierUnavailable | None:
    """Why what is to be said could not be delivered at the moment."""
    for channel in {each.channel for each in found} & app.carriers.keys():
        try:
            app.carriers[channel].ready()
        except CarrierUnavailable as problem:
            return problem
    return None


def _together(one: IndexReport, other: IndexReport) -> IndexReport:
    return IndexReport(
        blocks=one.blocks + other.blocks,
        events=one.events + other.events,
        first=min(one.first, other.first),
        last=other.last,
        rolled_back=one.rolled_back + other.rolled_back,
    )
