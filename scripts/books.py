"""A servicer's own books, as small as they can be: what a program has to do that takes the webhook.

with open_books(secret) as books:
    …                              DULY_WEBHOOK_URL is books.url
    books.events
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from duly.services.webhook import signature


class Books:
    """What was told, and by which requests. answers: what to answer, one after the other, and then 204; where
    it is negative, the events are taken in all the same, as if the answer had been lost.
    """

    def __init__(self, secret: str, url: str) -> None:
        self.secret, self.url = secret, url
        self.events: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.answers: list[int] = []

    def take(self, headers: Any, body: bytes) -> int:
        """Take a request, and answer with a status."""
        name, at = headers["webhook-id"], int(headers["webhook-timestamp"])
        if headers["webhook-signature"] != signature(self.secret, name, at, body):
            return 401
        self.names.append(name)
        answer = self.answers.pop(0) if self.answers else 204
        if 200 <= answer < 300 or answer < 0:
            told = json.loads(body)
            after = told["after"]["block"], told["after"]["log_index"]
            self.events = [each for each in self.events if not _is_after(each, after)] + told["events"]
        return abs(answer)


def _is_after(event: dict[str, Any], after: tuple[int, int | None]) -> bool:
    block, index = after
    later = index is not None and event["block"] == block and event["log_index"] > index
    return bool(later or event["block"] > block)


@contextmanager
def open_books(secret: str) -> Iterator[Books]:
    """Books that take requests on a free port, for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(books.take(self.headers, body))
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    books = Books(secret, f"http://127.0.0.1:{server.server_port}/hook")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield books
    finally:
        server.shutdown()
        server.server_close()
