import pytest
from support.offers import Contact, Lending
from support.reverts import reverts_with

# Each limit, by one step looser and by one step stricter.
STEPS = [
    ("opens", "opens", -1, +1),
    ("closes", "closes", +1, -1),
    ("lead", "lead", -1, +1),
    ("per_day", "perDay", +1, -1),
    ("per_week", "perWeek", +1, -1),
    ("gap", "gap", -1, +1),
    ("upcoming_days", "upcomingDays", +1, -1),
    ("overdue_days", "overdueDays", -1, +1),
    ("pause_days", "pauseDays", -1, +1),
]
STRICTER = Contact(
    opens=600, closes=1100, lead=1000, weekdays=31, per_day=1, per_week=3, gap=20_000, upcoming_days=3,
    overdue_days=4, pause_days=60, rest_all_loans=6, rest_fees=3,
)  # fmt: skip


def test_only_a_publisher_tightens(policy_book, policy, lender):
    with reverts_with("AccessControlUnauthorizedAccount", lender, bytes(policy_book.PUBLISHER_ROLE())):
        policy_book.tighten(policy, Contact(), {"from": lender})


def test_an_unknown_policy_is_not_tightened(policy_book, publisher):
    with reverts_with("UnknownPolicy", 99):
        policy_book.tighten(99, Contact(), {"from": publisher})


def test_tightening_stays_within_the_bounds(policy_book, policy, publisher):
    with reverts_with("LimitOutOfBounds", b"lead", 1801, 0, 1800):
        policy_book.tighten(policy, Contact(lead=1801), {"from": publisher})


@pytest.mark.parametrize(("field", "name", "looser", "stricter"), STEPS)
def test_terms_1_no_contact_limit_is_loosened(policy_book, policy, publisher, field, name, looser, stricter):
    current = getattr(Contact(), field)
    policy_book.tighten.call(policy, Contact(**{field: current + stricter}), {"from": publisher})
    # Everything else stricter does not make up for it.
    loosened = STRICTER._replace(**{field: current + looser})
    with reverts_with("LimitLoosened", name.encode(), current + looser, current):
        policy_book.tighten(policy, loosened, {"from": publisher})


def test_terms_1_no_weekday_is_added(policy_book, publish, publisher):
    workdays = publish(contact=Contact(weekdays=0b0011111))
    for weekdays in (0b0111111, 0b0100000, 0b1000001):
        with reverts_with("LimitLoosened", b"weekdays", weekdays, 0b0011111):
            policy_book.tighten(workdays, Contact(weekdays=weekdays), {"from": publisher})
    policy_book.tighten(workdays, Contact(weekdays=0b0000101), {"from": publisher})
    assert policy_book.contactOf(workdays)["weekdays"] == 0b0000101


@pytest.mark.parametrize(("field", "name"), [("rest_all_loans", b"restAllLoans"), ("rest_fees", b"restFees")])
def test_terms_1_no_grievance_rests_less(policy_book, publish, publisher, field, name):
    resting = publish(contact=Contact(**{field: 0b011}))
    for fewer in (0b000, 0b001, 0b110):
        with reverts_with("LimitLoosened", name, fewer, 0b011):
            policy_book.tighten(resting, STRICTER._replace(**{field: fewer}), {"from": publisher})
    policy_book.tighten(resting, Contact(**{field: 0b111}), {"from": publisher})


def test_terms_1_tightening_leaves_the_lending_limits(policy_book, policy, publisher):
    policy_book.retire(policy, {"from": publisher})
    tightened = policy_book.tighten(policy, STRICTER, {"from": publisher})
    assert tightened.events["ContactTightened"] == {
        "policy": policy,
        "publisher": publisher,
        "contact": STRICTER,
    }
    assert policy_book.contactOf(policy) == STRICTER
    assert policy_book.lendingOf(policy) == Lending()
    with reverts_with("LimitLoosened", b"opens", 540, 600):
        policy_book.tighten(policy, Contact(), {"from": publisher})
