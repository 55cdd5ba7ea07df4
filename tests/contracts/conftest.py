"""Actors, deployed contracts, builders: what every test of the contracts starts from."""

import gc
import itertools
import time

import brownie
import pytest
from brownie.network.transaction import TransactionReceipt
from eth_account import Account
from support.clock import DAY, START, Clock
from support.offers import ZERO_HASH, Contact, Frequency, Lending, Schedule, Terms, sign_consent
from support.oracle import local_day, months_later

# The accounts that Anvil is born with. Signing needs their keys, which Brownie does not tell.
MNEMONIC = "test test test test test test test test test test test junk"
ROLES = ("publisher", "lender", "borrower", "servicer", "keeper", "stranger", "assignee")
PLENTY = 10**15


@pytest.fixture(scope="session", autouse=True)
def _quick_snapshots():
    # Brownie collects garbage after every return to a snapshot; what was loaded at the start need not be
    # searched then.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _quick_calls():
    # web3.py would ask for the chain's id before every call.
    brownie.web3.middleware_onion.remove("validation")


@pytest.fixture(scope="session", autouse=True)
def _late_receipts():
    # Anvil answers before it has mined; then it raises the sender's nonce, and last it keeps the receipt.
    # Brownie asks for both. Between the two it takes the transaction for dropped ("Tx dropped without known
    # replacement"), before them it sleeps for a second. So it may ask only when the receipt is there.
    confirm = TransactionReceipt._await_confirmation

    def confirm_what_was_mined(receipt, *arguments, **named):
        end = time.monotonic() + 60
        question = ("eth_getTransactionReceipt", [receipt.txid])
        while not brownie.web3.provider.make_request(*question).get("result") and time.monotonic() < end:
            time.sleep(0.002)
        confirm(receipt, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionReceipt, "_await_confirmation", confirm_what_was_mined)
        yield


@pytest.fixture(scope="module", autouse=True)
def _from_the_start(module_isolation, clock):
    clock.to(START)


@pytest.fixture(autouse=True)
def _isolated(_from_the_start, fn_isolation):
    """Every test leaves the chain as it found it."""


@pytest.fixture(scope="session")
def clock():
    return Clock()


# --- actors -------------------------------------------------------------------------------------


def _actor(role):
    return brownie.accounts[1 + ROLES.index(role)]


@pytest.fixture(scope="session")
def publisher():
    """Deploys the contracts and publishes policies."""
    return _actor("publisher")


@pytest.fixture(scope="session")
def lender():
    return _actor("lender")


@pytest.fixture(scope="session")
def borrower():
    return _actor("borrower")


@pytest.fixture(scope="session")
def servicer():
    return _actor("servicer")


@pytest.fixture(scope="session")
def keeper():
    """Pokes and relays for others, with no rights of its own."""
    return _actor("keeper")


@pytest.fixture(scope="session")
def stranger():
    return _actor("stranger")


@pytest.fixture(scope="session")
def assignee():
    """Takes over a lender's claim."""
    return _actor("assignee")


@pytest.fixture(scope="session")
def key_of():
    """The private key of an actor."""
    Account.enable_unaudited_hdwallet_features()
    keys = {}
    for role in ROLES:
        path = f"m/44'/60'/0'/0/{1 + ROLES.index(role)}"
        account = Account.from_mnemonic(MNEMONIC, account_path=path)
        assert account.address == _actor(role).address
        keys[account.address] = account.key
    return lambda actor: keys[str(actor)]


# --- contracts ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dollar(publisher):
    """The currency. A module that needs another overrides this."""
    return brownie.TestDollar.deploy(6, {"from": publisher})


@pytest.fixture(scope="module")
def policy_book(publisher):
    return brownie.PolicyBook.deploy(publisher, {"from": publisher})


@pytest.fixture(scope="module")
def desk(publisher, policy_book):
    """The desk for grievances; `notices` binds it."""
    return brownie.GrievanceDesk.deploy(policy_book, {"from": publisher})


@pytest.fixture(scope="module")
def ledger(publisher, lender, borrower, stranger, dollar, policy_book, desk):
    """The ledger, with a lender, a borrower and a stranger who have money and let the ledger take it."""
    ledger = brownie.LoanLedger.deploy(dollar, policy_book, desk, {"from": publisher})
    for holder in (lender, borrower, stranger):
        dollar.mint(holder, PLENTY, {"from": publisher})
        dollar.approve(ledger, 2**256 - 1, {"from": holder})
    return ledger


@pytest.fixture(scope="module")
def notices(publisher, ledger, policy_book, desk):
    """The gate. The desk is bound to it, and to the ledger."""
    notices = brownie.NoticeRegistry.deploy(ledger, policy_book, desk, {"from": publisher})
    desk.bind(ledger, notices, {"from": publisher})
    return notices


@pytest.fixture(scope="module")
def consents(notices):
    """The registry of contacts and consents, which the gate made."""
    return brownie.ConsentRegistry.at(notices.consents())


# --- builders -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def publish(policy_book, publisher):
    """Publishes a policy and gives its number."""

    def publish(lending=None, contact=None):
        transaction = policy_book.publish(
            lending or Lending(), contact or Contact(), b"\1" * 32, b"\2" * 32, {"from": publisher}
        )
        return transaction.events["PolicyPublished"]["policy"]

    return publish


@pytest.fixture(scope="module")
def policy(publish):
    """An ordinary policy: up to 24 %, reminders between 9 and 19 o'clock, three a week."""
    return publish()


@pytest.fixture(scope="module")
def terms(lender, borrower, policy, clock):
    """Builds terms: ordinary ones, save for what is named."""
    salts = itertools.count(1)

    def terms(**changes):
        offset = changes.get("calendar_offset", 32)
        ordinary = Terms(
            lender=str(lender),
            borrower=str(borrower),
            principal=1_200_000_000,
            origination_fee=0,
            late_fee=5_000_000,
            rate=120_000,
            instalments=12,
            first_due=months_later(local_day(clock.now(), max(-48, min(56, offset))), 1),
            schedule=Schedule.LEVEL,
            frequency=Frequency.MONTHLY,
            calendar_offset=offset,
            grace_days=5,
            policy=policy,
            expires=clock.now() + 7 * DAY,
            agreement_hash=b"\xaa" * 32,
            replaces=ZERO_HASH,
            salt=next(salts).to_bytes(32, "big"),
        )
        return ordinary._replace(**{name: _plain(value) for name, value in changes.items()})

    return terms


def _plain(value):
    return value if isinstance(value, (int, bytes)) else str(value)


@pytest.fixture(scope="module")
def sign(lender, key_of, ledger):
    """An actor's signature under an offer, or another consent; the lender's where nobody is named."""
    return lambda terms, actor=None, consent="Offer": sign_consent(
        consent, terms, key_of(actor or lender), ledger
    )


@pytest.fixture(scope="module")
def open_loan(ledger, terms, sign):
    """Opens a loan on ordinary terms, save for what is named, and gives its id."""

    def open_loan(**changes):
        offered = terms(**changes)
        return ledger.open(offered, sign(offered), {"from": offered.borrower}).return_value

    return open_loan


@pytest.fixture(scope="module")
def consenting(_from_the_start, consents, borrower):
    """The borrower can be reached by e-mail, and lives by UTC+8 the year round."""
    consents.register(0, b"\xc0" * 32, 32, 32, {"from": borrower})
    consents.grant(0, {"from": borrower})


@pytest.fixture(scope="module")
def lodge(notices, desk, borrower):
    """Lodges a grievance, as the borrower where nobody else is named."""
    return lambda loan, grievance, sender=None: desk.lodge(loan, grievance, {"from": sender or borrower})


@pytest.fixture(scope="module")
def withdraw(desk, borrower):
    return lambda loan, grievance: desk.withdraw(loan, grievance, {"from": borrower})


@pytest.fixture(scope="module")
def answer(notices, lender, consenting):
    """Serves the answer to a dispute or a hardship in the app, as the lender."""

    def answer(loan, grievance, sender=lender):
        return notices.serve((loan, 12 + grievance, 0, 0, 3, b"\xcc" * 32), {"from": sender})

    return answer
