"""`duly import`: a published loan book, onto the ledger."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.errors import DulyError
from duly.interfaces.cli._output import Json, console, print_json, progress

if TYPE_CHECKING:
    from duly.domain.loanbook import BookLoan, RefusedRow
    from duly.services.loanbook import Report

_LISTED = 20


class BookDiffers(DulyError):
    """The contract computes other instalments."""


def import_book(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV file, plain or compressed with gzip.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report; open nothing.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="With --dry-run: have the contract compute every instalment too, and compare."
        ),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Read no more than this many rows.")] = None,
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc",
            "--network",
            help="Address of the chain's node; by default DULY_RPC; for --verify one in this process.",
        ),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Policy to lend under; by default the first that was deployed.")
    ] = None,
    lender: Annotated[
        int | None,
        typer.Option(min=0, max=9, help="Development account that lends; by default the one that deploys."),
    ] = None,
    seed: Annotated[str, typer.Option(help="What the simulated borrowers' keys are derived from.")] = "duly",
    json: Json = False,
) -> None:
    """Read a published loan book and open its loans on the ledger.

    The file needs the columns issue_d, funded_amnt, term, int_rate, installment, loan_status, total_pymnt,
    total_rec_prncp, total_rec_int, total_rec_late_fee, last_pymnt_d and last_pymnt_amnt. A row that cannot be
    right is refused, with its line and the reason; the others are taken. Importing a file again opens nothing
    twice.

    The borrowers are simulated, each with a fresh key, so loans are opened on local chains only. Then, and
    with --dry-run: for how many loans, by year of issue, the ledger's instalment is the one that the platform
    published. With --verify the contract's arithmetic is run for every row, and nothing is sent; exit code 1
    where it differs.

    \b
    Example:
      duly import data/lendingclub_sample.csv --dry-run --verify
      duly import data/lendingclub_sample.csv --limit 40
    """
    from duly.services import loanbook

    if verify and not dry_run:
        raise typer.BadParameter(
            "goes with --dry-run: what is opened the ledger computes anyway", param_hint="--verify"
        )
    rows = loanbook.read(file, limit)
    if dry_run:
        differences: list[str] = []
        if verify:
            rows = _verified(rows, rpc, differences)
        report = loanbook.report(progress(rows, "Verifying" if verify else "Reading", json=json, total=limit))
        if json:
            print_json(report.as_json() | ({"differences": differences} if verify else {}))
        else:
            _print_report(file, report)
        if differences:
            raise BookDiffers("the contract computes other instalments:\n" + "\n".join(differences))
        if verify and not json:
            console().print(f"The contract computes the same {report.taken:,} instalments and totals.")
        return

    # The chain is slow to import.
    from duly.bootstrap import Application
    from duly.chain import networks
    from duly.services import importing

    # Said before anything is asked of the chain.
    rows = _checked(rows)
    application = Application.from_environment(rpc=rpc)
    sender = application.sender
    if lender is not None:
        sender = sender.sibling(networks.development_account(application.w3, lender))
    outcomes = importing.import_rows(
        application.contracts, application.deployment, sender, rows, policy=policy, seed=seed.encode()
    )
    found = importing.report(progress(outcomes, "Opening", json=json, total=limit))
    if json:
        print_json(found.as_json())
    else:
        _print_report(file, found.book)
        console().print(f"{found.opened:,} opened, {found.already_open:,} open already")


def _verified(
    rows: "Iterator[BookLoan | RefusedRow]", rpc: str | None, differences: list[str]
) -> "Iterator[BookLoan | RefusedRow]":
    """The same rows, once the contract has computed them too. What differs goes to `differences`."""
    # The chain is slow to import.
    from duly.chain import networks
    from duly.services.verify import verify_book

    for row, differing in verify_book(_checked(rows), w3=networks.connect(rpc) if rpc else None):
        differences += differing
        yield row


def _checked(rows: "Iterator[BookLoan | RefusedRow]") -> "Iterator[BookLoan | RefusedRow]":
    """The same rows; a file that is no loan book is refused at once."""
    first = next(rows, None)
    return rows if first is None else chain([first], rows)


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
