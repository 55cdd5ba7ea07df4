"""Runs the portal: uvicorn, with what it does not limit by itself."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from duly.bootstrap import Application
from duly.config import Endpoint, Web
from duly.interfaces.monitoring import CannotListen
from duly.interfaces.web import create_app
from duly.interfaces.web.security import Rate

HEAD_SECONDS: Final = 10.0
"""How long a request's head may take to arrive, from the connection or from its first byte."""
KEEP_ALIVE_SECONDS: Final = 15
CONNECTIONS: Final = 1_000
HEAD_BYTES: Final = 16 * 1024


class Protocol(H11Protocol):
    """HTTP that does not wait for who begins a request and does not go on."""

    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()  # its head is there; `security.Body` watches the rest
        elif self._slow is None:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._slow = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _unwatch(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None


@contextmanager
def listening(endpoint: Endpoint) -> Iterator[socket.socket]:
    """What listens at an endpoint, for as long as the context lasts. Raises: CannotListen."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    # With the protocol named asyncio sends small answers at once; else their second part waits for 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((endpoint.host, endpoint.port))
        except OSError as error:
            raise CannotListen(
                f"nothing can listen at {endpoint} ({error.strerror or 'no such address'})",
                remedy="Name another host:port with --listen or DULY_WEB_LISTEN.",
            ) from None
        yield listener


def server_of(app: FastAPI, settings: Web) -> uvicorn.Server:
    """What runs a portal."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=10,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
    )


@contextmanager
def answering(application: Application, rates: Mapping[str, Rate]) -> Iterator[str]:
    """A portal beside what else this process does, on a port of its own, for as long as the context lasts;
    its address. For benches and tests: real ones end with their process.
    """
    with listening(Endpoint("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = server_of(create_app(application, origin=address, rates=rates), application.settings.web)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        listener.listen()
        thread.start()
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(30)


def serve(
    application: Application,
    endpoint: Endpoint,
    demo_keys: Mapping[str, str] | None,
    tell: Callable[[str], None],
) -> None:
    """Answer at an endpoint until the process is asked to end. tell: is told the portal's address.

    Raises: CannotListen; and as `create_app`.
    """
    with listening(endpoint) as listener:
        taken = Endpoint(endpoint.host, listener.getsockname()[1])
        app = create_app(application, origin=f"http://{taken}", demo_keys=demo_keys)
        listener.listen()  # whoever is told may come at once
        tell(app.state.site.origin)
        server_of(app, application.settings.web).run([listener])
