"""`duly inbox`: what waits for a borrower in the app."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import Json, console, print_json


def inbox(
    whose: Annotated[
        str,
        typer.Argument(
            metavar="LOAN|ADDRESS",
            help="A loan's id, or enough of its beginning; or the borrower's address on chain.",
            show_default=False,
        ),
    ],
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Show the in-app inbox of a borrower: what the portal shows them, the latest first.

    Whoever looks is told in the vault's log. Erasing the borrower (duly vault erase) erases the inbox.

    \b
    Examples:
      duly inbox 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
      duly inbox 0x3f2a
    """
    from eth_utils.address import is_address

    from duly.bootstrap import Application

    app = Application.from_environment(rpc=rpc)
    try:
        borrower = whose if is_address(whose) else app.read_model.find_loan(whose).terms.borrower
        letters = app.vault.inbox(borrower)
    finally:
        app.close()
    if json:
        print_json(
            [
                {
                    "at": each.at,
                    "subject": each.subject,
                    "body": each.body,
                    "language": each.language,
                    "notices": [
                        {"notice": "0x" + notice.hex(), "salt": "0x" + salt.hex()}
                        for notice, salt in each.proofs
                    ],
                }
                for each in letters
            ]
        )
        return
    out = console()
    if not letters:
        out.print("The inbox is empty.")
    for each in letters:
        out.rule(f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M} UTC", align="left")
        out.print(f"{each.subject}\n\n{each.body}", soft_wrap=True)
