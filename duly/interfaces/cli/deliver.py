"""`duly deliver`: what the gate let through, to the borrowers."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.errors import InvalidInput
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import FAILED, Json, console, print_json
from duly.interfaces.cli._stop import stoppable
from duly.interfaces.cli.serve import counted

if TYPE_CHECKING:
    from duly.services.deliver import DeliverReport
    from duly.store.notices import Delivery, NoticeStore


def deliver(
    uncertain: Annotated[
        bool,
        typer.Option(
            "--uncertain",
            help="Send nothing; list the notices that may have been sent or not, and those that were sent "
            "though their event is not on the chain any more.",
        ),
    ] = False,
    resolve: Annotated[
        str | None,
        typer.Option(metavar="NOTICE", help="Record what you found out about an uncertain notice."),
    ] = None,
    sent: Annotated[
        bool | None, typer.Option("--sent/--not-sent", help="With --resolve: whether it was sent.")
    ] = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Deliver the notices that the gate let through, each once, to the borrower's own address.

    Reads the chain first. A notice is dropped, with the reason, when it does not stand any more, when its
    window is over, or when words or address are not the ones on chain. A notice of which it is not certain
    whether it was sent is never sent again: somebody has to look (--uncertain), and tell (--resolve).

    Exit code 1 where mail could not be sent, or where a notice is uncertain.

    \b
    Examples:
      duly deliver
      duly deliver --uncertain
      duly deliver --resolve 0x4f…a1 --not-sent
    """
    if (resolve is None) != (sent is None):
        raise InvalidInput("--resolve and --sent or --not-sent belong together")

    from duly.bootstrap import Application
    from duly.services import run

    app = Application.from_environment(rpc=rpc)
    try:
        if resolve is not None and sent is not None:
            _resolve(app.notice_store, resolve, sent)
        elif uncertain:
            app.indexer.run()
            _list(app.notice_store, json)
        else:
            run.check(app)
            app.indexer.run()
            with stoppable() as stop:
                report = app.deliverer.deliver(stop.is_set)
            if json:
                print_json(report.as_json())
            else:
                console().print(in_words(report) + ".", soft_wrap=True)
            if report.problem:
                raise report.problem
            if report.uncertain:
                raise typer.Exit(FAILED)
    finally:
        app.close()


def in_words(report: "DeliverReport") -> str:
    """What was delivered, in a line."""
    sent = f"{report.sent:,} sent"
    if report.messages != report.sent:
        sent += f" in {report.messages:,} message{'s' * (report.messages != 1)}"
    parts = [sent, *counted("dropped", report.dropped)]
    for count, what in (
        (report.deferred, "to be tried again"),
        (report.uncertain, "uncertain"),
        (report.left, "left"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    return ", ".join(parts)


def _resolve(store: "NoticeStore", notice: str, sent: bool) -> None:
    import time

    from duly.store.notices import NoSuchDelivery

    found = [each for each in store.uncertain() if each.notice.id.hex().startswith(notice.removeprefix("0x"))]
    if len(found) != 1:
        raise NoSuchDelivery(
            f"{'no' if not found else len(found)} uncertain notices begin with {notice}",
            remedy="duly deliver --uncertain lists them.",
        )
    count = store.resolve(found[0].notice.id, sent=sent, now=int(time.time()))
    told = "sent" if sent else "not sent"
    others = f", with {count - 1} more in the same message" if count > 1 else ""
    console().print(f"0x{found[0].notice.id.hex()}: recorded as {told}{others}.", soft_wrap=True)


def _list(store: "NoticeStore", json: bool) -> None:
    from rich.table import Table

    found = {"uncertain": store.uncertain(), "vanished": store.vanished()}
    if json:
        print_json({name: [_as_json(each) for each in rows] for name, rows in found.items()})
    else:
        out = console()
        for name, title in (
            ("uncertain", "Sent or not: look at the mail server's log, then duly deliver --resolve"),
            ("vanished", "Sent, though the event is not on the chain any more: they still count"),
        ):
            if not found[name]:
                out.print(f"No notice is {name}.")
                continue
            table = Table(title=title, title_justify="left")
            for heading in ("notice", "loan", "kind", "served", "state", "why"):
                table.add_column(heading, overflow="fold")
            for each in found[name]:
                notice = each.notice
                kind = notice.kind.name.lower().replace("_", " ")
                cells = "0x" + notice.id.hex(), notice.loan.hex()[:8], kind, _utc(notice.served_at)
                table.add_row(*cells, each.state, each.reason or "the worker died")
            out.print(table)
    if found["uncertain"]:
        raise typer.Exit(FAILED)


def _as_json(delivery: "Delivery") -> dict[str, object]:
    notice = delivery.notice
    return {
        "notice": "0x" + notice.id.hex(),
        "loan": "0x" + notice.loan.hex(),
        "kind": notice.kind.name.lower(),
        "channel": notice.channel.name.lower(),
        "served_at": notice.served_at,
        "state": str(delivery.state),
        "reason": delivery.reason,
        "attempts": delivery.attempts,
        "at": delivery.at,
    }


def _utc(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
