"""Reads advances and payments from a file."""

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from duly.domain import amounts, calendar
from duly.domain.apr import Flow
from duly.domain.errors import InvalidAmount, InvalidFlows

COLUMNS = ("date", "amount")

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)


def read(path: Path, decimals: int) -> list[Flow]:
    """What a CSV file with the columns date and amount tells, in its order; others may stand beside them.

    decimals: of the currency. An advance is negative, as in "2027-01-15,-1000.00".

    Raises: InvalidFlows, naming line and column.
    """
    try:
        # Some spreadsheets put a byte order mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as text:
            return list(_flows(text, decimals))
    except UnicodeDecodeError:
        raise InvalidFlows(f"{path} is not text in UTF-8", remedy="Save it as UTF-8 and try again.") from None
    except OSError as error:
        raise InvalidFlows(f"{path} cannot be read: {error.strerror or error}", wanted="a CSV file") from None


def _flows(text: Iterable[str], decimals: int) -> Iterator[Flow]:
    # Strict, because a quotation mark that is never closed would else swallow the rest of the file unseen.
    reader = csv.reader(text, strict=True)
    columns: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InvalidFlows(
                f"line {line} is not CSV: {error}", remedy="Look for a quotation mark that is not closed."
            ) from None
        if fields is None:
            break
        if not any(field.strip() for field in fields):
            continue
        if not columns:
            columns = [name.strip() for name in fields]
            _check_columns(line, columns)
        elif len(fields) != len(columns):
            raise InvalidFlows(
                f"line {line} has {len(fields)} fields", wanted=f"{len(columns)}, as in the first"
            )
        else:
            row = dict(zip(columns, fields, strict=True))
            yield Flow(_day(line, row["date"].strip()), _amount(line, row["amount"], decimals))
    if not columns:
        raise InvalidFlows("the file is empty", wanted="a first line with the columns date and amount")


def _check_columns(line: int, columns: list[str]) -> None:
    for name in COLUMNS:
        if columns.count(name) != 1:
            several = "more than one column" if name in columns else "no column"
            raise InvalidFlows(
                f"line {line} names {several} {name}",
                wanted=",".join(COLUMNS),
                remedy="Name the columns so in the first line; others may stand beside them.",
            )


def _day(line: int, text: str) -> int:
    try:
        match = _DATE.fullmatch(text)
        plain = date(*map(int, match.groups())) if match else None
    except ValueError:
        plain = None
    if plain is None:
        raise InvalidFlows(
            f"line {line}, column date: {amounts.shown(text)} is no day", wanted="such as 2027-01-31"
        )
    return calendar.day_of(plain.year, plain.month, plain.day)


def _amount(line: int, text: str, decimals: int) -> int:
    try:
        return amounts.to_units(amounts.decimal(text), decimals)
    except InvalidAmount as error:
        raise InvalidFlows(f"line {line}, column amount: {error.wrong}", wanted=error.wanted) from None
