"""The year's own record of who must not be reminded, how often, and what time it is where they live."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from eth_account import Account

from duly.domain import schedule
from duly.domain.consent import Channel
from duly.domain.events import (
    ConsentGranted,
    ContactCeased,
    ContactRegistered,
    Event,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    Logged,
    NoticeServed,
)
from duly.domain.grievance import Grievance
from duly.domain.notice import Kind
from duly.domain.replay import Policy, State
from duly.domain.terms import Terms
from duly.services.policy import load_pack
from duly.services.year import Borrower, Habit, Report, Size, Watch, offsets

PACK = load_pack("STRICT")
SERVICE, STRANGER = "0x" + "5e" * 20, "0x" + "57" * 20
ANNA, ANNA_TOO, BEN = ("0x" + digit * 40 for digit in "abc")
LOAN, OTHER = b"\1" * 32, b"\2" * 32
TUESDAY = int(datetime(2027, 7, 6, 12, tzinfo=UTC).timestamp())
HOUR, DAY = 3_600, 86_400


@pytest.fixture
def report() -> Report:
    return Report(Size(), 2)


@pytest.fixture
def see(report: Report) -> Callable[..., list[str]]:
    """Show some events to a watch; what was wrong until then. Anna has two addresses, in London."""
    state = State()
    contact, lending = PACK.contact_limits, PACK.lending_limits
    state.policies[1] = Policy(1, STRANGER, lending, contact, bytes(32), bytes(32))
    for loan, borrower in ((LOAN, ANNA), (OTHER, ANNA_TOO), (b"\3" * 32, BEN)):
        terms = Terms(
            lender=SERVICE, borrower=borrower, principal=1_000, rate=0, instalments=2, first_due=21_000,
            policy=1, expires=0,
        )  # fmt: skip
        state.loans[loan] = schedule.opened(loan, terms, TUESDAY - 40 * DAY)
    watch = Watch(state, report, SERVICE)
    account = Account.from_key(b"\1" * 32)
    for number, borrower in enumerate((ANNA, ANNA_TOO)):
        commitment = bytes([number + 1]) * 32
        watch.moves(
            Borrower(borrower, account, "anna@example.org", "Europe/London", "en", Habit.PROMPT), commitment
        )
        watch.see([told(ContactRegistered(borrower, Channel.EMAIL, commitment, 0, 4), 0)])

    def show(*events: tuple[Event, int]) -> list[str]:
        watch.see([told(*each) for each in events])
        return [each.partition(":")[0] for each in report.wrong]

    return show


def told(event: Event, moment: int) -> Logged:
    return Logged(event, 1, bytes(32), TUESDAY + moment, bytes(32), 0)


def notice(
    loan: bytes = LOAN, borrower: str = ANNA, kind: Kind = Kind.OVERDUE, server: str = SERVICE
) -> NoticeServed:
    return NoticeServed(
        b"\7" * 32, loan, server, borrower, kind, 1, 500, Channel.EMAIL, 1, 0, bytes(32)
    )  # fmt: skip


LODGED = GrievanceLodged(LOAN, ANNA, Grievance.DISPUTE, ANNA, False, True)


def test_a_reminder_in_time_is_fine_and_counted(see, report):
    assert see((notice(), 0), (notice(), 2 * DAY)) == []
    assert report.checked["reminders of the service, by person"] == 2
    assert report.checked["notices by the clock on the wall"] == 2


def test_nobody_who_ceased_is_reminded_until_they_consent_again(see):
    assert see((ContactCeased(ANNA, ANNA), 0), (notice(kind=Kind.ARREARS), 1)) == []
    assert see((ConsentGranted(ANNA, Channel.EMAIL), 2), (notice(), 3)) == []
    assert see((ContactCeased(ANNA, ANNA), 4), (notice(), 2 * DAY + 5)) == [
        "reminded though all contact had ceased"
    ]


def test_nobody_is_reminded_while_a_grievance_stands(see):
    assert see((LODGED, 0), (notice(kind=Kind.DISPUTE_RECEIVED), 1)) == []
    assert see((GrievanceAnswered(LOAN, ANNA, Grievance.DISPUTE, 0), 2), (notice(), 3)) == []
    moved = GrievancesCarriedOver(LOAN, OTHER)
    assert see((LODGED, 4), (moved, 5), (notice(), 2 * DAY + 6)) == []
    assert see((notice(OTHER), 4 * DAY + 7))[:1] == ["reminded though a grievance stands"]


def test_a_grievance_about_all_loans_pauses_all(see):
    everywhere = replace(LODGED, loan=OTHER, all_loans=True)
    assert see((everywhere, 0), (notice(), 1)) == ["reminded though a grievance stands"]


def test_hours_are_those_on_the_wall_in_summer_too(see):
    # London: 12:00 UTC is 13:00. The window is from 9 to 19 o'clock, on weekdays.
    opens, closes = -4 * HOUR, 6 * HOUR
    within = (notice(kind=Kind.ARREARS), opens), (notice(kind=Kind.ARREARS), closes - 1)
    assert see(*within) == []
    assert see((notice(kind=Kind.ARREARS), opens - 1)) == ["said at Tuesday 08"]
    assert see((notice(kind=Kind.ARREARS), closes)) == ["said at Tuesday 08", "said at Tuesday 19"]
    assert see((notice(kind=Kind.ARREARS), 4 * DAY))[2:] == ["said at Saturday 13"]


def test_the_service_counts_the_reminders_of_a_person_and_not_of_an_address(see):
    early = "a person was reminded 86400 s after the last time"
    assert see((notice(), 0), (notice(OTHER, ANNA_TOO), DAY)) == [early]
    # Twice within seven days is what the pack allows; somebody else's reminders are not hers.
    assert see((notice(b"\3" * 32, BEN), DAY)) == [early]
    many = "a person was reminded more than 2 times within 7 days"
    assert see((notice(), 3 * DAY))[1:] == [many]


def test_what_others_serve_is_counted_for_the_person_but_not_held_against_the_service(see):
    assert see((notice(), 0), (notice(OTHER, ANNA_TOO, server=STRANGER), DAY)) == []
    assert see((notice(), 2 * DAY))[:1] == ["a person was reminded 86400 s after the last time"]


def test_a_report_is_sound_where_nothing_is_wrong(report):
    assert report.sound
    assert report.as_json()["sound"] is True
    report.wrong.append("something")
    assert not report.sound


@pytest.mark.parametrize(
    ("place", "both"),
    [
        ("America/New_York", (-20, -16)),
        ("Asia/Kathmandu", (23, 23)),
        ("Australia/Lord_Howe", (42, 44)),
        ("Pacific/Chatham", (51, 55)),
        ("Pacific/Marquesas", (-38, -38)),
    ],
)
def test_offsets_are_those_of_the_place(place, both):
    assert offsets(place) == both
