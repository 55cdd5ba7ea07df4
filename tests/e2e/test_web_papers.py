"""What a borrower has in writing, in a real browser: a notice with its proof, the statement, their data."""

from __future__ import annotations

import json

from browsing import LOCALES, WIDTHS, Visitor, chromium, portal

from duly.domain.consent import Channel
from duly.services import run


def test_priv_1_notices_statement_and_data_are_the_borrowers_own(stage):
    [one] = stage.lend(1)
    assert run.round(stage.app).delivered.sent == 1
    path = f"/loans/{one.loan.hex()}"
    with portal(stage, [one]) as address, chromium() as browser:
        for language in LOCALES:
            for width in WIDTHS:
                visitor = Visitor(browser, address, language, width)
                visitor.sign_in(f"Borrower {one.number} ")
                page = visitor.page
                page.goto(f"{path}/notices")
                for summary in page.locator("summary").all():
                    summary.click()
                visitor.look("notices")
                page.goto(f"{path}/key-facts")
                visitor.look("key-facts")
                page.goto("/my-data")
                visitor.look("my-data")
                page.goto("/programs")
                page.get_by_role("button").nth(2).click()
                page.locator("#secret").wait_for()
                visitor.look("programs")
                visitor.close()
        visitor = Visitor(browser, address)
        page = visitor.page
        visitor.sign_in(f"Borrower {one.number} ")
        page.goto(path)
        page.get_by_role("link", name="Notices sent to me").click()
        assert page.locator(".badge.good").inner_text() == "genuine"
        page.get_by_text("Its proof").click()
        page.get_by_role("link", name="Check it").click()
        page.locator("form.stack button").click()
        assert page.locator(".verdict .figure").inner_text() == "Genuine"
        page.goto("/my-data")
        with page.expect_download() as download:
            page.get_by_role("button", name="For programs").click()
        told = json.loads(download.value.path().read_text(encoding="utf-8"))
        assert told["contacts"][0]["address"] == one.address
        page.locator("input[name=sure]").check()
        page.get_by_role("button", name="Erase my data").click()
        visitor.look("my-data-erased")
        visitor.close()
    assert stage.app.vault.kept(one.sender.address, Channel.EMAIL) is None
