import pytest
from eth_abi import encode
from eth_utils import keccak
from support.clock import DAY
from support.offers import ZERO_ADDRESS, Contact
from support.reverts import reverts_with
from support.rolling import word_of

EMAIL, SMS, PUSH, IN_APP = range(4)


def notice_id(loan, kind, basis, serial):
    return keccak(encode(["bytes32", "uint8", "uint256", "uint256"], [bytes(loan), int(kind), basis, serial]))


# --- who ----------------------------------------------------------------------------------------


def test_an_unknown_loan_bears_no_notice(notice, refused, kinds, refusals):
    for kind in kinds:
        refused(notice(b"\3" * 32, kind), refusals.UNKNOWN_LOAN, 0, 0)


def test_server_1_only_the_lender_and_its_servicer_serve(
    ledger, loan, notice, allowed, refused, kinds, refusals, lender, servicer, borrower, stranger, keeper
):
    opened = notice(loan, kinds.OPENED, 0, 1_200_000_000)
    for server in (servicer, borrower, stranger):
        refused(opened, refusals.NOT_SERVER, server, lender, server)
    ledger.appointServicer(servicer, {"from": lender})
    ledger.appointServicer(stranger, {"from": borrower})
    allowed(opened, servicer)
    allowed(opened, lender)
    refused(opened, refusals.NOT_SERVER, stranger, lender, stranger)
    ledger.appointServicer(keeper, {"from": lender})
    refused(opened, refusals.NOT_SERVER, servicer, lender, servicer)


def test_server_1_nobody_serves_for_a_lender_without_servicer(notices, loan, notice, kinds, refusals, lender):
    opened = notice(loan, kinds.OPENED, 0, 1_200_000_000)
    assert notices.refusal(opened, ZERO_ADDRESS) == (refusals.NOT_SERVER, 0, int(str(lender), 16))


# --- BASIS-1 ------------------------------------------------------------------------------------


def test_basis_1_opened_is_said_once(loan, notice, refused, serve, kinds, refusals):
    opened = notice(loan, kinds.OPENED, 0, 1_200_000_000)
    refused(opened._replace(instalment=1), refusals.WRONG_INSTALMENT, 1, 0)
    refused(opened._replace(amount=1_200_000_001), refusals.WRONG_AMOUNT, 1_200_000_001, 1_200_000_000)
    serve(opened)
    refused(opened, refusals.ALREADY_SAID, 1, 1)


def test_basis_1_repaid_is_said_of_a_repaid_loan_once(
    ledger, loan, notice, refused, serve, kinds, refusals, borrower
):
    total = ledger.loanOf(loan)["total"]
    repaid = notice(loan, kinds.REPAID, 0, total)
    refused(repaid, refusals.NO_BASIS, 1, 2)
    ledger.repay(loan, 2**200, {"from": borrower})
    refused(repaid._replace(amount=1), refusals.WRONG_AMOUNT, 1, total)
    serve(repaid)
    refused(repaid, refusals.ALREADY_SAID, 1, 1)


def test_basis_1_received_is_what_came_since_it_was_last_said(
    ledger, loan, notice, refused, serve, kinds, refusals, borrower
):
    refused(notice(loan, kinds.RECEIVED, 0, 0), refusals.NO_BASIS, 0, 1)
    ledger.repay(loan, 100, {"from": borrower})
    ledger.repay(loan, 23, {"from": borrower})
    refused(notice(loan, kinds.RECEIVED, 0, 100), refusals.WRONG_AMOUNT, 100, 123)
    serve(notice(loan, kinds.RECEIVED, 0, 123))
    refused(notice(loan, kinds.RECEIVED, 0, 123), refusals.ALREADY_SAID, 1, 1)
    ledger.repay(loan, 7, {"from": borrower})
    serve(notice(loan, kinds.RECEIVED, 0, 7))


def test_basis_1_the_last_payment_can_still_be_acknowledged(ledger, loan, notice, allowed, kinds, borrower):
    taken = ledger.repay(loan, 2**200, {"from": borrower}).return_value
    allowed(notice(loan, kinds.RECEIVED, 0, taken))


def test_basis_1_a_repaid_loan_bears_no_reminder(
    ledger, loan, level, at, notice, refused, kinds, refusals, borrower
):
    ledger.settle(loan, 2**200, {"from": borrower})
    at(1)
    for kind in (kinds.UPCOMING, kinds.DUE_TODAY, kinds.OVERDUE):
        refused(notice(loan, kind, 1, level), refusals.NO_BASIS, 0, 1)


def test_basis_1_upcoming_from_its_first_day_to_the_day_before(
    ledger, loan, level, at, notice, allowed, refused, kinds, refusals
):
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    due = ledger.loanOf(loan)["firstDue"]
    at(1, -8, hour=12)
    refused(upcoming, refusals.TOO_EARLY, due - 8, due - 7)
    at(1, -7, hour=9)
    allowed(upcoming)
    at(1, -1, hour=18)
    allowed(upcoming)
    at(1)
    refused(upcoming, refusals.TOO_LATE, due, due - 1)


def test_basis_1_due_today_on_that_day_once(
    ledger, loan, level, at, notice, allowed, refused, serve, kinds, refusals
):
    today = notice(loan, kinds.DUE_TODAY, 1, level)
    due = ledger.loanOf(loan)["firstDue"]
    at(1, -1)
    refused(today, refusals.TOO_EARLY, due - 1, due)
    at(1, 0, hour=9)
    serve(today)
    at(1, 0, hour=18)
    refused(today, refusals.ALREADY_SAID, 1, 1)
    # Upcoming notices and those of the due day share a counter; the next instalment starts anew.
    at(1, 1)
    refused(today, refusals.NO_BASIS, level, 0)


def test_basis_1_before_a_due_day_only_what_is_missing_is_named(
    ledger, loan, level, at, notice, allowed, refused, kinds, refusals, borrower
):
    ledger.repay(loan, level - 1, {"from": borrower})
    at(1, -1)
    refused(notice(loan, kinds.UPCOMING, 1, level), refusals.WRONG_AMOUNT, level, 1)
    refused(notice(loan, kinds.UPCOMING, 2, level), refusals.WRONG_INSTALMENT, 2, 1)
    allowed(notice(loan, kinds.UPCOMING, 1, 1))
    ledger.repay(loan, 1, {"from": borrower})
    for kind in (kinds.UPCOMING, kinds.DUE_TODAY):
        refused(notice(loan, kind, 1, 0), refusals.NO_BASIS, 0, 1)


def test_basis_1_nothing_is_called_upcoming_while_something_is_overdue(
    loan, level, at, notice, refused, kinds, refusals
):
    at(2, -1)
    for kind in (kinds.UPCOMING, kinds.DUE_TODAY):
        refused(notice(loan, kind, 2, level), refusals.NO_BASIS, level, 0)


def test_basis_1_nothing_is_overdue_before_its_day(
    ledger, loan, level, at, notice, allowed, refused, kinds, refusals, borrower
):
    due = ledger.loanOf(loan)["firstDue"]
    for days in (-1, 0):
        at(1, days)
        refused(notice(loan, kinds.OVERDUE, 1, 0), refusals.TOO_EARLY, due + days, due + 2)
    at(1, 1)
    refused(notice(loan, kinds.OVERDUE, 1, level), refusals.TOO_EARLY, due + 1, due + 2)
    at(1, 2)
    allowed(notice(loan, kinds.OVERDUE, 1, level))
    ledger.repay(loan, level, {"from": borrower})
    refused(notice(loan, kinds.OVERDUE, 1, level), refusals.WRONG_INSTALMENT, 1, 2)
    refused(notice(loan, kinds.OVERDUE, 2, 0), refusals.TOO_EARLY, due + 2, due + 29 + 2)


def test_basis_1_overdue_names_arrears_and_fees_since_the_first_unpaid(
    ledger, loan, level, at, notice, allowed, refused, kinds, refusals, borrower
):
    ledger.repay(loan, level + 5, {"from": borrower})
    at(3, 6)
    # The second and third are overdue; both graces are over.
    owed = 2 * level - 5 + 2 * 5_000_000
    refused(notice(loan, kinds.OVERDUE, 3, owed), refusals.WRONG_INSTALMENT, 3, 2)
    refused(notice(loan, kinds.OVERDUE, 2, owed - 1), refusals.WRONG_AMOUNT, owed - 1, owed)
    allowed(notice(loan, kinds.OVERDUE, 2, owed))


def test_basis_1_a_fee_alone_is_no_overdue_instalment(
    ledger, loan, level, at, notice, refused, kinds, refusals, borrower
):
    at(1, 6)
    ledger.repay(loan, level, {"from": borrower})
    due = ledger.loanOf(loan)["firstDue"]
    refused(notice(loan, kinds.OVERDUE, 2, 5_000_000), refusals.TOO_EARLY, due + 6, due + 29 + 2)


def test_basis_1_days_are_the_loans_hours_the_borrowers(
    ledger, open_loan, clock, notice, allowed, refused, kinds, refusals
):
    # A loan that is counted in UTC-12, and a borrower 20 hours ahead of it.
    western = open_loan(calendar_offset=-48)
    row, due = ledger.instalmentOf(western, 1), ledger.loanOf(western)["firstDue"]
    overdue = notice(western, kinds.OVERDUE, 1, row["amount"])
    first = row["dueAt"] + 1 + DAY
    clock.to(first - 1)
    refused(overdue, refusals.TOO_EARLY, due + 1, due + 2)
    # Noon in UTC: midnight in the loan's calendar, 20:00 where the borrower is.
    clock.to(first)
    refused(overdue, refusals.OUTSIDE_HOURS, first, first + 13 * 3600)
    clock.to(first + 13 * 3600)
    allowed(overdue)


# --- consent ------------------------------------------------------------------------------------


def test_consent_1_no_notice_without_contact_and_consent(
    consents, loan, notice, allowed, refused, kinds, refusals, borrower
):
    opened = notice(loan, kinds.OPENED, 0, 1_200_000_000)
    refused(opened._replace(channel=SMS), refusals.NO_CONTACT, SMS, 0)
    consents.register(SMS, b"\xc1" * 32, 32, 32, {"from": borrower})
    refused(opened._replace(channel=SMS), refusals.NO_CONSENT, SMS, 0)
    allowed(opened)
    consents.revoke(EMAIL, {"from": borrower})
    refused(opened, refusals.NO_CONSENT, EMAIL, 0)
    consents.grant(EMAIL, {"from": borrower})
    allowed(opened)
    consents.cease({"from": borrower})
    refused(opened, refusals.CEASED, 0, 0)


# --- HOURS-1 ------------------------------------------------------------------------------------


def test_hours_1_both_sides_of_the_window(loan, at, level, notice, allowed, refused, kinds, refusals):
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    now = at(1, -5, hour=9, second=-1)
    refused(upcoming, refusals.OUTSIDE_HOURS, now, now + 1)
    at(1, -5, hour=9)
    allowed(upcoming)
    # The last second that leaves the lead time of 15 minutes.
    at(1, -5, hour=19, second=-15 * 60 - 1)
    allowed(upcoming)
    now = at(1, -5, hour=19, second=-15 * 60)
    refused(upcoming, refusals.OUTSIDE_HOURS, now, now + 14 * 3600 + 15 * 60)


@pytest.mark.parametrize("pair", [(-16, -20), (-20, -16)])
def test_hours_1_the_window_holds_under_both_offsets(
    consents, open_loan, clock, notice, allowed, refused, kinds, refusals, borrower, pair
):
    # New York: 9 to 19 o'clock is 14:00 to 24:00 UTC in winter, 13:00 to 23:00 in summer.
    consents.register(EMAIL, b"\xc0" * 32, *pair, {"from": borrower})
    consents.grant(EMAIL, {"from": borrower})
    opened = notice(open_loan(), kinds.OPENED, 0, 1_200_000_000)
    midnight = (clock.now() // DAY + 1) * DAY
    opens, closes = midnight + 14 * 3600, midnight + 23 * 3600 - 15 * 60
    clock.to(opens - 1)
    refused(opened, refusals.OUTSIDE_HOURS, opens - 1, opens)
    clock.to(opens)
    allowed(opened)
    clock.to(closes - 1)
    allowed(opened)
    clock.to(closes)
    refused(opened, refusals.OUTSIDE_HOURS, closes, opens + DAY)


def test_hours_1_closed_weekdays_are_the_borrowers_own(
    policy_book, policy, publisher, loan, at, level, notice, allowed, refused, kinds, refusals
):
    # 16 February 2040 is a Thursday; from now on there is contact from Monday to Thursday only.
    limits = policy_book.contactOf(policy)
    policy_book.tighten(policy, [*limits[:3], 0b0001111, *limits[4:]], {"from": publisher})
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    at(1, -7)
    allowed(upcoming)
    now = at(1, -6)  # a Friday
    refused(upcoming, refusals.OUTSIDE_HOURS, now, now + 3 * DAY - 3 * 3600)
    now = at(1, -4, hour=18)  # the Sunday
    refused(upcoming, refusals.OUTSIDE_HOURS, now, now + 15 * 3600)
    at(1, -3)
    allowed(upcoming)


def test_terms_1_tightened_limits_hold_for_open_loans_at_once(
    policy_book, policy, publisher, loan, at, level, notice, allowed, refused, kinds, refusals
):
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    at(1, -5, hour=18)
    allowed(upcoming)
    limits = policy_book.contactOf(policy)
    policy_book.tighten(policy, [limits[0], 17 * 60, *limits[2:]], {"from": publisher})
    now = at(1, -5, hour=18)
    refused(upcoming, refusals.OUTSIDE_HOURS, now, now + 15 * 3600)


# --- CAP-1 --------------------------------------------------------------------------------------


def test_cap_1_the_gap(loan, at, level, notice, allowed, refused, serve, kinds, refusals):
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    served = at(1, -7, hour=9)
    serve(upcoming)
    now = at(1, -7, hour=13, second=-1)
    refused(upcoming, refusals.TOO_SOON, now, served + 4 * 3600)
    at(1, -7, hour=13)
    allowed(upcoming)


def test_cap_1_the_day_rolls(loan, at, level, notice, allowed, refused, serve, kinds, refusals):
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    first = at(1, -7, hour=10)
    serve(upcoming)
    at(1, -7, hour=15)
    serve(upcoming)
    now = at(1, -6, hour=10, second=-1)
    refused(upcoming, refusals.DAY_CAP, now, first + DAY)
    at(1, -6, hour=10)
    allowed(upcoming)


def test_cap_1_the_week_rolls(loan, at, level, notice, allowed, refused, serve, kinds, refusals):
    upcoming, today = notice(loan, kinds.UPCOMING, 1, level), notice(loan, kinds.DUE_TODAY, 1, level)
    first = at(1, -7, hour=12)
    for days in (-7, -6, -5):
        at(1, days)
        serve(upcoming)
    now = at(1, 0, hour=12, second=-1)
    refused(today, refusals.WEEK_CAP, now, first + 7 * DAY)
    at(1, 0, hour=12)
    allowed(today)


def test_cap_1_caps_count_all_loans_and_kinds_of_a_borrower(
    notices, open_loan, loan, at, level, notice, refused, serve, kinds, refusals, borrower
):
    other = open_loan()
    first = at(1, -1, hour=14)
    serve(notice(loan, kinds.UPCOMING, 1, level))
    second = at(1, -1, hour=18)
    serve(notice(other, kinds.UPCOMING, 1, level))
    now = at(1, 0, hour=12)
    refused(notice(other, kinds.DUE_TODAY, 1, level), refusals.DAY_CAP, now, first + DAY)
    assert notices.remindersOf(borrower) == (second, first, 0, 0, 0, 0, 0)


def test_cap_1_the_last_seven_reminders_are_remembered(
    notices, publish, open_loan, clock, ledger, notice, refused, serve, kinds, refusals, borrower
):
    often = publish(contact=Contact(per_day=7, per_week=7, gap=0, upcoming_days=31))
    loan = open_loan(policy=often)
    upcoming = notice(loan, kinds.UPCOMING, 1, ledger.loanOf(loan)["instalment"])
    clock.forward(DAY)
    times = []
    for _ in range(7):
        times.append(clock.forward(60))
        serve(upcoming)
    now = clock.forward(60)
    refused(upcoming, refusals.DAY_CAP, now, times[0] + DAY)
    assert notices.remindersOf(borrower) == tuple(reversed(times))
    now = clock.to(times[0] + DAY)
    refused(upcoming, refusals.WEEK_CAP, now, times[0] + 7 * DAY)
    clock.to(times[0] + 7 * DAY)
    serve(upcoming)
    assert notices.remindersOf(borrower) == (times[0] + 7 * DAY, *reversed(times[1:]))


# --- CAP-2 --------------------------------------------------------------------------------------


def test_cap_2_three_services_in_24_hours_about_a_loan(
    ledger, open_loan, loan, at, notice, allowed, refused, serve, kinds, refusals, borrower
):
    first = at(1, -20, hour=10)
    serve(notice(loan, kinds.OPENED, 0, 1_200_000_000))
    for amount in (11, 12):
        ledger.repay(loan, amount, {"from": borrower})
        serve(notice(loan, kinds.RECEIVED, 0, amount))
    ledger.repay(loan, 13, {"from": borrower})
    received = notice(loan, kinds.RECEIVED, 0, 13)
    now = at(1, -19, hour=10, second=-1)
    refused(received, refusals.SERVICE_CAP, now, first + DAY)
    other = open_loan()
    allowed(notice(other, kinds.OPENED, 0, 1_200_000_000))
    at(1, -19, hour=10)
    allowed(received)


def test_cap_2_services_are_no_reminders(
    notices, ledger, loan, at, level, notice, allowed, serve, kinds, borrower
):
    at(1, -3)
    ledger.repay(loan, 5, {"from": borrower})
    serve(notice(loan, kinds.OPENED, 0, 1_200_000_000))
    serve(notice(loan, kinds.RECEIVED, 0, 5))
    assert notices.remindersOf(borrower) == (0,) * 7
    upcoming = notice(loan, kinds.UPCOMING, 1, level - 5)
    allowed(upcoming)
    serve(upcoming)
    ledger.repay(loan, 5, {"from": borrower})
    # A reminder holds up no notice that serves the borrower.
    allowed(notice(loan, kinds.RECEIVED, 0, 5))


# --- what is left behind ------------------------------------------------------------------------


def test_a_served_notice_is_told_in_full(
    ledger, loan, at, level, notice, serve, kinds, lender, servicer, borrower
):
    ledger.appointServicer(servicer, {"from": lender})
    at(1, -3)
    served = serve(notice(loan, kinds.UPCOMING, 1, level), servicer)
    assert bytes(served.return_value) == notice_id(loan, kinds.UPCOMING, 1, 0)
    assert served.events["NoticeServed"] == {
        "id": served.return_value,
        "loan": loan,
        "server": servicer,
        "borrower": borrower,
        "kind": kinds.UPCOMING,
        "instalment": 1,
        "amount": level,
        "channel": EMAIL,
        "basis": 1,
        "serial": 0,
        "contentHash": "0x" + 32 * "cc",
        "together": False,
    }


def test_ids_tell_kind_basis_and_serial(notices, ledger, loan, at, level, notice, serve, kinds, borrower):
    """A life of a loan, with what was said after each notice."""

    def said():
        return notices.saidOf(loan)[0].dict()

    services = []
    wanted = {"received": 0, "next": 0, "upcoming": 0, "missed": 0, "overdue": 0, "flags": 0, "services": 0}
    assert said() == wanted

    def step(kind, instalment, amount, basis, serial, **changes):
        served = serve(notice(loan, kind, instalment, amount))
        assert bytes(served.return_value) == notice_id(loan, kind, basis, serial)
        if kind in (kinds.OPENED, kinds.RECEIVED, kinds.REPAID):
            services.insert(0, served.timestamp)
            wanted["services"] = word_of(services, 3)
        wanted.update(changes)
        assert said() == wanted

    step(kinds.OPENED, 0, 1_200_000_000, 0, 0, flags=1)
    at(1, -7)
    step(kinds.UPCOMING, 1, level, 1, 0, next=1, upcoming=1)
    at(1, -5)
    step(kinds.UPCOMING, 1, level, 1, 1, upcoming=2)
    at(1)
    step(kinds.DUE_TODAY, 1, level, 1, 0, flags=3)
    at(1, 4)
    step(kinds.OVERDUE, 1, level, 1, 0, missed=1, overdue=1)
    at(1, 6)
    step(kinds.OVERDUE, 1, level + 5_000_000, 1, 1, overdue=2)
    ledger.repay(loan, level, {"from": borrower})
    step(kinds.RECEIVED, 0, level, level, 0, received=level)
    ledger.repay(loan, 5_000_000, {"from": borrower})
    at(2, -1)
    step(kinds.RECEIVED, 0, 5_000_000, level + 5_000_000, 0, received=level + 5_000_000)
    # 5,000,000 went to the fee, yet counts as received: that much less is named, and that much is left over.
    step(kinds.UPCOMING, 2, level - 5_000_000, 2, 0, next=2, upcoming=1, flags=1)
    at(2)
    step(kinds.DUE_TODAY, 2, level - 5_000_000, 2, 0, flags=3)
    at(2, 3)
    step(kinds.OVERDUE, 2, level, 2, 0, missed=2, overdue=1)
    paid = ledger.settle(loan, 2**200, {"from": borrower}).return_value + level + 5_000_000
    step(kinds.REPAID, 0, paid, 0, 0, flags=7)
    step(kinds.RECEIVED, 0, paid - level - 5_000_000, paid, 0, received=paid)


def test_a_refused_notice_leaves_nothing_behind(
    notices, loan, level, at, notice, lender, borrower, kinds, refusals
):
    now = at(1, -5, hour=3)
    with reverts_with("Refused", refusals.OUTSIDE_HOURS, now, now + 6 * 3600):
        notices.serve(notice(loan, kinds.UPCOMING, 1, level), {"from": lender})
    assert notices.remindersOf(borrower) == (0,) * 7
    assert notices.saidOf(loan) == ((0,) * 7, (ZERO_ADDRESS, 0, 0, 0, 0))
