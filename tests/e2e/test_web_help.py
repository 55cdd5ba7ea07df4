"""Hardship in a real browser: said by the borrower, seen at the desk."""

from __future__ import annotations

from browsing import LOCALES, WIDTHS, Visitor, chromium, portal

from duly.domain.grievance import FOREVER


def test_pause_1_hardship_is_said_and_rests_reminders(stage):
    [one] = stage.lend(1, reachable=False)
    stage.app.indexer.run()
    path = f"/loans/{one.loan.hex()}"
    with portal(stage, [one]) as address, chromium() as browser:
        everyone = [Visitor(browser, address, language, width) for language in LOCALES for width in WIDTHS]
        for visitor in everyone:
            visitor.sign_in(f"Borrower {one.number} ")

        def look(name: str) -> None:
            for each in everyone:
                each.page.goto(f"{path}/help")
                each.look(name)

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
        for each in everyone:
            each.close()
    assert stage.contracts.desk.rests_until(one.loan, one.sender.address) == FOREVER
