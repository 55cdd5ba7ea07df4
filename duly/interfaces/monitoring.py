"""What a monitoring system asks a running service, over http.

    /metrics    the figures of `duly.services.telemetry`, as Prometheus reads them
    /healthz    200: the process is alive
    /readyz     200 where the service can work, else 503 and why, a line for each part

Nothing here tells of a person, or lets anything be changed. It is not meant for the open network: what a
lender is doing, and how much, is its own business.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from duly.config import Endpoint
from duly.domain.errors import DulyError

_TEXT: Final = "text/plain; charset=utf-8"
_IDLE: Final = 10.0
"""Seconds after which a connection that says nothing is closed."""


class CannotListen(DulyError):
    """Nothing can listen there."""


class Readiness(Protocol):
    """Tells what keeps the service from working."""

    def problems(self) -> Mapping[str, str]:
        """By part; nothing where it is ready."""
        ...


@contextmanager
def answering(endpoint: Endpoint, readiness: Readiness) -> Iterator[Endpoint]:
    """Answer at an endpoint for as long as the context lasts; yields where that is, with the port that was
    taken where any would do.

    Raises: CannotListen.
    """

    class Handler(_Handler):
        ready = readiness

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if ":" in endpoint.host else AF_INET

    try:
        server = Server((endpoint.host, endpoint.port), Handler)
    except OSError as error:
        raise CannotListen(
            f"nothing can listen at {endpoint} ({error.strerror or 'no such address'})",
            remedy="Name another host:port with --listen or DULY_LISTEN.",
        ) from None
    with server:
        thread = threading.Thread(target=server.serve_forever, name="duly-monitoring", daemon=True)
        thread.start()
        try:
            yield Endpoint(endpoint.host, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    ready: Readiness
    timeout = _IDLE
    server_version = "duly"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
        elif path == "/healthz":
            self._answer(200, b"alive\n")
        elif path == "/readyz":
            problems = self.ready.problems()
            lines = [f"{part}: {problem}\n" for part, problem in problems.items()]
            self._answer(503 if problems else 200, "".join(lines or ["ready\n"]).encode())
        else:
            self._answer(404, b"there are /metrics, /healthz and /readyz\n")

    do_HEAD = do_GET

    def _answer(self, code: int, body: bytes, kind: str = _TEXT) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Who asks how things are is no news."""
