"""Offers of other terms, as the portal keeps and passes them on: what is refused, and what both sign."""

from __future__ import annotations

import pytest

from duly.chain import offers as signing
from duly.chain.clock import travel
from duly.domain.calendar import DAY
from duly.domain.errors import InvalidInput
from duly.domain.loan import Status
from duly.domain.terms import Terms
from duly.services import offer as offers
from duly.services.desk import Who
from duly.services.offer import NotSigned, Role, SignatureDoesNotFit, State
from duly.services.relief import NoSuchOffer, NotTheLender
from duly.store.actions import What


@pytest.fixture
def lent(stage):
    """A borrower, after cooling-off."""
    [one] = stage.lend(1, reachable=False)
    travel(stage.w3, stage.app.clock.now() + 20 * DAY)
    stage.app.indexer.run()
    return one


def test_both_sign_the_same_terms_or_nothing_is_changed(stage, lent):
    app, relief = stage.app, stage.app.relief
    loan = app.read_model.loan(lent.loan)
    lender = Who(stage.lender.address.lower(), "servicer")
    made = relief.draft(loan, instalments=24, rate=50_000, days=14)
    assert isinstance(made.subject, Terms)
    text = offers.text_of(made)

    def sign(who) -> bytes:
        return signing.sign(who.account, made.digest(Role.LENDER))

    # Dearer than the loan: not even drafted.
    with pytest.raises(InvalidInput):
        relief.draft(loan, rate=200_000)
    # Neither anybody else's signature, nor anybody else, nor words that were changed after it.
    with pytest.raises(SignatureDoesNotFit):
        relief.keep(loan, text, sign(stage.servicer), lender)
    with pytest.raises(NotTheLender):
        relief.keep(loan, text, sign(lent.sender), lender)
    with pytest.raises(NotTheLender):
        relief.keep(loan, text, sign(stage.lender), Who(stage.servicer.address.lower(), "servicer"))
    with pytest.raises(SignatureDoesNotFit):
        relief.keep(loan, text.replace('"instalments": 24', '"instalments": 23'), sign(stage.lender), lender)
    with pytest.raises(offers.NotAnOffer):
        relief.keep(loan, "{}", sign(stage.lender), lender)
    assert relief.proposals(loan) == []

    relief.keep(loan, text, sign(stage.lender), lender)
    relief.keep(loan, text, sign(stage.lender), lender)
    [proposal] = relief.proposals(loan)
    assert proposal.standing.state is State.UNSIGNED
    assert (proposal.before.instalments, proposal.after.instalments) == (12, 24)
    assert proposal.after.amount < proposal.before.amount
    assert app.actions.latest(1)[0][1].what is What.OFFERED

    # The borrower, and nobody in their place.
    with pytest.raises(NotSigned):
        relief.accepting(loan, proposal, None)
    with pytest.raises(SignatureDoesNotFit):
        relief.accepting(loan, proposal, sign(stage.lender))
    with pytest.raises(NoSuchOffer):
        relief.proposal(loan, b"x" * 32)
    call = relief.accepting(loan, proposal, sign(lent.sender))
    [proposal] = relief.proposals(loan)
    assert proposal.standing.state is State.READY
    stage.deployer.send(call)
    app.indexer.run()
    assert app.read_model.loan(loan.id).status is Status.REPLACED
    assert app.read_model.loan(made.id).terms == made.subject
    assert relief.proposals(loan)[0].standing.state is State.USED


def test_an_offer_that_is_over_says_so(stage, lent):
    app, relief = stage.app, stage.app.relief
    loan = app.read_model.loan(lent.loan)
    lender = Who(stage.lender.address.lower(), "servicer")
    drafts = [relief.draft(loan, instalments=24, days=days) for days in (1, 30, 30)]
    for made in drafts:
        signature = signing.sign(stage.lender.account, made.digest(Role.LENDER))
        relief.keep(loan, offers.text_of(made), signature, lender)
    short, withdrawn, too_much = (each.id for each in drafts)
    stage.lender.send(relief.withdrawing(relief.proposal(loan, withdrawn)))
    travel(stage.w3, app.clock.now() + 3 * DAY)
    # What is paid meanwhile makes the principal of the last one too large.
    token, ledger = stage.contracts.currency, stage.contracts.ledger
    stage.lender.send(token.mint(lent.sender.address, 10**5))
    lent.sender.send(token.approve(ledger.address, 10**5))
    lent.sender.send(ledger.repay(loan.id, 50_000))
    app.indexer.run()
    loan = app.read_model.loan(lent.loan)
    states = {each.offer.id: each.standing.state for each in relief.proposals(loan)}
    assert states == {short: State.EXPIRED, withdrawn: State.CANCELLED, too_much: State.REFUSED}
    assert not any(each.is_open for each in relief.proposals(loan))
