"""Reads a loan book from a file, and tells how well the ledger's formula fits it."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, cast

from duly.domain.errors import InvalidLoanBook
from duly.domain.loanbook import BookLoan, RefusedRow, check_columns, parse

_GZIP = b"\x1f\x8b"
# In cents. Platforms rounded to the cent in different ways, and some of them twice.
_NEAR = 6


def read(path: Path, limit: int | None = None) -> Iterator[BookLoan | RefusedRow]:
    """The rows of a loan book, one by one as they stand in a CSV file, which may be compressed with gzip.

    limit: read no more rows than this.

    Raises: InvalidLoanBook, when the file cannot be read, is no CSV file with the columns of a loan book, or
    has no rows. A row that is wrong by itself is no error: it comes as a `RefusedRow`.
    """
    rows = 0
    try:
        with path.open("rb") as raw:
            compressed = raw.peek(len(_GZIP)).startswith(_GZIP)
            file = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if compressed else raw
            # Some spreadsheets put a byte order mark before the first column's name.
            with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
                for row in islice(_rows(text), limit):
                    rows += 1
                    yield row
    except UnicodeDecodeError:
        raise InvalidLoanBook(
            f"{path} is not text in UTF-8, from somewhere after row {rows}",
            remedy="Save it as UTF-8, or compress it with gzip, and try again.",
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InvalidLoanBook(
            f"{path} is a damaged gzip file: nothing can be read after row {rows}", remedy="Fetch it again."
        ) from None
    except OSError as error:
        raise InvalidLoanBook(
            f"{path} cannot be read: {error.strerror or error}",
            wanted="a CSV file, plain or compressed with gzip",
        ) from None
    if not rows:
        raise InvalidLoanBook(f"{path} has no rows below its header", wanted="one row a loan")


def _rows(text: Iterable[str]) -> Iterator[BookLoan | RefusedRow]:
    # Strict, because a quotation mark that is never closed would else swallow the rest of the file unseen.
    reader = csv.reader(text, strict=True)
    columns: list[str] = []
    lines: dict[bytes, int] = {}
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if not columns or reader.line_num > line:
                raise InvalidLoanBook(
                    f"the row that starts on line {line} is not CSV: {error}",
                    remedy="Look for a quotation mark that is not closed.",
                ) from None
            yield RefusedRow(line, f"not CSV: {error}")
            continue
        if fields is None:
            return
        if not fields:
            continue
        if not columns:
            columns = [name.strip() for name in fields]
            check_columns(columns)
        elif len(fields) != len(columns):
            few = "few" if len(fields) < len(columns) else "many"
            yield RefusedRow(line, f"too {few} fields: {len(fields)} (wanted: {len(columns)})")
        else:
            row = parse(line, dict(zip(columns, fields, strict=True)))
            if isinstance(row, BookLoan) and (first := lines.setdefault(row.key, line)) != line:
                row = RefusedRow(line, f"duplicate of line {first}")
            yield row


@dataclass(slots=True)
class Year:
    """The loans issued in a year: how many, and for how many of them the ledger's formula gives the published
    instalment, to the cent or within 6 cents.
    """

    rows: int = 0
    equal: int = 0
    near: int = 0


@dataclass(slots=True)
class Report:
    """What a loan book holds, and what an import would take of it."""

    rows: int = 0
    taken: int = 0
    refused: list[RefusedRow] = field(default_factory=list)
    by_year: dict[int, Year] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The report as plain values."""
        return {
            "rows": self.rows,
            "taken": self.taken,
            "refused": [{"line": row.line, "reason": row.reason} for row in self.refused],
            "by_year": {
                str(year): {"rows": found.rows, "equal": found.equal, "within_0.06": found.near}
                for year, found in sorted(self.by_year.items())
            },
        }


def report(rows: Iterable[BookLoan | RefusedRow]) -> Report:
    """What these rows come to, without opening anything."""
    found = Report()
    for row in rows:
        found.rows += 1
        if isinstance(row, RefusedRow):
            found.refused.append(row)
            continue
        found.taken += 1
        difference = abs(row.instalment - row.published_instalment)
        year = found.by_year.setdefault(row.issued.year, Year())
        year.rows += 1
        year.equal += difference == 0
        year.near += difference <= _NEAR
    return found
