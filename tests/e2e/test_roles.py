"""Several processes on one database: each with its roles, some of them killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable

from stage import DeadlyInbox, Stage

from duly.services import run
from duly.store.notices import State


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def stopped(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process said, once it was told to stop."""
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert "Traceback" not in error
    assert "example.org" not in out + error
    return out, error


def test_gate_2_workers_are_killed_and_others_take_over(stage: Stage) -> None:
    stage.lend(25)
    stage.app.indexer.run()
    served = set(run.serve(stage.app, stage.app.clock.now()).served)
    stage.mailbox.close()
    with DeadlyInbox(stage.mailbox, random.Random(3)) as inbox:
        reader = stage.start("run", "--role", "index")
        for _ in range(2):
            inbox.kill(stage.start("run", "--role", "deliver"))
        last = stage.start("run", "--role", "deliver")
        store = stage.app.notice_store
        until(lambda: {each.notice.id for each in store.deliveries()} == served)
        until(lambda: not store.deliveries(states=[State.CLAIMED]))
        stopped(last)
        stopped(reader)
    mails = stage.mailbox.notices()
    assert set(mails.values()) == {1}
    assert mails.keys() <= served
    unsure = {each.notice.id for each in store.uncertain()}
    # One for each that was killed: with one connection a worker is at one message at a time.
    assert len(unsure) == 2
    assert {each.notice.id for each in store.deliveries(states=[State.SENT])} == served - unsure
    assert served - unsure <= mails.keys()


def test_roles_of_their_own_do_together_what_one_process_does(stage: Stage) -> None:
    roles = [stage.start("run", "--role", role) for role in ("index", "plan", "serve", "deliver")]
    stage.lend(2)
    until(lambda: stage.mailbox.count() > 2 and len(stage.mailbox.mails()) == 2)
    for process in roles:
        stopped(process)


def test_a_second_service_waits_and_takes_over(stage: Stage) -> None:
    stage.lend(1)
    first = stage.start("run")
    until(lambda: len(stage.mailbox.mails()) == 1)
    second = stage.start("run")
    assert second.stderr is not None
    told = iter(second.stderr.readline, "")
    waiting = next(line for line in map(json.loads, told) if line["event"] == "waiting")
    assert waiting["role"] == "index"
    process = stage.start("run", "--once")
    assert "does index on this database" in process.communicate(timeout=60)[1]
    assert process.returncode == 1
    first.kill()
    first.communicate()
    stage.lend(1)
    until(lambda: len(stage.mailbox.mails()) == 2)
    stopped(second)
    assert set(stage.mailbox.notices().values()) == {1}


def test_what_was_dropped_is_listed_and_requeued(stage: Stage) -> None:
    (borrower,) = stage.lend(1)
    stage.app.indexer.run()
    (notice,) = run.serve(stage.app, stage.app.clock.now()).served
    carriers, stage.app.carriers = stage.app.carriers, {}
    stage.app.indexer.run()
    assert stage.app.deliverer.deliver().dropped == {"no_carrier": 1}
    stage.app.carriers = carriers
    listed = stage.duly("deliver", "list")
    assert [(each["notice"], each["reason"]) for each in listed["dropped"]] == [
        ("0x" + notice.hex(), "no_carrier")
    ]
    process = stage.start("deliver", "requeue", notice.hex()[:12])
    assert "will be tried again" in process.communicate(timeout=60)[0]
    assert stage.duly("deliver")["sent"] == 1
    assert borrower.address in {mail["To"] for mail in stage.mailbox.mails()}
    process = stage.start("deliver", "requeue", notice.hex()[:12])
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "is sent" in error
