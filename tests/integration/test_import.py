"""Importing a loan book: every loan once, whatever happens in between; what the ledger refuses is told."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from conftest import Node, embedded, strict
from typer.testing import CliRunner
from web3.types import RPCEndpoint

from duly.bootstrap import Application
from duly.chain import networks
from duly.chain.clock import travel
from duly.chain.contracts import creation
from duly.chain.errors import ChainUnavailable, ContractError, InsufficientFunds
from duly.chain.sender import Sender
from duly.config import Settings
from duly.domain import calendar
from duly.domain.loanbook import BookLoan, RefusedRow
from duly.interfaces.cli import app as cli
from duly.services import deploy, importing, loanbook
from duly.services.importing import LocalChainsOnly, OpenedRow, borrower_account, opened_loans

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/lendingclub_sample.csv"


class Killed(BaseException):
    """The process ends here; nothing catches this."""


@pytest.fixture
def chain() -> Application:
    return embedded()


def book(rows: int) -> list[BookLoan | RefusedRow]:
    return list(islice(loanbook.read(SAMPLE), rows))


def imported(application: Application, rows: Iterable[BookLoan | RefusedRow]) -> importing.Report:
    return importing.report(
        importing.import_rows(application.contracts, application.deployment, application.sender, rows)
    )


def opened(application: Application) -> int:
    return len(opened_loans(application.contracts, application.deployment.block))


def test_each_loan_once_with_the_published_instalments(chain: Application) -> None:
    rows = book(40)
    first = imported(chain, rows)
    assert (first.opened, first.already_open, first.book.taken) == (40, 0, 40)
    assert first.book.by_year == loanbook.report(rows).by_year
    again = imported(chain, rows)
    assert (again.opened, again.already_open) == (0, 40)
    assert again.loans == first.loans
    assert again.book.by_year == first.book.by_year
    assert opened(chain) == 40
    # With another seed or lender the same rows are the same loans.
    other = chain.sender.sibling(networks.development_account(chain.w3, 1))
    outcomes = importing.import_rows(chain.contracts, chain.deployment, other, rows, seed=b"other")
    assert importing.report(outcomes).opened == 0


def test_the_terms(chain: Application) -> None:
    row = book(1)[0]
    assert isinstance(row, BookLoan)
    loan = imported(chain, [row]).loans[0]
    terms = opened_loans(chain.contracts, 0)[row.key].terms
    today = calendar.local_day(chain.clock.now(), 0)
    assert terms.principal == row.principal
    assert (terms.rate, terms.instalments) == (row.rate, row.instalments)
    assert terms.first_due == calendar.add_months(today, 1)
    assert terms.lender == chain.sender.address
    assert terms.borrower == borrower_account(importing.SEED, row.key).address.lower()
    limits = chain.contracts.policy_book.lending_of(terms.policy)
    assert terms.late_fee == min(1500, row.instalment * limits.late_fee_cap // 10_000)
    assert terms.grace_days == max(15, limits.min_grace_days)
    assert chain.contracts.currency.balance_of(terms.borrower) == row.principal
    assert chain.contracts.ledger.record_of(loan).instalment == row.instalment


def test_a_currency_with_six_decimals() -> None:
    chain = embedded(replace(strict(), decimals=6))
    rows = book(20)
    found = imported(chain, rows)
    assert found.book.by_year == loanbook.report(rows).by_year
    row = rows[0]
    assert isinstance(row, BookLoan)
    assert opened_loans(chain.contracts, 0)[row.key].terms.principal == row.principal * 10**4


def test_a_currency_without_decimals_takes_whole_amounts_only() -> None:
    chain = embedded(replace(strict(), decimals=0))
    row = book(1)[0]
    assert isinstance(row, BookLoan)
    odd = replace(row, line=3, key=bytes(32), principal=row.principal + 50)
    found = imported(chain, [row, odd])
    assert found.opened == 1
    assert [(refused.line, "no whole number" in refused.reason) for refused in found.book.refused] == [
        (3, True)
    ]


def test_what_the_ledger_refuses_is_told_and_the_others_go_on(chain: Application) -> None:
    cap = chain.contracts.policy_book.lending_of(1).apr_cap
    rows = book(6)
    first = rows[2]
    assert isinstance(first, BookLoan)
    rows[2] = replace(first, rate=cap + 1)
    rows[4] = RefusedRow(99, "no loan at all")
    outcomes = list(importing.import_rows(chain.contracts, chain.deployment, chain.sender, rows))
    assert [type(outcome) for outcome in outcomes] == [
        OpenedRow, OpenedRow, RefusedRow, OpenedRow, RefusedRow, OpenedRow,
    ]  # fmt: skip
    refused = outcomes[2]
    assert isinstance(refused, RefusedRow)
    assert refused.line == first.line
    assert "fees included, exceeds the policy's cap: AprAboveCap(worth" in refused.reason
    assert f"cap {cap})" in refused.reason
    assert outcomes[4] == rows[4]
    # Nothing of the refused loan is left: the borrower holds no money.
    borrower = borrower_account(importing.SEED, first.key).address
    assert chain.contracts.currency.balance_of(borrower) == 0
    assert opened(chain) == 4


def test_a_batch_that_begins_before_midnight(chain: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's day is another than the one that the terms were made for."""
    real = importing.next_block_time
    monkeypatch.setattr(importing, "next_block_time", lambda w3: real(w3) - calendar.DAY)
    assert imported(chain, book(2)).opened == 2


def test_midnight_between_the_estimate_and_the_block(
    chain: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loans that were prepared before midnight and are mined after it are made for the new day."""
    give_up_nothing, midnight = importing._Importer._open, []

    def past_midnight(self: object, openings: object) -> object:
        if not midnight:
            now = chain.clock.now()
            midnight.append(now - now % calendar.DAY + calendar.DAY)
            travel(chain.w3, midnight[0])
        return give_up_nothing(self, openings)  # type: ignore[arg-type]

    monkeypatch.setattr(importing._Importer, "_open", past_midnight)
    rows = book(3)
    assert imported(chain, rows).opened == 3
    first = rows[0]
    assert isinstance(first, BookLoan)
    terms = opened_loans(chain.contracts, 0)[first.key].terms
    assert terms.first_due == calendar.add_months(midnight[0] // calendar.DAY, 1)


def test_a_retired_policy_and_one_that_does_not_exist(chain: Application) -> None:
    with pytest.raises(Exception, match="no policy 'XX'"):
        list(importing.import_rows(chain.contracts, chain.deployment, chain.sender, book(1), policy="XX"))
    chain.sender.send(chain.contracts.policy_book.retire(1))
    with pytest.raises(ContractError, match="takes no new loans: PolicyIsRetired"):
        imported(chain, book(1))


# --------------------------------------------------------------------------------- stopped anywhere


@pytest.mark.parametrize("number", range(0, 26, 3))
def test_an_import_that_was_killed_anywhere_is_finished_by_the_next(
    number: int, chain: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 loans are 26 transactions: the money, its approval, gas and opening for each."""
    submit, sent = Sender.submit, 0

    def killing(self: Sender, signed: object) -> object:
        nonlocal sent
        if sent == number:
            raise Killed
        sent += 1
        return submit(self, signed)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "submit", killing)
        with pytest.raises(Killed):
            imported(chain, book(12))
    before = opened(chain)
    again = Application(Settings(), w3=chain.w3, deployment=chain.deployment)
    found = imported(again, book(12))
    assert (found.already_open, found.opened) == (before, 12 - before)
    assert opened(again) == 12
    principals = sum(row.principal for row in book(12) if isinstance(row, BookLoan))
    ledger, token = again.contracts.ledger, again.contracts.currency
    assert token.total_supply() - token.balance_of(again.sender.address) == principals
    assert token.balance_of(ledger.address) == 0


def test_a_real_process_killed_at_random_times(node: Node, tmp_path: Path) -> None:
    settings = Settings(deployments=tmp_path)
    deploy.deploy(Application(settings, rpc=node.url).sender, strict(), tmp_path)
    environment = os.environ | {"DULY_DEPLOYMENTS": str(tmp_path), "DULY_RPC": node.url}
    command = [sys.executable, "-c", "from duly.interfaces.cli import main; main()", "import", str(SAMPLE)]
    application = Application(settings, rpc=node.url)
    chance = random.Random(3)

    def ask(method: str, *params: object) -> Any:
        return application.w3.provider.make_request(RPCEndpoint(method), params)["result"]

    # A few transactions at a time are mined, and only when the test says so: however quick it is, no process
    # gets done.
    ask("evm_setAutomine", False)
    ask("evm_setBlockGasLimit", hex(2_000_000))
    for _ in range(3):
        process = subprocess.Popen([*command, "--limit", "60"], env=environment, stdout=subprocess.DEVNULL)
        for _ in range(chance.randrange(6, 12)):
            while not int(ask("txpool_status")["pending"], 16):
                assert process.poll() is None
                time.sleep(0.001)
            ask("evm_mine")
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert opened(application) < 60
    ask("evm_setBlockGasLimit", hex(30_000_000))
    ask("evm_setAutomine", True)
    ask("evm_mine")
    found = imported(application, book(60))
    assert found.opened + found.already_open == 60
    assert opened(application) == 60
    loans = opened_loans(application.contracts, application.deployment.block)
    assert len({opening.id for opening in loans.values()}) == 60


# ------------------------------------------------------------------------------- what does not go


def test_a_lender_without_money_opens_nothing(chain: Application) -> None:
    currency = chain.sender.send(creation("TestDollar", 2)).contract
    result = deploy.deploy(chain.sender, replace(strict(), currency=currency), None)
    other = Application(Settings(), w3=chain.w3, deployment=result.deployment)
    with pytest.raises(InsufficientFunds, match="holds 0 of the currency") as poor:
        imported(other, book(3))
    assert "--lender" in str(poor.value)
    assert opened(other) == 0
    # With money for all of them, but no more, all are opened.
    needed = sum(row.principal for row in book(3) if isinstance(row, BookLoan))
    other.sender.send(other.contracts.currency.mint(other.sender.address, needed))
    assert imported(other, book(3)).opened == 3
    assert other.contracts.currency.balance_of(other.sender.address) == 0


def test_live_chains_take_no_simulated_borrowers(chain: Application) -> None:
    live = replace(chain.contracts, chain_id=1)
    with pytest.raises(LocalChainsOnly, match=r"simulated borrowers.*Ethereum"):
        next(importing.import_rows(live, chain.deployment, chain.sender, book(1)))


def test_a_node_that_stops_in_between(start_node: Callable[..., Node], tmp_path: Path) -> None:
    node = start_node()
    application = Application(Settings(deployments=tmp_path), rpc=node.url)
    deploy.deploy(application.sender, strict(), tmp_path)
    outcomes = importing.import_rows(
        application.contracts, application.deployment, application.sender, book(64)
    )
    assert isinstance(next(outcomes), OpenedRow)
    node.stop()
    with pytest.raises(ChainUnavailable):
        list(outcomes)


# -------------------------------------------------------------------------------- the command line


def test_the_command(node: Node, tmp_path: Path) -> None:
    run = CliRunner().invoke
    environment = {"DULY_DEPLOYMENTS": str(tmp_path), "DULY_RPC": node.url}
    early = run(cli, ["import", str(SAMPLE), "--limit", "3"], env=environment)
    assert early.exit_code == 1
    assert "nothing is deployed on chain 31337" in early.stderr
    assert "duly deploy" in early.stderr

    assert run(cli, ["deploy"], env=environment).exit_code == 0
    arguments = ["import", str(SAMPLE), "--limit", "5"]
    first = run(cli, arguments, env=environment)
    assert first.exit_code == 0, first.output
    assert "5 rows, 5 taken, 0 refused" in first.stdout
    assert "5 opened, 0 open already" in first.stdout
    second = run(cli, [*arguments, "--json", "--lender", "3"], env=environment)
    found = json.loads(second.stdout)
    assert (found["opened"], found["already_open"], found["taken"]) == (0, 5, 5)
    third = run(cli, ["import", str(SAMPLE), "--limit", "6", "--lender", "3", "--json"], env=environment)
    assert json.loads(third.stdout)["opened"] == 1

    missing = run(cli, ["import", str(tmp_path / "none.csv")], env=environment)
    assert missing.exit_code == 2
    assert "cannot be read" in missing.stderr
