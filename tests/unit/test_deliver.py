"""Serving and delivering, with a chain that says what it is told and a channel in memory."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from scene import CONSENTING, EAST, EVERY_DAY, LENDER, SERVICER, Case, a_loan, borrower, moment
from sqlalchemy import insert

from duly.chain.contracts import Standing
from duly.chain.errors import ChainUnavailable
from duly.channels.memory import MemoryCarrier
from duly.channels.message import Message, Receipt, Result
from duly.domain.consent import Channel, Profile
from duly.domain.loan import Loan
from duly.domain.notice import Decision, Kind, Notice, Refusal, ground
from duly.domain.policy import ContactLimits
from duly.services import deliver as module
from duly.services.deliver import Deliverer
from duly.services.plan import plan
from duly.services.render import Place, render
from duly.services.serve import Server, proves, salt_purpose
from duly.store import schema
from duly.store.database import DatabaseError, open_engine, writing
from duly.store.migrations import SERVICE
from duly.store.notices import Content, NoSuchDelivery, NoticeStore, Served, State, Told
from duly.store.vault import MasterKey, Vault, VaultError

KEY = MasterKey.from_text("5a" * 32)
PLACE = Place("TUSD", 2, 31337, "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20)
NOW = moment("2027-01-29 10:00")
STANDS = Decision(Refusal.NONE)


@dataclass
class Chain:
    """Says that everything stands and that commitments are the vault's, unless told otherwise."""

    vault: Vault
    decision: Decision = STANDS
    decisions: dict[bytes, Decision] = field(default_factory=dict)
    profile: Profile = CONSENTING
    commitments: dict[str, bytes] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    down: bool = False

    def standings(self, questions: Any, server: str) -> list[Standing]:
        assert server == SERVICER
        if self.down:
            raise ChainUnavailable
        self.asked.append(len(questions))
        return [
            Standing(
                self.decisions.get(notice.loan, self.decision),
                self.commitments.get(who) or self.vault.commitment(who, notice.channel) or bytes(32),
                self.profile,
            )
            for notice, who in questions
        ]


@dataclass
class Policy:
    contact: ContactLimits


@dataclass
class Model:
    """Knows of a few loans."""

    loans: dict[bytes, Loan] = field(default_factory=dict)
    limits: ContactLimits = EVERY_DAY

    def loan(self, loan: bytes) -> Loan | None:
        return self.loans.get(loan)

    def policies_of(self, loans: Any) -> dict[bytes, int]:
        return {loan: 1 for loan in loans if loan in self.loans}

    def policy(self, number: int) -> Policy:
        assert number == 1
        return Policy(self.limits)


@dataclass
class Clock:
    time: int = NOW

    def now(self) -> int:
        return self.time


class Scene:
    """A deliverer, and everything around it."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        SERVICE.prepare(self.engine)
        self.vault = Vault.open("sqlite://", KEY)
        self.chain = Chain(self.vault)
        self.model = Model()
        self.clock = Clock()
        self.carrier = MemoryCarrier()
        self.store = NoticeStore(self.engine)
        self.deliverer = self.worker(self.store)

    def worker(self, store: NoticeStore, carrier: Any = None) -> Deliverer:
        return Deliverer(
            server=SERVICER,
            contracts=self.chain,
            read_model=self.model,
            store=store,
            vault=self.vault,
            carriers={Channel.EMAIL: carrier or self.carrier},
            clock=self.clock,
        )

    def serve(
        self,
        number: int = 1,
        *,
        kind: Kind = Kind.DUE_TODAY,
        at: int = NOW,
        keep: bool = True,
        verified: bool = True,
    ) -> Served:
        """Let the read model know a notice, its words kept as the server keeps them."""
        who = borrower(number)
        self.vault.add(who, Channel.EMAIL, f"b{number}@example.org", language="zh" if number % 2 else "en")
        if verified:
            self.vault.verify_simulated([(who, Channel.EMAIL)])
        case = Case(loan=a_loan(number=number))
        self.model.loans[case.loan.id] = case.loan
        facts = case.facts(at)
        _, base = ground(kind, facts)
        language = self.vault.language_of(who)
        text = render(kind, case.loan, facts.position, base, PLACE, language)
        identity = number.to_bytes(32, "little")
        content_hash = text.content_hash(self.vault.salt_for(who, salt_purpose(identity)))
        told = Told(identity, case.loan.id)
        if keep:
            self.store.keep([Content(content_hash, told, (told,), language, text.subject, text.body, at)])
        served = Served(
            identity, case.loan.id, who, kind, base.instalment, base.amount, Channel.EMAIL, content_hash, at
        )
        self.put(served, number)
        return served

    def put(self, served: Served, block: int) -> None:
        """Let the read model know a notice's event."""
        with writing(self.engine) as connection:
            connection.execute(
                insert(schema.notices).values(
                    id=served.id,
                    block_number=block,
                    log_index=served.id[0],
                    timestamp=served.served_at,
                    transaction_hash=b"",
                    loan=served.loan,
                    server=SERVICER,
                    borrower=served.borrower,
                    kind=int(served.kind),
                    instalment=served.instalment,
                    amount=served.amount,
                    channel=int(served.channel),
                    basis=1,
                    serial=0,
                    content_hash=served.content_hash,
                )
            )

    def serve_together(self, *borrowers: int, served: int | None = None) -> list[Served]:
        """Let the read model know reminders about a loan for each of some borrowers, who are one person, in
        one message; the first few of them, where the gate did not let all through.
        """
        plans = []
        for number, who in enumerate(map(borrower, borrowers), start=1):
            self.vault.add(who, Channel.EMAIL, "anna@example.org")
            self.vault.verify_simulated([(who, Channel.EMAIL)])
            loan = a_loan(number=number)
            loan = replace(loan, terms=replace(loan.terms, borrower=who))
            self.model.loans[loan.id] = loan
            [planned] = plan([Case(loan=loan)], LENDER, NOW, waiting=False)
            plans.append(planned)
        server = Server(None, None, None, self.store, self.vault, PLACE)
        contacts = {
            each.id: self.vault.kept(each.borrower, Channel.EMAIL, salt_purpose(each.id)) for each in plans
        }
        words = server._words(plans, contacts, NOW)
        self.store.keep(words.values())
        notices = [
            Served(
                each.id,
                each.loan.id,
                each.borrower,
                each.kind,
                each.instalment,
                each.amount,
                each.channel,
                words[each.borrower].content_hash,
                NOW,
            )
            for each in plans
        ]
        for number, notice in enumerate(notices[:served]):
            self.put(notice, 50 + number)
        return notices

    def state(self, notice: Served) -> State | None:
        found = self.store.delivery(notice.id)
        return found.state if found else None


@pytest.fixture
def scene(tmp_path):
    scene = Scene(f"sqlite:///{tmp_path / 'duly.db'}")
    yield scene
    scene.vault.close()
    scene.engine.dispose()


def test_what_was_served_is_delivered_once(scene):
    notices = [scene.serve(number) for number in range(1, 41)]
    report = scene.deliverer.deliver()
    assert (report.sent, report.left, report.dropped) == (40, 0, Counter())
    assert [message.proofs[0].notice for message in scene.carrier.sent] == [notice.id for notice in notices]
    assert [message.address for message in scene.carrier.sent] == [f"b{n}@example.org" for n in range(1, 41)]
    assert {scene.state(notice) for notice in notices} == {State.SENT}
    assert scene.deliverer.deliver().sent == 0
    assert len(scene.carrier.sent) == 40
    assert scene.chain.asked == [40]


def test_the_words_are_those_that_were_hashed(scene):
    notice = scene.serve(1)
    scene.deliverer.deliver()
    (message,) = scene.carrier.sent
    content = scene.store.content(notice.content_hash)
    assert (message.subject, message.body, message.language) == (content.subject, content.body, "zh")
    (proof,) = message.proofs
    assert proof.notice == notice.id
    assert proves(content, proof.salt, notice.content_hash)
    assert not proves(replace(content, body=content.body + " "), proof.salt, notice.content_hash)


# --------------------------------------------------------------------------------------------- not delivered


def dropped(scene, notice, reason) -> None:
    report = scene.deliverer.deliver()
    assert report.dropped == {reason: 1}
    assert report.sent == scene.carrier.handed == 0
    found = scene.store.delivery(notice.id)
    assert (found.state, found.reason) == (State.DROPPED, reason)
    assert scene.deliverer.deliver().dropped == {}


def test_gate_1_no_words_no_mail(scene):
    dropped(scene, scene.serve(keep=False), "no_words")


@pytest.mark.parametrize("column", ["subject", "body"])
def test_gate_1_words_that_were_altered_are_not_sent(scene, column):
    notice = scene.serve()
    with writing(scene.engine) as connection:
        connection.exec_driver_sql(f"UPDATE contents SET {column} = {column} || '!'")
    dropped(scene, notice, "other_words")


def test_gate_1_words_of_another_notice_are_not_sent(scene):
    first, second = scene.serve(1), scene.serve(2)
    scene.store.claim([first], NOW)
    with writing(scene.engine) as connection:
        connection.exec_driver_sql("UPDATE notices SET content_hash = ?", (first.content_hash,))
    dropped(scene, second, "other_words")


@pytest.mark.parametrize("reason", [refusal for refusal in Refusal if refusal is not Refusal.NONE])
def test_gate_3_what_does_not_stand_any_more_is_dropped(scene, reason):
    notice = scene.serve()
    scene.chain.decision = Decision(reason)
    dropped(scene, notice, reason.name.lower())


def test_gate_3_the_chain_is_asked_again_when_sending_takes_long(scene, monkeypatch):
    notices = [scene.serve(number) for number in range(1, 4)]
    monkeypatch.setattr(module, "FRESH", -1)

    def revoke(message: Message) -> Receipt:
        scene.chain.decision = Decision(Refusal.NO_CONSENT)
        return Receipt(Result.SENT)

    monkeypatch.setattr(scene.carrier, "send", revoke)
    report = scene.deliverer.deliver()
    assert report.sent == 1
    assert report.dropped == {"no_consent": 2}
    assert scene.chain.asked == [3, 2]
    assert scene.state(notices[0]) is State.SENT


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("2027-01-29 18:59:59", None),
        ("2027-01-29 19:00", "outside_hours"),
        ("2027-01-29 23:59", "outside_hours"),
        ("2027-01-30 08:59:59", "outside_hours"),
        ("2027-01-30 09:00", "window_over"),
        ("2027-02-05 10:00", "window_over"),
    ],
)
def test_hours_1_a_notice_is_delivered_in_its_own_window(scene, at, reason):
    notice = scene.serve()
    scene.clock.time = moment(at)
    if reason:
        dropped(scene, notice, reason)
    else:
        assert scene.deliverer.deliver().sent == 1


def test_hours_1_both_offsets_count_when_delivering(scene):
    scene.chain.profile = Profile(EAST, EAST + 4, 1, 1)
    scene.serve()
    scene.clock.time = moment("2027-01-29 18:00")
    assert scene.deliverer.deliver().dropped == {"outside_hours": 1}


def test_borrower_2_an_address_that_was_not_committed_to_is_not_written_to(scene):
    notice = scene.serve()
    scene.chain.commitments[notice.borrower] = b"\x01" * 32
    dropped(scene, notice, "other_address")


def test_borrower_2_an_address_that_was_exchanged_in_the_vault_is_not_written_to(scene):
    notice = scene.serve()
    scene.chain.commitments[notice.borrower] = scene.vault.commitment(notice.borrower, Channel.EMAIL)
    scene.vault.add(notice.borrower, Channel.EMAIL, "somebody.else@example.org")
    scene.vault.verify_simulated([(notice.borrower, Channel.EMAIL)])
    dropped(scene, notice, "other_address")


def test_borrower_2_an_address_that_was_not_proved_is_not_written_to(scene):
    dropped(scene, scene.serve(verified=False), "not_verified")
    assert scene.vault.log() == []


def test_borrower_2_an_address_that_was_exchanged_and_not_proved_is_not_written_to(scene):
    notice = scene.serve()
    scene.vault.add(notice.borrower, Channel.EMAIL, "somebody.else@example.org")
    dropped(scene, notice, "not_verified")


def test_every_delivery_is_told_in_the_log(scene):
    notice, stale = scene.serve(1), scene.serve(2)
    scene.chain.commitments[stale.borrower] = b"\x01" * 32
    scene.deliverer.deliver()
    (entry,) = scene.vault.log()
    assert (entry.borrower, entry.channel) == (notice.borrower, Channel.EMAIL)
    assert (entry.purpose, entry.about) == ("delivery", "0x" + notice.id.hex())


def test_borrower_2_without_a_commitment_nothing_is_sent(scene):
    notice = scene.serve()
    scene.chain.commitments[notice.borrower] = bytes(32)
    scene.vault.commitment = lambda *_: None
    dropped(scene, notice, "other_address")


def test_priv_1_who_was_erased_is_not_written_to(scene):
    notice = scene.serve()
    scene.vault.erase(notice.borrower)
    dropped(scene, notice, "no_address")


def test_a_channel_that_nothing_is_sent_on(scene):
    notice = scene.serve()
    with writing(scene.engine) as connection:
        connection.exec_driver_sql("UPDATE notices SET channel = 1")
    dropped(scene, notice, "no_carrier")


# ------------------------------------------------------------------------------------------------ going wrong


def test_a_deferred_notice_is_tried_again_within_its_window(scene):
    notice = scene.serve()
    scene.carrier.will(Result.DEFERRED, Result.DEFERRED, reason="SMTP 450")
    for wait in (60, 120):
        assert scene.deliverer.deliver().deferred == 1
        found = scene.store.delivery(notice.id)
        assert found.reason == "SMTP 450"
        # Spread out, so that what failed together does not come back together.
        assert wait / 2 <= found.not_before - scene.clock.time <= wait
        scene.clock.time = found.not_before - 1
        assert scene.deliverer.deliver().deferred == 0
        scene.clock.time += 1
    assert scene.deliverer.deliver().sent == 1
    assert scene.store.delivery(notice.id).attempts == 3
    assert scene.carrier.handed == 3


def test_what_was_tried_too_often_waits_for_a_person_who_requeues_it(scene, monkeypatch):
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 3)
    notice = scene.serve()
    scene.carrier.will(*[Result.DEFERRED] * 3, reason="SMTP 450")
    for _ in range(3):
        scene.deliverer.deliver()
        scene.clock.time += module.LONGEST_WAIT
    found = scene.store.delivery(notice.id)
    assert (found.state, found.reason) == (State.DROPPED, "tried_too_often")
    assert scene.deliverer.deliver() == module.DeliverReport()
    assert scene.store.requeue(notice.id, scene.clock.time) == [notice.id]
    assert scene.deliverer.deliver().sent == 1
    with pytest.raises(NoSuchDelivery, match="is sent"):
        scene.store.requeue(notice.id, scene.clock.time)


def test_gate_3_what_a_person_requeued_is_checked_again(scene):
    notice = scene.serve(verified=False)
    assert scene.deliverer.deliver().dropped == {"not_verified": 1}
    scene.store.requeue(notice.id, NOW)
    assert scene.deliverer.deliver().dropped == {"not_verified": 1}
    scene.vault.verify_simulated([(notice.borrower, Channel.EMAIL)])
    scene.store.requeue(notice.id, NOW)
    assert scene.deliverer.deliver().sent == 1


def test_gate_2_what_is_uncertain_or_was_settled_is_never_requeued(scene):
    notice = scene.serve()
    scene.carrier.will(Result.UNKNOWN)
    scene.deliverer.deliver()
    with pytest.raises(NoSuchDelivery, match="is uncertain"):
        scene.store.requeue(notice.id, NOW)
    scene.store.resolve(notice.id, sent=False, now=NOW)
    with pytest.raises(NoSuchDelivery, match="told by a person"):
        scene.store.requeue(notice.id, NOW)
    assert scene.deliverer.deliver() == module.DeliverReport()


class Several(MemoryCarrier):
    """Carries four messages at once."""

    def __init__(self) -> None:
        super().__init__(at_once=4)
        self.waves: list[int] = []

    def send_all(self, messages: Sequence[Message]) -> list[Receipt]:
        self.waves.append(len(messages))
        return super().send_all(messages)


def test_what_goes_at_once_is_claimed_at_once_and_no_more(scene):
    for number in range(1, 12):
        scene.serve(number, verified=number != 2)
    carrier = Several()
    report = scene.worker(scene.store, carrier).deliver()
    assert (report.sent, report.dropped) == (10, {"not_verified": 1})
    assert carrier.waves == [4, 4, 2]


def test_some_notices_are_delivered_and_what_is_in_one_message_with_them(scene):
    alone, other = scene.serve(21), scene.serve(22)
    together = scene.serve_together(1, 2)
    assert scene.deliverer.deliver_some([together[1].id, alone.id]).sent == 3
    assert scene.state(other) is None
    assert scene.deliverer.deliver_some([together[0].id, alone.id]) == module.DeliverReport()


def test_hours_1_a_deferred_notice_is_dropped_when_its_window_is_over(scene):
    notice = scene.serve()
    scene.carrier.will(Result.DEFERRED)
    scene.deliverer.deliver()
    scene.clock.time = moment("2027-01-30 09:00")
    assert scene.deliverer.deliver().dropped == {"window_over": 1}
    assert scene.state(notice) is State.DROPPED
    assert scene.carrier.handed == 1


def test_what_the_server_refuses_is_dropped(scene):
    notice = scene.serve()
    scene.carrier.will(Result.REFUSED, reason="recipient 550")
    assert scene.deliverer.deliver().dropped == {"recipient 550": 1}
    assert scene.state(notice) is State.DROPPED
    assert scene.deliverer.deliver().dropped == {}


def test_gate_2_what_is_uncertain_is_never_sent_again(scene):
    notice = scene.serve()
    scene.carrier.will(Result.UNKNOWN, reason="no answer in time")
    assert scene.deliverer.deliver().uncertain == 1
    for _ in range(3):
        scene.clock.time += 3600
        assert scene.deliverer.deliver() == module.DeliverReport()
    assert scene.carrier.handed == 1
    assert [found.notice for found in scene.store.uncertain()] == [notice]


def test_without_a_mail_server_nothing_is_claimed(scene):
    notices = [scene.serve(number) for number in range(1, 20)]
    scene.carrier.available = False
    report = scene.deliverer.deliver()
    assert (report.sent, report.left) == (0, 19)
    assert report.problem is not None
    assert {scene.state(notice) for notice in notices} == {None}
    scene.carrier.available = True
    assert scene.deliverer.deliver().sent == 19


def test_gate_3_without_the_chain_nothing_is_sent(scene):
    notice = scene.serve()
    scene.chain.down = True
    with pytest.raises(ChainUnavailable):
        scene.deliverer.deliver()
    assert scene.state(notice) is None
    assert scene.carrier.handed == 0


def test_a_worker_that_is_told_to_stop_finishes_what_it_began(scene):
    notices = [scene.serve(number) for number in range(1, 41)]
    report = scene.deliverer.deliver(lambda: len(scene.carrier.sent) == 5)
    assert (report.sent, report.left) == (5, 35)
    assert [scene.state(notice) for notice in notices] == [State.SENT] * 5 + [None] * 35


class Crashing:
    """A channel on whose third message the worker goes down, before or after the send."""

    channel = Channel.EMAIL
    at_once = 1

    def __init__(self, carrier: MemoryCarrier, *, after: bool) -> None:
        self._carrier, self._after = carrier, after

    def ready(self) -> None:
        pass

    def close(self) -> None:
        pass

    def send_all(self, messages: Sequence[Message]) -> list[Receipt]:
        return [self.send(message) for message in messages]

    def send(self, message: Message) -> Receipt:
        third = len(self._carrier.sent) == 2
        if third and not self._after:
            raise KeyboardInterrupt
        receipt = self._carrier.send(message)
        if third:
            raise KeyboardInterrupt
        return receipt


@pytest.mark.parametrize("after", [False, True])
def test_gate_2_an_interrupted_worker_leaves_one_uncertain(scene, after):
    notices = [scene.serve(number) for number in range(1, 6)]
    first = scene.worker(NoticeStore(scene.engine), Crashing(scene.carrier, after=after))
    with pytest.raises(KeyboardInterrupt):
        first.deliver()
    assert scene.deliverer.deliver().sent == 2
    sent = Counter(message.proofs[0].notice for message in scene.carrier.sent)
    assert set(sent.values()) == {1}
    assert len(sent) == (5 if after else 4)
    assert [scene.state(notice) for notice in notices].count(State.SENT) == 4
    assert [found.notice for found in scene.store.uncertain()] == [notices[2]]


class Elsewhere:
    """Another service with the same key and vault, on a copy of the database as it is now."""

    def __init__(self, scene: Scene, file: Path) -> None:
        with sqlite3.connect(scene.engine.url.database) as mine, sqlite3.connect(file) as theirs:
            mine.backup(theirs)
        self.engine = open_engine(f"sqlite:///{file}")
        self.store = NoticeStore(self.engine)
        self.carrier = MemoryCarrier()
        self.deliverer = scene.worker(self.store, self.carrier)


@pytest.fixture
def elsewhere(scene, tmp_path):
    made: list[Elsewhere] = []

    def make() -> Elsewhere:
        made.append(Elsewhere(scene, tmp_path / f"copy-{len(made)}.db"))
        return made[-1]

    yield make
    for each in made:
        each.engine.dispose()


def test_gate_2_of_two_services_with_one_vault_one_sends(scene, elsewhere):
    notices = [scene.serve(number) for number in range(1, 4)] + scene.serve_together(5, 6)
    other = elsewhere()
    scene.store.drop(notices[:1], "late", NOW)
    # Both find everything pending, each in a database of its own, and are at it in turn.
    assert other.deliverer.deliver().sent == 5
    report = scene.deliverer.deliver()
    assert (report.sent, report.dropped) == (0, {"taken_elsewhere": 4})
    assert scene.carrier.handed == 0
    assert scene.state(notices[4]) is State.DROPPED
    # It is no use to insist.
    scene.store.requeue(notices[3].id, NOW)
    assert scene.deliverer.deliver().dropped == {"taken_elsewhere": 2}
    assert scene.deliverer.deliver() == other.deliverer.deliver() == module.DeliverReport()


def test_gate_2_a_database_that_was_restored_sends_nothing_again(scene, elsewhere):
    notice = scene.serve()
    before = elsewhere()
    scene.carrier.will(Result.DEFERRED, reason="450")
    assert scene.deliverer.deliver().deferred == 1
    deferred = elsewhere()
    scene.clock.time += module.FIRST_WAIT
    assert scene.deliverer.deliver().sent == 1
    for copy in (before, deferred):
        assert copy.deliverer.deliver().dropped == {"taken_elsewhere": 1}
        assert copy.store.delivery(notice.id).state is State.DROPPED


def test_gate_2_who_has_a_deferred_notice_keeps_it(scene, elsewhere):
    scene.serve()
    other = elsewhere()
    for _ in range(3):
        scene.carrier.will(Result.DEFERRED, reason="450")
        assert scene.deliverer.deliver().deferred == 1
        assert other.deliverer.deliver().sent == 0
        scene.clock.time += module.LONGEST_WAIT
    assert scene.deliverer.deliver().sent == 1


def test_gate_2_without_the_vault_a_claim_is_tried_again_later(scene, monkeypatch):
    notice = scene.serve()
    with monkeypatch.context() as patch:

        def gone(*_: object) -> None:
            raise VaultError("the vault cannot be used")

        patch.setattr(type(scene.vault), "hand_out", gone)
        with pytest.raises(VaultError):
            scene.deliverer.deliver()
    found = scene.store.delivery(notice.id)
    assert (found.state, found.reason) == (State.DEFERRED, "no_vault")
    assert scene.carrier.handed == 0
    scene.clock.time += module.FIRST_WAIT
    assert scene.deliverer.deliver().sent == 1


@pytest.mark.parametrize("written", [False, True])
def test_gate_2_what_could_not_be_recorded_is_recorded_later(scene, monkeypatch, written):
    """The disk is full when a mail has gone; or what was written was not confirmed."""
    notices = [scene.serve(number) for number in range(1, 4)]
    turn = NoticeStore.turn

    def fails(store: NoticeStore, done: Any, messages: Any, now: int) -> Any:
        if done:
            if written:
                turn(store, done, (), now)
            raise DatabaseError("the disk is full")
        return turn(store, done, messages, now)

    with monkeypatch.context() as patch:
        patch.setattr(NoticeStore, "turn", fails)
        for _ in range(2):
            with pytest.raises(DatabaseError):
                scene.deliverer.deliver()
    # Nothing more is sent while it is known that nothing can be written.
    handed = 2 if written else 1
    assert scene.carrier.handed == handed
    assert [scene.state(notice) for notice in notices].count(State.CLAIMED) == (0 if written else 1)
    scene.clock.time += 60
    scene.deliverer.catch_up()
    assert [scene.state(notice) for notice in notices].count(State.SENT) == handed
    assert scene.deliverer.deliver().sent == 3 - handed
    assert {scene.state(notice) for notice in notices} == {State.SENT}
    assert set(Counter(message.proofs[0].notice for message in scene.carrier.sent).values()) == {1}
    # When it was sent, not when it could be written.
    assert [scene.store.delivery(notice.id).at for notice in notices].count(NOW) == handed


@pytest.mark.parametrize("written", [False, True])
def test_gate_2_a_claim_that_was_not_confirmed_is_let_go(scene, monkeypatch, written):
    """The database dies while it writes claims: whether it did, nobody is told. Nothing was sent."""
    notices = [scene.serve(number) for number in range(1, 4)]
    turn = NoticeStore.turn

    def fails(store: NoticeStore, done: Any, messages: Any, now: int) -> Any:
        if written:
            turn(store, done, messages, now)
        raise DatabaseError("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(NoticeStore, "turn", fails)
        with pytest.raises(DatabaseError):
            scene.deliverer.deliver()
    assert scene.carrier.handed == 0
    assert [scene.state(notice) for notice in notices].count(State.CLAIMED) == (1 if written else 0)
    # The same worker goes on living.
    assert scene.deliverer.deliver().sent == 3
    assert {scene.state(notice) for notice in notices} == {State.SENT}
    assert set(Counter(message.proofs[0].notice for message in scene.carrier.sent).values()) == {1}


def test_borrower_2_an_address_that_changed_since_the_check_gets_nothing(scene, monkeypatch):
    notice = scene.serve()
    hand_out = type(scene.vault).hand_out

    def late(vault: Vault, messages: Any) -> Any:
        vault.add(notice.borrower, Channel.EMAIL, "other@example.org")
        return hand_out(vault, messages)

    monkeypatch.setattr(type(scene.vault), "hand_out", late)
    assert scene.deliverer.deliver().dropped == {"other_address": 1}
    assert scene.carrier.handed == 0


def test_gate_2_two_workers_at_once_send_each_notice_once(scene):
    for number in range(1, 31):
        scene.serve(number)
    other = scene.worker(NoticeStore(scene.engine))

    class Interleaving(MemoryCarrier):
        """Lets the other worker have its turn in the midst of every send."""

        def send(self, message: Message) -> Receipt:
            other.deliver(lambda: len(scene.carrier.sent) % 3 == 2)
            return scene.carrier.send(message)

    report = scene.worker(NoticeStore(scene.engine), Interleaving()).deliver()
    assert len(scene.carrier.sent) == 30
    assert {*Counter(message.proofs[0].notice for message in scene.carrier.sent).values()} == {1}
    assert report.sent < 30
    assert scene.store.counts() == {State.SENT: 30}


def test_priv_1_nothing_of_a_person_is_logged_or_told(scene, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    for number in range(1, 8):
        scene.serve(number)
    scene.carrier.will(Result.SENT, Result.DEFERRED, Result.REFUSED, Result.UNKNOWN)
    scene.vault.erase(borrower(7))
    report = scene.deliverer.deliver()
    with writing(scene.engine) as connection:
        rows = connection.exec_driver_sql("SELECT * FROM deliveries").all()
    told = (
        f"{report}{report.as_json()}{rows}{caplog.text}{''.join(capfd.readouterr())}{scene.carrier.sent[0]!r}"
    )
    assert "example.org" not in told
    assert scene.carrier.sent[0].subject not in told
    assert scene.carrier.sent[0].body not in told


def test_a_notice_is_what_the_gate_is_asked_about(scene):
    served = scene.serve()
    assert served.notice == Notice(
        served.loan, Kind.DUE_TODAY, 1, served.amount, Channel.EMAIL, served.content_hash
    )


# ------------------------------------------------------------------------------------- several in one message


def test_reminders_in_one_message_are_sent_once_with_a_proof_of_each(scene):
    alone = scene.serve(7)
    notices = scene.serve_together(1, 1, 2)
    report = scene.deliverer.deliver()
    assert (report.sent, report.messages) == (4, 2)
    first, message = scene.carrier.sent
    assert first.proofs[0].notice == alone.id
    assert message.address == "anna@example.org"
    assert [proof.notice for proof in message.proofs] == [notice.id for notice in notices]
    content = scene.store.content(notices[0].content_hash)
    for proof, notice in zip(message.proofs, notices, strict=True):
        assert proves(content, proof.salt, notice.content_hash)
        assert "0x" + notice.id.hex() in message.body
    # One address, one salt and hash; two addresses cannot be linked by theirs.
    assert len({proof.salt for proof in message.proofs}) == 2
    assert len({notice.content_hash for notice in notices}) == 2
    assert notices[0].content_hash == notices[1].content_hash
    assert {scene.state(notice) for notice in notices} == {State.SENT}
    assert scene.deliverer.deliver().sent == 0
    # Each of the addresses was read once.
    assert [entry.borrower for entry in scene.vault.log() if entry.purpose == "delivery"] == [
        alone.borrower, borrower(1), borrower(2),
    ]  # fmt: skip


def test_gate_1_a_message_of_which_one_notice_was_not_let_through_is_not_sent(scene):
    notices = scene.serve_together(1, 1, 2, served=2)
    assert scene.deliverer.deliver().dropped == {"incomplete": 2}
    assert [scene.state(notice) for notice in notices] == [State.DROPPED, State.DROPPED, None]
    # Nor when it is let through later on: what it says of the others was dropped.
    scene.put(notices[2], 60)
    assert scene.deliverer.deliver().dropped == {"incomplete": 1}
    assert scene.carrier.handed == 0


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    "reason", [Refusal.WRONG_AMOUNT, Refusal.NO_BASIS, Refusal.RESTING, Refusal.NO_CONSENT]
)
def test_gate_3_a_message_of_which_one_notice_does_not_stand_is_not_sent(scene, number, reason):
    notices = scene.serve_together(1, 1, 2)
    scene.chain.decisions[notices[number].loan] = Decision(reason)
    assert scene.deliverer.deliver().dropped == {reason.name.lower(): 3}
    assert {scene.state(notice) for notice in notices} == {State.DROPPED}
    assert scene.carrier.handed == 0


def test_borrower_2_a_message_to_two_addresses_needs_both_proved_and_in_one_place(scene):
    notices = scene.serve_together(1, 1, 2)
    scene.chain.commitments[borrower(2)] = b"\x01" * 32
    assert scene.deliverer.deliver().dropped == {"other_address": 3}
    assert {scene.state(notice) for notice in notices} == {State.DROPPED}


def test_borrower_2_a_message_is_not_sent_where_the_person_moved_with_one_address_alone(scene):
    scene.serve_together(1, 1, 2)
    scene.vault.add(borrower(2), Channel.EMAIL, "moved@example.org")
    scene.vault.verify_simulated([(borrower(2), Channel.EMAIL)])
    assert scene.deliverer.deliver().dropped == {"other_address": 3}
    assert scene.carrier.handed == 0


def test_priv_1_a_message_is_not_sent_to_who_was_erased_in_part(scene):
    scene.serve_together(1, 1, 2)
    scene.vault.erase(borrower(2))
    assert scene.deliverer.deliver().dropped == {"no_address": 3}


@pytest.mark.parametrize("after", [False, True])
def test_gate_2_a_message_whose_worker_died_is_uncertain_as_a_whole(scene, after):
    for number in (7, 8):
        scene.serve(number)
    notices = scene.serve_together(1, 1, 2)
    first = scene.worker(NoticeStore(scene.engine), Crashing(scene.carrier, after=after))
    with pytest.raises(KeyboardInterrupt):
        first.deliver()
    assert scene.deliverer.deliver() == module.DeliverReport()
    assert {found.notice for found in scene.store.uncertain()} == set(notices)
    assert len(scene.carrier.sent) == (3 if after else 2)


def test_a_deferred_message_is_tried_again_as_a_whole(scene):
    scene.serve_together(1, 1, 2)
    scene.carrier.will(Result.DEFERRED, reason="SMTP 450")
    assert scene.deliverer.deliver().deferred == 3
    scene.clock.time += 60
    report = scene.deliverer.deliver()
    assert (report.sent, report.messages) == (3, 1)
