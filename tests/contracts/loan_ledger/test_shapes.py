"""LEDGER-1 and FEES-1 for every shape of schedule at every frequency, against the exact schedule."""

from fractions import Fraction

import pytest
from support.clock import DAY
from support.offers import Frequency, Lending, Schedule, Status
from support.oracle import EagerLoan, ExactSchedule, due_time, later, local_day

HAIR = Fraction(1, 10**6)


@pytest.fixture(scope="module")
def generous(publish):
    return publish(Lending(apr_cap=20_000_000, min_grace_days=0))


@pytest.fixture(scope="module")
def rows_of(ledger):
    return lambda loan: [
        ledger.instalmentOf(loan, k) for k in range(1, ledger.loanOf(loan)["instalments"] + 1)
    ]


@pytest.mark.parametrize("frequency", Frequency)
@pytest.mark.parametrize("schedule", Schedule)
def test_ledger_1_every_shape_closes_at_zero_at_every_frequency(
    ledger, rows_of, record, owed, terms, sign, generous, clock, borrower, payoff, schedule, frequency
):
    principal, rate, n = 987_654_321, 183_000, 5
    # The first period is nine days longer than an interval, and bears no more interest for it.
    first = later(local_day(clock.now(), 32), frequency, 1) + 9
    offered = terms(
        schedule=schedule, frequency=frequency, principal=principal, rate=rate, instalments=n,
        first_due=first, late_fee=0, grace_days=0, policy=generous,
    )  # fmt: skip
    opened = ledger.open(offered, sign(offered), {"from": borrower})
    loan, exact = opened.return_value, ExactSchedule(principal, rate, n, schedule, frequency)
    rows = rows_of(loan)

    assert [int(row["amount"]) for row in rows] == exact.amounts
    assert record(loan)["instalment"] == exact.instalment
    assert record(loan)["total"] == exact.total == opened.events["LoanOpened"]["total"]
    assert sum(row["principal"] for row in rows) == principal
    start = opened.timestamp
    for k, row in enumerate(rows, 1):
        assert row["dueAt"] == due_time(first, k, 32, frequency)
        assert row["amount"] == row["principal"] + row["interest"]
        # Rounded down once. Some rates have endless digits, so a whole number may be missed by a hair.
        assert -HAIR < exact.balances[k] - int(row["balance"]) < 1 + HAIR
        # In the middle of the period: what fell due, and the balance with its interest so far.
        with clock.glimpse((start + row["dueAt"]) // 2):
            now, length = clock.now(), int(row["dueAt"]) - start
            wanted = sum(exact.amounts[: k - 1]) + exact.balances[k - 1]
            wanted += exact.accrued(k - 1, now - start, length)
            assert -1 <= payoff(loan) - wanted < 2
        start = int(row["dueAt"])

    for k, row in enumerate(rows, 1):
        clock.to(row["dueAt"])
        assert ledger.delinquency(loan)[0] == 0
        position = ledger.positionOf(loan)
        if schedule == Schedule.BULLET:
            assert (position["next"], position["nextAmount"]) == (n, exact.total)
            assert position["nextDueDay"] == later(first, frequency, n - 1)
        else:
            assert (position["next"], position["nextAmount"]) == (k, row["amount"])
        if row["amount"]:
            ledger.repay(loan, row["amount"], {"from": borrower})
    assert (record(loan)["status"], owed(loan)) == (Status.REPAID, 0)


@pytest.mark.parametrize("frequency", Frequency)
@pytest.mark.parametrize("schedule", Schedule)
def test_fees_1_every_shape_is_missed_once_an_instalment(
    ledger, rows_of, open_loan, generous, clock, keeper, schedule, frequency
):
    loan = open_loan(
        schedule=schedule, frequency=frequency, instalments=3, grace_days=2, late_fee=77, policy=generous,
        first_due=later(local_day(clock.now(), 32), frequency, 1),
    )  # fmt: skip
    rows = [(int(row["dueAt"]), int(row["amount"])) for row in rows_of(loan)]
    eager = EagerLoan(rows, 2, 77)
    for due_at, _ in rows:
        for moment in (due_at, due_at + 1, due_at + 2 * DAY, due_at + 2 * DAY + 1):
            with clock.glimpse(moment):
                assert ledger.delinquency(loan)[:2] == eager.arrears(moment)
    clock.to(rows[-1][0] + 30 * DAY)
    flagged = ledger.flagMissed(loan, {"from": keeper}).events["InstalmentMissed"]
    # A bullet has but one instalment, its last.
    assert (flagged["first"], flagged["last"]) == ((3, 3) if schedule == Schedule.BULLET else (1, 3))
    assert flagged["fees"] == eager.fees(clock.now())
