"""Whose turn is which nonce, in memory and in a database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from duly.chain.outbox import MemoryOutbox, Outbox
from duly.store.database import open_engine
from duly.store.outgoing import REMEMBERED, Outgoing

ME, OTHER = "0x" + "aa" * 20, "0x" + "bb" * 20
CHAIN = bytes(31) + b"\x01"


@pytest.fixture(params=["memory", "database"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Outbox:
    if request.param == "memory":
        return MemoryOutbox()
    return Outgoing(open_engine(f"sqlite:///{tmp_path / 'duly.db'}"), CHAIN)


def keep(outbox: Outbox, lowest: int, text: str = "raw") -> int:
    nonce, token = outbox.take(ME, lowest, 60)
    assert outbox.keep(ME, nonce, token, "something", text.encode(), text.encode())
    return nonce


def test_everyone_gets_a_nonce_of_their_own(outbox: Outbox) -> None:
    assert [outbox.take(ME, 7, 60)[0] for _ in range(3)] == [7, 8, 9]
    assert outbox.take(OTHER, 7, 60)[0] == 7
    # What others sent beside the outbox is passed over.
    assert outbox.take(ME, 20, 60)[0] == 20


def test_a_nonce_that_was_given_back_is_the_next(outbox: Outbox) -> None:
    (_, first), (second, _) = outbox.take(ME, 0, 60), outbox.take(ME, 0, 60)
    outbox.give_back(ME, 0, first)
    assert outbox.take(ME, 0, 60)[0] == 0
    assert outbox.take(ME, 0, 60)[0] == second + 1
    # Only who has it gives it back.
    outbox.give_back(ME, 0, first)
    assert outbox.take(ME, 0, 60)[0] == second + 2


def test_who_took_too_long_has_lost_the_nonce(outbox: Outbox) -> None:
    nonce, late = outbox.take(ME, 3, -5)
    again, token = outbox.take(ME, 3, 60)
    assert again == nonce
    assert not outbox.keep(ME, nonce, late, "late", b"l", b"l")
    outbox.give_back(ME, nonce, late)
    assert outbox.keep(ME, nonce, token, "in time", b"t", b"t")
    assert [each.what for each in outbox.attempts(ME, nonce)] == ["in time"]


def test_what_is_kept_is_never_given_to_another(outbox: Outbox) -> None:
    nonce, token = outbox.take(ME, 0, -5)
    assert outbox.keep(ME, nonce, token, "something", b"r", b"h")
    assert outbox.take(ME, 0, 60)[0] == 1


def test_one_replacement_at_a_time(outbox: Outbox) -> None:
    nonce = keep(outbox, 0)
    [first] = outbox.attempts(ME, nonce)
    assert outbox.replace(ME, first, b"dearer", b"d")
    assert not outbox.replace(ME, first, b"dearer still", b"s")
    found = outbox.attempts(ME, nonce)
    assert [(each.number, each.raw, each.what) for each in found] == [
        (0, b"raw", "something"), (1, b"dearer", "something"),
    ]  # fmt: skip
    outbox.settle(ME, nonce, 12)
    assert not outbox.replace(ME, found[-1], b"too late", b"t")


def test_what_is_mined_is_settled(outbox: Outbox) -> None:
    for n in range(3):
        keep(outbox, 0, str(n))
    outbox.take(ME, 0, 60)
    assert list(outbox.unsettled(ME, 0)) == [0, 1, 2]
    outbox.settle(ME, 1, 12)
    assert list(outbox.unsettled(ME, 2)) == [0, 2]
    assert list(outbox.unsettled(OTHER, 0)) == []


@pytest.fixture
def database(tmp_path: Path) -> Callable[[bytes], Outgoing]:
    engine = open_engine(f"sqlite:///{tmp_path / 'duly.db'}")
    return lambda chain: Outgoing(engine, chain)


def test_what_a_reorganisation_took_back_is_not_settled(database: Callable[[bytes], Outgoing]) -> None:
    outbox = database(CHAIN)
    for _ in range(3):
        outbox.settle(ME, keep(outbox, 0), 12)
    assert list(outbox.unsettled(ME, 3)) == []
    assert list(outbox.unsettled(ME, 1)) == [1, 2]
    # They keep their places meanwhile.
    assert outbox.take(ME, 1, 60)[0] == 3


def test_what_was_mined_long_ago_is_forgotten(database: Callable[[bytes], Outgoing]) -> None:
    outbox = database(CHAIN)
    outbox.settle(ME, keep(outbox, 0), 100)
    last = keep(outbox, 0)
    outbox.settle(ME, last, 100 + REMEMBERED)
    assert outbox.attempts(ME, 0)
    outbox.settle(ME, last, 101 + REMEMBERED)
    assert not outbox.attempts(ME, 0)
    assert outbox.attempts(ME, last)


def test_another_chain_has_its_own(database: Callable[[bytes], Outgoing]) -> None:
    assert keep(database(CHAIN), 0) == 0
    assert database(bytes(32)).take(ME, 0, 60)[0] == 0
    # Another process sees the same.
    assert database(CHAIN).take(ME, 0, 60)[0] == 1
