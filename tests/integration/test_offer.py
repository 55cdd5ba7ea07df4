"""Two parties exchange terms and signatures by command, on Anvil, and the ledger does what they agreed on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Node, strict
from eth_account.messages import encode_typed_data
from typer.testing import CliRunner, Result

from duly.bootstrap import Application
from duly.chain import clock, networks
from duly.chain.contracts import Contract, creation
from duly.chain.sender import Sender
from duly.config import Settings
from duly.domain import calendar
from duly.interfaces.cli import app as command_line
from duly.services import deploy
from duly.services.importing import lend_from


class SignerWallet(Contract):
    """A contract that lends: its owner's signature counts as its own."""

    artifact = "SignerWallet"


@dataclass
class Scene:
    """A deployment, whose deployer lends, and accounts of the chain's own."""

    app: Application
    folder: Path
    url: str

    def key(self, number: int) -> Any:
        return networks.development_account(self.app.w3, number)

    def run(self, *arguments: object, by: int = 0, group: str = "offer") -> Result:
        environment = {
            "DULY_DEPLOYMENTS": str(self.folder),
            "DULY_RPC": self.url,
            "DULY_DATABASE": f"sqlite:///{self.folder}/duly.db",
            "DULY_PRIVATE_KEY": self.key(by).key.hex(),
            "COLUMNS": "140",
        }
        return CliRunner(env=environment).invoke(command_line, [group, *map(str, arguments)])

    def told(self, *arguments: object, by: int = 0, group: str = "offer") -> str:
        result = self.run(*arguments, by=by, group=group)
        assert result.exit_code == 0, result.output
        return " ".join(result.stdout.split())

    def json(self, *arguments: object, by: int = 0) -> Any:
        result = self.run(*arguments, "--json", by=by)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *arguments: object, by: int = 0, code: int = 1) -> str:
        result = self.run(*arguments, by=by)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        return " ".join(result.stderr.split())

    def file(self, name: str) -> Path:
        return self.folder / name

    def day(self, later: int) -> str:
        return calendar.iso(calendar.local_day(clock.next_block_time(self.app.w3), 0) + later)

    def later(self, days: int) -> None:
        now = clock.next_block_time(self.app.w3)
        clock.travel(self.app.w3, now + days * calendar.DAY)

    def offered(self, name: str = "offer.json", *more: object, borrower: int = 1, by: int = 0) -> Path:
        """A loan that account 0 offers."""
        path = self.file(name)
        terms = ("--principal", 1200, "--rate", "11.22", "--instalments", 12, "--first-due", self.day(40))
        address = self.key(borrower).address
        self.told("loan", "--borrower", address, *terms, "--late-fee", 2, *more, "-o", path, by=by)
        return path

    def opened(self) -> str:
        """The id of a loan that account 1 opened, past its cooling-off period."""
        path = self.offered("opened.json", "--approve", "--salt", "0x" + "5a" * 32)
        self.told("send", path, by=1)
        self.later(20)
        found: str = self.json("show", path)["id"]
        return found


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Scene:
    application = Application(Settings(deployments=tmp_path), rpc=node.url)
    application.deployment = deploy.deploy(application.sender, strict(), tmp_path).deployment
    return Scene(application, tmp_path, node.url)


def test_a_lender_offers_and_the_borrower_opens(scene: Scene) -> None:
    path = scene.offered()
    shown = scene.told("show", path)
    assert f"lender {scene.key(0).address} signed" in shown
    assert f"borrower {scene.key(1).address} opens it, or signs for somebody to open it" in shown
    assert "1,200.00 TUSD at 11.22 % in 12 monthly instalments" in shown
    assert "ERC20InsufficientAllowance" in shown
    assert "have the lender hold it and approve it" in shown
    scene.offered("offer.json", "--approve", "--force")
    found = scene.json("show", path)
    assert (found["state"], found["acceptable"], found["refusal"]) == ("ready", True, None)
    assert [(party["role"], party["signed"], party["fits"]) for party in found["parties"]] == [
        ("lender", True, True),
        ("borrower", False, None),
    ]
    # The statement that was written beside it is what is agreed on.
    verify = ("--verify", scene.file("offer.html"), "--terms", path, "--rpc", scene.url)
    assert scene.told(*verify, group="disclose").startswith("yes its hash is the terms' agreementHash yes")

    assert "the borrower has not signed" in scene.refused("send", path, by=2)
    before = scene.app.contracts.currency.balance_of(scene.key(1).address)
    assert "Loan opened." in scene.told("send", path, by=1)
    assert scene.app.contracts.currency.balance_of(scene.key(1).address) - before == 120_000
    found = scene.json("show", path)
    assert (found["state"], found["refusal"]) == ("used", "LoanExists")
    assert "the offer is used" in scene.refused("sign", path, "--yes", by=1)
    assert "LoanExists" in scene.refused("send", path, by=1)
    assert found["id"][2:10] in scene.told(found["id"], group="loan")


def test_a_borrower_signs_and_somebody_else_opens(scene: Scene) -> None:
    path = scene.offered("offer.json", "--approve")
    signed = scene.file("signed.json")
    before = path.read_text()
    assert "nobody is there to confirm" in scene.run("sign", path, by=1).stderr
    assert path.read_text() == before
    told = scene.told("sign", path, "--yes", "-o", signed, by=1)
    assert f"Signed by the borrower, {scene.key(1).address}." in told
    assert "To be sent by anyone" in told
    assert path.read_text() == before
    assert "who does not sign this" in scene.refused("sign", path, "--yes", by=2)
    [opened] = scene.json("send", signed, by=2)["events"]
    assert opened["event"] == "LoanOpened"


def test_disclosed_terms_become_an_offer(scene: Scene) -> None:
    path, terms, statement = (scene.file(name) for name in ("offer.json", "terms.json", "statement.html"))
    given = (
        *("--lender", scene.key(0).address, "--borrower", scene.key(1).address, "--principal", 500),
        *("--rate", 5, "--instalments", 6, "--first-due", scene.day(40), "--expires", scene.day(7)),
    )
    scene.told(*given, "--rpc", scene.url, "--html", statement, "--out-terms", terms, group="disclose")
    made = scene.json("loan", "--terms", terms, "--approve", "-o", path)
    assert made["terms"] == json.loads(terms.read_text())
    assert made["files"] == {"offer": str(path)}
    assert made["acceptable"]
    undisclosed = json.loads(terms.read_text()) | {"agreementHash": "0x" + 64 * "0"}
    terms.write_text(json.dumps(undisclosed))
    other = scene.file("other.json")
    assert "have no key-fact statement" in scene.refused("loan", "--terms", terms, "-o", other, code=2)
    assert not other.exists()


def test_a_cancelled_offer_cannot_be_opened(scene: Scene) -> None:
    path = scene.offered("offer.json", "--approve")
    assert "who does not sign this" in scene.refused("cancel", path, by=2)
    assert "Offer cancelled." in scene.told("cancel", path)
    told = scene.refused("send", path, by=1)
    assert "a party cancelled the offer, or the amendment: OfferWithdrawn(id 0x" in told
    assert scene.json("show", path)["state"] == "cancelled"
    assert "It was withdrawn" in scene.told("show", path)
    assert "the offer is cancelled" in scene.refused("sign", path, "--yes", by=1)


def test_an_expired_offer_is_told(scene: Scene) -> None:
    path = scene.offered("offer.json", "--approve")
    scene.later(16)
    found = scene.json("show", path)
    assert (found["state"], found["refusal"]) == ("expired", "OfferExpired")


def test_what_was_changed_after_it_was_signed_is_refused(scene: Scene) -> None:
    path = scene.offered("offer.json", "--approve")
    document = json.loads(path.read_text())
    document["terms"]["rate"] = 10_000
    path.write_text(json.dumps(document))
    assert "SIGNATURE DOES NOT FIT" in scene.told("show", path)
    assert scene.json("show", path)["state"] == "invalid"
    for command in (("sign", path, "--yes"), ("send", path)):
        assert "the signature of the lender does not fit" in scene.refused(*command, by=1, code=2)
    for name, value, words in (
        ("chainId", 1, "the offer is for chain 1 (Ethereum)"),
        ("ledger", "0x" + "ab" * 20, "and the one deployed is"),
    ):
        path.write_text(json.dumps(document | {name: value}))
        assert words in scene.refused("show", path, code=2)


def test_both_agree_on_more_time_and_a_lower_rate(scene: Scene) -> None:
    wanted = scene.opened()[2:12]
    path = scene.file("amendment.json")
    told = scene.told("amendment", wanted, "--instalments", 18, "--rate", "9.5", "-o", path, by=1)
    assert "lender" in told
    assert "has to sign" in told
    # Old beside new.
    assert "rate 11.22 % 9.5 %" in told
    assert "instalments left 12 18" in told
    assert "Nothing is wrong with it, but the lender has to sign" in told
    made = scene.json("show", path)
    assert (made["state"], made["before"]["rate_ppm"], made["after"]["rate_ppm"]) == (
        "unsigned", 112_200, 95_000
    )  # fmt: skip
    assert made["after"]["principal"] == made["before"]["principal"] > 120_000
    assert made["after"]["instalment"] < made["before"]["instalment"]
    assert "the lender has not signed" in scene.refused("send", path, by=2)
    scene.told("sign", path, "--yes")
    events = scene.json("send", path, by=2)["events"]
    assert events[-1]["event"] == "LoanAmended"
    assert events[-1]["amendment"] == made["id"]
    new = scene.told(made["id"], group="loan")
    assert "at 9.5 %" in new
    assert scene.json("show", path)["state"] == "used"


def test_an_amendment_that_the_ledger_would_not_take_is_not_made(scene: Scene) -> None:
    path = scene.offered("offer.json", "--approve")
    scene.told("send", path, by=1)
    wanted, amendment = scene.json("show", path)["id"], scene.file("amendment.json")
    assert "may still rescind" in scene.refused("amendment", wanted, "-o", amendment)
    scene.later(20)
    for option, words in (
        (("--rate", 12), "does not raise the rate"),
        (("--principal", 5000), "is more than settling costs"),
        (("--first-due", scene.day(3)), "less than a month after"),
        (("--frequency", "weekly"), "but not how many"),
    ):
        assert words in scene.refused("amendment", wanted, *option, "-o", amendment, code=2)
    assert "who does not sign this" in scene.refused("amendment", wanted, "-o", amendment, by=2)
    assert not amendment.exists()
    # What becomes impossible later is told by the other half of its signatures already.
    scene.told("amendment", wanted, "-o", amendment)
    scene.told("repay", wanted, 100, by=1, group="loan")
    found = scene.json("show", amendment)
    assert (found["state"], found["refusal"]) == ("refused", "PrincipalAbovePayoff")
    assert "Offer cancelled." in scene.told("cancel", amendment, by=1)
    assert scene.json("show", amendment)["state"] == "cancelled"


def test_a_claim_goes_to_another_lender_who_signs(scene: Scene) -> None:
    wanted = scene.opened()
    path = scene.file("assignment.json")
    address = scene.key(2).address
    told = scene.told("assignment", wanted[2:12], "--to", address, "-o", path)
    assert f"new lender {address} has to sign" in told
    assert "the new lender has not signed" in scene.refused("send", path)
    assert "who does not sign this" in scene.refused("sign", path, "--yes")
    assert "To be sent by the lender" in scene.told("sign", path, "--yes", by=2)
    assert "who alone can send this" in scene.refused("send", path, by=2)
    assert "Let it expire" in scene.refused("cancel", path, code=2)
    assert "Loan assigned to" in scene.told("send", path)
    assert scene.app.contracts.ledger.parties_of(bytes.fromhex(wanted[2:])).lender == address.lower()
    assert scene.json("show", path)["state"] == "used"
    for who, words in ((2, "is the loan's lender"), (1, "is the loan's borrower")):
        arguments = ("assignment", wanted, "--to", scene.key(who).address, "-o", scene.file("no.json"))
        assert words in scene.refused(*arguments, code=2)
    # At once, where the new lender makes it.
    made = scene.json("assignment", wanted, "--to", scene.key(3).address, "-o", scene.file("3.json"), by=3)
    assert made["state"] == "ready"


def test_a_wallet_signs_what_is_shown(scene: Scene) -> None:
    path = scene.offered("offer.json", "--approve", "--lender", scene.key(0).address, "--unsigned", by=0)
    found = scene.json("show", path)
    assert found["state"] == "unsigned"
    messages = [encode_typed_data(full_message=party["typed_data"]) for party in found["parties"]]
    lenders, borrowers = (
        bytes(scene.key(number).sign_message(message).signature) for number, message in enumerate(messages)
    )
    strangers = bytes(scene.key(2).sign_message(messages[0]).signature)
    told = scene.refused("sign", path, "--signature", "0x" + strangers.hex(), code=2)
    assert "fits none who can sign this" in told
    # Some wallets write 0 and 1 for 27 and 28.
    other = lenders[:-1] + bytes([lenders[-1] - 27])
    assert "Signed by the lender" in scene.told("sign", path, "--signature", "0x" + other.hex(), by=3)
    scene.told("sign", path, "--signature", "0x" + borrowers.hex(), by=3)
    assert json.loads(path.read_text())["signatures"]["lender"] == "0x" + lenders.hex()
    assert "Loan opened." in scene.told("send", path, by=3)


def test_a_contract_that_lends_is_asked_whether_it_signed(scene: Scene) -> None:
    owner = scene.app.sender
    receipt = owner.send(creation("SignerWallet", owner.address))
    assert receipt.contract
    wallet = SignerWallet(scene.app.w3, receipt.contract)
    contracts = scene.app.contracts
    lend_from(contracts, owner, 120_000, can_mint=True)
    owner.send(contracts.currency.transfer(wallet.address, 120_000))
    owner.send(wallet.call("approve", contracts.currency.address, contracts.ledger.address, 120_000))

    path = scene.offered("offer.json", "--lender", wallet.address, "--unsigned")
    assert "who does not sign this" in scene.refused("sign", path, "--yes")
    [lender, _] = scene.json("show", path)["parties"]
    message = encode_typed_data(full_message=lender["typed_data"])
    for key, code in ((scene.key(2), 2), (scene.key(0), 0)):
        signature = bytes(key.sign_message(message).signature)
        assert scene.run("sign", path, "--signature", "0x" + signature.hex()).exit_code == code
    assert scene.json("show", path)["state"] == "ready"
    assert "Loan opened." in scene.told("send", path, by=1)


def test_another_key_approves_nothing(scene: Scene) -> None:
    sender = Sender(scene.app.w3, scene.key(1))
    sent = scene.app.w3.eth.get_transaction_count(scene.key(1).address)
    given = ("--borrower", scene.key(1).address, "--lender", scene.key(0).address, "--principal", 10)
    terms = ("--rate", 1, "--instalments", 1, "--first-due", scene.day(40), "--approve")
    path = scene.file("offer.json")
    assert "the key is not the lender's" in scene.refused("loan", *given, *terms, "-o", path, by=1)
    assert not path.exists()
    assert scene.app.w3.eth.get_transaction_count(sender.account.address) == sent
