"""A new block wakes whoever waits for it, and nothing that a node does keeps one from waiting."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import Node
from web3 import HTTPProvider, Web3
from websockets.sync.server import ServerConnection, serve

from duly.chain import wake as module
from duly.chain.errors import ChainUnavailable
from duly.chain.wake import Wake, look
from scripts.anvil import free_port

FOREVER = 30.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + FOREVER
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)


@contextmanager
def a_node(port: int, answer: Callable[[ServerConnection], None]) -> Iterator[None]:
    with serve(answer, "127.0.0.1", port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_block_wakes_and_is_told_once(node: Node) -> None:
    rpc: Any = Web3(HTTPProvider(node.url)).provider
    with Wake(f"ws://127.0.0.1:{node.port}") as wake:
        until(lambda: wake.connected)
        assert wake.wait(FOREVER)  # what was before
        assert not wake.wait(0.05)
        for _ in range(3):
            rpc.make_request("evm_mine", [])
        assert wake.wait(FOREVER)
        until(lambda: not wake.wait(0.3))
        threading.Timer(0.1, rpc.make_request, ("evm_mine", [])).start()
        assert wake.wait(FOREVER)


def test_a_look_tells_whose_blocks_they_are(node: Node) -> None:
    assert look(f"ws://127.0.0.1:{node.port}") == 31337
    with pytest.raises(ChainUnavailable, match="does not tell new blocks") as raised:
        look(f"ws://127.0.0.1:{free_port()}/secret")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "words", ['{"id":1,"error":{"code":-32601}}', "no JSON", "[]", '{"id":0,"result":1}']
)
def test_a_look_at_a_node_that_does_not_subscribe(words: str) -> None:
    port = free_port()

    def answer(connection: ServerConnection) -> None:
        for _ in range(2):
            connection.recv()
            connection.send(words)

    with a_node(port, answer), pytest.raises(ChainUnavailable):
        look(f"ws://127.0.0.1:{port}")


def test_where_nobody_answers_one_waits_the_whole_time() -> None:
    with Wake(f"ws://127.0.0.1:{free_port()}") as wake:
        begun = time.monotonic()
        assert not wake.wait(0.3)
        assert time.monotonic() - begun >= 0.3
        assert not wake.connected


def test_whoever_is_to_stop_does_not_wait() -> None:
    stop = threading.Event()
    with Wake(f"ws://127.0.0.1:{free_port()}") as wake:
        threading.Timer(0.05, stop.set).start()
        begun = time.monotonic()
        assert not wake.wait(FOREVER, stop.is_set)
        assert time.monotonic() - begun < FOREVER


def test_a_lost_connection_is_made_again_and_wakes() -> None:
    port, asked, gone = free_port(), [], threading.Event()

    def answer(connection: ServerConnection) -> None:
        asked.append(json.loads(connection.recv()))
        connection.send('{"jsonrpc":"2.0","id":1,"result":"0x1"}')
        gone.wait()

    with Wake(f"ws://127.0.0.1:{port}") as wake:
        for _ in range(2):
            with a_node(port, answer):
                until(lambda: wake.connected)
                assert wake.wait(FOREVER)
                gone.set()
                until(lambda: not wake.connected)
            gone.clear()
    assert {(each["method"], *each["params"]) for each in asked} == {("eth_subscribe", "newHeads")}


@pytest.mark.parametrize("words", ['{"jsonrpc":"2.0","id":1,"error":{"code":-32601}}', "no JSON", "[]"])
def test_a_node_that_does_not_subscribe_wakes_nobody(words: str) -> None:
    port, asked = free_port(), threading.Event()

    def answer(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(words)
        asked.set()

    with a_node(port, answer), Wake(f"ws://127.0.0.1:{port}") as wake:
        assert asked.wait(FOREVER)
        assert not wake.wait(0.1)
        assert not wake.connected
