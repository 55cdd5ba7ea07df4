"""The contract computes the same schedule, and says so when it does not."""

import pytest
from conftest import Node
from typer.testing import CliRunner

from duly.chain import networks
from duly.domain import schedule
from duly.interfaces.cli import app as cli
from duly.services import verify
from duly.services.verify import verify_schedule

ARGUMENTS = [
    "schedule", "--principal", "10000", "--rate", "11.22", "--instalments", "36",
    "--first-due", "2027-01-31", "--verify",
]  # fmt: skip


@pytest.mark.parametrize(
    ("principal", "rate", "n", "offset"),
    [
        (1_000_000, 112_200, 36, 0),
        (350_000_000_000, 50_000, 60, 32),
        (1_200, 0, 12, -48),
        (7, 0, 1, 0),
        (99_999, 10_000_000, 19, 56),
    ],
)
def test_the_contract_computes_the_same(principal: int, rate: int, n: int, offset: int) -> None:
    rows = list(schedule.rows(principal, rate, n, 20_819, offset))
    assert verify_schedule(principal, rate, rows, calendar_offset=offset) == []


def test_every_difference_is_told() -> None:
    rows = list(schedule.rows(1_000_000, 112_200, 36, 20_819))
    rows[4] = rows[4]._replace(balance=rows[4].balance + 1)
    rows[7] = rows[7]._replace(due_at=0)
    found = verify_schedule(1_000_000, 112_200, rows)
    assert len(found) == 2
    assert found[0] == f"balance 5 is {rows[4].balance} here, {rows[4].balance - 1} in the contract"
    assert found[1].startswith("due time 8 is 0 here")
    assert verify_schedule(3, 112_200, rows)[0].startswith("the contract refuses: rounding")


def test_a_node_computes_without_spending(node: Node) -> None:
    w3 = networks.connect(node.url)
    rows = list(schedule.rows(1_000_000, 112_200, 36, 20_819))
    assert verify_schedule(1_000_000, 112_200, rows, w3=w3) == []
    assert verify_schedule(1_000_000, 112_201, rows, w3=w3) != []
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
