"""Serving, with a gate that says what it is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from scene import LENDER, Case, a_loan, borrower, moment

from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.events import Event, NoticeServed
from duly.domain.notice import Decision, Kind, Notice, Refusal
from duly.services import serve as module
from duly.services.plan import Planned, companions, plan
from duly.services.policy import load_pack
from duly.services.render import Place, Text, templates_hash
from duly.services.serve import NOT_VERIFIED, Server, salt_purpose
from duly.store.database import open_engine
from duly.store.migrations import SERVICE
from duly.store.notices import NoticeStore
from duly.store.vault import MasterKey, Vault

PLACE = Place("TUSD", 2, 31337, "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20)
NOW = moment("2027-02-09 12:00")
PACK = load_pack("STRICT")


@dataclass
class Gate:
    """Lets everything through but what it is told to refuse; keeps the batches."""

    refuses: dict[bytes, Refusal] = field(default_factory=dict)
    batches: list[list[Notice]] = field(default_factory=list)
    borrowers: dict[bytes, str] = field(default_factory=dict)
    ids: dict[bytes, bytes] = field(default_factory=dict)
    address: str = LENDER

    def refusals(self, notices: list[Notice], server: str) -> list[Decision]:
        assert server == LENDER
        return [Decision(self.refuses.get(each.loan, Refusal.NONE)) for each in notices]

    def serve_many(self, notices: list[Notice]) -> list[Notice]:
        return notices

    def send(self, batch: list[Notice]) -> Any:
        self.batches.append(batch)
        return SimpleNamespace(
            logs=[self._event(each) for each in batch],
            transaction=bytes(32),
            block=1,
            gas_used=40_000 * len(batch),
            gas_price=7,
        )

    def _event(self, notice: Notice) -> Event:
        told = notice.kind, notice.instalment, notice.amount, notice.channel
        return NoticeServed(
            self.ids[notice.loan], notice.loan, LENDER, self.borrowers[notice.loan], *told, 1, 0,
            notice.content_hash,
        )  # fmt: skip

    @property
    def notices(self) -> Gate:
        return self


class Scene:
    """A server, and everything around it."""

    def __init__(self, path: Any) -> None:
        engine = open_engine(f"sqlite:///{path}")
        SERVICE.prepare(engine)
        self.vault = Vault.open("sqlite://", MasterKey.from_text("5a" * 32))
        self.store = NoticeStore(engine)
        self.gate = Gate()
        model = SimpleNamespace(
            policy=lambda number: SimpleNamespace(templates=templates_hash(), pack=PACK.pack_hash),
            commitment=lambda who, channel: self.vault.commitment(who, channel),
        )
        self.server = Server(self.gate, self.gate, model, self.store, self.vault, PLACE)  # type: ignore[arg-type]

    def plan(self, *loans: tuple[int, int], first_due: dict[int, str] | None = None) -> list[Planned]:
        """What is to be said now about one person's loans, each given by its number and its borrower's."""
        cases, persons = [], {}
        for number, owner in loans:
            who = borrower(owner)
            self.vault.add(who, Channel.EMAIL, "anna@example.org", language="zh")
            self.vault.verify_simulated([(who, Channel.EMAIL)])
            loan = a_loan((first_due or {}).get(number, "2027-01-29"), number=number)
            loan = replace(loan, terms=replace(loan.terms, borrower=who))
            cases.append(Case(loan=loan))
            persons[who] = b"anna"
            self.gate.borrowers[loan.id] = who
        together = companions(self.vault.reached(Channel.EMAIL), lambda policy: b"")
        found = plan(cases, LENDER, NOW, persons, together=together, waiting=False)
        self.gate.ids |= {each.loan.id: each.id for each in found}
        return found


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "events_of", lambda logs: logs)
    scene = Scene(tmp_path / "duly.db")
    yield scene
    scene.vault.close()


def test_cap_1_the_gate_gets_a_message_address_by_address_in_the_order_of_loans(scene):
    found = scene.plan((5, 2), (4, 1), (1, 1), (3, 2), (2, 1))
    assert len({each.message for each in found}) == 1
    report = scene.server.serve(found, NOW)
    assert len(report.served) == 5
    [batch] = scene.gate.batches
    assert [int.from_bytes(each.loan, "big") for each in batch] == [1, 2, 4, 3, 5]
    # One hash for each address: two would be two messages, and one for both would link them.
    assert [each.content_hash for each in batch] == [batch[0].content_hash] * 3 + [batch[3].content_hash] * 2
    assert batch[0].content_hash != batch[3].content_hash


def test_priv_1_each_address_has_the_words_under_a_salt_of_its_own(scene):
    found = scene.plan((1, 1), (2, 1), (3, 2))
    scene.server.serve(found, NOW)
    [batch] = scene.gate.batches
    first, second = (scene.store.content(batch[number].content_hash) for number in (0, 2))
    assert (first.subject, first.body, first.language) == (second.subject, second.body, "zh")
    assert first.notices == second.notices
    assert {each.notice for each in first.notices} == {each.id for each in found}
    for content, who in ((first, borrower(1)), (second, borrower(2))):
        salt = scene.vault.salt_for(who, salt_purpose(content.of.notice))
        assert Text(content.subject, content.body).content_hash(salt) == content.content_hash
    assert [content.of.loan[-1] for content in (first, second)] == [1, 3]


def test_of_several_loans_the_one_that_fell_due_first_is_told_of_first(scene):
    due = {1: "2027-02-10", 2: "2027-01-29", 3: "2027-02-09", 4: "2027-01-28"}
    found = scene.plan(*((number, 1) for number in due), first_due=due)
    kinds = {each.loan.id[-1]: each.kind for each in found}
    assert kinds == {
        1: Kind.INSTALMENT_UPCOMING, 2: Kind.OVERDUE, 3: Kind.DUE_TODAY, 4: Kind.OVERDUE,
    }  # fmt: skip
    scene.server.serve(found, NOW)
    content = scene.store.content(scene.gate.batches[0][0].content_hash)
    assert [each.loan[-1] for each in content.notices] == [4, 2, 3, 1]
    codes = [content.body.index("0x" + each.notice.hex()) for each in content.notices]
    assert codes == sorted(codes)


def test_what_the_gate_would_refuse_is_left_out_of_the_message(scene):
    found = scene.plan((1, 1), (2, 1), (3, 2))
    scene.gate.refuses[found[1].loan.id] = Refusal.WRONG_AMOUNT
    report = scene.server.serve(found, NOW)
    assert report.refused == Counter({Refusal.WRONG_AMOUNT: 1})
    [batch] = scene.gate.batches
    assert [each.loan[-1] for each in batch] == [1, 3]
    content = scene.store.content(batch[0].content_hash)
    assert [each.notice for each in content.notices] == [found[0].id, found[2].id]
    assert "0x" + found[1].id.hex() not in content.body


def test_what_cannot_be_delivered_is_left_out_of_the_message(scene):
    found = scene.plan((1, 1), (3, 2))
    scene.vault.add(borrower(2), Channel.EMAIL, "new@example.org")
    report = scene.server.serve(found, NOW)
    assert report.skipped == Counter({NOT_VERIFIED: 1})
    [[notice]] = scene.gate.batches
    content = scene.store.content(notice.content_hash)
    # Alone it has the words of its kind.
    assert content.message is None
    assert content.body.count("通知码") == 2


def test_a_message_is_never_divided_over_two_batches(scene, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 5)
    found = scene.plan((1, 1), (2, 1), (3, 1))
    later = [replace(each, loan=replace(each.loan, id=b"\1" + each.loan.id[1:])) for each in found]
    later = [replace(each, message=later[0].id) for each in later]
    for each in later:
        scene.gate.borrowers[each.loan.id], scene.gate.ids[each.loan.id] = each.borrower, each.id
    # What belongs together need not stand together.
    mixed = [each for pair in zip(found, later, strict=True) for each in pair]
    report = scene.server.serve(mixed, NOW)
    assert len(report.served) == 6
    assert [[each.loan[0] for each in batch] for batch in scene.gate.batches] == [[0, 0, 0], [1, 1, 1]]


def test_cap_1_what_was_let_through_is_known_as_one_message_until_it_is_indexed(scene):
    scene.server.serve(scene.plan((1, 1), (2, 1), (3, 2)), NOW)
    handed = scene.store.handed(NOW + DAY // 24)
    assert len(handed) == 3
    assert len({(each.borrower, each.content_hash) for each in handed}) == 2
