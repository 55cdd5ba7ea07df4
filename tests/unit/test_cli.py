"""The command line, as its users meet it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from duly.interfaces.cli import app

SAMPLE = Path(__file__).parents[2] / "data/lendingclub_sample.csv"
SCHEDULE = [
    "schedule",
    "--principal",
    "10000",
    "--rate",
    "11.22",
    "--instalments",
    "36",
    "--first-due",
    "2027-01-31",
]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def failed(*arguments: str) -> tuple[int, str]:
    result = run(*arguments)
    assert result.stdout == ""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stderr


def test_starts_without_the_slow_libraries() -> None:
    slow = {"web3", "eth_tester", "sqlalchemy", "fastapi", "pydantic", "cryptography"}
    code = f"import sys, duly.interfaces.cli; print({slow} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("command", [[], ["schedule"], ["import"]])
def test_help_teaches(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout or not command


def test_schedule_as_a_table() -> None:
    result = run(*SCHEDULE)
    assert result.exit_code == 0
    assert "10,000.00 at 11.22 % in 36 monthly instalments" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["1", "2027-01-31", "328.43", "93.50", "234.93", "9,765.07"] in rows
    assert ["2", "2027-02-28", "328.43", "91.30", "237.13", "9,527.94"] in rows
    assert ["36", "2029-12-31", "328.43", "3.05", "325.38", "0.00"] in rows
    assert ["11,823.48", "1,823.48", "10,000.00"] in rows


def test_schedule_in_json() -> None:
    result = run(*SCHEDULE, "--json")
    told = json.loads(result.stdout)
    rows = told.pop("rows")
    assert told == {
        "decimals": 2,
        "schedule": "level",
        "frequency": "monthly",
        "principal": 1_000_000,
        "origination_fee": 0,
        "received": 1_000_000,
        "rate_ppm": 112_200,
        "instalments": 36,
        "instalment": 32_843,
        "total": 1_182_348,
        "total_interest": 182_348,
    }
    assert rows[1] == {
        "k": 2,
        "due": "2027-02-28",
        "payment": 32_843,
        "interest": 9_130,
        "principal": 23_713,
        "balance": 952_794,
    }
    assert len(rows) == 36


@pytest.mark.parametrize(
    ("options", "title", "first", "last"),
    [
        (
            ["--schedule", "equal-principal", "--frequency", "quarterly"],
            "in 6 quarterly instalments of equal principal",
            ["1", "2027-01-31", "1,947.17", "280.50", "1,666.67", "8,333.33"],
            ["6", "2028-04-30", "1,713.40", "46.75", "1,666.65", "0.00"],
        ),
        (
            ["--schedule", "interest-only", "--frequency", "fortnightly"],
            "in 6 fortnightly instalments of interest, the principal with the last",
            ["1", "2027-01-31", "43.16", "43.16", "0.00", "10,000.00"],
            ["6", "2027-04-11", "10,043.16", "43.16", "10,000.00", "0.00"],
        ),
        (
            ["--schedule", "bullet", "--frequency", "four-weekly"],
            "in one payment after 6 periods of four weeks",
            ["6", "2027-06-20", "10,517.85", "517.85", "10,000.00", "0.00"],
            ["6", "2027-06-20", "10,517.85", "517.85", "10,000.00", "0.00"],
        ),
    ],
)
def test_schedule_of_every_shape(options: list[str], title: str, first: list[str], last: list[str]) -> None:
    result = run(*SCHEDULE, "--instalments", "6", *options)
    assert f"10,000.00 at 11.22 % {title} " in " ".join(result.stdout.split())
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()[:1].isdigit()]
    rows = [row for row in rows if len(row) == 6 and row[0].isdigit()]
    assert (rows[0], rows[-1]) == (first, last)


def test_schedule_tells_what_is_left_of_the_principal() -> None:
    fee = ["--origination-fee", "150"]
    told = run(*SCHEDULE, *fee).stdout
    assert "9,850.00 is paid out; the lender keeps an origination fee of 150.00" in told
    told_json = json.loads(run(*SCHEDULE, *fee, "--json").stdout)
    assert (told_json["origination_fee"], told_json["received"]) == (15_000, 985_000)


def test_schedule_takes_the_decimals_of_the_currency() -> None:
    told = json.loads(run(*SCHEDULE, "--decimals", "6", "--json").stdout)
    assert (told["principal"], told["decimals"]) == (10_000_000_000, 6)
    assert told["instalment"] == 328_429_994


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--principal", "1e99999", "not a number"),
        ("--principal", "0", "not more than zero"),
        ("--principal", "-5", "not more than zero"),
        ("--principal", "10000.001", "more than 2 decimals"),
        ("--principal", "0.05", "too few for 36 instalments"),
        ("--principal", "1" + "0" * 30, "the loan could come to"),
        ("--origination-fee", "10000", "less than 10,000.00"),
        ("--origination-fee", "-1", "out of range"),
        ("--schedule", "balloon", "--schedule"),
        ("--frequency", "daily", "--frequency"),
        ("--rate", "x", "'x' is not a number"),
        ("--rate", "-1", "rate is -10000"),
        ("--rate", "11.22001", "more than 4 decimals"),
        ("--rate", "1000", "out of range"),
        ("--instalments", "0", "instalments is 0"),
        ("--instalments", "601", "instalments is 601"),
        ("--instalments", "three", "--instalments"),
        ("--first-due", "2027-02-30", "2027-02-30"),
        ("--first-due", "1969-12-31", "before 1970"),
        ("--opened", "2027-01-15", "less than a month after opening"),
        ("--opened", "2026-01-15", "more than a year after 2026-01-15"),
        ("--decimals", "27", "--decimals"),
    ],
)
def test_wrong_input_is_told_and_exits_with_2(option: str, value: str, message: str) -> None:
    code, error = failed(*SCHEDULE, option, value)
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_verify_asks_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def same(*arguments: object, **_: object) -> list[str]:
        asked.append(arguments)
        return []

    monkeypatch.setitem(sys.modules, "duly.services.verify", SimpleNamespace(verify_schedule=same))
    result = run(*SCHEDULE, "--verify")
    assert result.exit_code == 0
    assert "The contract computes the same 36 rows." in result.stdout
    _, *loan = asked[0]
    assert loan == [1_000_000, 112_200, 36, 20_849]


def test_verify_exits_with_1_on_any_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(verify_schedule=lambda *_, **__: ["row 3: balance 1, not 2"])
    monkeypatch.setitem(sys.modules, "duly.services.verify", other)
    result = run(*SCHEDULE, "--verify")
    assert result.exit_code == 1
    assert "row 3: balance 1, not 2" in result.stderr


def test_import_reports_what_it_would_take() -> None:
    told = json.loads(run("import", str(SAMPLE), "--dry-run", "--json").stdout)
    assert (told["rows"], told["taken"], told["refused"]) == (237, 237, [])
    assert told["by_year"]["2011"] == {"rows": 68, "equal": 68, "within_0.06": 68}
    assert list(told["by_year"]) == ["2007", "2008", "2009", "2010", "2011"]


def test_import_as_a_table() -> None:
    result = run("import", str(SAMPLE), "--dry-run", "--limit", "10")
    assert result.exit_code == 0
    assert "10 rows, 10 taken, 0 refused" in result.stdout
    assert "100.00 %" in result.stdout
    assert result.stderr == ""


def test_import_lists_the_first_refused_rows(tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    book.write_text(SAMPLE.read_text().splitlines()[0] + "\n" + "[red]\n" * 25)
    result = run("import", str(book), "--dry-run")
    assert result.exit_code == 0
    assert "25 rows, 0 taken, 25 refused" in result.stdout
    assert "line 21: too few fields: 1 (wanted: 12)" in result.stdout
    assert "line 22:" not in result.stdout
    assert "… and 5 more (--json lists all)" in result.stdout


def test_import_of_no_loan_book_exits_with_2(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.csv", Path(__file__)):
        code, error = failed("import", str(path), "--dry-run", "--json")
        assert code == 2
        assert error.startswith("Error: ")
