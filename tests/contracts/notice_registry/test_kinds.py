"""What else than payments and instalments is told of: each on its basis, once."""

import pytest
from eth_abi import encode
from eth_utils import keccak
from support.clock import DAY, HOUR
from support.offers import Grievance, Lending, sign_instruction

EMAIL, SMS, PUSH, IN_APP = range(4)
FEE = 5_000_000
FOREVER = 2**40


def notice_id(loan, kind, basis, serial=0):
    return keccak(encode(["bytes32", "uint8", "uint256", "uint256"], [bytes(loan), int(kind), basis, serial]))


@pytest.fixture(scope="module")
def assign(ledger, key_of, borrower):
    """Hands a claim on to another lender, who signs."""

    def assign(loan, giver, taker):
        values = (bytes(loan), str(giver), str(taker), ledger.nonces(taker), FOREVER)
        signature = sign_instruction("Assignment", values, key_of(taker), ledger)
        return ledger.assign(loan, taker, FOREVER, signature, {"from": giver})

    return assign


@pytest.fixture(scope="module")
def seldom(notices):
    return lambda loan: notices.saidOf(loan)[1].dict()


# --- paid ahead -----------------------------------------------------------------------------------


def test_basis_1_paid_ahead_is_said_once_an_instalment(
    ledger, notices, loan, level, at, notice, refused, serve, kinds, refusals, borrower
):
    ahead = notice(loan, kinds.PAID_AHEAD, 1, 0)
    at(1, -20)
    refused(ahead, refusals.NO_BASIS, level, 0)
    ledger.repay(loan, level - 1, {"from": borrower})
    refused(ahead, refusals.NO_BASIS, 1, 0)
    ledger.repay(loan, 1, {"from": borrower})
    refused(ahead._replace(amount=1), refusals.WRONG_AMOUNT, 1, 0)
    refused(ahead._replace(instalment=2), refusals.WRONG_INSTALMENT, 2, 1)
    assert bytes(serve(ahead).return_value) == notice_id(loan, kinds.PAID_AHEAD, 1)
    assert notices.saidOf(loan)[0]["flags"] == 8
    refused(ahead, refusals.ALREADY_SAID, 1, 1)
    # The next one is next when the first is past due.
    at(1, 1)
    refused(notice(loan, kinds.PAID_AHEAD, 2, 0), refusals.NO_BASIS, level, 0)
    ledger.repay(loan, level, {"from": borrower})
    assert bytes(serve(notice(loan, kinds.PAID_AHEAD, 2, 0)).return_value) == notice_id(
        loan, kinds.PAID_AHEAD, 2
    )


def test_basis_1_paid_ahead_to_the_end_of_the_due_day(
    ledger, loan, level, at, notice, allowed, refused, kinds, refusals, borrower
):
    ledger.repay(loan, 2 * level, {"from": borrower})
    at(1, 0, hour=18)
    allowed(notice(loan, kinds.PAID_AHEAD, 1, 0))
    refused(notice(loan, kinds.DUE_TODAY, 1, 0), refusals.NO_BASIS, 0, 1)
    at(1, 1)
    refused(notice(loan, kinds.PAID_AHEAD, 1, 0), refusals.WRONG_INSTALMENT, 1, 2)


def test_basis_1_nothing_is_paid_ahead_while_something_is_overdue_or_all_is_paid(
    ledger, loan, level, at, notice, refused, kinds, refusals, borrower
):
    at(1, 1)
    refused(notice(loan, kinds.PAID_AHEAD, 2, 0), refusals.NO_BASIS, level, 0)
    ledger.settle(loan, 2**200, {"from": borrower})
    refused(notice(loan, kinds.PAID_AHEAD, 2, 0), refusals.NO_BASIS, 0, 0)


def test_paid_ahead_and_reminders_of_an_instalment_are_kept_together(
    ledger, notices, loan, level, at, notice, serve, kinds, borrower
):
    at(1, -7)
    serve(notice(loan, kinds.UPCOMING, 1, level))
    ledger.repay(loan, level, {"from": borrower})
    serve(notice(loan, kinds.PAID_AHEAD, 1, 0))
    said = notices.saidOf(loan)[0]
    assert (said["next"], said["upcoming"], said["flags"]) == (1, 1, 8)
    at(2, -3)
    serve(notice(loan, kinds.UPCOMING, 2, level))
    said = notices.saidOf(loan)[0]
    assert (said["next"], said["upcoming"], said["flags"]) == (2, 1, 0)


# --- amended --------------------------------------------------------------------------------------


def test_basis_1_amended_is_said_of_the_loan_that_goes_on(
    ledger, consenting, open_loan, publish, notice, refused, allowed, serve, kinds, refusals, lender, clock
):
    old = open_loan(policy=publish(Lending(cooling_off_days=0)))
    refused(notice(old, kinds.AMENDED, 0, 1_200_000_000), refusals.NO_BASIS, 0, 1)
    new = ledger.defer(old, 1, {"from": lender}).return_value
    refused(notice(old, kinds.AMENDED, 0, 1_200_000_000), refusals.NO_BASIS, 0, 1)
    amended = notice(new, kinds.AMENDED, 0, 1_200_000_000)
    refused(amended._replace(amount=1), refusals.WRONG_AMOUNT, 1, 1_200_000_000)
    refused(amended._replace(instalment=1), refusals.WRONG_INSTALMENT, 1, 0)
    assert bytes(serve(amended).return_value) == notice_id(new, kinds.AMENDED, 0)
    refused(amended, refusals.ALREADY_SAID, 1, 1)
    third = ledger.defer(new, 1, {"from": lender}).return_value
    allowed(amended._replace(loan=third))


# --- the cooling-off period ends ------------------------------------------------------------------


def test_basis_1_the_cooling_off_period_ends_in_three_days_or_less(
    ledger, notices, loan, at, notice, allowed, refused, serve, kinds, refusals
):
    ending = notice(loan, kinds.COOLING_OFF_ENDING)
    # Opened on 16 January; 30 January is the last day, 17 days before the first is due.
    last = int(ledger.loanOf(loan)["firstDue"]) - 17
    at(1, -21, hour=18)
    refused(ending, refusals.TOO_EARLY, last - 4, last - 3)
    at(1, -20, hour=9)
    allowed(ending)
    at(1, -17, hour=18)
    allowed(ending)
    refused(ending._replace(amount=1), refusals.WRONG_AMOUNT, 1, 0)
    serve(ending)
    assert notices.saidOf(loan)[0]["flags"] == 32
    refused(ending, refusals.ALREADY_SAID, 1, 1)


def test_basis_1_no_cooling_off_period_ends_that_is_over(ledger, loan, at, notice, refused, kinds, refusals):
    last = int(ledger.loanOf(loan)["firstDue"]) - 17
    at(1, -16)
    refused(notice(loan, kinds.COOLING_OFF_ENDING), refusals.TOO_LATE, last + 1, last)


def test_basis_1_no_cooling_off_period_ends_that_never_was_or_does_not_matter(
    ledger, consenting, open_loan, publish, terms, sign, notice, refused, allowed, kinds, refusals, lender,
    borrower, clock
):  # fmt: skip
    none = open_loan(policy=publish(Lending(cooling_off_days=0)))
    refused(notice(none, kinds.COOLING_OFF_ENDING), refusals.NO_BASIS, 0, 1)
    deferred = ledger.defer(none, 1, {"from": lender}).return_value
    refused(notice(deferred, kinds.COOLING_OFF_ENDING), refusals.NO_BASIS, 0, 1)
    short = publish(Lending(cooling_off_days=1))
    offered = terms(policy=short)
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    allowed(notice(loan, kinds.COOLING_OFF_ENDING))
    ledger.rescind(offered, {"from": borrower})
    refused(notice(loan, kinds.COOLING_OFF_ENDING), refusals.NO_BASIS, 0, 1)
    repaid = open_loan(policy=short)
    ledger.repay(repaid, 2**200, {"from": borrower})
    refused(notice(repaid, kinds.COOLING_OFF_ENDING), refusals.NO_BASIS, 0, 1)


def test_basis_1_an_amendment_has_no_cooling_off_period(
    ledger, consenting, open_loan, publish, notice, refused, kinds, refusals, lender, clock
):
    old = open_loan(policy=publish(Lending(cooling_off_days=14)))
    clock.forward(16 * DAY)
    new = ledger.defer(old, 1, {"from": lender}).return_value
    refused(notice(new, kinds.COOLING_OFF_ENDING), refusals.NO_BASIS, 0, 1)


# --- consent --------------------------------------------------------------------------------------


def test_basis_1_a_change_of_consent_is_confirmed_once(
    consents, loan, notice, refused, serve, seldom, kinds, refusals, borrower, lender
):
    changed = notice(loan, kinds.CONSENT_CHANGED)
    # Registered and granted.
    assert consents.profileOf(borrower)["changes"] == 2
    assert bytes(serve(changed).return_value) == notice_id(loan, kinds.CONSENT_CHANGED, 2)
    assert seldom(loan)["consents"] == 2
    refused(changed, refusals.ALREADY_SAID, 1, 1)
    consents.register(SMS, b"\xc1" * 32, 32, 32, {"from": borrower})
    consents.revokeOnWord(loan, SMS, {"from": lender})
    assert bytes(serve(changed).return_value) == notice_id(loan, kinds.CONSENT_CHANGED, 4)
    refused(changed, refusals.ALREADY_SAID, 1, 1)
    # On a channel that is not consented to, it goes no more than others do.
    consents.revoke(EMAIL, {"from": borrower})
    refused(changed, refusals.NO_CONSENT, EMAIL, 0)
    consents.cease({"from": borrower})
    refused(changed, refusals.CEASED, 0, 0)


def test_basis_1_who_changed_nothing_is_told_nothing(
    open_loan, consenting, stranger, notice, refused, kinds, refusals
):
    loan = open_loan(borrower=stranger)
    refused(notice(loan, kinds.CONSENT_CHANGED, channel=IN_APP), refusals.NO_BASIS, 0, 1)


# --- received and answered ------------------------------------------------------------------------


@pytest.mark.parametrize("grievance", [Grievance.DISPUTE, Grievance.HARDSHIP])
def test_basis_1_a_grievance_is_received_once_and_answered_once(
    lodge, withdraw, desk, loan, at, notice, refused, serve, kinds, refusals, grievance, clock
):
    received = notice(loan, kinds.DISPUTE_RECEIVED + grievance)
    answered = notice(loan, kinds.DISPUTE_ANSWERED + grievance)
    at(1, -3, hour=9)
    for about in (received, answered):
        refused(about, refusals.NO_BASIS, 0, 1)
    since = lodge(loan, grievance).timestamp
    # The other kind's grievance does not stand.
    for kind in (kinds.HARDSHIP_RECEIVED - grievance, kinds.HARDSHIP_ANSWERED - grievance):
        refused(notice(loan, kind), refusals.NO_BASIS, 0, 1)
    refused(received._replace(amount=1), refusals.WRONG_AMOUNT, 1, 0)
    refused(received._replace(instalment=1), refusals.WRONG_INSTALMENT, 1, 0)
    assert bytes(serve(received).return_value) == notice_id(loan, received.kind, since)
    assert desk.caseOf(loan, grievance)["received"]
    refused(received, refusals.ALREADY_SAID, 1, 1)
    assert bytes(serve(answered).return_value) == notice_id(loan, answered.kind, since)
    for about in (received, answered):
        refused(about, refusals.NO_BASIS, 0, 1)
    # Reopened, it is received and answered anew, under other ids.
    clock.forward(DAY)
    again = lodge(loan, grievance).timestamp
    assert bytes(serve(received).return_value) == notice_id(loan, received.kind, again)
    withdraw(loan, grievance)
    refused(answered, refusals.NO_BASIS, 0, 1)


def test_basis_1_a_grievance_that_went_over_is_answered_there(
    lodge, ledger, consenting, open_loan, publish, notice, refused, serve, kinds, refusals, lender, desk
):
    old = open_loan(policy=publish(Lending(cooling_off_days=0)))
    lodge(old, Grievance.DISPUTE)
    serve(notice(old, kinds.DISPUTE_RECEIVED))
    new = ledger.defer(old, 1, {"from": lender}).return_value
    for kind in (kinds.DISPUTE_RECEIVED, kinds.DISPUTE_ANSWERED):
        refused(notice(old, kind), refusals.NO_BASIS, 0, 1)
    # It was received before.
    refused(notice(new, kinds.DISPUTE_RECEIVED), refusals.ALREADY_SAID, 1, 1)
    serve(notice(new, kinds.DISPUTE_ANSWERED))


def test_basis_1_a_grievance_about_a_repaid_loan_is_still_answered(
    lodge, ledger, loan, notice, serve, kinds, borrower, desk
):
    lodge(loan, Grievance.DISPUTE)
    ledger.repay(loan, 2**200, {"from": borrower})
    serve(notice(loan, kinds.DISPUTE_ANSWERED))
    assert desk.caseOf(loan, Grievance.DISPUTE)["answeredAt"] != 0


# --- assigned -------------------------------------------------------------------------------------


def test_basis_1_an_assignment_is_told_once_by_the_new_lender(
    assign, loan, notice, refused, serve, seldom, kinds, refusals, lender, stranger
):
    told = notice(loan, kinds.ASSIGNED)
    refused(told, refusals.NO_BASIS, 0, 1)
    assign(loan, lender, stranger)
    refused(told, refusals.NOT_SERVER, lender, stranger)
    refused(told._replace(amount=1), refusals.WRONG_AMOUNT, 1, 0, server=stranger)
    served = serve(told, stranger)
    assert bytes(served.return_value) == notice_id(loan, kinds.ASSIGNED, int(str(stranger), 16), 0)
    assert (seldom(loan)["lender"], seldom(loan)["assignments"]) == (stranger, 1)
    refused(told, refusals.ALREADY_SAID, 1, 1, server=stranger)


def test_basis_1_nobody_reminds_who_did_not_say_that_the_loan_is_theirs(
    assign, ledger, notices, loan, level, at, notice, allowed, refused, serve, kinds, refusals, lender,
    stranger, assignee, servicer
):  # fmt: skip
    at(1, -6)
    told, upcoming = notice(loan, kinds.ASSIGNED), notice(loan, kinds.UPCOMING, 1, level)
    serve(upcoming)
    assign(loan, lender, stranger)
    ledger.appointServicer(servicer, {"from": stranger})
    at(1, -3)
    for server in (stranger, servicer):
        refused(upcoming, refusals.NOT_TOLD_OF_ASSIGNMENT, 0, stranger, server=server)
    assert notices.earliest(loan, kinds.UPCOMING, 1, EMAIL) == 0
    # What serves the borrower needs no introduction.
    allowed(notice(loan, kinds.OPENED, 0, 1_200_000_000), stranger)
    serve(told, servicer)
    for server in (stranger, servicer):
        allowed(upcoming, server)
    assert notices.earliest(loan, kinds.UPCOMING, 1, EMAIL) != 0
    # A second assignment, and back to the first lender.
    at(1, -2)
    assign(loan, stranger, assignee)
    refused(upcoming, refusals.NOT_TOLD_OF_ASSIGNMENT, stranger, assignee, server=assignee)
    assign(loan, assignee, lender)
    refused(upcoming, refusals.NOT_TOLD_OF_ASSIGNMENT, stranger, lender)
    assert bytes(serve(told).return_value) == notice_id(loan, kinds.ASSIGNED, int(str(lender), 16), 1)
    allowed(upcoming)
    # There and back before anybody was told: of the lender of now they were.
    assign(loan, lender, stranger)
    assign(loan, stranger, lender)
    allowed(upcoming)
    refused(told, refusals.ALREADY_SAID, 1, 1)


def test_basis_1_back_with_the_first_lender_untold_it_is_told(
    assign, loan, level, at, notice, allowed, refused, serve, kinds, refusals, lender, stranger
):
    at(1, -3)
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    assign(loan, lender, stranger)
    assign(loan, stranger, lender)
    refused(upcoming, refusals.NOT_TOLD_OF_ASSIGNMENT, 0, lender)
    serve(notice(loan, kinds.ASSIGNED))
    allowed(upcoming)


def test_basis_1_a_reminder_of_the_old_lender_stands_no_more(
    assign, notices, loan, level, at, notice, serve, kinds, refusals, lender, stranger
):
    at(1, -3)
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    serve(upcoming)
    assign(loan, lender, stranger)
    assert notices.standing(upcoming, lender)["reason"] == refusals.NOT_SERVER
    told = notice(loan, kinds.ASSIGNED)
    serve(told, stranger)
    assert notices.standing(told, stranger)["reason"] == refusals.NONE
    # Under one servicer for both, too, for the borrower has been told.
    assert notices.standing(upcoming, stranger)["reason"] == refusals.NONE


def test_basis_1_an_assigned_loan_stays_assigned_when_it_goes_on_in_another(
    assign, ledger, consenting, open_loan, publish, clock, notice, allowed, refused, serve, kinds, refusals,
    lender, stranger
):  # fmt: skip
    old = open_loan(policy=publish(Lending(cooling_off_days=0)))
    assign(old, lender, stranger)
    new = ledger.defer(old, 1, {"from": stranger}).return_value
    assert ledger.positionOf(new)["assigned"]
    row = ledger.instalmentOf(new, 1)
    clock.to(int(row["dueAt"]) - 3 * DAY - 12 * HOUR)
    upcoming = notice(new, kinds.UPCOMING, 1, row["amount"])
    refused(upcoming, refusals.NOT_TOLD_OF_ASSIGNMENT, 0, stranger, server=stranger)
    serve(notice(new, kinds.ASSIGNED), stranger)
    allowed(upcoming, stranger)


# --- arrears --------------------------------------------------------------------------------------


def test_basis_1_arrears_are_two_instalments_overdue(
    ledger, loan, level, at, notice, allowed, refused, serve, seldom, kinds, refusals, borrower
):
    at(1, 20)
    refused(notice(loan, kinds.ARREARS, 1, level + FEE), refusals.NO_BASIS, 1, 2)
    at(2, 0)
    refused(notice(loan, kinds.ARREARS, 1, level + FEE), refusals.NO_BASIS, 1, 2)
    at(2, 1)
    owed = 2 * level + FEE
    arrears = notice(loan, kinds.ARREARS, 1, owed)
    refused(arrears._replace(amount=owed - 1), refusals.WRONG_AMOUNT, owed - 1, owed)
    refused(arrears._replace(instalment=2), refusals.WRONG_INSTALMENT, 2, 1)
    # Part of the first paid, two are still overdue; all of it, one.
    ledger.repay(loan, level - 1, {"from": borrower})
    allowed(arrears._replace(amount=level + 1 + FEE))
    ledger.repay(loan, 1, {"from": borrower})
    refused(arrears._replace(instalment=2, amount=level + FEE), refusals.NO_BASIS, 1, 2)


def test_basis_1_arrears_are_told_of_every_180_days_at_most(
    ledger, notices, loan, level, at, notice, allowed, refused, serve, seldom, kinds, refusals, clock
):
    def arrears():
        position = ledger.positionOf(loan)
        return notice(loan, kinds.ARREARS, 1, position["overdue"] + position["fees"])

    served = at(2, 1)
    assert bytes(serve(arrears()).return_value) == notice_id(loan, kinds.ARREARS, 1, 0)
    assert (seldom(loan)["arrearsAt"], seldom(loan)["arrears"]) == (served, 1)
    clock.to(served + 1)
    refused(arrears(), refusals.TOO_SOON, served + 1, served + 180 * DAY)
    assert notices.earliest(loan, kinds.ARREARS, 1, EMAIL) == served + 180 * DAY
    clock.to(served + 180 * DAY - 1)
    refused(arrears(), refusals.TOO_SOON, served + 180 * DAY - 1, served + 180 * DAY)
    clock.to(served + 180 * DAY)
    assert bytes(serve(arrears()).return_value) == notice_id(loan, kinds.ARREARS, 1, 1)
    assert (seldom(loan)["arrearsAt"], seldom(loan)["arrears"]) == (served + 180 * DAY, 2)


def test_cap_1_arrears_are_no_reminder(notices, loan, level, at, notice, serve, allowed, kinds, borrower):
    at(2, 1)
    serve(notice(loan, kinds.ARREARS, 1, 2 * level + FEE))
    assert notices.remindersOf(borrower) == (0,) * 7
    allowed(notice(loan, kinds.OVERDUE, 1, 2 * level + FEE))


def test_arrears_still_stand_after_they_were_served(
    ledger, notices, loan, level, at, notice, serve, kinds, refusals, lender, borrower
):
    at(2, 1)
    arrears = notice(loan, kinds.ARREARS, 1, 2 * level + FEE)
    serve(arrears)
    assert notices.standing(arrears, lender) == (refusals.NONE, 0, 0)
    ledger.repay(loan, 1, {"from": borrower})
    assert notices.standing(arrears, lender)["reason"] == refusals.WRONG_AMOUNT


# --- what is owed to the borrower -----------------------------------------------------------------


@pytest.fixture
def owed(assign, lodge, ledger, loan, level, at, notice, kinds, lender, stranger):
    """Every notice that is owed to the borrower, each with its basis; and a reminder."""
    assign(loan, lender, stranger)
    lodge(loan, Grievance.DISPUTE)
    lodge(loan, Grievance.HARDSHIP)
    at(2, 1, hour=9)
    return [
        notice(loan, kinds.DISPUTE_ANSWERED),
        notice(loan, kinds.HARDSHIP_ANSWERED),
        notice(loan, kinds.ASSIGNED),
        notice(loan, kinds.ARREARS, 1, 2 * level + FEE),
    ]


def test_consent_1_what_is_owed_needs_no_consent(
    consents, loan, owed, notice, allowed, refused, kinds, refusals, borrower, stranger
):
    others = [
        notice(loan, kinds.OPENED, 0, 1_200_000_000),
        notice(loan, kinds.DISPUTE_RECEIVED),
        notice(loan, kinds.HARDSHIP_RECEIVED),
        notice(loan, kinds.CONSENT_CHANGED),
    ]
    consents.revoke(EMAIL, {"from": borrower})
    for about in owed:
        allowed(about, stranger)
    for about in others:
        refused(about, refusals.NO_CONSENT, EMAIL, 0, server=stranger)
    consents.cease({"from": borrower})
    for about in owed:
        allowed(about, stranger)
    for about in others:
        refused(about, refusals.CEASED, 0, 0, server=stranger)


def test_consent_1_what_is_owed_goes_to_a_registered_contact_or_into_the_app(
    loan, owed, notice, allowed, refused, kinds, refusals, stranger
):
    for about in owed:
        for channel in (SMS, PUSH):
            refused(about._replace(channel=channel), refusals.NO_CONTACT, channel, 0, server=stranger)
        allowed(about._replace(channel=IN_APP), stranger)
    received = notice(loan, kinds.DISPUTE_RECEIVED, channel=IN_APP)
    refused(received, refusals.NO_CONTACT, IN_APP, 0, server=stranger)


def test_hours_1_what_is_owed_waits_for_the_window(owed, at, refused, allowed, refusals, stranger):
    now = at(2, 2, hour=9, second=-1)
    for about in owed:
        refused(about, refusals.OUTSIDE_HOURS, now, now + 1, server=stranger)
        # In the app as well, though nobody hears it.
        refused(about._replace(channel=IN_APP), refusals.OUTSIDE_HOURS, now, now + 1, server=stranger)
    now = at(2, 2, hour=19, second=-15 * 60)
    for about in owed:
        refused(about, refusals.OUTSIDE_HOURS, now, now + 14 * HOUR + 15 * 60, server=stranger)


def test_cap_2_what_is_owed_counts_among_the_three_of_a_day(
    owed, serve, allowed, refused, refusals, stranger, clock
):
    first = clock.now()
    for about in owed[:3]:
        serve(about, stranger)
    now = clock.forward(60)
    refused(owed[3], refusals.SERVICE_CAP, now, first + DAY, server=stranger)
    clock.to(first + DAY - 1)
    refused(owed[3], refusals.OUTSIDE_HOURS, first + DAY - 1, first + DAY, server=stranger)
    clock.to(first + DAY)
    allowed(owed[3], stranger)


def test_pause_1_no_grievance_stops_what_is_owed(lodge, loan, owed, allowed, stranger):
    lodge(loan, Grievance.REPRESENTATION)
    for about in owed:
        allowed(about, stranger)


def test_server_1_what_is_owed_is_served_by_the_lender_of_now(
    owed, refused, refusals, lender, stranger, borrower
):
    for about in owed:
        for server in (lender, borrower):
            refused(about, refusals.NOT_SERVER, server, stranger, server=server)
