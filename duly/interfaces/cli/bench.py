"""`duly bench`: what it costs, measured."""

import sys
from typing import Annotated

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json

bench = typer.Typer(
    name="bench", help="Measure what it costs: time on this machine, and gas.", no_args_is_help=True
)

BAR = 0.5
"""The indexer is to be at least this fast, against fetching the same logs and doing nothing with them."""


@bench.callback()
def _bench() -> None:
    """Measure what it costs: time on this machine, and gas."""


@bench.command("index")
def index(
    events: Annotated[int, typer.Option(min=100, help="How many events to tell and read.")] = 50_000,
    runs: Annotated[int, typer.Option(min=1, help="How often to measure, each way in turn.")] = 5,
    rpc: Annotated[
        str | None,
        typer.Option("--rpc", help="A local chain over http; by default an Anvil is started for it."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure the indexer against bare eth_getLogs over the same ranges of blocks.

    Bare: the logs fetched and their JSON parsed, nothing more. Indexed: fetched, decoded, applied, and
    written to SQLite with everything derived, in one transaction for each range. One event in 25 opens a
    loan, the others are payments. Both run without the garbage collector, and the best of the runs counts.

    Exit code 1 where the indexer is less than half as fast.

    \b
    Example:
      duly bench index --events 50000
    """
    from duly.services.bench import bench_index

    def told(text: str) -> None:
        if not json and sys.stderr.isatty():
            typer.echo(text, err=True)

    report = bench_index(events, runs, rpc, told)
    if json:
        print_json(report.as_json())
    else:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE)
        table.add_column("path")
        table.add_column("events/s", justify="right")
        table.add_column("of bare", justify="right")
        for name, figure in (
            ("bare eth_getLogs", report.bare),
            ("fetched and decoded", report.decoded),
            ("indexed", report.indexed),
        ):
            table.add_row(name, f"{figure:,.0f}", f"{figure / report.bare:.2f}")
        out = console()
        out.print(table)
        out.print(
            f"{report.events:,} events of {report.loans:,} loans in {report.blocks:,} blocks, "
            f"{report.ranges} ranges; the best of {report.runs} runs."
        )
    if report.ratio < BAR:
        raise typer.Exit(FAILED)


@bench.command("audit")
def audit(
    notices: Annotated[
        int, typer.Option("--notices", min=1, help="How many notices the history tells of.")
    ] = 200_000,
    loans: Annotated[int, typer.Option("--loans", min=1, help="About how many loans.")] = 2_000,
    json: Json = False,
) -> None:
    """Measure the audit of a long history: notices a second, and the memory that it takes.

    The history is made up as it is read: loans that are repaid month by month, each with three notices a
    month. It is audited twice, first a tenth of it: what the audit remembers must be the same.

    Exit code 1 where it grew with the number of notices.

    \b
    Example:
      duly bench audit --notices 2000000
    """
    from duly.interfaces.cli._output import counting
    from duly.services.benchaudit import bench_audit

    reports = []
    for count in (max(1, notices // 10), notices):
        with counting("Auditing", "notices", json=json) as progress:
            reports.append(bench_audit(count, loans, progress))
    flat = reports[1].loans > reports[0].loans or reports[1].remembered <= reports[0].remembered
    if json:
        print_json({"flat": flat, "runs": [report.as_json() for report in reports]})
    else:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE)
        for name in ("notices", "loans", "events", "notices/s", "peak memory", "things remembered"):
            table.add_column(name, justify="right")
        for report in reports:
            table.add_row(
                f"{report.notices:,}",
                f"{report.loans:,}",
                f"{report.events:,}",
                f"{report.notices / report.seconds:,.0f}",
                f"{report.peak / 2**20:,.1f} MiB",
                f"{report.remembered:,}",
            )
        console().print(table)
    if not flat:
        raise typer.Exit(FAILED)


@bench.command("gas")
def gas(
    rpc: Annotated[
        str | None,
        typer.Option("--rpc", help="A local chain over http; by default an Anvil is started for it."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure the gas of every operation, beside what the other ledgers of the field cost.

    From receipts: the whole transaction, its 21,000 included, with holders that have balances and allowances
    that are finite.

    Exit code 1 where an operation costs more than its ceiling.

    \b
    Example:
      duly bench gas
    """
    from duly.services.gas import OPERATIONS, bench_gas

    def told(text: str) -> None:
        if not json and sys.stderr.isatty():
            typer.echo(text, err=True)

    report = bench_gas(rpc, told)
    if json:
        print_json(report.as_json())
    else:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
        table.add_column("operation", no_wrap=True)
        for name in ("gas", "at most", "best peer", "share", "Morpho"):
            table.add_column(name, justify="right", no_wrap=True)
        for operation in OPERATIONS:
            found = report.gas[operation.key]
            style = "red" if found > operation.most else None
            peer, bound = operation.peer, operation.lower_bound
            table.add_row(
                operation.name,
                f"{found:,}",
                f"{operation.most:,}",
                f"{peer:,}" if peer else "",
                f"{found / peer:.0%}" if peer else "",
                f"{bound:,}" if bound else "",
                style=style,
            )
        out = console()
        out.print(table)
        out.print(
            "Best peer: the cheapest measured ledger with a repayment schedule. "
            "Morpho Blue has none: the lower bound of the field."
        )
    if report.above:
        raise typer.Exit(FAILED)
