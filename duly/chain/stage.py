"""A local chain as a stage: anybody sends, and blocks are made when they are wanted, at the second that is
wanted. Anvil only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from eth_utils.address import to_checksum_address
from web3 import HTTPProvider, Web3

from duly.chain import networks
from duly.chain.contracts import Call
from duly.chain.errors import ContractError, NodeError, WrongChain
from duly.chain.logs import RawLog, decode_all
from duly.chain.sender import simulate
from duly.domain.events import Logged

GAS: Final = 8_000_000
"""More than any act takes; estimating it each time would take longer than the act."""
_WEI: Final = 10**21
_TIMEOUT: Final = 120


@dataclass(frozen=True, slots=True)
class Act:
    """A call, and the lower-case address that sends it."""

    sender: str
    call: Call


@dataclass(frozen=True, slots=True)
class Played:
    """An act that was mined. done: it was not refused. block: its number. logged: what our contracts told."""

    act: Act
    done: bool
    block: int
    logged: tuple[Logged, ...]


class Stage:
    """Anvil, over http. `now` is the time of the latest block, UTC seconds.

    Between two blocks that are asked for the chain mines as it is sent to, each block a second after the one
    before, whatever the time here.

    Raises: WrongChain, where the chain is not local.
    """

    def __init__(self, w3: Web3) -> None:
        if not isinstance(w3.provider, HTTPProvider) or not networks.is_local(w3.eth.chain_id):
            raise WrongChain("only a local chain over http is a stage", wanted="Anvil")
        self.w3 = w3
        # A tenth of what a request costs otherwise; a year is a hundred thousand of them.
        url = urlsplit(str(w3.provider.endpoint_uri))
        self._node = HTTPConnection(url.hostname or "", url.port, timeout=_TIMEOUT)
        self.ask("anvil_autoImpersonateAccount", True)
        self.ask("anvil_setBlockTimestampInterval", 1)

    @property
    def now(self) -> int:
        return int(self.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def close(self) -> None:
        self._node.close()

    def ask(self, method: str, *params: object) -> Any:
        """What the node answers. Raises: NodeError."""
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self._node.request("POST", "/", body, {"content-type": "application/json"})
        answer = orjson.loads(self._node.getresponse().read())
        if "error" in answer:
            raise NodeError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def fund(self, address: str) -> None:
        """Give somebody coin for gas."""
        self.ask("anvil_setBalance", address, hex(_WEI))

    def play(self, acts: Sequence[Act], moment: int | None = None) -> list[Played]:
        """Mine some acts, in their order, in a block of their own.

        moment: the block's time, after the latest block's; by default the second after it.
        """
        self.ask("evm_setAutomine", False)
        for act in acts:
            self.ask(
                "eth_sendTransaction",
                {"from": act.sender, "to": act.call.to, "data": "0x" + act.call.data.hex(), "gas": hex(GAS)},
            )
        if moment is not None:
            self.ask("evm_setNextBlockTimestamp", moment)
        self.ask("evm_mine")
        self.ask("evm_setAutomine", True)
        receipts = self.ask("eth_getBlockReceipts", "latest")
        if len(receipts) != len(acts):
            raise NodeError(f"{len(receipts)} of {len(acts)} acts were mined")
        return [
            Played(
                act, int(receipt["status"], 16) == 1, int(receipt["blockNumber"], 16), _told(receipt["logs"])
            )
            for act, receipt in zip(acts, receipts, strict=True)
        ]

    def why_refused(self, played: Played) -> ContractError:
        """The reason for which an act was refused that had a block of its own.

        Raises: NodeError, where it would not have been.
        """
        try:
            simulate(self.w3, played.act.call, to_checksum_address(played.act.sender), played.block)
        except ContractError as error:
            return error
        raise NodeError(f"{played.act.call.what} was refused, and would not be")


def _told(logs: list[RawLog]) -> tuple[Logged, ...]:
    return tuple(decode_all(logs))
