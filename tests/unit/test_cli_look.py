"""`duly loans` and `duly loan`: what was indexed, as people and programs read it."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from history import CONTACT, LENDERS, LENDING, START
from scene import LENDER, STRANGER, a_loan, moment
from typer.testing import CliRunner

from duly.bootstrap import Application
from duly.chain import deployments
from duly.domain import calendar, schedule
from duly.domain.events import (
    Block,
    Event,
    InstalmentMissed,
    LoanAmended,
    LoanAssigned,
    LoanDefaulted,
    LoanOpened,
    LoanRescinded,
    Logged,
    PolicyPublished,
    Repaid,
)
from duly.domain.loan import Loan
from duly.domain.terms import Frequency, Schedule
from duly.interfaces.cli import app
from duly.store.readmodel import Identity, ReadModel

NOW = moment("2027-02-10 12:00")
NEW = b"\x0e" * 32


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ReadModel:
    """A read model of a local chain, which the commands look at."""
    found = ReadModel.open("sqlite://")
    genesis = Block(0, b"g" * 32, START)
    found.start(Identity(31337, genesis.hash, "0x" + "1e" * 20, 1), genesis)
    settings = SimpleNamespace(deployments=None)
    application = SimpleNamespace(read_model=found, settings=settings)
    monkeypatch.setattr(Application, "from_environment", lambda **options: application)
    currency = SimpleNamespace(symbol="TUSD", decimals=2)
    monkeypatch.setattr(deployments, "load", lambda *arguments: SimpleNamespace(currency=currency))
    tell(found, PolicyPublished(1, LENDERS[0], LENDING, CONTACT, b"t" * 32, b"p" * 32))
    return found


def tell(model: ReadModel, *told: Event, at: int = START) -> None:
    after = model.cursor().block
    block = Block(after.number + 1, bytes([after.number + 1]) * 32, at)
    logged = [Logged(each, block.number, block.hash, at, b"t" * 32, n) for n, each in enumerate(told)]
    model.apply(logged, after, block)


def lend(model: ReadModel, loan: Loan) -> Loan:
    tell(model, LoanOpened(loan.id, loan.terms, loan.instalment, loan.total), at=loan.opened_at)
    return loan


def shown(*arguments: str) -> str:
    # Rich folds what does not fit.
    result = CliRunner(env={"COLUMNS": "140"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def document(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def amended(loan: Loan) -> LoanAmended:
    terms = replace(loan.terms, first_due=loan.terms.first_due + 31, replaces=loan.id)
    return LoanAmended(loan.id, NEW, terms, loan.instalment, loan.total, loan.opened_at, 0, 500, 0)


def test_a_loan_that_replaced_another_and_the_other_name_each_other(model: ReadModel) -> None:
    loan = lend(model, a_loan())
    tell(model, Repaid(loan.id, STRANGER, 500, 500), amended(loan), at=NOW)
    old, new = "0x" + loan.id.hex(), "0x" + NEW.hex()
    text = shown("loan", old)
    assert f"replaced by {new}" in text
    assert "status replaced" in text
    assert f"replaced by {NEW.hex()[:8]}" in text
    assert "still owed" not in text
    text = shown("loan", new)
    assert f"replaces {old}" in text
    assert f"began in place of {loan.id.hex()[:8]}" in text
    assert "interest since" in text
    found = document("loan", old)
    assert (found["status"], found["replaced_by"], found["replaces"]) == ("replaced", new, None)
    assert (found["payoff"], found["paid"]) == (0, 0)
    found = document("loan", new)
    assert (found["status"], found["replaced_by"], found["replaces"]) == ("active", None, old)
    [began] = found["history"]
    assert (began["event"], began["amendment"], began["paid"]) == ("LoanAmended", new, 500)
    assert "terms" not in began


def test_a_default_and_an_assignment_show(model: ReadModel) -> None:
    loan = lend(model, a_loan())
    tell(
        model,
        InstalmentMissed(loan.id, 1, 1, 4_000),
        LoanDefaulted(loan.id, 1, loan.instalment),
        LoanAssigned(loan.id, LENDER, STRANGER),
        at=NOW,
    )
    text = shown("loan", loan.id.hex())
    assert "status defaulted" in text
    assert "default marked on instalment 1" in text
    assert "loan defaulted on instalment 1 1,061.82" in text
    assert "loan assigned to 0x575757…" in text
    assert f"lent by {LENDER}" in text.replace("A", "a")
    found = document("loan", loan.id.hex())
    assert (found["status"], found["defaulted"]) == ("defaulted", 1)
    assert (found["lender"].lower(), found["lent_by"].lower()) == (STRANGER, LENDER)
    [assigned] = [each for each in found["history"] if each["event"] == "LoanAssigned"]
    assert (assigned["from"], assigned["to"]) == (LENDER, STRANGER)


def test_the_last_day_to_rescind_shows_while_it_lasts(model: ReadModel) -> None:
    loan = lend(model, a_loan())
    last = calendar.iso(schedule.today(loan.terms, loan.opened_at) + LENDING.cooling_off_days)
    assert f"rescindable until {last}" in shown("loan", loan.id.hex())
    tell(model, at=loan.opened_at + 15 * calendar.DAY)
    assert "rescindable" not in shown("loan", loan.id.hex())


def test_a_rescinded_loan_asks_for_nothing(model: ReadModel) -> None:
    loan = lend(model, a_loan())
    tell(model, LoanRescinded(loan.id, 1_200_000, 1_200_000), at=loan.opened_at)
    text = shown("loan", loan.id.hex())
    assert "status rescinded" in text
    assert "rescindable" not in text
    assert "overdue" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "in 12 monthly instalments, level"),
        (
            {"schedule": Schedule.EQUAL_PRINCIPAL, "frequency": Frequency.FOUR_WEEKLY},
            "in 12 four-weekly instalments, equal-principal",
        ),
        ({"schedule": Schedule.BULLET}, "at once on 2027-12-29, after 12 monthly periods"),
        ({"origination_fee": 36_000}, "lent 12,000.00 TUSD at 11.22 %, less an origination fee of 360.00"),
    ],
)
def test_how_a_loan_is_repaid_shows(model: ReadModel, changes: dict[str, Any], words: str) -> None:
    loan = lend(model, a_loan(**changes))
    assert words in shown("loan", loan.id.hex())
    found = document("loan", loan.id.hex())
    assert Schedule[found["schedule"].upper().replace("-", "_")] is loan.terms.schedule
    assert Frequency[found["frequency"].upper().replace("-", "_")] is loan.terms.frequency
    assert sum(row["amount"] for row in found["rows"]) == loan.total


def test_loans_are_listed_by_where_they_stand(model: ReadModel) -> None:
    loans = [lend(model, a_loan(number=number)) for number in range(1, 6)]
    tell(
        model,
        amended(loans[0]),
        LoanRescinded(loans[1].id, 5, 5),
        LoanDefaulted(loans[2].id, 1, 5),
        Repaid(loans[3].id, STRANGER, loans[3].total, loans[3].total),
        at=NOW,
    )

    def listed(*options: str) -> set[str]:
        return {each["id"] for each in document("loans", *options)["loans"]}

    def ids(*which: bytes) -> set[str]:
        return {"0x" + each.hex() for each in which}

    assert len(listed()) == 6
    assert listed("--status", "replaced") == ids(loans[0].id)
    assert listed("--status", "rescinded") == ids(loans[1].id)
    assert listed("--status", "defaulted") == ids(loans[2].id)
    assert listed("--status", "repaid") == ids(loans[3].id)
    assert listed("--status", "active") == ids(NEW, loans[2].id, loans[4].id)
    assert listed("--status", "overdue") == ids(loans[2].id, loans[4].id)
    text = shown("loans")
    for word in ("replaced", "rescinded", "defaulted", "repaid", "overdue", "active"):
        assert word in text
