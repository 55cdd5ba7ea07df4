"""The key-fact statement: what a borrower is shown before accepting a loan, as one HTML document.

It is rendered from the terms that become the loan, without their agreement hash, and from its basis, which
stands in the document as well: so whoever has the terms and the document renders it again. The Keccak-256
hash of the document's bytes is put into the terms as their `agreement_hash`, which makes it part of the
loan's id: a statement that differs by one byte is another loan's. For the same reason no clock, no locale of
the machine and no library's idea of a date has a say in it.

The templates lie in `duly/templates/disclosure`. They are well-formed XML, so that `duly.services.pdf` can
lay the same document out on pages.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, replace
from functools import cache
from html import unescape
from importlib.resources import files
from itertools import takewhile
from typing import Final

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from jinja2 import DictLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import TypeAdapter, ValidationError

from duly.domain import amounts, apr, calendar
from duly.domain.disclosure import KeyFacts, key_facts
from duly.domain.errors import DulyError, InvalidInput
from duly.domain.policy import ContactLimits, LendingLimits
from duly.domain.terms import ZERO_HASH, Schedule, Terms
from duly.services.render import UnknownLocale
from duly.services.templates import LOCALES
from duly.services.termsfile import as_json

MOST_DECIMALS: Final = 26
_LONGEST_SYMBOL: Final = 16
_LONGEST_BASIS: Final = 2000
_META: Final = re.compile(r'<meta name="duly-basis" content="([^"]*)" />')
_LANGUAGE: Final = re.compile(r'<html lang="([a-z]{2})')

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a statement rests on beside the terms.

    lending, contact: the limits of the terms' policy. opened: the day of opening that annual rates and the
    right to rescind are told for. symbol, decimals: of the currency.

    Raises: InvalidInput.
    """

    lending: LendingLimits
    contact: ContactLimits
    opened: int
    symbol: str
    decimals: int

    def __post_init__(self) -> None:
        symbol = self.symbol
        if not 1 <= len(symbol) <= _LONGEST_SYMBOL or not symbol.isprintable() or symbol != symbol.strip():
            raise InvalidInput(
                f"{amounts.shown(symbol)} is no currency's symbol",
                wanted=f"1 to {_LONGEST_SYMBOL} printable characters, such as USDC",
            )
        if not 0 <= self.decimals <= MOST_DECIMALS:
            raise InvalidInput(f"{self.decimals} decimals", wanted=f"0 to {MOST_DECIMALS}")
        # It may be read from a document that anybody wrote.
        numbers = (*astuple(self.lending), *astuple(self.contact), self.opened)
        if not all(0 <= number < 2**32 for number in numbers):
            raise InvalidInput("a limit, or the day of opening, is none that a policy book could hold")


@dataclass(frozen=True, slots=True)
class Statement:
    """A key-fact statement: the bytes of its HTML document, which are what is agreed on."""

    html: bytes

    @property
    def agreement_hash(self) -> bytes:
        """Keccak-256 of the document."""
        return keccak(self.html)

    def agreed_by(self, terms: Terms) -> Terms:
        """The terms with this statement's hash: what lender and borrower sign."""
        return replace(terms, agreement_hash=self.agreement_hash)

    def pdf(self) -> bytes:
        """The same document on pages, with its hash at the foot of each. A copy: it is not what is hashed.

        Raises: MissingGlyphs.
        """
        from duly.services import pdf  # slow to import

        return pdf.render(self.html, "Keccak-256 0x" + self.agreement_hash.hex())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a document that claims to be the statement of some terms.

    agreed: it is the one whose hash the terms hold. rendered: it says what these terms come to, word for
    word, on the basis that it names; else `difference` tells where it does not. basis: what it rests on, None
    where it does not tell; whether the policy's limits are those is for the caller to ask.
    """

    agreed: bool
    rendered: bool
    difference: str = ""
    basis: Basis | None = None


def disclose(terms: Terms, basis: Basis, locale: str = "en") -> Statement:
    """The key-fact statement of terms, whose own agreement hash is left out of account.

    Raises: UnknownLocale; what `duly.domain.disclosure.key_facts` raises, for terms that could not be opened.
    """
    if locale not in LOCALES:
        raise UnknownLocale(f"there are no key-fact statements in {locale!r}", wanted=" or ".join(LOCALES))
    facts = key_facts(terms, basis.lending, basis.contact, basis.opened)
    text = _environment().get_template(f"{locale}.html").render(_values(facts, basis, locale))
    return Statement(text.encode())


def verify(document: bytes, terms: Terms) -> Verdict:
    """Whether a document is the statement that terms were agreed on with, and says what they come to."""
    agreed = terms.agreement_hash != ZERO_HASH and keccak(document) == terms.agreement_hash
    try:
        text = document.decode()
    except UnicodeDecodeError:
        return Verdict(agreed, False, "it is not text in UTF-8")
    language, basis = _LANGUAGE.search(text), _basis_of(text)
    if language is None or basis is None:
        return Verdict(agreed, False, "it does not tell its language and what it rests on")
    try:
        again = disclose(terms, basis, language[1]).html.decode()
    except DulyError as error:
        return Verdict(agreed, False, f"there is no such statement of these terms: {error}", basis)
    return Verdict(agreed, again == text, _difference(text, again), basis)


def _basis_of(text: str) -> Basis | None:
    found = _META.search(text)
    if found is None or len(found[1]) > _LONGEST_BASIS:
        return None
    try:
        return _adapter().validate_json(unescape(found[1]), strict=True)
    except (ValidationError, InvalidInput):
        return None


@cache
def _adapter() -> TypeAdapter[Basis]:
    return TypeAdapter(Basis)


def _difference(found: str, wanted: str) -> str:
    """Where it is first another, and what it should say there."""
    if found == wanted:
        return ""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(found, wanted, strict=False)))
    line = found.count("\n", 0, same) + 1
    begin = max(found.rfind("\n", 0, same) + 1, same - 12)  # some words before, to know the place again
    return f"line {line} says {amounts.shown(found[begin:])}, not {amounts.shown(wanted[begin:])}"


# ---------------------------------------------------------------------------------------- rendering


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    folder = files("duly") / "templates/disclosure"
    templates = {
        file.name: file.read_text(encoding="utf-8").replace("\r\n", "\n")
        for file in folder.iterdir()
        if file.name.endswith((".html", ".css"))
    }
    return ImmutableSandboxedEnvironment(
        loader=DictLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _values(facts: KeyFacts, basis: Basis, locale: str) -> dict[str, object]:
    """What the templates may name; anything else is an error when they are rendered."""
    terms, cost = facts.terms, facts.cost
    amount, day = _amount_in(basis.decimals), _DAYS[locale]
    in_column = _amount_in_column(
        basis.decimals, (each for row in facts.rows for each in (row.amount, row.interest, row.balance))
    )

    def money(units: int) -> str:
        return f"{amount(units)} {basis.symbol}"

    return {
        "terms": as_json(terms),
        "basis": _adapter().dump_json(basis).decode(),
        "symbol": basis.symbol,
        "units": f"{10**basis.decimals:,}",
        "lender": to_checksum_address(terms.lender),
        "borrower": to_checksum_address(terms.borrower),
        "policy": terms.policy,
        "zone": _zone(terms.calendar_offset),
        "expires": _moment(terms.expires, terms.calendar_offset, day),
        "opened": day(facts.opened),
        # What it costs.
        "principal": money(terms.principal),
        "origination_fee": money(terms.origination_fee) if terms.origination_fee else "",
        "received": money(terms.received),
        "interest": money(facts.interest),
        "finance_charge": money(cost.finance_charge),
        "total": money(cost.total_of_payments),
        "rate": amounts.in_percent(terms.rate),
        "apr": f"{apr.rounded(cost.apr)} %",
        "aprc": f"{apr.rounded(cost.aprc)} %",
        "cap": amounts.in_percent(facts.lending.apr_cap),
        "cap_convention": facts.lending.apr_convention.name.lower(),
        # How it is repaid.
        "schedule": terms.schedule.name.lower(),
        "frequency": terms.frequency.name.lower(),
        "at_once": len(facts.rows) == 1,
        "periods": terms.instalments if terms.schedule is Schedule.BULLET else 1,
        "instalments": len(facts.rows),
        "instalment": money(facts.rows[0].amount),
        "last_instalment": money(facts.rows[-1].amount),
        "first_due": day(facts.rows[0].due_day),
        "last_due": day(facts.rows[-1].due_day),
        "rows": [
            {
                "number": number,
                "due": calendar.iso(row.due_day),
                "amount": in_column(row.amount),
                "interest": in_column(row.interest),
                "principal": in_column(row.principal),
                "balance": in_column(row.balance),
            }
            for number, row in enumerate(facts.rows, 1)
        ],
        "sums": {
            "amount": in_column(cost.total_of_payments),
            "interest": in_column(facts.interest),
            "principal": in_column(terms.principal),
        },
        # When it is not.
        "late_fee": money(terms.late_fee) if terms.late_fee else "",
        "late_fees": money(facts.late_fees),
        "grace_days": terms.grace_days,
        "first_late_fee_day": day(facts.first_late_fee_day),
        "default_days": facts.lending.default_days,
        "first_default_day": day(facts.first_default_day),
        # Rights.
        "cooling_off_days": facts.lending.cooling_off_days,
        "last_day_to_rescind": day(facts.last_day_to_rescind) if facts.last_day_to_rescind else "",
        "interest_a_day": money(facts.interest_a_day),
        "rescission_interest": money(facts.rescission_interest),
        "rescission": money(terms.received + facts.rescission_interest),
        # Contact.
        "opens": _time_of_day(facts.contact.opens),
        "closes": _time_of_day(facts.contact.closes),
        "weekdays": [number for number in range(7) if facts.contact.weekdays >> number & 1],
        "per_day": facts.contact.per_day,
        "per_week": facts.contact.per_week,
    }


def _amount_in(decimals: int, shown: int = 2) -> Callable[[int], str]:
    """Amounts as people write them, exact: two decimals, more only where they are not zero."""

    def amount(units: int) -> str:
        text = amounts.in_currency(units, decimals)
        superfluous = max(0, decimals - shown)
        kept, rest = text[: len(text) - superfluous], text[len(text) - superfluous :]
        return kept + rest.rstrip("0")

    return amount


def _amount_in_column(decimals: int, figures: Iterable[int]) -> Callable[[int], str]:
    """The same with equally many decimals for all figures of a table."""
    shown = min(2, decimals)
    for figure in figures:
        while figure % 10 ** (decimals - shown):
            shown += 1
    return _amount_in(decimals, shown)


def _english_day(number: int) -> str:
    year, month, day = calendar.civil(number)
    return f"{day} {_MONTHS[month - 1]} {year}"


def _chinese_day(number: int) -> str:
    year, month, day = calendar.civil(number)
    return f"{year}年{month}月{day}日"


_DAYS: Final[dict[str, Callable[[int], str]]] = {"en": _english_day, "zh": _chinese_day}


def _moment(timestamp: int, offset: int, day: Callable[[int], str]) -> str:
    """A moment to the second, by the clock of an offset from UTC in quarter hours."""
    date = calendar.local_day(timestamp, offset)
    second = timestamp - calendar.start_of(date, offset)
    return f"{day(date)} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


def _time_of_day(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _zone(offset: int) -> str:
    """An offset in quarter hours as people write it: UTC+8, UTC-3:30."""
    hours, quarters = divmod(abs(offset), 4)
    if not offset:
        return "UTC"
    return f"UTC{'-' if offset < 0 else '+'}{hours}" + (f":{quarters * 15}" if quarters else "")
