"""One account from several processes; transactions that nobody mines; keys that somebody else keeps."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import Node
from eth_account import Account
from web3 import Web3

from duly.bootstrap import Application
from duly.chain import deployments, networks, sender
from duly.chain.contracts import Token, creation
from duly.chain.errors import FeesTooHigh, KeyRefused, TransactionPending
from duly.chain.keys import RemoteSigner, SignerUnavailable, decoded
from duly.chain.sender import Sender
from duly.config import Settings
from duly.store.database import open_engine
from duly.store.outgoing import Outgoing
from scripts.signer import RemoteKeys, served

ROOT = Path(__file__).resolve().parents[2]
GWEI = 10**9


def ask(w3: Web3, method: str, *params: object) -> Any:
    answer = w3.provider.make_request(method, list(params))  # type: ignore[arg-type]
    assert "error" not in answer, answer
    return answer.get("result")


@dataclass
class Chain:
    """A node, a token, and a database that senders share."""

    node: Node
    folder: Path
    w3: Web3 = field(init=False)
    token: Token = field(init=False)

    def __post_init__(self) -> None:
        self.w3 = networks.connect(self.node.url)
        self.account = networks.development_account(self.w3)
        self.url = f"sqlite:///{self.folder / 'duly.db'}"
        self.token = Token(
            self.w3, Sender(self.w3, self.account).send(creation("TestDollar", 2)).contract or ""
        )

    def outbox(self) -> Outgoing:
        genesis = bytes.fromhex(deployments.genesis_of(self.w3)[2:])
        return Outgoing(open_engine(self.url), genesis)

    def sender(self, **options: Any) -> Sender:
        return Sender(self.w3, self.account, self.outbox(), **options)

    def count(self) -> int:
        return self.w3.eth.get_transaction_count(self.account.address)

    def worker(self, first: int, jobs: int) -> subprocess.Popen[bytes]:
        """A process that gives a coin to each of these receivers that has none, as a service would: what is
        on the way is brought to its end first, then what is missing is sent.
        """
        arguments = [self.node.url, self.url, self.token.address, str(first), str(jobs)]
        return subprocess.Popen([sys.executable, "-c", WORKER, *arguments], cwd=ROOT, stdout=subprocess.PIPE)


WORKER = textwrap.dedent(
    """
    import sys
    from duly.chain import deployments, networks
    from duly.chain.contracts import Token
    from duly.chain.sender import Sender
    from duly.store.database import open_engine
    from duly.store.outgoing import Outgoing

    url, database, token, first, jobs = sys.argv[1:]
    w3 = networks.connect(url)
    outbox = Outgoing(open_engine(database), bytes.fromhex(deployments.genesis_of(w3)[2:]))
    me = Sender(w3, networks.development_account(w3), outbox)
    coin = Token(w3, token)
    print("begun", flush=True)
    me.resume()
    receivers = [f"0x{n:040x}" for n in range(int(first), int(first) + int(jobs))]
    missing = [each for each in receivers if not coin.balance_of(each)]
    for receipt in me.send_many([coin.mint(each, 1) for each in missing], window=4):
        assert hasattr(receipt, "block"), receipt
    """
)


@pytest.fixture
def chain(node: Node, tmp_path: Path) -> Chain:
    return Chain(node, tmp_path)


def balances(chain: Chain, first: int, jobs: int) -> list[int]:
    return [chain.token.balance_of(f"0x{n:040x}") for n in range(first, first + jobs)]


# ------------------------------------------------------------------------- one account, many processes


def test_several_processes_send_with_one_account_at_once(chain: Chain) -> None:
    before = chain.count()
    workers = [chain.worker(1_000 * (n + 1), 15) for n in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert [balances(chain, 1_000 * (n + 1), 15) for n in range(3)] == [[1] * 15] * 3
    assert chain.count() == before + 45
    assert list(chain.outbox().unsettled(chain.account.address.lower(), chain.count())) == []


def test_processes_that_are_killed_leave_no_gap_and_send_nothing_twice(chain: Chain) -> None:
    chance, jobs = random.Random(5), 60
    # Blocks every second: there is always something on the way when a process dies.
    ask(chain.w3, "evm_setIntervalMining", 1)
    killed = 0
    for _ in range(5):
        workers = [chain.worker(1_000, jobs), chain.worker(2_000, jobs)]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.5))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            killed += worker.wait() == -signal.SIGKILL
    assert killed >= 7
    assert 0 < chain.count() < 2 * jobs, "the processes were killed too early or too late to show anything"
    ask(chain.w3, "evm_setIntervalMining", 0)
    ask(chain.w3, "evm_setAutomine", True)
    ask(chain.w3, "evm_mine")
    # One after the other: two that do the same job at once are not the outbox's to keep apart.
    for first in (1_000, 2_000):
        assert chain.worker(first, jobs).wait(90) == 0
        assert balances(chain, first, jobs) == [1] * jobs
    assert ask(chain.w3, "txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_what_was_signed_by_a_process_that_died_is_sent_by_the_next(chain: Chain) -> None:
    receiver = "0x" + "ab" * 20
    lost = chain.sender().prepare(chain.token.mint(receiver, 5))
    assert not sender.is_known_to_node(chain.w3, lost.hash)
    me = chain.sender()
    [receipt] = me.resume()
    assert (receipt.transaction, receipt.what) == (lost.hash, "TestDollar.mint")
    assert me.resume() == []
    assert chain.token.balance_of(receiver) == 5


def test_a_nonce_that_was_taken_and_left_does_not_hold_up_the_others(chain: Chain) -> None:
    before = chain.count()
    left, _ = chain.outbox().take(chain.account.address.lower(), before, 2)
    assert left == before
    # It is still somebody's turn; when it no longer is, nothing is sent in its place.
    chain.sender().send(chain.token.mint(chain.account.address, 1))
    assert chain.count() == before + 2
    # In one block or in two.
    latest = chain.w3.eth.block_number
    sent = [
        each
        for number in range(latest - 1, latest + 1)
        for each in chain.w3.eth.get_block(number, full_transactions=True)["transactions"]
    ]
    assert {(each["nonce"], len(each["input"])) for each in sent} >= {(before, 0)}  # type: ignore[index]


def test_what_a_reorganisation_took_back_is_sent_again(chain: Chain) -> None:
    receiver = "0x" + "ad" * 20
    me = chain.sender()
    snapshot = ask(chain.w3, "evm_snapshot")
    receipt = me.send(chain.token.mint(receiver, 7))
    ask(chain.w3, "evm_revert", snapshot)
    assert chain.token.balance_of(receiver) == 0
    [again] = me.resume()
    assert again.transaction == receipt.transaction
    assert chain.token.balance_of(receiver) == 7


# ------------------------------------------------------------------------------------------ fees


@pytest.fixture
def stuck(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """A chain that mines on demand, on which gas becomes dearer than what was just offered."""
    monkeypatch.setattr(sender, "_LOOK_EVERY", 0.02)
    ask(chain.w3, "evm_setAutomine", False)
    return chain


def make_dear(chain: Chain, price: int) -> None:
    ask(chain.w3, "anvil_setNextBlockBaseFeePerGas", hex(price))
    ask(chain.w3, "evm_mine")


@contextmanager
def mining(chain: Chain, price: int) -> Iterator[None]:
    """Blocks at this price of gas, one after the other, meanwhile."""
    going = True
    w3 = networks.connect(chain.node.url)

    def mine() -> None:
        while going:
            ask(w3, "anvil_setNextBlockBaseFeePerGas", hex(price))
            ask(w3, "evm_mine")
            time.sleep(0.05)

    thread = Thread(target=mine)
    thread.start()
    try:
        yield
    finally:
        going = False
        thread.join()


def test_a_transaction_that_blocks_pass_by_is_replaced_by_a_dearer_one(stuck: Chain) -> None:
    receiver = "0x" + "ae" * 20
    me = stuck.sender()
    signed = me.submit(me.prepare(stuck.token.mint(receiver, 3), gas=100_000))
    offered = decoded(signed.raw)
    price = 2 * offered["maxFeePerGas"]
    make_dear(stuck, price)
    with mining(stuck, price):
        receipt = me.wait(signed)
    assert receipt.transaction != signed.hash
    first, *_, last = stuck.outbox().attempts(me.address, signed.nonce)
    assert (first.hash, last.hash) == (signed.hash, receipt.transaction)
    replaced = decoded(last.raw)
    fees = ("maxFeePerGas", "maxPriorityFeePerGas")
    assert all(8 * replaced[name] >= 9 * offered[name] for name in fees)
    assert {name: replaced[name] for name in replaced if name not in fees} == {
        name: offered[name] for name in offered if name not in fees
    }
    assert stuck.token.balance_of(receiver) == 3


def test_what_a_dead_process_left_too_cheap_is_replaced_by_the_next(stuck: Chain) -> None:
    receiver = "0x" + "af" * 20
    dead = stuck.sender()
    cheap = [dead.submit(dead.prepare(stuck.token.mint(receiver, 1), gas=100_000)) for _ in range(2)]
    price = 3 * decoded(cheap[0].raw)["maxFeePerGas"]
    make_dear(stuck, price)
    me = stuck.sender()
    with mining(stuck, price):
        # It waits behind the others, and helps them.
        receipt = me.send(stuck.token.mint(receiver, 1), gas=100_000)
        assert len(me.resume()) == 2
    assert stuck.token.balance_of(receiver) == 3
    assert receipt.block


def test_fees_are_raised_up_to_the_ceiling_and_no_further(stuck: Chain) -> None:
    me = stuck.sender(ceiling=4 * GWEI, timeout=3.0)
    signed = me.submit(me.prepare(stuck.token.mint(me.address, 1), gas=100_000))
    make_dear(stuck, 50 * GWEI)
    with mining(stuck, 50 * GWEI), pytest.raises(TransactionPending, match="at the ceiling") as pending:
        me.wait(signed)
    assert "DULY_FEE_CEILING" in str(pending.value)
    offered = [
        decoded(each.raw)["maxFeePerGas"] for each in stuck.outbox().attempts(me.address, signed.nonce)
    ]
    assert max(offered) <= 4 * GWEI
    before = stuck.count()
    with pytest.raises(FeesTooHigh, match="costs"):
        stuck.sender(ceiling=4 * GWEI).send(stuck.token.mint(me.address, 1), gas=100_000)
    assert stuck.count() == before


# -------------------------------------------------------------------------------- remote signers


@pytest.fixture
def funded(chain: Chain) -> Callable[[RemoteKeys], RemoteKeys]:
    def fund(keys: RemoteKeys) -> RemoteKeys:
        for account in keys.accounts:
            ask(chain.w3, "anvil_setBalance", account.address, hex(10**18))
        return keys

    return fund


@pytest.mark.parametrize("dialect", ["web3signer", "clef"])
def test_a_remote_signer_signs(
    chain: Chain, dialect: str, funded: Callable[[RemoteKeys], RemoteKeys], tmp_path: Path
) -> None:
    keys = funded(RemoteKeys(dialect))
    with served(keys) as url:
        settings = Settings(signer_url=url, database=f"sqlite:///{tmp_path / 'none.db'}")
        me = Application(settings, rpc=chain.node.url).sender
        receipt = me.send(creation("TestDollar", 2))
        coin = Token(chain.w3, receipt.contract or "")
        me.send(coin.mint(me.address, 4))
    assert coin.balance_of(keys.accounts[0].address) == 4
    assert not (tmp_path / "none.db").exists()


TWISTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "nonce": lambda fields: fields | {"nonce": hex(int(fields["nonce"], 16) + 1)},
    "to": lambda fields: fields | {"to": "0x" + "12" * 20},
    "value": lambda fields: fields | {"value": "0x1"},
    "chainId": lambda fields: fields | {"chainId": "0x1"},
    "maxFeePerGas": lambda fields: fields | {"maxFeePerGas": hex(10**12)},
    "data": lambda fields: fields | {"data": fields["data"][:-2] + "07"},
}


@pytest.mark.parametrize("name", TWISTS)
def test_a_signer_that_signs_something_else_is_found_out(
    chain: Chain, name: str, funded: Callable[[RemoteKeys], RemoteKeys]
) -> None:
    keys = funded(RemoteKeys(twist=TWISTS[name]))
    with served(keys) as url:
        me = Sender(chain.w3, RemoteSigner.of(url))
        with pytest.raises(KeyRefused, match=f"signed another transaction: .*{name}"):
            me.send(chain.token.mint(me.address, 4))
        assert chain.w3.eth.get_transaction_count(me.account.address) == 0
        # The nonce is free again.
        keys.twist = lambda fields: fields
        assert me.send(chain.token.mint(me.address, 4)).block


def test_a_signer_that_signs_with_another_key_is_found_out(chain: Chain) -> None:
    mine, other = bytes(31) + b"\x51", bytes(31) + b"\x52"
    keys = RemoteKeys(keys=(mine, other))
    keys.twist = lambda fields: fields | {"from": Account.from_key(other).address}
    with served(keys) as url:
        me = Sender(chain.w3, RemoteSigner.of(url, Account.from_key(mine).address))
        with pytest.raises(KeyRefused, match="signed with another key"):
            me.send(chain.token.mint(me.address, 4), gas=100_000)


def test_a_signer_that_does_not_sign(chain: Chain) -> None:
    keys = RemoteKeys(twist=lambda fields: fields | {"declined": True})
    with served(keys) as url:
        me = Sender(chain.w3, RemoteSigner.of(url))
        with pytest.raises(KeyRefused, match="declined: request denied"):
            me.send(chain.token.mint(me.address, 4), gas=100_000)
        keys.answers = b'{"jsonrpc": "2.0", "id": 1, "result": "0x02c0"}'
        with pytest.raises(KeyRefused, match="is no signed transaction"):
            me.send(chain.token.mint(me.address, 4), gas=100_000)
        keys.answers = b"<html>"
        with pytest.raises(SignerUnavailable, match="does not answer in JSON"):
            RemoteSigner.of(url)
    with pytest.raises(SignerUnavailable, match="does not answer"):
        RemoteSigner.of(url)


def test_which_of_a_signers_accounts(chain: Chain) -> None:
    keys = RemoteKeys(keys=(bytes(31) + b"\x51", bytes(31) + b"\x52"))
    first, second = (account.address for account in keys.accounts)
    with served(keys) as url:
        with pytest.raises(KeyRefused, match=f"has 2 accounts .*{second}") as several:
            RemoteSigner.of(url)
        assert "DULY_SIGNER_ADDRESS" in str(several.value)
        assert RemoteSigner.of(url, second.lower()).address == second
        with pytest.raises(KeyRefused, match="has no account"):
            RemoteSigner.of(url, "0x" + "12" * 20)
        signer = RemoteSigner.of(url, first)
        with pytest.raises(KeyRefused, match="transactions only"):
            signer.unsafe_sign_hash(bytes(32))
