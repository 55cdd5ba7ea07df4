"""Indexing a chain: what the read model says is what the contracts say, whatever the chain does meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import BORROWERS, LENDER, START, Crowd, World, anvil, assert_mirrors, dump

from duly.chain import networks
from duly.chain.logs import FIRST_WINDOW, LogReader
from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.events import EVENTS, LoanOpened, Repaid
from duly.domain.loan import Status
from duly.domain.notice import NOTHING_SELDOM
from duly.domain.replay import State, apply
from duly.services.index import Indexer
from duly.store.readmodel import AmbiguousLoan, AnotherLedger, ReadModel, UnknownLoan


class Gone(DulyError):
    """The chain does not hold the contracts any more."""


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    address: str = (
        f"sqlite:///{tmp_path}/duly.db" if request.param == "SQLite" else request.getfixturevalue("url")
    )
    return address


@pytest.fixture
def model(database: str) -> Iterator[ReadModel]:
    model = ReadModel.open(database)
    yield model
    model.engine.dispose()


@pytest.fixture(scope="module")
def node() -> Iterator[World]:
    with anvil() as url:
        yield World(networks.connect(url))


@pytest.fixture
def world(node: World) -> Iterator[World]:
    """The contracts on Anvil; what a test does is undone."""
    snapshot = node.rpc("evm_snapshot")
    yield node
    node.rpc("evm_revert", snapshot)


def fresh(world: World) -> ReadModel:
    """A read model that was made from the chain as it is."""
    model = ReadModel.open("sqlite://")
    world.indexer(model).run()
    return model


def test_a_loans_life_in_process(model: ReadModel) -> None:
    """eth-tester, whose logs do not tell their blocks' times."""
    world = World(networks.in_process())
    loan = world.open(BORROWERS[0], 1)
    indexer = world.indexer(model)
    report = indexer.run()
    assert (report.first, report.last) == (world.first_block, world.w3.eth.block_number)
    assert report.events == 2  # the policy, the loan
    world.send(world.consents.register(Channel.EMAIL, b"\7" * 32, 32, 36), BORROWERS[0])
    world.send(world.ledger.repay(loan, 5_000), BORROWERS[0])
    assert indexer.run().events == 2
    assert indexer.run().blocks == 0
    assert_mirrors(model, world)
    assert [type(item.event) for item in model.history(loan)] == [LoanOpened, Repaid]
    assert [item.timestamp for item in model.history(loan)] == [
        world.w3.eth.get_block(item.block_number)["timestamp"] for item in model.history(loan)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_reorganisations_leave_what_a_fresh_start_would_make(
    world: World, model: ReadModel, seed: int
) -> None:
    crowd, indexer = Crowd(world, seed), world.indexer(model)
    dice = crowd.random
    indexer.run()
    rolled_back, gone = 0, set()
    for _ in range(6):
        for _ in range(dice.randrange(8)):
            crowd.act(model)
            indexer.run()
        snapshot = world.rpc("evm_snapshot")
        for _ in range(dice.randrange(1, 10)):
            crowd.act(model)
            if dice.random() < 0.7:
                indexer.run()
        indexer.run()
        head = world.w3.eth.block_number
        abandoned = {(item.event.name, item.transaction_hash) for item in model.events()}
        world.rpc("evm_revert", snapshot)
        # Another branch, whose head is lower, the same or higher.
        for _ in range(dice.randrange(12)):
            if dice.random() < 0.3:
                world.rpc("evm_mine")
            else:
                crowd.act(model)
        if dice.random() < 0.5 and world.w3.eth.block_number < head:
            world.rpc("anvil_mine", hex(head - world.w3.eth.block_number))
        rolled_back += indexer.run().rolled_back
        gone |= abandoned - {(item.event.name, item.transaction_hash) for item in model.events()}
        assert dump(model) == dump(fresh(world))
        assert_mirrors(model, world)
    assert rolled_back > 0
    assert len({name for name, _ in gone}) >= 5, gone  # enough of a variety was undone


def test_the_read_model_follows_whatever_a_crowd_does(world: World, model: ReadModel) -> None:
    """Every event of every contract, until all were told; an auditor's replay comes to the same."""
    crowd, indexer = Crowd(world, 1), world.indexer(model)
    indexer.run()
    missing = {event.name for event in EVENTS}
    for step in range(3_000):
        crowd.act(model)
        indexer.run()
        if step % 50 == 0:
            missing -= {item.event.name for item in model.events()}
            assert_mirrors(model, world)
            if not missing:
                break
    assert not missing
    state = State()
    for item in model.events():
        apply(item.event, item.timestamp, state)
    assert state.loans == {loan.id: loan for loan in model.loans()}
    assert state.said == {loan: model.said(loan) for loan in state.said}
    candidates = {loan: model.candidate(loan) for loan in state.loans}
    assert state.seldom_said == {
        loan: candidate.seldom_said
        for loan, candidate in candidates.items()
        if candidate.seldom_said != NOTHING_SELDOM
    }
    amended = [loan for loan in state.loans.values() if loan.amends]
    assert len(amended) > 5
    assert all(model.successor(loan.terms.replaces) == loan.id for loan in amended)


def test_a_branch_with_a_head_of_the_same_number(world: World, model: ReadModel) -> None:
    loan = world.open(BORROWERS[0], 1)
    indexer = world.indexer(model)
    snapshot = world.rpc("evm_snapshot")
    world.send(world.ledger.repay(loan, 111), BORROWERS[0])
    indexer.run()
    head = world.w3.eth.block_number
    world.rpc("evm_revert", snapshot)
    world.send(world.ledger.repay(loan, 222), BORROWERS[0])
    assert world.w3.eth.block_number == head
    report = indexer.run()
    assert (report.rolled_back, report.events) == (1, 1)
    assert model.loan(loan).paid == 222
    assert dump(model) == dump(fresh(world))


def test_a_chain_that_became_shorter(world: World, model: ReadModel) -> None:
    indexer = world.indexer(model)
    indexer.run()
    before = dump(model)
    snapshot = world.rpc("evm_snapshot")
    loan = world.open(BORROWERS[0], 1)
    world.rpc("anvil_mine", hex(5))
    indexer.run()
    assert model.loan(loan)
    world.rpc("evm_revert", snapshot)
    report = indexer.run()
    assert report.rolled_back == 1
    assert model.loan(loan) is None
    assert dump(model) == before


def test_anvils_own_reorganisation(world: World, model: ReadModel) -> None:
    indexer = world.indexer(model)
    loan = world.open(BORROWERS[0], 1)
    for amount in (10, 20, 30):
        world.send(world.ledger.repay(loan, amount), BORROWERS[0])
    indexer.run()
    world.rpc("anvil_reorg", 2, [])
    report = indexer.run()
    assert report.rolled_back == 2
    assert model.loan(loan).paid == 10
    assert dump(model) == dump(fresh(world))
    world.rpc("anvil_rollback", 1)
    indexer.run()
    assert dump(model) == dump(fresh(world))


def test_a_branch_that_is_left_while_it_is_read(
    world: World, model: ReadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loan = world.open(BORROWERS[0], 1)
    snapshot = world.rpc("evm_snapshot")
    world.send(world.ledger.repay(loan, 111), BORROWERS[0])
    paid = world.w3.eth.block_number
    world.rpc("anvil_mine", hex(20))
    indexer = world.indexer(model)
    indexer._reader.window = 10
    fetch, left = indexer._reader.fetch, []

    def fetch_and_leave(first: int, last: int) -> object:
        found = fetch(first, last)
        if not left and first <= paid <= last:
            left.append(world.rpc("evm_revert", snapshot))
            world.send(world.ledger.repay(loan, 222), BORROWERS[0])
            world.rpc("anvil_mine", hex(20))
        return found

    monkeypatch.setattr(indexer._reader, "fetch", fetch_and_leave)
    indexer.run()
    assert left
    assert model.loan(loan).paid == 222
    assert dump(model) == dump(fresh(world))


def test_windows_of_every_size_make_the_same(world: World) -> None:
    crowd, model = Crowd(world, 99), ReadModel.open("sqlite://")
    world.indexer(model).run()
    for _ in range(40):
        crowd.act(model)
        world.indexer(model).run()
    wanted = dump(model)
    for window in (1, 2, 3, 7, FIRST_WINDOW):
        other = ReadModel.open("sqlite://")
        indexer = world.indexer(other)
        indexer._reader.window = indexer._reader._limit = window
        indexer.run()
        assert dump(other) == wanted


def test_a_restarted_chain_is_refused_and_nothing_is_lost(world: World, model: ReadModel) -> None:
    loan = world.open(BORROWERS[0], 1)
    world.indexer(model).run()
    before = dump(model)
    with anvil(START + 1) as url:
        empty = networks.connect(url)

        def check() -> None:
            raise Gone

        with pytest.raises(Gone):
            Indexer(empty, world.source, model, "latest", check).run()
        # And a chain where the contracts were deployed anew.
        other = World(empty)
        with pytest.raises(AnotherLedger, match="first block"):
            other.indexer(model).run()
    assert dump(model) == before
    assert model.loan(loan)


def test_only_final_blocks(world: World, model: ReadModel) -> None:
    loan = world.open(BORROWERS[0], 1)
    opened = world.w3.eth.block_number
    indexer = Indexer(world.w3, world.source, model, "finalized")
    assert indexer.run().last < opened
    assert model.loan(loan) is None
    world.rpc("anvil_mine", hex(70))
    assert opened <= indexer.run().last < world.w3.eth.block_number
    assert model.loan(loan)


def test_the_last_block_that_may_be_acted_on(world: World) -> None:
    reader, last = LogReader(world.w3, ()), world.w3.eth.block_number
    for finality, number in (("latest", last), (0, last), (3, last - 3)):
        block = reader.final_block(finality)
        assert block is not None
        assert block.number == number
    assert reader.final_block(last + 1) is None


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_only_blocks_with_so_many_upon_them(world: World, model: ReadModel, depth: int) -> None:
    loan = world.open(BORROWERS[0], 1)
    opened = world.w3.eth.block_number
    indexer = Indexer(world.w3, world.source, model, depth)
    for mined in range(depth):
        assert indexer.run().last == opened + mined - depth
        assert model.loan(loan) is None
        world.rpc("evm_mine")
    assert indexer.run().last == opened
    assert model.loan(loan)


def test_a_branch_that_was_left_while_nothing_ran(world: World, model: ReadModel, database: str) -> None:
    world.open(BORROWERS[0], 1)
    snapshot = world.rpc("evm_snapshot")
    for number in range(3):
        world.send(world.ledger.repay(world.open(BORROWERS[1], number), 5), BORROWERS[1])
    world.indexer(model).run()
    model.engine.dispose()
    world.rpc("evm_revert", snapshot)
    world.rpc("anvil_mine", hex(20))
    # Another process, which remembers nothing.
    again = ReadModel.open(database)
    try:
        assert world.indexer(again).run().rolled_back > 0
        assert dump(again) == dump(fresh(world))
    finally:
        again.engine.dispose()


def test_what_was_read_stays_when_the_rest_cannot_be(
    world: World, model: ReadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duly.services.index._FIRST_BATCH", 1)
    monkeypatch.setattr("duly.services.index._LARGEST_BATCH", 1)
    for number, borrower in enumerate(BORROWERS):
        world.open(borrower, number)
    told: list[tuple[int, int, int, int]] = []

    class Stop(Exception):
        pass

    def stop(*reached: int) -> None:
        told.append(reached)  # type: ignore[arg-type]
        if len(told) == 4:
            raise Stop

    indexer = Indexer(world.w3, world.source, model, "latest", window=2)
    with pytest.raises(Stop):
        indexer.run(stop)
    first, reached, head, events = told[-1]
    assert (first, head) == (world.first_block, world.w3.eth.block_number)
    assert first < reached < head
    assert model.cursor().block.number == reached
    assert len(list(model.events())) == events
    report = Indexer(world.w3, world.source, model, "latest").run()
    assert report.first == reached + 1
    assert dump(model) == dump(fresh(world))


def test_finding_loans(world: World, model: ReadModel) -> None:
    ids = sorted(world.open(borrower, number) for number, borrower in enumerate(BORROWERS))
    world.send(world.ledger.repay(ids[0], 10**9), BORROWERS[0])
    world.indexer(model).run()
    assert model.find_loan(ids[1].hex()).id == ids[1]
    assert model.find_loan("0x" + ids[1].hex()[:20].upper()).id == ids[1]
    for wrong in ("", "0x", "xyz", "ff" * 33, "0x" + "0" * 64):
        with pytest.raises(UnknownLoan):
            model.find_loan(wrong)
    common = next((d for d in "0123456789abcdef" if sum(i.hex()[0] == d for i in ids) > 1), None)
    if common:
        with pytest.raises(AmbiguousLoan):
            model.find_loan(common)
    assert {loan.id for loan in model.loans(statuses=[Status.REPAID])} == {ids[0]}
    assert len(model.loans(lender=world.accounts[LENDER])) == 4
    assert len(model.loans(borrower=world.accounts[BORROWERS[0]])) == 1
