"""`duly web`: the portal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.errors import InvalidInput
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli.run import endpoint_of

if TYPE_CHECKING:
    from duly.bootstrap import Application


class InvalidKeys(InvalidInput):
    """The file of demo keys cannot be understood."""


def web(
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Answer there; by default DULY_WEB_LISTEN, else 127.0.0.1:8080.",
        ),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="On a local chain: let visitors be whom they like, with known keys."),
    ] = False,
    demo_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="More keys for --demo: a JSON object of names and private keys.",
        ),
    ] = None,
    rpc: Rpc = None,
) -> None:
    """Run the portal, where borrowers see, pay and decide, and anyone checks a notice.

    It shows what `duly run` reads from the chain into the database; let that run beside it. Borrowers sign in
    with their own wallets (EIP-4361), and send their own transactions: the portal has no key.

    Browsers have to reach it over https under DULY_WEB_ORIGIN, by a proxy in front of it that is named in
    DULY_WEB_PROXIES; only on this machine itself http will do. Who asks for what is not written down.

    \b
    Examples:
      duly web
      DULY_WEB_ORIGIN=https://loans.example.org DULY_WEB_PROXIES=10.0.0.2 duly web --listen 0.0.0.0:8080
      duly web --demo
    """
    from duly.bootstrap import Application
    from duly.interfaces.web.server import serve

    if demo_keys is not None and not demo:
        raise InvalidInput("--demo-keys goes with --demo")
    app = Application.from_environment(rpc=rpc)
    try:
        keys = _keys(app, demo_keys) if demo else None
        serve(app, endpoint_of(listen) or app.settings.web.listen, keys, _tell)
    finally:
        app.close()


def _tell(address: str) -> None:
    typer.echo(f"The portal is at {address} (Ctrl-C ends it).")


def _keys(app: "Application", file: Path | None) -> dict[str, str]:
    """The chain's own accounts, and those of a file. Raises: KeyRefused, InvalidKeys."""
    import json

    from duly.chain import networks
    from duly.interfaces.web.pages.demo import check_local

    check_local(app.chain_id)
    found = {}
    if file is not None:
        try:
            found = {str(name): str(key) for name, key in json.loads(file.read_text("utf-8")).items()}
            for key in found.values():
                if len(bytes.fromhex(key.removeprefix("0x"))) != 32:
                    raise ValueError
        except (OSError, ValueError, AttributeError):
            raise InvalidKeys(
                f"{file} cannot be understood", wanted='a JSON object such as {"Ana": "0x…"}'
            ) from None
    for number in range(10):
        key = "0x" + bytes(networks.development_account(app.w3, number).key).hex()
        if key not in found.values():
            found.setdefault(f"Account {number}", key)
    return found
