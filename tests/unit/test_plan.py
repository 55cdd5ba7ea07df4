"""What is planned, for whom, and when. Tests are named by the requirement that they hold."""

from collections import Counter
from dataclasses import fields, replace
from functools import reduce
from itertools import pairwise
from operator import or_

import pytest
from hypothesis import given, settings
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
    borrower,
    day,
    moment,
    paid,
)

from duly.domain import calendar, grievance, schedule
from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
from duly.domain.grievance import FOREVER, NO_CASE, NO_REST, Rest
from duly.domain.loan import Status
from duly.domain.notice import (
    AMENDED,
    DUE_TODAY,
    OPENED,
    REMEMBERED_REMINDERS,
    Decision,
    Kind,
    Refusal,
    Said,
    SeldomSaid,
    Spoken,
    after_serving,
    decide,
)
from duly.domain.terms import Schedule
from duly.services.plan import (
    MOST_TOGETHER,
    OVERDUE_TIMES,
    SLACK,
    Planned,
    companions,
    known_reminders,
    plan,
)
from duly.services.when import Wait

UPCOMING_DAY = "2027-01-26"  # three days before the first due day
OVERDUE_DAY = "2027-02-09"


def planned(case: Case, text: str, **options: object) -> list[Planned]:
    return plan([case], LENDER, moment(text), **options)


def kinds_now(case: Case, text: str) -> list[Kind]:
    return [each.kind for each in planned(case, text) if each.ready]


# ------------------------------------------------------------------------------------ what is said, and when


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-01-25 12:00", []),
        ("2027-01-26 08:59:59", []),
        ("2027-01-26 09:00", [Kind.INSTALMENT_UPCOMING]),
        ("2027-01-28 12:00", [Kind.INSTALMENT_UPCOMING]),
        ("2027-01-29 12:00", [Kind.DUE_TODAY]),
        ("2027-01-30 12:00", []),
        ("2027-02-08 12:00", []),
        ("2027-02-09 12:00", [Kind.OVERDUE]),
    ],
)
def test_basis_1_each_kind_has_its_days(text, expected):
    assert kinds_now(Case(), text) == expected


def test_basis_1_no_reminder_is_planned_after_the_borrower_had_paid():
    loan = a_loan()
    for text in (f"{UPCOMING_DAY} 12:00", "2027-01-29 12:00"):
        case = Case(loan=paid(loan, loan.instalment, "2027-01-25 18:00"), said=Said(loan.instalment, flags=1))
        assert not any(each.kind.is_reminder for each in planned(case, text))


def test_basis_1_a_late_payment_ends_the_overdue_notices():
    loan = a_loan()
    loan = paid(loan, loan.instalment + 4_000, "2027-02-10 12:00")
    assert kinds_now(Case(loan=loan), "2027-02-11 12:00") == [Kind.PAYMENT_RECEIVED]


def test_an_instalment_to_come_is_mentioned_once():
    case = Case(said=Said(next=1, upcoming=1, flags=OPENED))
    assert [each.kind for each in planned(case, f"{UPCOMING_DAY} 12:00")] == [Kind.DUE_TODAY]


def test_the_due_day_is_mentioned_once():
    case = Case(said=Said(next=1, flags=OPENED | DUE_TODAY))
    assert planned(case, "2027-01-29 12:00") == []


@pytest.mark.parametrize(("overdue_days", "expected"), [(1, [1, 7, 14, 30]), (11, [11, 17, 24, 40])])
def test_overdue_notices_are_spaced_and_come_to_an_end(overdue_days, expected):
    due = day("2027-01-29")
    case, served = Case(limits=replace(EVERY_DAY, overdue_days=overdue_days)), []
    for hour in range(24 * 30):
        now = moment("2027-01-30 00:00") + 2 * hour * 3600
        for each in plan([case], LENDER, now, waiting=False):
            # The others' instalments fall due meanwhile; the first one that is unpaid is spoken of.
            assert each.kind is Kind.OVERDUE
            assert each.instalment == 1
            assert each.ground.serial == len(served)
            case = case.served(each.kind, now)
            served.append(now)
    # Not about the same instalment for ever.
    assert [calendar.local_day(at, EAST) - due for at in served] == expected
    assert {(at + 8 * 3600) % DAY // 3600 for at in served} <= {9, 10}


def test_an_overdue_notice_that_was_late_makes_the_next_one_wait():
    # The first was said on day 20 only: the second comes six days later, not on day 7.
    told = moment("2027-02-18 12:00")
    case = Case(limits=replace(EVERY_DAY, overdue_days=1), said=Said(missed=1, overdue=1, flags=OPENED))
    case = replace(case, reminders=(told,), reminded_at=told)
    for text, expected in (("2027-02-23 12:00", []), ("2027-02-24 12:00", [Kind.OVERDUE])):
        assert kinds_now(case, text) == expected
    [waiting] = planned(case, "2027-02-23 12:00")
    assert (waiting.decision.reason, waiting.wait) == (Refusal.NONE, Wait.ANOTHER_DAY)
    assert waiting.not_before == moment("2027-02-24 09:00")


def test_another_overdue_instalment_is_mentioned_again():
    silent = Case(said=Said(missed=1, overdue=OVERDUE_TIMES, flags=OPENED))
    assert kinds_now(silent, "2027-03-12 12:00") == []
    first_paid = replace(silent, loan=paid(a_loan(), a_loan().instalment + 4_000, "2027-03-11 12:00"))
    assert Kind.OVERDUE in kinds_now(first_paid, "2027-03-12 12:00")


def test_the_opening_is_said_until_the_first_instalment_is_due():
    case = Case(said=Said())
    assert kinds_now(case, "2026-12-21 12:00") == [Kind.LOAN_OPENED]
    assert Kind.LOAN_OPENED not in kinds_now(case, "2027-01-30 12:00")


def test_a_payment_is_confirmed():
    loan = paid(a_loan(), 70_000, "2027-01-05 11:00")
    [received] = [each for each in planned(Case(loan=loan), "2027-01-05 12:00") if each.ready]
    assert (received.kind, received.amount, received.ground.basis) == (Kind.PAYMENT_RECEIVED, 70_000, 70_000)


def test_the_last_payment_is_said_to_repay_the_loan_and_nothing_else():
    loan = a_loan()
    loan = paid(loan, loan.owed, "2027-01-05 11:00")
    [repaid] = planned(Case(loan=loan), "2027-01-05 12:00")
    assert (repaid.kind, repaid.amount, repaid.ready) == (Kind.LOAN_REPAID, loan.total, True)
    assert planned(Case(loan=loan, said=Said(flags=OPENED | 4)), "2027-01-05 12:00") == []


REPLACING = {"replaces": b"\7" * 32}
AMENDMENT_TOLD = Said(flags=AMENDED)


def test_that_an_amended_loan_was_opened_is_no_news():
    case = Case(loan=a_loan(**REPLACING), said=AMENDMENT_TOLD)
    kinds = {each.kind for each in planned(case, "2026-12-21 12:00")}
    assert kinds == {Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY}


def test_an_amendment_is_told_until_its_first_instalment_is_due():
    case = Case(loan=a_loan(**REPLACING), said=Said())
    [told] = [each for each in planned(case, "2026-12-21 12:00") if each.ready]
    assert (told.kind, told.instalment, told.amount) == (Kind.LOAN_AMENDED, 0, 1_200_000)
    assert kinds_now(case.served(Kind.LOAN_AMENDED, moment("2026-12-21 12:00")), "2026-12-21 12:00") == []
    assert Kind.LOAN_AMENDED in kinds_now(case, "2027-01-29 12:00")
    assert Kind.LOAN_AMENDED not in kinds_now(case, "2027-01-30 12:00")


def test_what_was_carried_over_is_said_with_the_next_payment_alone():
    carried = replace(a_loan(**REPLACING), paid=700)
    assert Kind.PAYMENT_RECEIVED not in kinds_now(Case(loan=carried, carried=700), "2027-01-05 12:00")
    loan = paid(carried, 50, "2027-01-05 11:00")
    case = Case(loan=loan, carried=700, said=AMENDMENT_TOLD)
    [received] = [each for each in planned(case, "2027-01-05 12:00") if each.ready]
    # What the gate lets be said is everything that was not said about this very loan.
    assert (received.kind, received.amount) == (Kind.PAYMENT_RECEIVED, 750)
    assert kinds_now(replace(case, said=Said(received=750, flags=AMENDED)), "2027-01-05 12:00") == []


@pytest.mark.parametrize("status", [Status.REPLACED, Status.RESCINDED])
def test_of_a_loan_that_ended_otherwise_only_what_was_paid_is_said(status):
    loan = paid(a_loan(), 50_000, "2027-01-05 11:00")
    ended = Case(loan=replace(loan, total=loan.paid, recorded_status=status), said=Said())
    for text in ("2027-01-05 12:00", f"{UPCOMING_DAY} 12:00", "2027-01-29 12:00", f"{OVERDUE_DAY} 12:00"):
        assert [(each.kind, each.amount) for each in planned(ended, text)] == [
            (Kind.PAYMENT_RECEIVED, 50_000)
        ]
        assert planned(replace(ended, said=Said(received=50_000)), text) == []
        # What was paid ahead went over to another loan: less is credited than was said.
        assert planned(replace(ended, said=Said(received=60_000)), text) == []


def test_a_default_changes_nothing_of_what_is_said():
    case = Case(loan=replace(a_loan(), defaulted=1))
    assert case.loan.status is Status.DEFAULTED
    assert kinds_now(case, f"{OVERDUE_DAY} 12:00") == [Kind.OVERDUE]


def test_server_1_an_assigned_loan_is_the_new_lenders_to_speak_of():
    loan = replace(a_loan(), lender=STRANGER, assigned=True)
    case = Case(loan=loan, seldom_said=SeldomSaid(STRANGER, 1))
    now = moment(f"{OVERDUE_DAY} 12:00")
    assert plan([case], LENDER, now) == []
    assert [each.ready for each in plan([case], STRANGER, now)] == [True]


def test_a_bullet_is_spoken_of_when_it_falls_due():
    case = Case(loan=a_loan(schedule=Schedule.BULLET, instalments=3))
    assert planned(case, "2027-01-29 12:00", waiting=False) == []  # its first period ends
    for text, kind in (
        ("2027-03-26 12:00", Kind.INSTALMENT_UPCOMING),
        ("2027-03-29 12:00", Kind.DUE_TODAY),
        ("2027-04-09 12:00", Kind.OVERDUE),
    ):
        [told] = planned(case, text, waiting=False)
        assert (told.kind, told.instalment) == (kind, 3)
        assert told.amount == case.loan.total + (4_000 if kind is Kind.OVERDUE else 0)


def test_what_waits_tells_why_and_until_when():
    early = {each.kind: each for each in planned(Case(), "2027-01-10 12:00")}
    assert set(early) == {Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY}
    upcoming = early[Kind.INSTALMENT_UPCOMING]
    assert upcoming.decision.reason is Refusal.TOO_EARLY
    assert upcoming.not_before == moment("2027-01-26 09:00")
    assert early[Kind.DUE_TODAY].not_before == moment("2027-01-29 09:00")
    assert planned(Case(), "2027-01-10 12:00", waiting=False) == []


def test_what_no_waiting_helps_is_left_out_until_its_day_and_then_told():
    # The due day is a Saturday, and the policy allows weekdays alone.
    profile = replace(CONSENTING, consented=0)
    case = Case(loan=a_loan("2027-01-30"), limits=STRICT, profile=profile)
    assert [each.decision.reason for each in planned(case, "2027-01-29 12:00")] == [Refusal.NO_CONSENT]
    # The day before was its day, instead of one on which nobody is written to.
    assert planned(case, "2027-01-30 12:00") == []


# ------------------------------------------------------------------------------------ grievances and lenders

LODGED = grievance.Case(since=moment("2027-02-09 08:00"))
STANDING = Rest(standing=1)


@pytest.mark.parametrize(
    ("field", "kind"), [("dispute", Kind.DISPUTE_RECEIVED), ("hardship", Kind.HARDSHIP_RECEIVED)]
)
def test_pause_1_a_grievance_is_confirmed_and_nothing_is_asked_for(field, kind):
    case = Case(loan=replace(a_loan(), rest=STANDING), **{field: LODGED})
    assert kinds_now(case, f"{OVERDUE_DAY} 12:00") == [kind]
    received = replace(case, **{field: replace(LODGED, received=True)})
    assert kinds_now(received, f"{OVERDUE_DAY} 12:00") == []
    answered = replace(case, **{field: replace(LODGED, answered_at=LODGED.since + 1)})
    assert kinds_now(answered, f"{OVERDUE_DAY} 12:00") == []
    # People write the answers, and say them by command.
    everything = {each.kind for each in planned(received, f"{OVERDUE_DAY} 12:00")}
    assert everything.isdisjoint({Kind.DISPUTE_ANSWERED, Kind.HARDSHIP_ANSWERED})


@pytest.mark.parametrize("text", [f"{UPCOMING_DAY} 12:00", "2027-01-29 12:00", f"{OVERDUE_DAY} 12:00"])
def test_pause_1_no_reminder_is_planned_while_reminders_rest(text):
    now = moment(text)
    assert kinds_now(Case(), text) != []
    for rest in (STANDING, Rest(until=now + 1)):
        assert kinds_now(Case(loan=replace(a_loan(), rest=rest)), text) == []
        assert kinds_now(Case(rest=rest), text) == []
    over = Rest(until=now)
    assert kinds_now(Case(loan=replace(a_loan(), rest=over), rest=over), text) == kinds_now(Case(), text)


def test_pause_1_a_reminder_that_rests_tells_until_when():
    now = moment(f"{OVERDUE_DAY} 12:00")
    [waiting] = planned(Case(rest=Rest(until=now + 3 * DAY)), f"{OVERDUE_DAY} 12:00")
    assert waiting.decision == Decision(Refusal.RESTING, now, now + 3 * DAY)
    assert waiting.not_before == now + 3 * DAY
    [waiting] = planned(Case(rest=STANDING), f"{OVERDUE_DAY} 12:00")
    assert waiting.decision == Decision(Refusal.RESTING, now, FOREVER)
    assert waiting.not_before is None


def test_server_1_the_new_lender_is_told_of_before_anything_is_asked_for():
    case = Case(loan=replace(a_loan(), lender=STRANGER, assigned=True))
    now = moment(f"{OVERDUE_DAY} 12:00")
    # What is served first is not done yet when the reminder is decided upon: it goes with the next run.
    ready = [each for each in plan([case], STRANGER, now) if each.ready]
    assert [(each.kind, each.ground.basis) for each in ready] == [(Kind.LOAN_ASSIGNED, int(STRANGER, 16))]
    told = case.served(Kind.LOAN_ASSIGNED, now)
    assert [each.kind for each in plan([told], STRANGER, now) if each.ready] == [Kind.OVERDUE]
    assert [each.kind for each in plan([case], LENDER, now)] == []


def test_server_1_the_new_lender_is_told_of_without_consent():
    case = Case(loan=replace(a_loan(), lender=STRANGER, assigned=True), profile=Profile(EAST, EAST, EMAIL))
    now = moment("2027-01-10 12:00")
    assert [each.kind for each in plan([case], STRANGER, now) if each.ready] == [Kind.LOAN_ASSIGNED]


# ------------------------------------------------------------------------------------ hours and consent


def test_hours_1_nothing_is_planned_outside_the_window():
    assert kinds_now(Case(), f"{OVERDUE_DAY} 08:59:59") == []
    [waiting] = planned(Case(), f"{OVERDUE_DAY} 08:59:59")
    assert waiting.decision.reason is Refusal.OUTSIDE_HOURS
    assert waiting.not_before == moment(f"{OVERDUE_DAY} 09:00")


def test_hours_1_a_window_about_to_close_is_taken_as_closed():
    last = moment(f"{OVERDUE_DAY} 18:45") - SLACK
    assert [each.ready for each in plan([Case()], LENDER, last - 1)] == [True]
    assert [each.not_before for each in plan([Case()], LENDER, last)] == [moment("2027-02-10 09:00")]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (Profile(EAST, EAST), Refusal.NO_CONTACT),
        (Profile(EAST, EAST, EMAIL, 0), Refusal.NO_CONSENT),
        (Profile(EAST, EAST, EMAIL, 0, ceased=True), Refusal.CEASED),
        # Consent to text messages is no consent to e-mail, the one channel that can be delivered on.
        (Profile(EAST, EAST, EMAIL | 2, 2), Refusal.NO_CONSENT),
    ],
)
def test_consent_1_nothing_is_planned_without_consent(profile, expected):
    case = Case(profile=profile)
    [told] = planned(case, f"{OVERDUE_DAY} 12:00")
    assert (told.decision.reason, told.not_before, told.channel) == (expected, None, Channel.EMAIL)
    assert planned(case, f"{OVERDUE_DAY} 12:00", waiting=False) == []


def test_server_1_nothing_is_planned_about_loans_of_others():
    now = moment(f"{OVERDUE_DAY} 12:00")
    assert plan([Case(servicer=SERVICER)], SERVICER, now)
    assert plan([Case(servicer=SERVICER)], LENDER, now)
    assert plan([Case(servicer=SERVICER)], STRANGER, now) == []
    assert plan([Case()], "0x" + 40 * "0", now) == []


def test_borrower_1_no_plan_has_a_place_for_another_person():
    names = {field.name for field in fields(Planned)}
    assert names == {
        "kind", "channel", "loan", "position", "ground", "decision", "not_before", "outcome", "wait", "facts",
        "message",
    }  # fmt: skip
    [told] = planned(Case(), f"{OVERDUE_DAY} 12:00")
    assert told.borrower == borrower(1)


# ------------------------------------------------------------------------------------ caps, per person

NOW = moment(f"{OVERDUE_DAY} 12:00")
ANNA = b"anna".ljust(32, b"\0")


def overdue(number: int, **changes: object) -> Case:
    return Case(loan=a_loan(number=number), **changes)


def ready(cases: list[Case], **options: object) -> list[Planned]:
    return [each for each in plan(cases, LENDER, NOW, **options) if each.ready]


def of_one_address(number: int, first_due: str = "2027-01-29", **changes: object) -> Case:
    """Another loan of borrower 1."""
    loan = a_loan(first_due, number=number)
    return Case(loan=replace(loan, terms=replace(loan.terms, borrower=borrower(1))), **changes)


def messages(planned: list[Planned]) -> dict[bytes, list[int]]:
    """The loans that each message tells of, by number."""
    found: dict[bytes, list[int]] = {}
    for each in planned:
        found.setdefault(each.message, []).append(int.from_bytes(each.loan.id, "big"))
    return found


def test_cap_1_two_loans_of_one_address_get_one_message_in_one_run():
    told = plan([overdue(1), of_one_address(2)], LENDER, NOW)
    assert [each.ready for each in told] == [True, True]
    assert messages(told) == {told[0].id: [1, 2]}
    # What has been said to the address counts for both.
    recent = (NOW - DAY,)
    cases = [overdue(1, reminders=recent), of_one_address(2, reminders=recent)]
    waiting = plan(cases, LENDER, NOW)
    assert [each.decision.reason for each in waiting] == 2 * [Refusal.TOO_SOON]
    assert {each.message for each in waiting} == {b""}


def test_cap_1_what_one_text_cannot_tell_of_waits():
    other = of_one_address(2)
    for policy, lender in ((2, LENDER), (1, STRANGER)):
        loan = replace(other.loan, terms=replace(other.loan.terms, policy=policy), lender=lender)
        cases = [overdue(1, servicer=SERVICER), replace(other, loan=loan, servicer=SERVICER)]
        first, second = plan(cases, SERVICER, NOW)
        assert (first.ready, second.ready) == (True, False)
        assert second.decision == Decision(Refusal.TOO_SOON, NOW, NOW + 2 * DAY)
        assert second.not_before == NOW + 2 * DAY


def test_cap_1_two_addresses_of_one_person_get_one_reminder_in_one_run():
    cases = [overdue(1), overdue(2)]
    assert len(messages(ready(cases))) == 2
    assert len(ready(cases, persons={borrower(1): ANNA, borrower(2): ANNA})) == 1
    assert len(ready(cases, persons={borrower(1): ANNA})) == 2


REACHED = {borrower(1): b"anna@en", borrower(2): b"anna@en", borrower(3): b"anna@zh"}


def test_cap_1_two_addresses_that_are_reached_in_one_place_get_one_message():
    persons = dict.fromkeys(REACHED, ANNA)
    cases = [overdue(1), overdue(2), overdue(3)]
    together = companions(REACHED, lambda policy: b"hash of " + bytes([policy]))
    told = ready(cases, persons=persons, together=together)
    assert messages(told) == {told[0].id: [1, 2]}
    # Under another policy with the same templates too.
    under = replace(cases[1].loan, terms=replace(cases[1].loan.terms, policy=2))
    cases[1] = replace(cases[1], loan=under)
    assert len(ready(cases, persons=persons, together=together)) == 1
    assert len(ready(cases, persons=persons, together=companions(REACHED, lambda policy: b"same"))) == 2
    # And of two persons never.
    assert len(messages(ready(cases, together=companions(REACHED, lambda policy: b"same")))) == 3


def test_cap_1_what_went_to_two_addresses_at_one_moment_counts_once():
    persons = {borrower(1): ANNA, borrower(2): ANNA}
    at_once, apart = (NOW - 3 * DAY,), (NOW - 3 * DAY - 1,)
    for times, expected in ((at_once, 1), (apart, 0)):
        told = ready([overdue(1, reminders=at_once), overdue(2, reminders=times)], persons=persons)
        # Two reminders in a week are allowed.
        assert len(told) == expected


def test_a_loan_of_which_nothing_is_to_be_said_yet_is_not_told_of_beside_another():
    soon = of_one_address(2, "2027-02-12")
    assert [each.kind for each in ready([overdue(1), soon])] == [Kind.INSTALMENT_UPCOMING, Kind.OVERDUE]
    late = of_one_address(2, "2027-02-13")
    told = {each.kind: each for each in plan([overdue(1), late], LENDER, NOW)}
    assert told[Kind.OVERDUE].ready
    assert told[Kind.INSTALMENT_UPCOMING].wait is Wait.ANOTHER_DAY


@pytest.mark.parametrize("changes", [{"rest": STANDING}, {"profile": Profile(EAST, EAST, EMAIL, 0)}])
def test_pause_1_consent_1_what_may_not_be_said_alone_is_not_said_beside_another(changes):
    resting = of_one_address(2, **changes)
    told = plan([overdue(1), resting], LENDER, NOW)
    assert [each.ready for each in told] == [True, False]


def test_a_message_does_not_tell_of_too_many_loans():
    told = plan([overdue(1), *(of_one_address(number) for number in range(2, 15))], LENDER, NOW)
    assert [each.ready for each in told] == [True] * MOST_TOGETHER + [False] * 4
    assert len(messages([each for each in told if each.ready])) == 1


def test_cap_1_a_reminder_to_one_address_counts_for_the_persons_other():
    persons = {borrower(1): ANNA, borrower(2): ANNA}
    for ago, expected in ((2 * DAY, True), (2 * DAY - 1, False)):
        # The other address is no candidate now: nothing of it is due.
        recent = {borrower(2): (NOW - ago,)}
        assert bool(ready([overdue(1)], persons=persons, reminders=recent)) is expected
        # Or it is, and brings its own reminders.
        cases = [overdue(1), overdue(2, reminders=(NOW - ago,))]
        assert bool(ready(cases, persons=persons)) is expected
    assert ready([overdue(1)], reminders={borrower(2): (NOW - 1,)})


def test_cap_1_a_reminder_that_is_not_indexed_yet_counts():
    assert ready([overdue(1)])
    assert not ready([overdue(1)], reminders={borrower(1): (NOW - 30,)})
    # Neither source need know of all.
    case = overdue(1, reminders=(NOW - 6 * DAY,))
    assert ready([case])
    assert not ready([case], reminders={borrower(1): (NOW - 3 * DAY,)})


def test_cap_1_the_reminders_of_a_persons_other_addresses_are_looked_up():
    persons = {borrower(1): ANNA, borrower(2): ANNA, borrower(3): b"b" * 32, borrower(4): b"c" * 32}
    asked = []

    def reminders_of(who: str) -> tuple[int, ...]:
        asked.append(who)
        return {borrower(1): (9, 5), borrower(2): ()}[who]

    pending = {borrower(1): (11, 9), borrower(3): (7,), borrower(9): (8,)}
    assert known_reminders(persons, reminders_of, pending) == {
        borrower(1): (11, 9, 5),
        borrower(3): (7,),
        borrower(9): (8,),
    }
    # Nobody else's: candidates bring their own.
    assert sorted(asked) == [borrower(1), borrower(2)]


def test_cap_1_a_person_is_reminded_no_more_than_the_strictest_policy_allows():
    loose = replace(EVERY_DAY, gap=0, per_day=7, per_week=7)
    persons = {borrower(1): ANNA, borrower(2): ANNA}
    last = {borrower(1): (NOW - 1,)}
    assert ready([overdue(1, limits=loose), overdue(2, limits=loose)], persons=persons, reminders=last)
    assert not ready([overdue(1, limits=loose), overdue(2)], persons=persons, reminders=last)
    # Even where the strict one is a loan that somebody else serves.
    others = overdue(2, reminders=(NOW - DAY,))
    others = replace(others, loan=replace(others.loan, terms=replace(others.loan.terms, lender=STRANGER)))
    assert not ready([overdue(1, limits=loose), others], persons=persons)


def test_cap_1_the_reminder_that_cannot_wait_comes_first():
    due_today = Case(loan=a_loan(OVERDUE_DAY, number=2))
    persons = {borrower(1): ANNA, borrower(2): ANNA}
    assert [each.kind for each in ready([overdue(1), due_today], persons=persons)] == [Kind.DUE_TODAY]


def test_cap_2_what_serves_a_person_is_not_held_up_by_reminders():
    loan = paid(a_loan(), 5, "2027-02-01 12:00")
    kinds = [each.kind for each in ready([Case(loan=loan, reminders=(NOW - 1,))])]
    assert kinds == [Kind.PAYMENT_RECEIVED]


def test_cap_2_what_was_just_planned_counts():
    now = moment("2027-01-05 12:00")
    loan = paid(a_loan(), 5, "2027-01-05 11:00")
    case = Case(loan=loan, said=Said(services=(now - 10, now - 20)))
    opened, received = (each for each in plan([case], LENDER, now) if not each.kind.is_reminder)
    assert (opened.kind, opened.ready) == (Kind.LOAN_OPENED, True)
    assert (received.kind, received.decision.reason) == (Kind.PAYMENT_RECEIVED, Refusal.SERVICE_CAP)
    assert received.not_before == now - 20 + DAY


# ------------------------------------------------------------------------------------ whatever the state


@st.composite
def cases(draw: st.DrawFn) -> Case:
    number = draw(st.integers(1, 5))
    loan = a_loan(
        draw(st.sampled_from(["2027-01-29", "2027-01-31", "2027-02-10", "2027-02-12"])), number=number
    )
    loan = replace(loan, id=draw(st.integers(0, 2**64)).to_bytes(32, "big"))
    if draw(st.booleans()):
        loan = schedule.apply_payment(loan, draw(st.integers(1, 2 * loan.total)), loan.opened_at + 1)[0]
    per_week = draw(st.integers(1, 7))
    limits = replace(
        EVERY_DAY,
        gap=draw(st.sampled_from([0, 3600, DAY, 2 * DAY])),
        per_week=per_week,
        per_day=draw(st.integers(1, per_week)),
        overdue_days=draw(st.integers(1, 14)),
    )
    if draw(st.booleans()):
        loan = replace(loan, assigned=True)
    if draw(st.booleans()):
        loan = replace(loan, terms=replace(loan.terms, replaces=b"\7" * 32))
    rests = st.sampled_from([NO_REST, NO_REST, Rest(until=NOW), Rest(until=NOW + 1), STANDING])
    lodged = st.sampled_from([NO_CASE, LODGED, replace(LODGED, received=True)])
    return Case(
        loan=replace(loan, rest=draw(rests)),
        limits=limits,
        said=Said(flags=draw(st.sampled_from([0, OPENED, AMENDED]))),
        seldom_said=draw(st.sampled_from([SeldomSaid(), SeldomSaid(LENDER, 1), SeldomSaid(STRANGER, 2)])),
        rest=draw(rests),
        dispute=draw(lodged),
        hardship=draw(lodged),
    )


@settings(max_examples=150, deadline=None)
@given(
    book=st.lists(cases(), min_size=1, max_size=8, unique_by=lambda case: case.loan.id),
    past=st.dictionaries(
        st.integers(1, 7), st.lists(st.integers(1, 8 * DAY), min_size=1, max_size=7), max_size=5
    ),
    couples=st.booleans(),
    reached=st.dictionaries(
        st.sampled_from([borrower(n) for n in range(1, 8)]), st.sampled_from([b"a", b"b"])
    ),
)
def test_cap_1_all_of_a_plan_may_be_served_at_once(book, past, couples, reached):
    reminders = {borrower(n): tuple(NOW - ago for ago in sorted(agos)) for n, agos in past.items()}
    book = [replace(case, reminders=reminders.get(case.loan.terms.borrower, ())) for case in book]
    persons = {borrower(n): bytes([n // 2]) * 32 for n in range(1, 8)} if couples else {}
    together = companions({who: place for who, place in reached.items() if couples}, lambda policy: b"")
    result = plan(book, LENDER, NOW, persons, reminders, together=together)

    # The gate, notice by notice: none would be refused, once the first in a message to an address was not.
    states = {case.loan.id: case for case in book}
    on_chain, counted = dict(reminders), set()
    for each in result:
        if not each.ready:
            assert each.not_before is None or each.not_before > NOW
            continue
        case = states[each.loan.id]
        rides = each.kind.is_reminder and (each.message, each.borrower) in counted
        before = reminders if rides else on_chain
        facts = replace(case.facts(NOW), reminders=before.get(each.borrower, ()))
        assert decide(each.notice(b""), facts, LENDER, NOW).reason is Refusal.NONE
        spoken = Spoken(facts.said, facts.seldom_said, facts.reminders)
        spoken = after_serving(each.kind, each.instalment, each.ground.basis, spoken, NOW)
        states[each.loan.id] = replace(case, said=spoken.said, seldom_said=spoken.seldom)
        on_chain[each.borrower] = spoken.reminders
        counted.add((each.message, each.borrower))

    # One message to a person at most, of which each loan is told once.
    for person in {persons.get(each.borrower, each.borrower) for each in result}:
        told = [
            each
            for each in result
            if each.ready and each.kind.is_reminder and persons.get(each.borrower, each.borrower) == person
        ]
        assert len({each.message for each in told}) <= 1
        assert not told or told[0].message == told[0].id
        assert len({each.loan.id for each in told}) == len(told)

    # Per person, under the strictest limits of all of the person's loans.
    for person in {persons.get(case.loan.terms.borrower, case.loan.terms.borrower) for case in book}:
        mine = [c for c in book if persons.get(c.loan.terms.borrower, c.loan.terms.borrower) == person]
        addresses = [ts for who, ts in on_chain.items() if persons.get(who, who) == person]
        # What went to several addresses at one moment was one message.
        times = sorted(reduce(or_, map(Counter, addresses), Counter()).elements())
        if NOW not in times:
            continue
        gaps = [later - one for one, later in pairwise(times) if later == NOW]
        assert all(gap >= max(case.limits.gap for case in mine) for gap in gaps)
        assert sum(t > NOW - DAY for t in times) <= max(min(c.limits.per_day for c in mine), 1)
        assert sum(t > NOW - 7 * DAY for t in times) <= min(c.limits.per_week for c in mine)
    assert max(Counter(each.id for each in result).values(), default=0) <= 1
    assert all(len(times) <= REMEMBERED_REMINDERS for times in on_chain.values())
