import brownie
import pytest
from support.clock import DAY, START
from support.offers import Status, sign_consent
from support.reverts import reverts_with

AMOUNT = 1_000_000
DEADLINE = START + DAY


@pytest.fixture
def loan(open_loan):
    return open_loan()


@pytest.fixture(scope="module")
def refuses(ledger, keeper, borrower):
    """Relaying this is refused as not signed by the borrower, with this nonce being the next."""

    def refuses(loan, signature, amount=AMOUNT, deadline=DEADLINE, nonce=0):
        with reverts_with("InvalidSignature", borrower, nonce):
            ledger.repayBySignature.call(loan, amount, deadline, signature, {"from": keeper})

    return refuses


def test_anyone_relays_a_payment(ledger, loan, sign_repayment, dollar, borrower, lender, keeper):
    before = [dollar.balanceOf(holder) for holder in (borrower, lender, keeper)]
    signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE)
    payment = ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})
    assert payment.return_value == AMOUNT
    assert payment.events["Repaid"] == {"id": loan, "payer": borrower, "amount": AMOUNT, "paid": AMOUNT}
    assert [dollar.balanceOf(holder) for holder in (borrower, lender, keeper)] == [
        before[0] - AMOUNT,
        before[1] + AMOUNT,
        before[2],
    ]
    assert ledger.nonces(borrower) == 1


def test_a_payment_is_relayed_once(ledger, loan, sign_repayment, refuses, keeper):
    signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE)
    ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})
    refuses(loan, signature, nonce=1)


def test_payments_are_relayed_in_order(ledger, loan, sign_repayment, refuses, keeper, record):
    first, second = (sign_repayment(loan, AMOUNT, nonce, DEADLINE) for nonce in (0, 1))
    refuses(loan, second)
    for signature in (first, second):
        ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})
    assert record(loan)["paid"] == 2 * AMOUNT


def test_a_signature_holds_until_its_deadline(ledger, loan, sign_repayment, clock, keeper):
    signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE)
    clock.to(DEADLINE)
    ledger.repayBySignature.call(loan, AMOUNT, DEADLINE, signature, {"from": keeper})
    clock.to(DEADLINE + 1)
    with reverts_with("SignatureExpired", DEADLINE, DEADLINE + 1):
        ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})


def test_a_signature_holds_for_nothing_else(
    ledger, loan, open_loan, terms, sign_repayment, refuses, key_of, borrower, keeper, dollar
):
    other = open_loan()
    signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE)
    refuses(other, signature)
    refuses(loan, signature, amount=AMOUNT + 1)
    refuses(loan, signature, deadline=DEADLINE + 1)
    refuses(loan, sign_repayment(loan, AMOUNT, deadline=DEADLINE, signer=keeper))
    refuses(loan, sign_repayment(loan, AMOUNT, deadline=DEADLINE, contract=dollar))
    refuses(loan, sign_repayment(loan, AMOUNT, deadline=DEADLINE, chain_id=1))
    refuses(loan, sign_consent("Acceptance", terms(), key_of(borrower), ledger))
    ledger.repayBySignature.call(loan, AMOUNT, DEADLINE, signature, {"from": keeper})


def test_an_unknown_loan_takes_no_payment(ledger, sign_repayment, keeper):
    nobody = b"\3" * 32
    with reverts_with("UnknownLoan", nobody):
        ledger.repayBySignature(
            nobody, AMOUNT, DEADLINE, sign_repayment(nobody, AMOUNT, deadline=DEADLINE), {"from": keeper}
        )


def test_a_repaid_loan_leaves_the_nonce(ledger, loan, sign_repayment, borrower, keeper):
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE)
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})
    assert ledger.nonces(borrower) == 0


def test_ledger_3_only_what_is_owed_is_taken(ledger, loan, sign_repayment, record, keeper):
    total = record(loan)["total"]
    signature = sign_repayment(loan, 2**200, deadline=DEADLINE)
    payment = ledger.repayBySignature(loan, 2**200, DEADLINE, signature, {"from": keeper})
    assert payment.return_value == total
    assert record(loan)["status"] == Status.REPAID


def test_the_borrowers_allowance_pays(ledger, loan, sign_repayment, dollar, borrower, keeper):
    dollar.approve(ledger, AMOUNT - 1, {"from": borrower})
    signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE)
    with reverts_with("ERC20InsufficientAllowance", ledger, AMOUNT - 1, AMOUNT):
        ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})


def test_a_contract_pays_by_its_owners_signature(
    ledger, terms, sign, sign_repayment, dollar, borrower, stranger, keeper
):
    wallet = brownie.SignerWallet.deploy(borrower, {"from": borrower})
    wallet.approve(dollar, ledger, AMOUNT, {"from": borrower})
    offered = terms(borrower=wallet)
    acceptance = sign(offered, borrower, "Acceptance")
    loan = ledger.openBySignature(offered, sign(offered), acceptance, {"from": keeper}).return_value
    with reverts_with("InvalidSignature", wallet, 0):
        signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE, signer=stranger)
        ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})
    signature = sign_repayment(loan, AMOUNT, deadline=DEADLINE)
    paid = ledger.repayBySignature(loan, AMOUNT, DEADLINE, signature, {"from": keeper})
    assert paid.events["Repaid"]["payer"] == wallet
    assert (ledger.nonces(wallet), ledger.nonces(borrower)) == (1, 0)
