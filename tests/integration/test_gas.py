"""Gas, read off receipts on a real chain, and held to what it may cost at most."""

import re
from pathlib import Path

import pytest

from duly.services.gas import OPERATIONS, GasReport, bench_gas

DOCUMENT = Path(__file__).parents[2] / "docs" / "gas.md"

CEILINGS = {
    "open": 180_000,
    "originate": 226_500,
    "instalment": 63_000,
    "late_instalment": 70_000,
    "settle": 66_000,
    "flag_missed": 46_000,
    "flag_missed_each_of_50": 21_000,
    "amend": 210_000,
    "serve": 95_000,
    "serve_again": 80_000,
    "serve_each_of_50": 55_000,
    "serve_again_each_of_50": 40_000,
    "remind_each_of_50": 55_000,
    "remind_again_each_of_50": 40_000,
    "remind_second_each_of_50": 40_000,
    "remind_overdue_each_of_50": 40_000,
    "remind_together_each_of_50": 40_000,
}


@pytest.fixture(scope="module")
def report() -> GasReport:
    return bench_gas()


@pytest.mark.parametrize("key", CEILINGS)
def test_it_costs_no_more_than_it_may(report, key):
    assert report.gas[key] <= CEILINGS[key]


def test_nothing_got_dearer_unnoticed(report):
    assert [operation.key for operation in report.above] == []
    # The ceilings that are our own lie close above what was measured: they are there to be noticed.
    own = [operation for operation in OPERATIONS if operation.key not in CEILINGS]
    assert not [operation.key for operation in own if operation.most > report.gas[operation.key] * 1.03]


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.peer], ids=lambda o: o.key)
def test_it_is_cheaper_than_the_best_peer(report, operation):
    assert report.gas[operation.key] < operation.peer / 2


def test_the_page_shows_these_figures(report):
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) \|", DOCUMENT.read_text(encoding="utf-8"), re.M)
    shown = {name.strip(): int(figure.replace(",", "")) for name, figure in rows}
    for operation in OPERATIONS:
        assert shown[operation.name] == pytest.approx(report.gas[operation.key], abs=100)
