"""Why, why not, and when next: the same as the plan, and in words."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import EAST, EMAIL, EVERY_DAY, LENDER, SERVICER, STRANGER, Case, a_loan, borrower, moment, paid
from test_plan import ANNA, NOW, cases

from duly.domain.calendar import DAY
from duly.domain.consent import Profile
from duly.domain.grievance import Rest
from duly.domain.notice import OPENED, Kind, Said, SeldomSaid
from duly.domain.preferences import Preferences, parse_hours
from duly.services.explain import Explained, Explanation, Verdict, explain
from duly.services.plan import plan
from duly.services.policy import load_pack

CN = load_pack("CN").pack_hash


def explained(case: Case, text: str = "2027-02-09 12:00", **wishes: object) -> Explanation:
    preferences = {borrower(1): Preferences(**wishes)} if wishes else None
    return explain(case, [case], LENDER, moment(text), preferences=preferences)


def of(told: Explanation, kind: Kind) -> Explained:
    return next(each for each in told.kinds if each.kind is kind)


def failing(told: Explained) -> list[str]:
    return [rule.name for rule in told.rules if not rule.holds]


# ------------------------------------------------------------------------------------ as the plan


@st.composite
def wishes(draw: st.DrawFn) -> Preferences:
    start = draw(st.integers(0, 23 * 60))
    return Preferences(
        hours=draw(st.sampled_from([None, (start, start + 45)])),
        zone=draw(st.sampled_from(["", "Asia/Shanghai", "Europe/Athens"])),
        days_before=tuple(draw(st.sets(st.sampled_from([7, 3, 1])))),
        on_due_day=draw(st.booleans()),
    )


@settings(max_examples=150, deadline=None)
@given(
    book=st.lists(cases(), min_size=1, max_size=6, unique_by=lambda case: case.loan.id),
    past=st.dictionaries(
        st.integers(1, 5), st.lists(st.integers(1, 8 * DAY), min_size=1, max_size=7), max_size=4
    ),
    couples=st.booleans(),
    wished=st.dictionaries(st.integers(1, 5), wishes()),
    packs=st.lists(
        st.sampled_from([bytes(32), CN, load_pack("GB").pack_hash, load_pack("GR").pack_hash]),
        min_size=6,
        max_size=6,
    ),
    profile=st.sampled_from(
        [
            Profile(EAST, EAST, EMAIL, EMAIL, changes=2),
            Profile(EAST, EAST, EMAIL, EMAIL, changes=5),
            Profile(EAST, EAST, EMAIL, 0, changes=3),
            Profile(EAST, EAST, EMAIL, 0, True, changes=4),
            Profile(28, 32, EMAIL, EMAIL, changes=2),
        ]
    ),
    now=st.integers(NOW - 20 * DAY, NOW + 3 * DAY),
)
def test_what_the_plan_says_now_is_explained_as_now_and_the_reverse(
    book, past, couples, wished, packs, profile, now
):
    reminders = {borrower(n): tuple(now - ago for ago in sorted(agos)) for n, agos in past.items()}
    book = [
        replace(
            case,
            reminders=reminders.get(case.loan.terms.borrower, ()),
            pack=pack,
            profile=profile,
            changes_told=2,
        )
        for case, pack in zip(book, packs, strict=False)
    ]
    persons = {borrower(n): bytes([n // 2]) * 32 for n in range(1, 6)} if couples else {}
    preferences = {borrower(n): wish for n, wish in wished.items()}
    result = plan(book, LENDER, now, persons, reminders, preferences=preferences)
    planned = {(each.loan.id, each.kind): each for each in result}
    for case in book:
        told = explain(case, book, LENDER, now, persons, reminders, preferences)
        assert {each.kind for each in told.kinds} == set(Kind)
        for each in told.kinds:
            found = planned.get((case.loan.id, each.kind))
            assert (each.verdict is Verdict.NOW) == (found is not None and found.ready)
            assert each.why
            if found is None:
                assert each.verdict in (Verdict.NOTHING, Verdict.NEVER)
                continue
            # The rules, looked at one by one, come to the same.
            assert found.ready == (not failing(each))
            assert each.moment == found.not_before
            assert (each.verdict is Verdict.NEVER) == (each.moment is None)


# ------------------------------------------------------------------------------------ in words


def test_now_tells_every_rule_that_lets_it_through():
    told = of(explained(Case()), Kind.OVERDUE)
    assert (told.verdict, told.moment) == (Verdict.NOW, NOW)
    assert told.local == "Tue 2027-02-09 12:00 (UTC+08:00)"
    assert [rule.name for rule in told.rules] == [
        *("days", "contact", "cease", "consent", "grievances", "contact hours"),
        *("cap: gap", "cap: day", "cap: week", "chosen day"),
    ]


def test_later_tells_what_was_what_was_wanted_and_when_next():
    told = of(explained(Case(reminders=(NOW - 3600,))), Kind.OVERDUE)
    assert (told.verdict, told.moment) == (Verdict.LATER, NOW + 47 * 3600)
    assert told.local == "Thu 2027-02-11 11:00 (UTC+08:00)"
    assert "last reminded Tue 2027-02-09 11:00 (UTC+08:00)" in told.why
    assert "48 hours between two reminders" in told.why
    assert failing(told) == ["cap: gap", "cap: day"]


def test_caps_count_per_person():
    persons = {borrower(1): ANNA, borrower(2): ANNA}
    one, other = Case(), Case(loan=a_loan(number=2))
    told = explain(other, [one, other], LENDER, NOW, persons)
    assert told.circumstances["person"] == "2 loans to speak of, 2 addresses"
    overdue = of(told, Kind.OVERDUE)
    # The other one's goes first, and counts.
    assert overdue.verdict is Verdict.LATER
    assert failing(overdue) == ["cap: gap", "cap: day"]
    assert of(explain(one, [one, other], LENDER, NOW, persons), Kind.OVERDUE).verdict is Verdict.NOW


def test_days_of_rest_are_told_by_name():
    told = explained(Case(pack=CN))
    assert told.circumstances["days of rest"] == (
        "public holidays and weekends of CN; today is Chinese New Year (Spring Festival) (observed)"
    )
    overdue = of(told, Kind.OVERDUE)
    assert "Chinese New Year" in overdue.why
    assert overdue.local.startswith("Thu 2027-02-11 09:00")
    assert "none known" in explained(Case()).circumstances["days of rest"]
    us = explained(Case(pack=load_pack("US").pack_hash))
    assert us.circumstances["days of rest"] == "none: the pack US has no holidays"


def test_wishes_are_told():
    told = explained(Case(), hours=parse_hours("15:00-16:00"), zone="Asia/Shanghai", days_before=(7, 1))
    assert told.circumstances["borrower's wishes"] == (
        "15:00-16:00; reminders 7 and 1 days before, and on the due day"
    )
    assert "Tue 2027-02-09 12:00 (Asia/Shanghai)" in told.circumstances["borrower's time"]
    overdue = of(told, Kind.OVERDUE)
    assert failing(overdue) == ["wished hours"]
    assert overdue.local == "Tue 2027-02-09 15:00 (Asia/Shanghai)"
    elsewhere = explained(Case(), zone="Europe/Athens").circumstances["borrower's time"]
    assert "Europe/Athens has other offsets and is left aside" in elsewhere


def test_the_last_chance_is_told_as_such():
    case = Case(said=Said(flags=OPENED))
    told = of(explained(case, "2027-01-29 18:00", hours=parse_hours("10:00-11:00")), Kind.DUE_TODAY)
    assert told.verdict is Verdict.NOW
    assert "they are over, and there is no other day until 2027-01-29" in told.rules[-1].was


def test_never_tells_why():
    revoked = Case(profile=Profile(EAST, EAST, EMAIL, 0))
    told = of(explained(revoked), Kind.OVERDUE)
    assert (told.verdict, told.moment) == (Verdict.NEVER, None)
    assert told.why == "consent: no consent to email; wanted: consent"
    ceased = of(explained(Case(profile=Profile(EAST, EAST, EMAIL, 0, ceased=True))), Kind.OVERDUE)
    assert ceased.why.startswith("cease: stopped")
    stands = of(explained(Case(rest=Rest(standing=1))), Kind.OVERDUE)
    assert "one stands" in stands.why
    assigned = Case(loan=replace(a_loan(), assigned=True), seldom_said=SeldomSaid(STRANGER, 1))
    assert "new lender" in failing(of(explained(assigned), Kind.OVERDUE))


def test_nobody_elses_loans_are_explained_as_such():
    told = explain(Case(), [Case()], SERVICER, NOW)
    assert {each.verdict for each in told.kinds} == {Verdict.NEVER}
    assert "neither the lender" in told.kinds[0].why


@pytest.mark.parametrize(
    ("case", "text", "kind", "why"),
    [
        (Case(), "2027-02-09 12:00", Kind.LOAN_OPENED, "said already"),
        (Case(said=Said()), "2027-02-09 12:00", Kind.LOAN_OPENED, "no news"),
        (Case(), "2027-02-09 12:00", Kind.LOAN_AMENDED, "replaced no other"),
        (Case(), "2027-02-09 12:00", Kind.LOAN_REPAID, "active, not repaid"),
        (Case(), "2027-02-09 12:00", Kind.INSTALMENT_UPCOMING, "something is overdue"),
        (Case(), "2027-02-09 12:00", Kind.ARREARS, "no pack is known"),
        (Case(pack=CN), "2027-02-09 12:00", Kind.ARREARS, "the pack CN does not demand it"),
        (
            Case(pack=load_pack("GB").pack_hash),
            "2027-02-09 12:00",
            Kind.ARREARS,
            "1 missed; wanted: at least 2",
        ),
        (Case(said=Said(missed=1, overdue=4)), "2027-02-20 12:00", Kind.OVERDUE, "said 4 times"),
        (Case(), "2027-01-20 12:00", Kind.PAID_AHEAD, "instalment 1 is not paid already"),
        (Case(), "2027-01-20 12:00", Kind.OVERDUE, "nothing is overdue"),
        (Case(), "2027-01-20 12:00", Kind.DISPUTE_ANSWERED, "a person answers"),
        (Case(), "2027-01-20 12:00", Kind.DISPUTE_RECEIVED, "no dispute stands"),
        (Case(), "2027-01-20 12:00", Kind.CONSENT_CHANGED, "nothing was registered"),
        (Case(), "2027-01-20 12:00", Kind.COOLING_OFF_ENDING, "no news"),
        (
            Case(loan=a_loan("2027-02-06"), pack=CN),
            "2027-01-20 12:00",
            Kind.DUE_TODAY,
            "2027-02-06 is Chinese New Year (Spring Festival): it is said before",
        ),
        (Case(loan=paid(a_loan(), 10**9, "2027-01-01 12:00")), "2027-01-20 12:00", Kind.OVERDUE, "repaid"),
    ],
)
def test_what_is_not_said_tells_why(case, text, kind, why):
    told = of(explained(case, text), kind)
    assert told.verdict is Verdict.NOTHING
    assert why in told.why


def test_what_is_not_wished_is_told():
    told = explained(Case(), "2027-01-20 12:00", days_before=(), on_due_day=False)
    for kind in (Kind.INSTALMENT_UPCOMING, Kind.DUE_TODAY):
        assert of(told, kind).why == "the borrower wishes reminders never before a due day is over"


def test_a_change_that_is_told_about_another_loan():
    second = a_loan(number=2)
    second = replace(second, terms=replace(second.terms, borrower=borrower(1)))
    profile = Profile(EAST, EAST, EMAIL, EMAIL, changes=3)
    both = [Case(loan=each, profile=profile, changes_told=2) for each in (a_loan(), second)]
    told = [of(explain(case, both, LENDER, NOW), Kind.CONSENT_CHANGED) for case in both]
    assert [each.verdict for each in told] == [Verdict.NOW, Verdict.NOTHING]
    assert "about another loan" in told[1].why


def test_a_loan_that_is_no_candidate_yet_is_explained_all_the_same():
    case = Case(limits=replace(EVERY_DAY, upcoming_days=5))
    told = of(explain(case, [], LENDER, moment("2027-01-03 12:00")), Kind.INSTALMENT_UPCOMING)
    assert told.moment == moment("2027-01-26 09:00")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"profile": Profile(EAST, EAST)}, "a registered contact"),
        ({"profile": Profile(EAST, EAST, EMAIL)}, "only with consent"),
        ({"profile": Profile(EAST, EAST, EMAIL, ceased=True)}, "takes back"),
        ({"rest": Rest(standing=1)}, "no grievance stands"),
    ],
)
def test_what_could_not_be_said_on_its_day_either_is_told_beforehand(changes, why):
    told = of(explained(Case(**changes), "2027-01-10 12:00"), Kind.INSTALMENT_UPCOMING)
    assert told.verdict is Verdict.NOTHING
    assert why in told.why
    assert of(explained(Case(), "2027-01-10 12:00"), Kind.INSTALMENT_UPCOMING).verdict is Verdict.LATER
