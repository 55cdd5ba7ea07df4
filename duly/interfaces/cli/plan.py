"""`duly plan`: what is due to be said, why now or why not, and when."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.amounts import in_currency
from duly.domain.errors import InvalidInput
from duly.interfaces.cli._output import Json, console, print_json

if TYPE_CHECKING:
    from duly.services.plan import Planned

_SHOWN = 50

Rpc = Annotated[str | None, typer.Option("--rpc", help="Address of the chain's node; by default DULY_RPC.")]


def plan(
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Moment to plan for, such as 2027-01-29T09:00+08:00; UTC without an offset. By default now.",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Who serves the notices; by default the key's address."),
    ] = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Show what is due to be said to borrowers: what may be said now, what has to wait, why, and until when.

    Nothing is sent. The plan is made of what was last indexed (`duly index`), for the loans that the server
    may serve. In JSON amounts are integers in the smallest unit and times are UTC seconds.

    \b
    Example:
      duly plan --at 2027-01-29T09:00+08:00
    """
    now = None if at is None else parse_moment(at)
    who = None if server is None else parse_address(server)

    from duly.bootstrap import Application
    from duly.domain import calendar
    from duly.services import plan as service
    from duly.services import run
    from duly.store.vault import NoMasterKey

    app = Application.from_environment(rpc=rpc)
    now = app.clock.now() if now is None else now
    who = app.account.address.lower() if who is None else who
    try:
        persons, together = app.vault.persons(), run.companions_of(app)
    except NoMasterKey:
        typer.echo("The contact vault is not open: caps are counted per address, not per person.", err=True)
        persons, together = {}, None
    candidates = app.read_model.candidates(calendar.local_day(now, calendar.EASTERNMOST))
    known = service.known_reminders(persons, app.read_model.reminders)
    planned = sorted(service.plan(candidates, who, now, persons, known, together=together), key=_order)
    if json:
        print_json(as_json(planned, who, now))
    else:
        currency = app.deployment.currency
        show(planned, now, currency.symbol, currency.decimals)


def parse_moment(text: str) -> int:
    """UTC seconds of an ISO 8601 moment.

    Raises: InvalidInput.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a moment", wanted="such as 2027-01-29T09:00+08:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def parse_address(text: str) -> str:
    """An address in lower case.

    Raises: InvalidInput.
    """
    from eth_utils.address import is_address

    if not is_address(text):
        raise InvalidInput(f"{text!r} is not an address", wanted="0x and 40 hexadecimal digits")
    return text.lower()


def _order(planned: "Planned") -> tuple[bool, bool, int, bytes, int]:
    moment = planned.not_before
    return (not planned.ready, moment is None, moment or 0, planned.loan.id, planned.kind)


def as_json(planned: "list[Planned]", server: str, now: int) -> dict[str, object]:
    """What programs read."""
    return {
        "server": server,
        "at": now,
        "ready": sum(each.ready for each in planned),
        "waiting": sum(not each.ready for each in planned),
        "notices": [
            {
                "notice": "0x" + each.id.hex(),
                "loan": "0x" + each.loan.id.hex(),
                "borrower": each.borrower,
                "policy": each.policy,
                "kind": each.kind.name.lower(),
                "instalment": each.instalment,
                "amount": each.amount,
                "channel": each.channel.name.lower(),
                "ready": each.ready,
                "reason": each.decision.reason.name.lower(),
                "actual": each.decision.actual,
                "required": each.decision.required,
                "not_before": each.not_before,
                "message": "0x" + each.message.hex() if each.message else None,
            }
            for each in planned
        ],
    }


def show(planned: "list[Planned]", now: int, symbol: str, decimals: int) -> None:
    """What people read."""
    from rich.box import SIMPLE
    from rich.table import Table

    out = console()
    table = Table(
        title=f"To be said, as of {_utc(now)} UTC; amounts in {symbol}",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("loan", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("why not now")
    for each in planned[:_SHOWN]:
        table.add_row(
            "now" if each.ready else "never" if each.not_before is None else _utc(each.not_before),
            each.loan.id.hex()[:8],
            each.kind.name.lower().removeprefix("instalment_").replace("_", " ")
            + f" {each.instalment or ''}",
            in_currency(each.amount, decimals),
            reason(each),
            style="green" if each.ready else None,
        )
    if planned:
        out.print(table)
    if len(planned) > _SHOWN:
        out.print(f"… and {len(planned) - _SHOWN:,} more (--json lists all)")
    ready = sum(each.ready for each in planned)
    out.print(f"{ready:,} may be said now, {len(planned) - ready:,} not now.")


def reason(planned: "Planned") -> str:
    """Why a notice has to wait, in a few words."""
    from duly.domain import calendar
    from duly.domain.notice import Refusal

    decision = planned.decision
    if decision.reason is Refusal.TOO_EARLY:
        return f"not before {calendar.iso(decision.required)}"
    words = {
        Refusal.NONE: "",
        Refusal.NO_CONTACT: "no contact registered",
        Refusal.CEASED: "contact was stopped",
        Refusal.NO_CONSENT: "no consent",
        Refusal.NOT_TOLD_OF_ASSIGNMENT: "not told of the new lender yet",
        Refusal.RESTING: "reminders rest for a grievance",
        Refusal.OUTSIDE_HOURS: "outside contact hours",
        Refusal.TOO_SOON: "too soon after another",
        Refusal.DAY_CAP: "enough in 24 hours",
        Refusal.WEEK_CAP: "enough in 7 days",
        Refusal.SERVICE_CAP: "enough in 24 hours",
    }
    return words.get(decision.reason, decision.reason.name.lower().replace("_", " "))


def _utc(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"
