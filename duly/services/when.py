"""When, within what the gate allows, a notice is best said: on days that do not rest, in the hours and on the
days that the borrower wishes.

The gate's window and caps always hold; the pack's days of rest always hold for reminders. A borrower's wish
is kept where it can be:

- On a day on which the hours that they wish and the policy's have less than a quarter of an hour in common,
  the part of the policy's window that is nearest to them is taken: its last quarter of an hour where they
  wish for later, from its opening where they wish for earlier.
- Where those hours are over for the day, the next day that does is waited for. Where there is none before the
  notice's last day is over, it is said in the policy's window, rather than not at all.
- An upcoming reminder whose day rests is moved to the nearest earlier day that does not, else to the nearest
  later one before the due day. An overdue one is moved to the next day. What would be said on a due day that
  rests is said on the last day before it, as an upcoming reminder, unless one has its day then or the day
  before that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from duly.domain import calendar
from duly.domain.calendar import QUARTER_HOUR
from duly.domain.consent import Channel, Profile
from duly.domain.errors import InvalidInput
from duly.domain.notice import Facts
from duly.domain.pack import PolicyPack
from duly.domain.policy import ContactLimits
from duly.domain.preferences import NO_PREFERENCES, Preferences
from duly.services.policy import pack_published

SHORTEST_SPAN: Final = 15 * 60
"""Seconds that a borrower's hours and the policy's must have in common to count on a day."""

_APART: Final = 2
"""Days. Who is reminded on a day is not reminded on the next one in place of a due day that rests."""
_LOOK_AHEAD: Final = 60
"""Days after which no day is looked for that does not rest."""
_EPOCH: Final = date(1970, 1, 1)


class Wait(StrEnum):
    """Why something is not said yet that the gate would let through."""

    NONE = "none"
    ANOTHER_DAY = "another_day"
    """Its day has not come: the one that the borrower chose, or the next of several, spaced."""
    DAY_OF_REST = "day_of_rest"
    """On a weekend or a public holiday, the pack lets reminders rest."""
    ANOTHER_HOUR = "another_hour"
    """The borrower prefers another time of the day."""


# ---------------------------------------------------------------------------------------------- days of rest


@dataclass(frozen=True, slots=True)
class RestDays:
    """On which days a pack lets reminders rest; the fields of its section `holidays`.

    A weekend that is worked in place of a holiday does not rest.
    """

    country: str
    public_holidays: bool
    weekends: bool

    def why(self, day: int) -> str:
        """The name of the holiday, or of the day of the weekend; nothing where the day does not rest."""
        return _why(self, day)


@lru_cache(maxsize=2**16)
def _why(rest: RestDays, day: int) -> str:
    holidays = _holidays(rest.country, calendar.civil(day)[0])
    if rest.public_holidays and day in holidays.names:
        return holidays.names[day]
    weekday = (day + 3) % 7
    if rest.weekends and weekday in holidays.weekend and day not in holidays.worked:
        return f"{_EPOCH + timedelta(days=day):%A}"
    return ""


@dataclass(frozen=True, slots=True)
class _Holidays:
    names: dict[int, str]
    worked: frozenset[int]
    weekend: frozenset[int]


@cache
def _holidays(country: str, year: int) -> _Holidays:
    """A country's public holidays of a year by their day, the days of its weekends that are worked, and which
    weekdays its weekend has (Monday is 0).
    """
    # It takes a fifth of a second, which only who needs it should pay.
    import holidays

    # A weekend may be worked for a holiday of the next year.
    years = range(year - 1, year + 2)
    try:
        found = holidays.country_holidays(country, years=years, language="en_US")
    except NotImplementedError:
        raise InvalidInput(
            f"no public holidays are known of the country {country!r}",
            wanted="two letters (ISO 3166) of one that the package `holidays` has",
        ) from None
    return _Holidays(
        {(day - _EPOCH).days: name for day, name in found.items()},
        frozenset((day - _EPOCH).days for day in getattr(found, "weekend_workdays", ())),
        frozenset(found.weekend),
    )


@dataclass(frozen=True, slots=True)
class PackRules:
    """What a policy's pack says beside what the gate knows.

    name: of the pack, empty where it is none that comes with the program, so that nothing of it is known.
    arrears: after how many missed payments the borrower must be told of arrears, zero for never.
    """

    name: str = ""
    rest: RestDays | None = None
    arrears: int = 0


NO_RULES: Final = PackRules()


@cache
def rules_published(pack_hash: bytes) -> PackRules:
    """The rules of the pack that was published with a hash, where it comes with the program."""
    pack = pack_published(pack_hash)
    return rules_of(pack) if pack else NO_RULES


def rules_of(pack: PolicyPack) -> PackRules:
    """The rules of a pack."""
    found, rest = pack.holidays, None
    if found:
        rest = RestDays(
            found.country.value,
            bool(found.public_holidays and found.public_holidays.value),
            bool(found.weekends and found.weekends.value),
        )
    duty = (pack.duties or {}).get("arrears_notice")
    missed = duty.missed_payments.value if duty and duty.missed_payments else 0
    return PackRules(pack.name, rest, missed)


# ---------------------------------------------------------------------------------------------- local time


class UnknownZone(InvalidInput):
    """There is no such time zone."""


class OtherOffsets(InvalidInput):
    """The time zone has other UTC offsets than the borrower registered on chain."""


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def check_zone(name: str, profile: Profile | None = None) -> None:
    """Refuse a time zone that does not exist, or whose UTC offsets are not those that were registered.

    profile: what the borrower registered, none where nothing was yet.

    Raises: UnknownZone, OtherOffsets.
    """
    try:
        known = name in available_timezones() and bool(_zone(name))
    except (ZoneInfoNotFoundError, ValueError):
        known = False
    if not known:
        raise UnknownZone("there is no such time zone", wanted="its IANA name, such as Europe/Athens")
    if profile is None:
        return
    year = datetime.now(UTC).year
    if not agrees(name, profile.offset, profile.other_offset, year):
        wanted = sorted({profile.offset, profile.other_offset})
        raise OtherOffsets(
            f"{name} has {_offsets_text(offsets_of(name, year))}",
            wanted=f"{_offsets_text(wanted)}, as the borrower registered on chain",
            remedy="Name the zone that the borrower lives in; who moved registers the new offsets first.",
        )


@lru_cache(maxsize=4096)
def agrees(zone: str, offset: int, other_offset: int, year: int) -> bool:
    """Whether a zone has, in a year, just the two offsets (in quarter hours) that are registered on chain."""
    return offsets_of(zone, year) == sorted({offset, other_offset})


@lru_cache(maxsize=4096)
def offsets_of(zone: str, year: int) -> list[int]:
    """A zone's UTC offsets in a year, in quarter hours, rounded down."""
    days = (datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=7 * week) for week in range(53))
    return sorted({int(_offset_at(zone, int(day.timestamp()))) // QUARTER_HOUR for day in days})


def _offset_at(zone: str, moment: int) -> float:
    offset = datetime.fromtimestamp(moment, _zone(zone)).utcoffset()
    assert offset is not None  # the zone knows
    return offset.total_seconds()


def _offsets_text(offsets: list[int]) -> str:
    return " and ".join(offset_text(offset) for offset in offsets)


def offset_text(offset: int) -> str:
    """An offset in quarter hours as people write it, such as UTC+05:30."""
    hours, quarters = divmod(abs(offset), 4)
    return f"UTC{'-' if offset < 0 else '+'}{hours:02}:{quarters * 15:02}"


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A borrower's local time: of a time zone, or of the two UTC offsets that are registered on chain."""

    zone: str
    west: int
    east: int

    def hours(self, day: int, hours: tuple[int, int]) -> tuple[int, int]:
        """From which second until which the local hours of a day last; without a zone, under both offsets."""
        return _hours(self, day, hours)

    def text(self, moment: int) -> str:
        """A moment for the borrower, such as Tue 2027-02-09 18:00 (Europe/Athens)."""
        if self.zone:
            return f"{datetime.fromtimestamp(moment, _zone(self.zone)):%a %Y-%m-%d %H:%M} ({self.zone})"
        offsets = sorted({self.west, self.east})
        local = [datetime.fromtimestamp(moment + offset * QUARTER_HOUR, UTC) for offset in offsets]
        if len(offsets) == 1:
            return f"{local[0]:%a %Y-%m-%d %H:%M} ({offset_text(offsets[0])})"
        one, other = local
        return f"{one:%a %Y-%m-%d %H:%M} or {other:%H:%M} ({_offsets_text(offsets)})"


@lru_cache(maxsize=2**16)
def _hours(local: LocalTime, day: int, hours: tuple[int, int]) -> tuple[int, int]:
    start, end = hours
    if not local.zone:
        return calendar.start_of(day, local.west) + start * 60, calendar.start_of(day, local.east) + end * 60
    zone, midnight = _zone(local.zone), datetime.combine(_EPOCH + timedelta(days=day), time())

    def second(minutes: int) -> int:
        # Added to the time on the wall, of which the zone then makes a moment: an hour that summer time
        # leaves out, or has twice, changes nothing for the others.
        return int((midnight + timedelta(minutes=minutes)).replace(tzinfo=zone).timestamp())

    return second(start), second(end)


# ---------------------------------------------------------------------------------------------- timing


@dataclass(frozen=True, slots=True)
class Timing:
    """What decides, for a loan, when within the gate's limits something is said about it.

    reminded_at: when the borrower was last reminded of this loan, UTC seconds, zero for never. mismatch: the
    time zone that the borrower named, where it does not agree with what is registered on chain. channels:
    those on which the borrower can be reached, the best first.
    """

    preferences: Preferences = NO_PREFERENCES
    local: LocalTime = LocalTime("", 0, 0)
    rules: PackRules = NO_RULES
    reminded_at: int = 0
    mismatch: str = ""
    channels: tuple[Channel, ...] = (Channel.EMAIL,)

    def rests(self, day: int) -> str:
        """Why reminders rest on a day, by the name of the holiday or weekday; nothing where they do not."""
        return self.rules.rest.why(day) if self.rules.rest else ""

    def closed(self, limits: ContactLimits, day: int) -> bool:
        """No reminder can be served on a day: the policy has no such weekday, or it rests."""
        return not limits.weekdays >> (day + 3) % 7 & 1 or bool(self.rests(day))


def timing_of(
    profile: Profile,
    preferences: Preferences,
    pack: bytes,
    reminded_at: int,
    year: int,
    channels: tuple[Channel, ...] = (Channel.EMAIL,),
) -> Timing:
    """The timing of a loan whose borrower registered a profile, under the pack with a hash."""
    local, mismatch = _local(profile.offset, profile.other_offset, preferences.zone, year)
    return Timing(preferences, local, rules_published(pack), reminded_at, mismatch, channels)


@lru_cache(maxsize=4096)
def _local(offset: int, other_offset: int, zone: str, year: int) -> tuple[LocalTime, str]:
    west, east = sorted((offset, other_offset))
    if zone and not _agrees_safely(zone, offset, other_offset, year):
        return LocalTime("", west, east), zone
    return LocalTime(zone, west, east), ""


def _agrees_safely(zone: str, offset: int, other_offset: int, year: int) -> bool:
    """The same where the zone may be one that this machine does not know any more."""
    try:
        return agrees(zone, offset, other_offset, year)
    except (ZoneInfoNotFoundError, ValueError):
        return False


# ---------------------------------------------------------------------------------------------- which days


def days_to_remind(due_day: int, timing: Timing, limits: ContactLimits) -> tuple[int, ...]:
    """The days on which an instalment to come is spoken of before it is due, in order.

    Those that the borrower wishes and the policy allows; where it allows none of them, the first that it
    does. Moved where they rest, and with one in place of a due day that rests (see the module's words).
    """
    return _days_to_remind(
        due_day, timing.preferences.days_before, timing.preferences.on_due_day, timing.rules.rest, limits
    )


@lru_cache(maxsize=2**14)
def _days_to_remind(
    due_day: int, days_before: tuple[int, ...], on_due_day: bool, rest: RestDays | None, limits: ContactLimits
) -> tuple[int, ...]:
    timing = Timing(rules=PackRules(rest=rest))

    def closed(day: int) -> bool:
        return timing.closed(limits, day)

    earliest = due_day - limits.upcoming_days
    allowed = [n for n in days_before if n <= limits.upcoming_days]
    if not allowed and days_before and limits.upcoming_days:
        allowed = [limits.upcoming_days]
    days = {_moved(due_day - n, earliest, due_day - 1, closed) for n in allowed} - {None}
    if on_due_day and closed(due_day):
        instead = _moved(due_day - 1, earliest, due_day - 1, closed)
        if instead is not None and not any(instead - _APART < day <= instead for day in days if day):
            days.add(instead)
    return tuple(sorted(day for day in days if day is not None))


def day_ahead(due_day: int, days_before: int, timing: Timing, limits: ContactLimits) -> int | None:
    """The day, so many before a due day or the nearest that does not rest, to say that it is paid already."""
    return _moved(due_day - days_before, due_day - 7, due_day - 1, lambda day: timing.closed(limits, day))


def _moved(day: int, earliest: int, latest: int, closed: Callable[[int], bool]) -> int | None:
    """The nearest day that is not closed, rather an earlier one; None where all are."""
    candidates = (*range(day, earliest - 1, -1), *range(day + 1, latest + 1))
    return next((each for each in candidates if not closed(each)), None)


# ---------------------------------------------------------------------------------------------- which moment


@dataclass(frozen=True, slots=True)
class Choice:
    """The moment at which something is to be said, None for never, and why that is not now."""

    moment: int | None
    wait: Wait = Wait.NONE


def choose(
    facts: Facts, timing: Timing, start: int, now: int, first_day: int, last_day: int, *, reminder: bool
) -> Choice:
    """The moment to say something that the gate allows from `start` on.

    `first_day` and `last_day`: of the loan's calendar, the first and the last on which it is wanted.
    `reminder`: days of rest hold for it.
    """
    limits, profile, offset = facts.limits, facts.profile, facts.position.calendar_offset
    west, east = sorted((profile.offset, profile.other_offset))
    start = max(start, calendar.start_of(first_day, offset)) if first_day > 0 else start
    end = calendar.start_of(last_day + 1, offset) if last_day < 2**40 else None
    today = calendar.local_day(start, west)
    late: int | None = None
    for day in range(today, today + _LOOK_AHEAD):
        opens, closes = gate_hours(day, limits, west, east)
        if end is not None and opens >= end:
            break
        earliest, latest = max(start, opens), closes if end is None else min(closes, end)
        if earliest >= latest or not limits.weekdays >> (day + 3) % 7 & 1:
            continue
        if reminder and timing.rests(day):
            continue
        opens, closes = wished_hours(day, timing, limits, west, east)
        if earliest < closes and opens < latest:
            return _choice(facts, timing, max(earliest, opens), now, first_day, reminder)
        late = earliest
    return _choice(facts, timing, late, now, first_day, reminder)


def gate_hours(day: int, limits: ContactLimits, west: int, east: int) -> tuple[int, int]:
    """From which second until which a notice may be served on a day, of a weekday that is open."""
    return (
        calendar.start_of(day, west) + limits.opens * 60,
        calendar.start_of(day, east) + limits.closes * 60 - limits.lead,
    )


def wished_hours(day: int, timing: Timing, limits: ContactLimits, west: int, east: int) -> tuple[int, int]:
    """The part of the gate's hours of a day in which to serve, for the borrower's wish (see the module's
    words).
    """
    opens, closes = gate_hours(day, limits, west, east)
    if timing.preferences.hours is None:
        return opens, closes
    start, end = timing.local.hours(day, timing.preferences.hours)
    # Time to deliver is left in them too, as far as they have it.
    both = max(opens, start), min(closes, max(start + SHORTEST_SPAN, end - limits.lead))
    if both[1] - both[0] >= SHORTEST_SPAN:
        return both
    if start + end <= opens + closes:
        return opens, closes
    return max(opens, closes - SHORTEST_SPAN), closes


def _choice(
    facts: Facts, timing: Timing, moment: int | None, now: int, first_day: int, reminder: bool
) -> Choice:
    if moment == now:
        return Choice(moment)
    if facts.position.today < first_day:
        return Choice(moment, Wait.ANOTHER_DAY)
    local = calendar.local_day(now, min(facts.profile.offset, facts.profile.other_offset))
    if reminder and timing.rests(local):
        return Choice(moment, Wait.DAY_OF_REST)
    return Choice(moment, Wait.ANOTHER_HOUR)
