"""Reading a loan book: what is taken, what is refused and why, and how well the ledger's formula fits it."""

import gzip
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest

from duly.domain.errors import InvalidLoanBook
from duly.domain.loanbook import COLUMNS, BookLoan, RefusedRow
from duly.services import loanbook

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data/lendingclub_sample.csv"
WHOLE = ROOT.parent / "shared/data/lendingclub_2007_2011.csv.gz"

# The first row of the published book.
ROW = {
    "issue_d": "2007-12-01",
    "funded_amnt": "20000",
    "term": "36",
    "int_rate": "0.1122",
    "installment": "656.86",
    "loan_status": "Fully Paid",
    "total_pymnt": "22583.2667671403",
    "total_rec_prncp": "20000.0",
    "total_rec_int": "2583.27",
    "total_rec_late_fee": "0.0",
    "last_pymnt_d": "2009-07-01",
    "last_pymnt_amnt": "9417.16",
}
HEADER = ",".join(COLUMNS)
LINE = ",".join(ROW.values())


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.csv"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path, limit: int | None = None) -> list[BookLoan | RefusedRow]:
    return list(loanbook.read(path, limit))


def refused(rows: Iterable[BookLoan | RefusedRow]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in rows if isinstance(row, RefusedRow)]


def row(**changes: str) -> str:
    return ",".join({**ROW, **changes}.values())


def only(path: Path) -> BookLoan:
    (loan,) = read(path)
    assert isinstance(loan, BookLoan), loan
    return loan


def test_a_row_becomes_a_loan(book: Path) -> None:
    loan = only(write(book, HEADER, LINE))
    assert (loan.line, loan.issued, loan.principal, loan.instalments) == (2, date(2007, 12, 1), 2_000_000, 36)
    assert (loan.rate, loan.published_instalment, loan.instalment) == (112_200, 65_686, 65_686)
    assert (loan.total_paid, loan.principal_paid, loan.interest_paid) == (2_258_327, 2_000_000, 258_327)
    assert (loan.late_fees_paid, loan.last_paid, loan.last_amount) == (0, date(2009, 7, 1), 941_716)
    assert loan.fully_paid
    assert len(loan.key) == 32


@pytest.mark.parametrize(
    ("changes", "attribute", "value"),
    [
        ({"int_rate": "13.56%"}, "rate", 135_600),
        ({"int_rate": " 13.56% "}, "rate", 135_600),
        ({"int_rate": "0.13560000000000003"}, "rate", 135_600),
        ({"int_rate": "0"}, "rate", 0),
        ({"term": " 60 months"}, "instalments", 60),
        ({"term": "36.0"}, "instalments", 36),
        ({"issue_d": "Dec-2007"}, "issued", date(2007, 12, 1)),
        ({"issue_d": "Dec-11"}, "issued", date(2011, 12, 1)),
        ({"funded_amnt": "20000.00"}, "principal", 2_000_000),
        ({"funded_amnt": "20000.100"}, "principal", 2_000_010),
        ({"total_rec_late_fee": "15.000000003537"}, "late_fees_paid", 1_500),
        ({"last_pymnt_d": "", "last_pymnt_amnt": "0.0"}, "last_paid", None),
        ({"loan_status": "Does not meet the credit policy. Status:Charged Off"}, "status", "Charged Off"),
    ],
)
def test_reads_what_platforms_write(
    book: Path, changes: dict[str, str], attribute: str, value: object
) -> None:
    assert getattr(only(write(book, HEADER, row(**changes))), attribute) == value


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"funded_amnt": "-20000"}, "funded_amnt: -20000 is not more than zero"),
        ({"funded_amnt": "0"}, "funded_amnt: 0 is not more than zero"),
        ({"funded_amnt": "20000.005"}, "funded_amnt: 20000.005 has more than 2 decimals"),
        ({"funded_amnt": ""}, "funded_amnt is empty"),
        ({"funded_amnt": "  "}, "funded_amnt is empty"),
        ({"funded_amnt": "20k"}, "funded_amnt: '20k' is not a number"),
        ({"funded_amnt": "NaN"}, "funded_amnt: 'NaN' is not a number"),
        ({"funded_amnt": "inf"}, "funded_amnt: 'inf' is not a number"),
        ({"funded_amnt": "$20000"}, "funded_amnt: '$20000' is not a number"),
        ({"funded_amnt": "0.01"}, "1 smallest units are too few"),
        ({"funded_amnt": "1" + "0" * 26}, "the loan could come to"),
        ({"installment": "0.0"}, "installment: 0.0 is not more than zero"),
        ({"installment": "656.861"}, "installment: 656.861 has more than 2 decimals"),
        ({"int_rate": "-0.1"}, "int_rate: -0.1 is out of range"),
        ({"int_rate": "13.56"}, "int_rate: 13.56 is out of range"),
        ({"int_rate": "1001%"}, "int_rate: 1001% is out of range"),
        ({"int_rate": "0.11220001"}, "int_rate: 0.11220001 is finer than a millionth"),
        ({"int_rate": "eleven"}, "int_rate: 'eleven' is not a number"),
        ({"int_rate": "10"}, "1000 % over 36 instalments is out of range"),
        ({"term": "0"}, "term: '0' is no number of instalments"),
        ({"term": "601"}, "term: '601' is no number of instalments"),
        ({"term": "36.5"}, "term: '36.5' is no number of instalments"),
        ({"term": "three years"}, "term: 'three years' is no number of instalments"),
        ({"issue_d": "2007-13-01"}, "issue_d: '2007-13-01' is no date since 1970"),
        ({"issue_d": "12/2007"}, "issue_d: '12/2007' is no date since 1970"),
        ({"issue_d": "Foo-2007"}, "issue_d: 'Foo-2007' is no date since 1970"),
        ({"issue_d": "1969-12-01"}, "issue_d: '1969-12-01' is no date since 1970"),
        ({"issue_d": ""}, "issue_d is empty"),
        ({"loan_status": ""}, "loan_status is empty"),
        ({"total_pymnt": "-1"}, "total_pymnt: -1 is less than zero"),
        ({"total_rec_int": "?"}, "total_rec_int: '?' is not a number"),
        ({"last_pymnt_d": ""}, "last_pymnt_d is empty"),
    ],
)
def test_refuses_a_row_with_the_reason(book: Path, changes: dict[str, str], reason: str) -> None:
    ((line, told),) = refused(read(write(book, HEADER, row(**changes))))
    assert line == 2
    assert told.startswith(reason)


def test_refuses_rows_of_another_length_and_keeps_the_others(book: Path) -> None:
    rows = read(write(book, HEADER, LINE, "2007-12-01,20000", LINE + ",more", row(funded_amnt="1000")))
    assert refused(rows) == [
        (3, "too few fields: 2 (wanted: 12)"),
        (4, "too many fields: 13 (wanted: 12)"),
    ]
    assert len(rows) == 4


def test_refuses_a_row_that_was_there_before(book: Path) -> None:
    path = write(book, HEADER, LINE, row(funded_amnt="1000"), LINE.replace(",36,", ", 36 ,"))
    assert refused(read(path)) == [(4, "duplicate of line 2")]


def test_a_loan_is_told_by_its_id_where_there_is_one(book: Path) -> None:
    path = write(book, HEADER + ",id", LINE + ",7", LINE + ",8", row(funded_amnt="1000") + ",7")
    assert refused(read(path)) == [(4, "duplicate of line 2")]


def test_the_key_is_the_same_for_the_same_row(tmp_path: Path) -> None:
    first = only(write(tmp_path / "first.csv", HEADER, LINE))
    header, line = (",".join(reversed(text.split(","))) for text in (HEADER, LINE))
    again = only(write(tmp_path / "again.csv", header, line))
    other = only(write(tmp_path / "other.csv", HEADER, row(last_pymnt_amnt="9417.17")))
    assert first.key == again.key != other.key


def test_lines_are_those_of_the_file(book: Path) -> None:
    """A quoted field may span lines, and empty lines are no rows."""
    path = write(book, HEADER + ",note", "", LINE + ',"one\ntwo"', "", row(term="x") + ",")
    loan, bad = read(path)
    assert (loan.line, bad.line) == (3, 6)


def test_other_columns_are_left_alone(book: Path) -> None:
    assert only(write(book, "grade," + HEADER, "A," + LINE)).principal == 2_000_000


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_are_told_by_what_is_in_them(
    tmp_path: Path, prefix: bytes, newline: str, compressed: bool
) -> None:
    content = prefix + newline.join([HEADER, LINE]).encode()
    path = tmp_path / "book"  # the name tells nothing
    path.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
    assert only(path).principal == 2_000_000


def test_limit(book: Path) -> None:
    path = write(book, HEADER, LINE, "short", row(funded_amnt="1000"))
    assert [row.line for row in read(path, 2)] == [2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (HEADER.encode(), "no rows"),
        (
            b"issue_d,term\n2007-12-01,36\n",
            "lacks the columns funded_amnt, int_rate, installment, loan_status",
        ),
        (HEADER.replace("term,", "").encode() + b"\n", "lacks the column term "),
        (f"{HEADER},term\n{LINE},36\n".encode(), "more than one column 'term'"),
        (f"{HEADER}\n{LINE}\n".encode("utf-16"), "UTF-8"),
        (f"{HEADER}\n{LINE}\n".encode() + b"\xff\xfe\n", "UTF-8"),
        (gzip.compress(f"{HEADER}\n{LINE}\n".encode(), mtime=0)[:-12], "damaged gzip"),
        (gzip.compress(f"{HEADER}\n{LINE}\n".encode(), mtime=0)[:60] + bytes(40), "damaged gzip"),
        (b"\x1f\x8bno gzip", "damaged gzip"),
        (f'{HEADER}\n"{LINE}\n{LINE}\n'.encode(), "starts on line 2"),
        (b"\x00\x01\x02", "lacks the columns"),
    ],
)
def test_refuses_what_is_no_loan_book(book: Path, content: bytes, message: str) -> None:
    book.write_bytes(content)
    with pytest.raises(InvalidLoanBook, match=message):
        read(book)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidLoanBook, match="directory"):
        read(tmp_path)
    with pytest.raises(InvalidLoanBook, match="No such file"):
        read(tmp_path / "missing.csv")


def test_a_stray_quotation_mark_costs_one_row(book: Path) -> None:
    path = write(book, HEADER, '"2007"-12-01' + LINE[10:], LINE)
    bad, good = read(path)
    assert isinstance(bad, RefusedRow)
    assert bad.reason.startswith("not CSV")
    assert isinstance(good, BookLoan)


@pytest.mark.parametrize(
    "path", [path for path in (SAMPLE, WHOLE) if path.exists()], ids=lambda path: path.name
)
def test_the_formula_gives_the_published_instalments(path: Path) -> None:
    """Source: the instalments that LendingClub published. Until 2010 it rounded in other ways too."""
    report = loanbook.report(loanbook.read(path))
    assert report.refused == []
    assert report.rows == report.taken == sum(year.rows for year in report.by_year.values())
    late = report.by_year.pop(2011)
    assert late.equal >= 0.999 * late.rows
    rows, equal, near = (
        sum(getattr(year, name) for year in report.by_year.values()) for name in ("rows", "equal", "near")
    )
    assert equal >= 0.69 * rows
    assert near >= 0.999 * rows


def test_the_report_in_json(book: Path) -> None:
    path = write(book, HEADER, LINE, "short", row(installment="656.80"), row(installment="656.79"))
    assert loanbook.report(loanbook.read(path)).as_json() == {
        "rows": 4,
        "taken": 3,
        "refused": [{"line": 3, "reason": "too few fields: 1 (wanted: 12)"}],
        "by_year": {"2007": {"rows": 3, "equal": 1, "within_0.06": 2}},
    }
