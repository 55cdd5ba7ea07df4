"""The audit finds what the ledger should never do: each rule about money and terms broken once."""

from dataclasses import replace
from functools import partial

import pytest
from story import (
    BORROWER,
    DAY,
    FIRST_DUE,
    INSTALMENT,
    LENDER,
    LENDING,
    LIMITS,
    LOAN,
    OPENED_AT,
    STRANGER,
    TERMS,
    Ledger,
    at,
    audit,
    logged_all,
)

from duly.domain import calendar, lending, schedule
from duly.domain.audit import RULES, Audit, Basis
from duly.domain.audit.tokens import Transfer
from duly.domain.consent import Channel
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
    OfferCancelled,
    PaymentHeld,
    PolicyPublished,
    ReceiptAcknowledged,
    Repaid,
)
from duly.domain.grievance import Grievance
from duly.domain.policy import AprConvention
from duly.domain.replay import HistoryIncomplete
from duly.domain.terms import Frequency, Schedule, Terms

Story = list[tuple[Event, int]]

SECOND_DUE = calendar.add_months(FIRST_DUE, 1)
MISSED = at(FIRST_DUE + 16, 12)
"""The grace period of the first instalment is over."""


def broken(told: Story) -> list[str]:
    return [violation.rule for violation in audit(history=told)]


def a_year(terms: Terms = TERMS) -> Ledger:
    """A loan that is paid late once, then in time, deferred, prepaid and settled."""
    ledger = Ledger(terms)
    ledger.pay(INSTALMENT // 2, at(FIRST_DUE, 12))
    ledger.pay(INSTALMENT - INSTALMENT // 2, MISSED)
    ledger.waive(500, MISSED + 60)
    ledger.defer(1, at(SECOND_DUE + 3, 12))
    return ledger


def test_a_loan_that_keeps_every_rule() -> None:
    assert broken(a_year().told) == []
    paid = Ledger(replace(TERMS, instalments=3))
    for k in (1, 2, 3):
        due = calendar.add_months(FIRST_DUE, k - 1)
        paid.pay(paid.loan.curve.cumulative(k) - paid.loan.paid, at(due, 12))
    assert type(paid.told[-1][0]) is LoanRepaid
    assert broken(paid.told) == []
    for last in (
        partial(Ledger.settle, now=at(FIRST_DUE, 12)),
        partial(Ledger.prepay, amount=300_000, now=at(FIRST_DUE, 12)),
        partial(Ledger.amend, now=at(FIRST_DUE, 12), principal=900_000, late_fee=0, first_due=SECOND_DUE),
        partial(Ledger.rescind, now=OPENED_AT + 3 * DAY),
    ):
        ledger = Ledger()
        last(ledger)
        assert broken(ledger.told) == []


@pytest.mark.parametrize("kind", Schedule)
@pytest.mark.parametrize("frequency", [Frequency.MONTHLY, Frequency.WEEKLY])
@pytest.mark.parametrize(("rate", "n"), [(0, 7), (112_200, 36), (240_000, 120)])
@pytest.mark.parametrize("principal", [1_000_000, 10**20 + 7])
def test_ledger_1_every_schedule_is_found_to_come_out_even(
    kind: Schedule, frequency: Frequency, rate: int, n: int, principal: int
) -> None:
    if kind is Schedule.INTEREST_ONLY and not rate:
        rate = 1_000
    terms = replace(
        TERMS, principal=principal, rate=rate, instalments=n, schedule=kind, frequency=frequency, late_fee=0
    )
    ledger = Ledger(terms)
    assert broken(ledger.told) == []
    off = ledger.loan.total + 10 + principal // 10**17
    assert "LEDGER-1" in broken(ledger.told_but(LoanOpened, total=off))


def opened_with(**changes: object) -> Story:
    """A loan opened on terms that no ledger takes: amounts as if the policy allowed them."""
    terms = replace(TERMS, **changes)  # type: ignore[arg-type]
    curve = lending.curve_of(terms)
    return Ledger().told_but(LoanOpened, terms=terms, instalment=curve.instalment, total=curve.total)


@pytest.mark.parametrize(
    ("convention", "rate", "fee", "kept"),
    [
        (AprConvention.NOMINAL, 359_900, 0, True),
        (AprConvention.NOMINAL, 360_100, 0, False),
        (AprConvention.NOMINAL, 300_000, 100_000, False),  # the origination fee brings it above
        (AprConvention.EFFECTIVE, 310_000, 0, True),
        (AprConvention.EFFECTIVE, 312_000, 0, False),  # 36.07 % a year, compounded
    ],
)
def test_usury_1_the_rate_searched_anew(convention: AprConvention, rate: int, fee: int, kept: bool) -> None:
    limits = replace(LENDING, apr_convention=convention)
    published = (PolicyPublished(1, LENDER, limits, LIMITS, b"\x08" * 32, bytes(32)), OPENED_AT - DAY)
    told = [published, *opened_with(rate=rate, origination_fee=fee)[1:]]
    assert broken(told) == ([] if kept else ["USURY-1"])
    if kept:
        lending.admit(replace(TERMS, rate=rate, origination_fee=fee), limits, OPENED_AT)


@pytest.mark.parametrize("kind", Schedule)
def test_usury_1_and_the_ledger_agree_at_the_cap(kind: Schedule) -> None:
    """The highest rate that the ledger takes is within the cap, and a little more is not."""
    low, high = 100_000, 1_000_000
    terms = replace(TERMS, schedule=kind, late_fee=0)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            lending.admit(replace(terms, rate=middle), LENDING, OPENED_AT)
            low = middle
        except lending.AprAboveCap:
            high = middle
    assert broken(opened_with(schedule=kind, late_fee=0, rate=low)) == []
    assert broken(opened_with(schedule=kind, late_fee=0, rate=high + 100)) == ["USURY-1"]


def test_usury_1_no_cap_and_no_whole_first_interval() -> None:
    assert broken(opened_with(policy=2)) == ["USURY-1"]
    assert broken(opened_with(first_due=FIRST_DUE - 10)) == ["USURY-1"]


@pytest.mark.parametrize(
    ("story", "event", "changes", "rule"),
    [
        (a_year, Repaid, {"amount": 1}, "LEDGER-2"),
        (a_year, Repaid, {"paid": 10}, "LEDGER-2"),
        (a_year, FeesWaived, {"amount": 501}, "FEES-1"),
        (a_year, FeesWaived, {"fees": 0}, "FEES-1"),
        (a_year, InstalmentMissed, {"fees": 1_501}, "FEES-1"),
        (a_year, InstalmentMissed, {"first": 0}, "FEES-1"),
        (a_year, InstalmentMissed, {"last": 37}, "FEES-1"),
        (a_year, InstalmentMissed, {"last": 2, "fees": 3_000}, "FEES-1"),
        (a_year, LoanAmended, {"fees": 1_001}, "FEES-1"),
    ],
    ids=lambda value: value if isinstance(value, (str, dict)) else getattr(value, "__name__", None),
)  # fmt: skip
def test_one_event_tells_another_amount(
    story: object, event: type[Event], changes: dict[str, object], rule: str
) -> None:
    assert rule in broken(story().told_but(event, **changes))  # type: ignore[operator]


# ---------------------------------------------------------------------------------------- TERMS-1


@pytest.mark.parametrize(
    "changes",
    [
        {"lender": STRANGER}, {"borrower": STRANGER}, {"replaces": b"\x03" * 32}, {"rate": 112_201},
        {"grace_days": 14}, {"late_fee": 1_501}, {"frequency": Frequency.WEEKLY},
        {"first_due": SECOND_DUE - 1}, {"instalments": 37},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_terms_1_what_one_side_alone_cannot_change(changes: dict[str, object]) -> None:
    ledger = a_year()
    assert broken(ledger.told) == []
    terms = replace(ledger.loan.terms, **changes)  # type: ignore[arg-type]
    assert "TERMS-1" in broken(ledger.told_but(LoanAmended, terms=terms))


def test_terms_1_one_side_alone_cannot_make_it_dearer() -> None:
    ledger = Ledger()
    ledger.defer(1, at(FIRST_DUE - 3, 12))
    assert broken(ledger.told) == []
    assert broken(ledger.told_but(LoanAmended, total=ledger.loan.total + 2)) == ["TERMS-1"]


def test_terms_1_an_amendment_by_both_lends_nothing_anew() -> None:
    moment = at(FIRST_DUE, 12)
    most = schedule.payoff(Ledger().loan, moment)
    ledger = Ledger()
    ledger.amend(moment, principal=most, late_fee=0, first_due=SECOND_DUE)
    assert broken(ledger.told) == []
    for changes in ({"principal": most + 1}, {"rate": 112_201}, {"expires": moment - 1}):
        terms = replace(ledger.loan.terms, **changes)  # type: ignore[arg-type]
        curve = lending.curve_of(terms)
        told = ledger.told_but(LoanAmended, terms=terms, instalment=curve.instalment, total=curve.total)
        assert broken(told) == ["TERMS-1"], changes


def test_terms_1_an_id_is_the_hash_of_its_terms() -> None:
    for id_of, expected in ((lambda terms: LOAN, []), (lambda terms: b"\x05" * 32, ["TERMS-1"])):
        auditor = Audit(id_of=id_of)
        for logged in logged_all(Ledger().told):
            auditor.see(logged)
        assert [violation.rule for violation in auditor.findings.violations] == expected


def test_terms_1_a_loan_is_opened_once_from_an_offer_that_stands() -> None:
    told = Ledger().told
    assert broken([*told, told[-1]]) == ["TERMS-1"]
    cancelled = (OfferCancelled(LOAN, LENDER), OPENED_AT)
    assert broken([told[0], cancelled, *told[1:]]) == ["TERMS-1"]
    assert broken([*told, cancelled]) == ["TERMS-1"]
    late = [(event, moment + 2 * DAY * (type(event) is LoanOpened)) for event, moment in told]
    assert "TERMS-1" in broken(late)
    assert broken(opened_with(replaces=b"\x09" * 32)) == ["TERMS-1"]


def test_terms_1_only_the_lender_assigns_and_to_a_lender() -> None:
    told = Ledger().told
    assert broken([*told, (LoanAssigned(LOAN, LENDER, STRANGER), OPENED_AT)]) == []
    assert broken([*told, (LoanAssigned(LOAN, STRANGER, LENDER), OPENED_AT)]) == ["TERMS-1"]
    assert broken([*told, (LoanAssigned(LOAN, LENDER, BORROWER), OPENED_AT)]) == ["TERMS-1"]


@pytest.mark.parametrize(
    ("tighter", "looser"),
    [
        ({"opens": 600}, {"opens": 539}), ({"closes": 1_000}, {"closes": 1_141}),
        ({"lead": 901}, {"lead": 899}),
        ({"weekdays": 1}, {"weekdays": 0b0111111}), ({"per_day": 1}, {"per_day": 2}),
        ({"per_week": 1}, {"per_week": 3}), ({"gap": 3 * DAY}, {"gap": DAY}),
        ({"upcoming_days": 3}, {"upcoming_days": 8}), ({"overdue_days": 12}, {"overdue_days": 10}),
        ({"pause_days": 31}, {"pause_days": 29}),
    ],
)  # fmt: skip
def test_terms_1_contact_limits_are_only_tightened(tighter: dict[str, int], looser: dict[str, int]) -> None:
    told = Ledger().told

    def tightened(**changes: int) -> Story:
        return [*told, (ContactTightened(1, LENDER, replace(LIMITS, **changes)), OPENED_AT)]

    assert broken(tightened(**tighter)) == []
    assert broken(tightened(**looser)) == ["TERMS-1"]


def test_terms_1_no_grievance_rests_less_than_before() -> None:
    resting = (ContactTightened(1, LENDER, replace(LIMITS, rest_all_loans=7, rest_fees=7)), OPENED_AT)
    told = [*Ledger().told, resting]
    assert broken(told) == []
    for name in ("rest_all_loans", "rest_fees"):
        less = ContactTightened(1, LENDER, replace(resting[0].contact, **{name: 6}))
        assert broken([*told, (less, OPENED_AT)]) == ["TERMS-1"]


def test_terms_1_a_policy_is_published_once_and_with_templates() -> None:
    told = Ledger().told
    assert broken([*told, told[0]]) == ["TERMS-1"]
    assert broken(Ledger().told_but(PolicyPublished, templates=bytes(32))) == ["BASIS-1"]


# ---------------------------------------------------------------------------------------- money


def test_ledger_1_repaid_is_what_owes_exactly_nothing() -> None:
    told = [*Ledger().told, (LoanRepaid(LOAN, 0), OPENED_AT)]
    assert broken(told) == ["LEDGER-1"]


@pytest.mark.parametrize(
    "event",
    [
        Repaid(LOAN, BORROWER, 10**9, 10**9),
        Repaid(LOAN, BORROWER, 0, 0),
        ReceiptAcknowledged(LOAN, LENDER, 10**9, bytes(32), 10**9),
        DebtForgiven(LOAN, LENDER, 10**9, 10**9),
    ],
    ids=lambda event: f"{event.name}-{event.amount}",
)
def test_ledger_3_only_what_is_owed_is_taken(event: Event) -> None:
    assert broken([*Ledger().told, (event, OPENED_AT)]) == ["LEDGER-3"]


def test_ledger_3_settling_takes_what_it_costs() -> None:
    ledger = Ledger()
    ledger.settle(at(FIRST_DUE, 12))
    settled = ledger.told[-1][0]
    assert isinstance(settled, LoanSettled)
    dearer = ledger.told_but(
        LoanSettled, amount=settled.amount + 1, saved=settled.saved - 1, paid=settled.paid + 1
    )
    assert broken(dearer) == ["LEDGER-3"]
    assert broken(ledger.told_but(LoanSettled, saved=settled.saved + 1)) == ["LEDGER-2"]
    assert broken(ledger.told_but(LoanSettled, paid=settled.paid + 1)) == ["LEDGER-2"]
    after = [*ledger.told, (Repaid(LOAN, BORROWER, 1, settled.paid + 1), at(FIRST_DUE, 13))]
    assert broken(after) == ["LEDGER-3"]


def test_ledger_2_what_is_held_was_taken_and_is_claimed_whole() -> None:
    moment = at(FIRST_DUE, 12)
    ledger = Ledger()
    ledger.pay(INSTALMENT, moment)
    held = (PaymentHeld(LOAN, LENDER, INSTALMENT), moment)
    claimed = (Claimed(LENDER, LENDER, INSTALMENT), moment + 1)
    assert broken([*ledger.told, held, claimed]) == []
    assert broken([*ledger.told, (PaymentHeld(LOAN, STRANGER, INSTALMENT), moment)]) == ["LEDGER-2"]
    assert broken([*ledger.told, (PaymentHeld(LOAN, LENDER, INSTALMENT + 1), moment)]) == ["LEDGER-2"]
    assert broken([*ledger.told, (held[0], moment + 1)]) == ["LEDGER-2"]
    assert broken([*ledger.told, held, held]) == ["LEDGER-2"]
    assert broken([*ledger.told, held, (Claimed(LENDER, LENDER, INSTALMENT - 1), moment)]) == ["LEDGER-2"]
    assert broken([*ledger.told, held, claimed, claimed]) == ["LEDGER-2"]


def test_ledger_2_the_tokens_moved_as_the_ledger_says() -> None:
    moment, here = at(FIRST_DUE, 12), "0x" + "c" * 40
    ledger = Ledger()
    ledger.pay(INSTALMENT, moment)
    ledger.settle(moment + 1)
    settled = ledger.told[-1][0]
    assert isinstance(settled, LoanSettled)
    told = [
        *ledger.told,
        (PaymentHeld(LOAN, LENDER, settled.amount), moment + 1),
        (Claimed(LENDER, STRANGER, settled.amount), moment + 2),
    ]
    moved = {
        OPENED_AT: Transfer(LENDER, BORROWER, TERMS.principal),
        moment: Transfer(BORROWER, LENDER, INSTALMENT),
        moment + 1: Transfer(BORROWER, here, settled.amount),
        moment + 2: Transfer(here, STRANGER, settled.amount),
    }

    def missing(transfers: dict[int, Transfer]) -> list[str]:
        by_hash = {when.to_bytes(32, "big"): [transfer] for when, transfer in transfers.items()}
        auditor = Audit(tokens=(here, lambda transaction: by_hash.get(transaction, [])))
        for logged in logged_all(told):
            auditor.see(logged)
        auditor.finish()
        return [violation.rule for violation in auditor.findings.violations]

    assert missing(moved) == []
    for when, transfer in moved.items():
        for wrong in (
            transfer._replace(amount=transfer.amount - 1),
            transfer._replace(to="0x" + "9" * 40),
            transfer._replace(from_="0x" + "9" * 40),
        ):
            assert missing(moved | {when: wrong}) == ["LEDGER-2"]


# ---------------------------------------------------------------------------------------- late fees


def missed(first: int = 1, last: int = 1, fees: int = 1_500) -> InstalmentMissed:
    return InstalmentMissed(LOAN, first, last, fees)


def test_fees_1_after_the_grace_period_once_and_only_where_receipts_fell_short() -> None:
    told = Ledger().told
    grace_over = calendar.start_of(FIRST_DUE + 16, 0)
    assert broken([*told, (missed(), grace_over)]) == []
    assert broken([*told, (missed(), grace_over - 1)]) == ["FEES-1"]
    assert broken([*told, (missed(), MISSED), (missed(fees=3_000), MISSED)]) == ["FEES-1"]
    paid = (Repaid(LOAN, BORROWER, INSTALMENT, INSTALMENT), MISSED)
    assert broken([*told, paid, (missed(), MISSED)]) == ["FEES-1"]
    short = (Repaid(LOAN, BORROWER, INSTALMENT - 1, INSTALMENT - 1), MISSED)
    assert broken([*told, short, (missed(), MISSED)]) == []


def test_fees_1_within_the_policys_cap_and_grace() -> None:
    most = INSTALMENT * LENDING.late_fee_cap // 10_000
    assert broken(opened_with(late_fee=most)) == []
    assert broken(opened_with(late_fee=most + 1)) == ["FEES-1"]
    assert broken(opened_with(grace_days=LENDING.min_grace_days - 1)) == ["FEES-1"]


@pytest.mark.parametrize(
    ("lodged", "answered", "rested"),
    [
        (FIRST_DUE + 10, None, True),
        (FIRST_DUE + 10, FIRST_DUE + 16, True),
        (FIRST_DUE + 10, FIRST_DUE + 15, False),  # over before the grace period was
        (FIRST_DUE + 16, None, False),  # lodged when it was missed already
    ],
)
def test_fees_1_none_for_what_was_missed_while_late_fees_rested(
    lodged: int, answered: int | None, rested: bool
) -> None:
    limits = replace(LIMITS, rest_fees=7, pause_days=0)
    told: Story = [
        (PolicyPublished(1, LENDER, LENDING, limits, b"\x08" * 32, bytes(32)), OPENED_AT - DAY),
        Ledger().told[1],
        (GrievanceLodged(LOAN, BORROWER, Grievance.DISPUTE, BORROWER, False, True), at(lodged, 12)),
    ]
    if answered:
        told.append(
            (GrievanceAnswered(LOAN, BORROWER, Grievance.DISPUTE, at(answered, 12)), at(answered, 12))
        )
    told.append((missed(), at(FIRST_DUE + 40, 12)))
    # Two are past their grace by then; only the first is charged.
    assert broken(told) == (["FEES-1"] if rested else [])


# ---------------------------------------------------------------------------------------- rescinding


def test_cool_1_in_time_and_for_no_more_than_interest_to_the_day() -> None:
    days = LENDING.cooling_off_days
    last_second = calendar.start_of(OPENED_AT // DAY + days + 1, 0) - 1
    ledger = Ledger()
    ledger.rescind(last_second)
    assert broken(ledger.told) == []
    rescinded = ledger.told[-1][0]
    assert isinstance(rescinded, LoanRescinded)
    assert broken([*ledger.told[:-1], (rescinded, last_second + 1)]) == ["COOL-1"]
    more = replace(rescinded, amount=rescinded.amount + 1, paid=rescinded.paid + 1)
    assert broken([*ledger.told[:-1], (more, last_second)]) == ["COOL-1"]
    assert broken(ledger.told_but(LoanRescinded, paid=rescinded.paid + 1)) == ["LEDGER-2"]


def test_cool_1_no_amendment_takes_the_right_away() -> None:
    ledger = Ledger()
    ledger.defer(1, at(FIRST_DUE - 3, 12))
    early = OPENED_AT + 60
    amended = replace(ledger.told[-1][0], terms=replace(ledger.loan.terms, expires=early))  # type: ignore[type-var]
    assert broken([*ledger.told[:-1], (amended, early)]) == ["COOL-1"]


# ---------------------------------------------------------------------------------------- the borrower's word


def test_consent_1_no_consent_without_a_contact() -> None:
    assert broken([*Ledger().told, (ConsentGranted(BORROWER, Channel.SMS), OPENED_AT)]) == ["CONSENT-1"]


def test_pause_1_a_grievance_rests_what_the_policy_says_and_for_as_long() -> None:
    limits = replace(LIMITS, rest_all_loans=1, rest_fees=1)
    published = (PolicyPublished(1, LENDER, LENDING, limits, b"\x08" * 32, bytes(32)), OPENED_AT - DAY)
    told = [published, *Ledger().told[1:]]

    def lodged(all_loans: bool = True, fees_rest: bool = True, borrower: str = BORROWER) -> Story:
        event = GrievanceLodged(LOAN, borrower, Grievance.DISPUTE, BORROWER, all_loans, fees_rest)
        return [*told, (event, OPENED_AT)]

    assert broken(lodged()) == []
    assert broken(lodged(all_loans=False)) == broken(lodged(fees_rest=False)) == ["PAUSE-1"]
    assert broken(lodged(borrower=STRANGER)) == ["PAUSE-1"]
    until = OPENED_AT + LIMITS.pause_days * DAY
    for end, expected in ((until, []), (until - 1, ["PAUSE-1"])):
        answered = (GrievanceAnswered(LOAN, BORROWER, Grievance.DISPUTE, end), OPENED_AT)
        assert broken([*lodged(), answered]) == expected


# ---------------------------------------------------------------------------------------- the whole


def test_every_rule_says_what_was_checked_and_what_was_not() -> None:
    for rule in RULES:
        assert rule.checked or rule.left(()), rule.id
        assert bool(rule.more) == bool(rule.otherwise), rule.id
        assert rule.basis(()) is (Basis.CHAIN if rule.checked else Basis.NOTHING)
        everything = {Basis.SERVICE, Basis.TOKENS}
        assert rule.basis(everything) is (rule.more_from if rule.more else rule.basis(()))
        assert rule.more in rule.what(everything)
        assert not rule.otherwise or rule.otherwise not in rule.left(everything)


def test_an_event_about_what_was_never_told_of() -> None:
    with pytest.raises(HistoryIncomplete):
        broken([(LoanRepaid(LOAN, 1), OPENED_AT)])
