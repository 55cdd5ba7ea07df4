"""Sending: nonces in order, refusals in words, nothing lost when a node forgets or stops."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from conftest import Node, embedded, strict
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from duly.bootstrap import Application
from duly.chain import clock, networks, sender
from duly.chain.contracts import LoanLedger, NotAContract, Token, creation
from duly.chain.errors import (
    ChainUnavailable,
    ContractError,
    InsufficientFunds,
    NodeError,
    NonceTaken,
    TransactionFailed,
    TransactionPending,
)
from duly.chain.offers import SigningDomain, is_signed_by_lender, loan_id, offer_hash, sign_offer
from duly.chain.sender import Receipt, Sender, created_address, simulate
from duly.config import Settings
from duly.domain import calendar
from duly.domain.consent import Channel
from duly.domain.loan import Status
from duly.domain.notice import Kind, Notice, Refusal, Said, SeldomSaid
from duly.domain.terms import Terms
from duly.services import deploy
from duly.services.importing import borrower_account, give_gas, lend_from, open_loan

UNKNOWN = bytes(31) + b"\x01"


@pytest.fixture(params=["embedded", "anvil"], scope="module")
def application(request: pytest.FixtureRequest) -> Iterator[Application]:
    """The contracts on each kind of chain: they tell refusals in different ways."""
    if request.param == "embedded":
        yield embedded()
        return
    node = Node().start()
    application = Application(Settings(), rpc=node.url)
    application.deployment = deploy.deploy(application.sender, strict(), None).deployment
    yield application
    node.stop()


@pytest.fixture
def lender(application: Application) -> Sender:
    lend_from(application.contracts, application.sender, 100_000_00, can_mint=True)
    return application.sender


_made = 0


@pytest.fixture
def borrower(application: Application) -> Sender:
    global _made
    _made += 1
    account = borrower_account(b"test", _made.to_bytes(32, "big"))
    give_gas(application.sender, [account.address])
    return application.sender.sibling(account)


@pytest.fixture
def terms(application: Application, lender: Sender, borrower: Sender) -> Terms:
    now = clock.next_block_time(application.w3)
    return Terms(
        lender=lender.address,
        borrower=borrower.address,
        principal=1_000_00,
        rate=112_200,
        instalments=12,
        first_due=calendar.add_months(calendar.local_day(now, 0), 1),
        grace_days=15,
        policy=1,
        expires=now + 86_400,
        salt=_made.to_bytes(32, "big"),
    )


def domain(application: Application) -> SigningDomain:
    return SigningDomain(application.chain_id, application.contracts.ledger.address)


def offered(application: Application, terms: Terms, by: LocalAccount | None = None) -> tuple[Terms, bytes]:
    return terms, sign_offer(by or application.account, terms, domain(application))


def refused(send: Callable[[], object], name: str) -> ContractError:
    with pytest.raises(ContractError) as caught:
        send()
    assert caught.value.name == name, str(caught.value)
    return caught.value


# ---------------------------------------------------------------------------------------- a loan


def test_a_loan_is_opened_paid_and_closed(
    application: Application, lender: Sender, borrower: Sender, terms: Terms
) -> None:
    ledger, token = application.contracts.ledger, application.contracts.currency
    before = token.balance_of(lender.address)
    loan = open_loan(application.contracts, lender.account, borrower, terms)
    assert loan == loan_id(terms, domain(application)) == ledger.id_of(terms)
    assert token.balance_of(borrower.address) == terms.principal
    assert before - token.balance_of(lender.address) == terms.principal

    found = ledger.loan_of(loan, terms)
    assert found.status is Status.ACTIVE
    assert ledger.position_of(loan).borrower == borrower.address
    assert ledger.parties_of(loan).lender == lender.address
    assert sum(ledger.instalment_of(loan, k).principal for k in range(1, 13)) == terms.principal
    assert ledger.record_of(loan).instalment == ledger.instalment_of(loan, 1).amount

    borrower.send(token.mint(borrower.address, found.total))
    borrower.send(token.approve(ledger.address, found.total))
    borrower.send(ledger.repay(loan, found.instalment))
    owed = found.total - found.instalment
    assert ledger.payoff(loan) <= owed
    borrower.send(ledger.repay(loan, 10 * found.total))
    assert ledger.record_of(loan).status is Status.REPAID
    assert ledger.delinquency(loan).overdue == 0

    closed = refused(lambda: borrower.send(ledger.repay(loan, 1)), "LoanNotActive")
    assert closed.arguments == {"id": loan, "status": Status.REPAID}
    assert "the loan is not active" in str(closed)
    assert "status REPAID" in str(closed)


def test_a_payment_of_nothing_or_without_money(
    application: Application, lender: Sender, borrower: Sender, terms: Terms
) -> None:
    ledger, token = application.contracts.ledger, application.contracts.currency
    loan = open_loan(application.contracts, lender.account, borrower, terms)
    refused(lambda: borrower.send(ledger.repay(loan, 0)), "ZeroAmount")
    lacking = refused(lambda: borrower.send(ledger.repay(loan, 500)), "ERC20InsufficientAllowance")
    assert lacking.arguments["needed"] == 500
    borrower.send(token.transfer(lender.address, terms.principal))
    borrower.send(token.approve(ledger.address, 500))
    broke = refused(lambda: borrower.send(ledger.repay(loan, 500)), "ERC20InsufficientBalance")
    assert (broke.arguments["balance"], broke.arguments["needed"]) == (0, 500)
    assert broke.arguments["sender"] == borrower.address
    refused(lambda: borrower.send(ledger.repay(UNKNOWN, 5)), "UnknownLoan")


def test_offers_that_are_none(
    application: Application, lender: Sender, borrower: Sender, terms: Terms
) -> None:
    ledger = application.contracts.ledger
    now = clock.next_block_time(application.w3)

    def open_with(terms: Terms, signature: bytes) -> Callable[[], Receipt]:
        return lambda: borrower.send(ledger.open(terms, signature))

    forged = offered(application, terms, borrower.account)
    assert not is_signed_by_lender(forged[0], domain(application), forged[1])
    wrong = refused(open_with(*forged), "InvalidOffer")
    assert wrong.arguments == {"id": ledger.id_of(terms), "lender": lender.address}
    refused(open_with(terms, b""), "InvalidOffer")
    refused(open_with(terms, bytes(65)), "InvalidOffer")

    # The lender's own signature, for other terms, another ledger, another chain.
    _, signature = offered(application, terms)
    refused(open_with(replace(terms, rate=1), signature), "InvalidOffer")
    elsewhere = replace(domain(application), chain_id=1)
    refused(open_with(terms, sign_offer(lender.account, terms, elsewhere)), "InvalidOffer")
    other = SigningDomain(application.chain_id, lender.address)
    refused(open_with(terms, sign_offer(lender.account, terms, other)), "InvalidOffer")

    late = refused(open_with(*offered(application, replace(terms, expires=now - 10))), "OfferExpired")
    assert late.arguments["expired"] == now - 10
    somebody = application.sender.sibling(borrower_account(b"test", b"else".ljust(32)))
    give_gas(application.sender, [somebody.address])
    thief = refused(lambda: somebody.send(ledger.open(terms, signature)), "NotBorrower")
    assert thief.arguments["borrower"] == borrower.address

    borrower.send(ledger.open(terms, signature))
    refused(open_with(terms, signature), "LoanExists")


def test_terms_that_the_policy_forbids(
    application: Application, lender: Sender, borrower: Sender, terms: Terms
) -> None:
    ledger = application.contracts.ledger
    limits = application.contracts.policy_book.lending_of(1)

    def name(**changes: int) -> tuple[ContractError, str]:
        with pytest.raises(ContractError) as caught:
            borrower.send(ledger.open(*offered(application, replace(terms, **changes))))
        return caught.value, caught.value.name

    error, found = name(rate=limits.apr_cap + 1)
    assert found == "AprAboveCap"
    assert (error.arguments["received"], error.arguments["cap"]) == (terms.principal, limits.apr_cap)
    assert name(policy=99)[1] == "UnknownPolicy"
    assert name(late_fee=10**9)[1] == "LateFeeAboveCap"
    assert name(first_due=terms.first_due - 1)[1] == "FirstDueTooEarly"
    assert name(first_due=terms.first_due + 400)[1] == "FirstDueTooLate"
    assert name(principal=5, instalments=600)[1] in ("InstalmentTooCoarse", "TermsOutOfRange")


def test_a_lender_without_money(application: Application, borrower: Sender, terms: Terms) -> None:
    poor = borrower_account(b"test", b"poor".ljust(32))
    mine = replace(terms, lender=poor.address.lower())
    signed = application.contracts.ledger.open(*offered(application, mine, poor))
    refused(lambda: borrower.send(signed), "ERC20InsufficientAllowance")
    poor_sender = application.sender.sibling(poor)
    with pytest.raises(InsufficientFunds, match="holds 0 of the currency"):
        lend_from(application.contracts, poor_sender, 5, can_mint=False)


def test_a_notice_that_is_refused_names_the_reason(
    application: Application, lender: Sender, borrower: Sender, terms: Terms
) -> None:
    notices = application.contracts.notices
    loan = open_loan(application.contracts, lender.account, borrower, terms)
    notice = Notice(loan, Kind.LOAN_OPENED, 0, terms.principal, Channel.EMAIL, UNKNOWN)
    assert notices.refusal(notice, lender.address).reason is Refusal.NO_CONTACT
    error = refused(lambda: lender.send(notices.serve(notice)), "Refused")
    assert error.arguments["reason"] is Refusal.NO_CONTACT
    assert "reason NO_CONTACT" in str(error)
    assert notices.said_of(loan) == (Said(), SeldomSaid())
    assert notices.reminders_of(borrower.address) == ()
    assert notices.earliest(loan, Kind.LOAN_OPENED, 0, Channel.EMAIL) is None


# ------------------------------------------------------------------------------------- many at once


def test_many_are_sent_in_order_and_a_refusal_stops_no_other(application: Application) -> None:
    token, me = application.contracts.currency, application.sender
    receiver = "0x" + "ab" * 20
    before, nonce = token.balance_of(receiver), transactions(me)
    calls = [token.mint(receiver, n) for n in range(1, 21)]
    calls.insert(7, token.transfer("0x" + 40 * "0", 1))
    seen: list[object] = []
    outcomes = me.send_many(calls, window=6, done=seen.append)
    assert outcomes == seen
    assert [type(outcome) for outcome in outcomes].count(Receipt) == 20
    assert isinstance(outcomes[7], ContractError)
    assert outcomes[7].name == "ERC20InvalidReceiver"
    assert token.balance_of(receiver) - before == 210
    assert transactions(me) == nonce + 20
    blocks = [outcome.block for outcome in outcomes if isinstance(outcome, Receipt)]
    assert blocks == sorted(blocks)


def test_a_refusal_that_only_shows_when_it_is_mined(application: Application) -> None:
    token, me = application.contracts.currency, application.sender
    nonce = transactions(me)
    calls = [token.transfer("0x" + 40 * "0", 1), token.mint(me.address, 1)]
    first, second = me.send_many(calls, gas=100_000)
    assert isinstance(first, ContractError)
    assert first.name == "ERC20InvalidReceiver"
    assert isinstance(second, Receipt)
    assert transactions(me) == nonce + 2


def test_gas_that_runs_out(application: Application) -> None:
    me = application.sender
    with pytest.raises(TransactionFailed, match="its 30000 gas ran out"):
        me.send(application.contracts.currency.mint(me.address, 1), gas=30_000)
    me.send(application.contracts.currency.mint(me.address, 1))


def test_a_sender_recovers_when_its_key_was_used_elsewhere(application: Application) -> None:
    token, me = application.contracts.currency, application.sender
    other = Sender(application.w3, application.account)
    me.send(token.mint(me.address, 1))
    other.send(token.mint(me.address, 1))
    signed = me.prepare(token.mint(me.address, 1))
    other.send(token.mint(me.address, 1))
    # What was signed for this nonce alone never counts.
    with pytest.raises(NonceTaken):
        me.submit(signed)
    nonce = transactions(me)
    me.send(token.mint(me.address, 1))
    assert transactions(me) == nonce + 1


def test_submitting_twice_counts_once(application: Application) -> None:
    token, me = application.contracts.currency, application.sender
    receiver = "0x" + "ac" * 20
    signed = me.prepare(token.mint(receiver, 3))
    me.wait(me.submit(signed))
    me.wait(me.submit(signed))
    assert token.balance_of(receiver) == 3
    me.send(token.mint(receiver, 1))


def test_what_is_created_is_known_before_it_is(application: Application) -> None:
    me = application.sender
    signed = me.prepare(creation("TestDollar", 0))
    assert signed.creates == created_address(me.address, signed.nonce)
    assert me.wait(me.submit(signed)).contract == signed.creates


def test_what_is_no_such_contract(application: Application) -> None:
    with pytest.raises(NotAContract, match="does not answer as LoanLedger"):
        LoanLedger(application.w3, "0x" + "12" * 20).currency()
    with pytest.raises((NotAContract, ContractError)):
        Token(application.w3, application.contracts.ledger.address).symbol()
    with pytest.raises(TypeError, match=r"LoanLedger\.repay"):
        application.contracts.ledger.repay(b"short", -1)


def test_who_cannot_pay_for_gas(application: Application) -> None:
    poor = Sender(application.w3, Account.from_key(bytes(31) + b"\x55"))
    with pytest.raises(InsufficientFunds, match="cannot pay"):
        poor.send(application.contracts.currency.mint(poor.address, 1))
    with pytest.raises(InsufficientFunds):
        give_gas(poor, ["0x" + "ad" * 20])


def test_simulating_sends_nothing(application: Application) -> None:
    me, token = application.sender, application.contracts.currency
    nonce = transactions(me)
    simulate(application.w3, token.mint(me.address, 1), me.address)
    refused(
        lambda: simulate(application.w3, token.transfer("0x" + 40 * "0", 1), me.address),
        "ERC20InvalidReceiver",
    )
    assert transactions(me) == nonce


def test_signatures_hash_as_the_contract_does(application: Application, terms: Terms) -> None:
    ledger = application.contracts.ledger
    for changed in (terms, replace(terms, calendar_offset=-48, late_fee=7, agreement_hash=UNKNOWN)):
        assert offer_hash(changed, domain(application)) == ledger.offer_hash(changed)
        assert loan_id(changed, domain(application)) == ledger.id_of(changed)


def test_time_moves_forward_only(application: Application) -> None:
    w3 = application.w3
    now = application.clock.now()
    clock.travel(w3, now + 86_400)
    assert application.clock.now() == now + 86_400
    assert clock.next_block_time(w3) >= now + 86_400
    with pytest.raises(NodeError, match="already"):
        clock.travel(w3, now)


# ------------------------------------------------------------------------------------------- nodes


def test_a_transaction_that_is_not_mined(node: Node) -> None:
    w3 = networks.connect(node.url)
    me = Sender(w3, networks.development_account(w3))
    token = Token(w3, me.send(creation("TestDollar", 2)).contract or "")
    w3.provider.make_request("evm_setAutomine", [False])  # type: ignore[arg-type]
    with pytest.raises(TransactionPending, match="not mined within"):
        Sender(w3, me.account, timeout=0.5).send(token.mint(me.address, 1))
    # Another program with the same key does not replace it unseen.
    with pytest.raises((NodeError, TransactionPending)):
        Sender(w3, me.account, timeout=0.5).send(token.mint(me.address, 2), gas=100_000)
    w3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    w3.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]
    assert token.balance_of(me.address) == 1
    me.send(token.mint(me.address, 1))


def test_a_node_that_forgot_a_transaction_gets_it_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_REBROADCAST_AFTER", 0.2)
    w3 = networks.connect(node.url)
    me = Sender(w3, networks.development_account(w3))
    token = Token(w3, me.send(creation("TestDollar", 2)).contract or "")
    w3.provider.make_request("evm_setAutomine", [False])  # type: ignore[arg-type]
    signed = me.submit(me.prepare(token.mint(me.address, 1)))
    w3.provider.make_request("anvil_dropTransaction", ["0x" + signed.hash.hex()])  # type: ignore[arg-type]
    w3.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]
    assert me.wait(signed).transaction == signed.hash
    assert token.balance_of(me.address) == 1


def test_a_node_that_stops(node: Node) -> None:
    w3 = networks.connect(node.url)
    me = Sender(w3, networks.development_account(w3))
    token = Token(w3, me.send(creation("TestDollar", 2)).contract or "")
    node.stop()
    with pytest.raises(ChainUnavailable, match="does not answer") as down:
        token.symbol()
    assert "DULY_RPC" in str(down.value)
    with pytest.raises(ChainUnavailable):
        me.send(token.mint(me.address, 1), gas=100_000)


def test_a_chain_in_the_process_can_begin_in_the_past() -> None:
    w3: Web3 = networks.in_process(timestamp=1_200_000_000)
    assert clock.ChainClock(w3).now() == 1_200_000_000
    me = Sender(w3, networks.development_account(w3))
    me.send(creation("TestDollar", 2))
    assert clock.ChainClock(w3).now() == 1_200_000_001
    clock.travel(w3, 1_200_086_400)
    me.send(creation("TestDollar", 2))
    assert clock.ChainClock(w3).now() == 1_200_086_401
    assert clock.next_block_time(w3) == 1_200_086_402


def transactions(me: Sender) -> int:
    return me.w3.eth.get_transaction_count(me.account.address)
