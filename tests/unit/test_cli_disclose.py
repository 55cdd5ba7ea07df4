"""`duly disclose`, as its users meet it."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from eth_hash.auto import keccak
from pypdf import PdfReader
from scene import LENDER, borrower, day, moment
from typer.testing import CliRunner, Result

from duly.domain.terms import Frequency, Schedule
from duly.interfaces.cli import app
from duly.services import termsfile
from duly.services.policy import load_pack

PACK = load_pack("STRICT")
GIVEN = {
    "--principal": "10000",
    "--rate": "11.22",
    "--instalments": "36",
    "--first-due": "2027-01-31",
    "--lender": LENDER,
    "--borrower": borrower(1),
    "--late-fee": "10",
    "--expires": "2026-12-30",
    "--policy-number": "7",
    "--symbol": "USDC",
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["disclose", *map(str, arguments)])


def options(**changes: str | None) -> list[str]:
    """What is given, with changes; None leaves an option out."""
    given = GIVEN | {"--" + name.replace("_", "-"): value for name, value in changes.items()}
    return [part for name, value in given.items() if value is not None for part in (name, value)]


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    return result.stderr


@pytest.fixture
def html(tmp_path: Path) -> Path:
    return tmp_path / "statement.html"


@pytest.fixture
def terms(tmp_path: Path) -> Path:
    return tmp_path / "terms.json"


@pytest.fixture
def agreed(html: Path, terms: Path) -> None:
    """A statement was written, and its terms."""
    assert run(*options(), "--html", html, "--out-terms", terms).exit_code == 0


def test_help_teaches() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert "duly disclose --verify statement.html --terms terms.json" in result.stdout


def test_writes_the_statement_a_copy_and_the_terms(html: Path, terms: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "statement.pdf"
    result = run(*options(), "--html", html, "--pdf", pdf, "--out-terms", terms)
    assert result.exit_code == 0
    statement_hash = keccak(html.read_bytes())
    assert result.stdout.splitlines() == [
        f"agreementHash 0x{statement_hash.hex()}",
        "for opening on 2026-12-30, under policy 7",
        f"wrote {html}",
        f"wrote {pdf}",
        f"wrote {terms}",
    ]
    assert "11,823.48 USDC" in html.read_text()
    assert statement_hash.hex() in PdfReader(pdf).pages[0].extract_text()
    found = termsfile.read(terms)
    assert found.agreement_hash == statement_hash
    assert (found.principal, found.late_fee, found.rate) == (1_000_000, 1_000, 112_200)
    assert (found.policy, found.grace_days) == (7, PACK.lending_limits.min_grace_days)
    assert found.expires == moment("2026-12-30 23:59:59", 0)


def test_every_term_can_be_given(html: Path) -> None:
    told = run(
        *options(calendar_offset="-03:30", expires="2026-10-30", grace_days="12", late_fee="1.5"),
        *("--schedule", "equal-principal", "--frequency", "quarterly", "--origination-fee", "250"),
        *("--decimals", "3", "--salt", "0x" + "ab" * 32, "--opened", "2026-10-20"),
        *("--html", html, "--json"),
    )
    assert told.exit_code == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer == {
        "agreement_hash": "0x" + keccak(html.read_bytes()).hex(),
        "language": "en",
        "opened": "2026-10-20",
        "files": {"html": str(html)},
        "terms": {
            "lender": LENDER,
            "borrower": borrower(1),
            "principal": 10_000_000,
            "originationFee": 250_000,
            "lateFee": 1_500,
            "rate": 112_200,
            "instalments": 36,
            "firstDue": day("2027-01-31"),
            "schedule": int(Schedule.EQUAL_PRINCIPAL),
            "frequency": int(Frequency.QUARTERLY),
            "calendarOffset": -14,
            "graceDays": 12,
            "policy": 7,
            "expires": moment("2026-10-30 23:59:59", -14),
            "agreementHash": "0x" + keccak(html.read_bytes()).hex(),
            "replaces": "0x" + 64 * "0",
            "salt": "0x" + "ab" * 32,
        },
    }


def test_expires_may_be_a_moment(html: Path) -> None:
    told = run(*options(expires="2026-12-30T18:00+08:00"), "--html", html, "--json")
    assert json.loads(told.stdout)["terms"]["expires"] == moment("2026-12-30 18:00")


def test_terms_in_a_file_make_the_same_statement(
    agreed: None, html: Path, terms: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.html"
    result = run("--terms", terms, "--symbol", "USDC", "--html", again)
    assert (result.exit_code, result.stderr) == (0, "")
    assert again.read_bytes() == html.read_bytes()


def test_another_language_is_another_statement(agreed: None, terms: Path, tmp_path: Path) -> None:
    chinese = tmp_path / "chinese.html"
    result = run("--terms", terms, "--symbol", "USDC", "--lang", "zh", "--html", chinese)
    assert result.exit_code == 0
    assert "The terms that were given are agreed on with another statement." in result.stderr
    assert "贷款关键信息说明书" in chinese.read_text(encoding="utf-8")


def test_something_has_to_be_written(terms: Path) -> None:
    assert "there is nothing to write" in refused(*options())
    assert "--html FILE, --pdf FILE, or both" in refused(*options(), "--out-terms", terms)
    assert not terms.exists()


def test_nothing_is_overwritten_silently(agreed: None, html: Path, terms: Path, tmp_path: Path) -> None:
    before = html.read_bytes()
    changed = options(rate="11.23")
    other = tmp_path / "other.pdf"
    assert f"{html} exists" in refused(*changed, "--html", html, "--pdf", other)
    assert f"{terms} exists" in refused(*changed, "--pdf", other, "--out-terms", terms)
    assert "two files have the same name" in refused(*changed, "--html", other, "--pdf", other)
    assert html.read_bytes() == before
    assert not other.exists()
    assert run(*changed, "--html", html, "--force").exit_code == 0
    assert html.read_bytes() != before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = run(*options(), "--html", tmp_path / "nowhere" / "statement.html")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize(
    ("changes", "wrong", "wanted"),
    [
        ({"principal": None}, "the loan's terms are incomplete", "or --terms FILE.json"),
        ({"expires": None}, "the loan's terms are incomplete", "--expires"),
        ({"symbol": None}, "the currency is unknown", "--symbol, such as USDC; or --rpc"),
        ({"policy_number": None}, "the policy's number is unknown", "--policy-number N"),
        ({"policy": "gentle"}, "there is no policy pack 'gentle'", "STRICT"),
        ({"lender": "0x12"}, "'0x12' is not an address", "40 hexadecimal digits"),
        ({"borrower": LENDER}, "lender and borrower must be two addresses", ""),
        ({"late_fee": "17"}, "exceeds the policy's share of the smallest regular instalment", "at most 1642"),
        ({"grace_days": "4"}, "4 days of grace are fewer than the policy's", "at least 5"),
        ({"rate": "36"}, "the annual percentage rate exceeds the policy's cap", ""),
        ({"expires": "tomorrow"}, "'tomorrow' is not a moment", "such as 2027-01-29T09:00"),
        ({"opened": "2026-12-31"}, "the offer ends on 2026-12-30, before the day of opening", ""),
        ({"opened": "2025-12-31"}, "first instalment on 2027-01-31: more than a year after", ""),
        ({"calendar_offset": "8h"}, "'8h' is no offset from UTC", "such as +08:00"),
        ({"calendar_offset": "+15:00"}, "calendar_offset is 60", "a whole number from -48 to 56"),
        ({"salt": "0x1"}, "'0x1' is no salt", "0x and 64 hexadecimal digits"),
        ({"symbol": "a\tb"}, "is no currency's symbol", "printable"),
        ({"lang": "fr"}, "--lang", "en"),
    ],
)
def test_wrong_input_is_told(html: Path, changes: dict[str, str | None], wrong: str, wanted: str) -> None:
    error = refused(*options(**changes), "--html", html)
    assert wrong in error
    assert wanted in error
    assert not html.exists()


def test_a_symbol_that_the_pdf_cannot_show_writes_nothing(html: Path, tmp_path: Path) -> None:
    assert "the PDF's font lacks ₮" in refused(
        *options(symbol="USD₮0"), "--html", html, "--pdf", tmp_path / "statement.pdf"
    )
    assert not html.exists()


def test_terms_are_given_once(agreed: None, html: Path, terms: Path) -> None:
    for extra in (("--rate", "11.22"), ("--schedule", "level"), ("--policy-number", "7")):
        error = refused("--terms", terms, "--symbol", "USDC", "--html", html, "--force", *extra)
        assert f"both --terms and {extra[0]} are given" in error


# ---------------------------------------------------------------------------------------- verifying


def test_verify_passes_what_was_agreed_on(agreed: None, html: Path, terms: Path) -> None:
    result = run("--verify", html, "--terms", terms)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["yes", "yes", "not"]
    told = json.loads(run("--verify", html, "--terms", terms, "--policy", "strict", "--json").stdout)
    assert told == {
        "passed": True,
        "agreed": True,
        "rendered": True,
        "basis": True,
        "difference": "",
        "opened": "2026-12-30",
    }


def test_verify_finds_a_changed_document(agreed: None, html: Path, terms: Path) -> None:
    html.write_bytes(html.read_bytes().replace(b"9,765.07", b"9,765.08"))
    result = run("--verify", html, "--terms", terms)
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[:2]] == ["NO", "NO"]
    assert "9,765.08" in result.stdout
    assert "9,765.07" in result.stdout


def test_verify_finds_changed_terms(agreed: None, html: Path, terms: Path) -> None:
    terms.write_text(terms.read_text().replace('"lateFee": 1000', '"lateFee": 900'))
    result = run("--verify", html, "--terms", terms, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["passed"], told["agreed"], told["rendered"]) == (False, True, False)


def test_verify_finds_another_policys_limits(agreed: None, html: Path, terms: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    strict = Path(__file__).parents[2] / "duly/policies/strict.toml"
    other.write_text(strict.read_text().replace("value = 14\n", "value = 15\n"))
    result = run("--verify", html, "--terms", terms, "--policy", other, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["agreed"], told["rendered"], told["basis"]) == (True, True, False)


def test_verify_needs_the_terms_and_the_html(agreed: None, html: Path, terms: Path, tmp_path: Path) -> None:
    assert "there are no terms to check the statement against" in refused("--verify", html)
    assert "cannot be read" in refused("--verify", tmp_path / "missing.html", "--terms", terms)
    assert "does not hold terms" in refused("--verify", html, "--terms", _json(tmp_path, "{}"))
    assert "is not JSON" in refused("--verify", html, "--terms", html)
    assert "both --verify and --html are given" in refused("--verify", html, "--terms", terms, "--html", html)
    pdf = tmp_path / "statement.pdf"
    pdf.write_bytes(b"%PDF-1.4\n")
    assert "is a PDF, a copy" in refused("--verify", pdf, "--terms", terms)


def _json(folder: Path, text: str) -> Path:
    path = folder / "some.json"
    path.write_text(text)
    return path


# ---------------------------------------------------------------------------------------- a deployment


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with policy 3, STRICT, in a currency of six decimals."""
    limits = {3: (PACK.lending_limits, PACK.contact_limits)}
    deployment = SimpleNamespace(
        policy=lambda name: 3, currency=SimpleNamespace(symbol="TUSD", decimals=6, address=LENDER)
    )
    book = SimpleNamespace(
        lending_of=lambda number: limits[number][0], contact_of=lambda number: limits[number][1]
    )
    application = SimpleNamespace(deployment=deployment, contracts=SimpleNamespace(policy_book=book))
    monkeypatch.setattr("duly.bootstrap.Application.from_environment", lambda **_: application)


def test_policy_and_currency_come_from_a_deployment(deployed: None, html: Path, terms: Path) -> None:
    rpc = ("--rpc", "http://127.0.0.1:8545")
    from_chain = options(policy_number=None, symbol=None)
    assert run(*from_chain, *rpc, "--html", html, "--out-terms", terms).exit_code == 0
    assert "10,000.00 TUSD" in html.read_text()
    found = termsfile.read(terms)
    assert (found.policy, found.principal) == (3, 10_000_000_000)
    assert json.loads(run("--verify", html, "--terms", terms, *rpc, "--json").stdout)["basis"] is True


def test_verify_finds_another_currency_than_the_deployments(deployed: None, html: Path, terms: Path) -> None:
    """With other decimals, amounts would be told a hundred times too small."""
    assert run(*options(symbol="TUSD", decimals="8"), "--html", html, "--out-terms", terms).exit_code == 0
    other = terms.read_text().replace('"policy": 7', '"policy": 3')
    terms.write_text(other)
    told = run("--verify", html, "--terms", terms, "--rpc", "http://127.0.0.1:8545", "--json").stdout
    assert json.loads(told)["basis"] is False


def test_what_a_deployment_knows_is_not_contradicted(deployed: None, html: Path) -> None:
    rpc = ("--rpc", "http://127.0.0.1:8545", "--html", html)
    assert "the deployment's currency is TUSD with 6 decimals" in refused(
        *options(policy_number=None, symbol="USDC"), *rpc
    )
    assert "policy 7 is another" in refused(*options(symbol=None), *rpc)
