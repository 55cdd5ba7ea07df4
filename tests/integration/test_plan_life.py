"""A loan's life in notices: planned from the read model, day by day, and put before the real gate.

What the planner takes to be allowed is served, without one refusal.
"""

from collections import Counter
from itertools import pairwise

import pytest
from eth_utils import keccak
from world import BORROWERS, LENDER, OTHER_LENDER, SERVICER, World

from duly.chain import networks
from duly.chain.contracts import Call
from duly.chain.offers import sign_assignment
from duly.domain import calendar
from duly.domain.calendar import DAY
from duly.domain.consent import Channel
from duly.domain.notice import Kind
from duly.services.plan import OVERDUE_TIMES, Planned, companions, known_reminders, plan
from duly.services.render import Place, render
from duly.store.readmodel import ReadModel


class Service:
    """Indexes, plans and serves, as the servicer."""

    def __init__(
        self, world: World, persons: dict[str, bytes], reached: dict[str, bytes] | None = None
    ) -> None:
        self.world, self.persons = world, persons
        self.together = companions(reached or {}, lambda policy: b"templates")
        self.model = ReadModel.open("sqlite://")
        self.indexer = world.indexer(self.model)

    def at(self, moment: int) -> list[Planned]:
        """What is served at a moment."""
        self.world.w3.provider.ethereum_tester.time_travel(moment)  # type: ignore[attr-defined]
        self.indexer.run()
        candidates = self.model.candidates(calendar.local_day(moment, calendar.EASTERNMOST))
        known = known_reminders(self.persons, self.model.reminders)
        server = self.world.accounts[SERVICER]
        ready = plan(candidates, server, moment, self.persons, known, together=self.together, waiting=False)
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
    world = World(networks.in_process())
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
