"""How long it takes from an event on the chain to the mail in the borrower's mailbox.

    report = bench_latency(processes, seconds=60, rate=20)

On an Anvil of its own, borrowers pay, so many a second; a block is mined every second. The service runs in
processes of its own as an operator starts it, woken by the node's websocket, and acts on the latest block: it
reads the payment, plans, serves the notice by a transaction that the next block takes, reads that, and hands
the mail to a mail server, which writes down when it came. On SQLite one process does it all; on PostgreSQL
one reads, plans and serves, and another delivers.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from duly.domain.errors import DulyError
from duly.domain.notice import Kind
from duly.services.bench import check_empty, drop_tables, postgresql
from duly.services.chaos import check
from duly.services.chaos.scene import Borrower, Process, Processes, Scene, ServiceFailed, open_scene
from duly.services.machine import machine

MEDIAN_BAR: Final = 2.5
"""Seconds within which half of all mails have to come."""
P99_BAR: Final = 5.0
"""Seconds within which 99 of 100 have to come."""
LABELS: Final = {"sqlite": "SQLite, one process", "postgresql": "PostgreSQL, two processes"}

_PROCESSES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "sqlite": (("run", "--json"),),
    "postgresql": (
        ("run", "--json", "--role", "index,plan,serve"),
        ("run", "--json", "--role", "deliver"),
    ),
}
_BLOCK: Final = 1.0
_READY_WITHIN: Final = 300.0
_ARRIVES_WITHIN: Final = 60
"""Blocks after the last payment."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


class LatencyFailed(DulyError):
    """What was to be measured did not happen."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Of one payment, in seconds from its block on: until the block with its notice, and until its mail."""

    served: float
    arrived: float


@dataclass(frozen=True, slots=True)
class Latency:
    """What was measured on a database. lost: payments of which no mail told."""

    database: str
    waits: tuple[Wait, ...]
    lost: int

    def within(self, share: float, of: Callable[[Wait], float] = lambda wait: wait.arrived) -> float:
        """The seconds within which such a share of all came (nearest rank)."""
        ordered = sorted(map(of, self.waits))
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf

    @property
    def missed(self) -> bool:
        """Slower than it has to be, or not everybody was told."""
        return self.lost > 0 or self.within(0.5) > MEDIAN_BAR or self.within(0.99) > P99_BAR


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """What was measured: so many payments in each second, for so many seconds."""

    rate: int
    seconds: int
    machine: str
    measured: tuple[Latency, ...]

    @property
    def missed(self) -> list[str]:
        """The databases on which it was slower than it has to be."""
        return [each.database for each in self.measured if each.missed]

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "machine": self.machine,
            "rate": self.rate,
            "seconds": self.seconds,
            "block_seconds": _BLOCK,
            "median_at_most": MEDIAN_BAR,
            "p99_at_most": P99_BAR,
            "databases": {
                each.database: {
                    "events": len(each.waits) + each.lost,
                    "lost": each.lost,
                    "mail": _percentiles(each, lambda wait: wait.arrived),
                    "notice_on_chain": _percentiles(each, lambda wait: wait.served),
                }
                for each in self.measured
            },
            "missed": self.missed,
        }


def _percentiles(latency: Latency, of: Callable[[Wait], float]) -> dict[str, float | None]:
    if not latency.waits:
        return dict.fromkeys(("median", "p90", "p99", "longest"))
    shares = {"median": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}
    return {name: round(latency.within(share, of), 3) for name, share in shares.items()}


def bench_latency(
    processes: Processes,
    seconds: int = 60,
    rate: int = 20,
    server: str | None = None,
    progress: Progress = lambda text, done, of: None,
) -> LatencyReport:
    """Measure on both databases.

    server: the address of an empty database on PostgreSQL; by default a server is started for it.

    Raises: ChainUnavailable, DatabaseError, InvalidInput, LatencyFailed, ServiceFailed.
    """
    with ExitStack() as stack:
        url = stack.enter_context(postgresql())("postgres") if server is None else server
        check_empty(url)
        measured = (
            _measure(processes, "sqlite", None, seconds, rate, progress),
            _measure(processes, "postgresql", url, seconds, rate, progress),
        )
        if server is not None:
            drop_tables(server)
    return LatencyReport(rate, seconds, machine(), measured)


def _measure(
    processes: Processes, name: str, database: str | None, seconds: int, rate: int, progress: Progress
) -> Latency:
    with (
        tempfile.TemporaryDirectory(prefix="duly-latency-") as folder,
        open_scene(processes, Path(folder), 1, database=database) as scene,
    ):
        count = seconds * rate
        progress(f"{LABELS[name]}: lending", 0, count)
        borrowers: list[Borrower] = []
        while len(borrowers) < count:
            # A borrower is told of so much a day and no more: each pays once.
            borrowers += scene.lend(min(100, count - len(borrowers)))
            progress(f"{LABELS[name]}: lending", len(borrowers), count)
        with _running(scene, _PROCESSES[name]) as started:
            _ready(scene, started, lambda done: progress(f"{LABELS[name]}: opening", done, count))
            paid, mined = _pay(
                scene, borrowers, rate, lambda done: progress(f"{LABELS[name]}: paying", done, count)
            )
        return _compare(scene, name, paid, mined)


@contextmanager
def _running(scene: Scene, commands: Sequence[Sequence[str]]) -> Iterator[list[Process]]:
    environment = {"DULY_RPC": scene.url, "DULY_RPC_WS": scene.url.replace("http", "ws", 1)}
    with ExitStack() as stack:
        yield [stack.enter_context(scene.running(*command, environment=environment)) for command in commands]


def _ready(scene: Scene, started: Sequence[Process], told: Callable[[int], None]) -> None:
    """Wait until everybody was told that their loan is open."""
    end = time.monotonic() + _READY_WITHIN
    while not check.settled(scene):
        told(len(scene.mail.mails()))
        if time.monotonic() > end or not all(each.running for each in started):
            raise ServiceFailed("the service did not get ready", remedy=scene.last_words())
        time.sleep(0.5)


def _pay(
    scene: Scene, borrowers: Sequence[Borrower], rate: int, told: Callable[[int], None]
) -> tuple[dict[bytes, Borrower], dict[int, float]]:
    """Payments, by their transactions; and when each block was mined, by its number."""
    ask, paid, mined = scene.stage.ask, {}, {}
    before = len(scene.mail.mails())
    ask("evm_setAutomine", False)
    block = int(ask("eth_blockNumber"), 16)
    tick = time.monotonic()

    def mine() -> None:
        nonlocal block, tick
        tick += _BLOCK
        time.sleep(max(0.0, tick - time.monotonic()))
        block += 1
        mined[block] = time.time()
        ask("evm_mine")

    for first in range(0, len(borrowers), rate):
        for one in borrowers[first : first + rate]:
            paid[scene.act(scene.contracts.ledger.repay(one.loan, scene.dice.randrange(1, 50)))] = one
        mine()
        told(first + rate)
    for _ in range(_ARRIVES_WITHIN):
        if len(scene.mail.mails()) - before >= len(paid):
            break
        mine()
    ask("evm_setAutomine", True)
    return paid, mined


def _compare(scene: Scene, name: str, paid: dict[bytes, Borrower], mined: dict[int, float]) -> Latency:
    arrived = {notice: mail.at for mail in scene.mail.mails() for notice in mail.notices}
    truth = check.rebuilt(scene)
    told = {
        each.loan: each
        for each in truth.notices()
        if each.kind is Kind.PAYMENT_RECEIVED and each.id in arrived and each.block_number in mined
    }
    truth.engine.dispose()
    waits: list[Wait] = []
    for transaction, one in paid.items():
        receipt = scene.stage.ask("eth_getTransactionReceipt", "0x" + transaction.hex())
        if receipt is None or int(receipt["status"], 16) != 1:
            raise LatencyFailed("a payment was refused, or not mined")
        if notice := told.get(one.loan):
            at = mined[int(receipt["blockNumber"], 16)]
            waits.append(Wait(mined[notice.block_number] - at, arrived[notice.id] - at))
    return Latency(name, tuple(waits), len(paid) - len(waits))
