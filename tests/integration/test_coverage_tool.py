"""What `make coverage` takes for a line and for a branch."""

import pytest

from tools.coverage import MARKER, Instrument, syntax_trees

SOURCE = """\
pragma solidity ^0.8.37;
contract Shop {
    uint256 public sold;
    function sell(uint256 count, bool open) external returns (uint256 price) {
        if (count == 0) revert("nothing");
        if (open || count > 9) sold += count;
        else
            sold = 0;
        for (uint256 i = 0; i < count; ++i) price += i > 2 ? 1 : 2; // é: bytes, not characters
        unchecked { price *= 2; }
        try this.sold() returns (uint256) { ++price; } catch {}
    }
}
"""


@pytest.fixture(scope="module")
def shop():
    return Instrument(SOURCE, syntax_trees({"Shop.sol": SOURCE})["Shop.sol"])


def test_a_condition_has_two_branches_with_or_without_else(shop):
    conditions = {(branch.line, branch.text) for branch in shop.measured.branches}
    assert conditions == {
        (5, "count == 0"),
        (6, "open || count > 9"),
        (6, "open"),
        (6, "count > 9"),
        (9, "i < count"),
        (9, "i > 2"),
        (11, "clause of a try"),
    }
    outcomes = [branch.outcome for branch in shop.measured.branches]
    assert [outcomes.count(outcome) for outcome in ("true", "false", "run")] == [6, 6, 2]


def test_every_line_with_a_statement_counts(shop):
    assert sorted(shop.measured.lines) == [5, 6, 8, 9, 10, 11]


def test_each_branch_leaves_a_mark_of_its_own(shop):
    marks = [branch.mark for branch in shop.measured.branches]
    assert len(set(marks)) == len(marks)
    assert all(f'"{mark}"' in shop.text() for mark in marks)


def test_what_is_written_compiles_and_moves_no_line(shop):
    assert syntax_trees({"Shop.sol": shop.text(), "contracts/Coverage.sol": MARKER})
    for before, after in zip(SOURCE.splitlines(), shop.text().splitlines(), strict=False):
        assert before[-1:] == after[-1:]
