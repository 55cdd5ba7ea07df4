"""The gate's decision. Tests are named by the requirement that they hold."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from scene import (
    CONSENTING,
    EAST,
    EMAIL,
    EVERY_DAY,
    LENDER,
    SERVICER,
    STRANGER,
    STRICT,
    Case,
    a_loan,
    moment,
    paid,
)

from duly.domain import grievance, schedule
from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
from duly.domain.grievance import Grievance
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import (
    BETWEEN_ARREARS,
    DUE_TODAY,
    OPENED,
    REPAID,
    Decision,
    Facts,
    Kind,
    Notice,
    Refusal,
    Said,
    SeldomSaid,
    decide,
    earliest,
    ground,
    newest,
    next_in_hours,
    notice_id,
    push,
    standing,
)
from duly.domain.policy import ContactLimits
from duly.domain.terms import ZERO_ADDRESS

OVERDUE_FROM = "2027-02-09"  # 11 days after the first due day
NOON = moment(f"{OVERDUE_FROM} 12:00")

UNSAID = Case(said=Said())


def reason(case: Case, kind: Kind, now: int, server: str = LENDER, **changes: object) -> Refusal:
    """Why a notice that says what the ledger says, but for the changes, would be refused."""
    return decide(replace(case.notice(kind, now), **changes), case.facts(now), server, now).reason


# ------------------------------------------------------------------------------ the borrower alone


def test_borrower_1_no_type_has_a_place_for_another_person():
    assert [f.name for f in fields(Notice)] == [
        "loan", "kind", "instalment", "amount", "channel", "content_hash"
    ]  # fmt: skip
    people = {"borrower", "lender", "servicer"}
    for kind in (Loan, Position, Facts, Said, Profile, ContactLimits):
        addresses = {f.name for f in fields(kind) if f.type in (str, "str")}
        assert addresses <= people, kind


@pytest.mark.parametrize(
    ("server", "servicer", "allowed"),
    [
        (LENDER, ZERO_ADDRESS, True),
        (LENDER, SERVICER, True),
        (SERVICER, SERVICER, True),
        (SERVICER, ZERO_ADDRESS, False),
        (STRANGER, SERVICER, False),
        (ZERO_ADDRESS, ZERO_ADDRESS, False),
    ],
)
def test_server_1_only_the_lender_or_its_servicer_serves(server, servicer, allowed):
    case = Case(servicer=servicer)
    notice = case.notice(Kind.OVERDUE, NOON)
    decision = decide(notice, case.facts(NOON), server, NOON)
    assert decision == (
        Decision(Refusal.NONE) if allowed else Decision(Refusal.NOT_SERVER, int(server, 16), int(LENDER, 16))
    )
    assert standing(notice, case.facts(NOON), server, NOON) == decision


def test_a_loan_that_the_ledger_does_not_know():
    facts = Facts(position_of(None, ZERO_ADDRESS, NOON), EVERY_DAY, Profile(), Said())
    notice = Notice(bytes(32), Kind.OVERDUE, 1, 1, Channel.EMAIL, bytes(32))
    assert decide(notice, facts, LENDER, NOON).reason is Refusal.UNKNOWN_LOAN
    assert standing(notice, facts, LENDER, NOON).reason is Refusal.UNKNOWN_LOAN
    assert earliest(Kind.OVERDUE, 1, Channel.EMAIL, facts, NOON) is None


# ------------------------------------------------------------------------------ hours


@pytest.mark.parametrize(
    ("time", "allowed"),
    [
        ("08:59:59", False),
        ("09:00:00", True),
        ("18:44:59", True),
        ("18:45:00", False),  # 15 minutes are left for delivery
        ("18:59:59", False),
    ],
)
def test_hours_1_a_notice_is_served_inside_the_window_alone(time, allowed):
    now = moment(f"{OVERDUE_FROM} {time}")
    assert reason(Case(), Kind.OVERDUE, now) is (Refusal.NONE if allowed else Refusal.OUTSIDE_HOURS)


@pytest.mark.parametrize(
    ("time", "allowed"),
    [("08:59:59", False), ("09:00:00", True), ("18:45:00", True), ("18:59:59", True), ("19:00:00", False)],
)
def test_hours_1_the_lead_time_is_there_to_deliver_in(time, allowed):
    now = moment(f"{OVERDUE_FROM} {time}")
    case = Case()
    decision = standing(case.notice(Kind.OVERDUE, now), case.facts(now), LENDER, now)
    assert decision.reason is (Refusal.NONE if allowed else Refusal.OUTSIDE_HOURS)


def test_hours_1_both_offsets_must_be_inside():
    # An hour of summer time: it is 09:00 under the one offset when it is 10:00 under the other.
    case = Case(profile=Profile(4, 8, EMAIL, EMAIL))
    for time, allowed in (("09:59:59", False), ("10:00:00", True), ("18:44:59", True), ("18:45:00", False)):
        now = moment(f"{OVERDUE_FROM} {time}", offset=8)
        assert reason(case, Kind.OVERDUE, now) is (Refusal.NONE if allowed else Refusal.OUTSIDE_HOURS), time


def test_hours_1_the_refusal_tells_the_next_second_that_is_inside():
    case = Case(limits=STRICT)
    friday = moment("2027-02-12 18:45:00")
    decision = decide(case.notice(Kind.OVERDUE, friday), case.facts(friday), LENDER, friday)
    assert decision == Decision(Refusal.OUTSIDE_HOURS, friday, moment("2027-02-15 09:00:00"))


LIMITS = st.builds(
    lambda opens, window, lead, weekdays: replace(
        STRICT, opens=opens, closes=min(1320, opens + window), lead=lead, weekdays=weekdays
    ),
    st.integers(420, 1140),
    st.integers(180, 900),
    st.integers(0, 1800),
    st.integers(1, 127),
)
PROFILES = st.builds(
    lambda offset, apart: Profile(offset, min(56, max(-48, offset + apart))),
    st.integers(-48, 56),
    st.integers(-8, 8),
)


def is_inside(now: int, limits: ContactLimits, profile: Profile) -> bool:
    """The rule as a person would check it, with a clock on each wall."""
    for offset in (profile.offset, profile.other_offset):
        clock = datetime.fromtimestamp(now, UTC) + timedelta(minutes=15 * offset)
        seconds = clock.hour * 3600 + clock.minute * 60 + clock.second
        if not limits.weekdays >> clock.weekday() & 1:
            return False
        if not limits.opens * 60 <= seconds < limits.closes * 60 - limits.lead:
            return False
    return True


@given(now=st.integers(10**9, 3 * 10**9), limits=LIMITS, profile=PROFILES)
def test_hours_1_no_second_before_the_next_one_is_inside(now, limits, profile):
    opens = next_in_hours(now, limits, profile)
    assert opens >= now
    assert is_inside(opens, limits, profile)
    assert next_in_hours(opens, limits, profile) == opens
    if opens > now:
        assert not is_inside(opens - 1, limits, profile)
        assert not is_inside(now, limits, profile)
        # And none between: windows are longer than a minute.
        assert not any(is_inside(at, limits, profile) for at in range(now, opens, 600))


# ------------------------------------------------------------------------------ caps


def test_cap_1_the_gap_is_kept_to_the_second():
    for ago, expected in ((2 * DAY, Refusal.NONE), (2 * DAY - 1, Refusal.TOO_SOON), (1, Refusal.TOO_SOON)):
        assert reason(Case(reminders=(NOON - ago,)), Kind.OVERDUE, NOON) is expected


def test_cap_1_the_week_is_a_rolling_one():
    for ago, expected in ((7 * DAY, Refusal.NONE), (7 * DAY - 1, Refusal.WEEK_CAP)):
        case = Case(reminders=(NOON - 3 * DAY, NOON - ago))
        assert reason(case, Kind.OVERDUE, NOON) is expected


def test_cap_1_the_day_is_a_rolling_one():
    limits = replace(EVERY_DAY, gap=0, per_day=2, per_week=7)
    for ago, expected in ((DAY, Refusal.NONE), (DAY - 1, Refusal.DAY_CAP)):
        case = Case(reminders=(NOON - 60, NOON - ago), limits=limits)
        assert reason(case, Kind.OVERDUE, NOON) is expected


def test_cap_1_the_refusal_tells_when_one_more_is_allowed():
    case = Case(reminders=(NOON - 3 * DAY, NOON - 5 * DAY))
    decision = decide(case.notice(Kind.OVERDUE, NOON), case.facts(NOON), LENDER, NOON)
    assert decision == Decision(Refusal.WEEK_CAP, NOON, NOON + 2 * DAY)


def test_cap_1_a_served_notice_is_not_held_up_by_itself():
    case = Case()
    notice = case.notice(Kind.OVERDUE, NOON)
    case = case.served(Kind.OVERDUE, NOON)
    assert decide(notice, case.facts(NOON), LENDER, NOON).reason is Refusal.TOO_SOON
    assert standing(notice, case.facts(NOON), LENDER, NOON).reason is Refusal.NONE


def test_cap_2_what_serves_the_borrower_does_not_count_as_a_reminder():
    case = replace(UNSAID, loan=paid(a_loan(), 5, "2027-02-01 12:00"), reminders=(NOON - 1,))
    for kind in (Kind.LOAN_OPENED, Kind.PAYMENT_RECEIVED):
        notice = case.notice(kind, NOON)
        assert decide(notice, case.facts(NOON), LENDER, NOON).reason is Refusal.NONE
        assert case.served(kind, NOON).reminders == case.reminders


def test_cap_2_at_most_three_in_24_hours():
    for ago, expected in ((DAY, Refusal.NONE), (DAY - 1, Refusal.SERVICE_CAP)):
        case = replace(UNSAID, said=Said(services=(NOON - 5, NOON - 9, NOON - ago)))
        assert reason(case, Kind.LOAN_OPENED, NOON) is expected
    # Reminders are not counted among them.
    assert reason(case, Kind.OVERDUE, NOON) is Refusal.NONE


@pytest.mark.parametrize("kind", [Kind.LOAN_OPENED, Kind.PAYMENT_RECEIVED, Kind.LOAN_REPAID])
def test_cap_2_each_is_served_once_for_its_basis(kind):
    loan = a_loan()
    loan = paid(loan, loan.owed if kind is Kind.LOAN_REPAID else 5, "2027-01-05 12:00")
    case = replace(UNSAID, loan=loan)
    assert reason(case, kind, NOON) is Refusal.NONE
    said = replace(case.served(kind, NOON).said, services=())
    assert reason(replace(case, said=said), kind, NOON) is Refusal.ALREADY_SAID


def test_cap_2_a_new_payment_is_a_new_basis():
    loan = paid(a_loan(), 700, "2027-01-05 12:00")
    case = Case(loan=paid(loan, 50, "2027-01-06 12:00"), said=Said(received=700))
    _, base = ground(Kind.PAYMENT_RECEIVED, case.facts(NOON))
    assert (base.amount, base.basis) == (50, 750)


def test_basis_1_less_may_be_credited_than_was_said():
    """An amendment takes what was paid ahead along."""
    loan = paid(a_loan(), 700, "2027-01-05 12:00")
    loan = replace(loan, total=loan.paid, recorded_status=Status.REPLACED)
    for received, expected in ((0, Refusal.NONE), (700, Refusal.ALREADY_SAID), (900, Refusal.ALREADY_SAID)):
        case = Case(loan=loan, said=Said(received=received))
        assert reason(case, Kind.PAYMENT_RECEIVED, NOON) is expected, received


def test_server_1_the_claims_owner_serves_and_nobody_before():
    case = Case(loan=replace(a_loan(), lender=STRANGER))
    assert reason(case, Kind.OVERDUE, NOON, STRANGER) is Refusal.NONE
    assert reason(case, Kind.OVERDUE, NOON, LENDER) is Refusal.NOT_SERVER


# ------------------------------------------------------------------------------ consent


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (Profile(EAST, EAST), Refusal.NO_CONTACT),
        (Profile(EAST, EAST, registered=EMAIL), Refusal.NO_CONSENT),
        (Profile(EAST, EAST, registered=EMAIL, ceased=True), Refusal.CEASED),
        (Profile(EAST, EAST, registered=2, consented=2), Refusal.NO_CONTACT),
        (Profile(EAST, EAST, registered=EMAIL, consented=EMAIL), Refusal.NONE),
    ],
)
@pytest.mark.parametrize("kind", [Kind.OVERDUE, Kind.LOAN_OPENED])
def test_consent_1_nothing_is_sent_without_consent_in_force(profile, expected, kind):
    case = replace(UNSAID, profile=profile)
    assert reason(case, kind, NOON) is expected
    assert standing(case.notice(kind, NOON), case.facts(NOON), LENDER, NOON).reason is expected
    moment = earliest(kind, case.notice(kind, NOON).instalment, Channel.EMAIL, case.facts(NOON), NOON)
    assert (moment is None) == (expected is not Refusal.NONE)


# ------------------------------------------------------------------------------ basis


def test_basis_1_nothing_is_overdue_before_its_day_is_over():
    last_second, first_second = moment("2027-01-29 23:59:59"), moment("2027-01-30 00:00:00")
    limits = replace(EVERY_DAY, overdue_days=1)
    case = Case(limits=limits)
    assert case.facts(last_second).position.overdue == 0
    assert reason(case, Kind.OVERDUE, last_second) is Refusal.TOO_EARLY
    assert case.facts(first_second).position.overdue == case.loan.instalment
    assert reason(case, Kind.OVERDUE, first_second) is Refusal.OUTSIDE_HOURS


def test_basis_1_no_overdue_notice_in_the_first_ten_days():
    assert reason(Case(), Kind.OVERDUE, moment("2027-02-08 12:00")) is Refusal.TOO_EARLY
    assert reason(Case(), Kind.OVERDUE, NOON) is Refusal.NONE


def test_basis_1_no_reminder_after_the_borrower_had_paid():
    now = moment("2027-01-26 12:00")
    loan = a_loan()
    settled = paid(loan, loan.instalment, "2027-01-26 11:59:59")
    for kind in (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY):
        assert reason(Case(loan=settled), kind, now) is Refusal.NO_BASIS
    # What was served a minute earlier is not delivered any more.
    served = Case(loan=loan).notice(Kind.INSTALMENT_UPCOMING, now)
    assert standing(served, Case(loan=settled).facts(now), LENDER, now).reason is Refusal.NO_BASIS


def test_basis_1_due_in_three_days_is_not_said_whatever_the_date():
    # The text is rendered from the day in the ledger, and the gate looks at today.
    case = Case()
    for text, expected in (
        ("2027-01-21 12:00", Refusal.TOO_EARLY),
        ("2027-01-22 12:00", Refusal.NONE),
        ("2027-01-28 12:00", Refusal.NONE),
        ("2027-01-29 12:00", Refusal.TOO_LATE),
    ):
        assert reason(case, Kind.INSTALMENT_UPCOMING, moment(text)) is expected, text
    for text, expected in (("2027-01-28 12:00", Refusal.TOO_EARLY), ("2027-01-29 12:00", Refusal.NONE)):
        assert reason(case, Kind.DUE_TODAY, moment(text)) is expected, text


def test_basis_1_due_days_are_counted_in_the_loans_calendar():
    # Half past five in the afternoon of 28 January in London is 29 January in Shanghai.
    case = Case(profile=Profile(0, 0, EMAIL, EMAIL))
    now = moment("2027-01-28 17:30", offset=0)
    assert reason(case, Kind.DUE_TODAY, now) is Refusal.NONE
    assert reason(case, Kind.INSTALMENT_UPCOMING, now) is Refusal.TOO_LATE


def test_basis_1_amount_and_instalment_are_the_ledgers():
    case = Case()
    assert reason(case, Kind.OVERDUE, NOON, amount=1) is Refusal.WRONG_AMOUNT
    assert reason(case, Kind.OVERDUE, NOON, instalment=2) is Refusal.WRONG_INSTALMENT
    assert reason(case, Kind.LOAN_OPENED, NOON, instalment=1) is Refusal.WRONG_INSTALMENT


def test_basis_1_a_fee_that_falls_due_changes_what_may_be_said():
    # The grace period ends with 8 February, so on the 9th the fee is part of the amount.
    case = Case(limits=replace(EVERY_DAY, overdue_days=10))
    before, after = moment("2027-02-08 12:00"), moment("2027-02-09 12:00")
    notice = case.notice(Kind.OVERDUE, before)
    assert notice.amount == case.loan.instalment
    assert case.notice(Kind.OVERDUE, after).amount == case.loan.instalment + 4_000
    decision = standing(notice, case.facts(after), LENDER, after)
    assert decision == Decision(Refusal.WRONG_AMOUNT, case.loan.instalment, case.loan.instalment + 4_000)


def test_basis_1_a_repaid_loan_asks_for_nothing():
    loan, _, _ = schedule.settle(a_loan(), moment("2027-02-01 12:00"))
    case = Case(loan=loan)
    assert case.facts(NOON).position.status is Status.REPAID
    for kind in (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY, Kind.OVERDUE):
        assert reason(case, kind, NOON) is Refusal.NO_BASIS
    assert reason(case, Kind.LOAN_REPAID, NOON) is Refusal.NONE


# ------------------------------------------------------------------------------ what else is told

LODGED = grievance.Case(since=NOON - DAY)
OWED = (Kind.DISPUTE_ANSWERED, Kind.HARDSHIP_ANSWERED, Kind.LOAN_ASSIGNED, Kind.ARREARS)
THIRD_MISSED = moment("2027-03-31 12:00")


def owed_case(**changes: object) -> Case:
    """All four that are owed can be said."""
    loan = replace(a_loan(), lender=STRANGER, assigned=True)
    return Case(loan=loan, dispute=LODGED, hardship=LODGED, **changes)


@pytest.mark.parametrize("kind", OWED)
def test_consent_1_what_is_owed_needs_a_contact_and_no_consent(kind):
    now = THIRD_MISSED
    for profile, channel, expected in (
        (Profile(EAST, EAST, EMAIL), Channel.EMAIL, Refusal.NONE),
        (Profile(EAST, EAST, EMAIL, ceased=True), Channel.EMAIL, Refusal.NONE),
        (Profile(EAST, EAST), Channel.EMAIL, Refusal.NO_CONTACT),
        (Profile(EAST, EAST, EMAIL, EMAIL), Channel.SMS, Refusal.NO_CONTACT),
        (Profile(EAST, EAST), Channel.IN_APP, Refusal.NONE),
        (Profile(EAST, EAST, ceased=True), Channel.IN_APP, Refusal.NONE),
    ):
        case = owed_case(profile=profile)
        notice = case.notice(kind, now, channel)
        assert decide(notice, case.facts(now), STRANGER, now).reason is expected
        assert standing(notice, case.facts(now), STRANGER, now).reason is expected
        moment = earliest(kind, notice.instalment, channel, case.facts(now), now)
        assert (moment is None) == (expected is not Refusal.NONE)


def test_consent_1_the_inbox_needs_consent_for_anything_that_is_not_owed():
    for kind in set(Kind) - set(OWED):
        assert not kind.is_owed
    case = Case(profile=Profile(EAST, EAST))
    assert reason(case, Kind.OVERDUE, NOON, channel=Channel.IN_APP) is Refusal.NO_CONTACT


def test_server_1_no_reminder_before_the_borrower_was_told_of_the_new_lender():
    case = Case(loan=replace(a_loan(), lender=STRANGER, assigned=True))
    notice = case.notice(Kind.OVERDUE, NOON)
    refused = Decision(Refusal.NOT_TOLD_OF_ASSIGNMENT, 0, int(STRANGER, 16))
    assert decide(notice, case.facts(NOON), STRANGER, NOON) == refused
    assert standing(notice, case.facts(NOON), STRANGER, NOON) == refused
    assert earliest(Kind.OVERDUE, 1, Channel.EMAIL, case.facts(NOON), NOON) is None
    told = case.served(Kind.LOAN_ASSIGNED, NOON)
    assert told.seldom_said == SeldomSaid(lender=STRANGER, assignments=1)
    assert reason(told, Kind.OVERDUE, NOON, STRANGER) is Refusal.NONE
    assert reason(told, Kind.LOAN_ASSIGNED, NOON, STRANGER) is Refusal.ALREADY_SAID
    # Back to whom it was, who is a new lender again.
    back = replace(told, loan=replace(told.loan, lender=LENDER))
    decision = decide(back.notice(Kind.OVERDUE, NOON), back.facts(NOON), LENDER, NOON)
    assert decision == Decision(Refusal.NOT_TOLD_OF_ASSIGNMENT, int(STRANGER, 16), int(LENDER, 16))
    _, base = ground(Kind.LOAN_ASSIGNED, back.facts(NOON))
    assert (base.basis, base.serial) == (int(LENDER, 16), 1)


def test_basis_1_a_loan_that_never_was_assigned_has_no_new_lender():
    assert reason(Case(), Kind.LOAN_ASSIGNED, NOON) is Refusal.NO_BASIS
    # Reminders do not wait to be told of the first lender.
    assert reason(Case(), Kind.OVERDUE, NOON) is Refusal.NONE


def test_basis_1_arrears_are_two_instalments():
    for text, expected in (
        ("2027-02-28 12:00", Refusal.NO_BASIS),
        ("2027-03-01 12:00", Refusal.NONE),
        ("2027-03-31 12:00", Refusal.NONE),
    ):
        assert reason(Case(), Kind.ARREARS, moment(text)) is expected, text
    notice = Case().notice(Kind.ARREARS, THIRD_MISSED)
    loan = a_loan()
    # Two grace periods are over, and the third instalment was due on 29 March.
    assert (notice.instalment, notice.amount) == (1, 3 * loan.instalment + 2 * loan.terms.late_fee)
    one_paid = Case(loan=paid(loan, loan.instalment, "2027-01-29 12:00"))
    assert reason(one_paid, Kind.ARREARS, moment("2027-03-01 12:00")) is Refusal.NO_BASIS


def test_cap_2_arrears_are_told_of_again_after_half_a_year_alone():
    case = Case().served(Kind.ARREARS, THIRD_MISSED)
    assert case.seldom_said == SeldomSaid(arrears_at=THIRD_MISSED, arrears=1)
    then = THIRD_MISSED + BETWEEN_ARREARS
    for now, expected in ((then - 1, Refusal.TOO_SOON), (then, Refusal.NONE)):
        notice = case.notice(Kind.ARREARS, now)
        assert decide(notice, case.facts(now), LENDER, now).reason is expected
        assert earliest(Kind.ARREARS, 1, Channel.EMAIL, case.facts(now), now) == then
        # Its own half year does not hold up what was served.
        assert standing(notice, case.facts(now), LENDER, now).reason is Refusal.NONE
    _, base = ground(Kind.ARREARS, case.facts(then))
    assert base.serial == 1


def test_basis_1_paid_ahead_is_said_of_an_instalment_that_is_paid_and_not_yet_due():
    loan = paid(a_loan(), a_loan().instalment, "2027-01-05 12:00")
    case = Case(loan=loan, said=Said(received=loan.paid, flags=OPENED))
    for text, expected in (
        ("2027-01-05 13:00", Refusal.NONE),
        ("2027-01-29 12:00", Refusal.NONE),  # the due day
        ("2027-01-30 12:00", Refusal.NO_BASIS),  # the next instalment is not paid
    ):
        assert reason(case, Kind.PAID_AHEAD, moment(text)) is expected, text
    now = moment("2027-01-26 12:00")
    notice = case.notice(Kind.PAID_AHEAD, now)
    assert (notice.instalment, notice.amount) == (1, 0)
    assert reason(case, Kind.INSTALMENT_UPCOMING, now) is Refusal.NO_BASIS
    case = case.served(Kind.PAID_AHEAD, now)
    assert reason(case, Kind.PAID_AHEAD, now) is Refusal.ALREADY_SAID
    assert standing(notice, case.facts(now), LENDER, now).reason is Refusal.NONE
    # Of the next instalment it can be said anew.
    later = moment("2027-02-02 12:00")
    case = replace(case, loan=paid(loan, loan.instalment, "2027-02-02 11:00"))
    assert reason(case, Kind.PAID_AHEAD, later) is Refusal.NONE
    assert case.served(Kind.PAID_AHEAD, later).said.next == 2


def test_basis_1_nothing_is_paid_ahead_while_something_is_missing():
    loan = a_loan()
    short = Case(loan=paid(loan, loan.instalment - 1, "2027-01-05 12:00"))
    now = moment("2027-01-26 12:00")
    decision = decide(short.notice(Kind.PAID_AHEAD, now), short.facts(now), LENDER, now)
    assert decision == Decision(Refusal.NO_BASIS, 1, 0)
    assert reason(Case(), Kind.PAID_AHEAD, NOON) is Refusal.NO_BASIS  # overdue
    settled, _, _ = schedule.settle(loan, now)
    assert reason(Case(loan=settled), Kind.PAID_AHEAD, now) is Refusal.NO_BASIS


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        # Opened on 20 December; with 14 days the last to rescind is 3 January.
        ("2026-12-30 12:00", 14, Refusal.TOO_EARLY),
        ("2026-12-31 12:00", 14, Refusal.NONE),
        ("2027-01-03 12:00", 14, Refusal.NONE),
        ("2027-01-04 12:00", 14, Refusal.TOO_LATE),
        ("2026-12-20 12:30", 2, Refusal.NONE),
        ("2026-12-20 12:30", 0, Refusal.NO_BASIS),
    ],
)
def test_basis_1_the_cooling_off_period_ends_in_its_last_days(text, days, expected):
    now = moment(text)
    case = Case(cooling_off_days=days)
    assert reason(case, Kind.COOLING_OFF_ENDING, now) is expected
    if expected is Refusal.NONE:
        case = case.served(Kind.COOLING_OFF_ENDING, now)
        assert reason(case, Kind.COOLING_OFF_ENDING, now) is Refusal.ALREADY_SAID


def test_basis_1_no_right_to_rescind_is_told_of_where_there_is_none():
    now = moment("2026-12-31 12:00")
    rescinded = replace(a_loan(), total=0, recorded_status=Status.RESCINDED)
    for loan in (a_loan(replaces=b"\7" * 32), rescinded):
        assert reason(Case(loan=loan), Kind.COOLING_OFF_ENDING, now) is Refusal.NO_BASIS


def test_basis_1_an_amendment_is_told_of_the_loan_that_replaces():
    case = Case(loan=a_loan(replaces=b"\7" * 32), said=Said())
    notice = case.notice(Kind.LOAN_AMENDED, NOON)
    assert (notice.instalment, notice.amount) == (0, 1_200_000)
    assert reason(case, Kind.LOAN_AMENDED, NOON) is Refusal.NONE
    assert reason(case.served(Kind.LOAN_AMENDED, NOON), Kind.LOAN_AMENDED, NOON) is Refusal.ALREADY_SAID
    assert reason(Case(said=Said()), Kind.LOAN_AMENDED, NOON) is Refusal.NO_BASIS


def test_cap_2_a_change_of_consent_is_told_once():
    case = Case(profile=replace(CONSENTING, changes=2))
    assert reason(Case(), Kind.CONSENT_CHANGED, NOON) is Refusal.NO_BASIS
    assert reason(case, Kind.CONSENT_CHANGED, NOON) is Refusal.NONE
    case = case.served(Kind.CONSENT_CHANGED, NOON)
    assert case.seldom_said == SeldomSaid(consents=2)
    assert reason(case, Kind.CONSENT_CHANGED, NOON) is Refusal.ALREADY_SAID
    case = replace(case, profile=replace(case.profile, changes=3))
    assert reason(case, Kind.CONSENT_CHANGED, NOON) is Refusal.NONE


@pytest.mark.parametrize(
    ("receipt", "answer", "field"),
    [
        (Kind.DISPUTE_RECEIVED, Kind.DISPUTE_ANSWERED, "dispute"),
        (Kind.HARDSHIP_RECEIVED, Kind.HARDSHIP_ANSWERED, "hardship"),
    ],
)
def test_basis_1_only_a_grievance_that_stands_is_confirmed_or_answered(receipt, answer, field):
    for kind in (receipt, answer):
        assert reason(Case(), kind, NOON) is Refusal.NO_BASIS
        other = "hardship" if field == "dispute" else "dispute"
        assert reason(Case(**{other: LODGED}), kind, NOON) is Refusal.NO_BASIS
        case = Case(**{field: LODGED})
        assert reason(case, kind, NOON) is Refusal.NONE
        _, base = ground(kind, case.facts(NOON))
        assert base.basis == LODGED.since
        answered = Case(**{field: replace(LODGED, received=True, answered_at=NOON)})
        assert reason(answered, kind, NOON) is Refusal.NO_BASIS
        # The one that was served stands, whatever itself made of the grievance.
        notice = case.notice(kind, NOON)
        assert standing(notice, answered.facts(NOON), LENDER, NOON).reason is Refusal.NONE
    received = Case(**{field: replace(LODGED, received=True)})
    assert reason(received, receipt, NOON) is Refusal.ALREADY_SAID
    assert reason(received, answer, NOON) is Refusal.NONE
    assert kind.grievance is Grievance[field.upper()]


# ------------------------------------------------------------------------------ when, and what was said


def test_earliest_is_the_opening_of_the_first_day_on_which_it_may_be_said():
    now = moment("2027-01-10 12:00")
    facts = Case().facts(now)
    assert earliest(Kind.INSTALMENT_UPCOMING, 1, Channel.EMAIL, facts, now) == moment("2027-01-22 09:00")
    assert earliest(Kind.DUE_TODAY, 1, Channel.EMAIL, facts, now) == moment("2027-01-29 09:00")
    assert earliest(Kind.OVERDUE, 1, Channel.EMAIL, facts, now) == moment("2027-02-09 09:00")
    assert earliest(Kind.OVERDUE, 2, Channel.EMAIL, facts, now) is None


def test_earliest_is_none_where_the_day_has_no_window():
    # The due day is a Saturday, and only weekdays are open.
    case = Case(loan=a_loan("2027-01-30"), limits=STRICT)
    now = moment("2027-01-25 12:00")
    assert earliest(Kind.DUE_TODAY, 1, Channel.EMAIL, case.facts(now), now) is None


def test_what_is_said_is_counted_per_instalment():
    now = moment("2027-01-26 12:00")
    case = UNSAID
    case = case.served(Kind.INSTALMENT_UPCOMING, now)
    assert case.said == Said(next=1, upcoming=1)
    assert ground(Kind.INSTALMENT_UPCOMING, case.facts(now))[1].serial == 1
    now = moment("2027-01-29 12:00")
    said = case.served(Kind.DUE_TODAY, now).said
    assert said == Said(next=1, upcoming=1, flags=DUE_TODAY)
    assert reason(replace(case, said=said), Kind.DUE_TODAY, now) is Refusal.ALREADY_SAID
    # The next instalment starts anew.
    now = moment("2027-02-26 12:00")
    loan = paid(case.loan, case.loan.instalment, "2027-01-29 13:00")
    case = replace(case, loan=loan, said=replace(said, flags=DUE_TODAY | OPENED | REPAID))
    said = case.served(Kind.INSTALMENT_UPCOMING, now).said
    assert said == Said(next=2, upcoming=1, flags=OPENED | REPAID)


def test_a_notices_id_is_the_hash_of_its_abi_encoding():
    loan = bytes(range(32))
    encoded = encode(["bytes32", "uint8", "uint256", "uint256"], [loan, Kind.OVERDUE, 7, 2**80])
    assert notice_id(loan, Kind.OVERDUE, 7, 2**80) == keccak(encoded)


def test_the_oldest_moment_is_forgotten():
    moments: tuple[int, ...] = ()
    for at in range(1, 10):
        moments = push(moments, at, 7)
    assert moments == (9, 8, 7, 6, 5, 4, 3)
    assert [newest(moments, n) for n in (1, 7)] == [9, 3]
    assert newest((), 1) == 0
