"""`duly vault`: the borrowers' own addresses, encrypted."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput
from duly.interfaces.cli._output import FAILED, Json, console, print_json
from duly.interfaces.cli.serve import Rpc

if TYPE_CHECKING:
    from duly.domain.preferences import Preferences
    from duly.store.masterkey import MasterKey
    from duly.store.vault import Vault

vault = typer.Typer(
    name="vault",
    help="Keep the borrowers' own addresses, encrypted, apart from everything else.",
    no_args_is_help=True,
)

_CHANNELS = {channel.label: channel for channel in Channel}

Borrower = Annotated[str, typer.Argument(metavar="BORROWER", help="The borrower's address on chain.")]
ChannelName = Annotated[
    str, typer.Option("--channel", metavar="CHANNEL", help=f"One of {', '.join(_CHANNELS)}.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

# What is too much on the command line may be somebody's address: the usual message would repeat it.
_QUIET = {"allow_extra_args": True}


@vault.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where the key is to lie.")] = Path(
        "duly-vault.key"
    ),
    keyring: Annotated[
        str | None,
        typer.Option(metavar="SERVICE/NAME", help="Keep it in the keyring of the operating system instead."),
    ] = None,
) -> None:
    """Make a master key, in a new file that only you may read, or in your keyring.

    Who has the key can read every address; without it nobody can. Keep a copy where the vault is not.
    """
    from duly.store.masterkey import MasterKey

    out = console()
    if keyring is not None:
        MasterKey.generate().create_in_keyring(keyring)
        out.print(f"Made the entry {keyring}. Nothing can be read without it.", soft_wrap=True)
        out.print(f"To use it:\n  export DULY_MASTER_KEY_KEYRING={keyring}", soft_wrap=True)
        return
    MasterKey.generate().create_file(file)
    out.print(f"Made {file}. Keep a copy of it apart from the vault: nothing can be read without it.")
    out.print(f"To use it:\n  export DULY_MASTER_KEY_FILE={file.absolute()}", soft_wrap=True)


@vault.command(context_settings=_QUIET)
def add(
    ctx: typer.Context,
    borrower: Borrower,
    channel: ChannelName = "email",
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="The borrower's own address. Better typed when asked, or piped in: no shell remembers it.",
        ),
    ] = None,
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="The borrower's language, such as en or zh.")
    ] = "en",
    json: Json = False,
) -> None:
    """Keep a borrower's own address, in place of an earlier one.

    It is used once the borrower has proved that it is theirs: duly vault verify. Only the borrower of a loan
    can be written to: there is no place for anybody else's address.

    \b
    Example:
      echo wang.fang@example.org | duly vault add 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --language zh
    """
    _nothing_else(ctx)
    if address is None:
        address = _ask_address()
    chosen = _channel(channel)
    with _open() as opened:
        opened.add(borrower, chosen, address, language=language)
        kept = opened.kept(borrower, chosen)
    verified = kept is not None and kept.verified
    if json:
        told = {"borrower": borrower.lower(), "channel": channel, "language": language, "verified": verified}
        print_json(told)
        return
    out = console()
    if verified:
        out.print("Kept; this very address was verified before.")
    else:
        option = "" if chosen is Channel.EMAIL else f" --channel {channel}"
        out.print("Kept. It is not used before the borrower has proved that it is theirs:")
        out.print(f"  duly vault verify {borrower}{option}", soft_wrap=True)


@vault.command(context_settings=_QUIET)
def verify(
    ctx: typer.Context,
    borrower: Borrower,
    channel: ChannelName = "email",
    code: Annotated[
        str | None, typer.Option("--code", metavar="CODE", help="Check the six digits that the borrower got.")
    ] = None,
    json: Json = False,
) -> None:
    """Prove that an address is the borrower's own: send a code there, then check what the borrower tells.

    A code is good for 15 minutes and five tries. Once it was right, the commitment is printed that the
    borrower's key has to register on chain: nothing can be consented to before. The message says nothing
    but the code, and only few are sent to an address, whoever asks.

    \b
    Examples:
      duly vault verify 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
      duly vault verify 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --code 123456
    """
    _nothing_else(ctx)
    from duly.bootstrap import Application
    from duly.services.verifying import send_code

    chosen = _channel(channel)
    app = Application.from_environment()
    out = console()
    try:
        if code is None:
            send_code(app.vault, app.carriers, borrower, chosen)
            if json:
                print_json({"borrower": borrower.lower(), "channel": channel, "sent": True})
            else:
                out.print("Sent. Within 15 minutes:")
                out.print(f"  duly vault verify {borrower} --code …", soft_wrap=True)
            return
        commitment = app.vault.check_code(borrower, chosen, code)
    finally:
        app.close()
    if json:
        print_json(
            {
                "borrower": commitment.borrower,
                "channel": channel,
                "verified": True,
                "commitment": "0x" + commitment.hash.hex(),
            }
        )
        return
    out.print(
        "Verified. The borrower registers this commitment with their own key, in ConsentRegistry.register "
        f"(channel {int(chosen)}), and may then consent:",
        soft_wrap=True,
    )
    out.print("0x" + commitment.hash.hex())


@vault.command(context_settings=_QUIET)
def prefer(
    ctx: typer.Context,
    borrower: Borrower,
    hours: Annotated[
        str | None,
        typer.Option(metavar="HH:MM-HH:MM", help="Where the borrower lives; `any` for the policy's own."),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Their time zone, such as Europe/Athens; `none` for the registered offsets."
        ),
    ] = None,
    days_before: Annotated[
        str | None,
        typer.Option(metavar="DAYS", help="Before a due day: some of 7,3,1, or none; 3 unless told."),
    ] = None,
    due_day: Annotated[
        bool | None, typer.Option("--due-day/--no-due-day", help="And on the due day itself.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget all earlier wishes first.")] = False,
    json: Json = False,
) -> None:
    """Keep how a borrower wishes to be reminded; what is not named stays as it was.

    A wish chooses among what the policy allows and never adds to it: where the wished hours are closed, the
    nearest that are open are taken. The time zone has to have the UTC offsets that the borrower registered on
    chain; it tells when they change their clocks.

    \b
    Example:
      duly vault prefer 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --hours 18:00-20:30 \\
        --zone Europe/Athens --days-before 7,1
    """
    _nothing_else(ctx)
    from dataclasses import replace

    from duly.bootstrap import Application
    from duly.domain.preferences import NO_PREFERENCES, parse_days_before, parse_hours
    from duly.services import protection
    from duly.services.when import check_zone

    app = Application.from_environment()
    try:
        kept = NO_PREFERENCES if reset else app.vault.preferences_of(borrower)
        if hours is not None:
            kept = replace(kept, hours=None if hours == "any" else parse_hours(hours))
        if zone is not None:
            kept = replace(kept, zone="" if zone == "none" else zone)
        if days_before is not None:
            kept = replace(kept, days_before=parse_days_before(days_before))
        if due_day is not None:
            kept = replace(kept, on_due_day=due_day)
        if kept.zone:
            check_zone(kept.zone, protection.registered(app, borrower))
        app.vault.prefer(borrower, kept)
    finally:
        app.close()
    if json:
        print_json({"borrower": borrower.lower(), **protection.preferences_json(kept)})
        return
    for name, value in preferences_in_words(kept).items():
        console().print(f"{name:<11} {value}", soft_wrap=True)


def preferences_in_words(preferences: "Preferences") -> dict[str, str]:
    """A borrower's wishes for people."""
    from duly.domain.preferences import days_text, hours_text

    return {
        "hours": hours_text(preferences.hours) if preferences.hours else "any that the policy allows",
        "time zone": preferences.zone or "as registered on chain",
        "reminders": days_text(preferences),
    }


@vault.command()
def show(
    borrower: Annotated[
        str | None, typer.Argument(metavar="[BORROWER]", help="One borrower; all without.")
    ] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the whole address.")] = False,
    json: Json = False,
) -> None:
    """Show what is kept of a borrower, the address masked; without a borrower, of whom something is kept.

    Every look at an address goes into the log: duly vault log.
    """
    from duly.store.vault import Reading, UnknownBorrower, masked

    with _open() as opened:
        if borrower is None:
            known = opened.borrowers()
            if json:
                print_json(known)
            else:
                for each in known:
                    channels = ", ".join(channel.label for channel in opened.channels_of(each))
                    console().print(f"{each}  {channels}")
                console().print(f"{len(known):,} in all.")
            return
        reading = Reading("show", "revealed" if reveal else "masked")
        contacts = [opened.contact(borrower, channel, reading) for channel in opened.channels_of(borrower)]
        wishes = opened.preferences_of(borrower)
        rows = [
            {
                "channel": contact.kept.channel.label,
                "address": contact.address if reveal else masked(contact.kept.channel, contact.address),
                "verified": contact.kept.verified,
                "commitment": "0x" + contact.kept.commitment.hex() if contact.kept.verified else None,
                "language": contact.kept.language,
            }
            for contact in contacts
            if contact is not None
        ]
    if not rows:
        raise UnknownBorrower(borrower)
    if json:
        from duly.services.protection import preferences_json

        print_json([row | {"preferences": preferences_json(wishes)} for row in rows])
        return
    for row in rows:
        for name, value in row.items():
            told = ("no", "yes")[value] if isinstance(value, bool) else value
            console().print(f"{name:<11} {told or 'not before it is verified'}", soft_wrap=True)
    for name, wish in preferences_in_words(wishes).items():
        console().print(f"{name:<11} {wish}", soft_wrap=True)


@vault.command(context_settings=_QUIET)
def find(
    ctx: typer.Context,
    channel: ChannelName = "email",
    address: Annotated[
        str | None, typer.Option("--address", help="Better typed when asked, or piped in.")
    ] = None,
    json: Json = False,
) -> None:
    """Find the borrower whose own address this is: somebody wrote from it, to stop all contact for example.

    Exit code 1 where it is nobody's.
    """
    _nothing_else(ctx)
    if address is None:
        address = _ask_address()
    with _open() as opened:
        found = opened.borrowers_at(_channel(channel), address)
    if json:
        print_json(found)
    else:
        for each in found:
            console().print(each)
    if not found:
        typer.echo("It is no borrower's address.", err=True)
        raise typer.Exit(FAILED)


@vault.command()
def log(
    borrower: Annotated[
        str | None, typer.Argument(metavar="[BORROWER]", help="One borrower; all without.")
    ] = None,
    json: Json = False,
) -> None:
    """List who read addresses and what for: deliveries by the notice's id, looks, codes, exports, searches.

    The log is only ever added to, and sealed: exit code 1 where an entry was changed or taken out. It never
    held an address; of who was erased it keeps that their address was read, not which.
    """
    from duly.services.protection import entry_json

    with _open() as opened:
        entries = opened.log(borrower)
    rows = [entry_json(entry) for entry in entries]
    if json:
        print_json(rows)
        return
    for row in rows:
        purpose = f"{row['purpose']} {row['about'] or ''}".rstrip()
        console().print(
            f"{row['at']}  {row['borrower'] or '–':<42}  {row['channel'] or '–':<6}  {row['by']}  {purpose}",
            soft_wrap=True,
        )
    console().print(f"{len(rows):,} in all.")


@vault.command()
def export(
    borrower: Borrower,
    directory: Annotated[Path, typer.Option(help="Where the files go.")] = Path("."),
    json: Json = False,
) -> None:
    """Write everything that is kept of a borrower, for the borrower: as JSON, and as a page to read.

    Contacts with commitments and salts, language, when what was added, changed and verified, loans, notices
    with their words and what became of them, and who read the contacts. Only you can read the files: give
    them to the borrower and delete them.
    """
    from duly.bootstrap import Application
    from duly.services import protection

    app = Application.from_environment()
    try:
        files = protection.write(protection.export(app, borrower), directory)
    finally:
        app.close()
    if json:
        print_json([str(file) for file in files])
        return
    for file in files:
        console().print(f"Wrote {file}.", soft_wrap=True)


@vault.command()
def erase(borrower: Borrower, yes: Yes = False) -> None:
    """Forget a borrower: addresses, key and the words of notices are deleted, down to the bytes of the files.

    What the chain keeps cannot be linked to anybody afterwards. Copies of the vault stay readable with the
    master key: `duly vault rotate`, and destroy the old key, to end that too.
    """
    from duly.bootstrap import Application
    from duly.services import protection
    from duly.store.vault import UnknownBorrower

    app = Application.from_environment()
    try:
        if not yes:
            typer.confirm(f"Forget {borrower} for good?", abort=True, err=True)
        if not protection.erase(app, [borrower]):
            raise UnknownBorrower(borrower)
    finally:
        app.close()
    console().print("Forgotten.")


@vault.command()
def purge(
    after: Annotated[
        int | None,
        typer.Option(
            "--after",
            metavar="DAYS",
            min=1,
            help="For how long loans must be over, where the policy's pack does not say.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell who would be forgotten.")] = False,
    rpc: Rpc = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget the borrowers all of whose loans ended, once nothing need be kept; reads the chain first.

    The packs of the loans' policies say for how long records must be kept after the last reminder
    (`retention` in `duly policy show`). Where they do not, --after says how many days after the end; where
    they do, nothing is forgotten before both are over.

    Nothing is forgotten of somebody who has an open loan, under whichever address, nor of somebody who has
    had no loan yet.

    \b
    Example:
      duly vault purge --after 1095 --dry-run
    """
    from duly.bootstrap import Application
    from duly.services import protection

    app = Application.from_environment(rpc=rpc)
    try:
        app.indexer.run()
        now = app.clock.now()
        ended = protection.ended(app, now)
        found = [each for each in ended if each.is_over(after, now)]
        if not dry_run and found:
            if not yes:
                typer.confirm(f"Forget {len(found):,} for good?", abort=True, err=True)
            protection.erase(app, [each.borrower for each in found])
    finally:
        app.close()
    if json:
        rows = [{"borrower": each.borrower, "loans": each.loans, "ended_at": each.ended_at} for each in found]
        print_json({"dry_run": dry_run, "borrowers": rows, "kept": len(ended) - len(found)})
        return
    out = console()
    for each in found:
        out.print(f"{each.borrower}  {each.loans:,} over", soft_wrap=True)
    out.print(f"{len(found):,} {'would be ' if dry_run else ''}forgotten.")
    if kept := len(ended) - len(found):
        out.print(f"{kept:,} whose loans ended have to be kept for longer.")
    if after is None and any(each.keep_until is None for each in ended):
        out.print("Some are under policies whose packs do not say for how long: give --after DAYS.")


@vault.command()
def rotate(
    file: Annotated[
        Path | None,
        typer.Option("--new-key-file", help="File of the new master key; made where there is none."),
    ] = None,
    keyring: Annotated[
        str | None,
        typer.Option("--new-key-keyring", metavar="SERVICE/NAME", help="The new key, in your keyring."),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="End it: the old key does not open the vault any more.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give it up: the new key does not open the vault any more.")
    ] = False,
) -> None:
    """Put everything under a new master key, while the service runs.

    Name the new key: from then on the vault opens with either. Start the services again, one after the
    other, with the new one; then --finish. With both at once it is done at once, for when nothing runs. What
    was stopped midway goes on when it is called again. Commitments and content hashes on chain stay as they
    are.

    \b
    Examples:
      duly vault rotate --new-key-file two.key
      DULY_MASTER_KEY_FILE=two.key duly vault rotate --finish
    """
    named = file is not None or keyring is not None
    if (file is not None and keyring is not None) or (abandon and (named or finish)):
        raise InvalidInput("these options do not go together", wanted="one new key, --finish or --abandon")
    if not (named or finish or abandon):
        raise InvalidInput("there is no new key", wanted="--new-key-file, --finish or --abandon")
    out = console()
    with _open() as opened:
        if abandon:
            opened.abandon_rotation()
            out.print("Given up: the vault is under the old key alone.")
            return
        key = _new_key(file, keyring) if named else None
        if key is not None:
            count = opened.prepare_rotation(key)
        if finish:
            count = opened.finish_rotation(key)
    out.print(f"Under the new key: {count:,} in all.")
    if named:
        setting = f"KEYRING={keyring}" if file is None else f"FILE={file.absolute()}"
        out.print(f"From now on:\n  export DULY_MASTER_KEY_{setting}", soft_wrap=True)
    if finish:
        out.print("Destroy the old key, with which copies of the vault can still be read.")
    else:
        out.print("The old key opens the vault too, until with the new one: duly vault rotate --finish")


def _new_key(file: Path | None, keyring: str | None) -> "MasterKey":
    from duly.store.masterkey import MasterKey, NoMasterKey

    if file is not None:
        if file.exists():
            return MasterKey.from_file(file)
        key = MasterKey.generate()
        key.create_file(file)
        return key
    entry = keyring or ""
    try:
        return MasterKey.from_keyring(entry)
    except NoMasterKey:
        key = MasterKey.generate()
        key.create_in_keyring(entry)
        return key


def _nothing_else(ctx: typer.Context) -> None:
    if ctx.args:
        raise InvalidInput(
            "there is more on the command line than belongs there",
            wanted="a borrower's address on chain alone",
            remedy="An address to write to is typed when asked, or piped in.",
        )


def _open() -> "Vault":
    from duly.bootstrap import Application

    return Application.from_environment().vault


def _ask_address() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("The borrower's own address", err=True))
    return sys.stdin.readline()


def _channel(name: str) -> Channel:
    if name not in _CHANNELS:
        raise InvalidInput("there is no such channel", wanted=" or ".join(_CHANNELS))
    return _CHANNELS[name]
