"""A transaction that somebody's wallet sent: where it stands, until nothing can take it back any more."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hexbytes import HexBytes
from web3.exceptions import TransactionNotFound

from duly.chain.contracts import Call
from duly.chain.errors import ChainError, ContractError, explained
from duly.chain.logs import LogReader
from duly.chain.sender import simulate
from duly.store.readmodel import NothingIndexed

if TYPE_CHECKING:
    from duly.bootstrap import Application


class Stage(StrEnum):
    """How far a transaction has come."""

    UNKNOWN = "unknown"
    """The node has not heard of it, or it is none of our contracts' business."""
    SENT = "sent"
    MINED = "mined"
    """It is in a block, which could still be undone."""
    FINAL = "final"
    REFUSED = "refused"
    """It is in a block, and changed nothing."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a transaction stands.

    block: its number, None before it has one. refusal: why it was refused, where that can be told. recorded:
    the read model knows of it.
    """

    hash: bytes
    stage: Stage
    block: int | None = None
    refusal: ContractError | None = None
    recorded: bool = False

    @property
    def over(self) -> bool:
        """Nothing more will happen to it that is worth waiting for."""
        return self.stage is Stage.REFUSED or (self.stage is Stage.FINAL and self.recorded)


def progress(app: "Application", transaction: bytes) -> Progress:
    """Where a transaction stands that was sent to one of the deployment's contracts.

    Raises: ChainUnavailable, NodeError.
    """
    w3 = app.w3
    try:
        with explained():
            sent = w3.eth.get_transaction(HexBytes(transaction))
    except ChainError as error:
        if isinstance(error.__cause__, TransactionNotFound):
            return Progress(transaction, Stage.UNKNOWN)
        raise
    except TransactionNotFound:
        return Progress(transaction, Stage.UNKNOWN)
    to = str(sent.get("to") or "").lower()
    if to not in _ours(app):
        return Progress(transaction, Stage.UNKNOWN)
    if sent.get("blockNumber") is None:
        return Progress(transaction, Stage.SENT)
    with explained():
        receipt = w3.eth.get_transaction_receipt(HexBytes(transaction))
    block = int(receipt["blockNumber"])
    if not receipt["status"]:
        call = Call("", to, bytes(HexBytes(sent["input"])), int(sent["value"]))
        return Progress(transaction, Stage.REFUSED, block, _why(app, call, str(sent["from"]), block))
    final = block <= LogReader(w3, [app.contracts.ledger.address]).final(app.finality)
    return Progress(
        transaction, Stage.FINAL if final else Stage.MINED, block, recorded=_recorded_block(app) >= block
    )


def why_refused(app: "Application", call: Call, sender: str) -> ContractError | None:
    """Why a call would be refused now; None where it would not be.

    Raises: ChainUnavailable, NodeError.
    """
    try:
        simulate(app.w3, call, sender)
    except ContractError as error:
        return error
    return None


def _ours(app: "Application") -> set[str]:
    deployment = app.deployment
    return {each.address for each in deployment.contracts.values()} | {deployment.currency.address}


def _why(app: "Application", call: Call, sender: str, block: int) -> ContractError | None:
    """What refuses the same call in the state that its block left behind."""
    try:
        simulate(app.w3, call, sender, block)
    except ContractError as error:
        return error
    except ChainError:
        return None  # the node does not keep that state
    return None


def _recorded_block(app: "Application") -> int:
    try:
        return app.read_model.cursor().block.number
    except NothingIndexed:
        return -1
