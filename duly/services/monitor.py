"""Is the service ready, and how far is it? Looks now and then, in the background, for whoever asks.

    with Monitor(Application(settings)) as monitor:
        monitor.problems()            what keeps the service from working; nothing where it is ready

Node, database and channels are each looked at in a thread, over connections of their own: a part that hangs
holds up neither the others nor the service, nor the answer. It counts as down when it has not answered for a
while.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from duly.domain.errors import DulyError
from duly.services import telemetry

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.domain.events import Block

EVERY: Final = 10.0
CHANNELS_EVERY: Final = 60.0
"""Seconds from one look to the next."""

PATIENCE: Final = 30.0
"""Seconds that a look may take beyond that before its part counts as down."""

LONGEST_LAG: Final = 600
"""Seconds of the chain's time by which the index may be behind: what is said must be what the ledger says."""

_DAY: Final = 86_400


@dataclass(slots=True)
class _Part:
    """What is known of a part: what is wrong, and when it was looked at last."""

    look: Callable[[], str | None]
    every: float
    at: float
    problem: str | None = "not looked at yet"


class Monitor:
    """Looks at the parts that an application of its own opens.

    serves: whether the key's balance is of interest. reaches: whether the channels are.
    """

    def __init__(
        self,
        app: "Application",
        *,
        serves: bool = True,
        reaches: bool = True,
        every: float = EVERY,
        channels_every: float = CHANNELS_EVERY,
    ) -> None:
        self._app = app
        self._serves = serves
        self._head: Block | None = None
        self._ended = threading.Event()
        now = time.monotonic()
        self._parts = {
            "node": _Part(self._node, every, now),
            "database": _Part(self._database, every, now),
        }
        if reaches:
            self._parts["channels"] = _Part(self._channels, channels_every, now)

    def __enter__(self) -> Self:
        for name, part in self._parts.items():
            threading.Thread(
                target=self._watch, args=(name, part), name=f"duly-monitor-{name}", daemon=True
            ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def problems(self) -> dict[str, str]:
        """What is wrong, by part; nothing where the service is ready."""
        found: dict[str, str] = {}
        for name, part in self._parts.items():
            silent = time.monotonic() - part.at
            if part.problem is not None:
                found[name] = part.problem
            elif silent > part.every + PATIENCE:
                found[name] = f"no answer for {silent:.0f} seconds"
        return found

    def _watch(self, name: str, part: _Part) -> None:
        while not self._ended.is_set():
            try:
                problem = part.look()
            except DulyError as error:
                problem = error.wrong
            except Exception as error:  # its words may quote anything
                problem = f"could not be looked at ({type(error).__name__})"
            part.problem, part.at = problem, time.monotonic()
            telemetry.part(name, problem)
            # What is down is looked at again the sooner.
            self._ended.wait(part.every if problem is None else part.every / 5)

    # ---------------------------------------------------------------------------------------- the parts

    def _node(self) -> str | None:
        from duly.chain.logs import LogReader

        app = self._app
        head = LogReader(app.w3, ()).block(app.finality)
        if head is None:
            return f"the chain has no {app.finality} block"
        self._head = head
        telemetry.HEAD_BLOCK.set(head.number)
        telemetry.HEAD_TIME.set(head.timestamp)
        if self._serves:
            from duly.services.check import batches_paid_by

            balance = app.sender.balance()
            telemetry.BALANCE.set(balance)
            telemetry.BATCHES.set(batches_paid_by(app, balance))
        return None

    def _database(self) -> str | None:
        from duly.services.deliver import TOO_OFTEN

        app = self._app
        cursor = app.read_model.find_cursor()
        if cursor is None:
            return "nothing was indexed yet"
        at = cursor.block
        telemetry.INDEXED_BLOCK.set(at.number)
        telemetry.INDEXED_TIME.set(at.timestamp)
        backlog = app.notice_store.backlog(at.timestamp - _DAY, TOO_OFTEN)
        telemetry.QUEUE.set(backlog.waiting)
        telemetry.QUEUE_AGE.set(0 if backlog.since is None else max(0, at.timestamp - backlog.since))
        for state in ("deferred", "claimed", "uncertain", "dead"):
            telemetry.STATES.labels(state).set(getattr(backlog, state))
        head = self._head
        if head is None:
            return None
        blocks, seconds = max(0, head.number - at.number), max(0, head.timestamp - at.timestamp)
        telemetry.LAG_BLOCKS.set(blocks)
        telemetry.LAG_SECONDS.set(seconds if blocks else 0)
        if blocks and seconds > LONGEST_LAG:
            return f"the index is {blocks:,} blocks behind, {seconds:,} seconds of the chain's time"
        return None

    def _channels(self) -> str | None:
        carriers = self._app.carriers
        problems = []
        for channel, carrier in carriers.items():
            try:
                carrier.ready()
            except DulyError as error:
                problems.append(f"{channel.name.lower()}: {error.wrong}")
            finally:
                carrier.close()
        return "; ".join(problems) or (None if carriers else "there is no way to reach a borrower")
