"""PAUSE-1: no reminder from the second in which a grievance is lodged to the end of the days after it."""

import pytest
from support.clock import DAY, HOUR
from support.offers import FOREVER, PAUSE, Contact, Grievance, Lending, sign_consent
from support.reverts import reverts_with

EMAIL = 0
ANSWERED = [Grievance.DISPUTE, Grievance.HARDSHIP]


@pytest.fixture(scope="module")
def reminder(ledger, notice, kinds):
    """The reminder that could be served about a loan at this moment."""

    def reminder(loan):
        position = ledger.positionOf(loan)
        if position["overdue"]:
            owed = position["overdue"] + position["fees"]
            return notice(loan, kinds.OVERDUE, position["firstUnpaid"], owed)
        return notice(loan, kinds.UPCOMING, position["next"], position["nextAmount"])

    return reminder


@pytest.fixture(scope="module")
def resting(refused, refusals, clock):
    """The notice is refused because reminders rest."""
    return lambda notice, until=FOREVER, **server: refused(
        notice, refusals.RESTING, clock.now(), until, **server
    )


@pytest.mark.parametrize("grievance", Grievance)
def test_pause_1_from_the_very_second_it_is_lodged(
    lodge, notices, loan, level, at, notice, reminder, allowed, resting, clock, lender, kinds, grievance
):
    now = at(1, -3)
    allowed(reminder(loan))
    assert lodge(loan, grievance).timestamp == now
    clock.to(now + 1)
    resting(reminder(loan))
    at(1, 0)
    resting(notice(loan, kinds.DUE_TODAY, 1, level))
    at(1, 3)
    resting(reminder(loan))
    at(1, 20)
    resting(reminder(loan))


def test_pause_1_in_the_same_second_already(lodge, loan, at, reminder, resting, clock):
    now = at(1, -3)
    lodge(loan, Grievance.DISPUTE)
    assert clock.now() == now
    resting(reminder(loan))


def test_pause_1_whoever_recorded_it_and_whoever_serves(
    lodge, ledger, loan, at, reminder, resting, lender, servicer
):
    ledger.appointServicer(servicer, {"from": lender})
    at(1, -3)
    lodge(loan, Grievance.HARDSHIP, servicer)
    for server in (lender, servicer):
        resting(reminder(loan), server=server)


def test_pause_1_a_batch_skips_what_rests(
    lodge, notices, loan, at, notice, reminder, lender, kinds, refusals, clock
):
    at(1, -3)
    lodge(loan, Grievance.DISPUTE)
    now = clock.forward(60)
    opened = notice(loan, kinds.OPENED, 0, 1_200_000_000)
    served = notices.serveMany([reminder(loan), opened], {"from": lender})
    event = served.events["NoticeRefused"]
    assert (event["reason"], event["actual"], event["required"]) == (refusals.RESTING, now, FOREVER)
    assert [any(bytes(value)) for value in served.return_value] == [False, True]


def test_pause_1_notices_that_serve_the_borrower_go_on(
    lodge, ledger, loan, level, at, notice, serve, kinds, borrower, clock
):
    at(1, -10)
    for grievance in Grievance:
        lodge(loan, grievance)
    ledger.repay(loan, level, {"from": borrower})
    serve(notice(loan, kinds.OPENED, 0, 1_200_000_000))
    serve(notice(loan, kinds.RECEIVED, 0, level))
    serve(notice(loan, kinds.PAID_AHEAD, 1, 0))
    clock.forward(DAY)
    serve(notice(loan, kinds.DISPUTE_RECEIVED))
    serve(notice(loan, kinds.HARDSHIP_RECEIVED))
    clock.forward(DAY)
    paid = level + ledger.repay(loan, 2**200, {"from": borrower}).return_value
    serve(notice(loan, kinds.REPAID, 0, paid))


@pytest.mark.parametrize("grievance", ANSWERED)
def test_pause_1_to_the_second_after_the_answer(
    lodge, loan, at, reminder, allowed, resting, serve, notice, kinds, clock, grievance
):
    at(1, 3)
    lodge(loan, grievance)
    answered = at(1, 10)
    resting(reminder(loan))
    assert serve(notice(loan, kinds.DISPUTE_ANSWERED + grievance)).timestamp == answered
    clock.to(answered + 1)
    resting(reminder(loan), answered + PAUSE)
    clock.to(answered + PAUSE - 1)
    resting(reminder(loan), answered + PAUSE)
    clock.to(answered + PAUSE)
    allowed(reminder(loan))


@pytest.mark.parametrize("grievance", ANSWERED)
def test_pause_1_a_receipt_starts_no_countdown(
    lodge, loan, at, reminder, resting, serve, notice, kinds, clock, grievance
):
    at(1, 3)
    lodge(loan, grievance)
    serve(notice(loan, kinds.DISPUTE_RECEIVED + grievance))
    for days in (1, 30, 400):
        clock.forward(days * DAY)
        resting(reminder(loan))


def test_pause_1_the_answer_to_one_is_no_answer_to_the_other(
    lodge, loan, at, reminder, allowed, resting, answer, clock
):
    at(1, 3)
    lodge(loan, Grievance.DISPUTE)
    lodge(loan, Grievance.HARDSHIP)
    answer(loan, Grievance.DISPUTE)
    at(1, 40)
    resting(reminder(loan))
    until = answer(loan, Grievance.HARDSHIP).timestamp + PAUSE
    clock.to(until - 1)
    resting(reminder(loan), until)
    clock.to(until)
    allowed(reminder(loan))


def test_pause_1_the_borrower_reopens_it_and_it_rests_again(
    lodge, loan, at, reminder, resting, answer, allowed, clock
):
    at(1, 3)
    lodge(loan, Grievance.DISPUTE)
    answer(loan, Grievance.DISPUTE)
    clock.forward(10 * DAY)
    lodge(loan, Grievance.DISPUTE)
    resting(reminder(loan))
    clock.forward(40 * DAY)
    resting(reminder(loan))
    until = answer(loan, Grievance.DISPUTE).timestamp + PAUSE
    clock.to(until)
    allowed(reminder(loan))
    lodge(loan, Grievance.DISPUTE)
    resting(reminder(loan))


def test_pause_1_a_refused_answer_answers_nothing(
    lodge, desk, notices, loan, at, notice, reminder, resting, lender, kinds, refusals, clock
):
    now = at(1, 3, hour=3)
    lodge(loan, Grievance.DISPUTE)
    with reverts_with("Refused", refusals.OUTSIDE_HOURS, now + 1, now + 6 * HOUR):
        clock.to(now + 1)
        notices.serve(notice(loan, kinds.DISPUTE_ANSWERED), {"from": lender})
    assert desk.caseOf(loan, Grievance.DISPUTE)["answeredAt"] == 0
    at(1, 40)
    resting(reminder(loan))


def test_pause_1_representation_ends_with_the_borrower_alone(
    lodge, desk, loan, at, reminder, resting, allowed, answer, withdraw, borrower, lender, clock, refused,
    notice, kinds, refusals
):  # fmt: skip
    at(1, 3)
    lodge(loan, Grievance.REPRESENTATION, lender)
    # There is no notice that answers it.
    for kind in (kinds.DISPUTE_ANSWERED, kinds.HARDSHIP_ANSWERED):
        refused(notice(loan, kind), refusals.NO_BASIS, 0, 1)
    with reverts_with("NotTheBorrower", lender, borrower):
        desk.withdraw(loan, Grievance.REPRESENTATION, {"from": lender})
    at(1, 900)
    resting(reminder(loan))
    withdraw(loan, Grievance.REPRESENTATION)
    allowed(reminder(loan))


def test_pause_1_withdrawn_it_rests_no_more(lodge, withdraw, loan, at, reminder, allowed, resting):
    at(1, -3)
    lodge(loan, Grievance.HARDSHIP)
    resting(reminder(loan))
    withdraw(loan, Grievance.HARDSHIP)
    allowed(reminder(loan))


@pytest.mark.parametrize("all_loans", [False, True])
def test_pause_1_other_loans_rest_where_the_policy_says_so(
    lodge, answer, publish, open_loan, loan, at, reminder, allowed, resting, clock, all_loans
):
    strict = publish(contact=Contact(rest_all_loans=0b111 * all_loans))
    disputed = open_loan(policy=strict)
    at(1, -6)
    lodge(disputed, Grievance.DISPUTE)
    resting(reminder(disputed))
    (resting if all_loans else allowed)(reminder(loan))
    until = answer(disputed, Grievance.DISPUTE).timestamp + PAUSE
    clock.to(until - 1)
    if all_loans:
        resting(reminder(loan), until)
    clock.to(until)
    allowed(reminder(loan))
    allowed(reminder(disputed))


def test_pause_1_what_was_served_before_stands_no_more(
    lodge, notices, loan, at, reminder, serve, notice, kinds, refusals, withdraw, lender, clock
):
    at(1, -3)
    served, opened = reminder(loan), notice(loan, kinds.OPENED, 0, 1_200_000_000)
    serve(served)
    serve(opened)
    now = clock.forward(60)
    assert notices.standing(served, lender) == (refusals.NONE, 0, 0)
    lodge(loan, Grievance.HARDSHIP)
    assert notices.standing(served, lender) == (refusals.RESTING, now, FOREVER)
    assert notices.standing(opened, lender) == (refusals.NONE, 0, 0)
    withdraw(loan, Grievance.HARDSHIP)
    assert notices.standing(served, lender) == (refusals.NONE, 0, 0)


def test_pause_1_what_was_answered_and_received_stands(
    lodge, notices, loan, at, notice, serve, kinds, refusals, lender, clock
):
    at(1, -3)
    lodge(loan, Grievance.DISPUTE)
    received, answered = notice(loan, kinds.DISPUTE_RECEIVED), notice(loan, kinds.DISPUTE_ANSWERED)
    for served in (received, answered):
        serve(served)
        clock.forward(60)
        assert notices.standing(served, lender) == (refusals.NONE, 0, 0)
    assert notices.standing(received, lender) == (refusals.NONE, 0, 0)
    never = notice(loan, kinds.HARDSHIP_RECEIVED)
    assert notices.standing(never, lender) == (refusals.NO_BASIS, 0, 1)


def test_pause_1_the_earliest_second_comes_after_the_rest(
    lodge, notices, loan, at, answer, kinds, clock, borrower
):
    def earliest(kind, instalment):
        return notices.earliest(loan, kind, instalment, EMAIL)

    at(1, -20)
    lodge(loan, Grievance.DISPUTE)
    for kind in (kinds.UPCOMING, kinds.DUE_TODAY, kinds.OVERDUE):
        assert earliest(kind, 1) == 0
    until = answer(loan, Grievance.DISPUTE).timestamp + PAUSE
    # Upcoming and due day pass while it rests; ten days after the due day the overdue notice may be served.
    assert (earliest(kinds.UPCOMING, 1), earliest(kinds.DUE_TODAY, 1)) == (0, 0)
    assert earliest(kinds.OVERDUE, 1) == until


def test_pause_1_the_earliest_second_waits_for_the_window(
    lodge, notices, policy_book, policy, publisher, loan, at, answer, kinds
):
    at(1, 3)
    lodge(loan, Grievance.DISPUTE)
    # Answered in the last second in which it may be: the rest ends with the window, but for a second.
    until = at(1, 3, hour=18, second=45 * 60 - 1) + PAUSE
    assert answer(loan, Grievance.DISPUTE).timestamp + PAUSE == until
    assert notices.earliest(loan, kinds.OVERDUE, 1, EMAIL) == until
    policy_book.tighten(policy, Contact(closes=18 * 60), {"from": publisher})
    assert notices.earliest(loan, kinds.OVERDUE, 1, EMAIL) == until + 1 + 14 * HOUR + 15 * 60


# --- the loan goes on in another -----------------------------------------------------------------


@pytest.fixture
def changes(ledger, publish, open_loan, terms, key_of, lender, borrower, keeper, clock):
    """A loan without cooling-off period, and each way in which it goes on in another."""
    policy = publish(Lending(cooling_off_days=0), Contact(pause_days=57))
    loan = open_loan(policy=policy)

    def change(how):
        if how == "defer":
            return ledger.defer(loan, 1, {"from": lender}).return_value
        if how == "prepay":
            return ledger.prepay(loan, 700_000_000, {"from": borrower}).return_value[1]
        amended = terms(policy=policy, replaces=bytes(loan), principal=1_000_000_000, late_fee=1_000)
        signatures = [
            sign_consent("Amendment", amended, key_of(actor), ledger) for actor in (lender, borrower)
        ]
        return ledger.amend(amended, *signatures, {"from": keeper}).return_value

    return loan, change


@pytest.mark.parametrize("how", ["defer", "prepay", "amend"])
@pytest.mark.parametrize("when", ["standing", "answered"])
def test_pause_1_no_change_takes_a_grievance_away(
    lodge, answer, withdraw, ledger, consenting, changes, reminder, resting, allowed, clock, how, when
):
    loan, change = changes
    lodge(loan, Grievance.HARDSHIP)
    until = answer(loan, Grievance.HARDSHIP).timestamp + 57 * DAY if when == "answered" else FOREVER
    new = change(how)
    first = int(ledger.instalmentOf(new, 1)["dueAt"])
    if when == "answered":
        # A rest that reaches into the next instalment's notices.
        clock.to(until - 1)
        resting(reminder(new), until)
        clock.to(until)
        allowed(reminder(new))
        return
    clock.to(first - 3 * DAY - 12 * HOUR)
    resting(reminder(new))
    withdraw(new, Grievance.HARDSHIP)
    allowed(reminder(new))


# --- a cease --------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [False, True])
def test_pause_1_nobody_but_the_borrower_ends_a_cease(
    consents, ledger, loan, at, reminder, refused, allowed, refusals, borrower, lender, servicer, stranger,
    clock, recorded
):  # fmt: skip
    ledger.appointServicer(servicer, {"from": lender})
    at(1, 3)
    if recorded:
        consents.ceaseOnWord(loan, {"from": servicer})
    else:
        consents.cease({"from": borrower})
    refused(reminder(loan), refusals.CEASED, 0, 0)
    # What others can do for themselves does nothing for the borrower.
    for other in (lender, servicer, stranger):
        consents.register(EMAIL, b"\xc7" * 32, 32, 32, {"from": other})
        consents.grant(EMAIL, {"from": other})
    consents.revokeOnWord(loan, EMAIL, {"from": lender})
    for signature in (b"", bytes(65)):
        with reverts_with("InvalidInstruction", borrower, consents.profileOf(borrower)["changes"]):
            consents.grantBySignature(borrower, EMAIL, FOREVER, signature, {"from": lender})
    at(1, 400)
    refused(reminder(loan), refusals.CEASED, 0, 0)
    consents.grant(EMAIL, {"from": borrower})
    allowed(reminder(loan))
