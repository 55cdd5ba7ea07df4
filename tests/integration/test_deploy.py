"""Deploying: everything once, whatever happens in between."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Node, embedded, live, strict, transactions
from typer.testing import CliRunner
from web3.types import RPCEndpoint

from duly.bootstrap import Application
from duly.chain import deployments, networks
from duly.chain.contracts import Contracts, creation
from duly.chain.deployments import (
    DeploymentBusy,
    DeploymentLost,
    DeploymentMismatch,
    InvalidRecord,
    NotDeployed,
)
from duly.chain.errors import ChainUnavailable, ContractError, InsufficientFunds, KeyRefused, WrongChain
from duly.chain.sender import Sender
from duly.config import Settings
from duly.interfaces.cli import app as cli
from duly.services import deploy
from duly.services.deploy import InvalidDeployment, Wish

STEPS = [
    "TestDollar", "PolicyBook", "GrievanceDesk", "LoanLedger", "NoticeRegistry", "ConsentRegistry",
    "desk's binding", "policy STRICT",
]  # fmt: skip
# The gate makes the registry of consents.
TRANSACTIONS = len(STEPS) - 1
ROOT = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    """The process ends here; nothing catches this."""


@pytest.fixture
def fresh_chain() -> Application:
    return Application(Settings(), rpc="tester:")


def names(steps: tuple[deploy.Step, ...]) -> list[str]:
    return [step.name for step in steps if step.made]


def test_it_deploys_everything_and_the_second_time_nothing(fresh_chain: Application, tmp_path: Path) -> None:
    first = deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    assert names(first.steps) == STEPS
    assert transactions(fresh_chain) == TRANSACTIONS

    again = deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    assert names(again.steps) == []
    assert again.deployment == first.deployment == deployments.load(tmp_path, fresh_chain.chain_id)
    assert transactions(fresh_chain) == TRANSACTIONS
    assert first.deployment.block == 2
    assert first.deployment.policy("Strict") == 1


def test_the_policy_on_the_chain_is_the_pack(application: Application) -> None:
    wish, book = strict(), application.contracts.policy_book
    assert book.lending_of(1) == wish.pack.lending_limits
    assert book.contact_of(1) == wish.pack.contact_limits
    assert book.hashes_of(1) == (wish.templates, wish.pack.pack_hash)
    assert book.state_of(1) == (True, False)


def test_the_plan_names_what_is_missing_and_bounds_its_cost(fresh_chain: Application, tmp_path: Path) -> None:
    plan = deploy.plan(fresh_chain.sender, strict(), tmp_path)
    assert [step.name for step in plan.missing] == STEPS
    before = fresh_chain.sender.balance()
    assert transactions(fresh_chain) == 0
    deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    assert 0 < before - fresh_chain.sender.balance() <= plan.cost
    assert deploy.plan(fresh_chain.sender, strict(), tmp_path).cost == 0


# --------------------------------------------------------------------------------- stopped anywhere


def moments() -> Iterator[tuple[str, int]]:
    """Every moment at which a run can be killed: before and after each transaction, after each record."""
    for what in ("before submit", "after submit"):
        for number in range(TRANSACTIONS):
            yield what, number
    # The beginning, an intent and an outcome for each transaction, the currency, what the gate made.
    for number in range(2 * TRANSACTIONS + 3):
        yield "after save", number


@pytest.mark.parametrize(("what", "number"), list(moments()))
def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(
    what: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = Application(Settings(), rpc="tester:")
    when, place = what.split()
    owner, name = (Sender, "submit") if place == "submit" else (deployments, "save")
    original, calls = getattr(owner, name), 0

    def killing(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number + 1 and when == "before":
            raise Killed
        result = original(*arguments)
        if calls == number + 1:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killing)
        with pytest.raises(Killed):
            deploy.deploy(application.sender, strict(), tmp_path)

    again = Application(Settings(), w3=application.w3)
    result = deploy.deploy(again.sender, strict(), tmp_path)
    assert transactions(again) == TRANSACTIONS, "something was deployed twice"
    assert again.w3.eth.get_block("latest")["number"] == TRANSACTIONS
    assert result.deployment.pending is None
    deploy.check(again.w3, result.deployment)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.parametrize(
    ("last", "reason", "argument"),
    [
        # Only who deployed the desk can bind it, and only who owns the book can publish.
        ("LoanLedger", "not by who deployed it", "sender"),
        ("desk's binding", "lacks the role", "account"),
    ],
)
def test_it_is_finished_with_another_key_too(
    fresh_chain: Application, tmp_path: Path, last: str, reason: str, argument: str
) -> None:
    other = fresh_chain.sender.sibling(networks.development_account(fresh_chain.w3, 1))

    def stop(step: deploy.Step) -> None:
        if step.name == last:
            raise Killed

    with pytest.raises(Killed):
        deploy.deploy(fresh_chain.sender, strict(), tmp_path, tell=stop)
    with pytest.raises(ContractError, match=reason) as refused:
        deploy.deploy(other, strict(), tmp_path)
    assert refused.value.arguments[argument] == other.address
    finished = deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    # What anybody can do the other key did.
    left = [name for name in ("desk's binding", "policy STRICT") if name != last]
    assert names(finished.steps) == left


def test_a_real_process_killed_at_random_times(node: Node, tmp_path: Path) -> None:
    environment = os.environ | {"DULY_DEPLOYMENTS": str(tmp_path), "DULY_RPC": node.url}
    command = [sys.executable, "-m", "scripts.deploy"]
    chance = random.Random(7)
    application = Application(Settings(deployments=tmp_path), rpc=node.url)

    def ask(method: str, *params: object) -> Any:
        return application.w3.provider.make_request(RPCEndpoint(method), params)["result"]

    # All but one are mined, each only when the test says so: however quick it is, no process gets done.
    ask("evm_setAutomine", False)
    mined = set(chance.sample(range(12), TRANSACTIONS - 1))
    for number in range(12):
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        # Not before it has begun to send.
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"cost"):
                break
        if number in mined:
            while not int(ask("txpool_status")["pending"], 16):
                assert process.poll() is None
                time.sleep(0.001)
            ask("evm_mine")
        time.sleep(chance.uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert transactions(application) == TRANSACTIONS - 1
    ask("evm_mine")
    ask("evm_setAutomine", True)
    deploy.deploy(application.sender, strict(), tmp_path)
    assert transactions(application) == TRANSACTIONS
    deploy.check(application.w3, application.deployment)


def test_a_transaction_that_never_reached_the_chain_is_sent_anew(node: Node, tmp_path: Path) -> None:
    application = Application(Settings(), rpc=node.url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sender, "submit", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            deploy.deploy(application.sender, strict(), tmp_path)
    record = deployments.read(tmp_path, application.chain_id)
    assert record is not None
    assert record.pending is not None
    assert record.pending.address is not None
    result = deploy.deploy(Application(Settings(), rpc=node.url).sender, strict(), tmp_path)
    assert result.deployment.address_of("TestDollar") == record.pending.address


def test_two_runs_at_once(fresh_chain: Application, tmp_path: Path) -> None:
    with (
        deployments.locked(tmp_path, fresh_chain.chain_id),
        pytest.raises(DeploymentBusy, match="another run"),
    ):
        deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    assert transactions(fresh_chain) == 0


# ------------------------------------------------------------------------------ what does not fit


def test_a_chain_that_was_restarted_empty(start_node: Callable[..., Node], tmp_path: Path) -> None:
    node = start_node()
    settings = Settings(deployments=tmp_path)
    deploy.deploy(Application(settings, rpc=node.url).sender, strict(), tmp_path)
    node.stop()
    time.sleep(1.1)  # the first block's time is in its hash
    node.start()
    restarted = Application(settings, rpc=node.url)
    for attempt in (lambda: restarted.deployment, lambda: deploy.plan(restarted.sender, strict(), tmp_path)):
        with pytest.raises(DeploymentLost, match="restarted since") as lost:
            attempt()
        assert "--fresh" in str(lost.value)
    result = deploy.deploy(restarted.sender, strict(), tmp_path, fresh=True)
    assert names(result.steps) == STEPS
    assert restarted.deployment == result.deployment


def test_a_chain_that_was_restarted_with_the_same_first_block(
    start_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = start_node("--timestamp", "1800000000")
    deploy.deploy(Application(Settings(), rpc=node.url).sender, strict(), tmp_path)
    node.stop()
    node.start()
    with pytest.raises(DeploymentLost, match=r"there is no TestDollar at 0x.*restarted empty"):
        deploy.deploy(Application(Settings(), rpc=node.url).sender, strict(), tmp_path)


def test_no_node_and_a_node_that_stops(start_node: Callable[..., Node], tmp_path: Path) -> None:
    node = start_node()
    application = Application(Settings(deployments=tmp_path), rpc=node.url)
    sender = application.sender
    node.stop()
    with pytest.raises(ChainUnavailable, match="connection refused"):
        deploy.deploy(sender, strict(), tmp_path)
    with pytest.raises(ChainUnavailable, match=f"no node answers at {node.url}"):
        _ = Application(Settings(), rpc=node.url).w3


def test_another_chain_than_expected(node: Node, tmp_path: Path) -> None:
    with pytest.raises(WrongChain, match="31337"):
        networks.connect(node.url, expected=11155111)


def test_a_live_chain_takes_no_raw_and_no_well_known_key(
    start_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = start_node("--chain-id", "4242")
    with pytest.raises(KeyRefused, match="there is no key"):
        _ = Application(Settings(), rpc=node.url).sender
    with pytest.raises(KeyRefused, match="raw keys are for local chains only"):
        _ = Application(Settings(private_key=bytes(31) + b"\x01"), rpc=node.url).sender
    with pytest.raises(KeyRefused, match="known to everyone"):
        networks.development_account(networks.connect(node.url))


def test_a_live_chain_needs_a_currency_and_takes_it(start_node: Callable[..., Node], tmp_path: Path) -> None:
    application = live(start_node("--chain-id", "4242"), tmp_path)
    folder = tmp_path / "d"
    with pytest.raises(InvalidDeployment, match="needs a real currency"):
        deploy.deploy(application.sender, strict(), folder)
    with pytest.raises(InvalidDeployment, match="--fresh is for local chains"):
        deploy.deploy(application.sender, strict(), folder, fresh=True)
    currency = application.sender.send(creation("TestDollar", 6)).contract
    assert currency is not None
    wish = replace(strict(), currency=currency)
    result = deploy.deploy(application.sender, wish, folder)
    assert names(result.steps) == STEPS[1:]
    assert result.deployment.currency.decimals == 6
    assert not result.deployment.has_test_currency
    # Later runs need not name it again.
    assert names(deploy.deploy(application.sender, strict(), folder).steps) == []
    with pytest.raises(NotDeployed, match="no policy 'loose'"):
        result.deployment.policy("loose")


def test_the_wrong_passphrase(start_node: Callable[..., Node], tmp_path: Path) -> None:
    application = live(start_node("--chain-id", "4242"), tmp_path)
    application.settings = replace(application.settings, key_passphrase="sesame")
    with pytest.raises(KeyRefused, match="not the passphrase") as refused:
        _ = application.sender
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"currency": "0x1234"}, "not an address"),
        ({"currency": "0x" + 40 * "1"}, "there is no contract"),
        ({"currency": "0x" + 40 * "1", "decimals": 2}, "has its own decimals"),
        ({"decimals": -1}, "-1 decimals"),
        ({"decimals": 27}, "27 decimals"),
    ],
)
def test_a_currency_that_is_none(
    wish: dict[str, object], message: str, fresh_chain: Application, tmp_path: Path
) -> None:
    with pytest.raises(InvalidDeployment, match=message):
        deploy.deploy(fresh_chain.sender, replace(strict(), **wish), tmp_path)  # type: ignore[arg-type]
    assert transactions(fresh_chain) == 0
    assert not deployments.path_of(tmp_path, fresh_chain.chain_id).exists()


def test_a_contract_that_is_no_currency(application: Application, tmp_path: Path) -> None:
    wish = replace(strict(), currency=application.contracts.ledger.address)
    with pytest.raises(InvalidDeployment, match="no ERC-20 token"):
        deploy.deploy(application.sender, wish, tmp_path)


def test_a_ledger_keeps_its_currency(fresh_chain: Application, tmp_path: Path) -> None:
    deploy.deploy(fresh_chain.sender, replace(strict(), decimals=6), tmp_path)
    deploy.deploy(fresh_chain.sender, replace(strict(), decimals=6), tmp_path)
    with pytest.raises(InvalidDeployment, match="one currency for ever"):
        deploy.deploy(fresh_chain.sender, replace(strict(), decimals=2), tmp_path)


def test_a_policy_that_changed_is_published_beside_the_old_one(
    fresh_chain: Application, tmp_path: Path
) -> None:
    deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    changed = Wish(strict().pack, templates=bytes(32))
    result = deploy.deploy(fresh_chain.sender, changed, tmp_path)
    assert names(result.steps) == ["policy STRICT"]
    assert result.deployment.policies == {"STRICT": 2}
    back = deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    assert names(back.steps) == []
    assert back.deployment.policies == {"STRICT": 1}


def test_the_deployer_cannot_pay(fresh_chain: Application, tmp_path: Path) -> None:
    from eth_account import Account

    poor = fresh_chain.sender.sibling(Account.from_key(bytes(31) + b"\x77"))
    with pytest.raises(InsufficientFunds):
        deploy.deploy(poor, strict(), tmp_path)


def test_other_code_than_the_artifacts(fresh_chain: Application, tmp_path: Path) -> None:
    result = deploy.deploy(fresh_chain.sender, strict(), tmp_path)
    record = json.loads(result.path.read_text()) if result.path else {}
    contracts = record["contracts"]
    contracts["LoanLedger"]["address"] = contracts["PolicyBook"]["address"]
    assert result.path is not None
    result.path.write_text(json.dumps(record))
    with pytest.raises(DeploymentMismatch, match=r"another contract is at .* LoanLedger was expected"):
        deploy.deploy(fresh_chain.sender, strict(), tmp_path)


def test_contracts_that_know_another_deployment(tmp_path: Path) -> None:
    application = embedded()
    first = application.deployment
    second = deploy.deploy(application.sender, strict(), None).deployment
    mixed = first.model_copy(
        update={"contracts": first.contracts | {"NoticeRegistry": second.contracts["NoticeRegistry"]}}
    )
    with pytest.raises(DeploymentMismatch, match=r"GrievanceDesk\.notices is 0x"):
        deploy.check(application.w3, mixed)
    deploy.check(application.w3, second)
    assert Contracts.at(application.w3, second).ledger.address != application.contracts.ledger.address


def test_a_folder_that_cannot_be_written_to_stops_before_anything_is_sent(
    fresh_chain: Application, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRecord, match="cannot be written"):
        deploy.deploy(fresh_chain.sender, strict(), tmp_path / "file" / "deployments")
    assert transactions(fresh_chain) == 0


# -------------------------------------------------------------------------------- the command line


def test_the_command(node: Node, tmp_path: Path) -> None:
    run = CliRunner().invoke
    environment = {"DULY_DEPLOYMENTS": str(tmp_path), "DULY_RPC": node.url}
    first = run(cli, ["deploy"], env=environment)
    assert first.exit_code == 0, first.output
    for name in (*STEPS[1:-1], "number 1", "Recorded in"):
        assert name in first.stdout
    assert "chain:    31337" in first.stderr
    assert "at most 0.0" in first.stderr

    second = run(cli, ["deploy", "--json"], env=environment)
    found = json.loads(second.stdout)
    assert (found["made"], found["gas"], found["policies"]) == ([], 0, {"STRICT": 1})
    assert "nothing; everything is checked" in second.stderr

    third = run(cli, ["deploy", "--fresh", "--decimals", "6", "--json"], env=environment)
    assert json.loads(third.stdout)["currency"]["decimals"] == 6


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--policy", "none"], 2, "there is no policy pack 'none'"),
        (["--currency", "0x12"], 2, "'0x12' is not an address"),
        (["--rpc", "http://127.0.0.1:1"], 1, "no node answers at http://127.0.0.1:1"),
        (["--rpc", "ftp://somewhere"], 1, "is no address of a node"),
    ],
)
def test_the_command_refuses(arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(cli, ["deploy", "--rpc", "tester:", *arguments])
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_a_live_chain_is_not_spent_on_unconfirmed(start_node: Callable[..., Node], tmp_path: Path) -> None:
    node = start_node("--chain-id", "4242")
    application = live(node, tmp_path)
    currency = application.sender.send(creation("TestDollar", 6)).contract
    environment = {
        "DULY_DEPLOYMENTS": str(tmp_path / "d"),
        "DULY_RPC": node.url,
        "DULY_KEY_FILE": str(tmp_path / "key.json"),
        "DULY_KEY_PASSPHRASE": "open sesame",
    }
    arguments = ["deploy", "--currency", str(currency)]
    refused = CliRunner().invoke(cli, arguments, env=environment)
    assert refused.exit_code == 1
    assert "nobody is there to confirm" in refused.stderr
    assert transactions(application) == 1
    done = CliRunner().invoke(cli, [*arguments, "--yes"], env=environment)
    assert done.exit_code == 0, done.output
    assert transactions(application) == TRANSACTIONS
