"""Reads timelines, whose format README.md tells. What is wrong with one is told by file, line and column."""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from support.offers import Frequency, Schedule, Status
from support.oracle import day_number

ACTORS = ("lender", "borrower", "assignee", "servicer", "keeper", "stranger")
# What an amount can be named by: each is a column as well.
AMOUNTS = ("overdue", "fees", "instalment", "owed", "payoff")
DECIMALS = (2, 6)
SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


class BadTimeline(Exception):
    """A timeline that cannot be played."""


class Moment(NamedTuple):
    """Counted from a moment in UTC, from the due second of an instalment, or else from the line before."""

    utc: int | None = None
    instalment: int | None = None
    later: int = 0


@dataclass
class Line:
    number: int
    moment: Moment = field(default_factory=Moment)
    actor: str = ""
    action: str = "check"
    amount: int | str | None = None
    terms: dict[str, Any] = field(default_factory=dict)
    loan: int | None = None
    expected: dict[str, Any] = field(default_factory=dict)


@dataclass
class Timeline:
    name: str
    decimals: int
    lines: list[Line]


# --- cells: what is none is told by an example of what is -----------------------------------------


class _Wanted(Exception):
    pass


def _matching(pattern: str, wanted: str, text: str) -> re.Match[str]:
    found = re.fullmatch(pattern, text)
    if not found:
        raise _Wanted(wanted)
    return found


def _one_of(words: Any) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise _Wanted("one of " + ", ".join(words))
        return text

    return parse


def _member(enum: Any) -> Callable[[str], int]:
    """A member by its name in small letters, words joined by hyphens."""
    words = {member.name.lower().replace("_", "-"): member for member in enum}
    return lambda text: words[_one_of(words)(text)]


def _whole(text: str) -> int:
    return int(_matching(r"\d+", "a whole number", text)[0])


def _day(text: str) -> int:
    try:
        return day_number(date.fromisoformat(text))
    except ValueError:
        raise _Wanted("a day such as 2040-02-29") from None


def _moment(text: str) -> Moment:
    wanted = "a moment in UTC such as 2040-02-16 23:59:59, or such as due 3, due 3 +5d +1s or +6d"
    parts = _matching(r"(\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?|due \d+)?((?: *[+-]\d+[dhms])*)", wanted, text)
    steps = re.findall(r"([+-]\d+)([dhms])", parts[2])
    later = sum(int(count) * SECONDS[unit] for count, unit in steps)
    if not parts[1]:
        return Moment(later=later)
    if parts[1].startswith("due"):
        return Moment(instalment=_whole(parts[1].removeprefix("due ")), later=later)
    try:
        return Moment(utc=int(datetime.fromisoformat(parts[1]).replace(tzinfo=UTC).timestamp()), later=later)
    except ValueError:
        raise _Wanted(wanted) from None


def _offset(text: str) -> int:
    """Quarter hours."""
    parts = _matching(r"([+-]\d\d):(00|15|30|45)", "a distance from UTC such as +08:00 or -03:30", text)
    quarters = int(parts[1]) * 4
    return quarters + int(parts[2]) // 15 * (-1 if text.startswith("-") else 1)


def _share(parts: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        percent = Decimal(_matching(r"(\d+(?:\.\d+)?)%", "a percentage such as 11.22%", text)[1])
        share = percent / 100 * parts
        if share != int(share):
            raise _Wanted(f"a percentage in whole {parts}ths")
        return int(share)

    return parse


def _number(decimals: int, signed: bool = False) -> Callable[[str], int]:
    wanted = f"a number with at most {decimals} decimals, such as {'-' if signed else ''}1200 or 106.62"

    def parse(text: str) -> int:
        try:
            units = Decimal(text).scaleb(decimals)
        except InvalidOperation:
            raise _Wanted(wanted) from None
        if not units.is_finite() or units != int(units) or (units < 0 and not signed):
            raise _Wanted(wanted)
        return int(units)

    return parse


# --- what a line can say --------------------------------------------------------------------------


def _terms(decimals: int) -> dict[str, Callable[[str], Any]]:
    return {
        "principal": _number(decimals),
        "origination_fee": _number(decimals),
        "late_fee": _number(decimals),
        "rate": _share(1_000_000),
        "instalments": _whole,
        "first_due": _day,
        "schedule": _member(Schedule),
        "frequency": _member(Frequency),
        "calendar_offset": _offset,
        "grace_days": _whole,
    }


# Limits of the policy that a loan is opened under.
LIMITS: dict[str, Callable[[str], Any]] = {
    "apr_cap": _share(1_000_000),
    "late_fee_cap": _share(10_000),
    "min_grace_days": _whole,
    "cooling_off_days": _whole,
    "default_days": _whole,
}


class Action(NamedTuple):
    """What an action says beside its name."""

    amount: str = "no"
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


_LOAN = ("principal", "rate", "instalments", "first_due")
_SHAPE = ("origination_fee", "late_fee", "schedule", "frequency", "calendar_offset", "grace_days")
ACTIONS = {
    "open": Action(needs=_LOAN, takes=(*_SHAPE, "decimals", *LIMITS)),
    "repay": Action(amount="needed"),
    "relay": Action(amount="needed"),
    "settle": Action(amount="possible"),
    "prepay": Action(amount="needed"),
    "rescind": Action(),
    "amend": Action(needs=("principal", "instalments", "first_due"), takes=("rate", *_SHAPE)),
    "defer": Action(needs=("intervals",)),
    "acknowledge": Action(amount="needed"),
    "waive": Action(amount="needed"),
    "forgive": Action(amount="needed"),
    "assign": Action(needs=("to",)),
    "appoint": Action(needs=("to",)),
    "default": Action(),
    "flag": Action(),
    "claim": Action(takes=("to",)),
    "block": Action(),
    "unblock": Action(),
    "check": Action(),
}


def _columns(decimals: int) -> dict[str, Callable[[str], Any]]:
    """What a line can expect."""
    number, change = _number(decimals), _number(decimals, signed=True)
    return {
        **dict.fromkeys(AMOUNTS, number),
        "due": lambda text: None if text == "none" else _day(text),
        "status": _member(Status),
        "held": number,
        **{f"{actor} change": change for actor in ACTORS},
        "refused": lambda text: _matching(r"\w+", "an error's name, such as LoanNotActive", text)[0],
    }


# --- reading --------------------------------------------------------------------------------------


def read(name: str, text: str) -> Timeline:
    """A timeline from the text of its file."""
    rows = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        cells = [cell.strip() for cell in next(csv.reader([line]), [])]
        if any(cells) and not cells[0].startswith("#"):
            rows.append((number, cells))
    if len(rows) < 2:
        raise BadTimeline(f"{name}: nothing to play; wanted a line of column names, and lines below it")
    (first, header), *rows = rows
    return _Reader(name, first, header, _decimals(rows)).timeline(rows)


def _decimals(rows: list[tuple[int, list[str]]]) -> int:
    """The currency's decimals, which every amount is read with. Wrong ones are told with the terms."""
    named = (re.search(r"\bdecimals=(\d+)\b", cell) for _, cells in rows for cell in cells)
    return next((int(found[1]) for found in named if found and int(found[1]) in DECIMALS), DECIMALS[0])


class _Reader:
    def __init__(self, name: str, number: int, header: list[str], decimals: int):
        self.name, self.number, self.header, self.decimals = name, number, header, decimals
        self.columns: dict[str, Callable[[str], Any]] = {
            "timestamp": _moment,
            "actor": _one_of(ACTORS),
            "action": _one_of(ACTIONS),
            "amount": self._amount,
            "terms": self._given,
            "loan": _whole,
            **_columns(decimals),
        }
        for column in filter(None, header):
            if column not in self.columns:
                raise self._bad(column, "no such column", "one of " + ", ".join(self.columns))
            if header.count(column) > 1:
                raise self._bad(column, "the column stands there twice", "each once")

    def timeline(self, rows: list[tuple[int, list[str]]]) -> Timeline:
        return Timeline(self.name, self.decimals, [self._line(*row) for row in rows])

    def _line(self, number: int, cells: list[str]) -> Line:
        self.number = number
        line = Line(number)
        if any(cells[len(self.header) :]):
            raise self._bad("", f"{len(cells)} cells", f"as many as there are columns, {len(self.header)}")
        for column, text in zip(self.header, cells, strict=False):
            if not text:
                continue
            if not column:
                raise self._bad("", f'"{text}" stands below no column\'s name', "a name on the first line")
            value = self._parse(column, self.columns[column], text)
            if column in ("actor", "action", "amount", "terms", "loan"):
                setattr(line, column, value)
            elif column == "timestamp":
                line.moment = value
            else:
                line.expected[column] = value
        self._check(line)
        return line

    def _check(self, line: Line) -> None:
        action = ACTIONS[line.action]
        if not line.actor and line.action != "check":
            raise self._bad("actor", f"nobody to {line.action}", "one of " + ", ".join(ACTORS))
        if action.amount == "needed" and line.amount is None:
            raise self._bad("amount", f"nothing to {line.action}", "an amount")
        if action.amount == "no" and line.amount is not None:
            raise self._bad("amount", f"{line.action} has no amount", "nothing")
        for term in action.needs:
            if term not in line.terms:
                raise self._bad("terms", f"{line.action} without {term}", f"{term}=…")
        allowed = (*action.needs, *action.takes)
        if line.terms.get("decimals", self.decimals) != self.decimals:
            raise self._bad("terms, decimals", "another currency", f"{self.decimals} as on a line above")
        for term in line.terms:
            if term not in allowed:
                wanted = "one of " + ", ".join(allowed) if allowed else "nothing"
                raise self._bad("terms", f"{line.action} has no term {term}", wanted)

    def _amount(self, text: str) -> int | str:
        if text in AMOUNTS:
            return text
        try:
            return _number(self.decimals)(text)
        except _Wanted as error:
            raise _Wanted(f"{error}, or one of {', '.join(AMOUNTS)}") from None

    def _given(self, text: str) -> dict[str, Any]:
        known = {
            **_terms(self.decimals),
            **LIMITS,
            "decimals": lambda text: int(_one_of([str(number) for number in DECIMALS])(text)),
            "intervals": _whole,
            "to": _one_of(ACTORS),
        }
        terms = {}
        for part in text.split():
            term, _, value = part.partition("=")
            if term in terms:
                raise self._bad("terms", f"{term} stands there twice", "each once")
            if term not in known:
                raise self._bad("terms", f'no such term as "{part}"', "name=value of " + ", ".join(known))
            terms[term] = self._parse(f"terms, {term}", known[term], value)
        return terms

    def _parse(self, column: str, parse: Callable[[str], Any], text: str) -> Any:
        try:
            return parse(text)
        except _Wanted as error:
            raise self._bad(column, f'"{text}"', str(error)) from None

    def _bad(self, column: str, found: str, wanted: str) -> BadTimeline:
        place = ", ".join(filter(None, (self.name, f"line {self.number}", column)))
        return BadTimeline(f"{place}: {found}; wanted {wanted}")
