"""Reads the chain into the read model: from where it stopped, as far as blocks are final.

Where the chain changed its mind since, what it took back is undone first. Only block hashes tell: the number
of the head can be the same, lower or higher on another branch.
"""

import gc
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from web3 import Web3

from duly.chain import deployments, networks
from duly.chain.deployments import Deployment
from duly.chain.errors import WrongChain, explained
from duly.chain.logs import LogReader, Reorganised
from duly.domain.events import Block, Logged
from duly.services import telemetry
from duly.store.readmodel import Identity, ReadModel

_BRANCHES: Final = 20

Progress = Callable[[int, int, int], None]
"""Is told the block that was reached, the last one there is to read, and the events read so far."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What one run did.

    blocks: read anew; from `first` to `last`, which is also how far the read model is now. events: read anew.
    rolled_back: events that were taken back first, because their blocks left the chain.
    """

    blocks: int
    events: int
    first: int
    last: int
    rolled_back: int

    def as_json(self) -> dict[str, int]:
        """For programs."""
        return {
            "blocks": self.blocks,
            "events": self.events,
            "from": self.first,
            "to": self.last,
            "rolled_back": self.rolled_back,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """Whose events are read: the contracts' addresses, and which ledger on which chain that is."""

    identity: Identity
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, deployment: Deployment) -> "Source":
        """The contracts of a deployment."""
        return cls(
            Identity(
                chain_id=deployment.chain_id,
                genesis=bytes.fromhex(deployment.genesis[2:]),
                ledger=deployment.address_of("LoanLedger"),
                first_block=deployment.block,
            ),
            tuple(deployment.address_of(name) for name in deployments.CONTRACTS),
        )


def index(
    w3: Web3,
    deployment: Deployment,
    read_model: ReadModel,
    finality: str | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Read a deployment's new events; see `Indexer`."""
    return Indexer.of(w3, deployment, read_model, finality).run(progress)


class Indexer:
    """Reads the events of some contracts into a read model.

    finality: which blocks to act on, "finalized", "safe" or "latest"; by default the finalized ones, on a
    local chain all. check: tells whether the chain still holds the contracts, and raises if not. window: most
    blocks to ask for at once; by default as many as the node answers.
    """

    def __init__(
        self,
        w3: Web3,
        source: Source,
        read_model: ReadModel,
        finality: str | None = None,
        check: Callable[[], None] = lambda: None,
        window: int | None = None,
    ) -> None:
        self._w3 = w3
        self._source = source
        self._read_model = read_model
        self._finality = finality
        self._check = check
        self._reader = LogReader(w3, source.addresses, window)

    @classmethod
    def of(
        cls, w3: Web3, deployment: Deployment, read_model: ReadModel, finality: str | None = None
    ) -> "Indexer":
        """An indexer of a deployment."""
        return cls(
            w3,
            Source.of(deployment),
            read_model,
            finality,
            lambda: deployments.check_chain(w3, deployment),
        )

    def run(self, progress: Progress | None = None) -> IndexReport:
        """Read what is new.

        Raises: DeploymentLost, WrongChain, AnotherLedger, DatabaseError, CursorMoved, ChainUnavailable,
        LogsRefused, NodeError; Reorganised, when the chain does not settle on a branch.
        """
        with without_collecting():
            report = self._run(progress)
        telemetry.indexed(report)
        return report

    def _run(self, progress: Progress | None) -> IndexReport:
        at = self._begin()
        rolled_back = events = blocks = branches = 0
        first = at.number + 1
        while True:
            try:
                if self._reader.block(at.number) != at:
                    at, taken_back = self._roll_back()
                    rolled_back += taken_back
                    first = min(first, at.number + 1)
                head = self._head()
                for last, logged in self._pages(at, head):
                    self._read_model.apply(logged, at, last)
                    blocks += last.number - at.number
                    events += len(logged)
                    at = last
                    if progress:
                        progress(at.number, head, events)
                break
            except Reorganised:
                branches += 1
                if branches == _BRANCHES:
                    raise Reorganised(
                        "the chain did not settle on a branch while it was read",
                        remedy="Run `duly index` again, or set DULY_FINALITY to safe or finalized.",
                    ) from None
        return IndexReport(blocks, events, first, at.number, rolled_back)

    def _pages(self, at: Block, head: int) -> Iterator[tuple[Block, list[Logged]]]:
        """The events after a block, page by page, with the page's last block.

        While one page is written the next is fetched.
        """

        def read(after: Block) -> tuple[Block, list[Logged]]:
            page = self._reader.page(after, head)
            return page.last, self._reader.decode(page.logs)

        if at.number >= head:
            return
        with ThreadPoolExecutor(1, "duly-fetch") as thread:
            coming = thread.submit(read, at)
            while True:
                last, logged = coming.result()
                if last.number >= head:
                    yield last, logged
                    return
                coming = thread.submit(read, last)
                yield last, logged

    def _begin(self) -> Block:
        """How far the chain was read; the first time, the block before the contracts'."""
        identity = self._source.identity
        cursor = self._read_model.find_cursor()
        if cursor is None:
            self._check()
            before = self._reader.block(max(0, identity.first_block - 1))
            if before is None:
                raise WrongChain(
                    f"the chain has no block {identity.first_block}, where the contracts were made",
                    remedy="Wait until the node has caught up, or check that DULY_RPC names the right one.",
                )
            return self._read_model.start(identity, before).block
        self._read_model.check(identity)
        return cursor.block

    def _head(self) -> int:
        """The last block to act on."""
        if self._finality is None:
            with explained():
                local = networks.is_local(self._w3.eth.chain_id)
            self._finality = "latest" if local else "finalized"
        head = self._reader.block(self._finality)
        # A young chain has nothing that is final yet.
        return -1 if head is None else head.number

    def _roll_back(self) -> tuple[Block, int]:
        """Undo what the chain took back: to the last block with events that is still on it."""
        # Is it another branch, or another chain? A restarted one must not empty the read model.
        self._check()
        model = self._read_model

        def on_chain(position: int) -> bool:
            block = model.recent_block(position)
            return self._reader.block(block.number) == block

        count = model.count_blocks()
        # The blocks that left the chain are the newest ones.
        position = bisect_left(range(count), True, key=on_chain)
        if position < count:
            to = model.recent_block(position)
        else:
            found = self._reader.block(max(0, self._source.identity.first_block - 1))
            if found is None:
                raise Reorganised
            to = found
        return to, model.roll_back(to)


@contextmanager
def without_collecting() -> Iterator[None]:
    """Leave the garbage collector off for a while.

    Events come by the ten thousand, none of them in a cycle; looking for cycles among them takes a third of
    the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
