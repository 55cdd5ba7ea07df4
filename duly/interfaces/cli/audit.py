"""`duly audit`: were the rules kept?"""

from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json, progress

if TYPE_CHECKING:
    from duly.domain.audit import Findings, Violation

_SHOWN = 20

Rpc = Annotated[str | None, typer.Option("--rpc", help="Address of the chain's node; by default DULY_RPC.")]


def audit(rpc: Rpc = None, json: Json = False) -> None:
    """Check from the chain alone whether every notice kept the rules.

    Rebuilds every notice ever served, and what was so at its moment, from the contracts' events; then checks
    server, basis, consent, hours and caps again. Neither the database nor the service is asked.

    Exit code 1 where a notice broke a rule, with the list.

    \b
    Example:
      duly audit --rpc http://127.0.0.1:8545
    """
    from duly.bootstrap import Application
    from duly.services import audit as service
    from duly.services.index import Source

    app = Application.from_environment(rpc=rpc)
    findings = service.audit(
        app.w3,
        Source.of(app.deployment),
        lambda pages: progress(pages, "Auditing", json=json, total=len(pages)),
    )
    if json:
        print_json(as_json(findings))
    else:
        show(findings)
    if findings.violations:
        raise typer.Exit(FAILED)


def as_json(findings: "Findings") -> dict[str, object]:
    """What programs read."""
    return {
        "clean": not findings.violations,
        "events": findings.events,
        "loans": findings.loans,
        "notices": findings.notices,
        "served": {kind.name.lower(): count for kind, count in sorted(findings.served.items())},
        "refused": {reason.name.lower(): count for reason, count in sorted(findings.refused.items())},
        "violations": [_violation(violation) for violation in findings.violations],
    }


def _violation(violation: "Violation") -> dict[str, object]:
    return {
        "rule": violation.rule,
        "notice": "0x" + violation.notice.hex(),
        "loan": "0x" + violation.loan.hex(),
        "kind": violation.kind.name.lower(),
        "block": violation.block,
        "timestamp": violation.timestamp,
        "was": violation.was,
        "wanted": violation.wanted,
    }


def show(findings: "Findings") -> None:
    """What people read."""
    from rich import box
    from rich.table import Table

    from duly.domain.audit import RULES

    out = console()
    table = Table(title="Audit, from the chain alone", box=box.SIMPLE, title_justify="left")
    table.add_column("rule")
    table.add_column("notices checked", justify="right")
    table.add_column("violations", justify="right")
    reminders = sum(count for kind, count in findings.served.items() if kind.is_reminder)
    checked = {"CAP-1": reminders, "CAP-2": findings.notices - reminders}
    for rule in RULES:
        broken = sum(violation.rule == rule for violation in findings.violations)
        style = "red" if broken else "green"
        table.add_row(rule, f"{checked.get(rule, findings.notices):,}", str(broken), style=style)
    out.print(table)
    for violation in findings.violations[:_SHOWN]:
        out.print(
            f"{violation.rule}: {violation.kind.name.lower()} 0x{violation.notice.hex()[:8]}… in block "
            f"{violation.block}: {violation.was}; wanted: {violation.wanted}",
            style="red",
        )
    if len(findings.violations) > _SHOWN:
        out.print(f"… and {len(findings.violations) - _SHOWN} more (--json lists all)")
    verdict = "No rule was broken." if not findings.violations else "Rules were broken."
    out.print(
        f"{findings.events:,} events, {findings.loans:,} loans, {findings.notices:,} notices. {verdict}"
    )
