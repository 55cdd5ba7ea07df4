"""A borrower who can be reached, and notices to them."""

from enum import IntEnum
from typing import NamedTuple

import pytest
from support.clock import DAY, HOUR
from support.reverts import reverts_with

EMAIL = 0


class Kind(IntEnum):
    OPENED = 0
    UPCOMING = 1
    DUE_TODAY = 2
    OVERDUE = 3
    RECEIVED = 4
    REPAID = 5
    PAID_AHEAD = 6
    AMENDED = 7
    COOLING_OFF_ENDING = 8
    CONSENT_CHANGED = 9
    DISPUTE_RECEIVED = 10
    HARDSHIP_RECEIVED = 11
    DISPUTE_ANSWERED = 12
    HARDSHIP_ANSWERED = 13
    ASSIGNED = 14
    ARREARS = 15


class Refusal(IntEnum):
    NONE = 0
    UNKNOWN_LOAN = 1
    NOT_SERVER = 2
    NO_BASIS = 3
    WRONG_INSTALMENT = 4
    ALREADY_SAID = 5
    TOO_EARLY = 6
    TOO_LATE = 7
    WRONG_AMOUNT = 8
    NO_CONTACT = 9
    CEASED = 10
    NO_CONSENT = 11
    NOT_TOLD_OF_ASSIGNMENT = 12
    RESTING = 13
    OUTSIDE_HOURS = 14
    TOO_SOON = 15
    DAY_CAP = 16
    WEEK_CAP = 17
    SERVICE_CAP = 18


class Notice(NamedTuple):
    loan: str
    kind: int
    instalment: int = 0
    amount: int = 0
    channel: int = EMAIL
    content_hash: bytes = b"\xcc" * 32


@pytest.fixture(scope="session")
def kinds():
    return Kind


@pytest.fixture(scope="session")
def refusals():
    return Refusal


@pytest.fixture(scope="module")
def notice():
    return Notice


@pytest.fixture(scope="module")
def loan(_from_the_start, consenting, open_loan):
    """Twelve instalments from 16 February on, in UTC+8; borrower and loan share the calendar."""
    return open_loan()


@pytest.fixture(scope="module")
def level(ledger, loan):
    return int(ledger.loanOf(loan)["instalment"])


@pytest.fixture(scope="module")
def at(ledger, loan, clock):
    """Moves to an hour of the day on which the k-th instalment is due, or some days after it."""

    def at(k, days=0, hour=12, second=0):
        midnight = int(ledger.instalmentOf(loan, k)["dueAt"]) + 1 - DAY
        return clock.to(midnight + days * DAY + hour * HOUR + second)

    return at


@pytest.fixture(scope="module")
def allowed(notices, lender):
    def allowed(notice, server=None):
        assert notices.refusal(notice, server or lender) == (Refusal.NONE, 0, 0)

    return allowed


@pytest.fixture(scope="module")
def refused(notices, lender):
    """The notice is refused for exactly this reason, by the view and by `serve`."""

    def refused(notice, reason, actual, required, server=None):
        server = server or lender
        numbers = [_number(value) for value in (actual, required)]
        assert notices.refusal(notice, server) == (reason, *numbers)
        with reverts_with("Refused", reason, *numbers):
            notices.serve.call(notice, {"from": server})

    return refused


def _number(value):
    """Addresses are told as numbers."""
    return int(str(value), 16) if str(value).startswith("0x") else value


@pytest.fixture(scope="module")
def serve(notices, lender):
    def serve(notice, server=None):
        return notices.serve(notice, {"from": server or lender})

    return serve
