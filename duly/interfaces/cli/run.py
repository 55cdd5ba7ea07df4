"""`duly run`: the service."""

import json as jsonlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.errors import DulyError, InvalidInput
from duly.interfaces.cli import deliver, serve
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import FAILED, show_error
from duly.interfaces.cli._stop import stoppable

if TYPE_CHECKING:
    from duly.services.run import RoundReport


def run(
    once: Annotated[bool, typer.Option("--once", help="Do one round, then end.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.01, metavar="SECONDS", help="From the beginning of a round to the next.")
    ] = 15.0,
    rpc: Rpc = None,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each round.")] = False,
) -> None:
    """Run the service: read the chain, plan, serve, read again, deliver; then wait, and again.

    Prints a line for each round. What goes wrong in a round is told on standard error, and tried again in the
    next. Ctrl-C finishes what was begun. While no mail can be sent nothing is served.

    Exit code with --once: 1 where something failed or a notice is uncertain.

    \b
    Example:
      DULY_SMTP_HOST=127.0.0.1 DULY_SMTP_PORT=2525 DULY_SMTP_TLS=none \\
      DULY_SMTP_SENDER=notices@example.org duly run --interval 5
    """
    import time

    from duly.bootstrap import Application
    from duly.services import run as service

    app = Application.from_environment(rpc=rpc)
    try:
        service.check(app)
        with stoppable() as stop:
            while True:
                begun = time.monotonic()
                try:
                    report = service.round(app, stop.is_set)
                except DulyError as error:
                    if once or isinstance(error, InvalidInput):
                        raise
                    _show_problem(error, json)
                else:
                    typer.echo(jsonlib.dumps(report.as_json()) if json else in_words(report))
                    if report.problem and not json:
                        show_error(report.problem)
                    if once and (report.problem or report.delivered.uncertain):
                        raise typer.Exit(FAILED)
                if once or stop.wait(max(0.0, begun + interval - time.monotonic())):
                    break
    finally:
        app.close()


def in_words(report: "RoundReport") -> str:
    """A round in a line."""
    at = f"{datetime.fromtimestamp(report.at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    indexed = report.indexed
    parts = [f"block {indexed.last}", f"{indexed.events:,} read"]
    if indexed.rolled_back:
        parts.append(f"{indexed.rolled_back:,} taken back")
    parts.append(serve.in_words(report.served).removesuffix("."))
    if report.held:
        parts.append(f"{report.held:,} held back")
    parts.append(deliver.in_words(report.delivered))
    return f"{at}  {', '.join(parts)}  ({report.seconds * 1000:.0f} ms)"


def _show_problem(error: DulyError, json: bool) -> None:
    if json:
        typer.echo(jsonlib.dumps({"error": error.wrong}))
    else:
        show_error(error)
