"""`duly policy`: the packs of rules, and what of them stands on the chain."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import FAILED, Json, confirm, console, print_json
from duly.interfaces.cli.deploy import ask_passphrase, show_plan

if TYPE_CHECKING:
    from rich.table import Table

    from duly.domain.pack import Entry, PolicyPack
    from duly.services.policycheck import Verdict

policy = typer.Typer(
    name="policy",
    help="Look at policy packs, compare them, publish them, and check what is published.",
    no_args_is_help=True,
)

Pack = Annotated[
    str, typer.Argument(metavar="PACK", help="A pack's name, such as gr, or a TOML file of your own.")
]

_STYLES = {"unverified": "yellow", "chosen": "dim"}
# Columns of a terminal from which sources are shown in the table, and those that the rest of it takes.
_WIDE, _NARROW = 120, 80
_LONGEST = 24


# ---------------------------------------------------------------------------------------- looking


@policy.command("list")
def list_packs(json: Json = False) -> None:
    """List the packs that come with the program, and how well their values are known.

    Verified values were read in a rule's own text, secondary ones read about, unverified ones remembered;
    chosen ones are no rule's. docs/policies.md tells more.

    \b
    Example:
      duly policy list
    """
    from duly.domain.pack import ORIGINS
    from duly.services.policy import load_pack, pack_names

    packs = [load_pack(name) for name in pack_names()]
    if json:
        print_json([_summary(pack) for pack in packs])
        return
    table = _table()
    for name in ("pack", "title", "over", "as of"):
        table.add_column(name, no_wrap=name != "title")
    for name in ORIGINS:
        table.add_column(name, justify="right", no_wrap=True)
    for pack in packs:
        counts = _counts(pack)
        row = (pack.name, pack.title, pack.extends or "", pack.as_of.isoformat())
        table.add_row(*row, *(str(counts[name] or "") for name in ORIGINS))
    out = console()
    out.print(table)
    out.print(
        "Starting points for a compliance officer, never legal advice. To read one: duly policy show PACK"
    )


@policy.command()
def show(
    pack: Pack,
    sources: Annotated[
        bool, typer.Option("--sources", help="The long form: each value with its source and its date.")
    ] = False,
    json: Json = False,
) -> None:
    """Show every value of a pack, and how it is known; of an overlay, with what it is laid over.

    \b
    Example:
      duly policy show gr --sources
      duly policy show own.toml
    """
    from duly.services.policy import find_pack

    found = find_pack(pack)
    if json:
        values = {path: _entry_as_json(entry) for path, entry in found.entries().items()}
        print_json(_summary(found) | {"values": values})
        return
    out = console()
    over = f", laid over {found.extends}" if found.extends else ""
    out.print(f"{found.name}: {found.title}{over}. As of {found.as_of}.", soft_wrap=True)
    out.print(f"hash 0x{found.pack_hash.hex()}", soft_wrap=True)
    if sources:
        for path, entry in found.entries().items():
            out.print()
            out.print(path, style="bold", end="  ")
            out.print(entry.text)
            value = entry.found
            out.print(
                f"  {value.status}, as of {value.as_of}: {value.source}",
                style=_STYLES.get(value.status),
                soft_wrap=True,
            )
        return
    out.print(_values_table(found, room=out.width - _NARROW if out.width >= _WIDE else 0))
    if out.width < _WIDE:
        out.print("Where each value comes from: --sources")


def _values_table(pack: "PolicyPack", *, room: int) -> "Table":
    """room: characters for the beginning of each source; 0 leaves sources out."""
    table = _table()
    table.add_column("value", no_wrap=True)
    table.add_column(max_width=_LONGEST)
    for name in ("status", "as of"):
        table.add_column(name, no_wrap=True)
    if room:
        table.add_column("source", no_wrap=True)
    section = ""
    for path, entry in pack.entries().items():
        place, _, field = path.rpartition(".")
        if place != section:
            section = place
            table.add_row(section + (" (on chain)" if entry.on_chain else ""), style="bold")
        value = entry.found
        row = (f"  {field}", entry.text, value.status, value.as_of.isoformat())
        source = value.source if len(value.source) <= room else value.source[: room - 1] + "…"
        table.add_row(*row, *([source] if room else []), style=_STYLES.get(value.status))
    return table


@policy.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A pack's name, or a TOML file of your own.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    json: Json = False,
) -> None:
    """Compare two packs value by value, and tell which is tighter: helps the borrower more.

    Where only one has a rule, that one is tighter. STRICT's rules about words hold for every pack. Sources
    are not compared.

    \b
    Example:
      duly policy diff strict us
    """
    from duly.domain.pack import Comparison, differences
    from duly.services.policy import find_pack, load_pack

    one, other = find_pack(first), find_pack(second)
    found = differences(one, other, load_pack())
    # Two files may bear one name.
    names = (one.name, other.name) if one.name != other.name else (f"{one.name} (A)", f"{other.name} (B)")
    tighter: dict[Comparison, str | None] = {Comparison.TIGHTER: names[0], Comparison.LOOSER: names[1]}
    if json:
        rows = [
            {
                "value": item.path,
                "a": _plain(item.first),
                "b": _plain(item.second),
                "tighter": {Comparison.TIGHTER: "a", Comparison.LOOSER: "b"}.get(item.comparison),
            }
            for item in found
        ]
        print_json({"a": _summary(one), "b": _summary(other), "differences": rows})
        return
    out = console()
    if not found:
        same = one.pack_hash == other.pack_hash
        out.print(
            "They are the same." if same else "Their values are the same; names, sources or dates differ."
        )
        return
    table = _table()
    table.add_column("value", no_wrap=True)
    for name in (*names, "tighter"):
        table.add_column(name)
    for item in found:
        row = (item.path, *(entry.text if entry else "none" for entry in (item.first, item.second)))
        table.add_row(*row, tighter.get(item.comparison) or "neither")
    out.print(table)
    if len(found) == 1:
        out.print(f"One value differs: {tighter.get(found[0].comparison) or 'neither'} is tighter.")
        return
    count = {each: sum(item.comparison is each for item in found) for each in Comparison}
    out.print(
        f"{len(found)} values differ: {names[0]} is tighter in {count[Comparison.TIGHTER]}, {names[1]} in "
        f"{count[Comparison.LOOSER]}."
    )


# ---------------------------------------------------------------------------------------- on the chain


@policy.command()
def publish(
    pack: Pack,
    force: Annotated[
        bool, typer.Option("--force", help="Publish it once more where it is published already.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="On a live chain: do not ask before spending.")
    ] = False,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Publish a pack with the contracts that are deployed, and record its number.

    The limits go onto the chain, with the hash of the whole pack and that of the notice templates. Published
    is for ever: contact limits may be tightened later, lending limits never change. On local chains
    development account 0 publishes; elsewhere the key in DULY_KEY_FILE, which must be a publisher's.

    \b
    Example:
      duly policy publish gr --rpc http://127.0.0.1:8545
    """
    from duly.bootstrap import Application
    from duly.interfaces.cli.deploy import wish_for
    from duly.services import deploy as service

    app = Application.from_environment(rpc=rpc, ask=ask_passphrase)
    wish = wish_for(pack, templates=app.settings.templates)
    number_before = app.deployment.policies.get(wish.pack.name)
    folder = app.settings.deployments
    plan = service.plan_publication(app.sender, wish, folder, again=force)
    show_plan(plan, folder, who="publisher")
    unread = _counts(wish.pack)["unverified"]
    if unread:
        typer.echo(f"to check:  {unread} of its values are unverified; see duly policy show {pack}", err=True)
    if plan.missing and not app.is_local and not yes:
        confirm("Send this transaction?")
    result = service.publish(app.sender, wish, folder, again=force)
    (step,) = result.steps
    pack_hash, templates = "0x" + wish.pack.pack_hash.hex(), "0x" + wish.templates.hex()
    if json:
        print_json(
            {
                "policy": step.number,
                "pack": wish.pack.name,
                "made": step.made,
                "block": step.block,
                "gas": step.gas,
                "pack_hash": pack_hash,
                "templates_hash": templates,
                "record": str(result.path),
            }
        )
        return
    out = console()
    done = f"Published {wish.pack.name} as policy {step.number}"
    found = f"{wish.pack.name} was published as policy {step.number}, and is recorded now"
    out.print(f"{done} in block {step.block}, for {step.gas:,} gas." if step.made else f"{found}.")
    out.print(f"pack hash      {pack_hash}", soft_wrap=True)
    out.print(f"templates hash {templates}", soft_wrap=True)
    if number_before not in (None, step.number):
        out.print(f"The name {wish.pack.name} means policy {step.number} from now on, not {number_before}.")
    out.print(f"Recorded in {result.path}", soft_wrap=True)


@policy.command()
def verify(
    number: Annotated[
        int | None, typer.Argument(metavar="[NUMBER]", help="A policy's number; all without.")
    ] = None,
    pack: Annotated[
        list[str] | None,
        typer.Option("--pack", metavar="FILE.toml", help="A pack of your own to look among; repeatable."),
    ] = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Compare the published policies with the packs: limits, hash of the pack, hash of the templates.

    A policy's pack is found by its hash, among those that come with the program and your own; failing that,
    by the name that it is recorded under. Contact limits that were tightened since are told, and are no
    fault.

    Exit code 1 where anything else differs, or no pack is found.

    \b
    Example:
      duly policy verify --rpc http://127.0.0.1:8545
      duly policy verify 2 --pack own.toml
    """
    from duly.bootstrap import Application
    from duly.services import policycheck as service
    from duly.services.policy import find_pack, load_pack, pack_names

    # Under the same name one's own wins.
    packs = [*map(load_pack, pack_names()), *map(find_pack, pack or [])]
    app = Application.from_environment(rpc=rpc)
    verdicts = service.verify(
        app.contracts.policy_book,
        packs,
        app.templates.hash,
        recorded=app.deployment.policies,
        number=number,
    )
    passed = all(verdict.passed for verdict in verdicts)
    if json:
        print_json({"passed": passed, "policies": [_verdict_as_json(verdict) for verdict in verdicts]})
    else:
        _show_verdicts(verdicts)
    if not passed:
        raise typer.Exit(FAILED)


def _show_verdicts(verdicts: "list[Verdict]") -> None:
    out = console()
    for verdict in verdicts:
        name = verdict.name or "unknown pack"
        retired = ", retired" if verdict.policy.retired else ""
        tightened = any(item.allowed for item in verdict.deviations)
        if verdict.pack is None:
            said = f"no pack here has its hash, 0x{verdict.policy.pack.hex()}; give its file with --pack"
        elif not verdict.passed:
            said = "differs from its pack"
        else:
            said = "as its pack says, or tighter" if tightened else "as its pack says"
        mark, style = ("ok  ", "green") if verdict.passed else ("BAD ", "red")
        out.print(
            f"{mark}policy {verdict.policy.number} ({name}{retired}): {said}", style=style, soft_wrap=True
        )
        for item in verdict.deviations:
            note = ", tightened" if item.allowed else ""
            told = f"      {item.field}: {item.chain} on the chain{note}; {item.pack} in the pack"
            out.print(told, soft_wrap=True)
    failed = sum(not verdict.passed for verdict in verdicts)
    count = f"{len(verdicts)} {'policy' if len(verdicts) == 1 else 'policies'}"
    out.print(f"{count} compared. " + (f"{failed} not as a pack says." if failed else "Nothing is amiss."))


# ---------------------------------------------------------------------------------------- words


def _table() -> "Table":
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _counts(pack: "PolicyPack") -> dict[str, int]:
    from duly.domain.pack import ORIGINS

    found = [entry.found.status for entry in pack.entries().values()]
    return {status: found.count(status) for status in ORIGINS}


def _summary(pack: "PolicyPack") -> dict[str, object]:
    return {
        "name": pack.name,
        "title": pack.title,
        "extends": pack.extends,
        "as_of": pack.as_of.isoformat(),
        "hash": "0x" + pack.pack_hash.hex(),
        "statuses": _counts(pack),
    }


def _entry_as_json(entry: "Entry") -> dict[str, Any]:
    return entry.found.model_dump(mode="json") | {"on_chain": entry.on_chain}


def _plain(entry: "Entry | None") -> object:
    return entry.found.model_dump(mode="json")["value"] if entry else None


def _verdict_as_json(verdict: "Verdict") -> dict[str, object]:
    return {
        "policy": verdict.policy.number,
        "pack": verdict.name,
        "found": verdict.pack is not None,
        "retired": verdict.policy.retired,
        "passed": verdict.passed,
        "pack_hash": "0x" + verdict.policy.pack.hex(),
        "templates_hash": "0x" + verdict.policy.templates.hex(),
        "deviations": [
            {"field": item.field, "chain": item.chain, "pack": item.pack, "tightened": item.allowed}
            for item in verdict.deviations
        ],
    }
