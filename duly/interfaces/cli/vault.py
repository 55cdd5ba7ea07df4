"""`duly vault`: the borrowers' own addresses, encrypted."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput
from duly.interfaces.cli._output import FAILED, Json, console, print_json

if TYPE_CHECKING:
    from duly.store.vault import Vault

vault = typer.Typer(
    name="vault",
    help="Keep the borrowers' own addresses, encrypted, apart from everything else.",
    no_args_is_help=True,
)

_CHANNELS = {channel.name.lower().replace("_", "-"): channel for channel in Channel}

Borrower = Annotated[str, typer.Argument(metavar="BORROWER", help="The borrower's address on chain.")]
ChannelName = Annotated[
    str, typer.Option("--channel", metavar="CHANNEL", help=f"One of {', '.join(_CHANNELS)}.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@vault.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where the key is to lie.")] = Path(
        "duly-vault.key"
    ),
) -> None:
    """Make a master key, in a new file that only you may read.

    Who has the key can read every address; without it nobody can. Keep a copy where the vault is not.
    """
    from duly.store.vault import MasterKey

    MasterKey.generate().create_file(file)
    out = console()
    out.print(f"Made {file}. Keep a copy of it apart from the vault: nothing can be read without it.")
    out.print(f"To use it:\n  export DULY_MASTER_KEY_FILE={file.absolute()}", soft_wrap=True)


@vault.command()
def add(
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

    Prints the commitment that the borrower's key has to register on chain. Only the borrower of a loan can be
    written to: there is no place for anybody else's address.

    \b
    Example:
      echo wang.fang@example.org | duly vault add 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --language zh
    """
    if address is None:
        address = _ask_address()
    chosen = _channel(channel)
    with _open() as opened:
        commitment = opened.add(borrower, chosen, address, language=language)
    if json:
        print_json(
            {
                "borrower": commitment.borrower,
                "channel": channel,
                "language": language,
                "commitment": "0x" + commitment.hash.hex(),
            }
        )
        return
    out = console()
    out.print(
        "Kept. The borrower registers this commitment with their own key, in ConsentRegistry.register "
        f"(channel {int(chosen)}):",
        soft_wrap=True,
    )
    out.print("0x" + commitment.hash.hex())


@vault.command()
def show(
    borrower: Annotated[
        str | None, typer.Argument(metavar="[BORROWER]", help="One borrower; all without.")
    ] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the whole address.")] = False,
    json: Json = False,
) -> None:
    """Show what is kept of a borrower, the address masked; without a borrower, of whom something is kept."""
    from duly.store.vault import UnknownBorrower, masked

    with _open() as opened:
        if borrower is None:
            known = opened.borrowers()
            if json:
                print_json(known)
            else:
                for each in known:
                    channels = ", ".join(_name(channel) for channel in opened.channels_of(each))
                    console().print(f"{each}  {channels}")
                console().print(f"{len(known):,} in all.")
            return
        contacts = [opened.contact(borrower, channel) for channel in opened.channels_of(borrower)]
        rows = [
            {
                "channel": _name(contact.channel),
                "address": contact.address if reveal else masked(contact.channel, contact.address),
                "commitment": "0x" + contact.commitment.hex(),
                "language": contact.language,
            }
            for contact in contacts
            if contact is not None
        ]
    if not rows:
        raise UnknownBorrower(borrower)
    if json:
        print_json(rows)
        return
    for row in rows:
        for name, value in row.items():
            console().print(f"{name:<11} {value}", soft_wrap=True)


@vault.command()
def find(
    channel: ChannelName = "email",
    address: Annotated[
        str | None, typer.Option("--address", help="Better typed when asked, or piped in.")
    ] = None,
    json: Json = False,
) -> None:
    """Find the borrower whose own address this is: somebody wrote from it, to stop all contact for example.

    Exit code 1 where it is nobody's.
    """
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
def erase(borrower: Borrower, yes: Yes = False) -> None:
    """Forget a borrower: address and key are deleted, down to the bytes of the file.

    What the chain keeps cannot be linked to anybody afterwards. Copies of the vault stay readable with the
    master key: `duly vault rotate`, and destroy the old key, to end that too.
    """
    from duly.store.vault import UnknownBorrower

    with _open() as opened:
        if not yes:
            typer.confirm(f"Forget {borrower} for good?", abort=True, err=True)
        if not opened.erase(borrower):
            raise UnknownBorrower(borrower)
    console().print("Forgotten.")


@vault.command()
def rotate(
    file: Annotated[
        Path, typer.Option("--new-key-file", help="File of the new master key; made where there is none.")
    ],
) -> None:
    """Put everything under a new master key. Commitments and content hashes on chain stay as they are."""
    from duly.store.vault import MasterKey

    with _open() as opened:
        if file.exists():
            key = MasterKey.from_file(file)
        else:
            key = MasterKey.generate()
            key.create_file(file)
        count = opened.rotate(key)
    out = console()
    out.print(f"Under the new key: {count:,} in all. From now on:")
    out.print(f"  export DULY_MASTER_KEY_FILE={file.absolute()}", soft_wrap=True)
    out.print("Destroy the old key, with which copies of the vault can still be read.")


def _open() -> "Vault":
    from duly.bootstrap import Application

    return Application.from_environment().vault


def _ask_address() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("The borrower's own address", err=True))
    return sys.stdin.readline()


def _name(channel: Channel) -> str:
    return channel.name.lower().replace("_", "-")


def _channel(name: str) -> Channel:
    if name not in _CHANNELS:
        raise InvalidInput(f"there is no channel {name!r}", wanted=" or ".join(_CHANNELS))
    return _CHANNELS[name]
