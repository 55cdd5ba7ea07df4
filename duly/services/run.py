"""The service: read the chain, plan, serve, read again, deliver.

    run.round(app)                        all of it once, one step after the other

    with Service(app, roles, told) as service:
        while True:
            service.round()               again and again, while the queue's worker delivers in the background

A round in which nothing is to be done costs a few questions to the node and the databases.

One process has all roles, or each has some, on one database: any number deliver, one reads the chain, one
plans, one serves. What another process does already is left to it, and taken over when that ends or dies.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from duly.channels.message import NO_WAY, SET_A_WAY, CarrierUnavailable
from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.services import telemetry
from duly.services.deliver import DeliverReport, never
from duly.services.index import IndexReport
from duly.services.plan import (
    DELIVERABLE,
    Planned,
    Reach,
    Together,
    companions,
    known_reminders,
    plan,
)
from duly.services.serve import ServeReport, ServingFailed
from duly.store import leases

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.services.queue import Worker

_WEEK = 7 * calendar.DAY

PLAN_EVERY: Final = 15.0
"""Seconds after which something may have become due though nothing happened on the chain."""


RETRY: Final = 5.0
"""Seconds until it is tried again what could not be delivered."""

WEBHOOK_RETRY: Final = (5.0, 600.0)
"""Seconds until the webhook's receiver is tried again: at first, and doubled each time, at most."""

SWEEP_EVERY: Final = 10.0
"""Seconds from one sweep of the queue to the next."""


class Role(StrEnum):
    """What a process does."""

    INDEX = "index"
    PLAN = "plan"
    SERVE = "serve"
    DELIVER = "deliver"


ALONE: Final = (Role.INDEX, Role.PLAN, Role.SERVE)
"""What only one process on a database does at a time."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round did.

    at: its moment in UTC seconds. indexed: None where another process reads the chain. held: how many notices
    were not served, because nothing could be delivered at the moment (`problem` says why): a reminder that
    does not arrive would be used up. seconds: how long it took.
    """

    at: int
    indexed: IndexReport | None
    served: ServeReport = field(default_factory=ServeReport)
    delivered: DeliverReport = field(default_factory=DeliverReport)
    held: int = 0
    problem: CarrierUnavailable | None = None
    seconds: float = field(default=0, compare=False)

    @property
    def eventful(self) -> bool:
        """Something was done, or could not be."""
        read = self.indexed is not None and (self.indexed.events or self.indexed.rolled_back)
        return bool(
            read
            or self.served != ServeReport()
            or self.delivered != DeliverReport()
            or self.held
            or self.problem
        )

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "at": self.at,
            "indexed": self.indexed.as_json() if self.indexed else None,
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
    found, held, problem = _deliverable(app, found)
    failed: DulyError | None = None
    served = ServeReport()
    if found:
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
        held=held,
        problem=problem or delivered.problem,
        seconds=time.perf_counter() - start,
    )
    telemetry.round_ended(report.seconds, report.held)
    return report


class Service:
    """The service in some roles, in this process.

    told: hears of what goes wrong in the background, from any thread.
    """

    def __init__(
        self, app: "Application", roles: Collection[Role], told: Callable[[DulyError], None]
    ) -> None:
        self._app = app
        self._roles = set(roles)
        self._told = told
        self._worker: Worker | None = None
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="duly-keeper", daemon=True)
        self._teller = threading.Thread(target=self._tell, name="duly-webhook", daemon=True)
        self._seen: tuple[int, bytes] | None = None
        self._news = True
        self._plan_from = self._plan_by = self._try_from = 0.0

    def __enter__(self) -> Self:
        """Begin. Raises: DulyError, of whatever is not set up."""
        app = self._app
        if self._roles & {Role.INDEX, Role.DELIVER}:
            _ = app.queue
        if Role.DELIVER in self._roles:
            from duly.services.queue import Worker

            carriers = app.new_carriers()
            self._worker = Worker(app.queue, app.deliverer_with(carriers), app.leases, self._told)
            self._worker.start()
        self._keeper.start()
        if Role.INDEX in self._roles and app.teller is not None:
            self._teller.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what was begun, and let others go on at once."""
        self._ended.set()
        if self._worker is not None:
            self._worker.stop()
        self._keeper.join()
        if self._teller.ident is not None:
            self._teller.join()
        self._app.leases.give_up()

    def others(self) -> dict[Role, str]:
        """Of this process's roles, those that another process has, and which."""
        app = self._app
        mine = [role for role in ALONE if role in self._roles and not app.leases.holds(role)]
        return {role: holder for role in mine if (holder := app.leases.holder_of(role))}

    def round(self) -> RoundReport:
        """One round. Called again and again it is quick.

        Raises: DulyError, of whichever part failed; what was done until then stays done.
        """
        app, start = self._app, time.perf_counter()
        mine = self._mine()
        indexed = app.indexer.run() if Role.INDEX in mine else None
        now = app.clock.now()
        found: list[Planned] = []
        if Role.PLAN in mine and self._should_plan():
            begun = time.monotonic()
            found = planned(app, now)
            ended = time.monotonic()
            # At most half of the time goes into planning, however many loans there are.
            self._plan_from, self._plan_by, self._news = 2 * ended - begun, ended + PLAN_EVERY, False
            if Role.SERVE not in mine:
                app.notice_store.note_due({each.loan.id for each in found if each.ready})
        elif Role.SERVE in mine and (loans := app.notice_store.take_due()):
            found = planned(app, now, loans)
        served, held, problem = ServeReport(), 0, None
        if Role.SERVE in mine and found:
            found, held, problem = _deliverable(app, found)
            self._news = True
            if problem:
                self._plan_from = time.monotonic() + RETRY
            if found:
                served = app.server.serve(found, now)
        if served.served and indexed:
            # Delivery begins as soon as the event is indexed.
            indexed = _together(indexed, app.indexer.run())
            app.notice_store.forget_indexed()
        delivered = self._worker.report() if self._worker else DeliverReport()
        report = RoundReport(
            at=now,
            indexed=indexed,
            served=served,
            delivered=delivered,
            held=held,
            problem=problem or delivered.problem,
            seconds=time.perf_counter() - start,
        )
        telemetry.round_ended(report.seconds, report.held)
        return report

    def _mine(self) -> set[Role]:
        """What is for this process to do; what another did is tried for now and then."""
        holds = self._app.leases.holds
        wanted = [role for role in ALONE if role in self._roles and not holds(role)]
        if wanted and time.monotonic() >= self._try_from:
            self._try_from = time.monotonic() + 1
            for role in wanted:
                self._app.leases.take(role)
        return {role for role in ALONE if role in self._roles and holds(role)}

    def last(self) -> RoundReport:
        """What became of notices since the last round, once the service has ended."""
        delivered = self._worker.report() if self._worker else DeliverReport()
        return RoundReport(self._app.clock.now(), None, delivered=delivered, problem=delivered.problem)

    def _should_plan(self) -> bool:
        """Something happened, or it was long ago."""
        cursor = self._app.read_model.find_cursor()
        if cursor is None:
            return False
        block = cursor.block.number, cursor.block.hash
        self._news, self._seen = self._news or block != self._seen, block
        moment = time.monotonic()
        return moment >= self._plan_by or (self._news and moment >= self._plan_from)

    def _keep(self) -> None:
        """Renew the leases, and sweep what the queue lost, however long a round takes."""
        worker, swept = self._worker, float("-inf")
        while True:
            try:
                self._app.leases.renew()
                due = worker is not None and time.monotonic() - swept >= SWEEP_EVERY
                if worker and due and self._app.read_model.find_cursor():
                    worker.sweep()
                    swept = time.monotonic()
            except DulyError as error:
                self._told(error)
            except Exception as error:
                # Without the keeper the leases would end.
                self._told(DulyError(f"the service's upkeep failed ({type(error).__name__})"))
            if self._ended.wait(leases.RENEWED):
                return

    def _tell(self) -> None:
        """Tell the webhook's receiver what was read, while it is this process that reads."""
        app, (wait, longest) = self._app, WEBHOOK_RETRY
        assert app.teller is not None
        pause = 0.0
        while not self._ended.wait(pause or 1.0):
            if not app.leases.holds(Role.INDEX):
                continue
            try:
                sent = app.teller.send(self._ended.is_set)
            except Exception as error:
                # Nobody else would try again.
                telemetry.part("webhook", error.wrong if isinstance(error, DulyError) else "failed")
                pause = min(pause * 2 or wait, longest)
                continue
            telemetry.told(sent)
            pause = 0.0


class AnotherServes(DulyError):
    """Another process does on this database what only one may do at a time."""


@contextmanager
def alone(app: "Application") -> Iterator[None]:
    """Keep others from reading the chain, planning and serving meanwhile.

    Raises: AnotherServes.
    """
    try:
        for role in ALONE:
            if not app.leases.take(role):
                raise AnotherServes(
                    f"{app.leases.holder_of(role) or 'another process'} does {role} on this database",
                    remedy="Stop it, or leave it to that one.",
                )
        yield
    finally:
        app.leases.give_up()


def planned(app: "Application", now: int, loans: Collection[bytes] | None = None) -> list[Planned]:
    """What may be said now, as far as the chain was read; about all loans, or some.

    Counted as reminders, beside those on the chain: those that the gate let through and that are not indexed
    yet, and those that were delivered before a reorganisation took their events away.
    """
    if loans is None:
        candidates = list(app.read_model.candidates(calendar.local_day(now, calendar.EASTERNMOST)))
    else:
        candidates = [each for loan in loans if (each := app.read_model.candidate(loan))]
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
        app.account.address.lower(),
        now,
        persons,
        reminders,
        preferences=app.vault.preferences(),
        together=companions_of(app),
        reach=reach_of(app),
        waiting=False,
    )
    found = [each for each in found if each.id not in said]
    telemetry.planned(each.kind for each in found if each.ready)
    return found


def reach_of(app: "Application") -> Reach:
    """On which channels borrowers can be reached: those that are set, and were not closed by a report."""
    found = set(app.carriers)
    if not app.reaches_out:
        # Another process delivers; by mail, unless told.
        found.add(Channel.EMAIL)
    return Reach(tuple(channel for channel in DELIVERABLE if channel in found), app.reports.closed())


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


def check(app: "Application", roles: Collection[Role] = tuple(Role)) -> None:
    """Make sure that whatever a round needs was set up, before anything is said.

    Raises: DulyError, of the settings, the key, the vault or the deployment.
    """
    if Role.DELIVER in roles and not app.reaches_out:
        raise CarrierUnavailable(NO_WAY, remedy=SET_A_WAY)
    _ = app.deployment, app.notice_store
    if set(roles) != {Role.INDEX}:
        _ = app.account, app.vault
    if Role.SERVE in roles:
        _ = app.sender


def _deliverable(
    app: "Application", found: list[Planned]
) -> tuple[list[Planned], int, CarrierUnavailable | None]:
    """What could be delivered at the moment, how much could not, and why."""
    problems: dict[Channel, CarrierUnavailable] = {}
    for channel in {each.channel for each in found} & app.carriers.keys():
        try:
            app.carriers[channel].ready()
        except CarrierUnavailable as problem:
            problems[channel] = problem
    left = [each for each in found if each.channel not in problems]
    return left, len(found) - len(left), next(iter(problems.values()), None)


def _together(one: IndexReport, other: IndexReport) -> IndexReport:
    return IndexReport(
        blocks=one.blocks + other.blocks,
        events=one.events + other.events,
        first=min(one.first, other.first),
        last=other.last,
        rolled_back=one.rolled_back + other.rolled_back,
    )
