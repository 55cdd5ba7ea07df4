"""What the tests of the ledger's functions share."""

import pytest
from support.clock import DAY
from support.offers import Lending, sign_consent, sign_instruction
from support.oracle import due_time, local_day, months_later

COOLING_OFF = 14


@pytest.fixture(scope="module")
def record(ledger):
    """What the ledger has recorded of a loan, in plain integers."""
    return lambda loan: {
        name: int(value) if type(value).__name__ == "Wei" else value
        for name, value in ledger.loanOf(loan).dict().items()
    }


@pytest.fixture(scope="module")
def owed(record):
    """All that is still to be paid, lateness as last assessed."""

    def owed(loan):
        found = record(loan)
        return found["total"] + found["fees"] - found["paid"]

    return owed


@pytest.fixture(scope="module")
def due_at(record):
    """The last second in which an instalment is on time."""

    def due_at(loan, k):
        found = record(loan)
        return due_time(found["firstDue"], k, found["calendarOffset"], found["frequency"])

    return due_at


@pytest.fixture(scope="module")
def payoff(ledger):
    # A plain integer: Brownie's own would cut a fraction that is taken from it.
    return lambda loan: int(ledger.payoff(loan))


@pytest.fixture(scope="module")
def at_once(publish):
    """A policy that knows no cooling-off period."""
    return publish(Lending(cooling_off_days=0))


@pytest.fixture(scope="module")
def after_cooling_off(clock):
    """To the first second of the day after a loan's cooling-off period."""

    def after_cooling_off(opened, days=COOLING_OFF, offset=32):
        return clock.to((local_day(opened, offset) + days + 1) * DAY - offset * 900)

    return after_cooling_off


@pytest.fixture(scope="module")
def changed(terms, at_once, clock):
    """Terms that amend a loan: ordinary ones from today on, save for what is named."""

    def changed(loan, **changes):
        offset = changes.get("calendar_offset", 32)
        ordinary = {
            "replaces": bytes(loan),
            "policy": at_once,
            "principal": 1_000_000_000,
            "late_fee": 1_000,
            "first_due": months_later(local_day(clock.now(), offset), 1),
        }
        return terms(**{**ordinary, **changes})

    return changed


@pytest.fixture(scope="module")
def amends(ledger, key_of, lender, borrower, keeper):
    """Amends a loan: signed by both, sent by anyone."""

    def amends(terms, sender=keeper, by_lender=lender, by_borrower=borrower):
        signatures = [
            sign_consent("Amendment", terms, key_of(actor), ledger) for actor in (by_lender, by_borrower)
        ]
        return ledger.amend(terms, *signatures, {"from": sender})

    return amends


@pytest.fixture(scope="module")
def sign_assignment(ledger, key_of):
    """The new lender's signature under an assignment."""

    def sign_assignment(loan, giver, taker, nonce=0, deadline=2**40, signer=None, **elsewhere):
        values = (bytes(loan), str(giver), str(taker), nonce, deadline)
        contract = elsewhere.pop("contract", ledger)
        return sign_instruction("Assignment", values, key_of(signer or taker), contract, **elsewhere)

    return sign_assignment


@pytest.fixture(scope="module")
def sign_repayment(ledger, key_of, borrower):
    """The borrower's signature under a repayment."""

    def sign_repayment(loan, amount, nonce=0, deadline=2**40, signer=None, **elsewhere):
        values = (bytes(loan), amount, nonce, deadline)
        contract = elsewhere.pop("contract", ledger)
        return sign_instruction("Repayment", values, key_of(signer or borrower), contract, **elsewhere)

    return sign_repayment
