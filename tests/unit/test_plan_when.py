"""When something is said within what the gate allows: wishes, days of rest, summer time, the rarer kinds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import (
    CONSENTING,
    EAST,
    EMAIL,
    EVERY_DAY,
    LENDER,
    STRICT,
    Case,
    a_loan,
    borrower,
    day,
    moment,
    paid,
)

from duly.domain import calendar
from duly.domain.calendar import DAY
from duly.domain.consent import Profile
from duly.domain.notice import (
    AHEAD,
    COOLING_OFF,
    DUE_TODAY,
    OPENED,
    Kind,
    Refusal,
    Said,
    SeldomSaid,
    decide,
)
from duly.domain.policy import check_bounds
from duly.domain.preferences import (
    InvalidPreferences,
    Preferences,
    days_text,
    hours_text,
    parse_days_before,
    parse_hours,
)
from duly.services import when
from duly.services.plan import Planned, plan, timing_for
from duly.services.policy import InvalidPack, load_pack, pack_names, parse_pack, read_pack
from duly.services.when import (
    NO_RULES,
    OtherOffsets,
    PackRules,
    RestDays,
    Timing,
    UnknownZone,
    Wait,
    check_zone,
    days_to_remind,
    rules_of,
    rules_published,
)

CN = load_pack("CN").pack_hash
GR = load_pack("GR").pack_hash
GB = load_pack("GB").pack_hash
EVENING = Preferences(hours=parse_hours("18:00-20:30"))
TOLD = Said(flags=OPENED | COOLING_OFF)


def planned(case: Case, text: str, wishes: Preferences | None = None, offset: int = EAST) -> list[Planned]:
    preferences = {borrower(1): wishes} if wishes else None
    return plan([case], LENDER, moment(text, offset), preferences=preferences)


def kinds_now(case: Case, text: str, wishes: Preferences | None = None) -> list[Kind]:
    return [each.kind for each in planned(case, text, wishes) if each.ready]


def told_over(case: Case, first: str, last: str, wishes: Preferences | None = None) -> list[tuple[Kind, str]]:
    """What is said from one day to another, asked every half hour: kind, and when in Shanghai."""
    said = []
    for now in range(moment(f"{first} 00:00"), moment(f"{last} 23:59"), 1800):
        for each in plan([case], LENDER, now, preferences={borrower(1): wishes or Preferences()}):
            if each.ready:
                case = case.served(each.kind, now)
                said.append((each.kind, f"{datetime.fromtimestamp(now + 8 * 3600, UTC):%m-%d %H:%M}"))
    return said


# ------------------------------------------------------------------------------------ the days one wishes

UPCOMING, TODAY = Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY
LOOSE = replace(EVERY_DAY, gap=0, per_week=7)


@pytest.mark.parametrize(
    ("days_before", "on_due_day", "expected"),
    [
        ((3,), True, [(UPCOMING, "01-26 09:00"), (TODAY, "01-29 09:00")]),
        (
            (7, 3, 1),
            True,
            [
                (UPCOMING, "01-22 09:00"),
                (UPCOMING, "01-26 09:00"),
                (UPCOMING, "01-28 09:00"),
                (TODAY, "01-29 09:00"),
            ],
        ),
        ((7, 1), False, [(UPCOMING, "01-22 09:00"), (UPCOMING, "01-28 09:00")]),
        ((), True, [(TODAY, "01-29 09:00")]),
        ((), False, []),
    ],
)
def test_the_borrower_chooses_the_days(days_before, on_due_day, expected):
    wishes = Preferences(days_before=days_before, on_due_day=on_due_day)
    assert told_over(Case(limits=LOOSE, said=TOLD), "2027-01-15", "2027-01-29", wishes) == expected


def test_no_wish_goes_beyond_the_policy():
    few = replace(LOOSE, upcoming_days=5)
    every = Preferences(days_before=(7, 3, 1), on_due_day=False)
    expected = [(UPCOMING, "01-26 09:00"), (UPCOMING, "01-28 09:00")]
    assert told_over(Case(limits=few, said=TOLD), "2027-01-15", "2027-01-29", every) == expected
    # Where it allows none of the days, its first.
    early = Preferences(days_before=(7,), on_due_day=False)
    assert told_over(Case(limits=few, said=TOLD), "2027-01-15", "2027-01-29", early) == [
        (UPCOMING, "01-24 09:00")
    ]
    none = replace(LOOSE, upcoming_days=0)
    assert told_over(Case(limits=none, said=TOLD), "2027-01-15", "2027-01-28", every) == []


def test_cap_1_wishes_do_not_loosen_the_caps():
    every = Preferences(days_before=(7, 3, 1))
    told = told_over(Case(said=TOLD), "2027-01-15", "2027-01-29", every)
    # Two in seven days, two days apart.
    assert told == [(UPCOMING, "01-22 09:00"), (UPCOMING, "01-26 09:00"), (TODAY, "01-29 09:00")]


def test_a_day_that_was_missed_is_not_said_twice():
    every = Preferences(days_before=(7, 3, 1), on_due_day=False)
    # The service was down for the first two days: one makes up for both.
    told = told_over(Case(limits=LOOSE, said=TOLD), "2027-01-27", "2027-01-29", every)
    assert told == [(UPCOMING, "01-27 09:00"), (UPCOMING, "01-28 09:00")]


# ------------------------------------------------------------------------------------ the hours one wishes


def test_the_borrower_chooses_the_hours():
    case = Case(limits=replace(EVERY_DAY, closes=22 * 60))
    assert kinds_now(case, "2027-01-26 17:59", EVENING) == []
    [early] = [each for each in planned(case, "2027-01-26 17:59", EVENING) if each.kind is UPCOMING]
    assert (early.decision.reason, early.wait) == (Refusal.NONE, Wait.ANOTHER_HOUR)
    assert early.not_before == moment("2027-01-26 18:00")
    assert kinds_now(case, "2027-01-26 18:00", EVENING) == [UPCOMING]
    # Over for today: tomorrow is another day.
    [late] = [each for each in planned(case, "2027-01-26 20:31", EVENING) if each.kind is UPCOMING]
    assert late.not_before == moment("2027-01-27 18:00")


def test_on_the_last_day_nothing_is_lost_for_a_wish():
    case = Case(limits=replace(EVERY_DAY, closes=22 * 60))
    assert kinds_now(case, "2027-01-28 21:00", EVENING) == [UPCOMING]
    assert kinds_now(case, "2027-01-29 21:00", EVENING) == [TODAY]
    assert kinds_now(case, "2027-01-29 12:00", EVENING) == []


@pytest.mark.parametrize(
    ("hours", "first", "last"),
    [
        ("20:00-22:00", "18:29", "18:43"),  # the policy's last quarter of an hour, less what delivery takes
        ("18:40-22:00", "18:29", "18:43"),  # too little in common
        ("06:00-08:30", "09:00", "18:43"),  # from the opening on
        ("12:00-12:30", "12:00", "12:14"),
        ("10:00-17:00", "10:00", "16:43"),
    ],
)
def test_hours_that_the_policy_closes_become_the_nearest_that_it_opens(hours, first, last):
    wishes, at = Preferences(hours=parse_hours(hours)), []
    for minute in range(24 * 60):
        now = moment("2027-02-09 00:00") + minute * 60
        if any(each.ready for each in plan([Case()], LENDER, now, preferences={borrower(1): wishes})):
            at.append(f"{minute // 60:02}:{minute % 60:02}")
    assert (at[0], at[-1]) == (first, last)


def test_what_serves_the_borrower_keeps_to_their_hours_too():
    loan = paid(a_loan(), 70_000, "2027-01-05 11:00")
    case = Case(loan=loan, limits=replace(EVERY_DAY, closes=22 * 60), said=TOLD)
    assert kinds_now(case, "2027-01-05 12:00", EVENING) == []
    assert kinds_now(case, "2027-01-05 19:00", EVENING) == [Kind.PAYMENT_RECEIVED]


@st.composite
def _moments(draw: st.DrawFn) -> tuple[Case, Preferences, int]:
    opens = draw(st.integers(7 * 60, 15 * 60))
    limits = replace(
        EVERY_DAY,
        opens=opens,
        closes=draw(st.integers(opens + 180, 22 * 60)),
        lead=draw(st.integers(0, 1800)),
        weekdays=draw(st.integers(1, 127)),
        upcoming_days=draw(st.integers(0, 14)),
        overdue_days=draw(st.integers(1, 14)),
    )
    check_bounds(limits)
    start = draw(st.integers(0, 24 * 60 - 30))
    hours = (start, draw(st.integers(start + 30, 24 * 60)))
    wishes = Preferences(
        hours=draw(st.sampled_from([None, hours])),
        days_before=tuple(draw(st.sets(st.sampled_from([7, 3, 1])))),
        on_due_day=draw(st.booleans()),
    )
    offset = draw(st.integers(-48, 52))
    profile = Profile(offset, offset + draw(st.sampled_from([0, 4])), EMAIL, EMAIL)
    case = Case(
        limits=limits, profile=profile, pack=draw(st.sampled_from([bytes(32), CN, GR, GB])), said=TOLD
    )
    return case, wishes, moment("2027-01-20 00:00") + draw(st.integers(0, 40 * DAY))


@settings(max_examples=300, deadline=None)
@given(_moments())
def test_whatever_is_wished_the_gate_would_let_it_through(drawn):
    case, wishes, now = drawn
    for each in plan([case], LENDER, now, preferences={borrower(1): wishes}):
        if each.ready:
            assert decide(each.notice(b""), case.facts(now), LENDER, now).reason is Refusal.NONE
            assert each.not_before == now
        if each.not_before is None:
            continue
        # What it waits for is what happens: nothing before, and then it is said.
        assert each.not_before >= now
        at = {
            other.kind
            for other in plan([case], LENDER, each.not_before, preferences={borrower(1): wishes})
            if other.ready
        }
        if not each.kind.is_reminder or not at & {Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY, Kind.OVERDUE}:
            assert each.kind in at


# ------------------------------------------------------------------------------------ days of rest


def test_days_of_rest_are_known_by_name():
    china = RestDays("CN", public_holidays=True, weekends=True)
    assert china.why(day("2026-10-01")) == "National Day"
    assert china.why(day("2026-10-07")) == "Day off (substituted from 10/10/2026)"
    assert china.why(day("2026-10-11")) == "Sunday"
    assert china.why(day("2026-10-12")) == ""
    # Worked for the holiday before it, and for the next one.
    assert china.why(day("2026-10-10")) == ""
    assert china.why(day("2026-09-20")) == ""
    greece = RestDays("GR", public_holidays=True, weekends=False)
    assert greece.why(day("2027-03-25")) == "Independence Day"
    assert greece.why(day("2027-03-27")) == ""
    assert RestDays("GR", public_holidays=False, weekends=True).why(day("2027-03-25")) == ""


def test_a_weekend_that_is_worked_for_a_holiday_is_a_day_like_any_other():
    rest = RestDays("CN", public_holidays=True, weekends=True)
    timing = Timing(rules=PackRules("CN", rest))
    assert not timing.closed(EVERY_DAY, day("2026-10-10"))
    assert timing.closed(EVERY_DAY, day("2026-10-17"))
    # Unless the policy itself has no Saturday.
    assert timing.closed(STRICT, day("2026-10-10"))


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        ("2027-01-29", ["2027-01-26"]),  # a Friday
        ("2027-01-28", ["2027-01-25"]),
        ("2027-01-27", ["2027-01-22"]),  # Sunday: two days earlier
        # Due on a Saturday: on Wednesday, and on Friday in place of the day itself.
        ("2027-01-30", ["2027-01-27", "2027-01-29"]),
        # Due on a Sunday: Thursday, and Friday would be too near.
        ("2027-01-31", ["2027-01-28"]),
        # The Spring Festival, 5 to 10 February: due within it, and right after it.
        ("2027-02-08", ["2027-02-04"]),
        ("2027-02-11", ["2027-02-04"]),
    ],
)
def test_what_falls_on_a_day_of_rest_is_said_earlier(due, expected):
    timing = Timing(rules=rules_published(CN))
    found = days_to_remind(day(due), timing, replace(EVERY_DAY, upcoming_days=7))
    assert [calendar.iso(each) for each in found] == expected


def test_what_cannot_be_said_earlier_is_said_later():
    timing = Timing(rules=PackRules("X", RestDays("CN", public_holidays=False, weekends=True)))
    # Three days before a Tuesday is a Saturday, and the policy allows no day before it.
    found = days_to_remind(day("2027-01-26"), timing, replace(EVERY_DAY, upcoming_days=3))
    assert [calendar.iso(each) for each in found] == ["2027-01-25"]
    # No day is left at all.
    assert days_to_remind(day("2027-02-08"), timing, replace(EVERY_DAY, upcoming_days=2)) == ()


def test_no_reminder_is_planned_on_a_holiday_and_overdue_ones_come_after_it():
    # Overdue since 29 January; the eleventh day is within the Spring Festival, 5 to 10 February.
    case = Case(pack=CN)
    assert told_over(case, "2027-02-01", "2027-02-12") == [(Kind.OVERDUE, "02-11 09:00")]
    [waiting] = planned(case, "2027-02-09 12:00")
    assert (waiting.decision.reason, waiting.wait) == (Refusal.NONE, Wait.DAY_OF_REST)
    assert waiting.not_before == moment("2027-02-11 09:00")
    # Of an unknown pack nothing is known.
    assert kinds_now(replace(case, pack=b"?" * 32), "2027-02-09 12:00") == [Kind.OVERDUE]


def test_a_due_day_that_rests_is_spoken_of_before():
    case = Case(loan=a_loan("2027-02-06"), pack=CN, said=TOLD, limits=replace(EVERY_DAY, upcoming_days=7))
    # Three days before is a Wednesday; the last working day before the festival is the Thursday.
    assert told_over(case, "2027-01-28", "2027-02-06") == [(UPCOMING, "02-03 09:00")]
    due_later = replace(case, loan=a_loan("2027-02-07"))
    assert told_over(due_later, "2027-01-28", "2027-02-07") == [(UPCOMING, "02-04 09:00")]


def test_days_of_rest_hold_for_reminders_alone():
    loan = paid(a_loan("2027-03-29"), 5, "2027-02-08 11:00")
    assert kinds_now(Case(loan=loan, pack=CN, said=TOLD), "2027-02-08 12:00") == [Kind.PAYMENT_RECEIVED]


def test_the_rules_of_a_pack_are_found_by_its_hash():
    for name in pack_names():
        pack = load_pack(name)
        assert rules_published(pack.pack_hash) == rules_of(pack)
        assert rules_of(pack).name == name
        if rest := rules_of(pack).rest:
            assert rest.why(day("2027-12-25")) or rest.why(day("2027-12-26"))
    assert rules_published(b"?" * 32) == NO_RULES
    assert rules_published(CN).rest == RestDays("CN", True, True)
    assert rules_published(GR).rest == RestDays("GR", True, True)
    assert (rules_published(GB).arrears, rules_published(CN).arrears) == (2, 0)


PACK = """
name = "OWN"
title = "Ours"
as_of = 2026-11-23
[holidays.country]
value = "{country}"
source = "x"
status = "verified"
as_of = 2026-11-23
[holidays.public_holidays]
value = true
source = "x"
status = "verified"
as_of = 2026-11-23
[holidays.weekends]
value = true
source = "x"
status = "verified"
as_of = 2026-11-23
[contact.weekdays]
value = ["Monday", "Saturday"]
source = "x"
status = "verified"
as_of = 2026-11-23
"""


def test_a_pack_with_public_holidays_may_open_the_weekends_that_are_worked():
    assert parse_pack(PACK.format(country="CN")).holidays


def test_a_country_without_a_calendar_is_told(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(PACK.format(country="XX"))
    with pytest.raises(InvalidPack, match="no public holidays are known of XX"):
        read_pack(file)
    file.write_text(PACK.format(country="CN"))
    assert rules_of(read_pack(file)).rest == RestDays("CN", True, True)


# ------------------------------------------------------------------------------------ summer time

ZONES = {
    "Europe/Athens": (8, 12),
    "America/New_York": (-20, -16),
    "Europe/London": (0, 4),
    "Australia/Lord_Howe": (42, 44),
    "Asia/Shanghai": (32, 32),
    "America/Santiago": (-16, -12),
}


@pytest.mark.parametrize("zone", ZONES)
def test_the_wished_hours_are_right_on_every_day_of_a_year(zone):
    offset, other = ZONES[zone]
    limits = replace(EVERY_DAY, opens=7 * 60, closes=22 * 60, lead=0, gap=0, per_day=7, per_week=7)
    case = Case(profile=Profile(offset, other, EMAIL, EMAIL), limits=limits)
    wishes = Preferences(hours=parse_hours("18:00-20:30"), zone=zone)
    first = datetime(2027, 1, 1, tzinfo=UTC)
    opened = []
    for number in range(365):
        there = first + timedelta(days=number)
        at = int(there.timestamp())
        timing = timing_for(case, wishes, at)
        assert not timing.mismatch
        opens, closes = when.wished_hours(at // DAY, timing, limits, offset, other)
        local = [datetime.fromtimestamp(moment, ZoneInfo(zone)) for moment in (opens, closes)]
        assert [each.date() for each in local] == [there.date()] * 2
        assert [f"{each:%H:%M}" for each in local] == ["18:00", "20:30"]
        opened.append(opens)
    steps = {later - one - DAY for one, later in pairwise(opened)}
    change = 900 * (other - offset)
    assert steps == {0, change, -change}


@pytest.mark.parametrize("zone", ["Europe/Athens", "America/New_York"])
@pytest.mark.parametrize("around", [0, 1])
def test_around_both_changes_a_reminder_comes_at_the_wished_hour(zone, around):
    tz, (offset, other) = ZoneInfo(zone), ZONES[zone]
    start = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    changes = [
        number
        for number in range(364)
        if datetime.fromtimestamp(start + number * DAY, tz).utcoffset()
        != datetime.fromtimestamp(start + (number + 1) * DAY, tz).utcoffset()
    ]
    assert len(changes) == 2
    limits = replace(EVERY_DAY, closes=22 * 60, gap=0, per_day=7, per_week=7)
    wishes = Preferences(hours=parse_hours("18:00-20:30"), zone=zone, days_before=(1,), on_due_day=False)
    for distance in range(-2, 4):
        remind = start // DAY + changes[around] + distance
        due = calendar.iso(remind + 1)
        loan = a_loan(due, opened="2026-12-20 12:00", calendar_offset=offset)
        case = Case(
            loan=loan, limits=limits, profile=Profile(offset, other, EMAIL, EMAIL), said=Said(flags=33)
        )
        ready = [
            at
            for at in range((remind - 1) * DAY, (remind + 2) * DAY, 900)
            if any(
                each.ready and each.kind is UPCOMING
                for each in plan([case], LENDER, at, preferences={loan.terms.borrower: wishes})
            )
        ]
        local = [datetime.fromtimestamp(at, tz) for at in ready]
        assert f"{local[0]:%Y-%m-%d %H:%M}" == f"{calendar.iso(remind)} 18:00"
        # Over the hour, it is the last day: rather late than never.
        assert all(f"{each:%H:%M}" >= "18:00" and each.date() == local[0].date() for each in local)


def test_hours_1_without_a_zone_the_wished_hours_hold_under_both_offsets():
    case = Case(profile=Profile(8, 12, EMAIL, EMAIL), limits=replace(EVERY_DAY, closes=22 * 60))
    timing = timing_for(case, Preferences(hours=parse_hours("18:00-20:30")), moment("2027-02-09 12:00"))
    opens, closes = timing.local.hours(0, (18 * 60, 20 * 60 + 30))
    assert (opens, closes) == (16 * 3600, 17 * 3600 + 1800)
    assert timing.local.text(0) == "Thu 1970-01-01 02:00 or 03:00 (UTC+02:00 and UTC+03:00)"


def test_a_zone_that_does_not_agree_with_the_chain_is_left_aside():
    timing = timing_for(Case(), Preferences(zone="Europe/Athens"), moment("2027-02-09 12:00"))
    assert (timing.mismatch, timing.local.zone) == ("Europe/Athens", "")
    timing = timing_for(Case(), Preferences(zone="Asia/Shanghai"), moment("2027-02-09 12:00"))
    assert (timing.mismatch, timing.local.zone) == ("", "Asia/Shanghai")
    # One that this machine does not know any more.
    assert timing_for(Case(), Preferences(zone="Mars/Base"), 0).mismatch == "Mars/Base"


def test_a_zone_is_checked_when_it_is_told():
    check_zone("Europe/Athens")
    check_zone("Europe/Athens", Profile(12, 8))
    for name in ("Mars/Base", "../../etc/passwd", "", "borrower@example.org"):
        with pytest.raises(UnknownZone) as problem:
            check_zone(name)
        assert "example.org" not in str(problem.value)
    with pytest.raises(OtherOffsets, match=r"has UTC\+02:00 and UTC\+03:00") as told:
        check_zone("Europe/Athens", CONSENTING)
    assert "UTC+08:00" in told.value.wanted


# ------------------------------------------------------------------------------------ wishes as text


def test_wishes_are_read_and_written():
    assert parse_hours("9:00 - 12:30") == (540, 750)
    assert hours_text((540, 750)) == "09:00-12:30"
    assert parse_days_before("1,7") == (7, 1)
    assert parse_days_before("none") == ()
    assert days_text(Preferences(days_before=(7, 3, 1))) == "7, 3 and 1 days before, and on the due day"
    assert days_text(Preferences(days_before=(1,), on_due_day=False)) == "1 day before"
    assert days_text(Preferences(days_before=(), on_due_day=False)).startswith("never")


@pytest.mark.parametrize(
    "text", ["", "18-20", "25:00-26:00", "18:00", "20:30-18:00", "18:00-18:29", "24:30-24:59"]
)
def test_what_are_no_hours_is_told(text):
    with pytest.raises(InvalidPreferences, match="hours") as problem:
        Preferences(hours=parse_hours(text))
    assert "18:00-20:30" in problem.value.wanted


@pytest.mark.parametrize("text", ["2", "7,3,2", "three", "", "-1"])
def test_what_are_no_days_is_told(text):
    with pytest.raises(InvalidPreferences):
        parse_days_before(text)


# ------------------------------------------------------------------------------------ the rarer kinds


def test_paid_ahead_is_said_once_in_place_of_the_reminder():
    loan = paid(a_loan(), a_loan().instalment, "2027-01-20 12:00")
    case = Case(loan=loan, said=replace(TOLD, received=loan.paid, services=(moment("2027-01-20 12:30"),)))
    assert told_over(case, "2027-01-21", "2027-02-10") == [(Kind.PAID_AHEAD, "01-26 09:00")]
    # Two ahead: of each when it is near.
    two = paid(a_loan(), 2 * a_loan().instalment, "2027-01-20 12:00")
    case = Case(loan=two, said=replace(TOLD, received=two.paid))
    assert told_over(case, "2027-01-21", "2027-02-27") == [
        (Kind.PAID_AHEAD, "01-26 09:00"),
        (Kind.PAID_AHEAD, "02-25 09:00"),
    ]


def test_paid_ahead_is_not_said_where_it_is_known():
    loan = paid(a_loan(), a_loan().instalment, "2027-01-27 12:00")
    received = replace(TOLD, received=loan.paid, services=(moment("2027-01-27 12:30"),))
    # The receipt told it within the last days.
    assert told_over(Case(loan=loan, said=received), "2027-01-27", "2027-01-29") == []
    # The reminder was answered by the payment, and that by its receipt.
    reminded = replace(received, next=1, upcoming=1, services=())
    assert told_over(Case(loan=loan, said=reminded), "2027-01-27", "2027-01-29") == []
    # Who wants no word before a due day gets none.
    silent = Preferences(days_before=())
    assert (
        told_over(Case(loan=loan, said=replace(TOLD, received=loan.paid)), "2027-01-26", "2027-01-29", silent)
        == []
    )
    said = replace(TOLD, received=loan.paid, next=1, flags=TOLD.flags | AHEAD)
    assert told_over(Case(loan=loan, said=said), "2027-01-26", "2027-01-29") == []


def test_the_end_of_the_cooling_off_period_is_said_on_the_first_of_its_days():
    # Opened on Sunday 20 December, for 14 days: the last one is 3 January.
    case = Case(said=Said(flags=OPENED))
    assert told_over(case, "2026-12-21", "2027-01-10") == [(Kind.COOLING_OFF_ENDING, "12-31 09:00")]
    assert told_over(replace(case, cooling_off_days=0), "2026-12-21", "2027-01-10") == []
    amended = replace(case, loan=a_loan(replaces=b"\7" * 32), said=Said(flags=16))
    assert told_over(amended, "2026-12-21", "2027-01-10") == []
    # A service that was down says it as long as it is so.
    assert told_over(case, "2027-01-03", "2027-01-10") == [(Kind.COOLING_OFF_ENDING, "01-03 09:00")]
    assert told_over(case, "2027-01-04", "2027-01-10") == []


CHANGED = replace(CONSENTING, changes=3)


def test_a_change_of_consent_is_said_once_per_change():
    case = Case(profile=CHANGED, changes_told=2, said=TOLD)
    assert told_over(case, "2027-01-05", "2027-01-10") == [(Kind.CONSENT_CHANGED, "01-05 09:00")]
    again = replace(
        case, profile=replace(CHANGED, changes=4), seldom_said=SeldomSaid(consents=3), changes_told=3
    )
    assert told_over(again, "2027-01-05", "2027-01-10") == [(Kind.CONSENT_CHANGED, "01-05 09:00")]


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (CHANGED, 3),  # told
        (CHANGED, None),  # before the first notice, which tells by itself that there is a channel
        (replace(CHANGED, consented=0), 2),
        (replace(CHANGED, consented=0, ceased=True), 2),
        (replace(CHANGED, registered=3, consented=2), 2),  # text messages, on which nothing is delivered
    ],
)
def test_consent_1_no_change_is_told_twice_nor_where_nothing_may_be_said(profile, told):
    case = Case(profile=profile, changes_told=told, said=TOLD)
    assert Kind.CONSENT_CHANGED not in {each.kind for each in planned(case, "2027-01-05 12:00")}


def test_a_change_of_consent_is_said_about_one_loan_alone():
    second = a_loan(number=2)
    second = replace(second, terms=replace(second.terms, borrower=borrower(1)))
    both = [Case(loan=each, profile=CHANGED, changes_told=2, said=TOLD) for each in (a_loan(), second)]
    ready = [each for each in plan(both, LENDER, moment("2027-01-05 12:00")) if each.ready]
    assert [(each.kind, each.loan.id) for each in ready] == [(Kind.CONSENT_CHANGED, a_loan().id)]


def test_arrears_are_told_where_the_pack_demands_it_and_twice_a_year():
    silent = Said(missed=1, overdue=4, flags=OPENED)
    case = Case(pack=GB, said=silent)
    assert Kind.ARREARS not in kinds_now(case, "2027-02-28 12:00")
    # The second is missed on the first of March.
    assert kinds_now(case, "2027-03-01 12:00") == [Kind.ARREARS]
    assert kinds_now(replace(case, pack=CN), "2027-03-01 12:00") == []
    told = case.served(Kind.ARREARS, moment("2027-03-01 12:00"))
    [waiting] = [each for each in planned(told, "2027-03-02 12:00") if each.kind is Kind.ARREARS]
    assert waiting.not_before == moment("2027-03-01 12:00") + 180 * DAY
    assert Kind.ARREARS in kinds_now(told, "2027-08-28 12:00")
    # It is owed: consent is not asked for, only a registered contact.
    assert kinds_now(replace(case, profile=Profile(EAST, EAST, EMAIL)), "2027-03-01 12:00") == [Kind.ARREARS]


def test_what_was_paid_meanwhile_drops_what_became_pointless():
    loan, texts = a_loan(), ("2027-01-26 12:00", "2027-01-29 12:00", "2027-02-09 12:00", "2027-03-01 12:00")
    for text in texts:
        case = Case(loan=loan, pack=GB, said=TOLD)
        assert any(
            each.ready and (each.kind.is_reminder or each.kind.is_owed) for each in planned(case, text)
        )
        owed = paid(loan, loan.owed, "2027-01-25 12:00")
        enough = paid(loan, 3 * loan.instalment + 4_000, "2027-01-25 12:00")
        for settled in (owed, enough):
            left = planned(replace(case, loan=settled, said=replace(TOLD, received=settled.paid)), text)
            assert not any(each.kind.is_reminder or each.kind is Kind.ARREARS for each in left if each.ready)


def test_due_today_is_said_to_whoever_wants_no_other_reminder():
    case = Case(said=Said(next=1, flags=OPENED))
    only = Preferences(days_before=())
    assert [each.kind for each in planned(case, "2027-01-27 12:00", only)] == [TODAY]
    assert kinds_now(case, "2027-01-29 12:00", only) == [TODAY]
    said = replace(case, said=Said(next=1, flags=OPENED | DUE_TODAY))
    assert planned(said, "2027-01-29 12:00", only) == []
