"""Numbers that take longer than a page may: counted beside the requests, which show what was counted last."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from duly.services import telemetry

_GOOD_FOR: Final = 300
"""Seconds for which numbers are shown before they are counted again."""
_REMEMBERED: Final = 64

V = TypeVar("V")


class Beside(Generic[V]):
    """Of one kind, by whom they are about. For several threads.

    state: what the numbers depend on; while it is the same, so are they. None: on too much to be told.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, tuple[object, float, V]] = OrderedDict()
        self._counted: set[Hashable] = set()
        self._counting = ThreadPoolExecutor(1, name)

    def find(self, whose: Hashable, state: object, count: Callable[[], V], *, wait: bool) -> V | None:
        """What there is; None while it is counted for the first time. wait: count it now, it is quick."""
        with self._lock:
            kept = self._found.get(whose)
        if kept and state is not None and kept[0] == state:
            return kept[2]
        if wait:
            return self.count(whose, state, count)
        if kept is None or time.monotonic() - kept[1] > _GOOD_FOR:
            with self._lock:
                if whose not in self._counted:
                    self._counted.add(whose)
                    self._counting.submit(self._count_beside, whose, state, count)
        return kept[2] if kept else None

    def count(self, whose: Hashable, state: object, count: Callable[[], V]) -> V:
        """Count them now."""
        found = count()
        with self._lock:
            self._found[whose] = state, time.monotonic(), found
            self._found.move_to_end(whose)
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return found

    def _count_beside(self, whose: Hashable, state: object, count: Callable[[], V]) -> None:
        try:
            self.count(whose, state, count)
        except Exception as error:  # nobody waits for it: the next request tries again
            telemetry.failed(error, self._name)
        finally:
            with self._lock:
                self._counted.discard(whose)
