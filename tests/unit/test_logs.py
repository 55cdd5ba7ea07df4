"""Logs: decoded as web3.py decodes them, and fetched however small the windows that a node grants."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, cast

import httpx
import orjson
import pytest
from eth_abi.abi import encode
from eth_bloom import BloomFilter
from hexbytes import HexBytes
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import HTTPProvider, Web3
from web3.types import LogReceipt

from duly.chain import compiler, logs
from duly.chain.errors import ChainUnavailable
from duly.chain.logs import (
    Decoder,
    LogReader,
    LogsRefused,
    RawLog,
    Reorganised,
    Undecodable,
    decode,
    decoders,
)
from duly.domain import events
from duly.domain.consent import Channel
from duly.domain.events import Block, Event
from duly.domain.grievance import Grievance
from duly.domain.notice import Kind, Refusal
from duly.domain.policy import AprConvention
from duly.domain.terms import Frequency, Schedule

LEDGER = "0x" + "1e" * 20
CLIENT = httpx.Client
ENUMS = {f"enum {kind.__name__}": kind for kind in (Channel, Kind, Refusal, Grievance, AprConvention)}
ADDRESSES = st.binary(min_size=20, max_size=20).filter(any).map(lambda raw: "0x" + raw.hex())
# What a ledger can hold; other terms it refuses to open, and `Terms` to be made.
LIMITS = {
    "principal": st.integers(1, 2**88 - 1),
    "rate": st.integers(0, 10_000_000),
    "instalments": st.integers(1, 6),
    "schedule": st.integers(0, len(Schedule) - 1),
    "frequency": st.integers(0, len(Frequency) - 1),
    "calendarOffset": st.integers(-48, 56),
}


@cache
def abi_of(event: type[Event]) -> dict[str, Any]:
    abi = compiler.read_artifact(event.contract).abi
    return next(entry for entry in abi if entry["type"] == "event" and entry["name"] == event.name)


@cache
def event_values(event: type[Event]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Random values of an event's fields."""
    return st.tuples(*map(values, abi_of(event)["inputs"]))


def values(item: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Random values of an ABI type."""
    kind = item["type"]
    if kind == "tuple":
        parts = st.tuples(*[LIMITS.get(p["name"], values(p)) for p in item["components"]])
        if item.get("internalType") == "struct Terms":
            # Lender and borrower differ, and the origination fee leaves something of the principal.
            parts = parts.filter(lambda found: found[0] != found[1])
            parts = parts.map(lambda found: (*found[:3], found[3] % found[2], *found[4:]))
        return parts
    if item.get("internalType") in ENUMS:
        return st.integers(0, len(ENUMS[item["internalType"]]) - 1)
    if kind == "address":
        return ADDRESSES
    if kind == "bool":
        return st.booleans()
    if kind == "string":
        return st.text()
    if kind == "bytes":
        return st.binary()
    if kind.endswith("[]"):
        return st.lists(values(item | {"type": kind[:-2]}), max_size=4)
    if match := re.fullmatch(r"bytes(\d+)", kind):
        return st.binary(min_size=int(match[1]), max_size=int(match[1]))
    match = re.fullmatch(r"(u?)int(\d+)", kind)
    assert match
    bits = int(match[2])
    return st.integers(0, 2**bits - 1) if match[1] else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def type_of(item: dict[str, Any]) -> str:
    if item["type"] != "tuple":
        return str(item["type"])
    return f"({','.join(map(type_of, item['components']))})"


def log_of(abi: dict[str, Any], found: Sequence[Any]) -> RawLog:
    """The log that an event with these values leaves."""
    inputs = list(zip(abi["inputs"], found, strict=True))
    signature = f"{abi['name']}({','.join(type_of(item) for item in abi['inputs'])})"
    topics = ["0x" + Web3.keccak(text=signature).hex()]
    topics += ["0x" + encode([type_of(item)], [value]).hex() for item, value in inputs if item["indexed"]]
    rest = [(type_of(item), value) for item, value in inputs if not item["indexed"]]
    data = encode([kind for kind, _ in rest], [value for _, value in rest])
    return {
        "address": LEDGER,
        "topics": topics,
        "data": "0x" + data.hex(),
        "blockNumber": "0x2a",
        "blockHash": "0x" + "b1" * 32,
        "blockTimestamp": "0x64",
        "transactionHash": "0x" + "7a" * 32,
        "logIndex": "0x7",
    }


@cache
def web3_event(name: str) -> Any:
    abi = ODD if name == "Odd" else next(abi_of(event) for event in events.EVENTS if event.name == name)
    return Web3().eth.contract(abi=[abi]).events[name]()


def by_web3(abi: dict[str, Any], log: RawLog) -> dict[str, Any]:
    """What web3.py makes of it, by the field's name."""
    receipt = LogReceipt(
        address=Web3.to_checksum_address(log["address"]),
        topics=[HexBytes(topic) for topic in log["topics"]],
        data=HexBytes(log["data"]),
        blockNumber=42,
        blockHash=HexBytes(log["blockHash"]),
        transactionHash=HexBytes(log["transactionHash"]),
        transactionIndex=0,
        logIndex=7,
        removed=False,
    )
    return dict(web3_event(abi["name"]).process_log(receipt)["args"])


def plain(value: Any) -> Any:
    """An event or its parts as web3.py would give them: plain, with addresses in lower case."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {
            re.sub("_(.?)", lambda match: match[1].upper(), name): plain(getattr(value, name))
            for name in names
        }
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, str):
        return value.lower() if value.startswith("0x") else value
    if hasattr(value, "items"):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return bytes(value) if isinstance(value, (bytes, HexBytes)) else value


@pytest.mark.parametrize("event", events.EVENTS, ids=lambda event: event.name)
@settings(max_examples=30)
@given(data=st.data())
def test_decodes_as_web3_does(event: type[Event], data: st.DataObject) -> None:
    abi = abi_of(event)
    log = log_of(abi, data.draw(event_values(event)))
    found = decode(log)
    assert type(found) is event
    assert plain(found) == plain(by_web3(abi, log))


@dataclass(frozen=True)
class Inner:
    count: int
    label: str


@dataclass(frozen=True)
class Odd:
    who: str
    words: str
    parts: tuple[int, ...]
    inner: Inner
    flag: bool
    raw: bytes
    small: bytes


ODD = {
    "type": "event",
    "name": "Odd",
    "inputs": [
        {"name": "who", "type": "address", "indexed": True},
        {"name": "words", "type": "string", "indexed": False},
        {"name": "parts", "type": "uint16[]", "indexed": False},
        {
            "name": "inner",
            "type": "tuple",
            "indexed": False,
            "components": [{"name": "count", "type": "int40"}, {"name": "label", "type": "string"}],
        },
        {"name": "flag", "type": "bool", "indexed": False},
        {"name": "raw", "type": "bytes", "indexed": False},
        {"name": "small", "type": "bytes4", "indexed": True},
    ],
    "anonymous": False,
}


@settings(max_examples=30)
@given(data=st.data())
def test_decodes_dynamic_types_too(data: st.DataObject) -> None:
    log = log_of(ODD, [data.draw(values(item)) for item in ODD["inputs"]])
    assert plain(Decoder(ODD, Odd)(log["topics"], log["data"])) == plain(by_web3(ODD, log))


def test_events_and_abi_out_of_step_are_found_at_the_start() -> None:
    with pytest.raises(TypeError, match="has the fields"):
        Decoder(ODD, Inner)


def test_every_event_of_ours_is_known() -> None:
    """Save those that say nothing about loans: OpenZeppelin's, and that the desk was bound."""
    told = {
        entry["name"]
        for contract in events.CONTRACTS
        for entry in compiler.read_artifact(contract).abi
        if entry["type"] == "event"
    }
    foreign = {"Bound", "EIP712DomainChanged", "RoleAdminChanged", "RoleGranted", "RoleRevoked"}
    told = {name for name in told - foreign if not name.startswith("DefaultAdmin")}
    assert told == {event.name for event in events.EVENTS}
    assert len(decoders()) == len(events.EVENTS)


def test_foreign_logs_are_left_out() -> None:
    log = log_of(abi_of(events.Claimed), [LEDGER, LEDGER, 5])
    assert decode({**log, "topics": ["0x" + "00" * 32]}) is None
    assert decode({**log, "topics": []}) is None
    assert logs.decode_all([{**log, "topics": ["0x" + "00" * 32]}]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"data": "0x"},
        {"data": "0x" + "00" * 64},
        {"data": "0x" + "zz" * 32},
        {"topics": ["0x" + Web3.keccak(text="Claimed(address,address,uint256)").hex()]},
    ],
)
def test_malformed_logs_are_told(change: dict[str, Any]) -> None:
    log = log_of(abi_of(events.Claimed), [LEDGER, LEDGER, 5])
    with pytest.raises(Undecodable, match="Claimed"):
        decode({**log, **change})


def test_a_value_outside_its_enumeration_is_told() -> None:
    log = log_of(abi_of(events.ConsentGranted), [LEDGER, 3])
    with pytest.raises(Undecodable):
        decode({**log, "topics": [*log["topics"][:2], "0x" + (99).to_bytes(32, "big").hex()]})


# ---------------------------------------------------------------------------------------- fetching


CLAIMED = log_of(abi_of(events.Claimed), [LEDGER, LEDGER, 5])


Lie = Callable[[list[RawLog]], list[RawLog]]


class Node:
    """A node over HTTP that holds one log in each block.

    by_range, by_hash: what it makes of the logs it is asked for. head: the last block whose logs it has.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int = 10**9, **options: Any) -> None:
        self.limit = limit
        self.asked: list[tuple[int, int]] = []
        self.requests = 0
        self.fork = b"\0"
        self.head = 10**6
        self.bloom = hex(int(BloomFilter.from_iterable([bytes.fromhex(LEDGER[2:])])))
        self.by_range: Lie = lambda found: found
        self.by_hash: Lie = lambda found: found
        self.batches = options.pop("batches", True)
        self.timestamps = options.pop("timestamps", True)
        self.problems: list[httpx.Response | Exception] = []
        monkeypatch.setattr(logs.time, "sleep", lambda seconds: None)
        transport = httpx.MockTransport(self.answer)
        monkeypatch.setattr(httpx, "Client", lambda **kwargs: CLIENT(transport=transport, **kwargs))
        self.reader = LogReader(Web3(HTTPProvider("http://node.invalid/secret")), [LEDGER])

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.problems:
            problem = self.problems.pop(0)
            if isinstance(problem, Exception):
                raise problem
            return problem
        question = orjson.loads(request.content)
        if isinstance(question, list):
            if not self.batches:
                return httpx.Response(200, json={"error": {"code": -32600, "message": "no batches"}})
            return httpx.Response(200, json=[self.one(part) for part in reversed(question)])
        return httpx.Response(200, json=self.one(question))

    def one(self, question: dict[str, Any]) -> dict[str, Any]:
        result: Any
        if question["method"] == "eth_getLogs":
            [where] = question["params"]
            if block := where.get("blockHash"):
                number = int(block[4:], 16)
                if block != self.hash(number) or number > self.head:
                    return {"id": question["id"], "error": {"code": -32000, "message": "unknown block"}}
                return {"id": question["id"], "result": self.by_hash([self.log(number)])}
            first, last = int(where["fromBlock"], 16), int(where["toBlock"], 16)
            self.asked.append((first, last))
            if last - first + 1 > self.limit:
                error = {"code": -32005, "message": "query returned more than 10000 results"}
                return {"id": question["id"], "error": error}
            result = self.by_range([self.log(number) for number in range(first, last + 1)])
        else:
            number = int(question["params"][0], 16)
            result = {
                "number": hex(number),
                "hash": self.hash(number),
                "parentHash": self.hash(number - 1),
                "timestamp": hex(number * 12),
                "logsBloom": self.bloom,
            }
        return {"id": question["id"], "result": result}

    def hash(self, number: int) -> str:
        return "0x" + (self.fork + number.to_bytes(31, "big")).hex()

    def log(self, number: int) -> RawLog:
        log: RawLog = {**CLAIMED}
        log["blockNumber"], log["blockHash"] = hex(number), self.hash(number)
        log["blockTimestamp"] = hex(number * 12)
        if not self.timestamps:
            del log["blockTimestamp"]
        return log

    def block(self, number: int) -> Block:
        return Block(number, bytes.fromhex(self.hash(number)[2:]), number * 12)


@pytest.mark.parametrize("limit", [1, 3, 10, 999, 10**9])
def test_windows_are_halved_until_the_node_answers(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    node = Node(monkeypatch, limit)
    found = node.reader.fetch(5, 504)
    assert [int(log["blockNumber"], 16) for log in found] == list(range(5, 505))
    refused = [first for first, last in node.asked if last - first + 1 > limit]
    assert set(refused) <= {5}  # what worked is remembered
    node.asked.clear()
    node.reader.fetch(505, 700)
    assert all(last - first + 1 <= limit for first, last in node.asked)


def test_a_node_that_refuses_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LogsRefused, match=r"block 5: query returned more"):
        Node(monkeypatch, 0).reader.fetch(5, 500)


def test_a_node_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    node.problems = [
        httpx.Response(429),
        httpx.Response(200, json={"error": {"code": 429, "message": "Too Many Requests"}}),
        httpx.ConnectError("refused"),
    ]
    assert len(node.reader.fetch(1, 10)) == 10
    assert node.asked == [(1, 10)]


def test_a_slow_answer_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    node.problems = [httpx.ReadTimeout("slow")]
    assert len(node.reader.fetch(1, 10)) == 10
    assert node.asked == [(1, 5), (6, 10)]


@pytest.mark.parametrize("problem", [httpx.ConnectError("http://node.invalid/secret"), httpx.Response(503)])
def test_a_node_that_is_down(monkeypatch: pytest.MonkeyPatch, problem: Any) -> None:
    node = Node(monkeypatch)
    node.problems = [problem] * 100
    with pytest.raises(ChainUnavailable) as raised:
        node.reader.fetch(1, 10)
    assert "secret" not in str(raised.value)
    assert node.requests == 5


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"hello": 1}'])
def test_what_is_no_node(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    node = Node(monkeypatch)
    node.problems = [httpx.Response(200, content=content)] * 100
    with pytest.raises((ChainUnavailable, LogsRefused)):
        node.reader.fetch(1, 10)


@pytest.mark.parametrize("batches", [True, False])
def test_times_are_asked_for_where_logs_do_not_tell_them(
    monkeypatch: pytest.MonkeyPatch, batches: bool
) -> None:
    told, asked = Node(monkeypatch), Node(monkeypatch, timestamps=False, batches=batches)
    asked.reader.window = told.reader.window = 250
    assert asked.reader.decode(asked.reader.fetch(1, 250)) == told.reader.decode(told.reader.fetch(1, 250))
    assert asked.requests == (4 if batches else 252)


def test_times_of_another_branch_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch, timestamps=False)
    found = node.reader.fetch(1, 5)
    node.fork = b"\1"
    with pytest.raises(Reorganised):
        node.reader.decode(found)


def test_pages_are_of_one_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    page = node.reader.page(node.block(10), 20)
    assert (page.first, page.last, len(page.logs)) == (11, node.block(20), 10)
    known = node.block(10)
    node.fork = b"\1"
    with pytest.raises(Reorganised):
        node.reader.page(known, 20)


NOWHERE = "0x" + "99" * 32
LIES: dict[str, Lie] = {
    "all left out": lambda found: [],
    "the last ones left out": lambda found: found[:-3],
    "some left out": lambda found: found[::2],
    "the same": lambda found: found,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_logs_that_a_node_leaves_out_are_missed(monkeypatch: pytest.MonkeyPatch, lie: Lie) -> None:
    node = Node(monkeypatch)
    node.by_range = lie
    page = node.reader.page(node.block(10), 20)
    assert [int(log["blockNumber"], 16) for log in page.logs] == list(range(11, 21))


@pytest.mark.parametrize("way", ["by_range", "by_hash"])
@pytest.mark.parametrize("change", [{"blockHash": NOWHERE}, {"blockNumber": "0x5", "blockHash": NOWHERE}])
def test_logs_of_no_block_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, way: str, change: dict[str, Any]
) -> None:
    node = Node(monkeypatch)
    setattr(node, way, lambda found: [*found[:-1], cast("RawLog", {**found[-1], **change})])
    with pytest.raises(Reorganised):
        node.reader.page(node.block(10), 20)


def test_logs_of_a_block_that_the_node_does_not_have_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    node.by_range, node.head = LIES["the last ones left out"], 17
    with pytest.raises(Reorganised):
        node.reader.page(node.block(10), 20)


def test_a_block_that_holds_nothing_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    node.bloom = "0x" + "00" * 256
    node.by_range = LIES["all left out"]
    assert node.reader.page(node.block(10), 20).logs == []
    assert node.requests == 3  # the last block, the range's logs, all headers


def test_only_the_last_blocks_are_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    node.reader.window = 1_000
    page = node.reader.page(node.block(10), 500)
    assert (page.last, node.requests) == (node.block(500 - logs.RECENT), 3)
    last = node.reader.page(page.last, 500)
    assert (last.last, len(last.logs), node.requests) == (node.block(500), logs.RECENT, 6 + logs.RECENT)
