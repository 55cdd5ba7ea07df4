import pytest
from support.clock import DAY
from support.offers import Schedule, Status
from support.oracle import local_day
from support.reverts import reverts_with

FEE = 5_000_000
DEFAULT_DAYS = 90


@pytest.fixture
def loan(open_loan):
    return open_loan()


@pytest.fixture
def first_second(due_at):
    """The first in which an instalment's default can be marked."""
    return lambda loan, k: due_at(loan, k) + 1 + (DEFAULT_DAYS - 1) * DAY


@pytest.fixture
def defaulted(ledger, loan, first_second, clock, lender):
    clock.to(first_second(loan, 1))
    ledger.markDefault(loan, {"from": lender})
    return loan


@pytest.mark.parametrize("role", ["borrower", "keeper", "stranger"])
def test_only_lender_and_servicer_mark(ledger, loan, clock, first_second, lender, servicer, request, role):
    ledger.appointServicer(servicer, {"from": lender})
    clock.to(first_second(loan, 1))
    actor = request.getfixturevalue(role)
    with reverts_with("NotServicer", actor, lender, servicer):
        ledger.markDefault(loan, {"from": actor})
    for actor in (lender, servicer):
        ledger.markDefault.call(loan, {"from": actor})


def test_there_is_a_loan_to_default(ledger, loan, lender, borrower):
    with reverts_with("UnknownLoan", b"\3" * 32):
        ledger.markDefault(b"\3" * 32, {"from": lender})
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.markDefault(loan, {"from": lender})


def test_both_sides_of_the_policys_days(ledger, loan, first_second, clock, record, lender):
    second = first_second(loan, 1)
    day = record(loan)["firstDue"] + DEFAULT_DAYS
    clock.to(second - 1)
    with reverts_with("NotInDefault", day, day - 1):
        ledger.markDefault(loan, {"from": lender})
    clock.to(second)
    overdue = 3 * record(loan)["instalment"]
    marked = ledger.markDefault(loan, {"from": lender})
    assert marked.events["LoanDefaulted"] == {"id": loan, "instalment": 1, "overdue": overdue}
    assert marked.events["InstalmentMissed"]["last"] == record(loan)["assessed"] == 3
    assert record(loan)["status"] == ledger.positionOf(loan)["status"] == Status.DEFAULTED


def test_nothing_overdue_is_no_default(ledger, loan, due_at, clock, record, lender, borrower):
    clock.to(due_at(loan, 1))
    with reverts_with("NotInDefault", 0, local_day(clock.now(), 32)):
        ledger.markDefault(loan, {"from": lender})
    # A late fee alone is none either, however old.
    clock.to(due_at(loan, 1) + 10 * DAY)
    ledger.repay(loan, 12 * record(loan)["instalment"], {"from": borrower})
    clock.to(due_at(loan, 12) + 1_000 * DAY)
    assert ledger.delinquency(loan)[1] > 0
    with reverts_with("NotInDefault", 0, local_day(clock.now(), 32)):
        ledger.markDefault(loan, {"from": lender})


def test_a_default_is_marked_once(ledger, defaulted, lender):
    with reverts_with("LoanNotActive", defaulted, Status.DEFAULTED):
        ledger.markDefault(defaulted, {"from": lender})


def test_ledger_3_a_default_costs_nothing_and_stops_nothing(
    ledger, loan, first_second, clock, payoff, record, lender, borrower, stranger
):
    marked, looked = first_second(loan, 1), first_second(loan, 1) + DAY

    def costs():
        return payoff(loan), tuple(ledger.delinquency(loan))

    with clock.glimpse(looked):
        before = costs()
    clock.to(marked)
    ledger.markDefault(loan, {"from": lender})
    clock.to(looked)
    assert costs() == before
    ledger.repay(loan, 100, {"from": stranger})
    clock.to(looked + DAY)
    left = payoff(loan)
    assert ledger.settle(loan, left, {"from": borrower}).return_value == left
    assert record(loan)["status"] == Status.REPAID


CREDITS = {
    "payment": lambda ledger, loan, amount, roles: ledger.repay(loan, amount, {"from": roles["borrower"]}),
    "receipt": lambda ledger, loan, amount, roles: ledger.acknowledgeReceipt(
        loan, amount, b"\1" * 32, {"from": roles["lender"]}
    ),
    "forgiveness": lambda ledger, loan, amount, roles: ledger.forgive(
        loan, amount, {"from": roles["lender"]}
    ),
}


@pytest.mark.parametrize("credit", CREDITS)
def test_a_default_lasts_until_its_instalment_is_paid(ledger, defaulted, record, borrower, lender, credit):
    roles = {"borrower": borrower, "lender": lender}
    level = record(defaulted)["instalment"]
    CREDITS[credit](ledger, defaulted, level - 1, roles)
    assert record(defaulted)["status"] == Status.DEFAULTED
    CREDITS[credit](ledger, defaulted, 1, roles)
    assert record(defaulted)["status"] == Status.ACTIVE


def test_the_next_default_needs_its_own_days(
    ledger, defaulted, first_second, clock, record, lender, borrower
):
    ledger.repay(defaulted, record(defaulted)["instalment"], {"from": borrower})
    second = first_second(defaulted, 2)
    clock.to(second - 1)
    today = local_day(second - 1, 32)
    with reverts_with("NotInDefault", today + 1, today):
        ledger.markDefault(defaulted, {"from": lender})
    clock.to(second)
    assert ledger.markDefault(defaulted, {"from": lender}).events["LoanDefaulted"]["instalment"] == 2


def test_who_pays_every_instalment_two_months_late_is_never_in_default(
    ledger, loan, due_at, clock, record, lender, borrower
):
    """Always in arrears, and always younger than the policy's days."""
    level = record(loan)["instalment"]
    for k in range(1, 12):
        clock.to(due_at(loan, k) + 60 * DAY)
        first_day = local_day(due_at(loan, k), 32) + DEFAULT_DAYS
        with reverts_with("NotInDefault", first_day, local_day(clock.now(), 32)):
            ledger.markDefault.call(loan, {"from": lender})
        ledger.repay(loan, level, {"from": borrower})


def test_who_pays_only_a_little_each_month_is_in_default_in_the_end(
    ledger, loan, due_at, first_second, clock, record, lender, borrower
):
    """A payment does not start the days anew: only the whole instalment does."""
    for k in (1, 2, 3):
        clock.to(due_at(loan, k))
        ledger.repay(loan, record(loan)["instalment"] // 4, {"from": borrower})
    clock.to(first_second(loan, 1))
    ledger.markDefault(loan, {"from": lender})


def test_a_bullet_defaults_after_its_end(ledger, open_loan, due_at, first_second, clock, lender):
    loan = open_loan(schedule=Schedule.BULLET, instalments=4)
    clock.to(due_at(loan, 4))
    with reverts_with("NotInDefault", 0, local_day(clock.now(), 32)):
        ledger.markDefault(loan, {"from": lender})
    clock.to(first_second(loan, 4))
    assert ledger.markDefault(loan, {"from": lender}).events["LoanDefaulted"]["instalment"] == 4


def test_server_1_an_assignee_marks_and_the_old_lender_does_not(
    ledger, loan, first_second, clock, sign_assignment, lender, stranger, servicer, keeper
):
    ledger.appointServicer(servicer, {"from": lender})
    ledger.appointServicer(keeper, {"from": stranger})
    ledger.assign(loan, stranger, 2**40, sign_assignment(loan, lender, stranger), {"from": lender})
    clock.to(first_second(loan, 1))
    for actor in (lender, servicer):
        with reverts_with("NotServicer", actor, stranger, keeper):
            ledger.markDefault(loan, {"from": actor})
    ledger.markDefault(loan, {"from": keeper})
