"""Leases: one holder at a time, until it gives up, ends or dies; who has one need not ask for it again."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, update

from duly.store import leases as module
from duly.store.database import open_engine, writing
from duly.store.leases import SECONDS, Leases, is_gone, leases_table

HERE = f"{platform.node()}:{os.getpid()}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def test_one_has_it_until_it_is_given_up(engine: Engine) -> None:
    one, other = Leases(engine, "elsewhere:1:a"), Leases(engine, "elsewhere:2:b")
    assert one.take("index")
    assert one.take("index")
    assert not other.take("index")
    assert other.take("serve")
    assert (one.holds("index"), other.holds("index")) == (True, False)
    assert other.holder_of("index") == "elsewhere:1:a"
    assert one.living() == {"elsewhere:1:a", "elsewhere:2:b"}
    one.give_up()
    assert not one.holds("index")
    assert other.holder_of("index") is None
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


def test_what_was_not_renewed_goes_to_the_next_and_is_found_lost(engine: Engine) -> None:
    one, other = Leases(engine, "elsewhere:1:a"), Leases(engine, "elsewhere:2:b")
    assert one.take("index")
    with writing(engine) as connection:
        connection.execute(update(leases_table).values(until=1.0))
    assert other.take("index")
    one.renew()
    assert not one.holds("index")
    assert other.living() == {"elsewhere:2:b"}


def test_what_a_dead_process_of_this_machine_held_is_free_at_once(engine: Engine) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = Leases(engine, f"{platform.node()}:{process.pid}:a")
    assert is_gone(dead.holder)
    assert dead.take("index")
    living = Leases(engine, f"{HERE}:b")
    assert living.holder_of("index") is None
    assert living.take("index")


def test_of_another_machine_nobody_knows() -> None:
    assert not is_gone("elsewhere:999999999:a")
    assert not is_gone(f"{HERE}:a")
