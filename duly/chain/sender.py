"""Sends transactions: one account's in order, from however many processes.

    sender = Sender(w3, account)
    receipt = sender.send(contracts.ledger.flag_missed(loan))

Fees are EIP-1559's, gas is estimated with some headroom, so a call that would be refused costs nothing. Whose
turn is which nonce, and the signed bytes, are written down in an `Outbox` before anything is sent. Until the
receipt is there the bytes are sent again when a node forgot them, and replaced by ones with higher fees when
blocks pass them by. What a process that died left behind is brought to its end by whoever sends next
(`Sender.resume`).
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.types import BlockIdentifier, TxParams, Wei

from duly.chain import networks
from duly.chain.contracts import Call, Log
from duly.chain.errors import (
    ChainError,
    ContractError,
    FeesTooHigh,
    InsufficientFunds,
    NodeError,
    NonceTaken,
    TransactionFailed,
    TransactionPending,
    explain,
    explained,
)
from duly.chain.keys import RemoteSigner, Signer, decoded
from duly.chain.outbox import Attempt, MemoryOutbox, Outbox

_GAS_FACTOR: Final = 1.25
_GAS_MORE: Final = 10_000
_TIMEOUT: Final = 180.0
_LOCAL_TIMEOUT: Final = 30.0
_REBROADCAST_AFTER: Final = 20.0
_WINDOW: Final = 64
_FEES_FOR: Final = 1.0
_COUNT_FOR: Final = 1.0
_FALLBACK_TIP: Final = 1_000_000_000

FEE_CEILING: Final = 500 * 10**9
"""Wei for a unit of gas that are paid at most, where nothing else is said."""
BUMP_AFTER: Final = 3
"""Blocks that may pass a transaction by before its fees are raised."""
_BUMP: Final = (9, 8)
"""Nodes take a replacement that offers a tenth more in each fee; some, an eighth."""
_LEASE: Final = 10.0
_REMOTE_LEASE: Final = 150.0
_LOOK_EVERY: Final = 1.0
_EMPTY_GAS: Final = 21_000
_MOST_GAS: Final = 2**24
"""Since the fork Osaka no transaction may use more (EIP-7825)."""
_TRIES: Final = 5

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
    token: str = field(repr=False)

    @property
    def creates(self) -> str:
        """The address at which it creates a contract, where it does."""
        return created_address(self.sender, self.nonce)


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction offers for a unit of gas, in wei; `tip` is None on chains without EIP-1559.

    now: what it pays if the price stays as it is.
    """

    most: int
    tip: int | None
    now: int = 0


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
    if not networks.is_in_process(w3):
        # Some nodes estimate what a refusal costs, and do not tell that it is one.
        simulate(w3, call, sender)
    with explained(call.what):
        estimate = w3.eth.estimate_gas(_params(call, sender))
    return int(estimate * _GAS_FACTOR) + _GAS_MORE


def current_fees(w3: Web3, ceiling: int = FEE_CEILING) -> Fees:
    """Fees that stay good while the base fee doubles, or the ceiling allows.

    Raises: FeesTooHigh, when what a transaction must offer at the moment is above the ceiling.
    """
    with explained("asking for fees"):
        block = w3.eth.get_block("latest")
        base = block.get("baseFeePerGas")
        if base is None:
            price = int(w3.eth.gas_price)
            _check_ceiling(price, ceiling)
            return Fees(price, None, price)
        try:
            with warnings.catch_warnings():
                # Where the node does not know the question, web3.py asks for past fees, and warns.
                warnings.simplefilter("ignore", UserWarning)
                tip = int(w3.eth.max_priority_fee)
        except Exception as error:
            if explain(error) is None:
                raise
            tip = _FALLBACK_TIP
    _check_ceiling(int(base) + 1, ceiling)
    most = min(2 * int(base) + tip, ceiling)
    return Fees(most, min(tip, most), min(int(base) + tip, most))


def _check_ceiling(needed: int, ceiling: int) -> None:
    if needed > ceiling:
        raise FeesTooHigh(
            f"a unit of gas costs {in_gwei(needed)} gwei at the moment",
            wanted=f"at most {in_gwei(ceiling)}, as DULY_FEE_CEILING says",
            remedy="Nothing was sent. Wait until it costs less, or raise the ceiling.",
        )


def in_gwei(wei: int) -> str:
    """A price of gas for a message."""
    return f"{wei / 10**9:.9f}".rstrip("0").rstrip(".")


def _params(call: Call, sender: str) -> TxParams:
    params: TxParams = {"from": to_checksum_address(sender), "data": HexBytes(call.data)}
    if call.to is not None:
        params["to"] = to_checksum_address(call.to)
    if call.value:
        params["value"] = Wei(call.value)
    return params


# ------------------------------------------------------------------------------------------ sending


class Sender:
    """Sends one account's transactions. Senders of the same account keep out of each other's way if they
    share an outbox, be it through a database.

    timeout: seconds to wait for a receipt. ceiling: wei for a unit of gas that are offered at most.
    """

    def __init__(
        self,
        w3: Web3,
        account: Signer,
        outbox: Outbox | None = None,
        *,
        timeout: float | None = None,
        ceiling: int = FEE_CEILING,
    ) -> None:
        self.w3 = w3
        self.account = account
        self.address: str = account.address.lower()
        """Lower-case."""
        with explained():
            self.chain_id = int(w3.eth.chain_id)
        self._outbox = MemoryOutbox() if outbox is None else outbox
        self._poll = networks.poll_latency(w3)
        self._timeout = timeout or (_LOCAL_TIMEOUT if networks.is_local(self.chain_id) else _TIMEOUT)
        self._ceiling = ceiling
        self._market = _Market(w3, ceiling)
        self._counted: tuple[float, int] | None = None

    def __repr__(self) -> str:
        return f"Sender({self.account.address} on chain {self.chain_id})"

    def sibling(self, account: Signer) -> "Sender":
        """A sender with another key on the same chain, which it need not ask for what this one knows."""
        other = copy(self)
        other.account, other.address, other._counted = account, account.address.lower(), None
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

    def fees(self) -> Fees:
        """What a transaction offers at the moment. Raises: FeesTooHigh."""
        return self._market.fees()

    def most_gas(self) -> int:
        """The gas that one transaction may well use: half of a block, so that it finds room in the next one,
        and no more than Ethereum allows.
        """
        with explained():
            block = self.w3.eth.get_block("latest")
        return min(int(block["gasLimit"]) // 2, _MOST_GAS)

    def send(self, call: Call, *, gas: int | None = None) -> Receipt:
        """Send a call and wait until it is mined.

        gas: what it may use; estimated where it is not given.

        Raises: ContractError, when a contract refuses; InsufficientFunds, FeesTooHigh, TransactionPending,
        ChainUnavailable.
        """
        return self.wait(self._submit_anew(call, gas))

    def send_many(
        self,
        calls: Iterable[Call],
        *,
        gas: int | None = None,
        window: int = _WINDOW,
        done: Callable[[Receipt | ContractError | TransactionFailed], None] | None = None,
    ) -> list[Receipt | ContractError | TransactionFailed]:
        """Send several calls in this order, without waiting for one before sending the next.

        A call that is refused does not stop the others: its refusal stands in its place. Without `gas` each
        is estimated before those on the way are mined, so it must not depend on them. window: how many are on
        the way at once. done: is told of each outcome, in order.

        Raises: InsufficientFunds, FeesTooHigh, TransactionPending, ChainUnavailable: then nothing more is
        sent.
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
                waiting.append(self._submit_anew(call, gas))
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

    def _submit_anew(self, call: Call, gas: int | None) -> Signed:
        """Send a call with the next nonce that nobody else took meanwhile."""
        for _ in range(_TRIES):
            try:
                return self.submit(self.prepare(call, gas=gas))
            except NonceTaken as error:
                taken = error
        raise taken

    def prepare(self, call: Call, *, gas: int | None = None) -> Signed:
        """Sign a call with the next nonce, which is taken from now on.

        Raises: ContractError, when it would be refused: then no nonce is taken. KeyRefused.
        """
        if gas is None:
            gas = self.estimate(call)
        fields: dict[str, Any] = {
            "chainId": self.chain_id,
            "gas": gas,
            "value": call.value,
            "data": HexBytes(call.data),
        }
        if call.to is not None:
            fields["to"] = to_checksum_address(call.to)
        fields |= _fee_fields(self._market.fees())
        for _ in range(_TRIES):
            nonce, token = self._outbox.take(self.address, self._count(), self._lease)
            signed = self._sign_for(nonce, token, call, fields)
            if signed is not None:
                return signed
        raise NonceTaken(
            f"{call.what}: signing took longer each time than a nonce is kept free for",
            remedy="Nothing was sent. Try again.",
        )

    def _sign_for(self, nonce: int, token: str, call: Call, fields: dict[str, Any]) -> Signed | None:
        """Sign for a nonce that was taken; None where that took too long."""
        try:
            made = self.account.sign_transaction(fields | {"nonce": nonce})
        except Exception:
            self._outbox.give_back(self.address, nonce, token)
            raise
        raw, hash = bytes(made.raw_transaction), bytes(made.hash)
        if not self._outbox.keep(self.address, nonce, token, call.what, raw, hash):
            return None
        return Signed(call, self.address, nonce, fields["gas"], raw, hash, token)

    @property
    def _lease(self) -> float:
        """Seconds that signing may take."""
        return _REMOTE_LEASE if isinstance(self.account, RemoteSigner) else _LEASE

    def submit(self, signed: Signed) -> Signed:
        """Hand a signed transaction to the node; to do so again changes nothing.

        Raises: NonceTaken, when another transaction was mined with its nonce: this one never will be.
        """
        try:
            with explained(signed.call.what):
                self.w3.eth.send_raw_transaction(HexBytes(signed.raw))
        except (NodeError, InsufficientFunds) as error:
            if _is_known(error):
                return signed
            # Whatever the node knows about our nonces, it knows better.
            self._counted = None
            if is_known_to_node(self.w3, signed.hash):
                return signed
            self._outbox.give_back(self.address, signed.nonce, signed.token)
            text = error.wrong.lower()
            if "nonce" in text and "high" not in text:
                raise NonceTaken(
                    error.wrong, remedy="Another transaction of the same key was mined meanwhile: try again."
                ) from error
            if "replacement" in text:
                raise NodeError(
                    error.wrong,
                    remedy="Another transaction of the same key is on the way: wait until it is mined, "
                    "and let programs that share a key share a database.",
                ) from error
            raise
        except ChainError:
            # Perhaps it arrived. It stays kept: it can only be sent again as it is.
            self._counted = None
            raise
        _log.debug("sent %s as 0x%s, nonce %d", signed.call.what, signed.hash.hex(), signed.nonce)
        return signed

    def wait(self, signed: Signed) -> Receipt:
        """Wait until a transaction is mined; meanwhile send its bytes again, and raise its fees, as it takes.

        Raises: ContractError or TransactionFailed, when it was mined without effect; NonceTaken;
        TransactionPending.
        """
        found = self._follow(signed.nonce, signed.call.what, [signed.hash])
        if found.receipt is not None:
            return found.receipt
        self._counted = None
        raise self._why_failed(signed, found)

    def resume(self) -> list[Receipt]:
        """Bring to its end what this account sent, from whatever process, and is not known to be mined.

        The receipts of what worked, in order.

        Raises: TransactionPending, ChainUnavailable.
        """
        receipts = []
        self._counted = None
        for nonce in self._outbox.unsettled(self.address, self._count()):
            attempts = self._outbox.attempts(self.address, nonce)
            if not attempts:
                continue
            what = attempts[0].what
            if not any(is_known_to_node(self.w3, each.hash) for each in attempts):
                _rebroadcast(self.w3, attempts[-1].raw, what)
            try:
                found = self._follow(nonce, what, [each.hash for each in attempts])
            except NonceTaken:
                continue
            _log.info("%s, nonce %d: mined, though nobody waited for it", what, nonce)
            if found.receipt is not None:
                receipts.append(found.receipt)
        self._counted = None
        return receipts

    # ------------------------------------------------------------------------------ until it is mined

    def _follow(self, nonce: int, what: str, hashes: list[bytes]) -> "_Mined":
        """Wait until what was signed for a nonce is mined, in whichever version."""
        poll, start = self._poll, time.monotonic()
        looked = start
        watch = _Watch()
        missing = 0
        while True:
            for hash in hashes:
                found = _mined(self.w3, hash, what)
                if found is not None:
                    self._outbox.settle(self.address, nonce, found.block)
                    if self._counted is not None:
                        self._counted = (self._counted[0], max(self._counted[1], nonce + 1))
                    return found
            now = time.monotonic()
            if now - start > self._timeout:
                raise _pending(what, hashes[-1], self._timeout, watch.at_ceiling)
            if now - looked > _LOOK_EVERY:
                looked, self._counted = now, None
                count = self._count()
                attempts = self._outbox.attempts(self.address, nonce)
                hashes = [each.hash for each in attempts] or hashes
                # Some nodes count before they tell the receipt.
                missing = missing + 1 if count > nonce else 0
                if missing >= _TRIES:
                    self._outbox.settle(self.address, nonce, self._block())
                    raise NonceTaken(
                        f"{what}: another transaction was mined with nonce {nonce}",
                        remedy="Nothing came of this one. Try again.",
                    )
                if count <= nonce:
                    self._push(count, nonce, watch)
            time.sleep(poll)
            # Stay quick for what is mined at once, and do not flood the node while it is not.
            poll = min(poll * 1.2, 1.0)

    def _push(self, lowest: int, nonce: int, watch: "_Watch") -> None:
        """Help what is in front: the first nonce that is not mined yet, be it another process's."""
        attempts = self._outbox.attempts(self.address, lowest)
        if not attempts:
            if lowest < nonce:
                self._fill(lowest)
            return
        last = attempts[-1]
        block, now = self._block(), time.monotonic()
        if watch.hash != last.hash:
            watch.hash, watch.block, watch.sent = last.hash, block, now
        elif block - watch.block >= BUMP_AFTER:
            watch.block = block
            watch.at_ceiling = not self._bump(last)
        elif now - watch.sent > _REBROADCAST_AFTER:
            watch.sent = now
            _rebroadcast(self.w3, last.raw, last.what)

    def _bump(self, last: Attempt) -> bool:
        """Replace a transaction by the same one with higher fees. False where the ceiling forbids it."""
        fields = decoded(last.raw)
        try:
            market = current_fees(self.w3, self._ceiling)
        except FeesTooHigh:
            return False
        most = _more(fields.get("maxFeePerGas", fields.get("gasPrice", 0)))
        tip = _more(fields.get("maxPriorityFeePerGas", 0))
        if max(most, tip) > self._ceiling:
            return False
        most = max(most, market.most)
        fees = Fees(most, min(max(tip, market.tip or 0), most) if "type" in fields else None)
        made = self.account.sign_transaction(fields | _fee_fields(fees))
        raw, hash = bytes(made.raw_transaction), bytes(made.hash)
        # Kept before it is sent: its receipt must be found by whoever looks.
        if self._outbox.replace(self.address, last, raw, hash):
            _log.info(
                "%s, nonce %d: not mined, now offering %s gwei", last.what, last.nonce, in_gwei(fees.most)
            )
            _rebroadcast(self.w3, raw, last.what)
        return True

    def _fill(self, lowest: int) -> None:
        """Send nothing with a nonce that a process took and left: what comes after it waits for it."""
        nonce, token = self._outbox.take(self.address, lowest, self._lease)
        if nonce != lowest:
            # Somebody is signing for it.
            self._outbox.give_back(self.address, nonce, token)
            return
        call = Call("nothing, in place of a transaction that was never signed", self.address)
        fields = {"chainId": self.chain_id, "gas": _EMPTY_GAS, "value": 0, "data": HexBytes(b"")}
        fields |= {"to": to_checksum_address(self.address)} | _fee_fields(self._market.fees())
        signed = self._sign_for(nonce, token, call, fields)
        if signed is not None:
            self.submit(signed)

    def _why_failed(self, signed: Signed, found: "_Mined") -> ContractError | TransactionFailed:
        """The reason is not in the receipt: ask what the call would have done in that block."""
        try:
            simulate(self.w3, signed.call, self.address, found.block)
        except ContractError as error:
            return error
        out_of_gas = found.gas_used >= signed.gas
        return TransactionFailed(
            f"{signed.call.what}: mined in block {found.block}, but reverted"
            + (f": its {signed.gas} gas ran out" if out_of_gas else "")
        )

    def _count(self) -> int:
        """How many of the account's transactions are mined, as of a moment ago."""
        now = time.monotonic()
        if self._counted is None or now - self._counted[0] >= _COUNT_FOR:
            with explained():
                # Not "pending": not every node counts what is on the way.
                self._counted = now, int(self.w3.eth.get_transaction_count(self.account.address, "latest"))
        return self._counted[1]

    def _block(self) -> int:
        with explained():
            return int(self.w3.eth.block_number)


@dataclass(slots=True)
class _Watch:
    """What is known of the transaction that all others wait for: since when nothing happened to it."""

    hash: bytes | None = None
    block: int = 0
    sent: float = 0.0
    at_ceiling: bool = False


def _fee_fields(fees: Fees) -> dict[str, Any]:
    if fees.tip is None:
        return {"gasPrice": fees.most}
    return {"type": 2, "maxFeePerGas": fees.most, "maxPriorityFeePerGas": fees.tip}


def _more(fee: int) -> int:
    """What a node takes in place of this fee."""
    more, of = _BUMP
    return max(-(-fee * more // of), fee + 1)


class _Market:
    """The fees of the moment, asked for once for all senders that are siblings."""

    def __init__(self, w3: Web3, ceiling: int) -> None:
        self._w3, self._ceiling = w3, ceiling
        self._asked = float("-inf")
        self._fees = Fees(0, None)

    def fees(self) -> Fees:
        now = time.monotonic()
        if now - self._asked >= _FEES_FOR:
            self._fees = current_fees(self._w3, self._ceiling)
            self._asked = now
        return self._fees


@dataclass(frozen=True, slots=True)
class _Mined:
    """A transaction that is in a block; without a receipt where it had no effect."""

    block: int
    gas_used: int
    receipt: Receipt | None


def _mined(w3: Web3, transaction: bytes, what: str) -> _Mined | None:
    """What a node knows of a transaction that is mined; None where it is not, or not yet."""
    try:
        with explained(what):
            found = w3.eth.get_transaction_receipt(HexBytes(transaction))
    except NodeError as error:
        if not isinstance(error.__cause__, TransactionNotFound):
            raise
        return None
    block, gas_used = int(found["blockNumber"]), int(found["gasUsed"])
    if found["status"] == 0:
        return _Mined(block, gas_used, None)
    created = found.get("contractAddress")
    receipt = Receipt(
        what=what,
        transaction=bytes(found["transactionHash"]),
        block=block,
        block_hash=bytes(found["blockHash"]),
        gas_used=gas_used,
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
    return _Mined(block, gas_used, receipt)


def wait_for(
    w3: Web3, transaction: bytes, *, what: str = "transaction", timeout: float = _TIMEOUT
) -> Receipt | None:
    """The receipt of a transaction that somebody sent, once it is mined; None where it had no effect.

    Raises: TransactionPending, when it is not mined in time.
    """
    poll, start = networks.poll_latency(w3), time.monotonic()
    while True:
        found = _mined(w3, transaction, what)
        if found is not None:
            return found.receipt
        if time.monotonic() - start > timeout:
            raise _pending(what, transaction, timeout)
        time.sleep(poll)
        poll = min(poll * 1.2, 1.0)


def _pending(what: str, hash: bytes, timeout: float, at_ceiling: bool = False) -> TransactionPending:
    return TransactionPending(
        f"{what}: transaction 0x{hash.hex()} was not mined within {timeout:.0f} seconds"
        + (", with fees at the ceiling" if at_ceiling else ""),
        remedy="It may still be. Run the same again later: what was done by then is not done twice."
        + (" Or raise DULY_FEE_CEILING." if at_ceiling else ""),
    )


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
    except (NodeError, InsufficientFunds) as error:
        # Known, or mined in this moment.
        _log.debug("sent %s again: %s", what, error.wrong)


def _is_known(error: ChainError) -> bool:
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
