"""The audit finds what the gate should never let through: each rule about notices broken once, in an invented
history."""

from dataclasses import replace

import pytest
from story import (
    BORROWER,
    DAY,
    DUE_TODAY,
    FIRST_DUE,
    HISTORY,
    INSTALMENT,
    LENDER,
    LIMITS,
    LOAN,
    LOAN_NOW,
    MONDAY_BEFORE,
    NEW_YORK,
    OPENED,
    OPENED_AT,
    OTHER,
    STRANGER,
    TERMS,
    UPCOMING,
    Ledger,
    at,
    audit,
    logged_all,
    rules,
    served,
)

from duly.domain import calendar
from duly.domain.audit import Audit
from duly.domain.consent import Channel
from duly.domain.events import (
    ConsentGranted,
    ConsentRevoked,
    ContactCeased,
    ContactRegistered,
    Event,
    GrievanceAnswered,
    GrievanceLodged,
    GrievancesCarriedOver,
    GrievanceWithdrawn,
    LoanAssigned,
    LoanOpened,
    NoticeRefused,
    NoticeServed,
    Repaid,
    ServicerAppointed,
)
from duly.domain.grievance import Grievance
from duly.domain.notice import Kind, Refusal, notice_id
from duly.services.benchaudit import history


def test_a_history_that_keeps_the_rules_has_no_violation() -> None:
    paid = Repaid(LOAN, BORROWER, INSTALMENT, INSTALMENT)
    received = served(Kind.PAYMENT_RECEIVED, 0, INSTALMENT, INSTALMENT)
    due = at(FIRST_DUE, 23, 44, 59)
    assert (
        rules((OPENED, MONDAY_BEFORE), (UPCOMING, MONDAY_BEFORE), (paid, due), (received, due - 3600)) == []
    )


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        (at(FIRST_DUE - 4, 14) - 1, False),  # 08:59:59 by winter time
        (at(FIRST_DUE - 4, 14), True),
        (at(FIRST_DUE - 4, 22, 44, 59), True),  # 18:44:59 by summer time: 901 s are left
        (at(FIRST_DUE - 4, 22, 45), False),
        (at(FIRST_DUE - 5, 16), False),  # a Sunday
    ],
)
def test_hours_1_both_offsets_at_the_boundary_seconds(moment: int, kept: bool) -> None:
    assert set(rules((UPCOMING, moment))) == (set() if kept else {"HOURS-1"})


def test_cap_1_counts_whole_windows() -> None:
    early = at(FIRST_DUE - 7, 14)  # a Friday
    again = replace(UPCOMING, id=notice_id(LOAN, Kind.INSTALMENT_UPCOMING, 1, 1), serial=1)
    third = replace(UPCOMING, id=notice_id(LOAN, Kind.INSTALMENT_UPCOMING, 1, 2), serial=2)
    monday, wednesday = early + 3 * DAY, early + 5 * DAY
    assert rules((UPCOMING, early), (again, monday)) == []
    assert rules((UPCOMING, early), (again, monday), (third, wednesday)) == ["CAP-1"]
    assert rules((UPCOMING, monday), (again, monday + 3600)) == ["CAP-1", "CAP-1"]


def test_cap_2_service_notices_once_and_three_a_day() -> None:
    assert rules((OPENED, MONDAY_BEFORE), (OPENED, MONDAY_BEFORE + 1)) == ["GATE-1", "CAP-2"]
    more: list[tuple[Event, int]] = []
    for count in range(1, 5):
        moment = MONDAY_BEFORE + count * 60
        more.append((Repaid(LOAN, BORROWER, 100, 100 * count), moment))
        more.append((served(Kind.PAYMENT_RECEIVED, 0, 100, 100 * count), moment))
    assert rules(*more) == ["CAP-2"]


@pytest.mark.parametrize(
    "stop", [ConsentRevoked(BORROWER, Channel.EMAIL, LENDER), ContactCeased(BORROWER, BORROWER)]
)
def test_consent_1_nothing_after_it_was_stopped(stop: Event) -> None:
    assert rules((stop, MONDAY_BEFORE - 1), (UPCOMING, MONDAY_BEFORE)) == ["CONSENT-1"]
    assert rules((UPCOMING, MONDAY_BEFORE), (stop, MONDAY_BEFORE)) == []


def test_consent_1_another_address_needs_another_consent() -> None:
    moved = ContactRegistered(BORROWER, Channel.EMAIL, b"\x06" * 32, *NEW_YORK)
    assert rules((moved, MONDAY_BEFORE - 1), (UPCOMING, MONDAY_BEFORE)) == ["CONSENT-1"]


def test_server_1_only_lender_or_servicer() -> None:
    assert rules((replace(UPCOMING, server=STRANGER), MONDAY_BEFORE)) == ["SERVER-1"]
    assert rules((replace(UPCOMING, server="0x" + "0" * 40), MONDAY_BEFORE)) == ["SERVER-1"]


def test_server_1_an_assigned_loan_is_no_longer_the_old_lenders() -> None:
    assigned = LoanAssigned(LOAN, LENDER, STRANGER)
    servicer = ServicerAppointed(STRANGER, LENDER)
    told = replace(served(Kind.LOAN_ASSIGNED, 0, 0, int(STRANGER, 16)), server=STRANGER)
    before = [(assigned, OPENED_AT), (told, MONDAY_BEFORE)]
    by_the_new_one = replace(UPCOMING, server=STRANGER)
    assert rules(*before, (UPCOMING, MONDAY_BEFORE)) == ["SERVER-1"]
    assert rules(*before, (by_the_new_one, MONDAY_BEFORE)) == []
    assert rules((servicer, OPENED_AT), *before, (UPCOMING, MONDAY_BEFORE)) == []
    # Nobody is reminded by a lender of whom they were not told, or by one who was there before.
    assert rules(before[0], (by_the_new_one, MONDAY_BEFORE)) == ["SERVER-1"]
    back = LoanAssigned(LOAN, STRANGER, LENDER)
    assert rules(*before, (back, MONDAY_BEFORE), (UPCOMING, MONDAY_BEFORE)) == ["SERVER-1"]


def deferred() -> list[tuple[Event, int]]:
    """The loan goes on in another, whose first due day is a month later."""
    ledger = Ledger()
    ledger.defer(1, MONDAY_BEFORE)
    assert ledger.loan.terms.first_due == FIRST_DUE + 31
    return [ledger.told[-1]]


def test_basis_1_a_loan_that_was_replaced_asks_for_nothing_and_the_other_from_its_own_day() -> None:
    told = deferred()
    assert set(rules(*told, (UPCOMING, MONDAY_BEFORE))) == {"BASIS-1"}
    about = replace(UPCOMING, loan=OTHER, id=notice_id(OTHER, Kind.INSTALMENT_UPCOMING, 1, 0))
    assert set(rules(*told, (about, MONDAY_BEFORE))) == {"BASIS-1"}
    assert rules(*told, (about, MONDAY_BEFORE + 31 * DAY)) == []


def test_basis_1_what_an_amendment_took_along_is_not_said_again() -> None:
    ledger = Ledger()
    ledger.pay(900, OPENED_AT)
    ledger.defer(1, MONDAY_BEFORE + 1)
    received = served(Kind.PAYMENT_RECEIVED, 0, 900, 900)
    before = [ledger.told[2], (received, MONDAY_BEFORE), ledger.told[-1]]
    assert rules(*before) == []
    again = served(Kind.PAYMENT_RECEIVED, 0, 500, 500)
    assert {"BASIS-1", "GATE-1"} == set(rules(*before, (again, MONDAY_BEFORE + 2)))


def lodged(
    grievance: Grievance = Grievance.DISPUTE, loan: bytes = LOAN, *, everywhere: bool = False
) -> Event:
    return GrievanceLodged(loan, BORROWER, grievance, BORROWER, everywhere, False)


def test_pause_1_no_reminder_while_a_grievance_stands_or_rests() -> None:
    before = MONDAY_BEFORE - LIMITS.pause_days * DAY
    reminder = (UPCOMING, MONDAY_BEFORE)
    answered = GrievanceAnswered(LOAN, BORROWER, Grievance.DISPUTE, MONDAY_BEFORE)
    assert rules((lodged(), before), reminder) == ["PAUSE-1"]
    assert rules((lodged(), before), (answered, before), reminder) == []
    assert rules((lodged(), before), (answered, before + 1), reminder) == ["PAUSE-1"]
    withdrawn = GrievanceWithdrawn(LOAN, BORROWER, Grievance.DISPUTE)
    assert rules((lodged(), before), (withdrawn, MONDAY_BEFORE), reminder) == []
    # Each by itself: the end of one is no end of the other.
    both = [(lodged(), before), (lodged(Grievance.REPRESENTATION), before), (withdrawn, MONDAY_BEFORE)]
    assert rules(*both, reminder) == ["PAUSE-1"]


def test_pause_1_a_grievance_about_another_loan_where_it_concerns_all() -> None:
    other = b"\x03" * 32
    opened = LoanOpened(other, replace(TERMS, salt=other), INSTALMENT, LOAN_NOW.total)
    for everywhere, broken in ((False, []), (True, ["PAUSE-1"])):
        about = lodged(loan=other, everywhere=everywhere)
        assert rules((opened, OPENED_AT), (about, OPENED_AT), (UPCOMING, MONDAY_BEFORE)) == broken


def test_pause_1_a_grievance_goes_over_to_the_loan_that_replaces() -> None:
    about = replace(UPCOMING, loan=OTHER, id=notice_id(OTHER, Kind.INSTALMENT_UPCOMING, 1, 0))
    before = [(lodged(), OPENED_AT), *deferred(), (GrievancesCarriedOver(LOAN, OTHER), MONDAY_BEFORE)]
    assert rules(*before, (about, MONDAY_BEFORE + 31 * DAY)) == ["PAUSE-1"]


RECEIVED = served(Kind.DISPUTE_RECEIVED, 0, 0, OPENED_AT + 5)
ARREARS_FROM = calendar.add_months(FIRST_DUE, 1) + 1


def test_what_serves_the_borrower_breaks_no_rule_where_it_has_its_basis() -> None:
    told = served(Kind.CONSENT_CHANGED, 0, 0, 2)
    noon = MONDAY_BEFORE + 3 * 3600
    assert rules((lodged(), OPENED_AT + 5), (RECEIVED, MONDAY_BEFORE), (told, noon)) == []
    ending = served(Kind.COOLING_OFF_ENDING, 0, 0)
    last = at(OPENED_AT // DAY + 14, 16)
    assert rules((ending, last)) == []


@pytest.mark.parametrize(
    ("notice", "moment"),
    [
        (RECEIVED, MONDAY_BEFORE),
        (served(Kind.DISPUTE_ANSWERED, 0, 0, 5), MONDAY_BEFORE),
        (served(Kind.LOAN_ASSIGNED, 0, 0, int(LENDER, 16)), MONDAY_BEFORE),
        (served(Kind.LOAN_AMENDED, 0, 1_000_000), MONDAY_BEFORE),
        (served(Kind.PAID_AHEAD, 1, 0, 1), MONDAY_BEFORE),
        (served(Kind.CONSENT_CHANGED, 0, 0, 3), MONDAY_BEFORE),
        (served(Kind.COOLING_OFF_ENDING, 0, 0), MONDAY_BEFORE),
        (served(Kind.ARREARS, 1, INSTALMENT + 1_500, 1), at(ARREARS_FROM - 1, 16)),
    ],
    ids=lambda value: value.kind.name.lower() if isinstance(value, NoticeServed) else None,
)
def test_basis_1_tells_of_what_did_not_happen(notice: NoticeServed, moment: int) -> None:
    assert set(rules((notice, moment))) == {"BASIS-1"}


def test_basis_1_arrears_again_within_half_a_year() -> None:
    one, two = at(ARREARS_FROM, 16), at(ARREARS_FROM + 3, 16)
    first = served(Kind.ARREARS, 1, 2 * INSTALMENT + 1_500, 1)
    assert rules((first, one)) == []
    assert rules((first, one), (served(Kind.ARREARS, 1, first.amount, 1, 1), two)) == ["BASIS-1"]


def test_consent_1_what_is_owed_needs_a_contact_alone() -> None:
    ceased = (ContactCeased(BORROWER, BORROWER), OPENED_AT + 9)
    before = [(lodged(), OPENED_AT + 5), ceased]
    answer = served(Kind.DISPUTE_ANSWERED, 0, 0, OPENED_AT + 5)
    by_sms, inbox = replace(answer, channel=Channel.SMS), replace(answer, channel=Channel.IN_APP)
    assert rules(*before, (answer, MONDAY_BEFORE)) == []
    assert rules(*before, (inbox, MONDAY_BEFORE)) == []
    assert rules(*before, (by_sms, MONDAY_BEFORE)) == ["CONSENT-1"]
    assert rules(*before, (RECEIVED, MONDAY_BEFORE)) == ["CONSENT-1"]


def test_borrower_1_nobody_else_is_addressed() -> None:
    assert "BORROWER-1" in rules((replace(UPCOMING, borrower=STRANGER), MONDAY_BEFORE))


@pytest.mark.parametrize(
    "notice",
    [
        replace(UPCOMING, amount=INSTALMENT + 1),
        replace(UPCOMING, instalment=2),
        served(Kind.OVERDUE, 1, INSTALMENT, 1),
        served(Kind.LOAN_REPAID, 0, 0),
        served(Kind.PAYMENT_RECEIVED, 0, 0, 0),
        DUE_TODAY,
        replace(OPENED, amount=1),
    ],
    ids=lambda notice: f"{notice.kind.name.lower()}-{notice.instalment}-{notice.amount}",
)
def test_basis_1_says_what_the_ledger_does_not(notice: NoticeServed) -> None:
    assert set(rules((notice, MONDAY_BEFORE))) == {"BASIS-1"}


def test_basis_1_a_reminder_after_the_borrower_had_paid() -> None:
    paid = Repaid(LOAN, BORROWER, INSTALMENT, INSTALMENT)
    assert set(rules((paid, MONDAY_BEFORE), (UPCOMING, MONDAY_BEFORE))) == {"BASIS-1"}


def test_basis_1_overdue_not_before_the_policys_day() -> None:
    overdue = served(Kind.OVERDUE, 1, INSTALMENT, 1)
    assert rules((overdue, at(FIRST_DUE + 10, 15))) == ["BASIS-1"]
    assert rules((overdue, at(FIRST_DUE + 11, 15))) == []


def test_gate_1_an_id_that_is_not_the_notices() -> None:
    assert rules((replace(UPCOMING, id=b"\x09" * 32), MONDAY_BEFORE)) == ["GATE-1"]


def test_a_violation_tells_what_was_and_what_was_wanted() -> None:
    [violation] = audit((replace(UPCOMING, amount=1), MONDAY_BEFORE))
    assert violation.was == "amount 1"
    assert violation.wanted == f"amount {INSTALMENT} on the ledger"
    assert violation.timestamp == MONDAY_BEFORE


def test_findings_count_what_was_served_and_refused() -> None:
    auditor = Audit()
    refused = NoticeRefused(LOAN, LENDER, Kind.OVERDUE, 1, Channel.EMAIL, Refusal.TOO_SOON, 1, 2)
    for logged in logged_all([*HISTORY, (UPCOMING, MONDAY_BEFORE), (refused, MONDAY_BEFORE)]):
        auditor.see(logged)
    assert auditor.findings.served == {Kind.INSTALMENT_UPCOMING: 1}
    assert auditor.findings.refused == {Refusal.TOO_SOON: 1}
    assert auditor.findings.loans == 1


# ---------------------------------------------------------------------------------- reminders in one message


def two_loans() -> list[tuple[Event, int]]:
    """Another loan of the borrower, on the same terms."""
    return [*HISTORY, (LoanOpened(OTHER, replace(TERMS, salt=OTHER), INSTALMENT, LOAN_NOW.total), OPENED_AT)]


def about_other(notice: NoticeServed = UPCOMING) -> NoticeServed:
    return replace(notice, loan=OTHER, id=notice_id(OTHER, notice.kind, notice.basis, notice.serial))


def test_cap_1_reminders_of_several_loans_in_one_message_count_once() -> None:
    moment = MONDAY_BEFORE + 3600
    together = [(UPCOMING, moment), (replace(about_other(), together=True), moment)]
    assert rules(*together, history=two_loans()) == []
    # The gate counted the second one too.
    assert set(rules(together[0], (about_other(), moment), history=two_loans())) == {"CAP-1"}
    # As one they still count: the gap is two days.
    soon = replace(UPCOMING, id=notice_id(LOAN, Kind.INSTALMENT_UPCOMING, 1, 1), serial=1)
    assert rules(*together, (soon, moment + 2 * DAY - 1), history=two_loans()) == ["CAP-1"]
    assert rules(*together, (soon, moment + 2 * DAY), history=two_loans()) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (about_other(), UPCOMING),  # not in ascending order
        (UPCOMING, replace(about_other(), content_hash=b"\x0a" * 32)),
        (UPCOMING, replace(about_other(), channel=Channel.IN_APP)),
        (UPCOMING, replace(UPCOMING, id=notice_id(LOAN, Kind.INSTALMENT_UPCOMING, 1, 1), serial=1)),
    ],
    ids=["descending", "text", "channel", "loan"],
)
def test_cap_1_what_is_not_one_message(first: NoticeServed, second: NoticeServed) -> None:
    history = two_loans()
    history += [(ContactRegistered(BORROWER, Channel.IN_APP, b"\x06" * 32, *NEW_YORK), OPENED_AT)]
    history += [(ConsentGranted(BORROWER, Channel.IN_APP), OPENED_AT)]
    # Whatever the gate took it for.
    second = replace(second, together=True)
    assert set(rules((first, MONDAY_BEFORE), (second, MONDAY_BEFORE), history=history)) == {"CAP-1"}


def test_cap_1_one_message_is_served_in_one_transaction_without_another_reminder_between() -> None:
    following = replace(about_other(), together=True)
    separately = [(UPCOMING, MONDAY_BEFORE), (following, MONDAY_BEFORE + 1)]
    assert set(rules(*separately, history=two_loans())) == {"CAP-1"}
    between = [(UPCOMING, MONDAY_BEFORE), (OPENED, MONDAY_BEFORE), (following, MONDAY_BEFORE)]
    assert rules(*between, history=two_loans()) == []


# ---------------------------------------------------------------------------------- one person


def test_cap_1_one_person_at_several_addresses() -> None:
    twin = "0x" + "4" * 40
    history = [
        *HISTORY,
        (LoanOpened(OTHER, replace(TERMS, salt=OTHER, borrower=twin), INSTALMENT, LOAN_NOW.total), OPENED_AT),
        (ContactRegistered(twin, Channel.EMAIL, b"\x06" * 32, *NEW_YORK), OPENED_AT),
        (ConsentGranted(twin, Channel.EMAIL), OPENED_AT),
    ]
    to_twin = replace(about_other(), borrower=twin, content_hash=b"\x0a" * 32)
    one, two = {BORROWER: b"1", twin: b"1"}, {BORROWER: b"1", twin: b"2"}
    # In one second it is one message, under a salt of its own for each address.
    for persons, later, broken in (
        ({}, 1, set()),
        (two, 1, set()),
        (one, 1, {"CAP-1"}),
        (one, DAY, {"CAP-1"}),
        (one, 0, set()),
        (one, 2 * DAY, set()),
    ):
        auditor = Audit(persons=persons)
        for logged in logged_all([*history, (UPCOMING, MONDAY_BEFORE), (to_twin, MONDAY_BEFORE + later)]):
            auditor.see(logged)
        assert {violation.rule for violation in auditor.findings.violations} == broken


# ---------------------------------------------------------------------------------- what a report tells


def test_a_row_tells_what_was_so_at_that_moment() -> None:
    rows: list[object] = []
    auditor = Audit(tell=rows.append)
    again = replace(UPCOMING, id=notice_id(LOAN, Kind.INSTALMENT_UPCOMING, 1, 1), serial=1)
    refused = NoticeRefused(LOAN, LENDER, Kind.OVERDUE, 1, Channel.EMAIL, Refusal.TOO_SOON, 1, 2)
    told = [(UPCOMING, MONDAY_BEFORE - 3 * DAY), (again, MONDAY_BEFORE), (refused, MONDAY_BEFORE)]
    for logged in logged_all([*HISTORY, *told]):
        auditor.see(logged)
    first, second, last = rows
    assert (first.reminders_day, first.reminders_week, first.since_last) == (0, 0, None)
    assert (second.reminders_day, second.reminders_week, second.since_last) == (0, 1, 3 * DAY)
    assert (second.consent, second.offsets, second.policy) == ("consent in force", NEW_YORK, 1)
    assert second.basis == "instalment 1 of 36, due on 2027-01-15, unpaid"
    assert (last.event.reason, last.offsets) == (Refusal.TOO_SOON, NEW_YORK)


def test_only_the_policies_that_are_asked_about_are_reported() -> None:
    for number, expected in ((1, 2), (2, 0)):
        auditor = Audit(wanted=lambda policy, number=number: policy.number == number)  # type: ignore[misc]
        for logged in logged_all(
            [*HISTORY, (replace(UPCOMING, amount=1), MONDAY_BEFORE), (OPENED, MONDAY_BEFORE)]
        ):
            auditor.see(logged)
        assert auditor.findings.notices == expected
        assert auditor.findings.loans == expected // 2
        assert len(auditor.findings.violations) == expected // 2


def test_what_is_remembered_does_not_grow_with_notices() -> None:
    def remembered(months: int) -> int:
        auditor = Audit()
        for logged in history(3, months):
            auditor.see(logged)
        assert auditor.findings.violations == []
        assert auditor.findings.notices == 9 * months
        return auditor.remembered

    assert remembered(120) <= remembered(12)
