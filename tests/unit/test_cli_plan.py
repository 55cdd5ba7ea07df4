"""`duly plan`: the same plan for people and for programs."""

import json

import pytest
from scene import LENDER, Case, a_loan, borrower, moment, paid
from test_readmodel import started, tell
from typer.testing import CliRunner, Result

from duly.domain.consent import Channel, Profile
from duly.domain.errors import InvalidInput
from duly.domain.events import ConsentGranted, ContactRegistered, LoanOpened, PolicyPublished
from duly.domain.loan import Loan
from duly.domain.notice import Said
from duly.interfaces.cli import app
from duly.interfaces.cli import plan as command
from duly.services.plan import plan
from duly.services.policy import load_pack

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


# ------------------------------------------------------------------------------------ one loan


@pytest.fixture
def indexed(tmp_path, monkeypatch) -> Loan:
    """A loan in a database, and its borrower in a vault: due on 29 January 2027, nothing paid."""
    database = f"sqlite:///{tmp_path / 'duly.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DULY_DATABASE", database)
    monkeypatch.setenv("DULY_VAULT", f"sqlite:///{tmp_path / 'vault.db'}")
    run("vault", "init", "one.key")
    monkeypatch.setenv("DULY_MASTER_KEY_FILE", str(tmp_path / "one.key"))
    loan, pack = a_loan(), load_pack("GR")
    who = loan.terms.borrower
    run("vault", "add", who, "--address", "borrower@example.org")
    model = started(database)
    tell(
        model,
        PolicyPublished(1, LENDER, pack.lending_limits, pack.contact_limits, b"t" * 32, pack.pack_hash),
        LoanOpened(loan.id, loan.terms, loan.instalment, loan.total),
        ContactRegistered(who, Channel.EMAIL, b"c" * 32, 8, 12),
        ConsentGranted(who, Channel.EMAIL),
    )
    model.engine.dispose()
    return loan


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def explained(loan: Loan, at: str) -> dict:
    told = run("plan", "--explain", loan.id.hex(), "--at", at, "--server", LENDER, "--json").stdout
    document = json.loads(told)
    return document | {each["kind"]: each for each in document["kinds"]}


def test_one_loan_is_explained_to_programs(indexed):
    run("vault", "prefer", indexed.terms.borrower, "--hours", "17:00-18:30", "--zone", "Europe/Athens")
    # A Tuesday, eleven days after the due day, and noon in Athens.
    noon = explained(indexed, "2027-02-09T10:00Z")
    assert noon["overdue"]["verdict"] == "later"
    assert noon["overdue"]["local"] == "Tue 2027-02-09 17:00 (Europe/Athens)"
    assert [rule["rule"] for rule in noon["overdue"]["rules"] if not rule["holds"]] == ["wished hours"]
    assert noon["circumstances"]["days of rest"] == "public holidays and weekends of GR"
    assert explained(indexed, "2027-02-09T15:10Z")["overdue"]["verdict"] == "now"
    # Independence Day, a Thursday.
    holiday = explained(indexed, "2027-03-25T10:00Z")["overdue"]
    assert "Independence Day" in holiday["why"]
    assert holiday["local"] == "Fri 2027-03-26 17:00 (Europe/Athens)"


def test_one_loan_is_explained_to_people(indexed):
    told = run("plan", "--explain", indexed.id.hex()[:8], "--at", "2027-02-09T15:10Z", "--server", LENDER)
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert lines[0].startswith("Loan 0x")
    assert any(line.startswith("overdue now every rule lets it through") for line in lines)
    assert "✓ cap: week: 0 reminders to this person (at most 2 in 7 days)" in " ".join(lines)
    assert any(line.startswith("arrears nothing") for line in lines)


def test_explaining_an_unknown_loan_is_told(indexed):
    told = run("plan", "--explain", "abcd", "--at", "2027-02-09T15:10Z", "--server", LENDER, code=2)
    assert "no loan's id begins with 0xabcd" in told.stderr


def test_a_zone_that_the_borrower_did_not_register_is_refused(indexed):
    told = run("vault", "prefer", indexed.terms.borrower, "--zone", "Asia/Shanghai", code=2)
    assert "Asia/Shanghai has UTC+08:00" in told.stderr
    assert "UTC+02:00 and UTC+03:00, as the borrower registered on chain" in told.stderr
