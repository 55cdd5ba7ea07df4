import pytest
from support.clock import DAY, START, utc
from support.offers import ZERO_ADDRESS, Frequency, Lending, Schedule, Status
from support.oracle import due_time, local_day, months_later
from support.reverts import reverts_with

NOBODY = b"\3" * 32


@pytest.fixture
def loan(open_loan):
    return open_loan()


@pytest.fixture
def due(ledger, loan):
    return lambda k: ledger.instalmentOf(loan, k)["dueAt"]


def test_unknown_loans_are_told(ledger):
    for view in (
        lambda: ledger.loanOf(NOBODY),
        lambda: ledger.instalmentOf(NOBODY, 1),
        lambda: ledger.payoff(NOBODY),
        lambda: ledger.delinquency(NOBODY),
        lambda: ledger.partiesOf(NOBODY),
    ):
        with reverts_with("UnknownLoan", NOBODY):
            view()


def test_the_position_of_an_unknown_loan_is_empty(ledger):
    position = ledger.positionOf(NOBODY).dict()
    assert position.pop("today") == local_day(START, 0)
    assert position["status"] == Status.NONE
    assert set(map(str, position.values())) == {"0", "False", ZERO_ADDRESS}


def test_packed_the_slots_of_a_loan_are_its_fields_the_first_lowest(
    ledger, open_loan, clock, sign_assignment, lodge, lender, borrower, stranger
):
    assert ledger.loanSlots(NOBODY) == (0, 0, 0, 0)
    shape = (Schedule.INTEREST_ONLY, Frequency.FOUR_WEEKLY)
    loan = open_loan(schedule=shape[0], frequency=shape[1], calendar_offset=-20, late_fee=500_000)
    ledger.repay(loan, 10, {"from": borrower})
    clock.to(ledger.instalmentOf(loan, 1)["dueAt"] + 100 * DAY)
    ledger.markDefault(loan, {"from": lender})
    lodge(loan, 0)
    ledger.assign(loan, stranger, 2**40, sign_assignment(loan, lender, stranger), {"from": lender})
    told = ledger.loanOf(loan).dict()
    assert (told["lender"], told["fees"], told["paid"], told["assessed"]) == (stranger, 2_000_000, 10, 4)
    opening = ("borrower", "openedAt", "policy", 1, Status.ACTIVE, 0)
    calendar = ("lender", "firstDue", "instalments", "rate", *shape, "calendarOffset", "graceDays")
    amounts = ("principal", "instalment", "lateFee", 1, 1)
    curves = ("total", "paid", "fees", "assessed")
    assert ledger.loanSlots(loan) == (
        word(told, opening, (160, 32, 32, 16, 8, 8)),
        word(told, calendar, (160, 24, 16, 24, 8, 8, 8, 8)),
        word(told, amounts, (80, 80, 80, 8, 8)),
        word(told, curves, (80, 80, 80, 16)),
    )


def word(told, fields, widths):
    """A slot with some fields: named ones as told, others as they stand."""
    packed = shift = 0
    for field, width in zip(fields, widths, strict=True):
        value = told.get(field, field)
        number = int(value, 16) if isinstance(value, str) else int(value)
        packed |= number % 2**width << shift
        shift += width
    assert shift == 256
    return packed


def test_a_schedule_has_its_instalments_only(ledger, loan):
    for k in (0, 13, 2**256 - 1):
        with reverts_with("NoSuchInstalment", k, 12):
            ledger.instalmentOf(loan, k)


def test_a_loan_in_good_order(ledger, loan, lender, borrower, policy):
    record = ledger.loanOf(loan)
    day = record["firstDue"]
    assert ledger.delinquency(loan) == (0, 0, 1, due_time(day, 1, 32))
    assert ledger.positionOf(loan).dict() == {
        "borrower": borrower,
        "lender": lender,
        "servicer": ZERO_ADDRESS,
        "policy": policy,
        "status": Status.ACTIVE,
        "today": local_day(START, 32),
        "calendarOffset": 32,
        "principal": record["principal"],
        "paid": 0,
        "openedAt": record["openedAt"],
        "amends": False,
        "assigned": False,
        "overdue": 0,
        "missed": 0,
        "fees": 0,
        "firstUnpaid": 1,
        "firstUnpaidDueDay": day,
        "next": 1,
        "nextDueDay": day,
        "nextAmount": record["instalment"],
    }


def test_arrears_and_the_next_instalment(ledger, loan, due, clock, borrower):
    record = ledger.loanOf(loan)
    ledger.repay(loan, 10, {"from": borrower})
    clock.to(due(2) + 1)
    position = ledger.positionOf(loan)
    assert (position["overdue"], position["missed"]) == (2 * record["instalment"] - 10, 2)
    assert position["fees"] == 5_000_000
    assert (position["firstUnpaid"], position["firstUnpaidDueDay"]) == (1, record["firstDue"])
    assert (position["next"], position["nextDueDay"]) == (3, months_later(record["firstDue"], 2))
    assert position["nextAmount"] == 3 * record["instalment"] - 10


def test_money_paid_ahead(ledger, loan, borrower):
    level = ledger.loanOf(loan)["instalment"]
    ledger.repay(loan, level * 2 + 5, {"from": borrower})
    position = ledger.positionOf(loan)
    assert (position["firstUnpaid"], position["next"], position["nextAmount"]) == (3, 1, 0)


def test_after_the_last_due_day_nothing_is_next(ledger, loan, due, clock, borrower):
    clock.to(due(12))
    assert ledger.positionOf(loan)["next"] == 12
    clock.to(due(12) + 1)
    position = ledger.positionOf(loan)
    assert (position["next"], position["nextDueDay"], position["nextAmount"]) == (0, 0, 0)
    assert position["overdue"] == ledger.loanOf(loan)["total"]


def test_a_repaid_loan_asks_for_nothing(ledger, loan, due, clock, borrower):
    ledger.settle(loan, 2**200, {"from": borrower})
    for moment in (START + DAY, due(6) + 1, due(12) + 900 * DAY):
        clock.to(moment)
        position = ledger.positionOf(loan)
        assert position["status"] == Status.REPAID
        assert not any(
            position[name] for name in ("overdue", "missed", "fees", "firstUnpaid", "next", "nextAmount")
        )
        assert ledger.delinquency(loan) == (0, 0, 0, 0)
        assert ledger.payoff(loan) == 0


@pytest.mark.parametrize("day", [28, 29, 30, 31])
def test_due_days_are_clamped_to_the_months_end_and_counted_from_the_first(ledger, open_loan, clock, day):
    clock.to(utc(2041, 12, day, 4))
    loan = open_loan(instalments=50, late_fee=0)
    first = ledger.loanOf(loan)["firstDue"]
    for k in (1, 2, 3, 4, 14, 26, 27, 50):
        assert ledger.instalmentOf(loan, k)["dueAt"] == due_time(first, k, 32)
    level = ledger.loanOf(loan)["instalment"]
    for k in (1, 2, 3, 14):
        due = due_time(first, k, 32)
        clock.to(due)
        assert ledger.delinquency(loan)["overdue"] == (k - 1) * level
        clock.to(due + 1)
        assert ledger.delinquency(loan)["overdue"] == k * level


@pytest.mark.parametrize("offset", [-48, -1, 0, 23, 56])
def test_today_is_counted_in_the_loans_own_offset(ledger, open_loan, clock, offset):
    loan = open_loan(calendar_offset=offset)
    midnight = utc(2041, 3, 1) - offset * 900
    for moment in (midnight - 1, midnight):
        clock.to(moment)
        assert ledger.positionOf(loan)["today"] == local_day(moment, offset)


def test_a_bullet_asks_for_nothing_before_its_end(ledger, open_loan, due_at, clock, record):
    loan = open_loan(schedule=Schedule.BULLET, instalments=4)
    total = record(loan)["total"]
    for k in (1, 3):
        clock.to(due_at(loan, k) + 1)
        position = ledger.positionOf(loan)
        assert (position["overdue"], position["firstUnpaid"], position["next"]) == (0, 4, 4)
        assert position["nextAmount"] == total
        assert ledger.instalmentOf(loan, k)["amount"] == 0
        assert ledger.delinquency(loan) == (0, 0, 4, due_at(loan, 4))
    clock.to(due_at(loan, 4) + 1)
    position = ledger.positionOf(loan)
    assert (position["overdue"], position["missed"]) == (total, 1)


@pytest.mark.parametrize("end", ["settled", "rescinded", "replaced"])
def test_a_loan_that_ended_early_asks_for_nothing_more(
    ledger, terms, sign, changed, amends, publish, clock, due_at, record, borrower, lender, end
):
    at_once = publish(Lending(cooling_off_days=0 if end == "replaced" else 14))
    offered = terms(policy=at_once)
    loan = ledger.open(offered, sign(offered), {"from": borrower}).return_value
    rows = [ledger.instalmentOf(loan, k) for k in range(1, 13)]
    ledger.repay(loan, 200_000_000, {"from": borrower})
    if end == "settled":
        ledger.settle(loan, 2**256 - 1, {"from": borrower})
    elif end == "rescinded":
        ledger.rescind(offered, {"from": borrower})
    else:
        amends(changed(loan, policy=at_once, principal=900_000_000))
    closed = record(loan)
    for moment in (START + DAY, due_at(loan, 3) + 1, due_at(loan, 12) + 900 * DAY):
        clock.to(moment)
        position = ledger.positionOf(loan)
        assert not any(position[name] for name in ("overdue", "fees", "firstUnpaid", "next", "nextAmount"))
        assert (ledger.delinquency(loan), ledger.payoff(loan)) == ((0, 0, 0, 0), 0)
        assert record(loan) == closed
    # What was agreed can still be read.
    assert [ledger.instalmentOf(loan, k) for k in range(1, 13)] == rows
