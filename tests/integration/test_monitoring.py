"""What a monitoring system is told of a running service, whatever hangs or is down."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from duly.channels.message import CarrierUnavailable
from duly.config import Endpoint, Finality
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.events import Block
from duly.interfaces.monitoring import CannotListen, answering
from duly.services import monitor
from duly.services.monitor import Monitor
from duly.store.notices import Backlog

HERE = Endpoint("127.0.0.1", 0)


def ask(endpoint: Endpoint, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://{endpoint}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Ready:
    def __init__(self, **problems: str) -> None:
        self._problems = problems

    def problems(self) -> dict[str, str]:
        return self._problems


def test_what_is_answered() -> None:
    with answering(HERE, Ready()) as endpoint:
        assert ask(endpoint, "/healthz") == (200, "alive\n")
        assert ask(endpoint, "/readyz") == (200, "ready\n")
        assert ask(endpoint, "/readyz", "HEAD") == (200, "")
        assert ask(endpoint, "/readyz", "POST")[0] == 501
        assert ask(endpoint, "/etc/passwd")[0] == 404
        code, text = ask(endpoint, "/metrics?x=1")
    assert code == 200
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"duly_build_info", "duly_indexed_block", "duly_up", "process_open_fds"} <= names


def test_why_a_service_is_not_ready() -> None:
    with answering(HERE, Ready(node="no node answers", channels="email: away")) as endpoint:
        assert ask(endpoint, "/readyz") == (503, "node: no node answers\nchannels: email: away\n")
        # It lives nevertheless: to start it again would not help.
        assert ask(endpoint, "/healthz")[0] == 200


def test_a_port_that_is_taken() -> None:
    with answering(HERE, Ready()) as endpoint:
        with pytest.raises(CannotListen) as caught, answering(endpoint, Ready()):
            pass
        assert str(endpoint) in str(caught.value)
    with pytest.raises(CannotListen), answering(Endpoint("nowhere.invalid", 1), Ready()):
        pass


# -------------------------------------------------------------------------------------- what is looked at


class Carrier:
    def __init__(self) -> None:
        self.problem: DulyError | None = None

    def ready(self) -> None:
        if self.problem:
            raise self.problem

    def close(self) -> None:
        pass


class Parts:
    """An application of which each part can be made to do as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.head: Callable[[], Block | None] = lambda: Block(120, bytes(32), 2_000_000_000)
        self.cursor: Any = SimpleNamespace(block=Block(118, bytes(32), 1_999_999_976))
        self.carrier = Carrier()
        self.finality = Finality.LATEST
        self.w3 = None
        self.read_model = SimpleNamespace(find_cursor=lambda: self.cursor)
        self.notice_store = SimpleNamespace(backlog=lambda since, dead: Backlog(3, 1_999_999_900, 2, 1, 1, 4))
        self.carriers = {Channel.EMAIL: self.carrier}
        monkeypatch.setattr(
            "duly.chain.logs.LogReader", lambda w3, addresses: SimpleNamespace(block=lambda _: self.head())
        )


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    return Parts(monkeypatch)


def eventually(expected: Callable[[], bool]) -> bool:
    for _ in range(500):
        if expected():
            return True
        time.sleep(0.01)
    return False


def watch(parts: Parts) -> Monitor:
    return Monitor(parts, serves=False, every=0.01, channels_every=0.01)  # type: ignore[arg-type]


def test_ready_once_each_part_was_looked_at(parts: Parts) -> None:
    monitor = watch(parts)
    assert monitor.problems().keys() == {"node", "database", "channels"}
    with monitor, answering(HERE, monitor) as endpoint:
        assert eventually(lambda: not monitor.problems())
        # The head is known by now, or at the next look.
        assert eventually(lambda: "\nduly_index_lag_blocks 2.0\n" in ask(endpoint, "/metrics")[1])
        text = ask(endpoint, "/metrics")[1]
    for line in (
        "duly_index_lag_seconds 24.0",
        "duly_queue_depth 3.0",
        "duly_queue_age_seconds 76.0",
        'duly_notices_in_state{state="dead"} 4.0',
        'duly_notices_in_state{state="uncertain"} 1.0',
        'duly_up{part="channels"} 1.0',
    ):
        assert f"\n{line}\n" in text, line


def test_a_part_that_fails_and_comes_back(parts: Parts) -> None:
    with watch(parts) as monitor:
        assert eventually(lambda: not monitor.problems())
        parts.carrier.problem = CarrierUnavailable("the mail server does not take mail")
        assert eventually(
            lambda: monitor.problems() == {"channels": "email: the mail server does not take mail"}
        )
        parts.carrier.problem = None
        assert eventually(lambda: not monitor.problems())
        parts.cursor = None
        assert eventually(lambda: monitor.problems() == {"database": "nothing was indexed yet"})


def test_an_index_that_is_too_far_behind(parts: Parts) -> None:
    parts.cursor = SimpleNamespace(block=Block(20, bytes(32), 2_000_000_000 - monitor.LONGEST_LAG - 1))
    with watch(parts) as watching:
        assert eventually(
            lambda: (
                watching.problems()
                == {"database": "the index is 100 blocks behind, 601 seconds of the chain's time"}
            )
        )


def test_priv_1_what_nobody_foresaw_is_told_without_its_words(parts: Parts) -> None:
    def stumble() -> Block:
        raise KeyError("borrower@example.org")

    parts.head = stumble
    with watch(parts) as monitor:
        assert eventually(lambda: monitor.problems() == {"node": "could not be looked at (KeyError)"})


def test_a_part_that_hangs_counts_as_down(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duly.services.monitor.PATIENCE", 0.05)
    with watch(parts) as monitor:
        assert eventually(lambda: not monitor.problems())
        hangs = threading.Event()
        parts.head = lambda: hangs.wait() and None
        try:
            assert eventually(lambda: "no answer for" in monitor.problems().get("node", ""))
            # The others go on.
            assert monitor.problems().keys() == {"node"}
        finally:
            hangs.set()
