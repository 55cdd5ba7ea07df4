"""The same deployment on three kinds of nodes: eth-tester, Anvil, and EthereumJS, no development node."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Node, live, strict, transactions
from eth_account import Account
from ethereumjs import CHAIN_ID, EthereumJs
from typer.testing import CliRunner

from duly.bootstrap import Application
from duly.chain import clock, compiler, deployments, networks
from duly.chain.contracts import creation
from duly.chain.errors import ContractError
from duly.chain.sender import Receipt, Sender
from duly.config import Settings
from duly.domain.consent import Channel
from duly.domain.notice import Kind, Notice
from duly.interfaces.cli import app as cli
from duly.services import deploy, handover
from duly.services.deploy import Wish

UNKNOWN = bytes(31) + b"\x01"


class Stopped(BaseException):
    """The run ends here; nothing catches this."""


class Place:
    """A chain, and who deploys to it what."""

    def __init__(self, app: Application, folder: Path, second: Sender) -> None:
        self.app, self.folder, self.second = app, folder, second
        self.wish: Wish = strict()
        self.before = 0
        if not app.is_local:
            # A chain that is not local has a currency already.
            currency = app.sender.send(creation("TestDollar", 6)).contract
            self.wish = replace(self.wish, currency=currency)
            self.before = 1


@pytest.fixture(params=["eth-tester", "Anvil", "EthereumJS"], scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("nodes")
    if request.param == "eth-tester":
        app = Application(Settings(deployments=folder), rpc="tester:")
        yield Place(app, folder, app.sender.sibling(networks.development_account(app.w3, 1)))
    elif request.param == "Anvil":
        anvil = Node().start()
        app = Application(Settings(deployments=folder), rpc=anvil.url)
        yield Place(app, folder, app.sender.sibling(networks.development_account(app.w3, 1)))
        anvil.stop()
    else:
        node = EthereumJs().start()
        try:
            app = live(node, folder)
            app.settings = replace(app.settings, deployments=folder)
            Account.enable_unaudited_hdwallet_features()
            second = Account.from_mnemonic(networks._DEVELOPMENT_PHRASE, account_path="m/44'/60'/0'/0/1")
            yield Place(app, folder, app.sender.sibling(second))
        finally:
            node.stop()


def test_a_deployment_is_stopped_resumed_and_recorded(place: Place) -> None:
    app = place.app
    plan = deploy.plan(app.sender, place.wish, place.folder)
    before = app.sender.balance()

    def stop(step: deploy.Step) -> None:
        if step.name == "GrievanceDesk":
            raise Stopped

    with pytest.raises(Stopped):
        deploy.deploy(app.sender, place.wish, place.folder, tell=stop)
    first = deploy.deploy(app.sender, place.wish, place.folder)
    sent = [step.name for step in plan.missing if step.gas]
    assert transactions(app) == place.before + len(sent)
    assert 0 < before - app.sender.balance() <= plan.cost
    again = deploy.deploy(app.sender, place.wish, place.folder)
    assert [step.name for step in again.steps if step.made] == []
    assert again.deployment == first.deployment

    record = json.loads((place.folder / f"{app.chain_id}.json").read_text())
    assert (record["chain_id"], "pending" in record) == (app.chain_id, False)
    for contract in record["contracts"].values():
        receipt = app.w3.eth.get_transaction_receipt(contract["transaction"])
        assert receipt["blockNumber"] == contract["block"]
        assert contract["compiler"] == compiler.SOLC_BUILD
        assert contract["commit"] == compiler.source_commit()
    ledger = record["contracts"]["LoanLedger"]
    assert ledger["constructor_arguments"][0].lower() == first.deployment.currency.address


def test_a_refusal_is_told_in_words(place: Place) -> None:
    notices = place.app.contracts.notices
    notice = Notice(UNKNOWN, Kind.OVERDUE, 1, 5, Channel.EMAIL, UNKNOWN)
    nonce = transactions(place.app)
    with pytest.raises(ContractError, match=r"reason (UNKNOWN_LOAN|NOT_SERVER)") as refused:
        place.app.sender.send(notices.serve(notice))
    assert refused.value.name == "Refused"
    assert transactions(place.app) == nonce


def test_several_transactions_are_on_the_way_at_once(place: Place) -> None:
    token, receiver = place.app.contracts.currency, "0x" + "ab" * 20
    calls = [token.mint(receiver, n) for n in range(1, 6)]
    outcomes = place.app.sender.send_many(calls)
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert token.balance_of(receiver) == 15


def test_the_administration_goes_over_in_two_steps(place: Place) -> None:
    app, second = place.app, place.second
    first = app.sender
    found = handover.administration(first, app.deployment)
    assert (found.administrator, found.offered) == (first.address, None)
    with pytest.raises(handover.NotAdministrator, match="is not the administrator"):
        handover.offer(second, app.deployment, second.address)
    offered = handover.offer(first, app.deployment, second.address)
    if app.is_local:
        # These mine several blocks in a second.
        clock.travel(app.w3, app.clock.now() + 1)
    while app.w3.eth.block_number == offered.block:
        time.sleep(0.05)
    with pytest.raises(handover.NotAdministrator, match="not offered to"):
        handover.accept(first, app.deployment)
    book = app.contracts.policy_book
    assert book.is_publisher(first.address)
    handover.accept(second, app.deployment)
    assert handover.administration(first, app.deployment).administrator == second.address
    assert (book.is_publisher(first.address), book.is_publisher(second.address)) == (False, True)
    other = replace(place.wish, templates=bytes(32))
    with pytest.raises(ContractError, match="PUBLISHER_ROLE"):
        deploy.publish(first, other, place.folder, again=True)
    assert deploy.publish(second, other, place.folder, again=True).deployment.policies == {"STRICT": 2}


def test_by_the_name_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a test network: named in a file, paid by a named keystore, looked at, then done."""
    node = EthereumJs().start()
    try:
        app = live(node, tmp_path)
        currency = str(app.sender.send(creation("TestDollar", 6)).contract)
        monkeypatch.chdir(tmp_path)
        Path(networks.CONFIG).write_text(
            "live: [{name: Ours, networks: [{id: ours, chainid: 9999, host: $OUR_NODE}]}]"
        )
        accounts = tmp_path / ".brownie/accounts"
        accounts.mkdir(parents=True)
        (tmp_path / "key.json").rename(accounts / "deployer.json")
        environment = {"OUR_NODE": node.url, "HOME": str(tmp_path), "DULY_KEY_PASSPHRASE": "open sesame"}
        monkeypatch.setenv("HOME", str(tmp_path))
        options = ["deploy", "--network", "ours", "--account", "deployer", "--currency", currency]

        dry = CliRunner().invoke(cli, [*options, "--dry-run", "--json"], env=environment)
        assert dry.exit_code == 0, dry.output
        told = json.loads(dry.stdout)
        assert [each["name"] for each in told["transactions"]] == [
            "PolicyBook", "GrievanceDesk", "LoanLedger", "NoticeRegistry", "desk's binding", "policy STRICT",
        ]  # fmt: skip
        assert told["gas"] == sum(each["gas"] for each in told["transactions"])
        assert told["cost_at_most"] == sum(each["cost_at_most"] for each in told["transactions"])
        assert told["enough"]
        assert not Path("deployments").exists()
        assert app.w3.eth.get_transaction_count(app.account.address) == 1

        done = CliRunner().invoke(cli, [*options, "--yes", "--json"], env=environment)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["gas"] <= told["gas"]
        assert deployments.load(Path("deployments"), CHAIN_ID).policies == {"STRICT": 1}
    finally:
        node.stop()
