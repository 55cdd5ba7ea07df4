import pytest

EMAIL = 0


@pytest.fixture
def stands(notices, lender, refusals):
    def stands(notice, reason=refusals.NONE, actual=0, required=0, server=None):
        assert notices.standing(notice, server or lender) == (reason, actual, required)

    return stands


@pytest.fixture
def served(loan, level, at, notice, serve, kinds):
    """An upcoming notice, served three days before."""
    at(1, -3)
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    serve(upcoming)
    return upcoming


def test_what_was_just_served_stands(served, stands, refused, at, refusals):
    now = at(1, -3, second=1)
    refused(served, refusals.TOO_SOON, now, now - 1 + 4 * 3600)
    stands(served)


def test_hours_1_the_lead_time_may_be_used_but_no_more(served, stands, at, refusals):
    at(1, -3, hour=19, second=-1)
    stands(served)
    now = at(1, -3, hour=19)
    stands(served, refusals.OUTSIDE_HOURS, now, now + 14 * 3600)
    at(1, -2, hour=9)
    stands(served)


def test_consent_1_what_lost_its_consent_stands_no_more(served, stands, consents, borrower, refusals):
    consents.revoke(EMAIL, {"from": borrower})
    stands(served, refusals.NO_CONSENT, EMAIL)
    consents.cease({"from": borrower})
    stands(served, refusals.CEASED)


def test_consent_1_another_contact_has_not_consented(served, stands, consents, borrower, refusals):
    consents.register(EMAIL, b"\xc9" * 32, 32, 32, {"from": borrower})
    stands(served, refusals.NO_CONSENT, EMAIL)


def test_basis_1_what_was_paid_stands_no_more(served, stands, ledger, loan, level, borrower, refusals):
    ledger.repay(loan, 1, {"from": borrower})
    stands(served, refusals.WRONG_AMOUNT, level, level - 1)
    ledger.repay(loan, level - 1, {"from": borrower})
    stands(served, refusals.NO_BASIS, 0, 1)
    ledger.settle(loan, 2**200, {"from": borrower})
    stands(served, refusals.NO_BASIS, 0, 1)


def test_basis_1_its_day_passes(served, stands, at, level, ledger, loan, refusals):
    due = ledger.loanOf(loan)["firstDue"]
    at(1)
    stands(served, refusals.TOO_LATE, due, due - 1)
    at(1, 1)
    stands(served, refusals.NO_BASIS, level, 0)


def test_basis_1_an_amount_that_grew_is_not_the_amount_said(
    stands, loan, level, at, notice, serve, kinds, refusals
):
    at(1, 5)
    overdue = notice(loan, kinds.OVERDUE, 1, level)
    serve(overdue)
    at(1, 5, hour=18)
    stands(overdue)
    at(1, 6)
    stands(overdue, refusals.WRONG_AMOUNT, level, level + 5_000_000)


def test_server_1_a_dismissed_servicers_notices_stand_no_more(
    stands, ledger, loan, notice, serve, kinds, refusals, lender, servicer, keeper
):
    ledger.appointServicer(servicer, {"from": lender})
    opened = notice(loan, kinds.OPENED, 0, 1_200_000_000)
    serve(opened, servicer)
    stands(opened, server=servicer)
    ledger.appointServicer(keeper, {"from": lender})
    stands(opened, refusals.NOT_SERVER, int(str(servicer), 16), int(str(lender), 16), server=servicer)


def test_what_was_said_once_still_stands(stands, ledger, loan, level, at, notice, serve, kinds, borrower):
    at(1, hour=10)
    opened, today = notice(loan, kinds.OPENED, 0, 1_200_000_000), notice(loan, kinds.DUE_TODAY, 1, level)
    for said in (opened, today):
        serve(said)
        stands(said)
    taken = ledger.repay(loan, 2**200, {"from": borrower}).return_value
    repaid = notice(loan, kinds.REPAID, 0, taken)
    serve(repaid)
    stands(repaid)


def test_a_payment_stays_received_when_another_comes(stands, ledger, loan, notice, serve, kinds, borrower):
    ledger.repay(loan, 30, {"from": borrower})
    received = notice(loan, kinds.RECEIVED, 0, 30)
    serve(received)
    ledger.repay(loan, 12, {"from": borrower})
    stands(received)


def test_cap_2_a_notice_that_serves_the_borrower_waits_for_the_window_too(
    stands, ledger, loan, at, notice, serve, kinds, borrower, refusals
):
    at(1, -3, hour=18)
    ledger.repay(loan, 30, {"from": borrower})
    received = notice(loan, kinds.RECEIVED, 0, 30)
    serve(received)
    now = at(1, -3, hour=20)
    stands(received, refusals.OUTSIDE_HOURS, now, now + 13 * 3600)
