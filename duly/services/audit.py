"""Audits a deployment from its chain alone: no database, no vault, no word of the service is trusted."""

from collections.abc import Callable, Iterable

from web3 import Web3

from duly.chain.errors import explained
from duly.chain.logs import LogReader
from duly.domain.audit import Audit, Findings
from duly.services.index import Source

PAGE = 5_000
"""Blocks read at a time, at most; a node may make it less."""


def audit(
    w3: Web3, source: Source, track: Callable[[range], Iterable[int]] = lambda pages: pages
) -> Findings:
    """Check every notice that was ever served, against the chain's events up to its latest block.

    `track` is given the first blocks of all pages, and may show how far it has come as it hands them on.

    Raises: ChainError, where the chain cannot be read; HistoryIncomplete, where its events do not tell all.
    """
    reader = LogReader(w3, source.addresses)
    with explained():
        head = int(w3.eth.block_number)
    auditor = Audit()
    for first in track(range(source.identity.first_block, head + 1, PAGE)):
        last = min(head, first + PAGE - 1)
        for logged in reader.decode(reader.fetch(first, last)):
            auditor.see(logged)
    return auditor.findings
