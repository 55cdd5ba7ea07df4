"""A remote signer that speaks as Web3Signer or Clef do, for tests. Its keys are no secrets."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from eth_account import Account


@dataclass
class RemoteKeys:
    """A signer over HTTP. dialect: of Web3Signer or of Clef. twist: what it changes before it signs."""

    dialect: str = "web3signer"
    keys: tuple[bytes, ...] = (bytes(31) + b"\x51",)
    twist: Callable[[dict[str, Any]], dict[str, Any]] = lambda fields: fields
    answers: bytes | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accounts(self) -> list[Any]:
        return [Account.from_key(key) for key in self.keys]

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(question)
        method, parameters = question["method"], question["params"]
        prefix = {"web3signer": "eth_", "clef": "account_"}[self.dialect]
        if method == {"web3signer": "eth_accounts", "clef": "account_list"}[self.dialect]:
            return {"result": [account.address for account in self.accounts]}
        if method == f"{prefix}signTransaction":
            fields = self.twist(dict(parameters[0]))
            if fields.get("declined"):
                return {"error": {"code": -32000, "message": "request denied"}}
            wanted = fields.pop("from").lower()
            account = next(each for each in self.accounts if each.address.lower() == wanted)
            raw = "0x" + account.sign_transaction(fields).raw_transaction.hex().removeprefix("0x")
            return {"result": raw if self.dialect == "web3signer" else {"raw": raw, "tx": {}}}
        return {"error": {"code": -32601, "message": f"the method {method} does not exist"}}


@contextmanager
def served(keys: RemoteKeys) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = keys.answers or json.dumps({"jsonrpc": "2.0", "id": 1} | keys.answer(question)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
