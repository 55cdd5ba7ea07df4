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


deploy = typer.Typer(
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
)

Account = Annotated[
    str | None,
    typer.Option(
        "--account",
        metavar="NAME",
        help="Keystore that pays, by its name in Brownie's or Foundry's folder; by default DULY_KEY_FILE's.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="On a live chain: do not ask before spending.")]


@deploy.callback()
def deploy_all(
    context: typer.Context,
    rpc: Rpc = None,
    account: Account = None,
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: show each transaction, its gas and its cost.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Deploy the contracts, publish a policy, and check everything.

    Each step is recorded in deployments/<chain id>.json. Run it again to finish what was interrupted; what is
    deployed already is checked, and never deployed twice.

    On local chains the well-known development account 0 pays; elsewhere a keystore file (DULY_KEY_FILE or
    --account) or a remote signer (DULY_SIGNER_URL).

    \b
    Example:
      anvil &
      duly deploy --network local
      duly deploy --network sepolia --account deployer --currency 0x1c7D… --dry-run
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    application = application_for(rpc, account)
    wish = wish_for(policy, currency, decimals, application.settings.templates)
    if dry_run:
        rehearse(application, wish, application.records, fresh=fresh, json=json)
    else:
        run(application, wish, application.records, fresh=fresh, yes=yes, json=json)


@deploy.command("hand-over")
def hand_over(
    to: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="Who is to administer it, such as a multisig.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Take the offer back instead.")] = False,
    rpc: Rpc = None,
    account: Account = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Offer the administration to another address; with no address, tell who has it.

    The administrator publishes policies, and says who else does. Nothing changes until the other one accepts
    (`duly deploy accept`). Then the one before has no role any more.

    \b
    Example:
      duly deploy hand-over 0x9fB2… --network sepolia --account deployer
    """
    from duly.domain.errors import InvalidInput
    from duly.services import handover

    if cancel and to is not None:
        raise InvalidInput(
            "an offer is taken back from whom it was made to", wanted="--cancel, or an address"
        )
    app = application_for(rpc, account)
    if to is not None or cancel:
        if to is not None:
            handover.check_address(to)
            kind = "a contract" if has_contract(app, to) else "no contract: whoever holds its key"
            typer.echo(f"to:     {_checksummed(to)} ({kind})", err=True)
        if not app.is_local and not yes:
            confirm("Take the offer back?" if cancel else "Offer the administration to this address?")
        handover.offer(app.sender, app.deployment, to)
    _show_administration(app, json)


@deploy.command("accept")
def accept(
    call: Annotated[
        bool, typer.Option("--call", help="Send nothing: print the call that a multisig has to make.")
    ] = False,
    rpc: Rpc = None,
    account: Account = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Accept the administration that was offered to the key's address.

    A multisig accepts through its own interface; --call prints what it has to call.

    \b
    Example:
      duly deploy accept --network sepolia --call
    """
    from duly.services import handover

    app = application_for(rpc, account)
    if call:
        wanted = handover.acceptance(app.sender, app.deployment)
        found = {"to": _checksummed(wanted.to or ""), "value": "0", "data": "0x" + wanted.data.hex()}
        if json:
            print_json(found)
        else:
            for name, value in found.items():
                console().print(f"{name + ':':7}{value}", soft_wrap=True)
        return
    if not app.is_local and not yes:
        confirm("Accept the administration?")
    handover.accept(app.sender, app.deployment)
    _show_administration(app, json)


@deploy.command("bundle")
def bundle(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Default: <chain id>-sources beside the record."),
    ] = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Write what an explorer needs to verify the contracts.

    For each contract the compiler's standard JSON input, the compiler's version, and the encoded arguments of
    its constructor. Needs a checkout with the sources that were deployed.

    \b
    Example:
      duly deploy bundle --network sepolia
    """
    from rich import box
    from rich.table import Table

    from duly.bootstrap import Application
    from duly.services import bundle as service

    app = Application.from_environment(rpc=rpc)
    folder = out or app.settings.deployments / f"{app.chain_id}-sources"
    found = service.write(app.w3, app.deployment, folder)
    if json:
        print_json([each.as_json() for each in found])
        return
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("contract", "address", "arguments"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for each in found:
        table.add_row(each.name, _checksummed(each.address), each.arguments or "none")
    console().print(table)
    console().print(f"Compiler v{found[0].compiler}; written to {folder}", soft_wrap=True)


def _refuse_options_before(context: typer.Context) -> None:
    """What stands before the name of a command would be lost on it."""
    from duly.domain.errors import InvalidInput

    sources = {
        each.opts[-1]: context.get_parameter_source(each.name or "") for each in context.command.params
    }
    given = [option for option, source in sources.items() if source and source.name == "COMMANDLINE"]
    if given:
        raise InvalidInput(
            f"{', '.join(given)} stands before {context.invoked_subcommand}",
            wanted=f"the options of a command after its name: duly deploy {context.invoked_subcommand} …",
        )


def application_for(rpc: str | None, account: str | None = None) -> "Application":
    """The application of the environment; its key is the keystore of that name, where one is given.

    Raises: KeyRefused; InvalidSettings.
    """
    from duly.bootstrap import Application

    return Application.from_environment(rpc=rpc, ask=ask_passphrase, keystore=account)


def has_contract(app: "Application", address: str) -> bool:
    """There is a contract at this address."""
    from duly.chain import deployments

    return deployments.has_code(app.w3, address)


def _show_administration(app: "Application", json: bool) -> None:
    from duly.services import handover

    found = handover.administration(app.sender, app.deployment)
    offered = _checksummed(found.offered) if found.offered else None
    if json:
        content = {
            "book": _checksummed(found.book),
            "administrator": _checksummed(found.administrator),
            "offered": offered,
        }
        print_json(content)
        return
    console().print(f"PolicyBook     {_checksummed(found.book)}", soft_wrap=True)
    console().print(f"administrator  {_checksummed(found.administrator)}", soft_wrap=True)
    console().print(f"offered to     {offered or 'nobody'}", soft_wrap=True)


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


def rehearse(
    application: "Application", wish: "Wish", folder: Path | None, *, fresh: bool = False, json: bool = False
) -> None:
    """Show what would be sent, and what it would cost; send nothing."""
    from rich import box
    from rich.table import Table

    from duly.chain.sender import in_gwei
    from duly.services import deploy as service

    plan = service.plan(application.sender, wish, folder, fresh=fresh)
    # The gate makes one of the contracts: that is no transaction of its own.
    sent = [step for step in plan.missing if step.gas]
    if json:
        print_json(
            {
                "chain_id": plan.chain_id,
                "deployer": _checksummed(plan.deployer),
                "balance": plan.balance,
                "gas_price": plan.price,
                "gas_price_at_most": plan.most,
                "transactions": [
                    {"name": each.name, "gas": each.gas, "cost_at_most": each.gas * plan.most}
                    for each in sent
                ],
                "gas": plan.gas,
                "cost": plan.gas * plan.price,
                "cost_at_most": plan.cost,
                "enough": plan.balance >= plan.cost,
            }
        )
        return
    show_plan(plan, folder)
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column("transaction", "total", no_wrap=True)
    table.add_column("gas at most", f"{plan.gas:,}", justify="right", no_wrap=True)
    table.add_column("cost now", _coins(plan.gas * plan.price), justify="right", no_wrap=True)
    table.add_column("cost at most", _coins(plan.cost), justify="right", no_wrap=True)
    for each in sent:
        costs = (_coins(each.gas * price) for price in (plan.price, plan.most))
        table.add_row(each.name, f"{each.gas:,}", *costs)
    out = console()
    out.print(table)
    now, most = in_gwei(plan.price), in_gwei(plan.most)
    out.print(f"A unit of gas costs {now} gwei now, {most} at most. Nothing was sent.", soft_wrap=True)
    if plan.balance < plan.cost:
        out.print(f"The deployer lacks {_coins(plan.cost - plan.balance)} of that.", soft_wrap=True)


def ask_passphrase(path: Path) -> str:
    """Ask for the passphrase of a key file, without showing it."""
    answer: str = typer.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return answer


def show_plan(plan: "Plan", folder: Path | None, *, who: str = "deployer") -> None:
    """What is about to be done and what it costs, on standard error."""
    from duly.chain import deployments, networks

    where = "nowhere: this chain ends with this run" if folder is None else None
    lines = {
        "chain": networks.chain_name(plan.chain_id),
        who: f"{_checksummed(plan.deployer)}, holding {_coins(plan.balance)}",
        "currency": plan.currency,
        "policy": plan.policy,
        "record": where or str(deployments.path_of(folder or Path(), plan.chain_id)),
        "to do": ", ".join(step.name for step in plan.missing) or "nothing; everything is checked",
        "cost": f"at most {_coins(plan.cost)} for {plan.gas:,} gas" if plan.missing else "nothing",
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
