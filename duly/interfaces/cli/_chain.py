"""How a command is told which chain it is about."""

from typing import Annotated

import typer

Rpc = Annotated[
    str | None,
    typer.Option(
        "--rpc",
        "--network",
        metavar="NODE",
        help="The chain's node: its address, or a name of network-config.yaml; by default DULY_RPC.",
    ),
]
