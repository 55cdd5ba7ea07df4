"""The desk in a real browser, on a real chain: the portfolio, and an uncertain notice that is settled."""

from __future__ import annotations

import pytest
from browsing import LOCALES, WIDTHS, Visitor, chromium, portal

from duly.chain.clock import travel
from duly.domain import calendar, schedule
from duly.domain.grievance import Grievance
from duly.services import run
from duly.store.notices import Outcome, State

DAY = calendar.DAY


class Desk:
    """A servicer or an auditor, as the demo wallet knows them."""

    def __init__(self, number, sender):
        self.number, self.sender = number, sender


@pytest.fixture
def lost(stage):
    """Three borrowers, of whom one pays, one is late and one very late; a notice that may have been sent."""
    found = stage.lend(3)
    assert run.round(stage.app).delivered.sent == 3
    token, ledger = stage.contracts.currency, stage.contracts.ledger
    loan = stage.app.read_model.loan(found[0].loan)
    for each, instalments in ((found[0], 4), (found[1], 2)):
        stage.lender.send(token.mint(each.sender.address, 10**6))
        each.sender.send(token.approve(ledger.address, 10 * loan.instalment))
        each.sender.send(ledger.repay(each.loan, instalments * loan.instalment))
    travel(stage.w3, schedule.due_time(loan.terms, 4) + 3 * DAY)
    for each in found[1:]:
        stage.deployer.send(ledger.flag_missed(each.loan))
    found[2].sender.send(stage.contracts.desk.lodge(found[2].loan, Grievance.HARDSHIP))
    stage.app.indexer.run()
    store = stage.app.notice_store
    notice = next(each.notice for each in store.deliveries() if each.notice.loan == found[2].loan)
    with stage.app.read_model.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM deliveries WHERE notice = ?", (notice.id,))
    assert store.claim([notice], stage.app.clock.now())
    store.settle(Outcome((notice,), State.UNCERTAIN, "reset"), stage.app.clock.now())
    return notice


def test_a_servicer_sees_the_portfolio_and_settles_an_uncertain_notice(stage, lost):
    servicer, auditor = Desk(101, stage.servicer), Desk(102, stage.lender)
    stage.more = {"DULY_WEB_AUDITORS": stage.lender.address}
    with portal(stage, [servicer, auditor]) as address, chromium() as browser:
        for language in LOCALES:
            for width in WIDTHS:
                visitor = Visitor(browser, address, language, width)
                page = visitor.page
                visitor.sign_in(f"Borrower {servicer.number} ")
                page.wait_for_url("**/desk")
                visitor.look("desk")
                page.goto("/desk/loans?bucket=4")
                visitor.look("desk-loans")
                page.locator("tbody a").first.click()
                visitor.look("desk-loan")
                page.goto("/desk/notices")
                assert "example.org" not in page.content()
                visitor.look("desk-notices")
                page.goto("/desk/grievances")
                assert "hardship-answered" in page.content()
                visitor.look("desk-grievances")
                visitor.close()
        visitor = Visitor(browser, address)
        page = visitor.page
        visitor.sign_in(f"Borrower {servicer.number} ")
        page.goto("/desk/notices")
        page.get_by_role("button", name="It was not sent").click()
        page.wait_for_url("**/desk/notices")
        assert page.get_by_role("button", name="It was not sent").count() == 0
        visitor.look("desk-settled")
        visitor.close()
        for language in LOCALES:
            visitor = Visitor(browser, address, language)
            visitor.sign_in(f"Borrower {auditor.number} ")
            visitor.page.goto("/desk/actions")
            assert visitor.page.locator("tbody tr").count() == 1
            visitor.look("desk-actions")
            visitor.close()
        for language in LOCALES:
            for width in WIDTHS:
                visitor = Visitor(browser, address, language, width)
                page = visitor.page
                visitor.sign_in(f"Borrower {auditor.number} ")
                page.goto("/supervisor")
                if page.locator("main form button").count():
                    page.locator("main form button").click()
                # HTMX asks how far it is until it is over.
                page.locator(".verdict.genuine").wait_for(timeout=30_000)
                assert page.locator(".badge.good").count() == 1
                visitor.look("supervisor")
                visitor.close()
    assert stage.app.notice_store.delivery(lost.id).state is State.DROPPED
