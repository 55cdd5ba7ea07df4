import pytest
from support.clock import DAY, HOUR, START
from support.offers import TERMS_TYPE, Frequency, Lending, Schedule, Status, loan_id, sign_consent
from support.oracle import ExactSchedule, later, local_day
from support.reverts import reverts_telling, reverts_with

PRINCIPAL = 1_200_000_000
FEE = 5_000_000
GRACE = 5 * DAY


@pytest.fixture
def loan(open_loan, at_once):
    return open_loan(policy=at_once)


@pytest.fixture
def refuses(ledger, amends):
    """Amending by these terms, signed by both, reverts with exactly this error."""

    def refuses(terms, name, *args):
        with reverts_with(name, *args):
            amends(terms)

    return refuses


# --- what changes -------------------------------------------------------------------------------


AMENDMENTS = {
    "extension": {"instalments": 24},
    "rate cut": {"rate": 60_000},
    "free of interest": {"rate": 0},
    "new due day": {"first_due": 26},
    "less principal": {"principal": 500_000_000},
    "equal principal": {"schedule": Schedule.EQUAL_PRINCIPAL},
    "interest only": {"schedule": Schedule.INTEREST_ONLY},
    "bullet": {"schedule": Schedule.BULLET},
    "quarterly": {"frequency": Frequency.QUARTERLY, "instalments": 4, "first_due": 70},
    "weekly": {"frequency": Frequency.WEEKLY, "instalments": 30},
}


@pytest.mark.parametrize("name", AMENDMENTS)
def test_a_loan_goes_on_by_other_terms(
    ledger, loan, changed, amends, record, owed, payoff, dollar, clock, lender, borrower, keeper, name
):
    clock.to(START + 20 * DAY)
    ledger.repay(loan, 1_000_000, {"from": borrower})
    clock.to(START + 20 * DAY + HOUR)
    most = payoff(loan)
    changes = dict(AMENDMENTS[name])
    principal = changes.pop("principal", most)
    first_due = local_day(clock.now(), 32)
    first_due = later(first_due, changes.get("frequency", Frequency.MONTHLY), 1) + changes.pop("first_due", 0)
    amended = changed(loan, principal=principal, first_due=first_due, **changes)
    before = [dollar.balanceOf(holder) for holder in (lender, borrower, keeper)]
    done = amends(amended)

    assert [dollar.balanceOf(holder) for holder in (lender, borrower, keeper)] == before
    new, old = record(done.return_value), record(loan)
    exact = ExactSchedule(principal, amended.rate, amended.instalments, amended.schedule, amended.frequency)
    assert bytes(done.return_value) == loan_id(amended, ledger)
    assert (old["status"], owed(loan), old["paid"]) == (Status.REPLACED, 0, 1_000_000)
    assert new["status"] == Status.ACTIVE
    assert new["amends"]
    assert (new["openedAt"], new["principal"], new["firstDue"]) == (clock.now(), principal, first_due)
    assert (new["instalment"], new["total"]) == (exact.instalment, exact.total)
    assert (new["paid"], new["fees"], new["assessed"]) == (0, 0, 0)
    assert payoff(done.return_value) == principal
    event = done.events["LoanAmended"]
    assert tuple(event["terms"]) == tuple(
        value if kind != "bytes32" else "0x" + value.hex()
        for value, (_, kind) in zip(amended, TERMS_TYPE, strict=True)
    )
    assert {field: value for field, value in event.items() if field != "terms"} == {
        "id": loan,
        "amendment": done.return_value,
        "instalment": exact.instalment,
        "total": exact.total,
        "openedAt": clock.now(),
        "assessed": 0,
        "paid": 0,
        "fees": 0,
    }
    assert "LoanOpened" not in done.events
    with reverts_with("LoanNotActive", loan, Status.REPLACED):
        ledger.repay(loan, 1, {"from": borrower})


def test_a_loan_is_amended_again_and_paid(ledger, loan, changed, amends, record, due_at, clock, borrower):
    for _ in range(3):
        amended = changed(loan, principal=int(ledger.payoff(loan)))
        loan = amends(amended).return_value
        clock.forward(10 * DAY)
    ledger.repay(loan, 2**200, {"from": borrower})
    assert record(loan)["status"] == Status.REPAID


def test_a_defaulted_loan_is_active_again(
    ledger, loan, changed, amends, due_at, record, clock, lender, payoff
):
    clock.to(due_at(loan, 1) + 91 * DAY)
    ledger.markDefault(loan, {"from": lender})
    amended = amends(changed(loan, principal=PRINCIPAL // 2)).return_value
    assert (record(loan)["status"], record(amended)["status"]) == (Status.REPLACED, Status.ACTIVE)
    assert ledger.delinquency(amended)[0] == 0


def test_terms_1_a_retired_policy_lets_its_loans_be_amended(
    loan, changed, amends, policy_book, at_once, publisher
):
    policy_book.retire(at_once, {"from": publisher})
    amends(changed(loan))


def test_cool_1_no_loan_is_amended_that_can_be_rescinded(
    ledger, terms, sign, changed, amends, refuses, policy, clock, borrower, after_cooling_off
):
    """Or a signature given with the acceptance would take the right away."""
    offered = terms(origination_fee=10_000_000)
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    last = local_day(START, 32) + 14
    for moment in (START + HOUR, START + 14 * DAY + 12 * HOUR - 1):
        clock.to(moment)
        amended = changed(loan, policy=policy)
        refuses(amended, "CoolingOffRuns", last, local_day(moment, 32))
    ledger.rescind.call(offered, {"from": borrower})
    after_cooling_off(START)
    amends(changed(loan, policy=policy))


# --- both sign ----------------------------------------------------------------------------------


def test_terms_1_both_parties_sign(ledger, loan, changed, key_of, lender, borrower, stranger, keeper, dollar):
    amended = changed(loan)
    new = loan_id(amended, ledger)

    def signed(actor, consent="Amendment", **elsewhere):
        contract = elsewhere.pop("contract", ledger)
        return sign_consent(consent, amended, key_of(actor), contract, **elsewhere)

    def forgeries(actor):
        yield signed(stranger)
        yield b""
        yield from (signed(actor, consent) for consent in ("Offer", "Acceptance"))
        yield signed(actor, contract=dollar)
        yield signed(actor, chain_id=1)
        yield sign_consent("Amendment", amended._replace(salt=b"\x77" * 32), key_of(actor), ledger)

    for forged in [*forgeries(lender), signed(borrower)]:
        with reverts_with("InvalidAmendment", new, lender):
            ledger.amend.call(amended, forged, signed(borrower), {"from": keeper})
    for forged in [*forgeries(borrower), signed(lender)]:
        with reverts_with("InvalidAmendment", new, borrower):
            ledger.amend.call(amended, signed(lender), forged, {"from": keeper})
    ledger.amend(amended, signed(lender), signed(borrower), {"from": keeper})


def test_an_amendment_ends_with_its_last_second(loan, changed, amends, refuses, clock):
    amended = changed(loan, expires=START + 100, first_due=local_day(START, 32) + 40)
    clock.to(START + 101)
    refuses(amended, "OfferExpired", START + 100, START + 101)


def test_an_amendment_is_used_once(ledger, loan, changed, amends, refuses):
    amended, other = changed(loan), changed(loan)
    new = amends(amended).return_value
    refuses(amended, "LoanExists", new)
    refuses(other, "LoanNotActive", loan, Status.REPLACED)


def test_an_amendment_of_the_old_lender_is_none(
    ledger, loan, changed, amends, refuses, sign_assignment, lender, stranger
):
    amended = changed(loan)
    ledger.assign(loan, stranger, 2**40, sign_assignment(loan, lender, stranger), {"from": lender})
    refuses(amended, "NotTheSameLoan", loan)
    amends(changed(loan, lender=stranger), by_lender=stranger)


# --- the same loan ------------------------------------------------------------------------------


def test_an_amendment_opens_no_loan(ledger, loan, changed, terms, sign, key_of, lender, borrower, keeper):
    """Its signatures lend nothing, and an offer's amend nothing."""
    amended = changed(loan)
    by_both = [sign(amended, actor, "Amendment") for actor in (lender, borrower)]
    with reverts_with("NotANewLoan", loan):
        ledger.open(amended, sign(amended), {"from": borrower})
    with reverts_with("InvalidAcceptance", loan_id(amended, ledger), borrower):
        ledger.openBySignature(amended, *by_both, {"from": keeper})
    with reverts_with("NotANewLoan", loan):
        acceptance = sign(amended, borrower, "Acceptance")
        ledger.openBySignature(amended, by_both[0], acceptance, {"from": keeper})
    fresh = terms()
    by_both = [sign(fresh, actor, "Amendment") for actor in (lender, borrower)]
    with reverts_with("InvalidOffer", loan_id(fresh, ledger), lender):
        ledger.open(fresh, by_both[0], {"from": borrower})
    with reverts_with("UnknownLoan", b"\0"):
        ledger.amend(fresh, *by_both, {"from": keeper})


def test_the_parties_and_the_policy_stay(loan, changed, amends, refuses, publish, borrower, lender, stranger):
    for change in ({"policy": publish()}, {"origination_fee": 1}):
        refuses(changed(loan, **change), "NotTheSameLoan", loan)
    with reverts_with("NotTheSameLoan", loan):
        amends(changed(loan, lender=stranger), by_lender=stranger)
    with reverts_with("NotTheSameLoan", loan):
        amends(changed(loan, borrower=stranger), by_borrower=stranger)


def test_a_loan_that_ended_is_not_amended(ledger, loan, changed, refuses, borrower):
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    refuses(changed(loan), "LoanNotActive", loan, Status.REPAID)
    refuses(changed(b"\3" * 32), "UnknownLoan", b"\3" * 32)


# --- no money from nowhere ----------------------------------------------------------------------


def test_terms_1_no_principal_is_added(ledger, loan, changed, amends, refuses, payoff, clock, borrower):
    for days in (1, 17, 31 + 10, 31 + 400):
        clock.to(START + days * DAY)
        most = payoff(loan) - int(ledger.delinquency(loan)[1])
        refuses(changed(loan, principal=most + 1), "PrincipalAbovePayoff", most + 1, most)
        ledger.repay(loan, 10_000_000, {"from": borrower})
    clock.to(START + 500 * DAY)
    most = payoff(loan) - int(ledger.delinquency(loan)[1])
    amends(changed(loan, principal=most))


def test_terms_1_what_was_paid_since_the_signature_counts(
    ledger, loan, changed, refuses, payoff, borrower, clock
):
    amended = changed(loan, principal=PRINCIPAL)
    ledger.repay(loan, 300_000_000, {"from": borrower})
    clock.to(START + DAY)
    refuses(amended, "PrincipalAbovePayoff", PRINCIPAL, payoff(loan))


def test_fees_1_unpaid_fees_are_carried_beside_the_principal(
    ledger, loan, changed, amends, refuses, record, owed, payoff, due_at, clock, borrower
):
    clock.to(due_at(loan, 2) + GRACE + 1)
    whole = payoff(loan)
    assert ledger.delinquency(loan)[1] == 2 * FEE
    capitalised = changed(loan, principal=whole, late_fee=0)
    refuses(capitalised, "PrincipalAbovePayoff", whole, whole - 2 * FEE)
    amended = changed(loan, principal=whole - 2 * FEE, late_fee=FEE)
    done = amends(amended)
    new = done.return_value
    assert done.events["InstalmentMissed"]["fees"] == done.events["LoanAmended"]["fees"] == 2 * FEE
    assert (record(new)["fees"], record(loan)["fees"]) == (2 * FEE, 0)
    # Interest is on the principal alone.
    exact = ExactSchedule(whole - 2 * FEE, 120_000, 12)
    assert record(new)["total"] == exact.total
    assert owed(new) == exact.total + 2 * FEE
    # What was overdue is no more; and no instalment is charged a second time.
    assert ledger.delinquency(new)[:2] == (0, 2 * FEE)
    clock.to(due_at(new, 1) + GRACE)
    assert ledger.delinquency(new)[1] == 2 * FEE
    clock.to(due_at(new, 1) + GRACE + 1)
    assert ledger.delinquency(new)[1] == 3 * FEE


def test_fees_1_paid_fees_stay_with_the_old_loan(
    ledger, loan, changed, amends, record, owed, due_at, clock, borrower
):
    clock.to(due_at(loan, 1) + GRACE + 1)
    level = record(loan)["instalment"]
    ledger.repay(loan, level + FEE - 1, {"from": borrower})
    new = amends(changed(loan)).return_value
    old = record(loan)
    assert (old["paid"], old["total"], old["fees"]) == (level + FEE - 1, level, FEE - 1)
    assert record(new)["fees"] == 1


def test_a_borrower_far_ahead_has_nothing_to_amend(ledger, loan, changed, refuses, record, borrower):
    ledger.repay(loan, record(loan)["total"] - 1, {"from": borrower})
    refuses(changed(loan, principal=1), "PrincipalAbovePayoff", 1, 0)


# --- the policy's limits ------------------------------------------------------------------------


def test_usury_1_an_amendment_raises_no_rate(loan, changed, refuses):
    # The origination fee may have brought the loan to the cap already.
    for change in ({}, {"schedule": Schedule.BULLET}, {"frequency": Frequency.WEEKLY}):
        refuses(changed(loan, rate=120_001, **change), "RateRaised", 120_001, 120_000)


def test_usury_1_an_amendment_keeps_the_cap(loan, changed, amends):
    # Of one unit, the interest is rounded up to more than the cap lets it cost.
    with reverts_telling("AprAboveCap") as told:
        amends(changed(loan, principal=1, instalments=1, late_fee=0))
    assert told[1:] == [1, 240_000]


def test_fees_1_an_amendment_keeps_fee_and_grace(loan, changed, refuses):
    level = ExactSchedule(1_000_000_000, 120_000, 12).instalment
    refuses(changed(loan, late_fee=level), "LateFeeAboveCap", level, level * 500 // 10_000)
    refuses(changed(loan, grace_days=2), "GraceTooShort", 2, 3)


def test_an_amendment_keeps_the_calendar(loan, changed, refuses):
    amended = changed(loan)
    early = amended._replace(first_due=amended.first_due - 1)
    refuses(early, "FirstDueTooEarly", early.first_due, amended.first_due)


def test_amounts_fit_with_the_fees_owed(ledger, publish, open_loan, changed, amends, due_at, clock):
    generous = publish(Lending(late_fee_cap=10_000, cooling_off_days=0))
    loan = open_loan(late_fee=10**8, policy=generous)
    clock.to(due_at(loan, 12) + 30 * DAY)
    # Beside twelve fees of the old loan, those of the new must fit.
    amended = changed(loan, policy=generous, late_fee=0)
    assert ledger.loanOf(amends(amended).return_value)["fees"] == 12 * 10**8
