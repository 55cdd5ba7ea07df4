import pytest
from support.clock import DAY, HOUR, START, utc
from support.offers import ZERO_HASH, Frequency, Lending, Schedule, Status, loan_id
from support.oracle import ExactSchedule, due_time, later, local_day
from support.reverts import reverts_with

PRINCIPAL, RATE, N = 1_200_000_000, 120_000, 6
FEE = 5_000_000
GRACE = 5 * DAY
SHAPES = [
    (Schedule.LEVEL, Frequency.MONTHLY),
    (Schedule.LEVEL, Frequency.FOUR_WEEKLY),
    (Schedule.EQUAL_PRINCIPAL, Frequency.WEEKLY),
    (Schedule.INTEREST_ONLY, Frequency.FORTNIGHTLY),
    (Schedule.BULLET, Frequency.QUARTERLY),
]


@pytest.fixture
def loan(open_loan, at_once):
    return open_loan(policy=at_once, instalments=N)


@pytest.fixture
def pay(ledger, borrower):
    return lambda loan, amount: ledger.repay(loan, amount, {"from": borrower})


@pytest.fixture
def defer(ledger, lender):
    return lambda loan, intervals=1: ledger.defer(loan, intervals, {"from": lender})


@pytest.fixture
def derived(terms, record, at_once, clock):
    """The terms by which a loan goes on after so many instalments, so many intervals later."""

    def derived(loan, done, intervals, principal, expires):
        old = record(loan)
        return terms(
            principal=principal, late_fee=old["lateFee"], rate=old["rate"],
            instalments=old["instalments"] - done,
            first_due=later(old["firstDue"], old["frequency"], done + intervals),
            schedule=old["schedule"], frequency=old["frequency"], policy=at_once,
            expires=expires, agreement_hash=ZERO_HASH, replaces=bytes(loan), salt=ZERO_HASH,
        )  # fmt: skip

    return derived


# --- who, and when ------------------------------------------------------------------------------


def test_only_the_lender_defers(ledger, loan, lender, borrower, servicer, stranger):
    ledger.appointServicer(servicer, {"from": lender})
    for actor in (borrower, servicer, stranger):
        with reverts_with("NotLender", actor, lender):
            ledger.defer(loan, 1, {"from": actor})


def test_there_is_something_to_defer(ledger, loan, defer, pay, clock, due_at, record):
    with reverts_with("UnknownLoan", b"\3" * 32):
        defer(b"\3" * 32)
    with reverts_with("NothingToDefer", loan):
        defer(loan, 0)
    # All instalments paid, late fees are left.
    clock.to(due_at(loan, N) + 1)
    pay(loan, record(loan)["total"])
    assert ledger.delinquency(loan)[:2] == (0, (N - 1) * FEE)
    with reverts_with("NothingToDefer", loan):
        defer(loan)
    pay(loan, N * FEE)
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        defer(loan)


def test_cool_1_deferring_takes_no_right_to_rescind(ledger, open_loan, defer, clock, after_cooling_off):
    loan = open_loan()
    last = local_day(START, 32) + 14
    for moment in (START + HOUR, START + 14 * DAY + 12 * HOUR - 1):
        clock.to(moment)
        with reverts_with("CoolingOffRuns", last, local_day(moment, 32)):
            defer(loan)
    after_cooling_off(START)
    defer(loan)


def test_terms_1_no_due_day_is_put_off_for_years(loan, defer, clock):
    # Nor step by step, until the due day no longer fits its number and begins anew.
    loan = defer(loan, 11).return_value
    first = later(local_day(START, 32), Frequency.MONTHLY, 13)
    latest = local_day(clock.now(), 32) + 366
    for intervals in (1, 2, 255):
        first = later(local_day(START, 32), Frequency.MONTHLY, 12 + intervals)
        with reverts_with("FirstDueTooLate", first, latest):
            defer(loan, intervals)


# --- what becomes of the loan -------------------------------------------------------------------


@pytest.mark.parametrize("intervals", [1, 3])
@pytest.mark.parametrize(("schedule", "frequency"), SHAPES)
def test_terms_1_unpaid_instalments_fall_due_later_free_of_interest(
    ledger, open_loan, defer, derived, at_once, record, owed, payoff, pay, clock, dollar, lender, borrower,
    schedule, frequency, intervals,
):  # fmt: skip
    first = later(local_day(START, 32), frequency, 1)
    loan = open_loan(
        policy=at_once, schedule=schedule, frequency=frequency, rate=RATE, instalments=N, first_due=first,
        late_fee=1_000,
    )  # fmt: skip
    exact = ExactSchedule(PRINCIPAL, RATE, N, schedule, frequency)
    done = 0 if schedule == Schedule.BULLET else 2
    for k in (1, 2):
        clock.to(due_time(first, k, 32, frequency))
        if exact.amounts[k - 1]:
            pay(loan, exact.amounts[k - 1])
    now = clock.to(due_time(first, 2, 32, frequency) + 3 * DAY)
    before = {"owed": owed(loan), "payoff": payoff(loan), "lender": dollar.balanceOf(lender)}
    deferred = defer(loan, intervals)
    new, found = deferred.return_value, record(deferred.return_value)

    rest = ExactSchedule(exact.floors[done], RATE, N - done, schedule, frequency)
    assert bytes(new) == loan_id(derived(loan, done, intervals, exact.floors[done], now), ledger)
    assert (found["instalment"], found["total"], found["status"]) == (
        rest.instalment,
        rest.total,
        Status.ACTIVE,
    )
    for k in range(1, N - done + 1):
        due = due_time(first, done + k + intervals, 32, frequency)
        assert ledger.instalmentOf(new, k)["dueAt"] == due
    assert found["openedAt"] == (due_time(first, 2, 32, frequency) if done else record(loan)["openedAt"])
    assert (found["fees"], found["assessed"], found["lateFee"]) == (0, 0, 1_000)
    # It costs no more, now or later; and no token moved.
    assert owed(new) <= before["owed"]
    assert payoff(new) <= before["payoff"]
    assert (record(loan)["status"], owed(loan)) == (Status.REPLACED, 0)
    assert dollar.balanceOf(lender) == before["lender"]
    # The interest of one period is spread over the longer one; that of a bullet's first may be over by now.
    end = due_time(found["firstDue"], 1, 32, frequency)
    if end > now:
        with clock.glimpse(end):
            assert -1 <= payoff(new) - (rest.balances[0] * (1 + rest.r) - found["paid"]) < 2
    assert ledger.delinquency(new)[0] == 0
    event = deferred.events["LoanAmended"]
    assert (event["id"], event["amendment"]) == (loan, new)
    assert (event["openedAt"], event["paid"]) == (found["openedAt"], found["paid"])
    with reverts_with("LoanNotActive", loan, Status.REPLACED):
        pay(loan, 1)


@pytest.mark.parametrize("schedule", list(Schedule))
@pytest.mark.parametrize("passed", [1, 11, 23])
def test_terms_1_rounding_makes_no_loan_dearer(
    ledger, open_loan, defer, at_once, owed, record, pay, clock, due_at, schedule, passed
):
    """Instalments are rounded up anew; on small amounts over long terms that is many units."""
    loan = open_loan(
        policy=at_once, schedule=schedule, principal=50_000, rate=230_000, instalments=120, late_fee=0
    )
    for _ in range(2):
        clock.to(due_at(loan, passed) + 1)
        pay(loan, sum(ledger.delinquency(loan)[:2]) or 1)
        before, earlier = owed(loan), int(ledger.payoff(loan))
        loan = defer(loan).return_value
        assert owed(loan) <= before
        assert ledger.payoff(loan) <= earlier


def test_a_clamped_due_day_comes_a_day_later(open_loan, at_once, defer, clock, record, pay, ledger):
    # Due on the 31st: 31 January, 28 February, 31 March.
    clock.to(utc(2040, 12, 31, 4))
    loan = open_loan(policy=at_once, instalments=N)
    january = record(loan)["firstDue"]
    new = defer(loan).return_value
    assert record(new)["firstDue"] == later(january, Frequency.MONTHLY, 1) + 1
    for k in range(1, N + 1):
        assert 0 <= ledger.instalmentOf(new, k)["dueAt"] - due_time(january, k + 1, 32) <= DAY


def test_money_paid_ahead_counts_on_the_other_loan(ledger, loan, defer, pay, clock, due_at, record, owed):
    level = record(loan)["instalment"]
    clock.to(due_at(loan, 1))
    pay(loan, 3 * level + 7)
    clock.to(due_at(loan, 1) + DAY)
    before = owed(loan)
    new = defer(loan, 2).return_value
    assert (record(loan)["paid"], record(new)["paid"]) == (level, 2 * level + 7)
    assert owed(new) in (before, before - 1)
    position = ledger.positionOf(new)
    assert (position["firstUnpaid"], position["next"], position["nextAmount"]) == (3, 1, 0)


def test_a_loan_paid_ahead_to_the_last_units_is_repaid_by_the_rounding(
    ledger, open_loan, publish, defer, pay, clock, due_at, record, owed
):
    """What is left is rounded anew, here to less than what was paid ahead of it."""
    generous = publish(Lending(apr_cap=1_000_000, cooling_off_days=0))
    loan = open_loan(policy=generous, principal=50_000, rate=240_000, instalments=120, late_fee=0)
    clock.to(due_at(loan, 2) + 1)
    pay(loan, record(loan)["total"] - 5)
    event = defer(loan).events["LoanAmended"]
    new = event["amendment"]
    assert event["paid"] == event["total"]
    assert (record(new)["status"], owed(new), owed(loan)) == (Status.REPAID, 0, 0)
    assert ledger.delinquency(new) == (0, 0, 0, 0)


def test_a_part_of_an_instalment_counts_on_the_other_loan(ledger, loan, defer, pay, clock, due_at, record):
    level = record(loan)["instalment"]
    pay(loan, level // 2)
    clock.to(due_at(loan, 2) + 1)
    new = defer(loan, 2).return_value
    assert (record(loan)["paid"], record(new)["paid"]) == (0, level // 2)
    assert ledger.delinquency(new)[0] == 0
    clock.to(due_at(new, 1) + 1)
    assert ledger.delinquency(new)[0] == record(new)["instalment"] - level // 2


# --- fees ---------------------------------------------------------------------------------------


def test_fees_1_what_was_missed_is_not_charged_again(
    ledger, loan, defer, clock, due_at, record, owed, keeper
):
    clock.to(due_at(loan, 2) + GRACE + 1)
    before = owed(loan) + 2 * FEE
    deferred = defer(loan, 3)
    new = deferred.return_value
    assert deferred.events["InstalmentMissed"]["fees"] == deferred.events["LoanAmended"]["fees"] == 2 * FEE
    assert deferred.events["LoanAmended"]["assessed"] == record(new)["assessed"] == 2
    assert (record(loan)["fees"], record(new)["fees"], owed(new)) == (0, 2 * FEE, before)
    assert ledger.delinquency(new)[:3] == (0, 2 * FEE, 1)
    # Missed once more, the first two cost nothing; the third does.
    clock.to(due_at(new, 2) + GRACE + 1)
    assert ledger.delinquency(new)[1] == 2 * FEE
    with reverts_with("NothingMissed", new, 2):
        ledger.flagMissed(new, {"from": keeper})
    clock.to(due_at(new, 3) + GRACE + 1)
    assert ledger.delinquency(new)[1] == 3 * FEE


def test_fees_1_a_lender_who_defers_again_and_again_charges_each_instalment_once(
    ledger, loan, defer, clock, due_at, record
):
    for round_ in range(1, 5):
        clock.to(due_at(loan, 1) + GRACE + 1)
        loan = defer(loan).return_value
        # Of the six instalments the first alone has been due.
        assert (record(loan)["fees"], record(loan)["assessed"]) == (FEE, 1), round_
    clock.to(due_at(loan, N) + 900 * DAY)
    assert ledger.delinquency(loan)[1] == N * FEE


def test_fees_1_what_was_missed_and_paid_since_is_done_with(ledger, loan, defer, pay, clock, due_at, record):
    level = record(loan)["instalment"]
    clock.to(due_at(loan, 2) + GRACE + 1)
    pay(loan, level + 9)
    new = defer(loan).return_value
    # The second was missed, and is the other loan's first.
    assert (record(new)["instalments"], record(new)["assessed"], record(new)["paid"]) == (N - 1, 1, 9)
    assert record(new)["fees"] == 2 * FEE


def test_fees_1_paid_fees_stay_with_the_old_loan(ledger, loan, defer, pay, clock, due_at, record):
    level = record(loan)["instalment"]
    clock.to(due_at(loan, 1) + GRACE + 1)
    pay(loan, level + FEE - 3)
    new = defer(loan).return_value
    assert (record(loan)["paid"], record(loan)["fees"]) == (level + FEE - 3, FEE - 3)
    assert (record(new)["paid"], record(new)["fees"]) == (0, 3)


def test_an_instalment_in_grace_moves_without_a_fee(ledger, loan, defer, clock, due_at, record):
    clock.to(due_at(loan, 1) + GRACE)
    new = defer(loan).return_value
    assert (record(new)["fees"], record(new)["assessed"]) == (0, 0)
    clock.to(due_at(new, 1) + GRACE + 1)
    assert ledger.delinquency(new)[1] == FEE


def test_too_few_intervals_leave_the_rest_overdue(ledger, loan, defer, clock, due_at, record):
    clock.to(due_at(loan, 3) + GRACE + 1)
    new = defer(loan).return_value
    level = record(new)["instalment"]
    assert ledger.delinquency(new)[:3] == (2 * level, 3 * FEE, 1)


# --- and else -----------------------------------------------------------------------------------


def test_a_deferred_loan_is_in_no_default(ledger, loan, defer, clock, due_at, record, lender):
    clock.to(due_at(loan, 1) + 90 * DAY)
    ledger.markDefault(loan, {"from": lender})
    new = defer(loan, 6).return_value
    assert record(new)["status"] == Status.ACTIVE


def test_cancelled_terms_stop_no_deferral(ledger, loan, derived, lender, clock, record):
    """The ledger's own terms are no offer: who foresees and cancels them changes nothing."""
    now = clock.now() + HOUR
    foreseen = derived(loan, 0, 1, PRINCIPAL, now)
    clock.to(now)
    calls = [ledger.cancelOffer.encode_input(foreseen), ledger.defer.encode_input(loan, 1)]
    done = ledger.multicall(calls, {"from": lender})
    new = done.events["LoanAmended"]["amendment"]
    assert bytes(new) == bytes(done.events["OfferCancelled"]["id"])
    assert record(new)["status"] == Status.ACTIVE


def test_a_payment_signed_for_the_old_loan_is_not_taken(
    ledger, loan, defer, sign_repayment, keeper, borrower
):
    signature = sign_repayment(loan, 100)
    defer(loan)
    with reverts_with("LoanNotActive", loan, Status.REPLACED):
        ledger.repayBySignature(loan, 100, 2**40, signature, {"from": keeper})
    assert ledger.nonces(borrower) == 0


def test_ledger_1_deferred_and_paid_as_scheduled_it_closes_at_zero(
    ledger, loan, defer, pay, clock, due_at, record, owed
):
    for _ in range(3):
        clock.to(due_at(loan, 1))
        pay(loan, record(loan)["instalment"])
        clock.to(due_at(loan, 1) + DAY)
        loan = defer(loan).return_value
    for k in range(1, record(loan)["instalments"] + 1):
        clock.to(due_at(loan, k))
        pay(loan, ledger.instalmentOf(loan, k)["amount"])
    assert (record(loan)["status"], owed(loan), record(loan)["fees"]) == (Status.REPAID, 0, 0)
