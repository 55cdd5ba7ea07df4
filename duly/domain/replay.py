"""The state of everything, from the events alone: `apply` each of them in the chain's order.

The indexer keeps the read model with it, a rollback rebuilds with it, and an auditor can replay a whole chain
without either. Nothing here is asked of a contract.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from duly.domain import calendar
from duly.domain.consent import Channel, Profile
from duly.domain.errors import DulyError
from duly.domain.events import (
    Claimed,
    ConsentGranted,
    ConsentRevoked,
    ContactCeased,
    ContactRegistered,
    ContactTightened,
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
    NoticeRefused,
    NoticeServed,
    OfferCancelled,
    PaymentHeld,
    PolicyPublished,
    PolicyRetired,
    ReceiptAcknowledged,
    Repaid,
    ServicerAppointed,
)
from duly.domain.grievance import NO_CASE, NO_REST, Case, Grievance, Rest
from duly.domain.loan import Loan, Status
from duly.domain.notice import NOTHING_SELDOM, RECEIPTS, Said, SeldomSaid, Spoken, after_serving
from duly.domain.policy import ContactLimits, LendingLimits


class HistoryIncomplete(DulyError):
    """An event is about something that no earlier event told of."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A published policy as it stands: contact limits as tightened, hashes of the templates and the pack."""

    number: int
    publisher: str
    lending: LendingLimits
    contact: ContactLimits
    templates: bytes
    pack: bytes
    retired: bool = False


@dataclass(slots=True)
class State:
    """Everything that the contracts keep, as far as events were applied. The values are never changed, only
    replaced.

    `carried` is what was paid ahead on the loan that an amendment replaced, and counts on it. `reminders` are
    the times (UTC seconds) of a borrower's last seven, newest first. `held` is what the ledger holds for a
    lender. `cases` are the grievances about a loan, `rests` what a borrower's come to that concern all loans.
    An absent entry is what the contracts start from: 0, `Profile()`, `Said()`, `()`, the zero address.
    """

    loans: dict[bytes, Loan] = field(default_factory=dict)
    carried: dict[bytes, int] = field(default_factory=dict)
    said: dict[bytes, Said] = field(default_factory=dict)
    seldom_said: dict[bytes, SeldomSaid] = field(default_factory=dict)
    cases: dict[bytes, dict[Grievance, Case]] = field(default_factory=dict)
    rests: dict[str, Rest] = field(default_factory=dict)
    policies: dict[int, Policy] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    commitments: dict[tuple[str, Channel], bytes] = field(default_factory=dict)
    reminders: dict[str, tuple[int, ...]] = field(default_factory=dict)
    servicers: dict[str, str] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)


def apply(event: Event, timestamp: int, state: State) -> State:
    """The state after one more event, told in a block of that time (UTC seconds); the same object.

    Raises: HistoryIncomplete, when what the event is about was never told of.
    """
    _APPLY[type(event)](event, timestamp, state)
    return state


def apply_all(logged: Iterable[Logged], state: State) -> State:
    """The state after some more events, in the chain's order; the same object as `apply` one by one.

    Of several payments of a loan the last one tells all: most events are payments.

    Raises: HistoryIncomplete, when what an event is about was never told of.
    """
    paid: dict[bytes, int] = {}
    for item in logged:
        event = item.event
        if type(event) is Repaid:
            paid[event.id] = event.paid
            continue
        loan = subjects(event)[0]
        if loan in paid:
            _pay(state, loan, paid.pop(loan))
        apply(event, item.timestamp, state)
    for loan, amount in paid.items():
        _pay(state, loan, amount)
    return state


def subjects(event: Event) -> tuple[bytes | None, str | None, int | None]:
    """What an event is about: the loan, the party (a borrower with what was allowed and said to them, or a
    lender with its appointments), the policy. `apply` changes nothing else, but the loan that begins with it
    (see `begins`).
    """
    return _SUBJECTS[type(event)](event)


def begins(event: Event) -> bytes | None:
    """The loan that begins with an event: opened, or carrying on what was owed on another."""
    if type(event) is LoanOpened:
        return event.id
    return event.amendment if type(event) is LoanAmended else None


# ---------------------------------------------------------------------------------------- the ledger


def _loan(state: State, loan_id: bytes) -> Loan:
    try:
        return state.loans[loan_id]
    except KeyError:
        raise HistoryIncomplete(f"an event is about loan 0x{loan_id.hex()}, which was never opened") from None


def _loan_opened(event: LoanOpened, timestamp: int, state: State) -> None:
    state.loans[event.id] = Loan(event.id, event.terms, timestamp, event.instalment, event.total)


def _credited(event: Repaid | ReceiptAcknowledged | DebtForgiven, timestamp: int, state: State) -> None:
    _pay(state, event.id, event.paid)


def _pay(state: State, loan_id: bytes, paid: int) -> None:
    loan = _loan(state, loan_id)
    # Written out, as `replace` takes four times as long.
    state.loans[loan_id] = Loan(
        loan.id,
        loan.terms,
        loan.opened_at,
        loan.instalment,
        loan.total,
        paid,
        loan.fees,
        loan.assessed,
        loan.lender,
        loan.defaulted,
        loan.recorded_status,
        loan.assigned,
        loan.rest,
    )


def _offer_cancelled(event: OfferCancelled, timestamp: int, state: State) -> None:
    """Nothing was lent."""


def _fees_waived(event: FeesWaived, timestamp: int, state: State) -> None:
    state.loans[event.id] = replace(_loan(state, event.id), fees=event.fees)


def _instalment_missed(event: InstalmentMissed, timestamp: int, state: State) -> None:
    state.loans[event.id] = replace(_loan(state, event.id), fees=event.fees, assessed=event.last)


def _loan_settled(event: LoanSettled, timestamp: int, state: State) -> None:
    loan = _loan(state, event.id)
    state.loans[event.id] = replace(loan, total=loan.total - event.saved, paid=event.paid)


def _loan_repaid(event: LoanRepaid, timestamp: int, state: State) -> None:
    """Derived already: nothing is owed."""
    _loan(state, event.id)


def _loan_rescinded(event: LoanRescinded, timestamp: int, state: State) -> None:
    state.loans[event.id] = replace(
        _loan(state, event.id),
        total=event.paid,
        paid=event.paid,
        fees=0,
        recorded_status=Status.RESCINDED,
    )


def _loan_amended(event: LoanAmended, timestamp: int, state: State) -> None:
    old = _loan(state, event.id)
    # What was paid ahead, and the fees that are unpaid, went over to the other loan.
    paid, fees = old.paid - _paid_ahead(old, event), old.fees - event.fees
    state.loans[event.id] = replace(
        old, total=paid - fees, paid=paid, fees=fees, recorded_status=Status.REPLACED
    )
    state.loans[event.amendment] = Loan(
        event.amendment,
        event.terms,
        event.opened_at,
        event.instalment,
        event.total,
        event.paid,
        event.fees,
        event.assessed,
        assigned=old.assigned,
    )
    if event.paid:
        state.carried[event.amendment] = event.paid


def _paid_ahead(old: Loan, event: LoanAmended) -> int:
    """What was paid ahead on a loan and counts on the one that replaced it.

    The event's `paid` may be a few units more, as instalments are rounded anew and the loan must not become
    dearer by it. Only the lender's deferral, which moves due days, takes anything along: what is prepaid
    becomes less principal, and both parties together write down what is left.
    """
    terms = event.terms
    k = old.terms.instalments - terms.instalments
    if not event.paid or terms.first_due == calendar.due_day_to_go_on_from(
        old.terms.first_due, old.terms.frequency, k + 1
    ):
        return 0
    return old.paid - (old.fees - event.fees) - old.curve.cumulative(k)


def _loan_assigned(event: LoanAssigned, timestamp: int, state: State) -> None:
    state.loans[event.id] = replace(_loan(state, event.id), lender=event.to, assigned=True)


def _loan_defaulted(event: LoanDefaulted, timestamp: int, state: State) -> None:
    state.loans[event.id] = replace(_loan(state, event.id), defaulted=event.instalment)


def _servicer_appointed(event: ServicerAppointed, timestamp: int, state: State) -> None:
    state.servicers[event.lender] = event.servicer


def _payment_held(event: PaymentHeld, timestamp: int, state: State) -> None:
    state.held[event.lender] = state.held.get(event.lender, 0) + event.amount


def _claimed(event: Claimed, timestamp: int, state: State) -> None:
    state.held[event.lender] = state.held.get(event.lender, 0) - event.amount


# ---------------------------------------------------------------------------------------- policies


def _policy(state: State, number: int) -> Policy:
    try:
        return state.policies[number]
    except KeyError:
        raise HistoryIncomplete(f"an event is about policy {number}, which was never published") from None


def _policy_published(event: PolicyPublished, timestamp: int, state: State) -> None:
    state.policies[event.policy] = Policy(
        event.policy, event.publisher, event.lending, event.contact, event.templates, event.pack
    )


def _contact_tightened(event: ContactTightened, timestamp: int, state: State) -> None:
    state.policies[event.policy] = replace(_policy(state, event.policy), contact=event.contact)


def _policy_retired(event: PolicyRetired, timestamp: int, state: State) -> None:
    state.policies[event.policy] = replace(_policy(state, event.policy), retired=True)


# ---------------------------------------------------------------------------------------- consent

_NOBODY = Profile()


def _contact_registered(event: ContactRegistered, timestamp: int, state: State) -> None:
    profile = state.profiles.get(event.borrower, _NOBODY)
    bit = 1 << event.channel
    state.profiles[event.borrower] = replace(
        profile,
        offset=event.offset,
        other_offset=event.other_offset,
        registered=profile.registered | bit,
        # Consent was given to another address, perhaps of someone else by now.
        consented=profile.consented & ~bit,
        changes=profile.changes + 1,
    )
    state.commitments[event.borrower, event.channel] = event.commitment


def _consent_granted(event: ConsentGranted, timestamp: int, state: State) -> None:
    profile = state.profiles.get(event.borrower, _NOBODY)
    state.profiles[event.borrower] = replace(
        profile,
        consented=profile.consented | 1 << event.channel,
        ceased=False,
        changes=profile.changes + 1,
    )


def _consent_revoked(event: ConsentRevoked, timestamp: int, state: State) -> None:
    profile = state.profiles.get(event.borrower, _NOBODY)
    state.profiles[event.borrower] = replace(
        profile, consented=profile.consented & ~(1 << event.channel), changes=profile.changes + 1
    )


def _contact_ceased(event: ContactCeased, timestamp: int, state: State) -> None:
    profile = state.profiles.get(event.borrower, _NOBODY)
    state.profiles[event.borrower] = replace(profile, consented=0, ceased=True, changes=profile.changes + 1)


# ---------------------------------------------------------------------------------------- grievances


def _grievance_lodged(event: GrievanceLodged, timestamp: int, state: State) -> None:
    case = Case(timestamp, all_loans=event.all_loans, fees_rest=event.fees_rest)
    _put_case(state, event.loan, event.grievance, case)
    loan = _loan(state, event.loan)
    state.loans[event.loan] = replace(loan, rest=loan.rest.lodged(case))
    if case.all_loans:
        state.rests[event.borrower] = state.rests.get(event.borrower, NO_REST).lodged(case)


def _grievance_answered(event: GrievanceAnswered, timestamp: int, state: State) -> None:
    _end_grievance(state, event.loan, event.borrower, event.grievance, timestamp, event.rests_until)


def _grievance_withdrawn(event: GrievanceWithdrawn, timestamp: int, state: State) -> None:
    _end_grievance(state, event.loan, event.borrower, event.grievance, timestamp, timestamp)


def _end_grievance(
    state: State, loan_id: bytes, borrower: str, grievance: Grievance, timestamp: int, until: int
) -> None:
    case = state.cases.get(loan_id, {}).get(grievance, NO_CASE)
    if not case.stands:
        raise HistoryIncomplete(f"a grievance about loan 0x{loan_id.hex()} ended that was never lodged")
    _put_case(state, loan_id, grievance, replace(case, answered_at=timestamp))
    loan = _loan(state, loan_id)
    state.loans[loan_id] = replace(loan, rest=loan.rest.ended(case, until))
    if case.all_loans:
        state.rests[borrower] = state.rests[borrower].ended(case, until)


def _grievances_carried_over(event: GrievancesCarriedOver, timestamp: int, state: State) -> None:
    old, new = _loan(state, event.loan), _loan(state, event.amendment)
    state.loans[event.loan] = replace(old, rest=NO_REST)
    state.loans[event.amendment] = replace(new, rest=old.rest)
    state.cases[event.amendment] = state.cases.get(event.loan, {})
    state.cases[event.loan] = {}


def _put_case(state: State, loan_id: bytes, grievance: Grievance, case: Case) -> None:
    state.cases[loan_id] = state.cases.get(loan_id, {}) | {grievance: case}


# ---------------------------------------------------------------------------------------- notices


def _notice_served(event: NoticeServed, timestamp: int, state: State) -> None:
    spoken = Spoken(
        state.said.get(event.loan, Said()),
        state.seldom_said.get(event.loan, NOTHING_SELDOM),
        state.reminders.get(event.borrower, ()),
    )
    spoken = after_serving(
        event.kind, event.instalment, event.basis, spoken, timestamp, together=event.together
    )
    state.said[event.loan] = spoken.said
    if spoken.seldom != NOTHING_SELDOM:
        state.seldom_said[event.loan] = spoken.seldom
    if event.kind.is_reminder:
        state.reminders[event.borrower] = spoken.reminders
    grievance = event.kind.grievance
    if grievance is not None and event.kind in RECEIPTS:
        case = state.cases.get(event.loan, {}).get(grievance, NO_CASE)
        _put_case(state, event.loan, grievance, replace(case, received=True))


def _notice_refused(event: NoticeRefused, timestamp: int, state: State) -> None:
    """Nothing was said."""


_APPLY: dict[type[Event], Callable[[Any, int, State], None]] = {
    LoanOpened: _loan_opened,
    OfferCancelled: _offer_cancelled,
    Repaid: _credited,
    ReceiptAcknowledged: _credited,
    DebtForgiven: _credited,
    FeesWaived: _fees_waived,
    InstalmentMissed: _instalment_missed,
    LoanSettled: _loan_settled,
    LoanRepaid: _loan_repaid,
    LoanRescinded: _loan_rescinded,
    LoanAmended: _loan_amended,
    LoanAssigned: _loan_assigned,
    LoanDefaulted: _loan_defaulted,
    ServicerAppointed: _servicer_appointed,
    PaymentHeld: _payment_held,
    Claimed: _claimed,
    PolicyPublished: _policy_published,
    ContactTightened: _contact_tightened,
    PolicyRetired: _policy_retired,
    ContactRegistered: _contact_registered,
    ConsentGranted: _consent_granted,
    ConsentRevoked: _consent_revoked,
    ContactCeased: _contact_ceased,
    GrievanceLodged: _grievance_lodged,
    GrievanceAnswered: _grievance_answered,
    GrievanceWithdrawn: _grievance_withdrawn,
    GrievancesCarriedOver: _grievances_carried_over,
    NoticeServed: _notice_served,
    NoticeRefused: _notice_refused,
}


def _of_loan(event: Any) -> tuple[bytes | None, str | None, int | None]:
    return event.id, None, None


def _of_lender(event: Any) -> tuple[bytes | None, str | None, int | None]:
    return None, event.lender, None


def _of_policy(event: Any) -> tuple[bytes | None, str | None, int | None]:
    return None, None, event.policy


def _of_borrower(event: Any) -> tuple[bytes | None, str | None, int | None]:
    return None, event.borrower, None


def _of_both(event: Any) -> tuple[bytes | None, str | None, int | None]:
    return event.loan, event.borrower, None


_SUBJECTS: dict[type[Event], Callable[[Any], tuple[bytes | None, str | None, int | None]]] = {
    LoanOpened: _of_loan,
    OfferCancelled: _of_loan,
    Repaid: _of_loan,
    ReceiptAcknowledged: _of_loan,
    DebtForgiven: _of_loan,
    FeesWaived: _of_loan,
    InstalmentMissed: _of_loan,
    LoanSettled: _of_loan,
    LoanRepaid: _of_loan,
    LoanRescinded: _of_loan,
    LoanAmended: _of_loan,
    LoanAssigned: _of_loan,
    LoanDefaulted: _of_loan,
    ServicerAppointed: _of_lender,
    PaymentHeld: lambda event: (event.id, event.lender, None),
    Claimed: _of_lender,
    PolicyPublished: _of_policy,
    ContactTightened: _of_policy,
    PolicyRetired: _of_policy,
    ContactRegistered: _of_borrower,
    ConsentGranted: _of_borrower,
    ConsentRevoked: _of_borrower,
    ContactCeased: _of_borrower,
    GrievanceLodged: _of_both,
    GrievanceAnswered: _of_both,
    GrievanceWithdrawn: _of_both,
    GrievancesCarriedOver: lambda event: (event.loan, None, None),
    NoticeServed: _of_both,
    NoticeRefused: lambda event: (event.loan, None, None),
}
