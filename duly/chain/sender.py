"""Sends transactions: one sender for each key, which keeps the nonces in order.

    sender = Sender(w3, account)
    receipt = sender.send(contracts.ledger.flag_missed(loan))

Fees are EIP-1559's, gas is estimated with some headroom, so a call that would be refused costs nothing. The
signed bytes are kept until the receipt is there, and sent again when a node forgot them.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.types import BlockIdentifier, TxParams, Wei

from duly.chain import networks
from duly.chain.contracts import Call, Log
from duly.chain.errors import (
    ContractError,
    KeyRefused,
    NodeError,
    TransactionFailed,
    TransactionPending,
    explain,
    explained,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from eth_account.signers.local import LocalAccount

_GAS_FACTOR: Final = 1.25
_GAS_MORE: Final = 10_000
_TIMEOUT: Final = 180.0
_LOCAL_TIMEOUT: Final = 30.0
_REBROADCAST_AFTER: Final = 20.0
_WINDOW: Final = 64
_FEES_FOR: Final = 1.0
_FALLBACK_TIP: Final = 1_000_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction that worked.

    contract: the address that it created, lower-case. gas_price: what was paid for each unit of gas, in wei.
    """

    what: str
    transaction: bytes
    block: int
    block_hash: bytes
    gas_used: int
    gas_price: int
    contract: str | None
    logs: tuple[Log, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction ready to be sent, as often as it takes: its bytes are the same, so it counts once."""

    call: Call
    sender: str
    nonce: int
    gas: int
    raw: bytes = field(repr=False)
    hash: bytes

    @property
    def creates(self) -> str:
        """The address at which it creates a contract, where it does."""
        return created_address(self.sender, self.nonce)


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction offers for a unit of gas, in wei; `tip` is None on chains without EIP-1559."""

    most: int
    tip: int | None


def created_address(sender: str, nonce: int) -> str:
    """The address of the contract that a sender's transaction creates, known before it is sent."""
    import rlp  # type: ignore[import-untyped,unused-ignore]

    return "0x" + keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:].hex()


# ------------------------------------------------------------------------------------------ reading


def simulate(w3: Web3, call: Call, sender: str, at: BlockIdentifier = "latest") -> bytes:
    """What the call would return if this sender sent it.

    Raises: ContractError, when it would be refused.
    """
    with explained(call.what):
        return bytes(w3.eth.call(_params(call, sender), at))


def estimate_gas(w3: Web3, call: Call, sender: str) -> int:
    """The gas to give a call, with headroom.

    Raises: ContractError, when it would be refused.
    """
    with explained(call.what):
        estimate = w3.eth.estimate_gas(_params(call, sender))
    return int(estimate * _GAS_FACTOR) + _GAS_MORE


def current_fees(w3: Web3) -> Fees:
    """Fees that stay good while the base fee doubles."""
    with explained("asking for fees"):
        block = w3.eth.get_block("latest")
        base = block.get("baseFeePerGas")
        if base is None:
            return Fees(int(w3.eth.gas_price), None)
        try:
            tip = int(w3.eth.max_priority_fee)
        except Exception as error:
            if explain(error) is None:
                raise
            tip = _FALLBACK_TIP
    return Fees(2 * int(base) + tip, tip)


def _params(call: Call, sender: str) -> TxParams:
    params: TxParams = {"from": to_checksum_address(sender), "data": HexBytes(call.data)}
    if call.to is not None:
        params["to"] = to_checksum_address(call.to)
    if call.value:
        params["value"] = Wei(call.value)
    return params


# ------------------------------------------------------------------------------------------ sending


class Sender:
    """Sends transactions with one key. Two senders with the same key at once get into each other's way.

    timeout: seconds to wait for a receipt.
    """

    def __init__(self, w3: Web3, account: "LocalAccount", *, timeout: float | None = None) -> None:
        self.w3 = w3
        self.account = account
        self.address: str = account.address.lower()
        """Lower-case."""
        with explained():
            self.chain_id = int(w3.eth.chain_id)
        self._poll = networks.poll_latency(w3)
        self._timeout = timeout or (_LOCAL_TIMEOUT if networks.is_local(self.chain_id) else _TIMEOUT)
        self._nonce: int | None = None
        self._market = _Market(w3)

    def __repr__(self) -> str:
        return f"Sender({self.account.address} on chain {self.chain_id})"

    def sibling(self, account: "LocalAccount") -> "Sender":
        """A sender with another key on the same chain, which it need not ask for what this one knows."""
        other = copy(self)
        other.account, other.address, other._nonce = account, account.address.lower(), None
        return other

    def balance(self) -> int:
        """The chain's own coin that it holds, for gas, in wei."""
        with explained():
            return int(self.w3.eth.get_balance(self.account.address))

    def estimate(self, call: Call) -> int:
        """The gas to give a call, with headroom.

        Raises: ContractError, when it would be refused.
        """
        return estimate_gas(self.w3, call, self.address)

    def send(self, call: Call, *, gas: int | None = None) -> Receipt:
        """Send a call and wait until it is mined.

        gas: what it may use; estimated where it is not given.

        Raises: ContractError, when a contract refuses; InsufficientFunds, TransactionPending,
        ChainUnavailable.
        """
        return self.wait(self.submit(self.prepare(call, gas=gas)))

    def send_many(
        self,
        calls: Iterable[Call],
        *,
        gas: int | None = None,
        window: int = _WINDOW,
        done: "Callable[[Receipt | ContractError | TransactionFailed], None] | None" = None,
    ) -> list[Receipt | ContractError | TransactionFailed]:
        """Send several calls in this order, without waiting for one before sending the next.

        A call that is refused does not stop the others: its refusal stands in its place. Without `gas` each
        is estimated before those on the way are mined, so it must not depend on them. window: how many are on
        the way at once. done: is told of each outcome, in order.

        Raises: InsufficientFunds, TransactionPending, ChainUnavailable: then nothing more is sent.
        """
        outcomes: list[Receipt | ContractError | TransactionFailed] = []

        def finish(items: Sequence[Signed | ContractError]) -> None:
            for item in items:
                outcome = item if isinstance(item, ContractError) else self._outcome(item)
                outcomes.append(outcome)
                if done:
                    done(outcome)

        waiting: list[Signed | ContractError] = []
        for call in calls:
            try:
                waiting.append(self.submit(self.prepare(call, gas=gas)))
            except ContractError as error:
                waiting.append(error)
            if len(waiting) >= window:
                finish(waiting)
                waiting = []
        finish(waiting)
        return outcomes

    def _outcome(self, signed: Signed) -> Receipt | ContractError | TransactionFailed:
        try:
            return self.wait(signed)
        except (ContractError, TransactionFailed) as error:
            return error

    def prepare(self, call: Call, *, gas: int | None = None) -> Signed:
        """Sign a call with the next nonce, which is taken from now on.

        Raises: ContractError, when it would be refused: then no nonce is taken.
        """
        if gas is None:
            gas = self.estimate(call)
        fees = self._market.fees()
        nonce = self._next_nonce()
        fields: dict[str, Any] = {
            "chainId": self.chain_id,
            "nonce": nonce,
            "gas": gas,
            "value": call.value,
            "data": HexBytes(call.data),
        }
        if call.to is not None:
            fields["to"] = to_checksum_address(call.to)
        if fees.tip is None:
            fields |= {"gasPrice": fees.most}
        else:
            fields |= {"type": 2, "maxFeePerGas": fees.most, "maxPriorityFeePerGas": fees.tip}
        signed = self.account.sign_transaction(fields)
        self._nonce = nonce + 1
        return Signed(call, self.address, nonce, gas, bytes(signed.raw_transaction), bytes(signed.hash))

    def submit(self, signed: Signed) -> Signed:
        """Hand a signed transaction to the node; to do so again changes nothing."""
        try:
            with explained(signed.call.what):
                self.w3.eth.send_raw_transaction(HexBytes(signed.raw))
        except NodeError as error:
            if _is_known(error):
                return signed
            # Whatever the node knows about our nonces, it knows better.
            self._nonce = None
            if "nonce" in error.wrong.lower() or "replacement" in error.wrong.lower():
                if is_known_to_node(self.w3, signed.hash):
                    return signed
                raise NodeError(
                    error.wrong,
                    remedy="Another transaction of the same key is on the way: wait until it is mined, "
                    "and let only one program use a key.",
                ) from error
            raise
        except Exception:
            self._nonce = None
            raise
        _log.debug("sent %s as 0x%s, nonce %d", signed.call.what, signed.hash.hex(), signed.nonce)
        return signed

    def wait(self, signed: Signed) -> Receipt:
        """Wait until a transaction is mined; send its bytes again when that takes long.

        Raises: ContractError or TransactionFailed, when it was mined without effect; TransactionPending.
        """
        receipt = wait_for(
            self.w3,
            signed.hash,
            what=signed.call.what,
            timeout=self._timeout,
            poll=self._poll,
            again=signed.raw,
        )
        if receipt is not None:
            return receipt
        self._nonce = None
        raise self._why_failed(signed)

    def _why_failed(self, signed: Signed) -> ContractError | TransactionFailed:
        """The reason is not in the receipt: ask what the call would have done in that block."""
        with explained(signed.call.what):
            receipt = self.w3.eth.get_transaction_receipt(HexBytes(signed.hash))
        try:
            simulate(self.w3, signed.call, self.address, receipt["blockNumber"])
        except ContractError as error:
            return error
        out_of_gas = int(receipt["gasUsed"]) >= signed.gas
        return TransactionFailed(
            f"{signed.call.what}: mined in block {receipt['blockNumber']}, but reverted"
            + (f": its {signed.gas} gas ran out" if out_of_gas else "")
        )

    def _next_nonce(self) -> int:
        if self._nonce is None:
            with explained():
                # Not "pending": not every node counts what is on the way.
                self._nonce = int(self.w3.eth.get_transaction_count(self.account.address, "latest"))
        return self._nonce


class _Market:
    """The fees of the moment, asked for once for all senders that are siblings."""

    def __init__(self, w3: Web3) -> None:
        self._w3 = w3
        self._asked = float("-inf")
        self._fees = Fees(0, None)

    def fees(self) -> Fees:
        now = time.monotonic()
        if now - self._asked >= _FEES_FOR:
            self._fees = current_fees(self._w3)
            self._asked = now
        return self._fees


def wait_for(
    w3: Web3,
    transaction: bytes,
    *,
    what: str = "transaction",
    timeout: float = _TIMEOUT,
    poll: float | None = None,
    again: bytes | None = None,
) -> Receipt | None:
    """The receipt of a transaction, once it is mined; None where it was mined without effect.

    again: its bytes, to be sent again when it takes long.

    Raises: TransactionPending, when it is not mined in time.
    """
    poll = poll or networks.poll_latency(w3)
    start = sent = time.monotonic()
    while True:
        try:
            with explained(what):
                found = w3.eth.get_transaction_receipt(HexBytes(transaction))
        except NodeError as error:
            if not isinstance(error.__cause__, TransactionNotFound):
                raise
        else:
            if found["status"] == 0:
                return None
            created = found.get("contractAddress")
            return Receipt(
                what=what,
                transaction=bytes(found["transactionHash"]),
                block=int(found["blockNumber"]),
                block_hash=bytes(found["blockHash"]),
                gas_used=int(found["gasUsed"]),
                gas_price=int(found.get("effectiveGasPrice", 0)),
                contract=created.lower() if created else None,
                logs=tuple(
                    Log(
                        log["address"].lower(),
                        tuple(bytes(topic) for topic in log["topics"]),
                        bytes(HexBytes(log["data"])),
                        int(log["logIndex"]),
                    )
                    for log in found["logs"]
                ),
            )
        now = time.monotonic()
        if now - start > timeout:
            raise TransactionPending(
                f"{what}: transaction 0x{transaction.hex()} was not mined within {timeout:.0f} seconds",
                remedy="It may still be. Run the same again later: what was done by then is not done twice.",
            )
        if again is not None and now - sent > _REBROADCAST_AFTER:
            sent = now
            _rebroadcast(w3, again, what)
        time.sleep(poll)
        # Stay quick for what is mined at once, and do not flood the node while it is not.
        poll = min(poll * 1.2, 1.0)


def is_known_to_node(w3: Web3, transaction: bytes) -> bool:
    """The node has the transaction: mined, or waiting to be."""
    try:
        with explained():
            w3.eth.get_transaction(HexBytes(transaction))
    except NodeError as error:
        if isinstance(error.__cause__, TransactionNotFound):
            return False
        raise
    return True


def _rebroadcast(w3: Web3, raw: bytes, what: str) -> None:
    try:
        with explained(what):
            w3.eth.send_raw_transaction(HexBytes(raw))
    except NodeError as error:
        # Known, or mined in this moment.
        _log.debug("sent %s again: %s", what, error.wrong)


def _is_known(error: NodeError) -> bool:
    text = error.wrong.lower()
    return any(known in text for known in ("already known", "already imported", "known transaction"))


def each(outcomes: Iterable[Receipt | ContractError | TransactionFailed]) -> Iterator[Receipt]:
    """The receipts of calls none of which may fail.

    Raises: the first refusal.
    """
    for outcome in outcomes:
        if not isinstance(outcome, Receipt):
            raise outcome
        yield outcome


# --------------------------------------------------------------------------------------------- keys


def read_key_file(path: Path, passphrase: str) -> "LocalAccount":
    """The account whose encrypted key a keystore file holds.

    Raises: KeyRefused, when it cannot be read, or not with this passphrase.
    """
    import json

    try:
        account = Account.from_key(Account.decrypt(json.loads(path.read_text(encoding="utf-8")), passphrase))
    except OSError as error:
        raise KeyRefused(f"the key file {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        if "MAC mismatch" in str(error):
            raise KeyRefused(f"this is not the passphrase of {path}") from None
        raise KeyRefused(
            f"{path} is no keystore file", wanted="the JSON that a wallet exports, version 3"
        ) from None
    return cast("LocalAccount", account)


def check_raw_key(chain_id: int) -> None:
    """Refuse a key that lies about unencrypted, but on a local chain.

    Raises: KeyRefused.
    """
    if not networks.is_local(chain_id):
        raise KeyRefused(
            f"raw keys are for local chains only, not for chain {networks.chain_name(chain_id)}",
            wanted="DULY_KEY_FILE, an encrypted keystore file",
            remedy="Unset DULY_PRIVATE_KEY. `cast wallet import` or any wallet makes a keystore file.",
        )


__all__ = [
    "Fees",
    "Receipt",
    "Sender",
    "Signed",
    "check_raw_key",
    "created_address",
    "current_fees",
    "each",
    "estimate_gas",
    "is_known_to_node",
    "read_key_file",
    "simulate",
    "wait_for",
]
