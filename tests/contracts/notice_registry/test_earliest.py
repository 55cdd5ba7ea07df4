"""At the second that `earliest` gives a notice may be served, and in the second before it may not."""

from random import Random

import pytest
from support.clock import DAY, HOUR, MINUTE
from support.offers import Contact, Grievance

EMAIL, SMS = 0, 1


@pytest.fixture
def earliest(notices):
    return lambda about: int(notices.earliest(about.loan, about.kind, about.instalment, about.channel))


@pytest.fixture
def as_it_will_be(notices, ledger, lender, kinds):
    """Why a notice is refused at this moment, if it names the amount that the ledger says; and the amount."""

    def reason(about):
        position = ledger.positionOf(about.loan)
        amount = {
            kinds.OPENED: position["principal"],
            kinds.UPCOMING: position["nextAmount"],
            kinds.DUE_TODAY: position["nextAmount"],
            kinds.OVERDUE: position["overdue"] + position["fees"],
            kinds.RECEIVED: position["paid"] - notices.saidOf(about.loan)[0]["received"],
            kinds.REPAID: position["paid"],
            kinds.AMENDED: position["principal"],
            kinds.ARREARS: position["overdue"] + position["fees"],
        }.get(about.kind, 0)
        return notices.refusal(about._replace(amount=amount), lender)["reason"], amount

    return reason


def test_waiting_does_not_help(ledger, consents, loan, level, at, notice, serve, earliest, kinds, borrower):
    at(1, -3)
    upcoming = notice(loan, kinds.UPCOMING, 1, level)
    for hopeless in (
        upcoming._replace(loan=b"\3" * 32),
        upcoming._replace(instalment=2),
        upcoming._replace(channel=SMS),
        notice(loan, kinds.REPAID),
        notice(loan, kinds.RECEIVED),
    ):
        assert earliest(hopeless) == 0
    serve(notice(loan, kinds.OPENED, 0, 1_200_000_000))
    assert earliest(notice(loan, kinds.OPENED)) == 0
    at(1, -1, hour=19)  # tomorrow is too late
    assert earliest(upcoming) == 0
    at(1, 0, hour=19)
    assert earliest(notice(loan, kinds.DUE_TODAY, 1)) == 0
    ledger.settle(loan, 2**200, {"from": borrower})
    for kind in (kinds.UPCOMING, kinds.DUE_TODAY, kinds.OVERDUE):
        assert earliest(notice(loan, kind, 1)) == 0


@pytest.mark.parametrize("stop", ["revoke", "cease"])
def test_consent_1_waiting_does_not_bring_consent(
    consents, loan, at, notice, earliest, kinds, borrower, stop
):
    at(1, -3)
    getattr(consents, stop)(*([EMAIL] if stop == "revoke" else []), {"from": borrower})
    assert earliest(notice(loan, kinds.UPCOMING, 1)) == 0


def test_what_may_be_served_may_be_served_now(loan, at, notice, earliest, kinds):
    now = at(1, -3)
    assert earliest(notice(loan, kinds.UPCOMING, 1)) == now


def test_days_to_come_begin_with_the_window(ledger, loan, at, notice, earliest, clock, kinds):
    due = int(ledger.instalmentOf(loan, 1)["dueAt"])
    at(1, -20)
    assert earliest(notice(loan, kinds.UPCOMING, 1)) == due + 1 - 8 * DAY + 9 * HOUR
    assert earliest(notice(loan, kinds.DUE_TODAY, 1)) == due + 1 - 15 * HOUR
    assert earliest(notice(loan, kinds.OVERDUE, 1)) == due + 1 + DAY + 9 * HOUR


def any_limits(random):
    opens = random.randint(7 * 60, 19 * 60)
    per_week = random.randint(1, 7)
    return Contact(
        opens=opens,
        closes=random.randint(opens + 180, 22 * 60),
        lead=random.choice([0, 60, 1800]),
        weekdays=random.choice([127, 31, random.randint(1, 127), 1 << random.randint(0, 6)]),
        per_day=random.randint(1, per_week),
        per_week=per_week,
        gap=random.choice([0, HOUR, 5 * HOUR, 30 * HOUR, 3 * DAY]),
        upcoming_days=random.choice([0, 1, 3, 10, 31]),
        overdue_days=random.choice([1, 2, 5]),
        pause_days=random.choice([0, 1, 3]),
        rest_all_loans=random.randint(0, 7),
        rest_fees=random.randint(0, 7),
    )


@pytest.mark.parametrize("seed", range(16))
def test_hours_1_cap_1_basis_1_pause_1_both_sides_of_the_earliest_second(
    ledger, consents, desk, publish, open_loan, notice, serve, earliest, as_it_will_be, clock, borrower,
    kinds, refusals, seed,
):  # fmt: skip
    random = Random(seed)
    offset = random.randint(-48, 48)
    other = offset + random.randint(max(-8, -48 - offset), 8)
    consents.register(EMAIL, b"\xc0" * 32, offset, other, {"from": borrower})
    consents.grant(EMAIL, {"from": borrower})
    policy = publish(contact=any_limits(random))
    loan = open_loan(policy=policy, calendar_offset=random.randint(-48, 56))
    due = int(ledger.instalmentOf(loan, 1)["dueAt"])
    moments = sorted(random.randint(due - 12 * DAY, due + 4 * DAY) for _ in range(3))
    # In every other, two instalments are overdue at last.
    moments += [due + 33 * DAY + random.randint(0, DAY)] * (seed % 2)
    for now in moments:
        clock.to(max(now, clock.now() + MINUTE))
        if random.random() < 0.3:
            ledger.repay(loan, random.choice([1, 10**8, 2 * 10**8]), {"from": borrower})
        grievance = random.choice([*Grievance, None, None, None])
        if grievance is not None and not desk.caseOf(loan, grievance)["since"]:
            desk.lodge(loan, grievance, {"from": borrower})
        position = ledger.positionOf(loan)
        for kind in kinds:
            instalment = {
                kinds.UPCOMING: position["next"],
                kinds.DUE_TODAY: position["next"],
                kinds.OVERDUE: position["firstUnpaid"],
                kinds.PAID_AHEAD: position["next"],
                kinds.ARREARS: position["firstUnpaid"],
            }.get(kind, 0)
            about = notice(loan, kind, instalment)
            now, moment = clock.now(), earliest(about)
            for second in (moment - 1, moment):
                if second > now:
                    with clock.glimpse(second):
                        reason, _ = as_it_will_be(about)
                        assert (reason == refusals.NONE) == (second == moment)
            reason, amount = as_it_will_be(about)
            assert (reason == refusals.NONE) == (moment == now)
            if moment == 0 and kind != kinds.ARREARS:  # which come with more instalments, not with waiting
                with clock.glimpse(now + random.randint(1, 40 * DAY)):
                    assert as_it_will_be(about)[0] != refusals.NONE
            elif moment == now and random.random() < 0.7:
                clock.to(now)
                serve(about._replace(amount=amount))
