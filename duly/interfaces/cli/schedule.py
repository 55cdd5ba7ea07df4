"""`duly schedule`: what a loan will cost, and when."""

from datetime import datetime
from typing import Annotated

import typer

from duly.domain import amounts, calendar
from duly.domain import schedule as maths
from duly.domain.errors import DulyError, InvalidTerms
from duly.interfaces.cli._output import Json, console, print_json

_DAY = ["%Y-%m-%d"]


class ScheduleDiffers(DulyError):
    """The contract computes another schedule."""


def schedule(
    principal: Annotated[str, typer.Option(help="Amount lent, in the currency's units, such as 10000.00.")],
    rate: Annotated[str, typer.Option(help="Nominal rate in per cent a year, such as 11.22.")],
    instalments: Annotated[int, typer.Option(help="Number of monthly instalments, 1 to 600.")],
    first_due: Annotated[
        datetime, typer.Option(formats=_DAY, metavar="YYYY-MM-DD", help="Day on which the first is due.")
    ],
    decimals: Annotated[int, typer.Option(min=0, max=26, help="Decimals of the currency.")] = 2,
    opened: Annotated[
        datetime | None,
        typer.Option(
            formats=_DAY, metavar="YYYY-MM-DD", help="Day of opening, to check the first due day against."
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Have the contract compute it too, and compare.")
    ] = False,
    rpc: Annotated[
        str | None,
        typer.Option("--rpc", help="Node that computes for --verify; by default a chain in this process."),
    ] = None,
    json: Json = False,
) -> None:
    """Print a loan's repayment schedule, as the ledger will hold it.

    Level monthly instalments; due days clamp to the month's end. In JSON all amounts are integers in the
    smallest unit.

    \b
    Example:
      duly schedule --principal 10000 --rate 11.22 --instalments 36 --first-due 2027-01-31
    """
    units = amounts.amount_of(principal, decimals)
    ppm = amounts.rate_of(rate)
    first_day = _day(first_due)
    if opened:
        calendar.check_first_due(first_day, _day(opened))
    rows = list(maths.rows(units, ppm, instalments, first_day))
    total = sum(row.amount for row in rows)
    maths.check_amounts(total)

    if json:
        print_json(
            {
                "decimals": decimals,
                "principal": units,
                "rate_ppm": ppm,
                "instalments": instalments,
                "instalment": rows[0].amount,
                "total": total,
                "total_interest": total - units,
                "rows": [
                    {
                        "k": row.k,
                        "due": calendar.iso(row.due_day),
                        "payment": row.amount,
                        "interest": row.interest,
                        "principal": row.principal,
                        "balance": row.balance,
                    }
                    for row in rows
                ],
            }
        )
    else:
        _print_table(rows, units, ppm, total, decimals)

    if verify:
        # The chain is slow to import.
        from duly.services.verify import verify_schedule

        if rpc is None:
            differences = verify_schedule(units, ppm, rows)
        else:
            from duly.chain import networks

            differences = verify_schedule(units, ppm, rows, w3=networks.connect(rpc))
        if differences:
            raise ScheduleDiffers("the contract computes another schedule:\n" + "\n".join(differences))
        if not json:
            console().print(f"The contract computes the same {len(rows)} rows.")


def _print_table(rows: list[maths.Instalment], principal: int, rate: int, total: int, decimals: int) -> None:
    from rich import box
    from rich.table import Table

    def money(units: int) -> str:
        return amounts.in_currency(units, decimals)

    out = console()
    out.print(f"{money(principal)} at {amounts.in_percent(rate)} in {len(rows)} monthly instalments")
    table = Table(box=box.SIMPLE, show_footer=True)
    table.add_column("k", justify="right")
    table.add_column("due")
    for name, footer in (
        ("payment", money(total)),
        ("interest", money(total - principal)),
        ("principal", money(principal)),
        ("balance", ""),
    ):
        table.add_column(name, footer, justify="right", no_wrap=True)
    for row in rows:
        figures = (row.amount, row.interest, row.principal, row.balance)
        table.add_row(str(row.k), calendar.iso(row.due_day), *map(money, figures))
    out.print(table)


def _day(moment: datetime) -> int:
    day = calendar.day_of(moment.year, moment.month, moment.day)
    if day < 0:
        raise InvalidTerms(f"{calendar.iso(day)} is before 1970", wanted="1970-01-01 or later")
    return day
