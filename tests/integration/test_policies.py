"""Publishing packs, and checking what is published, on real chains."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from conftest import Node, live, strict, transactions
from typer.testing import CliRunner

from duly.bootstrap import Application
from duly.chain import deployments
from duly.chain.contracts import PolicyBook, creation
from duly.chain.deployments import NotDeployed
from duly.chain.errors import ContractError, InsufficientFunds
from duly.chain.networks import development_account
from duly.chain.sender import Sender, estimate_gas
from duly.config import Settings
from duly.domain.pack import AS_TIGHT, ON_CHAIN, Comparison, limit_values, tightness_of
from duly.domain.policy import AprConvention
from duly.interfaces.cli import app as cli
from duly.services import deploy
from duly.services.deploy import AlreadyPublished, Wish
from duly.services.policy import load_pack, pack_names, parse_pack
from duly.services.policycheck import UnknownNumber, verify
from duly.services.render import templates_hash

OWN = """
name = "OWN"
extends = "GR"
title = "Ours"
as_of = 2026-11-23

[contact.closes]
value = 18:30:00
source = "Our own choice"
status = "chosen"
as_of = 2026-11-23
"""


@pytest.fixture
def chain(tmp_path: Path) -> Application:
    """A chain in this process with everything deployed, recorded in a folder."""
    application = Application(Settings(), rpc="tester:")
    application.deployment = deploy.deploy(application.sender, strict(), tmp_path).deployment
    return application


def wish(name: str) -> Wish:
    return Wish(load_pack(name), templates_hash())


def recorded(application: Application, folder: Path) -> dict[str, int]:
    return deployments.load(folder, application.chain_id).policies


def check(application: Application, folder: Path, number: int | None = None) -> list[Any]:
    packs = [load_pack(name) for name in pack_names()]
    book = application.contracts.policy_book
    return verify(book, packs, templates_hash(), recorded=recorded(application, folder), number=number)


# ------------------------------------------------------------------------------------ publishing


def test_every_pack_can_be_published_and_is_what_it_says(chain: Application, tmp_path: Path) -> None:
    names = [name for name in pack_names() if name != "STRICT"]
    for number, name in enumerate(names, 2):
        result = deploy.publish(chain.sender, wish(name), tmp_path)
        assert [(step.name, step.made, step.number) for step in result.steps] == [
            (f"policy {name}", True, number)
        ]
        assert chain.contracts.policy_book.hashes_of(number)[1] == load_pack(name).pack_hash
    verdicts = check(chain, tmp_path)
    assert [verdict.name for verdict in verdicts] == ["STRICT", *names]
    assert all(verdict.passed and not verdict.deviations for verdict in verdicts)
    deploy.check(chain.w3, deployments.load(tmp_path, chain.chain_id))


def test_it_is_refused_where_it_is_published_already_unless_forced(
    chain: Application, tmp_path: Path
) -> None:
    sent = transactions(chain)
    with pytest.raises(AlreadyPublished, match="STRICT is published already, as policy 1"):
        deploy.publish(chain.sender, strict(), tmp_path)
    other_templates = replace(strict(), templates=bytes(32))
    with pytest.raises(AlreadyPublished, match=r"policy 1 \(with other templates\)"):
        deploy.publish(chain.sender, other_templates, tmp_path)
    chain.sender.send(chain.contracts.policy_book.retire(1))
    with pytest.raises(AlreadyPublished, match=r"policy 1 \(retired since\)"):
        deploy.publish(chain.sender, strict(), tmp_path)
    assert transactions(chain) == sent + 1
    result = deploy.publish(chain.sender, strict(), tmp_path, again=True)
    assert (result.steps[0].made, result.deployment.policies) == (True, {"STRICT": 2})
    assert deploy.publish(chain.sender, strict(), tmp_path, again=True).steps[0].number == 3


@pytest.mark.parametrize("moment", ["submit", "save"])
def test_what_an_interrupted_run_published_is_recorded_and_not_published_again(
    moment: str, chain: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    owner: Any = Sender if moment == "submit" else deployments
    original = getattr(owner, moment)

    def killing(*arguments: Any) -> Any:
        result = original(*arguments)
        # The first record is the intent.
        if moment == "submit" or arguments[1].pending is None:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, killing)
        with pytest.raises(Killed):
            deploy.publish(chain.sender, wish("GR"), tmp_path)
    sent = transactions(chain)
    if moment == "submit":
        result = deploy.publish(chain.sender, wish("GR"), tmp_path)
        assert [step.made for step in result.steps] == [False]
    assert recorded(chain, tmp_path) == {"STRICT": 1, "GR": 2}
    assert transactions(chain) == sent
    with pytest.raises(AlreadyPublished):
        deploy.publish(chain.sender, wish("GR"), tmp_path)


def test_who_may_not_publish_or_cannot_pay(chain: Application, tmp_path: Path) -> None:
    from eth_account import Account

    stranger = chain.sender.sibling(development_account(chain.w3, 1))
    with pytest.raises(ContractError, match="lacks the role"):
        deploy.publish(stranger, wish("GR"), tmp_path)
    poor = chain.sender.sibling(Account.from_key(bytes(31) + b"\x78"))
    role = chain.w3.keccak(text="PUBLISHER_ROLE")
    chain.sender.send(chain.contracts.policy_book.call("grantRole", role, poor.address))
    with pytest.raises(InsufficientFunds):
        deploy.publish(poor, wish("GR"), tmp_path)
    assert chain.contracts.policy_book.count() == 1


def test_nothing_is_published_where_nothing_is_deployed(tmp_path: Path) -> None:
    application = Application(Settings(), rpc="tester:")
    for function in (deploy.plan_publication, deploy.publish):
        with pytest.raises(NotDeployed):
            function(application.sender, wish("GR"), tmp_path)
    assert transactions(application) == 0


# ------------------------------------------------------------------------------------ checking


def test_limits_that_are_not_the_packs_are_told_one_by_one(chain: Application, tmp_path: Path) -> None:
    pack = load_pack("GR")
    lending = replace(
        pack.lending_limits, apr_cap=400_000, apr_convention=AprConvention.EFFECTIVE, min_grace_days=9
    )
    contact = replace(pack.contact_limits, opens=8 * 60, per_week=1)
    book = chain.contracts.policy_book
    chain.sender.send(book.publish(lending, contact, bytes(32), pack.pack_hash))
    (verdict,) = check(chain, tmp_path, 2)
    assert not verdict.passed
    assert verdict.name == "GR"
    found = {item.field: (item.chain, item.pack, item.allowed) for item in verdict.deviations}
    assert found.pop("templates hash") == ("0x" + 64 * "0", "0x" + templates_hash().hex(), False)
    assert found == {
        "lending.apr_cap": ("40 %", "36 %", False),
        "lending.apr_convention": ("effective", "nominal", False),
        "lending.min_grace_days": ("9 days", "5 days", False),
        "contact.opens": ("08:00", "09:00", False),
        "contact.per_week": ("1", "2", True),
    }
    assert check(chain, tmp_path, 1)[0].passed


def test_limits_that_were_tightened_since_are_told_and_are_no_fault(
    chain: Application, tmp_path: Path
) -> None:
    book = chain.contracts.policy_book
    chain.sender.send(book.tighten(1, replace(book.contact_of(1), closes=18 * 60)))
    (verdict,) = check(chain, tmp_path)
    assert verdict.passed
    assert [(item.field, item.chain, item.allowed) for item in verdict.deviations] == [
        ("contact.closes", "18:00", True)
    ]


def test_a_pack_of_another_hash_is_compared_by_its_recorded_name(chain: Application, tmp_path: Path) -> None:
    changed = parse_pack(OWN.replace('"OWN"', '"GR"').replace('title = "Ours"', 'title = "Greece"'))
    deploy.publish(chain.sender, Wish(changed, templates_hash()), tmp_path)
    (verdict,) = check(chain, tmp_path, 2)
    assert [item.field for item in verdict.deviations] == ["contact.closes", "pack hash"]
    assert not verdict.passed


def test_a_pack_that_is_not_here_is_not_passed(chain: Application, tmp_path: Path) -> None:
    own = parse_pack(OWN)
    deploy.publish(chain.sender, Wish(own, templates_hash()), tmp_path)
    verdict = check(chain, tmp_path)[1]
    assert (verdict.pack, verdict.name, verdict.passed) == (None, "OWN", False)
    book = chain.contracts.policy_book
    assert verify(book, [own], templates_hash(), recorded={}, number=2)[0].passed
    for number in (0, 3):
        with pytest.raises(UnknownNumber, match=f"no policy {number} .wanted: a number from 1 to 2"):
            check(chain, tmp_path, number)


def test_the_chain_and_the_packs_agree_on_what_is_tighter(chain: Application) -> None:
    """`PolicyBook.tighten` takes what a pack calls as tight, and nothing else."""
    book = chain.contracts.policy_book
    chain.sender.send(
        book.publish(
            strict().pack.lending_limits,
            replace(strict().pack.contact_limits, per_week=4, per_day=2, weekdays=0b0010101),
            bytes(32),
            bytes(32),
        )
    )
    base = book.contact_of(2)
    tried = 0
    for path, value in limit_values(base).items():
        section, _, field = path.partition(".")
        if section != "contact":
            continue
        changes = (0b0010001, 0b0010111, 0b1100000) if field == "weekdays" else (-1, 1)
        for change in changes:
            other = replace(base, **{field: change if field == "weekdays" else getattr(base, field) + change})
            tightness = tightness_of(ON_CHAIN["contact"], field)
            tighter = tightness.compare(limit_values(other)[path], value) in AS_TIGHT
            wanted = None if tighter else "LimitLoosened"
            assert refused_by(chain, book, other) == wanted, (field, change)
            tried += 1
    assert tried == 21
    # A grievance that rests less than it did would be looser.
    assert (base.rest_all_loans, base.rest_fees) == (0b111, 0b111)
    for change in ({"rest_all_loans": 0b101}, {"rest_fees": 0b011}):
        assert refused_by(chain, book, replace(base, **change)) == "LimitLoosened"
    assert tightness_of(ON_CHAIN["contact"], "gap").compare(None, 5) is Comparison.LOOSER


def refused_by(chain: Application, book: PolicyBook, limits: Any) -> str | None:
    """The error with which the book refuses these limits for policy 2; None where it takes them."""
    try:
        estimate_gas(chain.w3, book.tighten(2, limits), chain.sender.address)
    except ContractError as error:
        return error.name
    return None


# ------------------------------------------------------------------------------------ the command line


def test_the_commands(node: Node, tmp_path: Path) -> None:
    environment = {"DULY_DEPLOYMENTS": str(tmp_path / "d"), "DULY_RPC": node.url}
    own = tmp_path / "own.toml"
    own.write_text(OWN, encoding="utf-8")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, env=environment)

    early = run("policy", "publish", "gr")
    assert early.exit_code == 1
    assert "nothing is deployed" in early.stderr
    assert run("deploy").exit_code == 0

    first = run("policy", "publish", "gr")
    assert first.exit_code == 0, first.output
    assert "Published GR as policy 2" in first.stdout
    assert "publisher:" in first.stderr
    assert "1 of its values are unverified" in first.stderr
    second = run("policy", "publish", str(own), "--json")
    told = json.loads(second.stdout)
    assert (told["policy"], told["pack"], told["made"]) == (3, "OWN", True)

    again = run("policy", "publish", "gr")
    assert again.exit_code == 1
    assert "GR is published already, as policy 2" in again.stderr
    assert "--force" in again.stderr
    assert again.stdout == ""
    forced = run("policy", "publish", "gr", "--force")
    assert "The name GR means policy 4 from now on, not 2." in forced.stdout

    unknown = run("policy", "verify")
    assert unknown.exit_code == 1
    assert "BAD policy 3 (OWN): no pack here has its hash" in unknown.stdout
    assert "4 policies compared. 1 not as a pack says." in unknown.stdout
    known = run("policy", "verify", "--pack", str(own))
    assert known.exit_code == 0, known.output
    assert "ok  policy 3 (OWN): as its pack says" in known.stdout
    assert "Nothing is amiss." in known.stdout
    one = run("policy", "verify", "3", "--pack", str(own), "--json")
    assert json.loads(one.stdout)["policies"][0]["passed"] is True
    assert run("policy", "verify", "9").exit_code == 2

    # The file of a published pack changes: it says something else than the chain.
    own.write_text(OWN.replace("18:30", "18:00"), encoding="utf-8")
    changed = run("policy", "verify", "3", "--pack", str(own), "--json")
    assert changed.exit_code == 1
    (verdict,) = json.loads(changed.stdout)["policies"]
    assert [item["field"] for item in verdict["deviations"]] == ["contact.closes", "pack hash"]
    assert verdict["deviations"][0]["chain"] == "18:30"


def test_templates_of_ones_own_are_published_and_verified(node: Node, tmp_path: Path) -> None:
    from duly.services.render import templates

    for name, text in templates().files.items():
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + ("\n" if name == "en/overdue.txt" else ""), encoding="utf-8")
    environment = {"DULY_DEPLOYMENTS": str(tmp_path / "d"), "DULY_RPC": node.url}
    own = environment | {"DULY_TEMPLATES": str(tmp_path / "templates")}
    run = CliRunner().invoke
    assert run(cli, ["deploy"], env=environment).exit_code == 0
    told = json.loads(run(cli, ["policy", "publish", "gr", "--json"], env=own).stdout)
    assert told["templates_hash"] != "0x" + templates_hash().hex()
    assert run(cli, ["policy", "verify", "2"], env=own).exit_code == 0
    shipped = run(cli, ["policy", "verify", "2"], env=environment)
    assert shipped.exit_code == 1
    assert f"templates hash: {told['templates_hash']} on the chain" in shipped.stdout
    assert run(cli, ["policy", "verify", "1"], env=own).exit_code == 1


def test_a_live_chain_is_asked_about(start_node: Callable[..., Node], tmp_path: Path) -> None:
    node = start_node("--chain-id", "4242")
    application = live(node, tmp_path)
    currency = application.sender.send(creation("TestDollar", 6)).contract
    environment = {
        "DULY_DEPLOYMENTS": str(tmp_path / "d"),
        "DULY_RPC": node.url,
        "DULY_KEY_FILE": str(tmp_path / "key.json"),
        "DULY_KEY_PASSPHRASE": "open sesame",
    }
    run = CliRunner().invoke
    assert run(cli, ["deploy", "--currency", str(currency), "--yes"], env=environment).exit_code == 0
    sent = transactions(application)
    refused = run(cli, ["policy", "publish", "us"], env=environment)
    assert refused.exit_code == 1
    assert "nobody is there to confirm" in refused.stderr
    assert transactions(application) == sent
    assert run(cli, ["policy", "publish", "us", "--yes"], env=environment).exit_code == 0
    assert transactions(application) == sent + 1
