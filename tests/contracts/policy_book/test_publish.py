import pytest
from support.clock import DAY, HOUR
from support.offers import Contact, Lending
from support.reverts import reverts_with

HASHES = b"\1" * 32, b"\2" * 32


@pytest.fixture
def publishes(policy_book, publisher):
    return lambda contact: policy_book.publish.call(Lending(), contact, *HASHES, {"from": publisher})


@pytest.mark.parametrize("role", ["lender", "borrower", "stranger"])
def test_only_a_publisher_publishes(policy_book, request, role):
    actor = request.getfixturevalue(role)
    with reverts_with("AccessControlUnauthorizedAccount", actor, bytes(policy_book.PUBLISHER_ROLE())):
        policy_book.publish(Lending(), Contact(), *HASHES, {"from": actor})


def test_policies_are_numbered_from_1(policy_book, publisher):
    assert policy_book.count() == 0
    for number in (1, 2):
        lending, contact = Lending(apr_cap=number), Contact(pause_days=number)
        published = policy_book.publish(lending, contact, *HASHES, {"from": publisher})
        assert published.return_value == policy_book.count() == number
        event = published.events["PolicyPublished"]
        assert (event["policy"], event["publisher"]) == (number, publisher)
        assert event["lending"] == policy_book.lendingOf(number) == lending
        assert event["contact"] == policy_book.contactOf(number) == contact
        assert [bytes(value) for value in policy_book.hashesOf(number)] == list(HASHES)
        assert [bytes(event[name]) for name in ("templates", "pack")] == list(HASHES)
        assert policy_book.stateOf(number) == (True, False)


# What the code allows any policy: the limit, its least and its most, other limits that make room for them.
BOUNDS = [
    ("opens", 7 * 60, 19 * 60, {"closes": 22 * 60}),
    ("closes", 12 * 60, 22 * 60, {}),
    ("lead", 0, 30 * 60, {}),
    ("weekdays", 1, 127, {}),
    ("per_week", 1, 7, {"per_day": 1}),
    ("per_day", 1, 3, {}),
    ("gap", 0, 31 * DAY, {}),
    ("upcoming_days", 0, 31, {}),
    ("overdue_days", 1, 255, {}),
    ("rest_all_loans", 0, 7, {}),
    ("rest_fees", 0, 7, {}),
]


@pytest.mark.parametrize(("field", "least", "most", "room"), BOUNDS)
def test_hours_1_cap_1_no_policy_leaves_the_bounds(publishes, field, least, most, room):
    name = field.split("_")[0] + "".join(part.title() for part in field.split("_")[1:])
    contact = Contact(**room)
    for value in (least, most):
        publishes(contact._replace(**{field: value}))
    for value in (least - 1, most + 1):
        if not 0 <= value <= 255 and field in ("weekdays", "upcoming_days", "overdue_days", "per_week"):
            continue  # does not even fit the type
        if value < 0:
            continue
        with reverts_with("LimitOutOfBounds", name.encode(), value, least, most):
            publishes(contact._replace(**{field: value}))


def test_hours_1_every_window_outlasts_the_two_offsets_and_the_lead(publishes):
    # Three hours, less two between the offsets, less the longest lead: half an hour is always left.
    publishes(Contact(opens=19 * 60, closes=22 * 60, lead=30 * 60))
    with reverts_with("LimitOutOfBounds", b"closes", 22 * 60 - 1, 22 * 60, 22 * 60):
        publishes(Contact(opens=19 * 60, closes=22 * 60 - 1, lead=30 * 60))
    assert 3 * HOUR - 2 * HOUR - 30 * 60 == 30 * 60
