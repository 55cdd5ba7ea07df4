"""`duly import`: a published loan book, onto the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._output import Json, console, print_json, progress

if TYPE_CHECKING:
    from duly.services.loanbook import Report

_LISTED = 20


def import_book(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV file, plain or compressed with gzip.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report; open nothing.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Read no more than this many rows.")] = None,
    json: Json = False,
) -> None:
    """Read a published loan book and open its loans on the ledger.

    The file needs the columns issue_d, funded_amnt, term, int_rate, installment, loan_status, total_pymnt,
    total_rec_prncp, total_rec_int, total_rec_late_fee, last_pymnt_d and last_pymnt_amnt. A row that cannot be
    right is refused, with its line and the reason; the others are taken. Importing a file again opens nothing
    twice.

    With --dry-run: how many loans would be taken, and for how many of them, by year of issue, the ledger's
    formula gives the instalment that the platform published.

    \b
    Example:
      duly import data/lendingclub_sample.csv --dry-run
    """
    if not dry_run:
        # The chain is slow to import.
        from duly.services import importing  # type: ignore[attr-defined,unused-ignore]

        importing.import_book(file, limit)
        return

    from duly.services import loanbook

    report = loanbook.report(progress(loanbook.read(file, limit), "Reading", json=json, total=limit))
    if json:
        print_json(report.as_json())
    else:
        _print_report(file, report)


def _print_report(file: Path, report: "Report") -> None:
    from rich import box
    from rich.table import Table

    out = console()
    out.print(
        f"{file}: {report.rows:,} rows, {report.taken:,} taken, {len(report.refused):,} refused",
        soft_wrap=True,
    )
    if report.by_year:
        out.print("Instalments that the ledger's formula gives as they were published, by year of issue:")
        table = Table(box=box.SIMPLE)
        table.add_column("issued")
        for name in ("loans", "to the cent", "within 0.06"):
            table.add_column(name, justify="right")
        for year, found in sorted(report.by_year.items()):
            table.add_row(
                str(year), f"{found.rows:,}", _share(found.equal, found.rows), _share(found.near, found.rows)
            )
        out.print(table)
    for row in report.refused[:_LISTED]:
        out.print(f"line {row.line}: {row.reason}", soft_wrap=True)
    if len(report.refused) > _LISTED:
        out.print(f"… and {len(report.refused) - _LISTED:,} more (--json lists all)")


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.2f} %)"
