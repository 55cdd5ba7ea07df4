"""What time it is: on live chains the wall clock's, on local ones the latest block's, which can be moved."""

import time
from typing import Protocol

from web3 import Web3
from web3.types import RPCEndpoint

from duly.chain.errors import KeyRefused, NodeError, explained
from duly.chain.networks import chain_name, is_in_process, is_local


class Clock(Protocol):
    """Tells the time in UTC seconds."""

    def now(self) -> int:
        """Seconds since 1970-01-01."""
        ...


class WallClock:
    """This machine's time."""

    def now(self) -> int:
        return int(time.time())


class ChainClock:
    """The time of a chain's latest block."""

    def __init__(self, w3: Web3) -> None:
        self._w3 = w3

    def now(self) -> int:
        return _latest(self._w3)


def _latest(w3: Web3) -> int:
    """The time of the latest block. Asked for often, so past web3.py's formatting of the whole block."""
    if is_in_process(w3):
        return int(w3.eth.get_block("latest")["timestamp"])
    with explained():
        answer = w3.provider.make_request(RPCEndpoint("eth_getBlockByNumber"), ["latest", False])
    if "result" not in answer:
        raise NodeError(f"the node does not tell its latest block: {answer.get('error')}")
    return int(answer["result"]["timestamp"], 16)


def clock_of(w3: Web3) -> Clock:
    """The clock to go by on this chain."""
    with explained():
        local = is_local(w3.eth.chain_id)
    return ChainClock(w3) if local else WallClock()


def next_block_time(w3: Web3) -> int:
    """When the next block would be mined: a local chain mines only when asked, so its latest may be old."""
    with explained():
        latest = int(w3.eth.get_block("latest")["timestamp"])
        pending = int(w3.eth.get_block("pending")["timestamp"])
    return max(latest, pending)


def travel(w3: Web3, timestamp: int) -> None:
    """Move a local chain's time forward: its next block, mined at once, has this time.

    Raises: NodeError, when that lies in the past, or the node cannot do it.
    """
    with explained():
        chain_id = w3.eth.chain_id
        latest = _latest(w3)
    if not is_local(chain_id):
        raise KeyRefused(f"nobody moves the time of chain {chain_name(chain_id)}", wanted="a local chain")
    if timestamp <= latest:
        raise NodeError(f"the chain's time is {latest} already", wanted=f"a time after it, not {timestamp}")
    if is_in_process(w3):
        # Its own `time_travel` arrives a second early.
        backend = w3.provider.ethereum_tester.backend  # type: ignore[attr-defined]
        backend.chain.set_header_timestamp(timestamp)
        backend.mine_blocks()
        return
    for method, parameters in (("evm_setNextBlockTimestamp", [timestamp]), ("evm_mine", [])):
        answer = w3.provider.make_request(RPCEndpoint(method), parameters)
        if "error" in answer:
            raise NodeError(f"the node cannot move its time: {method}: {answer['error']}")
