"""`duly loans`, `duly loan` and `duly notices`: what was indexed, to look at."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from duly.domain import calendar, schedule
from duly.domain.amounts import in_currency, in_percent
from duly.domain.grievance import FOREVER, rests_until
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.terms import Terms
from duly.interfaces.cli._output import Json, console, print_json
from duly.interfaces.cli._terms import FrequencyName, ScheduleName

if TYPE_CHECKING:
    from rich.table import Table

    from duly.chain.deployments import Currency
    from duly.domain.consent import Profile
    from duly.domain.events import Event, Logged
    from duly.store.readmodel import RefusedNotice, ServedNotice

_SHOWN = 50
_QUARTER_HOURS = 15


class Which(StrEnum):
    """Which loans to list."""

    ALL = "all"
    ACTIVE = "active"
    OVERDUE = "overdue"
    DEFAULTED = "defaulted"
    REPAID = "repaid"
    RESCINDED = "rescinded"
    REPLACED = "replaced"

    @property
    def statuses(self) -> tuple[Status, ...] | None:
        """What the loans' statuses may be; None where any."""
        if self is Which.ALL:
            return None
        owed = (Status.ACTIVE, Status.DEFAULTED)
        return owed if self in (Which.ACTIVE, Which.OVERDUE) else (Status[self.name],)


def loans(
    status: Annotated[Which, typer.Option(help="Which loans to list.", case_sensitive=False)] = Which.ALL,
    json: Json = False,
) -> None:
    """List the loans, and where they stand.

    As indexed, newest first. On a local chain, now is the time of the last indexed block. Active ones are all
    on which something is owed. In JSON amounts are integers in the smallest unit, days are dates in the
    loan's calendar, and times UTC seconds.

    \b
    Example:
      duly loans --status overdue
    """
    view = _View()
    found = [(loan, view.position(loan)) for loan in view.model.loans(statuses=status.statuses)]
    if status is Which.OVERDUE:
        found = [(loan, position) for loan, position in found if position.overdue or position.fees]
    if json:
        print_json(
            {
                **view.as_json(),
                "loans": [_loan_json(loan, position) for loan, position in found],
            }
        )
        return
    out = console()
    if not found:
        out.print("No loans." if status is Which.ALL else f"No loans that are {status}.")
        return
    table = table_of("=loan", "+lent", "+paid", "+overdue", "+owed", "=next due", "=status")
    for loan, position in found[:_SHOWN]:
        state, style = _state(position)
        table.add_row(
            _short(loan.id),
            view.money(loan.terms.principal),
            view.money(loan.paid),
            view.money(position.overdue) if position.overdue else "",
            view.money(owed) if (owed := view.owed(loan)) else "",
            _next_due(position),
            state,
            style=style,
        )
    out.print(table)
    if len(found) > _SHOWN:
        out.print(f"… and {len(found) - _SHOWN:,} more (--json lists all)")
    out.print(f"{_count(len(found), 'loan')}, amounts in {view.currency.symbol}, {view.as_of}.")


def loan(
    loan_id: Annotated[
        str,
        typer.Argument(metavar="LOAN", help="The loan's id, or enough of its beginning.", show_default=False),
    ],
    json: Json = False,
) -> None:
    """Show one loan: terms, schedule, history, notices.

    What was agreed, when what is due, what was paid and missed, and what the borrower was told.

    \b
    Example:
      duly loan 0x3f2a
    """
    view = _View()
    found = view.model.find_loan(loan_id)
    position = view.position(found)
    successor = view.model.successor(found.id)
    history = [
        item
        for item in view.model.history(found.id)
        if item.event.contract in ("LoanLedger", "GrievanceDesk")
    ]
    notices = view.model.notices(loan=found.id)
    deliveries = view.deliveries(notices)
    if json:
        print_json(
            {
                **view.as_json(),
                **_loan_json(found, position),
                "replaced_by": _hex(successor) if successor else None,
                "payoff": schedule.payoff(found, view.now),
                "rows": [
                    {
                        "k": row.k,
                        "due": calendar.iso(row.due_day),
                        "due_at": row.due_at,
                        "amount": row.amount,
                        "principal": row.principal,
                        "interest": row.interest,
                        "balance": row.balance,
                    }
                    for row in schedule.schedule_of(found.terms)
                ],
                "history": [
                    {
                        "event": item.event.name,
                        "timestamp": item.timestamp,
                        "block": item.block_number,
                        "transaction": "0x" + item.transaction_hash.hex(),
                        **event_json(item.event),
                    }
                    for item in history
                ],
                "notices": [_notice_json(notice, deliveries) for notice in notices],
            }
        )
        return
    _show_terms(view, found, position, successor)
    _show_schedule(view, found, position)
    _show_history(view, found, history)
    _show_notices(view, notices, deliveries, of_one_loan=True)


def notices(
    refused: Annotated[
        bool, typer.Option("--refused", help="List what the gate refused instead, with the reasons.")
    ] = False,
    json: Json = False,
) -> None:
    """List the notices that were served, and refused.

    Those that the gate let through, newest first, and what became of them; pending until delivered. Times are
    the borrower's own, as registered.

    \b
    Example:
      duly notices --refused
    """
    view = _View()
    if refused:
        _refusals(view, json)
        return
    found = view.model.notices(newest_first=True)
    deliveries = view.deliveries(found if json else found[:_SHOWN])
    if json:
        print_json({**view.as_json(), "notices": [_notice_json(notice, deliveries) for notice in found]})
        return
    _show_notices(view, found, deliveries)


# ---------------------------------------------------------------------------------------- what is asked


class _View:
    """What was indexed, and the moment and currency to show it in. No node is asked."""

    def __init__(self) -> None:
        from duly.bootstrap import Application
        from duly.chain import deployments, networks

        app = Application.from_environment()
        self.model = app.read_model
        cursor = self.model.cursor()
        chain = cursor.identity.chain_id
        self.block = cursor.block
        self.now = cursor.block.timestamp if networks.is_local(chain) else int(time.time())
        self.currency: Currency = deployments.load(app.settings.deployments, chain).currency
        self._profiles: dict[str, Profile] = {}

    @property
    def as_of(self) -> str:
        return f"as of block {self.block.number}, {at_clock(self.now)}"

    def as_json(self) -> dict[str, object]:
        return {
            "block": self.block.number,
            "at": self.now,
            "currency": self.currency.symbol,
            "decimals": self.currency.decimals,
        }

    def money(self, units: int) -> str:
        return in_currency(units, self.currency.decimals)

    def position(self, loan: Loan) -> Position:
        return position_of(loan, self.model.servicer(loan.lender), self.now)

    def owed(self, loan: Loan) -> int:
        """What is still to be paid in all, with late fees as of now."""
        return schedule.assess(loan, self.now).owed

    def last_day_to_rescind(self, loan: Loan) -> int:
        """The last day on which the borrower can still withdraw; zero where they cannot any more."""
        from duly.domain import amending

        policy = self.model.policy(loan.terms.policy)
        if policy is None or not loan.owed:
            return 0
        last = amending.last_day_to_rescind(loan, policy.lending)
        return last if schedule.today(loan.terms, self.now) <= last else 0

    def resting(self, loan: Loan) -> str:
        """Until when reminders about a loan rest for grievances; nothing where they do not."""
        candidate = self.model.candidate(loan.id)
        until = rests_until(loan.rest, candidate.rest) if candidate else 0
        if until == FOREVER:
            return "a grievance stands"
        return f"until {at_clock(until, loan.terms.calendar_offset)}" if self.now < until else ""

    def local(self, moment: int, borrower: str) -> str:
        """A moment by the borrower's clock."""
        if borrower not in self._profiles:
            self._profiles[borrower] = self.model.profile(borrower)
        return at_clock(moment, self._profiles[borrower].offset)

    @cached_property
    def _outbox(self) -> Any:
        """What became of notices; None where nothing was delivered from this database yet."""
        from sqlalchemy import inspect

        from duly.store import notices
        from duly.store.database import reading

        with reading(self.model.engine) as connection:
            known = inspect(connection).has_table(notices.deliveries_table.name)
        return notices.NoticeStore(self.model.engine) if known else None

    def deliveries(self, notices: "Sequence[ServedNotice]") -> dict[bytes, Any]:
        """What became of notices, by id; none where one is pending."""
        if self._outbox is None:
            return {}
        if len(notices) > _SHOWN:
            return {each.notice.id: each for each in self._outbox.deliveries()}
        found = {notice.id: self._outbox.delivery(notice.id) for notice in notices}
        return {notice: delivery for notice, delivery in found.items() if delivery}


# ---------------------------------------------------------------------------------------- for people


def _show_terms(view: _View, loan: Loan, position: Position, successor: bytes | None) -> None:
    from rich.table import Table

    terms = loan.terms
    state, style = _state(position)
    owed, last_day = view.owed(loan), view.last_day_to_rescind(loan)
    lent = f"{view.money(terms.principal)} {view.currency.symbol} at {in_percent(terms.rate)}"
    if terms.origination_fee:
        lent += f", less an origination fee of {view.money(terms.origination_fee)}"
    servicer = "" if int(position.servicer, 16) == 0 else position.servicer
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows: list[tuple[str, str]] = [
        ("loan", _hex(loan.id)),
        ("replaces", _hex(terms.replaces) if loan.amends else ""),
        ("replaced by", _hex(successor) if successor else ""),
        ("borrower", checksummed(terms.borrower)),
        ("lender", checksummed(loan.lender)),
        ("lent by", checksummed(terms.lender) if loan.lender != terms.lender else ""),
        ("servicer", checksummed(servicer) if servicer else ""),
        ("interest since" if loan.amends else "opened", at_clock(loan.opened_at, terms.calendar_offset)),
        ("lent", lent),
        ("to repay", f"{view.money(loan.total)} {rhythm(terms)}, policy {terms.policy}"),
        ("paid", view.money(loan.paid)),
        ("overdue", view.money(position.overdue) if position.overdue else ""),
        ("late fees", f"{view.money(position.fees)} unpaid" if position.fees else ""),
        ("still owed", view.money(owed) if owed else ""),
        ("to settle now", view.money(schedule.payoff(loan, view.now)) if owed else ""),
        ("reminders rest", view.resting(loan)),
        ("rescindable", f"until {calendar.iso(last_day)}" if last_day else ""),
        ("default", f"marked on instalment {loan.defaulted}" if position.status is Status.DEFAULTED else ""),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, value)
    table.add_row("status", state, style=style)
    out = console()
    out.print(table)
    out.print(f"Amounts in {view.currency.symbol}, {view.as_of}.", style="dim")


def _show_schedule(view: _View, loan: Loan, position: Position) -> None:
    table = table_of(
        "+no.", "=due", "+amount", "+principal", "+interest", "+paid", "=status", title="Schedule"
    )
    reached = 0
    for row in schedule.schedule_of(loan.terms):
        paid = max(0, min(row.amount, loan.paid - reached))
        reached += row.amount
        if paid == row.amount:
            state, style = "paid", "green"
        elif position.status in _ENDINGS:
            state, style = _ENDINGS[position.status], "dim"
        elif row.due_day < position.today:
            state, style = "overdue", "red"
        elif row.due_day == position.today:
            state, style = "due today", "yellow"
        else:
            state, style = "", ""
        figures = map(view.money, (row.amount, row.principal, row.interest))
        table.add_row(
            str(row.k),
            calendar.iso(row.due_day),
            *figures,
            view.money(paid) if paid else "",
            state,
            style=style or None,
        )
    console().print(table)


def _show_history(view: _View, loan: Loan, history: "Sequence[Logged]") -> None:
    table = table_of("=when", "what", "+amount", "=by", title="History")
    for item in history:
        amount, who = amount_in(item.event), getattr(item.event, "payer", "")
        table.add_row(
            at_clock(item.timestamp, loan.terms.calendar_offset),
            in_words(item.event, loan),
            "" if amount is None else view.money(amount),
            _short_address(who) if who else "",
            style="red" if item.event.name in ("InstalmentMissed", "LoanDefaulted") else None,
        )
    console().print(table)


def in_words(event: "Event", loan: Loan | None) -> str:
    """What an event told, in words: of the loan that is looked at, where there is one."""
    from duly.domain import events

    what = _words(event.name)
    match event:
        case events.InstalmentMissed():
            return f"{what} {event.first}" + (f" to {event.last}" if event.last != event.first else "")
        case events.GrievanceLodged() | events.GrievanceAnswered() | events.GrievanceWithdrawn():
            return f"{event.grievance.name.lower()} {what.split()[-1]}"
        case events.LoanDefaulted():
            return f"{what} on instalment {event.instalment}"
        case events.LoanAssigned():
            return f"{what} to {_short_address(event.to)}"
        case events.LoanAmended() if loan and event.id == loan.id:
            return f"replaced by {_short(event.amendment)}"
        case events.LoanAmended():
            return f"began in place of {_short(event.id)}"
    return what


def amount_in(event: "Event") -> int | None:
    """The amount that an event is about."""
    name = {"InstalmentMissed": "fees", "LoanDefaulted": "overdue"}.get(event.name, "amount")
    found: int | None = getattr(event, name, None)
    return found


def _show_notices(
    view: _View,
    notices: "Sequence[ServedNotice]",
    deliveries: Mapping[bytes, Any],
    *,
    of_one_loan: bool = False,
) -> None:
    out = console()
    if not notices:
        out.print("No notices were served.")
        return
    loan = () if of_one_loan else ("=loan",)
    table = table_of("=borrower's time", *loan, "kind", "+no.", "+amount", "by", "delivery", title="Notices")
    for notice in notices[:_SHOWN]:
        state, style = _delivery(deliveries.get(notice.id))
        table.add_row(
            view.local(notice.timestamp, notice.borrower),
            *([] if of_one_loan else [_short(notice.loan)]),
            _words(notice.kind.name),
            str(notice.instalment or ""),
            view.money(notice.amount),
            _words(notice.channel.name),
            state,
            style=style,
        )
    out.print(table)
    if len(notices) > _SHOWN:
        out.print(f"… and {len(notices) - _SHOWN:,} more (--json lists all)")
    if not of_one_loan:
        out.print(f"{_count(len(notices), 'notice')}, amounts in {view.currency.symbol}, {view.as_of}.")


def _refusals(view: _View, json: bool) -> None:
    found = view.model.refusals(newest_first=True)
    if json:
        print_json({**view.as_json(), "refused": [_refusal_json(refusal) for refusal in found]})
        return
    out = console()
    if not found:
        out.print("The gate refused no notices.")
        return
    table = table_of("=borrower's time", "=loan", "kind", "+no.", "by", "reason")
    for refusal in found[:_SHOWN]:
        loan = view.model.loan(refusal.loan)
        table.add_row(
            view.local(refusal.timestamp, loan.terms.borrower) if loan else at_clock(refusal.timestamp),
            _short(refusal.loan),
            _words(refusal.kind.name),
            str(refusal.instalment or ""),
            _words(refusal.channel.name),
            _words(refusal.reason.name),
        )
    out.print(table)
    if len(found) > _SHOWN:
        out.print(f"… and {len(found) - _SHOWN:,} more (--json lists all)")
    out.print(f"{len(found):,} refused, {view.as_of}.")


def _state(position: Position) -> tuple[str, str | None]:
    """Where a loan stands, in words and colour."""
    if position.status in _ENDINGS:
        return position.status.name.lower(), "green" if position.status is Status.REPAID else "dim"
    if position.status is Status.DEFAULTED:
        return "defaulted", "red"
    if position.overdue:
        return "overdue", "red"
    return ("fees unpaid", "yellow") if position.fees else ("active", None)


_ENDINGS = {
    Status.REPAID: "settled early",
    Status.RESCINDED: "rescinded",
    Status.REPLACED: "goes on in another",
}
"""What became of instalments that were not paid when a loan ended."""


def rhythm(terms: Terms) -> str:
    """How a loan is repaid, in words."""
    shape, interval = ScheduleName[terms.schedule.name], FrequencyName[terms.frequency.name]
    if shape is ScheduleName.BULLET:
        due = schedule.due_day(terms, terms.instalments)
        return f"at once on {calendar.iso(due)}, after {terms.instalments} {interval} periods"
    return f"in {terms.instalments} {interval} instalments, {shape}"


def _delivery(delivery: Any) -> tuple[str, str | None]:
    """What became of a notice, in words and colour."""
    if delivery is None:
        return "pending", None
    text = str(delivery.state) + (f": {_words(delivery.reason)}" if delivery.reason else "")
    return text, {"sent": "green", "uncertain": "red", "dropped": "yellow"}.get(str(delivery.state))


def _next_due(position: Position) -> str:
    if not position.first_unpaid:
        return ""
    return calendar.iso(position.first_unpaid_due_day)


def table_of(*headings: str, title: str | None = None) -> "Table":
    """A table; a plus before a heading puts its column to the right, an equals sign keeps it whole."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for heading in headings:
        right = heading.startswith("+")
        whole = right or heading.startswith("=")
        table.add_column(heading.lstrip("+="), justify="right" if right else "left", no_wrap=whole)
    return table


def at_clock(moment: int, offset: int = 0) -> str:
    """A moment by the clock of an offset from UTC in quarter hours."""
    zone = timezone(timedelta(minutes=_QUARTER_HOURS * offset)) if offset else UTC
    text = datetime.fromtimestamp(moment, zone).strftime("%Y-%m-%d %H:%M %z")
    return f"{text[:-5]}UTC" if not offset else f"{text[:-2]}:{text[-2:]}"


def _words(name: str) -> str:
    """A name such as LoanOpened or IN_APP in words."""
    spaced = "".join(
        f" {c}" if c.isupper() and i and not name.isupper() and "_" not in name else c
        for i, c in enumerate(name)
    )
    return spaced.replace("_", " ").lower()


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _short(value: bytes) -> str:
    return value.hex()[:8]


def _short_address(address: str) -> str:
    return f"{checksummed(address)[:8]}…"


def checksummed(address: str) -> str:
    """An address as people compare it (ERC-55)."""
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


# ---------------------------------------------------------------------------------------- for programs


def _loan_json(loan: Loan, position: Position) -> dict[str, object]:
    terms = loan.terms
    return {
        "id": _hex(loan.id),
        "replaces": _hex(terms.replaces) if loan.amends else None,
        "borrower": checksummed(terms.borrower),
        "lender": checksummed(loan.lender),
        "lent_by": checksummed(terms.lender),
        "servicer": checksummed(position.servicer) if int(position.servicer, 16) else None,
        "status": position.status.name.lower(),
        "defaulted": loan.defaulted if position.status is Status.DEFAULTED else None,
        "opened_at": loan.opened_at,
        "schedule": ScheduleName[terms.schedule.name],
        "frequency": FrequencyName[terms.frequency.name],
        "first_due": calendar.iso(terms.first_due),
        "principal": terms.principal,
        "origination_fee": terms.origination_fee,
        "rate_ppm": terms.rate,
        "instalments": terms.instalments,
        "instalment": loan.instalment,
        "late_fee": terms.late_fee,
        "grace_days": terms.grace_days,
        "policy": terms.policy,
        "grievances_standing": loan.rest.standing,
        "assigned": loan.assigned,
        "total": loan.total,
        "paid": loan.paid,
        "overdue": position.overdue,
        "fees_unpaid": position.fees,
        "first_unpaid": position.first_unpaid or None,
        "first_unpaid_due": calendar.iso(position.first_unpaid_due_day) if position.first_unpaid else None,
        "next": position.next or None,
        "next_due": calendar.iso(position.next_due_day) if position.next else None,
        "next_amount": position.next_amount,
    }


def _notice_json(notice: "ServedNotice", deliveries: Mapping[bytes, Any]) -> dict[str, object]:
    delivery = deliveries.get(notice.id)
    return {
        "id": "0x" + notice.id.hex(),
        "loan": "0x" + notice.loan.hex(),
        "borrower": checksummed(notice.borrower),
        "server": checksummed(notice.server),
        "kind": notice.kind.name.lower(),
        "instalment": notice.instalment,
        "amount": notice.amount,
        "channel": notice.channel.name.lower(),
        "timestamp": notice.timestamp,
        "block": notice.block_number,
        "transaction": "0x" + notice.transaction_hash.hex(),
        "content_hash": "0x" + notice.content_hash.hex(),
        "delivery": str(delivery.state) if delivery else "pending",
        "delivery_reason": delivery.reason if delivery else None,
    }


def _refusal_json(refusal: "RefusedNotice") -> dict[str, object]:
    return {
        "loan": "0x" + refusal.loan.hex(),
        "server": checksummed(refusal.server),
        "kind": refusal.kind.name.lower(),
        "instalment": refusal.instalment,
        "channel": refusal.channel.name.lower(),
        "reason": refusal.reason.name.lower(),
        "actual": refusal.actual,
        "required": refusal.required,
        "timestamp": refusal.timestamp,
        "block": refusal.block_number,
    }


def event_json(event: "Event") -> dict[str, object]:
    """What an event told, but the terms, which stand elsewhere."""
    told: dict[str, object] = {}
    for field in dataclasses.fields(event):  # type: ignore[arg-type]
        value = getattr(event, field.name)
        if field.name != "terms":
            told[field.name.rstrip("_")] = _hex(value) if isinstance(value, bytes) else value
    return told
