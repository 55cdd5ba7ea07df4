"""The state of everything, from the events alone."""

from dataclasses import replace

import pytest
from history import START, Teller, chain
from scene import LENDER, SERVICER, STRANGER, a_loan, moment, paid

from duly.domain import amending, schedule
from duly.domain.consent import Channel
from duly.domain.events import (
    Block,
    DebtForgiven,
    Event,
    FeesWaived,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    GrievanceWithdrawn,
    InstalmentMissed,
    LoanAmended,
    LoanAssigned,
    LoanDefaulted,
    LoanOpened,
    LoanRepaid,
    LoanRescinded,
    LoanSettled,
    Logged,
    NoticeServed,
    OfferCancelled,
    PaymentHeld,
    ReceiptAcknowledged,
    Repaid,
    ServicerAppointed,
)
from duly.domain.grievance import Case, Grievance, Rest
from duly.domain.loan import Loan, Status
from duly.domain.notice import Kind
from duly.domain.policy import AprConvention, LendingLimits
from duly.domain.replay import HistoryIncomplete, State, apply, apply_all, begins, subjects
from duly.domain.terms import Schedule

LIMITS = LendingLimits(240_000, AprConvention.EFFECTIVE, 500, 10, 0, 90)
LOAN = a_loan()
OPENED = LoanOpened(LOAN.id, LOAN.terms, LOAN.instalment, LOAN.total)
NEW = b"\x0e" * 32


def after(*events: Event, opened: LoanOpened = OPENED) -> State:
    """The state after a loan was opened and some more was told."""
    state = apply(opened, LOAN.opened_at, State())
    for event in events:
        apply(event, LOAN.opened_at + 1, state)
    return state


def loan_after(*events: Event) -> Loan:
    return after(*events).loans[LOAN.id]


def told(old: Loan, new: Loan) -> LoanAmended:
    """What the ledger tells of an amendment."""
    return LoanAmended(
        old.id,
        new.id,
        new.terms,
        new.instalment,
        new.total,
        new.opened_at,
        new.assessed,
        new.paid,
        new.fees,
    )


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (Repaid(LOAN.id, STRANGER, 500, 500), {"paid": 500}),
        (ReceiptAcknowledged(LOAN.id, LENDER, 500, b"r" * 32, 500), {"paid": 500}),
        (DebtForgiven(LOAN.id, LENDER, 500, 500), {"paid": 500}),
        (InstalmentMissed(LOAN.id, 1, 2, 8_000), {"fees": 8_000, "assessed": 2}),
        (LoanAssigned(LOAN.id, LENDER, STRANGER), {"lender": STRANGER, "assigned": True}),
        (LoanDefaulted(LOAN.id, 2, 900), {"defaulted": 2}),
        (
            LoanSettled(LOAN.id, STRANGER, LOAN.total - 900, 900, LOAN.total - 900),
            {"total": LOAN.total - 900, "paid": LOAN.total - 900},
        ),
        (LoanRepaid(LOAN.id, LOAN.total), {}),
        (PaymentHeld(LOAN.id, LENDER, 5), {}),
        (OfferCancelled(NEW, LENDER), {}),
        (
            LoanRescinded(LOAN.id, 900, 900),
            {"total": 900, "paid": 900, "recorded_status": Status.RESCINDED},
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_event_changes_what_it_tells(event: Event, changes: dict[str, object]) -> None:
    assert loan_after(event) == replace(LOAN, **changes)


def test_a_fee_that_was_waived_was_never_charged() -> None:
    missed, waived = InstalmentMissed(LOAN.id, 1, 2, 8_000), FeesWaived(LOAN.id, LENDER, 5_000, 3_000)
    assert loan_after(missed, waived) == replace(LOAN, fees=3_000, assessed=2)


def test_late_fees_are_forgotten_when_the_borrower_rescinds() -> None:
    missed = InstalmentMissed(LOAN.id, 1, 1, 4_000)
    found = loan_after(missed, LoanRescinded(LOAN.id, 900, 900))
    assert (found.fees, found.owed, found.status) == (0, 0, Status.RESCINDED)


def test_a_default_ends_when_its_instalment_is_paid() -> None:
    defaulted = LoanDefaulted(LOAN.id, 1, LOAN.instalment)
    assert loan_after(defaulted).status is Status.DEFAULTED
    short = LOAN.instalment - 1
    assert loan_after(defaulted, Repaid(LOAN.id, STRANGER, short, short)).status is Status.DEFAULTED
    whole = DebtForgiven(LOAN.id, LENDER, LOAN.instalment, LOAN.instalment)
    assert loan_after(defaulted, whole).status is Status.ACTIVE
    all_of_it = Repaid(LOAN.id, STRANGER, LOAN.total, LOAN.total)
    assert loan_after(defaulted, all_of_it).status is Status.REPAID


# ---------------------------------------------------------------------------------------- amendments

DEFERRED = "2027-03-05 12:00"


@pytest.mark.parametrize("shape", Schedule)
@pytest.mark.parametrize(
    "amounts",
    [(), (120_000,), (106_182, 150_000), (1,)],
    ids=["nothing", "some", "ahead", "a-unit"],
)
def test_a_deferral_takes_along_what_was_paid_ahead(shape: Schedule, amounts: tuple[int, ...]) -> None:
    loan = a_loan(schedule=shape)
    opened = LoanOpened(loan.id, loan.terms, loan.instalment, loan.total)
    events: list[Event] = []
    for number, amount in enumerate(amounts):
        loan = paid(loan, amount, f"2027-01-{10 + number} 12:00")
        events.append(Repaid(loan.id, STRANGER, amount, loan.paid))
    now = moment(DEFERRED)
    assessed = schedule.assess(loan, now)
    if assessed != loan:
        events.append(InstalmentMissed(loan.id, 1, assessed.assessed, assessed.fees))
    old, new = amending.defer(loan, 2, LIMITS, now, lambda terms: NEW)
    state = after(*events, told(old, new), opened=opened)
    assert (state.loans[old.id], state.loans[new.id]) == (old, new)
    assert state.loans[old.id].status is Status.REPLACED
    assert state.carried.get(new.id, 0) == new.paid


def test_a_prepayment_stays_with_the_loan_that_it_was_made_on() -> None:
    now = moment("2027-02-10 12:00")
    loan = schedule.assess(LOAN, now)
    taken, old, new = amending.prepay(LOAN, 300_000, LIMITS, now, lambda terms: NEW)
    assert new
    missed = InstalmentMissed(LOAN.id, 1, loan.assessed, loan.fees)
    state = after(missed, Repaid(LOAN.id, STRANGER, taken, 300_000), told(old, new))
    assert (state.loans[old.id], state.loans[new.id]) == (old, new)
    assert (old.paid, old.owed) == (300_000, 0)


def test_an_amendment_by_both_takes_nothing_along_but_fees() -> None:
    now = moment("2027-03-15 12:00")
    loan = schedule.assess(paid(LOAN, 50_000, "2027-01-10 12:00"), now)
    first_due = LOAN.terms.first_due + 90
    terms = replace(
        LOAN.terms,
        principal=900_000,
        late_fee=2_000,
        instalments=24,
        first_due=first_due,
        replaces=LOAN.id,
    )
    old, new = amending.amend(loan, terms, LIMITS, now, lambda terms: NEW)
    assert new.fees > 0
    missed = InstalmentMissed(LOAN.id, 1, loan.assessed, loan.fees)
    state = after(Repaid(LOAN.id, STRANGER, 50_000, 50_000), missed, told(old, new))
    assert (state.loans[old.id], state.loans[new.id]) == (old, new)
    assert state.carried == {}


def test_what_rounding_credits_on_the_other_loan_was_not_paid_on_the_first() -> None:
    old, new = amending.defer(paid(LOAN, 700, "2027-01-10 12:00"), 1, LIMITS, moment("2027-01-20 12:00"),
                              lambda terms: NEW)  # fmt: skip
    event = replace(told(old, new), paid=702)
    state = after(Repaid(LOAN.id, STRANGER, 700, 700), event)
    assert (state.loans[old.id].paid, state.loans[old.id].owed) == (0, 0)
    assert state.loans[new.id].paid == 702


def test_an_amendments_claim_is_whose_the_loan_was() -> None:
    loan = replace(LOAN, lender=STRANGER)
    old, new = amending.defer(loan, 1, LIMITS, moment("2027-01-20 12:00"), lambda terms: NEW)
    state = after(LoanAssigned(LOAN.id, LENDER, STRANGER), told(old, new))
    assert (state.loans[new.id].lender, state.loans[LOAN.id].lender) == (STRANGER, STRANGER)


def test_an_event_about_two_loans_names_both() -> None:
    old, new = amending.defer(LOAN, 1, LIMITS, moment("2027-01-20 12:00"), lambda terms: NEW)
    assert subjects(told(old, new)) == (LOAN.id, None, None)
    assert begins(told(old, new)) == NEW
    assert begins(OPENED) == LOAN.id
    assert begins(LoanRepaid(LOAN.id, 5)) is None


@pytest.mark.parametrize(
    "event",
    [
        FeesWaived(NEW, LENDER, 1, 0),
        LoanRescinded(NEW, 1, 1),
        LoanAmended(NEW, LOAN.id, LOAN.terms, 1, 1, 1, 0, 0, 0),
        LoanAssigned(NEW, LENDER, STRANGER),
        LoanDefaulted(NEW, 1, 1),
        DebtForgiven(NEW, LENDER, 1, 1),
    ],
    ids=lambda event: event.name,
)
def test_an_event_about_a_loan_that_was_never_opened_is_told(event: Event) -> None:
    with pytest.raises(HistoryIncomplete, match="never opened"):
        after(event)


# ---------------------------------------------------------------------------------------- grievances

WHO = LOAN.terms.borrower
HERE = GrievanceLodged(LOAN.id, WHO, Grievance.DISPUTE, WHO, False, True)
EVERYWHERE = GrievanceLodged(LOAN.id, WHO, Grievance.HARDSHIP, LENDER, True, False)
SINCE = LOAN.opened_at + 1


def test_grievances_rest_what_their_events_tell() -> None:
    state = after(HERE, EVERYWHERE)
    assert state.cases[LOAN.id] == {
        Grievance.DISPUTE: Case(SINCE, fees_rest=True),
        Grievance.HARDSHIP: Case(SINCE, all_loans=True),
    }
    assert state.loans[LOAN.id] == replace(LOAN, rest=Rest(standing=2, fees_standing=1))
    assert state.rests == {WHO: Rest(standing=1)}
    apply(GrievanceAnswered(LOAN.id, WHO, Grievance.DISPUTE, SINCE + 500), SINCE + 7, state)
    apply(GrievanceWithdrawn(LOAN.id, WHO, Grievance.HARDSHIP), SINCE + 9, state)
    assert state.cases[LOAN.id] == {
        Grievance.DISPUTE: Case(SINCE, SINCE + 7, fees_rest=True),
        Grievance.HARDSHIP: Case(SINCE, SINCE + 9, all_loans=True),
    }
    assert state.loans[LOAN.id].rest == Rest(until=SINCE + 500, fees_until=SINCE + 500)
    assert state.rests == {WHO: Rest(until=SINCE + 9)}
    # Lodged again, its receipt is to be served again.
    apply(HERE, SINCE + 20, state)
    assert state.cases[LOAN.id][Grievance.DISPUTE] == Case(SINCE + 20, fees_rest=True)


def test_a_receipt_that_was_served_is_kept_with_its_grievance() -> None:
    receipt = NoticeServed(
        NEW, LOAN.id, LENDER, WHO, Kind.DISPUTE_RECEIVED, 0, 0, Channel.EMAIL, SINCE, 0, NEW
    )
    state = after(HERE, EVERYWHERE, receipt)
    assert [case.received for case in state.cases[LOAN.id].values()] == [True, False]


def test_grievances_go_over_to_the_loan_that_replaces() -> None:
    rest = Rest(standing=1, fees_standing=1)
    old, new = amending.defer(
        replace(LOAN, rest=rest), 1, LIMITS, moment("2027-01-20 12:00"), lambda terms: NEW
    )
    state = after(HERE, told(old, new), GrievancesCarriedOver(old.id, new.id))
    assert (state.loans[old.id], state.loans[new.id]) == (old, new)
    assert (state.cases[old.id], state.cases[new.id]) == (
        {},
        {Grievance.DISPUTE: Case(SINCE, fees_rest=True)},
    )


@pytest.mark.parametrize(
    "event",
    [
        GrievanceAnswered(LOAN.id, WHO, Grievance.DISPUTE, 5),
        GrievanceWithdrawn(LOAN.id, WHO, Grievance.DISPUTE),
    ],
    ids=lambda event: event.name,
)
def test_a_grievance_that_ended_and_was_never_lodged_is_told(event: Event) -> None:
    with pytest.raises(HistoryIncomplete, match="never lodged"):
        after(event)
    with pytest.raises(HistoryIncomplete, match="never lodged"):
        after(HERE, event, event)


# ---------------------------------------------------------------------------------------- many at once


@pytest.mark.parametrize("seed", range(12))
def test_many_events_at_once_come_to_the_same_as_one_by_one(seed: int) -> None:
    teller = Teller(seed)
    story = chain(teller, Block(0, b"g" * 32, START), 60)
    logged = [item for _, some in story for item in some]
    assert apply_all(logged, State()) == teller.state
    # And wherever they are parted.
    state = State()
    for start in range(0, len(logged), 7):
        apply_all(logged[start : start + 7], state)
    assert state == teller.state


def test_payments_of_a_loan_that_defaulted_or_was_assigned_count_at_once_too() -> None:
    events = [
        OPENED,
        Repaid(LOAN.id, STRANGER, 5, 5),
        LoanDefaulted(LOAN.id, 1, LOAN.instalment),
        Repaid(LOAN.id, STRANGER, 5, 10),
        PaymentHeld(LOAN.id, LENDER, 5),
        LoanAssigned(LOAN.id, LENDER, STRANGER),
        Repaid(LOAN.id, STRANGER, 5, 15),
        ServicerAppointed(STRANGER, SERVICER),
    ]
    logged = [Logged(event, 1, b"", LOAN.opened_at, b"", index) for index, event in enumerate(events)]
    state = apply_all(logged, State())
    assert state.loans[LOAN.id] == replace(LOAN, paid=15, defaulted=1, lender=STRANGER, assigned=True)
    assert state.held == {LENDER: 5}
