"""`duly apr`, as its users meet it."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from duly.interfaces.cli import app

TERMS = ("--principal", "10000", "--rate", "11.22", "--instalments", "36", "--first-due", "2027-01-31")
FILE = """date,amount
2027-01-15,-1000.00
2027-02-15,514.00
2027-03-15,514.00
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["apr", *arguments])


def told(*arguments: str) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    return result.stderr


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    path = tmp_path / "loan.csv"
    path.write_text(FILE)
    return path


def test_help_teaches() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert "2027-01-15,-1000.00" in result.stdout


def test_the_rates_of_terms() -> None:
    """Without a fee, the APR is the loan's own rate, but for the instalment's rounding to the cent."""
    result = run(*TERMS)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["10,000.00", "from", "2026-12-31", "on,", "11,823.48", "paid", "by", "2029-12-31"]
    assert ["APR", "11.22", "%", "nominal,", "Regulation", "Z;", "unit-period:", "month"] in rows
    assert ["APRC", "11.82", "%", "effective,", "Directive", "2008/48/EC"] in rows
    assert ["amount", "financed", "10,000.00"] in rows
    assert ["finance", "charge", "1,823.48"] in rows
    assert ["total", "of", "payments", "11,823.48"] in rows


def test_a_fee_and_an_earlier_opening_are_part_of_the_rates() -> None:
    plain = told(*TERMS)
    assert (plain["amount_financed"], plain["finance_charge"]) == (1_000_000, 182_348)
    dearer = told(*TERMS, "--origination-fee", "150")
    assert (dearer["amount_financed"], dearer["finance_charge"]) == (985_000, 197_348)
    assert float(dearer["apr_percent"]) > float(plain["apr_percent"])  # type: ignore[arg-type]
    # A longer first period bears no interest.
    cheaper = told(*TERMS, "--opened", "2026-12-01")
    assert cheaper["flows"][0] == {"date": "2026-12-01", "amount": -1_000_000}  # type: ignore[index]
    assert float(cheaper["apr_percent"]) < float(plain["apr_percent"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frequency", "opening", "unit"),
    [
        ("quarterly", "2026-10-31", "3 months"),
        ("weekly", "2027-01-24", "week"),
        ("fortnightly", "2027-01-17", "2 weeks"),
        ("four-weekly", "2027-01-03", "4 weeks"),
    ],
)
def test_other_frequencies_open_one_interval_before_the_first_due_day(
    frequency: str, opening: str, unit: str
) -> None:
    found = told(*TERMS, "--frequency", frequency, "--schedule", "equal-principal")
    assert found["flows"][0]["date"] == opening  # type: ignore[index]
    assert found["unit_period"] == unit
    assert float(found["apr_percent"]) == pytest.approx(11.22, abs=0.001)  # type: ignore[arg-type]


def test_the_flows_of_terms_are_payments_that_have_the_same_rates(tmp_path: Path) -> None:
    of_terms = told(*TERMS, "--decimals", "6", "--schedule", "interest-only")
    path = tmp_path / "flows.csv"
    rows = [f"{flow['date']},{flow['amount']}" for flow in of_terms["flows"]]  # type: ignore[attr-defined]
    path.write_text("\n".join(["date,amount", *rows]))
    assert told("--payments", str(path), "--decimals", "0") == of_terms | {"decimals": 0}


def test_the_rates_of_payments(payments: Path) -> None:
    """1000 g^2 = 514 g + 514, where g is what a month's interest makes of 1."""
    g = (514 + Decimal(514**2 + 4 * 1000 * 514).sqrt()) / 2000
    assert told("--payments", str(payments)) == {
        "decimals": 2,
        "apr_percent": f"{1200 * (g - 1):.10f}",
        "aprc_percent": f"{100 * (g**12 - 1):.10f}",
        "unit_period": "month",
        "amount_financed": 100_000,
        "finance_charge": 2_800,
        "total_of_payments": 102_800,
        "flows": [
            {"date": "2027-01-15", "amount": -100_000},
            {"date": "2027-02-15", "amount": 51_400},
            {"date": "2027-03-15", "amount": 51_400},
        ],
    }


def test_a_file_may_have_other_columns_spaces_and_a_byte_order_mark(payments: Path, tmp_path: Path) -> None:
    path = tmp_path / "spreadsheet.csv"
    path.write_text(
        "\ufeffwhat, amount ,date\r\n"
        '"paid, late", 514 ,2027-03-15\r\n'
        "lent,-1e3,2027-01-15\r\n"
        "\r\n"
        "paid,514.0, 2027-02-15 \r\n",
        encoding="utf-8",
    )
    found, plain = told("--payments", str(path)), told("--payments", str(payments))
    assert found["apr_percent"] == plain["apr_percent"]


@pytest.mark.parametrize(
    ("old", "new", "wrong", "wanted"),
    [
        ("2027-02-15", "15.2.2027", "line 3, column date: '15.2.2027' is no day", "such as 2027-01-31"),
        ("2027-02-15", "2027-02-29", "line 3, column date: '2027-02-29' is no day", "such as 2027-01-31"),
        ("2027-02-15", "2027-W07-1", "line 3, column date: '2027-W07-1' is no day", "such as 2027-01-31"),
        ("2027-02-15", "", "line 3, column date: '' is no day", "such as 2027-01-31"),
        ("-1000.00", "1.000,00", "line 2 has 3 fields", "2, as in the first"),
        ("-1000.00", "$1000", "line 2, column amount: '$1000' is not a number", "digits such as 1000.00"),
        ("-1000.00", "-1000.005", "line 2, column amount: -1000.005 has more", "at most 2 decimals"),
        ("514.00\n2027-03", "\n2027-03", "line 3, column amount: '' is not a number", "digits"),
        ("date,amount", "day,amount", "line 1 names no column date", "date,amount"),
        ("date,amount", "amount,amount", "line 1 names no column date", "date,amount"),
        (FILE, "date,date,amount\n", "line 1 names more than one column date", "date,amount"),
        (FILE, "", "the file is empty", "date and amount"),
        (FILE, "date,amount\n", "nothing is advanced", "at least one advance"),
        ("-1000.00", "1000.00", "nothing is advanced", "at least one advance"),
        ("-1000.00", "-2000.00", "payments of 102800 smallest units do not repay", "at least what is"),
        ("2027-01-15", "2027-02-16", "a payment on 2027-02-15 comes before", "an advance first"),
        ("-1000.00", '"-1000.00', "line 2 is not CSV", "quotation mark"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_line_and_column(
    payments: Path, old: str, new: str, wrong: str, wanted: str
) -> None:
    payments.write_text(FILE.replace(old, new))
    error = refused("--payments", str(payments))
    assert wrong in error
    assert wanted in error


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused("--payments", str(tmp_path / "missing.csv"))
    assert "Is a directory" in refused("--payments", str(tmp_path))
    (tmp_path / "latin.csv").write_bytes(b"date,amount\n2027-01-15,-1000\xa3\n")
    assert "not text in UTF-8" in refused("--payments", str(tmp_path / "latin.csv"))


def test_either_terms_or_payments(payments: Path) -> None:
    for incomplete in ((), TERMS[:6], TERMS[2:]):
        assert "the loan's terms are incomplete" in refused(*incomplete)
    for given in (TERMS[:2], ("--schedule", "level"), ("--opened", "2027-01-15"), ("--origination-fee", "1")):
        assert f"both --payments and {given[0]} are given" in refused("--payments", str(payments), *given)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        (("--principal", "0"), "0 is not more than zero"),
        (("--rate", "x"), "'x' is not a number"),
        (("--opened", "2027-01-15"), "first instalment on 2027-01-31: less than a month after opening"),
        (("--origination-fee", "10000"), "an origination fee of 10000 is out of range"),
        (("--instalments", "601"), "instalments is 601"),
    ],
)
def test_terms_that_no_ledger_accepts_are_refused(changed: tuple[str, str], wrong: str) -> None:
    assert wrong in refused(*TERMS, *changed)
