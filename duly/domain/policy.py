"""What a loan may cost and when its borrower may be contacted. Mirrors `contracts/PolicyBook.sol`.

The limits are what the chain keeps. A pack is where they come from: a file that a compliance officer can read
and check, in which every value tells its source.
"""

import json
from dataclasses import dataclass
from datetime import date, time
from enum import IntEnum
from typing import Annotated, Generic, Literal, Self, TypeVar, get_args

from eth_hash.auto import keccak
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from duly.domain import amortisation
from duly.domain.errors import InvalidInput
from duly.domain.words import LineId, Phrases, WordRules


class InvalidPolicy(InvalidInput):
    """No policy book accepts these limits."""


class AprConvention(IntEnum):
    """How an annual percentage rate is annualised."""

    NOMINAL = 0
    EFFECTIVE = 1


@dataclass(frozen=True, slots=True)
class LendingLimits:
    """What a loan made under a policy may cost. Frozen at publication.

    `apr_cap` in parts per million, read by `apr_convention`; `late_fee_cap` in basis points of the smallest
    regular instalment; the rest in days.
    """

    apr_cap: int
    apr_convention: AprConvention
    late_fee_cap: int
    min_grace_days: int
    cooling_off_days: int
    default_days: int

    def apr_cap_of_period(self, periods_per_year: int) -> int:
        """The highest rate of one period, in ray: a share of a nominal cap, the root of an effective one."""
        effective = self.apr_convention is AprConvention.EFFECTIVE
        of_period = amortisation.period_rate_of_effective if effective else amortisation.period_rate
        return of_period(self.apr_cap, periods_per_year)


@dataclass(frozen=True, slots=True)
class ContactLimits:
    """When and how often a borrower may be contacted. May be tightened, never loosened.

    `opens` and `closes` are minutes of the local day, contact being over by `closes`; `lead` is the seconds
    of the window that must be left when a notice is served; bit 0 of `weekdays` is Monday; `per_day` and
    `per_week` cap reminders in any 24 hours and 7 days, `gap` is the least seconds between two;
    `upcoming_days` before and `overdue_days` after a due day bound when it may be spoken of; `pause_days` is
    how long reminders rest after an answer. A bit for each `Grievance` tells in `rest_all_loans` whether one
    rests reminders about all loans of the borrower, in `rest_fees` whether late fees rest as well.
    """

    opens: int
    closes: int
    lead: int
    weekdays: int
    per_day: int
    per_week: int
    gap: int
    upcoming_days: int
    overdue_days: int
    pause_days: int
    rest_all_loans: int = 0
    rest_fees: int = 0


# Bounds that no policy can loosen.
EARLIEST_OPENING = 7 * 60
LATEST_CLOSING = 22 * 60
SHORTEST_WINDOW = 3 * 60
LONGEST_LEAD = 30 * 60
MOST_PER_WEEK = 7
LONGEST_GAP = 31 * 86_400
MOST_UPCOMING_DAYS = 31
_BYTE = 255
_EVERY_GRIEVANCE = 7


def out_of_bounds(limits: ContactLimits) -> list[tuple[str, int, int, int]]:
    """What a policy book would refuse to publish: field, value, least and most, in the book's order."""
    bounds = (
        ("opens", EARLIEST_OPENING, LATEST_CLOSING - SHORTEST_WINDOW),
        ("closes", limits.opens + SHORTEST_WINDOW, LATEST_CLOSING),
        ("lead", 0, LONGEST_LEAD),
        ("weekdays", 1, 127),
        ("per_week", 1, MOST_PER_WEEK),
        ("per_day", 1, limits.per_week),
        ("gap", 0, LONGEST_GAP),
        ("upcoming_days", 0, MOST_UPCOMING_DAYS),
        # A day not yet over is not missed, so nothing can be overdue before the first day after it.
        ("overdue_days", 1, _BYTE),
        ("pause_days", 0, _BYTE),
        ("rest_all_loans", 0, _EVERY_GRIEVANCE),
        ("rest_fees", 0, _EVERY_GRIEVANCE),
    )
    values = ((field, getattr(limits, field), least, most) for field, least, most in bounds)
    return [found for found in values if not found[2] <= found[1] <= found[3]]


def check_bounds(limits: ContactLimits) -> None:
    """Refuse contact limits that no policy book would publish.

    Raises: InvalidPolicy, naming every limit that is out of bounds.
    """
    found = out_of_bounds(limits)
    if found:
        raise InvalidPolicy(
            "; ".join(f"{field} is {value}" for field, value, _, _ in found),
            wanted="; ".join(f"{field} from {least} to {most}" for field, _, least, most in found),
        )


# ---------------------------------------------------------------------------------------- packs


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


T = TypeVar("T")

Origin = Literal["primary", "secondary", "unverified", "chosen"]
"""How a value is known: read in the text of the law or regulator; read about in the press, at a law firm or
the like; remembered, and to be checked before anyone relies on it; no rule's value but the pack's own choice.
"""


class Value(_Frozen, Generic[T]):
    """One value of a pack: where it comes from, how it is known, and as of when."""

    value: T
    source: Annotated[str, Field(min_length=1)]
    status: Origin
    as_of: date


Weekday = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_WEEKDAYS = get_args(Weekday)


def _whole_minutes(moment: time) -> time:
    if moment.second or moment.microsecond or moment.tzinfo:
        raise ValueError("a time of day is in whole minutes, such as 09:00:00")
    return moment


def _each_once(days: list[Weekday]) -> list[Weekday]:
    if len(set(days)) != len(days):
        raise ValueError("a weekday is named twice")
    return days


TimeOfDay = Annotated[time, AfterValidator(_whole_minutes)]
Weekdays = Annotated[list[Weekday], Field(min_length=1), AfterValidator(_each_once)]
Byte = Annotated[int, Field(ge=0, le=_BYTE)]
TwoBytes = Annotated[int, Field(ge=0, le=2**16 - 1)]
FourBytes = Annotated[int, Field(ge=0, le=2**32 - 1)]


class PackLending(_Frozen):
    """`LendingLimits`, with sources. The same names and units."""

    apr_cap: Value[FourBytes]
    apr_convention: Value[Literal["nominal", "effective"]]
    late_fee_cap: Value[TwoBytes]
    min_grace_days: Value[Byte]
    cooling_off_days: Value[Byte]
    default_days: Value[TwoBytes]


class PackContact(_Frozen):
    """`ContactLimits`, with sources. The same names; times of day and weekdays by name."""

    opens: Value[TimeOfDay]
    closes: Value[TimeOfDay]
    lead: Value[TwoBytes]
    weekdays: Value[Weekdays]
    per_day: Value[Byte]
    per_week: Value[Byte]
    gap: Value[FourBytes]
    upcoming_days: Value[Byte]
    overdue_days: Value[Byte]
    pause_days: Value[Byte]


Kinds = Annotated[list[str], Field(min_length=1)]


class PackWords(_Frozen):
    """`WordRules`, with sources. The same names; a pack's own come on top of STRICT's."""

    required: dict[LineId, Value[Kinds]] = {}
    prohibited: dict[str, Value[Phrases]] = {}
    telling: Value[Phrases] | None = None

    @property
    def rules(self) -> WordRules:
        """As a text is checked against them."""
        return WordRules(
            required={line: kinds.value for line, kinds in self.required.items()},
            prohibited={group: phrases.value for group, phrases in self.prohibited.items()},
            telling=self.telling.value if self.telling else {},
        )


class PolicyPack(_Frozen):
    """The limits of one jurisdiction, or of none, with where each comes from.

    `as_of` is when the pack was last read through as a whole. A pack whose contact limits no policy book
    would publish cannot be made.
    """

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9-]*$")]
    title: str
    as_of: date
    lending: PackLending
    contact: PackContact
    words: PackWords = PackWords()

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        try:
            check_bounds(self.contact_limits)
        except InvalidPolicy as error:
            raise ValueError(str(error)) from None
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
        )

    @property
    def pack_hash(self) -> bytes:
        """Keccak-256 of the whole pack as JSON, keys sorted, without spaces: what a policy book publishes."""
        content = self.model_dump(mode="json")
        return keccak(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
