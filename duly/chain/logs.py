"""The contracts' events: fetched with `eth_getLogs`, never with filters, and decoded.

Behind one address there are often several nodes. One that does not have the last blocks yet, or not their
logs, answers a question about a range with what it has, and does not say that something is missing. So of the
last blocks (`RECENT`) the headers are read too. They must follow upon each other, and every log must be of
one of them. Where a header's bloom filter may hold one of the contracts, the block's logs are asked for by
its hash, which a node that does not have the block refuses (EIP-234).

web3.py takes 330 microseconds to decode an event. What is here takes two: it is compiled from the ABI once,
and slices the 32-byte words out of the hexadecimal text as the node sent it.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import cache
from itertools import pairwise
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict, get_type_hints

import httpx
import orjson
from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak
from web3 import HTTPProvider, Web3

from duly.chain import compiler, networks
from duly.chain.errors import ChainError, ChainUnavailable, NodeError, explained
from duly.domain.audit.tokens import Transfer
from duly.domain.errors import DulyError
from duly.domain.events import CONTRACTS, EVENTS, Block, Event, Logged

if TYPE_CHECKING:
    from duly.chain.contracts import Log

FIRST_WINDOW: Final = 100
LARGEST_WINDOW: Final = 100_000
"""Blocks asked for at once."""

_FEW_LOGS: Final = 4_000
_MANY_LOGS: Final = 15_000
_ATTEMPTS: Final = 5
_FIRST_WAIT: Final = 0.25
_TIMEOUT: Final = 60.0
_BATCH: Final = 100

RECENT: Final = 32
"""Blocks up to the head whose logs are asked for with more care: a node that is behind is behind by a few."""

Topics = Sequence[Sequence[str]]
"""For each place in a log's topics, those that it may have there."""

_TRANSFER: Final = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
_BUSY: Final = re.compile(r"too many requests|rate.?limit|capacity|compute units per second", re.I)


class RawLog(TypedDict):
    """A log as the node tells it. Numbers are hexadecimal text, or integers from a chain in the process."""

    address: str
    topics: list[str]
    data: str
    blockNumber: str | int
    blockHash: str
    blockTimestamp: NotRequired[str]
    transactionHash: str
    logIndex: str | int


class LogsRefused(NodeError):
    """The node refuses to give the logs, even of a single block."""


class Undecodable(ChainError):
    """A log is not what its contract's ABI says."""


class Reorganised(ChainError):
    """The chain changed its mind while it was read."""


# ---------------------------------------------------------------------------------------- decoding


class Decoder:
    """Decodes one kind of log into an object.

    abi: the event's entry in an ABI. make: the class to make; its fields are the event's inputs in
    snake_case, a struct's a dataclass of its own. A line of Python is made from the two, once:

        lambda t, d: make(fromhex(t[1][2:]), "0x" + t[2][26:], int(d[2:66], 16), int(d[66:130], 16))

    Raises: TypeError, when class and ABI are out of step.
    """

    __slots__ = ("_length", "_read", "_topics", "makes", "signature", "topic")

    def __init__(self, abi: Mapping[str, Any], make: type[Any]) -> None:
        inputs = abi["inputs"]
        self.makes = make
        self.signature = f"{abi['name']}({','.join(_abi_type(item) for item in inputs)})"
        self.topic = "0x" + keccak(text=self.signature).hex()
        self._topics = 1 + sum(item["indexed"] for item in inputs)
        unindexed = [item for item in inputs if not item["indexed"]]
        dynamic = any(map(_is_dynamic, unindexed))
        self._length = 0 if dynamic else 2 + 64 * sum(map(_size, unindexed))
        if dynamic:
            self._read = _slow_reader(inputs, make, self.signature)
            return
        line = _Line()
        self._read = line.compiled(line.made(inputs, make, self.signature))

    def __call__(self, topics: Sequence[str], data: str) -> Any:
        """The object that a log's topics and data tell.

        Raises: Undecodable.
        """
        if len(topics) != self._topics or (self._length and len(data) != self._length):
            raise Undecodable(f"a log of {self.signature} has the wrong length")
        try:
            return self._read(topics, data)
        except (ValueError, IndexError, DecodingError, DulyError) as error:
            raise Undecodable(f"a log of {self.signature} cannot be read: {error}") from error


Reader = Callable[[Sequence[str], str], Any]
"""Makes an object of a log's topics and data."""


class _Line:
    """The line of Python that reads one kind of log of static types. The names in it are bound here."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {"fromhex": bytes.fromhex, "signed": _signed}
        self._topic = 1
        self._position = 2

    def compiled(self, expression: str) -> Reader:
        reader: Reader = eval(f"lambda t, d: {expression}", self._names)
        return reader

    def made(self, inputs: Sequence[Mapping[str, Any]], make: type[Any], where: str) -> str:
        """Makes an object of the next values."""
        fields = _fields(make, inputs, where)
        values = [self.value(item, hint) for item, hint in fields]
        # Some classes take their fields by name only.
        named = any(field.kw_only for field in dataclasses.fields(make))
        if named:
            values = [
                f"{field.name}={value}" for field, value in zip(dataclasses.fields(make), values, strict=True)
            ]
        return f"{self._bound('make', make)}({', '.join(values)})"

    def value(self, item: Mapping[str, Any], hint: Any) -> str:
        """Reads the next value, from the topics where it is indexed, else from the data."""
        if item.get("indexed"):
            word = f"t[{self._topic}]"
            self._topic += 1
            if item["type"] == "tuple" or _is_dynamic(item):
                return f"fromhex({word}[2:])"  # only the value's hash is there
            return self._word(item, hint, word, 2)
        if item["type"] == "tuple":
            return self.made(item["components"], hint, _abi_type(item))
        start = self._position
        self._position += 64
        return self._word(item, hint, "d", start)

    def _word(self, item: Mapping[str, Any], hint: Any, text: str, start: int) -> str:
        """Reads a value of an elementary type from the 64 hexadecimal digits that begin there."""
        kind: str = item["type"]
        digits = f"{text}[{start}:{start + 64}]"
        if kind == "address":
            return f'"0x" + {text}[{start + 24}:{start + 64}]'
        if kind == "bool":
            return f"int({digits}, 16) != 0"
        if isinstance(hint, type) and issubclass(hint, IntEnum):
            return f"{self._bound('members', tuple(hint))}[int({text}[{start + 62}:{start + 64}], 16)]"
        if match := re.fullmatch(r"uint(\d+)", kind):
            # The digits before those of the type are zeros; the fewer are read the faster.
            return f"int({text}[{start + 64 - int(match[1]) // 4}:{start + 64}], 16)"
        if kind.startswith("int"):
            return f"signed({digits})"
        if match := re.fullmatch(r"bytes(\d+)", kind):
            return f"fromhex({text}[{start}:{start + 2 * int(match[1])}])"
        raise TypeError(f"a value of type {kind} cannot be read")

    def _bound(self, name: str, value: object) -> str:
        name = f"{name}{len(self._names)}"
        self._names[name] = value
        return name


def _signed(word: str) -> int:
    number = int(word, 16)
    return number - 2**256 if number >= 2**255 else number


def _abi_type(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_abi_type(part) for part in item['components'])}){kind.removeprefix('tuple')}"


def _is_dynamic(item: Mapping[str, Any]) -> bool:
    kind: str = item["type"]
    if kind == "tuple":
        return any(_is_dynamic(part) for part in item["components"])
    return kind in ("string", "bytes") or kind.endswith("]")


def _size(item: Mapping[str, Any]) -> int:
    """How many words a value of a static type takes."""
    return sum(_size(part) for part in item["components"]) if item["type"] == "tuple" else 1


def _fields(
    make: type[Any], inputs: Sequence[Mapping[str, Any]], where: str
) -> list[tuple[Mapping[str, Any], Any]]:
    """The inputs, each with the type of the field that takes it."""
    hints = get_type_hints(make)
    names = [field.name for field in dataclasses.fields(make)]
    wanted = [_field_name(item["name"]) for item in inputs]
    if names != wanted:
        raise TypeError(f"{make.__name__} has the fields {names}, the ABI's {where} has {wanted}")
    return [(item, hints[name]) for item, name in zip(inputs, names, strict=True)]


def _field_name(name: str) -> str:
    """An input's name as Python writes it: `opened_at` for openedAt, `from_` for from."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return f"{snake}_" if iskeyword(snake) else snake


def _slow_reader(inputs: Sequence[Mapping[str, Any]], make: type[Any], where: str) -> Reader:
    """Reads a log with values of dynamic type, with `eth_abi`."""
    fields = _fields(make, inputs, where)
    types = [_abi_type(item) for item in inputs if not item["indexed"]]

    def read(topics: Sequence[str], data: str) -> Any:
        indexed, rest = iter(topics[1:]), iter(abi_decode(types, bytes.fromhex(data[2:])))
        values = [
            _from_topic(next(indexed), item, hint) if item["indexed"] else _converted(next(rest), item, hint)
            for item, hint in fields
        ]
        return make(**dict(zip([field.name for field in dataclasses.fields(make)], values, strict=True)))

    return read


def _from_topic(topic: str, item: Mapping[str, Any], hint: Any) -> Any:
    word = bytes.fromhex(topic[2:])
    if item["type"] == "tuple" or _is_dynamic(item):
        return word  # only the value's hash is there
    return _converted(abi_decode([item["type"]], word)[0], item, hint)


def _converted(value: Any, item: Mapping[str, Any], hint: Any) -> Any:
    if item["type"] == "tuple":
        parts = _fields(hint, item["components"], _abi_type(item))
        values = [_converted(part, *field) for part, field in zip(value, parts, strict=True)]
        return hint(**dict(zip([f.name for f in dataclasses.fields(hint)], values, strict=True)))
    if item["type"] == "address":
        return value.lower()
    return hint(value) if isinstance(hint, type) and issubclass(hint, IntEnum) else value


@cache
def decoders() -> Mapping[str, Decoder]:
    """The decoders of all our events, by topic.

    Raises: TypeError, when events and artifacts are out of step.
    """
    abis = {
        (contract, entry["name"]): entry
        for contract in CONTRACTS
        for entry in compiler.read_artifact(contract).abi
        if entry["type"] == "event"
    }
    made = [Decoder(abis[event.contract, event.name], event) for event in EVENTS]
    return {decoder.topic: decoder for decoder in made}


def topic_of(event: type[Event]) -> str:
    """The first topic of an event's logs."""
    return next(topic for topic, decoder in decoders().items() if decoder.makes is event)


def decode(log: RawLog) -> Event | None:
    """What the log tells; None where it is no event of ours, such as a role that was granted.

    Raises: Undecodable.
    """
    topics = log["topics"]
    decoder = decoders().get(topics[0]) if topics else None
    event: Event | None = decoder(topics, log["data"]) if decoder else None
    return event


def events_of(logs: Iterable["Log"]) -> Iterator[Event]:
    """The events that a receipt's logs tell; what is no event of ours is left out.

    Raises: Undecodable.
    """
    for log in logs:
        topics = ["0x" + topic.hex() for topic in log.topics]
        decoder = decoders().get(topics[0]) if topics else None
        if decoder:
            yield decoder(topics, "0x" + log.data.hex())


def _number(value: str | int) -> int:
    return value if isinstance(value, int) else int(value, 16)


# ---------------------------------------------------------------------------------------- asking a node


class _Refused(Exception):
    """The node answered with an error."""


class _Node:
    """A node, asked through web3.py's provider. may_lag: it is not in this process."""

    def __init__(self, w3: Web3) -> None:
        self._w3 = w3
        self.may_lag = not networks.is_in_process(w3)

    def call(self, method: str, *params: Any) -> Any:
        with explained(method):
            return self._w3.manager.request_blocking(method, list(params))  # type: ignore[arg-type]

    def call_many(self, method: str, many: Sequence[Sequence[Any]]) -> list[Any]:
        return [self.call(method, *params) for params in many]

    def logs(self, question: dict[str, Any], first: int, last: int) -> list[RawLog]:
        """Raises: _Refused, where a smaller range might do."""
        try:
            return list(self.call("eth_getLogs", question | _range(first, last)))
        except NodeError as error:
            raise _Refused(error.wrong) from error


class _HttpNode(_Node):
    """A node, asked over a connection of its own: web3.py would format every log, which takes longest."""

    def __init__(self, w3: Web3, url: str, headers: Mapping[str, str]) -> None:
        super().__init__(w3)
        self._url = url
        self._client = httpx.Client(timeout=_TIMEOUT, headers=headers)
        self._client.headers["content-type"] = "application/json"
        self._batches = True

    def logs(self, question: dict[str, Any], first: int, last: int) -> list[RawLog]:
        try:
            answer: list[RawLog] = self.call("eth_getLogs", question | _range(first, last))
        except httpx.ReadTimeout as error:
            raise _Refused("no answer in time") from error
        return answer

    def call(self, method: str, *params: Any) -> Any:
        """Raises: _Refused; ChainUnavailable."""
        answer = self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise ChainUnavailable(f"{method}: what answers is not a node", remedy=_CHECK_ADDRESS)
        if answer.get("error"):
            raise _Refused(_message(answer["error"]))
        return answer["result"]

    def call_many(self, method: str, many: Sequence[Sequence[Any]]) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(many), _BATCH):
            part = many[start : start + _BATCH]
            answers = self._batch(method, part) if self._batches and len(part) > 1 else None
            results += answers if answers is not None else [self.call(method, *params) for params in part]
        return results

    def _batch(self, method: str, many: Sequence[Sequence[Any]]) -> list[Any] | None:
        """None where the node does not do batches."""
        questions = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, params in enumerate(many)
        ]
        try:
            answers = self._post(questions)
        except _Refused:
            answers = None
        if isinstance(answers, list):
            by_id = {answer.get("id"): answer for answer in answers}
            found = [by_id.get(number, {}) for number in range(len(many))]
            if all("result" in answer for answer in found):
                return [answer["result"] for answer in found]
        self._batches = False
        return None

    def _post(self, content: object) -> Any:
        body = orjson.dumps(content)
        wait = _FIRST_WAIT
        for attempt in range(1, _ATTEMPTS + 1):
            problem = ""
            try:
                response = self._client.post(self._url, content=body)
                if response.status_code == 429 or response.status_code in (502, 503, 504):
                    problem = f"HTTP {response.status_code}"
                else:
                    answer = _json(response)
                    if not _is_busy(answer):
                        return answer
                    problem = _message(answer["error"])
            except httpx.ReadTimeout:
                raise
            except httpx.HTTPError as error:
                # Its text may hold the address, and the address a key.
                problem = type(error).__name__
            if attempt < _ATTEMPTS:
                time.sleep(wait)
                wait *= 2
        raise ChainUnavailable(
            f"the node does not answer after {_ATTEMPTS} attempts ({problem})", remedy=_CHECK_ADDRESS
        )


_CHECK_ADDRESS: Final = "Check that the node runs, and that DULY_RPC or --rpc is its address."


def _question(addresses: Sequence[str], topics: Topics) -> dict[str, Any]:
    question: dict[str, Any] = {"address": list(addresses)}
    return question | {"topics": [list(some) for some in topics]} if topics else question


def _range(first: int, last: int) -> dict[str, Any]:
    return {"fromBlock": hex(first), "toBlock": hex(last)}


def _bloom_bits(value: bytes) -> int:
    """What is set in the bloom filter of a block with a log of this address. Source: Yellow Paper, 4.3.1."""
    hashed = keccak(value)
    return sum({1 << (int.from_bytes(hashed[start : start + 2], "big") & 2047) for start in (0, 2, 4)})


def _json(response: httpx.Response) -> Any:
    """Raises: _Refused, when it is none."""
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        raise _Refused(f"HTTP {response.status_code}") from None


def _is_busy(answer: object) -> bool:
    error = answer.get("error") if isinstance(answer, dict) else None
    return isinstance(error, dict) and bool(
        error.get("code") == 429 or _BUSY.search(str(error.get("message", "")))
    )


def _message(error: object) -> str:
    text = error.get("message", error) if isinstance(error, dict) else error
    return str(text)[:300]


def _node_of(w3: Web3) -> _Node:
    provider = w3.provider
    if isinstance(provider, HTTPProvider) and provider.endpoint_uri:
        given = dict(provider.get_request_kwargs()).get("headers") or {}
        return _HttpNode(w3, str(provider.endpoint_uri), {str(k): str(v) for k, v in given.items()})
    return _Node(w3)


# ---------------------------------------------------------------------------------------- reading


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """All logs from block `first` to the block `last`, on one branch of the chain."""

    first: int
    last: Block
    logs: list[RawLog]


class LogReader:
    """Reads the logs of some contracts, page by page.

    Remembers the largest window that the node was willing to answer. window: most blocks to ask for at once;
    by default as many as the node answers. topics: that the logs must have; by default all logs are read.
    """

    def __init__(
        self, w3: Web3, addresses: Sequence[str], window: int | None = None, topics: Topics = ()
    ) -> None:
        self._node = _node_of(w3)
        self._addresses = [address.lower() for address in addresses]
        self._question = _question(self._addresses, topics)
        self._bloom = [_bloom_bits(bytes.fromhex(address[2:])) for address in self._addresses]
        self.window = window or FIRST_WINDOW
        self._limit = window or LARGEST_WINDOW

    def fetch(self, first: int, last: int) -> list[RawLog]:
        """The logs of the blocks from `first` to `last`, in the chain's order.

        Raises: LogsRefused, ChainUnavailable.
        """
        found: list[RawLog] = []
        while first <= last:
            end = min(last, first + self.window - 1)
            try:
                logs = self._node.logs(self._question, first, end)
            except _Refused as refused:
                span = end - first + 1
                if span == 1:
                    raise LogsRefused(
                        f"the node refuses the logs of block {first}: {refused}",
                        remedy="Use a node that keeps the logs since the contracts were deployed.",
                    ) from None
                self._limit = self.window = span // 2
                continue
            found += logs
            first = end + 1
            if len(logs) < _FEW_LOGS:
                self.window = min(2 * self.window, self._limit)
            elif len(logs) > _MANY_LOGS:
                self.window = max(1, self.window // 2)
        return found

    def page(self, after: Block, head: int) -> Page:
        """The next page after a block that is known, up to `head` at most.

        Raises: Reorganised, when the known block or the page's last is not on the chain any more;
        LogsRefused, ChainUnavailable.
        """
        first, left = after.number + 1, head - after.number
        recent = left <= RECENT and self._node.may_lag
        last = self.block(after.number + min(self.window, left if left <= RECENT else left - RECENT))
        if last is None:
            raise Reorganised
        logs = self.fetch(first, last.number)
        # Were the logs of the branch that the blocks are of? A chain that changed its mind shows here.
        headers = self._headers(
            range(after.number, last.number + 1) if recent else (after.number, last.number)
        )
        if [_block(headers[0]), _block(headers[-1])] != [after, last]:
            raise Reorganised
        return Page(first, last, self._confirmed(headers, logs) if recent else logs)

    def _confirmed(self, headers: Sequence[Any], logs: Sequence[RawLog]) -> list[RawLog]:
        """All logs of blocks that follow upon the first of these.

        logs: of the range, as far as the node had them. Raises: Reorganised, ChainUnavailable.
        """
        by_block: dict[str, list[RawLog]] = {}
        for log in logs:
            by_block.setdefault(log["blockHash"], []).append(log)
        found: list[RawLog] = []
        for before, header in pairwise(headers):
            if header is None or header["parentHash"] != before["hash"]:
                raise Reorganised
            told = by_block.pop(header["hash"], [])
            if any(_number(log["blockNumber"]) != _number(header["number"]) for log in told):
                raise Reorganised
            bloom = int(header.get("logsBloom") or "0x0", 16)
            if any(bloom & bits == bits for bits in self._bloom):
                more = self._of_block(header["hash"])
                if len(more) < len(told):
                    raise Reorganised
                told = more
            found += told
        if by_block:
            # Of another branch, or of none.
            raise Reorganised
        return found

    def _of_block(self, block: str) -> list[RawLog]:
        """Raises: Reorganised, where the node does not have the block."""
        try:
            logs: list[RawLog] = list(self._node.call("eth_getLogs", self._question | {"blockHash": block}))
        except (_Refused, NodeError):
            raise Reorganised from None
        if any(log["blockHash"] != block for log in logs):
            raise Reorganised
        return logs

    def block(self, which: int | str) -> Block | None:
        """A block by number or by a name such as "finalized"; None where the chain has none.

        Raises: NodeError, when the node does not know the name; ChainUnavailable.
        """
        try:
            return _block(self._node.call("eth_getBlockByNumber", _tag(which), False))
        except _Refused as refused:
            raise NodeError(
                f"the node does not tell block {which}: {refused}",
                remedy="Set DULY_FINALITY to what the node knows: finalized, safe, latest, or a number."
                if isinstance(which, str)
                else None,
            ) from None

    def final(self, finality: str | int) -> int:
        """The number of the last block to act on; -1 where a young chain has nothing that is final yet.

        finality: a name such as "finalized"; or how many blocks have to be built upon one.

        Raises: NodeError, ChainUnavailable.
        """
        last = self.block("latest" if isinstance(finality, int) else finality)
        if last is None:
            return -1
        return max(-1, last.number - finality) if isinstance(finality, int) else last.number

    def final_block(self, finality: str | int) -> Block | None:
        """That block; None where there is none yet.

        Raises: NodeError, ChainUnavailable.
        """
        if isinstance(finality, str):
            return self.block(finality)
        number = self.final(finality)
        return self.block(number) if number >= 0 else None

    def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Blocks by number, asked for at once where the node can."""
        return [_block(answer) for answer in self._headers(numbers)]

    def _headers(self, numbers: Sequence[int]) -> list[Any]:
        try:
            return self._node.call_many("eth_getBlockByNumber", [[hex(n), False] for n in numbers])
        except _Refused as refused:
            raise NodeError(f"the node does not tell its blocks: {refused}") from None

    def transfers(self, token: str, transactions: Sequence[bytes]) -> dict[bytes, list[Transfer]]:
        """What of a token moved in transactions, by their hashes.

        Raises: NodeError, where the node does not tell a receipt; ChainUnavailable.
        """
        hashes = ["0x" + each.hex() for each in transactions]
        try:
            receipts = self._node.call_many("eth_getTransactionReceipt", [[each] for each in hashes])
        except _Refused as refused:
            raise NodeError(f"the node does not tell its receipts: {refused}") from None
        found: dict[bytes, list[Transfer]] = {}
        for transaction, receipt in zip(transactions, receipts, strict=True):
            if receipt is None:
                raise Reorganised
            logs = [log for log in receipt["logs"] if str(log["address"]).lower() == token.lower()]
            found[transaction] = [transfer for log in logs if (transfer := _transfer(log)) is not None]
        return found

    def has_code(self, address: str) -> bool:
        """Whether there is a contract at the address, as of the latest block."""
        try:
            return len(str(self._node.call("eth_getCode", address, "latest"))) > 2
        except _Refused as refused:
            raise NodeError(f"the node does not tell a contract's code: {refused}") from None

    def decode(self, logs: Sequence[RawLog]) -> list[Logged]:
        """The events that logs tell, in their order; what is no event of ours is left out.

        A node that does not tell the blocks' times with their logs is asked for them.

        Raises: Undecodable, ChainUnavailable; Reorganised, when a log's block is not on the chain any more.
        """
        if logs and not logs[0].get("blockTimestamp"):
            return decode_all(logs, self._timestamps(logs))
        return decode_all(logs)

    def _timestamps(self, logs: Sequence[RawLog]) -> dict[str, int]:
        """Times of the logs' blocks, by the block's hash."""
        hashes = {_number(log["blockNumber"]): log["blockHash"] for log in logs}
        found: dict[str, int] = {}
        for block, block_hash in zip(self.blocks(list(hashes)), hashes.values(), strict=True):
            if block is None or block.hash != bytes.fromhex(block_hash[2:]):
                raise Reorganised
            found[block_hash] = block.timestamp
        return found


def decode_all(logs: Sequence[RawLog], timestamps: Mapping[str, int] | None = None) -> list[Logged]:
    """The events that logs tell, in their order; what is no event of ours is left out.

    timestamps: of the blocks, by hash, where the logs do not tell them.

    Raises: Undecodable.
    """
    by_topic = decoders()
    found: list[Logged] = []
    # Neighbours are mostly of the same block and transaction.
    last_block = last_transaction = ""
    number = timestamp = 0
    block_hash = transaction_hash = b""
    for log in logs:
        topics = log["topics"]
        decoder = by_topic.get(topics[0]) if topics else None
        if decoder is None:
            continue
        if log["blockHash"] != last_block:
            last_block = log["blockHash"]
            block_hash = bytes.fromhex(last_block[2:])
            number = _number(log["blockNumber"])
            timestamp = timestamps[last_block] if timestamps else _number(log["blockTimestamp"])
        if log["transactionHash"] != last_transaction:
            last_transaction = log["transactionHash"]
            transaction_hash = bytes.fromhex(last_transaction[2:])
        index = log["logIndex"]
        found.append(
            Logged(
                decoder(topics, log["data"]),
                number,
                block_hash,
                timestamp,
                transaction_hash,
                index if isinstance(index, int) else int(index, 16),
            )
        )
    return found


def fetch(w3: Web3, addresses: Sequence[str], first: int, last: int) -> list[RawLog]:
    """All logs of some contracts from block `first` to `last`, in the chain's order.

    Raises: LogsRefused, ChainUnavailable.
    """
    return LogReader(w3, addresses).fetch(first, last)


def _transfer(log: Any) -> Transfer | None:
    """What a log tells to have moved; None where it is another event. Source: ERC-20."""
    topics = [_text(topic) for topic in log["topics"]]
    if len(topics) != 3 or topics[0] != _TRANSFER:
        return None
    return Transfer("0x" + topics[1][-40:], "0x" + topics[2][-40:], int(_text(log["data"])[2:66], 16))


def _text(value: Any) -> str:
    """Bytes as a node tells them, or as a chain in the process does."""
    return value.lower() if isinstance(value, str) else "0x" + bytes(value).hex()


def _tag(which: int | str) -> str:
    return which if isinstance(which, str) else hex(which)


def _block(answer: Any) -> Block | None:
    if answer is None:
        return None
    return Block(_number(answer["number"]), bytes.fromhex(answer["hash"][2:]), _number(answer["timestamp"]))
