"""Ctrl-C that finishes what was begun."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer


@contextmanager
def stoppable(then: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C or a request to terminate; the second time the program ends at once.

    then: is called after it is set.
    """
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        then()
        typer.echo("Stopping; what was begun is finished first.", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
