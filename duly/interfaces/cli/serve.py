"""`duly serve`: what is due to be said, to the gate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import Json, console, print_json

if TYPE_CHECKING:
    from duly.services.serve import ServeReport


def serve(rpc: Rpc = None, json: Json = False) -> None:
    """Serve the notices that may be served now: ask the gate on chain to let them through.

    Reads the chain first. The words are kept; `duly deliver` sends them. `duly plan` shows beforehand what
    would be served. A notice whose borrower has no address in the vault, or another one than was registered,
    is skipped. Costs gas.

    \b
    Example:
      duly serve --rpc http://127.0.0.1:8545
    """
    from duly.bootstrap import Application
    from duly.services import run

    app = Application.from_environment(rpc=rpc)
    try:
        app.indexer.run()
        report = run.serve(app, app.clock.now())
        app.indexer.run()
    finally:
        app.close()
    if json:
        print_json(report.as_json())
    else:
        console().print(in_words(report), soft_wrap=True)


def in_words(report: "ServeReport") -> str:
    """What was served, in a line."""
    parts = [f"{len(report.served):,} served"]
    refused = {reason.name.lower(): count for reason, count in report.refused.items()}
    parts += counted("refused", refused) + counted("skipped", report.skipped)
    return ", ".join(parts) + "."


def counted(what: str, reasons: Mapping[str, int]) -> list[str]:
    """Such as: 3 refused (2 too soon, 1 no consent); nothing where there are none."""
    total = sum(reasons.values())
    if not total:
        return []
    listed = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in sorted(reasons.items()))
    return [f"{total:,} {what} ({listed})"]
