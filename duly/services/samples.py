"""Loans and moments that a template set is tried on before it is used.

Together they take every branch that a template can have a reason for: every schedule and frequency, with and
without fees, paid in part, ahead, late, amended, ended. A template with a branch that none of them takes is
refused, since nobody could say what it says.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest

from duly.domain import calendar, schedule
from duly.domain.consent import Profile
from duly.domain.grievance import NO_CASE, Case
from duly.domain.loan import Loan, Position, Status, position_of
from duly.domain.notice import Decision, Facts, Ground, Kind, Refusal, Said, ground
from duly.domain.policy import ContactLimits
from duly.domain.terms import ZERO_ADDRESS, Frequency, Schedule, Terms
from duly.services.plan import OUTCOMES

_LIMITS = ContactLimits(540, 1140, 900, 127, 1, 2, 172_800, 7, 1, 30)
_OPENED = 1_797_739_200  # 20 December 2026, noon in Shanghai
_FIRST_DUE = 20_943  # 5 May 2027: far enough for every frequency
_NO_NEWS = (Refusal.NO_BASIS, Refusal.UNKNOWN_LOAN)


@dataclass(frozen=True, slots=True)
class Sample:
    """A notice that the ledger lets somebody serve."""

    kind: Kind
    loan: Loan
    position: Position
    ground: Ground
    outcome: str = ""


@cache
def samples() -> tuple[Sample, ...]:
    """All of them."""
    return tuple(_all())


@cache
def together() -> tuple[tuple[Sample, ...], ...]:
    """Reminders of two and of three loans, of mixed kinds; every sample of a reminder is in some of them."""
    by_kind = [[one for one in samples() if one.kind is kind] for kind in Kind if kind.is_reminder]
    mixed = [one for several in zip_longest(*by_kind) for one in several if one]
    found: list[tuple[Sample, ...]] = []
    while mixed:
        count = min(2 + len(found) % 2, len(mixed))
        # What there is an odd one of is told of beside the first of all.
        some = mixed[:count] if count > 1 else [*mixed, found[0][0]]
        found.append((some[0], *(_renamed(one, number) for number, one in enumerate(some[1:]))))
        mixed = mixed[count:]
    return tuple(found)


def _renamed(sample: Sample, number: int) -> Sample:
    return replace(sample, loan=replace(sample.loan, id=bytes([number]) + sample.loan.id[1:]))


def samples_of(
    loan: Loan,
    now: int,
    said: Said | None = None,
    servicer: str = ZERO_ADDRESS,
    grievance: Case = NO_CASE,
    changes: int = 0,
) -> Iterator[Sample]:
    """A notice of every kind that has a basis in the loan at a moment; an answer of every outcome."""
    position = position_of(loan, servicer, now)
    facts = Facts(
        position,
        _LIMITS,
        Profile(changes=changes),
        said or Said(),
        cooling_off_days=14,
        dispute=grievance,
        hardship=grievance,
    )
    for kind in Kind:
        decision, base = ground(kind, facts)
        if _may_be_said(kind, decision, base, position):
            for outcome in OUTCOMES.get(kind, ("",)):
                yield Sample(kind, loan, position, base, outcome)


def _may_be_said(kind: Kind, decision: Decision, base: Ground, position: Position) -> bool:
    if decision.reason in _NO_NEWS or decision.reason is Refusal.ALREADY_SAID:
        return False
    if kind is Kind.LOAN_OPENED:
        return position.status in (Status.ACTIVE, Status.DEFAULTED)
    return base.first_day <= position.today <= base.last_day


def _loan(**changes: object) -> Loan:
    terms: dict[str, object] = {
        "lender": "0x" + "a1" * 20,
        "borrower": "0x" + "b0" * 20,
        "principal": 1_200_000,
        "late_fee": 4_000,
        "rate": 112_200,
        "instalments": 12,
        "first_due": _FIRST_DUE,
        "calendar_offset": 32,
        "grace_days": 10,
        "policy": 1,
        "expires": _OPENED,
    }
    return schedule.opened(bytes.fromhex("3f2a91bc") + bytes(28), Terms(**(terms | changes)), _OPENED)  # type: ignore[arg-type]


def _all() -> Iterator[Sample]:
    for each in Schedule:
        for frequency in Frequency:
            yield from samples_of(_loan(schedule=each, frequency=frequency), _OPENED)
        for instalments in (1, 12):
            for late_fee in (0, 4_000):
                yield from _life(_loan(schedule=each, instalments=instalments, late_fee=late_fee))
    yield from samples_of(_loan(origination_fee=36_000), _OPENED)
    yield from _changed(_loan())


def _life(loan: Loan) -> Iterator[Sample]:
    """A loan on the days around its first and last due day, nothing, a part, and more than due being paid."""
    terms, curve = loan.terms, loan.curve
    last = schedule.due_day(terms, terms.instalments)
    first = last if terms.schedule is Schedule.BULLET else terms.first_due
    for paid in (
        0,
        curve.cumulative(terms.instalments) // (3 * terms.instalments),
        loan.instalment,
        loan.total,
    ):
        if paid:
            credited, _ = schedule.apply_payment(loan, paid, _noon(terms, first) - 90 * calendar.DAY)
        else:
            credited = loan
        for day in (first - 100, first - 3, first, first + 5, first + 60, last + 20):
            if paid == 0 or day > first - 90:
                yield from samples_of(credited, max(_OPENED, _noon(terms, day)))
    # Everything paid but a late fee.
    if terms.late_fee:
        late = replace(loan, paid=loan.total, fees=2 * terms.late_fee, assessed=terms.instalments)
        yield from samples_of(late, _noon(terms, last + 30))
        # A late fee unpaid, and nothing overdue.
        late = replace(loan, paid=curve.cumulative(1), fees=terms.late_fee, assessed=1)
        if terms.instalments > 1 and late.paid:
            yield from samples_of(late, _noon(terms, first + 12))
    settled, _, _ = schedule.settle(loan, _noon(terms, first))
    yield from samples_of(settled, _noon(terms, first))


def _changed(loan: Loan) -> Iterator[Sample]:
    """A loan that an amendment made, and some that an amendment or the borrower ended."""
    now = _noon(loan.terms, _FIRST_DUE - 30)
    paid, _ = schedule.apply_payment(loan, 50_000, now)
    for late_fee in (0, 4_000):
        amended = replace(paid, terms=replace(paid.terms, replaces=b"\7" * 32, late_fee=late_fee))
        yield from samples_of(amended, now)
        yield from samples_of(amended, now, Said(received=40_000))
    yield from samples_of(replace(amended, paid=0, fees=8_000, assessed=2), now)
    yield from samples_of(loan, _OPENED + 12 * calendar.DAY, changes=2)
    # Assigned, or grieved about; owing, or not any more.
    lodged = Case(now - 3 * calendar.DAY)
    settled, _, _ = schedule.settle(loan, now)
    for each in (loan, settled):
        assigned = replace(each, lender="0x" + "c2" * 20, assigned=True)
        for servicer in (ZERO_ADDRESS, "0x" + "d3" * 20):
            yield from samples_of(assigned, now, servicer=servicer, grievance=lodged)
    for status in (Status.REPLACED, Status.RESCINDED):
        yield from samples_of(replace(paid, total=paid.paid, fees=0, recorded_status=status), now)


def _noon(terms: Terms, day: int) -> int:
    return calendar.start_of(day, terms.calendar_offset) + calendar.DAY // 2
