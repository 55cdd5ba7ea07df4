"""A borrower's way in a real browser: an address that is proved, consent, a reminder, a payment, its receipt,
and the end of it all.
"""

from __future__ import annotations

import re
import time

from browsing import LOCALES, WIDTHS, ZONE, Visitor, chromium, portal

from duly.chain.clock import travel
from duly.domain import calendar, schedule
from duly.domain.consent import Channel
from duly.domain.notice import Kind, Notice, Refusal

DAY = calendar.DAY
ADDRESS = "borrower@example.org"


def test_consent_1_who_consents_is_reminded_pays_and_ends_it(stage):
    [one] = borrowers = stage.lend(1, reachable=False)
    token = stage.contracts.currency
    stage.lender.send(token.mint(one.sender.address, 10**6))
    stage.app.indexer.run()
    loan = stage.app.read_model.loan(one.loan)
    with portal(stage, borrowers) as address, chromium() as browser:
        everyone = [Visitor(browser, address, language, width) for language in LOCALES for width in WIDTHS]
        for visitor in everyone:
            visitor.sign_in(f"Borrower {one.number} ")

        def look(path: str, name: str) -> None:
            for visitor in everyone:
                visitor.page.goto(path)
                visitor.look(name)

        def mails(kind: Kind, count: int = 1) -> list:
            """Those of a kind, when there are as many."""
            for _ in range(300):
                stage.app.indexer.run()
                ids = {
                    notice.id for notice in stage.app.read_model.notices(loan=one.loan) if notice.kind is kind
                }
                found = [mail for mail in stage.mailbox.mails() if bytes.fromhex(mail["Duly-Notice"]) in ids]
                if len(found) >= count:
                    return found
                time.sleep(0.1)
            raise AssertionError(f"no mail came: {kind.name}")

        visitor = everyone[1]
        page = visitor.page
        page.goto("/loans")
        page.get_by_role("link", name="Contact").click()
        look("/contact", "contact")
        look("/contact/email", "contact-email")

        # The address, and the code that comes there.
        page.locator("#address").fill(ADDRESS)
        page.get_by_role("button", name="Send me a code").click()
        page.locator("#code").wait_for()
        look("/contact/email", "contact-code")
        page.locator("#code").fill("000000" if stage.mailbox.code(ADDRESS) != "000000" else "000001")
        page.get_by_role("button", name="Prove it").click()
        assert "not the code" in page.get_by_role("alert").inner_text()
        visitor.refused()
        visitor.look("contact-code-wrong")
        page.locator("#code").fill(stage.mailbox.code(ADDRESS))
        page.get_by_role("button", name="Prove it").click()

        # Consent, by the wallet.
        page.locator("#zone").wait_for()
        assert page.locator("#zone").input_value() == ZONE, "the browser's own zone is proposed"
        look("/contact/email", "contact-consent")
        page.get_by_role("button", name="Consent", exact=True).click()
        assert page.locator("[data-step]").count() == 2
        visitor.look("contact-consent-confirm")
        visitor.act()
        page.locator("[data-done]").click()
        page.wait_for_url("**/contact")
        assert page.locator(".badge.good").inner_text() == "in use"
        page.locator("input[name=days][value='7']").check()
        page.get_by_role("button", name="Keep this").click()
        look("/contact", "contact-in-use")
        assert page.locator("input[name=days][value='7']").is_checked()

        # Time passes: a week before the due day a reminder comes, and anybody can tell that it is genuine.
        mails(Kind.LOAN_OPENED)
        travel(stage.w3, schedule.due_time(loan.terms, 1) - 8 * DAY + 12 * 3600)
        [reminder] = mails(Kind.INSTALMENT_UPCOMING)
        assert reminder["To"] == ADDRESS
        page.goto(f"/verify?code={reminder['Duly-Notice']}")
        page.locator("form.stack button").click()
        assert page.locator(".verdict .figure").inner_text() == "Genuine"

        # Paid, and the receipt comes.
        page.goto(f"/loans/{one.loan.hex()}/pay")
        page.locator("button.choice").first.click()
        visitor.act()
        mails(Kind.PAYMENT_RECEIVED)

        # Taken back: when the next instalment is due, nothing comes.
        page.goto("/contact/email")
        page.get_by_role("button", name="Revoke consent").click()
        visitor.look("contact-revoke-confirm")
        visitor.act()
        page.goto("/contact")
        page.get_by_role("button", name="Stop all contact").click()
        visitor.look("contact-stop-confirm")
        visitor.act()
        look("/contact", "contact-stopped")
        before = stage.mailbox.count()
        for days in (-7, -3, 6):
            travel(stage.w3, schedule.due_time(loan.terms, 2) + (days - 1) * DAY + 12 * 3600)
            time.sleep(1)
            if days < 0:
                # The gate says so itself, whatever a service may want.
                at = stage.contracts.ledger.position_of(one.loan)
                wanted = Notice(
                    one.loan, Kind.INSTALMENT_UPCOMING, at.next, at.next_amount, Channel.EMAIL, b"c" * 32
                )
                decision = stage.contracts.notices.refusal(wanted, stage.servicer.address)
                assert decision.reason is Refusal.CEASED
        assert stage.mailbox.count() == before
        for each in everyone:
            each.close()
    profile = stage.app.read_model.profile(one.sender.address.lower())
    assert profile.ceased
    assert not profile.consents_to(Channel.EMAIL)
    told = stage.duly("plan", "--explain", one.loan.hex())
    assert re.search("cease|consent", str(told))
