"""`duly deliver`: what the gate let through, to the borrowers."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.interfaces.cli._output import FAILED, Json, console, print_json
from duly.interfaces.cli._stop import stoppable
from duly.interfaces.cli.serve import Rpc, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duly.bootstrap import Application
    from duly.services.deliver import DeliverReport
    from duly.store.notices import Delivery

deliver = typer.Typer(name="deliver")

Notice = Annotated[
    str, typer.Argument(metavar="NOTICE", help="The notice's id, or enough of its beginning to tell it.")
]

_TITLES = {
    "uncertain": "Sent or not: look at the mail server's log, then duly deliver settle",
    "dropped": "Certainly not sent; duly deliver requeue has one checked and tried again",
    "deferred": "Not sent yet; tried again by itself",
    "vanished": "Sent, though the event is not on the chain any more: they still count",
}


@deliver.callback(invoke_without_command=True)
def now(context: typer.Context, rpc: Rpc = None, json: Json = False) -> None:
    """Deliver the notices that the gate let through, each once, to the borrower's own address.

    Reads the chain first. A notice is dropped, with the reason, when it does not stand any more, when its
    window is over, or when words or address are not the ones on chain. A notice of which it is not certain
    whether it was sent is never sent again: somebody has to look (duly deliver list), and tell (duly deliver
    settle). The service, duly run, delivers by itself.

    Exit code 1 where mail could not be sent, or where a notice is uncertain.

    \b
    Examples:
      duly deliver
      duly deliver list
      duly deliver settle 0x4f…a1 --not-sent
      duly deliver requeue 0x77…0c
    """
    if context.invoked_subcommand is not None:
        return
    from duly.bootstrap import Application
    from duly.services import run

    app = Application.from_environment(rpc=rpc)
    try:
        run.check(app, [run.Role.DELIVER])
        _read(app)
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


@deliver.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="So many of a kind at most, the latest ones.")] = 100,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """List the notices that need a person, or may: uncertain, dropped, deferred, vanished.

    Reads the chain first, unless a service does so.

    Exit code 1 where a notice is uncertain.

    \b
    Example:
      duly deliver list
    """
    from duly.bootstrap import Application
    from duly.store.notices import State

    app = Application.from_environment(rpc=rpc)
    try:
        _read(app)
        store = app.notice_store
        found = {
            "uncertain": store.uncertain(),
            "dropped": store.deliveries(states=[State.DROPPED], limit=limit),
            "deferred": store.deliveries(states=[State.DEFERRED], limit=limit),
            "vanished": store.vanished()[-limit:],
        }
    finally:
        app.close()
    if json:
        print_json({name: [_as_json(each) for each in rows] for name, rows in found.items()})
    else:
        for name, rows in found.items():
            _show(name, rows)
    if found["uncertain"]:
        raise typer.Exit(FAILED)


@deliver.command()
def settle(
    notice: Notice,
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="Whether it was sent.")],
    rpc: Rpc = None,
) -> None:
    """Record what you found out about an uncertain notice. It is not sent again either way.

    \b
    Example:
      duly deliver settle 0x4f…a1 --not-sent
    """
    import time

    from duly.bootstrap import Application

    app = Application.from_environment(rpc=rpc)
    try:
        store = app.notice_store
        found = _one(store.uncertain(), notice, "uncertain")
        count = store.resolve(found, sent=sent, now=int(time.time()))
    finally:
        app.close()
    console().print(
        f"0x{found.hex()}: recorded as {'sent' if sent else 'not sent'}{_others(count)}.", soft_wrap=True
    )


@deliver.command()
def requeue(notice: Notice, rpc: Rpc = None) -> None:
    """Have a notice that was dropped tried again: all gates are asked anew, as for any other.

    Only what was certainly not sent. A notice whose window is over, or that does not stand any more, will be
    dropped again. The service takes it up within seconds; without one, duly deliver does.

    \b
    Example:
      duly deliver requeue 0x77…0c
    """
    from duly.bootstrap import Application
    from duly.store.notices import State

    app = Application.from_environment(rpc=rpc)
    try:
        store = app.notice_store
        found = _one(store.deliveries(states=list(State)), notice, "such")
        count = len(store.requeue(found, app.clock.now()))
    finally:
        app.close()
    console().print(f"0x{found.hex()}: will be tried again{_others(count)}.", soft_wrap=True)


def _read(app: "Application") -> None:
    """Read the chain, unless a service on this database does so."""
    if app.leases.holder_of("index") is None:
        app.indexer.run()


def _one(deliveries: "Sequence[Delivery]", notice: str, what: str) -> bytes:
    from duly.store.notices import NoSuchDelivery

    found = [
        each.notice.id
        for each in deliveries
        if each.notice.id.hex().startswith(notice.lower().removeprefix("0x"))
    ]
    if len(found) != 1:
        raise NoSuchDelivery(
            f"{'no' if not found else len(found)} {what} notice{'s' * (len(found) != 1)} begin"
            f"{'s' * (len(found) == 1)} with {notice}",
            remedy="duly deliver list shows them.",
        )
    return found[0]


def _others(count: int) -> str:
    return f", with {count - 1} more in the same message" if count > 1 else ""


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


def _show(name: str, rows: "Sequence[Delivery]") -> None:
    from rich.table import Table

    out = console()
    if not rows:
        out.print(f"No notice is {name}.")
        return
    table = Table(title=_TITLES[name], title_justify="left")
    for heading in ("notice", "loan", "kind", "served", "state", "why"):
        table.add_column(heading, overflow="fold")
    for each in rows:
        notice = each.notice
        kind = notice.kind.name.lower().replace("_", " ")
        cells = "0x" + notice.id.hex(), notice.loan.hex()[:8], kind, _utc(notice.served_at)
        table.add_row(*cells, each.state, each.reason or ("" if name == "vanished" else "the worker died"))
    out.print(table)


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
