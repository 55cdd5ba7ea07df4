"""`duly audit`: were the rules kept?"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.errors import InvalidInput
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import FAILED, Json, console, counting, print_json

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.domain.pack import PolicyPack
    from duly.domain.replay import Policy
    from duly.services.auditreport import Report

_SHOWN = 20


class NoSuchPolicy(InvalidInput):
    """No policy on the chain is the one that was asked for."""


def audit(
    policy: Annotated[
        int | None,
        typer.Option("--policy", min=1, metavar="N", help="Only loans that were made under this policy."),
    ] = None,
    pack: Annotated[
        str | None,
        typer.Option(
            "--pack",
            metavar="PACK",
            help="Only loans under policies published from this pack (a name, or a TOML file of your own), "
            "whose limits are compared with it.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FOLDER",
            help="Write a report there: a page for people, tables of every notice and refusal, JSON.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the report that is there.")] = False,
    service: Annotated[
        bool,
        typer.Option(
            "--service",
            help="Check what the chain cannot show as well, with the service's database (bring it up to date "
            "by duly index first) and the vault.",
        ),
    ] = False,
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens",
            help="Check as well that the currency's tokens moved as the ledger says: asks for the receipt of "
            "every transaction in which money moved.",
        ),
    ] = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Check from the chain alone whether the rules were kept: about notices, money, terms and grievances.

    Computes everything that the contracts ever told anew, and what was so at each moment: who served, basis,
    consent, hours, caps, annual rates, schedules, late fees. Neither the database nor the service is asked,
    unless you say --service; then reminders are also counted for each person over all their addresses, and
    every mail that was sent is held against its notice. The answer says of each rule from what it was
    checked.

    A history of any length is read in little memory. docs/audit.md tells how to read the report.

    Exit code 1 where a rule was broken, or a policy is looser than its pack.

    \b
    Example:
      duly audit --rpc http://127.0.0.1:8545
      duly audit --pack gr --report gr-2026
      duly audit --service --report all --force
    """
    from duly.bootstrap import Application
    from duly.services import audit as services
    from duly.services import auditreport
    from duly.services.index import Source
    from duly.services.policy import find_pack, load_pack, pack_names

    its = find_pack(pack) if pack else None
    app = Application.from_environment(rpc=rpc)
    writer = auditreport.ReportWriter(report, app.deployment, replace=force) if report else None

    def run(tell: "Callable[[object], None]") -> "Report":
        with counting("Auditing", "blocks", json=json) as progress:
            audited = services.audit(
                app.w3,
                Source.of(app.deployment),
                progress,
                wanted=_wanted(app, policy, its),
                tell=tell,
                tokens=app.deployment.currency.address if tokens else None,
                records=services.Records(app.notice_store, app.vault) if service else None,
            )
        if (policy or its) and not audited.audit.policies:
            raise NoSuchPolicy(
                f"there is no policy {policy}"
                if policy
                else f"no policy was published from {its and its.name}",
                wanted="one that is published; see duly policy verify",
            )
        packs = list(map(load_pack, pack_names()))
        policies = auditreport.policies_of(audited, packs, app.templates.hash, its)
        return auditreport.Report(audited, policies, app.deployment, _scope(policy, its))

    if writer is None:
        found = run(lambda found: None)
    else:
        with writer:
            found = run(writer.tell)  # type: ignore[arg-type]
            writer.finish(found)
    if json:
        print_json(found.as_json())
    else:
        show(found)
        if report:
            console().print(f"The report is in {report}: open {report / 'report.html'}", soft_wrap=True)
    if not found.clean:
        raise typer.Exit(FAILED)


def _wanted(
    app: "Application", number: int | None, pack: "PolicyPack | None"
) -> "Callable[[Policy], bool] | None":
    """Which policies to report on."""
    if number is None and pack is None:
        return None
    recorded = app.deployment.policies.get(pack.name) if pack else None

    def wanted(policy: "Policy") -> bool:
        if number is not None and policy.number != number:
            return False
        return pack is None or policy.pack == pack.pack_hash or policy.number == recorded

    return wanted


def _scope(number: int | None, pack: "PolicyPack | None") -> str:
    if number is None and pack is None:
        return "All loans."
    which = f"policy {number}" if number is not None else "policies"
    return f"Loans under {which}" + (f" published from the pack {pack.name}." if pack else ".")


def show(report: "Report") -> None:
    """What people read."""
    from rich import box
    from rich.table import Table

    from duly.domain.audit import RULES
    from duly.domain.audit.rules import Basis

    out, findings = console(), report.findings
    table = Table(title=f"Audit. {report.scope}", box=box.SIMPLE, title_justify="left")
    for name in ("rule", "verdict", "held against", "from"):
        table.add_column(name, justify="right" if name == "held against" else "left")
    for rule in RULES:
        basis, broken = rule.basis(report.given), findings.broken[rule.id]
        if basis is Basis.NOTHING and not broken:
            table.add_row(rule.id, "not checked", "", "", style="dim")
            continue
        verdict, style = (f"broken {broken:,}×", "red") if broken else ("kept", "green")
        if not broken and not report.checked(rule):
            verdict, style = "no case", "dim"
        table.add_row(rule.id, verdict, f"{report.checked(rule):,} {rule.per}", basis.value, style=style)
    out.print(table)
    for policy in report.policies:
        for item in policy.deviations:
            style = "dim" if item.allowed else "red"
            note = ", tightened since" if item.allowed else ""
            where = f"policy {policy.policy.number} ({policy.name}), {item.field}"
            out.print(f"{where}: {item.chain} on the chain{note}; {item.pack} in the pack", style=style)
    for violation in findings.violations[:_SHOWN]:
        about = f" 0x{violation.notice.hex()[:8]}…" if violation.notice else ""
        out.print(
            f"{violation.rule}: {violation.what}{about} in block {violation.block}: {violation.was}; wanted: "
            f"{violation.wanted}",
            style="red",
        )
    total = findings.broken.total()
    if total > min(_SHOWN, len(findings.violations)):
        out.print(f"… and {total - _SHOWN:,} more (--report writes all)")
    if records := report.audited.records:
        told = ", ".join(f"{count:,} {state}" for state, count in sorted(records.states.items()))
        out.print(f"Deliveries of these notices: {told or 'none'}.")
    verdict = "No rule was broken, as far as checked." if report.clean else "Rules were broken."
    out.print(
        f"{findings.events:,} events, {findings.loans:,} loans, {findings.notices:,} notices, "
        f"{findings.refused.total():,} refused. {verdict}"
    )
