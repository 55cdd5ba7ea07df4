"""`duly plan`: what is due to be said, why now or why not, and when; of one loan every rule."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from duly.domain.amounts import in_currency
from duly.domain.errors import InvalidInput
from duly.interfaces.cli._chain import Rpc
from duly.interfaces.cli._output import Json, console, print_json

if TYPE_CHECKING:
    from duly.bootstrap import Application
    from duly.domain.preferences import Preferences
    from duly.services.explain import Explained, Explanation
    from duly.services.plan import Planned, Together

_SHOWN = 50


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
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="LOAN",
            help="Tell of one loan, by kind of notice, each rule and what it met.",
        ),
    ] = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Show what is due to be said to borrowers: what may be said now, what has to wait, why, and until when.

    Nothing is sent. The plan is made of what was last indexed (`duly index`), for the loans that the server
    may serve. In JSON amounts are integers in the smallest unit and times are UTC seconds.

    With --explain, for one loan: of each kind of notice why now, why not and when next, with the borrower's
    wishes, days of rest by their names, caps per person, consent and grievances.

    \b
    Examples:
      duly plan --at 2027-01-29T09:00+08:00
      duly plan --explain 0x3f2a
    """
    now = None if at is None else parse_moment(at)
    who = None if server is None else parse_address(server)

    from duly.bootstrap import Application
    from duly.domain import calendar
    from duly.services import plan as service
    from duly.services.run import reach_of

    app = Application.from_environment(rpc=rpc)
    now = app.clock.now() if now is None else now
    who = app.account.address.lower() if who is None else who
    if explain is not None:
        explained = _explained(app, explain, who, now)
        if json:
            print_json(explanation_json(explained))
        else:
            show_explanation(explained)
        return
    persons, wishes, together = _known_of_borrowers(app)
    candidates = app.read_model.candidates(calendar.local_day(now, calendar.EASTERNMOST))
    known = service.known_reminders(persons, app.read_model.reminders)
    found = service.plan(
        candidates,
        who,
        now,
        persons,
        known,
        preferences=wishes,
        together=together,
        reach=reach_of(app),
    )
    planned = sorted(found, key=_order)
    if json:
        print_json(as_json(planned, who, now))
    else:
        currency = app.deployment.currency
        show(planned, now, currency.symbol, currency.decimals)


def _known_of_borrowers(
    app: "Application",
) -> "tuple[dict[str, bytes], dict[str, Preferences], Together | None]":
    """Whose addresses are one person's, who wishes what, and which loans one message can tell of; without the
    vault's key nothing is known.
    """
    from duly.services import run
    from duly.store.vault import NoMasterKey

    try:
        return app.vault.persons(), app.vault.preferences(), run.companions_of(app)
    except NoMasterKey:
        typer.echo(
            "The contact vault is not open: caps are counted per address, not per person, and nobody's "
            "wishes are known.",
            err=True,
        )
        return {}, {}, None


def _explained(app: "Application", loan: str, server: str, now: int) -> "Explanation":
    from duly.domain import calendar
    from duly.services import plan as service
    from duly.services.explain import explain
    from duly.services.run import reach_of

    model = app.read_model
    candidate = model.candidate(model.find_loan(loan).id)
    assert candidate is not None  # the loan was found
    persons, wishes, together = _known_of_borrowers(app)
    known = service.known_reminders(persons, model.reminders)
    others = model.candidates(calendar.local_day(now, calendar.EASTERNMOST))
    return explain(candidate, others, server, now, persons, known, wishes, together, reach_of(app))


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
                "reason": each.decision.reason.name.lower() if each.decision.reason else each.wait.value,
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
    from duly.services.when import Wait

    decision = planned.decision
    if decision.reason is Refusal.TOO_EARLY or planned.wait is Wait.ANOTHER_DAY:
        # The day that it will be, which the gate may allow earlier.
        moment, offset = planned.not_before, planned.position.calendar_offset
        day = decision.required if moment is None else calendar.local_day(moment, offset)
        return f"not before {calendar.iso(day)}"
    if decision.reason is Refusal.NONE:
        return {Wait.DAY_OF_REST: "a day of rest", Wait.ANOTHER_HOUR: "another hour is wished for"}.get(
            planned.wait, ""
        )
    words = {
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


_STYLES = {"now": "green", "later": "yellow", "never": "red", "nothing": "dim"}


def show_explanation(told: "Explanation") -> None:
    """What people read of one loan: what becomes of each kind, and the rules of those that may be said."""
    from rich.box import SIMPLE
    from rich.table import Table

    out = console()
    out.print(f"Loan 0x{told.loan.id.hex()}, as of {_utc(told.now)} UTC", style="bold", soft_wrap=True)
    for name, words in told.circumstances.items():
        out.print(f"{name:<18} {words}", soft_wrap=True)
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("what", no_wrap=True)
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("why")
    for each in sorted(told.kinds, key=_by_verdict):
        local = f"; for the borrower {each.local}" if each.local else ""
        table.add_row(_kind(each), _when(each), each.why + local, style=_STYLES[each.verdict])
        for rule in each.rules:
            mark = "✓" if rule.holds else "✗"
            words = f"{rule.was} ({rule.wanted})" if rule.holds else f"{rule.was}; wanted: {rule.wanted}"
            table.add_row("", "", f"{mark} {rule.name}: {words}", style=None if rule.holds else "red")
    out.print(table)


def explanation_json(told: "Explanation") -> dict[str, object]:
    """What programs read of one loan."""
    return {
        "loan": "0x" + told.loan.id.hex(),
        "borrower": told.loan.terms.borrower,
        "server": told.server,
        "at": told.now,
        "circumstances": dict(told.circumstances),
        "kinds": [
            {
                "kind": each.kind.name.lower(),
                "verdict": each.verdict.value,
                "why": each.why,
                "moment": each.moment,
                "local": each.local or None,
                "rules": [
                    {"rule": rule.name, "holds": rule.holds, "was": rule.was, "wanted": rule.wanted}
                    for rule in each.rules
                ],
            }
            for each in told.kinds
        ],
    }


def _by_verdict(each: "Explained") -> tuple[int, int]:
    return list(_STYLES).index(each.verdict), each.moment or 0


def _kind(each: "Explained") -> str:
    return each.kind.name.lower().removeprefix("instalment_").replace("_", " ")


def _when(each: "Explained") -> str:
    return _utc(each.moment) if each.verdict == "later" and each.moment is not None else each.verdict.value


def _utc(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"
