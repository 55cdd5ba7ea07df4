import brownie
import pytest
from support.clock import DAY, START
from support.offers import ZERO_ADDRESS, Status
from support.reverts import reverts_with

DEADLINE = START + DAY


@pytest.fixture(scope="module")
def dollar(publisher):
    return brownie.BlockingDollar.deploy(6, {"from": publisher})


@pytest.fixture
def loan(open_loan):
    return open_loan()


@pytest.fixture
def assigns(ledger, sign_assignment, lender, stranger):
    """Assigns a claim to the stranger, who signs."""

    def assigns(loan, giver=lender, taker=stranger, **defect):
        signature = defect.pop("signature", None) or sign_assignment(
            loan, giver, taker, deadline=DEADLINE, **defect
        )
        return ledger.assign(loan, taker, DEADLINE, signature, {"from": giver})

    return assigns


def test_only_the_lender_assigns(ledger, loan, sign_assignment, lender, servicer, stranger, borrower):
    ledger.appointServicer(servicer, {"from": lender})
    signature = sign_assignment(loan, lender, stranger, deadline=DEADLINE)
    for actor in (servicer, stranger, borrower):
        with reverts_with("NotLender", actor, lender):
            ledger.assign(loan, stranger, DEADLINE, signature, {"from": actor})


def test_there_is_a_claim_to_assign(ledger, loan, assigns, borrower):
    with reverts_with("UnknownLoan", b"\3" * 32):
        assigns(b"\3" * 32)
    ledger.settle(loan, 2**256 - 1, {"from": borrower})
    with reverts_with("LoanNotActive", loan, Status.REPAID):
        assigns(loan)


def test_a_claim_goes_to_somebody_else_than_the_borrower(ledger, loan, assigns, lender, borrower):
    with reverts_with("InvalidParties", borrower, borrower):
        assigns(loan, taker=borrower)
    with reverts_with("InvalidParties", ZERO_ADDRESS, borrower):
        ledger.assign(loan, ZERO_ADDRESS, DEADLINE, bytes(65), {"from": lender})


def test_terms_1_nothing_changes_but_the_lender(
    ledger, loan, assigns, record, dollar, policy, lender, borrower, stranger
):
    before = record(loan)
    balances = [dollar.balanceOf(holder) for holder in (lender, borrower, stranger)]
    assigned = assigns(loan)
    assert assigned.events["LoanAssigned"] == {"id": loan, "from": lender, "to": stranger}
    assert record(loan) == {**before, "lender": stranger}
    assert ledger.partiesOf(loan)[:2] == (borrower, stranger)
    assert [dollar.balanceOf(holder) for holder in (lender, borrower, stranger)] == balances
    assert (ledger.nonces(stranger), ledger.nonces(lender)) == (1, 0)


def test_the_new_lender_receives(ledger, loan, assigns, dollar, lender, borrower, stranger):
    ledger.repay(loan, 100, {"from": borrower})
    assigns(loan)
    before = dollar.balanceOf(lender), dollar.balanceOf(stranger)
    ledger.repay(loan, 700, {"from": borrower})
    assert (dollar.balanceOf(lender), dollar.balanceOf(stranger)) == (before[0], before[1] + 700)


def test_server_1_the_rights_go_with_the_claim(ledger, loan, assigns, lender, stranger, servicer, keeper):
    ledger.appointServicer(servicer, {"from": lender})
    ledger.appointServicer(keeper, {"from": stranger})
    assigns(loan)
    assert ledger.partiesOf(loan)["servicer"] == ledger.positionOf(loan)["servicer"] == keeper
    for act in (
        lambda actor: ledger.forgive(loan, 1, {"from": actor}),
        lambda actor: ledger.acknowledgeReceipt(loan, 1, b"\1" * 32, {"from": actor}),
    ):
        with reverts_with("NotLender", lender, stranger):
            act(lender)
        act(stranger)


# --- the signature ------------------------------------------------------------------------------


def test_the_new_lender_signs_for_exactly_this(
    ledger, loan, open_loan, assigns, sign_assignment, lender, stranger, keeper, dollar
):
    other = open_loan()

    def signed(*args, **changes):
        return sign_assignment(*args, **{"deadline": DEADLINE, **changes})

    for signature in (
        signed(loan, lender, stranger, signer=lender),
        signed(other, lender, stranger),
        signed(loan, keeper, stranger),
        signed(loan, lender, keeper, signer=stranger),
        signed(loan, lender, stranger, nonce=1),
        signed(loan, lender, stranger, deadline=DEADLINE + 1),
        signed(loan, lender, stranger, contract=dollar),
        signed(loan, lender, stranger, chain_id=1),
        b"\0",
    ):
        with reverts_with("InvalidSignature", stranger, 0):
            assigns(loan, signature=signature)
    assigns(loan)


def test_a_signature_holds_until_its_deadline(ledger, loan, assigns, clock):
    clock.to(DEADLINE + 1)
    with reverts_with("SignatureExpired", DEADLINE, DEADLINE + 1):
        assigns(loan)


def test_an_assignment_is_used_once(loan, assigns, sign_assignment, record, lender, stranger):
    signature = sign_assignment(loan, lender, stranger, deadline=DEADLINE)
    assigns(loan, signature=signature)
    assigns(loan, giver=stranger, taker=lender)
    assert record(loan)["lender"] == lender
    # The claim has come back; the old signature does not move it again.
    with reverts_with("InvalidSignature", stranger, 1):
        assigns(loan, signature=signature)


def test_a_contract_takes_over_by_its_owners_signature(
    ledger, loan, assigns, record, dollar, lender, stranger, borrower
):
    wallet = brownie.SignerWallet.deploy(stranger, {"from": stranger})
    with reverts_with("InvalidSignature", wallet, 0):
        assigns(loan, taker=wallet, signer=lender)
    assigns(loan, taker=wallet, signer=stranger)
    ledger.repay(loan, 55, {"from": borrower})
    assert dollar.balanceOf(wallet) == 55


def test_ledger_3_an_assignee_who_cannot_receive_stops_nothing(
    ledger, loan, assigns, dollar, record, publisher, lender, borrower, stranger
):
    dollar.setBlocked(stranger, True, {"from": publisher})
    assigns(loan)
    payment = ledger.repay(loan, 2**200, {"from": borrower})
    assert payment.events["PaymentHeld"] == {"id": loan, "lender": stranger, "amount": payment.return_value}
    assert record(loan)["status"] == Status.REPAID
    assert (ledger.claimable(stranger), ledger.claimable(lender)) == (payment.return_value, 0)
