"""The command line: one module for each group of commands, thin over the services.

Modules are imported when `duly` starts, so what is slow to import (the chain, the web) is imported inside the
commands.
"""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from duly.interfaces.cli import (
    act,
    apr,
    audit,
    bench,
    book,
    check,
    database,
    deliver,
    deploy,
    disclose,
    inbox,
    index,
    look,
    offer,
    plan,
    policy,
    report,
    run,
    schedule,
    serve,
    vault,
    verify,
    web,
    webhook,
)
from duly.interfaces.cli._output import Commands

app = typer.Typer(
    name="duly",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # plain help wraps paragraphs, and comes up in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"duly {version('duly')}")
        raise typer.Exit


@app.callback()
def duly(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A lending ledger that reminds the borrower, and nobody else.

    Loan terms and repayments are recorded by contracts; their events trigger notices to the borrower alone.

    Exit codes: 0 done, 1 failed, 2 the input was wrong.
    """


app.command("schedule")(schedule.schedule)
app.command("apr")(apr.apr)
app.command("disclose")(disclose.disclose)
app.add_typer(deploy.deploy, name="deploy")
app.command("check")(check.check)
app.command("import")(book.import_book)
app.add_typer(policy.policy, name="policy")
app.command("index")(index.index)
app.command("audit")(audit.audit)
app.command("verify")(verify.verify)
app.command("loans")(look.loans)
app.add_typer(act.loan, name="loan")
app.add_typer(offer.offer, name="offer")
app.command("notices")(look.notices)
app.command("plan")(plan.plan)
app.command("serve")(serve.serve)
app.add_typer(deliver.deliver, name="deliver")
app.command("run")(run.run)
app.command("web")(web.web)
app.add_typer(database.database, name="database")
app.command("inbox")(inbox.inbox)
app.command("bounce")(report.bounce)
app.command("receipt")(report.receipt)
app.add_typer(webhook.webhook, name="webhook")
app.add_typer(vault.vault, name="vault")
app.add_typer(bench.bench, name="bench")


def main() -> None:
    """Run the command that the arguments name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What a terminal cannot show is no reason to fail.
            stream.reconfigure(errors="replace")
    app()
