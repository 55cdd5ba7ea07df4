"""The portal's server lets nobody wait for ever."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from duly.config import Endpoint
from duly.interfaces.web import security, server

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))
from portal import ORIGIN, Scene

END = 10.0


@pytest.fixture
def address(monkeypatch):
    """Where a portal answers that has little patience."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(security, "BODY_SECONDS", 0.5)
    told, servers = threading.Event(), []
    run = server.uvicorn.Server.run

    def keep(self, sockets):
        servers.append((self, sockets[0].getsockname()))
        told.set()
        return run(self, sockets)

    monkeypatch.setattr(server.uvicorn.Server, "run", keep)
    arguments = (Scene().app, Endpoint("127.0.0.1", 0), None, lambda _: None)
    thread = threading.Thread(target=server.serve, args=arguments)
    thread.start()
    assert told.wait(END)
    yield servers[0][1]
    servers[0][0].should_exit = True
    thread.join()


def answer(address, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What comes back, until the other end closes."""
    with socket.create_connection(address, timeout=END) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause)
        found = b""
        try:
            while more := connection.recv(65_536):
                found += more
        except ConnectionResetError:
            pass
        return found


HEAD = f"GET /healthz HTTP/1.1\r\nHost: {ORIGIN[7:]}\r\nConnection: close\r\n".encode()
POST = (
    f"POST /language HTTP/1.1\r\nHost: {ORIGIN[7:]}\r\nOrigin: {ORIGIN}\r\nConnection: close\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\n"
).encode()


def test_who_asks_is_answered(address):
    assert answer(address, HEAD + b"\r\n").startswith(b"HTTP/1.1 200")
    assert answer(address, POST, b"language=zh").startswith(b"HTTP/1.1 303")


def test_who_says_nothing_or_does_not_go_on_is_cut_off(address):
    assert answer(address) == b""
    assert answer(address, HEAD) == b""
    # A little of it again and again is no way around.
    assert answer(address, *([HEAD] + [b"X: y\r\n"] * 9), pause=0.2) == b""


def test_a_body_that_does_not_come_is_not_waited_for(address):
    assert answer(address, POST, b"lang").startswith(b"HTTP/1.1 408")
