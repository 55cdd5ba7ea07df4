import brownie
import pytest
from support.reverts import reverts_with


@pytest.fixture
def loose(policy_book, publisher):
    """A desk that nothing knows yet."""
    return brownie.GrievanceDesk.deploy(policy_book, {"from": publisher})


@pytest.fixture
def around(dollar, policy_book, publisher):
    """A ledger and a gate that know a desk."""

    def around(desk):
        ledger = brownie.LoanLedger.deploy(dollar, policy_book, desk, {"from": publisher})
        gate = brownie.NoticeRegistry.deploy(ledger, policy_book, desk, {"from": publisher})
        return ledger, gate

    return around


def test_who_deployed_it_binds_it(loose, around, publisher):
    ledger, gate = around(loose)
    bound = loose.bind(ledger, gate, {"from": publisher})
    assert bound.events["Bound"] == {"ledger": ledger, "notices": gate}
    assert (loose.ledger(), loose.notices()) == (ledger, gate)


def test_nobody_else_does(loose, around, lender):
    ledger, gate = around(loose)
    with reverts_with("CannotBind", lender, ledger, gate):
        loose.bind(ledger, gate, {"from": lender})


def test_it_is_bound_once(desk, ledger, notices, around, publisher):
    with reverts_with("CannotBind", publisher, ledger, notices):
        desk.bind(ledger, notices, {"from": publisher})
    others = around(desk)
    with reverts_with("CannotBind", publisher, *others):
        desk.bind(*others, {"from": publisher})


def test_ledger_and_gate_must_know_it(loose, around, ledger, notices, publisher):
    own_ledger, own_gate = around(loose)
    for pair in ((ledger, notices), (own_ledger, notices), (ledger, own_gate)):
        with reverts_with("CannotBind", publisher, *pair):
            loose.bind(*pair, {"from": publisher})
