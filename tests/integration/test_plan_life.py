"""A loan's life in notices: planned from the read model, day by day, and put before the real gate.

What the planner takes to be allowed is served, without one refusal.
"""

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from eth_utils import keccak
from world import BORROWERS, LENDER, OTHER_LENDER, PUBLISHER, SERVICER, World

from duly.chain import networks
from duly.chain.contracts import Call
from duly.chain.offers import sign_assignment
from duly.domain import calendar, schedule
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.notice import COOLING_OFF_ENDS, Kind
from duly.domain.preferences import Preferences, parse_hours
from duly.services.plan import OVERDUE_TIMES, Planned, companions, known_reminders, plan
from duly.services.policy import load_pack
from duly.services.render import Place, render
from duly.store.readmodel import ReadModel

FIRST_DAY = int(datetime(2027, 2, 2, 3, tzinfo=UTC).timestamp())


class Service:
    """Indexes, plans and serves, as the servicer."""

    def __init__(
        self,
        world: World,
        persons: dict[str, bytes],
        reached: dict[str, bytes] | None = None,
        wishes: dict[str, Preferences] | None = None,
    ) -> None:
        self.world, self.persons, self.wishes = world, persons, wishes
        self.together = companions(reached or {}, lambda policy: b"templates")
        self.model = ReadModel.open("sqlite://")
        self.indexer = world.indexer(self.model)

    def at(self, moment: int) -> list[Planned]:
        """What is served at a moment."""
        self.world.w3.provider.ethereum_tester.time_travel(moment)  # type: ignore[attr-defined]
        self.indexer.run()
        candidates = self.model.candidates(calendar.local_day(moment, calendar.EASTERNMOST))
        known = known_reminders(self.persons, self.model.reminders)
        ready = plan(
            candidates,
            self.world.accounts[SERVICER],
            moment,
            self.persons,
            known,
            preferences=self.wishes,
            together=self.together,
            waiting=False,
        )
        # As the service sends them.
        ready.sort(key=lambda each: (each.message, each.borrower, each.loan.id))
        if ready:
            words = {each.id: keccak((each.message or each.id) + each.borrower.encode()) for each in ready}
            call = self.world.notices.serve_many([each.notice(words[each.id]) for each in ready])
            assert self.world.send(call, SERVICER)["status"] == 1
            self.indexer.run()
        return ready


@pytest.fixture
def world() -> World:
    # From one date on: how many reminders fit into some weeks hangs on the weekends among them.
    world = World(networks.in_process(timestamp=FIRST_DAY))
    world.send(world.ledger.appoint_servicer(world.accounts[SERVICER]), LENDER)
    for borrower in BORROWERS[:2]:
        world.send(world.consents.register(Channel.EMAIL, bytes([borrower]) * 32, 0, 4), borrower)
        world.send(world.consents.grant(Channel.EMAIL), borrower)
    return world


@pytest.mark.parametrize("one_person", [False, True])
def test_all_that_is_planned_is_served_and_nothing_is_refused(world: World, one_person: bool) -> None:
    good, late = BORROWERS[:2]
    prompt, tardy = world.open(good, 1), world.open(late, 2)
    anna = b"a" * 32
    persons = {world.accounts[good]: anna, world.accounts[late]: anna} if one_person else {}
    service = Service(world, persons)
    first_day = world.now // DAY + 1
    place = Place("TUSD", 2, 1, *(3 * [world.ledger.address]))
    served: list[tuple[int, Planned]] = []
    for step in range(2 * 140):
        moment = (first_day * DAY) + step * DAY // 2 + 1
        for each in service.at(moment):
            served.append((moment, each))
            text = render(each.kind, each.loan, each.position, each.ground, place, "zh")
            assert "0x" + each.id.hex() in text.body
            # The one pays on the due day, told that it has come; the other only when the loan is long late.
            if each.loan.id == prompt and each.kind is Kind.DUE_TODAY:
                world.send(world.ledger.repay(prompt, each.amount), good)
        if step == 2 * 120:
            world.send(world.ledger.settle(tardy, 2**80), late)

    assert list(service.model.refusals()) == []
    on_chain = {notice.id: notice for notice in service.model.notices()}
    assert {each.id for _, each in served} == set(on_chain)
    kinds = {
        loan: Counter(each.kind for _, each in served if each.loan.id == loan) for loan in (prompt, tardy)
    }
    assert kinds[tardy][Kind.LOAN_OPENED] == kinds[prompt][Kind.LOAN_OPENED] == 1
    assert kinds[tardy][Kind.LOAN_REPAID] == 1
    assert kinds[tardy][Kind.OVERDUE] == OVERDUE_TIMES
    assert all(notice.timestamp - moment < 60 for moment, each in served for notice in [on_chain[each.id]])

    # CAP-1, per person.
    groups = [(prompt, tardy)] if one_person else [(prompt,), (tardy,)]
    for group in groups:
        times = sorted(
            on_chain[each.id].timestamp
            for _, each in served
            if each.loan.id in group and each.kind.is_reminder
        )
        assert all(later - one >= 2 * DAY for one, later in pairwise(times))
        assert all(third - one >= 7 * DAY for one, third in zip(times, times[2:], strict=False))
    # HOURS-1, under both offsets.
    for notice in on_chain.values():
        for offset in (0, 4):
            assert 9 <= (notice.timestamp + offset * 900) % DAY / 3600 < 18.75
            assert calendar.local_day(notice.timestamp, offset) % 7 not in (2, 3)  # no Saturday, no Sunday


def test_cap_1_what_is_said_in_one_message_is_served_and_counts_once(world: World) -> None:
    one, other = (world.accounts[borrower] for borrower in BORROWERS[:2])
    loans = [world.open(BORROWERS[0], 1), world.open(BORROWERS[0], 2), world.open(BORROWERS[1], 3)]
    anna = dict.fromkeys((one, other), b"a" * 32)
    service = Service(world, anna, anna)
    first_day = world.now // DAY + 1
    messages: dict[int, list[Planned]] = {}
    for step in range(2 * 60):
        moment = (first_day * DAY) + step * DAY // 2 + 1
        told = [each for each in service.at(moment) if each.kind.is_reminder]
        if told:
            assert len({each.message for each in told}) == 1
            messages[moment] = told
    assert list(service.model.refusals()) == []
    reminders = [notice for notice in service.model.notices() if notice.kind.is_reminder]
    assert {notice.id for notice in reminders} == {each.id for told in messages.values() for each in told}
    # All three loans are told of every time, and each address counts once for it.
    assert {tuple(sorted(each.loan.id for each in told)) for told in messages.values()} == {
        tuple(sorted(loans))
    }
    times = sorted({notice.timestamp for notice in reminders})
    assert len(times) == len(messages) > OVERDUE_TIMES
    last = (times[-1], times[-2])
    for who in (one, other):
        assert world.notices.reminders_of(who)[:2] == service.model.reminders(who)[:2] == last
    assert all(later - one >= 2 * DAY for one, later in pairwise(times))
    assert all(third - one >= 7 * DAY for one, third in zip(times, times[2:], strict=False))


def test_loans_that_are_changed_are_spoken_of_as_what_they_became(world: World) -> None:
    prepays, deferred, rescinds, assigned = BORROWERS
    for borrower in (rescinds, assigned):
        world.send(world.consents.register(Channel.EMAIL, bytes([borrower]) * 32, 0, 4), borrower)
        world.send(world.consents.grant(Channel.EMAIL), borrower)
    world.send(world.ledger.appoint_servicer(world.accounts[SERVICER]), OTHER_LENDER)
    loans = {borrower: world.open(borrower, borrower) for borrower in BORROWERS}
    service = Service(world, {})
    tomorrow = world.now // DAY + 1
    while tomorrow % 7 != 4:  # until a Monday; day 0 was a Thursday
        tomorrow += 1
    noon = tomorrow * DAY + 12 * 3600

    def said(loan: bytes) -> list[tuple[Kind, int]]:
        return [(notice.kind, notice.amount) for notice in service.model.notices(loan=loan)]

    def send(call: Call, account: int) -> None:
        assert world.send(call, account)["status"] == 1

    service.at(noon)
    assert all(said(loan) == [(Kind.LOAN_OPENED, 120_000)] for loan in loans.values())

    # Within the cooling-off period the one withdraws; what was paid is confirmed, and nothing else is said.
    send(world.ledger.rescind(service.model.loan(loans[rescinds]).terms), rescinds)  # type: ignore[union-attr]
    service.at(noon + 3600)
    paid = service.model.loan(loans[rescinds]).paid  # type: ignore[union-attr]
    assert said(loans[rescinds])[1:] == [(Kind.PAYMENT_RECEIVED, paid)]

    # After it, one prepays, another pays ahead and is given a month, the third's claim is assigned.
    noon += 21 * DAY
    world.w3.provider.ethereum_tester.time_travel(noon - 3600)  # type: ignore[attr-defined]
    send(world.ledger.prepay(loans[prepays], 50_000), prepays)
    send(world.ledger.repay(loans[deferred], 7_000), deferred)
    send(world.ledger.defer(loans[deferred], 1), LENDER)
    nonce, deadline = world.ledger.nonce_of(world.accounts[OTHER_LENDER]), 2**40
    signature = sign_assignment(
        world.key(OTHER_LENDER),
        world.domain,
        loans[assigned],
        world.accounts[LENDER],
        nonce,
        deadline,
    )
    send(world.ledger.assign(loans[assigned], world.accounts[OTHER_LENDER], deadline, signature), LENDER)
    for step in range(2 * 80):
        service.at(noon + step * DAY // 2)
    assert list(service.model.refusals()) == []

    after_prepaying = service.model.successor(loans[prepays])
    after_deferral = service.model.successor(loans[deferred])
    assert after_prepaying
    assert after_deferral
    assert said(loans[prepays])[1:] == [(Kind.PAYMENT_RECEIVED, 50_000)]
    # What was paid ahead and carried over was credited on no loan anew.
    assert said(loans[deferred])[1:] == []
    new = service.model.loan(after_deferral)
    assert new
    assert new.paid == 7_000
    for loan in (after_prepaying, after_deferral):
        kinds = {kind for kind, _ in said(loan)}
        assert Kind.OVERDUE in kinds
        assert kinds.isdisjoint({Kind.LOAN_OPENED, Kind.PAYMENT_RECEIVED})
        # That it goes on otherwise is told once, and first.
        assert said(loan)[0] == (Kind.LOAN_AMENDED, service.model.loan(loan).terms.principal)  # type: ignore[union-attr]
        assert [kind for kind, _ in said(loan)].count(Kind.LOAN_AMENDED) == 1
    # The due day had been moved by a month: the first reminder asks for what is still missing.
    assert said(after_deferral)[1] == (Kind.INSTALMENT_UPCOMING, new.instalment - 7_000)
    assert {notice.server for notice in service.model.notices(loan=loans[assigned])} == {
        world.accounts[SERVICER]
    }
    kinds = [kind for kind, _ in said(loans[assigned])]
    # Of the new lender the borrower is told before anything is asked for.
    assert kinds[:2] == [Kind.LOAN_OPENED, Kind.LOAN_ASSIGNED]
    assert kinds.count(Kind.LOAN_ASSIGNED) == 1
    assert Kind.OVERDUE in kinds
    assert len(said(loans[rescinds])) == 2


def test_the_rarer_kinds_are_served_each_in_its_time_and_at_the_wished_hour(world: World) -> None:
    pack = load_pack("GB")
    published = world.policy_book.publish(
        pack.lending_limits, pack.contact_limits, b"\1" * 32, pack.pack_hash
    )
    assert world.send(published, PUBLISHER)["status"] == 1
    february = datetime(datetime.fromtimestamp(world.now, UTC).year + 1, 2, 1, tzinfo=UTC)
    world.w3.provider.ethereum_tester.time_travel(int(february.timestamp()))  # type: ignore[attr-defined]
    ahead, late = BORROWERS[:2]
    loans = {borrower: world.open(borrower, borrower, policy=2, instalments=6) for borrower in (ahead, late)}
    # The borrowers live where the winter is UTC and the summer an hour more.
    wishes = {
        world.accounts[ahead]: Preferences(
            hours=parse_hours("16:00-18:00"), zone="Europe/London", days_before=(7, 3)
        ),
        world.accounts[late]: Preferences(days_before=(), on_due_day=False),
    }
    service = Service(world, {}, wishes=wishes)
    first_day, opened = world.now // DAY + 1, world.now // DAY
    # 100 days, in which the clocks are put forward. Half past three (UTC) is in their hours in summer alone.
    times = [(10, 0), (15, 30), (16, 30)]
    for step in range(len(times) * 100):
        day, (hour, minute) = first_day + step // len(times), times[step % len(times)]
        moment = day * DAY + hour * 3600 + minute * 60
        service.at(moment)
        if (day, hour) == (first_day + 20, 10):
            loan = service.model.loan(loans[ahead])
            assert loan
            # Two instalments, well ahead.
            world.send(world.ledger.repay(loans[ahead], 2 * loan.instalment), ahead)
        if (day, hour) == (first_day + 25, 10):
            # The borrower registers the same address again: consent is gone, and given anew.
            world.send(world.consents.register(Channel.EMAIL, bytes([ahead]) * 32, 0, 4), ahead)
            world.send(world.consents.grant(Channel.EMAIL), ahead)
    assert list(service.model.refusals()) == []

    def said(borrower: int, kind: Kind) -> list[int]:
        notices = service.model.notices(loan=loans[borrower])
        return [notice.timestamp for notice in notices if notice.kind is kind]

    # Each once; the cooling-off period's end on the first of its days that is open.
    last = opened + pack.lending_limits.cooling_off_days
    for borrower in loans:
        [at] = said(borrower, Kind.COOLING_OFF_ENDING)
        days = range(last - COOLING_OFF_ENDS, last + 1)
        open_days = [day for day in days if pack.contact_limits.weekdays >> (day + 3) % 7 & 1]
        assert at // DAY == open_days[0]
    [changed] = said(ahead, Kind.CONSENT_CHANGED)
    assert changed // DAY >= first_day + 25
    assert said(late, Kind.CONSENT_CHANGED) == []
    assert len(said(ahead, Kind.PAID_AHEAD)) == 2
    assert said(late, Kind.PAID_AHEAD) == []
    # Who wishes no reminder before a due day has none; what the law wants said is said all the same, in time.
    assert said(late, Kind.INSTALMENT_UPCOMING) == said(late, Kind.DUE_TODAY) == []
    [arrears] = said(late, Kind.ARREARS)
    second_due = schedule.due_day(service.model.loan(loans[late]).terms, 2)  # type: ignore[union-attr]
    assert second_due < arrears // DAY <= second_due + 14
    zone = ZoneInfo("Europe/London")
    local = [
        datetime.fromtimestamp(notice.timestamp, zone) for notice in service.model.notices(loan=loans[ahead])
    ]
    assert all(16 <= at.hour < 18 for at in local)
    assert len({at.utcoffset() for at in local}) == 2
