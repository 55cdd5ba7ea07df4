"""A borrower's due days as a calendar (iCalendar, RFC 5545), for whichever calendar they like.

An entry's title is what a phone shows on its lock screen, and others see in a shared calendar: it tells
nothing of a loan, as no notice's subject does. Nor are there amounts; they stand on the portal.
"""

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from icalendar import Calendar, Event

from duly.domain import schedule

if TYPE_CHECKING:
    from duly.bootstrap import Application

TITLES: Final = {"en": "Date to remember", "zh": "待办日期"}
_EPOCH: Final = date(1970, 1, 1)


def calendar_of(app: "Application", borrower: str, language: str, origin: str) -> bytes:
    """The days on which instalments of a borrower's loans fall due that are not paid, one entry for each.

    language: of the titles. origin: the portal's, which each entry names. Raises: DatabaseError.
    """
    made = Calendar()
    made.add("prodid", "-//Duly//Duly//EN")
    made.add("version", "2.0")
    made.add("method", "PUBLISH")
    made.add("refresh-interval;value=duration", "PT12H")
    for standing in app.portal.loans_of(borrower):
        if not standing.owed:
            continue
        loan, reached = standing.loan, 0
        for row in schedule.schedule_of(loan.terms):
            reached += row.amount
            if reached <= loan.paid:
                continue
            event, day = Event(), _EPOCH + timedelta(days=row.due_day)
            event.add("uid", f"{loan.id.hex()[:16]}-{row.k}@duly")
            event.add("dtstamp", datetime.fromtimestamp(loan.opened_at, UTC))
            event.add("dtstart", day)
            event.add("dtend", day + timedelta(days=1))
            event.add("transp", "TRANSPARENT")
            event.add("summary", f"{TITLES[language]} ({standing.reference})")
            event.add("url", f"{origin}/loans/{loan.id.hex()}")
            made.add_component(event)
    return bytes(made.to_ical())
