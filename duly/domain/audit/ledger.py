"""The rules about money, terms and policies, each checked when an event tells of it.

Prices and schedules are computed anew with decimals, by the equations that regulators publish (`apr`), and
not by the closed forms in fixed point that the ledger uses. What settling costs, and which instalment was
paid when, is taken from the same curves as the ledger's (`schedule`), which a test holds to the contracts.
"""

import decimal
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from duly.domain import calendar, lending, schedule
from duly.domain.amounts import PPM, in_percent
from duly.domain.apr import actuarial_rate
from duly.domain.audit.complaints import Complaints
from duly.domain.audit.notices import Broken
from duly.domain.calendar import DAY
from duly.domain.errors import DulyError, InvalidFlows
from duly.domain.events import (
    Claimed,
    ConsentGranted,
    ContactTightened,
    DebtForgiven,
    Event,
    FeesWaived,
    GrievanceAnswered,
    GrievanceLodged,
    InstalmentMissed,
    LoanAmended,
    LoanAssigned,
    LoanOpened,
    LoanRepaid,
    LoanRescinded,
    LoanSettled,
    Logged,
    OfferCancelled,
    PaymentHeld,
    PolicyPublished,
    ReceiptAcknowledged,
    Repaid,
)
from duly.domain.loan import Loan
from duly.domain.policy import AprConvention, ContactLimits, LendingLimits
from duly.domain.replay import Policy, State
from duly.domain.terms import ZERO_ADDRESS, ZERO_HASH, Schedule, Terms

IdOf = Callable[[Terms], bytes]
"""The hash of terms on the ledger, which the domain does not compute."""

_DIGITS: Final = decimal.Context(prec=60)
_YEAR: Final = 365
_BASIS_POINTS: Final = 10_000

SPEAKS: Final[dict[type[Event], tuple[str, ...]]] = {
    LoanOpened: ("TERMS-1", "LEDGER-1", "FEES-1", "USURY-1"),
    LoanAmended: ("TERMS-1", "LEDGER-1", "FEES-1", "USURY-1", "COOL-1"),
    LoanAssigned: ("TERMS-1",),
    OfferCancelled: ("TERMS-1",),
    PolicyPublished: ("TERMS-1",),
    ContactTightened: ("TERMS-1",),
    Repaid: ("LEDGER-2", "LEDGER-3"),
    ReceiptAcknowledged: ("LEDGER-2", "LEDGER-3"),
    DebtForgiven: ("LEDGER-2", "LEDGER-3"),
    LoanSettled: ("LEDGER-2", "LEDGER-3"),
    LoanRescinded: ("LEDGER-2", "COOL-1"),
    LoanRepaid: ("LEDGER-1",),
    InstalmentMissed: ("FEES-1",),
    FeesWaived: ("FEES-1",),
    PaymentHeld: ("LEDGER-2",),
    Claimed: ("LEDGER-2",),
    GrievanceLodged: ("PAUSE-1",),
    GrievanceAnswered: ("PAUSE-1",),
}
"""The rules that each event about money, terms, policies and grievances says something of."""


class LedgerAudit:
    """Checks events against the state that an audit keeps, before they are applied to it.

    id_of: of a loan; without it nobody looks whether an id is the hash of its terms.
    """

    def __init__(self, state: State, complaints: Complaints, id_of: IdOf | None = None) -> None:
        self._state = state
        self._complaints = complaints
        self._id_of = id_of
        self._cancelled: set[bytes] = set()
        self._transaction = b""
        self._taken: dict[bytes, int] = {}

    def check(self, logged: Logged) -> list[Broken]:
        """The rules that an event breaks."""
        check = _CHECKS.get(type(logged.event))
        return list(check(self, logged.event, logged)) if check else []

    # ------------------------------------------------------------------------------------------ terms

    def _opened(self, event: LoanOpened, logged: Logged) -> Iterator[Broken]:
        terms, now = event.terms, logged.timestamp
        if event.id in self._state.loans:
            yield "TERMS-1", "opened a second time", "once"
        if event.id in self._cancelled:
            yield "TERMS-1", "opened after its offer was cancelled", "an offer that stands"
        if now > terms.expires:
            yield "TERMS-1", f"opened {now - terms.expires} s after its offer ended", "an offer that stands"
        if terms.replaces != ZERO_HASH:
            yield "TERMS-1", "opened though it replaces a loan", "an amendment"
        yield from self._identified(event.id, terms)
        yield from _even(terms, event.instalment, event.total)
        yield from self._priced(terms, event.instalment, event.total)
        try:
            lending.check_calendar(terms, now)
        except DulyError as error:
            yield "USURY-1", error.wrong, error.wanted or "a first instalment a whole interval after opening"

    def _amended(self, event: LoanAmended, logged: Logged) -> Iterator[Broken]:
        terms, now = event.terms, logged.timestamp
        loan = self._state.loans.get(event.id)
        if loan is None:
            yield "TERMS-1", "amended a loan that was never opened", "a loan on the ledger"
            return
        old = loan.terms
        if loan.owed <= 0:
            yield "TERMS-1", "amended a loan that had ended", "a loan on which something is owed"
        if event.amendment in self._state.loans:
            yield "TERMS-1", "amended into a loan that exists", "a new one"
        yield from self._identified(event.amendment, terms)
        kept = (event.id, loan.lender, old.borrower, old.policy, 0)
        if kept != (terms.replaces, terms.lender, terms.borrower, terms.policy, terms.origination_fee):
            yield (
                "TERMS-1",
                "amended with other parties, another policy or an origination fee",
                "parties and policy of the loan, nothing lent anew",
            )
        if terms.rate > old.rate:
            yield "TERMS-1", f"a rate of {in_percent(terms.rate)}", f"at most {in_percent(old.rate)}"
        if schedule.today(old, now) <= self._last_day_to_rescind(loan):
            yield "COOL-1", "amended while it could be rescinded", "not before the cooling-off period is over"
        now_loan = schedule.assess(loan, now)
        earned = schedule.earned(now_loan, now)
        _, unpaid = schedule.arrears(earned.due, now_loan.paid, now_loan.fees)
        if event.fees > unpaid:
            yield "FEES-1", f"late fees of {event.fees} carried over", f"those unpaid, {unpaid}"
        yield from _even(terms, event.instalment, event.total)
        if (terms.agreement_hash, terms.salt, terms.expires) == (ZERO_HASH, ZERO_HASH, now):
            yield from _derived(loan, event)
        else:
            if now > terms.expires:
                yield (
                    "TERMS-1",
                    f"amended {now - terms.expires} s after the offer ended",
                    "an offer that stands",
                )
            most = schedule.payoff_of(now_loan, earned) - unpaid
            if terms.principal > most:
                yield (
                    "TERMS-1",
                    f"a principal of {terms.principal}",
                    f"what settling costs without fees, {most}",
                )
            yield from self._priced(terms, event.instalment, event.total)

    def _identified(self, loan: bytes, terms: Terms) -> Iterator[Broken]:
        if self._id_of is not None and self._id_of(terms) != loan:
            yield "TERMS-1", "terms with another hash", "the terms that the loan's id is the hash of"

    def _assigned(self, event: LoanAssigned, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans.get(event.id)
        if loan is None or event.from_ != loan.lender:
            yield "TERMS-1", f"assigned by {event.from_}", "the lender whose claim it is"
        elif event.to in (ZERO_ADDRESS, loan.terms.borrower):
            yield "TERMS-1", f"assigned to {event.to}", "another lender"

    def _offer_cancelled(self, event: OfferCancelled, logged: Logged) -> Iterator[Broken]:
        if event.id in self._state.loans:
            yield "TERMS-1", "an offer cancelled that was accepted", "one that stands"
        self._cancelled.add(event.id)

    def _last_day_to_rescind(self, loan: Loan) -> int:
        """Zero where there is no cooling-off period."""
        days = self._policy(loan.terms.policy).lending.cooling_off_days
        opened = (loan.opened_at + 900 * loan.terms.calendar_offset) // DAY
        return 0 if loan.amends or not days else opened + days

    def _policy(self, number: int) -> Policy:
        return self._state.policies[number]

    # ------------------------------------------------------------------------------------------ price

    def _priced(self, terms: Terms, instalment: int, total: int) -> Iterator[Broken]:
        """USURY-1, FEES-1: the price is within the policy's limits."""
        policy = self._state.policies.get(terms.policy)
        if policy is None:
            yield (
                "USURY-1",
                f"made under policy {terms.policy}, which was never published",
                "a published policy",
            )
            return
        limits = policy.lending
        try:
            rate = _annual_rate(
                terms.schedule,
                terms.principal,
                terms.received,
                terms.rate,
                terms.frequency.periods_per_year,
                terms.instalments,
                instalment,
                total,
                limits.apr_convention,
            )
        except InvalidFlows as error:
            yield "USURY-1", error.wrong, "instalments that repay what was received"
        else:
            # In parts per million, to the digits that the search is sure of.
            if round(rate * _BASIS_POINTS, 4) > limits.apr_cap:
                convention = limits.apr_convention.name.lower()
                yield (
                    "USURY-1",
                    f"an annual percentage rate of {rate:.4f} %",
                    f"at most {in_percent(limits.apr_cap)} ({convention})",
                )
        yield from _fee_in_bounds(terms, instalment, total, limits)

    # ------------------------------------------------------------------------------------------ money

    def _credited(
        self, event: Repaid | ReceiptAcknowledged | DebtForgiven, logged: Logged
    ) -> Iterator[Broken]:
        loan = self._state.loans[event.id]
        if type(event) is Repaid:
            self._take(event.id, event.amount, logged)
        if not 0 < event.amount <= loan.owed:
            yield "LEDGER-3", f"{event.amount} credited", f"1 to what was owed, {loan.owed}"
        if event.paid != loan.paid + event.amount:
            yield (
                "LEDGER-2",
                f"{event.paid} credited in all",
                f"{loan.paid + event.amount}, with what was taken",
            )

    def _settled(self, event: LoanSettled, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans[event.id]
        self._take(event.id, event.amount, logged)
        most = schedule.payoff(loan, logged.timestamp)
        if loan.owed <= 0 or event.amount > most:
            yield "LEDGER-3", f"{event.amount} taken to settle", f"at most what it costs, {most}"
        if event.amount + event.saved != loan.owed:
            yield (
                "LEDGER-2",
                f"{event.amount} taken and {event.saved} saved",
                f"together what was owed, {loan.owed}",
            )
        if event.paid != loan.paid + event.amount:
            yield (
                "LEDGER-2",
                f"{event.paid} credited in all",
                f"{loan.paid + event.amount}, with what was taken",
            )

    def _repaid(self, event: LoanRepaid, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans[event.id]
        if loan.owed != 0 or event.paid != loan.paid:
            yield "LEDGER-1", f"told to be repaid with {loan.owed} owed", "exactly nothing owed"

    def _rescinded(self, event: LoanRescinded, logged: Logged) -> Iterator[Broken]:
        loan, now = self._state.loans[event.id], logged.timestamp
        self._take(event.id, event.amount, logged)
        terms, today = loan.terms, schedule.today(loan.terms, now)
        last = self._last_day_to_rescind(loan)
        if today > last:
            yield (
                "COOL-1",
                f"rescinded on {calendar.iso(today)}",
                f"by {calendar.iso(last)}" if last else "a cooling-off period",
            )
        days = today - schedule.today(terms, loan.opened_at)
        interest = Fraction(terms.received * terms.rate * days, PPM * _YEAR)
        most = max(0, terms.received + int(interest) - loan.paid)
        free_of_fees = replace(loan, fees=0)
        most = min(most, schedule.payoff_of(free_of_fees, schedule.earned(free_of_fees, now)))
        if event.amount > most:
            yield (
                "COOL-1",
                f"{event.amount} taken to rescind",
                f"at most {most}: what was received, less what was paid, and interest for {days} days, or "
                "what settling costs",
            )
        if event.paid != loan.paid + event.amount:
            yield (
                "LEDGER-2",
                f"{event.paid} credited in all",
                f"{loan.paid + event.amount}, with what was taken",
            )

    def _take(self, loan: bytes, amount: int, logged: Logged) -> None:
        """Money that was taken in a transaction, some of which may be held."""
        if logged.transaction_hash != self._transaction:
            self._transaction, self._taken = logged.transaction_hash, {}
        self._taken[loan] = self._taken.get(loan, 0) + amount

    def _held(self, event: PaymentHeld, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans.get(event.id)
        if loan is None or event.lender != loan.lender:
            yield "LEDGER-2", f"held for {event.lender}", "the lender of the loan that was paid"
        taken = self._taken.get(event.id, 0) if logged.transaction_hash == self._transaction else 0
        if event.amount > taken:
            yield "LEDGER-2", f"{event.amount} held", f"at most what was taken in that transaction, {taken}"
        self._taken[event.id] = taken - event.amount

    def _claimed(self, event: Claimed, logged: Logged) -> Iterator[Broken]:
        held = self._state.held.get(event.lender, 0)
        if event.amount != held or not held:
            yield "LEDGER-2", f"{event.amount} claimed", f"all that is held for the lender, {held}"

    # ------------------------------------------------------------------------------------------ late fees

    def _missed(self, event: InstalmentMissed, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans[event.id]
        terms, today = loan.terms, schedule.today(loan.terms, logged.timestamp)
        if event.first <= loan.assessed:
            yield "FEES-1", f"charged for instalment {event.first}, as before", "once for each instalment"
        if not event.first <= event.last <= terms.instalments:
            yield (
                "FEES-1",
                f"charged for {event.first} to {event.last}",
                f"instalments up to {terms.instalments}",
            )
            return
        grace = schedule.due_day(terms, event.last) + terms.grace_days
        if today <= grace:
            yield (
                "FEES-1",
                f"charged on {calendar.iso(today)}",
                f"after the grace period, which ends on {calendar.iso(grace)}",
            )
        # The more instalments the more is due, so that the first is what receipts could have covered.
        due = loan.curve.cumulative(event.first)
        if loan.paid >= due:
            yield "FEES-1", f"charged with {loan.paid} received", f"less than was due by then, {due}"
        count = event.last - event.first + 1
        if event.fees != loan.fees + count * terms.late_fee:
            yield (
                "FEES-1",
                f"late fees of {event.fees} in all",
                f"{loan.fees} and {count} times {terms.late_fee}",
            )
        for k in range(event.first, event.last + 1):
            if self._complaints.fees_rested(loan, schedule.due_day(terms, k) + terms.grace_days):
                yield "FEES-1", f"charged for instalment {k}, missed while fees rested", "none for that time"
                return

    def _waived(self, event: FeesWaived, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans[event.id]
        if event.fees != loan.fees - event.amount or not 0 < event.amount <= loan.fees:
            yield (
                "FEES-1",
                f"{event.amount} waived, {event.fees} left",
                f"a part of {loan.fees}, and the rest left",
            )

    # ------------------------------------------------------------------------------------------ policies

    def _published(self, event: PolicyPublished, logged: Logged) -> Iterator[Broken]:
        if event.policy in self._state.policies:
            yield "TERMS-1", f"policy {event.policy} published again", "limits that stay as they are"
        if event.templates == ZERO_HASH:
            yield "BASIS-1", f"policy {event.policy} published without templates", "the hash of its templates"

    def _tightened(self, event: ContactTightened, logged: Logged) -> Iterator[Broken]:
        if event.policy not in self._state.policies:
            return
        before = self._policy(event.policy).contact
        for name in ContactLimits.__slots__:
            was, wanted = getattr(event.contact, name), getattr(before, name)
            if not _AS_TIGHT[name](was, wanted):
                yield "TERMS-1", f"{name} of policy {event.policy} loosened to {was}", f"as tight as {wanted}"

    # ----------------------------------------------------------------------------- consent, grievances

    def _granted(self, event: ConsentGranted, logged: Logged) -> Iterator[Broken]:
        profile = self._state.profiles.get(event.borrower)
        if profile is None or not profile.has_contact(event.channel):
            name = event.channel.name.lower()
            yield "CONSENT-1", f"consent to {name} without a contact", "a registered contact first"

    def _lodged(self, event: GrievanceLodged, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans.get(event.loan)
        if loan is None:
            return
        name, limits = event.grievance.name.lower(), self._policy(loan.terms.policy).contact
        if event.borrower != loan.terms.borrower:
            yield "PAUSE-1", f"{name} lodged for {event.borrower}", "the loan's borrower"
        for what, told, mask in (
            ("reminders about all loans", event.all_loans, limits.rest_all_loans),
            ("late fees", event.fees_rest, limits.rest_fees),
        ):
            if mask >> event.grievance & 1 and not told:
                yield "PAUSE-1", f"{name} does not rest {what}", "as the policy says"

    def _answered(self, event: GrievanceAnswered, logged: Logged) -> Iterator[Broken]:
        loan = self._state.loans.get(event.loan)
        if loan is None:
            return
        days = self._policy(loan.terms.policy).contact.pause_days
        rest = event.rests_until - logged.timestamp
        if rest < days * DAY:
            yield "PAUSE-1", f"{rest} s of rest after the answer", f"{days} days"


_CHECKS: Final[dict[type[Event], Callable[[Any, Any, Logged], Iterator[Broken]]]] = {
    LoanOpened: LedgerAudit._opened,
    LoanAmended: LedgerAudit._amended,
    LoanAssigned: LedgerAudit._assigned,
    OfferCancelled: LedgerAudit._offer_cancelled,
    Repaid: LedgerAudit._credited,
    ReceiptAcknowledged: LedgerAudit._credited,
    DebtForgiven: LedgerAudit._credited,
    LoanSettled: LedgerAudit._settled,
    LoanRepaid: LedgerAudit._repaid,
    LoanRescinded: LedgerAudit._rescinded,
    PaymentHeld: LedgerAudit._held,
    Claimed: LedgerAudit._claimed,
    InstalmentMissed: LedgerAudit._missed,
    FeesWaived: LedgerAudit._waived,
    PolicyPublished: LedgerAudit._published,
    ContactTightened: LedgerAudit._tightened,
    ConsentGranted: LedgerAudit._granted,
    GrievanceLodged: LedgerAudit._lodged,
    GrievanceAnswered: LedgerAudit._answered,
}


def _at_most(value: int, other: int) -> bool:
    return value <= other


def _at_least(value: int, other: int) -> bool:
    return value >= other


def _no_bit_more(value: int, other: int) -> bool:
    return value & ~other == 0


def _no_bit_less(value: int, other: int) -> bool:
    return other & ~value == 0


_AS_TIGHT: Final[dict[str, Callable[[int, int], bool]]] = {
    "opens": _at_least,
    "closes": _at_most,
    "lead": _at_least,
    "weekdays": _no_bit_more,
    "per_day": _at_most,
    "per_week": _at_most,
    "gap": _at_least,
    "upcoming_days": _at_most,
    "overdue_days": _at_least,
    "pause_days": _at_least,
    "rest_all_loans": _no_bit_less,
    "rest_fees": _no_bit_less,
}
"""Whether a contact limit is as tight as it was."""


# ---------------------------------------------------------------------------------------- computed anew


def _derived(loan: Loan, event: LoanAmended) -> Iterator[Broken]:
    """Where terms that the ledger derived do more than help the borrower."""
    old, new = loan.terms, event.terms
    same = ("rate", "schedule", "frequency", "calendar_offset", "grace_days")
    for name in same:
        if getattr(new, name) != getattr(old, name):
            yield "TERMS-1", f"one side alone changed the {name.replace('_', ' ')}", "as it was"
    if new.late_fee > old.late_fee:
        yield "TERMS-1", f"one side alone set a late fee of {new.late_fee}", f"at most {old.late_fee}"
    done = old.instalments - new.instalments
    if done < 0:
        yield "TERMS-1", f"one side alone made it {new.instalments} instalments", f"at most {old.instalments}"
    elif new.frequency is old.frequency:
        for k in (1, new.instalments):
            day, before = schedule.due_day(new, k), schedule.due_day(old, done + k)
            if day < before:
                yield "TERMS-1", f"one side alone made {calendar.iso(day)} a due day", calendar.iso(before)
                break
    owed = event.total + event.fees - event.paid
    if owed > loan.owed:
        yield "TERMS-1", f"one side alone made it dearer: {owed} owed", f"at most {loan.owed}"


def _even(terms: Terms, instalment: int, total: int) -> Iterator[Broken]:
    """LEDGER-1: these amounts repay the principal with the interest of its rate, and nothing more."""
    expected = _total(
        terms.schedule,
        terms.principal,
        terms.rate,
        terms.frequency.periods_per_year,
        terms.instalments,
        instalment,
    )
    # Each of a few quantities is rounded to a unit, and powers to 27 digits.
    slack = 3 + terms.principal // 10**18
    if abs(total - expected) > slack:
        yield (
            "LEDGER-1",
            f"instalments of {total} in all",
            f"{expected:.0f}: the principal and its interest",
        )


@lru_cache(maxsize=4096)
def _total(kind: Schedule, principal: int, rate: int, per_year: int, n: int, instalment: int) -> Decimal:
    """What instalments come to in all that repay a principal, of which this one recurs."""
    with decimal.localcontext(_DIGITS):
        r = Decimal(rate) / (PPM * per_year)
        balance, paid = Decimal(principal), Decimal(0)
        if kind is Schedule.BULLET:
            return balance * (1 + n * r)
        for _ in range(n - 1):
            interest = balance * r
            part = {
                Schedule.LEVEL: instalment - interest,
                Schedule.EQUAL_PRINCIPAL: Decimal(instalment),
                Schedule.INTEREST_ONLY: Decimal(0),
            }[kind]
            balance -= part
            paid += interest + part if kind is not Schedule.INTEREST_ONLY else instalment
        return paid + balance * (1 + r)


def _amounts(
    kind: Schedule, principal: int, rate: int, per_year: int, n: int, instalment: int, total: int
) -> list[int]:
    """The instalments, from what an event tells of them."""
    if kind is Schedule.BULLET:
        return [0] * (n - 1) + [total]
    if kind is not Schedule.EQUAL_PRINCIPAL:
        regular = [instalment] * (n - 1)
        return [*regular, total - sum(regular)]
    # Equal parts of the principal, and the interest on what is outstanding, its sum rounded up.
    sums, balances = [], 0
    for k in range(1, n):
        balances += principal - (k - 1) * instalment
        sums.append(k * instalment - (-balances * rate // (PPM * per_year)))
    return [after - before for before, after in zip([0, *sums], [*sums, total], strict=True)]


@lru_cache(maxsize=4096)
def _annual_rate(
    kind: Schedule,
    principal: int,
    received: int,
    rate: int,
    per_year: int,
    n: int,
    instalment: int,
    total: int,
    convention: AprConvention,
) -> Decimal:
    """The annual percentage rate of a loan that is repaid as scheduled, in per cent: a longer first period
    counts as one.

    Raises: InvalidFlows.
    """
    amounts = _amounts(kind, principal, rate, per_year, n, instalment, total)
    if sum(amounts) < received:
        raise InvalidFlows(f"instalments of {sum(amounts)} do not repay the {received} that were received")
    none = Fraction(0)
    flows = [(k, none, amount) for k, amount in enumerate(amounts, 1) if amount]
    nominal = actuarial_rate([(0, none, -received), *flows], Fraction(per_year))
    if convention is AprConvention.NOMINAL:
        return nominal
    with decimal.localcontext(_DIGITS):
        return ((1 + nominal / (100 * per_year)) ** per_year - 1) * 100


def _fee_in_bounds(terms: Terms, instalment: int, total: int, limits: LendingLimits) -> Iterator[Broken]:
    """FEES-1: a late fee within the policy's share of the smallest regular instalment, after its grace."""
    amounts = [
        amount
        for amount in _amounts(
            terms.schedule,
            terms.principal,
            terms.rate,
            terms.frequency.periods_per_year,
            terms.instalments,
            instalment,
            total,
        )
        if amount
    ]
    smallest = min(amounts[:-1] or amounts, default=0)
    most = smallest * limits.late_fee_cap // _BASIS_POINTS
    if terms.late_fee > most:
        yield "FEES-1", f"a late fee of {terms.late_fee}", f"at most {most}"
    if terms.grace_days < limits.min_grace_days:
        yield "FEES-1", f"{terms.grace_days} days of grace", f"at least {limits.min_grace_days}"
