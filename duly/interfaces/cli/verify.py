"""`duly verify`: is this message genuine?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.services.genuine import Answer, SaltOf

Rpc = Annotated[str | None, typer.Option("--rpc", help="Address of the chain's node; by default DULY_RPC.")]

_STYLES = {"genuine": "bold green", "altered": "bold red", "unknown": "bold yellow"}


def verify(
    message: Annotated[
        str,
        typer.Argument(
            metavar="MESSAGE",
            help="The mail as a mail program saves it (.eml), a file with its text, - for standard input, or "
            "the notice's code, 0x and 64 digits.",
        ),
    ],
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Tell whether a notice that was received is genuine, altered or unknown, from the chain alone.

    genuine: the gate let a notice with this code through, and the message has its very words. altered: the
    code is on chain, the words (or their salt) are others. unknown: no such notice stands on this chain.

    The words can be checked with the salt that the whole mail carries. A text that was copied out of one has
    none: the vault's is taken where the vault is set up here, else only the code is checked, and said so. For
    a text, the first line is the subject. Nothing is told that the notice does not say itself.

    Exit code 0 for genuine, 1 for anything else.

    \b
    Example:
      duly verify message.eml
      pbpaste | duly verify -
      duly verify 0x5f2c…
    """
    from duly.bootstrap import Application
    from duly.channels.received import parse_code, read
    from duly.services import genuine

    asked = parse_code(message)
    app = Application.from_environment(rpc=rpc)
    answer = genuine.check(
        asked if asked is not None else read(_content(message)),
        app.w3,
        app.deployment,
        finality=app.finality,
        salt_of=_salt_of(app),
    )
    if json:
        print_json(answer.as_json())
    else:
        show(answer, app)
    if answer.verdict is not genuine.Verdict.GENUINE:
        raise typer.Exit(FAILED)


def _content(name: str) -> bytes:
    """What a file, or standard input, holds.

    Raises: NotAMessage.
    """
    from duly.channels.received import MOST_BYTES, NotAMessage

    wanted = "a file, - for standard input, or a notice's code (0x and 64 hexadecimal digits)"
    if name == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file has such a name"
        raise NotAMessage(f"{name!r} cannot be read: {reason}", wanted=wanted) from None


def _salt_of(app: "Application") -> "SaltOf":
    """The vault's salts, where there is a key to open it with."""
    settings = app.settings
    if not (settings.master_key or settings.master_key_file or settings.master_key_keyring):
        return lambda notice: None
    from duly.services.serve import salt_purpose
    from duly.store.vault import UnknownBorrower

    def salt_of(notice: object) -> bytes | None:
        try:
            return app.vault.salt_for(notice.borrower, salt_purpose(notice.id))  # type: ignore[attr-defined]
        except UnknownBorrower:
            return None

    return salt_of


def show(answer: "Answer", app: "Application") -> None:
    """What people read."""
    from datetime import UTC, datetime

    from duly.chain import networks
    from duly.domain.amounts import in_currency
    from duly.services.genuine import SHORT

    out = console()
    out.print(answer.verdict.value.upper(), style=_STYLES[answer.verdict.value])
    out.print(answer.why)
    currency = app.deployment.currency
    for each in answer.served:
        notice = each.notice
        amount = f"{in_currency(notice.amount, currency.decimals)} {currency.symbol}" if notice.amount else ""
        out.print("what the chain says of it")
        for name, value in (
            ("loan", notice.loan.hex()[:SHORT]),
            ("kind", notice.kind.name.lower().replace("_", " ")),
            ("instalment", str(notice.instalment or "")),
            ("amount", amount),
            ("served at", f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M:%S} UTC"),
            ("by", notice.channel.label),
            ("block", f"{each.block:,}" + ("" if each.final else ", not final yet")),
        ):
            if value:
                out.print(f"  {name:<13}{value}")
    out.print(
        f"Looked up on {networks.chain_name(answer.chain_id)}, notice registry {answer.registry}.",
        soft_wrap=True,
    )
