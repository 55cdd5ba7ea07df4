"""The portal in a real browser, on a real chain: signing in, seeing one's loans, paying."""

from __future__ import annotations

import re

import pytest
import zxingcpp
from browsing import LOCALES, WIDTHS, Visitor, chromium, portal
from PIL import Image

from duly.chain.clock import travel
from duly.domain import calendar, schedule
from duly.domain.loan import Status
from duly.services import run

DAY = calendar.DAY


@pytest.fixture
def borrowers(stage):
    """Two borrowers: the first paid one instalment and is late with the second, the other paid nothing yet
    and is not late.
    """
    found = stage.lend(2, reachable=False)
    token, ledger = stage.contracts.currency, stage.contracts.ledger
    for each in found:
        stage.lender.send(token.mint(each.sender.address, 10**6))
    first = found[0]
    stage.app.indexer.run()
    loan = stage.app.read_model.loan(first.loan)
    first.sender.send(token.approve(ledger.address, loan.instalment))
    first.sender.send(ledger.repay(first.loan, loan.instalment))
    second_due = schedule.due_time(loan.terms, 2)
    travel(stage.w3, second_due + (loan.terms.grace_days + 3) * DAY)
    stage.deployer.send(ledger.flag_missed(first.loan))
    return found


def test_a_borrower_signs_in_sees_and_pays(stage, borrowers):
    one = borrowers[0]
    path = f"/loans/{one.loan.hex()}"
    with portal(stage, borrowers) as address, chromium() as browser:
        for language in LOCALES:
            for width in WIDTHS:
                visitor = Visitor(browser, address, language, width)
                page = visitor.page
                page.goto("/")
                visitor.look("landing")
                page.goto("/sign-in")
                page.locator("[data-ready]").wait_for()
                visitor.look("sign-in")
                visitor.sign_in(f"Borrower {one.number} ")
                page.wait_for_url("**/loans")
                visitor.look("loans")
                page.locator("a.cover").click()
                page.wait_for_url(f"**{path}")
                visitor.look("loan")
                page.locator("summary").click()
                page.locator("a.button").click()
                visitor.look("pay")
                page.locator("button.choice").first.click()
                visitor.look("pay-confirm")
                visitor.close()

        loan = stage.app.read_model.loan(one.loan)
        visitor = Visitor(browser, address)
        visitor.sign_in(f"Borrower {one.number} ")
        page = visitor.page
        page.goto(path)
        assert "overdue" in page.locator(".badge").inner_text()
        page.goto(f"{path}/pay")
        page.locator("button.choice").first.click()
        # Nothing is allowed to the ledger yet: two steps.
        assert page.locator("[data-step]").count() == 2
        visitor.act()
        assert page.locator("[data-stage=final]").count() == 2
        visitor.look("paid")
        page.locator("[data-done]").click()
        page.wait_for_url(f"**{path}")
        assert "running" in page.locator(".badge").inner_text()
        visitor.look("loan-paid")
        visitor.close()
    paid = stage.app.read_model.loan(one.loan)
    assert paid.paid == loan.paid + loan.instalment + loan.terms.late_fee


def test_a_payment_that_is_refused_tells_why(stage, borrowers):
    one = borrowers[1]
    with portal(stage, borrowers) as address, chromium() as browser:
        visitor = Visitor(browser, address)
        visitor.sign_in(f"Borrower {one.number} ")
        page = visitor.page
        page.goto(f"/loans/{one.loan.hex()}/pay")
        page.locator("#amount").fill("50")
        page.get_by_role("button", name="Go on").click()
        # Meanwhile somebody else pays all of it.
        token, ledger = stage.contracts.currency, stage.contracts.ledger
        stage.lender.send(token.mint(stage.lender.address, 10**7))
        stage.lender.send(ledger.forgive(one.loan, 10**7))
        page.locator("[data-go]").click()
        page.locator("[data-problem]:not([hidden])").wait_for()
        assert page.locator("[data-problem]").inner_text() == "The ledger refused: the loan is not active."
        visitor.look("refused")
        visitor.close()


def test_a_borrower_settles_early_or_withdraws(stage):
    """One after the time for withdrawing and before the first instalment, the other on the first day."""
    borrowers = stage.lend(2, reachable=False)
    early, sorry = borrowers
    token = stage.contracts.currency
    for each in borrowers:
        stage.lender.send(token.mint(each.sender.address, 10**6))
    stage.app.indexer.run()
    scheduled = stage.app.read_model.loan(early.loan).total
    with portal(stage, borrowers) as address, chromium() as browser:
        for one, way in ((sorry, "rescind"), (early, "settle")):
            path = f"/loans/{one.loan.hex()}"
            for language in LOCALES:
                for width in WIDTHS:
                    visitor = Visitor(browser, address, language, width)
                    visitor.sign_in(f"Borrower {one.number} ")
                    visitor.page.goto(f"{path}/{way}")
                    visitor.look(way)
                    visitor.close()
            visitor = Visitor(browser, address)
            page = visitor.page
            visitor.sign_in(f"Borrower {one.number} ")
            page.goto(path)
            page.locator(f"a[href='{path}/{way}']").first.click()
            page.get_by_role("button", name="Go on").click()
            visitor.look(f"{way}-confirm")
            visitor.act()
            assert page.locator("[data-stage=final]").count() == 2
            visitor.close()
            # The time for withdrawing is over, nothing is due yet.
            travel(stage.w3, stage.app.clock.now() + 20 * DAY)
    model = stage.app.read_model
    assert model.loan(sorry.loan).status is Status.RESCINDED
    settled = model.loan(early.loan)
    assert settled.status is Status.REPAID
    # Less than all instalments: interest of the time to come is not owed.
    assert settled.terms.principal < settled.paid < scheduled


def test_without_a_script_everything_is_there_but_the_wallet(stage, borrowers):
    with portal(stage, borrowers) as address, chromium() as browser:
        context = browser.new_context(base_url=address, java_script_enabled=False)
        page = context.new_page()
        page.goto("/")
        page.get_by_role("button", name="中文").click()
        page.get_by_text("登录").first.wait_for()
        page.goto("/sign-in")
        assert page.locator("noscript").count() == 1


def test_gate_1_a_code_is_scanned_from_another_screen(stage):
    [one] = stage.lend(1)
    assert run.round(stage.app).delivered.sent == 1
    (notice,) = stage.app.read_model.notices(loan=one.loan)
    with portal(stage, []) as address, chromium() as browser:
        shows, scans = Visitor(browser, address, "en", 390), Visitor(browser, address, "zh", 390)
        shows.page.goto(f"/verify?code=0x{notice.id.hex()}")
        shows.look("verify-qr")
        picture = stage.directory / "qr.png"
        shows.page.locator("svg.qr").screenshot(path=picture)
        (seen,) = zxingcpp.read_barcodes(Image.open(picture))
        assert seen.text == f"{address}/verify?code=0x{notice.id.hex()}"
        scans.page.goto(seen.text)
        scans.page.locator("form.stack button").click()
        assert scans.page.locator(".verdict .figure").inner_text() == "真实"
        for each in (shows, scans):
            each.close()


def test_gate_1_anyone_checks_a_notice(stage):
    stage.lend(1)
    assert run.round(stage.app).delivered.sent == 1
    (mail,) = (file for file in stage.mailbox.directory.glob("*.eml") if b"Duly-Notice" in file.read_bytes())
    code = re.search(rb"Duly-Notice: ([0-9a-f]{64})", mail.read_bytes())[1].decode()
    altered = stage.directory / "altered.eml"
    salt = re.search(rb"Duly-Salt: [0-9a-f]", mail.read_bytes())[0]
    other = salt[:-1] + (b"0" if salt[-1:] != b"0" else b"1")
    altered.write_bytes(mail.read_bytes().replace(salt, other))
    with portal(stage, []) as address, chromium() as browser:
        for language, words in {
            "en": ("Genuine", "Altered", "Unknown"),
            "zh": ("真实", "被改动", "未知"),
        }.items():
            for width in WIDTHS:
                visitor = Visitor(browser, address, language, width)
                page = visitor.page
                page.goto("/verify")
                visitor.look("verify")
                for name, file, verdict in zip(("genuine", "altered"), (mail, altered), words, strict=False):
                    page.locator("#mail").set_input_files(str(file))
                    page.locator("form.stack button").click()
                    assert page.locator(".verdict .figure").inner_text() == verdict
                    visitor.look(f"verify-{name}")
                for asked, verdict in ((f"0x{code}", words[0]), ("0x" + "ab" * 32, words[2])):
                    page.goto(f"/verify?code={asked}")
                    page.locator("form.stack button").click()
                    assert page.locator(".verdict .figure").inner_text() == verdict
                visitor.look("verify-unknown")
                # Nothing that the notice itself does not say.
                for secret in ("borrower-1@example.org", stage.lender.address[2:].lower()):
                    assert secret not in page.content().lower()
                visitor.close()
