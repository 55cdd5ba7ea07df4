"""The webhook of a service as its operator runs it: what happens is told within seconds, and waits while
nobody takes it.
"""

from __future__ import annotations

import re
import time

from duly.services.webhook import new_secret
from scripts.books import open_books


def until(said, seconds=60):
    for _ in range(seconds * 10):
        if said():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def test_what_happens_to_loans_is_told_while_the_service_runs(stage):
    secret = new_secret()
    with open_books(secret) as books:
        stage.more = {"DULY_WEBHOOK_URL": books.url, "DULY_WEBHOOK_SECRET": secret}
        books.answers = [503]
        running = stage.start("run", "--json")
        try:
            one, two = stage.lend(2)
            until(lambda: {each["name"] for each in books.events} >= {"LoanOpened", "NoticeServed"})
            loans = {"0x" + each.loan.hex() for each in (one, two)}
            until(lambda: len([each for each in books.events if each["name"] == "NoticeServed"]) == 2)
            assert {each["loan"] for each in books.events} == loans
            until(lambda: stage.duly("webhook", "status")["waiting"] == 0)
        finally:
            running.terminate()
            _, error = running.communicate(timeout=60)
        assert running.returncode == 0
        assert re.search("answered with 503", error)
        assert "part_up" in error
        assert "example.org" not in str(books.events)
        # One by one, with the service away.
        before = len(books.events)
        stage.duly("index")
        stage.lender.send(stage.contracts.ledger.forgive(one.loan, 5))
        stage.duly("index")
        assert stage.duly("webhook", "status")["waiting"] == 1
        books.answers = [500]
        assert "500" in stage.duly("webhook", "send", code=1)
        assert stage.duly("webhook", "send") == {"sent": 1}
        assert [each["name"] for each in books.events[before:]] == ["DebtForgiven"]
    stage.more = {"DULY_WEBHOOK_URL": "", "DULY_WEBHOOK_SECRET": ""}
    assert "DULY_WEBHOOK_URL" in stage.duly("webhook", "status", code=2)
