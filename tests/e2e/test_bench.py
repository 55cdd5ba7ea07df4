"""Benches that run the service: that nothing is lost whatever fails, each fault a few times; and that what is
measured is measured. How fast it has to be is the bench's to say, on a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from duly.services.chaos import chosen

LONGEST = 300
SCENARIOS = [each.name for each in chosen([])]


def bench(*arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
    """What `duly bench … --json` says."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("DULY_")}
    done = subprocess.run(
        [sys.executable, "-c", "from duly.interfaces.cli import main; main()", "bench", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        env=settings,
    )
    assert done.returncode in codes, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_gate_2_nothing_is_lost_or_said_twice_whatever_fails(scenario: str) -> None:
    report = bench("chaos", "--quick", "--kills", "4", "--reorganisations", "4", "--only", scenario)
    (outcome,) = report["scenarios"]
    assert report["sound"]
    assert outcome["left_out"] is None
    assert outcome["wrong"] == []
    assert outcome["tries"] >= 1
    assert outcome["mails"] > 0
    assert (outcome["duplicates"], outcome["lost"]) == (0, 0)


def test_from_an_event_to_its_mail() -> None:
    """The notice of a payment is in a block after the payment's, and its mail comes after that."""
    report = bench("latency", "--seconds", "3", "--rate", "4", codes=(0, 1))
    assert report["databases"].keys() == {"sqlite", "postgresql"}
    for measured in report["databases"].values():
        assert (measured["events"], measured["lost"]) == (12, 0)
        served, mail = measured["notice_on_chain"], measured["mail"]
        assert 0.9 < served["median"] <= served["p99"]
        assert served["median"] < mail["median"] <= mail["p99"] <= mail["longest"]


def test_pages_are_measured_and_light() -> None:
    """How fast they have to be is the bench's to say; what they weigh is the same everywhere."""
    report = bench("web", "--loans", "1000", "--requests", "2", codes=(0, 1))
    assert report["databases"].keys() == {"SQLite", "PostgreSQL"}
    for measured in report["databases"].values():
        assert len(measured["pages"]) >= 35
        for page in measured["pages"]:
            assert 0 < page["p50_seconds"] <= page["p95_seconds"] <= page["most_seconds"]
            assert 0 < page["bytes"] <= report["at_most"]["bytes"], page["path"]
