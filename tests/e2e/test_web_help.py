"""Hardship in a real browser: said by the borrower, seen at the desk, and other terms that both sign."""

from __future__ import annotations

from browsing import LOCALES, WIDTHS, Visitor, chromium, portal

from duly.chain.clock import travel
from duly.domain.calendar import DAY
from duly.domain.grievance import FOREVER
from duly.domain.loan import Status


class Lender:
    """As the demo wallet knows the lender."""

    def __init__(self, stage):
        self.number, self.sender = 7, stage.lender


def test_pause_1_hardship_leads_to_an_amended_loan_that_both_signed(stage):
    [one] = stage.lend(1, reachable=False)
    stage.app.indexer.run()
    path = f"/loans/{one.loan.hex()}"
    travel(stage.w3, stage.app.clock.now() + 20 * DAY)
    with portal(stage, [one, Lender(stage)]) as address, chromium() as browser:

        def four(name: str) -> list[Visitor]:
            found = [Visitor(browser, address, language, width) for language in LOCALES for width in WIDTHS]
            for each in found:
                each.sign_in(name)
            return found

        def look(name: str, where: str = f"{path}/help") -> None:
            for each in everyone:
                each.page.goto(where)
                each.look(name)

        everyone = borrowers = four(f"Borrower {one.number} ")
        look("help")
        visitor = everyone[1]
        page = visitor.page
        page.goto(path)
        page.get_by_role("link", name="I need help").click()
        page.locator("form[action$='/hardship/lodge'] button").click()
        visitor.look("help-confirm")
        visitor.act()
        page.locator("[data-done]").click()
        page.wait_for_url(f"**{path}/help")
        look("help-lodged")
        assert stage.contracts.desk.rests_until(one.loan, one.sender.address) == FOREVER

        # The lender sees it, and offers twice as many instalments at a lower rate.
        everyone = lenders = four("Borrower 7 ")
        page = lenders[1].page
        page.goto("/desk/grievances")
        page.get_by_role("link", name="Offer other terms").click()
        look("desk-offer", f"/desk{path}/offer")
        page.locator("#instalments").fill("24")
        page.locator("#rate").fill("99")
        page.get_by_role("button", name="Look at it").click()
        assert "The ledger would not take this" in page.get_by_role("alert").inner_text()
        lenders[1].refused()
        page.locator("#instalments").fill("24")
        page.locator("#rate").fill("5")
        page.get_by_role("button", name="Look at it").click()
        lenders[1].look("desk-offer-preview")
        page.get_by_role("button", name="Sign with my wallet").click()
        page.wait_for_url(f"**/desk{path}")
        look("desk-loan-offered", f"/desk{path}")
        assert "waits for the borrower" in page.locator("#relief + ul").inner_text()

        # The borrower looks at it, signs, and sends it.
        everyone = borrowers
        look("help-offered")
        page = borrowers[1].page
        page.get_by_role("link", name="Look at it").click()
        page.wait_for_url("**/offers/*")
        look("offer", page.url)
        page.get_by_role("button", name="Sign with my wallet").click()
        page.locator("[data-step]").wait_for()
        borrowers[1].look("offer-signed")
        borrowers[1].act()
        page.locator("[data-done]").click()
        page.wait_for_url("**/loans/*")
        borrowers[1].look("loan-amended")
        for each in (*borrowers, *lenders):
            each.close()
    model = stage.app.read_model
    assert model.loan(one.loan).status is Status.REPLACED
    amended = model.loan(model.successor(one.loan))
    assert (amended.terms.instalments, amended.terms.rate) == (24, 50_000)
