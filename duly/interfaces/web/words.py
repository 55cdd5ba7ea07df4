"""What the pages call things: the domain's names in words, to be translated where they are shown."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from duly.domain.consent import Channel
from duly.domain.grievance import Grievance
from duly.domain.loan import Status
from duly.domain.notice import Kind, Refusal
from duly.domain.terms import Frequency, Schedule
from duly.interfaces.web.language import N_
from duly.services import deliver, serve
from duly.services.genuine import Verdict
from duly.services.offer import State as OfferState
from duly.services.portal import Paid
from duly.services.portfolio import Bucket
from duly.services.transactions import Stage
from duly.store.actions import What
from duly.store.notices import TOLD, WORKER_LOST, State

_WORDS: Final[tuple[Mapping[Enum, str], ...]] = (
    {
        Status.NONE: N_("not opened"),
        Status.ACTIVE: N_("running"),
        Status.REPAID: N_("repaid"),
        Status.DEFAULTED: N_("in default"),
        Status.RESCINDED: N_("withdrawn from"),
        Status.REPLACED: N_("replaced"),
        Status.CANCELLED: N_("cancelled"),
    },
    {
        Paid.PAID: N_("paid"),
        Paid.OVERDUE: N_("overdue"),
        Paid.TODAY: N_("due today"),
        Paid.AHEAD: N_("to come"),
        Paid.OVER: N_("will not fall due"),
    },
    {
        Stage.UNKNOWN: N_("The chain has not heard of this transaction yet."),
        Stage.SENT: N_("Sent. It waits for a block."),
        Stage.MINED: N_("In a block. It will soon be final."),
        Stage.FINAL: N_("Final: nothing can take it back any more."),
        Stage.REFUSED: N_("Refused: nothing was changed."),
    },
    {
        Schedule.LEVEL: N_("equal instalments"),
        Schedule.EQUAL_PRINCIPAL: N_("instalments with equal parts of principal"),
        Schedule.INTEREST_ONLY: N_("interest alone, and the principal with the last instalment"),
        Schedule.BULLET: N_("all at once at the end"),
    },
    {
        OfferState.READY: N_("signed by both"),
        OfferState.UNSIGNED: N_("waits for the borrower"),
        OfferState.INVALID: N_("a signature does not fit"),
        OfferState.USED: N_("taken"),
        OfferState.CANCELLED: N_("taken back"),
        OfferState.EXPIRED: N_("too late to take"),
        OfferState.REFUSED: N_("does not fit the loan any more"),
    },
    {
        Grievance.DISPUTE: N_("dispute"),
        Grievance.HARDSHIP: N_("hardship"),
        Grievance.REPRESENTATION: N_("representation"),
    },
    {
        Channel.EMAIL: N_("e-mail"),
        Channel.SMS: N_("text message"),
        Channel.PUSH: N_("push message"),
        Channel.IN_APP: N_("inbox"),
    },
    {
        Kind.LOAN_OPENED: N_("the loan was opened"),
        Kind.INSTALMENT_UPCOMING: N_("an instalment is coming up"),
        Kind.DUE_TODAY: N_("an instalment is due today"),
        Kind.OVERDUE: N_("an instalment is overdue"),
        Kind.PAYMENT_RECEIVED: N_("a payment was received"),
        Kind.LOAN_REPAID: N_("the loan is repaid"),
        Kind.PAID_AHEAD: N_("the next instalment is paid already"),
        Kind.LOAN_AMENDED: N_("the loan was changed"),
        Kind.COOLING_OFF_ENDING: N_("the cooling-off period ends"),
        Kind.CONSENT_CHANGED: N_("contact or consent changed"),
        Kind.DISPUTE_RECEIVED: N_("a dispute was received"),
        Kind.HARDSHIP_RECEIVED: N_("hardship was received"),
        Kind.DISPUTE_ANSWERED: N_("a dispute was answered"),
        Kind.HARDSHIP_ANSWERED: N_("hardship was answered"),
        Kind.LOAN_ASSIGNED: N_("the claim was assigned"),
        Kind.ARREARS: N_("a statement of arrears"),
    },
    {
        Frequency.MONTHLY: N_("monthly"),
        Frequency.QUARTERLY: N_("quarterly"),
        Frequency.WEEKLY: N_("weekly"),
        Frequency.FORTNIGHTLY: N_("fortnightly"),
        Frequency.FOUR_WEEKLY: N_("four-weekly"),
    },
    {
        State.CLAIMED: N_("being sent"),
        State.DEFERRED: N_("tried again later"),
        State.SENT: N_("sent"),
        State.DROPPED: N_("not sent"),
        State.UNCERTAIN: N_("sent or not"),
    },
    {
        What.SETTLED_SENT: N_("settled as sent"),
        What.SETTLED_NOT_SENT: N_("settled as not sent"),
        What.REQUEUED: N_("put back into the queue"),
        What.OFFERED: N_("offered other terms"),
        What.DOWNLOADED: N_("downloaded the audit"),
    },
    {
        Refusal.NONE: N_("allowed"),
        Refusal.UNKNOWN_LOAN: N_("There is no such loan."),
        Refusal.NOT_SERVER: N_("Who served is neither the loan's lender nor its servicer."),
        Refusal.NO_BASIS: N_("The ledger gives no ground to say this."),
        Refusal.WRONG_INSTALMENT: N_("It names another instalment than the ledger."),
        Refusal.ALREADY_SAID: N_("It was said before."),
        Refusal.TOO_EARLY: N_("It is too early to say this."),
        Refusal.TOO_LATE: N_("It is too late to say this."),
        Refusal.WRONG_AMOUNT: N_("It names another amount than the ledger."),
        Refusal.NO_CONTACT: N_("No contact is registered for this channel."),
        Refusal.CEASED: N_("The borrower stopped all contact."),
        Refusal.NO_CONSENT: N_("No consent to this channel is in force."),
        Refusal.NOT_TOLD_OF_ASSIGNMENT: N_("The borrower was not told of the new lender yet."),
        Refusal.RESTING: N_("Reminders rest for a grievance."),
        Refusal.OUTSIDE_HOURS: N_("It is outside the borrower's hours."),
        Refusal.TOO_SOON: N_("It is too soon after the reminder before."),
        Refusal.DAY_CAP: N_("There were enough reminders in 24 hours."),
        Refusal.WEEK_CAP: N_("There were enough reminders in 7 days."),
        Refusal.SERVICE_CAP: N_("There were enough notices about the loan in 24 hours."),
    },
    {
        Bucket.CURRENT: N_("current"),
        Bucket.DAYS_30: N_("1–30 days"),
        Bucket.DAYS_60: N_("31–60 days"),
        Bucket.DAYS_90: N_("61–90 days"),
        Bucket.OVER_90: N_("over 90 days"),
    },
    {
        Verdict.GENUINE: N_("Genuine"),
        Verdict.ALTERED: N_("Altered"),
        Verdict.UNKNOWN: N_("Unknown"),
    },
)
_BY_NAME: Final = {(type(each), each.name): text for words in _WORDS for each, text in words.items()}

EVENTS: Final[Mapping[str, str]] = {
    "LoanOpened": N_("The loan was opened"),
    "Repaid": N_("A payment was credited"),
    "ReceiptAcknowledged": N_("The lender received money outside the chain"),
    "DebtForgiven": N_("The lender gave up part of what is owed"),
    "FeesWaived": N_("The lender gave up late fees"),
    "InstalmentMissed": N_("A missed instalment was recorded"),
    "LoanSettled": N_("The loan was closed early"),
    "LoanRepaid": N_("Everything is repaid"),
    "LoanRescinded": N_("You withdrew from the loan"),
    "LoanAmended": N_("The loan goes on under other terms"),
    "LoanAssigned": N_("The claim went to another lender"),
    "LoanDefaulted": N_("The lender marked a default"),
    "PaymentHeld": N_("The ledger holds a payment for the lender"),
    "GrievanceLodged": N_("A grievance was lodged"),
    "GrievanceAnswered": N_("A grievance was answered"),
    "GrievanceWithdrawn": N_("A grievance was withdrawn"),
    "GrievancesCarriedOver": N_("Grievances went on to the new loan"),
}
"""What events are called in a loan's history."""


ROLES: Final[Mapping[str, str]] = {
    "borrower": N_("borrower"),
    "servicer": N_("servicer"),
    "officer": N_("compliance officer"),
    "auditor": N_("auditor"),
}
"""What somebody is at the desk."""

_OUTCOMES: Final[Mapping[str, str]] = {
    deliver.NO_WORDS: N_("Its words are not kept here."),
    deliver.OTHER_WORDS: N_("Its words are not those that were let through."),
    serve.OTHER_ADDRESS: N_("The borrower's address is not the registered one."),
    serve.NO_ADDRESS: N_("No address of the borrower is kept for this channel."),
    serve.NOT_VERIFIED: N_("The borrower did not confirm the address with a code."),
    deliver.INCOMPLETE: N_("Another notice of the same message was not let through."),
    deliver.WINDOW_OVER: N_("The borrower's hours were over."),
    deliver.TAKEN_ELSEWHERE: N_("Another service has it, which shares the vault."),
    deliver.NO_VAULT: N_("The vault did not answer."),
    deliver.NO_DATABASE: N_("The database did not answer."),
    deliver.NO_CARRIER: N_("No way to send on this channel is set up."),
    deliver.TOO_OFTEN: N_("It was tried as often as is of use."),
    WORKER_LOST: N_("Whoever was sending it ended midway."),
    TOLD: N_("A person settled it."),
}


def outcome(reason: str | None) -> str:
    """Why a delivery stands where it does; what a carrier said itself stays as it is."""
    if not reason:
        return ""
    if (refused := Refusal.__members__.get(reason.upper())) is not None:
        return word(refused)
    return _OUTCOMES.get(reason, reason)


def word(value: Enum) -> str:
    """What a value of one of the domain's enumerations is called."""
    return _BY_NAME[type(value), value.name]
