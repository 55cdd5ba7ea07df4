"""`duly run`: the service."""

import json as jsonlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.errors import DulyError, InvalidInput
from duly.interfaces.cli import deliver, serve
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import FAILED, show_error
from duly.interfaces.cli._stop import stoppable

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.config import Endpoint
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
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Answer there to /metrics (Prometheus), /healthz and /readyz; by default DULY_LISTEN.",
        ),
    ] = None,
    rpc: Rpc = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each round that did something.")
    ] = False,
) -> None:
    """Run the service: read the chain, plan, serve, read again, deliver; then wait, and again.

    On a terminal a line is printed for each round that did something. Elsewhere standard error gets a log,
    an event on each line as JSON (DULY_LOG_FORMAT, DULY_LOG_LEVEL), in which nobody is named. What goes wrong
    is told, and tried again. Ctrl-C finishes what was begun. While no mail can be sent nothing is served.

    One process does it all, or several on one database, each in some roles: any number may deliver, on
    PostgreSQL from any machine; one at a time reads the chain, plans and serves. A second one waits, and
    takes over when the first ends or dies.

    Exit code with --once: 1 where something failed or a notice is uncertain.

    \b
    Examples:
      DULY_SMTP_HOST=127.0.0.1 DULY_SMTP_PORT=2525 DULY_SMTP_TLS=none \\
      DULY_SMTP_SENDER=notices@example.org duly run
      duly run --role index,plan,serve
      duly run --role deliver --listen 127.0.0.1:9464
    """
    from duly.bootstrap import Application

    if once and role:
        raise InvalidInput("--once does all of a round: it does not go with --role")
    if once and listen:
        raise InvalidInput("--once ends at once: nobody could ask it anything with --listen")
    roles = _roles(role or [])
    app = Application.from_environment(rpc=rpc)
    try:
        if once:
            _once(app, json)
        else:
            _serve(app, roles, interval, endpoint_of(listen) or app.settings.listen, json)
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


def endpoint_of(listen: str | None) -> "Endpoint | None":
    """Where to listen, as an option says. Raises: InvalidInput."""
    from duly.config import Endpoint

    if listen is None:
        return None
    found = Endpoint.parse(listen)
    if found is None:
        raise InvalidInput(f"{listen!r} is no place to listen at", wanted="host:port, such as 127.0.0.1:9464")
    return found


def _serve(
    app: "Application", roles: "set[Role]", interval: float | None, listen: "Endpoint | None", json: bool
) -> None:
    from duly.config import LogFormat
    from duly.services import run as service
    from duly.services import telemetry

    service.check(app, roles)
    if interval is None:
        interval = _LOCAL if app.is_local else _ELSEWHERE
    form = telemetry.configure(app.settings.log_format, app.settings.log_level)
    # Rounds are told to programs that ask for them, and to people; a log tells the same in more detail.
    tell = _Teller(json, json or form is LogFormat.CONSOLE)
    asked = threading.Event()
    blocks = app.wake if service.Role.INDEX in roles else None
    failures = 0
    told: dict[Role, str] = {}
    with (
        stoppable(asked.set) as stop,
        _monitored(app, roles, listen),
        service.Service(app, roles, tell.problem) as running,
    ):
        telemetry.take_over("dbos")
        telemetry.started(roles, app.chain_id)
        while not stop.is_set():
            begun = time.monotonic()
            try:
                report = running.round()
                others = running.others()
            except DulyError as error:
                if isinstance(error, InvalidInput):
                    raise
                failures += 1
                tell.problem(error)
            else:
                failures = 0
                if others != told:
                    tell.others(others)
                    told = others
                tell.round(report)
            pause = min(_LONGEST_PAUSE, interval * 2**failures) if failures else interval
            left = max(0.0, begun + pause - time.monotonic())
            if blocks is not None and not failures:
                # A new block is worth a round at once.
                blocks.wait(left, stop.is_set)
            else:
                asked.wait(left)
    tell.round(running.last())
    telemetry.stopped()


@contextmanager
def _monitored(app: "Application", roles: "set[Role]", listen: "Endpoint | None") -> Iterator[None]:
    """Answer to a monitoring system meanwhile, where there is to be one."""
    if listen is None:
        yield
        return
    from duly.bootstrap import Application
    from duly.interfaces.monitoring import answering
    from duly.services import telemetry
    from duly.services.monitor import Monitor
    from duly.services.run import Role

    # Its own connections: what hangs there must not keep anybody from asking, nor the other way round.
    own = Application(app.settings, rpc=app.rpc)
    monitor = Monitor(own, serves=Role.SERVE in roles, reaches=bool({Role.SERVE, Role.DELIVER} & roles))
    with monitor, answering(listen, monitor) as endpoint:
        telemetry.listening(str(endpoint))
        yield


class _Teller:
    """Tells of rounds and problems: in the log, and to programs or people on standard output."""

    def __init__(self, json: bool, rounds: bool) -> None:
        self._json, self._rounds = json, rounds

    def round(self, report: "RoundReport") -> None:
        from duly.services import telemetry

        if report.problem:
            telemetry.failed(report.problem, "round")
        if report.eventful and self._rounds:
            typer.echo(jsonlib.dumps(report.as_json()) if self._json else in_words(report))

    def problem(self, error: DulyError) -> None:
        from duly.services import telemetry

        telemetry.failed(error, "round")
        if self._json:
            typer.echo(jsonlib.dumps({"error": error.wrong}))

    def others(self, others: "dict[Role, str]") -> None:
        from duly.services import telemetry

        telemetry.waiting({str(role): holder for role, holder in others.items()})
        if self._json:
            typer.echo(jsonlib.dumps({"others": others}))


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
