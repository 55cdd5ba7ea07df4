"""What a borrower is told before accepting a loan: its key facts, from its terms and its policy alone.

After what pre-contractual statements have in common: the Standard European Consumer Credit Information
(Directive 2008/48/EC, Annex II), the disclosures of Regulation Z (12 CFR 1026.18), and the Key Facts
Statement of the Reserve Bank of India (RBI/2024-25/18). The hash of the statement that tells them is the
terms' `agreement_hash`, so the facts cannot depend on it.

Amounts are in the currency's smallest unit, days are days since 1970-01-01 in the loan's calendar.
"""

from dataclasses import dataclass, replace

from duly.domain import amending, apr, calendar, lending, schedule
from duly.domain.amounts import PPM
from duly.domain.apr import CostOfCredit
from duly.domain.errors import InvalidTerms
from duly.domain.policy import ContactLimits, LendingLimits
from duly.domain.schedule import Instalment
from duly.domain.terms import ZERO_HASH, Terms

_YEAR = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """The key facts of a loan, as it comes to be when it is opened on a day and repaid as scheduled.

    terms: without agreement hash. opened: the day of opening that the annual rates and the days to rescind
    rest on. rows: the schedule. cost: APR, APRC, finance charge and total of payments. last_day_to_rescind:
    of the cooling-off period, zero where there is none. rescission_interest: what withdrawing on that day
    costs beside what was received. interest_a_day: what each day costs until then, rounded up.
    first_late_fee_day: the first on which a late fee can be charged. late_fees: what they can come to at
    most, in all. first_default_day: the first on which a default can be marked.
    """

    terms: Terms
    lending: LendingLimits
    contact: ContactLimits
    opened: int
    rows: tuple[Instalment, ...]
    cost: CostOfCredit
    last_day_to_rescind: int
    rescission_interest: int
    interest_a_day: int
    first_late_fee_day: int
    late_fees: int
    first_default_day: int

    @property
    def interest(self) -> int:
        """All interest, when repaid as scheduled."""
        return self.cost.total_of_payments - self.terms.principal


def key_facts(
    terms: Terms, lending_limits: LendingLimits, contact_limits: ContactLimits, opened: int
) -> KeyFacts:
    """The key facts of terms under their policy's limits, when the loan is opened on a day.

    Raises: InvalidTerms for an amendment, or where the offer ends before that day; what `lending.admit`
    raises for terms that the policy does not let be opened then.
    """
    terms = replace(terms, agreement_hash=ZERO_HASH)
    if terms.replaces != ZERO_HASH:
        raise InvalidTerms("these terms amend a loan", wanted="the terms of a new loan")
    if opened > (last := calendar.local_day(terms.expires, terms.calendar_offset)):
        raise InvalidTerms(
            f"the offer ends on {calendar.iso(last)}, before the day of opening, {calendar.iso(opened)}",
            remedy="Let it expire later, or choose an earlier day of opening.",
        )
    now = calendar.start_of(opened, terms.calendar_offset)
    lending.admit(terms, lending_limits, now)
    rows = tuple(schedule.schedule_of(terms))
    loan = schedule.opened(ZERO_HASH, terms, now)
    rescission_interest = 0
    if last_day := amending.last_day_to_rescind(loan, lending_limits):
        last_second = calendar.start_of(last_day + 1, terms.calendar_offset) - 1
        _, taken = amending.rescind(loan, lending_limits, last_second)
        rescission_interest = taken - terms.received
    return KeyFacts(
        terms=terms,
        lending=lending_limits,
        contact=contact_limits,
        opened=opened,
        rows=rows,
        cost=apr.of_schedule(opened, terms.received, [(row.due_day, row.amount) for row in rows]),
        last_day_to_rescind=last_day,
        rescission_interest=rescission_interest,
        interest_a_day=-(-terms.received * terms.rate // (PPM * _YEAR)),
        first_late_fee_day=rows[0].due_day + terms.grace_days + 1,
        late_fees=len(rows) * terms.late_fee,
        # Nothing is overdue before the day after.
        first_default_day=rows[0].due_day + max(1, lending_limits.default_days),
    )


def last_day_to_open(terms: Terms) -> int:
    """The last day on which terms can be opened: the offer's, or one interval before the first due day.

    Nobody knows the day beforehand. On this one the borrower has the money for the shortest time.
    """
    expires = calendar.local_day(terms.expires, terms.calendar_offset)
    day = min(expires, calendar.add_periods(terms.first_due, terms.frequency, -1))
    # A due day in a longer month than the one before it: its last days are an interval apart too.
    while day < expires and calendar.add_periods(day + 1, terms.frequency, 1) <= terms.first_due:
        day += 1
    return day
