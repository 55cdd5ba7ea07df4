"""`duly apr`: what credit costs a year, as regulators have it told."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from duly.domain import amortisation, amounts, calendar, lending, schedule
from duly.domain import apr as maths
from duly.domain.apr import CostOfCredit, Flow
from duly.domain.errors import InvalidInput
from duly.interfaces.cli import _terms
from duly.interfaces.cli._output import Json, console, print_json
from duly.interfaces.cli._terms import FrequencyName, ScheduleName
from duly.services import flows as files


def apr(
    context: typer.Context,
    principal: Annotated[str | None, _terms.PRINCIPAL] = None,
    rate: Annotated[str | None, _terms.RATE] = None,
    instalments: Annotated[int | None, _terms.INSTALMENTS] = None,
    first_due: Annotated[datetime | None, _terms.FIRST_DUE] = None,
    shape: _terms.ScheduleOption = ScheduleName.LEVEL,
    interval: _terms.FrequencyOption = FrequencyName.MONTHLY,
    origination_fee: _terms.OriginationFee = "0",
    decimals: _terms.Decimals = 2,
    opened: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Day of opening; by default one interval before the first due day.",
        ),
    ] = None,
    payments: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="In place of terms: a file with the columns date and amount, advances negative.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print the annual percentage rates of a loan, with its finance charge and the total of payments.

    APR: nominal, by the actuarial method of the United States (Regulation Z, Appendix J). APRC: effective, by
    the equation of the European Union (Directive 2008/48/EC, Annex I). Of terms as `duly schedule` takes
    them, or of any advances and payments. In JSON all amounts are integers in the smallest unit.

    \b
    Example:
      duly apr --principal 10000 --rate 11.22 --instalments 36 --first-due 2027-01-31 --origination-fee 150
      duly apr --payments loan.csv
    \b
    with loan.csv:
      date,amount
      2027-01-15,-1000.00
      2027-02-15,514.00
      2027-03-15,514.00
    """
    if payments:
        _refuse_terms(context)
        flows = files.read(payments, decimals)
    else:
        if principal is None or rate is None or instalments is None or first_due is None:
            raise InvalidInput(
                "the loan's terms are incomplete",
                wanted="--principal, --rate, --instalments and --first-due; or --payments FILE.csv",
            )
        units = amounts.amount_of(principal, decimals)
        received = units - _terms.origination_fee_of(origination_fee, units, decimals)
        ppm = amounts.rate_of(rate)
        kind, frequency = shape.schedule, interval.frequency
        first_day = _terms.day_of(first_due)
        if opened:
            start = _terms.day_of(opened)
            calendar.check_first_due(first_day, start, frequency)
        else:
            start = calendar.add_periods(first_day, frequency, -1)
        lending.check_amounts(
            amortisation.curve_of(kind, units, ppm, frequency.periods_per_year, instalments)
        )
        rows = schedule.rows(units, ppm, instalments, first_day, schedule=kind, frequency=frequency)
        flows = [Flow(start, -received), *(Flow(row.due_day, row.amount) for row in rows)]
    cost = maths.of_flows(flows)
    if json:
        print_json(
            {
                "decimals": decimals,
                "apr_percent": str(cost.apr),
                "aprc_percent": str(cost.aprc),
                "unit_period": str(cost.unit_period),
                "amount_financed": cost.amount_financed,
                "finance_charge": cost.finance_charge,
                "total_of_payments": cost.total_of_payments,
                "flows": [{"date": calendar.iso(flow.day), "amount": flow.amount} for flow in flows],
            }
        )
    else:
        _print_table(flows, cost, decimals)


def _refuse_terms(context: typer.Context) -> None:
    """Refuse options that tell a loan's terms, where a file tells its payments."""
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE" and name not in ("payments", "decimals", "json"):
            raise InvalidInput(
                f"both --payments and {option.opts[0]} are given", wanted="the payments, or the terms"
            )


def _print_table(flows: list[Flow], cost: CostOfCredit, decimals: int) -> None:
    from rich import box
    from rich.table import Table

    def money(units: int) -> str:
        return amounts.in_currency(units, decimals)

    out = console()
    first, last = (calendar.iso(find(flow.day for flow in flows)) for find in (min, max))
    out.print(
        f"{money(cost.amount_financed)} from {first} on, {money(cost.total_of_payments)} paid by {last}"
    )
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    us, eu = (f"{maths.rounded(rate)} %" for rate in (cost.apr, cost.aprc))
    table.add_row("APR", us, f"nominal, Regulation Z; unit-period: {cost.unit_period}")
    table.add_row("APRC", eu, "effective, Directive 2008/48/EC")
    table.add_row("amount financed", money(cost.amount_financed))
    table.add_row("finance charge", money(cost.finance_charge))
    table.add_row("total of payments", money(cost.total_of_payments))
    out.print(table)
