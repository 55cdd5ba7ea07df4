"""`duly plan`: the same plan for people and for programs."""

import json

import pytest
from scene import LENDER, Case, a_loan, borrower, moment, paid

from duly.domain.consent import Profile
from duly.domain.errors import InvalidInput
from duly.domain.notice import Said
from duly.interfaces.cli import plan as command
from duly.services.plan import plan

NOW = moment("2027-02-09 12:00")


@pytest.fixture
def planned():
    cases = [
        Case(loan=a_loan(number=1)),
        Case(loan=a_loan(number=2), reminders=(NOW - 3600,)),
        Case(loan=a_loan(number=3), profile=Profile()),
        Case(loan=paid(a_loan("2027-02-20", number=4), 5, "2027-02-01 12:00"), said=Said()),
    ]
    return sorted(plan(cases, LENDER, NOW), key=command._order)


def test_people_read_when_what_and_why_not(planned, capsys):
    command.show(planned, NOW, "TUSD", 2)
    told = capsys.readouterr().out
    assert "3 may be said now, 4 not now." in told
    assert [line.split()[:2] for line in told.splitlines() if " overdue " in line] == [
        ["now", "00000000"],
        ["2027-02-11", "03:00"],
        ["never", "00000000"],
    ]
    lines = [(line.decision.reason.name, command.reason(line)) for line in planned]
    assert lines[:3] == [("NONE", "")] * 3
    assert [words for _, words in lines[3:]] == [
        "too soon after another",
        "not before 2027-02-17",
        "not before 2027-02-20",
        "no contact registered",
    ]


def test_programs_read_every_notice(planned):
    document = json.loads(json.dumps(command.as_json(planned, LENDER, NOW)))
    assert (document["ready"], document["waiting"]) == (3, 4)
    first = document["notices"][0]
    assert first["kind"] == "overdue"
    assert first["borrower"] == borrower(1)
    assert first["amount"] == planned[0].amount
    assert first["notice"] == "0x" + planned[0].id.hex()
    assert document["notices"][-1]["not_before"] is None


@pytest.mark.parametrize("text", ["2027-02-09T12:00+08:00", "2027-02-09 04:00", "2027-02-09T04:00:00Z"])
def test_a_moment_is_utc_unless_it_says_otherwise(text):
    assert command.parse_moment(text) == NOW


def test_what_is_no_moment_or_address_is_told():
    with pytest.raises(InvalidInput, match="'noon' is not a moment"):
        command.parse_moment("noon")
    with pytest.raises(InvalidInput, match="not an address"):
        command.parse_address("0x12")
    assert command.parse_address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8") == (
        "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
    )
