"""The words of a notice: a pure function of what the ledger says and of the templates.

Whoever has the chain and the templates renders the same text again and sees that it is what was sent. The
templates lie in `duly/templates`, a folder per language; their hash is published with a policy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import Protocol

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from duly.domain import calendar, schedule
from duly.domain.amounts import PPM
from duly.domain.errors import InvalidInput
from duly.domain.loan import Loan, Position, Status
from duly.domain.notice import Ground, Kind, notice_id
from duly.domain.split import split_of
from duly.domain.terms import Schedule
from duly.domain.words import WordRules
from duly.services.policy import strict_rules
from duly.services.samples import Sample, samples, together
from duly.services.templates import (
    LOCALES,
    Situation,
    TemplateSet,
    Trials,
    read_templates,
    shipped_templates,
)

_EPOCH = date(1970, 1, 1)
_EXACT = Context(prec=100)
# Babel's own patterns leave out the weekday's blank, or the year's era, in one language or the other.
_DATES = {"en": "EEEE, d MMMM y", "zh": "y年M月d日EEEE"}


class UnknownLocale(InvalidInput):
    """There are no notices in this language."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a text names of the place where it is sent from.

    The currency's symbol and decimals, the chain's id, and the contracts' addresses: where a payment goes,
    where a notice can be checked, and where consent is withdrawn.
    """

    symbol: str
    decimals: int
    chain_id: int
    ledger: str
    notices: str
    consents: str


@dataclass(frozen=True, slots=True)
class Text:
    """What a borrower reads, as plain text."""

    subject: str
    body: str

    @property
    def canonical(self) -> bytes:
        """The bytes that stand for the text in its hash."""
        return f"{self.subject}\n\n{self.body}".encode()

    def content_hash(self, salt: bytes) -> bytes:
        """Keccak-256 of the salt and the text; without the salt nobody can guess the one from the other."""
        return keccak(salt + self.canonical)


class Saying(Protocol):
    """A notice to be put into words, as it is planned; see `render`."""

    @property
    def kind(self) -> Kind: ...
    @property
    def loan(self) -> Loan: ...
    @property
    def position(self) -> Position: ...
    @property
    def ground(self) -> Ground: ...
    @property
    def outcome(self) -> str: ...


_SOMEWHERE = Place("TUSD", 2, 1, ledger="0x" + "c1" * 20, notices="0x" + "c2" * 20, consents="0x" + "c3" * 20)


def render(
    kind: Kind,
    loan: Loan,
    position: Position,
    ground: Ground,
    place: Place,
    locale: str = "en",
    template_set: TemplateSet | None = None,
    outcome: str = "",
    *,
    short: bool = False,
) -> Text:
    """The words of a notice of some kind about a loan; `short` ones for a telephone.

    `position` is what the ledger says of the loan at the moment, `ground` what of it the notice may say (see
    `duly.domain.notice.ground`). The text carries the code under which the notice will be served. Without a
    `template_set` that was loaded, the templates that come with the program are used. `outcome` is that of an
    answer to a grievance (see `duly.services.plan.OUTCOMES`).

    Raises: UnknownLocale; InvalidTemplates, from those templates.
    """
    sample = Sample(kind, loan, position, ground, outcome)
    return render_together([sample], place, locale, template_set, short=short)


def render_together(
    notices: Sequence[Saying],
    place: Place,
    locale: str = "en",
    template_set: TemplateSet | None = None,
    *,
    short: bool = False,
) -> Text:
    """The words of a message with several reminders, each with its own code, or with one notice; `short` ones
    are for a telephone, and tell of one notice.

    Raises: UnknownLocale; InvalidTemplates, as `render`.
    """
    if locale not in LOCALES:
        raise UnknownLocale(f"there are no notices in {locale!r}", wanted=" or ".join(LOCALES))
    return Text(*(template_set or templates()).render(_situation(notices, place, locale, short=short)))


def locale_for(language: str) -> str:
    """The language to write in to somebody who prefers one: that one where there are notices in it, else
    English.
    """
    return language if language in LOCALES else "en"


@cache
def templates() -> TemplateSet:
    """The templates that come with the program, checked against the rules of the STRICT pack.

    Raises: InvalidTemplates.
    """
    found = shipped_templates()
    check_templates(found, strict_rules())
    return found


def templates_hash() -> bytes:
    """The hash of the templates that come with the program: what is published with a policy."""
    return templates().hash


def load_templates(folder: Path | None, rules: WordRules | None = None) -> TemplateSet:
    """The templates of a folder, or those that come with the program, checked against rules; by default
    against those of the STRICT pack.

    Raises: InvalidTemplates.
    """
    found = templates() if folder is None else read_templates(folder)
    check_templates(found, rules or strict_rules())
    return found


def check_templates(found: TemplateSet, rules: WordRules) -> None:
    """Refuse templates that break rules about words in any situation, or have a branch that no sample takes.

    Raises: InvalidTemplates, which names the file, and the line or phrase that is missing or prohibited.
    """
    found.check(rules, trials())


@cache
def trials() -> Trials:
    """What templates are tried in."""
    return Trials(situations())


@cache
def situations() -> tuple[Situation, ...]:
    """Every sample in every language, alone, together with others, and short, with the values that its
    template may name.
    """
    found = [
        _situation(notices, _SOMEWHERE, locale)
        for notices in (*((one,) for one in samples()), *together())
        for locale in LOCALES
    ]
    return (*found, *(_shortened(each) for each in found if len(each.notices) == 1))


def _situation(notices: Sequence[Saying], place: Place, locale: str, *, short: bool = False) -> Situation:
    found = Situation(
        locale,
        tuple(
            (
                one.kind,
                _values(one.kind, one.loan, one.position, one.ground, place, locale, one.outcome),
            )
            for one in notices
        ),
    )
    return _shortened(found) if short else found


def _shortened(situation: Situation) -> Situation:
    """The same for a telephone, in the alphabet of its network: any other makes a text twice as dear."""
    ((kind, values),) = situation.notices
    plain = {**values, "lender": str(values["lender"]).replace("…", "..")}
    return Situation(situation.locale, ((kind, plain),), short=True)


def _values(
    kind: Kind,
    loan: Loan,
    position: Position,
    ground: Ground,
    place: Place,
    locale: str,
    outcome: str,
) -> dict[str, object]:
    """What the template of a kind may name; anything else is an error when it is rendered."""
    terms, curve = loan.terms, loan.curve
    money, day = money_in(place, locale), day_in(locale)
    late_fee = money(terms.late_fee) if terms.late_fee else ""
    at_once = terms.schedule is Schedule.BULLET or terms.instalments == 1
    split = split_of(kind, loan, position, ground)
    in_part = False
    asks = kind.is_reminder or kind is Kind.ARREARS
    if split and asks:
        # Something was credited to the instalment already, so that the order of payment matters.
        in_part = loan.curve.cumulative(max(0, position.first_unpaid - 1)) < position.paid
    values: dict[str, object] = {
        "reference": loan.id.hex()[:8],
        "loan": "0x" + loan.id.hex(),
        "lender": _short(loan.lender),
        "ledger": to_checksum_address(place.ledger),
        "registry": to_checksum_address(place.notices),
        "consents": to_checksum_address(place.consents),
        "chain": place.chain_id,
        "code": "0x" + notice_id(loan.id, kind, ground.basis, ground.serial).hex(),
        "amount": money(ground.amount) if ground.amount else "",
        "today": day(position.today),
        "zone": zone_of(terms.calendar_offset),
        "instalments": terms.instalments,
        "at_once": at_once,
        "principal_part": money(split.principal) if split else "",
        "interest_part": money(split.interest) if split else "",
        # A reminder of a loan without late fees does not speak of them.
        "fee_part": money(split.fee) if split and (terms.late_fee or not asks) else "",
        "in_part": in_part,
    }
    tells = kind in (Kind.PAYMENT_RECEIVED, Kind.LOAN_ASSIGNED) or kind.grievance is not None
    if kind in _NOTHING_TO_PAY or (tells and loan.owed == 0):
        # Nothing is to be paid, so nothing tells how.
        values |= {"ledger": "", "loan": ""}
    if kind is Kind.LOAN_OPENED:
        values |= {
            "opened_date": day(calendar.local_day(loan.opened_at, terms.calendar_offset)),
            "received": money(terms.received),
            "origination_fee": money(terms.origination_fee) if terms.origination_fee else "",
        }
    elif kind is Kind.LOAN_AMENDED:
        values |= {"fees": money(position.fees) if position.fees else ""}
    if kind in (Kind.LOAN_OPENED, Kind.LOAN_AMENDED):
        values |= {
            # An origination fee is part of the principal, late fees stand beside it: each is told by itself.
            "fee_part": "",
            "schedule": terms.schedule.name.lower(),
            "frequency": terms.frequency.name.lower(),
            "instalment": money(loan.instalment),
            "first": money(curve.cumulative(1)),
            "last": money(loan.total - curve.cumulative(terms.instalments - 1)),
            "total": money(loan.total),
            "rate": format_decimal(Decimal(terms.rate) * 100 / PPM, format="0.####", locale=Locale(locale))
            + " %",
            "due_date": day(schedule.due_day(terms, terms.instalments) if at_once else terms.first_due),
            "late_fee": late_fee,
            "grace_days": terms.grace_days,
        }
    elif kind in (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY):
        values |= {
            "number": ground.instalment,
            "due_date": day(position.next_due_day),
            "late_fee": late_fee,
            "grace_date": day(position.next_due_day + terms.grace_days),
        }
    elif kind is Kind.OVERDUE:
        values |= {
            "number": ground.instalment,
            "last_number": position.next - 1 if position.next else terms.instalments,
            "due_date": day(position.first_unpaid_due_day),
            "late_fee": late_fee,
            "grace_days": terms.grace_days,
        }
    elif kind is Kind.ARREARS:
        values |= {
            "missed": position.missed,
            "due_date": day(position.first_unpaid_due_day),
            "late_fee": late_fee,
            "grace_days": terms.grace_days,
        }
    elif kind is Kind.PAID_AHEAD:
        values |= {"number": ground.instalment, "due_date": day(position.next_due_day)}
    elif kind is Kind.COOLING_OFF_ENDING:
        values |= {"last_day": day(ground.last_day)}
    elif kind is Kind.LOAN_ASSIGNED:
        values |= {
            "closed": loan.owed == 0,
            "new_lender": to_checksum_address(position.lender),
            "new_servicer": to_checksum_address(position.servicer) if int(position.servicer, 16) else "",
        }
    elif kind.grievance is not None:
        values |= {
            "closed": loan.owed == 0,
            "lodged_date": day(calendar.local_day(ground.basis, terms.calendar_offset)),
            "outcome": outcome,
        }
    elif kind is Kind.PAYMENT_RECEIVED:
        values |= {
            "paid": money(position.paid),
            # Nothing was said of it yet, so what it began with is part of the amount.
            "carried": loan.amends and ground.amount == position.paid,
            "closed": loan.owed == 0,
            "replaced": position.status is Status.REPLACED,
            "overdue": money(position.overdue) if position.overdue else "",
            "fees": money(position.fees) if position.fees else "",
            "number": position.next,
            "next_amount": money(position.next_amount) if position.next_amount else "",
            "due_date": day(position.next_due_day),
        }
    return values


_NOTHING_TO_PAY = (Kind.LOAN_REPAID, Kind.PAID_AHEAD, Kind.CONSENT_CHANGED)


def money_in(place: Place, locale: str) -> Callable[[int], str]:
    """Amounts as people write them, exact: two decimals, more only where they are not zero."""
    shown = min(2, place.decimals)
    pattern = "#,##0" + "." * bool(shown) + "0" * shown + "#" * (place.decimals - shown)
    language = Locale(locale)

    def money(units: int) -> str:
        amount = Decimal(units).scaleb(-place.decimals, _EXACT)
        # Not as a currency: Babel would round to the decimals that it believes in, and write USDe as USDE.
        return format_decimal(amount, pattern, language, decimal_quantization=False) + f" {place.symbol}"

    return money


def day_in(locale: str) -> Callable[[int], str]:
    """Days by their number since 1970-01-01 as people write them, with the weekday."""
    pattern, language = _DATES[locale], Locale(locale)

    def day(number: int) -> str:
        return format_date(_EPOCH + timedelta(days=number), pattern, language)

    return day


def zone_of(offset: int) -> str:
    """A UTC offset in quarter hours as people write it: UTC+8, UTC-3:30."""
    hours, quarters = divmod(abs(offset), 4)
    if not offset:
        return "UTC"
    return f"UTC{'-' if offset < 0 else '+'}{hours}" + (f":{quarters * 15}" if quarters else "")


def _short(address: str) -> str:
    """Enough of an address to know it again."""
    whole = to_checksum_address(address)
    return f"{whole[:6]}…{whole[-4:]}"
