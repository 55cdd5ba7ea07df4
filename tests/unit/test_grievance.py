"""Grievances, and how long they rest reminders and late fees. Tests are named by the requirement that they
hold.
"""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import LENDER, Case, a_loan, day, moment, paid

from duly.domain import amending, grievance, schedule
from duly.domain.calendar import DAY
from duly.domain.grievance import FOREVER, NO_CASE, NO_REST, Grievance, Rest, rests_until
from duly.domain.loan import Loan
from duly.domain.notice import Kind, Refusal, decide, earliest, standing
from duly.domain.policy import AprConvention, LendingLimits
from duly.domain.terms import Terms

NOON = moment("2027-02-09 12:00")  # 11 days after the first due day: an overdue notice is allowed
PLAIN = grievance.Case(since=NOON - DAY)
WITH_FEES = replace(PLAIN, fees_rest=True)


# ------------------------------------------------------------------------------ how long


def test_borrower_1_a_grievance_names_nobody():
    # That somebody speaks for the borrower is a flag.
    assert all(f.type in (int, bool, "int", "bool") for f in fields(grievance.Case))
    assert [each.name for each in Grievance] == ["DISPUTE", "HARDSHIP", "REPRESENTATION"]


def test_pause_1_reminders_rest_until_every_grievance_ended_and_the_last_rest_is_over():
    rest = NO_REST
    assert (rest.ends, rest.fees_end) == (0, 0)
    rest = rest.lodged(PLAIN).lodged(WITH_FEES)
    assert (rest.ends, rest.fees_end) == (FOREVER, FOREVER)
    rest = rest.ended(WITH_FEES, 500)
    assert (rest.ends, rest.fees_end) == (FOREVER, 500)
    # One that is withdrawn ends no rest that the answer to another left.
    rest = rest.ended(PLAIN, 400)
    assert (rest.ends, rest.fees_end) == (500, 500)
    rest = rest.lodged(PLAIN)
    assert (rest.ends, rest.fees_end) == (FOREVER, 500)
    assert rest.ended(PLAIN, 900) == Rest(until=900, fees_until=500)


@pytest.mark.parametrize(
    ("own", "everywhere", "expected"),
    [
        (NO_REST, NO_REST, 0),
        (Rest(until=5), Rest(until=9), 9),
        (Rest(until=9), Rest(until=5), 9),
        (Rest(standing=1), Rest(until=5), FOREVER),
        (Rest(until=5), Rest(standing=1), FOREVER),
    ],
)
def test_pause_1_a_grievance_about_one_loan_can_rest_reminders_about_all(own, everywhere, expected):
    assert rests_until(own, everywhere) == expected


def test_pause_1_it_stands_until_it_ended_and_never_if_it_never_was_lodged():
    assert not NO_CASE.stands
    assert PLAIN.stands
    assert not replace(PLAIN, answered_at=NOON).stands


ENDS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 100)), max_size=8)


@given(ended=ENDS, standing=st.lists(st.booleans(), max_size=3))
def test_pause_1_in_whatever_order_grievances_end(ended, standing):
    """One rest says of any number of grievances what each would say by itself."""
    rest = NO_REST
    for fees, _, _ in ended:
        rest = rest.lodged(replace(PLAIN, fees_rest=fees))
    for fees in standing:
        rest = rest.lodged(replace(PLAIN, fees_rest=fees))
    for fees, _, until in sorted(ended, key=lambda each: each[1]):
        rest = rest.ended(replace(PLAIN, fees_rest=fees), until)
    assert rest.ends == (FOREVER if standing else max((until for _, _, until in ended), default=0))
    fees_until = max((until for fees, _, until in ended if fees), default=0)
    assert rest.fees_end == (FOREVER if any(standing) else fees_until)


# ------------------------------------------------------------------------------ reminders


REMINDERS = {
    Kind.INSTALMENT_UPCOMING: moment("2027-01-26 12:00"),
    Kind.DUE_TODAY: moment("2027-01-29 12:00"),
    Kind.OVERDUE: NOON,
}


def resting(rest: Rest, **changes: object) -> Case:
    return Case(loan=replace(a_loan(), rest=rest), **changes)


@pytest.mark.parametrize("kind", REMINDERS)
def test_pause_1_no_reminder_while_a_grievance_stands(kind):
    now = REMINDERS[kind]
    for case in (resting(NO_REST.lodged(PLAIN)), Case(rest=NO_REST.lodged(PLAIN))):
        notice, facts = case.notice(kind, now), case.facts(now)
        for answer in (decide, standing):
            found = answer(notice, facts, LENDER, now)
            assert (found.reason, found.actual, found.required) == (Refusal.RESTING, now, FOREVER)
        assert earliest(kind, notice.instalment, notice.channel, facts, now) is None


@pytest.mark.parametrize("kind", REMINDERS)
def test_pause_1_the_rest_ends_to_the_second(kind):
    now = REMINDERS[kind]
    for until, reason in ((now + 1, Refusal.RESTING), (now, Refusal.NONE), (now - 1, Refusal.NONE)):
        case = resting(Rest(until=until))
        notice, facts = case.notice(kind, now), case.facts(now)
        assert decide(notice, facts, LENDER, now).reason is reason
        # What was served before the grievance was lodged is not delivered either.
        assert standing(notice, facts, LENDER, now).reason is reason
        assert earliest(kind, notice.instalment, notice.channel, facts, now) == max(now, until)


def test_pause_1_the_earliest_moment_after_a_rest_is_in_hours():
    case = resting(Rest(until=moment("2027-02-11 21:30")))
    found = earliest(Kind.OVERDUE, 1, case.notice(Kind.OVERDUE, NOON).channel, case.facts(NOON), NOON)
    assert found == moment("2027-02-12 09:00")
    # There is none where the due day is over by then.
    now = REMINDERS[Kind.DUE_TODAY]
    case = resting(Rest(until=now + DAY))
    assert earliest(Kind.DUE_TODAY, 1, case.notice(Kind.DUE_TODAY, now).channel, case.facts(now), now) is None


def test_pause_1_what_serves_the_borrower_does_not_rest():
    loan = paid(replace(a_loan(), rest=NO_REST.lodged(PLAIN)), 5, "2027-02-01 12:00")
    case = Case(loan=loan, dispute=PLAIN)
    for kind in (Kind.PAYMENT_RECEIVED, Kind.DISPUTE_RECEIVED, Kind.DISPUTE_ANSWERED):
        assert decide(case.notice(kind, NOON), case.facts(NOON), LENDER, NOON).reason is Refusal.NONE


# ------------------------------------------------------------------------------ late fees

MISSED = moment("2027-02-09 00:00")
"""The first second after the grace period of the first instalment, due on 29 January."""


@pytest.mark.parametrize(
    ("rest", "fees"),
    [
        (NO_REST, 4_000),
        (NO_REST.lodged(PLAIN), 4_000),  # reminders rest, late fees do not
        (NO_REST.lodged(WITH_FEES), 0),
        (Rest(until=MISSED, fees_until=MISSED), 0),
        (Rest(until=MISSED + 5, fees_until=MISSED - 1), 4_000),
    ],
)
def test_fees_1_none_for_what_is_missed_while_late_fees_rest(rest, fees):
    loan = replace(a_loan(), rest=rest)
    assert schedule.assess(loan, MISSED - 1).fees == 0
    assert schedule.assess(loan, MISSED).fees == fees
    assert schedule.assess(loan, NOON).fees == fees
    assert schedule.position(loan, NOON).fees == fees


def test_fees_1_what_is_missed_after_the_rest_is_charged_alone():
    rest = Rest(until=MISSED + DAY, fees_until=MISSED + DAY)
    loan = schedule.assess(replace(a_loan(), rest=rest), moment("2027-03-12 00:00"))
    # The second, due on 28 February, was missed on 11 March; the first never is.
    assert (loan.fees, loan.assessed) == (4_000, 2)
    assert schedule.assess(loan, moment("2027-03-12 00:00")) == loan


def test_fees_1_those_charged_before_stay():
    loan = schedule.assess(a_loan(), MISSED)
    loan = replace(loan, rest=NO_REST.lodged(WITH_FEES))
    assert schedule.assess(loan, moment("2027-06-12 12:00")).fees == 4_000


# ------------------------------------------------------------------------------ amendments

LIMITS = LendingLimits(240_000, AprConvention.EFFECTIVE, 500, 10, 0, 90)
NEW = b"\x0e" * 32


def id_of(terms: Terms) -> bytes:
    return NEW


def amended(loan: Loan, how: str) -> tuple[Loan, Loan]:
    if how == "deferred":
        old, new = amending.defer(loan, 1, LIMITS, NOON, id_of)
    elif how == "prepaid":
        _, old, found = amending.prepay(loan, 300_000, LIMITS, NOON, id_of)
        assert found
        new = found
    else:
        first_due = day("2027-04-29")
        terms = replace(loan.terms, principal=900_000, late_fee=0, first_due=first_due, replaces=loan.id)
        old, new = amending.amend(loan, terms, LIMITS, NOON, id_of)
    return old, new


@pytest.mark.parametrize("how", ["deferred", "prepaid", "amended"])
@pytest.mark.parametrize("rest", [NO_REST.lodged(WITH_FEES), Rest(until=NOON + 9, fees_until=NOON + 5)])
def test_pause_1_a_grievance_goes_on_with_the_loan_that_replaces(how, rest):
    loan = replace(a_loan(), rest=rest, assigned=True)
    old, new = amended(loan, how)
    assert (old.rest, new.rest) == (NO_REST, rest)
    assert new.assigned
