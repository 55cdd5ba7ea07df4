"""Tokens with bad manners, lenders who fight their payments, signers who misbehave: each is tried."""

from enum import IntEnum

import brownie
import pytest
from support.clock import START
from support.offers import ZERO_ADDRESS, Status, loan_id
from support.reverts import reverts_with

AMOUNT = 100_000_000
SIGNATURE = b"\x51" * 65


class Manner(IntEnum):
    AGREE = 0
    REFUSE = 1
    REVERT = 2
    BURN_GAS = 3
    INTRUDE_WHEN_PAID = 4
    INTRUDE_WHEN_ASKED = 5


@pytest.fixture(scope="module")
def dollar(publisher):
    return brownie.HostileDollar.deploy(6, {"from": publisher})


@pytest.fixture(scope="module")
def intruder(publisher, dollar, ledger):
    """A contract with money, which it lets the ledger take."""
    intruder = brownie.Intruder.deploy({"from": publisher})
    dollar.mint(intruder, 10**12, {"from": publisher})
    intruder.execute(dollar, dollar.approve.encode_input(ledger, 2**256 - 1), {"from": publisher})
    return intruder


@pytest.fixture
def behave(intruder, ledger, publisher):
    def behave(manner, intrusion=b""):
        intruder.behave(manner, ledger, intrusion, {"from": publisher})

    return behave


@pytest.fixture
def acts(intruder, ledger, keeper):
    """Has the intruder call the ledger."""
    return lambda function, *args: intruder.execute(ledger, function.encode_input(*args), {"from": keeper})


@pytest.fixture
def turn_on(dollar, publisher):
    """One of the token's bad manners."""
    return lambda manner, *values: getattr(dollar, manner)(*values, {"from": publisher})


@pytest.fixture
def lent_by_it(ledger, terms, at_once, intruder, borrower):
    """A loan that the intruder lent."""

    def lent_by_it(**changes):
        offered = terms(lender=intruder, **{"policy": at_once, **changes})
        return ledger.open(offered, SIGNATURE, {"from": borrower}).return_value

    return lent_by_it


@pytest.fixture
def holds_what_is_claimable(ledger, dollar, lender, stranger, intruder):
    def holds_what_is_claimable():
        claimable = sum(ledger.claimable(actor) for actor in (lender, stranger, intruder))
        return dollar.balanceOf(ledger) == claimable

    return holds_what_is_claimable


# --- a token that calls back --------------------------------------------------------------------


def test_ledger_2_a_payment_within_a_held_payment_is_counted_once(
    ledger, open_loan, terms, sign, dollar, intruder, behave, acts, turn_on, record, lender, borrower,
    stranger, holds_what_is_claimable,
):  # fmt: skip
    one = open_loan()
    offered = terms(lender=stranger)
    other = ledger.open(offered, sign(offered, stranger), {"from": borrower}).return_value
    turn_on("setBlocked", lender, True)
    turn_on("setBlocked", stranger, True)
    turn_on("setCalled", intruder, True)
    behave(Manner.INTRUDE_WHEN_PAID, ledger.repay.encode_input(other, 40))
    acts(ledger.repay, one, 100)
    assert (intruder.tried(), intruder.succeeded()) == (1, 1)
    assert (record(one)["paid"], record(other)["paid"]) == (100, 40)
    assert (ledger.claimable(lender), ledger.claimable(stranger)) == (100, 40)
    assert holds_what_is_claimable()


def test_ledger_2_a_claim_within_a_held_payment_takes_nothing_from_it(
    ledger, open_loan, lent_by_it, dollar, intruder, behave, acts, turn_on, lender, borrower, stranger,
    holds_what_is_claimable,
):  # fmt: skip
    one, its_own = open_loan(), lent_by_it()
    turn_on("setBlocked", intruder, True)
    ledger.repay(its_own, 70, {"from": borrower})
    turn_on("setBlocked", intruder, False)
    turn_on("setBlocked", lender, True)
    turn_on("setCalled", intruder, True)
    behave(Manner.INTRUDE_WHEN_PAID, ledger.claim.encode_input(intruder))
    acts(ledger.repay, one, 100)
    assert (intruder.tried(), intruder.succeeded()) == (1, 1)
    assert (ledger.claimable(lender), ledger.claimable(intruder)) == (100, 0)
    assert holds_what_is_claimable()


INTRUSIONS = {
    "repay": lambda ledger, loan: ledger.repay.encode_input(loan, 55),
    "settle": lambda ledger, loan: ledger.settle.encode_input(loan, 2**256 - 1),
    "forgive": lambda ledger, loan: ledger.forgive.encode_input(loan, 55),
    "acknowledge": lambda ledger, loan: ledger.acknowledgeReceipt.encode_input(loan, 55, b"\1" * 32),
    "defer": lambda ledger, loan: ledger.defer.encode_input(loan, 2),
    "claim": lambda ledger, loan: ledger.claim.encode_input(ledger),
}


@pytest.mark.parametrize("intrusion", INTRUSIONS)
def test_ledger_2_what_a_lender_does_within_a_payment_counts_once(
    ledger, lent_by_it, dollar, intruder, behave, turn_on, record, owed, borrower, intrusion,
    holds_what_is_claimable,
):  # fmt: skip
    loan = lent_by_it()
    before = owed(loan)
    balances = [dollar.balanceOf(holder) for holder in (borrower, intruder)]
    turn_on("setCalled", intruder, True)
    behave(Manner.INTRUDE_WHEN_PAID, INTRUSIONS[intrusion](ledger, loan))
    done = ledger.repay(loan, AMOUNT, {"from": borrower})
    assert intruder.tried() == 1
    # There was nothing to claim; all else went through.
    assert intruder.succeeded() == (0 if intrusion == "claim" else 1)
    assert [dollar.balanceOf(holder) for holder in (borrower, intruder)] == [
        balances[0] - AMOUNT,
        balances[1] + AMOUNT,
    ]
    if intrusion == "defer":
        loan = done.events["LoanAmended"]["amendment"]
    left = {"settle": 0, "defer": before - AMOUNT, "claim": before - AMOUNT}
    assert abs(owed(loan) - left.get(intrusion, before - AMOUNT - 55)) <= 1
    assert holds_what_is_claimable()


def test_ledger_2_a_borrower_who_pays_back_within_opening_opens_nothing(
    ledger, terms, sign, dollar, intruder, behave, acts, turn_on, lender, keeper
):
    offered = terms(borrower=intruder)
    loan, received = loan_id(offered, ledger), offered.principal
    before = dollar.balanceOf(lender)
    turn_on("setCalled", intruder, True)
    for intrusion, back in (
        (ledger.rescind.encode_input(offered), received),
        (ledger.repay.encode_input(loan, 1), 1),
    ):
        behave(Manner.INTRUDE_WHEN_PAID, intrusion)
        with reverts_with("CurrencyTookAFee", received, received - back):
            acts(ledger.open, offered, sign(offered))
    # Nor can the same terms be opened twice, one within the other.
    behave(Manner.INTRUDE_WHEN_PAID, ledger.open.encode_input(offered, sign(offered)))
    acts(ledger.open, offered, sign(offered))
    assert (intruder.tried(), intruder.succeeded()) == (1, 0)
    assert dollar.balanceOf(lender) == before - received


def test_ledger_2_a_lender_undoes_nothing_within_opening(
    ledger, terms, dollar, intruder, behave, turn_on, record, borrower
):
    turn_on("setCalled", intruder, True)
    for intrude, goes_through, paid in (
        (lambda offered: ledger.cancelOffer.encode_input(offered), 0, 0),
        (lambda offered: ledger.defer.encode_input(loan_id(offered, ledger), 1), 0, 0),
        (lambda offered: ledger.forgive.encode_input(loan_id(offered, ledger), 7), 1, 7),
    ):
        offered = terms(lender=intruder)
        before = dollar.balanceOf(borrower), intruder.succeeded()
        behave(Manner.INTRUDE_WHEN_PAID, intrude(offered))
        loan = ledger.open(offered, SIGNATURE, {"from": borrower}).return_value
        assert intruder.succeeded() - before[1] == goes_through
        assert (record(loan)["status"], record(loan)["paid"]) == (Status.ACTIVE, paid)
        assert dollar.balanceOf(borrower) == before[0] + offered.principal
    assert intruder.tried() == 3


# --- lenders who do not want to be paid ---------------------------------------------------------


PAYMENTS = {
    "repay": lambda ledger, loan, offered: ledger.repay.encode_input(loan, AMOUNT),
    "settle": lambda ledger, loan, offered: ledger.settle.encode_input(loan, 2**256 - 1),
    "prepay": lambda ledger, loan, offered: ledger.prepay.encode_input(loan, AMOUNT),
    "rescind": lambda ledger, loan, offered: ledger.rescind.encode_input(offered),
}


@pytest.mark.parametrize("payment", PAYMENTS)
@pytest.mark.parametrize("manner", [Manner.REVERT, Manner.BURN_GAS, None], ids=["revert", "burn", "false"])
def test_ledger_3_no_lender_makes_a_loan_unpayable(
    ledger, terms, at_once, policy, dollar, intruder, behave, turn_on, borrower, payment, manner,
    holds_what_is_claimable,
):  # fmt: skip
    offered = terms(lender=intruder, policy=policy if payment == "rescind" else at_once)
    loan = ledger.open(offered, SIGNATURE, {"from": borrower}).return_value
    if manner is None:
        turn_on("setAnswersFalse", True)
        turn_on("setBlocked", intruder, True)
    else:
        turn_on("setCalled", intruder, True)
        behave(manner)
    before = dollar.balanceOf(borrower)
    done = ledger.multicall([PAYMENTS[payment](ledger, loan, offered)], {"from": borrower})
    held = done.events["PaymentHeld"]["amount"]
    assert before - dollar.balanceOf(borrower) == held == ledger.claimable(intruder) > 0
    assert holds_what_is_claimable()


# --- tokens that answer false, or take a fee ----------------------------------------------------


def test_a_token_that_answers_false_opens_nothing(ledger, terms, sign, dollar, turn_on, borrower):
    turn_on("setAnswersFalse", True)
    turn_on("setBlocked", borrower, True)
    offered = terms()
    with reverts_with("SafeERC20FailedOperation", dollar):
        ledger.open(offered, sign(offered), {"from": borrower})


def test_a_token_that_answers_false_takes_no_payment_for_nothing(
    ledger, open_loan, dollar, turn_on, lender, borrower, record
):
    loan = open_loan()
    turn_on("setAnswersFalse", True)
    for holder in (lender, ledger):
        turn_on("setBlocked", holder, True)
    with reverts_with("SafeERC20FailedOperation", dollar):
        ledger.repay(loan, AMOUNT, {"from": borrower})
    assert record(loan)["paid"] == 0


@pytest.mark.parametrize("fee", [0, 40_000_000], ids=["whole", "less the origination fee"])
def test_a_token_that_takes_a_fee_opens_nothing(ledger, terms, sign, turn_on, borrower, fee):
    offered = terms(origination_fee=fee)
    turn_on("setFee", 1)
    received = offered.principal - fee
    with reverts_with("CurrencyTookAFee", received, received - received // 10_000):
        ledger.open(offered, sign(offered), {"from": borrower})


def test_a_payment_counts_whole_whatever_the_token_takes(
    ledger, open_loan, dollar, turn_on, record, lender, borrower
):
    loan = open_loan()
    turn_on("setFee", 100)
    before = dollar.balanceOf(borrower), dollar.balanceOf(lender)
    ledger.repay(loan, AMOUNT, {"from": borrower})
    assert record(loan)["paid"] == AMOUNT == before[0] - dollar.balanceOf(borrower)
    assert dollar.balanceOf(lender) == before[1] + AMOUNT * 99 // 100


def test_ledger_2_a_held_payment_is_claimable_as_far_as_it_arrived(
    ledger, open_loan, dollar, turn_on, record, lender, borrower, keeper, holds_what_is_claimable
):
    loan = open_loan()
    turn_on("setBlocked", lender, True)
    ledger.repay(loan, AMOUNT, {"from": borrower})
    turn_on("setFee", 100)
    paid = ledger.repay(loan, AMOUNT, {"from": borrower})
    assert paid.events["PaymentHeld"]["amount"] == AMOUNT * 99 // 100
    assert record(loan)["paid"] == 2 * AMOUNT
    assert ledger.claimable(lender) == AMOUNT + AMOUNT * 99 // 100
    assert holds_what_is_claimable()
    turn_on("setFee", 0)
    ledger.claim(keeper, {"from": lender})
    assert dollar.balanceOf(ledger) == 0


def test_ledger_2_money_that_somebody_sent_is_no_payment(
    ledger, open_loan, dollar, turn_on, lender, borrower, stranger
):
    """What lies on the ledger without being owed to anyone is credited to nobody beyond what they are due."""
    loan = open_loan()
    dollar.transfer(ledger, 5_000, {"from": stranger})
    turn_on("setBlocked", lender, True)
    ledger.repay(loan, AMOUNT, {"from": borrower})
    assert ledger.claimable(lender) == AMOUNT == dollar.balanceOf(ledger) - 5_000


# --- signers ------------------------------------------------------------------------------------


@pytest.fixture
def intrusion(ledger):
    # Anybody may do this, and it would leave a trace.
    return ledger.appointServicer.encode_input("0x" + 40 * "9")


@pytest.mark.parametrize("manner", [Manner.REFUSE, Manner.REVERT, Manner.BURN_GAS, Manner.INTRUDE_WHEN_ASKED])
def test_a_signer_who_misbehaves_signed_nothing(
    ledger, terms, sign, open_loan, at_once, changed, lent_by_it, intruder, behave, intrusion, acts,
    borrower, lender, keeper, manner,
):  # fmt: skip
    as_lender, as_borrower = terms(lender=intruder), terms(borrower=intruder)
    its_own, owed_by_it = lent_by_it(), terms(borrower=intruder, policy=at_once)
    acts(ledger.open, owed_by_it, sign(owed_by_it))
    owed_by_it = loan_id(owed_by_it, ledger)
    loan, deadline = open_loan(), START + 10**6
    amended = changed(its_own, lender=intruder)
    its_amended = changed(owed_by_it, borrower=intruder)
    behave(manner, intrusion)

    with reverts_with("InvalidOffer", loan_id(as_lender, ledger), intruder):
        ledger.open(as_lender, SIGNATURE, {"from": borrower})
    with reverts_with("InvalidAcceptance", loan_id(as_borrower, ledger), intruder):
        ledger.openBySignature(as_borrower, sign(as_borrower), SIGNATURE, {"from": keeper})
    with reverts_with("InvalidAmendment", loan_id(amended, ledger), intruder):
        ledger.amend(amended, SIGNATURE, sign(amended, borrower, "Amendment"), {"from": keeper})
    with reverts_with("InvalidAmendment", loan_id(its_amended, ledger), intruder):
        ledger.amend(its_amended, sign(its_amended, lender, "Amendment"), SIGNATURE, {"from": keeper})
    with reverts_with("InvalidSignature", intruder, 0):
        ledger.repayBySignature(owed_by_it, 1, deadline, SIGNATURE, {"from": keeper})
    with reverts_with("InvalidSignature", intruder, 0):
        ledger.assign(loan, intruder, deadline, SIGNATURE, {"from": lender})
    assert ledger.servicerOf(intruder) == ZERO_ADDRESS

    # And the same things, when it agrees.
    behave(Manner.AGREE)
    ledger.open(as_lender, SIGNATURE, {"from": borrower})
    ledger.openBySignature(as_borrower, sign(as_borrower), SIGNATURE, {"from": keeper})
    ledger.amend(amended, SIGNATURE, sign(amended, borrower, "Amendment"), {"from": keeper})
    ledger.repayBySignature(owed_by_it, 1, deadline, SIGNATURE, {"from": keeper})
    ledger.assign(loan, intruder, deadline, SIGNATURE, {"from": lender})
    assert ledger.loanOf(loan)["lender"] == intruder
    assert ledger.loanOf(its_own)["status"] == Status.REPLACED
