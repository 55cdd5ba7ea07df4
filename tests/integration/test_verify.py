"""The contract computes the same schedule, and says so when it does not."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from conftest import Node
from typer.testing import CliRunner

from duly.chain import networks
from duly.domain import schedule
from duly.domain.loanbook import BookLoan, RefusedRow
from duly.domain.terms import Frequency, Schedule
from duly.interfaces.cli import app as cli
from duly.services import loanbook, verify
from duly.services.verify import verify_book, verify_schedule

SAMPLE = Path(__file__).resolve().parents[2] / "data/lendingclub_sample.csv"

ARGUMENTS = [
    "schedule", "--principal", "10000", "--rate", "11.22", "--instalments", "36",
    "--first-due", "2027-01-31", "--verify",
]  # fmt: skip


FIRST_DUE = 20_819
A_LOAN = (1_000_000, 112_200, 36, FIRST_DUE)


@pytest.mark.parametrize(
    ("principal", "rate", "n", "offset", "shape", "frequency"),
    [
        (1_000_000, 112_200, 36, 0, Schedule.LEVEL, Frequency.MONTHLY),
        (350_000_000_000, 50_000, 60, 32, Schedule.EQUAL_PRINCIPAL, Frequency.QUARTERLY),
        (1_200, 0, 12, -48, Schedule.LEVEL, Frequency.FORTNIGHTLY),
        (7, 0, 1, 0, Schedule.EQUAL_PRINCIPAL, Frequency.FOUR_WEEKLY),
        (99_999, 10_000_000, 19, 56, Schedule.INTEREST_ONLY, Frequency.MONTHLY),
        (99_999, 120_000, 19, 56, Schedule.BULLET, Frequency.WEEKLY),
    ],
)
def test_the_contract_computes_the_same(
    principal: int, rate: int, n: int, offset: int, shape: Schedule, frequency: Frequency
) -> None:
    loan = (principal, rate, n, FIRST_DUE, offset, shape, frequency)
    assert verify_schedule(list(schedule.rows(*loan)), *loan) == []


def test_every_difference_is_told() -> None:
    rows = list(schedule.rows(*A_LOAN))
    rows[4] = rows[4]._replace(balance=rows[4].balance + 1)
    rows[7] = rows[7]._replace(due_at=0)
    found = verify_schedule(rows, *A_LOAN)
    assert len(found) == 2
    assert found[0] == f"balance 5 is {rows[4].balance} here, {rows[4].balance - 1} in the contract"
    assert found[1].startswith("due time 8 is 0 here")
    assert verify_schedule(rows, 3, 112_200, 36, FIRST_DUE)[0].startswith("the contract refuses: rounding")


def test_a_node_computes_without_spending(node: Node) -> None:
    w3 = networks.connect(node.url)
    rows = list(schedule.rows(*A_LOAN))
    assert verify_schedule(rows, *A_LOAN, w3=w3) == []
    assert verify_schedule(rows, 1_000_000, 112_201, 36, FIRST_DUE, w3=w3) != []
    assert w3.eth.block_number == 0


def test_the_command(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for more in ([], ["--rpc", node.url]):
        result = CliRunner().invoke(cli, [*ARGUMENTS, *more])
        assert result.exit_code == 0, result.output
        assert "The contract computes the same 36 rows." in result.stdout
    original = verify.verify_schedule
    monkeypatch.setattr(
        verify, "verify_schedule", lambda *a, **k: [*original(*a, **k), "balance 5 is 1 here, 2 there"]
    )
    result = CliRunner().invoke(cli, ARGUMENTS)
    assert result.exit_code == 1
    assert "the contract computes another schedule:\nbalance 5 is 1 here, 2 there" in result.stderr


def test_the_contract_computes_a_whole_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_BATCH", 100)
    rows = list(loanbook.read(SAMPLE))
    assert [*verify_book(rows)] == [(row, []) for row in rows]


def test_only_the_loans_that_differ_are_told() -> None:
    rows: list[BookLoan | RefusedRow] = list(islice(loanbook.read(SAMPLE), 9))
    rows[2] = RefusedRow(4, "no loan")
    one, other, refused = rows[4], rows[6], rows[7]
    assert isinstance(one, BookLoan)
    assert isinstance(other, BookLoan)
    assert isinstance(refused, BookLoan)
    rows[4] = replace(one, instalment=one.instalment + 1, total=0)
    rows[6] = replace(other, rate=other.rate + 1)
    rows[7] = replace(refused, principal=3)
    found = [differences for _, differences in verify_book(rows)]
    assert found[4] == [
        f"line {one.line}: the instalment is {one.instalment + 1} here, {one.instalment} in the contract",
        f"line {one.line}: the total is 0 here, {one.total} in the contract",
    ]
    assert found[6]
    assert [told.split("rounding")[0] for told in found[7]] == [
        f"line {refused.line}: the contract refuses: "
    ]
    assert not any(found[k] for k in (0, 1, 2, 3, 5, 8))


def test_the_command_for_a_book(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["import", str(SAMPLE), "--dry-run", "--verify"]
    result = CliRunner().invoke(cli, [*arguments, "--rpc", node.url])
    assert result.exit_code == 0, result.output
    assert "The contract computes the same 237 instalments and totals." in result.stdout
    assert networks.connect(node.url).eth.block_number == 0

    original = loanbook.read
    monkeypatch.setattr(
        loanbook, "read", lambda *a: (replace(row, total=1) for row in islice(original(*a), 2))
    )
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)["differences"]
    assert [line.split(" in the")[0] for line in told] == [
        f"line {k + 2}: the total is 1 here, {row.total}" for k, row in enumerate(islice(original(SAMPLE), 2))
    ]
    assert "the contract computes other instalments:\nline 2: the total is 1 here" in result.stderr

    result = CliRunner().invoke(cli, ["import", str(SAMPLE), "--verify"])
    assert result.exit_code == 2
    assert "goes with --dry-run" in result.stderr
