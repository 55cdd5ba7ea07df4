import pytest
from support.clock import DAY, START
from support.reverts import reverts_with


@pytest.fixture
def loans(open_loan):
    return [open_loan() for _ in range(3)]


def test_a_borrower_pays_several_loans_at_once(ledger, loans, dollar, borrower, lender, record):
    before = dollar.balanceOf(lender)
    amounts = [100, 200, 300]
    calls = [ledger.repay.encode_input(loan, amount) for loan, amount in zip(loans, amounts, strict=True)]
    paid = ledger.multicall(calls, {"from": borrower})
    assert [record(loan)["paid"] for loan in loans] == amounts
    assert [event["payer"] for event in paid.events["Repaid"]] == [borrower] * 3
    assert dollar.balanceOf(lender) == before + 600


def test_all_or_nothing(ledger, loans, borrower, record):
    calls = [ledger.repay.encode_input(loans[0], 100), ledger.repay.encode_input(b"\3" * 32, 100)]
    with reverts_with("UnknownLoan", b"\3" * 32):
        ledger.multicall(calls, {"from": borrower})
    assert record(loans[0])["paid"] == 0


def test_the_sender_has_their_own_rights_only(ledger, loans, lender, borrower, stranger):
    for call in (
        ledger.forgive.encode_input(loans[0], 1),
        ledger.defer.encode_input(loans[0], 1),
        ledger.acknowledgeReceipt.encode_input(loans[0], 1, b"\1" * 32),
    ):
        for nested in (call, ledger.multicall.encode_input([call])):
            with reverts_with("NotLender", stranger, lender):
                ledger.multicall([nested], {"from": stranger})


def test_a_relayer_sends_several_payments_at_once(ledger, loans, sign_repayment, borrower, keeper, record):
    deadline = START + DAY
    calls = [
        ledger.repayBySignature.encode_input(loan, 50, deadline, sign_repayment(loan, 50, nonce, deadline))
        for nonce, loan in enumerate(loans)
    ]
    ledger.multicall(calls, {"from": keeper})
    assert [record(loan)["paid"] for loan in loans] == [50] * 3
    assert ledger.nonces(borrower) == 3


def test_a_payment_is_counted_once_in_a_transaction(ledger, loans, dollar, borrower, lender, record):
    before = dollar.balanceOf(lender)
    total = record(loans[0])["total"]
    calls = [ledger.repay.encode_input(loans[0], amount) for amount in (total - 5, 2**200)]
    ledger.multicall(calls, {"from": borrower})
    assert dollar.balanceOf(lender) == before + total
