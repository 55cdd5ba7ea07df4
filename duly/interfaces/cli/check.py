"""`duly check`: is everything in place?"""

from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json
from duly.interfaces.cli.serve import Rpc

if TYPE_CHECKING:
    from duly.services.check import Finding

_STYLES = {"ok": "green", "warning": "bold yellow", "failure": "bold red"}


def check(
    rpc: Rpc = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How long each check may take.")
    ] = 10.0,
    json: Json = False,
) -> None:
    """Look at everything that the service needs, and say what to do about what is missing.

    The node (chain, synchronised, age of its head, finality, clock), the deployed contracts' code against the
    one that comes with this version, the key and its gas, the loans that it may serve, the databases and
    their schemas, vault and master key, the channels up to their log-in, the templates against the policies
    in force, the disk. Nothing is sent, made or changed.

    Exit code 1 where something failed; warnings alone are no failure.

    \b
    Examples:
      duly check
      duly check --json | jq '.findings[] | select(.level != "ok")'
    """
    from duly.bootstrap import Application
    from duly.config import InvalidSettings
    from duly.services import check as service

    try:
        app = Application.from_environment(rpc=rpc)
    except InvalidSettings as error:
        findings = [service.of_settings(error)]
    else:
        findings = service.everything(app, timeout=timeout)
    healthy = service.healthy(findings)
    if json:
        print_json({"healthy": healthy, "findings": [each.as_json() for each in findings]})
    else:
        _show(findings)
    if not healthy:
        raise typer.Exit(FAILED)


def _show(findings: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("check", "", "found", "to do"):
        table.add_column(heading, overflow="fold")
    for each in findings:
        table.add_row(each.check, Text(each.level, _STYLES[each.level]), each.found, each.remedy or "")
    out = console()
    out.print(table)
    counts = {level: sum(each.level == level for each in findings) for level in _STYLES}
    if not counts["failure"] and not counts["warning"]:
        out.print("Everything is in place.")
    else:
        out.print(f"{counts['failure']} failed, {counts['warning']} warned, {counts['ok']} in order.")
