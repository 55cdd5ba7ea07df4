"""What a party does about a loan with its own key: on a chain in this process, and by command on Anvil."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Node, embedded, strict
from eth_utils.crypto import keccak
from typer.testing import CliRunner, Result

from duly.bootstrap import Application
from duly.chain import clock
from duly.chain.errors import ContractError
from duly.chain.offers import (
    SigningDomain,
    loan_id,
    sign_amendment,
    sign_assignment,
    sign_offer,
    sign_permit,
    sign_repayment,
)
from duly.chain.sender import Sender
from duly.config import Settings
from duly.domain import calendar, schedule
from duly.domain.errors import CoolingOffOver
from duly.domain.events import (
    DebtForgiven,
    FeesWaived,
    InstalmentMissed,
    LoanAmended,
    LoanRepaid,
    LoanRescinded,
    LoanSettled,
    ReceiptAcknowledged,
    Repaid,
)
from duly.domain.loan import Loan, Status
from duly.domain.terms import Frequency, Schedule, Terms
from duly.interfaces.cli import app as command_line
from duly.services import deploy
from duly.services.importing import borrower_account, give_gas, lend_from, open_loan
from duly.services.lending import Party
from duly.store.readmodel import ReadModel

PRINCIPAL = 120_000


class Lent:
    """A loan on a chain, with a party for each side; the lender is the deployer."""

    def __init__(self, application: Application) -> None:
        self.app = application
        contracts, lender = application.contracts, application.sender
        self.model = ReadModel.open("sqlite://")
        application.read_model = self.model
        self.account = borrower_account(b"party", b"")
        borrower = lender.sibling(self.account)
        give_gas(lender, [borrower.address])
        lend_from(contracts, lender, PRINCIPAL, can_mint=True)
        now = clock.next_block_time(application.w3)
        terms = Terms(
            lender=lender.address,
            borrower=borrower.address,
            principal=PRINCIPAL,
            late_fee=100,
            rate=112_200,
            instalments=12,
            first_due=calendar.add_months(calendar.local_day(now, 0), 1),
            grace_days=15,
            policy=1,
            expires=now + 86_400,
        )
        self.id = open_loan(contracts, lender.account, borrower, terms)
        borrower.send(contracts.currency.mint(borrower.address, PRINCIPAL))
        self.lender, self.borrower = Party(contracts, lender), Party(contracts, borrower)

    @property
    def loan(self) -> Loan:
        self.app.indexer.run()
        found = self.model.loan(self.id)
        assert found
        return found

    @property
    def now(self) -> int:
        return clock.next_block_time(self.app.w3)

    def later(self, days: int) -> None:
        self.app.w3.provider.ethereum_tester.time_travel(self.now + days * calendar.DAY)  # type: ignore[attr-defined]

    def held(self, sender: Sender) -> int:
        return self.app.contracts.currency.balance_of(sender.address)


@pytest.fixture
def lent() -> Lent:
    return Lent(embedded())


def test_a_payment_is_approved_and_taken_up_to_what_is_owed(lent: Lent) -> None:
    before = lent.held(lent.borrower.sender)
    done = lent.borrower.repay(lent.loan, 5_000, lent.now)
    assert done.events == (Repaid(lent.id, lent.borrower.sender.address, 5_000, 5_000),)
    assert before - lent.held(lent.borrower.sender) == 5_000
    owed = lent.loan.owed
    done = lent.borrower.repay(lent.loan, 10**9, lent.now)
    assert [type(event) for event in done.events] == [Repaid, LoanRepaid]
    assert before - lent.held(lent.borrower.sender) == 5_000 + owed
    assert lent.loan.status is Status.REPAID


def test_settling_costs_what_the_second_says(lent: Lent) -> None:
    lent.later(10)
    before, costs = lent.held(lent.borrower.sender), schedule.payoff(lent.loan, lent.now)
    [settled] = lent.borrower.settle(lent.loan, lent.now).events
    assert isinstance(settled, LoanSettled)
    assert costs <= settled.amount == before - lent.held(lent.borrower.sender) <= costs + 5
    assert settled.saved > 0


def test_settling_for_less_than_it_costs_is_refused(lent: Lent) -> None:
    with pytest.raises(ContractError, match="settling costs more than the payer allowed"):
        lent.borrower.settle(lent.loan, lent.now, 5)


def test_a_prepayment_goes_on_as_another_loan(lent: Lent) -> None:
    with pytest.raises(ContractError, match="CoolingOffRuns"):
        lent.borrower.prepay(lent.loan, 50_000, lent.now)
    lent.later(20)
    repaid, amended = lent.borrower.prepay(lent.loan, 50_000, lent.now).events
    assert isinstance(repaid, Repaid)
    assert isinstance(amended, LoanAmended)
    assert repaid.amount == 50_000
    assert lent.loan.status is Status.REPLACED
    new = lent.model.loan(amended.amendment)
    assert new
    assert new.terms.principal < PRINCIPAL - 49_000
    # More than it costs settles it.
    [settled] = lent.borrower.prepay(new, 10**9, lent.now).events
    assert isinstance(settled, LoanSettled)


def test_rescinding_takes_what_was_received_with_interest_for_each_day(lent: Lent) -> None:
    lent.later(5)
    policy = lent.app.contracts.policy_book.lending_of(1)
    [rescinded] = lent.borrower.rescind(lent.loan, policy, lent.now).events
    assert isinstance(rescinded, LoanRescinded)
    # 120,000 * 11.22 % * 5 / 365 = 184.4, or what settling costs where that is less.
    assert 120_175 <= rescinded.amount == rescinded.paid <= 120_184


def test_rescinding_too_late_is_refused_before_anything_is_sent(lent: Lent) -> None:
    lent.later(40)
    policy = lent.app.contracts.policy_book.lending_of(1)
    with pytest.raises(CoolingOffOver):
        lent.borrower.rescind(lent.loan, policy, lent.now)


def test_the_lenders_side(lent: Lent) -> None:
    ledger = lent.app.contracts.ledger
    proof = keccak(b"a statement")
    done = lent.lender.do(ledger.acknowledge_receipt(lent.id, 300, proof))
    assert done.events == (ReceiptAcknowledged(lent.id, lent.lender.sender.address, 300, proof, 300),)
    done = lent.lender.do(ledger.forgive(lent.id, 200))
    assert done.events == (DebtForgiven(lent.id, lent.lender.sender.address, 200, 500),)
    with pytest.raises(ContractError, match="only the loan's lender can do this"):
        lent.borrower.do(ledger.forgive(lent.id, 200))
    lent.later(60)
    missed, waived = lent.lender.do(ledger.waive(lent.id, 30)).events
    assert isinstance(missed, InstalmentMissed)
    assert waived == FeesWaived(lent.id, lent.lender.sender.address, 30, 70)
    [amended] = lent.lender.do(ledger.defer(lent.id, 3)).events
    assert isinstance(amended, LoanAmended)
    assert (amended.paid, amended.fees) == (500, 70)
    new = amended.amendment
    with pytest.raises(ContractError, match="overdue for as long as a default takes"):
        lent.lender.do(ledger.mark_default(new))


def test_the_ledger_takes_what_was_signed(lent: Lent) -> None:
    contracts, borrower, lender = lent.app.contracts, lent.account, lent.app.account
    ledger, token, deadline = contracts.ledger, contracts.currency, lent.now + 3_600
    domain = SigningDomain(lent.app.chain_id, ledger.address)

    # A payment that the borrower signed and the lender sends; the borrower's approval pays.
    lent.borrower.sender.send(token.approve(ledger.address, 700))
    nonce = ledger.nonce_of(borrower.address)
    signature = sign_repayment(borrower, domain, lent.id, 700, nonce, deadline)
    paid = Repaid(lent.id, borrower.address.lower(), 700, 700)
    assert lent.lender.do(ledger.repay_by_signature(lent.id, 700, deadline, signature)).events == (paid,)
    with pytest.raises(ContractError, match="with the nonce that is next"):
        lent.lender.do(ledger.repay_by_signature(lent.id, 700, deadline, signature))

    # A permit instead of an approval, which the approval of the payment before was used up for.
    currency = SigningDomain(lent.app.chain_id, token.address, token.name())
    permit = sign_permit(
        borrower, currency, ledger.address, 50, int(token.read("nonces", borrower.address)), deadline
    )
    lent.borrower.do(ledger.repay_with_permit(lent.id, 50, deadline, permit))
    assert lent.loan.paid == 750

    # The claim goes to somebody who signed for it, and several payments in one transaction to them.
    heir = borrower_account(b"party", b"heir")
    nonce = ledger.nonce_of(heir.address)
    signature = sign_assignment(heir, domain, lent.id, lender.address.lower(), nonce, deadline)
    lent.lender.do(ledger.assign(lent.id, heir.address.lower(), deadline, signature))
    both = ledger.multicall([ledger.repay(lent.id, 30), ledger.repay(lent.id, 20)])
    done = lent.borrower.do(*lent.borrower.payments.of(both, 50))
    assert [event.name for event in done.events] == ["Repaid", "Repaid"]
    assert token.balance_of(heir.address) == 50
    assert (lent.loan.lender, lent.loan.paid) == (heir.address.lower(), 800)
    assert lent.loan == ledger.loan_of(lent.id, lent.loan.terms)

    # Both sign other terms.
    lent.later(60)
    [missed] = lent.lender.do(ledger.flag_missed_many([lent.id, bytes(32)])).events
    assert isinstance(missed, InstalmentMissed)
    terms = replace(
        lent.loan.terms,
        lender=heir.address.lower(),
        principal=100_000,
        rate=50_000,
        late_fee=0,
        instalments=4,
        first_due=calendar.local_day(lent.now, 0) + 100,
        schedule=Schedule.EQUAL_PRINCIPAL,
        frequency=Frequency.QUARTERLY,
        expires=2**40 - 1,
        replaces=lent.id,
    )
    signatures = [sign_amendment(key, terms, domain) for key in (heir, borrower)]
    assert contracts.policy_book.admit(terms, 100)[0] == 25_000
    [amended] = lent.lender.do(ledger.amend(terms, *signatures)).events
    assert isinstance(amended, LoanAmended)
    assert amended.amendment == loan_id(terms, domain)
    assert (amended.terms, amended.fees, amended.paid) == (terms, 100, 0)
    assert lent.loan.status is Status.REPLACED
    new = lent.model.loan(amended.amendment)
    assert new
    assert new == ledger.loan_of(new.id, terms)
    # Nobody can use what a party took back.
    withdrawn = replace(terms, salt=b"s" * 32, replaces=bytes(32), lender=lender.address.lower())
    lent.lender.do(ledger.cancel_offer(withdrawn))
    with pytest.raises(ContractError, match="a party cancelled the offer"):
        lent.borrower.do(ledger.open(withdrawn, sign_offer(lender, withdrawn, domain)))


# ---------------------------------------------------------------------------------------- by command


@pytest.fixture
def node_with_loan(node: Node, tmp_path: Path) -> Lent:
    application = Application(Settings(deployments=tmp_path), rpc=node.url)
    application.deployment = deploy.deploy(application.sender, strict(), tmp_path).deployment
    return Lent(application)


@pytest.fixture
def run(node_with_loan: Lent, node: Node, tmp_path: Path) -> Callable[..., Result]:
    environment = {
        "DULY_DEPLOYMENTS": str(tmp_path),
        "DULY_RPC": node.url,
        "DULY_DATABASE": f"sqlite:///{tmp_path}/duly.db",
        "COLUMNS": "120",
    }

    def command(*arguments: str, key: str | None = None) -> Result:
        more = {"DULY_PRIVATE_KEY": key} if key else {}
        return CliRunner(env=environment | more).invoke(command_line, ["loan", *arguments])

    return command


def test_commands_act_on_a_loan_and_tell_what_came_of_it(
    node_with_loan: Lent, run: Callable[..., Result], tmp_path: Path
) -> None:
    lent = node_with_loan
    wanted, key = lent.id.hex()[:12], lent.account.key.hex()
    paid = run("repay", wanted, "50", key=key)
    assert paid.exit_code == 0, paid.output
    assert "Repaid, 50.00 TUSD." in paid.stdout
    assert lent.loan.paid == 5_000

    document = tmp_path / "statement.pdf"
    document.write_bytes(b"a statement")
    found = run("acknowledge", wanted, "20", "--receipt", str(document), "--json")
    assert found.exit_code == 0, found.output
    [event] = json.loads(found.stdout)["events"]
    assert (event["event"], event["amount"]) == ("ReceiptAcknowledged", 2_000)
    assert event["receipt"] == "0x" + keccak(b"a statement").hex()

    assert run("forgive", wanted, "10").exit_code == 0
    assert lent.loan.paid == 8_000
    refused = run("forgive", wanted, "10", key=key)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "only the loan's lender can do this" in refused.stderr

    rescinded = run("rescind", wanted, key=key)
    assert rescinded.exit_code == 0, rescinded.output
    assert "Loan rescinded, 1,120.00 TUSD." in rescinded.stdout
    shown = run(wanted)
    assert shown.exit_code == 0, shown.output
    assert "rescinded" in shown.stdout


def test_what_is_wrong_with_a_command_is_told(
    node_with_loan: Lent, run: Callable[..., Result], tmp_path: Path
) -> None:
    wanted = node_with_loan.id.hex()
    for arguments, words in (
        (("repay", wanted, "0"), "not more than zero"),
        (("repay", wanted, "0.001"), "at most 2 decimals"),
        (("repay", "0xffff", "1"), "no loan's id begins with"),
        (("acknowledge", wanted, "1", "--receipt", str(tmp_path / "none")), "cannot be read"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert result.stdout == ""
    sent = node_with_loan.app.w3.eth.get_transaction_count(node_with_loan.app.account.address)
    refused = run("settle", wanted, "--at-most", "5")
    assert refused.exit_code == 1
    assert "settling costs more than the payer allowed" in refused.stderr
    # All that was sent is the approval.
    after = node_with_loan.app.w3.eth.get_transaction_count(node_with_loan.app.account.address)
    assert after - sent <= 1
