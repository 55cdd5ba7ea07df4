"""The queue of what is to be delivered, on DBOS: its tables lie beside the read model's.

    notices are indexed ──► queued in the same transaction ──► a worker takes a batch ──► Deliverer

DBOS decides who looks at which notices, and when: it spreads them over workers, holds back what is tried
again later, and keeps to the rate that a channel takes. What may be sent is decided by the gates and claim
rows of `duly.services.deliver` alone, so that it does no harm when a batch is run twice, or lost: a sweep
puts back whatever is served and neither claimed nor in the queue. Thus a worker that died, a copy of the
database that was restored, or a queue that was emptied, costs time and nothing else.

A batch is one workflow without steps. Its input are ids of notices, nothing else (PRIV-1); it has no output.
"""

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from dbos import DBOS, DBOSClient, DBOSConfig, WorkflowSerializationFormat
from dbos import error as dbos_error
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from duly.channels.message import CarrierUnavailable
from duly.domain.consent import Channel
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.events import Logged, NoticeServed
from duly.services.deliver import Deliverer, DeliverReport
from duly.store.database import DatabaseError
from duly.store.leases import Leases
from duly.store.notices import NoticeStore

if TYPE_CHECKING:
    from dbos import EnqueueOptions, WorkflowStatus

BATCH: Final = 100
"""Notices in a batch at most, on a channel without a limit: a workflow costs several writes."""

VERSION: Final = "1"
"""Of what is in the queue. Workers take only what is of theirs."""

POLL: Final = 0.1
"""Seconds between two looks into the queue."""

AGAIN: Final = 10.0
"""Seconds until what could not be delivered, because the channel or the chain was away, is tried again."""

KEPT: Final = 7 * 86_400
"""Seconds for which DBOS's record of a batch that is done is kept."""

_IN_HAND: Final = 2
"""Batches that a worker takes from each queue: one that it is at, and the next."""

_LIVE: Final = ["ENQUEUED", "DELAYED", "PENDING"]

Told = Callable[[DulyError], None]


class Queue:
    """Puts notices into the queue. Anyone may who has the database; no worker has to run."""

    def __init__(self, engine: Engine, store: NoticeStore, per_minute: Mapping[Channel, int]) -> None:
        self.url = _url(engine)
        self._store = store
        self._per_minute = per_minute
        # It says a lot, and repeats what it was given.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        with self.explained():
            DBOS.migrate(self.url)
            self.client = DBOSClient(
                system_database_url=self.url,
                application_name=_APPLICATION,
                lazy=True,
                retry_connection_errors=False,
            )

    def on_served(self, connection: Connection, logged: Sequence[Logged]) -> None:
        """Queue the notices of events in the transaction that records them: those that are to be delivered
        from here. One whose event came back in another block is queued again.
        """
        events: dict[bytes, NoticeServed] = {}
        blocks: dict[bytes, bytes] = {}
        for item in logged:
            if isinstance(event := item.event, NoticeServed):
                events[event.id], blocks[event.id] = event, item.block_hash
        wanted = self._store.unclaimed(
            connection, {notice: event.content_hash for notice, event in events.items()}
        )
        by_queue: dict[tuple[str, Channel], list[bytes]] = {}
        for notice, event in events.items():
            if notice in wanted:
                by_queue.setdefault((event.server.lower(), event.channel), []).append(notice)
        for (server, channel), notices in by_queue.items():
            for batch in self.batches(notices, channel):
                where = b"".join(notice + blocks[notice] for notice in batch)
                self.put(server, channel, batch, key=where, connection=connection)

    @staticmethod
    @contextmanager
    def explained() -> Iterator[None]:
        """Put what DBOS says of its database into words, leaving out what was being written."""
        try:
            yield
        except (SQLAlchemyError, dbos_error.DBOSException) as error:
            raise DatabaseError(
                f"the queue's tables cannot be used ({type(error).__name__})",
                remedy="Check that the database of DULY_DATABASE runs. What is served is queued again.",
            ) from None

    def put(
        self,
        server: str,
        channel: Channel,
        notices: Collection[bytes],
        *,
        key: bytes,
        delay: float = 0,
        connection: Connection | None = None,
    ) -> None:
        """Queue a batch, once for each key. connection: in whose transaction. delay: in seconds."""
        options: EnqueueOptions = {
            "workflow_name": _WORKFLOW,
            "queue_name": queue_name(server, channel),
            "workflow_id": hashlib.sha256(key).hexdigest(),
            "app_version": VERSION,
            "serialization_type": WorkflowSerializationFormat.PORTABLE,
        }
        if delay > 0:
            options["delay_seconds"] = delay
        ids = [notice.hex() for notice in notices]
        with self.explained():
            if connection is None:
                self.client.enqueue(options, server, channel.name, ids)
            else:
                self.client.enqueue_in_transaction(connection, options, server, channel.name, ids)

    def batches(self, notices: Iterable[bytes], channel: Channel) -> Iterable[list[bytes]]:
        """Notices on a channel, divided into batches."""
        size, some = self.pace(channel)[0], list(notices)
        return (some[start : start + size] for start in range(0, len(some), size))

    def pace(self, channel: Channel) -> tuple[int, float | None]:
        """How many notices a batch has, and how many seconds lie between two of them at least.

        Where a channel has a limit, a batch takes a tenth of a second by it, and is one message at least.
        """
        limit = self._per_minute.get(channel)
        if limit is None:
            return BATCH, None
        size = max(1, limit // 600)
        return size, size * 60 / limit

    def live(self, server: str, channels: Iterable[Channel]) -> "list[WorkflowStatus]":
        """The batches that are not done."""
        queues = [queue_name(server, channel) for channel in channels]
        with self.explained():
            return self.client.list_workflows(status=_LIVE, queue_name=queues, load_output=False)

    def taken(self, server: str, channels: Iterable[Channel], worker: str) -> dict[str, str]:
        """The batches that a worker took and that are not done, and the queue of each."""
        with self.explained():
            found = self.client.list_workflows(
                status="PENDING",
                queue_name=[queue_name(server, channel) for channel in channels],
                executor_id=worker,
                load_input=False,
                load_output=False,
            )
        return {each.workflow_id: each.queue_name for each in found if each.queue_name}

    def resume(self, name: str, batches: Sequence[str]) -> None:
        """Put batches that nobody has any more back into their queue."""
        with self.explained():
            self.client.resume_workflows(list(batches), queue_name=name)

    def close(self) -> None:
        """Let go of the database."""
        self.client.destroy()


class Worker:
    """Delivers what is in the queue, in threads of its own. There is one in a process, as there is one DBOS.

    told: hears of what goes wrong, for a person to look at.
    """

    def __init__(self, queue: Queue, deliverer: Deliverer, leases: Leases, told: Told) -> None:
        self._queue = queue
        self._it = deliverer
        self._leases = leases
        self._told = told
        self._stop = threading.Event()
        # A carrier, and what is known of it, is for one thread at a time.
        self._busy = {channel: threading.Lock() for channel in deliverer.carriers}
        self._away_until: dict[Channel, float] = {}
        self._report = DeliverReport()
        self._running: set[str] = set()
        self._idle: set[str] = set()
        self._changed = threading.Condition()
        self._cleaned = 0.0

    def start(self) -> None:
        """Begin to deliver."""
        global _worker
        store = self._it.store
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_url": self._queue.url,
            "application_version": VERSION,
            "executor_id": store.worker,
            "log_level": "ERROR",
            "enable_otlp": False,
            "run_migrations": False,
            "scheduler_polling_interval_sec": 3600.0,
            "notification_listener_polling_interval_sec": 1.0,
        }
        self._leases.take(f"worker {store.worker}")
        DBOS(config=config)
        names = {channel: queue_name(self._it.server, channel) for channel in self._it.carriers}
        DBOS.listen_queues(list(names.values()))
        for channel, name in names.items():
            pause = self._queue.pace(channel)[1]
            # Evened out over a second at most.
            limit = max(1, int(1 / pause)) if pause else 0
            self._queue.client.register_queue(
                name,
                worker_concurrency=_IN_HAND,
                polling_interval_sec=POLL,
                limiter={"limit": limit, "period": limit * pause} if pause else None,
            )
        _worker = self
        DBOS.launch()

    def stop(self) -> None:
        """Finish the messages that were begun, and put back the others."""
        global _worker
        self._stop.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._running)
        DBOS.destroy()
        _worker = None
        for carrier in self._it.carriers.values():
            carrier.close()

    def report(self) -> DeliverReport:
        """What became of notices since the last time."""
        with self._changed:
            report, self._report = self._report, DeliverReport()
        return report

    def run(self, channel: Channel, notices: list[bytes], batch: str) -> None:
        """Deliver a batch, that DBOS has under this id; what is left of it goes back into the queue."""
        with self._changed:
            self._running.add(batch)
        problem: DulyError | None = None
        report = DeliverReport()
        try:
            with self._busy[channel]:
                if self._stop.is_set() or time.monotonic() < self._away_until.get(channel, 0):
                    report = DeliverReport(left=len(notices))
                else:
                    try:
                        report = self._it.deliver_some(notices, self._stop.is_set)
                        problem = report.problem
                    except DulyError as error:
                        problem = error
                    if problem:
                        self._away_until[channel] = time.monotonic() + AGAIN / 2
            if problem or report.left or report.deferred:
                self._put_back(channel, notices, batch.encode())
        except DulyError as error:
            # The sweep finds what is left.
            problem = error
        finally:
            with self._changed:
                self._report += report
                self._running.discard(batch)
                self._changed.notify_all()
        if problem and not isinstance(problem, CarrierUnavailable):
            self._told(problem)

    def _put_back(self, channel: Channel, notices: list[bytes], key: bytes) -> None:
        now = self._it.clock.now()
        # Not at once: this worker itself, while it stops, would only take it again.
        pause = 1 if self._stop.is_set() else int(AGAIN * random.uniform(0.5, 1))
        waiting: dict[int, list[bytes]] = {}
        left = self._it.store.unfinished(notices)
        for notice in notices:
            if notice in left:
                not_before = left[notice]
                delay = pause if not_before is None else max(1, not_before - now)
                waiting.setdefault(delay, []).append(notice)
        for delay, some in waiting.items():
            again = key + b" again" + some[0]
            self._queue.put(self._it.server, channel, some, key=again, delay=delay)

    def sweep(self) -> None:
        """See to it that nothing is lost: record what could not be recorded before, take up what this worker
        took and does not have, take over what dead workers had, queue what is not in the queue.

        Raises: DatabaseError.
        """
        self._it.catch_up()
        self._take_up()
        if not self._leases.take("sweep"):
            return
        it, channels = self._it, list(self._it.carriers)
        it.store.lose()
        pending = it.store.pending(it.server, it.clock.now())
        living, queued = self._leases.living(), set[str]()
        left: dict[str, list[str]] = {}
        for batch in self._queue.live(it.server, channels):
            if batch.status == "PENDING" and batch.executor_id not in living and batch.queue_name:
                left.setdefault(batch.queue_name, []).append(batch.workflow_id)
            queued.update(batch.input["args"][2] if batch.input else ())
        for name, batches in left.items():
            self._queue.resume(name, batches)
        lost: dict[Channel, list[bytes]] = {}
        for message in pending:
            if queued.isdisjoint(each.id.hex() for each in message):
                lost.setdefault(message[0].channel, []).extend(each.id for each in message)
        for channel, notices in lost.items():
            still = it.store.unfinished(notices)
            for some in self._queue.batches([each for each in notices if each in still], channel):
                self._queue.put(it.server, channel, some, key=b"".join(some) + str(time.time_ns()).encode())
        self._clean(channels)

    def _take_up(self) -> None:
        """Put back what the queue says that this worker has, and it has not: DBOS lost it, as when the
        database went away. What was taken just now may not have begun yet, so that it is looked at twice.
        """
        with self._changed:
            before, running = self._idle, set(self._running)
        taken = self._queue.taken(self._it.server, self._it.carriers, self._it.store.worker)
        with self._changed:
            running |= self._running
        idle = {batch: name for batch, name in taken.items() if batch not in running}
        for batch in idle.keys() & before:
            self._queue.resume(idle[batch], [batch])
        self._idle = idle.keys() - before

    def _clean(self, channels: Iterable[Channel]) -> None:
        """Forget batches that were done long ago, once an hour."""
        if time.monotonic() - self._cleaned < 3600 and self._cleaned:
            return
        self._cleaned = time.monotonic()
        before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - KEPT))
        queues = [queue_name(self._it.server, channel) for channel in channels]
        with self._queue.explained():
            old = self._queue.client.list_workflows(
                status=["SUCCESS", "ERROR", "CANCELLED"],
                end_time=before,
                queue_name=queues,
                limit=10_000,
                load_input=False,
                load_output=False,
            )
            if old:
                self._queue.client.delete_workflows([each.workflow_id for each in old])


def queue_name(server: str, channel: Channel) -> str:
    """Of what one server served on a channel: nobody else sends it."""
    return f"duly {channel.name.lower()} {server.lower()}"


_APPLICATION: Final = "duly"
_WORKFLOW: Final = "deliver"
_worker: Worker | None = None


@DBOS.workflow(name=_WORKFLOW)
def _deliver(server: str, channel: str, notices: list[str]) -> None:
    worker = _worker
    if worker is not None:
        worker.run(Channel[channel], [bytes.fromhex(notice) for notice in notices], DBOS.workflow_id or "")


def _url(engine: Engine) -> str:
    if engine.dialect.name == "sqlite" and engine.url.database in (None, "", ":memory:"):
        raise InvalidInput(
            "the service cannot run on a database in memory",
            wanted="a file such as sqlite:///duly.db, or PostgreSQL, in DULY_DATABASE",
        )
    return engine.url.render_as_string(hide_password=False)
