"""`duly bench`: what it costs, measured."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.table import Table

    from duly.services.benchlatency import Latency, LatencyReport
    from duly.services.chaos import Outcome, Scenario
    from duly.services.chaos import Report as ChaosReport
    from duly.services.year import Report

bench = typer.Typer(
    name="bench",
    help="Measure what it costs, time on this machine and gas; prove that the rules are kept.",
    no_args_is_help=True,
)

_SHOWN = 20
DELIVER_BAR = 0.6
"""A worker is to be at least this fast, against aiosmtplib alone."""

Postgresql = Annotated[
    str | None,
    typer.Option(
        "--postgresql", metavar="URL", help="An empty database to use; by default a server is started for it."
    ),
]


@bench.callback()
def _bench() -> None:
    """Measure what it costs, time on this machine and gas; prove that the rules are kept."""


@bench.command("index")
def index(
    events: Annotated[int, typer.Option(min=100, help="How many events to tell and read.")] = 200_000,
    runs: Annotated[int, typer.Option(min=1, help="How often to measure, each way in turn.")] = 3,
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", "--network", help="A local chain over http; by default an Anvil is started for it."
        ),
    ] = None,
    postgresql: Postgresql = None,
    json: Json = False,
) -> None:
    """Measure the indexer against bare eth_getLogs over the same ranges of blocks, on both databases.

    Bare: the logs fetched and their JSON parsed, nothing more. Indexed: fetched, decoded, applied, and
    written with everything derived, in one transaction for each batch. One event in 25 opens a loan, the
    others are payments. All run without the garbage collector, and the best of the runs counts. Memory is
    this process's, the most it had meanwhile.

    Exit code 1 where it takes more than 2.0 times as long into SQLite, or 2.2 times into PostgreSQL.

    \b
    Example:
      duly bench index --events 50000
    """
    from duly.interfaces.cli._output import stages
    from duly.services.bench import BARS, bench_index

    with stages(json=json) as progress:
        report = bench_index(events, runs, rpc, postgresql, progress)
    if json:
        print_json(report.as_json())
    else:
        table = _table(
            "",
            "path",
            "seconds",
            "events/s",
            "times bare",
            "at most",
            "peak memory",
            rows=(
                (
                    words,
                    f"{path.seconds:.2f}",
                    f"{report.events / path.seconds:,.0f}",
                    f"{report.times_bare(path):.2f}",
                    f"{BARS[path.name]:.1f}" if path.name in BARS else "",
                    f"{path.peak / 2**20:,.0f} MiB",
                )
                for words, path in zip(
                    ("bare", "decoded", "into SQLite", "into PostgreSQL"),
                    (report.bare, report.decoded, *report.indexed),
                    strict=True,
                )
            ),
        )
        out = console()
        out.print(table)
        out.print(
            f"{report.events:,} events of {report.loans:,} loans in {report.blocks:,} blocks, "
            f"{report.ranges} ranges; the best of {report.runs} runs.\n{report.machine}."
        )
    if report.missed:
        raise typer.Exit(FAILED)


@bench.command("plan")
def plan(
    loans: Annotated[int, typer.Option(min=10_000, help="How many loans there are.")] = 1_000_000,
    notices: Annotated[int, typer.Option(min=200, help="Of how many something is to be said.")] = 10_000,
    runs: Annotated[int, typer.Option(min=1, help="How often to measure.")] = 3,
    postgresql: Postgresql = None,
    json: Json = False,
) -> None:
    """Measure planning a day's notices among a million loans, on both databases.

    Scan: the loans of which something may have to be said are found. Candidates: what is known of them is
    read. Decisions: what is to be said now, by all rules. Texts: each is put into words, in English and
    Chinese in turn, and hashed. All in one process; the best of the runs counts.

    Exit code 1 where the scan takes more than 50 ms, or what follows more than 10 s.

    \b
    Example:
      duly bench plan --loans 100000 --notices 1000
    """
    from duly.interfaces.cli._output import stages
    from duly.services.benchplan import bench_plan

    with stages(json=json) as progress:
        report = bench_plan(loans, notices, runs, postgresql, progress)
    if json:
        print_json(report.as_json())
    else:
        out = console()
        out.print(
            _table(
                "",
                "database",
                "scan",
                "candidates",
                "decisions",
                "texts",
                "plan in all",
                rows=(
                    (
                        each.database,
                        f"{each.scan * 1000:.1f} ms",
                        f"{each.candidates:.2f} s",
                        f"{each.decisions:.2f} s",
                        f"{each.texts:.2f} s",
                        f"{each.plan:.2f} s",
                    )
                    for each in report.measured
                ),
            )
        )
        out.print(
            f"{report.notices:,} notices among {report.loans:,} loans; the best of {report.runs} runs; "
            f"at most 50 ms and 10 s.\n{report.machine}."
        )
    if report.missed:
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


@bench.command("latency")
def latency(
    seconds: Annotated[int, typer.Option(min=1, help="For how long events happen.")] = 60,
    rate: Annotated[int, typer.Option(min=1, help="How many of them in a second.")] = 20,
    postgresql: Postgresql = None,
    json: Json = False,
) -> None:
    """Measure the time from an event on the chain to the mail that tells the borrower of it.

    On Anvils of its own, with a block each second: borrowers pay, and the service, woken by the websocket,
    acts on the latest block. Its notice of a payment has to be on the chain before the mail goes out: one
    block of waiting is in every figure. On SQLite one process does it all; on PostgreSQL one reads, plans and
    serves, another delivers. Everything is on this machine, the chain and the mail server too.

    Exit code 1 where half of the mails take more than 2.5 s, one in a hundred more than 5 s, or any is
    missing.

    \b
    Example:
      duly bench latency --seconds 20
    """
    from duly.bootstrap import Application
    from duly.interfaces.cli import main
    from duly.interfaces.cli._output import stages
    from duly.services.benchlatency import MEDIAN_BAR, P99_BAR, bench_latency
    from duly.services.chaos import Processes

    with stages(json=json) as progress:
        report = bench_latency(Processes(main, Application), seconds, rate, postgresql, progress)
    if json:
        print_json(report.as_json())
    else:
        _show_latency(report, f"at most {MEDIAN_BAR:g} s for half of them, {P99_BAR:g} s for 99 in 100")
    if report.missed:
        raise typer.Exit(FAILED)


def _show_latency(report: "LatencyReport", bars: str) -> None:
    from duly.services.benchlatency import LABELS

    out = console()
    shares = {"half": 0.5, "90 %": 0.9, "99 %": 0.99, "all": 1.0}
    rows: list[tuple[str, ...]] = []
    for each in report.measured:
        label = LABELS[each.database]
        rows += [
            (
                f"{label}: notice on chain",
                *(f"{each.within(x, lambda w: w.served):.2f} s" for x in shares.values()),
            ),
            (f"{label}: mail", *(f"{each.within(x):.2f} s" for x in shares.values())),
        ]
    out.print(_table("From an event's block on", "within", *shares, rows=rows))
    for each in report.measured:
        out.print(f"{LABELS[each.database]}, mails by how long they took:", *_histogram(each), sep="\n")
        if each.lost:
            out.print(f"{each.lost:,} payments were not told of.", style="red")
    out.print(
        f"{report.rate} events a second for {report.seconds} s, a block each second; {bars}.\n"
        f"{report.machine}."
    )


def _histogram(latency: "Latency") -> "Iterable[str]":
    """A line for each quarter of a second."""
    from collections import Counter

    counts = Counter(int(wait.arrived * 4) for wait in latency.waits)
    most = max(counts.values(), default=1)
    for quarter in range(min(counts, default=0), max(counts, default=-1) + 1):
        count = counts[quarter]
        yield f"  {quarter / 4:5.2f} s {count:8,}  {'█' * round(40 * count / most)}"


@bench.command("gas")
def gas(
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", "--network", help="A local chain over http; by default an Anvil is started for it."
        ),
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


@bench.command("web")
def web(
    loans: Annotated[int, typer.Option(min=1_000, help="How many loans there are.")] = 100_000,
    requests: Annotated[int, typer.Option(min=1, help="How often each page is asked for.")] = 100,
    postgresql: Postgresql = None,
    json: Json = False,
) -> None:
    """Measure every page of the portal with 100,000 loans in the database, on both databases.

    On an Anvil of its own; a year of loans, payments and notices is made up behind it. Each page is asked
    for over HTTP, by one borrower after the other, the lender, an officer or anybody. The time is the
    client's, to the last byte; the weight is the page with all that it loads.

    Exit code 1 where 95 in 100 requests for a page take more than 50 ms, or a page weighs more than 150 kB.

    \b
    Example:
      duly bench web --loans 10000 --requests 20
    """
    from duly.bootstrap import Application
    from duly.interfaces.cli import main
    from duly.interfaces.cli._output import stages
    from duly.interfaces.web.bench import bench_web
    from duly.services.chaos import Processes

    with stages(json=json) as progress:
        report = bench_web(Processes(main, Application), loans, requests, postgresql, progress)
    if json:
        print_json(report.as_json())
    else:
        out = console()
        for each in report.measured:
            out.print(
                _table(
                    each.database,
                    "page",
                    "who",
                    "half",
                    "95 in 100",
                    "most",
                    "weight",
                    rows=(
                        (
                            page.question.path + (" (sent)" if page.question.form else ""),
                            page.question.audience,
                            f"{page.at(0.5) * 1000:.1f} ms",
                            f"{page.at(0.95) * 1000:.1f} ms",
                            f"{page.seconds[-1] * 1000:.1f} ms",
                            f"{page.weight / 1000:.0f} kB",
                        )
                        for page in each.pages
                    ),
                )
            )
            out.print(f"Counting the portfolio, beside the requests: {each.counting:.1f} s.\n")
        out.print(
            f"{report.loans:,} loans, {report.requests} requests for each page; at most 50 ms for 95 in 100, "
            f"and 150 kB.\n{report.machine}."
        )
        for missed in report.missed:
            out.print(f"[red]Missed: {missed}[/red]")
    if report.missed:
        raise typer.Exit(FAILED)


@bench.command("chaos")
def chaos(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="SCENARIO", help="Try only this one; may be repeated."),
    ] = None,
    kills: Annotated[int, typer.Option(min=1, help="How often the service is killed.")] = 1_000,
    reorganisations: Annotated[int, typer.Option(min=1, help="How often the chain is.")] = 200,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every fault once, with at most 8 kills and 6 reorganisations.")
    ] = False,
    at_once: Annotated[int, typer.Option(min=1, help="How many scenarios are tried at once.")] = 2,
    seed: Annotated[int, typer.Option(help="Of everything that is left to chance.")] = 1,
    json: Json = False,
) -> None:
    """Let everything fail that the service stands on, and prove that nothing is lost or said twice.

    On Anvils of its own, with the service in processes of its own, the scenarios:

    \b
      node-away           down, behind a proxy that says so, hanging up at any moment
      node-slow           up to half a second for each answer
      node-lies           leaves logs out, tells those of another branch, lags, makes up hashes
      node-limits         refuses large ranges and many logs, in the words of providers
      reorganisations     1 to 30 blocks deep at random moments
      database-locked     another program writes for longer than the service waits
      database-full       no file can grow any more
      database-restarted  PostgreSQL stops, or dies, and is there again
      kills               SIGKILL at any time, in the midst of a mail, around a request to the node
      kills-postgresql    the same to one of three processes, two of which deliver
      mail-server         refuses, hangs, hangs up before, in and after a mail
      clock-jumps         the chain's time ahead by hours and days, this machine's ahead and back
      two-services        by mistake: on one database, on two, on an old copy

    After each the read model must equal, table by table, a rebuild from block zero, and every notice that the
    gate let through must have arrived once, or be accounted for: shown as uncertain, dropped with a reason.

    Exit code 1 where anything is not as it has to be.

    \b
    Examples:
      duly bench chaos
      duly bench chaos --quick
      duly bench chaos --only kills --kills 100 --seed 7
    """
    from duly.bootstrap import Application
    from duly.interfaces.cli import main
    from duly.interfaces.cli._output import bars
    from duly.services import chaos as services

    scenarios = services.chosen(only or [])
    if quick:
        kills, reorganisations = min(kills, 8), min(reorganisations, 6)
    size = services.Size(kills, reorganisations, seed, quick)
    with bars(json=json) as begin:

        def begins(scenario: "Scenario", tries: int) -> "Callable[[], None]":
            advance = begin(scenario.words, tries)
            return lambda: advance(1)

        report = services.play(size, services.Processes(main, Application), scenarios, begins, at_once)
    if json:
        print_json(report.as_json())
    else:
        _show_chaos(report)
    if not report.sound:
        raise typer.Exit(FAILED)


def _show_chaos(report: "ChaosReport") -> None:
    out = console()
    columns = "scenario", "tried", "events", "notices", "mails", "twice", "lost", "uncertain", "dropped", "s"

    def row(it: "Outcome") -> tuple[str, ...]:
        found = it.found
        counts = it.tries, found.events, found.notices, found.mails, found.duplicates, found.lost
        more = *counts, found.uncertain, found.dropped.total(), round(it.seconds)
        return it.scenario.name, *(f"{count:,}" for count in more)

    tried = [each for each in report.outcomes if each.left_out is None]
    out.print(_table("What failed, and what came of it", *columns, rows=map(row, tried)))
    for each in report.outcomes:
        if each.left_out:
            out.print(f"{each.scenario.name}: not tried, {each.left_out}", style="yellow", soft_wrap=True)
        if each.done:
            parts = ", ".join(f"{what} {count:,}" for what, count in each.done.items())
            out.print(f"{each.scenario.name}: {parts}", soft_wrap=True)
        if each.found.dropped:
            parts = ", ".join(f"{why} {count:,}" for why, count in sorted(each.found.dropped.items()))
            out.print(f"{each.scenario.name}, dropped: {parts}", soft_wrap=True)
    for each in report.outcomes:
        for text in each.found.wrong[:_SHOWN]:
            out.print(f"{each.scenario.name}: {text}", style="red", soft_wrap=True)
        if (more := len(each.found.wrong) - _SHOWN) > 0:
            out.print(f"{each.scenario.name}: {more:,} more", style="red")
    wrong = sum(len(each.found.wrong) for each in report.outcomes)
    out.print(
        f"{sum(each.tries for each in report.outcomes):,} faults, {wrong:,} things wrong; "
        f"seed {report.size.seed}, {report.cores} cores, {report.machine}."
    )


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

    table = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False, collapse_padding=True)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*row)
    return table
