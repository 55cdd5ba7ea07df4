"""`duly webhook`: what another program is told."""

from typing import TYPE_CHECKING

import typer

from duly.domain.errors import InvalidInput
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import Json, console, print_json

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.services.webhook import Teller

webhook = typer.Typer(
    name="webhook",
    help="Tell another program, such as a servicer's books, what happens to loans.",
    no_args_is_help=True,
)


class NoWebhook(InvalidInput):
    """No receiver is set."""


@webhook.callback()
def _webhook() -> None:
    """Tell another program, such as a servicer's books, what happens to loans.

    `duly run` sends every event about a loan to DULY_WEBHOOK_URL, signed with DULY_WEBHOOK_SECRET.
    docs/api.md tells what a request looks like, and what the receiver has to do.
    """


@webhook.command("secret")
def secret() -> None:
    """Make a secret for DULY_WEBHOOK_SECRET, which the receiver needs too.

    \b
    Example:
      duly webhook secret > /etc/duly/secrets/webhook
    """
    from duly.services.webhook import new_secret

    typer.echo(new_secret())


@webhook.command("status")
def status(rpc: Rpc = None, json: Json = False) -> None:
    """Tell how far the receiver was told, and how much it was not told yet.

    \b
    Example:
      duly webhook status
    """
    app, teller = _opened(rpc)
    try:
        standing, head = teller.standing(), app.read_model.cursor().block.number
    finally:
        app.close()
    if json:
        print_json({"told": standing.told.block, "indexed": head, "waiting": standing.waiting})
        return
    last = f"up to block {standing.told.block:,}" if standing.told.block >= 0 else "nothing yet"
    console().print(
        f"Told: {last}; the chain was read up to {head:,}.\nWaiting: {standing.waiting:,} events."
    )


@webhook.command("send")
def send(rpc: Rpc = None, json: Json = False) -> None:
    """Send what waits now, without `duly run`, which does it by itself.

    Exit code 1 where the receiver does not take it.

    \b
    Example:
      duly webhook send
    """
    app, teller = _opened(rpc)
    try:
        sent = teller.send()
    finally:
        app.close()
    if json:
        print_json({"sent": sent})
    else:
        console().print(f"{sent:,} events were taken." if sent else "Nothing waits.")


def _opened(rpc: str | None) -> "tuple[Application, Teller]":
    from duly.bootstrap import Application

    app = Application.from_environment(rpc=rpc)
    if app.teller is None:
        app.close()
        raise NoWebhook(
            "no receiver is set",
            wanted="DULY_WEBHOOK_URL and DULY_WEBHOOK_SECRET",
            remedy="`duly webhook secret` makes a secret.",
        )
    return app, app.teller
