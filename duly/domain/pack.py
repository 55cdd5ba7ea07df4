"""Policy packs: the rules of one jurisdiction, or of none, in which every value tells where it comes from.

A part of a pack, `lending` and `contact`, is what a policy book keeps on chain. The rest stands beside it:
rules of single channels, grievances, deadlines, prices. The pack's hash, which is published, covers both.

What is *tighter* is said once, here, beside each field: tighter is what helps the borrower more. An overlay
may only tighten what it is laid over, and what nobody has read in a rule may not be looser than STRICT.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, time
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar, get_args

from eth_hash.auto import keccak
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from duly.domain.policy import (
    AprConvention,
    ContactLimits,
    InvalidPolicy,
    LendingLimits,
    check_bounds,
)
from duly.domain.words import EVERY, LineId, Phrases, WordRules, join_phrases

# ---------------------------------------------------------------------------------------- tighter


class Comparison(StrEnum):
    """How one value stands to another of the same field."""

    SAME = "same"
    TIGHTER = "tighter"
    LOOSER = "looser"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Tightness:
    """What is tighter in a field, and what its numbers count.

    holds: the first value is at least as tight as the second. unit: see `text_of`. like: the value of STRICT
    that it is measured by, where that is another field's. on_top: what STRICT says holds beside it, so that
    it is measured by nothing.
    """

    holds: Callable[[Any, Any], bool]
    unit: str = ""
    like: str | None = None
    on_top: bool = False

    def compare(self, value: object, other: object) -> Comparison:
        """How the first value stands to the second; a value that is missing binds nobody, so any is
        tighter.
        """
        if value == other:
            return Comparison.SAME
        if value is None or other is None:
            return Comparison.LOOSER if value is None else Comparison.TIGHTER
        if self.holds(value, other):
            return Comparison.TIGHTER
        return Comparison.LOOSER if self.holds(other, value) else Comparison.NEITHER


def _less(unit: str = "", like: str | None = None) -> Tightness:
    return Tightness(lambda value, other: value <= other, unit, like)


def _more(unit: str = "", like: str | None = None) -> Tightness:
    return Tightness(lambda value, other: value >= other, unit, like)


def _later_in(*order: str) -> Tightness:
    return Tightness(lambda value, other: order.index(value) >= order.index(other))


def _cheaper() -> Tightness:
    return Tightness(lambda value, other: value.currency == other.currency and value.amount <= other.amount)


def _no_kind_less(kinds: list[str], other: list[str]) -> bool:
    return EVERY in kinds or set(other) <= set(kinds)


def _no_phrase_less(phrases: Phrases, other: Phrases) -> bool:
    return all(set(given) <= set(phrases.get(locale, ())) for locale, given in other.items())


FEWER: Final = Tightness(lambda value, other: set(value) <= set(other))
RATHER_YES: Final = Tightness(lambda value, other: value or not other)
MORE_KINDS: Final = Tightness(_no_kind_less, on_top=True)
MORE_PHRASES: Final = Tightness(_no_phrase_less, on_top=True)
THE_SAME: Final = Tightness(lambda value, other: bool(value == other))


# ---------------------------------------------------------------------------------------- one value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


T = TypeVar("T")

Origin = Literal["verified", "secondary", "unverified", "chosen"]
"""How a value is known: read in the text of the law or regulator; read about in the press, at a law firm or
the like; remembered, and to be checked before anyone relies on it; no rule's value but the pack's own choice.
"""
ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)
_UNREAD: Final[tuple[Origin, ...]] = ("unverified", "chosen")


class Value(_Frozen, Generic[T]):
    """One value of a pack: where it comes from, how it is known, and as of when."""

    value: T
    source: Annotated[str, Field(min_length=1)]
    status: Origin
    as_of: date


class Money(_Frozen):
    """An amount in the smallest unit of a currency, which has two decimals."""

    amount: Annotated[int, Field(ge=0)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


Weekday = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)
_WEEKEND: Final = {"Saturday", "Sunday"}
_BYTE = 255


def _whole_minutes(moment: time) -> time:
    if moment.second or moment.microsecond or moment.tzinfo:
        raise ValueError("a time of day is in whole minutes, such as 09:00:00")
    return moment


def _each_once(days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
    if len(set(days)) != len(days):
        raise ValueError("a weekday is named twice")
    return tuple(sorted(days, key=_WEEKDAYS.index))


TimeOfDay = Annotated[time, AfterValidator(_whole_minutes)]
# Lists become tuples, so that nothing in a pack can be changed.
Weekdays = Annotated[tuple[Weekday, ...], Field(min_length=1, strict=False), AfterValidator(_each_once)]
Byte = Annotated[int, Field(ge=0, le=_BYTE)]
TwoBytes = Annotated[int, Field(ge=0, le=2**16 - 1)]
FourBytes = Annotated[int, Field(ge=0, le=2**32 - 1)]
Count = Annotated[int, Field(ge=1, le=2**16 - 1)]


def text_of(value: object, unit: str = "") -> str:
    """A value for people: rates in per cent, durations in hours or minutes, times of day as 09:00.

    unit: `ppm` (parts per million), `bp` (basis points), `s` (seconds), or any other noun, which is put
    behind.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, time):
        return f"{value:%H:%M}"
    if isinstance(value, Money):
        return f"{value.amount // 100}.{value.amount % 100:02} {value.currency}"
    if isinstance(value, tuple):
        return _days_text(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{len(phrases)} in {locale}" for locale, phrases in value.items())
    if not isinstance(value, int):
        return str(value)
    if unit in ("ppm", "bp"):
        whole, rest = divmod(value, 10_000 if unit == "ppm" else 100)
        digits = f"{rest:0{4 if unit == 'ppm' else 2}}".rstrip("0")
        return f"{whole}.{digits} %" if digits else f"{whole} %"
    if unit == "s":
        for seconds, name in ((3600, "h"), (60, "min")):
            if value and value % seconds == 0:
                return f"{value // seconds} {name}"
        return f"{value} s"
    if unit and value == 1:
        return f"1 {unit.removesuffix('s')}"
    return f"{value:,} {unit}".rstrip()


def _days_text(days: tuple[str, ...]) -> str:
    places = sorted(_WEEKDAYS.index(day) for day in days if day in _WEEKDAYS)
    if len(places) > 2 and places[-1] - places[0] == len(places) - 1 == len(days) - 1:
        return f"{_WEEKDAYS[places[0]]} to {_WEEKDAYS[places[-1]]}"
    return ", ".join(days)


# ---------------------------------------------------------------------------------------- on chain


class PackLending(_Frozen):
    """`LendingLimits`, with sources. The same names and units."""

    apr_cap: Annotated[Value[FourBytes], _less("ppm")]
    # A rate that compounds to the cap is lower than one that only adds up to it.
    apr_convention: Annotated[Value[Literal["nominal", "effective"]], _later_in("nominal", "effective")]
    late_fee_cap: Annotated[Value[TwoBytes], _less("bp")]
    min_grace_days: Annotated[Value[Byte], _more("days")]
    cooling_off_days: Annotated[Value[Byte], _more("days")]
    default_days: Annotated[Value[TwoBytes], _more("days")]


class PackContact(_Frozen):
    """`ContactLimits`, with sources. The same names; times of day and weekdays by name."""

    opens: Annotated[Value[TimeOfDay], _more()]
    closes: Annotated[Value[TimeOfDay], _less()]
    lead: Annotated[Value[TwoBytes], _more("s")]
    weekdays: Annotated[Value[Weekdays], FEWER]
    per_day: Annotated[Value[Byte], _less()]
    per_week: Annotated[Value[Byte], _less()]
    gap: Annotated[Value[FourBytes], _more("s")]
    upcoming_days: Annotated[Value[Byte], _less("days")]
    overdue_days: Annotated[Value[Byte], _more("days")]
    pause_days: Annotated[Value[Byte], _more("days")]


ON_CHAIN: Final[Mapping[str, type[_Frozen]]] = {"lending": PackLending, "contact": PackContact}
"""The sections that a policy book keeps."""
_ON_CHAIN_OF_GRIEVANCES: Final = ("scope", "fees_rest")
"""What it keeps of each grievance."""


# ---------------------------------------------------------------------------------------- off chain


class _Rules(_Frozen):
    """A section in which every value is optional, but one there must be."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if all(getattr(self, field) is None for field in type(self).model_fields):
            raise ValueError("there is no rule in it: leave the section out")
        return self


class Hours(_Frozen):
    """The window that a rule gives, where the pack's own is narrower: this one must contain it."""

    opens: Annotated[Value[TimeOfDay], _more()]
    closes: Annotated[Value[TimeOfDay], _less()]
    weekdays: Annotated[Value[Weekdays] | None, FEWER] = None


class ChannelRules(_Rules):
    """What holds for one channel beside the limits of all together.

    `per_day`, `per_week`: attempts to reach a borrower; `per_week_per_loan`: about one loan.
    `effective_per_day` counts those in which the borrower was reached, `unanswered_per_day` the others.
    `rest_days_after_conversation`: days without another attempt once the borrower was spoken to.
    """

    per_day: Annotated[Value[Count] | None, _less()] = None
    per_week: Annotated[Value[Count] | None, _less()] = None
    per_week_per_loan: Annotated[Value[Count] | None, _less()] = None
    effective_per_day: Annotated[Value[Count] | None, _less()] = None
    unanswered_per_day: Annotated[Value[Count] | None, _less()] = None
    rest_days_after_conversation: Annotated[Value[Byte] | None, _more("days")] = None


class Channels(_Rules):
    """The channels of which a rule speaks."""

    voice: ChannelRules | None = None
    email: ChannelRules | None = None
    sms: ChannelRules | None = None
    push: ChannelRules | None = None
    in_app: ChannelRules | None = None


class Grievance(_Frozen):
    """What a borrower's grievance stops, and for how long.

    `scope`: reminders about this loan rest, or about all loans of the borrower. `fees_rest`,
    `interest_rests`: nothing accrues while it stands. `lasts_days`: for how long it stands, answered or not.
    `answer_days`: in which it is to be answered. `rest_days`: for which reminders rest after the answer.
    """

    scope: Annotated[Value[Literal["loan", "borrower"]], _later_in("loan", "borrower")]
    fees_rest: Annotated[Value[bool] | None, RATHER_YES] = None
    interest_rests: Annotated[Value[bool] | None, RATHER_YES] = None
    lasts_days: Annotated[Value[Byte] | None, _more("days")] = None
    answer_days: Annotated[Value[Byte] | None, _less("days")] = None
    rest_days: Annotated[Value[Byte] | None, _more("days", like="contact.pause_days")] = None


class Grievances(_Rules):
    """The grievances of which a rule speaks."""

    dispute: Grievance | None = None
    hardship: Grievance | None = None
    representation: Grievance | None = None


class Retention(_Frozen):
    """For how long what proves a lender's conduct must be kept, in years after the last reminder."""

    records_years: Annotated[Value[Byte], _more("years")]


class Holidays(_Frozen):
    """On which days reminders rest. `country`: whose public holidays, by its two letters (ISO 3166).

    Where public holidays rest, a weekend that is worked in place of one is no day of rest. The gate, which
    knows weekdays alone, then has to allow weekends for it; the planner keeps the others.
    """

    country: Annotated[Value[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]], THE_SAME]
    public_holidays: Annotated[Value[bool] | None, RATHER_YES] = None
    weekends: Annotated[Value[bool] | None, RATHER_YES] = None


class Duty(_Rules):
    """Something that a lender owes a borrower, and its numbers.

    `since`: the day from which it is owed. `missed_payments`: after how many. `from_tenor_days`: for loans
    that are no shorter. `within_days`: by when it must be done. `every_months`: at least how often again.
    `right_days`: for how long the borrower may use the right that goes with it. `valid_working_days`: for how
    long what was said must be kept to.
    """

    since: Annotated[Value[date] | None, _less()] = None
    missed_payments: Annotated[Value[Count] | None, _less("payments")] = None
    from_tenor_days: Annotated[Value[TwoBytes] | None, _less("days")] = None
    within_days: Annotated[Value[TwoBytes] | None, _less("days")] = None
    every_months: Annotated[Value[Count] | None, _less("months")] = None
    right_days: Annotated[Value[TwoBytes] | None, _more("days")] = None
    valid_working_days: Annotated[Value[TwoBytes] | None, _more("working days")] = None


class PrivateLending(_Rules):
    """A cap that is a multiple of a reference rate: what it was when it was made, and what it is."""

    since: Annotated[Value[date] | None, _less()] = None
    multiple: Annotated[Value[Count] | None, _less()] = None
    reference_rate_then: Annotated[Value[FourBytes] | None, _less("ppm")] = None
    cap_then: Annotated[Value[FourBytes] | None, _less("ppm", like="lending.apr_cap")] = None
    reference_rate: Annotated[Value[FourBytes] | None, _less("ppm")] = None
    cap: Annotated[Value[FourBytes] | None, _less("ppm", like="lending.apr_cap")] = None

    @model_validator(mode="after")
    def _product(self) -> Self:
        for rate, cap in ((self.reference_rate_then, self.cap_then), (self.reference_rate, self.cap)):
            if self.multiple and rate and cap and cap.value > self.multiple.value * rate.value:
                raise ValueError(
                    f"the cap {text_of(cap.value, 'ppm')} is more than {self.multiple.value} times the "
                    f"reference rate {text_of(rate.value, 'ppm')}"
                )
        return self


class Military(_Frozen):
    """Loans to members of the armed forces and their families: the cap of their annual percentage rate."""

    apr_cap: Annotated[Value[FourBytes], _less("ppm")]


class Tolerance(_Frozen):
    """By how much a disclosed annual percentage rate may be wrong, of regular and irregular loans."""

    regular: Annotated[Value[FourBytes], _less("ppm")]
    irregular: Annotated[Value[FourBytes], _less("ppm")]


class HighCost(_Frozen):
    """Short-term loans of a high cost: interest and fees of a day; fees for lateness, in all; costs, in all,
    as a share of what was borrowed.
    """

    daily_cost_cap: Annotated[Value[FourBytes], _less("ppm")]
    default_fee_cap: Annotated[Value[Money], _cheaper()]
    total_cost_cap: Annotated[Value[FourBytes], _less("ppm")]


class Price(_Rules):
    """What rules say of prices beside the cap on chain, each for a kind of loan."""

    private_lending: PrivateLending | None = None
    military: Military | None = None
    tolerance: Tolerance | None = None
    high_cost: HighCost | None = None


# ---------------------------------------------------------------------------------------- words

Kinds = Annotated[list[str], Field(min_length=1)]


class PackWords(_Frozen):
    """`WordRules`, with sources. The same names; a pack's own come on top of STRICT's."""

    required: Annotated[dict[LineId, Value[Kinds]], MORE_KINDS] = {}
    prohibited: Annotated[dict[str, Value[Phrases]], MORE_PHRASES] = {}
    telling: Annotated[Value[Phrases] | None, MORE_PHRASES] = None

    @property
    def rules(self) -> WordRules:
        """As a text is checked against them."""
        return WordRules(
            required={line: kinds.value for line, kinds in self.required.items()},
            prohibited={group: phrases.value for group, phrases in self.prohibited.items()},
            telling=self.telling.value if self.telling else {},
        )


# ---------------------------------------------------------------------------------------- the pack

Name = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9-]*$")]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class PolicyPack(_Frozen):
    """The rules of one jurisdiction, or of none, with where each comes from.

    `as_of` is when the pack was last read through as a whole. `extends` is the pack that this one was laid
    over. A pack whose contact limits no policy book would publish cannot be made, nor one that contradicts
    itself.
    """

    name: Name
    title: Annotated[str, Field(min_length=1)]
    as_of: date
    extends: Name | None = None
    lending: PackLending
    contact: PackContact
    hours: Hours | None = None
    channels: Channels | None = None
    grievances: Grievances | None = None
    retention: Retention | None = None
    holidays: Holidays | None = None
    duties: Annotated[dict[Slug, Duty], Field(min_length=1)] | None = None
    price: Price | None = None
    words: PackWords | None = None

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        try:
            check_bounds(self.contact_limits)
        except InvalidPolicy as error:
            raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        contact, hours, holidays = self.contact, self.hours, self.holidays
        for field in ("opens", "closes", "weekdays") if hours else ():
            allowed = getattr(hours, field)
            value = getattr(contact, field).value
            if allowed and tightness_of(PackContact, field).compare(value, allowed.value) not in AS_TIGHT:
                raise ValueError(
                    f"contact.{field} is {text_of(value)}, outside of hours.{field}, {text_of(allowed.value)}"
                )
        worked = holidays and holidays.public_holidays and holidays.public_holidays.value
        if holidays and holidays.weekends and holidays.weekends.value and not worked:
            weekend = [day for day in contact.weekdays.value if day in _WEEKEND]
            if weekend:
                raise ValueError(
                    f"contact.weekdays has {', '.join(weekend)}, but reminders rest on weekends "
                    "(holidays.weekends)"
                )
        return self

    @property
    def lending_limits(self) -> LendingLimits:
        """As a policy book takes them."""
        lending = self.lending
        return LendingLimits(
            apr_cap=lending.apr_cap.value,
            apr_convention=AprConvention[lending.apr_convention.value.upper()],
            late_fee_cap=lending.late_fee_cap.value,
            min_grace_days=lending.min_grace_days.value,
            cooling_off_days=lending.cooling_off_days.value,
            default_days=lending.default_days.value,
        )

    @property
    def contact_limits(self) -> ContactLimits:
        """As a policy book takes them."""
        contact = self.contact
        return ContactLimits(
            opens=contact.opens.value.hour * 60 + contact.opens.value.minute,
            closes=contact.closes.value.hour * 60 + contact.closes.value.minute,
            lead=contact.lead.value,
            weekdays=sum(1 << _WEEKDAYS.index(day) for day in contact.weekdays.value),
            per_day=contact.per_day.value,
            per_week=contact.per_week.value,
            gap=contact.gap.value,
            upcoming_days=contact.upcoming_days.value,
            overdue_days=contact.overdue_days.value,
            pause_days=contact.pause_days.value,
            rest_all_loans=self._grievances(lambda found: found.scope.value == "borrower"),
            rest_fees=self._grievances(lambda found: bool(found.fees_rest and found.fees_rest.value)),
        )

    def _grievances(self, holds: Callable[[Grievance], bool]) -> int:
        """The bits of the grievances of which something holds, as a policy book takes them."""
        found = self.grievances or Grievances.model_construct()
        each = enumerate((found.dispute, found.hardship, found.representation))
        return sum(1 << bit for bit, grievance in each if grievance and holds(grievance))

    @property
    def pack_hash(self) -> bytes:
        """Keccak-256 of the whole pack as JSON, keys sorted, without spaces and without what is left out:
        what a policy book publishes. Of an overlay, with everything that it was laid over.
        """
        content = self.model_dump(mode="json", exclude_none=True)
        return keccak(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())

    def entries(self) -> "dict[str, Entry]":
        """Every value by its path, such as `contact.opens`, in the pack's order."""
        return {entry.path: entry for entry in _entries(self, "")}


AS_TIGHT: Final = (Comparison.SAME, Comparison.TIGHTER)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in its place."""

    path: str
    found: Value[Any]
    tightness: Tightness

    @property
    def text(self) -> str:
        """The value, for people."""
        return text_of(self.found.value, self.tightness.unit)

    @property
    def on_chain(self) -> bool:
        """A policy book keeps it."""
        section, _, rest = self.path.partition(".")
        of_grievance = section == "grievances" and rest.split(".")[-1] in _ON_CHAIN_OF_GRIEVANCES
        return section in ON_CHAIN or of_grievance


def tightness_of(section: type[BaseModel], field: str) -> Tightness:
    """What is tighter in a field of a section; where nothing is said, only the same will do."""
    said = (item for item in section.model_fields[field].metadata if isinstance(item, Tightness))
    return next(said, THE_SAME)


def _entries(section: BaseModel, prefix: str) -> Iterator[Entry]:
    for field in type(section).model_fields:
        found, path = getattr(section, field), prefix + field
        if isinstance(found, Value):
            yield Entry(path, found, tightness_of(type(section), field))
        elif isinstance(found, BaseModel):
            yield from _entries(found, path + ".")
        elif isinstance(found, dict):
            for key, inner in found.items():
                if isinstance(inner, Value):
                    yield Entry(f"{path}.{key}", inner, tightness_of(type(section), field))
                elif isinstance(inner, BaseModel):
                    yield from _entries(inner, f"{path}.{key}.")


# ---------------------------------------------------------------------------------------- comparing


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that two packs do not share. `comparison` tells how the first stands to the second."""

    path: str
    first: Entry | None
    second: Entry | None
    comparison: Comparison


def differences(first: PolicyPack, second: PolicyPack, strict: PolicyPack | None = None) -> list[Difference]:
    """What differs in value between two packs, in the order of the first. Where one has no rule, it is
    looser.

    strict: where given, what it says and every pack's own comes on top of is added to both.
    """
    ours, theirs = first.entries(), second.entries()
    for entry in strict.entries().values() if strict else ():
        if entry.tightness.on_top:
            for entries in (ours, theirs):
                entries[entry.path] = _on_top(entries.get(entry.path), entry)
    found = []
    for path in ours | theirs:
        one, other = ours.get(path), theirs.get(path)
        tightness = (one or theirs[path]).tightness
        comparison = tightness.compare(one and one.found.value, other and other.found.value)
        if comparison is not Comparison.SAME:
            found.append(Difference(path, one, other, comparison))
    return found


def _on_top(entry: Entry | None, under: Entry) -> Entry:
    """What holds of words: STRICT's and the pack's own together."""
    if entry is None:
        return under
    value, below = entry.found.value, under.found.value
    if isinstance(below, dict):
        joined: object = join_phrases(below, value)
    else:
        joined = list(dict.fromkeys([*below, *value]))
    if under.tightness.holds(below, joined):
        return under
    return replace(entry, found=entry.found.model_copy(update={"value": joined}))


def limit_values(limits: LendingLimits | ContactLimits) -> dict[str, object]:
    """Limits as a pack writes them, by their paths: times of day, weekdays and scopes by name."""
    section = "lending" if isinstance(limits, LendingLimits) else "contact"
    values = {
        f"{section}.{item.name}": _packed(item.name, getattr(limits, item.name))
        for item in fields(limits)
        if not item.name.startswith("rest_")
    }
    if isinstance(limits, ContactLimits):
        for bit, name in enumerate(Grievances.model_fields):
            values[f"grievances.{name}.scope"] = "borrower" if limits.rest_all_loans >> bit & 1 else "loan"
            values[f"grievances.{name}.fees_rest"] = bool(limits.rest_fees >> bit & 1)
    return values


def _packed(field: str, value: int) -> object:
    if field in ("opens", "closes"):
        return time(*divmod(value, 60)) if value < 24 * 60 else value
    if field == "weekdays":
        return tuple(day for place, day in enumerate(_WEEKDAYS) if value >> place & 1)
    return AprConvention(value).name.lower() if field == "apr_convention" else value


# ---------------------------------------------------------------------------------------- checking


def check_unread(pack: PolicyPack, strict: PolicyPack) -> None:
    """Refuse a pack in which a value that nobody has read in a rule is looser than STRICT's.

    Raises: InvalidPolicy, naming every such value.
    """
    measure = strict.entries()
    found = []
    for entry in pack.entries().values():
        wanted = measure.get(entry.path) or measure.get(entry.tightness.like or "")
        if wanted is None or entry.tightness.on_top or entry.found.status not in _UNREAD:
            continue
        if entry.tightness.compare(entry.found.value, wanted.found.value) not in AS_TIGHT:
            found.append(
                f"{entry.path} is {entry.text}, {entry.found.status}, and looser than {wanted.text} of "
                f"{strict.name}"
            )
    if found:
        raise InvalidPolicy(
            "; ".join(found),
            wanted=f"a value that is no looser than {strict.name}'s, or one that was read in a rule and is "
            "verified or secondary",
        )


def check_tightens(pack: PolicyPack, base: PolicyPack) -> None:
    """Refuse an overlay that is not at least as tight as its base in everything.

    Raises: InvalidPolicy, naming every value that is looser.
    """
    found = [
        f"{item.path} is {item.first.text if item.first else 'none'}, not tighter than "
        f"{item.second.text if item.second else 'none'} of {base.name}"
        for item in differences(pack, base)
        if item.comparison is not Comparison.TIGHTER
    ]
    if found:
        raise InvalidPolicy("; ".join(found), wanted="an overlay only tightens what it is laid over")


# ---------------------------------------------------------------------------------------- making

Content = Mapping[str, Any]
"""A pack as its file has it: tables in tables."""

_VALUE = frozenset(Value.model_fields)


def completed(content: Content, strict: PolicyPack) -> dict[str, Any]:
    """A pack's content, with STRICT's choices for what the chain needs and no rule gives."""
    whole = dict(content)
    for section, model in ON_CHAIN.items():
        given = whole.get(section, {})
        if not isinstance(given, Mapping):
            continue
        chosen = {
            field: _chosen(getattr(getattr(strict, section), field), strict.name)
            for field in model.model_fields
            if field not in given
        }
        whole[section] = {**given, **chosen}
    whole["grievances"] = _with_chosen_grievances(whole.get("grievances", {}), strict)
    return whole


def _with_chosen_grievances(given: Any, strict: PolicyPack) -> Any:
    """What each grievance rests is on chain too."""
    if not isinstance(given, Mapping) or strict.grievances is None:
        return given
    whole = dict(given)
    for name in Grievances.model_fields:
        ours, theirs = whole.get(name, {}), getattr(strict.grievances, name)
        if theirs is None or not isinstance(ours, Mapping):
            continue
        chosen = {
            field: _chosen(value, strict.name)
            for field in _ON_CHAIN_OF_GRIEVANCES
            if field not in ours and (value := getattr(theirs, field)) is not None
        }
        whole[name] = {**ours, **chosen}
    return whole


def _chosen(value: Value[Any], name: str) -> dict[str, Any]:
    return value.model_dump() | {
        "status": "chosen",
        "source": f"As in {name}, since no rule gives one. {value.source}",
    }


def laid_over(base: PolicyPack, content: Content) -> dict[str, Any]:
    """The content of an overlay, with everything of its base that it does not replace. A value is replaced
    with its source, status and date.
    """
    return _merged(base.model_dump(exclude_none=True), {**content, "extends": base.name})


def _merged(below: Content, above: Content) -> dict[str, Any]:
    merged = dict(below)
    for key, given in above.items():
        under = merged.get(key)
        tables = isinstance(given, Mapping) and isinstance(under, Mapping)
        if tables and not _VALUE & given.keys():
            merged[key] = _merged(under, given)  # type: ignore[arg-type]
        else:
            merged[key] = given
    return merged
