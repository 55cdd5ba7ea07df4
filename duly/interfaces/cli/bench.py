"""`duly bench`: what it costs, measured."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from duly.services.year import Report

bench = typer.Typer(
    name="bench",
    help="Measure what it costs, time on this machine and gas; prove that the rules are kept.",
    no_args_is_help=True,
)

_SHOWN = 20
BAR = 0.5
"""The indexer is to be at least this fast, against fetching the same logs and doing nothing with them."""
DELIVER_BAR = 0.6
"""A worker is to be at least this fast, against aiosmtplib alone."""


@bench.callback()
def _bench() -> None:
    """Measure what it costs, time on this machine and gas; prove that the rules are kept."""


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


@bench.command("deliver")
def deliver(
    notices: Annotated[int, typer.Option(min=10, help="How many notices to deliver, each time.")] = 10_000,
    connections: Annotated[
        int, typer.Option(min=1, max=64, help="Connections to the mail server, in each worker.")
    ] = 4,
    delay: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="What the mail server takes for each mail.")
    ] = 0.0,
    runs: Annotated[int, typer.Option(min=1, help="How often to measure, each way in turn.")] = 2,
    postgresql: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A PostgreSQL database for it alone: all in it is deleted. By default one is started.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Measure delivery against a program that only makes the same mails and sends them with aiosmtplib.

    The whole way from the event in the database to the mail: the queue, words that hash to the event,
    addresses from an encrypted vault, claims on the disk. The chain's answers before the send are made up in
    the worker; the mail server is a process that takes everything.

    Exit code 1 where one worker reaches less than 60 % of aiosmtplib alone.

    \b
    Example:
      duly bench deliver --notices 10000
    """
    from contextlib import nullcontext

    from duly.services.bench import postgresql as started
    from duly.services.benchdeliver import LABELS, bench_deliver

    def told(text: str) -> None:
        if not json and sys.stderr.isatty():
            typer.echo(text, err=True)

    with nullcontext(lambda name: postgresql or "") if postgresql else started() as address:
        report = bench_deliver(notices, connections, delay, address("postgres"), runs, told)
    if json:
        print_json(report.as_json())
    else:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE)
        for name in ("", "mails/s", "of alone"):
            table.add_column(name, justify="right" if name else "left")
        alone = report.of("", 0) or 1
        for each in report.figures:
            rate = each.per_second
            table.add_row(LABELS[each.database, each.workers], f"{rate:,.0f}", f"{rate / alone:.2f}")
        out = console()
        out.print(table)
        if two := report.ratios["two_workers_to_one"]:
            out.print(f"Two workers deliver {two:.2f} times what one does.")
        out.print(
            f"{notices:,} notices, {connections} connections in each worker, the best of {runs} runs; "
            f"{report.cores} cores, {report.machine}. The chain's answers were made up in the worker."
        )
    if (report.ratios["sqlite_to_alone"] or 0) < DELIVER_BAR:
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


@bench.command("year")
def year(
    borrowers: Annotated[int, typer.Option(min=1, help="How many persons borrow.")] = 1_000,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="How many days, from 4 January 2027.")] = 365,
    adversary: Annotated[
        int, typer.Option(min=0, help="How often an adversary calls the gate, with the lender's own key.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Of everything that is left to chance.")] = 1,
    json: Json = False,
) -> None:
    """Play a year of lending under all policy packs, and prove that no rule was broken.

    On an Anvil of its own: persons in time zones of both hemispheres, some with several loans or addresses,
    borrow under every schedule and frequency; pay in time, early, late, in part or never; prepay, rescind,
    dispute, withdraw, revoke, stop all contact and come back. The service indexes, plans, serves and delivers
    six rounds a day. Beside it an adversary calls `serve` and `serveMany` with forged loans, kinds, amounts,
    channels and times, in batches repeated and shuffled: whatever the gate answers, the rules in Python must
    have forecast it, reason for reason.

    Then the chain is audited as by `duly audit`, and checked further: no reminder to whoever had paused or
    ceased, every notice within hours by the clock on the borrower's wall, every instalment reminded of unless
    there was a reason, every message to its borrower alone, read model and ledger as the events tell.

    Exit code 1 where anything is not as it has to be.

    \b
    Example:
      duly bench year --borrowers 40 --days 120 --adversary 2000
    """
    import tempfile
    from pathlib import Path

    from duly.bootstrap import Application
    from duly.config import Settings
    from duly.interfaces.cli._output import bar
    from duly.services import year as services
    from duly.services.bench import anvil
    from duly.store.vault import MasterKey, Vault

    with (
        anvil("--timestamp", str(services.genesis()), *services.OPTIONS) as url,
        tempfile.TemporaryDirectory() as folder,
        bar("Days", days, json=json) as advance,
    ):
        # Nothing has to outlive the run, and nothing is gained by waiting for a disk.
        app = Application(Settings(rpc=url, database="sqlite://"))
        app.vault = Vault.open("sqlite://", MasterKey.generate())
        app.account = services.servicer(app)
        size = services.Size(borrowers, days, adversary, seed)
        try:
            report = services.play(app, size, Path(folder), lambda done, of: advance(1))
        finally:
            app.close()
    if json:
        print_json(report.as_json())
    else:
        _show_year(report)
    if not report.sound:
        raise typer.Exit(FAILED)


def _show_year(report: "Report") -> None:
    out = console()

    def told(title: str, *columns: str, rows: "Iterable[tuple[str, ...]]") -> None:
        out.print(_table(title, *columns, rows=rows))

    def counted(counts: "Iterable[tuple[str, int]]") -> "Iterable[tuple[str, str]]":
        return ((name.replace("_", " "), f"{count:,}") for name, count in counts)

    told("Loans opened", "pack", "loans", rows=counted(sorted(report.loans_by_pack.items())))
    told(
        "What people did",
        "act",
        "done",
        "refused",
        rows=(
            (name, f"{report.done[name]:,}", f"{report.refused[name]:,}")
            for name in sorted(report.done | report.refused)
        ),
    )
    told(
        "Notices served",
        "kind",
        "by the service",
        "in all",
        rows=(
            (kind.name.lower().replace("_", " "), f"{report.served_by_service[kind]:,}", f"{count:,}")
            for kind, count in sorted(report.findings.served.items())
        ),
    )
    told(
        "What one could be reminded of",
        "reminded, or why not",
        "instalments",
        rows=counted([("reminded", report.reminded), *report.not_reminded.most_common()]),
    )
    tally = report.tally
    told(
        "What the adversary asked for",
        "the gate's answer",
        "notices",
        rows=counted(
            [
                ("let through", tally.through.total()),
                *((reason.name.lower(), count) for reason, count in sorted(tally.refused.items())),
            ]
        ),
    )
    told(
        "Further checks",
        "of",
        "checked",
        rows=counted(report.checked.items()),
    )
    for violation in report.findings.violations[:_SHOWN]:
        out.print(f"{violation.rule}: {violation.was}; wanted: {violation.wanted}", style="red")
    for text in (*tally.differences, *report.wrong):
        out.print(text, style="red")
    out.print(
        f"{report.persons:,} persons with {report.addresses:,} addresses, {report.findings.loans:,} loans, "
        f"{report.size.days} days, {report.rounds:,} rounds; {report.decimals} decimals, seed "
        f"{report.size.seed}."
    )
    out.print(
        f"The adversary called {tally.calls:,} times: serve {tally.serve:,}, serveMany {tally.serve_many:,}, "
        f"with a kind or channel that there is none of {tally.malformed:,} times."
    )
    out.print(
        f"{report.findings.events:,} events, {report.findings.notices:,} notices: "
        f"{len(report.findings.violations)} violations; {len(tally.differences)} answers of the gate differ "
        f"from the rules in Python; {len(report.wrong)} other faults. {report.seconds:,.0f} seconds."
    )


def _table(title: str, *columns: str, rows: "Iterable[tuple[str, ...]]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table
