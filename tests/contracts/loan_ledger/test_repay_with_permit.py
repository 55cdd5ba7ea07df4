import pytest
from support.clock import DAY, START
from support.offers import Status, sign_instruction, split
from support.reverts import reverts_with

AMOUNT = 100_000_000


@pytest.fixture
def loan(open_loan, dollar, ledger, borrower):
    loan = open_loan()
    dollar.approve(ledger, 0, {"from": borrower})
    return loan


@pytest.fixture(scope="module")
def permit(dollar, ledger, key_of, borrower):
    """What `repayWithPermit` takes after the amount: the borrower's permit."""

    def permit(amount=AMOUNT, deadline=START + DAY, nonce=0, owner=borrower, signer=None, spender=ledger):
        values = (str(owner), str(spender), amount, nonce, deadline)
        signature = sign_instruction("Permit", values, key_of(signer or owner), dollar, name="Test Dollar")
        return deadline, *split(signature)

    return permit


def test_a_permit_pays_without_an_allowance(ledger, loan, permit, dollar, borrower, lender):
    before = dollar.balanceOf(lender)
    payment = ledger.repayWithPermit(loan, AMOUNT, *permit(), {"from": borrower})
    assert payment.return_value == AMOUNT
    assert payment.events["Repaid"]["payer"] == borrower
    assert dollar.balanceOf(lender) == before + AMOUNT
    assert (dollar.nonces(borrower), dollar.allowance(borrower, ledger)) == (1, 0)


def test_a_front_runner_who_uses_the_permit_stops_nothing(ledger, loan, permit, dollar, borrower, stranger):
    signed = permit()
    dollar.permit(borrower, ledger, AMOUNT, *signed, {"from": stranger})
    assert ledger.repayWithPermit(loan, AMOUNT, *signed, {"from": borrower}).return_value == AMOUNT


@pytest.mark.parametrize(
    "defect",
    [
        {"deadline": START - 1},
        {"amount": AMOUNT - 1},
        {"nonce": 1},
        {"owner": "stranger"},
        {"signer": "stranger"},
        {"spender": "stranger"},
    ],
    ids=lambda defect: next(iter(defect)),
)
def test_a_permit_that_fails_is_ignored_where_the_allowance_suffices(
    ledger, loan, permit, dollar, borrower, request, defect
):
    defect = {name: request.getfixturevalue(v) if isinstance(v, str) else v for name, v in defect.items()}
    signed = permit(**defect)
    with reverts_with("ERC20InsufficientAllowance", ledger, 0, AMOUNT):
        ledger.repayWithPermit.call(loan, AMOUNT, *signed, {"from": borrower})
    dollar.approve(ledger, AMOUNT, {"from": borrower})
    assert ledger.repayWithPermit(loan, AMOUNT, *signed, {"from": borrower}).return_value == AMOUNT
    assert dollar.allowance(borrower, ledger) == 0


def test_a_permit_moves_its_own_holders_money_only(ledger, loan, permit, dollar, borrower, stranger):
    """A stranger who sends the borrower's permit pays themselves."""
    before = dollar.balanceOf(borrower)
    ledger.repayWithPermit(loan, AMOUNT, *permit(), {"from": stranger})
    assert dollar.balanceOf(borrower) == before
    assert (dollar.nonces(borrower), dollar.allowance(borrower, ledger)) == (0, 0)


def test_ledger_3_only_what_is_owed_is_taken(ledger, loan, permit, dollar, borrower, record):
    total = record(loan)["total"]
    payment = ledger.repayWithPermit(loan, total + 5, *permit(total + 5), {"from": borrower})
    assert payment.return_value == total
    assert dollar.allowance(borrower, ledger) == 5
    assert record(loan)["status"] == Status.REPAID
