"""What the service tells of itself: one event, one line, one figure, and nobody's data."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from duly.config import LogFormat, LogLevel
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.notice import Kind, Refusal
from duly.services import telemetry
from duly.services.index import IndexReport

NOTICE = bytes(range(32))
SECRETS = ("borrower@example.org", "+49 170 1234567")

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards everything is as it was."""
    root, own = logging.getLogger(), logging.getLogger("duly")
    before = root.handlers[:], root.level, own.level, sys.excepthook, threading.excepthook
    yield io.StringIO()
    logging.captureWarnings(False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])
    sys.excepthook, threading.excepthook = before[3:]


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    telemetry.configure(LogFormat.JSON, LogLevel.INFO, stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_an_event_is_a_line_and_a_figure(lines: Lines) -> None:
    before = figure("duly_notices_served_total", kind="overdue")
    telemetry.served(NOTICE, Kind.OVERDUE)
    assert figure("duly_notices_served_total", kind="overdue") == before + 1
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "served", "level": "info", "notice": "0x" + NOTICE.hex(), "kind": "overdue"}


def test_what_became_of_a_delivery(lines: Lines) -> None:
    sent = figure("duly_delivery_latency_seconds_count", channel="email")
    telemetry.delivered(NOTICE, Channel.EMAIL, "sent", None, 3)
    telemetry.delivered(NOTICE, Channel.EMAIL, "uncertain", "connection lost", 4)
    assert figure("duly_delivery_latency_seconds_count", channel="email") == sent + 1
    assert [line["level"] for line in lines()] == ["info", "warning"]


def test_labels_are_from_a_list_that_the_program_knows(lines: Lines) -> None:
    provider = figure("duly_deliveries_dropped_total", reason="provider")
    for reason in ("recipient 550", "SMTP 554", "window_over", None):
        telemetry.delivered(NOTICE, Channel.EMAIL, "dropped", reason, 3)
    assert figure("duly_deliveries_dropped_total", reason="provider") == provider + 3
    assert REGISTRY.get_sample_value("duly_deliveries_dropped_total", {"reason": "SMTP 554"}) is None
    # The log tells what the provider said.
    assert [line["reason"] for line in lines()] == ["recipient 550", "SMTP 554", "window_over", None]


def test_a_reorganisation_is_a_warning(lines: Lines) -> None:
    before = figure("duly_rollbacks_total"), figure("duly_events_rolled_back_total")
    telemetry.indexed(IndexReport(blocks=3, events=0, first=8, last=10, rolled_back=5))
    assert (figure("duly_rollbacks_total"), figure("duly_events_rolled_back_total")) == (
        before[0] + 1,
        before[1] + 5,
    )
    assert figure("duly_indexed_block") == 10
    # That nothing was read is no news.
    assert [(line["event"], line["level"], line["to"]) for line in lines()] == [("rolled_back", "warning", 7)]


def test_refusals_by_reason(lines: Lines) -> None:
    before = figure("duly_notices_refused_total", reason="outside_hours")
    telemetry.not_served({Refusal.OUTSIDE_HOURS: 2}, {"no_address": 3})
    assert figure("duly_notices_refused_total", reason="outside_hours") == before + 2
    assert [line["event"] for line in lines()] == ["refused"]


def test_a_part_is_told_of_when_that_changes(lines: Lines) -> None:
    for problem in (None, "no node answers", "no node answers", None, None):
        telemetry.part("node", problem)
    assert [line["event"] for line in lines()] == ["part_down", "part_up"]
    assert figure("duly_up", part="node") == 1


@pytest.mark.parametrize("form", list(LogFormat))
def test_priv_1_nobody_is_named_whatever_goes_wrong(stream: io.StringIO, form: LogFormat) -> None:
    telemetry.configure(form, LogLevel.DEBUG, stream)
    words = " ".join(SECRETS)
    library = logging.getLogger("some.library")
    for error in (DulyError(f"cannot reach {words}"), KeyError(words)):
        try:
            raise error
        except Exception as caught:
            telemetry.failed(caught, "round")
            library.exception("could not send to %s", words, stack_info=True)
            kind, value, trace = sys.exc_info()
            sys.excepthook(kind, value, trace)  # type: ignore[arg-type]
    library.warning(f"to {words}")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(words, stacklevel=1)
    thread = threading.Thread(target=lambda: {}[words])
    thread.start()
    thread.join()
    text = stream.getvalue()
    assert not [secret for secret in SECRETS if secret in text]
    # What can be told is.
    assert text.count("KeyError") >= 4
    assert "some.library:" in text
    assert "cannot reach [address] [number]" in text


def test_scrubbing_leaves_what_is_nobodys() -> None:
    text = "postgresql+psycopg://duly@db.example.org/duly cannot be reached; block 25123456, 0x1234567890"
    assert telemetry.scrubbed(text) == text


def test_without_a_log_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.failed(DulyError("no"), "round")
    assert capfd.readouterr() == ("", "")
