"""LEDGER-1 and FEES-1 against an oracle in exact fractions that keeps every instalment by itself."""

from fractions import Fraction
from math import ceil
from random import Random

import brownie
import pytest
from support.clock import DAY, HOUR
from support.offers import Lending, Status
from support.oracle import EagerLoan, ExactSchedule, due_time

# Principal, rate, instalments, late fee: everyday loans, the smallest, the longest, the dearest.
LOANS = [
    (120_000_00, 112_200, 12, 50_00),
    (5_000_000_000, 240_000, 24, 1_000_000),
    (1_000_00, 0, 7, 1_00),
    (100, 0, 3, 0),
    (13, 240_000, 3, 0),
    (99_999_999, 1, 5, 100_000),
    (1_000_000_000, 120_000, 1, 0),
    (7_777_777_777, 10_000_000, 19, 0),
]
HAIR = Fraction(1, 10**6)
LONG_LOANS = [(350_000_00, 50_000, 360), (10**14 + 7, 319_999, 600), (1_000_000_000_000, 0, 600)]


@pytest.fixture(scope="module", params=[2, 6], ids=["two decimals", "six decimals"])
def dollar(request, publisher):
    return brownie.TestDollar.deploy(request.param, {"from": publisher})


@pytest.fixture(scope="module")
def generous(publish):
    return publish(Lending(apr_cap=20_000_000, min_grace_days=0))


def rows_of(ledger, loan):
    return [ledger.instalmentOf(loan, k) for k in range(1, ledger.loanOf(loan)["instalments"] + 1)]


def is_floor(balance, exact):
    """Rounded down once. Some rates have endless digits, so a whole number may be missed by a hair."""
    return -HAIR < exact - int(balance) < 1 + HAIR


def interest_rounded_up(balance, rate):
    return ceil(Fraction(int(balance) * rate, 12_000_000))


@pytest.mark.parametrize(("principal", "rate", "instalments", "late_fee"), LOANS)
def test_ledger_1_paid_as_scheduled_a_loan_closes_at_exactly_zero(
    ledger, open_loan, generous, clock, borrower, lender, dollar, principal, rate, instalments, late_fee
):
    # A coarse fee is refused where instalments are small; 5 % of an instalment is the policy's cap.
    loan = open_loan(
        principal=principal, rate=rate, instalments=instalments, late_fee=late_fee, policy=generous
    )
    rows, record = rows_of(ledger, loan), ledger.loanOf(loan)
    exact = ExactSchedule(principal, rate, instalments)

    assert record["instalment"] == exact.instalment
    assert sum(row["principal"] for row in rows) == principal
    assert sum(row["amount"] for row in rows) == record["total"]
    for k, row in enumerate(rows, 1):
        assert row["dueAt"] == due_time(record["firstDue"], k, 32)
        assert row["amount"] == row["principal"] + row["interest"]
        assert is_floor(row["balance"], exact.balances[k])
        interest = exact.balances[k - 1] * Fraction(rate, 12_000_000)
        assert abs(int(row["interest"]) - interest) < 2
        assert row["amount"] == exact.instalment or k == instalments
    assert 0 < rows[-1]["amount"] <= exact.instalment
    assert rows[-1]["interest"] == interest_rounded_up(rows[-1]["principal"], rate)
    assert rows[-1]["balance"] == 0

    before = dollar.balanceOf(lender)
    for k, row in enumerate(rows, 1):
        # On time, by turns long before, in the last second, and in the last second of grace.
        clock.to((row["dueAt"] - DAY, row["dueAt"], row["dueAt"] + 5 * DAY)[k % 3])
        payment = ledger.repay(loan, row["amount"], {"from": borrower})
        assert payment.return_value == row["amount"]
        assert ("LoanRepaid" in payment.events) == (k == instalments)
    closed = ledger.loanOf(loan)
    assert (closed["status"], closed["paid"], closed["fees"]) == (Status.REPAID, record["total"], 0)
    assert dollar.balanceOf(lender) - before == record["total"]


@pytest.mark.parametrize(("principal", "rate", "instalments"), LONG_LOANS)
def test_ledger_1_the_parts_of_a_long_schedule_sum_exactly(
    ledger, open_loan, generous, principal, rate, instalments
):
    loan = open_loan(principal=principal, rate=rate, instalments=instalments, late_fee=0, policy=generous)
    record, exact = ledger.loanOf(loan), ExactSchedule(principal, rate, instalments)
    assert record["instalment"] == exact.instalment
    # Every balance stands in two neighbouring rows, so rows picked at random find any that does not fit.
    ends = {1, 2, instalments - 1, instalments}
    for k in sorted(ends | set(Random(instalments).sample(range(1, instalments), 8))):
        row = ledger.instalmentOf(loan, k)
        assert is_floor(row["balance"], exact.balances[k])
        assert is_floor(row["balance"] + row["principal"], exact.balances[k - 1])
        assert row["interest"] + row["principal"] == row["amount"]
    last = ledger.instalmentOf(loan, instalments)
    assert record["total"] == (instalments - 1) * exact.instalment + last["amount"]
    assert last["interest"] == interest_rounded_up(last["principal"], rate)


@pytest.mark.parametrize("seed", range(6))
def test_fees_1_paid_at_random_a_loan_is_as_if_kept_by_instalment(
    ledger, open_loan, generous, clock, borrower, keeper, seed
):
    random = Random(seed)
    offset, grace, n = random.choice([-48, -13, 0, 32, 56]), random.choice([0, 1, 5, 29, 45]), 6
    loan = open_loan(
        principal=random.randint(10**5, 10**9),
        rate=random.choice([0, 120_000, 999_999]),
        instalments=n,
        late_fee=random.choice([0, 101, 500]),
        grace_days=grace,
        calendar_offset=offset,
        policy=generous,
    )
    rows = [(int(row["dueAt"]), int(row["amount"])) for row in rows_of(ledger, loan)]
    eager = EagerLoan(rows, grace, int(ledger.loanOf(loan)["lateFee"]))

    # Moments at which something changes, their neighbours, and others; in order.
    turns = [due_at + days * DAY for due_at, _ in rows for days in (0, grace)]
    moments = {turn + random.choice([0, 0, 1, 1, HOUR]) for turn in turns if random.random() < 0.6}
    moments |= {random.randint(clock.now() + 60, rows[-1][0] + 90 * DAY) for _ in range(4)}
    for moment in sorted(moments):
        clock.to(moment)
        assert eager.owed(moment) > 0
        assert ledger.delinquency(loan)[:2] == eager.arrears(moment)
        deed = random.choice(["pay", "pay", "flag"])
        if deed == "pay":
            amount = random.choice(
                [1, 7, eager.fees(moment) + 1, rows[0][1], rows[0][1] + random.randint(-3, 3)]
            )
            owed = eager.owed(moment)
            payment = ledger.repay(loan, amount, {"from": borrower})
            assert payment.timestamp == moment
            assert payment.return_value == min(amount, owed)
            eager.pay(moment, int(payment.return_value))
        elif eager.fees(moment) > ledger.loanOf(loan)["fees"]:
            ledger.flagMissed(loan, {"from": keeper})
        assert ledger.delinquency(loan)[:2] == eager.arrears(moment)
        record = ledger.loanOf(loan)
        assert record["total"] + eager.fees(moment) - record["paid"] == eager.owed(moment)
        if eager.owed(moment) == 0:
            assert record["status"] == Status.REPAID
            break
