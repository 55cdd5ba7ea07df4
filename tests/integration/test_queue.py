"""The queue on DBOS, with a worker that runs, on both databases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import inspect, text

from duly.channels.memory import MemoryCarrier
from duly.channels.message import Message, Receipt, Result
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.events import Block, NoticeServed
from duly.services.benchdeliver import Chain, Clock, Scene
from duly.services.deliver import Deliverer
from duly.services.queue import BATCH, Queue, Worker, queue_name
from duly.store.database import reading, writing
from duly.store.leases import Leases
from duly.store.masterkey import MasterKey
from duly.store.notices import NoticeStore, Outcome, State
from duly.store.vault import Vault

NOTICES = 7


class Place:
    """A database with borrowers, whose notices are about to be served; workers that deliver to memory."""

    def __init__(self, scene: Scene, url: str) -> None:
        self.scene = scene
        self.queue, self.model, self.serve = scene.fill(url)
        self.store = NoticeStore(self.model.engine)
        self.vault = Vault.open(scene.vault(), MasterKey.from_file(scene.key_file))
        self.carrier = MemoryCarrier()
        self.told: list[DulyError] = []
        self.leases = Leases(self.model.engine, self.store.worker)
        self.worker = Worker(self.queue, self.deliverer(), self.leases, self.told.append)
        self.running = False

    def deliverer(self) -> Deliverer:
        return Deliverer(
            server=self.scene.server,
            contracts=Chain(self.model),  # type: ignore[arg-type]
            read_model=self.model,
            store=self.store,
            vault=self.vault,
            carriers={Channel.EMAIL: self.carrier},
            clock=Clock(self.scene.now),
        )

    def start(self) -> None:
        self.worker.start()
        self.running = True

    def stop(self) -> None:
        if self.running:
            self.worker.stop()
            self.running = False

    def batches(self) -> list[Any]:
        return self.queue.live(self.scene.server, [Channel.EMAIL])

    def execute(self, sql: str, **values: object) -> None:
        with writing(self.model.engine) as connection:
            connection.execute(text(sql), values)

    @property
    def status(self) -> str:
        return "workflow_status" if self.model.engine.dialect.name == "sqlite" else "dbos.workflow_status"

    @property
    def notices(self) -> list[bytes]:
        return [each.event.id for each in self.scene.logged if isinstance(each.event, NoticeServed)]


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"), NOTICES)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, scene: Scene, tmp_path: Any) -> Iterator[Place]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'duly.db'}"
    else:
        url = request.getfixturevalue("empty")
    place = Place(scene, url)
    yield place
    place.stop()
    place.queue.close()
    place.vault.close()
    place.model.engine.dispose()


def sent(place: Place) -> list[bytes]:
    return [proof.notice for message in place.carrier.sent for proof in message.proofs]


def test_what_is_served_is_queued_with_its_event_and_delivered_once(place: Place) -> None:
    place.start()
    place.serve()
    until(lambda: len(place.carrier.sent) == NOTICES)
    until(lambda: not place.batches())
    assert sent(place) == place.notices
    assert place.store.counts() == {State.SENT: NOTICES}
    place.worker.sweep()
    assert place.batches() == []
    assert place.worker.report().sent == NOTICES
    assert place.told == []


def test_what_is_not_recorded_is_not_queued(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(place.model, "_move_cursor", fail)
    with pytest.raises(RuntimeError):
        place.serve()
    assert place.batches() == []
    monkeypatch.undo()
    place.serve()
    (batch,) = place.batches()
    assert batch.input["args"][2] == [notice.hex() for notice in place.notices]


def test_gate_2_an_event_that_came_back_elsewhere_is_queued_again_and_sent_once(place: Place) -> None:
    served = [each for each in place.scene.logged if isinstance(each.event, NoticeServed)]
    others = [each for each in place.scene.logged if not isinstance(each.event, NoticeServed)]
    before, last = (
        Block(each.block_number, each.block_hash, each.timestamp) for each in (others[-1], served[-1])
    )
    place.serve()
    (first,) = place.batches()
    place.model.roll_back(before)
    place.model.apply(served, before, last)
    assert [batch.workflow_id for batch in place.batches()] == [first.workflow_id]
    place.model.roll_back(before)
    moved = [each._replace(block_hash=b"\x07" * 32) for each in served]
    place.model.apply(moved, before, replace(last, hash=b"\x07" * 32))
    assert len(place.batches()) == 2
    place.start()
    until(lambda: not place.batches())
    assert sent(place) == place.notices


def test_a_queue_that_was_emptied_is_filled_again(place: Place) -> None:
    place.serve()
    place.execute(f"DELETE FROM {place.status}")
    place.start()
    place.worker.sweep()
    until(lambda: len(place.carrier.sent) == NOTICES)


def test_what_a_dead_worker_had_is_taken_over(place: Place) -> None:
    place.serve()
    place.execute(f"UPDATE {place.status} SET status = 'PENDING', executor_id = 'elsewhere:1:0123'")
    place.start()
    place.worker.sweep()
    until(lambda: len(place.carrier.sent) == NOTICES)
    until(lambda: not place.batches())


def test_what_a_worker_took_and_does_not_have_is_put_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the database goes away between a worker's taking a batch and its beginning with it."""
    place.start()
    monkeypatch.setattr(place.queue, "put", partial(place.queue.put, delay=3_600))
    place.serve()
    monkeypatch.undo()
    mine = {"worker": place.store.worker}
    place.execute(f"UPDATE {place.status} SET status = 'PENDING', executor_id = :worker", **mine)
    place.worker.sweep()
    assert {batch.status for batch in place.batches()} == {"PENDING"}  # it may be about to begin
    place.worker.sweep()
    until(lambda: sorted(sent(place)) == sorted(place.notices))


def test_gate_2_what_a_dead_worker_had_claimed_is_uncertain_and_not_sent(place: Place) -> None:
    place.serve()
    dead = NoticeStore(place.model.engine, worker="elsewhere:1:0123")
    (claimed, *_) = dead.pending(place.scene.server, place.scene.now)
    assert dead.claim(claimed, place.scene.now)
    table = "deliveries"
    place.execute(f"UPDATE {table} SET claimed_wall = claimed_wall - 601")
    place.start()
    place.worker.sweep()
    until(lambda: len(place.carrier.sent) == NOTICES - 1)
    found = place.store.delivery(claimed[0].id)
    assert found is not None
    assert (found.state, found.reason) == (State.UNCERTAIN, "worker_lost")
    # Whoever was at it for too long still knows best.
    dead.settle(Outcome(claimed, State.SENT), place.scene.now)
    assert place.store.counts() == {State.SENT: NOTICES}


def test_what_is_deferred_waits_in_the_queue(place: Place) -> None:
    place.carrier.will(Result.DEFERRED, reason="SMTP 450")
    place.start()
    place.serve()
    until(lambda: len(place.carrier.sent) == NOTICES - 1)
    until(lambda: [batch.status for batch in place.batches()] == ["DELAYED"])
    (batch,) = place.batches()
    assert batch.input["args"][2] == [place.notices[0].hex()]
    place.worker.sweep()
    assert len(place.batches()) == 1


def test_while_the_channel_is_away_nothing_is_claimed(place: Place) -> None:
    place.carrier.available = False
    place.start()
    place.serve()
    until(lambda: [batch.status for batch in place.batches()] == ["DELAYED"])
    assert place.store.counts() == {}
    report = place.worker.report()
    assert report.left == NOTICES
    assert report.problem is not None


def test_a_worker_that_stops_finishes_what_it_began_and_puts_back_the_rest(place: Place) -> None:
    send = place.carrier.send

    def stopping(message: Message) -> Receipt:
        place.worker._stop.set()
        return send(message)

    place.carrier.send = stopping  # type: ignore[method-assign, assignment]
    place.start()
    place.serve()
    until(lambda: bool(place.carrier.sent))
    place.stop()
    assert place.store.counts() == {State.SENT: 1}
    (batch,) = place.batches()
    assert batch.input["args"][2] == [notice.hex() for notice in place.notices[1:]]


def test_priv_1_the_queue_holds_ids_and_nothing_of_a_person(place: Place) -> None:
    place.carrier.will(Result.DEFERRED, reason="SMTP 450")
    place.start()
    place.serve()
    until(lambda: len(place.carrier.sent) == NOTICES - 1)
    place.stop()
    engine = place.model.engine
    mine = {"deliveries", "contents", "notices", "loans", "events"}
    schema = None if engine.dialect.name == "sqlite" else "dbos"
    dump = ""
    with reading(engine) as connection:
        tables = set(inspect(connection).get_table_names(schema=schema)) - mine
        assert {"workflow_status", "workflow_input"} <= tables
        for table in tables:
            name = f"{schema}.{table}" if schema else table
            dump += repr(connection.execute(text(f"SELECT * FROM {name}")).all())
    assert place.notices[0].hex() in dump
    assert "example.org" not in dump
    assert "instalment is due" not in dump
    for each in place.scene.contents:
        assert each.content_hash.hex() not in dump


def test_a_channel_with_a_limit_gets_small_batches_at_its_pace(place: Place) -> None:
    def paced(limit: int) -> tuple[int, float | None]:
        queue = Queue(place.model.engine, place.store, {Channel.EMAIL: limit})
        queue.close()
        return queue.pace(Channel.EMAIL)

    assert place.queue.pace(Channel.EMAIL) == (BATCH, None)
    assert paced(30) == (1, 2.0)
    assert paced(600) == (1, 0.1)
    assert paced(6_000) == (10, 0.1)
    limited = Queue(place.model.engine, place.store, {Channel.EMAIL: 600})
    worker = Worker(limited, place.deliverer(), place.leases, place.told.append)
    worker.start()
    try:
        queue = limited.client.retrieve_queue(queue_name(place.scene.server, Channel.EMAIL))
        assert queue is not None
        assert queue._limiter == {"limit": 10, "period": 1.0}
        place.model.on_served = limited.on_served
        place.serve()
        assert len(place.batches()) >= 1
        until(lambda: len(place.carrier.sent) == NOTICES)
    finally:
        worker.stop()
        limited.close()
