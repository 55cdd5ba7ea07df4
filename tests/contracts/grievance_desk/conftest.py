"""Policies by what rests under them, and what the desk has recorded."""

import pytest
from support.offers import Contact


@pytest.fixture(scope="module")
def restful(publish):
    """A policy by which everything rests."""
    return publish(contact=Contact(rest_all_loans=0b111, rest_fees=0b111))


@pytest.fixture(scope="module")
def rests(desk):
    """Until when reminders rest about a loan of a borrower, and its fees."""

    def rests(loan, borrower):
        return desk.restsUntil(loan, borrower), desk.feesRestUntil(loan)

    return rests
