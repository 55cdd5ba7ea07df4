"""Histories that a chain could tell, made up at random."""

import random
from collections.abc import Sequence
from dataclasses import replace

from duly.domain import calendar
from duly.domain.calendar import DAY
from duly.domain.consent import Channel, Profile
from duly.domain.events import (
    Block,
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
from duly.domain.grievance import NO_CASE, Grievance
from duly.domain.loan import Loan
from duly.domain.notice import ANSWERS, Kind, Refusal, notice_id
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.replay import State, apply
from duly.domain.terms import Terms

START = 1_790_000_000
LENDING = LendingLimits(240_000, AprConvention.EFFECTIVE, 500, 10, 14, 90)
CONTACT = ContactLimits(540, 1_140, 600, 31, 1, 3, 86_400, 3, 1, 30, 0b001, 0b011)
LENDERS = ["0x" + f"{n:02x}" * 20 for n in (0xA1, 0xA2)]
BORROWERS = ["0x" + f"{n:02x}" * 20 for n in range(0xB1, 0xB7)]


class Teller:
    """Tells events one after the other, each of which could follow those before."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.state = State()
        self.told: set[bytes] = set()

    def transaction(self, timestamp: int) -> list[Event]:
        """One event, and what must follow it at once."""
        events: list[Event] = [self._event(timestamp)]
        match events[0]:
            case LoanAmended(id=loan_id, amendment=amendment) if loan_id in self.state.cases:
                events.append(GrievancesCarriedOver(loan_id, amendment))
            case NoticeServed(kind=kind, loan=loan_id, borrower=borrower) if kind in ANSWERS:
                days = self._contact(self.state.loans[loan_id]).pause_days
                assert kind.grievance is not None
                events.append(GrievanceAnswered(loan_id, borrower, kind.grievance, timestamp + days * DAY))
        for event in events:
            apply(event, timestamp, self.state)
        return events

    def _contact(self, loan: Loan) -> ContactLimits:
        return self.state.policies[loan.terms.policy].contact

    def _standing(self) -> list[tuple[Loan, Grievance]]:
        """The grievances that stand, each with the loan that it is about."""
        return [
            (self.state.loans[loan_id], grievance)
            for loan_id, cases in self.state.cases.items()
            for grievance, case in cases.items()
            if case.stands
        ]

    def hash(self) -> bytes:
        return self.random.randbytes(32)

    def _event(self, timestamp: int) -> Event:
        dice, state = self.random, self.state
        loans = list(state.loans.values())
        active = [loan for loan in loans if loan.owed]
        number = dice.randrange(36)
        if not state.policies or number == 0:
            policy = len(state.policies) + 1
            contact = replace(CONTACT, rest_all_loans=dice.randrange(8), rest_fees=dice.randrange(8))
            return PolicyPublished(policy, LENDERS[0], LENDING, contact, self.hash(), self.hash())
        if not active or number == 1:
            return self._opened(timestamp)
        loan = dice.choice(active)
        borrower, lender, channel = dice.choice(BORROWERS), dice.choice(LENDERS), dice.choice(tuple(Channel))
        match number:
            case 2 | 3 | 4:
                amount = min(loan.owed, dice.choice((1, loan.instalment, loan.instalment)))
                return Repaid(loan.id, borrower, amount, loan.paid + amount)
            case 5:
                last = min(loan.assessed + 1, loan.terms.instalments)
                fees = loan.fees + loan.terms.late_fee
                return InstalmentMissed(loan.id, last, last, fees)
            case 6:
                saved = dice.randrange(loan.owed)
                amount = loan.owed - saved
                return LoanSettled(loan.id, borrower, amount, saved, loan.paid + amount)
            case 7:
                done = [each for each in loans if not each.owed]
                return LoanRepaid(done[0].id, done[0].paid) if done else ServicerAppointed(lender, borrower)
            case 8:
                return ServicerAppointed(lender, dice.choice((borrower, "0x" + 40 * "0")))
            case 9:
                return PaymentHeld(loan.id, lender, dice.choice((1, 2**87)))
            case 10:
                return Claimed(lender, borrower, state.held.get(lender, 0))
            case 11:
                policy = dice.choice(list(state.policies))
                contact = state.policies[policy].contact
                per_week = dice.randrange(1, contact.per_week + 1)
                rest_fees = contact.rest_fees | 1 << dice.randrange(3)
                return ContactTightened(
                    policy, lender, replace(contact, per_week=per_week, rest_fees=rest_fees)
                )
            case 12:
                return PolicyRetired(dice.choice(list(state.policies)), lender)
            case 13:
                return ContactRegistered(borrower, channel, self.hash(), dice.randrange(-48, 48), 8)
            case 14:
                return ConsentGranted(borrower, channel)
            case 15:
                return ConsentRevoked(borrower, channel, lender)
            case 16:
                return ContactCeased(borrower, lender)
            case 17:
                unknown = self.hash()
                about = dice.choice((loan.id, unknown))
                reason = dice.choice(tuple(Refusal)[1:])
                return NoticeRefused(about, lender, dice.choice(tuple(Kind)), 3, channel, reason, 1, 2**255)
            case 18:
                amount = dice.randrange(1, loan.owed + 1)
                return ReceiptAcknowledged(loan.id, loan.lender, amount, self.hash(), loan.paid + amount)
            case 19:
                amount = dice.choice((1, loan.owed))
                return DebtForgiven(loan.id, loan.lender, amount, loan.paid + amount)
            case 20 if waivable := min(loan.fees, loan.owed):
                return FeesWaived(loan.id, loan.lender, waivable, loan.fees - waivable)
            case 21:
                return LoanAssigned(loan.id, loan.lender, dice.choice(LENDERS))
            case 22 if loan.paid < loan.total:
                return LoanDefaulted(loan.id, loan.curve.covered(loan.paid) + 1, loan.instalment)
            case 23:
                return LoanRescinded(loan.id, 7, loan.paid + 7)
            case 24:
                return OfferCancelled(self.hash(), borrower)
            case 25 | 26 if loan.paid < loan.total:
                return self._amended(loan, timestamp)
            case 28 | 29 | 30 if grievances := self._unlodged(loan):
                grievance, contact = dice.choice(grievances), self._contact(loan)
                return GrievanceLodged(
                    loan.id,
                    loan.terms.borrower,
                    grievance,
                    dice.choice((loan.terms.borrower, loan.lender)),
                    bool(contact.rest_all_loans >> grievance & 1),
                    bool(contact.rest_fees >> grievance & 1),
                )
            case 31 if standing := self._standing():
                loan, grievance = dice.choice(standing)
                return GrievanceWithdrawn(loan.id, loan.terms.borrower, grievance)
            case 32 | 33 if about := [
                (loan, kind)
                for loan, grievance in self._standing()
                for kind in Kind
                if kind.grievance is grievance
            ]:
                return self._served(*dice.choice(about), channel)
            case _:
                kinds = [kind for kind in Kind if kind.grievance is None]
                return self._served(dice.choice(loans), dice.choice(kinds), channel)

    def _unlodged(self, loan: Loan) -> list[Grievance]:
        cases = self.state.cases.get(loan.id, {})
        return [grievance for grievance in Grievance if not cases.get(grievance, NO_CASE).stands]

    def _opened(self, timestamp: int) -> LoanOpened:
        dice = self.random
        loan_id = self.hash()
        scale = dice.choice((1, 10**20))
        terms = Terms(
            lender=dice.choice(LENDERS),
            borrower=dice.choice(BORROWERS),
            principal=3_000 * scale,
            late_fee=5 * scale,
            rate=112_200,
            instalments=3,
            first_due=calendar.local_day(timestamp, 0) + 31,
            policy=dice.choice(list(self.state.policies)),
            expires=2**40 - 1,
            salt=loan_id,
        )
        return LoanOpened(loan_id, terms, 1_010 * scale, 3_030 * scale)

    def _amended(self, loan: Loan, timestamp: int) -> LoanAmended:
        """By both parties, or deferred by the lender with what was paid ahead."""
        amendment, terms = self.hash(), loan.terms
        fees = self.random.randrange(loan.fees + 1)
        ahead = loan.paid - (loan.fees - fees)
        if ahead <= 0 or self.random.random() < 0.3:
            agreed = replace(terms, lender=loan.lender, replaces=loan.id, principal=2_000, instalments=5)
            return LoanAmended(loan.id, amendment, agreed, 410, 2_050, timestamp, 0, 0, fees)
        k = loan.curve.covered(ahead)
        first_due = calendar.due_day_to_go_on_from(terms.first_due, terms.frequency, k + 2)
        derived = replace(
            terms,
            lender=loan.lender,
            replaces=loan.id,
            principal=loan.curve.balance(k),
            instalments=terms.instalments - k,
            first_due=first_due,
            salt=bytes(32),
        )
        paid, total = ahead - loan.curve.cumulative(k), loan.total - loan.curve.cumulative(k)
        # Rounding may credit a unit more.
        paid = min(paid + self.random.randrange(2), total)
        return LoanAmended(loan.id, amendment, derived, loan.instalment, total, loan.opened_at, 0, paid, fees)

    def _served(self, loan: Loan, kind: Kind, channel: Channel) -> Event:
        dice, state = self.random, self.state
        numbered = kind.is_reminder or kind in (Kind.PAID_AHEAD, Kind.ARREARS)
        instalment = dice.randrange(1, 3) if numbered else 0
        basis, serial = instalment, 0
        if kind is Kind.PAYMENT_RECEIVED:
            basis = loan.paid
        elif kind is Kind.CONSENT_CHANGED:
            basis = state.profiles.get(loan.terms.borrower, Profile()).changes
        elif kind is Kind.LOAN_ASSIGNED:
            basis = int(loan.lender, 16)
        elif kind.grievance is not None:
            basis = state.cases[loan.id][kind.grievance].since
        while (found := notice_id(loan.id, kind, basis, serial)) in self.told:
            serial += 1
        self.told.add(found)
        return NoticeServed(
            found,
            loan.id,
            loan.lender,
            loan.terms.borrower,
            kind,
            instalment,
            loan.owed,
            channel,
            basis,
            serial,
            self.hash(),
        )


def chain(teller: Teller, after: Block, blocks: int) -> list[tuple[Block, list[Logged]]]:
    """Blocks after a block, some of them empty, with the events in each."""
    found = []
    number, timestamp = after.number, after.timestamp
    for _ in range(blocks):
        number, timestamp = number + 1, timestamp + teller.random.choice((12, 3_600, 90_000))
        block = Block(number, teller.hash(), timestamp)
        transaction = teller.hash()
        events: list[Event] = []
        for _ in range(teller.random.choice((0, 0, 1, 2, 5))):
            events += teller.transaction(timestamp)
        logged = [
            Logged(event, number, block.hash, timestamp, transaction, index)
            for index, event in enumerate(events)
        ]
        found.append((block, logged))
    return found


def pages(teller: Teller, story: Sequence[tuple[Block, list[Logged]]]) -> list[tuple[Block, list[Logged]]]:
    """The same in ranges of blocks of random size."""
    found: list[tuple[Block, list[Logged]]] = []
    rest = list(story)
    while rest:
        size = teller.random.randrange(1, len(rest) + 1)
        found.append((rest[size - 1][0], [item for _, logged in rest[:size] for item in logged]))
        rest = rest[size:]
    return found
