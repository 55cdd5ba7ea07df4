"""Leases: one holder at a time, and who has one need not ask for it again."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from duly.store import leases as module
from duly.store.database import open_engine
from duly.store.leases import SECONDS, Leases


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def test_one_has_it_until_it_is_given_up(engine: Engine) -> None:
    one, other = Leases(engine, "elsewhere:1:a"), Leases(engine, "elsewhere:2:b")
    assert one.take("index")
    assert not other.take("index")
    assert (one.holds("index"), other.holds("index")) == (True, False)
    assert other.holder_of("index") == "elsewhere:1:a"
    one.give_up()
    assert not one.holds("index")
    assert other.take("index")


def test_who_was_held_up_for_too_long_does_not_count_on_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, moment = Leases(engine, "elsewhere:1:a"), 1_000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: moment)
    assert one.take("index")
    moment += SECONDS - 1
    assert one.holds("index")
    one.renew()
    moment += SECONDS - 1
    assert one.holds("index")
    moment += 1
    assert not one.holds("index")
