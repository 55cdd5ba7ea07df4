"""`duly run`: the service."""

import json as jsonlib
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.errors import DulyError, InvalidInput
from duly.interfaces.cli import deliver, serve
from duly.interfaces.cli._output import FAILED, show_error
from duly.interfaces.cli._stop import stoppable
from duly.interfaces.cli.serve import Rpc

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.services.run import Role, RoundReport

_LOCAL = 0.2
_ELSEWHERE = 5.0
_LONGEST_PAUSE = 30.0


def run(
    once: Annotated[bool, typer.Option("--once", help="Do one round, then end.")] = False,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="Do only this: index, plan, serve or deliver. Repeat it, or join several with commas.",
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="SECONDS",
            help="From the beginning of a round to the next; by default 0.2 on a local chain, else 5.",
        ),
    ] = None,
    rpc: Rpc = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each round that did something.")
    ] = False,
) -> None:
    """Run the service: read the chain, plan, serve, read again, deliver; then wait, and again.

    Prints a line for each round that did something. What goes wrong is told on standard error, and tried
    again. Ctrl-C finishes what was begun. While no mail can be sent nothing is served.

    One process does it all, or several on one database, each in some roles: any number may deliver, on
    PostgreSQL from any machine; one at a time reads the chain, plans and serves. A second one waits, and
    takes over when the first ends or dies.

    Exit code with --once: 1 where something failed or a notice is uncertain.

    \b
    Examples:
      DULY_SMTP_HOST=127.0.0.1 DULY_SMTP_PORT=2525 DULY_SMTP_TLS=none \\
      DULY_SMTP_SENDER=notices@example.org duly run
      duly run --role index,plan,serve
      duly run --role deliver
    """
    from duly.bootstrap import Application

    if once and role:
        raise InvalidInput("--once does all of a round: it does not go with --role")
    roles = _roles(role or [])
    app = Application.from_environment(rpc=rpc)
    try:
        if once:
            _once(app, json)
        else:
            _serve(app, roles, interval, json)
    finally:
        app.close()


def _roles(given: list[str]) -> "set[Role]":
    from duly.services.run import Role

    names = [name.strip().lower() for some in given for name in some.split(",")]
    try:
        return {Role(name) for name in names} or set(Role)
    except ValueError:
        unknown = ", ".join(repr(name) for name in names if name not in set(Role))
        raise InvalidInput(f"there is no role {unknown}", wanted=", ".join(Role)) from None


def _once(app: "Application", json: bool) -> None:
    from duly.services import run as service

    service.check(app)
    with stoppable() as stop, service.alone(app):
        report = service.round(app, stop.is_set)
    _show(report, json)
    if report.problem or report.delivered.uncertain:
        raise typer.Exit(FAILED)


def _serve(app: "Application", roles: "set[Role]", interval: float | None, json: bool) -> None:
    from duly.services import run as service

    service.check(app, roles)
    if interval is None:
        interval = _LOCAL if app.is_local else _ELSEWHERE
    # Whatever learns of a new block may set it, so that nobody waits for the next round.
    wake = threading.Event()
    failures = 0
    told: dict[Role, str] = {}
    with (
        stoppable(wake.set) as stop,
        service.Service(app, roles, lambda error: _show_problem(error, json)) as running,
    ):
        while not stop.is_set():
            begun = time.monotonic()
            wake.clear()
            try:
                report = running.round()
                others = running.others()
            except DulyError as error:
                if isinstance(error, InvalidInput):
                    raise
                failures += 1
                _show_problem(error, json)
            else:
                failures = 0
                if others != told:
                    _show_others(others, json)
                    told = others
                if report.eventful:
                    _show(report, json)
            pause = min(_LONGEST_PAUSE, interval * 2**failures) if failures else interval
            if not stop.is_set():
                wake.wait(max(0.0, begun + pause - time.monotonic()))
    report = running.last()
    if report.eventful:
        _show(report, json)


def _show(report: "RoundReport", json: bool) -> None:
    typer.echo(jsonlib.dumps(report.as_json()) if json else in_words(report))
    if report.problem and not json:
        show_error(report.problem)


def in_words(report: "RoundReport") -> str:
    """A round in a line."""
    at = f"{datetime.fromtimestamp(report.at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    parts = []
    if indexed := report.indexed:
        parts += [f"block {indexed.last}", f"{indexed.events:,} read"]
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


def _show_others(others: "dict[Role, str]", json: bool) -> None:
    if json:
        typer.echo(jsonlib.dumps({"others": others}))
    else:
        for role, holder in others.items():
            typer.echo(f"{holder} does {role} on this database; waiting until it ends.", err=True)
