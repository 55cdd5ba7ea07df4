"""`duly schedule`: what a loan will cost, and when."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain import amortisation, amounts, calendar, lending
from duly.domain import schedule as maths
from duly.domain.errors import DulyError
from duly.domain.terms import Frequency, Schedule
from duly.interfaces.cli import _terms
from duly.interfaces.cli._output import Json, console, print_json
from duly.interfaces.cli._terms import FrequencyName, ScheduleName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table


class ScheduleDiffers(DulyError):
    """The contract computes another schedule."""


def schedule(
    principal: _terms.Principal,
    rate: _terms.Rate,
    instalments: _terms.Instalments,
    first_due: _terms.FirstDue,
    shape: _terms.ScheduleOption = ScheduleName.LEVEL,
    interval: _terms.FrequencyOption = FrequencyName.MONTHLY,
    origination_fee: _terms.OriginationFee = "0",
    decimals: _terms.Decimals = 2,
    opened: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Day of opening, to check the first due day against.",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Have the contract compute it too, and compare.")
    ] = False,
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", "--network", help="Node that computes for --verify; by default a chain in this process."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print a loan's repayment schedule, as the ledger will hold it.

    Months and quarters follow the calendar, due days clamping to the month's end; weeks count days. In JSON
    all amounts are integers in the smallest unit.

    \b
    Example:
      duly schedule --principal 10000 --rate 11.22 --instalments 36 --first-due 2027-01-31
      duly schedule --principal 10000 --rate 11.22 --instalments 26 --first-due 2027-01-15 \\
        --schedule equal-principal --frequency fortnightly --origination-fee 150
    """
    units = amounts.amount_of(principal, decimals)
    ppm = amounts.rate_of(rate)
    fee = _terms.origination_fee_of(origination_fee, units, decimals)
    kind, frequency = shape.schedule, interval.frequency
    first_day = _terms.day_of(first_due)
    if opened:
        calendar.check_first_due(first_day, _terms.day_of(opened), frequency)
    curve = amortisation.curve_of(kind, units, ppm, frequency.periods_per_year, instalments)
    lending.check_amounts(curve)
    rows = list(maths.rows(units, ppm, instalments, first_day, schedule=kind, frequency=frequency))

    if json:
        print_json(
            {
                "decimals": decimals,
                "schedule": shape,
                "frequency": interval,
                "principal": units,
                "origination_fee": fee,
                "received": units - fee,
                "rate_ppm": ppm,
                "instalments": instalments,
                "instalment": curve.instalment,
                "total": curve.total,
                "total_interest": curve.total - units,
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
        out = console()
        lent = f"{amounts.in_currency(units, decimals)} at {amounts.in_percent(ppm)}"
        out.print(f"{lent} {in_words(kind, frequency, instalments)}")
        if fee:
            received, kept = (amounts.in_currency(each, decimals) for each in (units - fee, fee))
            out.print(f"{received} is paid out; the lender keeps an origination fee of {kept}")
        out.print(table_of(rows, units, curve.total, decimals))

    if verify:
        # The chain is slow to import.
        from duly.chain import networks
        from duly.services.verify import verify_schedule

        differences = verify_schedule(
            rows,
            units,
            ppm,
            instalments,
            first_day,
            schedule=kind,
            frequency=frequency,
            w3=networks.connect(rpc) if rpc else None,
        )
        if differences:
            raise ScheduleDiffers("the contract computes another schedule:\n" + "\n".join(differences))
        if not json:
            same = "row" if len(rows) == 1 else f"{len(rows)} rows"
            console().print(f"The contract computes the same {same}.")


_PERIODS = {
    Frequency.MONTHLY: "months",
    Frequency.QUARTERLY: "quarters",
    Frequency.WEEKLY: "weeks",
    Frequency.FORTNIGHTLY: "fortnights",
    Frequency.FOUR_WEEKLY: "periods of four weeks",
}


def in_words(kind: Schedule, frequency: Frequency, n: int) -> str:
    """The shape of a schedule of n instalments, in words."""
    every = frequency.name.lower().replace("_", "-")
    match kind:
        case Schedule.LEVEL:
            return f"in {n} {every} instalments"
        case Schedule.EQUAL_PRINCIPAL:
            return f"in {n} {every} instalments of equal principal"
        case Schedule.INTEREST_ONLY:
            return f"in {n} {every} instalments of interest, the principal with the last"
        case Schedule.BULLET:
            return f"in one payment after {n} {_PERIODS[frequency]}"


def table_of(rows: "Sequence[maths.Instalment]", principal: int, total: int, decimals: int) -> "Table":
    """A schedule as a table with its sums, amounts in the currency's units."""
    from rich import box
    from rich.table import Table

    def money(units: int) -> str:
        return amounts.in_currency(units, decimals)

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
    return table
