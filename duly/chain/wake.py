"""Tells that the chain has a new block, as soon as it has: over a websocket, with `eth_subscribe`.

    with Wake("ws://127.0.0.1:8545") as wake:
        while not stop.is_set():
            ...
            wake.wait(15, stop.is_set)

It wakes, and never feeds: what a node pushes can leave out blocks or tell of some that are gone, so that what
is new is asked for anyhow. Where there is no connection one waits the whole time, as without it.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Final, Self

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from duly.chain.errors import ChainUnavailable, cause_of
from duly.chain.networks import shown_url

_QUESTION: Final = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_OPENS_WITHIN: Final = 10.0
_LOOK: Final = 0.2


def look(url: str) -> int:
    """Subscribe to new blocks once, and let go of it again.

    Returns: the id of the chain whose blocks they are.
    Raises: ChainUnavailable.
    """
    try:
        with connect(url, open_timeout=_OPENS_WITHIN, close_timeout=1) as connection:
            connection.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "eth_chainId", "params": []}))
            told = json.loads(connection.recv(_OPENS_WITHIN))
            connection.send(_QUESTION)
            answer = json.loads(connection.recv(_OPENS_WITHIN))
            if "error" in answer:
                raise ValueError
            return int(told["result"], 16)
    except (OSError, TimeoutError, WebSocketException, ValueError, LookupError, TypeError) as error:
        raise ChainUnavailable(
            f"the websocket at {shown_url(url)} does not tell new blocks ({cause_of(error)})",
            remedy="Correct DULY_RPC_WS, or leave it out: new blocks are then looked for every 15 seconds.",
        ) from None


class Wake:
    """A node's new blocks. url: its websocket, ws or wss.

    The connection is made, and made again after a while whenever it is lost, by a thread of its own.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._new = threading.Event()
        self._closed = threading.Event()
        self._connection: Connection | None = None
        self._subscribed = False
        self._thread = threading.Thread(target=self._listen, name="duly-wake", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the node tells its new blocks at the moment."""
        return self._subscribed

    def wait(self, timeout: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait for the next block, so many seconds at most; not at all where there was one since the last
        time. stop: asked five times a second, to end sooner.

        Returns: whether there is a new block.
        """
        end = time.monotonic() + timeout
        while not stop():
            left = end - time.monotonic()
            if self._new.wait(max(0.0, min(left, _LOOK))):
                self._new.clear()
                return True
            if left <= _LOOK:
                break
        return False

    def close(self) -> None:
        """Let go of the connection."""
        self._closed.set()
        if (connection := self._connection) is not None:
            connection.close()
        self._thread.join(timeout=2 * _OPENS_WITHIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed.is_set():
            try:
                with connect(self._url, open_timeout=_OPENS_WITHIN, close_timeout=1) as connection:
                    self._connection = connection
                    connection.send(_QUESTION)
                    for message in connection:
                        if self._closed.is_set():
                            break
                        self._take(json.loads(message))
                        if self._subscribed:
                            pause = _FIRST_PAUSE
            except (OSError, TimeoutError, WebSocketException, ValueError):
                pass  # one waits as long as one would without
            finally:
                self._connection, self._subscribed = None, False
            self._closed.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _take(self, message: object) -> None:
        """Raises: ValueError, where the node does not subscribe one."""
        if not isinstance(message, dict) or "error" in message:
            raise ValueError
        if message.get("id") == 1:
            self._subscribed = True
        # There may have been blocks while there was no connection.
        self._new.set()
