"""`duly deploy`: the contracts and a policy, onto a chain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import Json, confirm, console, print_json

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.services.deploy import Plan, Result, Step, Wish


_WEI = 10**18
_GWEI_DIGITS = 6


def deploy(
    rpc: Rpc = None,
    currency: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="ERC-20 token that loans are in. Left out on a local chain, a TestDollar is made.",
        ),
    ] = None,
    decimals: Annotated[
        int | None, typer.Option(help="Decimals of that TestDollar.  [default: 2]", show_default=False)
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Policy pack to publish: its name, or a TOML file of your own.")
    ] = "strict",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="On a local chain: forget what was deployed, and begin anew.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="On a live chain: do not ask before spending.")
    ] = False,
    json: Json = False,
) -> None:
    """Deploy the contracts, publish a policy, and check everything.

    Each step is recorded in deployments/<chain id>.json. Run it again to finish what was interrupted; what is
    deployed already is checked, and never deployed twice.

    On local chains the well-known development account 0 pays; elsewhere the key in DULY_KEY_FILE.

    \b
    Example:
      anvil &
      duly deploy --rpc http://127.0.0.1:8545
    """
    from duly.bootstrap import Application

    application = Application.from_environment(rpc=rpc, ask=ask_passphrase)
    run(
        application,
        wish_for(policy, currency, decimals, application.settings.templates),
        application.records,
        fresh=fresh,
        yes=yes,
        json=json,
    )


def wish_for(
    policy: str, currency: str | None = None, decimals: int | None = None, templates: Path | None = None
) -> "Wish":
    """What to deploy: the pack of this name or in this file, and the templates in a folder, by default those
    that come with the program, checked against the pack's rules about words.

    Raises: InvalidPack, InvalidTemplates.
    """
    from duly.services.deploy import Wish
    from duly.services.policy import find_pack, word_rules
    from duly.services.render import load_templates

    pack = find_pack(policy)
    return Wish(pack, load_templates(templates, word_rules(pack)).hash, currency, decimals)


def run(
    application: "Application",
    wish: "Wish",
    folder: Path | None,
    *,
    fresh: bool = False,
    yes: bool = False,
    json: bool = False,
) -> "Result":
    """Show what is about to be done, ask where it costs, do it, and show what came of it.

    folder: where it is recorded; None for a chain that ends with this run.
    """
    from duly.services import deploy as service

    plan = service.plan(application.sender, wish, folder, fresh=fresh)
    show_plan(plan, folder)
    if plan.missing and not application.is_local and not yes:
        confirm("Send these transactions?")

    def tell(step: "Step") -> None:
        typer.echo(f"  {'deployed' if step.made else 'found   '}  {step.name}", err=True)

    result = service.deploy(application.sender, wish, folder, fresh=fresh, tell=tell)
    if json:
        print_json(_as_json(result))
    else:
        _show(result)
    return result


def ask_passphrase(path: Path) -> str:
    """Ask for the passphrase of a key file, without showing it."""
    answer: str = typer.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return answer


def show_plan(plan: "Plan", folder: Path | None, *, who: str = "deployer") -> None:
    """What is about to be done and what it costs, on standard error."""
    from duly.chain import deployments, networks

    where = "nowhere: this chain ends with this run" if folder is None else None
    gas = sum(step.gas for step in plan.missing)
    lines = {
        "chain": networks.chain_name(plan.chain_id),
        who: f"{_checksummed(plan.deployer)}, holding {_coins(plan.balance)}",
        "currency": plan.currency,
        "policy": plan.policy,
        "record": where or str(deployments.path_of(folder or Path(), plan.chain_id)),
        "to do": ", ".join(step.name for step in plan.missing) or "nothing; everything is checked",
        "cost": f"at most {_coins(plan.cost)} for about {gas:,} gas" if plan.missing else "nothing",
    }
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        typer.echo(f"{name + ':':{width}}{value}", err=True)


def _show(result: "Result") -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("contract", no_wrap=True)
    table.add_column("address", no_wrap=True)
    table.add_column("block", justify="right", no_wrap=True)
    table.add_column("gas", justify="right", no_wrap=True)
    for step in result.steps:
        place = _checksummed(step.address) if step.address else ""
        if step.number is not None:
            place = f"number {step.number}"
        block = "" if step.block is None else f"{step.block:,}"
        table.add_row(step.name, place, block, f"{step.gas:,}" if step.made else "found")
    out = console()
    out.print("Deployed and checked:")
    out.print(table)
    found = result.deployment.currency
    out.print(
        f"Currency: {found.symbol} at {_checksummed(found.address)}, {found.decimals} decimals",
        soft_wrap=True,
    )
    if result.path is not None:
        out.print(f"Recorded in {result.path}", soft_wrap=True)


def _as_json(result: "Result") -> dict[str, object]:
    content: dict[str, object] = result.deployment.model_dump(mode="json", exclude_none=True)
    return content | {
        "block": result.deployment.block,
        "made": [step.name for step in result.steps if step.made],
        "gas": sum(step.gas for step in result.steps),
        "record": str(result.path) if result.path else None,
    }


def _checksummed(address: str) -> str:
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)


def _coins(wei: int) -> str:
    """An amount of the chain's own coin; on public chains that is ether."""
    whole, rest = divmod(wei, _WEI)
    return f"{whole:,}.{rest // 10 ** (18 - _GWEI_DIGITS):0{_GWEI_DIGITS}} coins"
