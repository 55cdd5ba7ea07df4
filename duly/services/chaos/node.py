"""A node between the service and its node, that fails, dawdles and lies as nodes do.

    with Node(url) as node:
        node.fault = Limited(blocks=5)

Whoever needs the truth asks the real one. A fault sees every request with the real answer within its reach,
and gives what the service gets.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

import orjson

Request = dict[str, Any]
Answer = dict[str, Any]
Ask = Callable[[Request], Answer]

_LOGS: Final = "eth_getLogs"
_OF_THE_HEAD: Final = (_LOGS, "eth_getBlockByNumber", "eth_blockNumber")
_TIMEOUT: Final = 60.0


class Status(Exception):
    """Answer with an HTTP status instead. Zero stands for hanging up."""

    def __init__(self, status: int) -> None:
        self.status = status


class Fault(Protocol):
    """What is done to requests."""

    def __call__(self, request: Request, ask: Ask) -> Answer:
        """The answer to a request. ask: gets the real one. Raises: Status."""
        ...


def honest(request: Request, ask: Ask) -> Answer:
    """No fault."""
    return ask(request)


class Node:
    """Listens as a node, in threads of its own. `seen` is called with the method of each request before it is
    passed on, and once more after.
    """

    def __init__(self, url: str) -> None:
        self._real = urlsplit(url)
        self._local = threading.local()
        self.fault: Fault = honest
        self.seen: Callable[[str, bool], None] = lambda method, after: None
        self._up = False
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where the service finds it."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, at the same port each time."""
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # The answer's head and body are written apart: without this each waits for the other's receipt.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # who asked is gone
                    self.close_connection = True
                    return
                try:
                    answer = node.answer(body)
                except Status as status:
                    if status.status:
                        self.send_error(status.status)
                    self.close_connection = True
                    return
                except OSError:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # who asked is gone
                    self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._up = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and hang up on those there are at their next request."""
        self._up = False
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, body: bytes) -> bytes:
        """The answer to the body of a request. Raises: Status, OSError."""
        if not self._up:
            raise Status(0)
        asked = orjson.loads(body)
        if isinstance(asked, list):
            return orjson.dumps([self._answer(each) for each in asked])
        return orjson.dumps(self._answer(asked))

    def _answer(self, request: Request) -> Answer:
        self.seen(request["method"], False)
        answer = self.fault(request, self._ask)
        self.seen(request["method"], True)
        return answer

    def _ask(self, request: Request) -> Answer:
        connection: HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = HTTPConnection(self._real.hostname or "", self._real.port, timeout=_TIMEOUT)
            self._local.connection = connection
        try:
            connection.request("POST", "/", orjson.dumps(request), {"content-type": "application/json"})
            answer: Answer = orjson.loads(connection.getresponse().read())
        except Exception:
            connection.close()
            self._local.connection = None
            raise
        return answer


# ---------------------------------------------------------------------------------------------- faults


class Away:
    """Answers with these statuses in turn, if at all."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = statuses
        self._next = 0

    def __call__(self, request: Request, ask: Ask) -> Answer:
        self._next += 1
        raise Status(self._statuses[self._next % len(self._statuses)])


class Slow:
    """Takes up to so many seconds, evenly spread, for each answer."""

    def __init__(self, dice: random.Random, most: float) -> None:
        self._dice, self._most = dice, most

    def __call__(self, request: Request, ask: Ask) -> Answer:
        time.sleep(self._dice.uniform(0, self._most))
        return ask(request)


class Unreliable:
    """Of some requests hangs up before it passed them on, of some after."""

    def __init__(self, dice: random.Random, share: float) -> None:
        self._dice, self._share = dice, share

    def __call__(self, request: Request, ask: Ask) -> Answer:
        fate = self._dice.random()
        if fate < self._share / 2:
            raise Status(0)
        answer = ask(request)
        if fate < self._share:
            raise Status(0)
        return answer


class Limited:
    """Refuses the logs of more than so many blocks, or more logs than so many, in the words of providers."""

    WORDS: Final[Sequence[tuple[int, str]]] = (
        (-32005, "query returned more than 10000 results"),
        (-32602, "query exceeds max results 20000, retry with the range 1-2"),
        (-32614, "eth_getLogs is limited to a 10,000 range"),
        (-32000, "block range is too large"),
        (-32600, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range"),
    )

    def __init__(self, dice: random.Random, blocks: int, logs: int) -> None:
        self._dice, self._blocks, self._logs = dice, blocks, logs

    def __call__(self, request: Request, ask: Ask) -> Answer:
        span = _span(request)
        if span and span[1] - span[0] >= self._blocks:
            return self._refuse(request)
        answer = ask(request)
        if span and span[1] > span[0] and len(answer.get("result") or ()) > self._logs:
            return self._refuse(request)
        return answer

    def _refuse(self, request: Request) -> Answer:
        if self._dice.random() < 0.1:
            raise Status(413)
        code, message = self._dice.choice(self.WORDS)
        return {"jsonrpc": "2.0", "id": request.get("id"), "error": {"code": code, "message": message}}


class Omitting:
    """Leaves logs out of the answers about ranges: all of some blocks."""

    def __init__(self, dice: random.Random, share: float) -> None:
        self._dice, self._share = dice, share
        self.lies = 0

    def __call__(self, request: Request, ask: Ask) -> Answer:
        answer = ask(request)
        logs = answer.get("result")
        if _span(request) and logs:
            gone = {each for each in {log["blockHash"] for log in logs} if self._dice.random() < self._share}
            kept = [log for log in logs if log["blockHash"] not in gone]
            self.lies += len(kept) < len(logs)
            answer["result"] = kept
        return answer


class Lagging:
    """Stands for several nodes behind one address, some of which are a few blocks behind: they know nothing
    of the last blocks: they leave their logs out of a range, and refuse to tell those of such a block alone.
    """

    def __init__(self, dice: random.Random, blocks: int, share: float) -> None:
        self._dice, self._blocks, self._share = dice, blocks, share
        self.lies = 0

    def __call__(self, request: Request, ask: Ask) -> Answer:
        method = request["method"]
        if (
            method not in (_LOGS, "eth_getBlockByNumber", "eth_blockNumber")
            or self._dice.random() > self._share
        ):
            return ask(request)
        latest = int(
            ask({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []})["result"], 16
        )
        head = max(0, latest - self._dice.randint(1, self._blocks))
        if method == "eth_blockNumber":
            return {"jsonrpc": "2.0", "id": request.get("id"), "result": hex(head)}
        if method == "eth_getBlockByNumber":
            which = request["params"][0]
            if which == "latest":
                request = request | {"params": [hex(head), *request["params"][1:]]}
            elif which.startswith("0x") and int(which, 16) > head:
                self.lies += 1
                return {"jsonrpc": "2.0", "id": request.get("id"), "result": None}
            return ask(request)
        answer = ask(request)
        if answer.get("result"):
            kept = [log for log in answer["result"] if int(log["blockNumber"], 16) <= head]
            if len(kept) < len(answer["result"]):
                self.lies += 1
                if _span(request) is None:
                    error = {"code": -32000, "message": "unknown block"}
                    return {"jsonrpc": "2.0", "id": request.get("id"), "error": error}
            answer["result"] = kept
        return answer


class OtherBranch:
    """Gives the logs of a branch that the chain left, for the blocks that it remembers from there."""

    def __init__(self, dice: random.Random, share: float) -> None:
        self._dice, self._share = dice, share
        self._remembered: dict[int, list[Any]] = {}
        self.lies = 0

    def remember(self, ask: Ask, first: int, last: int) -> None:
        """Remember these blocks' logs as they are now."""
        where = {"fromBlock": hex(first), "toBlock": hex(last)}
        logs = ask({"jsonrpc": "2.0", "id": 1, "method": _LOGS, "params": [where]})["result"]
        self._remembered = {number: [] for number in range(first, last + 1)}
        for log in logs:
            self._remembered[int(log["blockNumber"], 16)].append(log)

    def __call__(self, request: Request, ask: Ask) -> Answer:
        answer, span = ask(request), _span(request)
        if span is None or not isinstance(answer.get("result"), list) or self._dice.random() > self._share:
            return answer
        wanted = {each.lower() for each in request["params"][0].get("address", ())}
        logs = [log for log in answer["result"] if int(log["blockNumber"], 16) not in self._remembered]
        for number in range(span[0], span[1] + 1):
            some = self._remembered.get(number, ())
            logs += [log for log in some if not wanted or log["address"].lower() in wanted]
        logs.sort(key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16)))
        self.lies += logs != answer["result"]
        answer["result"] = logs
        return answer


class WrongHashes:
    """Tells logs with hashes of blocks that there are none of."""

    def __init__(self, dice: random.Random, share: float) -> None:
        self._dice, self._share = dice, share
        self.lies = 0

    def __call__(self, request: Request, ask: Ask) -> Answer:
        answer = ask(request)
        if request["method"] == _LOGS and answer.get("result") and self._dice.random() < self._share:
            self.lies += 1
            for log in answer["result"]:
                log["blockHash"] = "0x" + self._dice.randbytes(32).hex()
        return answer


def _span(request: Request) -> tuple[int, int] | None:
    """The first and last block of a question for the logs of a range; None for any other question."""
    if request["method"] != _LOGS:
        return None
    where = request["params"][0]
    first, last = where.get("fromBlock", ""), where.get("toBlock", "")
    if not (first.startswith("0x") and last.startswith("0x")):
        return None
    return int(first, 16), int(last, 16)
