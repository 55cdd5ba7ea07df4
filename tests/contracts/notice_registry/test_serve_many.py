import pytest
from support.clock import HOUR
from support.offers import Contact

WORDS, OTHER_WORDS = b"\xcc" * 32, b"\xdd" * 32
EMAIL, IN_APP = 0, 3


def test_nothing_is_served_of_nothing(notices, lender):
    served = notices.serveMany([], {"from": lender})
    assert served.return_value == ()
    assert len(served.events) == 0


def test_a_batch_serves_what_it_may_and_tells_the_rest(
    notices, loan, level, at, notice, lender, borrower, kinds, refusals
):
    now = at(1, -3)
    opened, upcoming = notice(loan, kinds.OPENED, 0, 1_200_000_000), notice(loan, kinds.UPCOMING, 1, level)
    batch = [
        upcoming._replace(loan=b"\3" * 32),
        opened,
        upcoming,
        opened._replace(channel=2),
        upcoming,  # the gap forbids it now that the first was served
        notice(loan, kinds.DUE_TODAY, 1, level),
    ]
    served = notices.serveMany(batch, {"from": lender})
    ids = [bytes(value) for value in served.return_value]
    assert [any(value) for value in ids] == [False, True, True, False, False, False]
    assert [bytes(event["id"]) for event in served.events["NoticeServed"]] == [ids[1], ids[2]]
    today = now // 86_400
    wanted = [
        (b"\3" * 32, kinds.UPCOMING, 1, 0, refusals.UNKNOWN_LOAN, 0, 0),
        (loan, kinds.OPENED, 0, 2, refusals.ALREADY_SAID, 1, 1),
        (loan, kinds.UPCOMING, 1, 0, refusals.TOO_SOON, now, now + 4 * 3600),
        (loan, kinds.DUE_TODAY, 1, 0, refusals.TOO_EARLY, today, today + 3),
    ]
    names = ("kind", "instalment", "channel", "reason", "actual", "required")
    for event, (about, *values) in zip(served.events["NoticeRefused"], wanted, strict=True):
        assert bytes(event["loan"]) == bytes(about)
        assert event["server"] == lender
        assert [event[name] for name in names] == values
    assert notices.remindersOf(borrower)[:2] == (now, 0)


def test_server_1_a_strangers_batch_serves_nothing(notices, loan, notice, stranger, lender, kinds, refusals):
    served = notices.serveMany([notice(loan, kinds.OPENED, 0, 1_200_000_000)], {"from": stranger})
    assert "NoticeServed" not in served.events
    event = served.events["NoticeRefused"]
    assert (event["reason"], event["actual"]) == (refusals.NOT_SERVER, int(str(stranger), 16))


def test_server_1_each_loan_of_a_batch_is_judged_by_its_own_lender_and_policy(
    notices, ledger, consents, open_loan, terms, sign, publish, at, notice, kinds, level, refusals,
    lender, assignee, servicer, stranger, keeper, dollar, publisher,
):  # fmt: skip
    dollar.mint(assignee, 10**12, {"from": publisher})
    dollar.approve(ledger, 10**12, {"from": assignee})
    ledger.appointServicer(servicer, {"from": lender})
    ledger.appointServicer(keeper, {"from": assignee})
    late = publish(contact=Contact(upcoming_days=1))
    consents.register(EMAIL, b"\1" * 32, 32, 32, {"from": stranger})
    consents.grant(EMAIL, {"from": stranger})
    ours, ours_late = open_loan(), open_loan(borrower=str(stranger), policy=late)
    offer = terms(lender=assignee, borrower=stranger)
    theirs = ledger.open(offer, sign(offer, assignee), {"from": stranger}).return_value
    now = at(1, -3)
    unknown = b"\3" * 32
    batch = [
        notice(loan, kinds.UPCOMING, 1, level)
        for loan in (theirs, ours_late, unknown, ours_late, ours, theirs, unknown)
    ]
    # What is too early of one loan is nothing to what is said of another.
    batch.insert(2, notice(ours, kinds.OPENED, 0, 1_200_000_000))
    today = now // 86_400
    early = (refusals.TOO_EARLY, today, today + 2)
    not_server = (refusals.NOT_SERVER, int(str(servicer), 16), int(str(assignee), 16))
    nobody = (refusals.UNKNOWN_LOAN, 0, 0)
    served = notices.serveMany(batch, {"from": servicer})
    said = [(bytes(e["loan"]), e["kind"], e["basis"], e["serial"]) for e in served.events["NoticeServed"]]
    assert said == [
        (bytes(ours), kinds.OPENED, 0, 0),
        (bytes(ours), kinds.UPCOMING, 1, 0),
    ]
    told = [(event["reason"], event["actual"], event["required"]) for event in served.events["NoticeRefused"]]
    assert told == [not_server, early, nobody, early, not_server, nobody]
    served = notices.serveMany(batch[-2:], {"from": keeper})
    assert served_of(served) == [(bytes(theirs), False)]


# --- several loans, one message -----------------------------------------------------------------


@pytest.fixture(scope="module")
def loans(loan, open_loan):
    """Three loans of one borrower with the same schedule, in ascending order of their ids."""
    return sorted([loan, open_loan(), open_loan()], key=bytes)


@pytest.fixture(scope="module")
def upcoming(notice, kinds, level):
    def upcoming(loan, **changes):
        return notice(loan, kinds.UPCOMING, 1, level)._replace(**changes)

    return upcoming


def served_of(transaction):
    return [(bytes(e["loan"]), e["together"]) for e in transaction.events["NoticeServed"]]


def refusals_of(transaction):
    return [(bytes(e["loan"]), e["reason"]) for e in transaction.events["NoticeRefused"]]


def test_cap_1_one_message_about_several_loans_counts_once(notices, loans, at, upcoming, lender, borrower):
    now = at(1, -3)
    served = notices.serveMany([upcoming(each) for each in loans], {"from": lender})
    assert served_of(served) == [(bytes(loans[0]), False), (bytes(loans[1]), True), (bytes(loans[2]), True)]
    assert notices.remindersOf(borrower)[:2] == (now, 0)
    # Each loan keeps what was said of it.
    assert [notices.saidOf(each)[0]["upcoming"] for each in loans] == [1, 1, 1]


def test_those_that_follow_pass_every_check_but_the_caps(
    notices, loans, at, upcoming, lender, refusals, kinds
):
    at(1, -3)
    batch = [upcoming(loans[0]), upcoming(loans[1], amount=1), upcoming(loans[2])]
    served = notices.serveMany(batch, {"from": lender})
    assert served_of(served) == [(bytes(loans[0]), False), (bytes(loans[2]), True)]
    assert refusals_of(served) == [(bytes(loans[1]), refusals.WRONG_AMOUNT)]


@pytest.mark.parametrize(
    "changes", [{"content_hash": OTHER_WORDS}, {"channel": IN_APP}, {"again": True}, {"descending": True}]
)
def test_cap_1_anything_else_is_a_reminder_of_its_own(
    notices, loans, at, upcoming, lender, borrower, consents, refusals, changes
):
    consents.register(IN_APP, b"\1" * 32, 32, 32, {"from": borrower})
    consents.grant(IN_APP, {"from": borrower})
    at(1, -3)
    first, second = loans[:2]
    if changes.pop("again", False):
        second = first
    if changes.pop("descending", False):
        first, second = second, first
    served = notices.serveMany([upcoming(first), upcoming(second, **changes)], {"from": lender})
    assert served_of(served) == [(bytes(first), False)]
    assert refusals_of(served) == [(bytes(second), refusals.TOO_SOON)]
    assert notices.remindersOf(borrower)[:2] == (served.timestamp, 0)


def test_cap_1_a_message_that_the_caps_forbid_is_forbidden_whole(
    notices, loans, at, upcoming, lender, refusals
):
    at(1, -3)
    notices.serve(upcoming(loans[0]), {"from": lender})
    at(1, -3, hour=14)
    served = notices.serveMany([upcoming(each) for each in loans], {"from": lender})
    assert refusals_of(served) == [(bytes(each), refusals.TOO_SOON) for each in loans]


def test_cap_1_one_by_one_they_are_several(notices, loans, at, upcoming, refused, serve, refusals):
    now = at(1, -3)
    serve(upcoming(loans[0]))
    refused(upcoming(loans[1]), refusals.TOO_SOON, now, now + 4 * HOUR)


def test_cap_1_somebody_elses_message_between_them_ends_it(
    notices, loans, at, upcoming, lender, open_loan, stranger, consents, refusals
):
    consents.register(EMAIL, b"\1" * 32, 32, 32, {"from": stranger})
    consents.grant(EMAIL, {"from": stranger})
    theirs = open_loan(borrower=str(stranger))
    at(1, -3)
    batch = [upcoming(loans[0]), upcoming(theirs), upcoming(loans[1])]
    served = notices.serveMany(batch, {"from": lender})
    assert served_of(served) == [(bytes(loans[0]), False), (bytes(theirs), False)]
    assert refusals_of(served) == [(bytes(loans[1]), refusals.TOO_SOON)]
