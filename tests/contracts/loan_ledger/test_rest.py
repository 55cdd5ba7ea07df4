"""FEES-1 while a grievance stands and in the days after its answer: what is missed then is never charged."""

from random import Random

import pytest
from support.clock import DAY, HOUR
from support.offers import FOREVER, PAUSE, Contact, Grievance, Lending, Status
from support.oracle import EagerLoan
from support.reverts import reverts_with

FEE = 5_000_000
GRACE = 5 * DAY
N = 12
# Long days: they begin before midnight in UTC, with which the days of the loan end.
LONG_DAYS = {"opens": 7 * 60, "closes": 22 * 60}


@pytest.fixture(scope="module")
def restful(publish):
    """Late fees rest for disputes and hardship."""
    return publish(Lending(cooling_off_days=0), Contact(rest_fees=0b011, **LONG_DAYS))


@pytest.fixture
def loan(notices, consenting, open_loan, restful):
    """Counted in UTC, so that its days end at eight in the morning where the borrower lives."""
    return open_loan(policy=restful, calendar_offset=0, instalments=N)


@pytest.fixture
def ends(due_at, loan):
    """The last second of an instalment's grace."""
    return lambda k, loan=loan: due_at(loan, k) + GRACE


@pytest.fixture
def pay(ledger, borrower):
    return lambda loan, amount: ledger.repay(loan, amount, {"from": borrower})


@pytest.fixture
def fees(ledger, keeper):
    """Unpaid late fees as of now; all views and `flagMissed` agree on them."""

    def fees(loan):
        told = ledger.delinquency(loan)["fees"]
        assert ledger.positionOf(loan)["fees"] == told
        recorded = ledger.loanOf(loan)
        if told == recorded["fees"]:
            with reverts_with("NothingMissed", loan, recorded["assessed"]):
                ledger.flagMissed.call(loan, {"from": keeper})
        assert ledger.flagMissedMany.call([loan], {"from": keeper}) == (told != recorded["fees"])
        return told

    return fees


# --- lodging --------------------------------------------------------------------------------------


def test_only_the_desk_notes_a_grievance(ledger, desk, loan, borrower, lender, publisher):
    for sender in (borrower, lender, publisher):
        with reverts_with("NotDesk", sender, desk):
            ledger.noteGrievance(loan, {"from": sender})


def test_fees_1_what_was_missed_before_is_charged_when_it_is_lodged(
    lodge, ledger, loan, ends, fees, clock, record
):
    clock.to(ends(2) + 1)
    lodged = lodge(loan, Grievance.HARDSHIP)
    assert lodged.events["InstalmentMissed"] == {"id": loan, "first": 1, "last": 2, "fees": 2 * FEE}
    assert (record(loan)["fees"], record(loan)["assessed"]) == (2 * FEE, 2)
    clock.to(ends(9) + 1)
    assert fees(loan) == 2 * FEE


@pytest.mark.parametrize(("second", "charged"), [(0, 0), (1, 1)])
def test_fees_1_both_sides_of_the_second_in_which_it_is_lodged(
    lodge, answer, loan, ends, fees, clock, second, charged
):
    clock.to(ends(1) + second)
    lodged = lodge(loan, Grievance.DISPUTE)
    assert ("InstalmentMissed" in lodged.events) == bool(charged)
    clock.to(ends(1) + 2 * DAY)
    assert fees(loan) == charged * FEE
    until = answer(loan, Grievance.DISPUTE).timestamp + PAUSE
    # The second and all that follow are missed after the rest.
    assert until < ends(3)
    clock.to(ends(3) + 1)
    assert fees(loan) == (charged + (ends(2) >= until) + 1) * FEE


def test_a_grievance_without_a_missed_instalment_charges_nothing(lodge, loan, fees, record, pay):
    pay(loan, 1)
    assert "InstalmentMissed" not in lodge(loan, Grievance.DISPUTE).events
    assert (record(loan)["fees"], record(loan)["assessed"], record(loan)["paid"]) == (0, 0, 1)


# --- resting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("grievance", [Grievance.DISPUTE, Grievance.HARDSHIP])
def test_fees_1_what_is_missed_while_it_stands_is_never_charged(
    lodge, answer, loan, ends, fees, clock, grievance, pay, record, ledger, keeper
):
    lodge(loan, grievance)
    for k in (1, 2):
        clock.to(ends(k) + 1)
        assert fees(loan) == 0
    # The third's grace ends in the days after the answer.
    clock.to(ends(3) - DAY)
    until = answer(loan, grievance).timestamp + PAUSE
    clock.to(until)
    assert fees(loan) == 0
    # The fourth's grace ends after the rest, and so do those of all that follow.
    assert until <= ends(4)
    clock.to(ends(4))
    assert fees(loan) == 0
    clock.to(ends(4) + 1)
    assert fees(loan) == FEE
    flagged = ledger.flagMissed(loan, {"from": keeper})
    assert flagged.events["InstalmentMissed"] == {"id": loan, "first": 4, "last": 4, "fees": FEE}
    clock.to(ends(N) + 400 * DAY)
    assert fees(loan) == (N - 3) * FEE
    pay(loan, 1)
    assert (record(loan)["fees"], record(loan)["assessed"]) == ((N - 3) * FEE, N)


@pytest.mark.parametrize(("second", "charged"), [(0, 1), (1, 0)])
def test_fees_1_both_sides_of_the_end_of_the_rest(lodge, answer, loan, ends, fees, clock, second, charged):
    """The last second of the third's grace is the first after the rest, or the last in it."""
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(3) + second - PAUSE)
    assert answer(loan, Grievance.HARDSHIP).timestamp + PAUSE == ends(3) + second
    clock.to(ends(3) + 1)
    assert fees(loan) == charged * FEE
    clock.to(ends(4) + 1)
    assert fees(loan) == (charged + 1) * FEE


@pytest.mark.parametrize(("second", "charged"), [(0, 1), (1, 0)])
def test_fees_1_both_sides_of_the_second_in_which_it_is_withdrawn(
    lodge, withdraw, loan, ends, fees, clock, second, charged
):
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(2) + second)
    withdraw(loan, Grievance.HARDSHIP)
    clock.to(ends(2) + 1)
    assert fees(loan) == charged * FEE
    clock.to(ends(3) + 1)
    assert fees(loan) == (charged + 1) * FEE


def test_fees_1_reopened_it_rests_on_without_a_gap(lodge, answer, loan, ends, fees, clock):
    lodge(loan, Grievance.DISPUTE)
    answer(loan, Grievance.DISPUTE)
    clock.forward(20 * DAY)
    # Within the days after the answer: nothing was missed before that counts.
    lodge(loan, Grievance.DISPUTE)
    clock.to(ends(4) + 1)
    assert fees(loan) == 0
    until = answer(loan, Grievance.DISPUTE).timestamp + PAUSE
    clock.to(max(until, ends(5)) + 1)
    assert fees(loan) == (ends(5) >= until) * FEE


def test_fees_1_what_is_missed_between_two_rests_is_charged(
    lodge, answer, withdraw, loan, ends, fees, clock, record
):
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(1) + 1)
    withdraw(loan, Grievance.HARDSHIP)
    clock.to(ends(3) + 1)  # the second and the third count
    lodged = lodge(loan, Grievance.DISPUTE)
    assert lodged.events["InstalmentMissed"] == {"id": loan, "first": 2, "last": 3, "fees": 2 * FEE}
    clock.to(ends(5) + 1)
    withdraw(loan, Grievance.DISPUTE)
    clock.to(ends(6))
    assert fees(loan) == 2 * FEE
    clock.to(ends(6) + 1)
    assert fees(loan) == 3 * FEE


def test_fees_1_two_at_once_rest_until_the_last_ends(lodge, answer, withdraw, loan, ends, fees, clock):
    lodge(loan, Grievance.HARDSHIP)
    lodge(loan, Grievance.DISPUTE)
    clock.to(ends(1) + 1)
    withdraw(loan, Grievance.HARDSHIP)
    clock.to(ends(2) + 1)
    assert fees(loan) == 0
    withdraw(loan, Grievance.DISPUTE)
    clock.to(ends(3) + 1)
    assert fees(loan) == FEE


def test_fees_1_a_grievance_by_which_fees_do_not_rest_shortens_no_rest(
    lodge, withdraw, loan, ends, fees, clock
):
    lodge(loan, Grievance.HARDSHIP)
    lodge(loan, Grievance.REPRESENTATION)
    clock.to(ends(1) + 1)
    withdraw(loan, Grievance.REPRESENTATION)
    clock.to(ends(2) + 1)
    assert fees(loan) == 0
    withdraw(loan, Grievance.HARDSHIP)
    lodge(loan, Grievance.REPRESENTATION)
    clock.to(ends(3) + 1)
    assert fees(loan) == FEE


def test_fees_1_payments_during_a_rest_go_to_instalments(
    lodge, withdraw, loan, ends, fees, clock, pay, record
):
    level = record(loan)["instalment"]
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(2) + 1)
    pay(loan, level)
    clock.to(ends(3) + 1)
    pay(loan, 2 * level)
    assert (fees(loan), record(loan)["fees"], record(loan)["paid"]) == (0, 0, 3 * level)
    withdraw(loan, Grievance.HARDSHIP)
    clock.to(ends(4) + 1)
    assert fees(loan) == FEE


@pytest.mark.parametrize("grievance", Grievance)
def test_fees_1_under_a_policy_that_lets_no_fee_rest_nothing_changes(
    lodge, withdraw, consenting, open_loan, publish, due_at, fees, clock, grievance
):
    others = 0b111 & ~(1 << grievance)
    policy = publish(contact=Contact(rest_fees=others, rest_all_loans=0b111))
    loan, plain = (open_loan(policy=policy, calendar_offset=0) for _ in range(2))
    clock.to(due_at(loan, 1) + GRACE + 1)
    lodge(loan, grievance)
    clock.to(due_at(loan, 3) + GRACE + 1)
    assert fees(loan) == fees(plain) == 3 * FEE
    withdraw(loan, grievance)
    clock.to(due_at(loan, 5) + GRACE + 1)
    assert fees(loan) == fees(plain) == 5 * FEE


def test_fees_1_a_rest_is_about_one_loan(lodge, loan, open_loan, restful, publish, ends, fees, clock):
    policy = publish(contact=Contact(rest_fees=0b111, rest_all_loans=0b111))
    aggrieved, other = (open_loan(policy=policy, calendar_offset=0) for _ in range(2))
    lodge(aggrieved, Grievance.HARDSHIP)
    clock.to(ends(2) + 1)
    # Reminders about both rest; late fees of the one.
    assert (fees(aggrieved), fees(other), fees(loan)) == (0, 2 * FEE, 2 * FEE)


def test_fees_1_what_rested_makes_no_default_later(lodge, loan, ledger, due_at, clock, lender, record):
    """Only late fees rest: what is overdue is overdue, and may be marked as a default."""
    lodge(loan, Grievance.HARDSHIP)
    clock.to(due_at(loan, 1) + 90 * DAY)
    assert ledger.delinquency(loan)["overdue"] == 3 * record(loan)["instalment"]
    ledger.markDefault(loan, {"from": lender})
    assert (record(loan)["status"], record(loan)["fees"]) == (Status.DEFAULTED, 0)


# --- going on in another loan ---------------------------------------------------------------------


def test_fees_1_deferred_it_rests_on(
    lodge, withdraw, ledger, loan, ends, due_at, fees, clock, lender, record
):
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(1) + 1)
    new = ledger.defer(loan, 1, {"from": lender}).return_value
    assert record(new)["fees"] == 0
    clock.to(due_at(new, 2) + GRACE + 1)
    assert fees(new) == 0
    withdraw(new, Grievance.HARDSHIP)
    clock.to(due_at(new, 3) + GRACE + 1)
    assert fees(new) == FEE


@pytest.mark.parametrize("standing", [True, False])
def test_fees_1_deferring_charges_nothing_that_rested(
    lodge, withdraw, ledger, loan, ends, due_at, fees, clock, lender, record, keeper, standing
):
    """A lender who lets what rested fall due anew could charge it after all."""
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(2) + 1)
    if not standing:
        withdraw(loan, Grievance.HARDSHIP)
    deferred = ledger.defer(loan, 3, {"from": lender})
    new = deferred.return_value
    assert deferred.events["LoanAmended"]["assessed"] == record(new)["assessed"] == 2
    if standing:
        withdraw(new, Grievance.HARDSHIP)
    clock.to(due_at(new, 2) + GRACE + 1)
    assert fees(new) == 0
    clock.to(due_at(new, 3) + GRACE + 1)
    assert fees(new) == FEE


def test_fees_1_deferring_counts_only_what_is_left(
    lodge, withdraw, ledger, loan, ends, due_at, fees, clock, lender, record, pay
):
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(2) + 1)
    pay(loan, record(loan)["instalment"])
    withdraw(loan, Grievance.HARDSHIP)
    clock.to(due_at(loan, 3) + 1)  # in grace: missed by nobody yet
    new = ledger.defer(loan, 2, {"from": lender}).return_value
    assert (record(new)["instalments"], record(new)["assessed"]) == (N - 1, 1)
    clock.to(due_at(new, 1) + GRACE + 1)
    assert fees(new) == 0
    clock.to(due_at(new, 2) + GRACE + 1)
    assert fees(new) == FEE


def test_fees_1_what_was_paid_while_it_rested_is_not_told_as_missed(
    lodge, withdraw, ledger, loan, ends, due_at, clock, lender, record, pay
):
    lodge(loan, Grievance.HARDSHIP)
    pay(loan, 2 * record(loan)["instalment"])
    clock.to(ends(2) + 1)
    new = ledger.defer(loan, 1, {"from": lender}).return_value
    assert (record(new)["instalments"], record(new)["assessed"]) == (N - 2, 0)


def test_fees_1_prepaid_it_rests_on(lodge, withdraw, ledger, loan, ends, due_at, fees, clock, borrower):
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(1) + 1)
    new = ledger.prepay(loan, 500_000_000, {"from": borrower}).return_value[1]
    clock.to(due_at(new, 2) + GRACE + 1)
    assert fees(new) == 0
    withdraw(new, Grievance.HARDSHIP)
    clock.to(due_at(new, 3) + GRACE + 1)
    assert fees(new) == ledger.loanOf(new)["lateFee"]


def test_fees_1_amended_it_rests_on(
    lodge, withdraw, loan, restful, changed, amends, ends, due_at, fees, clock, desk
):
    lodge(loan, Grievance.HARDSHIP)
    clock.to(ends(2) + 1)
    amended = changed(loan, policy=restful, calendar_offset=0)
    new = amends(amended).return_value
    assert desk.feesRestUntil(new) == FOREVER
    clock.to(due_at(new, 1) + GRACE + 1)
    assert fees(new) == 0
    withdraw(new, Grievance.HARDSHIP)
    clock.to(due_at(new, 2) + GRACE + 1)
    assert fees(new) == 1_000


# --- any history ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_fees_1_any_history_with_rests(
    lodge, answer, withdraw, ledger, consenting, open_loan, publish, due_at, fees, clock, borrower, keeper,
    owed, seed
):  # fmt: skip
    """Lodged, answered, withdrawn, missed, paid, flagged around the boundary seconds, against the oracle."""
    random = Random(seed)
    pause = random.choice([0, 1, 10, 40])
    rest_fees = random.choice([0b011, 0b111, 0b101, 0b010])
    policy = publish(Lending(min_grace_days=0), Contact(rest_fees=rest_fees, pause_days=pause, **LONG_DAYS))
    offset = random.choice([0, 4, -8])
    grace = random.choice([0, 3, 20, 40])
    loan = open_loan(policy=policy, calendar_offset=offset, grace_days=grace, instalments=N)
    rows = [
        (int(row["dueAt"]), int(row["amount"]))
        for row in (ledger.instalmentOf(loan, k + 1) for k in range(N))
    ]
    eager = EagerLoan(rows, grace, FEE)
    standing = {}
    boundaries = [due + grace * DAY for due, _ in rows]
    for _ in range(30):
        ahead = [moment for moment in boundaries if moment > clock.now() + 2]
        if not ahead or owed(loan) == 0:
            break
        moment = random.choice(
            [ahead[0] + random.choice([0, 0, 1]), clock.now() + random.randint(HOUR, 20 * DAY)]
        )
        now = clock.to(max(moment, clock.now() + 1))
        action = random.choice(["lodge", "lodge", "end", "end", "pay", "flag", "look"])
        grievance = (
            random.choice(list(standing)) if action == "end" and standing else random.choice([*Grievance])
        )
        rests = rest_fees >> grievance & 1
        if action == "lodge" and grievance not in standing:
            lodge(loan, grievance)
            standing[grievance] = now
            eager.rests += [(now, FOREVER)] * rests
        elif action == "end" and grievance in standing:
            since, until = standing.pop(grievance), now
            local = (now + 8 * HOUR) % DAY
            if grievance != Grievance.REPRESENTATION and 7 * HOUR <= local < 21 * HOUR:
                answer(loan, grievance)
                until += pause * DAY
            else:
                withdraw(loan, grievance)
            if rests:
                eager.rests.remove((since, FOREVER))
                eager.rests.append((since, until))
                boundaries.append(until - 1)
                boundaries.sort()
        elif action == "pay":
            amount = random.choice([1, sum(eager.arrears(now)) or 1, rows[0][1], rows[0][1] // 3])
            eager.pay(now, ledger.repay(loan, amount, {"from": borrower}).return_value)
        elif action == "flag":
            ledger.flagMissedMany([loan], {"from": keeper})
        with clock.glimpse(now + 1):
            assert ledger.delinquency(loan)[:2] == eager.arrears(now + 1)
        assert ledger.delinquency(loan)[:2] == eager.arrears(now)
        assert owed(loan) + FEE * (len(eager.missed(now)) - ledger.loanOf(loan)["fees"] // FEE) == eager.owed(
            now
        )
    clock.to(boundaries[-1] + 60 * DAY)
    assert ledger.delinquency(loan)[:2] == eager.arrears(clock.now())
    if owed(loan):
        taken = ledger.repay(loan, 2**200, {"from": borrower}).return_value
        assert taken == eager.owed(clock.now())
