"""What the pages call things: the domain's names in words, to be translated where they are shown."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from duly.domain.consent import Channel
from duly.domain.grievance import Grievance
from duly.domain.loan import Status
from duly.domain.notice import Kind
from duly.domain.terms import Frequency, Schedule
from duly.interfaces.web.language import N_
from duly.services.genuine import Verdict
from duly.services.portal import Paid
from duly.services.portfolio import Bucket
from duly.services.transactions import Stage

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


def word(value: Enum) -> str:
    """What a value of one of the domain's enumerations is called."""
    return _BY_NAME[type(value), value.name]
