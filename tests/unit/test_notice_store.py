"""Words, claims and deliveries."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, select

from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.notice import Kind
from duly.store import notices as module
from duly.store import schema
from duly.store.database import open_engine, writing
from duly.store.migrations import SERVICE
from duly.store.notices import Content, Handed, NoSuchDelivery, NoticeStore, Outcome, Served, State, Told

SERVER = "0x" + "5e" * 20
BORROWER = "0x" + "b0" * 20
NOW = 1_700_000_000


@pytest.fixture
def engine(url):
    engine = open_engine(url)
    SERVICE.prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine):
    return NoticeStore(engine)


def served(number: int = 1, at: int = NOW) -> Served:
    return Served(
        bytes([number]) * 32,
        b"\x10" * 32,
        BORROWER,
        Kind.DUE_TODAY,
        3,
        2**80,
        Channel.EMAIL,
        b"\xc0" * 32,
        at,
    )


def put(engine, notice: Served, *, block: int = 0, server: str = SERVER) -> Served:
    """Let the read model know the notice's event."""
    block = block or notice.id[0]
    with writing(engine) as connection:
        if not connection.execute(select(schema.blocks).where(schema.blocks.c.number == block)).first():
            connection.execute(
                insert(schema.blocks), {"number": block, "hash": b"\x01", "timestamp": notice.served_at}
            )
        connection.execute(
            insert(schema.notices),
            {
                "id": notice.id,
                "block_number": block,
                "log_index": notice.id[0],
                "timestamp": notice.served_at,
                "transaction_hash": b"",
                "loan": notice.loan,
                "server": server,
                "borrower": notice.borrower,
                "kind": int(notice.kind),
                "instalment": notice.instalment,
                "amount": notice.amount,
                "channel": int(notice.channel),
                "basis": 3,
                "serial": 0,
                "content_hash": notice.content_hash,
            },
        )
    return notice


def reorganise(engine, notice: Served) -> None:
    with writing(engine) as connection:
        connection.execute(delete(schema.notices).where(schema.notices.c.id == notice.id))


def test_borrower_1_the_schema_has_no_place_for_a_contact_or_a_name():
    columns = {
        table.name: {column.name for column in table.columns} for table in module.metadata.sorted_tables
    }
    assert columns == {
        "contents": {
            "content_hash", "notice", "loan", "message", "language", "subject", "body", "kept_at",
        },
        "together": {"message", "number", "notice", "loan"},
        "deliveries": {
            "notice", "loan", "borrower", "kind", "instalment", "amount", "channel", "content_hash",
            "served_at", "state", "reason", "attempts", "at", "not_before", "worker", "claimed_wall",
            "claims", "reference",
        },
        "handed": {"notice", "borrower", "kind", "content_hash", "at"},
        "due": {"loan"},
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ words


def words(number: int = 1, subject: str = "Due today", *others: int) -> Content:
    """The words of notice `number`, or of several; each is about the loan of its number."""
    told = [Told(bytes([each]) * 32, bytes([each]) * 32) for each in (number, *others)]
    return Content(bytes([0xC0 + number]) * 32, told[0], tuple(told), "zh", subject, "今天到期\n", NOW)


def test_words_are_kept_by_their_hash(store):
    store.keep([words(1), words(2)])
    store.keep([words(2, "Something else"), words(3), words(3)])
    store.keep([])
    assert store.content(words(2).content_hash) == words(2)
    assert store.content(words(3).content_hash) == words(3)
    assert store.content(bytes(32)) is None


def at_another_address(content: Content, number: int) -> Content:
    """The same message, as it is kept for another of the addresses that it is to."""
    [of] = [told for told in content.notices if told.notice[0] == number]
    return replace(content, content_hash=bytes([0xC0 + number]) * 32, of=of)


def test_words_of_several_notices_name_them_all(store):
    first = words(1, "Hello", 2, 3)
    other = at_another_address(first, 3)
    store.keep([first, other, words(4)])
    store.keep([first])
    assert store.content(first.content_hash) == first
    assert store.content(other.content_hash) == other
    assert [told.notice[0] for told in store.content(other.content_hash).notices] == [1, 2, 3]
    # For each address once.
    assert store.contents([bytes([1]) * 32, bytes([2]) * 32]) == [first]
    assert store.contents([bytes([3]) * 32, bytes([4]) * 32]) == [other, words(4)]


def test_priv_1_words_about_a_loan_are_forgotten_with_what_the_message_said_of_others(store, engine):
    first = words(1, "Hello", 2, 3)
    store.keep([first, at_another_address(first, 3), words(4)])
    store.forget_words([bytes([2]) * 32])
    assert store.content(first.content_hash) is store.content(bytes([0xC3]) * 32) is None
    assert store.content(words(4).content_hash) == words(4)
    with writing(engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM together").scalar() == 0


# ----------------------------------------------------------------------------------------------------- claims


def put_together(store, engine, *numbers: int) -> tuple[Served, ...]:
    """Let the read model know several notices to one address in one message."""
    first, *others = numbers
    content = words(first, "Hello", *others)
    store.keep([content])
    return tuple(
        put(engine, replace(served(number), content_hash=content.content_hash), block=9) for number in numbers
    )


def test_notices_in_one_message_are_pending_together(store, engine):
    message = put_together(store, engine, 1, 3, 5)
    alone = put(engine, served(2), block=9)
    assert store.pending(SERVER, NOW) == [message, (alone,)]
    assert store.claim(message, NOW)
    assert store.pending(SERVER, NOW) == [(alone,)]
    store.settle(Outcome(message, State.DEFERRED, "450", NOW + 60), NOW)
    assert store.pending(SERVER, NOW + 60) == [message, (alone,)]


def test_gate_2_notices_in_one_message_are_claimed_all_or_none(store, engine):
    message = put_together(store, engine, 1, 2, 3)
    other = NoticeStore(engine)
    assert other.claim(message[2:], NOW)
    before = put(engine, served(9))
    assert store.claim([before], NOW)
    # What became of the last one is recorded all the same.
    assert store.turn([Outcome((before,), State.SENT)], [message], NOW) == [None]
    assert [store.delivery(each.id) for each in message[:2]] == [None, None]
    assert store.delivery(before.id).state is State.SENT
    assert not store.drop(message, "late", NOW)
    other.settle(Outcome(message[2:], State.DEFERRED, "450", NOW + 60), NOW)
    assert store.claim(message, NOW + 60)
    assert not other.claim(message, NOW + 60)
    with pytest.raises(NoSuchDelivery):
        other.settle(Outcome(message, State.SENT), NOW + 60)
    store.settle(Outcome(message, State.SENT), NOW + 60)
    assert {store.delivery(each.id).state for each in message} == {State.SENT}


def test_a_person_resolves_a_whole_message(store, engine):
    message, alone = put_together(store, engine, 1, 2, 3), put(engine, served(4))
    for notices in (message, [alone]):
        assert store.claim(notices, NOW)
        store.settle(Outcome(tuple(notices), State.UNCERTAIN, "timeout"), NOW)
    assert store.resolve(message[1].id, sent=True, now=NOW) == 3
    assert [found.notice for found in store.uncertain()] == [alone]
    assert store.resolve(alone.id, sent=False, now=NOW) == 1
    assert store.counts() == {State.SENT: 3, State.DROPPED: 1}


def test_a_notice_goes_from_pending_over_claimed_to_sent(store, engine):
    notice = put(engine, served())
    assert store.pending(SERVER, NOW) == [(notice,)]
    assert store.delivery(notice.id) is None
    assert store.claim([notice], NOW)
    assert store.pending(SERVER, NOW) == []
    assert store.delivery(notice.id).state is State.CLAIMED
    store.settle(Outcome((notice,), State.SENT), NOW + 1)
    found = store.delivery(notice.id)
    assert (found.notice, found.state, found.attempts, found.at) == (notice, State.SENT, 1, NOW + 1)
    assert store.counts() == {State.SENT: 1}


def test_gate_2_a_claim_is_given_once(store, engine):
    notice = put(engine, served())
    other = NoticeStore(engine)
    assert store.claim([notice], NOW)
    assert not store.claim([notice], NOW)
    assert not other.claim([notice], NOW)
    assert not other.drop([notice], "late", NOW)
    with pytest.raises(NoSuchDelivery):
        other.settle(Outcome((notice,), State.SENT), NOW)
    for state in (State.SENT, State.DROPPED, State.UNCERTAIN):
        again = put(engine, served(list(State).index(state) + 10))
        assert store.claim([again], NOW)
        store.settle(Outcome((again,), state), NOW)
        assert not store.claim([again], NOW)
        assert not other.claim([again], NOW)


def test_only_the_servers_own_notices_are_pending_in_order(store, engine):
    second, first = put(engine, served(1), block=9), put(engine, served(2), block=8)
    put(engine, served(3), server="0x" + "07" * 20)
    assert store.pending(SERVER, NOW) == [(first,), (second,)]


def test_a_deferred_notice_is_pending_again_when_its_time_has_come(store, engine):
    notice = put(engine, served())
    assert store.claim([notice], NOW)
    store.settle(Outcome((notice,), State.DEFERRED, "450", NOW + 60), NOW)
    assert store.pending(SERVER, NOW + 59) == []
    assert not store.claim([notice], NOW + 59)
    assert not store.drop([notice], "late", NOW + 59)
    assert store.pending(SERVER, NOW + 60) == [(notice,)]
    assert store.claim([notice], NOW + 60)
    assert not store.claim([notice], NOW + 60)
    assert store.delivery(notice.id).attempts == 2
    store.settle(Outcome((notice,), State.DEFERRED, "450", NOW + 70), NOW)
    assert store.drop([notice], "late", NOW + 70)
    assert store.delivery(notice.id).state is State.DROPPED


def test_gate_2_each_claim_has_a_word_and_knows_those_before_it(store, engine):
    message, alone = put_together(store, engine, 1, 2), put(engine, served(3))
    (once,), (other,) = store.turn([], [message, (alone,)], NOW)
    assert once != other
    store.settle(Outcome(message, State.DEFERRED, "450", NOW), NOW)
    [(first, second)] = store.turn([], [message], NOW)
    assert first == once
    assert second not in (once, other)
    store.settle(Outcome(message, State.DEFERRED, "450", NOW), NOW)
    # Dropping it is no claim; and a person may let it be tried again.
    assert store.drop(message, "late", NOW)
    store.requeue(message[1].id, NOW)
    [words] = store.turn([], [message], NOW)
    assert set(words[:-1]) == {first, second}
    assert words[-1] not in (first, second)


def test_gate_2_what_comes_into_one_message_brings_its_words(store, engine):
    message = put_together(store, engine, 1, 2, 3)
    [(early,)] = store.turn([], [message[:1]], NOW)
    store.settle(Outcome(message[:1], State.DEFERRED, "450", NOW), NOW)
    [(before, now)] = store.turn([], [message], NOW)
    assert before == early != now


def test_a_turn_records_one_and_claims_the_next(store, engine):
    first, second = put(engine, served(1)), put(engine, served(2))
    assert None not in store.turn([], [[first]], NOW)
    assert None not in store.turn([Outcome((first,), State.SENT)], [[second]], NOW)
    assert store.turn([Outcome((second,), State.SENT)], [[first]], NOW) == [None]
    assert store.turn([], [], NOW) == []
    assert store.counts() == {State.SENT: 2}


def test_old_notices_are_looked_at_once_and_young_ones_again(store, engine):
    old = put(engine, served(1, NOW - 30 * DAY))
    assert store.pending(SERVER, NOW) == [(old,)]
    assert store.pending(SERVER, NOW) == []
    young = put(engine, served(2, NOW - 2 * DAY))
    assert store.pending(SERVER, NOW) == [(young,)]
    # A clock that is moved on leaves nothing behind.
    assert store.pending(SERVER, NOW + 90 * DAY) == [(young,)]
    assert NoticeStore(engine).pending(SERVER, NOW + 90 * DAY) == [(old,), (young,)]


def _claim_all(url: str, won) -> None:
    store = NoticeStore(open_engine(url))
    won.put([notice.id for [notice] in store.pending(SERVER, NOW) if store.claim([notice], NOW)])


def test_gate_2_of_many_processes_one_gets_each_claim(url, engine, store):
    notices = [put(engine, served(number)) for number in range(1, 61)]
    engine.dispose()
    context = multiprocessing.get_context("fork")
    won = context.SimpleQueue()
    workers = [context.Process(target=_claim_all, args=(url, won)) for _ in range(4)]
    for worker in workers:
        worker.start()
    claimed = [identity for _ in workers for identity in won.get()]
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(notice.id for notice in notices)


# -------------------------------------------------------------------------------------------------- uncertain


def test_gate_2_a_claim_whose_worker_died_is_uncertain(engine):
    mine, others = put(engine, served(1)), put(engine, served(2))
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
    process.start()
    process.join()
    host = NoticeStore(engine).worker.split(":")[0]
    dead = NoticeStore(engine, worker=f"{host}:{process.pid}:00")
    alive = NoticeStore(engine, worker=f"{host}:{os.getppid()}:00")
    assert dead.claim([mine], NOW)
    assert alive.claim([others], NOW)
    looking = NoticeStore(engine)
    assert [found.notice for found in looking.uncertain()] == [mine]
    assert looking.pending(SERVER, NOW) == []


def test_gate_2_a_claim_elsewhere_is_uncertain_when_nobody_can_be_at_it_any_more(engine, monkeypatch):
    notice = put(engine, served())
    assert NoticeStore(engine, worker="elsewhere:1:00").claim([notice], NOW)
    store = NoticeStore(engine)
    assert store.uncertain() == []
    monkeypatch.setattr(module, "LONGEST_SEND", -1)
    assert [found.notice for found in store.uncertain()] == [notice]


def test_gate_2_a_claim_of_an_earlier_process_with_the_same_number_is_uncertain(engine):
    store = NoticeStore(engine)
    notice = put(engine, served())
    assert NoticeStore(engine, worker=store.worker[:-8] + "00000000").claim([notice], NOW)
    assert [found.notice for found in store.uncertain()] == [notice]


@pytest.mark.parametrize("sent", [True, False])
def test_a_person_resolves_what_is_uncertain(store, engine, sent):
    notice = put(engine, served())
    with pytest.raises(NoSuchDelivery):
        store.resolve(notice.id, sent=sent, now=NOW)
    store.claim([notice], NOW)
    with pytest.raises(NoSuchDelivery):
        store.resolve(notice.id, sent=sent, now=NOW)
    store.settle(Outcome((notice,), State.UNCERTAIN, "timeout"), NOW)
    store.resolve(notice.id, sent=sent, now=NOW + 5)
    assert store.uncertain() == []
    assert store.delivery(notice.id).state is (State.SENT if sent else State.DROPPED)
    assert store.pending(SERVER, NOW + 5) == []


# --------------------------------------------------------------------------------------------- reorganisation


def test_gate_2_what_was_sent_stays_sent_when_the_event_goes_and_comes_back(store, engine):
    notice = put(engine, served())
    store.claim([notice], NOW)
    store.settle(Outcome((notice,), State.SENT), NOW)
    assert store.vanished() == []
    reorganise(engine, notice)
    assert [found.notice for found in store.vanished()] == [notice]
    put(engine, notice, block=77)
    assert store.vanished() == []
    assert store.pending(SERVER, NOW) == []
    assert not store.claim([notice], NOW)


def test_what_vanished_long_ago_can_be_left_out(store, engine):
    notice = put(engine, served())
    store.claim([notice], NOW)
    reorganise(engine, notice)
    assert [found.notice for found in store.vanished(NOW)] == [notice]
    assert store.vanished(NOW + 1) == []


# ---------------------------------------------------------------------------------------------------- handed


def test_what_the_gate_let_through_is_remembered_until_it_is_indexed(store, engine):
    first, second = (
        Handed(bytes([number]) * 32, BORROWER, Kind.OVERDUE, bytes([0xC0 + number]) * 32, NOW)
        for number in (1, 2)
    )
    store.hand([first, second, first])
    store.hand([])
    assert store.handed(NOW) == [first, second]
    put(engine, served(1))
    assert store.handed(NOW) == [second]
    # Once it was indexed the read model tells: a reorganisation takes it back.
    store.forget_indexed()
    store.forget_indexed()
    reorganise(engine, served(1))
    assert store.handed(NOW) == [second]
    # Never indexed: reorganised away.
    assert store.handed(NOW + module.LONGEST_UNINDEXED) == []
    later = second._replace(at=NOW + 10)
    store.hand([later])
    assert store.handed(NOW) == [later]


def test_what_was_never_sent_does_not_count_when_its_event_goes(store, engine):
    notice = put(engine, served())
    store.drop([notice], "late", NOW)
    reorganise(engine, notice)
    assert store.vanished() == []
    assert [found.reason for found in store.deliveries(states=[State.DROPPED], loan=notice.loan)] == ["late"]
