"""One row of a published loan book: what it says, or why it cannot be right.

The columns are those of the loan books that LendingClub published. Amounts are in cents, rates in parts per
million.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Final, TypeVar

from duly.domain import amounts
from duly.domain.amortisation import curve_of
from duly.domain.errors import InvalidAmount, InvalidInput, InvalidLoanBook
from duly.domain.lending import check_amounts
from duly.domain.terms import MAX_INSTALMENTS, MAX_RATE, Frequency, Schedule

COLUMNS: Final = (
    "issue_d", "funded_amnt", "term", "int_rate", "installment",
    "loan_status", "total_pymnt", "total_rec_prncp", "total_rec_int", "total_rec_late_fee",
    "last_pymnt_d", "last_pymnt_amnt",
)  # fmt: skip
"""The columns that a loan book must have. Others are left alone, but for `id`, which tells a loan where there
is one.
"""

CENTS: Final = 2

_T = TypeVar("_T")
_OTHER_POLICY: Final = "Does not meet the credit policy. Status:"
_TERM = re.compile(r"([0-9]{1,9})(?:\.0+)?(?: months?)?", re.ASCII)
_ISO_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_MONTH = re.compile(r"([A-Z][a-z]{2})-([0-9]{2}|[0-9]{4})", re.ASCII)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Rates are published as fractions; this much of a fraction is what a float may have added to one.
_RATE_NOISE: Final = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class BookLoan:
    """A loan as its book tells it.

    line: where in the file its row starts. key: 32 bytes, the same whenever the same row is read again, for a
    salt that makes importing twice open nothing twice. issued: the month of issue, its first day where no
    other is given. principal, published_instalment: cents. rate: parts per million a year. status: such as
    "Fully Paid", without the remark about the platform's later policy. What the borrower paid in all, and its
    split, as published, in cents: what is missing from the split came back after charge-off. last_paid: month
    of the last payment, None where there was none. instalment, total: what the ledger's own formula makes of
    principal, rate and number of instalments.
    """

    line: int
    key: bytes
    issued: date
    principal: int
    instalments: int
    rate: int
    published_instalment: int
    status: str
    total_paid: int
    principal_paid: int
    interest_paid: int
    late_fees_paid: int
    last_paid: date | None
    last_amount: int
    instalment: int
    total: int

    @property
    def fully_paid(self) -> bool:
        """The book calls the loan repaid."""
        return self.status == "Fully Paid"


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is no loan: the line of the file that it starts on, and why."""

    line: int
    reason: str


def check_columns(columns: list[str]) -> None:
    """Refuse a header that lacks a column, or has one twice.

    Raises: InvalidLoanBook, naming all that are missing.
    """
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise InvalidLoanBook(
            f"the loan book lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            wanted=", ".join(COLUMNS),
            remedy="Name the columns so in the first line of the file; others may stand beside them.",
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InvalidLoanBook(
            f"the loan book has more than one column {', '.join(map(amounts.shown, twice))}",
            wanted="each column once",
        )


def key_of(row: Mapping[str, str]) -> bytes:
    """What tells a row from every other: the hash of its `id` where there is one, else of all it says.

    The order of the columns and spaces around values do not matter.
    """
    identity = {"id": row["id"]} if row.get("id", "").strip() else row
    canonical = json.dumps({name: value.strip() for name, value in identity.items()}, sort_keys=True)
    return sha256(canonical.encode()).digest()


def parse(line: int, row: Mapping[str, str]) -> BookLoan | RefusedRow:
    """The loan that a row of all `COLUMNS` tells of, or the reason why there is none."""
    try:
        principal = _read(row, "funded_amnt", _amount)
        rate = _read(row, "int_rate", _rate)
        instalments = _read(row, "term", _term)
        curve = curve_of(Schedule.LEVEL, principal, rate, Frequency.MONTHLY.periods_per_year, instalments)
        check_amounts(curve)
        last_amount = _read(row, "last_pymnt_amnt", _figure)
        # Who never paid anything has no last payment.
        never_paid = last_amount == 0 and not row["last_pymnt_d"].strip()
        return BookLoan(
            line=line,
            key=key_of(row),
            issued=_read(row, "issue_d", _date),
            principal=principal,
            instalments=instalments,
            rate=rate,
            published_instalment=_read(row, "installment", _amount),
            status=_read(row, "loan_status", str).removeprefix(_OTHER_POLICY),
            total_paid=_read(row, "total_pymnt", _figure),
            principal_paid=_read(row, "total_rec_prncp", _figure),
            interest_paid=_read(row, "total_rec_int", _figure),
            late_fees_paid=_read(row, "total_rec_late_fee", _figure),
            last_paid=None if never_paid else _read(row, "last_pymnt_d", _date),
            last_amount=last_amount,
            instalment=curve.instalment,
            total=curve.total,
        )
    except InvalidInput as error:
        return RefusedRow(line, error.wrong + (f" (wanted: {error.wanted})" if error.wanted else ""))


def _read(row: Mapping[str, str], column: str, read: Callable[[str], _T]) -> _T:
    text = row[column].strip()
    if not text:
        raise InvalidLoanBook(f"{column} is empty")
    try:
        return read(text)
    except InvalidAmount as error:
        raise InvalidLoanBook(f"{column}: {error.wrong}", wanted=error.wanted) from None


def _amount(text: str) -> int:
    """An amount that was agreed on."""
    return amounts.amount_of(text, CENTS)


def _figure(text: str) -> int:
    """An amount that the platform summed up, and published unrounded."""
    number = amounts.decimal(text)
    if number < 0:
        raise InvalidAmount(f"{text} is less than zero", wanted="zero or more")
    return amounts.to_units_rounded(number, CENTS)


def _rate(text: str) -> int:
    """A fraction such as 0.1356, or a percentage such as 13.56%."""
    number = amounts.decimal(text.removesuffix("%"))
    fraction = number.scaleb(-2) if text.endswith("%") else number
    if not 0 <= fraction <= MAX_RATE // amounts.PPM:
        raise InvalidAmount(
            f"{text} is out of range",
            wanted=f"a fraction such as 0.1356 or a percentage such as 13.56%, at most {MAX_RATE // 10_000}%",
        )
    rate = amounts.to_units_rounded(fraction, 6)
    if abs(fraction - Decimal(rate).scaleb(-6)) > _RATE_NOISE:
        raise InvalidAmount(f"{text} is finer than a millionth", wanted="at most 6 decimals of a fraction")
    return rate


def _term(text: str) -> int:
    """36, or "36 months"."""
    match = _TERM.fullmatch(text)
    if not match or not 1 <= int(match[1]) <= MAX_INSTALMENTS:
        raise InvalidAmount(
            f"{amounts.shown(text)} is no number of instalments",
            wanted=f"a whole number from 1 to {MAX_INSTALMENTS}",
        )
    return int(match[1])


def _date(text: str) -> date:
    """2007-12-01, or the month Dec-2007 or Dec-07."""
    try:
        if match := _ISO_DATE.fullmatch(text):
            day = date(int(match[1]), int(match[2]), int(match[3]))
        elif match := _MONTH.fullmatch(text):
            year = int(match[2])
            day = date(year if year > 99 else 2000 + year, _MONTHS.index(match[1]) + 1, 1)
        else:
            raise ValueError
        if day.year < 1970:
            raise ValueError
    except ValueError:
        raise InvalidAmount(
            f"{amounts.shown(text)} is no date since 1970", wanted="such as 2007-12-01, Dec-2007 or Dec-07"
        ) from None
    return day
