"""Audits a deployment from its chain alone: no database, no vault, no word of the service is trusted."""

from collections.abc import Callable

from web3 import Web3

from duly.chain.logs import LogReader
from duly.domain.audit import Audit, Findings
from duly.services.index import Source

PAGE = 5_000
"""Blocks read at a time, at most; a node may make it less."""


def audit(
    w3: Web3, source: Source, progress: Callable[[int, int], None] = lambda done, total: None
) -> Findings:
    """Check every notice that was ever served, against the chain's events up to its latest block.

    `progress` is told how many of how many blocks were read.

    Raises: ChainError, where the chain cannot be read; HistoryIncomplete, where its events do not tell all.
    """
    reader = LogReader(w3, source.addresses)
    head = w3.eth.block_number
    first = source.identity.first_block
    total = head - first + 1
    auditor = Audit()
    while first <= head:
        last = min(head, first + PAGE - 1)
        for logged in reader.decode(reader.fetch(first, last)):
            auditor.see(logged)
        first = last + 1
        progress(total - (head - last), total)
    return auditor.findings
