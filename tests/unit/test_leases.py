"""Leases: one holder at a time, until it gives up, ends or dies."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from duly.store.database import open_engine, writing
from duly.store.leases import Leases, is_gone, leases_table

HERE = f"{platform.node()}:{os.getpid()}"


@pytest.fixture
def engine(tmp_path: Path):
    engine = open_engine(f"sqlite:///{tmp_path / 'duly.db'}")
    yield engine
    engine.dispose()


def test_one_holds_a_lease_until_it_gives_it_up(engine):
    one, other = Leases(engine, f"{HERE}:a"), Leases(engine, f"{HERE}:b")
    assert one.take("index")
    assert one.take("index")
    assert not other.take("index")
    assert other.take("serve")
    assert (one.holds("index"), other.holds("index")) == (True, False)
    assert other.holder_of("index") == one.holder
    assert one.living() == {one.holder, other.holder}
    one.give_up()
    assert other.holder_of("index") is None
    assert other.take("index")
    assert not one.holds("index")


def test_a_lease_that_was_not_renewed_goes_to_the_next_and_is_found_lost(engine):
    one, other = Leases(engine, "elsewhere:1:a"), Leases(engine, "elsewhere:2:b")
    assert one.take("index")
    with writing(engine) as connection:
        connection.execute(update(leases_table).values(until=1.0))
    assert other.take("index")
    assert one.holds("index")
    one.renew()
    assert not one.holds("index")
    assert other.living() == {other.holder}


def test_what_a_dead_process_of_this_machine_held_is_free_at_once(engine):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = Leases(engine, f"{platform.node()}:{process.pid}:a")
    assert is_gone(dead.holder)
    assert dead.take("index")
    living = Leases(engine, f"{HERE}:b")
    assert living.holder_of("index") is None
    assert living.take("index")


def test_of_another_machine_nobody_knows():
    assert not is_gone("elsewhere:999999999:a")
    assert not is_gone(f"{HERE}:a")
