"""A service as a monitoring system and its log show it."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from typing import Any

import scan
from prometheus_client.parser import text_string_to_metric_families
from stage import Stage

from duly.domain.consent import Channel

PLANTED = ("someone.real@private.example", "Mustermann")


def test_priv_1_the_service_tells_what_it_does_and_of_nobody(stage: Stage) -> None:
    stage.lend(2, mail=PLANTED[0])
    stage.lend(1, reachable=False)
    # One whose address nobody could send to.
    (wrong,) = stage.lend(1)
    stage.app.vault.add(wrong.sender.address, Channel.EMAIL, f"{PLANTED[1]}@private.example")
    stage.app.vault.verify_simulated([(wrong.sender.address, Channel.EMAIL)])
    process = stage.start("run", "--listen", "127.0.0.1:0", "--interval", "0.1")
    lines: list[dict[str, Any]] = []
    assert process.stderr is not None
    try:
        while sum(line["event"] == "delivered" for line in lines) < 2:
            lines.append(json.loads(process.stderr.readline()))
        (where,) = (line["at"] for line in lines if line["event"] == "listening")
        # The monitor looks by itself; the first time when it starts.
        for _ in range(200):
            try:
                ready = urllib.request.urlopen(f"http://{where}/readyz", timeout=10).read()
                break
            except urllib.error.HTTPError as error:
                ready = error.read()
                time.sleep(0.1)
        metrics = urllib.request.urlopen(f"http://{where}/metrics", timeout=10).read()
    finally:
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=60)
    assert ready == b"ready\n"
    assert process.returncode == 0
    told = rest.splitlines()
    told.remove("Stopping; what was begun is finished first.")
    lines += map(json.loads, told)
    events = [line["event"] for line in lines]
    assert events[-1] == "stopped"
    assert {"started", "listening", "indexed", "mined", "served", "delivered"} <= set(events)
    # A log tells it all, so that there is nothing to say beside it.
    assert out == ""

    figures = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.decode())
        for sample in family.samples
    }
    assert figures["duly_notices_served_total", "loan_opened"] == 2
    assert figures["duly_deliveries_total", "email", "sent"] == 2
    assert figures["duly_delivery_latency_seconds_count", "email"] == 2
    assert figures["duly_notices_skipped_total", "other_address"] >= 1
    assert figures["duly_gas_spent_wei_total",] > 0
    assert figures["duly_role", "deliver"] == 1

    borrowers = [name for mail in stage.mailbox.mails() for name in [mail["To"]]]
    assert set(borrowers) == {PLANTED[0]}
    places = {"log": json.dumps(lines).encode(), "out": out.encode(), "metrics": metrics}
    secrets = (stage.servicer.account.key.hex(), *PLANTED)
    assert scan.find(places, secrets) == []


def test_errors_name_nobody(stage: Stage) -> None:
    """The mail server is gone, then the node: what is told of it names places and codes alone."""
    stage.lend(1, mail=PLANTED[0])
    stage.mailbox.close()
    process = stage.start("run", "--interval", "0.1", "--json")
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    while not any(line["event"] == "failed" for line in lines):
        lines.append(json.loads(process.stderr.readline()))
    stage.w3.provider.make_request("anvil_reset", [])  # type: ignore[arg-type]
    while sum(line["event"] == "failed" for line in lines) < 2 or "first blocks differ" not in str(lines):
        lines.append(json.loads(process.stderr.readline()))
    process.send_signal(signal.SIGTERM)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    failed = {line["error"] for line in lines if line["event"] == "failed"}
    assert failed == {"CarrierUnavailable", "DeploymentLost"}
    places = {"log": (json.dumps(lines) + rest).encode(), "out": out.encode()}
    assert scan.find(places, PLANTED) == []
