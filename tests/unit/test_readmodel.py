"""The read model: what events come to, exactly, and back again."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from itertools import product
from typing import Any

import pytest
from history import BORROWERS, CONTACT, LENDERS, LENDING, START, Teller, chain, pages
from scene import a_loan, day
from sqlalchemy import delete, select

from duly.domain import calendar
from duly.domain.consent import Channel, Profile
from duly.domain.events import (
    EVENTS,
    Block,
    ConsentGranted,
    ConsentRevoked,
    ContactRegistered,
    Event,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    GrievanceWithdrawn,
    LoanAmended,
    LoanAssigned,
    LoanDefaulted,
    LoanOpened,
    LoanRescinded,
    Logged,
    NoticeServed,
    PolicyPublished,
    Repaid,
    ServicerAppointed,
)
from duly.domain.grievance import NO_CASE, NO_REST, Case, Grievance, Rest
from duly.domain.loan import Loan, Status
from duly.domain.notice import NOTHING_SELDOM, Kind, Said, SeldomSaid
from duly.domain.replay import HistoryIncomplete, State, apply, begins, subjects
from duly.store import schema
from duly.store.database import (
    reading,
    writing,
)
from duly.store.readmodel import (
    AmbiguousLoan,
    AnotherLedger,
    Candidate,
    CursorMoved,
    Identity,
    NothingIndexed,
    ReadModel,
    UnknownLoan,
)

IDENTITY = Identity(31337, b"g" * 32, "0x" + "1e" * 20, 1)
BEFORE = Block(0, b"g" * 32, START)


def started(url: str) -> ReadModel:
    model = ReadModel.open(url)
    model.start(IDENTITY, BEFORE)
    return model


Opened = Callable[[], ReadModel]


@pytest.fixture
def opened(fresh: Callable[[], str]) -> Iterator[Opened]:
    """A read model of its own in which nothing was told yet."""
    models: list[ReadModel] = []

    def opened() -> ReadModel:
        models.append(started(fresh()))
        return models[-1]

    yield opened
    for model in models:
        model.engine.dispose()


def emptied(model: ReadModel) -> ReadModel:
    """The same as `opened()`, but much quicker the second time."""
    with writing(model.engine) as connection:
        for table in reversed(schema.READ_MODEL):
            connection.execute(delete(table))
    model.start(IDENTITY, BEFORE)
    return model


def dump(model: ReadModel) -> dict[str, list[tuple[Any, ...]]]:
    """The content of every table."""
    with reading(model.engine) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in schema.READ_MODEL
        }


def tell(model: ReadModel, *told: Event, timestamp: int = START) -> Block:
    """Apply some events in one block."""
    after = model.cursor().block
    block = Block(after.number + 1, bytes([after.number + 1]) * 32, timestamp)
    logged = [
        Logged(each, block.number, block.hash, timestamp, b"t" * 32, index) for index, each in enumerate(told)
    ]
    model.apply(logged, after, block)
    return block


def open_loan(loan: Loan) -> LoanOpened:
    return LoanOpened(loan.id, loan.terms, loan.instalment, loan.total)


PUBLISHED = PolicyPublished(1, LENDERS[0], LENDING, CONTACT, b"t" * 32, b"p" * 32)


# ---------------------------------------------------------------------------------------- histories


@pytest.mark.parametrize("seed", range(24))
def test_rolling_back_leaves_what_a_fresh_start_would_make(seed: int, opened: Opened) -> None:
    teller = Teller(seed)
    kept = chain(teller, BEFORE, teller.random.randrange(1, 25))
    model, fresh, at = opened(), opened(), BEFORE
    for _ in range(3):
        for block, logged in pages(teller, kept[[b for b, _ in kept].index(at) + 1 if at != BEFORE else 0 :]):
            model.apply(logged, at, block)
            at = block
        # A branch that is abandoned, from some block on, for another.
        fork = teller.random.randrange(len(kept) + 1)
        kept = kept[:fork]
        at = kept[-1][0] if kept else BEFORE
        count = model.roll_back(at)
        assert count >= 0
        teller.state = State()
        for _, logged in kept:
            for item in logged:
                apply(item.event, item.timestamp, teller.state)
        assert_fresh(model, kept, teller, emptied(fresh))
        kept += chain(teller, at, teller.random.randrange(1, 25))
    for block, logged in pages(teller, kept[fork:]):
        model.apply(logged, at, block)
        at = block
    assert_fresh(model, kept, teller, emptied(fresh))


def assert_fresh(
    model: ReadModel, story: list[tuple[Block, list[Logged]]], teller: Teller, fresh: ReadModel
) -> None:
    """The model is what reading the story from the start makes, block by block."""
    at = BEFORE
    for block, logged in story:
        fresh.apply(logged, at, block)
        at = block
    assert dump(model) == dump(fresh)
    state = teller.state
    assert {loan.id: loan for loan in model.loans()} == state.loans
    for loan_id, loan in state.loans.items():
        assert model.said(loan_id) == state.said.get(loan_id, Said())
        candidate = model.candidate(loan_id)
        assert candidate
        assert candidate.carried == state.carried.get(loan_id, 0)
        assert candidate.seldom_said == state.seldom_said.get(loan_id, NOTHING_SELDOM)
        assert candidate.rest == state.rests.get(loan.terms.borrower, NO_REST)
        cases = state.cases.get(loan_id, {})
        assert candidate.dispute == cases.get(Grievance.DISPUTE, NO_CASE)
        assert candidate.hardship == cases.get(Grievance.HARDSHIP, NO_CASE)
        assert model.history(loan_id) == [
            item
            for _, logged in story
            for item in logged
            if subjects(item.event)[0] == loan_id or begins(item.event) == loan_id
        ]
        if loan.amends:
            assert model.successor(loan.terms.replaces) == loan_id
        assert (model.successor(loan_id) is None) == (loan.status is not Status.REPLACED)
    assert dump(model)["cases"] == sorted(
        (loan_id, int(grievance), *map(int, astuple(case)))
        for loan_id, cases in state.cases.items()
        for grievance, case in cases.items()
    )
    for borrower in BORROWERS:
        assert model.profile(borrower) == state.profiles.get(borrower, Profile())
        assert model.reminders(borrower) == state.reminders.get(borrower, ())
    assert model.policies() == [state.policies[number] for number in sorted(state.policies)]
    assert [(n.id, n.timestamp) for n in model.notices()] == [
        (item.event.id, item.timestamp)
        for _, logged in story
        for item in logged
        if isinstance(item.event, NoticeServed)
    ]
    assert list(model.events()) == [item for _, logged in story for item in logged]


def test_what_a_grievance_about_another_loan_rests_is_kept_when_a_block_is_undone(opened: Opened) -> None:
    model = opened()
    first, second = a_loan(number=1), a_loan(number=2)
    borrower = first.terms.borrower
    second = replace(second, terms=replace(second.terms, borrower=borrower))
    told = tell(
        model,
        PUBLISHED,
        open_loan(first),
        open_loan(second),
        GrievanceLodged(first.id, borrower, Grievance.DISPUTE, borrower, True, False),
    )
    before = dump(model)
    tell(model, GrievanceLodged(second.id, borrower, Grievance.HARDSHIP, borrower, True, True))
    assert candidate(model, first).rest == Rest(standing=2, fees_standing=1)
    model.roll_back(told)
    assert dump(model) == before
    # Nothing about the loans is undone here, but something about their borrower.
    tell(model, GrievanceWithdrawn(first.id, borrower, Grievance.DISPUTE), timestamp=START + 5)
    after, block = dump(model), model.cursor().block
    tell(model, ConsentGranted(borrower, Channel.EMAIL))
    model.roll_back(block)
    assert dump(model) == after
    assert candidate(model, second).rest == Rest(until=START + 5)


def test_grievances_go_over_to_the_loan_that_replaces_and_back_again(opened: Opened) -> None:
    model, loan = opened(), a_loan(number=1)
    borrower = loan.terms.borrower
    lodged = GrievanceLodged(loan.id, borrower, Grievance.DISPUTE, borrower, False, True)
    told = tell(model, PUBLISHED, open_loan(loan), lodged)
    before, amendment = dump(model), amended(loan, 0)
    tell(model, amendment, GrievancesCarriedOver(loan.id, amendment.amendment), timestamp=START + 1)
    old, new = candidate(model, loan), model.candidate(amendment.amendment)
    assert new
    assert (old.dispute, old.loan.rest) == (NO_CASE, NO_REST)
    assert (new.dispute, new.loan.rest) == (Case(START, fees_rest=True), Rest(1, fees_standing=1))
    tell(
        model,
        GrievanceAnswered(amendment.amendment, borrower, Grievance.DISPUTE, START + 99),
        timestamp=START + 9,
    )
    new = model.candidate(amendment.amendment)
    assert new
    assert new.dispute == Case(START, answered_at=START + 9, fees_rest=True)
    assert new.loan.rest == Rest(until=START + 99, fees_until=START + 99)
    model.roll_back(told)
    assert dump(model) == before


def candidate(model: ReadModel, loan: Loan) -> Candidate:
    found = model.candidate(loan.id)
    assert found
    return found


def test_what_is_seldom_said_is_kept(opened: Opened) -> None:
    model, loan = opened(), a_loan(number=1)
    arrears = replace(served(loan, Kind.ARREARS, 3), instalment=3)
    tell(
        model,
        PUBLISHED,
        open_loan(loan),
        served(loan, Kind.LOAN_ASSIGNED, int(LENDERS[1], 16)),
        served(loan, Kind.CONSENT_CHANGED, 7),
        arrears,
    )
    block, kept = model.cursor().block, candidate(model, loan)
    assert kept.seldom_said == SeldomSaid(LENDERS[1], 1, START, 1, 7)
    assert kept.said == Said(services=(START, START, START))
    tell(model, replace(arrears, id=b"x" * 32, serial=1), timestamp=START + 5)
    assert candidate(model, loan).seldom_said == SeldomSaid(LENDERS[1], 1, START + 5, 2, 7)
    model.roll_back(block)
    assert candidate(model, loan) == kept


def test_the_crowd_of_histories_tells_everything() -> None:
    names = {
        item.event.name
        for seed in range(5)
        for _, logged in chain(Teller(seed), BEFORE, 100)
        for item in logged
    }
    assert names == {event.name for event in EVENTS}


def test_the_crowd_of_histories_has_every_kind_of_grievance_and_notice() -> None:
    told = [
        item.event for seed in range(24) for _, logged in chain(Teller(seed), BEFORE, 100) for item in logged
    ]
    assert {event.kind for event in told if isinstance(event, NoticeServed)} == set(Kind)
    lodged = {
        (event.grievance, event.all_loans, event.fees_rest)
        for event in told
        if isinstance(event, GrievanceLodged)
    }
    both = (False, True)
    assert lodged == set(product(Grievance, both, both))
    assert {event.grievance for event in told if isinstance(event, GrievanceWithdrawn)} == set(Grievance)
    answered = {event.grievance for event in told if isinstance(event, GrievanceAnswered)}
    assert answered == {Grievance.DISPUTE, Grievance.HARDSHIP}
    amended = [event for event in told if isinstance(event, LoanAmended)]
    moved = {event.amendment for event in told if isinstance(event, GrievancesCarriedOver)}
    # By both parties, who take nothing along that was paid; and deferred, with what was paid ahead.
    assert {bool(event.paid) for event in amended if event.amendment in moved} == {False, True}
    assert any(event.amendment not in moved for event in amended)


def test_an_event_about_nothing_known_changes_nothing(opened: Opened) -> None:
    model = opened()
    tell(model, PUBLISHED, open_loan(a_loan()))
    before = dump(model)
    with pytest.raises(HistoryIncomplete, match="never opened"):
        tell(model, Repaid(a_loan().id, BORROWERS[0], 5, 5), Repaid(b"?" * 32, BORROWERS[0], 5, 5))
    assert dump(model) == before
    tell(model, Repaid(a_loan().id, BORROWERS[0], 7, 7))
    found = model.loan(a_loan().id)
    assert found
    assert found.paid == 7


def test_amounts_beyond_64_bits_are_exact(opened: Opened) -> None:
    model = opened()
    loan = a_loan()
    terms = replace(loan.terms, principal=2**88 - 1, late_fee=2**80 - 1)
    tell(model, PUBLISHED, LoanOpened(loan.id, terms, 2**88 - 3, 2**88 - 2))
    tell(model, Repaid(loan.id, BORROWERS[0], 2**70 + 1, 2**70 + 1))
    found = model.loan(loan.id)
    assert found
    assert (found.terms.principal, found.terms.late_fee) == (2**88 - 1, 2**80 - 1)
    assert (found.instalment, found.total, found.paid) == (2**88 - 3, 2**88 - 2, 2**70 + 1)
    assert [item.event for item in model.history(loan.id)][1] == Repaid(
        loan.id, BORROWERS[0], 2**70 + 1, 2**70 + 1
    )


# ---------------------------------------------------------------------------------------- candidates


def candidates(model: ReadModel, today: str) -> list[int]:
    """The numbers of the loans that something may have to be said about on a day."""
    return [int.from_bytes(each.loan.id, "big") for each in model.candidates(day(today))]


@pytest.fixture
def lent(opened: Opened) -> ReadModel:
    """Three loans whose opening was told: due on 29 January, 15 February, 15 March; days ahead: 3."""
    model = opened()
    dues = ("2027-01-29", "2027-02-15", "2027-03-15")
    loans = [a_loan(due, number=number) for number, due in enumerate(dues, start=1)]
    tell(model, PUBLISHED, *map(open_loan, loans))
    tell(model, *[served(loan, Kind.LOAN_OPENED) for loan in loans])
    return model


def served(loan: Loan, kind: Kind, basis: int = 0, serial: int = 0) -> NoticeServed:
    about = bytes([kind, serial]) + basis.to_bytes(20, "big") + loan.id[22:]
    terms = loan.terms
    return NoticeServed(
        about, loan.id, terms.lender, terms.borrower, kind, 0, 1, Channel.EMAIL, basis, serial, b"c" * 32
    )


def test_candidates_are_due_or_have_something_untold(lent: ReadModel) -> None:
    assert candidates(lent, "2027-01-25") == []
    assert candidates(lent, "2027-01-26") == [1]
    assert candidates(lent, "2027-02-12") == [1, 2]
    assert candidates(lent, "2030-01-01") == [1, 2, 3]
    loan = a_loan(number=3)
    tell(lent, Repaid(loan.id, BORROWERS[0], 5, 5))
    assert candidates(lent, "2027-01-26") == [1, 3]
    tell(lent, served(loan, Kind.PAYMENT_RECEIVED, 5))
    assert candidates(lent, "2027-01-26") == [1]


def test_candidates_move_on_with_what_is_paid(lent: ReadModel) -> None:
    loan = a_loan(number=1)
    tell(lent, Repaid(loan.id, BORROWERS[0], loan.instalment, loan.instalment))
    tell(lent, served(loan, Kind.PAYMENT_RECEIVED, loan.instalment))
    assert candidates(lent, "2027-02-11") == []  # the second is due on 28 February
    assert candidates(lent, "2027-02-25") == [1, 2]
    tell(lent, Repaid(loan.id, BORROWERS[0], loan.total - loan.instalment, loan.total))
    assert candidates(lent, "2027-01-01") == [1]  # that it is repaid is still to be told
    tell(lent, served(loan, Kind.LOAN_REPAID))
    assert candidates(lent, "2030-01-01") == [2, 3]


def test_candidates_of_whom_an_instalment_is_paid_ahead(lent: ReadModel) -> None:
    loan = a_loan(number=1)  # due on 29 January, 28 February, 29 March, …
    tell(lent, Repaid(loan.id, BORROWERS[0], 2 * loan.instalment, 2 * loan.instalment))
    tell(lent, served(loan, Kind.PAYMENT_RECEIVED, 2 * loan.instalment))
    # A week before each that is paid, and a little after it, wherever on Earth.
    assert candidates(lent, "2027-01-21") == []
    assert candidates(lent, "2027-01-22") == [1]
    assert candidates(lent, "2027-01-31") == [1]
    assert candidates(lent, "2027-02-01") == []
    assert 1 in candidates(lent, "2027-02-21")
    assert 1 in candidates(lent, "2027-02-28")
    # The third is not paid, and three days are looked ahead for it.
    assert 1 not in candidates(lent, "2027-03-20")
    assert 1 in candidates(lent, "2027-03-26")
    ahead = [each.loan.id for each in lent.candidates(day("2027-01-12"), days=10)]
    assert loan.id in ahead
    assert loan.id not in [each.loan.id for each in lent.candidates(day("2027-01-12"), days=9)]


def test_candidates_whose_cooling_off_period_is_about_to_end(opened: Opened) -> None:
    model, loan = opened(), a_loan(number=1)
    tell(model, PUBLISHED, open_loan(loan))
    tell(model, served(loan, Kind.LOAN_OPENED))
    began, days = calendar.local_day(START, 0), PUBLISHED.lending.cooling_off_days
    found = [model.candidates(began + n) for n in range(60)]
    on = [n for n, some in enumerate(found) if list(some)]
    # Its last day and the three before it, and a day more on both sides, wherever on Earth.
    assert set(range(days - 3, days + 1)) <= set(on) <= set(range(days - 5, days + 3))
    assert list(model.candidates(began)) == []
    assert [each.loan.id for each in model.candidates(began, days=days)] == [loan.id]


def test_candidates_whose_borrower_was_not_told_of_a_change_of_consent(lent: ReadModel) -> None:
    borrower, loan = a_loan(number=1).terms.borrower, a_loan(number=1)
    today = "2027-01-10"
    tell(
        lent,
        ContactRegistered(borrower, Channel.EMAIL, b"c" * 32, 32, 32),
        ConsentGranted(borrower, Channel.EMAIL),
    )
    # Nothing was said since there is a channel: the first notice tells it by itself.
    assert candidates(lent, today) == []
    assert candidate(lent, loan).changes_told is None
    block = tell(lent, served(loan, Kind.PAYMENT_RECEIVED, 1))
    assert candidate(lent, loan).changes_told == 2
    assert candidates(lent, today) == []
    tell(lent, ConsentRevoked(borrower, Channel.EMAIL, borrower))
    # Nobody may be told without consent.
    assert candidates(lent, today) == []
    tell(lent, ConsentGranted(borrower, Channel.EMAIL))
    assert candidates(lent, today) == [1]
    tell(lent, served(loan, Kind.CONSENT_CHANGED, 4))
    assert candidates(lent, today) == []
    assert candidate(lent, loan).changes_told == 4
    lent.roll_back(block)
    assert candidate(lent, loan).changes_told == 2


def test_a_candidate_knows_when_the_borrower_was_reminded_of_the_loan(lent: ReadModel) -> None:
    one, other = a_loan(number=1), a_loan(number=2)
    assert candidate(lent, one).reminded_at == 0
    tell(lent, served(one, Kind.INSTALMENT_UPCOMING, 1), timestamp=START + 5)
    tell(lent, served(one, Kind.PAYMENT_RECEIVED, 2), timestamp=START + 6)
    tell(lent, served(other, Kind.OVERDUE, 1), timestamp=START + 7)
    assert (candidate(lent, one).reminded_at, candidate(lent, other).reminded_at) == (START + 5, START + 7)
    assert candidate(lent, one).pack == PUBLISHED.pack


def amended(loan: Loan, paid: int, number: int = 9) -> LoanAmended:
    """The loan deferred by a month, with what was paid ahead on it."""
    amendment = number.to_bytes(32, "big")
    first_due = calendar.add_months(loan.terms.first_due, 1)
    terms = replace(loan.terms, first_due=first_due, replaces=loan.id, salt=bytes(32), late_fee=0)
    return LoanAmended(loan.id, amendment, terms, loan.instalment, loan.total, loan.opened_at, 0, paid, 0)


def test_candidates_are_no_loans_of_which_everything_was_told_on_another(lent: ReadModel) -> None:
    loan = a_loan(number=1)
    tell(lent, Repaid(loan.id, BORROWERS[0], 500, 500), served(loan, Kind.PAYMENT_RECEIVED, 500))
    tell(lent, amended(loan, 500))
    # That it goes on otherwise is news.
    assert candidates(lent, "2027-02-11") == [9]
    new = lent.loan((9).to_bytes(32, "big"))
    assert new
    tell(lent, served(new, Kind.LOAN_AMENDED))
    # Neither that it began nor what was carried over is, and nothing is due on the other any more.
    assert candidates(lent, "2027-02-11") == []
    assert candidates(lent, "2027-02-12") == [2]
    assert candidates(lent, "2027-02-25") == [2, 9]
    # Something new was paid.
    tell(lent, Repaid(new.id, BORROWERS[0], 70, 570))
    assert candidates(lent, "2027-02-11") == [9]
    tell(lent, served(new, Kind.PAYMENT_RECEIVED, 570))
    assert candidates(lent, "2027-02-11") == []


def test_a_payment_that_was_not_told_is_told_after_the_loan_ended(lent: ReadModel) -> None:
    prepaid, rescinded = a_loan(number=1), a_loan(number=2)
    tell(lent, Repaid(prepaid.id, BORROWERS[0], 500, 500), amended(prepaid, 0))
    tell(lent, LoanRescinded(rescinded.id, 1_200_000, 1_200_000))
    assert candidates(lent, "2030-01-01") == [1, 2, 3, 9]
    tell(lent, served(prepaid, Kind.PAYMENT_RECEIVED, 500))
    tell(lent, served(rescinded, Kind.PAYMENT_RECEIVED, 1_200_000))
    assert candidates(lent, "2030-01-01") == [3, 9]


def test_two_loans_that_are_one_story_know_of_each_other(lent: ReadModel) -> None:
    loan = a_loan(number=1)
    paid, told = Repaid(loan.id, BORROWERS[0], 500, 500), amended(loan, 500)
    tell(lent, paid, told)
    old, new = lent.loan(loan.id), lent.loan(told.amendment)
    assert old
    assert new
    assert (old.status, old.paid, old.owed) == (Status.REPLACED, 0, 0)
    assert (new.status, new.paid, new.terms) == (Status.ACTIVE, 500, told.terms)
    assert lent.successor(loan.id) == new.id
    assert lent.successor(new.id) is None
    assert [item.event for item in lent.history(loan.id)][-2:] == [paid, told]
    assert [item.event for item in lent.history(new.id)] == [told]
    assert lent.find_loan(new.id.hex()) == new
    assert [each.id for each in lent.loans(statuses=[Status.REPLACED])] == [loan.id]


def test_an_assigned_loan_is_its_new_lenders(lent: ReadModel) -> None:
    loan = a_loan(number=1)
    tell(lent, ServicerAppointed(LENDERS[1], BORROWERS[3]))
    tell(lent, LoanAssigned(loan.id, loan.terms.lender, LENDERS[1]))
    found = lent.candidate(loan.id)
    assert found
    assert (found.loan.lender, found.loan.terms.lender) == (LENDERS[1], loan.terms.lender)
    assert found.servicer == BORROWERS[3]
    assert [each.id for each in lent.loans(lender=LENDERS[1])] == [loan.id]
    assert len(lent.loans(lender=loan.terms.lender)) == 2


def test_a_default_is_cured_by_what_pays_its_instalment(lent: ReadModel) -> None:
    loan = a_loan(number=1)
    tell(lent, LoanDefaulted(loan.id, 1, loan.instalment))
    assert [each.id for each in lent.loans(statuses=[Status.DEFAULTED])] == [loan.id]
    # An instalment that is not paid is still to be spoken of.
    assert candidates(lent, "2027-01-26") == [1]
    tell(lent, Repaid(loan.id, BORROWERS[0], loan.instalment - 1, loan.instalment - 1))
    assert lent.count_loans(Status.DEFAULTED) == 1
    tell(lent, Repaid(loan.id, BORROWERS[0], 1, loan.instalment))
    assert lent.count_loans(Status.DEFAULTED) == 0
    assert lent.count_loans(Status.ACTIVE) == 3


def test_a_candidate_has_all_that_a_decision_takes(lent: ReadModel) -> None:
    loan = replace(a_loan(number=1), opened_at=START)
    borrower = loan.terms.borrower
    [found] = lent.candidates(day("2027-01-26"))
    assert found.loan == loan
    assert (found.servicer, found.profile, found.reminders) == ("0x" + 40 * "0", Profile(), ())
    assert (found.said, found.limits) == (Said(flags=1, services=(START,)), CONTACT)
    tell(
        lent,
        ServicerAppointed(loan.terms.lender, LENDERS[1]),
        ContactRegistered(borrower, Channel.SMS, b"k" * 32, 32, 36),
        ConsentGranted(borrower, Channel.SMS),
    )
    tell(lent, served(loan, Kind.OVERDUE, 1), timestamp=START + 5)
    [found] = lent.candidates(day("2027-01-26"))
    assert found == lent.candidate(loan.id)
    assert (found.servicer, found.profile) == (LENDERS[1], Profile(32, 36, 2, 2, changes=2))
    assert (found.reminders, found.said.overdue) == ((START + 5,), 1)
    assert lent.commitment(borrower, Channel.SMS) == b"k" * 32
    assert lent.commitment(borrower, Channel.EMAIL) is None


# ---------------------------------------------------------------------------------------- asking


def test_loans_are_found_by_the_beginning_of_their_id(opened: Opened) -> None:
    model = opened()
    ids = [bytes([0xAB, number]) + bytes(30) for number in (0x01, 0x1F, 0x20)]
    tell(model, PUBLISHED, *[open_loan(replace(a_loan(), id=loan_id)) for loan_id in ids])
    assert model.find_loan("0xab01").id == ids[0]
    assert model.find_loan("AB2").id == ids[2]
    assert model.find_loan(ids[1].hex()).id == ids[1]
    with pytest.raises(AmbiguousLoan, match=r"0xab01000000…, 0xab1f000000…, …"):
        model.find_loan("0xab")
    for wrong in ("", "0x", "abx", "0xac", 65 * "0"):
        with pytest.raises(UnknownLoan):
            model.find_loan(wrong)


def test_notices_are_filtered(lent: ReadModel) -> None:
    loan = a_loan(number=2)
    tell(lent, served(loan, Kind.OVERDUE, 1), served(loan, Kind.OVERDUE, 1, 1))
    assert [notice.kind for notice in lent.notices(loan=loan.id)] == [
        Kind.LOAN_OPENED,
        Kind.OVERDUE,
        Kind.OVERDUE,
    ]
    first = lent.notices(loan=loan.id)[1]
    assert lent.notice(first.id) == first
    assert lent.notice(b"?" * 32) is None
    assert len(lent.notices(after=(first.block_number, first.log_index))) == 1
    assert len(lent.notices(borrower=loan.terms.borrower, newest_first=True, limit=2)) == 2
    assert lent.notices(server="0x" + "77" * 20) == []
    assert lent.refusals() == []


def test_loans_are_listed_by_status(lent: ReadModel) -> None:
    loan = a_loan(number=2)
    tell(lent, Repaid(loan.id, BORROWERS[0], loan.total, loan.total))
    assert [each.id for each in lent.loans(statuses=[Status.REPAID])] == [loan.id]
    assert lent.count_loans() == 3
    assert lent.count_loans(Status.ACTIVE) == 2


# ---------------------------------------------------------------------------------------- databases


def test_nothing_is_indexed_yet(url: str) -> None:
    model = ReadModel.open(url)
    for ask in (model.cursor, model.loans, model.notices, lambda: list(model.candidates(1))):
        with pytest.raises(NothingIndexed, match="duly index"):
            ask()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chain_id": 1}, "chain id is 31337, here it is 1"),
        ({"ledger": "0x" + "2e" * 20}, "ledger is 0x1e1e"),
        ({"genesis": b"h" * 32}, "first block is 0x67676767…, here it is 0x68686868…"),
    ],
)
def test_another_ledgers_database_is_refused(url: str, change: dict[str, Any], words: str) -> None:
    model = started(url)
    before = dump(model)
    with pytest.raises(AnotherLedger, match=words):
        ReadModel.open(url).start(replace(IDENTITY, **change), BEFORE)
    assert dump(model) == before


def test_two_programs_cannot_index_at_once(url: str) -> None:
    one, other = started(url), ReadModel.open(url)
    tell(one, PUBLISHED)
    with pytest.raises(CursorMoved):
        other.apply([], BEFORE, Block(5, b"5" * 32, START))
    # What one remembers is not trusted where the other went on.
    tell(other, open_loan(a_loan()))
    tell(other, Repaid(a_loan().id, BORROWERS[0], 5, 5))
    tell(one, Repaid(a_loan().id, BORROWERS[0], 5, 10))
    found = other.loan(a_loan().id)
    assert found
    assert found.paid == 10


def test_what_goes_wrong_in_a_transaction_is_undone(url: str) -> None:
    model = started(url)
    before = copy.deepcopy(dump(model))

    class Stop(Exception):
        pass

    def stop() -> None:
        with writing(model.engine) as connection:
            connection.execute(schema.servicers.insert().values(lender="x", servicer="y"))
            raise Stop

    with pytest.raises(Stop):
        stop()
    assert dump(model) == before
