import pytest
from support.offers import Lending
from support.oracle import ExactSchedule, local_day
from support.reverts import reverts_with

EXACT = ExactSchedule(1_200_000_000, 120_000, 12)
LOAN = b"\7" * 32


def test_unknown_policies_admit_nothing(policy_book, terms):
    for view in (policy_book.admit, policy_book.admitDerived):
        with reverts_with("UnknownPolicy", 9):
            view(terms(policy=9), 0)
    with reverts_with("UnknownPolicy", 9):
        policy_book.daysOf(9)


def test_terms_come_to_instalment_and_total(policy_book, terms):
    assert policy_book.admit(terms(), 0) == (EXACT.instalment, EXACT.total)
    assert policy_book.admitDerived(terms(), 0) == (EXACT.instalment, EXACT.total, 5_000_000)


def test_a_retired_policy_admits_what_replaces_a_loan(policy_book, policy, publisher, terms):
    policy_book.retire(policy, {"from": publisher})
    with reverts_with("PolicyIsRetired", policy):
        policy_book.admit(terms(), 0)
    assert policy_book.admit(terms(replaces=LOAN), 0) == (EXACT.instalment, EXACT.total)
    assert policy_book.admitDerived(terms(replaces=LOAN), 0)[:2] == (EXACT.instalment, EXACT.total)


def test_fees_1_a_derived_loan_has_a_late_fee_within_the_share(policy_book, terms):
    most = EXACT.instalment * 500 // 10_000
    for fee, admitted in ((0, 0), (most, most), (most + 1, most), (2**80 - 1, most)):
        assert policy_book.admitDerived(terms(late_fee=fee), 0)[2] == admitted


def test_a_derived_loan_keeps_a_price_that_was_admitted(policy_book, terms, clock):
    """Rounded anew, the rest of a loan may seem to cost a hair more than the cap."""
    exact = ExactSchedule(1_200_000_000, 240_000, 12)
    derived = terms(rate=240_000, first_due=local_day(clock.now(), 32) - 40, replaces=LOAN)
    assert policy_book.admitDerived(derived, 0)[:2] == (exact.instalment, exact.total)


@pytest.mark.parametrize("offset", [-48, 0, 56])
def test_a_derived_loan_is_due_within_a_year_and_a_day(policy_book, terms, clock, offset):
    latest = local_day(clock.now(), offset) + 366
    policy_book.admitDerived(terms(first_due=latest, calendar_offset=offset), 0)
    with reverts_with("FirstDueTooLate", latest + 1, latest):
        policy_book.admitDerived(terms(first_due=latest + 1, calendar_offset=offset), 0)


def test_amounts_fit_with_the_fees_owed(policy_book, terms):
    most = 2**80 - 1
    for view in (policy_book.admit, policy_book.admitDerived):
        owed = most - EXACT.total - 12 * 5_000_000
        view(terms(), owed)
        with reverts_with("AmountTooLarge", most + 1, most):
            view(terms(), owed + 1)


def test_two_limits_are_told_alone(policy_book, publish):
    policy = publish(Lending(cooling_off_days=21, default_days=400))
    assert policy_book.daysOf(policy) == (21, 400)
