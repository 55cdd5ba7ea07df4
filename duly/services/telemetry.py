"""What the service tells of itself while it runs: events in the log, figures for Prometheus.

    telemetry.configure()           once, by whoever starts the service
    telemetry.indexed(report)       by the services, as they work

Each function tells both, so that log and figures agree. PRIV-1: an event has a name, numbers, codes and ids
of notices or transactions; there is no argument through which an address could come. Labels of figures are
taken from lists that the program knows, so there are never more series than these.

What libraries say of themselves may quote what they handle. Of them only the place and the kind of the error
are told, never the words.
"""

import logging
import platform
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog
from prometheus_client import Counter, Gauge, Histogram, Info

from duly.config import LogFormat, LogLevel
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.notice import Kind, Refusal

if TYPE_CHECKING:
    from duly.chain.sender import Receipt
    from duly.services.index import IndexReport

# ------------------------------------------------------------------------------------------- figures

BUILD: Final = Info("duly_build", "Version of the program and of Python.")
BUILD.info({"version": version("duly"), "python": platform.python_version()})

UP: Final = Gauge("duly_up", "Whether a part answers: node, database, channels.", ["part"])
ROLE: Final = Gauge("duly_role", "Roles of this process.", ["role"])

HEAD_BLOCK: Final = Gauge("duly_head_block", "The chain's last block that may be acted on.")
HEAD_TIME: Final = Gauge("duly_head_timestamp_seconds", "Its time.")
INDEXED_BLOCK: Final = Gauge("duly_indexed_block", "The block up to which the chain was read.")
INDEXED_TIME: Final = Gauge("duly_indexed_timestamp_seconds", "Its time.")
LAG_BLOCKS: Final = Gauge("duly_index_lag_blocks", "Blocks that may be acted on and were not read yet.")
LAG_SECONDS: Final = Gauge("duly_index_lag_seconds", "The same in seconds of the chain's time.")
EVENTS: Final = Counter("duly_events_indexed_total", "Events read.")
ROLLBACKS: Final = Counter("duly_rollbacks_total", "How often events were taken back.")
EVENTS_BACK: Final = Counter("duly_events_rolled_back_total", "Events taken back by reorganisations.")

TOLD: Final = Counter("duly_webhook_events_total", "Events that the webhook's receiver took.")

PLANNED: Final = Counter("duly_notices_planned_total", "Notices that the plan let be served.", ["kind"])
SERVED: Final = Counter("duly_notices_served_total", "Notices that the gate let through.", ["kind"])
REFUSED: Final = Counter("duly_notices_refused_total", "Notices that the gate refused.", ["reason"])
SKIPPED: Final = Counter("duly_notices_skipped_total", "Planned notices not put to the gate.", ["reason"])
HELD: Final = Gauge("duly_notices_held", "Notices held back while a channel is unavailable.")

QUEUE: Final = Gauge("duly_queue_depth", "Served notices that nobody claimed yet.")
QUEUE_AGE: Final = Gauge("duly_queue_age_seconds", "How long ago the first of them was served.")
STATES: Final = Gauge(
    "duly_notices_in_state",
    "Notices by where their delivery stands: claimed, deferred, uncertain, or dead (tried too often).",
    ["state"],
)
DELIVERIES: Final = Counter(
    "duly_deliveries_total", "Notices by what became of their delivery.", ["channel", "outcome"]
)
DROPPED: Final = Counter("duly_deliveries_dropped_total", "Notices that were not sent.", ["reason"])
LATENCY: Final = Histogram(
    "duly_delivery_latency_seconds",
    "From a notice's block to its message, in seconds.",
    ["channel"],
    buckets=(1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 900, 1800, 3600, 14400),
)

ROUND: Final = Histogram(
    "duly_round_duration_seconds",
    "How long a round took.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
LAST_ROUND: Final = Gauge("duly_last_round_timestamp_seconds", "When the last round that worked ended.")
ERRORS: Final = Counter("duly_errors_total", "What went wrong, by kind of error.", ["type"])

GAS: Final = Counter("duly_gas_used_total", "Gas used by transactions.")
SPENT: Final = Counter("duly_gas_spent_wei_total", "What that gas cost, in wei.")
BALANCE: Final = Gauge("duly_key_balance_wei", "What the key that serves holds for gas, in wei.")
BATCHES: Final = Gauge("duly_key_batches", "Full batches of notices that this pays for.")

for _gauge in (
    HEAD_BLOCK,
    HEAD_TIME,
    INDEXED_BLOCK,
    INDEXED_TIME,
    LAG_BLOCKS,
    LAG_SECONDS,
    QUEUE,
    QUEUE_AGE,
    LAST_ROUND,
    BALANCE,
    BATCHES,
):
    # Nobody looked yet, or this process never does: that is not zero, and raises no alarm.
    _gauge.set(float("nan"))

_CODE: Final = re.compile(r"[a-z][a-z_]*")
OTHER: Final = "provider"
"""Why a channel's provider refused, whatever codes it has: the log tells them."""

# ----------------------------------------------------------------------------------------- the events


def started(roles: Iterable[str], chain_id: int) -> None:
    """The service begins in these roles."""
    names = sorted(roles)
    for name in names:
        ROLE.labels(name).set(1)
    _log.info("started", roles=names, chain_id=chain_id, version=version("duly"))


def listening(where: str) -> None:
    """Whoever watches the service can ask it there."""
    _log.info("listening", at=where)


def stopped() -> None:
    """The service has ended of itself."""
    _log.info("stopped")


def waiting(others: Mapping[str, str]) -> None:
    """Another process has some of this one's roles; none where these are its own by now."""
    for name, holder in others.items():
        _log.warning("waiting", role=name, holder=holder)
    if not others:
        _log.info("taken_over")


def indexed(report: "IndexReport") -> None:
    """The chain was read."""
    EVENTS.inc(report.events)
    INDEXED_BLOCK.set(report.last)
    if report.rolled_back:
        ROLLBACKS.inc()
        EVENTS_BACK.inc(report.rolled_back)
        _log.warning("rolled_back", events=report.rolled_back, to=report.first - 1)
    tell = _log.info if report.events else _log.debug
    tell("indexed", blocks=report.blocks, events=report.events, to=report.last)


def planned(kinds: Iterable[Kind]) -> None:
    """Notices may be served now."""
    for kind in kinds:
        PLANNED.labels(kind.name.lower()).inc()


def served(notice: bytes, kind: Kind) -> None:
    """The gate let a notice through."""
    SERVED.labels(kind.name.lower()).inc()
    _log.info("served", notice=notice, kind=kind.name.lower())


def not_served(refused: Mapping[Refusal, int], skipped: Mapping[str, int]) -> None:
    """The gate refused notices, or said beforehand that it would; others were not put to it at all."""
    for reason, count in refused.items():
        REFUSED.labels(reason.name.lower()).inc(count)
        _log.info("refused", reason=reason.name.lower(), count=count)
    for why, count in skipped.items():
        SKIPPED.labels(_code(why)).inc(count)
        _log.debug("skipped", reason=_code(why), count=count)


def paid(receipt: "Receipt") -> None:
    """A transaction was mined."""
    cost = receipt.gas_used * receipt.gas_price
    GAS.inc(receipt.gas_used)
    SPENT.inc(cost)
    _log.info("mined", transaction=receipt.transaction, block=receipt.block, gas=receipt.gas_used, wei=cost)


def delivered(notice: bytes, channel: Channel, outcome: str, reason: str | None, seconds: int) -> None:
    """A notice's delivery came to an outcome: sent, deferred, dropped or uncertain.

    reason: a code. seconds: since the notice was served.
    """
    name = channel.name.lower()
    DELIVERIES.labels(name, outcome).inc()
    if outcome == "sent":
        LATENCY.labels(name).observe(max(0, seconds))
    elif outcome == "dropped":
        DROPPED.labels(_code(reason)).inc()
    tell = _log.warning if outcome == "uncertain" else _log.info
    tell("delivered", notice=notice, channel=name, outcome=outcome, reason=reason, seconds=seconds)


def round_ended(seconds: float, held: int) -> None:
    """A round worked; so many notices were held back in it."""
    ROUND.observe(seconds)
    LAST_ROUND.set_to_current_time()
    HELD.set(held)


def told(events: int) -> None:
    """The webhook's receiver took events, or there were none."""
    part("webhook", None)
    TOLD.inc(events)
    if events:
        _log.info("told", events=events)


def failed(error: BaseException, during: str) -> None:
    """Something did not work. The words of an error of the program's own are told, no others."""
    ERRORS.labels(type(error).__name__).inc()
    if isinstance(error, DulyError):
        _log.error("failed", during=during, error=type(error).__name__, what=error.wrong, remedy=error.remedy)
    else:
        _log.error("failed", during=during, error=type(error).__name__, at=_places(error.__traceback__))


def part(name: str, problem: str | None) -> None:
    """A part answers, or why not."""
    UP.labels(name).set(problem is None)
    before, _parts[name] = _parts.get(name), problem
    if problem is not None and before is None:
        _log.warning("part_down", part=name, why=problem)
    elif problem is None and before is not None:
        _log.info("part_up", part=name)


_parts: dict[str, str | None] = {}


def _code(reason: str | None) -> str:
    return reason if reason and _CODE.fullmatch(reason) else OTHER


# -------------------------------------------------------------------------------------------- the log

_MAIL: Final = re.compile(r"(?<![\w.+/-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PHONE: Final = re.compile(r"(?<![\w.])\+\d[\d ()-]{5,}\d")


def scrubbed(text: str) -> str:
    """The text without what looks like a mail address or a telephone number, should one ever come here."""
    return _PHONE.sub("[number]", _MAIL.sub("[address]", text))


def configure(
    form: LogFormat | None = None, level: LogLevel | None = None, stream: TextIO | None = None
) -> LogFormat:
    """Write the log to a stream, by default to standard error, for as long as the process lives.

    form: by default words where a person is watching, else JSON. level: by default `info`; with words
    `warning`, for people are told of each round anyway. Returns the form.
    """
    out = stream if stream is not None else sys.stderr
    if form is None:
        form = LogFormat.CONSOLE if out.isatty() else LogFormat.JSON
    if level is None:
        level = LogLevel.INFO if form is LogFormat.JSON else LogLevel.WARNING
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_of_library, *_SHARED],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _crashed
    threading.excepthook = lambda args: _crashed(args.exc_type, args.exc_value, args.exc_traceback)
    return form


def take_over(name: str) -> None:
    """Let a library's logger write here alone, where it has made itself handlers of its own."""
    logger = logging.getLogger(name)
    logger.handlers.clear()
    logger.propagate = True


def _of_library(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Of what a library says: where, and the kind of the error."""
    record: logging.LogRecord = event["_record"]
    event.pop("exc_info", None)
    event.pop("stack_info", None)
    if record.name == "duly" or record.name.startswith("duly."):
        return event
    event["event"] = "library"
    event["at"] = f"{record.name}:{record.lineno}"
    if record.exc_info and record.exc_info[0]:
        event["error"] = record.exc_info[0].__name__
    return event


def _clean(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, bytes):
            event[name] = "0x" + value.hex()
        elif isinstance(value, str):
            event[name] = scrubbed(value)
    return event


def _crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """What nobody caught, without its words."""
    if issubclass(kind, KeyboardInterrupt):
        return
    ERRORS.labels(kind.__name__).inc()
    _log.critical("crashed", error=kind.__name__, at=_places(trace))


def _places(trace: TracebackType | None) -> list[str]:
    """Where an error came through, the innermost last."""
    frames = traceback.extract_tb(trace)[-8:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]


_SHARED: Final[list[Any]] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _clean,
]
_logger = logging.getLogger("duly")
# As long as nobody configures the log, commands speak for themselves.
_logger.addHandler(logging.NullHandler())
_log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    _logger,
    wrapper_class=structlog.stdlib.BoundLogger,
    processors=[
        structlog.stdlib.filter_by_level,
        *_SHARED,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
)
