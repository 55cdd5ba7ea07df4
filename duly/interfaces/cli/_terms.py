"""The options that tell a loan's terms, for every command that takes them, and what they come to."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from duly.domain import amounts, calendar
from duly.domain.errors import InvalidInput, InvalidTerms, OriginationFeeTooLarge
from duly.domain.terms import Frequency, Schedule
from duly.interfaces.cli.plan import parse_moment

_DAY = ["%Y-%m-%d"]
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d{1,2})(?::(00|15|30|45))?", re.ASCII)
_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)


class ScheduleName(StrEnum):
    """`Schedule`, as people type it."""

    LEVEL = "level"
    EQUAL_PRINCIPAL = "equal-principal"
    INTEREST_ONLY = "interest-only"
    BULLET = "bullet"

    @property
    def schedule(self) -> Schedule:
        return Schedule[self.name]


class FrequencyName(StrEnum):
    """`Frequency`, as people type it."""

    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    WEEKLY = "weekly"
    FORTNIGHTLY = "fortnightly"
    FOUR_WEEKLY = "four-weekly"

    @property
    def frequency(self) -> Frequency:
        return Frequency[self.name]


# Apart from their types, for a command to which a loan's terms are one choice of two.
PRINCIPAL = typer.Option(help="Amount lent, in the currency's units, such as 10000.00.")
RATE = typer.Option(help="Nominal rate in per cent a year, such as 11.22.")
INSTALMENTS = typer.Option(help="Number of instalments, 1 to 600; of a bullet, of periods until it is due.")
FIRST_DUE = typer.Option(
    formats=_DAY,
    metavar="YYYY-MM-DD",
    help="Day on which the first is due; of a bullet, on which its first period ends.",
)

Principal = Annotated[str, PRINCIPAL]
Rate = Annotated[str, RATE]
Instalments = Annotated[int, INSTALMENTS]
FirstDue = Annotated[datetime, FIRST_DUE]
ScheduleOption = Annotated[
    ScheduleName,
    typer.Option(
        "--schedule",
        help="level: the same amount each time. equal-principal: the same principal, with the interest on "
        "what is outstanding. interest-only: the principal with the last. bullet: all at once at the end.",
    ),
]
FrequencyOption = Annotated[FrequencyName, typer.Option("--frequency", help="How often one is due.")]
OriginationFee = Annotated[
    str, typer.Option(help="Part of the principal that the lender keeps, such as 250.00.")
]
LateFee = Annotated[
    str, typer.Option(help="Fixed fee for an instalment that is not paid in its grace period.")
]
GraceDays = Annotated[
    int | None, typer.Option(help="Days after a due day before its late fee; by default the policy's.")
]
EXPIRES_HELP = (
    "a day such as 2026-12-30, to its end in the loan's calendar, or a moment such as 2026-12-30T18:00+08:00."
)
CalendarOffset = Annotated[
    str, typer.Option(metavar="OFFSET", help="The loan's calendar, from UTC, such as +08:00.")
]
Salt = Annotated[str, typer.Option(metavar="0x…", help="32 bytes that make otherwise equal terms distinct.")]
NO_SALT = "0x" + 64 * "0"
Decimals = Annotated[int, typer.Option(min=0, max=26, help="Decimals of the currency.")]


def day_of(moment: datetime) -> int:
    """The day's number. Raises: InvalidTerms, where it is before 1970."""
    day = calendar.day_of(moment.year, moment.month, moment.day)
    if day < 0:
        raise InvalidTerms(f"{calendar.iso(day)} is before 1970", wanted="1970-01-01 or later")
    return day


def origination_fee_of(text: str, principal: int, decimals: int) -> int:
    """The origination fee in the smallest unit, zero or more.

    Raises: InvalidAmount; OriginationFeeTooLarge, where nothing of the principal would be left.
    """
    fee = amounts.to_units(amounts.decimal(text), decimals)
    if not 0 <= fee < principal:
        raise OriginationFeeTooLarge(
            f"an origination fee of {text} is out of range",
            wanted=f"from 0 to less than {amounts.in_currency(principal, decimals)}",
        )
    return fee


def offset_of(text: str) -> int:
    """An offset from UTC in quarter hours. Raises: InvalidInput."""
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{amounts.shown(text)} is no offset from UTC", wanted="such as +08:00 or -03:30")
    quarters = 4 * int(found[2]) + int(found[3] or 0) // 15
    return -quarters if found[1] == "-" else quarters


def expires_of(text: str, offset: int) -> int:
    """The last second (UTC) of an offer, of which a day or a moment was given. Raises: InvalidInput."""
    moment = parse_moment(text)
    if _ISO_DAY.fullmatch(text):
        return calendar.start_of(calendar.local_day(moment, 0) + 1, offset) - 1
    return moment


def salt_of(text: str) -> bytes:
    """32 bytes. Raises: InvalidInput."""
    if not _HASH.fullmatch(text):
        raise InvalidInput(f"{amounts.shown(text)} is no salt", wanted="0x and 64 hexadecimal digits")
    return bytes.fromhex(text[2:])
