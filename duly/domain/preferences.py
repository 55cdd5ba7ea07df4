"""How a borrower wishes to be reminded. A wish chooses among what the policy allows; it never adds to it."""

import re
from dataclasses import dataclass
from typing import Final

from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput

DAYS_BEFORE: Final = (7, 3, 1)
"""The days before a due day on which a borrower may choose to be reminded."""
SHORTEST_HOURS: Final = 30
"""Minutes. In less a notice could hardly be served and delivered."""

_DAY: Final = 24 * 60
_HOURS: Final = re.compile(
    r"([01]?[0-9]|2[0-4]):([0-5][0-9]) ?[-–] ?([01]?[0-9]|2[0-4]):([0-5][0-9])", re.ASCII
)


class InvalidPreferences(InvalidInput):
    """Nobody can be reminded like this."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """A borrower's wishes; as they stand here, those of whoever never told any.

    hours: minutes of the local day from which and until which to write, None for whenever the policy allows.
    zone: the IANA name of the time zone, such as Europe/Athens, by which summer time is known; empty for the
    UTC offsets that are registered on chain. days_before: how many days before a due day to remind, out of
    `DAYS_BEFORE`, the most first. on_due_day: and on the day itself. channel: the one to write on, of those
    that the borrower consents to; None for whichever the service likes best.

    Raises: InvalidPreferences.
    """

    hours: tuple[int, int] | None = None
    zone: str = ""
    days_before: tuple[int, ...] = (3,)
    on_due_day: bool = True
    channel: Channel | None = None

    def __post_init__(self) -> None:
        if not set(self.days_before) <= set(DAYS_BEFORE):
            raise InvalidPreferences(
                f"reminders {', '.join(map(str, self.days_before))} days before",
                wanted=f"any of {', '.join(map(str, DAYS_BEFORE))}, or none",
            )
        object.__setattr__(self, "days_before", tuple(sorted(set(self.days_before), reverse=True)))
        if self.hours is None:
            return
        start, end = self.hours
        if not (0 <= start < end <= _DAY and end - start >= SHORTEST_HOURS):
            raise InvalidPreferences(
                f"the hours {hours_text(self.hours)}",
                wanted=f"at least {SHORTEST_HOURS} minutes of one day, such as 18:00-20:30",
            )


NO_PREFERENCES: Final = Preferences()


def parse_hours(text: str) -> tuple[int, int]:
    """Minutes of the day out of a text such as 18:00-20:30.

    Raises: InvalidPreferences.
    """
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        # Not repeated: something else may have been typed in its place.
        raise InvalidPreferences("these are no hours", wanted="such as 18:00-20:30")
    start, start_minutes, end, end_minutes = map(int, match.groups())
    return start * 60 + start_minutes, end * 60 + end_minutes


def parse_days_before(text: str) -> tuple[int, ...]:
    """Days out of a text such as 7,3,1; `none` for no reminder before a due day.

    Raises: InvalidPreferences.
    """
    if text.strip().lower() == "none":
        return ()
    try:
        return Preferences(days_before=tuple(int(each) for each in text.split(","))).days_before
    except ValueError:
        raise InvalidPreferences(
            "these are no days before a due day",
            wanted=f"some of {','.join(map(str, DAYS_BEFORE))}, or none",
        ) from None


def hours_text(hours: tuple[int, int]) -> str:
    """Hours as people write them: 18:00-20:30."""
    return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in hours)


def days_text(preferences: Preferences) -> str:
    """The days of the reminders in words: 7 and 3 days before, and on the due day."""
    parts = []
    if preferences.days_before:
        *most, last = map(str, preferences.days_before)
        named = f"{', '.join(most)} and {last}" if most else last
        parts.append(f"{named} day{'s' * (preferences.days_before != (1,))} before")
    if preferences.on_due_day:
        parts.append("on the due day")
    return ", and ".join(parts) or "never before a due day is over"
